/* SPDX-License-Identifier: Apache-2.0
 *
 * The turn: timers that are due, then every actor that is ready, each with a budget, then what has
 * changed is kept, then what has gathered is sent. Time stands still in it.
 *
 * Who gets ready while actors run has its turn in the next one, so that two that mail each other
 * cannot hold it up. Who is kicked, and has not run in this turn, runs in it: a packet goes by the
 * stream that takes it to all who read the stream without waiting for what a turn ends with.
 */
#include "runtime/kernel.h"

enum {
	MS = 1000,
	AHEAD_STATE = 640, /* bytes */
	WALL_MS = 1,	   /* Unix time goes on by the other clock for so long */
};

/* ---- accounting ------------------------------------------------------------------------------ */

int64_t kernel_read_clock(struct runtime *rt)
{
	return rt->read_us = rt->options.ops->now_us(rt->options.context);
}

static struct actor *put_on_stack(struct actor *actor)
{
	struct actor *outer = actor->rt->running;

	actor->rt->running = actor;
	actor->depth++;
	actor->runs++;
	actor->unchanged = false;
	return outer;
}

int64_t kernel_enter(struct actor *actor, struct actor **outer)
{
	*outer = put_on_stack(actor);
	return kernel_read_clock(actor->rt);
}

void kernel_leave(struct actor *actor, struct actor *outer, int64_t since_us)
{
	struct runtime *rt = actor->rt;
	int64_t took_us = kernel_read_clock(rt) - since_us;

	rt->running = outer;
	actor->depth--;
	if (!actor->unchanged)
		kernel_changed(actor);
	actor->unchanged = false; /* of an outer one nothing is known */
	actor->busy_us += took_us;
	if (actor->observed)
		kernel_observe_ran(actor);
	if (!outer)
		rt->counters.busy_us += took_us;
	if (took_us > RUNTIME_SLOW_MS * MS) {
		rt->counters.slow_runs++;
		log_warn(rt->options.log, "slow_actor", "type", actor->type->name, "actor",
			actor->name, "took_ms", took_us / MS);
	}
	kernel_end_if_stopping(actor);
	if (actor->ended)
		kernel_read_clock(rt);
}

/* ---- who runs -------------------------------------------------------------------------------- */

static void line_up(struct run_queue *queue, struct actor *actor)
{
	actor->ready = true;
	actor->next_ready = NULL;
	*(queue->last ? &queue->last->next_ready : &queue->first) = actor;
	queue->last = actor;
}

void kernel_make_ready(struct actor *actor)
{
	struct runtime *rt = actor->rt;

	if (!actor->ready && !actor->ended)
		line_up(rt->runs_ready ? &rt->later : &rt->ready, actor);
}

static void kick(struct actor *actor)
{
	struct runtime *rt = actor->rt;

	bool has_run = rt->runs_ready && actor->ran_in == rt->turn;

	actor->kicked = true;
	if (!actor->ready && !actor->ended)
		line_up(has_run ? &rt->later : &rt->ready, actor);
}

bool actor_kick(struct runtime *rt, struct addr who)
{
	struct actor *actor = kernel_local(rt, who);

	if (actor)
		kick(actor);
	return actor != NULL;
}

void kernel_forget_ready(struct runtime *rt)
{
	for (struct actor *actor = rt->ready.first; actor; actor = actor->next_ready)
		actor->ready = false;
	rt->ready = (struct run_queue){0};
}

static void handle_mail(struct actor *actor)
{
	for (int i = 0; i < ACTOR_BUDGET && actor->mail_first && !actor->stopping; i++) {
		struct mail_node *node = actor->mail_first;

		actor->mail_first = node->next;
		if (!actor->mail_first)
			actor->mail_last = NULL;
		actor->mail_count--;
		kernel_run_mail(actor, node);
		kernel_free_node(actor->rt, node);
	}
}

void kernel_handle_mail(struct actor *actor)
{
	struct actor *outer;
	int64_t since_us = kernel_enter(actor, &outer);

	handle_mail(actor);
	kernel_leave(actor, outer, since_us);
}

/* It enters when the one before left, or the turn began: the clock is read once between them. */
static void run_actor(struct actor *actor)
{
	struct actor *outer = put_on_stack(actor);
	int64_t since_us = actor->rt->read_us;

	handle_mail(actor);
	if (actor->kicked && !actor->stopping) {
		actor->kicked = false;
		if (actor->type->pump)
			actor->type->pump(actor, actor->data);
	}
	if ((actor->mail_first || actor->kicked) && !actor->stopping)
		kernel_make_ready(actor);
	kernel_leave(actor, outer, since_us);
}

/* Of hundreds that do the same, each has its state in memory that nobody has touched since its last
 * turn: it is on its way here while others run. */
static void look_ahead(struct actor *next)
{
	const struct actor *then = next->next_ready;

	if (next->type->ahead)
		next->type->ahead(next, next->data);
	if (then) {
		bring_near(then, offsetof(struct actor, pump_later));
		bring_near(then->data,
			then->type->size < AHEAD_STATE ? then->type->size : AHEAD_STATE);
	}
}

static void run_ready(struct runtime *rt)
{
	struct actor *actor;

	rt->turn++;
	rt->runs_ready = true;
	while ((actor = rt->ready.first)) {
		rt->ready.first = actor->next_ready;
		if (!rt->ready.first)
			rt->ready.last = NULL;
		actor->ready = false;
		actor->ran_in = rt->turn;
		if (rt->ready.first)
			look_ahead(rt->ready.first);
		if (!actor->ended)
			run_actor(actor);
	}
	rt->runs_ready = false;
	rt->ready = rt->later;
	rt->later = (struct run_queue){0};
}

/* ---- the turn -------------------------------------------------------------------------------- */

static void run_timer(struct runtime *rt, const struct timer_entry *entry)
{
	struct actor *actor = idmap_get(&rt->actors, entry->key);
	struct actor *outer;

	if (!actor || actor->timers[entry->sub].queued_us != entry->at_us)
		return;
	struct actor_timer *timer = &actor->timers[entry->sub];

	timer->queued_us = 0;
	if (timer->at_us == 0)
		return;
	if (timer->at_us > rt->now_us) { /* moved later meanwhile */
		timer->queued_us = timer->at_us;
		MUST(timers_push(&rt->timers, timer->at_us, actor->id, entry->sub) == ERR_OK);
		return;
	}
	timer->at_us = 0;
	if (!actor->type->timer || actor->stopping)
		return;
	int64_t since_us = kernel_enter(actor, &outer);

	actor->type->timer(actor, actor->data, entry->sub);
	kernel_leave(actor, outer, since_us);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void runtime_tick(struct runtime *rt)
{
	rt->now_us = kernel_read_clock(rt);
	if (rt->now_us >= rt->wall_again_us) {
		rt->wall_ahead_us = rt->options.ops->wall_us(rt->options.context) - rt->now_us;
		rt->wall_again_us = rt->now_us + WALL_MS * MS;
	}
	rt->wall_us = rt->now_us + rt->wall_ahead_us;
}

static void turn_wheel(struct runtime *rt)
{
	struct wheel_entry *entry;

	while ((entry = wheel_pop(&rt->wheel, rt->now_us)))
		kick((struct actor *)((uint8_t *)entry - offsetof(struct actor, pump_later)));
}

int64_t runtime_turn(struct runtime *rt)
{
	struct timer_entry entry;
	int64_t bus_us, next_us;

	runtime_tick(rt);
	while (timers_pop(&rt->timers, rt->now_us, &entry)) {
		if (entry.sub == TIMER_SUB_REQUEST)
			kernel_request_due(rt, entry.key);
		else
			run_timer(rt, &entry);
	}
	turn_wheel(rt);
	run_ready(rt);
	kernel_move_out(rt);
	kernel_keep_turn(rt);
	bus_us = earlier(kernel_node_turn(rt), kernel_bus_turn(rt));
	/* mail first: it may say what media of this turn is */
	kernel_media_flush(rt);
	kernel_empty_graveyard(rt);
	if (rt->ready.first)
		return rt->now_us;
	next_us = earlier(timers_next_us(&rt->timers), wheel_next_us(&rt->wheel));
	return earlier(next_us, bus_us);
}
