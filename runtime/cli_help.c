/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cli_help.h"

#include "runtime/ctl.h"

#include <stdio.h>
#include <string.h>

enum { LINE_WIDTH = 98, HELP_COLUMN = 34 };

const char cli_overview[] =
	"Millrace, a real-time media network. Publish once, play anywhere.\n"
	"\n"
	"usage: millrace COMMAND ...\n"
	"\n"
	"  node      run a node: WebRTC, RTMP and HTTP-FLV on one host\n"
	"  repl      console of a running node\n"
	"  ctl       drain, scale and upgrade a running node\n"
	"  load      many viewers or publishers of any server, and how it went\n"
	"  version   print the version\n"
	"  help      this text; `millrace help COMMAND` for one command\n"
	"\n"
	"`millrace help config` prints a configuration file with every key; `help man` and\n"
	"`help completion` print the manual page and bash's completion.\n"
	"\n"
	"exit status: 0 clean, 1 runtime error, 2 usage or configuration, 3 "
	"cannot bind or connect\n";

const char cli_node_help[] =
	"usage: millrace node [--config FILE] [--KEY VALUE]... [--set key=value]...\n"
	"\n"
	"Runs a node until SIGTERM or SIGINT; a second one ends it at once, SIGHUP reads the\n"
	"configuration again, SIGUSR2 is `millrace ctl upgrade`. Prints one JSON line on standard "
	"output when everything serves:\n"
	"  "
	"{\"ready\":true,\"node\":...,\"pid\":...,\"http\":\"ip:port\",\"rtmp\":\"ip:port\","
	"\"rtc\":[...],\"repl\":...}\n"
	"The log goes to standard error.\n"
	"\n"
	"Every key below can also be given by `--set key=value`, in the YAML file FILE, and by an\n"
	"environment variable (http.port is MILLRACE_HTTP_PORT; the file is MILLRACE_CONFIG). A "
	"flag\n"
	"wins over the environment, the environment over the file. Put secrets into the file or "
	"the\n"
	"environment: flags can be seen in the list of processes.\n"
	"\n"
	"  --check                         only says whether it would start with this "
	"configuration\n"
	"  --config FILE                   YAML file with any of these keys\n"
	"  --name NAME                     the same as --node-name\n";

const char cli_repl_help[] =
	"usage: millrace repl [--connect RUN-DIR | tcp://HOST:PORT[?key=KEY]] [-e COMMAND]... "
	"[--json]\n"
	"\n"
	"Console of a running node of this user, or of one elsewhere; `help` in it lists its\n"
	"commands. On a terminal Tab completes and Ctrl-C ends what goes on; commands may also "
	"come\n"
	"from a pipe.\n"
	"\n"
	"  --connect RUN-DIR   the node with this run directory; default: MILLRACE_RUN_DIR, else "
	"the\n"
	"                      only node under the default run directory\n"
	"  tcp://HOST:PORT     a node of a cluster, at its mesh.port, encrypted; ?key=KEY, its key "
	"as\n"
	"                      millrace ctl keys show says it there, is wanted the first time\n"
	"  --operator FILE     who you are, made by millrace ctl keys operator; default:\n"
	"                      MILLRACE_OPERATOR, else millrace/operator in XDG_CONFIG_HOME or\n"
	"                      ~/.config\n"
	"  -e COMMAND          run this command and leave; may be repeated\n"
	"  --json              one JSON document an answer:\n"
	"                      {\"ok\":true,\"result\":...} or "
	"{\"ok\":false,\"error\":{\"code\":...,\"message\":...}}\n";

const char *cli_value_kind(const struct config_row *row)
{
	static const char *const kinds[] = {
		[CONFIG_TEXT] = "TEXT",
		[CONFIG_NAME] = "NAME",
		[CONFIG_PATH] = "PATH",
		[CONFIG_URL] = "URL",
		[CONFIG_COORD] = "STORE",
		[CONFIG_ADDRESS] = "ADDRESS",
		[CONFIG_ADDRESSES] = "ADDRESS,...",
		[CONFIG_WORDS] = "WORD,...",
		[CONFIG_PUBKEY] = "KEY",
		[CONFIG_PUBKEYS] = "KEY,...",
		[CONFIG_RULES] = "PATTERN=WORD,...",
		[CONFIG_PORT] = "PORT",
		[CONFIG_INT] = "N",
		[CONFIG_DURATION] = "TIME",
		[CONFIG_SIZE] = "SIZE",
		[CONFIG_BOOL] = "BOOL",
	};

	return row->type == CONFIG_ENUM ? row->extra : kinds[row->type];
}

const char *cli_flag(const struct config_row *row, char *text, size_t size)
{
	snprintf(text, size, "%s", row->key);
	for (char *p = text; *p; p++)
		*p = *p == '.' || *p == '_' ? '-' : *p;
	return text;
}

size_t cli_line_length(const char *text, size_t width)
{
	size_t length = strlen(text);

	if (length > width)
		for (length = width; length > 1 && text[length] != ' ';)
			length--;
	return length;
}

/* "  --http-port PORT    help (8080)", wrapped */
static void print_key(const struct config_row *row)
{
	char flag[64], text[512];
	int used = printf("  --%s %s", cli_flag(row, flag, sizeof(flag)), cli_value_kind(row));

	snprintf(text, sizeof(text),
		row->fallback[0] && strcmp(row->fallback, "0") ? "%s (%s)" : "%s", row->help,
		row->fallback);
	const char *at = text;
	do {
		size_t length = cli_line_length(at, LINE_WIDTH - HELP_COLUMN);

		if (used >= HELP_COLUMN || at != text) {
			printf("\n");
			used = 0;
		}
		printf("%*s%.*s", HELP_COLUMN - used, "", (int)length, at);
		used = HELP_COLUMN;
		at += length + (at[length] == ' ');
	} while (*at);
	printf("\n");
}

int cli_help(const struct cli *cli, const char *topic)
{
	if (!topic) {
		printf("%s", cli_overview);
	} else if (!strcmp(topic, "node")) {
		printf("%s", cli_node_help);
		for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
			print_key(config_row(key));
	} else if (!strcmp(topic, "repl")) {
		printf("%s", cli_repl_help);
	} else if (!strcmp(topic, "ctl")) {
		printf("%s", ctl_help);
	} else if (!strcmp(topic, "load") && cli->load_help) {
		printf("%s", cli->load_help);
	} else if (!strcmp(topic, "config")) {
		cli_print_config();
	} else if (!strcmp(topic, "man")) {
		cli_print_man(cli);
	} else if (!strcmp(topic, "completion")) {
		cli_print_completion(cli);
	} else {
		fprintf(stderr, "millrace: no help about \"%s\"; try millrace help\n", topic);
		return CLI_USAGE;
	}
	return fflush(stdout) ? CLI_FAILED : CLI_CLEAN;
}
