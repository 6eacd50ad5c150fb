/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of actors, and what they reach of their runtime: spawn, stop, timers. How they run: turn.c. Their
 * sockets: actor_net.c.
 *
 * An actor ends only when none of its functions is on the stack; its memory goes at the end of the
 * turn.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum { MS = 1000 };

/* ---- creation and end ------------------------------------------------------------------------ */

/* All actors stand in the order of their ids. A new one is nearly always the last; those that a
 * successor restores come one behind the other, in the middle. */
static void line_up(struct runtime *rt, struct actor *actor)
{
	struct actor *before = rt->newest, *hint = rt->lined_up;

	if (hint && hint->id < actor->id && hint->next && hint->next->id > actor->id)
		before = hint;
	while (before && before->id > actor->id)
		before = before->previous;
	actor->previous = before;
	actor->next = before ? before->next : rt->oldest;
	*(actor->next ? &actor->next->previous : &rt->newest) = actor;
	*(before ? &before->next : &rt->oldest) = actor;
	rt->lined_up = actor;
}

struct actor *kernel_new_actor(struct runtime *rt, const struct actor_type *type, uint64_t id)
{
	struct actor *actor = calloc(1, sizeof(*actor) + type->size);

	if (!actor)
		return NULL;
	actor->rt = rt;
	actor->type = type;
	actor->id = id;
	actor->mail_alarm = MAILBOX_ALARM_FIRST;
	actor->born_us = rt->now_us;
	if (idmap_put(&rt->actors, id, actor)) {
		free(actor);
		return NULL;
	}
	line_up(rt, actor);
	kernel_changed(actor);
	return actor;
}

void kernel_bury(struct actor *actor)
{
	struct runtime *rt = actor->rt;

	kernel_keep_ended(actor);
	idmap_remove(&rt->actors, actor->id);
	wheel_remove(&rt->wheel, &actor->pump_later);
	if (rt->lined_up == actor)
		rt->lined_up = actor->previous;
	*(actor->previous ? &actor->previous->next : &rt->oldest) = actor->next;
	*(actor->next ? &actor->next->previous : &rt->newest) = actor->previous;
	actor->ended = true;
	actor->next = rt->graveyard;
	rt->graveyard = actor;
}

void kernel_empty_graveyard(struct runtime *rt)
{
	struct actor **at = &rt->graveyard;

	while (*at) {
		struct actor *actor = *at;

		if (actor->ready) { /* still in the run queue: next turn */
			at = &actor->next;
			continue;
		}
		*at = actor->next;
		free(actor->watchers.entries);
		free(actor->watching.entries);
		free(actor);
	}
}

static void stop_children(struct actor *parent)
{
	struct actor *child = parent->rt->newest;

	while (child && parent->children) {
		struct actor *next = child->previous;

		if (child->parent == parent->id && child != parent) {
			child->stopping = true;
			child->stop_reason = ERR_DEAD;
			kernel_end_if_stopping(child);
			/* ending may have ended others: begin again from the newest. One that is on
			 * the stack (it called its parent) ends when it leaves. */
			if (child->ended)
				next = parent->rt->newest;
		}
		child = next;
	}
}

static void end_actor(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	struct addr self = actor_addr(actor);
	struct actor *parent = idmap_get(&rt->actors, actor->parent);
	struct actor *outer = rt->running;

	stop_children(actor);
	rt->running = actor;
	if (actor->type->stop && !actor->unfinished)
		actor->type->stop(actor, actor->data, actor->stop_reason);
	rt->running = outer;
	kernel_moved_ended(actor);
	kernel_bury(actor);
	kernel_drop_mail(actor);
	kernel_forget_requests_of(rt, actor->id);
	if (parent) {
		parent->children--;
		kernel_tell_down(
			rt, self, actor->type->name, actor->stop_reason, actor_addr(parent));
	}
	kernel_watches_end(actor, parent ? actor_addr(parent) : (struct addr){0});
}

void kernel_end_if_stopping(struct actor *actor)
{
	/* while it is on the stack, the outermost frame ends it when it leaves */
	if (actor->stopping && !actor->ended && actor->depth == 0)
		end_actor(actor);
}

static enum err spawn(struct runtime *rt, struct actor *parent, const struct actor_type *type,
	const void *args, uint64_t id, struct addr *addr)
{
	struct actor *actor = kernel_new_actor(rt, type, id);
	struct actor *outer = rt->running;
	enum err err;

	if (!actor)
		return ERR_NO_MEMORY;
	actor->parent = parent ? parent->id : 0;
	rt->running = actor;
	actor->depth++;
	err = type->init(actor, actor->data, args);
	actor->depth--;
	rt->running = outer;
	if (err) {
		stop_children(actor);
		kernel_bury(actor);
		kernel_drop_mail(actor);
		kernel_forget_requests_of(rt, id);
		kernel_watches_end(actor, (struct addr){0});
		return err;
	}
	if (parent)
		parent->children++;
	if (addr)
		*addr = actor_addr(actor);
	kernel_end_if_stopping(actor);
	return ERR_OK;
}

enum err actor_spawn(struct runtime *rt, struct actor *parent, const struct actor_type *type,
	const void *args, struct addr *addr)
{
	uint64_t id = rt->options.block << RUNTIME_BLOCK_SHIFT | kernel_next_serial(rt);

	return spawn(rt, parent, type, args, id, addr);
}

enum err actor_spawn_office(
	struct runtime *rt, enum office office, const struct actor_type *type, const void *args)
{
	uint64_t id = rt->options.block << RUNTIME_BLOCK_SHIFT | office;
	struct actor *former = idmap_get(&rt->actors, id);

	if (former)
		kernel_end_if_stopping(former);
	return idmap_get(&rt->actors, id) ? ERR_EXISTS : spawn(rt, NULL, type, args, id, NULL);
}

void actor_stop(struct actor *self, enum err reason)
{
	if (self->stopping)
		return;
	self->stopping = true;
	self->stop_reason = (uint8_t)reason;
	kernel_changed(self);
	kernel_make_ready(self);
}

/* ---- from outside ----------------------------------------------------------------------------- */

void runtime_configured(struct runtime *rt)
{
	struct actor *outer;

	for (struct actor *actor = rt->oldest; actor; actor = actor->next) {
		if (!actor->type->configured || actor->stopping)
			continue;
		int64_t since_us = kernel_enter(actor, &outer);

		actor->type->configured(actor, actor->data);
		kernel_leave(actor, outer, since_us);
		MUST(!actor->ended);
	}
}

void runtime_drain(struct runtime *rt, uint32_t within_ms)
{
	struct msg_drain drain = {.within_ms = within_ms};

	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (kernel_find_handler(actor->type, MSG_drain))
			kernel_deliver(rt, &(struct kernel_letter){.to = actor_addr(actor),
						   .from = actor_addr(actor),
						   .type = MSG_drain,
						   .schema = &schema_drain,
						   .body = &drain});
}

bool runtime_is_drained(const struct runtime *rt)
{
	const uint64_t serial = (UINT64_C(1) << RUNTIME_BLOCK_SHIFT) - 1;

	for (const struct actor *actor = rt->oldest; actor; actor = actor->next)
		if ((actor->id & serial) >= OFFICE_SERIALS &&
			kernel_find_handler(actor->type, MSG_drain))
			return false;
	return true;
}

bool actor_call(struct runtime *rt, struct addr who, const struct actor_type *type,
	void (*fn)(struct actor *self, void *data, void *context), void *context)
{
	struct actor *actor = kernel_local(rt, who);
	struct actor *outer;

	if (!actor || actor->type != type || actor->stopping)
		return false;
	int64_t since_us = kernel_enter(actor, &outer);

	fn(actor, actor->data, context);
	kernel_leave(actor, outer, since_us);
	return true;
}

/* ---- small things ------------------------------------------------------------------------------ */

void actor_timer_at(struct actor *self, unsigned id, int64_t at_us)
{
	MUST(id < ACTOR_TIMERS_MAX);
	struct actor_timer *timer = &self->timers[id];

	/* never in this turn again: a timer that sets itself to the past must not hold it up */
	timer->at_us = at_us > self->rt->now_us ? at_us : self->rt->now_us + 1;
	if (timer->queued_us && timer->queued_us <= timer->at_us)
		return; /* the entry in the heap comes first and will be put back */
	timer->queued_us = timer->at_us;
	MUST(timers_push(&self->rt->timers, timer->at_us, self->id, id) == ERR_OK);
}

void actor_timer_in_ms(struct actor *self, unsigned timer, int64_t ms)
{
	actor_timer_at(self, timer, self->rt->now_us + ms * MS);
}

void actor_pump_at(struct actor *self, int64_t at_us)
{
	if (at_us == INT64_MAX)
		wheel_remove(&self->rt->wheel, &self->pump_later);
	else
		wheel_put(&self->rt->wheel, &self->pump_later, at_us);
}

void actor_timer_off(struct actor *self, unsigned timer)
{
	MUST(timer < ACTOR_TIMERS_MAX);
	self->timers[timer].at_us = 0;
}

void actor_become(struct actor *self, uint32_t phase_bit)
{
	self->phase = phase_bit;
	kernel_changed(self);
}

uint32_t actor_phase(const struct actor *self)
{
	return self->phase;
}

void actor_set_name(struct actor *self, const char *name)
{
	text_copy(self->name, sizeof(self->name), name);
	kernel_changed(self);
}

const char *actor_name(const struct actor *self)
{
	return self->name;
}

struct addr actor_addr(const struct actor *self)
{
	return (struct addr){.node = self->rt->options.node, .id = self->id};
}

struct runtime *actor_runtime(struct actor *self)
{
	return self->rt;
}

void *actor_data(struct actor *self)
{
	return self->data;
}

int64_t actor_now_us(const struct actor *self)
{
	return self->rt->now_us;
}

int64_t actor_clock_us(struct actor *self)
{
	return kernel_read_clock(self->rt);
}

int64_t actor_wall_us(const struct actor *self)
{
	return self->rt->wall_us;
}

void actor_random(struct actor *self, void *bytes, size_t size)
{
	self->rt->options.ops->random(self->rt->options.context, bytes, size);
}

uint64_t actor_random_u64(struct actor *self)
{
	uint64_t value;

	actor_random(self, &value, sizeof(value));
	return value;
}

struct log *actor_log(struct actor *self)
{
	return self->rt->options.log;
}

struct arena *actor_arena(struct actor *self)
{
	return self->rt->options.arena;
}

const struct config *actor_config(struct actor *self)
{
	return self->rt->options.config;
}

uint32_t actor_own_process(struct actor *self)
{
	return self->rt->options.process;
}

uint32_t actor_process_of(struct actor *self, struct addr who)
{
	return kernel_local(self->rt, who) ? self->rt->options.process
					   : kernel_process_of(self->rt, who);
}

/* ---- the runtime itself ------------------------------------------------------------------------ */

enum err runtime_create(const struct runtime_options *options, struct runtime **out)
{
	struct runtime *rt = calloc(1, sizeof(*rt));

	*out = NULL;
	if (!rt)
		return ERR_NO_MEMORY;
	rt->options = *options;
	rt->next_serial = OFFICE_SERIALS;
	wheel_init(&rt->wheel);
	rt->scratch = malloc(RUNTIME_FRAME_MAX);
	rt->batches = calloc(MEDIA_BATCHES_OPEN, sizeof(*rt->batches));
	rt->requests = secret_numbers_create(
		options->secret, options->block << RUNTIME_BLOCK_SHIFT ^ options->node);
	explicit_bzero(rt->options.secret, sizeof(rt->options.secret));
	if (!rt->scratch || !rt->batches || !rt->requests) {
		runtime_destroy(&rt);
		return ERR_NO_MEMORY;
	}
	if (options->escrow)
		kernel_keep_begin(rt);
	rt->blocks[rt->block_count++] =
		(struct block_owner){.block = options->block, .process = options->process};
	runtime_tick(rt);
	if (!rt->options.boot)
		rt->options.boot = (uint64_t)rt->wall_us;
	*out = rt;
	return ERR_OK;
}

void runtime_destroy(struct runtime **rt_)
{
	struct runtime *rt = *rt_;

	if (!rt)
		return;
	while (rt->newest) {
		rt->newest->stopping = true;
		end_actor(rt->newest);
	}
	kernel_keep_turn(rt);
	kernel_node_turn(rt); /* what the last ones said */
	kernel_bus_turn(rt);
	kernel_forget_ready(rt);
	kernel_empty_graveyard(rt);
	kernel_nodes_fini(rt);
	kernel_bus_fini(rt);
	kernel_pools_fini(rt);
	idmap_fini(&rt->actors);
	idmap_fini(&rt->pending);
	kernel_owed_fini(rt);
	kernel_moved_fini(rt);
	timers_fini(&rt->timers);
	secret_numbers_destroy(&rt->requests);
	free(rt->batches);
	free(rt->scratch);
	free(rt);
	*rt_ = NULL;
}

struct actor *runtime_find(struct runtime *rt, uint64_t id)
{
	return idmap_get(&rt->actors, id);
}

struct actor *runtime_next_actor(struct runtime *rt, const struct actor *after)
{
	return after ? after->next : rt->oldest;
}

size_t runtime_actor_count(const struct runtime *rt)
{
	return rt->actors.count;
}

static const char *phase_name(const struct actor *actor)
{
	const char *const *names = actor->type->phases;

	for (uint32_t bit = 0; names && names[bit] && bit < 32; bit++)
		if (actor->phase == 1u << bit)
			return names[bit];
	return "";
}

void runtime_facts(const struct actor *actor, struct actor_facts *facts)
{
	*facts = (struct actor_facts){
		.addr = actor_addr(actor),
		.parent = {.node = actor->parent ? actor->rt->options.node : 0,
			   .id = actor->parent},
		.type = actor->type->name,
		.name = actor->name,
		.phase = phase_name(actor),
		.mailbox = actor->mail_count,
		.handled = actor->handled,
		.refused = actor->refused,
		.age_us = actor->rt->now_us - actor->born_us,
		.busy_us = actor->busy_us,
		.schema = actor->type->state,
		.state = actor->data,
	};
}

const struct runtime_counters *runtime_counters(const struct runtime *rt)
{
	return &rt->counters;
}

const struct runtime_options *runtime_options(const struct runtime *rt)
{
	return &rt->options;
}

/* ---- the node around it -------------------------------------------------------------------------- */

const struct process_env *runtime_env(const struct runtime *rt)
{
	return rt->options.env;
}

enum err runtime_supervisor_tell(struct runtime *rt, const struct process_command *command)
{
	const struct runtime_ops *ops = rt->options.ops;

	return ops->supervisor_tell ? ops->supervisor_tell(rt->options.context, command)
				    : ERR_UNSUPPORTED;
}

enum err runtime_supervisor_hear(struct runtime *rt, struct process_reply *reply)
{
	const struct runtime_ops *ops = rt->options.ops;

	return ops->supervisor_hear ? ops->supervisor_hear(rt->options.context, reply)
				    : ERR_UNSUPPORTED;
}
