/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/repl_client.h"

#include "runtime/cli.h"
#include "runtime/places.h"

#include <dirent.h>
#include <errno.h>
#include <histedit.h>
#include <poll.h>
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
	HISTORY_LINES = 500,
	COLUMNS_MAX = 24,
	TREE_DEPTH_MAX = 16,
	CELL_MAX = 60,
	PATH_SIZE = 512,
};

struct client {
	const struct repl_client_options *options;
	int socket;
	char *bytes; /* what was received and not yet shown */
	size_t used;
	size_t room;
	json_t *commands; /* rows of `help`, for completion */
};

/* --- which node ------------------------------------------------------------------------------ */

/* The only live node under the default run directory. */
static int find_node(char *run_dir, size_t size)
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
			fprintf(stderr, "millrace: repl: several nodes run: --connect %s\n", path);
		else
			snprintf(run_dir, size, "%s", path);
	}
	if (dir)
		closedir(dir);
	if (found == 1)
		return CLI_CLEAN;
	if (found)
		fprintf(stderr, "millrace: repl: or --connect %s\n", run_dir);
	else
		fprintf(stderr, "millrace: repl: no node runs under %s\n", base);
	return found ? CLI_USAGE : CLI_CANNOT_CONNECT;
}

/* The address of the node's console; status CLI_CLEAN when there is a node to talk to. */
static int find_address(const struct repl_client_options *options, char *address, size_t size)
{
	const char *given = options->connect ? options->connect : getenv("MILLRACE_RUN_DIR");
	char run_dir[PATH_SIZE];

	if (given && !strncmp(given, "tcp://", 6)) {
		fprintf(stderr, "millrace: repl: consoles over tcp are not part of this release\n");
		return CLI_USAGE;
	}
	size_t length = given ? strlen(given) : 0;
	if (length > 5 && !strcmp(given + length - 5, ".sock")) {
		snprintf(address, size, "%s", given);
		return CLI_CLEAN;
	}
	if (given && *given) {
		snprintf(run_dir, sizeof(run_dir), "%s", given);
		if (!places_holder(run_dir)) {
			fprintf(stderr, "millrace: repl: no node runs in %s\n", run_dir);
			return CLI_CANNOT_CONNECT;
		}
	} else {
		int status = find_node(run_dir, sizeof(run_dir));

		if (status)
			return status;
	}
	snprintf(address, size, "%s/repl.sock", run_dir);
	return CLI_CLEAN;
}

/* --- showing --------------------------------------------------------------------------------- */

/* A value in one line; strings without quotes. Returns `text`. */
static const char *cell(const json_t *value, char *text, size_t size)
{
	if (!value || json_is_null(value)) {
		snprintf(text, size, "-");
	} else if (json_is_string(value)) {
		snprintf(text, size, "%s", json_string_value(value));
	} else {
		char *dump =
			json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));

		snprintf(text, size, "%s", dump ? dump : "?");
		free(dump);
	}
	/* what came from outside must not drive the terminal */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

static void show_table(FILE *out, const json_t *rows)
{
	const char *keys[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], columns = 0;
	char text[CELL_MAX + 1];
	const char *key;
	json_t *value;

	json_object_foreach(json_array_get(rows, 0), key, value)
	{
		if (columns == COLUMNS_MAX)
			break;
		keys[columns] = key;
		widths[columns++] = strlen(key);
	}
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t c = 0; c < columns; c++) {
			size_t length =
				strlen(cell(json_object_get(json_array_get(rows, i), keys[c]), text,
					sizeof(text)));

			widths[c] = length > widths[c] ? length : widths[c];
		}
	for (size_t c = 0; c < columns; c++)
		fprintf(out, "%-*s", c + 1 == columns ? 0 : (int)widths[c] + 2, keys[c]);
	fprintf(out, "\n");
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		for (size_t c = 0; c < columns; c++)
			fprintf(out, "%-*s", c + 1 == columns ? 0 : (int)widths[c] + 2,
				cell(json_object_get(row, keys[c]), text, sizeof(text)));
		fprintf(out, "\n");
	}
}

static void show_object(FILE *out, const json_t *object, int indent)
{
	size_t width = 0;
	const char *key;
	json_t *value;
	char text[1024];

	json_object_foreach((json_t *)object, key, value) if (strlen(key) > width) width =
		strlen(key);
	json_object_foreach((json_t *)object, key, value)
	{
		if (json_is_object(value) && json_object_size(value) && indent < 4) {
			fprintf(out, "%*s%s\n", indent * 2, "", key);
			show_object(out, value, indent + 1);
			continue;
		}
		fprintf(out, "%*s%-*s  %s\n", indent * 2, "", (int)width, key,
			cell(value, text, sizeof(text)));
	}
}

/* Objects with "children": a line each, indented below its parent. */
static void show_tree(FILE *out, const json_t *rows, int depth)
{
	char text[CELL_MAX + 1];
	const char *key;
	json_t *row, *value;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
	{
		fprintf(out, "%*s", depth * 2, "");
		json_object_foreach(
			row, key, value) if (!json_is_array(value) && !json_is_object(value))
			fprintf(out, "%s ", cell(value, text, sizeof(text)));
		fprintf(out, "\n");
		if (depth < TREE_DEPTH_MAX)
			show_tree(out, json_object_get(row, "children"), depth + 1);
	}
}

void repl_client_show(FILE *out, const json_t *result)
{
	char text[4096];

	if (!result || json_is_null(result))
		fprintf(out, "ok\n");
	else if (json_is_array(result) && json_array_size(result) == 0)
		fprintf(out, "none\n");
	else if (json_is_array(json_object_get(json_array_get(result, 0), "children")))
		show_tree(out, result, 0);
	else if (json_is_array(result) && json_is_object(json_array_get(result, 0)))
		show_table(out, result);
	else if (json_is_object(result))
		show_object(out, result, 0);
	else if (json_is_string(result))
		fprintf(out, "%s\n", json_string_value(result));
	else
		fprintf(out, "%s\n", cell(result, text, sizeof(text)));
}

static void show_json(const json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);

	printf("%s\n", text ? text : "{\"ok\":false}");
	free(text);
}

/* Errors of our own, in the form that scripts expect. */
static void show_error(
	const struct repl_client_options *options, const char *code, const char *message)
{
	if (options->json)
		printf("{\"ok\":false,\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code,
			message);
	else
		fprintf(stderr, "millrace: repl: %s\n", message);
}

/* --- talking --------------------------------------------------------------------------------- */

static int connect_to(struct client *client, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path)) {
		show_error(client->options, "too_large", "the path of the socket is too long");
		return CLI_USAGE;
	}
	memcpy(address.sun_path, path, strlen(path));
	client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->socket < 0)
		return CLI_FAILED;
	if (connect(client->socket, (struct sockaddr *)&address, sizeof(address))) {
		show_error(client->options, "closed", "no node listens there");
		return CLI_CANNOT_CONNECT;
	}
	return CLI_CLEAN;
}

static void disconnect(struct client *client)
{
	if (client->socket >= 0)
		close(client->socket);
	free(client->bytes);
}

static bool send_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		size -= (size_t)sent;
	}
	return true;
}

static int send_command(struct client *client, const char *command)
{
	json_t *request =
		json_pack("{s:s, s:b}", "command", command, "json", client->options->json);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int status = CLI_CLEAN;

	/* not UTF-8, or no memory */
	if (!text) {
		show_error(client->options, "format", "the command is not text");
		status = CLI_FAILED;
	} else if (!send_all(client->socket, text, strlen(text)) ||
		   !send_all(client->socket, "\n", 1)) {
		show_error(client->options, "closed", "the node closed the connection");
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

/* Receives more bytes; NULL, or why there are none. `deadline_ms` < 0: waits for ever. */
static const char *receive_more(struct client *client, int64_t deadline_ms)
{
	struct pollfd readable = {.fd = client->socket, .events = POLLIN};
	int64_t left_ms = deadline_ms < 0 ? -1 : deadline_ms - now_ms();

	if (client->room - client->used < READ_SIZE) {
		size_t room = client->room * 2 + READ_SIZE;
		char *bytes = room > ANSWER_BYTES_MAX ? NULL : realloc(client->bytes, room);

		if (!bytes)
			return "the answer is too large";
		client->bytes = bytes;
		client->room = room;
	}
	int ready = deadline_ms >= 0 && left_ms <= 0 ? 0 : poll(&readable, 1, (int)left_ms);
	if (ready < 0 && errno == EINTR)
		return NULL;
	if (ready <= 0)
		return "the node does not answer";
	ssize_t size = recv(client->socket, client->bytes + client->used, READ_SIZE, 0);
	if (size <= 0)
		return "the node closed the connection";
	client->used += (size_t)size;
	return NULL;
}

/* The next answer; NULL with *why when there is none. */
static json_t *receive_answer(struct client *client, int64_t deadline_ms, const char **why)
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

static int show_answer(const struct client *client, const json_t *answer)
{
	const json_t *text = json_object_get(answer, "text");
	const json_t *error = json_object_get(answer, "error");
	bool ok = json_is_true(json_object_get(answer, "ok"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (client->options->json)
		show_json(answer);
	else if (!ok)
		fprintf(stderr, "error: %s\n", message ? message : "no reason given");
	else if (json_is_string(text))
		printf("%s\n", json_string_value(text));
	else
		repl_client_show(stdout, json_object_get(answer, "result"));
	fflush(stdout);
	return ok ? CLI_CLEAN : CLI_FAILED;
}

static int run_command(struct client *client, const char *command)
{
	int64_t deadline_ms = now_ms() + ANSWER_MS;
	int status = send_command(client, command);
	bool more = true;

	while (!status && more) {
		const char *why;
		json_t *answer = receive_answer(client, deadline_ms, &why);

		if (!answer) {
			show_error(client->options, "closed", why);
			return CLI_CANNOT_CONNECT;
		}
		status = show_answer(client, answer);
		more = json_is_true(json_object_get(answer, "more"));
		deadline_ms = -1;
		json_decref(answer);
	}
	return status;
}

/* --- reading --------------------------------------------------------------------------------- */

static bool is_blank(const char *line)
{
	return line[strspn(line, " \t\r\n")] == '\0';
}

static bool wants_out(const char *line)
{
	return !strcmp(line, "exit") || !strcmp(line, "quit");
}

static int run_lines(struct client *client)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	int status = CLI_CLEAN;

	while (status != CLI_CANNOT_CONNECT && (length = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\r\n")] = '\0';
		if (is_blank(line))
			continue;
		if (wants_out(line))
			break;
		int this = run_command(client, line);
		status = this ? this : status;
	}
	free(line);
	return status;
}

static char *prompt(EditLine *editor)
{
	(void)editor;
	return "millrace> ";
}

/* The node knows its commands; without an answer there is just nothing to complete. */
static void learn_commands(struct client *client)
{
	const char *why;
	json_t *answer = NULL;

	if (!send_command(client, "help"))
		answer = receive_answer(client, now_ms() + ANSWER_MS, &why);
	client->commands = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
}

/* Tab: adds what all commands that begin like the first word have in common. */
static unsigned char complete(EditLine *editor, int key)
{
	const LineInfo *line = el_line(editor);
	size_t typed = (size_t)(line->cursor - line->buffer), common = 0;
	struct client *client = NULL;
	const char *first = NULL;
	char rest[64];
	unsigned matches = 0;
	json_t *row;
	size_t i;

	(void)key;
	el_get(editor, EL_CLIENTDATA, &client);
	json_array_foreach(client->commands, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "command"));

		if (!name || strncmp(name, line->buffer, typed) != 0)
			continue;
		if (!matches++) {
			first = name;
			common = strlen(name);
		}
		for (size_t k = typed; k < common; k++)
			if (name[k] != first[k])
				common = k;
	}
	if (!matches || (common == typed && matches > 1))
		return CC_REFRESH_BEEP;
	snprintf(rest, sizeof(rest), "%.*s%s", (int)(common - typed), first + typed,
		matches == 1 ? " " : "");
	return el_insertstr(editor, rest) ? CC_REFRESH_BEEP : CC_REFRESH;
}

static int run_terminal(struct client *client)
{
	EditLine *editor = el_init("millrace", stdin, stdout, stderr);
	History *past = history_init();
	const char *home = getenv("HOME"), *line;
	char file[PATH_SIZE] = "", command[4096];
	HistEvent event;
	int count, status = CLI_CLEAN;

	if (!editor || !past)
		return CLI_FAILED;
	if (home)
		snprintf(file, sizeof(file), "%s/.millrace_history", home);
	history(past, &event, H_SETSIZE, HISTORY_LINES);
	history(past, &event, H_SETUNIQUE, 1);
	if (home)
		history(past, &event, H_LOAD, file);
	el_set(editor, EL_PROMPT, prompt);
	el_set(editor, EL_EDITOR, "emacs");
	el_set(editor, EL_SIGNAL, 1);
	el_set(editor, EL_HIST, history, past);
	learn_commands(client);
	el_set(editor, EL_CLIENTDATA, client);
	el_set(editor, EL_ADDFN, "complete", "completes a command", complete);
	el_set(editor, EL_BIND, "^I", "complete", NULL);
	el_source(editor, NULL);
	/* H_SAVE keeps the file to its owner */
	while (status != CLI_CANNOT_CONNECT && (line = el_gets(editor, &count)) && count > 0) {
		snprintf(command, sizeof(command), "%s", line);
		command[strcspn(command, "\r\n")] = '\0';
		if (is_blank(command))
			continue;
		history(past, &event, H_ENTER, line);
		if (wants_out(command))
			break;
		status = run_command(client, command);
	}
	if (home)
		history(past, &event, H_SAVE, file);
	history_end(past);
	el_end(editor);
	json_decref(client->commands);
	/* a command that failed was answered; the session itself went well */
	return status == CLI_CANNOT_CONNECT ? status : CLI_CLEAN;
}

int repl_client_run(const struct repl_client_options *options)
{
	struct client client = {.options = options, .socket = -1};
	char address[PATH_SIZE + 32];
	int status = find_address(options, address, sizeof(address));

	if (!status)
		status = connect_to(&client, address);
	if (!status && options->command_count) {
		for (unsigned i = 0; !status && i < options->command_count; i++)
			status = run_command(&client, options->commands[i]);
	} else if (!status) {
		bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);

		status = terminal ? run_terminal(&client) : run_lines(&client);
	}
	disconnect(&client);
	return status;
}
