/* SPDX-License-Identifier: Apache-2.0
 *
 * Which node, the connection to it, and a command from its question to its last answer.
 */
#include "runtime/repl_internal.h"

#include "runtime/cli.h"
#include "runtime/places.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	ANSWER_MS = 5000, /* the first answer to a command */
	ANSWER_BYTES_MAX = 16 << 20,
	READ_SIZE = 16384,
	PATH_SIZE = 512,
};

/* --- which node ------------------------------------------------------------------------------ */

/* The only live node under the default run directory. */
static int find_node(const char *program, char *run_dir, size_t size)
{
	struct config_host host;
	char base[PATH_SIZE / 2], path[PATH_SIZE];
	unsigned found = 0;
	struct dirent *entry;

	cli_host(&host);
	DIR *dir = config_run_base(&host, base, sizeof(base)) ? opendir(base) : NULL;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, entry->d_name);
		if (!places_holder(path))
			continue;
		if (found++)
			fprintf(stderr, "millrace: %s: several nodes run: --connect %s\n", program,
				path);
		else
			snprintf(run_dir, size, "%s", path);
	}
	if (dir)
		closedir(dir);
	if (found == 1)
		return CLI_CLEAN;
	if (found)
		fprintf(stderr, "millrace: %s: or --connect %s\n", program, run_dir);
	else
		fprintf(stderr, "millrace: %s: no node runs under %s\n", program, base);
	return found ? CLI_USAGE : CLI_CANNOT_CONNECT;
}

static const char far_scheme[] = "tcp://";

/* The address of the node's console; status CLI_CLEAN when there is a node to talk to. */
static int find_address(const struct repl_client_options *options, char *address, size_t size)
{
	const char *given = options->connect ? options->connect : getenv("MILLRACE_RUN_DIR");
	const char *program = options->program;
	char run_dir[PATH_SIZE];

	if (given && !strncmp(given, far_scheme, sizeof(far_scheme) - 1)) {
		snprintf(address, size, "%s", given);
		return CLI_CLEAN;
	}
	size_t length = given ? strlen(given) : 0;
	if (length > 5 && !strcmp(given + length - 5, ".sock")) {
		snprintf(address, size, "%s", given);
		return CLI_CLEAN;
	}
	if (given && *given) {
		snprintf(run_dir, sizeof(run_dir), "%s", given);
		if (!places_holder(run_dir)) {
			fprintf(stderr, "millrace: %s: no node runs in %s\n", program, run_dir);
			return CLI_CANNOT_CONNECT;
		}
	} else {
		int status = find_node(program, run_dir, sizeof(run_dir));

		if (status)
			return status;
	}
	snprintf(address, size, "%s/repl.sock", run_dir);
	return CLI_CLEAN;
}

static void show_json(const json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);

	printf("%s\n", text ? text : "{\"ok\":false}");
	free(text);
}

/* Errors of our own, in the form that scripts expect. */
static void show_error(const struct repl_client *client, const char *code, const char *message)
{
	const struct repl_client_options *options = client->options;
	json_t *document;

	if (client->quiet)
		return;
	if (!options->json) {
		fprintf(stderr, "millrace: %s: %s\n", options->program, message);
		return;
	}
	document = json_pack(
		"{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", code, "message", message);
	show_json(document);
	json_decref(document);
}

/* --- talking --------------------------------------------------------------------------------- */

static int connect_far(struct repl_client *client)
{
	char path[MESH_KEYS_PATH_SIZE], why[REPL_FAR_WHY_SIZE];
	int status = repl_far_open(&client->far, client->address,
		repl_far_operator_file(client->options->operator_file, path), why);

	if (status)
		show_error(client, status == CLI_USAGE ? "format" : "closed", why);
	return status;
}

static int connect_near(struct repl_client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = client->address;

	if (strlen(path) >= sizeof(address.sun_path)) {
		show_error(client, "too_large", "the path of the socket is too long");
		return CLI_USAGE;
	}
	memcpy(address.sun_path, path, strlen(path));
	client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->socket < 0)
		return CLI_FAILED;
	if (connect(client->socket, (struct sockaddr *)&address, sizeof(address))) {
		show_error(client, "closed", "no node listens there");
		return CLI_CANNOT_CONNECT;
	}
	return CLI_CLEAN;
}

static int connect_to(struct repl_client *client)
{
	return strncmp(client->address, far_scheme, sizeof(far_scheme) - 1) ? connect_near(client)
									    : connect_far(client);
}

static void disconnect(struct repl_client *client)
{
	repl_far_close(&client->far);
	if (client->socket >= 0)
		close(client->socket);
	client->socket = -1;
	free(client->bytes);
	client->bytes = NULL;
	client->used = client->room = 0;
}

int repl_client_reconnect(struct repl_client *client)
{
	disconnect(client);
	return connect_to(client);
}

static bool send_all(struct repl_client *client, const char *bytes, size_t size)
{
	if (client->far)
		return repl_far_send(client->far, bytes, size);
	while (size) {
		ssize_t sent = send(client->socket, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		size -= (size_t)sent;
	}
	return true;
}

static int send_command(struct repl_client *client, const char *command)
{
	json_t *request = json_pack("{s:s}", "command", command);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int status = CLI_CLEAN;

	/* not UTF-8, or no memory */
	if (!text) {
		show_error(client, "format", "the command is not text");
		status = CLI_FAILED;
	} else if (!send_all(client, text, strlen(text)) || !send_all(client, "\n", 1)) {
		show_error(client, "closed", "the node closed the connection");
		status = CLI_CANNOT_CONNECT;
	}
	free(text);
	json_decref(request);
	return status;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char interrupted[] = "interrupted";

/* Bytes, or an enum repl_far_got, from wherever the node is. */
static long receive_some(struct repl_client *client, char *bytes, size_t room, int timeout_ms)
{
	struct pollfd readable = {.fd = client->socket, .events = POLLIN};
	ssize_t size;

	if (client->far)
		return repl_far_receive(client->far, bytes, room, timeout_ms);
	int ready = poll(&readable, 1, timeout_ms);
	if (ready <= 0)
		return ready < 0 && errno == EINTR ? REPL_FAR_INTERRUPTED : REPL_FAR_TIMEOUT;
	size = recv(client->socket, bytes, room, 0);
	return size > 0 ? size : REPL_FAR_CLOSED;
}

/* Receives more bytes; NULL, or why there are none. `deadline_ms` < 0: waits for ever. */
static const char *receive_more(struct repl_client *client, int64_t deadline_ms)
{
	int64_t left_ms = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
	long size = REPL_FAR_TIMEOUT;

	if (client->room - client->used < READ_SIZE) {
		size_t room = client->room * 2 + READ_SIZE;
		char *bytes = room > ANSWER_BYTES_MAX ? NULL : realloc(client->bytes, room);

		if (!bytes)
			return "the answer is too large";
		client->bytes = bytes;
		client->room = room;
	}
	if (client->interrupted && *client->interrupted)
		return interrupted;
	if (deadline_ms < 0 || left_ms > 0)
		size = receive_some(client, client->bytes + client->used, READ_SIZE, (int)left_ms);
	if (size == REPL_FAR_INTERRUPTED)
		return client->interrupted && *client->interrupted ? interrupted : NULL;
	if (size == REPL_FAR_TIMEOUT)
		return "the node does not answer";
	if (size == REPL_FAR_CLOSED)
		return client->far ? "the connection to the node has ended"
				   : "the node closed the connection";
	client->used += (size_t)size;
	return NULL;
}

/* The next answer; NULL with *why when there is none. */
static json_t *receive_answer(struct repl_client *client, int64_t deadline_ms, const char **why)
{
	char *newline = NULL;

	*why = NULL;
	while (!(newline = client->used ? memchr(client->bytes, '\n', client->used) : NULL))
		if ((*why = receive_more(client, deadline_ms)))
			return NULL;
	size_t size = (size_t)(newline - client->bytes);
	json_t *answer = json_loadb(client->bytes, size, 0, NULL);
	client->used -= size + 1;
	memmove(client->bytes, newline + 1, client->used);
	if (!answer)
		*why = "the node's answer is not JSON";
	return answer;
}

static int show_answer(const struct repl_client *client, const json_t *answer, bool first)
{
	const json_t *text = json_object_get(answer, "text");
	const json_t *error = json_object_get(answer, "error");
	bool ok = json_is_true(json_object_get(answer, "ok"));
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *next = json_string_value(json_object_get(answer, "next"));

	if (client->options->json)
		show_json(answer);
	else if (!ok)
		fprintf(stderr, "error: %s\n", message ? message : "no reason given");
	else if (json_is_string(text))
		printf("%s\n", json_string_value(text));
	else if (first)
		repl_client_show(stdout, json_object_get(answer, "result"));
	else
		repl_show_event(stdout, answer);
	if (!client->options->json && next)
		printf("(there is more: after %s)\n", next);
	fflush(stdout);
	return ok ? CLI_CLEAN : CLI_FAILED;
}

/* Ctrl-C: the node is asked to end what goes on; its last answer is still to come. */
static bool end_follow(struct repl_client *client)
{
	static const char end[] = "{\"end\":true}\n";

	*client->interrupted = 0;
	return send_all(client, end, sizeof(end) - 1);
}

int repl_client_command(struct repl_client *client, const char *command)
{
	int64_t deadline_ms = now_ms() + ANSWER_MS;
	int status = send_command(client, command);
	bool more = true, first = true, ended = false;

	while (!status && more) {
		const char *why;
		json_t *answer = receive_answer(client, deadline_ms, &why);

		if (!answer && why == interrupted && !first && !ended && end_follow(client)) {
			ended = true;
			deadline_ms = now_ms() + ANSWER_MS;
			continue;
		}
		if (!answer) {
			if (why != interrupted)
				show_error(client, "closed", why);
			return CLI_CANNOT_CONNECT;
		}
		status = show_answer(client, answer, first);
		more = json_is_true(json_object_get(answer, "more"));
		if (!ended)
			deadline_ms = -1;
		first = false;
		json_decref(answer);
	}
	return status;
}

json_t *repl_client_ask(struct repl_client *client, const char *command, int within_ms)
{
	json_t *answer = NULL;
	const char *why;

	client->quiet = true;
	if (!send_command(client, command))
		answer = receive_answer(client, now_ms() + within_ms, &why);
	if (!answer) /* what comes late must not be taken for another answer */
		repl_client_reconnect(client);
	client->quiet = false;
	return answer;
}

/* ---- lines ----------------------------------------------------------------------------------- */

bool repl_is_blank(const char *line)
{
	return line[strspn(line, " \t\r\n")] == '\0';
}

bool repl_wants_out(const char *line)
{
	return !strcmp(line, "exit") || !strcmp(line, "quit");
}

static int run_lines(struct repl_client *client)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	int status = CLI_CLEAN;

	while (status != CLI_CANNOT_CONNECT && (length = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\r\n")] = '\0';
		if (repl_is_blank(line))
			continue;
		if (repl_wants_out(line))
			break;
		int this = repl_client_command(client, line);
		status = this ? this : status;
	}
	free(line);
	return status;
}

int repl_client_open(struct repl_client *client, const struct repl_client_options *options)
{
	int status;

	*client = (struct repl_client){.options = options, .socket = -1};
	status = find_address(options, client->address, sizeof(client->address));
	return status ? status : connect_to(client);
}

void repl_client_close(struct repl_client *client)
{
	if (client->options)
		disconnect(client);
}

int repl_client_run(const struct repl_client_options *options)
{
	struct repl_client client;
	int status = repl_client_open(&client, options);

	if (!status && options->command_count) {
		for (unsigned i = 0; !status && i < options->command_count; i++)
			status = repl_client_command(&client, options->commands[i]);
	} else if (!status) {
		bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);

		status = terminal ? repl_terminal_run(&client) : run_lines(&client);
	}
	repl_client_close(&client);
	return status;
}
