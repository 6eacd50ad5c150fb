/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: actors that have to do with those of other nodes. Every process has a seat, and there is one
 * of them in it who says numbers to the others, asks them and watches them, and ends now and then; then
 * another one takes the seat. Processes fall, connections break, nodes are parted meanwhile.
 *
 * Checked: numbers are heard in order, none twice; every question is answered or fails, once; who is
 * watched when all is quiet lives, and would tell of its end.
 */
#include "runtime/kernel.h"
#include "tests/sim/sim.h"

#include <stdlib.h>

enum {
	SEATS_A_NODE = 3, /* control and two workers */
	NODES = 3,
	SEATS = NODES * SEATS_A_NODE,
	PAUSE_MS = 60, /* at most between two things that one does */
	SIT_MS = 80,
	LONG_MS = 600000, /* a question that nobody answers is found to be open still */
	NUMBER_BITS = 24,
};

struct seat {
	uint32_t slot;
	uint32_t incarnation; /* of the process it was taken in */
	uint64_t generation;  /* how often it was taken */
	struct addr addr;
};

struct sim_far {
	struct seat seat[SEATS];
	bool calm;
	uint64_t heard, answered, failed, downs;
};

struct far_state {
	uint64_t own, generation;
	uint64_t said[SEATS];	 /* the last number said to that seat … */
	uint64_t heard[SEATS];	 /* … and heard from it, with its generation above */
	uint64_t request[SEATS]; /* open; 0 = none */
	uint64_t watched[SEATS]; /* id; 0 = nobody */
};

struct far_actor {
	struct far_state st; /* first */

	struct asker asker; /* who is answered later */
};

struct far_args {
	uint64_t seat, generation;
};

// clang-format off
#define FAR_U64(tag_, member) \
	{.name = #member, .tag = tag_, .kind = FIELD_U64, .offset = offsetof(struct far_state, member)}
#define FAR_SEATS(tag_, member)                                                                     \
	FAR_U64(tag_, member[0]), FAR_U64(tag_ + 1, member[1]), FAR_U64(tag_ + 2, member[2]),        \
	FAR_U64(tag_ + 3, member[3]), FAR_U64(tag_ + 4, member[4]), FAR_U64(tag_ + 5, member[5]),    \
	FAR_U64(tag_ + 6, member[6]), FAR_U64(tag_ + 7, member[7]), FAR_U64(tag_ + 8, member[8])

static const struct field far_fields[] = {
	FAR_U64(1, own), FAR_U64(2, generation),
	FAR_SEATS(10, said), FAR_SEATS(20, heard), FAR_SEATS(30, request), FAR_SEATS(40, watched),
};
// clang-format on
_Static_assert(SEATS == 9, "a row for every seat");

static const struct schema schema_far = {
	.name = "sim_far_state",
	.id = 0xf9f3,
	.size = sizeof(struct far_state),
	.fields = far_fields,
	.field_count = sizeof(far_fields) / sizeof(far_fields[0]),
	.use = SCHEMA_STATE,
};

/* ---- what one does ------------------------------------------------------------------------------- */

static struct sim_far *far_of(struct actor *self)
{
	return sim_of(actor_runtime(self))->far;
}

static uint64_t draw(struct actor *self, uint64_t below)
{
	return actor_random_u64(self) % below;
}

static void say(struct actor *self, struct far_actor *s, uint64_t seat, struct addr to)
{
	uint64_t number = ++s->st.said[seat];

	actor_send(self, to, media_gone,
		{.below = (s->st.own << NUMBER_BITS | s->st.generation) << NUMBER_BITS | number});
}

static void watch(struct actor *self, struct far_actor *s, uint64_t seat, struct addr to)
{
	struct addr old = {.node = to.node, .id = s->st.watched[seat]};

	if (!addr_is_nobody(old)) {
		s->st.watched[seat] = 0;
		actor_unmonitor(self, old);
		return;
	}
	s->st.watched[seat] = to.id;
	actor_monitor(self, to); /* (when it cannot be begun, `down` comes all the same) */
}

static void far_timer(struct actor *self, void *data, unsigned timer)
{
	struct far_actor *s = data;
	const struct sim_far *far = far_of(self);
	uint64_t seat = draw(self, SEATS);
	struct addr to = far->seat[seat].addr;
	struct asker asker = s->asker;

	(void)timer;
	actor_timer_in_ms(self, 0, (int64_t)(1 + draw(self, PAUSE_MS)));
	if (asker.request) {
		s->asker = (struct asker){0};
		actor_answer(self, asker, name_found, {.epoch = 1});
	}
	if (far->calm || seat == s->st.own || addr_is_nobody(to))
		return;
	switch (draw(self, 16)) {
	case 0:
	case 1:
	case 2: watch(self, s, seat, to); break;
	case 3:
	case 4:
	case 5:
	case 6:
		if (!s->st.request[seat])
			s->st.request[seat] =
				actor_request(self, to, LONG_MS, name_lookup, {.wait_ms = 1});
		break;
	case 7:
		if (draw(self, 6) == 0)
			actor_stop(self, ERR_OK);
		break;
	default: say(self, s, seat, to); break;
	}
}

ON(far_actor, media_gone)
{
	const uint64_t mask = (1u << NUMBER_BITS) - 1;
	uint64_t seat = m->below >> 2 * NUMBER_BITS;
	uint64_t number = m->below & (mask << NUMBER_BITS | mask);
	struct sim *sim = sim_of(actor_runtime(self));

	SIM_CHECK(sim, seat < SEATS && number > s->st.heard[seat],
		"seat %llu hears %llx of seat %llu, after %llx", (unsigned long long)s->st.own,
		(unsigned long long)number, (unsigned long long)seat,
		(unsigned long long)s->st.heard[seat]);
	if (seat < SEATS)
		s->st.heard[seat] = number;
	sim->far->heard++;
	return ERR_OK;
}

ON(far_actor, name_lookup)
{
	if (s->asker.request || draw(self, 3))
		return actor_reply(self, name_found, {.epoch = 1});
	s->asker = actor_asker(self);
	return ERR_OK;
}

/* True when it was open. */
static bool close_request(struct far_actor *s, uint64_t request)
{
	for (int seat = 0; seat < SEATS; seat++) {
		if (!request || s->st.request[seat] != request)
			continue;
		s->st.request[seat] = 0;
		return true;
	}
	return false;
}

ON(far_actor, name_found)
{
	SIM_CHECK(sim_of(actor_runtime(self)), close_request(s, mail->request),
		"seat %llu has an answer to nothing", (unsigned long long)s->st.own);
	far_of(self)->answered++;
	return ERR_OK;
}

ON(far_actor, failed)
{
	if (!mail->is_reply)
		return ERR_OK;
	SIM_CHECK(sim_of(actor_runtime(self)), close_request(s, mail->request),
		"seat %llu hears of a failure of nothing", (unsigned long long)s->st.own);
	far_of(self)->failed++;
	return ERR_OK;
}

/* (of one that it has just ceased to watch, too) */
ON(far_actor, down)
{
	for (int seat = 0; seat < SEATS; seat++)
		if (s->st.watched[seat] == m->who.id)
			s->st.watched[seat] = 0;
	far_of(self)->downs++;
	return ERR_OK;
}

static enum err far_init(struct actor *self, void *data, const void *args_)
{
	const struct far_args *args = args_;
	struct far_actor *s = data;

	s->st.own = args->seat;
	s->st.generation = args->generation;
	actor_timer_in_ms(self, 0, 1);
	return ERR_OK;
}

static enum err far_restore(struct actor *self, void *data)
{
	(void)data;
	actor_timer_in_ms(self, 0, 1);
	return ERR_OK;
}

static const struct handler far_handlers[] = {
	HANDLER(far_actor, media_gone, 0),
	HANDLER(far_actor, name_lookup, 0),
	HANDLER(far_actor, name_found, 0),
	HANDLER(far_actor, failed, 0),
	HANDLER(far_actor, down, 0),
};

const struct actor_type sim_far_actor = {
	.name = "sim_far",
	.size = sizeof(struct far_actor),
	.state = &schema_far,
	HANDLER_TABLE(far_handlers),
	.init = far_init,
	.restore = far_restore,
	.timer = far_timer,
};

/* ---- seats --------------------------------------------------------------------------------------- */

static void sit_down(struct sim *sim, struct seat *seat)
{
	struct sim_process *process = &sim->processes[seat->slot];
	struct far_args args = {.seat = (uint64_t)(seat - sim->far->seat)};

	if (!process->alive || process->falling || process->paused_until_us > sim->now_us)
		return;
	if (seat->incarnation == process->incarnation && runtime_find(process->rt, seat->addr.id))
		return;
	args.generation = ++seat->generation;
	runtime_tick(process->rt);
	seat->incarnation = process->incarnation;
	MUST(actor_spawn(process->rt, NULL, &sim_far_actor, &args, &seat->addr) == ERR_OK);
	sim_note(sim, "sits", args.seat, seat->addr.id);
	sim_wake(sim, process);
}

static void keep_seats(struct sim *sim, uint64_t argument)
{
	(void)argument;
	if (sim->far->calm)
		return;
	for (int i = 0; i < SEATS; i++)
		sit_down(sim, &sim->far->seat[i]);
	sim_at(sim, sim->now_us + SIT_MS * SIM_MS, keep_seats, 0);
}

void sim_far_begin(struct sim *sim)
{
	MUST(sim->nodes == NODES && sim->workers + 1 >= SEATS_A_NODE);
	sim->far = calloc(1, sizeof(*sim->far));
	MUST(sim->far);
	for (uint32_t i = 0; i < SEATS; i++)
		sim->far->seat[i].slot = i / SEATS_A_NODE * sim->node_slots + i % SEATS_A_NODE;
	keep_seats(sim, 0);
}

void sim_far_end(struct sim *sim)
{
	free(sim->far);
	sim->far = NULL;
}

void sim_far_calm(struct sim *sim)
{
	if (sim->far)
		sim->far->calm = true;
}

/* ---- when all is quiet --------------------------------------------------------------------------- */

static struct actor *find(struct sim *sim, uint64_t node, uint64_t id)
{
	for (uint32_t slot = 0; slot < sim->node_slots; slot++) {
		struct sim_process *process =
			&sim->processes[(node - SIM_NODE) * sim->node_slots + slot];
		struct actor *actor = process->alive ? runtime_find(process->rt, id) : NULL;

		if (actor)
			return actor;
	}
	return NULL;
}

static bool is_watched_by(const struct actor *actor, struct addr who)
{
	for (uint32_t i = 0; i < actor->watchers.count; i++)
		if (addr_equal(actor->watchers.entries[i].who, who))
			return true;
	return false;
}

static void check_seat(struct sim *sim, const struct actor *actor)
{
	const struct far_state *st = (const void *)actor->data;

	for (uint64_t seat = 0; seat < SEATS; seat++) {
		uint64_t node = SIM_NODE + seat / SEATS_A_NODE;
		const struct actor *watched =
			st->watched[seat] ? find(sim, node, st->watched[seat]) : NULL;

		SIM_CHECK(sim, !st->request[seat], "seat %llu has no answer from seat %llu",
			(unsigned long long)st->own, (unsigned long long)seat);
		SIM_CHECK(sim, !st->watched[seat] || watched,
			"seat %llu never heard of the end of seat %llu's %llx",
			(unsigned long long)st->own, (unsigned long long)seat,
			(unsigned long long)st->watched[seat]);
		SIM_CHECK(sim, !watched || is_watched_by(watched, actor_addr(actor)),
			"seat %llu would not hear of the end of seat %llu",
			(unsigned long long)st->own, (unsigned long long)seat);
	}
}

static void check_ways(struct sim *sim, const struct runtime *rt)
{
	for (size_t i = 0; i < rt->nodes.capacity; i++) {
		const struct far_node *node = rt->nodes.entries[i].value;

		SIM_CHECK(sim, !node || !node->mail.first,
			"%u mails to node %llu were never acknowledged", node->mail.out_count,
			(unsigned long long)node->id);
	}
}

void sim_far_check_converged(struct sim *sim)
{
	if (!sim->far)
		return;
	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];

		if (!process->alive)
			continue;
		check_ways(sim, process->rt);
		for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
			if (actor->type == &sim_far_actor)
				check_seat(sim, actor);
	}
	SIM_CHECK(sim, sim->far->heard > 100 && sim->far->answered > 50,
		"%llu numbers were heard, %llu questions answered",
		(unsigned long long)sim->far->heard, (unsigned long long)sim->far->answered);
}
