/* SPDX-License-Identifier: Apache-2.0
 *
 * millrace load: a process by itself, with no supervisor, no bus and no arena, whose actors are
 * viewers or publishers of a server elsewhere. Signals become the orders that a supervisor would
 * give: the first ends all sessions in order, the second at once.
 */
#include "actors/client/client.h"
#include "actors/client/clip.h"
#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "runtime/cli.h"
#include "runtime/live.h"
#include "runtime/tls_context.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PROGRESS_TERMINAL_MS = 1000,
	PROGRESS_LOG_MS = 5000,
	DRAIN_MS = CLIENT_END_MS + 500,
	DESCRIPTORS_BESIDE = 128, /* of the process itself */
};

/* Everything of the process; what a signal handler reaches is atomic. */
struct load_process {
	struct load_options options;
	struct load_result result;
	struct client_shared shared;
	struct certificate certificate;
	struct dtls_context dtls;
	struct clip *clip;
	struct config config;
	struct config_report report;
	struct process_page page;
	struct process_env env;
	bool terminal;
};

static struct load_process load; /* for the signal handler: one a program */

static void order(enum process_order wanted)
{
	uint64_t one = 1;

	atomic_store(&process_own_status(&load.env)->order, wanted);
	if (write(load.env.fd.wake, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static void on_signal(int number)
{
	bool again = atomic_load(&process_own_status(&load.env)->order) != PROCESS_RUN;

	(void)number;
	order(again ? PROCESS_STOP : PROCESS_DRAIN);
}

static void finish(void)
{
	order(PROCESS_DRAIN);
}

static int64_t cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void progress(const struct load_summary *summary)
{
	char text[256];

	load_progress(summary, text, sizeof(text));
	fprintf(stderr, load.terminal ? "\r\033[K%s" : "%s\n", text);
}

static int complain(enum cli_status status, const char *format, const char *what)
{
	fprintf(stderr, "millrace: load: ");
	fprintf(stderr, format, what);
	fprintf(stderr, "\n");
	return status;
}

/* ---- what sessions need -------------------------------------------------------------------- */

/* Host and port of an URL; the address that it has, and ours as it sees us. */
static int look_up(void)
{
	const char *host = strstr(load.options.url, "://") + 3;
	size_t size = strcspn(host, "/?#");
	const char *at = memchr(host, '@', size);
	char name[256], port[8] = "";
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
	const char *colon;
	int fd, error;

	if (at) {
		size -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	bool v6 = host[0] == '[' && memchr(host, ']', size);

	colon = memchr(host, ':', size);
	if (v6) {
		const char *end = memchr(host, ']', size);

		colon = end[1] == ':' ? end + 1 : NULL;
		snprintf(name, sizeof(name), "%.*s", (int)(end - host - 1), host + 1);
	} else {
		snprintf(name, sizeof(name), "%.*s", (int)(colon ? (size_t)(colon - host) : size),
			host);
	}
	snprintf(port, sizeof(port), "%.*s",
		colon ? (int)(size - (size_t)(colon + 1 - host)) % 8 : 4,
		colon			       ? colon + 1
		: load_is_rtmps(&load.options) ? "443"
					       : "1935");
	text_copy(load.shared.host, sizeof(load.shared.host), name);
	error = getaddrinfo(name, port, &hints, &found);
	if (error)
		return complain(CLI_CANNOT_CONNECT, "%s", gai_strerror(error));
	net_addr_from_system(found->ai_addr, NET_TCP, &load.shared.server);
	fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 own = {0};
	socklen_t own_size = sizeof(own);

	/* a connected UDP socket sends nothing, but knows its route */
	if (fd >= 0 && !connect(fd, found->ai_addr, found->ai_addrlen) &&
		!getsockname(fd, (struct sockaddr *)&own, &own_size)) {
		net_addr_from_system(&own, NET_UDP, &load.shared.local);
		load.shared.local.port = 0;
	}
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	return CLI_CLEAN;
}

/* A file that is no certificate would fail each session, in words of its library. */
static int check_trust(void)
{
	struct tls_context *trusted;
	char problem[TLS_PROBLEM_MAX];
	enum err err = load.options.ca_file
			       ? tls_context_trust(&trusted, load.options.ca_file, problem)
			       : ERR_OK;

	if (err)
		return complain(CLI_USAGE, "--ca: %s", problem);
	if (load.options.ca_file)
		tls_context_release(&trusted);
	return CLI_CLEAN;
}

static bool prepare_media(void)
{
	bool webrtc = load.options.kind == LOAD_WHIP || load.options.kind == LOAD_WHEP;

	if (webrtc &&
		(openssl_ciphers_install() || certificate_create(&load.certificate, time(NULL)) ||
			dtls_context_init(&load.dtls, &load.certificate)))
		return false;
	load.shared.certificate = &load.certificate;
	load.shared.dtls = &load.dtls;
	if (load_publishes(&load.options) && clip_create(load.options.rate_bps, &load.clip))
		return false;
	load.shared.clip = load.clip;
	load.result = (struct load_result){.options = &load.options,
		.figures = calloc(load.options.count, sizeof(*load.result.figures))};
	return load.result.figures != NULL;
}

static int prepare_process(void)
{
	struct rlimit limit;
	int lifeline[2];

	config_init(&load.config, &load.report);
	load.config.drain_ms = DRAIN_MS;
	load.config.log_level = LOG_LEVEL_ERROR;
	load.env = (struct process_env){
		.role = PROCESS_CONTROL,
		.incarnation = 1,
		.block = 1,
		.node_id = 1,
		.page = &load.page,
		.config = &load.config,
		.fd = {.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
			.arena = -1,
			.rtc_udp = -1,
			.rtc_tcp = -1,
			.link_udp = -1,
			.mesh = -1,
			.http = -1,
			.repl = -1,
			.rtmp = -1,
			.https = -1,
			.rtmps = -1,
			.api = -1,
			.holder = -1,
			.command = -1},
	};
	/* its other end stays open as long as the process lives */
	if (load.env.fd.wake < 0 || pipe2(lifeline, O_CLOEXEC))
		return complain(CLI_FAILED, "%s", "no descriptors");
	load.env.fd.lifeline = lifeline[0];
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		rlim_t wanted = load.options.count + DESCRIPTORS_BESIDE;

		limit.rlim_cur = limit.rlim_cur > wanted ? limit.rlim_cur : wanted;
		if (limit.rlim_cur > limit.rlim_max || setrlimit(RLIMIT_NOFILE, &limit))
			return complain(CLI_FAILED, "%s",
				"so many sessions need more descriptors: "
				"ulimit -n");
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	return CLI_CLEAN;
}

static void tidy(void)
{
	clip_destroy(&load.clip);
	dtls_context_fini(&load.dtls);
	certificate_fini(&load.certificate);
	free(load.result.figures);
}

/* ---- the command --------------------------------------------------------------------------- */

static int report(void)
{
	struct load_summary summary;
	char *text = NULL;
	enum err err;

	load.result.cpu_us = cpu_us();
	err = load_summarise(&load.result, &summary);
	if (!err)
		err = load.options.json ? load_report_json(&load.result, &summary, &text)
					: load_report_text(&load.result, &summary, &text);
	if (load.terminal && load.shared.progress_ms)
		fprintf(stderr, "\r\033[K");
	if (!err)
		printf("%s%s", text, load.options.json ? "\n" : "");
	free(text);
	for (uint32_t i = 0; !err && load.options.json && i < summary.reason_count; i++)
		fprintf(stderr, "millrace: load: %u x %s\n", summary.reasons[i].count,
			summary.reasons[i].text);
	return err || fflush(stdout) ? CLI_FAILED : load_status(&summary);
}

static int run(void)
{
	static const struct actor_type *const types[] = {&client_office_actor, &rtc_client_actor,
		&rtmp_client_actor, &flv_client_actor, NULL};
	const struct live_office offices[] = {
		{OFFICE_CLIENTS, &client_office_actor, &load.shared},
		      {0 }
	 };
	const struct live_program program = {.types = types, .offices = offices};

	return live_run(&load.env, &program);
}

int load_main(int argc, char **argv)
{
	char why[LOAD_WHY_MAX];
	int status;

	if (load_options_read(&load.options, argc, argv, why)) {
		fprintf(stderr, "millrace: load: %s\nmillrace: try millrace load --help\n", why);
		return CLI_USAGE;
	}
	if (load.options.help) {
		printf("%s", load_help);
		return fflush(stdout) ? CLI_FAILED : CLI_CLEAN;
	}
	if (!load.options.token)
		load.options.token = getenv("MILLRACE_LOAD_TOKEN");
	load.terminal = isatty(STDERR_FILENO);
	load.shared = (struct client_shared){
		.options = &load.options,
		.result = &load.result,
		.cpu_us = cpu_us,
		.progress = progress,
		.progress_ms = load.terminal ? PROGRESS_TERMINAL_MS : PROGRESS_LOG_MS,
		.finish = finish,
	};
	status = check_trust();
	if (!status && load.options.kind != LOAD_FLV)
		status = look_up();
	if (!status && !prepare_media())
		status = complain(CLI_FAILED, "%s", "out of memory");
	if (!status)
		status = prepare_process();
	if (!status && !(status = run()))
		status = report();
	tidy();
	return status;
}
