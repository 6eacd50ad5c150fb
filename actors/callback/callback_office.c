/* SPDX-License-Identifier: Apache-2.0
 *
 * callback office: makes a callback of each session that asks, counts what becomes of them, and says
 * who may tell when.
 *
 *   line:  a1 b1 a2 c1 …   (a, b, c: streams)   a1, b1, c1 tell at the same time; a2 after a1
 *
 * So the notifications of one stream arrive in the order in which things happened, and one that has
 * to be retried holds up no other stream. The line is bounded: what finds it full is dropped, with a
 * count and a line in the log.
 */
#include "actors/callback/callback_internal.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum {
	CALLBACKS_MAX = 32768, /* sessions of a node */
	ASKING_MAX = 256,      /* questions under way; the next are decided as if unanswered */
	TELLING_MAX = 16,      /* notifications under way */
};

struct callback_office {
	struct callback_office_state st;
};

static uint64_t hash_of(const char *name)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * UINT64_C(0x100000001B3);
	return hash;
}

static void publish_metrics(struct actor *self, const struct callback_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	process_metric_set(env, PROCESS_METRIC_CALLBACKS_ALLOWED, s->st.allowed);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_REFUSED, s->st.refused);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_UNANSWERED, s->st.unanswered);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_TOLD, s->st.told);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_RETRIED, s->st.retried);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_GIVEN_UP, s->st.given_up);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_DROPPED, s->st.dropped);
	process_metric_set(env, PROCESS_METRIC_CALLBACKS_QUEUED, s->st.line_count);
}

/* ---- what callbacks report ------------------------------------------------------------------- */

static void note(struct actor *self, void *data, void *context)
{
	struct callback_office *s = data;

	switch (*(const enum callback_event *)context) {
	case CALLBACK_ALLOWED: s->st.allowed++; break;
	case CALLBACK_REFUSED: s->st.refused++; break;
	case CALLBACK_UNANSWERED: s->st.unanswered++; break;
	case CALLBACK_TOLD: s->st.told++; break;
	case CALLBACK_RETRIED: s->st.retried++; break;
	case CALLBACK_GIVEN_UP: s->st.given_up++; break;
	}
	s->st.asking = (uint32_t)(s->st.asked - s->st.allowed - s->st.refused - s->st.unanswered);
	publish_metrics(self, s);
}

void callback_office_note(struct actor *self, enum callback_event event)
{
	actor_call(actor_runtime(self), actor_office(self, OFFICE_CALLBACK), &callback_office_actor,
		note, &event);
}

/* ---- questions ------------------------------------------------------------------------------- */

/* The server's time is a little less than what the session waits, so that the answer gets there. */
static uint32_t time_left_ms(struct actor *self, const struct mail *mail)
{
	int64_t left_ms = (mail->deadline_us - actor_now_us(self)) / 1000 - CALLBACK_MARGIN_MS;

	return left_ms > CALLBACK_MARGIN_MS ? (uint32_t)left_ms : CALLBACK_MARGIN_MS;
}

static void close_ticket(struct actor *self, const struct msg_callback_ask *m)
{
	if (!addr_is_nobody(m->ticket))
		actor_send(self, m->ticket, callback_closed, {});
}

ON(callback_office, callback_ask)
{
	bool asks = !m->again && callback_url(actor_config(self), callback_begin_action(m->play));
	struct callback_args args = {
		.ask = m, .asker = actor_asker(self), .timeout_ms = time_left_ms(self, mail)};
	enum err err;

	if (!mail->request != m->again)
		return ERR_FORMAT;
	if (!callback_wait_ms(actor_config(self), m->play) ||
		(m->again && !callback_url(actor_config(self), callback_end_action(m->play)))) {
		close_ticket(self, m);
		return ERR_UNSUPPORTED;
	}
	s->st.asked += asks;
	s->st.asking += asks;
	err = s->st.open >= CALLBACKS_MAX || (asks && s->st.asking > ASKING_MAX)
		      ? ERR_OVERLOAD
		      : actor_spawn(actor_runtime(self), self, &callback_actor, &args, NULL);
	if (!err) {
		s->st.open++;
		return ERR_OK;
	}
	close_ticket(self, m);
	s->st.unanswered += asks;
	s->st.asking -= asks;
	s->st.dropped += m->again;
	log_warn(actor_log(self), "callback_not_asked", "stream", m->stream_name, "open",
		s->st.open, "asking", s->st.asking, "error", err_name(err));
	publish_metrics(self, s);
	return actor_refuse_later(self, actor_asker(self), ERR_OVERLOAD,
		"too many callbacks at a time", CALLBACK_RETRY_MS);
}

/* ---- the line -------------------------------------------------------------------------------- */

static void give_turns(struct actor *self, struct callback_office *s)
{
	int telling = 0;

	for (int i = 0; i < s->st.line_count && telling < TELLING_MAX; i++) {
		struct callback_row *row = &s->st.line[i];

		telling += row->first;
		if (!row->first || row->telling)
			continue;
		row->telling = true;
		actor_send(
			self, ((struct addr){actor_addr(self).node, row->id}), callback_turn, {});
	}
}

ON(callback_office, callback_queue)
{
	struct callback_row row = {
		.id = mail->from.id, .stream = hash_of(m->stream_name), .first = true};

	if (s->st.line_count == CALLBACK_LINE_MAX) {
		s->st.dropped++;
		log_warn(actor_log(self), "callback_dropped", "stream", m->stream_name, "queued",
			s->st.line_count);
		publish_metrics(self, s);
		return actor_send(self, mail->from, stop, {.reason = ERR_OVERLOAD});
	}
	for (int i = 0; i < s->st.line_count; i++)
		row.first = row.first && s->st.line[i].stream != row.stream;
	s->st.line[s->st.line_count++] = row;
	give_turns(self, s);
	publish_metrics(self, s);
	return ERR_OK;
}

static void leave_line(struct callback_office *s, uint64_t id)
{
	int at = 0;

	while (at < s->st.line_count && s->st.line[at].id != id)
		at++;
	if (at == s->st.line_count)
		return;
	struct callback_row left = s->st.line[at];

	s->st.line_count--;
	memmove(&s->st.line[at], &s->st.line[at + 1],
		(size_t)(s->st.line_count - at) * sizeof(s->st.line[0]));
	for (int i = at; left.first && i < s->st.line_count; i++) {
		if (s->st.line[i].stream == left.stream) {
			s->st.line[i].first = true;
			break;
		}
	}
}

/* A callback has ended. */
ON(callback_office, down)
{
	if (s->st.open)
		s->st.open--;
	leave_line(s, m->who.id);
	give_turns(self, s);
	publish_metrics(self, s);
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err callback_office_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	actor_set_name(self, "office/callback");
	return ERR_OK;
}

static enum err callback_office_restore(struct actor *self, void *data)
{
	publish_metrics(self, data);
	return ERR_OK;
}

static const struct handler callback_office_handlers[] = {
	HANDLER(callback_office, callback_ask, 0),
	HANDLER(callback_office, callback_queue, 0),
	HANDLER(callback_office, down, 0),
};

const struct actor_type callback_office_actor = {
	.name = "callback_office",
	.size = sizeof(struct callback_office),
	.state = &schema_callback_office_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(callback_office_handlers),
	.init = callback_office_init,
	.restore = callback_office_restore,
};
