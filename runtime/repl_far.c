/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/repl_far.h"

#include "runtime/cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
	OPEN_MS = 5000,	      /* all of it: connecting, keys, the node's first word */
	SEND_MS = 5000,	      /* the node takes nothing */
	ALIVE_MS = 1000,      /* asked so often whether the other side lives … */
	ALIVE_LOST_MS = 5000, /* … and gone when it has not said so for that long */
	HIGH_WATER = 64,
	HOST_TEXT_SIZE = INET6_ADDRSTRLEN + 32,
	ADDRESS_TEXT_SIZE = REPL_FAR_HOST_SIZE + 16,
};

struct repl_far {
	void *context, *dealer, *monitor;
	uint8_t data[OPERATOR_DATA_MAX]; /* that came and was not taken yet */
	size_t first, used;
	bool ended;
};

/* What has become of the connection, as its monitor says. */
enum fate { FATE_NONE, FATE_CONNECTED, FATE_REFUSED, FATE_HANDSHAKE, FATE_GARBAGE, FATE_CLOSED };

/* ---- addresses ------------------------------------------------------------------------------- */

bool repl_far_parse(const char *text, struct repl_far_address *address)
{
	static const char scheme[] = "tcp://", option[] = "?key=";
	const char *host = text + sizeof(scheme) - 1, *end, *colon;
	char *rest;

	*address = (struct repl_far_address){0};
	if (strncmp(text, scheme, sizeof(scheme) - 1) != 0)
		return false;
	end = *host == '[' ? strchr(host, ']') : strchr(host, ':');
	colon = end && *host == '[' ? end + 1 : end;
	host += *host == '[';
	if (!end || *colon != ':' || end == host || end - host >= REPL_FAR_HOST_SIZE)
		return false;
	memcpy(address->host, host, (size_t)(end - host));
	if (colon[1] < '0' || colon[1] > '9')
		return false;
	unsigned long port = strtoul(colon + 1, &rest, 10);
	if (!port || port > UINT16_MAX)
		return false;
	address->port = (uint16_t)port;
	if (!*rest)
		return true;
	address->has_key = true;
	return !strncmp(rest, option, sizeof(option) - 1) &&
	       mesh_hex_read(rest + sizeof(option) - 1, strlen(rest + sizeof(option) - 1),
		       address->key, MESH_KEY_SIZE);
}

const char *repl_far_operator_file(const char *given, char path[MESH_KEYS_PATH_SIZE])
{
	const char *from_environment = getenv("MILLRACE_OPERATOR");
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int size = -1;

	given = given ? given : from_environment && *from_environment ? from_environment : NULL;
	/* the convention says that a relative path is none */
	if (given)
		size = snprintf(path, MESH_KEYS_PATH_SIZE, "%s", given);
	else if (config && *config == '/')
		size = snprintf(path, MESH_KEYS_PATH_SIZE, "%s/millrace/operator", config);
	else if (home && *home == '/')
		size = snprintf(path, MESH_KEYS_PATH_SIZE, "%s/.config/millrace/operator", home);
	return size >= 0 && size < MESH_KEYS_PATH_SIZE ? path : NULL;
}

/* As ZeroMQ wants it; resolved here, where it can be said what is wrong. */
static const char *endpoint_of(const struct repl_far_address *address, char text[HOST_TEXT_SIZE])
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[INET6_ADDRSTRLEN + 16];

	if (getaddrinfo(address->host, NULL, &hints, &found))
		return NULL;
	int err = getnameinfo(
		found->ai_addr, found->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	bool is_v6 = found->ai_family == AF_INET6;

	freeaddrinfo(found);
	if (err)
		return NULL;
	snprintf(text, HOST_TEXT_SIZE, "tcp://%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
		address->port);
	return text;
}

/* ---- the connection -------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool set(void *socket, int option, int value)
{
	return !zmq_setsockopt(socket, option, &value, sizeof(value));
}

static bool set_key(void *socket, int option, const uint8_t key[MESH_KEY_SIZE])
{
	return !zmq_setsockopt(socket, option, key, MESH_KEY_SIZE);
}

static bool open_sockets(struct repl_far *far, const struct operator_keys *keys,
	const uint8_t node_key[MESH_KEY_SIZE], const char *endpoint)
{
	static const char monitor_address[] = "inproc://far-monitor";

	far->context = zmq_ctx_new();
	far->dealer = far->context ? zmq_socket(far->context, ZMQ_DEALER) : NULL;
	far->monitor = far->context ? zmq_socket(far->context, ZMQ_PAIR) : NULL;
	return far->dealer && far->monitor && set(far->dealer, ZMQ_LINGER, 0) &&
	       set(far->monitor, ZMQ_LINGER, 0) && set(far->dealer, ZMQ_IPV6, 1) &&
	       set(far->dealer, ZMQ_RECONNECT_IVL, -1) && /* that it has ended is said */
	       set(far->dealer, ZMQ_CONNECT_TIMEOUT, OPEN_MS) &&
	       set(far->dealer, ZMQ_HANDSHAKE_IVL, 2 * OPEN_MS) &&
	       set(far->dealer, ZMQ_HEARTBEAT_IVL, ALIVE_MS) &&
	       set(far->dealer, ZMQ_HEARTBEAT_TIMEOUT, ALIVE_LOST_MS) &&
	       set(far->dealer, ZMQ_SNDHWM, HIGH_WATER) &&
	       set(far->dealer, ZMQ_RCVHWM, HIGH_WATER) &&
	       !zmq_setsockopt(far->dealer, ZMQ_MAXMSGSIZE, &(int64_t){OPERATOR_FRAME_MAX},
		       sizeof(int64_t)) &&
	       set_key(far->dealer, ZMQ_CURVE_SERVERKEY, node_key) &&
	       set_key(far->dealer, ZMQ_CURVE_PUBLICKEY, keys->public_key) &&
	       set_key(far->dealer, ZMQ_CURVE_SECRETKEY, keys->secret_key) &&
	       !zmq_socket_monitor(far->dealer, monitor_address, ZMQ_EVENT_ALL) &&
	       !zmq_connect(far->monitor, monitor_address) && !zmq_connect(far->dealer, endpoint);
}

static enum fate read_fate(void *monitor)
{
	uint16_t event = 0;
	zmq_msg_t part;

	zmq_msg_init(&part);
	if (zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) >= 0 && zmq_msg_size(&part) >= sizeof(event))
		memcpy(&event, zmq_msg_data(&part), sizeof(event));
	while (zmq_msg_more(&part) && zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) >= 0)
		;
	zmq_msg_close(&part);
	switch (event) {
	case ZMQ_EVENT_CONNECTED: return FATE_CONNECTED;
	case ZMQ_EVENT_CLOSED:
	case ZMQ_EVENT_CONNECT_RETRIED: return FATE_REFUSED;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return FATE_HANDSHAKE;
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: return FATE_GARBAGE;
	case ZMQ_EVENT_DISCONNECTED: return FATE_CLOSED;
	default: return FATE_NONE;
	}
}

enum arrived { ARRIVED_FRAME, ARRIVED_FATE, ARRIVED_NOTHING, ARRIVED_SIGNAL };

/* Waits for a frame, then for what becomes of the connection: what was said before its end is heard. */
static enum arrived wait_for(
	struct repl_far *far, zmq_msg_t *frame, enum fate *fate, int64_t deadline_ms)
{
	zmq_pollitem_t items[] = {
		{.socket = far->dealer,	.events = ZMQ_POLLIN},
		{.socket = far->monitor, .events = ZMQ_POLLIN},
	};
	int64_t left_ms = deadline_ms < 0 ? -1 : deadline_ms - now_ms();

	if (deadline_ms >= 0 && left_ms < 0)
		left_ms = 0;
	if (zmq_poll(items, 2, left_ms) < 0)
		return ARRIVED_SIGNAL;
	if (items[0].revents && zmq_msg_recv(frame, far->dealer, ZMQ_DONTWAIT) >= 0)
		return ARRIVED_FRAME;
	if (!items[1].revents)
		return ARRIVED_NOTHING;
	*fate = read_fate(far->monitor);
	return ARRIVED_FATE;
}

static enum err take_frame(zmq_msg_t *message, struct operator_frame *frame)
{
	return zmq_msg_more(message)
		       ? ERR_FORMAT
		       : operator_frame_read(zmq_msg_data(message), zmq_msg_size(message), frame);
}

/* ---- opening --------------------------------------------------------------------------------- */

struct opening {
	struct repl_far *far;
	struct repl_far_address address;
	char text[ADDRESS_TEXT_SIZE]; /* by which nodes are remembered */
	const char *file;
	struct operator_keys keys;
	char *why;
};

static int fail(const struct opening *o, int status, const char *text, const char *what)
{
	snprintf(o->why, REPL_FAR_WHY_SIZE, "%s: %s%s", o->text, text, what);
	return status;
}

static const char *text_of_fate(enum fate fate)
{
	switch (fate) {
	case FATE_REFUSED: return "nobody listens there";
	case FATE_GARBAGE: return "what listens there is no node's mesh.port";
	case FATE_HANDSHAKE:
	case FATE_CLOSED:
		return "closed before anything was said: it has another key, lets no operators in, "
		       "or "
		       "that is no mesh.port";
	case FATE_CONNECTED: return "what listens there says nothing";
	case FATE_NONE: break;
	}
	return "cannot be reached";
}

/* What the node shows of itself. */
static int check_node(const struct opening *o, const struct operator_frame *frame)
{
	struct mesh_certificate says;
	enum err err = mesh_certificate_verify(
		frame->bytes, frame->size, o->keys.cluster_key, time(NULL), &says);

	if (!err && memcmp(says.key, o->address.key, MESH_KEY_SIZE))
		err = ERR_FORBIDDEN;
	if (!err) /* what cannot be written is asked for again */
		(void)operator_remember_node(o->file, o->text, frame->bytes);
	if (!err || o->address.has_key)
		return CLI_CLEAN;
	return fail(o, CLI_CANNOT_CONNECT,
		"this operator's cluster does not know it: its certificate is no good: ",
		err_text(err));
}

static int take_first(const struct opening *o, zmq_msg_t *message)
{
	struct operator_frame frame;

	if (take_frame(message, &frame))
		return fail(o, CLI_CANNOT_CONNECT, "its answer makes no sense", "");
	if (frame.kind == OPERATOR_OPENED)
		return check_node(o, &frame);
	if (frame.kind != OPERATOR_REFUSED)
		return fail(o, CLI_CANNOT_CONNECT, "its answer makes no sense", "");
	switch (frame.err) {
	case ERR_AUTH:
		return fail(o, CLI_CANNOT_CONNECT,
			"refused: another cluster has signed this operator's key", "");
	case ERR_TIMEOUT:
		return fail(o, CLI_CANNOT_CONNECT,
			"refused: the operator's certificate has expired", "");
	case ERR_UNSUPPORTED:
		return fail(o, CLI_CANNOT_CONNECT,
			"refused: the node has no cluster.key, by which it would know operators",
			"");
	case ERR_LIMIT:
		return fail(o, CLI_CANNOT_CONNECT, "refused: too many operators are there", "");
	default: return fail(o, CLI_CANNOT_CONNECT, "refused: ", err_text(frame.err));
	}
}

static bool say_who(const struct opening *o)
{
	uint8_t open[OPERATOR_HEAD_SIZE + OPERATOR_CERTIFICATE_SIZE];

	operator_frame_head(OPERATOR_OPEN, open);
	memcpy(open + OPERATOR_HEAD_SIZE, o->keys.certificate, OPERATOR_CERTIFICATE_SIZE);
	return zmq_send(o->far->dealer, open, sizeof(open), ZMQ_DONTWAIT) >= 0;
}

static int await_first(const struct opening *o)
{
	int64_t deadline_ms = now_ms() + OPEN_MS;
	enum fate last = FATE_NONE;
	int status = -1;
	zmq_msg_t frame;

	zmq_msg_init(&frame);
	while (status < 0) {
		enum fate fate = FATE_NONE;

		switch (wait_for(o->far, &frame, &fate, deadline_ms)) {
		case ARRIVED_FRAME: status = take_first(o, &frame); break;
		case ARRIVED_FATE:
			last = fate == FATE_NONE ? last : fate;
			if (last > FATE_CONNECTED)
				status = fail(o, CLI_CANNOT_CONNECT, text_of_fate(last), "");
			break;
		case ARRIVED_NOTHING:
			if (now_ms() >= deadline_ms)
				status = fail(o, CLI_CANNOT_CONNECT, text_of_fate(last), "");
			break;
		case ARRIVED_SIGNAL: status = fail(o, CLI_CANNOT_CONNECT, "interrupted", ""); break;
		}
	}
	zmq_msg_close(&frame);
	return status;
}

/* Who we are, and the key that the node must prove. */
static int find_keys(struct opening *o)
{
	enum err err = o->file ? operator_keys_read(o->file, &o->keys) : ERR_NOT_FOUND;

	if (err == ERR_NOT_FOUND) {
		snprintf(o->why, REPL_FAR_WHY_SIZE,
			"there is no operator's file%s%s: --operator FILE; millrace ctl keys "
			"operator "
			"NAME FILE makes one",
			o->file ? " " : "", o->file ? o->file : "");
		return CLI_USAGE;
	}
	if (err) {
		snprintf(o->why, REPL_FAR_WHY_SIZE, "the operator's file %s: %s", o->file,
			err_text(err));
		return CLI_USAGE;
	}
	if (!o->address.has_key &&
		operator_known_node(o->file, &o->keys, o->text, time(NULL), o->address.key))
		return fail(o, CLI_USAGE,
			"its key is not known yet: add ?key=KEY once, as millrace ctl keys show "
			"says "
			"it at the node",
			"");
	return CLI_CLEAN;
}

static int open_far(struct opening *o)
{
	char endpoint[HOST_TEXT_SIZE];
	int status = find_keys(o);

	if (status)
		return status;
	if (!endpoint_of(&o->address, endpoint))
		return fail(o, CLI_CANNOT_CONNECT, "there is no such host", "");
	o->far = calloc(1, sizeof(*o->far));
	if (!o->far)
		return fail(o, CLI_FAILED, err_text(ERR_NO_MEMORY), "");
	if (!open_sockets(o->far, &o->keys, o->address.key, endpoint) || !say_who(o))
		return fail(o, CLI_FAILED, zmq_strerror(zmq_errno()), "");
	return await_first(o);
}

int repl_far_open(
	struct repl_far **far, const char *address, const char *file, char why[REPL_FAR_WHY_SIZE])
{
	struct opening o = {.file = file, .why = why};
	int status;

	*far = NULL;
	if (!repl_far_parse(address, &o.address)) {
		snprintf(why, REPL_FAR_WHY_SIZE,
			"expected tcp://HOST:PORT or tcp://HOST:PORT?key=KEY (64 digits), not "
			"\"%s\"",
			address);
		return CLI_USAGE;
	}
	snprintf(o.text, sizeof(o.text), "tcp://%s:%u", o.address.host, o.address.port);
	status = open_far(&o);
	explicit_bzero(&o.keys, sizeof(o.keys));
	if (status)
		repl_far_close(&o.far);
	*far = o.far;
	return status;
}

void repl_far_close(struct repl_far **far_)
{
	struct repl_far *far = *far_;

	if (!far)
		return;
	if (far->dealer) {
		zmq_socket_monitor(far->dealer, NULL, 0);
		zmq_close(far->dealer);
	}
	if (far->monitor)
		zmq_close(far->monitor);
	if (far->context)
		zmq_ctx_term(far->context);
	free(far);
	*far_ = NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool send_piece(struct repl_far *far, const uint8_t *bytes, size_t size)
{
	uint8_t frame[OPERATOR_FRAME_MAX];

	operator_frame_head(OPERATOR_DATA, frame);
	memcpy(frame + OPERATOR_HEAD_SIZE, bytes, size);
	while (zmq_send(far->dealer, frame, OPERATOR_HEAD_SIZE + size, 0) < 0)
		if (zmq_errno() != EINTR)
			return false;
	return true;
}

/* What has become of it while nobody listened, as a line was typed. */
static void hear_of_end(struct repl_far *far)
{
	zmq_pollitem_t item = {.socket = far->monitor, .events = ZMQ_POLLIN};

	while (!far->ended && zmq_poll(&item, 1, 0) > 0)
		far->ended = read_fate(far->monitor) > FATE_CONNECTED;
}

bool repl_far_send(struct repl_far *far, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	hear_of_end(far);
	set(far->dealer, ZMQ_SNDTIMEO, SEND_MS);
	while (size && !far->ended) {
		size_t piece = size < OPERATOR_DATA_MAX ? size : OPERATOR_DATA_MAX;

		if (!send_piece(far, at, piece))
			return false;
		at += piece;
		size -= piece;
	}
	return !far->ended;
}

static void take_data(struct repl_far *far, zmq_msg_t *message)
{
	struct operator_frame frame;

	if (take_frame(message, &frame) || frame.kind != OPERATOR_DATA) {
		far->ended = true; /* it said so, or it makes no sense */
		return;
	}
	memcpy(far->data, frame.bytes, frame.size);
	far->first = 0;
	far->used = frame.size;
}

long repl_far_receive(struct repl_far *far, void *bytes, size_t room, int timeout_ms)
{
	int64_t deadline_ms = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	enum arrived arrived = ARRIVED_FATE;
	zmq_msg_t frame;

	zmq_msg_init(&frame);
	while (!far->used && !far->ended && arrived != ARRIVED_NOTHING &&
		arrived != ARRIVED_SIGNAL) {
		enum fate fate = FATE_NONE;

		arrived = wait_for(far, &frame, &fate, deadline_ms);
		if (arrived == ARRIVED_FRAME)
			take_data(far, &frame);
		else if (arrived == ARRIVED_FATE)
			far->ended = fate > FATE_CONNECTED;
	}
	zmq_msg_close(&frame);
	if (!far->used)
		return far->ended		   ? REPL_FAR_CLOSED
		       : arrived == ARRIVED_SIGNAL ? REPL_FAR_INTERRUPTED
						   : REPL_FAR_TIMEOUT;
	size_t size = far->used < room ? far->used : room;

	memcpy(bytes, far->data + far->first, size);
	far->first += size;
	far->used -= size;
	return (long)size;
}
