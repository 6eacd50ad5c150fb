/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands as a user gives them: exit status and what is printed. The console talks to a fake node
 * in a forked process.
 */
#include "runtime/cli.h"
#include "runtime/repl_client.h"
#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 8, OUTPUT_SIZE = 32768 };

static char *const no_environment[] = {NULL};

/* Runs the command in a fork; what it printed on both outputs is in `output`. */
static int run_command(char *const *argv, char *const *environment, char *output)
{
	FILE *file = tmpfile();
	struct cli cli = {
		.argv = (char **)argv,
		.environment = environment,
		.version = "1.2.3+4",
		.load_help = "usage: millrace load WORD\n\n  one  a kind\n  --ca FILE  trust\n",
	};
	int status = 0;

	MUST(file);
	while (cli.argc < ARGUMENTS_MAX && argv[cli.argc])
		cli.argc++;
	fflush(NULL);
	pid_t pid = test_fork();
	if (pid == 0) {
		dup2(fileno(file), STDOUT_FILENO);
		dup2(fileno(file), STDERR_FILENO);
		close(STDIN_FILENO);
		int result = cli_run(&cli);
		fflush(NULL);
		_exit(result);
	}
	MUST(waitpid(pid, &status, 0) == pid);
	rewind(file);
	output[fread(output, 1, OUTPUT_SIZE - 1, file)] = '\0';
	fclose(file);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(commands)
{
	// clang-format off
	static const struct {
		char *argv[ARGUMENTS_MAX];
		int status;
		const char *part;
	} rows[] = {
		{{"millrace"}, 2, "usage: millrace COMMAND"},
		{{"millrace", "version"}, 0, "millrace 1.2.3+4\n"},
		{{"millrace", "--version"}, 0, "millrace 1.2.3+4\n"},
		{{"millrace", "help"}, 0, "repl "},
		{{"millrace", "-h"}, 0, "node "},
		{{"millrace", "help", "node"}, 0, "--rtmp-message-bytes-max SIZE"},
		{{"millrace", "help", "repl"}, 0, "--connect RUN-DIR"},
		{{"millrace", "help", "load"}, 0, "usage: millrace load WORD"},
		{{"millrace", "help", "man"}, 0, "\n.TP\n\\fB\\-\\-log\\-level\\fR \\fIdebug|info|warn|error\\fR\nlines"},
		{{"millrace", "help", "man"}, 0, ".SH LOAD\n.PP\n.TP\n\\fBone\\fR\na kind\n"},
		{{"millrace", "help", "completion"}, 0, "\n\t--log-format) words=\"text json\" ;;\n"},
		{{"millrace", "help", "completion"}, 0, "\n\t--ca) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"},
		{{"millrace", "help", "completion"}, 0, "\t\tload) words=\" one --ca --help\" ;;\n"},
		{{"millrace", "help", "config"}, 0, "\n# TCP port of RTMP [PORT]\n#rtmp.port: 1935\n"},
		{{"millrace", "help", "cooking"}, 2, "no help about \"cooking\""},
		{{"millrace", "node", "--help"}, 0, "--http-port PORT"},
		{{"millrace", "node", "--htp-port", "1"}, 2, "did you mean --http-port?"},
		{{"millrace", "node", "--http-port", "1935"}, 2, "overlaps"},
		{{"millrace", "node", "--coord", "etcd://a"}, 2, "expected local or etcd://host:port"},
		{{"millrace", "node", "--config", "/nonexistent.yaml"}, 2, "expected a readable file"},
		{{"millrace", "node", "--config", "/"}, 2, "expected a readable file"},
		{{"millrace", "twin", "x"}, 2, "not part of this release"},
		{{"millrace", "twin"}, 2, "not part of this release"},
		{{"millrace", "dance"}, 2, "unknown command \"dance\""},
		{{"millrace", "repl", "--loud"}, 2, "unexpected \"--loud\""},
		{{"millrace", "version", "x"}, 2, "version: unexpected \"x\""},
		{{"millrace", "node", "--token-key-file", "/nonexistent"}, 2, "token.key_file: the key file cannot"},
		{{"millrace", "node", "--stream-standby", "main"}, 2, "patterns of app/stream, got \"main\""},
		{{"millrace", "node", "--http-alternatives", "http://a b"}, 2, "expected URLs, http:// or https://, got \"b\""},
		{{"millrace", "repl", "-e"}, 2, "expected a value after \"-e\""},
		{{"millrace", "repl", "--connect", "tcp://a:1", "--operator", "/nowhere/x"}, 2, "no operator's file"},
		{{"millrace", "repl", "tcp://a:1", "--operator=/nowhere/x"}, 2, "no operator's file"},
		{{"millrace", "repl", "tcp://a"}, 2, "expected tcp://HOST:PORT"},
		{{"millrace", "repl", "tcp://a:1", "tcp://a:2"}, 2, "unexpected"},
		{{"millrace", "repl", "--operator"}, 2, "expected a value after \"--operator\""},
		{{"millrace", "repl", "--connect", "/nonexistent", "-e", "x"}, 3, "no node runs in"},
	};
	// clang-format on
	static char output[OUTPUT_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = run_command(rows[i].argv, no_environment, output);

		if (status != rows[i].status || !strstr(output, rows[i].part))
			fail_msg("row %zu: status %d, output: %s", i, status, output);
	}
}

/* Takes the # from every key of the file that `help config` prints. */
static size_t without_comments(const char *file, char *out, size_t size)
{
	struct writer w = writer_of(out, size);

	for (const char *line = file; *line; line += strcspn(line, "\n") + 1)
		if (line[0] == '#' && line[1] != ' ')
			write_bytes(&w, line + 1, strcspn(line, "\n"));
	CHECK(!w.bad);
	return writer_used(&w);
}

TEST(the_configuration_file_is_right_as_it_is_and_with_every_key_set)
{
	static char output[OUTPUT_SIZE], set[OUTPUT_SIZE];
	static struct config defaults, read;
	static struct config_report report;
	char *argv[] = {"millrace", "help", "config", NULL};

	CHECK_EQ(run_command(argv, no_environment, output), 0);
	config_init(&defaults, &report);
	config_init(&read, &report);
	CHECK_OK(config_read_yaml(&read, "f", output, strlen(output), &report));
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		CHECK_EQ(report.origin[key].source, CONFIG_FROM_DEFAULT);
	size_t size = without_comments(output, set, sizeof(set));
	if (config_read_yaml(&read, "f", set, size, &report))
		fail_msg("%s: %s", report.errors[0].place, report.errors[0].text);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		CHECK_EQ(report.origin[key].source, CONFIG_FROM_FILE);
		CHECK(config_same(&read, &defaults, (enum config_key)key));
	}
}

TEST(wrong_file_and_environment_are_told_together)
{
	static char output[OUTPUT_SIZE];
	char path[] = "/tmp/millrace-test-XXXXXX";
	char file[64];
	int fd = mkstemp(path);

	CHECK(fd >= 0 && write(fd, "\nhttp.port: x\n", 14) == 14);
	close(fd);
	snprintf(file, sizeof(file), "MILLRACE_CONFIG=%s", path);
	char *environment[] = {file, "MILLRACE_WORKERS=y", "MILLRACE_NO_SUCH=1", NULL};
	char *argv[] = {"millrace", "node", "--rtmp-port", "z", NULL};

	CHECK_EQ(run_command(argv, environment, output), 2);
	assert_non_null(strstr(output, ":2: http.port: expected"));
	assert_non_null(strstr(output, "MILLRACE_WORKERS: workers: expected"));
	assert_non_null(strstr(output, "--rtmp-port: rtmp.port: expected"));
	assert_non_null(strstr(output, "warning: MILLRACE_NO_SUCH"));
	unlink(path);
}

/* Answers each request with the text after "say " in its command; "two" has two answers. */
static _Noreturn void run_fake_node(int listener)
{
	for (;;) {
		int peer = accept(listener, NULL, NULL);
		FILE *in = fdopen(peer, "r");
		char text[4096];

		while (fgets(text, sizeof(text), in)) {
			json_t *request = json_loads(text, 0, NULL);
			const char *command =
				json_string_value(json_object_get(request, "command"));
			bool two = !strcmp(command, "two");

			if (!strcmp(command, "hang up"))
				break;
			dprintf(peer, "%s\n",
				two ? "{\"ok\":true,\"result\":1,\"more\":true}" : command + 4);
			if (two)
				dprintf(peer, "{\"ok\":true,\"result\":2}\n");
			json_decref(request);
		}
		fclose(in);
	}
}

TEST(the_console_shows_answers)
{
	// clang-format off
	static const struct {
		const char *command;
		bool json;
		int status;
		const char *output;
	} rows[] = {
		{"say {\"ok\":true,\"result\":[{\"worker\":0,\"cpu\":0.5}]}", false, 0, "worker  cpu\n0       0.5\n"},
		{"say {\"ok\":true,\"result\":[{\"worker\":0}]}", true, 0, "{\"ok\":true,\"result\":[{\"worker\":0}]}\n"},
		{"say {\"ok\":true,\"result\":[]}", false, 0, "none\n"},
		{"say {\"ok\":true}", false, 0, "ok\n"},
		{"say {\"ok\":true,\"text\":\"a\\nb\",\"result\":1}", false, 0, "a\nb\n"},
		{"say {\"ok\":false,\"error\":{\"code\":\"x\",\"message\":\"bad luck\"}}", false, 1, "error: bad luck\n"},
		{"say {\"ok\":false,\"error\":{\"code\":\"x\",\"message\":\"m\"}}", true, 1, "{\"ok\":false,\"error\":{\"code\":\"x\",\"message\":\"m\"}}\n"},
		{"say {}", false, 1, "error: no reason given\n"},
		{"say nonsense", false, 3, "millrace: repl: the node's answer is not JSON\n"},
		{"hang up", false, 3, "millrace: repl: the node closed the connection\n"},
		{"hang up", true, 3, "{\"ok\":false,\"error\":{\"code\":\"closed\",\"message\":\"the node closed the connection\"}}\n"},
		{"two", false, 0, "1\n2\n"},
	};
	// clang-format on
	static char output[OUTPUT_SIZE];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/millrace-test-XXXXXX", address[64];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(address, sizeof(address), "%s/repl.sock", dir);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", address);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!bind(listener, (struct sockaddr *)&at, sizeof(at)) && !listen(listener, 8));
	fflush(NULL);
	pid_t node = test_fork();
	if (node == 0)
		run_fake_node(listener);
	close(listener);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *argv[] = {"millrace", "repl", "--connect", address, "-e",
			(char *)rows[i].command, rows[i].json ? "--json" : NULL, NULL};

		CHECK_EQ(run_command(argv, no_environment, output), rows[i].status);
		CHECK_STR(output, rows[i].output);
	}
	kill(node, SIGKILL);
	waitpid(node, NULL, 0);
	unlink(address);
	rmdir(dir);
}

TEST(results_are_laid_out)
{
	static const struct {
		const char *json;
		const char *text;
	} rows[] = {
		{"{\"addr\":\"1.2\",\"state\":{\"a\":1,\"bcd\":null}}",
			"addr   1.2\nstate\n  a    1\n  bcd  -\n"				 },
		{"[1,2]",					       "[1,2]\n"	   },
		{"\"x\"",					       "x\n"	       },
		{"null",						"ok\n"       },
		{"{\"k\":\"a\\u001b[31m\"}",			     "k  a?[31m\n"},
		{"[{\"a\":1},{\"b\":2}]",				  "a\n1\n-\n"  },
		{"[{\"s\":\"x\",\"t\":[{\"c\":\"H264\",\"w\":640,\"r\":0},{\"c\":\"A\\u001bC\"}],"
		 "\"u\":[]}]",						      "s  t              u\nx  H264 640, A?C  -\n"							      },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *value = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
		char *text = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&text, &size);

		repl_client_show(out, value);
		fclose(out);
		CHECK_STR(text, rows[i].text);
		free(text);
		json_decref(value);
	}
}
