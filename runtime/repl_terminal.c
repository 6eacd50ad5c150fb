/* SPDX-License-Identifier: Apache-2.0
 *
 * The console on a terminal: line editing (libedit), completion by Tab, a history that is kept.
 * Ctrl-C drops the line, or ends a watch, a trace or a refreshing top; the session goes on.
 *
 * Owns the history: $XDG_STATE_HOME/millrace/repl_history, else ~/.local/state/…, mode 0600. What
 * `send` was given for a secret field does not get there.
 */
#include "runtime/cli.h"
#include "runtime/repl_complete.h"
#include "runtime/repl_internal.h"

#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	HISTORY_LINES = 500,
	HELP_MS = 5000,
	FETCH_MS = 1000, /* for a Tab */
	PATH_SIZE = 512,
};

struct terminal {
	struct repl_client *client;
	EditLine *editor;
	History *past;
	char file[PATH_SIZE]; /* of the history, "" = it is not kept */
	json_t *help;	      /* rows of `help` */
	bool dropped;	      /* Ctrl-C while editing */
	struct repl_candidates candidates;
};

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
	(void)number;
	interrupts = 1;
}

static char *prompt(EditLine *editor)
{
	(void)editor;
	return "millrace> ";
}

/* ---- completion ------------------------------------------------------------------------------ */

static const struct {
	const char *command, *filtered; /* %s: what was typed */
	const char *key;
} fetches[] = {
	[REPL_FETCH_ADDRESSES] = {"actors limit 100",   "actors where addr ~ %s limit 100",  "addr"},
	[REPL_FETCH_STREAMS] = {"streams limit 100",  "streams where name ~ %s limit 100", "name"},
	[REPL_FETCH_SESSIONS] = {"sessions limit 100", "sessions limit 100",		     "id"	 },
};

static void fetch(
	void *context, enum repl_fetch what, const char *prefix, struct repl_candidates *candidates)
{
	struct terminal *t = context;
	char command[REPL_WORD_MAX + 64], label[REPL_WORD_MAX];
	json_t *answer, *row;
	size_t i;

	snprintf(command, sizeof(command), *prefix ? fetches[what].filtered : fetches[what].command,
		prefix);
	answer = repl_client_ask(t->client, command, FETCH_MS);
	json_array_foreach(json_object_get(answer, "result"), i, row)
	{
		const char *word = json_string_value(json_object_get(row, fetches[what].key));
		const char *type = json_string_value(json_object_get(row, "type"));
		const char *name = json_string_value(json_object_get(row, "name"));

		snprintf(label, sizeof(label), "%.30s  %.110s", type ? type : "", name ? name : "");
		if (word)
			repl_candidate(candidates, prefix, word, label);
	}
	json_decref(answer);
}

/* Below the line; the prompt is drawn again behind it. */
static void list_candidates(const struct repl_candidates *candidates)
{
	size_t width = 0;

	printf("\n");
	for (unsigned i = 0; i < candidates->kept; i++)
		if (strlen(candidates->word[i]) > width)
			width = strlen(candidates->word[i]);
	for (unsigned i = 0; i < candidates->kept; i++)
		printf("%-*s  %s\n", (int)width, candidates->word[i], candidates->label[i]);
	if (candidates->count > candidates->kept)
		printf("(%u more)\n", candidates->count - candidates->kept);
	fflush(stdout);
}

static unsigned char complete(EditLine *editor, int key)
{
	const LineInfo *line = el_line(editor);
	char text[REPL_LINE_MAX], rest[REPL_WORD_MAX + 1];
	struct terminal *t = NULL;
	size_t length = (size_t)(line->cursor - line->buffer), typed;

	(void)key;
	el_get(editor, EL_CLIENTDATA, &t);
	if (length >= sizeof(text))
		return CC_REFRESH_BEEP;
	memcpy(text, line->buffer, length);
	text[length] = 0;
	struct repl_source source = {.commands = t->help, .fetch = fetch, .context = t};
	repl_complete(text, &source, &t->candidates);
	typed = length - t->candidates.start;
	if (!t->candidates.count)
		return CC_REFRESH_BEEP;
	if (t->candidates.count > 1 && t->candidates.common <= typed) {
		list_candidates(&t->candidates);
		return CC_REDISPLAY;
	}
	snprintf(rest, sizeof(rest), "%.*s%s", (int)(t->candidates.common - typed),
		t->candidates.word[0] + typed,
		t->candidates.count == 1 && !t->candidates.goes_on ? " " : "");
	return !*rest || el_insertstr(editor, rest) ? CC_REFRESH_BEEP : CC_REFRESH;
}

static unsigned char drop_line(EditLine *editor, int key)
{
	struct terminal *t = NULL;

	(void)key;
	el_get(editor, EL_CLIENTDATA, &t);
	t->dropped = true;
	printf("^C\n");
	return CC_EOF;
}

/* ---- history --------------------------------------------------------------------------------- */

/* Makes the folders of a path, each for its owner alone. */
static bool make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int failed = mkdir(path, 0700) && errno != EEXIST;

		*slash = '/';
		if (failed)
			return false;
	}
	return true;
}

static void find_history(struct terminal *t)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	/* the convention says that a relative path is none */
	if (state && *state == '/')
		snprintf(t->file, sizeof(t->file), "%s/millrace/repl_history", state);
	else if (home && *home == '/')
		snprintf(t->file, sizeof(t->file), "%s/.local/state/millrace/repl_history", home);
	if (t->file[0] && !make_folders(t->file))
		t->file[0] = 0;
}

static void remember(struct terminal *t, const char *line)
{
	char kept[REPL_LINE_MAX];
	HistEvent event;

	repl_without_secrets(line, kept, sizeof(kept));
	history(t->past, &event, H_ENTER, kept);
	if (!t->file[0])
		return;
	mode_t before = umask(0077);
	history(t->past, &event, H_SAVE, t->file);
	umask(before);
}

/* ---- the session ----------------------------------------------------------------------------- */

/* Again and again, the newest at the top of the screen, until Ctrl-C. */
static int refresh(struct terminal *t, const char *command)
{
	int status = CLI_CLEAN;

	while (!status && !interrupts) {
		printf("\033[H\033[2J");
		status = repl_client_command(t->client, command);
	}
	if (interrupts) {
		interrupts = 0;
		status = repl_client_reconnect(t->client); /* its answer may be under way */
	}
	return status;
}

static int run(struct terminal *t, const char *command)
{
	bool refreshes = !strncmp(command, "top", 3) && (!command[3] || command[3] == ' ') &&
			 !t->client->options->json;
	int status;

	interrupts = 0;
	status = refreshes ? refresh(t, command) : repl_client_command(t->client, command);
	interrupts = 0;
	/* the control process may have been replaced: the next command goes to the new one */
	if (status == CLI_CANNOT_CONNECT)
		status = repl_client_reconnect(t->client);
	return status;
}

static bool open_terminal(struct terminal *t)
{
	HistEvent event;

	t->editor = el_init("millrace", stdin, stdout, stderr);
	t->past = history_init();
	if (!t->editor || !t->past)
		return false;
	find_history(t);
	history(t->past, &event, H_SETSIZE, HISTORY_LINES);
	history(t->past, &event, H_SETUNIQUE, 1);
	if (t->file[0])
		history(t->past, &event, H_LOAD, t->file);
	el_set(t->editor, EL_CLIENTDATA, t);
	el_set(t->editor, EL_PROMPT, prompt);
	el_set(t->editor, EL_EDITOR, "emacs");
	el_set(t->editor, EL_HIST, history, t->past);
	el_set(t->editor, EL_ADDFN, "complete", "completes a word", complete);
	el_set(t->editor, EL_ADDFN, "drop-line", "drops the line", drop_line);
	el_set(t->editor, EL_BIND, "^I", "complete", NULL);
	/* while a line is edited Ctrl-C is a key */
	el_set(t->editor, EL_SETTY, "-d", "-isig", NULL);
	el_set(t->editor, EL_BIND, "^C", "drop-line", NULL);
	el_source(t->editor, NULL);
	return true;
}

static void close_terminal(struct terminal *t)
{
	if (t->past)
		history_end(t->past);
	if (t->editor)
		el_end(t->editor);
	json_decref(t->help);
}

/* The node knows its commands; without an answer there is just nothing to complete. */
static void learn_commands(struct terminal *t)
{
	json_t *answer = repl_client_ask(t->client, "help", HELP_MS);

	t->help = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
}

int repl_terminal_run(struct repl_client *client)
{
	struct sigaction on_int = {.sa_handler = on_interrupt}; /* calls are interrupted */
	static struct terminal t;
	char command[REPL_LINE_MAX];
	int count, status = CLI_CLEAN;

	t = (struct terminal){.client = client};
	if (!open_terminal(&t)) {
		close_terminal(&t);
		return CLI_FAILED;
	}
	sigaction(SIGINT, &on_int, NULL);
	client->interrupted = &interrupts;
	learn_commands(&t);
	while (status != CLI_CANNOT_CONNECT) {
		const char *line = el_gets(t.editor, &count);

		if (t.dropped) {
			t.dropped = false;
			continue;
		}
		if (!line || count <= 0)
			break;
		snprintf(command, sizeof(command), "%s", line);
		command[strcspn(command, "\r\n")] = '\0';
		if (repl_is_blank(command))
			continue;
		remember(&t, command);
		if (repl_wants_out(command))
			break;
		status = run(&t, command);
	}
	close_terminal(&t);
	/* a command that failed was answered; the session itself went well */
	return status == CLI_CANNOT_CONNECT ? status : CLI_CLEAN;
}
