/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS in the loop: what stands between a socket and its actor where a listener speaks it, and the
 * certificate, which is read again when its files change.
 *
 *   accepted, begun --> hurried (handshake) --> open --actor closes--> lingering (hurried) --> freed
 *                           '--late, refused--> the actor hears of a broken connection
 *
 * The actor is told nothing before the handshake is complete. From then on readiness is what epoll
 * says, but for two cases: bytes that were encrypted and not sent yet ask for room by themselves,
 * and plain bytes of a record that was read in part are told from `readable`, because no descriptor
 * knows of them.
 *
 * A pair that does not load leaves the one before it in use; without any the TLS listeners rest.
 */
#include "runtime/live_internal.h"

#include <stdlib.h>
#include <sys/stat.h>

enum {
	LOOK_US = 1000000,
	LINGER_US = TLS_HANDSHAKE_US, /* the same, so that `hurried` stays in order */
	EXPIRY_WARNING_S = 14 * 86400,
};

_Static_assert((int)PROCESS_SECRET_SIZE >= (int)TLS_TICKET_SECRET, "the node's secret suffices");

/* Which version of the files was seen. */
struct stamp {
	struct {
		dev_t device;
		ino_t inode;
		off_t size;
		struct timespec changed;
	} file[2];
};

struct live_tls_stamp {
	struct stamp tried; /* loaded, or found to be unusable */
	struct stamp seen;  /* at the last look */
};

struct live_tls_end {
	struct tls tls;
	struct tls_wire wire; /* over the descriptor */
	struct live *live;
	int fd;
	uint32_t number;
	uint8_t armed; /* enum net_event: what epoll was last told that TLS wants */
	bool is_hurried, is_readable;
	int64_t deadline_us;
	TAILQ_ENTRY(live_tls_end) hurry, ready;
};

/* ---- the certificate ------------------------------------------------------------------------- */

static void take_stamp(const struct config *config, struct stamp *stamp)
{
	const char *const paths[2] = {config->tls_cert, config->tls_key};
	struct stat status;

	memset(stamp, 0, sizeof(*stamp));
	for (int i = 0; i < 2; i++) {
		if (stat(paths[i], &status))
			continue;
		stamp->file[i].device = status.st_dev;
		stamp->file[i].inode = status.st_ino;
		stamp->file[i].size = status.st_size;
		stamp->file[i].changed = status.st_ctim;
	}
}

static void tell_of(struct live *live, const struct tls_context *context, int64_t now_s)
{
	const struct config *config = live->env->config;
	int64_t days = (context->expires_s - now_s) / 86400;

	log_info(&live->log, "tls_certificate_loaded", "file", config->tls_cert, "expires_s",
		context->expires_s, "days_left", days);
	if (context->is_early)
		log_warn(&live->log, "tls_certificate_early", "file", config->tls_cert, "remedy",
			"it is not valid yet: look at the clock");
	if (context->expires_s - now_s < EXPIRY_WARNING_S)
		log_warn(&live->log, "tls_certificate_expires", "file", config->tls_cert,
			"days_left", days);
	if (context->key_is_open)
		log_warn(&live->log, "tls_key_readable", "file", config->tls_key, "remedy",
			"others than its owner can read the private key: chmod 600");
}

static void load(struct live *live)
{
	const struct config *config = live->env->config;
	const struct tls_files files = {config->tls_cert, config->tls_key};
	struct live_tls *t = &live->tls;
	struct tls_context *fresh;
	char problem[TLS_PROBLEM_MAX];
	int64_t now_s = live_real_us() / 1000000;

	/* before they are read: what changes meanwhile is seen at the next look */
	take_stamp(config, &t->stamps->tried);
	t->stamps->seen = t->stamps->tried;
	if (tls_context_load(&fresh, &files, live->env->secret, now_s, problem)) {
		log_error(&live->log, "tls_certificate_unusable", "problem", problem, "instead",
			t->context ? "the one before it stays in use" : "TLS rests");
		return;
	}
	tls_context_release(&t->context);
	t->context = fresh;
	tell_of(live, fresh, now_s);
	live_tcp_wake_listener(live, live->given[NET_HTTPS]);
	live_tcp_wake_listener(live, live->given[NET_RTMPS]);
}

int live_tls_use(enum net_given what)
{
	return what == NET_HTTPS ? (int)TLS_HTTP : what == NET_RTMPS ? (int)TLS_RTMP : -1;
}

void live_tls_init(struct live *live)
{
	TAILQ_INIT(&live->tls.hurried);
	TAILQ_INIT(&live->tls.readable);
	live->reloads_seen = atomic_load(&live->env->page->reloads);
}

void live_tls_open(struct live *live)
{
	struct live_tls *t = &live->tls;

	if (!t->stamps) {
		t->stamps = calloc(1, sizeof(*t->stamps));
		MUST(t->stamps);
		load(live);
	}
	for (int what = 0; !t->context && what < NET_GIVEN_COUNT; what++)
		if (live_tls_use((enum net_given)what) >= 0)
			live_tcp_rest_listener(live, live->given[what]);
}

void live_tls_reload(struct live *live)
{
	uint32_t reloads = atomic_load(&live->env->page->reloads);

	if (reloads == live->reloads_seen)
		return;
	live->reloads_seen = reloads;
	if (live->tls.stamps)
		load(live);
}

/* Two files cannot change at once: they are read when they have stood still for a look. */
void live_tls_look(struct live *live, int64_t now_us)
{
	struct live_tls *t = &live->tls;
	struct stamp now;

	if (!t->stamps || now_us - t->looked_us < LOOK_US)
		return;
	t->looked_us = now_us;
	take_stamp(live->env->config, &now);
	if (memcmp(&now, &t->stamps->tried, sizeof(now)) &&
		!memcmp(&now, &t->stamps->seen, sizeof(now)))
		load(live);
	else
		t->stamps->seen = now;
}

void live_tls_report(struct live *live)
{
	const struct live_tls *t = &live->tls;

	if (!t->stamps)
		return;
	process_metric_set(live->env, PROCESS_METRIC_TLS_HANDSHAKES, t->handshakes);
	process_metric_set(live->env, PROCESS_METRIC_TLS_FAILED, t->failed);
	process_metric_set(live->env, PROCESS_METRIC_TLS_EXPIRES,
		t->context ? (uint64_t)t->context->expires_s : 0);
}

void live_tls_close(struct live *live)
{
	for (uint32_t i = 1; i < live->socket_fresh; i++) {
		struct live_socket *socket = live_socket(live, i);

		if (socket && socket->tls)
			live_tls_free(live, socket);
	}
	tls_context_release(&live->tls.context);
	tls_context_release(&live->tls.trusted);
	free(live->tls.stamps);
	live->tls.stamps = NULL;
}

/* ---- a connection ---------------------------------------------------------------------------- */

static long read_wire(void *context, void *buffer, size_t size)
{
	const struct live_tls_end *end = context;

	return live_tcp_receive(end->live, end->fd, buffer, size);
}

static long write_wire(void *context, const void *bytes, size_t size)
{
	const struct live_tls_end *end = context;
	struct iovec part = {(void *)(uintptr_t)bytes, size};

	return live_tcp_transmit(end->live, end->fd, &part, 1);
}

static void hurry(struct live *live, struct live_tls_end *end, int64_t deadline_us)
{
	if (end->is_hurried)
		TAILQ_REMOVE(&live->tls.hurried, end, hurry);
	end->is_hurried = deadline_us != INT64_MAX;
	end->deadline_us = deadline_us;
	if (end->is_hurried)
		TAILQ_INSERT_TAIL(&live->tls.hurried, end, hurry);
}

static void set_readable(struct live *live, struct live_tls_end *end, bool readable)
{
	if (readable == end->is_readable)
		return;
	end->is_readable = readable;
	if (readable) {
		TAILQ_INSERT_TAIL(&live->tls.readable, end, ready);
		live->tls.readable_count++;
	} else {
		TAILQ_REMOVE(&live->tls.readable, end, ready);
		live->tls.readable_count--;
	}
}

/* What is called after everything that may have changed what the loop has to do for it. */
static void settle(struct live *live, struct live_socket *socket)
{
	struct live_tls_end *end = socket->tls;
	unsigned wants = live_tls_wants(socket);

	if (end->is_hurried && socket->kind == LIVE_CONNECTION && end->tls.phase != TLS_HANDSHAKE) {
		hurry(live, end, INT64_MAX);
		if (end->tls.phase == TLS_BROKEN) {
			live->tls.failed++;
			log_debug(&live->log, "tls_handshake_failed", "reason", end->tls.reason);
		} else {
			live->tls.handshakes++;
		}
	}
	set_readable(live, end,
		socket->kind == LIVE_CONNECTION && (socket->wanted & NET_READABLE) &&
			tls_has_plain(&end->tls));
	if (wants == end->armed)
		return;
	end->armed = (uint8_t)wants;
	live_tcp_arm(live, end->number);
}

/* `end` has its engine. */
static void put_below(struct live *live, uint32_t number, struct live_tls_end *end)
{
	end->wire = (struct tls_wire){end, read_wire, write_wire};
	end->live = live;
	end->fd = live_socket(live, number)->fd;
	end->number = number;
	end->armed = NET_READABLE; /* as a new socket is */
	live_socket(live, number)->tls = end;
	hurry(live, end, end->tls.deadline_us);
}

enum err live_tls_accept(struct live *live, uint32_t number, enum tls_use use)
{
	struct live_tls_end *end = calloc(1, sizeof(*end));

	if (!end || !live->tls.context ||
		tls_init(&end->tls, live->tls.context, use, live_now_us())) {
		free(end);
		return ERR_NO_MEMORY;
	}
	put_below(live, number, end);
	return ERR_OK;
}

static enum err trust(struct live *live, const char *ca_file)
{
	char problem[TLS_PROBLEM_MAX];
	enum err err = live->tls.trusted ? ERR_OK
					 : tls_context_trust(&live->tls.trusted, ca_file, problem);

	if (err)
		log_error(&live->log, "tls_trust_unusable", "problem", problem);
	return err;
}

enum err live_tls_connect(struct live *live, uint32_t number, const struct net_tls *how)
{
	struct live_tls_end *end = calloc(1, sizeof(*end));
	enum err err = end ? trust(live, how->ca_file) : ERR_NO_MEMORY;

	if (!err)
		err = tls_init_client(&end->tls, live->tls.trusted,
			how->insecure ? NULL : how->host, how->host, live_now_us());
	if (err) {
		free(end);
		return err;
	}
	put_below(live, number, end);
	/* its first words are kept until the connection stands */
	tls_handshake(&end->tls, &end->wire);
	settle(live, live_socket(live, number));
	return ERR_OK;
}

const char *live_tls_reason(void *context, uint32_t number)
{
	const struct live_socket *socket = live_socket(context, number);
	const char *reason = socket && socket->tls ? socket->tls->tls.reason : NULL;

	return reason ? reason : "";
}

bool live_tls_is_shaking(const struct live_socket *socket)
{
	return socket->tls->tls.phase == TLS_HANDSHAKE;
}

void live_tls_free(struct live *live, struct live_socket *socket)
{
	struct live_tls_end *end = socket->tls;

	hurry(live, end, INT64_MAX);
	set_readable(live, end, false);
	live->tls.lingering -= socket->kind == LIVE_LINGERING;
	tls_fini(&end->tls);
	free(end);
	socket->tls = NULL;
}

unsigned live_tls_wants(const struct live_socket *socket)
{
	const struct tls *tls = &socket->tls->tls;

	return (tls->phase == TLS_HANDSHAKE ? NET_READABLE : 0u) |
	       (tls_has_pending(tls) ? NET_WRITABLE : 0u);
}

static void linger_on(struct live *live, struct live_socket *socket)
{
	if (tls_flush(&socket->tls->tls, &socket->tls->wire) != -1)
		live_tcp_close(live, socket->tls->number);
}

bool live_tls_event(struct live *live, uint32_t number, uint32_t *events)
{
	struct live_socket *socket = live_socket(live, number);
	struct tls *tls = &socket->tls->tls;

	if (socket->kind == LIVE_LINGERING) {
		linger_on(live, socket);
		return false;
	}
	if ((*events & EPOLLOUT) && tls_flush(tls, &socket->tls->wire) == -1)
		*events &= ~(uint32_t)EPOLLOUT;
	if (tls->phase == TLS_HANDSHAKE) {
		tls_handshake(tls, &socket->tls->wire);
		if (tls->phase == TLS_HANDSHAKE)
			*events &= EPOLLHUP | EPOLLERR;
	}
	if (tls->phase == TLS_BROKEN)
		*events |= EPOLLHUP;
	if (!(socket->wanted & NET_READABLE))
		*events &= ~(uint32_t)EPOLLIN;
	if (!(socket->wanted & NET_WRITABLE))
		*events &= ~(uint32_t)EPOLLOUT;
	settle(live, socket);
	return *events != 0;
}

long live_tls_read(struct live *live, uint32_t number, void *buffer, size_t size)
{
	struct live_socket *socket = live_socket(live, number);
	long result = tls_read(&socket->tls->tls, &socket->tls->wire, buffer, size);

	settle(live, socket);
	return result;
}

long live_tls_write(struct live *live, uint32_t number, const struct iovec *parts, size_t count)
{
	struct live_socket *socket = live_socket(live, number);
	long result = tls_write(&socket->tls->tls, &socket->tls->wire, parts, count);

	settle(live, socket);
	return result;
}

void live_tls_wanted(struct live *live, uint32_t number)
{
	settle(live, live_socket(live, number));
}

bool live_tls_lingers(struct live *live, uint32_t number)
{
	struct live_socket *socket = live_socket(live, number);
	struct live_tls_end *end = socket->tls;

	if (socket->kind != LIVE_CONNECTION)
		return false;
	settle(live, socket);
	tls_goodbye(&end->tls, &socket->tls->wire);
	if (!tls_has_pending(&end->tls) || end->tls.phase == TLS_HANDSHAKE)
		return false;
	socket->kind = LIVE_LINGERING;
	socket->owner = 0;
	socket->wanted = 0;
	live->tls.lingering++;
	hurry(live, end, live_now_us() + LINGER_US);
	end->armed = 0; /* its actor's wants are gone as well */
	settle(live, socket);
	return true;
}

/* ---- turns ----------------------------------------------------------------------------------- */

bool live_tls_is_ready(const struct live *live)
{
	return !TAILQ_EMPTY(&live->tls.readable);
}

static void end_late(struct live *live, int64_t now_us)
{
	struct live_tls_end *end;

	while ((end = TAILQ_FIRST(&live->tls.hurried)) && end->deadline_us <= now_us) {
		struct live_socket *socket = live_socket(live, end->number);
		uint32_t number = end->number;

		if (socket->kind == LIVE_LINGERING) {
			live_tcp_close(live, number);
			continue;
		}
		tls_give_up(&end->tls);
		settle(live, socket);
		runtime_net_tcp(live->rt, socket->owner, number, NET_READABLE | NET_CLOSED);
	}
}

void live_tls_run(struct live *live, int64_t now_us)
{
	struct live_tls_end *end;

	end_late(live, now_us);
	/* each that is there now once: who does not read all of it comes again in the next turn */
	for (uint32_t left = live->tls.readable_count;
		left && (end = TAILQ_FIRST(&live->tls.readable)); left--) {
		uint32_t number = end->number;
		struct live_socket *socket = live_socket(live, number);
		uint32_t generation = socket->generation;

		set_readable(live, end, false);
		runtime_net_tcp(live->rt, socket->owner, number, NET_READABLE);
		socket = live_socket(live, number);
		if (socket && socket->generation == generation && socket->tls)
			settle(live, socket);
	}
}
