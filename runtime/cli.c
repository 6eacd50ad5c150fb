/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cli.h"

#include "runtime/cli_help.h"
#include "runtime/ctl.h"
#include "runtime/log.h"
#include "runtime/repl_client.h"
#include "runtime/supervisor.h"
#include "runtime/supervisor_state.h"
#include "runtime/tls_context.h"
#include "runtime/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void cli_host(struct config_host *host)
{
	static char name[256], cwd[1024];

	if (gethostname(name, sizeof(name) - 1))
		name[0] = '\0';
	int processors = get_nprocs();
	*host = (struct config_host){
		.name = name,
		.home = getenv("HOME"),
		.run = getenv("XDG_RUNTIME_DIR"),
		.state = getenv("XDG_STATE_HOME"),
		.cwd = getcwd(cwd, sizeof(cwd)),
		.processors = processors > 0 ? (unsigned)processors : 1,
		.uid = geteuid(),
	};
}

static void read_file(struct config *config, const char *path, struct config_report *report)
{
	/* one byte more than is taken, to know that there is more */
	static char bytes[CONFIG_FILE_BYTES_MAX + 1];
	FILE *file = fopen(path, "rb");
	size_t size = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

	if (!file || ferror(file)) {
		struct config_problem *problem = &report->errors[report->count++];

		snprintf(problem->place, sizeof(problem->place), "%s", path);
		snprintf(problem->text, sizeof(problem->text), "expected a readable file: %s",
			strerror(errno));
	} else {
		(void)config_read_yaml(config, path, bytes, size, report);
	}
	if (file)
		fclose(file);
	explicit_bzero(bytes, sizeof(bytes));
}

/* All sources into one finished configuration; false when there are errors, which are printed. */
static bool load_config(const struct cli *cli, struct config *config)
{
	static struct config_report report;
	struct config_host host;
	const char *file = config_file_named(cli->argc - 2, cli->argv + 2, cli->environment);

	config_init(config, &report);
	if (file)
		read_file(config, file, &report);
	(void)config_read_environment(config, cli->environment, &report);
	(void)config_read_flags(config, cli->argc - 2, cli->argv + 2, &report);
	cli_host(&host);
	(void)config_finish(config, &host, &report);

	for (unsigned i = 0; i < report.warning_count && i < CONFIG_ERRORS_MAX; i++)
		fprintf(stderr, "millrace: warning: %s: %s\n", report.warnings[i].place,
			report.warnings[i].text);
	for (unsigned i = 0; i < report.count && i < CONFIG_ERRORS_MAX; i++)
		fprintf(stderr, "millrace: %s: %s\n", report.errors[i].place,
			report.errors[i].text);
	if (report.count > CONFIG_ERRORS_MAX)
		fprintf(stderr, "millrace: and %u more\n", report.count - CONFIG_ERRORS_MAX);
	return report.count == 0;
}

static bool reload_config(void *context, struct config *fresh)
{
	return load_config(context, fresh);
}

/* NULL, or what is wrong with it; text may be written into `problem`. */
typedef const char *secret_check(const struct config *config, char problem[TLS_PROBLEM_MAX]);

static const char *certificate_problem(const struct config *config, char problem[TLS_PROBLEM_MAX])
{
	const struct tls_files files = {config->tls_cert, config->tls_key};
	const uint8_t secret[TLS_TICKET_SECRET] = {0}; /* nothing is sealed */
	struct tls_context *context;

	if (!config->tls_cert[0])
		return NULL;
	return tls_context_load(&context, &files, secret, time(NULL), problem) ? problem : NULL;
}

static const char *token_key_problem(const struct config *config, char problem[TLS_PROBLEM_MAX])
{
	struct token_key key;
	const char *why;
	enum err err = token_key_load(&key, config, &why);

	(void)problem;
	return err && err != ERR_NOT_FOUND ? why : NULL;
}

/* Can the workers use the certificate, and the key of tokens? They look for themselves later; a start
 * with a wrong one ends here, with a reason. In a process of its own: the supervisor, which this one
 * becomes, neither has keys in its memory nor anything of TLS in it. */
static bool check_secret(const struct config *config, const char *what, secret_check *check)
{
	char problem[TLS_PROBLEM_MAX];
	const char *why;
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		why = check(config, problem);
		if (why)
			fprintf(stderr, "millrace: %s: %s\n", what, why);
		_exit(why != NULL);
	}
	if (child < 0) {
		fprintf(stderr, "millrace: %s: %s\n", what, strerror(errno));
		return false;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool check_secrets(const struct config *config)
{
	bool certificate = !config->tls_cert[0] || check_secret(config, "tls", certificate_problem);
	bool token =
		(!config->token_key[0] && !config->token_key_file[0]) ||
		check_secret(config, config->token_key_file[0] ? "token.key_file" : "token.key",
			token_key_problem);

	return certificate && token;
}

/* `node --check`: would it start with this configuration, on this machine; and if a running node asks,
 * could it become this program? */
static int check_node(const struct cli *cli, const struct config *config, int state)
{
	const char *why = cli->self_test ? cli->self_test() : NULL;
	size_t size = 0;
	int arena;

	if (why) {
		fprintf(stderr, "%s: %s cannot run here\n", why, cli->version);
		return CLI_FAILED;
	}
	if (!state) {
		printf("millrace: the configuration is fit\n");
		return fflush(stdout) ? CLI_FAILED : CLI_CLEAN;
	}
	arena = cli->arena_create ? cli->arena_create(config, "millrace-check", &size) : -1;
	if (arena >= 0)
		close(arena);
	if (supervisor_state_suits(state, size, &why)) {
		printf(SUPERVISOR_STATE_FITS "%s\n", cli->version);
		return fflush(stdout) ? CLI_FAILED : CLI_CLEAN;
	}
	fprintf(stderr, "%s: restart the node to change to %s\n", why, cli->version);
	return CLI_FAILED;
}

/* True if `flag` is among the words; it is taken out of them. */
static bool take_flag(struct cli *cli, const char *flag)
{
	bool found = false;

	for (int i = 2; i < cli->argc; i++) {
		if (strcmp(cli->argv[i], flag))
			continue;
		found = true;
		memmove(&cli->argv[i], &cli->argv[i + 1],
			(size_t)(cli->argc - i) * sizeof(*cli->argv));
		cli->argc--;
		i--;
	}
	return found;
}

static int run_node(struct cli *cli)
{
	static struct config config;
	static struct log log;
	const struct log_sink sink = log_sink_stderr();
	int state = supervisor_state_take();
	bool check = take_flag(cli, "--check"), fit;

	for (int i = 2; i < cli->argc; i++)
		if (!strcmp(cli->argv[i], "--help") || !strcmp(cli->argv[i], "-h"))
			return cli_help(cli, "node");
	fit = load_config(cli, &config) && check_secrets(&config);
	/* a node that runs goes on in any case */
	if (!fit && (!state || check)) {
		fprintf(stderr, "millrace: try millrace help node\n");
		return CLI_USAGE;
	}
	if (check)
		return check_node(cli, &config, state);
	log_init(&log, "supervisor", (enum log_level)config.log_level,
		(enum log_format)config.log_format, &sink);
	return supervisor_main(&(struct supervisor_options){.config = fit ? &config : NULL,
		.state = state,
		.arguments = cli->argv,
		.log = &log,
		.arena_create = cli->arena_create,
		.reload = reload_config,
		.context = (void *)cli,
		.environment = cli->environment});
}

static int run_repl(const struct cli *cli)
{
	struct repl_client_options options = {.program = "repl"};

	for (int i = 2; i < cli->argc; i++) {
		const char *flag = cli->argv[i];
		bool more = i + 1 < cli->argc;

		if (!strcmp(flag, "--help") || !strcmp(flag, "-h"))
			return cli_help(cli, "repl");
		if (!strcmp(flag, "--json")) {
			options.json = true;
		} else if (!strcmp(flag, "--connect") && more) {
			options.connect = cli->argv[++i];
		} else if (!strncmp(flag, "--connect=", 10)) {
			options.connect = flag + 10;
		} else if (!strncmp(flag, "tcp://", 6) && !options.connect) {
			options.connect = flag;
		} else if (!strcmp(flag, "--operator") && more) {
			options.operator_file = cli->argv[++i];
		} else if (!strncmp(flag, "--operator=", 11)) {
			options.operator_file = flag + 11;
		} else if (!strcmp(flag, "-e") && more &&
			   options.command_count < REPL_CLIENT_COMMANDS_MAX) {
			options.commands[options.command_count++] = cli->argv[++i];
		} else {
			bool lacks = !more && (!strcmp(flag, "--connect") || !strcmp(flag, "-e") ||
						      !strcmp(flag, "--operator"));

			fprintf(stderr, "millrace: repl: %s \"%s\"\n%s",
				lacks ? "expected a value after" : "unexpected", flag,
				cli_repl_help);
			return CLI_USAGE;
		}
	}
	return repl_client_run(&options);
}

/* True when there are more words than that; then it is said. */
static bool has_too_many(const struct cli *cli, int words)
{
	if (cli->argc - 1 > words)
		fprintf(stderr, "millrace: %s: unexpected \"%s\"\n", cli->argv[1],
			cli->argv[1 + words]);
	return cli->argc - 1 > words;
}

int cli_run(struct cli *cli)
{
	const char *command = cli->argc > 1 ? cli->argv[1] : NULL;

	if (!command) {
		fprintf(stderr, "%s", cli_overview);
		return CLI_USAGE;
	}
	if (!strcmp(command, "node"))
		return run_node(cli);
	if (!strcmp(command, "repl"))
		return run_repl(cli);
	if (!strcmp(command, "ctl"))
		return ctl_main(cli->argc - 2, cli->argv + 2);
	if (!strcmp(command, "load") && cli->load)
		return cli->load(cli->argc - 2, cli->argv + 2);
	if (!strcmp(command, "version") || !strcmp(command, "--version")) {
		if (has_too_many(cli, 1))
			return CLI_USAGE;
		printf("millrace %s\n", cli->version);
		return CLI_CLEAN;
	}
	if (!strcmp(command, "help") || !strcmp(command, "--help") || !strcmp(command, "-h"))
		return has_too_many(cli, 2) ? CLI_USAGE
					    : cli_help(cli, cli->argc > 2 ? cli->argv[2] : NULL);
	if (!strcmp(command, "twin"))
		fprintf(stderr, "millrace: %s is not part of this release\n", command);
	else
		fprintf(stderr, "millrace: unknown command \"%s\"\n\n%s", command, cli_overview);
	return CLI_USAGE;
}
