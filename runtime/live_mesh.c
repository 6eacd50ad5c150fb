/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh over ZeroMQ, in the control process: one ROUTER at mesh.port takes what other gateways say,
 * one DEALER a node says it to them, all TCP with CURVE. Who may, who is there and what the frames mean
 * is mesh.c's business; here are sockets, keys and connections.
 *
 *   ROUTER --frame, key that its connection proved--> mesh_frame      mesh --frame--> DEALER of the node
 *   ZAP handler, monitor of the ROUTER: who stands at the port (mesh_door.h)
 *   ROUTER --frames of operators--> the node's console, and back (mesh_operators.h)
 *
 * The listening socket is the supervisor's and outlives this process. It lies in a context (and I/O
 * thread) of its own: what strangers send does not stand in the way of the node's own mail.
 */
#include "runtime/live_mesh.h"

#include "runtime/idmap.h"
#include "runtime/listeners.h"
#include "runtime/live_internal.h"
#include "runtime/mesh_door.h"
#include "runtime/mesh_keys.h"
#include "runtime/mesh_operators.h"
#include "runtime/mesh_revoked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

enum {
	FRAMES_A_TURN = 256,
	HIGH_WATER = 4000,
	OPERATOR_HIGH_WATER = 16, /* frames to one of them; the ROUTER says nothing to nodes */
	FRAME_MAX = RUNTIME_FRAME_MAX + MESH_MAIL_HEAD,
	HANDSHAKE_MS = 2000,
	RECONNECT_MS = 100,
	RECONNECT_MAX_MS =
		500, /* a control process is replaced within that; others are 63 at most */
	TCP_ALIVE_MS =
		5000, /* an idle connection is asked whether it lives, and has three of these */
	LINGER_MS = 100,
	LOST_MAX = 64, /* nodes wanted that nobody knows, a turn */
	FILES_LOOK_US = 1000000,
	EXPIRES_SOON_S = 14 * 86400,
};

struct live_mesh {
	struct mesh *mesh;
	void *context, *router, *zap, *monitor;
	uint32_t routers; /* opened so far: a closed one's monitor keeps its address for a moment */
	bool waits;	  /* a descriptor told of something, or there was more than a turn takes */
	struct idmap ways; /* DEALERs by node */
	struct mesh_keys keys;
	uint64_t keys_stamp;
	int64_t files_looked_us, due_us, operators_due_us;
	uint64_t owner; /* the office, 0 = not there yet */
	char endpoint[sizeof(((struct msg_mesh_self *)0)->endpoint)];
	struct mesh_door door;
	struct mesh_operators operators;
	uint64_t lost[LOST_MAX], barred[LOST_MAX];
	uint32_t lost_count, barred_count;
	struct mesh_revoked_list asked; /* by the office, in this turn */
	uint64_t revoked_stamp;
};

static const char zap_address[] = "inproc://zeromq.zap.01";
static const char zap_domain[] = "mesh";

static struct mesh_time mesh_now(void)
{
	return (struct mesh_time){live_now_us(), live_real_us()};
}

static void set(void *socket, int option, int value)
{
	zmq_setsockopt(socket, option, &value, sizeof(value));
}

static void set_both(void *socket)
{
	set(socket, ZMQ_LINGER, 0);
	set(socket, ZMQ_IPV6, 1);
	set(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
	set(socket, ZMQ_HEARTBEAT_IVL, TCP_ALIVE_MS);
	set(socket, ZMQ_HEARTBEAT_TIMEOUT, 3 * TCP_ALIVE_MS);
}

/* ---- ways to others: what the engine asks for ------------------------------------------------ */

static enum err way_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	struct live *live = context;
	struct live_mesh *m = live->mesh;
	void *socket = zmq_socket(m->context, ZMQ_DEALER);

	if (!socket)
		return ERR_NO_MEMORY;
	set_both(socket);
	set(socket, ZMQ_SNDHWM, HIGH_WATER);
	set(socket, ZMQ_IMMEDIATE,
		1); /* nothing waits for a connection: mesh.c knows when it stands */
	set(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
	set(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
	if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, key, MESH_KEY_SIZE) ||
		zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, m->keys.public_key, MESH_KEY_SIZE) ||
		zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, m->keys.secret_key, MESH_KEY_SIZE) ||
		zmq_connect(socket, endpoint) || idmap_put(&m->ways, node, socket)) {
		log_warn(&live->log, "mesh_way_failed", "endpoint", endpoint, "error",
			zmq_strerror(zmq_errno()));
		zmq_close(socket);
		return ERR_IO;
	}
	return ERR_OK;
}

static void way_close(void *context, uint64_t node)
{
	struct live *live = context;
	void *socket = idmap_remove(&live->mesh->ways, node);

	if (!socket)
		return;
	if (live->quit) /* a last word still leaves */
		set(socket, ZMQ_LINGER, LINGER_MS);
	zmq_close(socket);
}

static enum err way_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct live *live = context;
	void *socket = idmap_get(&live->mesh->ways, node);
	size_t size = 0;
	zmq_msg_t frame;

	if (!socket)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	if (zmq_msg_init_size(&frame, size))
		return ERR_NO_MEMORY;
	uint8_t *at = zmq_msg_data(&frame);

	for (size_t i = 0; i < count; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	if (zmq_msg_send(&frame, socket, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&frame);
		return ERR_AGAIN;
	}
	return ERR_OK;
}

/* ---- what the kernel and the office are told ------------------------------------------------- */

static void node_up(void *context, uint64_t node, uint64_t boot)
{
	struct live *live = context;
	enum err err = runtime_node_up(live->rt, node, boot);

	if (err)
		log_warn(&live->log, "node_not_taken", "error", err_name(err));
}

static void node_again(void *context, uint64_t node)
{
	runtime_node_again(((struct live *)context)->rt, node);
}

static void node_down(void *context, uint64_t node)
{
	runtime_node_down(((struct live *)context)->rt, node);
}

/* Perhaps in the middle of a turn: said after it. */
static void node_barred(void *context, uint64_t node)
{
	struct live_mesh *m = ((struct live *)context)->mesh;

	m->due_us = 0;
	if (m->barred_count < LOST_MAX)
		m->barred[m->barred_count++] = node;
}

static void node_frame(void *context, uint64_t node, const uint8_t *bytes, size_t size)
{
	runtime_node_frame(((struct live *)context)->rt, node, bytes, size);
}

static void node_told(void *context, const struct mesh_view *view)
{
	struct live *live = context;
	struct msg_mesh_node told = {.node = view->node,
		.boot = view->boot,
		.state = (uint8_t)view->state,
		.rtt_us = view->rtt_us,
		.offset_us = view->offset_us};

	text_copy(told.name, sizeof(told.name), view->name);
	text_copy(told.version, sizeof(told.version), view->version);
	if (live->mesh->owner)
		runtime_mesh_node(live->rt, live->mesh->owner, &told);
}

static const struct mesh_ops engine_ops = {
	.open = way_open,
	.close = way_close,
	.send = way_send,
	.up = node_up,
	.again = node_again,
	.down = node_down,
	.barred = node_barred,
	.frame = node_frame,
	.told = node_told,
};

static void tell_self(struct live *live)
{
	const struct live_mesh *m = live->mesh;
	struct msg_mesh_self told = {.boot = live->boot};

	if (!m->owner)
		return;
	text_copy(told.endpoint, sizeof(told.endpoint), m->endpoint);
	told.key.size = MESH_KEY_SIZE;
	memcpy(told.key.data, m->keys.public_key, MESH_KEY_SIZE);
	if (m->keys.certified) {
		told.certificate.size = MESH_CERTIFICATE_SIZE;
		memcpy(told.certificate.data, m->keys.certificate, MESH_CERTIFICATE_SIZE);
	}
	runtime_mesh_self(live->rt, m->owner, &told);
}

/* ---- what actors and the kernel ask for ------------------------------------------------------ */

enum err live_mesh_take(void *context, uint64_t owner)
{
	struct live *live = context;

	if (!live->mesh)
		return ERR_UNSUPPORTED;
	live->mesh->owner = owner;
	tell_self(live);
	live->mesh->revoked_stamp = 0; /* they are read, and told, anew */
	return ERR_OK;
}

enum err live_mesh_revoke(void *context, const uint8_t key[MESH_KEY_SIZE])
{
	struct live *live = context;
	struct live_mesh *m = live->mesh;

	if (!m)
		return ERR_UNSUPPORTED;
	if (mesh_is_revoked(m->mesh, key))
		return ERR_EXISTS;
	if (m->asked.count == MESH_REVOKED_MAX)
		return ERR_LIMIT;
	memcpy(m->asked.keys[m->asked.count++], key, MESH_KEY_SIZE);
	m->due_us = 0;
	return ERR_OK;
}

enum err live_mesh_learn(void *context, const struct mesh_hint *hint)
{
	struct live *live = context;

	if (!live->mesh)
		return ERR_UNSUPPORTED;
	live->mesh->due_us = 0;
	return mesh_learn(live->mesh->mesh, hint, mesh_now());
}

void live_mesh_forget(void *context, uint64_t node)
{
	struct live *live = context;

	if (live->mesh)
		mesh_forget(live->mesh->mesh, node);
}

enum err live_mesh_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct live *live = context;

	return live->mesh ? mesh_send(live->mesh->mesh, node, parts, count, mesh_now()) : ERR_DEAD;
}

/* In the middle of a turn: what is to be said of it is said after it. */
void live_mesh_wanted(void *context, uint64_t node)
{
	struct live *live = context;
	struct live_mesh *m = live->mesh;

	if (!m)
		return;
	m->due_us = 0;
	if (mesh_want(m->mesh, node, mesh_now()) && m->lost_count < LOST_MAX)
		m->lost[m->lost_count++] = node;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void see_connections(struct live_mesh *m)
{
	while (m->monitor && mesh_door_event(&m->door, m->monitor, live_now_us()))
		;
}

static void take_operator(struct live *live, zmq_msg_t *route, zmq_msg_t *frame, int fd,
	const uint8_t key[MESH_KEY_SIZE])
{
	struct live_mesh *m = live->mesh;

	see_connections(m); /* that one is among them */
	mesh_operators_frame(&m->operators, &m->door,
		&(struct mesh_operator_letter){
			.router = m->router,
			.route = zmq_msg_data(route),
			.route_size = zmq_msg_size(route),
			.key = key,
			.fd = fd,
			.bytes = zmq_msg_data(frame),
			.size = zmq_msg_size(frame),
			.revoked = mesh_is_revoked(m->mesh, key),
			.certificate = m->keys.certificate,
			.certificate_size = m->keys.certified ? MESH_CERTIFICATE_SIZE : 0,
			.now_s = live_real_us() / 1000000,
		});
}

static void take_frame(struct live *live, zmq_msg_t *route, zmq_msg_t *frame)
{
	struct live_mesh *m = live->mesh;
	const char *user = zmq_msg_gets(frame, "User-Id");
	const uint8_t *bytes = zmq_msg_data(frame);
	size_t size = zmq_msg_size(frame);
	int fd = zmq_msg_get(frame, ZMQ_SRCFD);
	uint8_t key[MESH_KEY_SIZE];

	if (!user || !mesh_hex_read(user, strlen(user), key, sizeof(key)))
		mesh_door_end(&m->door, fd);
	else if (size && bytes[0] == MESH_FRAME_OPERATOR)
		take_operator(live, route, frame, fd, key);
	else if (mesh_frame(m->mesh, key, bytes, size, mesh_now()))
		mesh_door_end(&m->door, fd);
	else
		mesh_door_greeted(&m->door, fd);
}

static bool take_one(struct live *live)
{
	void *router = live->mesh->router;
	zmq_msg_t route, part;
	bool more;

	zmq_msg_init(&route);
	if (zmq_msg_recv(&route, router, ZMQ_DONTWAIT) < 0) { /* the connection's own name here */
		zmq_msg_close(&route);
		return false;
	}
	more = zmq_msg_more(&route);
	for (int parts = 0; more; parts++) {
		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, router, ZMQ_DONTWAIT) < 0)
			break;
		more = zmq_msg_more(&part);
		if (parts == 0 && !more)
			take_frame(live, &route, &part);
		zmq_msg_close(&part);
	}
	zmq_msg_close(&route);
	return true;
}

/* ---- sockets to us --------------------------------------------------------------------------- */

static enum err watch(struct live *live, void *socket)
{
	int fd = -1;
	size_t size = sizeof(fd);

	return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) ? ERR_IO
							  : live_watch(live, fd, LIVE_TAG_MESH);
}

/* ZeroMQ closes the descriptor that it is given with its socket, so it gets one of its own. */
static enum err open_router(struct live *live)
{
	struct live_mesh *m = live->mesh;
	char monitor_address[48];
	int listener = fcntl(live->env->fd.mesh, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	m->router = listener < 0 ? NULL : zmq_socket(m->context, ZMQ_ROUTER);
	if (!m->router) {
		if (listener >= 0)
			close(listener);
		return ERR_NO_MEMORY;
	}
	set_both(m->router);
	set(m->router, ZMQ_RCVHWM, HIGH_WATER);
	set(m->router, ZMQ_SNDHWM, OPERATOR_HIGH_WATER);
	set(m->router, ZMQ_ROUTER_MANDATORY, 1); /* who is gone is known to be */
	set(m->router, ZMQ_CURVE_SERVER, 1);
	set(m->router, ZMQ_USE_FD, listener);
	zmq_setsockopt(m->router, ZMQ_MAXMSGSIZE, &(int64_t){FRAME_MAX}, sizeof(int64_t));
	zmq_setsockopt(m->router, ZMQ_ZAP_DOMAIN, zap_domain, sizeof(zap_domain) - 1);
	zmq_setsockopt(m->router, ZMQ_CURVE_SECRETKEY, m->keys.secret_key, MESH_KEY_SIZE);
	snprintf(
		monitor_address, sizeof(monitor_address), "inproc://mesh-monitor-%u", ++m->routers);
	if (zmq_socket_monitor(m->router, monitor_address, ZMQ_EVENT_ALL))
		return ERR_IO;
	m->monitor = zmq_socket(m->context, ZMQ_PAIR);
	if (!m->monitor || zmq_connect(m->monitor, monitor_address) ||
		zmq_bind(m->router, "tcp://127.0.0.1:*"))
		return ERR_IO;
	enum err err = watch(live, m->monitor);

	return err ? err : watch(live, m->router);
}

static void close_router(struct live_mesh *m)
{
	mesh_operators_close(&m->operators);
	if (m->router) {
		zmq_socket_monitor(m->router, NULL, 0);
		zmq_close(m->router);
	}
	if (m->monitor)
		zmq_close(m->monitor);
	m->router = m->monitor = NULL;
	mesh_door_close(&m->door);
}

static enum err open_sockets(struct live *live)
{
	struct live_mesh *m = live->mesh;
	enum err err;

	m->context = zmq_ctx_new();
	if (!m->context)
		return ERR_NO_MEMORY;
	zmq_ctx_set(m->context, ZMQ_MAX_SOCKETS, 2 * RUNTIME_NODES_MAX);
	m->zap = zmq_socket(m->context, ZMQ_REP);
	if (!m->zap)
		return ERR_NO_MEMORY;
	set(m->zap, ZMQ_LINGER, 0);
	/* first: a connection that finds no handler there would be let in */
	if (zmq_bind(m->zap, zap_address))
		return ERR_IO;
	err = watch(live, m->zap);
	return err ? err : open_router(live);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void warn_of_keys(struct live *live)
{
	const struct live_mesh *m = live->mesh;
	const struct config *config = live->env->config;
	int64_t left_s = m->keys.says.not_after_s - live_real_us() / 1000000;
	char digits[MESH_KEY_TEXT_SIZE];

	if (!config->cluster_key[0] && !config->mesh_peers[0])
		log_warn(&live->log, "mesh_admits_nobody", "remedy", "cluster.key or mesh.peers");
	if (!m->keys.certified && !mesh_is_listed(m->mesh, m->keys.public_key))
		log_warn(&live->log, "mesh_key_not_signed", "key",
			mesh_hex_write(m->keys.public_key, MESH_KEY_SIZE, digits), "remedy",
			"millrace ctl keys");
	else if (m->keys.certified && left_s < EXPIRES_SOON_S)
		log_warn(&live->log, "mesh_certificate_expires", "seconds", left_s);
}

static enum err load_keys(struct live *live)
{
	struct live_mesh *m = live->mesh;
	const char *data_dir = live->env->data_dir;
	enum err err = mesh_keys_read(data_dir, &m->keys);

	if (err == ERR_NOT_FOUND) { /* the first start */
		err = mesh_keys_new(&m->keys);
		err = err ? err : mesh_keys_write(data_dir, &m->keys);
	}
	m->keys_stamp = mesh_keys_stamp(data_dir);
	if (err)
		log_error(&live->log, "mesh_key_unusable", "directory", data_dir, "error",
			err_name(err));
	return err;
}

static void use_certificate(struct live_mesh *m)
{
	mesh_set_certificate(
		m->mesh, m->keys.certificate, m->keys.certified ? MESH_CERTIFICATE_SIZE : 0);
}

/* Another key: all connections are made anew, what was under way is sent again. */
static void change_keys(struct live *live, const struct mesh_keys *fresh)
{
	struct live_mesh *m = live->mesh;
	bool same = !memcmp(m->keys.public_key, fresh->public_key, MESH_KEY_SIZE);

	m->keys = *fresh;
	use_certificate(m);
	if (!same) {
		close_router(m);
		mesh_close_all(m->mesh);
		if (open_router(live))
			log_error(
				&live->log, "mesh_bind_failed", "error", zmq_strerror(zmq_errno()));
		m->waits = true;
	}
	m->due_us = 0;
	log_info(&live->log, "mesh_keys_changed", "new_key", same ? "no" : "yes");
	warn_of_keys(live);
	tell_self(live);
}

static void look_at_keys(struct live *live)
{
	struct live_mesh *m = live->mesh;
	struct mesh_keys fresh;
	uint64_t stamp = mesh_keys_stamp(live->env->data_dir);

	if (stamp == m->keys_stamp || mesh_keys_read(live->env->data_dir, &fresh))
		return;
	/* half replaced: the rest comes */
	if (!fresh.certified && m->keys.certified)
		return;
	m->keys_stamp = stamp;
	if (memcmp(&fresh, &m->keys, sizeof(fresh)) != 0)
		change_keys(live, &fresh);
}

/* ---- keys that are let in no more ------------------------------------------------------------ */

static void bar_key(struct live *live, const uint8_t key[MESH_KEY_SIZE])
{
	struct live_mesh *m = live->mesh;
	struct msg_mesh_revoked told = {.key.size = MESH_KEY_SIZE};
	char digits[MESH_KEY_TEXT_SIZE];
	enum err err = mesh_revoke(m->mesh, key, mesh_now());

	memcpy(told.key.data, key, MESH_KEY_SIZE);
	if (m->owner)
		runtime_mesh_revoked(live->rt, m->owner, &told);
	if (err)
		return;
	mesh_operators_revoke(&m->operators, m->router, key);
	mesh_hex_write(key, MESH_KEY_SIZE, digits);
	log_warn(&live->log, "mesh_key_revoked", "key", digits);
	if (!memcmp(key, m->keys.public_key, MESH_KEY_SIZE))
		log_error(&live->log, "own_key_revoked", "remedy", "millrace ctl keys rotate");
}

/* What the office has heard of is kept here as well: it counts when the store is gone. */
static void revoke_asked(struct live *live)
{
	struct live_mesh *m = live->mesh;

	for (uint32_t i = 0; i < m->asked.count; i++) {
		enum err err = mesh_revoked_add(live->env->data_dir, m->asked.keys[i]);

		if (err && err != ERR_EXISTS)
			log_error(&live->log, "mesh_revoked_not_kept", "error", err_name(err));
		bar_key(live, m->asked.keys[i]);
	}
	m->asked.count = 0;
}

static void look_at_revoked(struct live *live)
{
	struct live_mesh *m = live->mesh;
	uint64_t stamp = mesh_revoked_stamp(live->env->data_dir);
	struct mesh_revoked_list list;

	if (stamp == m->revoked_stamp || mesh_revoked_read(live->env->data_dir, &list))
		return;
	m->revoked_stamp = stamp;
	if (list.damaged)
		log_warn(&live->log, "mesh_revoked_damaged", "lines", list.damaged);
	for (uint32_t i = 0; i < list.count; i++)
		bar_key(live, list.keys[i]);
}

static void look_at_files(struct live *live, int64_t now_us)
{
	struct live_mesh *m = live->mesh;

	if (now_us - m->files_looked_us < FILES_LOOK_US)
		return;
	m->files_looked_us = now_us;
	look_at_keys(live);
	look_at_revoked(live);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err create_engine(struct live *live)
{
	const struct process_env *env = live->env;
	const struct config *config = env->config;
	struct live_mesh *m = live->mesh;
	uint8_t cluster_key[MESH_KEY_SIZE], listed[MESH_LISTED_MAX][MESH_KEY_SIZE];
	char item[MESH_KEY_TEXT_SIZE];
	size_t count = 0, at = 0;
	bool has_key = mesh_hex_read(
		config->cluster_key, strlen(config->cluster_key), cluster_key, MESH_KEY_SIZE);

	while (count < MESH_LISTED_MAX &&
		config_list_next(config->mesh_peers, &at, item, sizeof(item)))
		count += mesh_hex_read(item, strlen(item), listed[count], MESH_KEY_SIZE);
	const char *address = config->mesh_advertise[0] ? config->mesh_advertise
			      : env->advertise_count	? env->advertise[0]
							: "127.0.0.1";
	char text[PROCESS_ADDRESS_SIZE + 16];
	snprintf(m->endpoint, sizeof(m->endpoint), "tcp://%s",
		listeners_format(address, env->mesh_port, text, sizeof(text)));
	m->mesh = mesh_create(&(struct mesh_options){
		.node = env->node_id,
		.boot = live->boot,
		.name = env->node_name,
		.version = MILLRACE_VERSION,
		.endpoint = m->endpoint,
		.cluster_key = has_key ? cluster_key : NULL,
		.listed = (const uint8_t(*)[MESH_KEY_SIZE])listed,
		.listed_count = count,
		.lost_us = config->cluster_node_lost_ms * 1000,
		.began_us = live_now_us(),
		.ops = &engine_ops,
		.context = live,
	});
	if (!m->mesh)
		return ERR_NO_MEMORY;
	use_certificate(m);
	m->operators.log = &live->log;
	m->operators.run_dir = env->run_dir;
	m->operators.epoll = live->epoll;
	m->operators.tag = LIVE_TAG_MESH;
	m->operators.has_cluster_key = has_key;
	if (has_key)
		memcpy(m->operators.cluster_key, cluster_key, MESH_KEY_SIZE);
	return ERR_OK;
}

enum err live_mesh_open(struct live *live)
{
	enum err err;

	live->boot = (uint64_t)live_real_us();
	if (live->env->role != PROCESS_CONTROL || live->env->fd.mesh < 0)
		return ERR_OK;
	live->mesh = calloc(1, sizeof(*live->mesh));
	if (!live->mesh)
		return ERR_NO_MEMORY;
	live->mesh->door.port = live->env->mesh_port;
	live->mesh->operators_due_us = INT64_MAX;
	err = load_keys(live);
	err = err ? err : create_engine(live);
	if (!err && (err = open_sockets(live)))
		log_error(&live->log, "mesh_bind_failed", "error", zmq_strerror(zmq_errno()));
	if (!err)
		warn_of_keys(live);
	return err;
}

void live_mesh_close(struct live *live)
{
	struct live_mesh *m = live->mesh;
	bool leaving = atomic_load(&live->env->page->node_state) == PROCESS_NODE_STOPPING;

	if (!m)
		return;
	mesh_destroy(&m->mesh, leaving);
	close_router(m);
	if (m->zap)
		zmq_close(m->zap);
	if (m->context)
		zmq_ctx_term(m->context);
	idmap_fini(&m->ways);
	explicit_bzero(&m->keys, sizeof(m->keys));
	free(m);
	live->mesh = NULL;
}

/* ---- the loop -------------------------------------------------------------------------------- */

void live_mesh_event(struct live *live)
{
	if (live->mesh)
		live->mesh->waits = true;
}

int64_t live_mesh_due_us(const struct live *live)
{
	const struct live_mesh *m = live->mesh;

	if (!m)
		return INT64_MAX;
	if (m->waits)
		return 0;
	return m->due_us < m->operators_due_us ? m->due_us : m->operators_due_us;
}

/* Descriptors of ZeroMQ tell once that something has come, so all is taken, or remembered. */
static void receive(struct live *live)
{
	struct live_mesh *m = live->mesh;
	int frames = 0;

	see_connections(m);
	while (mesh_door_zap(m->zap, m->mesh))
		;
	while (m->router && frames < FRAMES_A_TURN && take_one(live))
		frames++;
	m->waits = frames == FRAMES_A_TURN;
	m->waits |= m->router && mesh_operators_run(&m->operators, &m->door, m->router,
					 live_now_us(), &m->operators_due_us);
}

void live_mesh_run(struct live *live)
{
	struct live_mesh *m = live->mesh;
	int64_t now_us;

	if (!m)
		return;
	now_us = live_now_us();
	if (m->waits || m->operators_due_us <= now_us)
		receive(live);
	for (uint32_t i = 0; i < m->lost_count; i++)
		runtime_node_down(live->rt, m->lost[i]);
	m->lost_count = 0;
	revoke_asked(live);
	for (uint32_t i = 0; i < m->barred_count; i++)
		runtime_node_barred(live->rt, m->barred[i]);
	m->barred_count = 0;
	mesh_door_tend(&m->door, now_us);
	look_at_files(live, now_us);
	m->due_us = mesh_turn(m->mesh, mesh_now());
}

void live_mesh_report(struct live *live)
{
	const struct live_mesh *m = live->mesh;

	if (!m)
		return;
	const struct mesh_counters *counters = mesh_counters(m->mesh);
	const struct process_env *env = live->env;

	process_metric_set(env, PROCESS_METRIC_MESH_CONNECTIONS, m->door.count);
	process_metric_set(env, PROCESS_METRIC_MESH_ENDED, m->door.ended);
	process_metric_set(env, PROCESS_METRIC_MESH_LEFT_EARLY, m->door.left_early);
	process_metric_set(env, PROCESS_METRIC_MESH_NODES, counters->nodes);
	process_metric_set(env, PROCESS_METRIC_MESH_MAILS_IN, counters->mails_in);
	process_metric_set(env, PROCESS_METRIC_MESH_MAILS_OUT, counters->mails_out);
	process_metric_set(env, PROCESS_METRIC_MESH_REFUSED_KEY, counters->refused_key);
	process_metric_set(env, PROCESS_METRIC_MESH_REFUSED_TWICE, counters->refused_twice);
	process_metric_set(env, PROCESS_METRIC_MESH_BAD_FRAMES, counters->bad_frames);
	process_metric_set(env, PROCESS_METRIC_MESH_STALE, counters->stale);
	process_metric_set(env, PROCESS_METRIC_MESH_DOWNS, counters->downs);
	process_metric_set(env, PROCESS_METRIC_MESH_DOUBTS, counters->doubts);
	process_metric_set(env, PROCESS_METRIC_MESH_WARNINGS, counters->warnings);
	process_metric_set(env, PROCESS_METRIC_MESH_OPERATORS, m->operators.count);
	process_metric_set(env, PROCESS_METRIC_MESH_REFUSED_OPERATOR, m->operators.refused);
	process_metric_set(env, PROCESS_METRIC_MESH_EXPIRES,
		m->keys.certified ? (uint64_t)m->keys.says.not_after_s : 0);
}
