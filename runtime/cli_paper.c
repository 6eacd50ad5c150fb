/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a package that are written from help texts and the table of keys.
 */
#include "runtime/cli_help.h"

#include "runtime/ctl.h"

#include <stdio.h>
#include <string.h>

enum { COMMENT_WIDTH = 96, LINE_SIZE = 512, TERM_INDENT = 2 };

/* The next line of a help text, without its end; false after the last. */
static bool next_line(const char **text, char *line)
{
	size_t length = strcspn(*text, "\n");

	if (!**text)
		return false;
	snprintf(line, LINE_SIZE, "%.*s", (int)length, *text);
	*text += length + ((*text)[length] == '\n');
	return true;
}

/* "  TERM   meaning" cut in two, in place; the meaning may be empty. False: not such a line. */
static bool split_term(char *line, char **term, char **meaning)
{
	size_t indent = strspn(line, " ");
	char *gap = strstr(line + indent, "  ");

	if (indent != TERM_INDENT || (!gap && line[indent] != '-'))
		return false;
	*term = line + indent;
	*meaning = gap ? gap + strspn(gap, " ") : line + strlen(line);
	if (gap)
		*gap = '\0';
	return true;
}

/* --- manual page ----------------------------------------------------------------------------- */

/* Text as troff takes it literally. */
static void put_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		printf("\\&");
	for (; *text; text++)
		switch (*text) {
		case '\\': printf("\\e"); break;
		case '-': printf("\\-"); break;
		case '\'': printf("\\(aq"); break;
		case '`': printf("\\(ga"); break;
		case '^': printf("\\(ha"); break;
		case '~': printf("\\(ti"); break;
		default: putchar(*text);
		}
}

static void put_term(const char *term, const char *value)
{
	printf(".TP\n\\fB");
	put_text(term);
	printf("\\fR");
	if (*value) {
		printf(" \\fI");
		put_text(value);
		printf("\\fR");
	}
	printf("\n");
}

static void put_line(const char *text)
{
	put_text(text);
	printf("\n");
}

/* A help text without its usage lines. */
static void put_help(const char *text)
{
	char line[LINE_SIZE], *term, *meaning;
	bool in_term = false;

	while (next_line(&text, line)) {
		char *rest = line + strspn(line, " ");

		if (!strncmp(line, "usage: ", 7))
			continue;
		if (!*line) {
			printf(".PP\n");
			in_term = false;
		} else if (split_term(line, &term, &meaning)) {
			put_term(term, "");
			if (*meaning)
				put_line(meaning);
			in_term = true;
		} else if (rest > line && !in_term) { /* an example */
			printf(".PP\n.RS 4\n.nf\n");
			put_line(rest);
			printf(".fi\n.RE\n.PP\n");
		} else {
			put_line(rest);
		}
	}
}

static void put_synopsis(const char *text)
{
	char line[LINE_SIZE];

	while (next_line(&text, line))
		if (!strncmp(line, "usage: ", 7)) {
			put_line(line + 7);
			printf(".br\n");
		}
}

static void put_keys(void)
{
	char flag[64], term[72];

	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);

		snprintf(term, sizeof(term), "--%s", cli_flag(row, flag, sizeof(flag)));
		put_term(term, cli_value_kind(row));
		put_text(row->help);
		if (row->fallback[0] && strcmp(row->fallback, "0")) {
			printf(" (");
			put_text(row->fallback);
			printf(")");
		}
		printf("\n");
	}
}

void cli_print_man(const struct cli *cli)
{
	const char *const helps[] = {cli_node_help, cli_repl_help, ctl_help, cli->load_help};
	const char *const names[] = {"NODE", "REPL", "CTL", "LOAD"};
	const int count = sizeof(helps) / sizeof(helps[0]);

	printf(".\\\" Written by `millrace help man`.\n"
	       ".TH MILLRACE 1 \"\" \"Millrace %s\" \"User Commands\"\n"
	       ".SH NAME\nmillrace \\- real-time media network: publish once, play anywhere\n"
	       ".SH SYNOPSIS\n",
		cli->version);
	for (int i = 0; i < count; i++)
		if (helps[i])
			put_synopsis(helps[i]);
	printf("millrace version\n.br\nmillrace help [COMMAND]\n.SH DESCRIPTION\n");
	put_help(cli_overview);
	for (int i = 0; i < count; i++) {
		if (!helps[i])
			continue;
		printf(".SH %s\n", names[i]);
		put_help(helps[i]);
		if (helps[i] == cli_node_help)
			put_keys();
	}
	printf(".SH FILES\n");
	put_term("/etc/millrace/millrace.yaml", "");
	put_line("configuration of the packaged service; every key is in it, as a comment");
	put_term("/run/millrace/NAME, /var/lib/millrace/NAME", "");
	put_line("run and data directory of the service and of root's nodes");
	printf(".SH SEE ALSO\n.BR systemctl (1),\n.BR ffmpeg (1)\n");
}

/* --- bash completion ------------------------------------------------------------------------- */

/* First words of a help text's terms: its flags, or what is no flag. */
static void put_words(const char *text, bool flags)
{
	char line[LINE_SIZE], *term, *meaning;

	while (next_line(&text, line))
		if (split_term(line, &term, &meaning) && (*term == '-') == flags)
			printf(" %.*s", (int)strcspn(term, " "), term);
}

/* "a|b" or "a,b" as words. */
static void put_choices(const char *choices)
{
	for (; *choices; choices++)
		putchar(*choices == '|' ? ' ' : *choices);
}

/* Flags of a help text that want a value: "--ca FILE" is completed with files, the others are not. */
static void put_value_flags(const char *text)
{
	char line[LINE_SIZE], *term, *meaning;

	while (next_line(&text, line)) {
		if (!split_term(line, &term, &meaning) || *term != '-' || !strchr(term, ' '))
			continue;
		char *value = strchr(term, ' ');
		*value++ = '\0';
		bool is_path = !strcmp(value, "FILE") || !strcmp(value, "RUN-DIR");
		printf("\t%s) %s;;\n", term,
			is_path ? "COMPREPLY=($(compgen -f -- \"$cur\")) " : "");
	}
}

static void put_value_cases(void)
{
	char flag[64];

	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);

		cli_flag(row, flag, sizeof(flag));
		if (row->type == CONFIG_PATH) {
			printf("\t--%s) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n", flag);
		} else if (row->type == CONFIG_ENUM || row->type == CONFIG_WORDS ||
			   row->type == CONFIG_BOOL) {
			printf("\t--%s) words=\"", flag);
			put_choices(row->type == CONFIG_BOOL ? "true|false" : row->extra);
			printf("\" ;;\n");
		} else {
			printf("\t--%s) ;;\n", flag);
		}
	}
}

static void put_command(const char *name, const char *help)
{
	printf("\t\t%s) words=\"", name);
	put_words(help, false);
	put_words(help, true);
	if (help == cli_node_help) {
		char flag[64];

		for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
			printf(" --%s", cli_flag(config_row(key), flag, sizeof(flag)));
		printf(" --set");
	}
	printf(" --help\" ;;\n");
}

void cli_print_completion(const struct cli *cli)
{
	printf("# Written by `millrace help completion`.\n"
	       "_millrace()\n{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\"\"\n"
	       "\tlocal before=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "\tCOMPREPLY=()\n"
	       "\t((COMP_CWORD > 1)) || command=millrace before=\"\"\n"
	       "\tcase $before in\n");
	put_value_flags(cli_node_help);
	put_value_flags(cli_repl_help);
	put_value_flags(ctl_help);
	if (cli->load_help)
		put_value_flags(cli->load_help);
	printf("\t--set) ;;\n");
	put_value_cases();
	printf("\t*)\n\t\tcase $command in\n\t\tmillrace) words=\"");
	put_words(cli_overview, false);
	printf("\" ;;\n\t\thelp) words=\"node repl ctl load config man completion\" ;;\n");
	put_command("node", cli_node_help);
	put_command("repl", cli_repl_help);
	put_command("ctl", ctl_help);
	if (cli->load_help)
		put_command("load", cli->load_help);
	printf("\t\tesac ;;\n\tesac\n"
	       "\t[[ -z $words ]] || COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	       "}\ncomplete -o filenames -F _millrace millrace\n");
}

/* --- configuration file ---------------------------------------------------------------------- */

static void put_comment(const char *text)
{
	while (*text) {
		size_t length = cli_line_length(text, COMMENT_WIDTH);

		printf("# %.*s\n", (int)length, text);
		text += length + (text[length] == ' ');
	}
}

void cli_print_config(void)
{
	char text[LINE_SIZE];

	printf("# Configuration of a Millrace node. Each key is here with its default, as a "
	       "comment:\n"
	       "# take away the # to set it. Maps may be written nested too (http: { port: 80 }).\n"
	       "# Flags and environment win over this file. SIGHUP reads it again; keys marked\n"
	       "# (reload) take effect then, the others at a restart.\n");
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);

		snprintf(text, sizeof(text), "%s [%s]%s", row->help, cli_value_kind(row),
			row->flags & CONFIG_RELOAD ? " (reload)" : "");
		printf("\n");
		put_comment(text);
		printf("#%s: %s\n", row->key, row->fallback[0] ? row->fallback : "\"\"");
	}
}
