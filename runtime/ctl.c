/* SPDX-License-Identifier: Apache-2.0
 *
 * One command of `millrace ctl`, from its words to its last line. The console's own answers say how
 * far things have come; they are asked for again and again, also of the next control process when an
 * upgrade has replaced the one that was asked first.
 */
#include "runtime/ctl.h"

#include "runtime/cli.h"
#include "runtime/ctl_internal.h"
#include "runtime/process.h"
#include "runtime/repl_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	ANSWER_MS = 5000,
	POLL_MS = 50,
	SILENCE_MS = 10000, /* without an answer: the node is gone */
	/* a worker tells once a second how many sessions it has; who was placed before it was told is
	 * among them by then */
	SETTLE_MS = 1500,
	COMMAND_SIZE = 512,
	WAIT_S_MAX = 86400,
	DAYS_MAX = 36500,
	NOT_GIVEN = -1,
};

const char ctl_help[] =
	"usage: millrace ctl [--connect RUN-DIR | --connect tcp://HOST:PORT] [--json] COMMAND\n"
	"\n"
	"Asks something of a running node of this user and waits until it is done, with a line "
	"for\n"
	"each step.\n"
	"\n"
	"  status                      node, workers, and what is under way\n"
	"  drain [on|off] [worker N | node NAME]\n"
	"                              no new sessions, on the node, on one worker of it or on "
	"another\n"
	"                              node of the cluster; waits until those there have ended or "
	"gone\n"
	"                              to other nodes; off: they are taken again\n"
	"  workers N                   more or fewer media workers; those too many are drained "
	"first\n"
	"  upgrade                     goes on with another program: worker by worker, sessions "
	"stay\n"
	"  keys WHAT                   keys of a node and of its cluster, in files:\n"
	"                                init: makes the key that a cluster signs with\n"
	"                                node: a key for the node of this data directory, signed\n"
	"                                sign NODE KEY: a certificate for a node elsewhere, "
	"printed\n"
	"                                install CERTIFICATE: the one that was printed, at its "
	"node\n"
	"                                rotate: a new key for the node; signed if the cluster's\n"
	"                                key is here, else it waits for keys install\n"
	"                                operator NAME FILE: a key and a certificate for somebody\n"
	"                                who speaks to nodes from afar (repl tcp://...)\n"
	"                                revoke KEY: of a node or an operator; it is let in no "
	"more\n"
	"                                by this node and, once it runs, by none of the cluster\n"
	"                                show: what is there\n"
	"\n"
	"  --connect RUN-DIR   the node with this run directory; default: MILLRACE_RUN_DIR, else "
	"the\n"
	"                      only node under the default run directory\n"
	"                      tcp://HOST:PORT[?key=KEY]: one elsewhere, as with millrace repl\n"
	"  --wait S            seconds: drain ends with status 1 when sessions are left then (0: "
	"does\n"
	"                      not wait; without it: for ever), workers ends what is left (60)\n"
	"  --stop              drain: the node stops when no session is left\n"
	"  --binary FILE       the program of upgrade; default: where the node was started from\n"
	"  --data-dir DIR      of keys: the node's data directory; default: that of a node --name "
	"NAME\n"
	"  --cluster-key FILE  of keys: what the cluster signs with; default: cluster-key in the "
	"data\n"
	"                      directory\n"
	"  --days N            of keys: how long a certificate is good (365)\n"
	"  --json              one JSON document a step:\n"
	"                      {\"ok\":true,\"result\":...,\"more\":true}, without more the last, "
	"or\n"
	"                      {\"ok\":false,\"error\":{\"code\":...,\"message\":...}}\n";

/* Options that only some commands take. */
enum ctl_flag {
	TAKES_WAIT = 1,
	TAKES_BINARY = 2,
	TAKES_KEYS = 4,
	TAKES_DAYS = 8,
	TAKES_STOP = 16,
};

struct ctl_command {
	const char *name;
	int words_max;	/* behind the name */
	unsigned takes; /* enum ctl_flag */
	bool offline;	/* no node is asked */
	int (*run)(struct ctl *ctl);
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

/* ---- saying ---------------------------------------------------------------------------------- */

int ctl_complain(const char *format, const char *what)
{
	fprintf(stderr, "millrace: ctl: ");
	fprintf(stderr, format, what);
	fprintf(stderr, "\nmillrace: try millrace ctl --help\n");
	return CLI_USAGE;
}

void ctl_say(const struct ctl *ctl, const char *text, json_t *result, bool more)
{
	if (ctl->options.json) {
		json_t *document = json_pack("{s:b, s:o}", "ok", 1, "result", result);
		char *line;

		if (document && more)
			json_object_set_new(document, "more", json_true());
		line = document ? json_dumps(document, JSON_COMPACT | JSON_PRESERVE_ORDER |
							       JSON_REAL_PRECISION(6))
				: NULL;
		printf("%s\n", line ? line : "{\"ok\":false}");
		free(line);
		json_decref(document);
	} else {
		if (text)
			printf("%s\n", text);
		else
			repl_client_show(stdout, result);
		json_decref(result);
	}
	fflush(stdout);
}

int ctl_fail(const struct ctl *ctl, const char *code, const char *message, int status)
{
	json_t *document = json_pack(
		"{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", code, "message", message);
	char *line = document ? json_dumps(document,
					JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6))
			      : NULL;

	if (ctl->options.json)
		printf("%s\n", line ? line : "{\"ok\":false}");
	else
		fprintf(stderr, "millrace: ctl: %s\n", message);
	free(line);
	json_decref(document);
	return status;
}

static int fail_as(const struct ctl *ctl, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	return ctl_fail(
		ctl, code ? code : "internal", message ? message : "the node says no", CLI_FAILED);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The console's answer; NULL: there was none, which is said. */
static json_t *ask(struct ctl *ctl, const char *command)
{
	json_t *answer = repl_client_ask(&ctl->client, command, ANSWER_MS);

	if (!answer)
		ctl_fail(ctl, "closed", "the node does not answer", CLI_CANNOT_CONNECT);
	return answer;
}

/* The same of one that may be just replaced: asked again until somebody answers. */
static json_t *ask_again(struct ctl *ctl, const char *command)
{
	int64_t until_ms = now_ms() + SILENCE_MS;
	json_t *answer;

	while (!(answer = repl_client_ask(&ctl->client, command, ANSWER_MS)) && now_ms() < until_ms)
		pause_ms(POLL_MS);
	if (!answer)
		ctl_fail(ctl, "closed", "the node does not answer any more", CLI_CANNOT_CONNECT);
	return answer;
}

static bool is_ok(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "ok"));
}

static json_t *result_of(const json_t *answer)
{
	return json_object_get(answer, "result");
}

static bool number_of(const char *word, long max, long *number)
{
	char *end;

	*number = strtol(word, &end, 10);
	return *word >= '0' && *word <= '9' && !*end && *number <= max;
}

/* ---- status ---------------------------------------------------------------------------------- */

static int run_status(struct ctl *ctl)
{
	json_t *nodes = ask(ctl, "nodes"), *workers = nodes ? ask(ctl, "workers") : NULL;
	json_t *operation = workers ? ask(ctl, "operation") : NULL;
	int status = CLI_CANNOT_CONNECT;

	if (operation) {
		json_t *result =
			json_pack("{s:O?, s:O?, s:O?}", "node", json_array_get(result_of(nodes), 0),
				"workers", result_of(workers), "operation", result_of(operation));

		ctl_say(ctl, NULL, result, false);
		status = CLI_CLEAN;
	}
	json_decref(nodes);
	json_decref(workers);
	json_decref(operation);
	return status;
}

/* ---- drain ----------------------------------------------------------------------------------- */

/* Sessions of a worker, or of all (`worker` < 0). */
static json_int_t sessions_left(const json_t *rows, long worker)
{
	json_int_t sessions = 0;
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
	{
		const char *role = json_string_value(json_object_get(row, "role"));

		if (role && !strcmp(role, "media") &&
			(worker < 0 ||
				json_integer_value(json_object_get(row, "worker")) == worker))
			sessions += json_integer_value(json_object_get(row, "sessions"));
	}
	return sessions;
}

static void say_left(const struct ctl *ctl, long worker, json_int_t left, bool more)
{
	char text[96], where[32] = "the node";
	json_t *result = json_pack("{s:b, s:I}", "draining", 1, "sessions", left);

	if (worker >= 0) {
		snprintf(where, sizeof(where), "worker %ld", worker);
		json_object_set_new(result, "worker", json_integer(worker));
	}
	if (left)
		snprintf(text, sizeof(text), "%s drains: %lld session%s left", where,
			(long long)left, left == 1 ? "" : "s");
	else
		snprintf(text, sizeof(text), "%s is drained", where);
	ctl_say(ctl, text, result, more);
}

static int wait_drained(struct ctl *ctl, long worker)
{
	int64_t began_ms = now_ms(), until_ms = began_ms + ctl->wait_s * 1000;
	json_int_t said = -1;

	for (;;) {
		json_t *answer = ask_again(ctl, "workers");
		json_int_t left = answer ? sessions_left(result_of(answer), worker) : 0;
		bool late = ctl->wait_s >= 0 && now_ms() >= until_ms;

		json_decref(answer);
		if (!answer)
			return CLI_CANNOT_CONNECT;
		if (!left && ctl->wait_s && !late && now_ms() - began_ms < SETTLE_MS) {
			pause_ms(POLL_MS);
			continue;
		}
		if (left != said && !(late && left && ctl->wait_s))
			say_left(ctl, worker, left, left && ctl->wait_s);
		said = left;
		if (!left || !ctl->wait_s)
			return CLI_CLEAN;
		if (late)
			return ctl_fail(ctl, "timeout",
				"sessions are left; new ones are still refused", CLI_FAILED);
		pause_ms(POLL_MS);
	}
}

static void say_node(const struct ctl *ctl, const char *name, json_int_t left, bool more)
{
	char text[128];

	if (left > 0)
		snprintf(text, sizeof(text), "%s drains: %lld session%s left", name,
			(long long)left, left == 1 ? "" : "s");
	else
		snprintf(text, sizeof(text), "%s %s", name, left ? "has stopped" : "is drained");
	ctl_say(ctl, text,
		json_pack("{s:s, s:b, s:I, s:b}", "node", name, "draining", 1, "sessions",
			left > 0 ? left : 0, "stopped", left < 0),
		more);
}

/* Sessions that are left there; -1: it was to stop, and is gone; -2: nobody knows, which has been said. */
static json_int_t ask_left(struct ctl *ctl, const char *command)
{
	json_t *answer = repl_client_ask(&ctl->client, command, ANSWER_MS);
	json_int_t left = -1;

	if (!answer && !ctl->stop)
		answer = ask_again(ctl, command);
	if (answer && is_ok(answer)) {
		left = json_integer_value(json_object_get(result_of(answer), "sessions"));
	} else if (!ctl->stop) {
		left = -2;
		if (answer)
			fail_as(ctl, answer);
	}
	json_decref(answer);
	return left;
}

static int wait_node(struct ctl *ctl, const char *name, const char *command)
{
	int64_t began_ms = now_ms(), until_ms = began_ms + ctl->wait_s * 1000;
	json_int_t said = -1;

	for (;;) {
		json_int_t left = ask_left(ctl, command);
		bool late = ctl->wait_s >= 0 && now_ms() >= until_ms;
		bool settles = ctl->wait_s && !late && now_ms() - began_ms < SETTLE_MS;
		bool is_over = left < 0 || (!left && !settles && !ctl->stop);

		if (left == -2)
			return CLI_CANNOT_CONNECT;
		if (is_over || (left != said && (left || !settles) && !late))
			say_node(ctl, name, left, !is_over && ctl->wait_s);
		said = left;
		if (is_over || !ctl->wait_s)
			return CLI_CLEAN;
		if (late)
			return ctl_fail(ctl, "timeout",
				"sessions are left; new ones are still refused", CLI_FAILED);
		pause_ms(POLL_MS);
	}
}

/* By the cluster: clients are told where to go, and the node stops where that is wanted. */
static int drain_node(struct ctl *ctl, const char *name, bool off)
{
	char command[COMMAND_SIZE];
	json_t *answer;
	int status;

	snprintf(command, sizeof(command), "drain node %.63s %s", name,
		off	    ? "off"
		: ctl->stop ? "stop"
			    : "on");
	answer = ask(ctl, command);
	status = !answer ? CLI_CANNOT_CONNECT : is_ok(answer) ? CLI_CLEAN : fail_as(ctl, answer);
	if (!status && off)
		ctl_say(ctl, "new sessions are taken", json_incref(result_of(answer)), false);
	json_decref(answer);
	snprintf(command, sizeof(command), "drain node %.63s ask", name);
	return status || off ? status : wait_node(ctl, *name ? name : "the node", command);
}

static int run_drain(struct ctl *ctl)
{
	const char *const *word = ctl->words + 1;
	char command[COMMAND_SIZE];
	long worker = -1;
	bool off = false;
	int left = ctl->word_count - 1;

	if (left && (!strcmp(*word, "on") || !strcmp(*word, "off"))) {
		off = !strcmp(*word, "off");
		word++;
		left--;
	}
	bool node = left == 2 && !strcmp(*word, "node") && word[1][0];

	if (left && !node &&
		(left != 2 || strcmp(*word, "worker") ||
			!number_of(word[1], PROCESS_WORKERS_MAX - 1, &worker)))
		return ctl_complain("%s", "expected: drain [on|off] [worker N | node NAME]");
	if (ctl->stop && (off || worker >= 0))
		return ctl_complain("%s", "--stop: only a whole node that drains stops");
	if (node || ctl->stop)
		return drain_node(ctl, node ? word[1] : "", off);
	snprintf(command, sizeof(command), "drain %s", off ? "off" : "on");
	if (worker >= 0)
		snprintf(command, sizeof(command), "drain %s worker %ld", off ? "off" : "on",
			worker);
	json_t *answer = ask(ctl, command);
	int status = !answer	     ? CLI_CANNOT_CONNECT
		     : is_ok(answer) ? CLI_CLEAN
				     : fail_as(ctl, answer);
	if (!status && off)
		ctl_say(ctl, "new sessions are taken", json_incref(result_of(answer)), false);
	json_decref(answer);
	return status || off ? status : wait_drained(ctl, worker);
}

/* ---- operations of the supervisor ------------------------------------------------------------ */

/* Says what is new; true when it is over, *status how. */
static bool say_steps(struct ctl *ctl, const json_t *operation, json_int_t *seen, int *status)
{
	const char *state = json_string_value(json_object_get(operation, "state"));
	const json_t *steps = json_object_get(operation, "steps"), *step;
	bool over = state && strcmp(state, "running"), failed = over && strcmp(state, "done");
	size_t i, count = json_array_size(steps);

	json_array_foreach((json_t *)steps, i, step)
	{
		const char *text = json_string_value(json_object_get(step, "text"));
		bool last = over && i + 1 == count;

		*seen = json_integer_value(json_object_get(step, "step"));
		if (last && failed)
			*status = ctl_fail(ctl, "failed", text ? text : "failed", CLI_FAILED);
		else
			ctl_say(ctl, text, json_incref((json_t *)step), !last);
	}
	return over;
}

/* Follows the operation that was begun last, to its end. */
static int follow(struct ctl *ctl, json_int_t number)
{
	char command[COMMAND_SIZE];
	json_int_t seen = 0;
	int status = CLI_CLEAN;

	for (;;) {
		snprintf(command, sizeof(command), "operation after %lld", (long long)seen);
		json_t *answer = ask_again(ctl, command);
		json_t *operation = answer ? result_of(answer) : NULL;
		bool over = true;

		if (!answer)
			return CLI_CANNOT_CONNECT;
		if (!is_ok(answer))
			status = fail_as(ctl, answer);
		else if (json_integer_value(json_object_get(operation, "number")) != number)
			status = ctl_fail(
				ctl, "state", "another operation has begun since", CLI_FAILED);
		else
			over = say_steps(ctl, operation, &seen, &status);
		json_decref(answer);
		if (over)
			return status;
		pause_ms(POLL_MS);
	}
}

static int begin_and_follow(struct ctl *ctl, const char *command)
{
	json_t *answer = ask(ctl, command);
	json_int_t number = 0;
	int status = CLI_CANNOT_CONNECT;

	if (answer && !is_ok(answer)) {
		status = fail_as(ctl, answer);
	} else if (answer) {
		number = json_integer_value(json_object_get(result_of(answer), "number"));
		status = CLI_CLEAN;
	}
	json_decref(answer);
	return status ? status : follow(ctl, number);
}

static int run_workers(struct ctl *ctl)
{
	char command[COMMAND_SIZE];
	long count;

	if (ctl->word_count != 2 || !number_of(ctl->words[1], PROCESS_WORKERS_MAX, &count) ||
		count < 1)
		return ctl_complain("%s", "expected: workers N, from 1 to 64");
	snprintf(command, sizeof(command), "scale %ld", count);
	if (ctl->wait_s >= 0)
		snprintf(command, sizeof(command), "scale %ld wait %ld", count, ctl->wait_s);
	return begin_and_follow(ctl, command);
}

static int run_upgrade(struct ctl *ctl)
{
	char *path = ctl->binary ? realpath(ctl->binary, NULL) : NULL;
	char command[PROCESS_PATH_SIZE + 16];
	int status;

	if (ctl->binary && !path)
		return ctl_complain("there is no %s", ctl->binary);
	if (path && strlen(path) >= PROCESS_PATH_SIZE) {
		free(path);
		return ctl_complain("%s", "the path of the program is too long");
	}
	snprintf(command, sizeof(command), "upgrade %s", path ? path : "");
	free(path);
	status = begin_and_follow(ctl, command);
	return status;
}

/* ---- words ----------------------------------------------------------------------------------- */

static const struct ctl_command commands[] = {
	// clang-format off
	/* name, words behind it at most, options, offline */
	{"status", 0, 0, false, run_status},
	{"drain", 3, TAKES_WAIT | TAKES_STOP, false, run_drain},
	{"workers", 1, TAKES_WAIT, false, run_workers},
	{"upgrade", 0, TAKES_BINARY, false, run_upgrade},
	{"keys", 3, TAKES_KEYS | TAKES_DAYS, true, ctl_keys},
	// clang-format on
};

/* "--flag VALUE" or "--flag=VALUE" at argv[*i]; NULL: it is another word. */
static const char *value_of(const char *flag, int argc, char **argv, int *i)
{
	size_t length = strlen(flag);

	if (!strncmp(argv[*i], flag, length) && argv[*i][length] == '=')
		return argv[*i] + length + 1;
	if (strcmp(argv[*i], flag) || *i + 1 == argc)
		return NULL;
	return argv[++*i];
}

static int read_words(struct ctl *ctl, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const char *value;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			ctl->help = true;
		} else if (!strcmp(argv[i], "--json")) {
			ctl->options.json = true;
		} else if (!strcmp(argv[i], "--stop")) {
			ctl->stop = true;
		} else if ((value = value_of("--connect", argc, argv, &i))) {
			ctl->options.connect = value;
		} else if ((value = value_of("--binary", argc, argv, &i))) {
			ctl->binary = value;
		} else if ((value = value_of("--wait", argc, argv, &i))) {
			if (!number_of(value, WAIT_S_MAX, &ctl->wait_s))
				return ctl_complain("--wait: expected seconds, not \"%s\"", value);
		} else if ((value = value_of("--name", argc, argv, &i))) {
			ctl->name = value;
		} else if ((value = value_of("--data-dir", argc, argv, &i))) {
			ctl->data_dir = value;
		} else if ((value = value_of("--cluster-key", argc, argv, &i))) {
			ctl->cluster_key = value;
		} else if ((value = value_of("--days", argc, argv, &i))) {
			if (!number_of(value, DAYS_MAX, &ctl->days))
				return ctl_complain("--days: expected days, not \"%s\"", value);
		} else if (argv[i][0] == '-' || ctl->word_count == 4) {
			return ctl_complain("unexpected \"%s\"", argv[i]);
		} else {
			ctl->words[ctl->word_count++] = argv[i];
		}
	}
	return CLI_CLEAN;
}

static int check_words(const struct ctl *ctl, const struct ctl_command **command)
{
	if (!ctl->word_count)
		return ctl_complain(
			"%s", "expected a command: status, drain, workers, upgrade, keys");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(ctl->words[0], commands[i].name))
			*command = &commands[i];
	if (!*command)
		return ctl_complain("no such command: %s", ctl->words[0]);
	if (ctl->word_count - 1 > (*command)->words_max)
		return ctl_complain("unexpected \"%s\"", ctl->words[1 + (*command)->words_max]);
	const struct {
		bool given;
		unsigned flag;
		const char *text;
	} options[] = {
		{ctl->wait_s != NOT_GIVEN,			   TAKES_WAIT,   "%s does not take --wait"	},
		{ctl->stop,				   TAKES_STOP,	"%s does not take --stop"	 },
		{ctl->binary,				 TAKES_BINARY, "%s does not take --binary"     },
		{ctl->name,				   TAKES_KEYS,	"%s does not take --name"	 },
		{ctl->data_dir,				TAKES_KEYS,   "%s does not take --data-dir"	 },
		{ctl->cluster_key,				   TAKES_KEYS,   "%s does not take --cluster-key"},
		{ctl->days != NOT_GIVEN,			 TAKES_DAYS,   "%s does not take --days"	      },
		{ctl->options.connect && (*command)->offline, 0,		 "%s does not take --connect"    },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].given && !((*command)->takes & options[i].flag))
			return ctl_complain(options[i].text, ctl->words[0]);
	return CLI_CLEAN;
}

int ctl_main(int argc, char **argv)
{
	struct ctl ctl = {.options = {.program = "ctl"}, .wait_s = NOT_GIVEN, .days = NOT_GIVEN};
	const struct ctl_command *command = NULL;
	int status = read_words(&ctl, argc, argv);

	if (!status && ctl.help) {
		printf("%s", ctl_help);
		return fflush(stdout) ? CLI_FAILED : CLI_CLEAN;
	}
	if (!status)
		status = check_words(&ctl, &command);
	if (!status && !command->offline)
		status = repl_client_open(&ctl.client, &ctl.options);
	if (!status)
		status = command->run(&ctl);
	repl_client_close(&ctl.client);
	return status;
}
