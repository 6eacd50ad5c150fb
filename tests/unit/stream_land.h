/* SPDX-License-Identifier: Apache-2.0
 *
 * Three nodes of real streams, media offices and relay offices, for rows about who owns a stream. One table
 * stands for the directories of all of them, and a queue for the links between them; puppets are sessions:
 * they publish, subscribe, and remember what they were told.
 */
#ifndef MILLRACE_STREAM_LAND_H
#define MILLRACE_STREAM_LAND_H

#include "actors/stream/stream_internal.h"
#include "cluster/cluster.h"
#include "tests/unit/node_world.h"

enum { A, B, C };
enum { FIRST = 1, SECOND = 2 }; /* workers */
enum { NAMES_MAX = 4, WIRE_MAX = 4096, FRAME_MS = 10 };

/* ---- directory ---------------------------------------------------------------------------------- */

static struct {
	char name[128];
	struct addr owner;
	uint64_t epoch;
} names[NAMES_MAX];
static uint64_t last_epoch;
static bool
	directories_tell; /* an owner of who has the name now; else only who has yielded it hears */
static bool claims_wait;  /* for ever */
static unsigned claims_over;

enum { WAITERS_MAX = 16, LOOKS_MS = 10 };

/* Any schema does for its state. */
struct clerk {
	struct name_row st;

	struct waiter {
		struct asker asker; /* nobody: a free place */
		struct msg_name_lookup lookup;
		int64_t until_us;
	} waiters[WAITERS_MAX];
};

static int row_of(const char *name)
{
	for (int i = 0; i < NAMES_MAX; i++)
		if (names[i].epoch && !strcmp(names[i].name, name))
			return i;
	return -1;
}

static bool is_lost(struct addr owner)
{
	return !the_land->place[owner.node - LAND_NODE_ID][CONTROL].rt ||
	       !land_actor(the_land, owner);
}

static void tell_loser(struct actor *self, int row, struct addr loser)
{
	struct msg_name_lost lost = {.epoch = names[row].epoch, .owner = names[row].owner};

	memcpy(lost.name, names[row].name, sizeof(lost.name));
	actor_send_mail(self, loser, MSG_name_lost, &schema_name_lost, &lost);
}

ON(clerk, name_claim)
{
	int row = row_of(m->name);
	struct addr before = row < 0 ? (struct addr){0} : names[row].owner;
	bool other = row >= 0 && !addr_equal(before, mail->from);

	if (claims_wait && !m->epoch)
		return ERR_OK;

	if (other && !is_lost(before) && !(m->over && names[row].epoch <= m->over))
		return ERR_BUSY;
	claims_over += other && m->over;
	for (row = row < 0 ? 0 : row; names[row].epoch && strcmp(names[row].name, m->name); row++)
		;
	memcpy(names[row].name, m->name, sizeof(names[row].name));
	names[row].owner = mail->from;
	names[row].epoch = m->epoch ? m->epoch : ++last_epoch;
	if (other && directories_tell && !is_lost(before))
		tell_loser(self, row, before);
	return actor_reply(self, name_granted, {.epoch = names[row].epoch});
}

static void clerk_look(struct actor *self, struct waiter *waiter)
{
	int row = row_of(waiter->lookup.name);
	struct asker asker = waiter->asker;

	if (row >= 0 && names[row].epoch > waiter->lookup.newer_than && !is_lost(names[row].owner))
		actor_answer(self, asker, name_found,
			{.owner = names[row].owner, .epoch = names[row].epoch});
	else if (actor_now_us(self) >= waiter->until_us)
		actor_refuse(self, asker, ERR_NOT_FOUND, "");
	else
		return;
	waiter->asker = (struct asker){0};
}

ON(clerk, name_lookup)
{
	for (int i = 0; i < WAITERS_MAX; i++) {
		if (s->waiters[i].asker.request)
			continue;
		s->waiters[i] = (struct waiter){.asker = actor_asker(self),
			.lookup = *m,
			.until_us = actor_now_us(self) + m->wait_ms * 1000};
		clerk_look(self, &s->waiters[i]);
		return ERR_OK;
	}
	return ERR_OVERLOAD;
}

static void clerk_timer(struct actor *self, void *data, unsigned timer)
{
	struct clerk *s = data;

	actor_timer_in_ms(self, timer, LOOKS_MS);
	for (int i = 0; i < WAITERS_MAX; i++)
		if (s->waiters[i].asker.request)
			clerk_look(self, &s->waiters[i]);
}

ON(clerk, name_release)
{
	int row = row_of(m->name);

	if (row >= 0 && addr_equal(names[row].owner, mail->from))
		memset(&names[row], 0, sizeof(names[row]));
	return ERR_OK;
}

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)data, (void)args;
	actor_timer_in_ms(self, 0, LOOKS_MS);
	return ERR_OK;
}

static enum err nothing_to_begin(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler clerk_handlers[] = {
	HANDLER(clerk, name_claim, 0),
	HANDLER(clerk, name_lookup, 0),
	HANDLER(clerk, name_release, 0),
};

static const struct actor_type clerk_actor = {
	.name = "clerk",
	.size = sizeof(struct clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(clerk_handlers),
	.init = clerk_init,
	.timer = clerk_timer,
};

/* ---- links: what one end takes, the other hands on a moment later ------------------------------- */

static struct wired {
	struct addr to, from;
	struct media_header header;
} wired[WIRE_MAX];
static size_t wired_count;
static bool deaf[LAND_NODES]; /* media for that node is lost */
static struct addr wires[LAND_NODES][LAND_PROCESSES];

static void wire_outbound(struct actor *self, void *data, struct addr to, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	(void)data;
	for (size_t i = 0; i < count; i++) {
		CHECK(wired_count < WIRE_MAX);
		wired[wired_count++] = (struct wired){.to = to,
			.from = from,
			.header = arena_packet(actor_arena(self), packets[i])->header};
	}
}

static uint32_t wires_have_room; /* for so many packets, whenever they are asked */

static uint32_t wire_room(struct actor *self, void *data)
{
	(void)self, (void)data;
	return wires_have_room;
}

static const struct actor_type wire_actor = {
	.name = "wire",
	.size = sizeof(struct name_row),
	.state = &schema_name_row,
	.init = nothing_to_begin,
	.outbound = wire_outbound,
	.room = wire_room,
};

static void hand_on(struct actor *self, void *data, void *context)
{
	const struct wired *one = context;
	struct slot_ref ref = arena_alloc(actor_arena(self), ARENA_PACKET, 1);
	struct packet *packet = arena_packet(actor_arena(self), ref);

	(void)data;
	CHECK(packet != NULL);
	packet->header = one->header;
	memset(packet->payload, (int)one->header.capture_us, one->header.size);
	actor_media_from(self, one->from, one->to, ref);
	arena_release(actor_arena(self), ARENA_PACKET, ref);
}

static void wire_deliver(struct land *land)
{
	static struct wired going[WIRE_MAX];
	size_t count = wired_count;

	memcpy(going, wired, count * sizeof(going[0]));
	wired_count = 0;
	for (size_t i = 0; i < count; i++) {
		unsigned node = (unsigned)(going[i].to.node - LAND_NODE_ID);
		unsigned from = (unsigned)(going[i].from.node - LAND_NODE_ID);
		struct runtime *rt = land->place[node][FIRST].rt;

		if (rt && !land->cut[from][node] && !deaf[node])
			actor_call(rt, wires[node][FIRST], &wire_actor, hand_on, &going[i]);
	}
}

/* ---- puppets ------------------------------------------------------------------------------------ */

struct puppet {
	struct name_row st;

	unsigned published, subscribed, failed, replaced, downs, tracks;
	struct msg_published answer;
	struct msg_subscribed joined;
	struct msg_tracks last_tracks;
	uint8_t err;
	uint64_t seq;
	int64_t clock_us; /* its captures are so much ahead of our time */
};

#define PUPPET_HEARS(message, count, keep) \
	ON(puppet, message)                \
	{                                  \
		s->count++;                \
		keep;                      \
		return ERR_OK;             \
	}
PUPPET_HEARS(published, published, s->answer = *m)
PUPPET_HEARS(subscribed, subscribed, s->joined = *m)
PUPPET_HEARS(failed, failed, s->err = m->err)
PUPPET_HEARS(replaced, replaced, )
PUPPET_HEARS(down, downs, )
PUPPET_HEARS(tracks, tracks, s->last_tracks = *m)

static const struct handler puppet_handlers[] = {
	HANDLER(puppet, published, 0),
	HANDLER(puppet, subscribed, 0),
	HANDLER(puppet, failed, 0),
	HANDLER(puppet, replaced, 0),
	HANDLER(puppet, down, 0),
	HANDLER(puppet, tracks, 0),
};

static const struct actor_type puppet_actor = {
	.name = "puppet",
	.size = sizeof(struct puppet),
	.state = &schema_name_row,
	HANDLER_TABLE(puppet_handlers),
	.init = nothing_to_begin,
};

/* ---- the land ----------------------------------------------------------------------------------- */

static const struct actor_type *const stream_types[] = {&stream_actor, &media_office_actor, NULL};

static void start_offices(struct land *land, unsigned node)
{
	struct runtime *control = land->place[node][CONTROL].rt;

	CHECK_OK(actor_spawn_office(control, OFFICE_DIRECTORY, &clerk_actor, NULL));
	CHECK_OK(actor_spawn_office(control, OFFICE_RELAY, &relay_actor, NULL));
	for (unsigned slot = FIRST; slot <= SECOND; slot++) {
		struct runtime *rt = land->place[node][slot].rt;

		CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &media_office_actor, NULL));
		CHECK_OK(actor_spawn(rt, NULL, &wire_actor, NULL, &wires[node][slot]));
		for (unsigned to = 0; to < LAND_NODES; to++)
			if (to != node)
				CHECK_OK(runtime_media_route(rt, land_id(to), wires[node][slot]));
	}
}

static void connect_nodes(struct land *land, unsigned a, unsigned b)
{
	land->cut[a][b] = land->cut[b][a] = false;
	land_up(land, a, b);
	land_up(land, b, a);
}

static struct land *begin_land(void)
{
	struct land *land;

	land_types = stream_types;
	land_keeps_memory = false;
	land_layout = (struct arena_layout){
		.count = {1000,		4,		   1, 1},
		.size = {sizeof(struct packet),		ARENA_LOG_SIZE,				4096, 4096},
		.escrow = {.actors = 256,.blocks = 4096},
	};
	memset(names, 0, sizeof(names));
	last_epoch = 10;
	directories_tell = true;
	claims_over = 0;
	claims_wait = false;
	wired_count = 0;
	wires_have_room = UINT32_MAX;
	land = land_create();
	for (unsigned node = 0; node < LAND_NODES; node++)
		start_offices(land, node);
	connect_nodes(land, A, B);
	connect_nodes(land, A, C);
	connect_nodes(land, B, C);
	land_run_ms(land, 20);
	return land;
}

static void run_ms(struct land *land, int ms)
{
	for (int i = 0; i < ms; i++) {
		land_run_ms(land, 1);
		wire_deliver(land);
	}
}

/* Supervisor and all, noticed after as long as the mesh takes. */
static void kill_node(struct land *land, unsigned node, int noticed_ms)
{
	for (unsigned slot = 0; slot < LAND_PROCESSES; slot++)
		land_kill(land, node, slot);
	run_ms(land, noticed_ms);
	for (unsigned at = 0; at < LAND_NODES; at++)
		if (at != node)
			land_down(land, at, node);
	run_ms(land, 10);
}

struct person {
	unsigned node, slot;
	struct addr addr;
	struct puppet *mind;
};

static struct actor *actor_of(struct land *land, const struct person *person)
{
	return runtime_find(land->place[person->node][person->slot].rt, person->addr.id);
}

static struct person person_at(struct land *land, unsigned node, unsigned slot)
{
	struct person person = {.node = node, .slot = slot};

	CHECK_OK(actor_spawn(land->place[node][slot].rt, NULL, &puppet_actor, NULL, &person.addr));
	person.mind = actor_data(actor_of(land, &person));
	return person;
}

static void ask_to_publish(
	struct land *land, const struct person *person, const char *name, const char *resume)
{
	struct actor *self = actor_of(land, person);
	struct msg_publish publish = {.protocol = "test", .tracks_count = 1};

	publish.tracks[0] = (struct media_track){
		.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_H264, .clock_rate = 90000};
	text_copy(publish.stream_name, sizeof(publish.stream_name), name);
	text_copy(publish.resume, sizeof(publish.resume), resume);
	actor_request_mail(self, actor_office(self, OFFICE_MEDIA), 6000, MSG_publish,
		&schema_publish, &publish);
}

static void publish(
	struct land *land, const struct person *person, const char *name, const char *resume)
{
	ask_to_publish(land, person, name, resume);
	run_ms(land, 50);
}

static void subscribe(struct land *land, const struct person *person, const char *name)
{
	struct msg_subscribe subscribe = {.viewer = true};
	struct actor *self = actor_of(land, person);

	text_copy(subscribe.stream_name, sizeof(subscribe.stream_name), name);
	actor_request_mail(self, actor_office(self, OFFICE_MEDIA), 5000, MSG_subscribe,
		&schema_subscribe, &subscribe);
	run_ms(land, 50);
}

/* Pictures of one packet each, a keyframe every `gop`, beginning `at` in a group. */
static void send_pictures(
	struct land *land, const struct person *person, int at, int count, int gop)
{
	struct arena *arena = land->place[person->node][person->slot].arena;

	for (int i = at; i < at + count; i++) {
		struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 1);
		struct packet *packet = arena_packet(arena, ref);
		uint64_t seq = ++person->mind->seq;

		CHECK(packet != NULL);
		packet->header = (struct media_header){.track_seq = seq,
			.frame = (uint32_t)seq,
			.rtp_time = seq * 90 * FRAME_MS,
			.capture_us = land->now_us + person->mind->clock_us,
			.flags = (uint8_t)(MEDIA_FRAME_START | MEDIA_FRAME_END |
					   (i % gop ? 0 : MEDIA_KEYFRAME)),
			.size = 100};
		memset(packet->payload, (int)packet->header.capture_us, packet->header.size);
		actor_media(actor_of(land, person), person->mind->answer.stream, ref);
		arena_release(arena, ARENA_PACKET, ref);
		run_ms(land, FRAME_MS);
	}
}

static const struct stream_state *state_of(struct land *land, struct addr addr)
{
	struct actor *actor = land_actor(land, addr);

	return actor ? (const struct stream_state *)actor_data(actor) : NULL;
}

static const struct media_log *log_read_by(struct land *land, const struct person *person)
{
	return media_log_get(land->place[person->node][person->slot].arena,
		(struct slot_ref){
			person->mind->joined.log_index, person->mind->joined.log_generation});
}

#endif
