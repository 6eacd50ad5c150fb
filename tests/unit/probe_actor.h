/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the actor kernel: an actor that remembers what it was told and does what a test wants.
 */
#ifndef MILLRACE_PROBE_ACTOR_H
#define MILLRACE_PROBE_ACTOR_H

#include "runtime/kernel.h"
#include "runtime/process.h"
#include "tests/test.h"

enum { PROBE_BROKEN = 99 }; /* a probe that was asked so often cannot be restored */

struct probe_state {
	uint64_t questions, answers, failures, downs, notes, timers;
	struct addr last_down;
	uint64_t last_err;
};

struct probe {
	struct probe_state st; /* first */

	bool keep_silent;   /* questions are not answered … */
	struct asker asker; /* … but kept */
	struct addr forward_to;
	uint64_t request; /* answered last */
	uint32_t drain_ms;
	int64_t timer_at_us;
	unsigned pumps;
	int64_t pump_at_us;
	struct addr kicks;	   /* by its pump */
	uint64_t stopped;	   /* *stops counts */
	struct msg_node_seen seen; /* the last one */
	unsigned seen_count;
	unsigned packets, outbound; /* of media for it, or by it for others */
	struct addr media_from, outbound_to;
	unsigned *stops;
};

struct probe_args {
	enum err init_error;
	bool silent;
	unsigned *stops;
	struct addr watch, link;
};

// clang-format off
static const struct field probe_fields[] = {
	{.name = "questions", .tag = 1, .kind = FIELD_U64, .offset = 0 },
	{.name = "answers",   .tag = 2, .kind = FIELD_U64, .offset = 8 },
	{.name = "failures",  .tag = 3, .kind = FIELD_U64, .offset = 16},
	{.name = "downs",     .tag = 4, .kind = FIELD_U64, .offset = 24},
	{.name = "notes",     .tag = 5, .kind = FIELD_U64, .offset = 32, .flags = FIELD_IS_HOT},
};
// clang-format on
static const struct schema probe_schema = {.name = "probe_state",
	.id = 0xf901,
	.size = sizeof(struct probe_state),
	.fields = probe_fields,
	.field_count = 5,
	.use = SCHEMA_STATE};

ON(probe, name_lookup)
{
	s->st.questions++;
	if (!addr_is_nobody(s->forward_to))
		return actor_forward(self, s->forward_to);
	if (s->keep_silent) {
		s->asker = actor_asker(self);
		return ERR_OK;
	}
	if (m->wait_ms == 13)
		return ERR_FORBIDDEN;
	return actor_reply(self, name_found, {.epoch = m->wait_ms + 1ull});
}

ON(probe, name_found)
{
	s->st.answers++;
	s->request = mail->request;
	return ERR_OK;
}

ON(probe, failed)
{
	s->st.failures++;
	s->st.last_err = m->err;
	s->request = mail->request;
	return ERR_OK;
}

ON(probe, down)
{
	s->st.downs++;
	s->st.last_down = m->who;
	return ERR_OK;
}

ON(probe, load_report)
{
	s->st.notes++;
	return ERR_OK;
}

ON(probe, node_seen)
{
	s->seen = *m;
	s->seen_count++;
	return ERR_OK;
}

/* Ends in order, unless it is one that keeps silent. */
ON(probe, drain)
{
	s->drain_ms = m->within_ms;
	if (!s->keep_silent)
		actor_stop(self, ERR_CLOSED);
	return ERR_OK;
}

static enum err probe_init(struct actor *self, void *data, const void *args_)
{
	const struct probe_args *args = args_;
	struct probe *s = data;

	if (!args)
		return ERR_OK;
	s->stops = args->stops;
	s->keep_silent = args->silent;
	if (!addr_is_nobody(args->watch))
		actor_monitor(self, args->watch);
	if (!addr_is_nobody(args->link))
		actor_link(self, args->link);
	return args->init_error;
}

static enum err probe_restore(struct actor *self, void *data)
{
	const struct probe *s = data;

	(void)self;
	return s->st.questions == PROBE_BROKEN ? ERR_FORMAT : ERR_OK;
}

static void probe_stop(struct actor *self, void *data, enum err reason)
{
	struct probe *s = data;

	(void)self;
	(void)reason;
	MUST(s->st.questions != PROBE_BROKEN);
	if (s->stops)
		++*s->stops;
}

static void probe_timer(struct actor *self, void *data, unsigned timer)
{
	struct probe *s = data;

	s->st.timers++;
	s->timer_at_us = actor_now_us(self);
	if (timer == 7) /* a badly written one: always at once */
		actor_timer_at(self, 7, 0);
}

static void probe_pump(struct actor *self, void *data)
{
	struct probe *s = data;

	s->pumps++;
	s->pump_at_us = actor_now_us(self);
	actor_kick(actor_runtime(self), s->kicks);
}

static void probe_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct probe *s = data;

	(void)self;
	(void)packets;
	s->packets += (unsigned)count;
	s->media_from = from;
}

static void probe_outbound(struct actor *self, void *data, struct addr to, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct probe *s = data;

	(void)self;
	(void)packets;
	s->outbound += (unsigned)count;
	s->media_from = from;
	s->outbound_to = to;
}

static const struct handler probe_handlers[] = {
	HANDLER(probe, name_lookup, 0),
	HANDLER(probe, name_found, 0),
	HANDLER(probe, failed, 0),
	HANDLER(probe, down, 0),
	HANDLER(probe, load_report, 0),
	HANDLER(probe, drain, 0),
	HANDLER(probe, node_seen, 0),
};

static const struct actor_type probe_actor = {
	.name = "probe",
	.size = sizeof(struct probe),
	.state = &probe_schema,
	.mailbox_max = 8,
	HANDLER_TABLE(probe_handlers),
	.init = probe_init,
	.restore = probe_restore,
	.stop = probe_stop,
	.timer = probe_timer,
	.pump = probe_pump,
	.media = probe_media,
	.outbound = probe_outbound,
};

/* Without a handler for `down`: links are followed. */
static const struct actor_type follower_actor = {
	.name = "follower",
	.size = sizeof(struct probe),
	.state = &probe_schema,
	.handlers = probe_handlers,
	.handler_count = 3,
	.init = probe_init,
	.restore = probe_restore,
	.stop = probe_stop,
};

static const struct actor_type *const probe_types[] = {&probe_actor, &follower_actor, NULL};

#endif
