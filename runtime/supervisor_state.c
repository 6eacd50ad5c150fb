/* SPDX-License-Identifier: Apache-2.0
 *
 * The supervisor's state, out of one program and into the next (supervisor_state.h).
 *
 *   memfd:  header | supervisor_state as msgpack | configuration as lines
 *
 * What is shared between processes is not carried but stays where it is, so both programs must lay it
 * out alike: the status page and the arenas. Where they do not, the upgrade is refused beforehand.
 */
#include "runtime/supervisor_state.h"
#include "runtime/supervisor_internal.h"

#include "runtime/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STATE_MAGIC = 0x4d725573,
	STATE_VERSION = 1,
	WORKERS_MAX = sizeof(((struct supervisor_state *)0)->workers) / sizeof(struct node_worker),
	CHILDREN_MAX = sizeof(((struct supervisor_state *)0)->children) / sizeof(struct node_child),
	FDS_MAX = 16 + WORKERS_MAX * 6 + CHILDREN_MAX * 2,
};

_Static_assert((int)WORKERS_MAX == (int)PROCESS_WORKERS_MAX, "all workers fit");
_Static_assert((int)CHILDREN_MAX == (int)PROCESS_SLOTS_MAX, "all children fit");

struct state_header {
	uint32_t magic;
	uint32_t version;
	uint32_t state_size;
	uint32_t config_size;
};

/* Of the status page: what every process of the node reads and writes as a struct. */
static uint64_t own_layout(void)
{
	return (uint64_t)sizeof(struct process_page) << 32 | PROCESS_PAGE_MAGIC;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static uint32_t number_of(int fd)
{
	return fd > STDERR_FILENO ? (uint32_t)fd : 0;
}

/* Nothing is adopted that is no descriptor of ours; -1 = none. */
static int fd_of(uint32_t number)
{
	return number > STDERR_FILENO && number <= INT32_MAX ? (int)number : -1;
}

/* All that the state names; how many. */
static size_t list_fds(const struct supervisor_state *state, int *fds)
{
	const uint32_t own[] = {state->run, state->data, state->run_lock, state->data_lock,
		state->repl, state->http, state->rtmp, state->https, state->rtmps, state->api,
		state->mesh, state->status, state->lifeline, state->lifeline_held};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		fds[count++] = fd_of(own[i]);
	for (int i = 0; i < state->workers_count; i++) {
		const struct node_worker *w = &state->workers[i];

		fds[count++] = fd_of(w->rtc_udp);
		fds[count++] = fd_of(w->rtc_tcp);
		fds[count++] = fd_of(w->link_udp);
		fds[count++] = fd_of(w->holder);
		fds[count++] = fd_of(w->holder_peer);
		fds[count++] = fd_of(w->arena);
	}
	for (int i = 0; i < state->children_count; i++) {
		fds[count++] = fd_of(state->children[i].wake);
		fds[count++] = fd_of(state->children[i].command);
	}
	return count;
}

static enum err set_close_on_exec(const struct supervisor_state *state, bool on)
{
	int fds[FDS_MAX];
	size_t count = list_fds(state, fds);

	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_SETFD, on ? FD_CLOEXEC : 0))
			return ERR_IO;
	return ERR_OK;
}

/* ---- out ------------------------------------------------------------------------------------- */

static void save_workers(const struct supervisor *s, struct supervisor_state *state)
{
	state->workers_count = (uint16_t)s->listeners.worker_count;
	for (uint32_t i = 0; i < s->listeners.worker_count; i++) {
		const struct line *line = &s->lines[i];

		state->workers[i] = (struct node_worker){
			.rtc_udp = number_of(s->listeners.rtc_udp[i]),
			.rtc_tcp = number_of(s->listeners.rtc_tcp[i]),
			.rtc_port = s->listeners.rtc_ports[i],
			.link_udp = number_of(s->listeners.link_udp[i]),
			.link_port = s->listeners.link_ports[i],
			.holder = number_of(s->holders[i][0]),
			.holder_peer = number_of(s->holders[i][1]),
			.line = line->number,
			.deaths = line->deaths,
			.block = line->block,
			.arena = number_of(line->arena),
			.arena_size = line->arena_size,
		};
	}
}

static void save_children(const struct supervisor *s, struct supervisor_state *state)
{
	state->children_count = (uint16_t)s->child_count;
	for (uint32_t i = 0; i < s->child_count; i++) {
		const struct child *child = &s->children[i];

		state->children[i] = (struct node_child){
			.role = (uint8_t)child->role,
			.index = child->index,
			.wanted = child->wanted,
			.told_ready = child->told_ready,
			.pid = (uint32_t)child->pid,
			.wake = number_of(child->wake),
			.command = number_of(child->command),
			.incarnation = child->incarnation,
			.failures = child->failures,
			.started_us = child->started_us,
		};
	}
}

static void save_node(const struct supervisor *s, struct supervisor_state *state)
{
	const struct places *places = &s->places;
	const struct listeners *listeners = &s->listeners;

	*state = (struct supervisor_state){
		.run = number_of(places->run),
		.data = number_of(places->data),
		.run_lock = number_of(places->run_lock),
		.data_lock = number_of(places->data_lock),
		.repl = number_of(places->repl),
		.node_id = places->node_id,
		.next_block = places->next_block,
		.end_block = places->end_block,
		.http = number_of(listeners->http),
		.rtmp = number_of(listeners->rtmp),
		.https = number_of(listeners->https),
		.rtmps = number_of(listeners->rtmps),
		.api = number_of(listeners->api),
		.mesh = number_of(listeners->mesh),
		.http_port = listeners->http_port,
		.rtmp_port = listeners->rtmp_port,
		.https_port = listeners->https_port,
		.rtmps_port = listeners->rtmps_port,
		.api_port = listeners->api_port,
		.mesh_port = listeners->mesh_port,
		.has_ipv6 = listeners->has_ipv6,
		.status = number_of(s->env.fd.status),
		.lifeline = number_of(s->env.fd.lifeline),
		.lifeline_held = number_of(s->lifeline),
		.started_us = s->env.started_us,
		.limits_seed = s->env.limits_seed,
		.incarnation = s->incarnation,
		.layout = own_layout(),
		.began_us = s->operation.began_us,
	};
	state->secret.size = sizeof(s->secret);
	memcpy(state->secret.data, s->secret, sizeof(s->secret));
	snprintf(state->from, sizeof(state->from), "%s", s->program);
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

static int to_memfd(const struct supervisor *s, const struct supervisor_state *state)
{
	size_t room = schema_encoded_size_max(&schema_supervisor_state);
	uint8_t *bytes = malloc(room + CONFIG_ENCODED_MAX);
	struct writer state_out = writer_of(bytes, bytes ? room : 0);
	struct writer config_out = writer_of(bytes + room, bytes ? CONFIG_ENCODED_MAX : 0);
	int fd = -1;

	if (!bytes || schema_encode(&schema_supervisor_state, state, &state_out))
		goto out;
	config_encode(&s->own, &config_out);
	MUST(!config_out.bad);
	struct state_header header = {STATE_MAGIC, STATE_VERSION, (uint32_t)writer_used(&state_out),
		(uint32_t)writer_used(&config_out)};
	fd = memfd_create("millrace-supervisor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd >= 0 && (!write_all(fd, &header, sizeof(header)) ||
			       !write_all(fd, bytes, header.state_size) ||
			       !write_all(fd, bytes + room, header.config_size) ||
			       fcntl(fd, F_ADD_SEALS,
				       F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))) {
		close(fd);
		fd = -1;
	}
out:
	if (bytes) /* it held secrets */
		explicit_bzero(bytes, room + CONFIG_ENCODED_MAX);
	free(bytes);
	return fd;
}

int state_save(struct supervisor *s)
{
	struct supervisor_state *state = malloc(sizeof(*state));
	int fd = -1;

	if (!state)
		return -1;
	save_node(s, state);
	save_workers(s, state);
	save_children(s, state);
	fd = to_memfd(s, state);
	explicit_bzero(state, sizeof(*state));
	free(state);
	return fd;
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool fds_are_open(const struct supervisor_state *state)
{
	const uint32_t needed[] = {state->run, state->data, state->run_lock, state->repl,
		state->http, state->rtmp, state->status, state->lifeline, state->lifeline_held};
	int fds[FDS_MAX];
	size_t count = list_fds(state, fds);

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (fd_of(needed[i]) < 0)
			return false;
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_GETFD) < 0)
			return false;
	return true;
}

static bool child_is_valid(const struct supervisor_state *state, const struct node_child *child)
{
	const uint32_t index_end[PROCESS_ROLE_COUNT] = {[PROCESS_CONTROL] = 1,
		[PROCESS_MEDIA] = PROCESS_WORKERS_MAX,
		[PROCESS_HELPER] = PROCESS_HELPERS_MAX,
		[PROCESS_SPARE] = PROCESS_WORKERS_MAX,
		[PROCESS_HOLDER] = PROCESS_WORKERS_MAX};

	return child->role < PROCESS_ROLE_COUNT && child->index < index_end[child->role] &&
	       child->incarnation <= state->incarnation && child->pid <= INT32_MAX;
}

static bool has_child(const struct supervisor_state *state, enum process_role role, uint32_t index)
{
	for (int i = 0; i < state->children_count; i++)
		if (state->children[i].role == role && state->children[i].index == index)
			return true;
	return false;
}

/* Each has a place, whether or not a process is there. */
static bool workers_are_whole(const struct supervisor_state *state)
{
	for (uint32_t i = 0; i < state->workers_count; i++)
		if (!has_child(state, PROCESS_MEDIA, i) || !has_child(state, PROCESS_SPARE, i) ||
			!has_child(state, PROCESS_HOLDER, i))
			return false;
	return true;
}

static bool state_is_valid(const struct supervisor_state *state)
{
	if (!state->workers_count || !state->children_count || !state->node_id ||
		state->secret.size != PROCESS_SECRET_SIZE || state->next_block > state->end_block ||
		state->children[0].role != PROCESS_CONTROL)
		return false;
	for (int i = 0; i < state->children_count; i++)
		if (!child_is_valid(state, &state->children[i]))
			return false;
	return workers_are_whole(state) && fds_are_open(state);
}

static enum err parse(
	const uint8_t *bytes, size_t size, struct supervisor_state *state, struct config *config)
{
	struct reader in = reader_of(bytes, size), fields;
	const uint8_t *at = read_bytes(&in, sizeof(struct state_header));
	struct state_header header;
	enum err err;

	if (!at)
		return ERR_FORMAT;
	memcpy(&header, at, sizeof(header));
	if (header.magic != STATE_MAGIC || header.state_size > reader_left(&in) ||
		reader_left(&in) - header.state_size != header.config_size)
		return ERR_FORMAT;
	if (header.version != STATE_VERSION)
		return ERR_VERSION;
	fields = reader_of(read_bytes(&in, header.state_size), header.state_size);
	err = schema_decode(&schema_supervisor_state, &fields, state);
	if (!err && state->layout != own_layout())
		err = ERR_VERSION;
	if (!err && !state_is_valid(state))
		err = ERR_FORMAT;
	return err ? err : config_decode(config, in.at, header.config_size);
}

static enum err from_memfd(int fd, struct supervisor_state *state, struct config *config)
{
	const size_t size_max = sizeof(struct state_header) + CONFIG_ENCODED_MAX +
				2 * schema_encoded_size_max(&schema_supervisor_state);
	struct stat status;

	if (fstat(fd, &status))
		return ERR_IO;
	if (status.st_size <= 0 || (size_t)status.st_size > size_max)
		return ERR_FORMAT;
	void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return ERR_IO;
	enum err err = parse(bytes, (size_t)status.st_size, state, config);
	munmap(bytes, (size_t)status.st_size);
	return err;
}

enum err state_keep_open(int fd, bool open)
{
	struct supervisor_state *state = malloc(sizeof(*state));
	struct config *config = malloc(sizeof(*config));
	enum err err = state && config ? from_memfd(fd, state, config) : ERR_NO_MEMORY;

	if (!err)
		err = set_close_on_exec(state, !open);
	if (!err && fcntl(fd, F_SETFD, open ? 0 : FD_CLOEXEC))
		err = ERR_IO;
	free(state);
	free(config);
	return err;
}

static void load_node(struct supervisor *s, const struct supervisor_state *state)
{
	s->places = (struct places){.run = fd_of(state->run),
		.data = fd_of(state->data),
		.run_lock = fd_of(state->run_lock),
		.data_lock = fd_of(state->data_lock),
		.repl = fd_of(state->repl),
		.node_id = state->node_id,
		.next_block = state->next_block,
		.end_block = state->end_block};
	s->listeners.http = fd_of(state->http);
	s->listeners.rtmp = fd_of(state->rtmp);
	s->listeners.https = fd_of(state->https);
	s->listeners.rtmps = fd_of(state->rtmps);
	s->listeners.api = fd_of(state->api);
	s->listeners.mesh = fd_of(state->mesh);
	s->listeners.http_port = state->http_port;
	s->listeners.rtmp_port = state->rtmp_port;
	s->listeners.https_port = state->https_port;
	s->listeners.rtmps_port = state->rtmps_port;
	s->listeners.api_port = state->api_port;
	s->listeners.mesh_port = state->mesh_port;
	s->listeners.has_ipv6 = state->has_ipv6;
	s->env.fd.status = fd_of(state->status);
	s->env.fd.lifeline = fd_of(state->lifeline);
	s->lifeline = fd_of(state->lifeline_held);
	s->env.limits_seed = state->limits_seed;
	s->incarnation = state->incarnation;
	memcpy(s->secret, state->secret.data, sizeof(s->secret));
}

static void load_workers(struct supervisor *s, const struct supervisor_state *state)
{
	listeners_expect(&s->listeners, &s->config, state->workers_count);
	for (int i = 0; i < state->workers_count; i++) {
		const struct node_worker *w = &state->workers[i];

		s->listeners.rtc_udp[i] = fd_of(w->rtc_udp);
		s->listeners.rtc_tcp[i] = fd_of(w->rtc_tcp);
		s->listeners.rtc_ports[i] = w->rtc_port;
		s->listeners.link_udp[i] = fd_of(w->link_udp);
		s->listeners.link_ports[i] = w->link_port;
		s->holders[i][0] = fd_of(w->holder);
		s->holders[i][1] = fd_of(w->holder_peer);
		s->lines[i] = (struct line){.number = w->line,
			.deaths = w->deaths,
			.block = w->block,
			.arena = fd_of(w->arena),
			.arena_size = w->arena_size};
	}
}

static void load_children(struct supervisor *s, const struct supervisor_state *state)
{
	int64_t now = supervisor_now_us();

	s->child_count = state->children_count;
	for (uint32_t i = 0; i < s->child_count; i++) {
		const struct node_child *saved = &state->children[i];
		struct child *child = &s->children[i];

		child_init(child, (enum process_role)saved->role, saved->index);
		child->wanted = saved->wanted;
		child->told_ready = saved->told_ready;
		child->pid = (pid_t)saved->pid;
		child->wake = fd_of(saved->wake);
		child->command = fd_of(saved->command);
		child->incarnation = saved->incarnation;
		child->failures = saved->failures;
		child->started_us = saved->started_us;
		child->beat_at_us = now;
		/* not collected yet, so the number is still its own; without one it is seen by ticks */
		if (child->pid)
			child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	}
}

enum err state_load(struct supervisor *s, int fd)
{
	struct supervisor_state *state = malloc(sizeof(*state));
	enum err err = state ? from_memfd(fd, state, &s->config) : ERR_NO_MEMORY;

	if (!err)
		err = set_close_on_exec(state, true);
	if (!err) {
		load_node(s, state);
		load_workers(s, state);
		load_children(s, state);
		s->page = process_page_map(s->env.fd.status);
		err = s->page ? ERR_OK : ERR_VERSION;
	}
	if (!err) {
		s->env.started_us = state->started_us;
		upgrade_resume(s, state->began_us, state->from);
	}
	if (state)
		explicit_bzero(state, sizeof(*state));
	free(state);
	return err;
}

/* ---- beforehand ------------------------------------------------------------------------------ */

int supervisor_state_take(void)
{
	const char *text = getenv(SUPERVISOR_STATE_VARIABLE);
	char *end;
	long fd = text ? strtol(text, &end, 10) : 0;

	if (!text)
		return 0;
	fd = *text && !*end && fd > STDERR_FILENO && fd <= INT32_MAX ? fd : 0;
	unsetenv(SUPERVISOR_STATE_VARIABLE);
	return fd && !fcntl((int)fd, F_SETFD, FD_CLOEXEC) ? (int)fd : 0;
}

static const char *find_difference(const struct supervisor_state *state, size_t arena_size)
{
	struct arena *arena;
	struct process_page *page = process_page_map((int)state->status);

	if (!page)
		return "its status page is laid out differently";
	munmap(page, process_page_size());
	for (int i = 0; i < state->workers_count; i++) {
		if (!state->workers[i].arena)
			continue;
		if (state->workers[i].arena_size != arena_size ||
			arena_map((int)state->workers[i].arena, &arena))
			return "its shared memory is laid out differently";
		arena_detach(&arena);
	}
	return NULL;
}

bool supervisor_state_suits(int fd, size_t arena_size, const char **why)
{
	struct supervisor_state *state = malloc(sizeof(*state));
	struct config *config = malloc(sizeof(*config));
	enum err err = state && config ? from_memfd(fd, state, config) : ERR_NO_MEMORY;

	*why = err == ERR_VERSION ? "what processes share is laid out differently"
	       : err		  ? err_text(err)
				  : find_difference(state, arena_size);
	free(state);
	free(config);
	return !*why;
}
