/* SPDX-License-Identifier: Apache-2.0
 *
 * callback ticket: one session that has asked, as its worker remembers it.
 *
 *   asked --made--> held --closed--> (ends)
 *     '---office down---+---> lost --next office, asked again--> asked
 *
 * The control process and all its callbacks may die while the session goes on, and the session while
 * no control process is there. The ticket outlives both: it watches the session and the office, and
 * has the next office make another callback. That is not asked for again; whoever may have been
 * allowed is told of, so a server that refused somebody just when the control process died may hear of
 * an end without a beginning.
 *
 * Lives beside its session, and goes where that goes. Owns nothing.
 */
#include "actors/callback/callback_internal.h"

#include <stdio.h>

enum ticket_phase {
	ASKED = 1 << 0,
	HELD = 1 << 1,
	LOST = 1 << 2,
};

enum ticket_timer {
	TIMER_OFFICE, /* lost: is the next one there? */
	TIMER_SILENT, /* asked, and the session is over: nobody will say anything any more */
	TIMER_FOLLOW, /* the session is elsewhere */
};

enum {
	OFFICE_MS = 100,     /* all tickets of a node do not ask at once … */
	OFFICE_SPREAD = 300, /* … but in as many ms */
	FOLLOW_MS = 500,
	/* The office was too busy to make a callback before its asker's time had run out
	 * (callback.timeout_ms is at most 30 s). */
	SILENT_MS = 60000,
};

struct callback_ticket {
	struct callback_ticket_state st;
};

struct addr callback_ticket_keep(struct actor *self, const struct msg_callback_ask *ask)
{
	struct addr ticket;

	if (addr_is_nobody(actor_office(self, OFFICE_CALLBACK)))
		return (struct addr){0};
	struct callback_args args = {.ask = ask, .asker = {.from = actor_addr(self)}};

	return actor_spawn(actor_runtime(self), NULL, &callback_ticket_actor, &args, &ticket)
		       ? (struct addr){0}
		       : ticket;
}

/* ---- the office ------------------------------------------------------------------------------ */

static void look_later(struct actor *self)
{
	actor_timer_in_ms(
		self, TIMER_OFFICE, OFFICE_MS + (int64_t)(actor_random_u64(self) % OFFICE_SPREAD));
}

static void lose(struct actor *self, struct callback_ticket *s)
{
	s->st.office = s->st.callback = (struct addr){0};
	actor_become(self, LOST);
	look_later(self);
}

static void ask_again(struct actor *self, struct callback_ticket *s)
{
	struct msg_callback_ask ask = {.play = s->st.play,
		.ticket = actor_addr(self),
		.session = s->st.session,
		.again = true,
		.over_us = s->st.over_us};
	struct addr office = actor_office(self, OFFICE_CALLBACK);

	if (addr_is_nobody(office) || actor_monitor(self, office)) {
		look_later(self);
		return;
	}
	memcpy(ask.stream_name, s->st.stream_name, sizeof(ask.stream_name));
	memcpy(ask.client, s->st.client, sizeof(ask.client));
	memcpy(ask.protocol, s->st.protocol, sizeof(ask.protocol));
	memcpy(ask.param, s->st.param, sizeof(ask.param));
	s->st.office = office;
	actor_become(self, ASKED);
	actor_send_mail(self, office, MSG_callback_ask, &schema_callback_ask, &ask);
}

/* ---- the session ----------------------------------------------------------------------------- */

static void session_over(struct actor *self, struct callback_ticket *s)
{
	if (!s->st.over_us)
		s->st.over_us = actor_wall_us(self);
	if (actor_phase(self) == ASKED)
		actor_timer_in_ms(self, TIMER_SILENT, SILENT_MS);
	else if (actor_phase(self) == HELD && s->st.draining)
		actor_stop(self, ERR_OK); /* its callback knows */
}

static void follow(struct actor *self, struct callback_ticket *s)
{
	uint32_t process = actor_process_of(self, s->st.session);

	if (!process || process == actor_own_process(self) || s->st.over_us)
		return;
	actor_move(self, process);
	actor_timer_in_ms(self, TIMER_FOLLOW, FOLLOW_MS); /* should it have to stay */
}

/* ---- mail ------------------------------------------------------------------------------------ */

ON(callback_ticket, callback_made)
{
	s->st.callback = mail->from;
	actor_become(self, HELD);
	actor_timer_off(self, TIMER_SILENT);
	if (s->st.over_us)
		actor_send(self, s->st.callback, callback_over, {});
	return ERR_OK;
}

ON(callback_ticket, callback_closed)
{
	actor_stop(self, ERR_OK);
	return ERR_OK;
}

ON(callback_ticket, callback_over)
{
	session_over(self, s);
	if (!addr_is_nobody(s->st.callback))
		actor_send(self, s->st.callback, callback_over, {});
	return ERR_OK;
}

ON(callback_ticket, down)
{
	if (addr_equal(m->who, s->st.session))
		session_over(self, s);
	else if (addr_equal(m->who, s->st.office))
		lose(self, s);
	return ERR_OK;
}

/* The office had no room for the question, or died before it came: `down` may have said so, and the
 * next one have been asked. */
ON(callback_ticket, failed)
{
	if (m->type == MSG_callback_ask && actor_phase(self) == ASKED &&
		addr_equal(m->to, s->st.office))
		lose(self, s);
	return ERR_OK;
}

ON(callback_ticket, callback_follow)
{
	follow(self, s);
	return ERR_OK;
}

ON(callback_ticket, drain)
{
	s->st.draining = true;
	if (s->st.over_us)
		session_over(self, s);
	follow(self, s);
	return ERR_OK;
}

static void callback_ticket_timer(struct actor *self, void *data, unsigned timer)
{
	struct callback_ticket *s = data;

	switch ((enum ticket_timer)timer) {
	case TIMER_OFFICE:
		if (actor_phase(self) == LOST)
			ask_again(self, s);
		break;
	case TIMER_SILENT:
		if (actor_phase(self) == ASKED)
			actor_stop(self, ERR_OK);
		break;
	case TIMER_FOLLOW: follow(self, s); break;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static void take_name(struct actor *self, const struct callback_ticket *s)
{
	char name[ACTOR_NAME_MAX + 1];

	snprintf(name, sizeof(name), "ticket/%.110s", s->st.stream_name);
	actor_set_name(self, name);
}

static enum err callback_ticket_init(struct actor *self, void *data, const void *args_)
{
	struct callback_ticket *s = data;
	const struct callback_args *args = args_;
	const struct msg_callback_ask *ask = args->ask;

	s->st.play = ask->play;
	memcpy(s->st.stream_name, ask->stream_name, sizeof(s->st.stream_name));
	memcpy(s->st.client, ask->client, sizeof(s->st.client));
	memcpy(s->st.protocol, ask->protocol, sizeof(s->st.protocol));
	memcpy(s->st.param, ask->param, sizeof(s->st.param));
	s->st.session = args->asker.from;
	s->st.office = actor_office(self, OFFICE_CALLBACK);
	take_name(self, s);
	actor_become(self, ASKED);
	if (actor_monitor(self, s->st.session) || actor_monitor(self, s->st.office))
		return ERR_NO_MEMORY;
	return ERR_OK;
}

static enum err callback_ticket_restore(struct actor *self, void *data)
{
	struct callback_ticket *s = data;
	uint32_t phase = actor_phase(self);

	if (addr_is_nobody(s->st.session) || !phase || phase & (phase - 1) || phase > LOST)
		return ERR_FORMAT;
	if (phase == LOST)
		look_later(self);
	if (phase == ASKED && s->st.over_us)
		actor_timer_in_ms(self, TIMER_SILENT, SILENT_MS);
	actor_timer_in_ms(self, TIMER_FOLLOW, FOLLOW_MS);
	return ERR_OK;
}

static size_t callback_ticket_slots(void *data, struct actor_slot slots[ACTOR_SLOTS_MAX])
{
	(void)data, (void)slots;
	return 0;
}

static void callback_ticket_arrived(struct actor *self, void *data)
{
	struct callback_ticket *s = data;

	(void)self;
	s->st.draining = false;
}

static const char *const ticket_phases[] = {"asked", "held", "lost", NULL};

static const struct handler callback_ticket_handlers[] = {
	HANDLER(callback_ticket, callback_made, ASKED),
	HANDLER(callback_ticket, callback_closed, 0),
	HANDLER(callback_ticket, callback_over, 0),
	HANDLER(callback_ticket, callback_follow, 0),
	HANDLER(callback_ticket, down, 0),
	HANDLER(callback_ticket, failed, 0),
	HANDLER(callback_ticket, drain, 0),
};

const struct actor_type callback_ticket_actor = {
	.name = "callback_ticket",
	.size = sizeof(struct callback_ticket),
	.state = &schema_callback_ticket_state,
	.phases = ticket_phases,
	HANDLER_TABLE(callback_ticket_handlers),
	.init = callback_ticket_init,
	.restore = callback_ticket_restore,
	.slots = callback_ticket_slots,
	.arrived = callback_ticket_arrived,
	.timer = callback_ticket_timer,
};
