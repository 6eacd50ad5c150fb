/* SPDX-License-Identifier: Apache-2.0
 *
 * The child's side of being started: the boot memfd, the ties to the supervisor's life.
 *
 * The boot memfd holds a header, struct process_env as bytes (both sides are the same binary, by
 * /proc/self/exe) and the configuration as lines. It is sealed before the child sees it, and still
 * checked: a mix-up of descriptors must end in a message, not in a wild read.
 */
#include "runtime/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BOOT_MAGIC = 0x4d72426f };

struct boot_header {
	uint32_t magic;
	uint32_t env_size;
	uint32_t config_size;
	uint32_t page_size;
};

/* Every descriptor of struct process_fds, in its order. */
enum { FD_COUNT = sizeof(struct process_fds) / sizeof(int) };

const char *process_role_name(enum process_role role)
{
	static const char *const names[] = {"control", "media", "helper", "spare", "holder"};

	return (unsigned)role < PROCESS_ROLE_COUNT ? names[role] : "unknown";
}

const char *process_state_name(enum process_state state)
{
	static const char *const names[] = {
		"empty", "starting", "ready", "draining", "drained", "dead", "restoring"};

	return (unsigned)state < PROCESS_STATE_COUNT ? names[state] : "unknown";
}

uint32_t process_slot(enum process_role role, uint32_t index)
{
	static const struct {
		uint32_t first;
		uint32_t count;
	} rows[PROCESS_ROLE_COUNT] = {
		[PROCESS_CONTROL] = {0,					1			 },
		[PROCESS_MEDIA] = {1,				       PROCESS_WORKERS_MAX},
		[PROCESS_HELPER] = {1 + PROCESS_WORKERS_MAX,		     PROCESS_HELPERS_MAX},
		[PROCESS_HOLDER] = {PROCESS_PEERS_MAX,		       PROCESS_WORKERS_MAX},
		[PROCESS_SPARE] = {PROCESS_PEERS_MAX + PROCESS_WORKERS_MAX, PROCESS_WORKERS_MAX},
	};

	MUST((unsigned)role < PROCESS_ROLE_COUNT && index < rows[role].count);
	return rows[role].first + index;
}

struct process_status *process_own_status(const struct process_env *env)
{
	return &env->page->slot[process_slot(env->role, env->index)];
}

void process_note_poisoned(const struct process_env *env, const char *name)
{
	text_copy(env->page->poisoned[process_slot(env->role, env->index)], PROCESS_POISONED_SIZE,
		name);
}

void process_read_poisoned(
	const struct process_page *page, uint32_t slot, char name[PROCESS_POISONED_SIZE])
{
	memcpy(name, page->poisoned[slot], PROCESS_POISONED_SIZE);
	name[PROCESS_POISONED_SIZE - 1] = '\0';
}

void process_log_init(const struct process_env *env, struct log *log)
{
	const struct log_sink sink = log_sink_stderr();
	char name[LOG_NAME_SIZE];

	snprintf(name, sizeof(name), "%s.%u", process_role_name(env->role), env->index);
	log_init(log, name, (enum log_level)env->config->log_level,
		(enum log_format)env->config->log_format, &sink);
}

void process_log_follow(const struct process_env *env, struct log *log)
{
	log->level = (enum log_level)env->config->log_level;
	log->format = (enum log_format)env->config->log_format;
}

static bool write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		ssize_t wrote = write(fd, at, size);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return false;
		at += wrote;
		size -= (size_t)wrote;
	}
	return true;
}

int process_env_save(const struct process_env *env)
{
	static uint8_t text[CONFIG_ENCODED_MAX];
	struct writer w = writer_of(text, sizeof(text));
	int fd = memfd_create("millrace-boot", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	config_encode(env->config, &w);
	MUST(!w.bad);
	struct boot_header header = {
		BOOT_MAGIC, sizeof(*env), (uint32_t)writer_used(&w), sizeof(struct process_page)};
	struct process_env copy = *env;
	copy.page = NULL;
	copy.shares = NULL;
	copy.config = NULL;
	copy.title = NULL;
	bool ok = write_all(fd, &header, sizeof(header)) && write_all(fd, &copy, sizeof(copy)) &&
		  write_all(fd, text, writer_used(&w)) &&
		  !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	/* they held the secrets */
	explicit_bzero(text, writer_used(&w));
	explicit_bzero(copy.secret, sizeof(copy.secret));
	if (!ok) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

#define IS_TEXT(field) (memchr((field), '\0', sizeof(field)) != NULL)

_Static_assert((int)LIMITS_WORKERS_MAX == (int)PROCESS_WORKERS_MAX, "they count together");

static bool env_is_valid(const struct process_env *env)
{
	const int *fds = (const int *)&env->fd;

	const uint32_t index_end[PROCESS_ROLE_COUNT] = {[PROCESS_CONTROL] = 1,
		[PROCESS_MEDIA] = env->worker_count,
		[PROCESS_HELPER] = PROCESS_HELPERS_MAX,
		[PROCESS_HOLDER] = env->worker_count,
		[PROCESS_SPARE] = env->worker_count};

	if ((unsigned)env->role >= PROCESS_ROLE_COUNT || env->worker_count < 1 ||
		env->worker_count > PROCESS_WORKERS_MAX ||
		env->helper_count > PROCESS_HELPERS_MAX ||
		env->advertise_count > PROCESS_ADDRESSES_MAX || env->incarnation == 0 ||
		env->line == 0 || env->node_id == 0)
		return false;
	if (env->index >= index_end[env->role])
		return false;
	for (uint32_t i = 0; i < env->advertise_count; i++)
		if (!IS_TEXT(env->advertise[i]))
			return false;
	for (int i = 0; i < FD_COUNT; i++)
		if (fds[i] != -1 && (fds[i] <= STDERR_FILENO || fcntl(fds[i], F_GETFD) < 0))
			return false;
	return IS_TEXT(env->node_name) && IS_TEXT(env->run_dir) && IS_TEXT(env->data_dir) &&
	       env->fd.lifeline >= 0 && env->fd.wake >= 0 && env->fd.status >= 0;
}

size_t process_page_size(void)
{
	return sizeof(struct process_page) + PROCESS_WORKERS_MAX * sizeof(struct limits_shares);
}

bool process_worker_is_closed(const struct process_page *page, uint32_t index)
{
	return atomic_load(&page->closed) ||
	       (index < PROCESS_WORKERS_MAX && atomic_load(&page->closed_workers) >> index & 1);
}

void process_public_url(const struct process_env *env, const struct config *config, char url[256])
{
	size_t size;

	url[0] = 0;
	if (config && config->public_url[0]) {
		text_copy(url, 256, config->public_url);
		for (size = strlen(url); size && url[size - 1] == '/'; size--)
			url[size - 1] = 0;
	} else if (env && env->advertise_count && env->http_port) {
		bool v6 = strchr(env->advertise[0], ':') != NULL;

		snprintf(url, 256, v6 ? "http://[%s]:%u" : "http://%s:%u", env->advertise[0],
			env->http_port);
	}
}

struct process_page *process_page_create(uint32_t worker_count, int *fd)
{
	size_t size = process_page_size();
	struct process_page *page = MAP_FAILED;

	*fd = memfd_create("millrace-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd >= 0 && !ftruncate(*fd, (off_t)size) &&
		!fcntl(*fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (page == MAP_FAILED) {
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return NULL;
	}
	page->magic = PROCESS_PAGE_MAGIC;
	page->slots = PROCESS_SLOTS_MAX;
	atomic_store(&page->worker_count, worker_count);
	return page;
}

struct process_page *process_page_map(int fd)
{
	size_t size = process_page_size();
	struct process_page *page;
	struct stat status;

	if (fstat(fd, &status))
		return NULL;
	if (status.st_size != (off_t)size) {
		errno = EPROTO;
		return NULL;
	}
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (page->magic == PROCESS_PAGE_MAGIC && page->slots == PROCESS_SLOTS_MAX)
		return page;
	munmap(page, size);
	errno = EPROTO;
	return NULL;
}

struct limits_shares *process_page_shares(struct process_page *page)
{
	return (struct limits_shares *)(page + 1);
}

void process_limits_join(
	const struct process_env *env, struct limits *limits, enum limits_kind kind)
{
	if (env && env->shares && env->role == PROCESS_MEDIA)
		limits_join(limits, env->shares, &env->page->worker_count, env->index, kind,
			env->limits_seed);
}

static enum err map_status_page(struct process_env *env)
{
	env->page = process_page_map(env->fd.status);
	if (!env->page)
		return errno == EPROTO ? ERR_VERSION : ERR_IO;
	env->shares = process_page_shares(env->page);
	return ERR_OK;
}

static enum err read_boot(
	const uint8_t *bytes, size_t size, struct process_env *env, struct config *config)
{
	struct reader r = reader_of(bytes, size);
	const uint8_t *at = read_bytes(&r, sizeof(struct boot_header));
	struct boot_header header;

	if (!at)
		return ERR_FORMAT;
	memcpy(&header, at, sizeof(header));
	if (header.magic != BOOT_MAGIC)
		return ERR_FORMAT;
	if (header.env_size != sizeof(*env) || header.page_size != sizeof(struct process_page))
		return ERR_VERSION;
	at = read_bytes(&r, sizeof(*env));
	if (!at || reader_left(&r) != header.config_size)
		return ERR_FORMAT;
	memcpy(env, at, sizeof(*env));
	env->page = NULL;
	env->shares = NULL;
	env->config = config;
	env->title = NULL;
	return env_is_valid(env) ? config_decode(config, r.at, header.config_size) : ERR_FORMAT;
}

enum err process_env_load(int boot_fd, struct process_env *env, struct config *config)
{
	const size_t size_max =
		sizeof(struct boot_header) + sizeof(struct process_env) + CONFIG_ENCODED_MAX;
	struct stat status;

	if (fstat(boot_fd, &status))
		return ERR_IO;
	if (status.st_size <= 0 || (size_t)status.st_size > size_max)
		return ERR_FORMAT;
	size_t size = (size_t)status.st_size;
	void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, boot_fd, 0);
	if (bytes == MAP_FAILED)
		return ERR_IO;
	enum err err = read_boot(bytes, size, env, config);
	munmap(bytes, size);
	if (err)
		return err;
	err = map_status_page(env);
	for (int i = 0; !err && i < FD_COUNT; i++) {
		int fd = ((const int *)&env->fd)[i];

		if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC))
			err = ERR_IO;
	}
	return err;
}

bool process_is_child(int argc, char **argv)
{
	return argc >= 3 && !strcmp(argv[1], PROCESS_CHILD_ARGUMENT);
}

bool process_supervisor_is_alive(const struct process_env *env)
{
	struct pollfd lifeline = {.fd = env->fd.lifeline, .events = POLLIN};

	return getppid() == env->supervisor_pid && poll(&lifeline, 1, 0) == 0;
}

/* The supervisor decides when a child ends; a terminal's ^C or a service manager's TERM to the
 * whole group must not overtake it. */
static void ignore_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* For people who look at the process list. */
static void show_name(const struct process_env *env)
{
	char name[32];

	snprintf(name, sizeof(name), "mr-%s-%u", process_role_name(env->role), env->index);
	prctl(PR_SET_NAME, name);
	snprintf(name, sizeof(name), "%s.%u", process_role_name(env->role), env->index);
	if (env->title && strlen(env->title) == strlen(name))
		memcpy(env->title, name, strlen(name));
}

void process_take_place(struct process_env *env)
{
	struct process_status *row;

	env->role = PROCESS_MEDIA;
	process_metrics_begin(&env->page->metrics[process_slot(env->role, env->index)]);
	row = process_own_status(env);
	atomic_store(&row->state, PROCESS_RESTORING);
	atomic_store(&row->pid, (uint32_t)getpid());
	/* the last one: with it the supervisor and the others see who we are */
	atomic_store(&row->incarnation, env->incarnation);
	show_name(env);
}

int process_child_main(int argc, char **argv, const struct process_programs *programs)
{
	static struct process_env env;
	static struct config config;
	char *end;

	MUST(process_is_child(argc, argv));
	ignore_signals();
	/* again after the exec: fork to exec is covered by the supervisor's own call */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	long boot_fd = strtol(argv[2], &end, 10);
	if (*end || end == argv[2] || boot_fd <= STDERR_FILENO || boot_fd > INT32_MAX) {
		fprintf(stderr, "millrace: this is an internal command\n");
		return 1;
	}
	enum err err = process_env_load((int)boot_fd, &env, &config);
	if (err) {
		fprintf(stderr, "millrace: cannot start as a child: %s\n", err_text(err));
		return 1;
	}
	close((int)boot_fd);
	/* it may have died before the prctl */
	if (!process_supervisor_is_alive(&env))
		return 1;
	env.title = argc > 3 ? argv[3] : NULL;
	process_metrics_begin(&env.page->metrics[process_slot(env.role, env.index)]);
	show_name(&env);
	if (!programs->run[env.role]) {
		fprintf(stderr, "millrace: no program for %s\n", process_role_name(env.role));
		return 1;
	}
	return programs->run[env.role](&env);
}
