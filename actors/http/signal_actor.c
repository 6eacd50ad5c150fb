/* SPDX-License-Identifier: Apache-2.0
 *
 * signal_channel: the signalling of one client, whatever connections carry it.
 *
 *   lingering --signal_attach--> carried --connection gone--> lingering --30 s--> (ends)
 *      '--30 s--> (ends)            '--protocol broken, never acknowledges, process ends--> (ends)
 *
 * Takes the client's messages in their order, asks placement, RTC offices and sessions, and answers; how
 * a session is opened is in signal_open.c.
 * Sessions are no part of it: they live and end by themselves, here or in another worker.
 *
 * What it says leaves in its pump, a millisecond later and so after the turn in which it was made: what
 * the client has seen is never taken back by a takeover. Owns an ARENA_BUFFER slot while something is
 * not acknowledged or waits for an answer. Never touches a socket.
 */
#include "actors/callback/callback.h"
#include "actors/http/http_internal.h"
#include "actors/http/signal.h"
#include "actors/http/signal_internal.h"
#include "runtime/config.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	CARRY_US = 1000,
	SIGNAL_TIMER_LINGER = 0,
	SIGNAL_TIMER_LOOK = 1,
	LOOK_MS = 1000,	   /* … whether the node drains */
	AGAIN_MS = 15000,  /* … and who is still here hears so again */
	OTHERS_MS = 60000, /* between two lists of other nodes, for who knows some */
	RECONNECT_MS =
		3000, /* in which the clients of a node that drains go elsewhere: not all at once */
};

enum signal_phase { SIGNAL_LINGERING = 1 << 0, SIGNAL_CARRIED = 1 << 1 };

/* ---- slot ------------------------------------------------------------------------------------ */

static struct slot_ref slot_ref(const struct signal_channel *s)
{
	return (struct slot_ref){s->st.slot_index, s->st.slot_generation};
}

/* NULL: nothing is kept. */
struct signal_slot *signal_slot_of(struct actor *self, const struct signal_channel *s)
{
	return arena_get(actor_arena(self), ARENA_BUFFER, slot_ref(s));
}

static struct signal_kept *kept_of(struct actor *self, const struct signal_channel *s)
{
	struct signal_slot *slot = signal_slot_of(self, s);

	return slot ? &slot->kept : NULL;
}

/* NULL: there is none left. */
struct signal_slot *signal_need_slot(struct actor *self, struct signal_channel *s)
{
	struct signal_slot *slot = signal_slot_of(self, s);
	struct slot_ref ref;

	if (slot)
		return slot;
	ref = arena_alloc(actor_arena(self), ARENA_BUFFER, actor_addr(self).id);
	s->st.slot_index = ref.index;
	s->st.slot_generation = ref.generation;
	slot = signal_slot_of(self, s);
	if (slot)
		slot->kept.span = 0;
	return slot;
}

static void release_slot(struct actor *self, struct signal_channel *s)
{
	arena_release(actor_arena(self), ARENA_BUFFER, slot_ref(s));
	s->st.slot_index = s->st.slot_generation = 0;
}

void signal_release_if_empty(struct actor *self, struct signal_channel *s)
{
	const struct signal_slot *slot = signal_slot_of(self, s);
	bool waits = false;

	for (int i = 0; i < s->st.tasks_count; i++)
		waits = waits || (s->st.tasks[i].seq && s->st.tasks[i].kind == TASK_PLACE);
	if (slot && !waits && signal_kept_is_empty(&slot->kept))
		release_slot(self, s);
}

/* ---- saying ---------------------------------------------------------------------------------- */

static void carry_soon(struct actor *self)
{
	actor_pump_at(self, actor_now_us(self) + CARRY_US);
}

void signal_say_mail(struct actor *self, struct signal_channel *s, uint64_t answers, uint16_t type,
	const struct schema *schema, const void *body)
{
	struct signal_slot *slot = signal_need_slot(self, s);

	if (!slot || signal_line_put(&s->st.line, &slot->kept, answers, type, schema, body)) {
		log_warn(actor_log(self), "signal_channel_full", "peer", s->st.peer);
		actor_stop(self, ERR_LIMIT);
		return;
	}
	carry_soon(self);
}

#define say(self, s, answers, message, ...)                                 \
	signal_say_mail(self, s, answers, MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)

void signal_refuse(struct actor *self, struct signal_channel *s, uint64_t answers, int status,
	const char *code, const char *text, uint32_t retry_ms)
{
	struct msg_signal_refused refused = {.status = (uint16_t)status};

	text_copy(refused.code, sizeof(refused.code), code ? code : problem_code(status));
	text_copy(refused.text, sizeof(refused.text), text);
	if (!retry_ms && (status == 503 || status == 429 || status == 409))
		retry_ms = HTTP_RETRY_MS;
	refused.retry_after_ms = retry_ms;
	signal_say_mail(self, s, answers, MSG_signal_refused, &schema_signal_refused, &refused);
}

void signal_refuse_err(struct actor *self, struct signal_channel *s, uint64_t answers, enum err err,
	const char *text, uint32_t retry_ms)
{
	signal_refuse(self, s, answers, err == ERR_TIMEOUT ? 503 : err_http_status(err),
		err_name(err), *text ? text : err_text(err), retry_ms);
}

static void no_such_session(struct actor *self, struct signal_channel *s, uint64_t answers)
{
	signal_refuse(self, s, answers, 404, NULL, "there is no such session, or it has ended", 0);
}

/* Everything that is new to the connection, and what it has not been told of. */
static void signal_channel_pump(struct actor *self, void *data)
{
	struct signal_channel *s = data;
	struct signal_kept *kept = kept_of(self, s);
	struct msg_signal_frame frame = {{0}};
	uint8_t alive[64];

	if (addr_is_nobody(s->st.connection))
		return;
	while (kept && s->st.carried < s->st.line.sent) {
		frame.bytes.data =
			(const char *)signal_line_at(kept, s->st.carried + 1, &frame.bytes.size);
		if (!frame.bytes.data)
			break;
		actor_send_mail(
			self, s->st.connection, MSG_signal_frame, &schema_signal_frame, &frame);
		s->st.carried++;
		s->st.told = s->st.line.seen;
	}
	if (s->st.alive_owed || s->st.told < s->st.line.seen) {
		struct writer out = writer_of(alive, sizeof(alive));
		struct signal_envelope envelope = {
			.ack = s->st.line.seen, .type = MSG_signal_alive};

		signal_message_write(
			&out, &envelope, &schema_signal_alive, &(struct msg_signal_alive){});
		frame.bytes = (struct slice){(const char *)alive, (uint32_t)writer_used(&out)};
		actor_send_mail(
			self, s->st.connection, MSG_signal_frame, &schema_signal_frame, &frame);
		s->st.told = s->st.line.seen;
		s->st.alive_owed = false;
	}
	if (s->st.ending)
		actor_stop(self, ERR_OK);
}

/* ---- tasks and sessions ---------------------------------------------------------------------- */

struct signal_task *signal_new_task(struct signal_channel *s, uint64_t seq, uint8_t kind)
{
	struct signal_task *task = NULL;

	for (int i = 0; i < s->st.tasks_count && !task; i++)
		if (!s->st.tasks[i].seq)
			task = &s->st.tasks[i];
	if (!task && s->st.tasks_count < SIGNAL_TASKS_MAX)
		task = &s->st.tasks[s->st.tasks_count++];
	if (task)
		*task = (struct signal_task){.seq = seq, .kind = kind};
	return task;
}

static struct signal_task *task_of(struct signal_channel *s, uint64_t request)
{
	for (int i = 0; i < s->st.tasks_count; i++)
		if (request && s->st.tasks[i].seq && s->st.tasks[i].request == request)
			return &s->st.tasks[i];
	return NULL;
}

void signal_end_task(struct actor *self, struct signal_channel *s, struct signal_task *task)
{
	task->seq = 0;
	while (s->st.tasks_count && !s->st.tasks[s->st.tasks_count - 1].seq)
		s->st.tasks_count--;
	signal_release_if_empty(self, s);
}

static void unwatch(struct actor *self, struct signal_channel *s, struct addr who)
{
	for (int i = 0; i < s->st.sessions_count; i++) {
		if (!addr_equal(s->st.sessions[i].who, who))
			continue;
		actor_unmonitor(self, who);
		s->st.sessions[i] = s->st.sessions[--s->st.sessions_count];
		return;
	}
}

/* Its end will be told. One too many: the oldest is no longer. */
static void watch_session(struct actor *self, struct signal_channel *s, struct addr who,
	const char *name, uint64_t open)
{
	struct signal_session *session;

	for (int i = 0; i < s->st.sessions_count; i++)
		if (addr_equal(s->st.sessions[i].who, who))
			return;
	if (s->st.sessions_count == SIGNAL_SESSIONS_MAX)
		unwatch(self, s, s->st.sessions[0].who);
	session = &s->st.sessions[s->st.sessions_count++];
	*session = (struct signal_session){.who = who, .open = open};
	text_copy(session->name, sizeof(session->name), name);
	actor_monitor(self, who);
}

ON(signal_channel, placed)
{
	struct signal_task *task = task_of(s, mail->request);

	if (!task || task->kind != TASK_PLACE)
		return ERR_OK;
	signal_placed(self, s, task, m);
	return ERR_OK;
}

ON(signal_channel, session_waits)
{
	struct signal_task *task = task_of(s, m->request);

	if (!task || task->kind != TASK_CREATE) /* taken back */
		return actor_send(self, mail->from, stop, {.reason = ERR_CLOSED});
	task->session = mail->from;
	return ERR_OK;
}

/* What a client is told of, should this node be lost. */
static void name_alternatives(
	struct actor *self, struct signal_channel *s, char urls[ALTERNATIVES_SIZE + 1])
{
	text_copy(urls, ALTERNATIVES_SIZE + 1, http_alternatives(self));
	s->named = http_alternatives_mark(urls);
	s->named_us = actor_now_us(self);
}

ON(signal_channel, session_created)
{
	struct signal_task *task = task_of(s, mail->request);
	struct msg_signal_opened opened = {.answer = m->answer};
	struct msg_session_delete undo = {0};

	if (!task || task->kind != TASK_CREATE) { /* it was taken back meanwhile */
		memcpy(undo.secret, m->secret, sizeof(undo.secret));
		return actor_send_mail(
			self, m->session, MSG_session_delete, &schema_session_delete, &undo);
	}
	snprintf(
		opened.session, sizeof(opened.session), "%" PRIx64 "-%s", m->session.id, m->secret);
	memcpy(opened.etag, m->etag, sizeof(opened.etag));
	http_permit_used(self, task->permit, s->st.peer);
	signal_resume_of(self, task, m, opened.resume);
	name_alternatives(self, s, opened.alternatives);
	watch_session(self, s, m->session, opened.session, task->seq);
	signal_say_mail(self, s, task->seq, MSG_signal_opened, &schema_signal_opened, &opened);
	signal_end_task(self, s, task);
	return ERR_OK;
}

/* ---- patch and stop -------------------------------------------------------------------------- */

/* The session of a name: one of this node, wherever it runs. False: there is none. */
static bool find_session(
	struct actor *self, const char *name, struct addr *session, char secret[64])
{
	if (!http_session_parse(name, session, secret))
		return false;
	session->node = actor_addr(self).node;
	return true;
}

static void take_patch(
	struct actor *self, struct signal_channel *s, const struct signal_message *message)
{
	struct msg_session_patch patch = {
		.fragment = message->patch.fragment, .watcher = actor_addr(self)};
	struct signal_task *task;
	struct addr session;

	if (!find_session(self, message->patch.session, &session, patch.secret)) {
		no_such_session(self, s, message->envelope.seq);
		return;
	}
	task = signal_new_task(s, message->envelope.seq, TASK_PATCH);
	if (!task) {
		signal_refuse(
			self, s, message->envelope.seq, 429, NULL, "too many requests at once", 0);
		return;
	}
	memcpy(patch.if_match, message->patch.if_match, sizeof(patch.if_match));
	memcpy(task->name, message->patch.session, sizeof(task->name));
	task->session = session;
	task->request = actor_request_mail(
		self, session, HTTP_REQUEST_MS, MSG_session_patch, &schema_session_patch, &patch);
}

ON(signal_channel, session_patched)
{
	struct signal_task *task = task_of(s, mail->request);
	struct msg_signal_patched patched = {
		.status = m->status, .fragment = m->fragment, .sent_ms = m->sent_ms};

	if (!task || task->kind != TASK_PATCH)
		return ERR_OK;
	watch_session(self, s, task->session, task->name, 0); /* the secret was right */
	if (m->status >= 400) {
		signal_refuse(self, s, task->seq, m->status, NULL, m->text, 0);
	} else {
		memcpy(patched.etag, m->etag, sizeof(patched.etag));
		signal_say_mail(
			self, s, task->seq, MSG_signal_patched, &schema_signal_patched, &patched);
	}
	signal_end_task(self, s, task);
	return ERR_OK;
}

/* Without an answer: that, should it come, is undone. With one: so is the session. */
static void take_back(struct actor *self, struct signal_channel *s, uint64_t open)
{
	for (int i = 0; i < s->st.sessions_count; i++) {
		struct addr who = s->st.sessions[i].who;

		if (s->st.sessions[i].open != open)
			continue;
		unwatch(self, s, who);
		actor_send(self, who, stop, {.reason = ERR_CLOSED});
		return;
	}
	for (int i = 0; i < s->st.tasks_count; i++) {
		struct signal_task *task = &s->st.tasks[i];

		if (task->seq != open || task->kind > TASK_CREATE)
			continue;
		if (!addr_is_nobody(task->session))
			actor_send(self, task->session, stop, {.reason = ERR_CLOSED});
		signal_refuse(self, s, task->seq, 410, NULL, "taken back", 0);
		signal_end_task(self, s, task);
		return;
	}
}

static void take_stop(
	struct actor *self, struct signal_channel *s, const struct signal_message *message)
{
	struct msg_session_delete delete = {0};
	struct signal_task *task;
	struct addr session;

	if (message->stop.open) {
		take_back(self, s, message->stop.open);
		say(self, s, message->envelope.seq, signal_done, {});
		return;
	}
	if (!find_session(self, message->stop.session, &session, delete.secret)) {
		no_such_session(self, s, message->envelope.seq);
		return;
	}
	task = signal_new_task(s, message->envelope.seq, TASK_STOP);
	if (!task) {
		signal_refuse(
			self, s, message->envelope.seq, 429, NULL, "too many requests at once", 0);
		return;
	}
	task->session = session;
	unwatch(self, s, session);
	task->request = actor_request_mail(self, session, HTTP_REQUEST_MS, MSG_session_delete,
		&schema_session_delete, &delete);
}

ON(signal_channel, done)
{
	struct signal_task *task = task_of(s, mail->request);

	if (task && task->kind == TASK_STOP) {
		say(self, s, task->seq, signal_done, {});
		signal_end_task(self, s, task);
	}
	return ERR_OK;
}

ON(signal_channel, failed)
{
	struct signal_task *task = task_of(s, mail->request);

	if (!task)
		return ERR_OK;
	if (task->kind == TASK_PLACE && http_nobody_is_there(m->err) && !task->unproved &&
		signal_node_takes_sessions(self)) {
		signal_create_session(
			self, s, task, actor_own_process(self)); /* as WHIP: here, then */
		return ERR_OK;
	}
	if (task->kind >= TASK_PATCH && http_session_is_gone(m->err))
		no_such_session(self, s, task->seq);
	else if (task->kind == TASK_CREATE && m->err == ERR_NOT_FOUND)
		signal_refuse(self, s, task->seq, 409, "not_found",
			m->text[0] ? m->text : "nobody publishes this stream", m->retry_after_ms);
	else
		signal_refuse_err(self, s, task->seq, m->err, m->text, m->retry_after_ms);
	signal_end_task(self, s, task);
	return ERR_OK;
}

/* ---- messages of the client ------------------------------------------------------------------ */

/* Nothing that a client of ours does: connection and channel end. */
static void break_off(struct actor *self, struct signal_channel *s, const char *what)
{
	log_info(actor_log(self), "signal_fault", "peer", s->st.peer, "what", what);
	actor_stop(self, ERR_FORMAT);
}

static void take_message(struct actor *self, struct signal_channel *s,
	const struct signal_message *message, const struct slice *bytes, enum err err)
{
	switch (message->envelope.type) {
	case MSG_signal_open: signal_take_open(self, s, message, bytes); break;
	case MSG_signal_patch: take_patch(self, s, message); break;
	case MSG_signal_stop: take_stop(self, s, message); break;
	default:
		signal_refuse(self, s, message->envelope.seq, 400, NULL,
			err ? "a message of this type is not known" : "this is not numbered", 0);
	}
}

ON(signal_channel, signal_frame)
{
	struct signal_message message;
	enum err err;

	if (!addr_equal(mail->from, s->st.connection))
		return ERR_OK; /* an old one's: it comes again by the new one */
	err = signal_message_read(&message, m->bytes.data, m->bytes.size);
	if (err && err != ERR_UNSUPPORTED) {
		break_off(self, s, "format");
		return ERR_OK;
	}
	switch (signal_line_take(&s->st.line, kept_of(self, s), &message.envelope)) {
	case SIGNAL_NEXT: take_message(self, s, &message, &m->bytes, err); break;
	case SIGNAL_UNNUMBERED: s->st.alive_owed = true; break;
	case SIGNAL_TWICE:
		s->st.duplicates++;
		s->st.alive_owed = true;
		break;
	case SIGNAL_BROKEN: break_off(self, s, "numbers"); return ERR_OK;
	}
	signal_release_if_empty(self, s);
	carry_soon(self);
	return ERR_OK;
}

/* ---- connections ----------------------------------------------------------------------------- */

ON(signal_channel, signal_attach)
{
	if (strlen(m->secret) != SIGNAL_SECRET_SIZE ||
		!memory_equal(m->secret, s->st.secret, SIGNAL_SECRET_SIZE))
		return ERR_NOT_FOUND;
	if (signal_line_resume(&s->st.line, kept_of(self, s), m->ack))
		return ERR_NOT_FOUND;
	if (!addr_is_nobody(s->st.connection)) { /* it does not know yet that it is dead */
		actor_unmonitor(self, s->st.connection);
		actor_send(self, s->st.connection, stop, {.reason = ERR_CLOSED});
	}
	s->st.resumed += s->st.line.seen || s->st.line.sent;
	s->st.connection = mail->from;
	s->st.carried = m->ack;
	s->st.told = s->st.line.seen;
	actor_monitor(self, mail->from);
	actor_become(self, SIGNAL_CARRIED);
	actor_timer_off(self, SIGNAL_TIMER_LINGER);
	signal_release_if_empty(self, s);
	carry_soon(self);
	return actor_reply(self, signal_attached, {.seen = s->st.line.seen});
}

static void linger(struct actor *self, struct signal_channel *s)
{
	s->st.connection = (struct addr){0};
	actor_become(self, SIGNAL_LINGERING);
	actor_timer_in_ms(self, SIGNAL_TIMER_LINGER, SIGNAL_LINGER_MS);
}

ON(signal_channel, down)
{
	struct msg_signal_ended ended = {0};

	if (addr_equal(m->who, s->st.connection)) {
		linger(self, s);
		return ERR_OK;
	}
	for (int i = 0; i < s->st.sessions_count; i++) {
		struct signal_session *session = &s->st.sessions[i];

		if (!addr_equal(session->who, m->who))
			continue;
		memcpy(ended.session, session->name, sizeof(ended.session));
		text_copy(ended.reason, sizeof(ended.reason),
			m->reason ? err_text(m->reason) : "the session has ended");
		*session = s->st.sessions[--s->st.sessions_count];
		signal_say_mail(self, s, 0, MSG_signal_ended, &schema_signal_ended, &ended);
		break;
	}
	return ERR_OK;
}

ON(signal_channel, session_switched)
{
	struct msg_signal_switched switched = {0};

	for (int i = 0; i < s->st.sessions_count; i++) {
		if (!addr_equal(s->st.sessions[i].who, mail->from))
			continue;
		memcpy(switched.session, s->st.sessions[i].name, sizeof(switched.session));
		signal_say_mail(
			self, s, 0, MSG_signal_switched, &schema_signal_switched, &switched);
	}
	return ERR_OK;
}

/* An operator has this session go on at another node. */
ON(signal_channel, session_reconnect)
{
	struct msg_signal_reconnect reconnect = {{0}};

	for (int i = 0; i < s->st.sessions_count; i++) {
		if (!addr_equal(s->st.sessions[i].who, mail->from))
			continue;
		memcpy(reconnect.session, s->st.sessions[i].name, sizeof(reconnect.session));
		text_copy(reconnect.addresses, sizeof(reconnect.addresses), m->url);
		signal_say_mail(
			self, s, 0, MSG_signal_reconnect, &schema_signal_reconnect, &reconnect);
	}
	return ERR_OK;
}

/* ---- the node is about to stop --------------------------------------------------------------- */

static void warn(struct actor *self, struct signal_channel *s, uint32_t within_ms)
{
	struct msg_signal_reconnect reconnect = {.within_ms = within_ms};

	s->st.warned = true;
	s->warned_us = actor_now_us(self);
	http_alternatives_turned(
		http_alternatives(self), (uint32_t)actor_random_u64(self), reconnect.addresses);
	signal_say_mail(self, s, 0, MSG_signal_reconnect, &schema_signal_reconnect, &reconnect);
}

/* Once; and again to who is still here, should another node have room by now. */
static bool should_warn(struct actor *self, const struct signal_channel *s)
{
	return !s->st.warned ||
	       (s->st.sessions_count && http_alternatives(self)[0] &&
		       actor_now_us(self) - s->warned_us > AGAIN_MS * INT64_C(1000));
}

/* Nodes come while sessions live: who knows of none hears at once, the others now and then. */
static void tell_of_others(struct actor *self, struct signal_channel *s)
{
	struct msg_signal_alternatives alternatives = {{0}};
	uint64_t mark = http_alternatives_mark(http_alternatives(self));

	if (actor_phase(self) != SIGNAL_CARRIED || !s->st.sessions_count || !mark ||
		mark == s->named)
		return;
	if (s->named && actor_now_us(self) - s->named_us < OTHERS_MS * INT64_C(1000))
		return;
	name_alternatives(self, s, alternatives.addresses);
	signal_say_mail(
		self, s, 0, MSG_signal_alternatives, &schema_signal_alternatives, &alternatives);
}

ON(signal_channel, drain)
{
	const struct http_office *office = http_office_of(self);

	if (!s->st.warned &&
		(!office || !office->st.alone)) /* else another worker takes the client */
		warn(self, s, 0);
	s->st.ending = true;
	carry_soon(self);
	if (addr_is_nobody(s->st.connection))
		actor_stop(self, ERR_OK);
	return ERR_OK;
}

static void signal_channel_timer(struct actor *self, void *data, unsigned timer)
{
	struct signal_channel *s = data;

	if (timer == SIGNAL_TIMER_LINGER) {
		actor_stop(self, ERR_OK);
		return;
	}
	if (signal_node_takes_sessions(self))
		s->st.warned = false;
	else if (should_warn(self, s))
		warn(self, s, RECONNECT_MS);
	tell_of_others(self, s);
	actor_timer_in_ms(self, SIGNAL_TIMER_LOOK, LOOK_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err signal_channel_init(struct actor *self, void *data, const void *args_)
{
	struct signal_channel *s = data;
	const struct signal_channel_args *args = args_;
	struct http_office *office = http_office_of(self);
	struct limits_ticket ticket = {0};
	char name[ACTOR_NAME_MAX + 1];

	/* it counts as a connection: a client that opens them and hangs up makes no more than its share */
	if (!office ||
		limits_session_open(&office->limits, args->peer, actor_now_us(self), &ticket))
		return ERR_LIMIT;
	s->st.limit_place = ticket.place;
	s->st.limit_generation = ticket.generation;
	s->peer = *args->peer;
	net_addr_text(args->peer, s->st.peer);
	text_copy(s->st.secret, sizeof(s->st.secret), args->secret);
	snprintf(name, sizeof(name), "signal/%s", s->st.peer);
	actor_set_name(self, name);
	linger(self, s);
	actor_timer_in_ms(self, SIGNAL_TIMER_LOOK, LOOK_MS);
	return ERR_OK;
}

static enum err signal_channel_restore(struct actor *self, void *data)
{
	struct signal_channel *s = data;
	struct signal_kept *kept = kept_of(self, s);

	if (s->st.slot_generation ? !kept || !signal_line_recover(&s->st.line, kept)
				  : s->st.line.acked != s->st.line.sent)
		return ERR_FORMAT;
	if (s->st.carried > s->st.line.sent || net_addr_parse(s->st.peer, &s->peer))
		return ERR_FORMAT;
	for (int i = 0; i < s->st.tasks_count; i++)
		if (s->st.tasks[i].kind >= TASK_KINDS)
			return ERR_FORMAT;
	if (kept && !arena_hold_again(actor_arena(self), ARENA_BUFFER, slot_ref(s)))
		return ERR_FORMAT;
	s->peer.transport = NET_TCP;
	if (actor_phase(self) == SIGNAL_LINGERING)
		actor_timer_in_ms(self, SIGNAL_TIMER_LINGER, SIGNAL_LINGER_MS);
	actor_timer_in_ms(self, SIGNAL_TIMER_LOOK, LOOK_MS);
	carry_soon(self);
	return ERR_OK;
}

static void signal_channel_stop(struct actor *self, void *data, enum err reason)
{
	struct signal_channel *s = data;
	struct http_office *office = http_office_of(self);

	(void)reason;
	for (int i = 0; i < s->st.tasks_count; i++) /* who waits for a publisher waits for nobody */
		if (s->st.tasks[i].seq && s->st.tasks[i].kind == TASK_CREATE &&
			!addr_is_nobody(s->st.tasks[i].session))
			actor_send(self, s->st.tasks[i].session, stop, {.reason = ERR_CLOSED});
	if (office)
		limits_session_close(&office->limits,
			&(struct limits_ticket){s->st.limit_place, s->st.limit_generation});
	release_slot(self, s);
}

static const char *const signal_channel_phases[] = {"lingering", "carried", NULL};

static const struct handler signal_channel_handlers[] = {
	/*                      message          legal in */
	HANDLER(signal_channel, signal_attach, 0),
	HANDLER(signal_channel, signal_frame, 0),
	HANDLER(signal_channel, placed, 0),
	HANDLER(signal_channel, session_created, 0),
	HANDLER(signal_channel, session_waits, 0),
	HANDLER(signal_channel, session_patched, 0),
	HANDLER(signal_channel, session_switched, 0),
	HANDLER(signal_channel, session_reconnect, 0),
	HANDLER(signal_channel, done, 0),
	HANDLER(signal_channel, failed, 0),
	HANDLER(signal_channel, down, 0),
	HANDLER(signal_channel, drain, 0),
};

const struct actor_type signal_channel_actor = {
	.name = "signal_channel",
	.size = sizeof(struct signal_channel),
	.state = &schema_signal_channel_state,
	.phases = signal_channel_phases,
	HANDLER_TABLE(signal_channel_handlers),
	.init = signal_channel_init,
	.restore = signal_channel_restore,
	.stop = signal_channel_stop,
	.timer = signal_channel_timer,
	.pump = signal_channel_pump,
};
