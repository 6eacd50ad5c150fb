/* SPDX-License-Identifier: Apache-2.0
 *
 * callback: one session, from its question to the notification of its end.
 *
 *   asking --allowed--> open --session over--> queued --turn--> telling --told, given up--> (ends)
 *     '--refused--> (ends)                                        '--failed: back-off--^
 *
 * Without a URL to ask it begins as open, without one to tell it ends when the session may begin. A
 * session that goes while the server is still being asked is told of too, unless it was refused: the
 * server may have taken it for begun.
 *
 * Notifications leave in their order, a stream at a time: the office gives the turns.
 *
 * It dies with the control process. The next one's is made by the ticket that the session's worker
 * keeps (callback_ticket.c); that begins as open, or queued when the session has ended meanwhile.
 */
#include "actors/callback/callback_internal.h"
#include "runtime/net_http.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum callback_phase {
	ASKING = 1 << 0,
	OPEN = 1 << 1,
	QUEUED = 1 << 2,
	TELLING = 1 << 3,
};

enum callback_timer { TIMER_AGAIN };

enum { HEADER_SIZE = sizeof(((struct config *)0)->callback_token) + 32 };

struct callback {
	struct callback_state st;
};

/* Nothing is left to be told. */
static void finish(struct actor *self, const struct callback *s)
{
	if (!addr_is_nobody(s->st.ticket))
		actor_send(self, s->st.ticket, callback_closed, {});
	actor_stop(self, ERR_OK);
}

static const char refused_text[] = "refused by the callback server";

/* ---- the server ------------------------------------------------------------------------------ */

/* False: no memory, nothing is under way. */
static bool post(
	struct actor *self, struct callback *s, enum callback_action action, uint32_t timeout_ms)
{
	const struct config *config = actor_config(self);
	char body[CALLBACK_BODY_MAX], authorization[HEADER_SIZE];
	struct net_http_request request = {
		.method = "POST",
		.url = callback_url(config, action),
		.headers = {"Content-Type: application/json"},
		.body = body,
		.body_size = callback_body(&s->st, action, config->node_name, body, sizeof(body)),
		.timeout_ms = timeout_ms,
		.body_max = CALLBACK_ANSWER_MAX,
	};

	if (!request.body_size)
		return false;
	if (config->callback_token[0]) {
		snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
			config->callback_token);
		request.headers[1] = authorization;
	}
	s->st.sent_us = actor_now_us(self);
	s->st.request = net_http(self, &request);
	explicit_bzero(authorization, sizeof(authorization));
	return true;
}

/* ---- the question ---------------------------------------------------------------------------- */

static void line_up(struct actor *self, struct callback *s)
{
	struct msg_callback_queue queue = {0};

	memcpy(queue.stream_name, s->st.stream_name, sizeof(queue.stream_name));
	actor_become(self, QUEUED);
	actor_send_mail(self, actor_office(self, OFFICE_CALLBACK), MSG_callback_queue,
		&schema_callback_queue, &queue);
}

static struct asker asker_of(const struct callback *s)
{
	return (struct asker){.from = s->st.session, .request = s->st.question};
}

static void allow(struct actor *self, struct callback *s)
{
	bool tells = callback_url(actor_config(self), callback_end_action(s->st.play)) != NULL;

	if (s->st.question)
		actor_answer(self, asker_of(s), callback_allowed,
			{.callback = tells ? actor_addr(self) : (struct addr){0}});
	s->st.question = 0;
	actor_become(self, OPEN);
	if (!tells)
		finish(self, s);
	else if (s->st.over_us)
		line_up(self, s);
}

static void refuse(
	struct actor *self, struct callback *s, enum err err, const char *text, uint32_t retry_ms)
{
	if (s->st.question)
		actor_refuse_later(self, asker_of(s), err, text, retry_ms);
	s->st.question = 0;
	actor_become(self, OPEN);
	finish(self, s);
}

/* No answer, or none that makes sense. */
static void decide(struct actor *self, struct callback *s, const char *why)
{
	bool open = actor_config(self)->callback_fail == CONFIG_CALLBACK_OPEN;

	callback_office_note(self, CALLBACK_UNANSWERED);
	log_warn(actor_log(self), "callback_unanswered", "action",
		callback_action_name(callback_begin_action(s->st.play)), "stream",
		s->st.stream_name, "why", why, "allowed", open);
	if (open)
		allow(self, s);
	else
		refuse(self, s, ERR_OVERLOAD, callback_silent_text, CALLBACK_RETRY_MS);
}

static void take_verdict(struct actor *self, struct callback *s, const struct msg_http_response *m)
{
	enum err err = callback_verdict(m->status, m->body);
	char why[40];

	switch (err) {
	case ERR_OK:
		callback_office_note(self, CALLBACK_ALLOWED);
		allow(self, s);
		break;
	case ERR_AUTH:
	case ERR_FORBIDDEN:
		callback_office_note(self, CALLBACK_REFUSED);
		log_info(actor_log(self), "callback_refused", "action",
			callback_action_name(callback_begin_action(s->st.play)), "stream",
			s->st.stream_name, "client", s->st.client, "status", m->status);
		refuse(self, s, err, refused_text, 0);
		break;
	default:
		snprintf(why, sizeof(why), "status %u, %u bytes", m->status, m->body.size);
		decide(self, s, why);
	}
}

/* ---- the notification ------------------------------------------------------------------------ */

static void tell_again(struct actor *self, struct callback *s, const char *why)
{
	const char *action = callback_action_name(callback_end_action(s->st.play));

	if (s->st.draining || s->st.tries > actor_config(self)->callback_retries) {
		callback_office_note(self, CALLBACK_GIVEN_UP);
		log_warn(actor_log(self), "callback_given_up", "action", action, "stream",
			s->st.stream_name, "tries", s->st.tries, "why", why);
		finish(self, s);
		return;
	}
	callback_office_note(self, CALLBACK_RETRIED);
	log_info(actor_log(self), "callback_retried", "action", action, "stream", s->st.stream_name,
		"tries", s->st.tries, "why", why);
	s->st.next_us = actor_now_us(self) + (int64_t)callback_backoff_ms(s->st.tries) * 1000;
	actor_timer_at(self, TIMER_AGAIN, s->st.next_us);
}

static void tell(struct actor *self, struct callback *s)
{
	const struct config *config = actor_config(self);

	s->st.next_us = 0;
	s->st.tries++;
	if (!post(self, s, callback_end_action(s->st.play), (uint32_t)config->callback_timeout_ms))
		tell_again(self, s, "no memory");
}

static void take_told(struct actor *self, struct callback *s, uint16_t status)
{
	char why[16];

	if (status >= 200 && status <= 299) {
		callback_office_note(self, CALLBACK_TOLD);
		finish(self, s);
		return;
	}
	snprintf(why, sizeof(why), "status %u", status);
	tell_again(self, s, why);
}

static void session_over(struct actor *self, struct callback *s, int64_t over_us)
{
	if (s->st.over_us)
		return;
	s->st.over_us = over_us;
	if (actor_phase(self) == OPEN)
		line_up(self, s);
}

/* ---- mail ------------------------------------------------------------------------------------ */

/* Is this about what the server is being asked? Then nothing is under way any more. */
static bool is_awaited(struct callback *s, const struct mail *mail)
{
	if (!mail->request || mail->request != s->st.request)
		return false;
	s->st.request = 0;
	return true;
}

ON(callback, http_response)
{
	if (!is_awaited(s, mail))
		return ERR_OK;
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_CALLBACK,
		actor_now_us(self) - s->st.sent_us);
	if (actor_phase(self) == ASKING)
		take_verdict(self, s, m);
	else
		take_told(self, s, m->status);
	return ERR_OK;
}

ON(callback, failed)
{
	const char *why = m->text[0] ? m->text : err_text(m->err);

	if (!is_awaited(s, mail))
		return ERR_OK;
	if (actor_phase(self) == ASKING)
		decide(self, s, why);
	else
		tell_again(self, s, why);
	return ERR_OK;
}

ON(callback, callback_over)
{
	if (addr_equal(mail->from, s->st.session) || addr_equal(mail->from, s->st.ticket))
		session_over(self, s, actor_wall_us(self));
	return ERR_OK;
}

ON(callback, down)
{
	if (!addr_equal(m->who, s->st.session))
		return ERR_OK;
	s->st.question = 0; /* nobody is there to hear */
	session_over(self, s, actor_wall_us(self));
	return ERR_OK;
}

ON(callback, callback_turn)
{
	actor_become(self, TELLING);
	tell(self, s);
	return ERR_OK;
}

/* The node stops: what can be told still is, but nobody waits for a server to come back. */
ON(callback, drain)
{
	s->st.draining = true;
	if (s->st.next_us)
		actor_timer_in_ms(self, TIMER_AGAIN, 0);
	return ERR_OK;
}

static void callback_timer(struct actor *self, void *data, unsigned timer)
{
	struct callback *s = data;

	(void)timer;
	if (s->st.next_us)
		tell(self, s);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err callback_init(struct actor *self, void *data, const void *args_)
{
	struct callback *s = data;
	const struct callback_args *args = args_;
	const struct msg_callback_ask *ask = args->ask;
	char name[ACTOR_NAME_MAX + 1];

	s->st.play = ask->play;
	memcpy(s->st.stream_name, ask->stream_name, sizeof(s->st.stream_name));
	memcpy(s->st.client, ask->client, sizeof(s->st.client));
	memcpy(s->st.protocol, ask->protocol, sizeof(s->st.protocol));
	memcpy(s->st.param, ask->param, sizeof(s->st.param));
	s->st.session = ask->again ? ask->session : args->asker.from;
	s->st.question = args->asker.request;
	s->st.ticket = ask->ticket;
	s->st.asked_us = actor_wall_us(self);
	snprintf(name, sizeof(name), "callback/%.110s", s->st.stream_name);
	actor_set_name(self, name);
	/* without it the end of the session would go unnoticed */
	if (actor_monitor(self, s->st.session))
		return ERR_NO_MEMORY;
	if (!addr_is_nobody(s->st.ticket))
		actor_send(self, s->st.ticket, callback_made, {});
	if (ask->again) {
		actor_become(self, OPEN);
		if (ask->over_us)
			session_over(self, s, ask->over_us);
		return ERR_OK;
	}
	if (callback_url(actor_config(self), callback_begin_action(s->st.play))) {
		actor_become(self, ASKING);
		return post(self, s, callback_begin_action(s->st.play), args->timeout_ms)
			       ? ERR_OK
			       : ERR_NO_MEMORY;
	}
	allow(self, s);
	return ERR_OK;
}

/* What was under way fails by itself (kernel); a back-off goes on. */
static enum err callback_restore(struct actor *self, void *data)
{
	struct callback *s = data;
	uint32_t phase = actor_phase(self);

	if (addr_is_nobody(s->st.session) || !phase || phase & (phase - 1) || phase > TELLING)
		return ERR_FORMAT;
	if (s->st.next_us)
		actor_timer_at(self, TIMER_AGAIN, s->st.next_us);
	return ERR_OK;
}

static void callback_stop(struct actor *self, void *data, enum err reason)
{
	struct callback *s = data;

	if (reason == ERR_OVERLOAD && !addr_is_nobody(s->st.ticket)) /* the line is full */
		actor_send(self, s->st.ticket, callback_closed, {});
	if (actor_phase(self) != ASKING)
		return;
	callback_office_note(self, CALLBACK_UNANSWERED);
	if (s->st.question)
		actor_refuse(self, asker_of(s), ERR_CLOSED, callback_silent_text);
}

static const char *const callback_phases[] = {"asking", "open", "queued", "telling", NULL};

static const struct handler callback_handlers[] = {
	/*                message        legal in */
	HANDLER(callback, http_response, ASKING | TELLING),
	HANDLER(callback, failed, 0),
	HANDLER(callback, callback_over, 0),
	HANDLER(callback, down, 0),
	HANDLER(callback, callback_turn, QUEUED),
	HANDLER(callback, drain, 0),
};

const struct actor_type callback_actor = {
	.name = "callback",
	.size = sizeof(struct callback),
	.state = &schema_callback_state,
	.phases = callback_phases,
	HANDLER_TABLE(callback_handlers),
	.init = callback_init,
	.restore = callback_restore,
	.stop = callback_stop,
	.timer = callback_timer,
};
