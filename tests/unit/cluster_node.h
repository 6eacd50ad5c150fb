/* SPDX-License-Identifier: Apache-2.0
 *
 * A node for the tests of its offices: a few runtimes in this program, a clock that is an argument,
 * a bus that is a queue. Puppets are actors that ask what they are told to ask, and remember what
 * came back.
 */
#ifndef MILLRACE_CLUSTER_NODE_H
#define MILLRACE_CLUSTER_NODE_H

#include "cluster/cluster.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	NODE_ID = 7,
	NODE_PROCESSES = 4,
	NODE_FRAMES = 4096,
	NODE_REMEMBERED = 64,
	NODE_HINTS = 64,
	NODE_STEP_US = 1000,
};

struct node_frame {
	uint32_t to; /* incarnation */
	size_t size;
	uint8_t *bytes;
};

/* What the mesh office has told the transport. */
struct node_hint {
	uint64_t node;
	bool forgotten;
	char endpoint[80];
	uint8_t key[MESH_KEY_SIZE];
};

struct node {
	uint64_t id;
	const struct config *config;   /* NULL: none */
	const struct runtime_ops *ops; /* as node_ops, and what a test has besides */
	void *outside;		       /* for those */
	int64_t now_us;
	struct rng rng;
	struct log log;
	struct runtime *process[NODE_PROCESSES]; /* 0: control, then workers; by incarnation - 1 */
	struct node_frame frames[NODE_FRAMES];
	uint32_t first, count;
	int deaf;	     /* slot that hangs, 0 = none */
	uint64_t mesh_owner; /* the mesh office of slot 0, once it is there */
	struct node_hint hints[NODE_HINTS];
	int hint_count;
	uint8_t revoked[NODE_HINTS][MESH_KEY_SIZE];
	int revoked_count;
	enum err hint_err; /* what the next ones are answered */
};

/* ---- puppets --------------------------------------------------------------------------------- */

struct remembered {
	uint16_t type;
	uint64_t request;
	enum err err; /* MSG_failed */
	union {
		struct msg_name_granted granted;
		struct msg_name_found found;
		struct msg_name_lost lost;
		struct msg_placed placed;
		struct msg_store_leased leased;
		struct msg_store_done done;
		struct msg_store_watching watching;
		struct msg_store_event event;
		struct msg_store_pairs pairs;
		struct msg_nodes_told nodes;
		struct msg_store_down down;
		struct msg_store_up up;
		struct msg_board_update updated;
		struct msg_failed failed;
	};
	char json[16384]; /* console_answer, board_update */
};

struct puppet {
	struct name_row state;	 /* any schema will do */
	struct remembered *mail; /* NODE_REMEMBERED */
	int count;
};

#define PUPPET_HEARS(message, member)                                          \
	ON(puppet, message)                                                    \
	{                                                                      \
		struct remembered *r = &s->mail[s->count++ % NODE_REMEMBERED]; \
		memset(r, 0, sizeof(*r));                                      \
		r->type = MSG_##message;                                       \
		r->request = mail->request;                                    \
		r->member = *m;                                                \
		return ERR_OK;                                                 \
	}
PUPPET_HEARS(name_granted, granted)
PUPPET_HEARS(name_found, found)
PUPPET_HEARS(name_lost, lost)
PUPPET_HEARS(placed, placed)
PUPPET_HEARS(store_leased, leased)
PUPPET_HEARS(store_done, done)
PUPPET_HEARS(store_watching, watching)
PUPPET_HEARS(store_event, event)
PUPPET_HEARS(store_pairs, pairs)
PUPPET_HEARS(nodes_told, nodes)
PUPPET_HEARS(store_down, down)
PUPPET_HEARS(store_up, up)
PUPPET_HEARS(failed, failed)

ON(puppet, board_update)
{
	struct remembered *r = &s->mail[s->count++ % NODE_REMEMBERED];

	memset(r, 0, sizeof(*r));
	r->type = MSG_board_update;
	r->updated = *m;
	snprintf(r->json, sizeof(r->json), "%.*s", (int)m->json.size, m->json.data);
	return ERR_OK;
}

ON(puppet, console_answer)
{
	struct remembered *r = &s->mail[s->count++ % NODE_REMEMBERED];

	memset(r, 0, sizeof(*r));
	r->type = MSG_console_answer;
	r->err = (enum err)m->err;
	snprintf(r->json, sizeof(r->json), "%.*s", (int)m->json.size, m->json.data);
	return ERR_OK;
}

static enum err puppet_init(struct actor *self, void *data, const void *args)
{
	struct puppet *s = data;

	actor_set_name(self, args ? args : "puppet");
	s->mail = calloc(NODE_REMEMBERED, sizeof(*s->mail));
	return ERR_OK;
}

static void puppet_stop(struct actor *self, void *data, enum err reason)
{
	(void)self;
	(void)reason;
	free(((struct puppet *)data)->mail);
}

static const struct handler puppet_handlers[] = {
	HANDLER(puppet, name_granted, 0),
	HANDLER(puppet, name_found, 0),
	HANDLER(puppet, name_lost, 0),
	HANDLER(puppet, placed, 0),
	HANDLER(puppet, store_leased, 0),
	HANDLER(puppet, store_done, 0),
	HANDLER(puppet, store_watching, 0),
	HANDLER(puppet, store_event, 0),
	HANDLER(puppet, store_pairs, 0),
	HANDLER(puppet, nodes_told, 0),
	HANDLER(puppet, store_down, 0),
	HANDLER(puppet, store_up, 0),
	HANDLER(puppet, console_answer, 0),
	HANDLER(puppet, board_update, 0),
	HANDLER(puppet, failed, 0),
};

static const struct actor_type puppet_actor = {
	.name = "puppet",
	.size = sizeof(struct puppet),
	.state = &schema_name_row,
	.mailbox_max = 4096,
	HANDLER_TABLE(puppet_handlers),
	.init = puppet_init,
	.stop = puppet_stop,
};

/* ---- what the runtimes stand on -------------------------------------------------------------- */

static int64_t node_now_us(void *context)
{
	return ((struct node *)context)->now_us;
}

static int64_t node_wall_us(void *context)
{
	return 1700000000000000 + ((struct node *)context)->now_us;
}

static void node_random(void *context, void *bytes, size_t size)
{
	rng_fill(&((struct node *)context)->rng, bytes, size);
}

static enum err node_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct node *node = context;
	struct node_frame *frame = &node->frames[(node->first + node->count) % NODE_FRAMES];
	size_t size = 0;

	if (node->count == NODE_FRAMES)
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	*frame = (struct node_frame){.to = process, .size = size, .bytes = malloc(size)};
	size = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(frame->bytes + size, parts[i].iov_base, parts[i].iov_len);
		size += parts[i].iov_len;
	}
	node->count++;
	return ERR_OK;
}

/* Sockets are numbers that a test makes up. */
static void node_net_close(void *context, uint32_t socket)
{
	(void)context;
	(void)socket;
}

static enum err node_mesh_open(void *context, uint64_t owner)
{
	((struct node *)context)->mesh_owner = owner;
	return ERR_OK;
}

static enum err node_mesh_learn(void *context, const struct mesh_hint *hint)
{
	struct node *node = context;
	struct node_hint *note = &node->hints[node->hint_count++ % NODE_HINTS];

	*note = (struct node_hint){.node = hint->node};
	text_copy(note->endpoint, sizeof(note->endpoint), hint->endpoint);
	memcpy(note->key, hint->key, MESH_KEY_SIZE);
	return node->hint_err;
}

static enum err node_mesh_revoke(void *context, const uint8_t key[MESH_KEY_SIZE])
{
	struct node *node = context;

	memcpy(node->revoked[node->revoked_count++ % NODE_HINTS], key, MESH_KEY_SIZE);
	return ERR_OK;
}

static void node_mesh_forget(void *context, uint64_t id)
{
	struct node *node = context;

	node->hints[node->hint_count++ % NODE_HINTS] =
		(struct node_hint){.node = id, .forgotten = true};
}

static bool node_log_nothing(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

/* ---- the node -------------------------------------------------------------------------------- */

static const struct runtime_ops node_ops = {
	.now_us = node_now_us,
	.wall_us = node_wall_us,
	.random = node_random,
	.bus_send = node_bus_send,
	.net_close = node_net_close,
	.mesh_open = node_mesh_open,
	.mesh_learn = node_mesh_learn,
	.mesh_forget = node_mesh_forget,
	.mesh_revoke = node_mesh_revoke,
};

static struct runtime_peer_info node_info(int slot)
{
	return (struct runtime_peer_info){.process = (uint32_t)slot + 1,
		.block = (uint64_t)slot + 1,
		.role = slot ? PROCESS_MEDIA : PROCESS_CONTROL,
		.index = slot ? (uint32_t)slot - 1 : 0};
}

static struct node *node_create(void)
{
	struct node *node = calloc(1, sizeof(*node));
	struct log_sink sink = {.now_us = node_wall_us, .write = node_log_nothing, .context = node};

	node->id = NODE_ID;
	node->ops = &node_ops;
	node->now_us = 1000000;
	node->rng = rng_of(1);
	log_init(&node->log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	return node;
}

static struct runtime *node_start(struct node *node, int slot)
{
	struct runtime_peer_info info = node_info(slot);
	struct runtime_options options = {
		.ops = node->ops,
		.context = node,
		.config = node->config,
		.log = &node->log,
		.node = node->id,
		.block = info.block,
		.process = info.process,
		.role = info.role,
		.index = info.index,
	};

	CHECK_OK(runtime_create(&options, &node->process[slot]));
	for (int i = 0; i < NODE_PROCESSES; i++) {
		struct runtime_peer_info other = node_info(i);

		if (i == slot || !node->process[i])
			continue;
		CHECK_OK(runtime_peer_up(node->process[i], &info));
		CHECK_OK(runtime_peer_up(node->process[slot], &other));
	}
	return node->process[slot];
}

__attribute__((unused)) static void node_kill(struct node *node, int slot)
{
	uint32_t process = node_info(slot).process;

	runtime_destroy(&node->process[slot]);
	for (uint32_t i = 0; i < node->count; i++) {
		struct node_frame *frame = &node->frames[(node->first + i) % NODE_FRAMES];

		if (frame->to == process)
			frame->to = 0;
	}
	for (int i = 0; i < NODE_PROCESSES; i++)
		if (node->process[i])
			runtime_peer_down(node->process[i], process);
}

static void node_deliver(struct node *node)
{
	for (uint32_t left = node->count; left; left--) {
		struct node_frame frame = node->frames[node->first];

		node->first = (node->first + 1) % NODE_FRAMES;
		node->count--;
		if (frame.to && node->process[frame.to - 1])
			runtime_bus_frame(node->process[frame.to - 1], frame.bytes, frame.size);
		free(frame.bytes);
	}
}

static void node_run_ms(struct node *node, int ms)
{
	for (int64_t end_us = node->now_us + ms * 1000; node->now_us < end_us;
		node->now_us += NODE_STEP_US) {
		for (int round = 0; round < 8; round++) {
			for (int i = 0; i < NODE_PROCESSES; i++)
				if (node->process[i] && (!i || i != node->deaf))
					runtime_turn(node->process[i]);
			node_deliver(node);
		}
	}
}

static void node_destroy(struct node *node)
{
	for (int i = NODE_PROCESSES - 1; i >= 0; i--)
		runtime_destroy(&node->process[i]);
	for (uint32_t i = 0; i < node->count; i++)
		free(node->frames[(node->first + i) % NODE_FRAMES].bytes);
	free(node);
}

/* ---- telling puppets what to do -------------------------------------------------------------- */

__attribute__((unused)) static struct addr puppet_new(struct runtime *rt, const char *name)
{
	struct addr addr;

	CHECK_OK(actor_spawn(rt, NULL, &puppet_actor, name, &addr));
	return addr;
}

struct puppet_order {
	enum office office;
	uint16_t type;
	const struct schema *schema;
	const void *message;
	uint64_t request;
};

__attribute__((unused)) static void puppet_obey(struct actor *self, void *data, void *context)
{
	struct puppet_order *order = context;

	(void)data;
	order->request = actor_request_mail(self, actor_office(self, order->office), 200000,
		order->type, order->schema, order->message);
}

__attribute__((unused)) static void puppet_end(struct actor *self, void *data, void *context)
{
	(void)data;
	(void)context;
	actor_stop(self, ERR_OK);
}

static void puppet_look(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct puppet **)context = data;
}

static struct puppet *puppet_at(struct runtime *rt, struct addr addr)
{
	struct puppet *puppet = NULL;

	CHECK(actor_call(rt, addr, &puppet_actor, puppet_look, &puppet));
	return puppet;
}

/* What came last, NULL when nothing has come since it was last asked for. */
__attribute__((unused)) static const struct remembered *puppet_last(
	struct runtime *rt, struct addr addr)
{
	struct puppet *puppet = puppet_at(rt, addr);
	int count = puppet->count;

	puppet->count = 0;
	return count ? &puppet->mail[(count - 1) % NODE_REMEMBERED] : NULL;
}

#define puppet_ask_with(rt, addr, office_, message_, pointer)  \
	CHECK(actor_call(rt, addr, &puppet_actor, puppet_obey, \
		&(struct puppet_order){.office = (office_),    \
			.type = MSG_##message_,                \
			.schema = &schema_##message_,          \
			.message = (pointer)}))

#define puppet_ask(rt, addr, office_, message_, ...) \
	puppet_ask_with(rt, addr, office_, message_, (&(const struct msg_##message_)__VA_ARGS__))

#endif
