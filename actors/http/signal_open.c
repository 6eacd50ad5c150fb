/* SPDX-License-Identifier: Apache-2.0
 *
 * signal_channel: opening a session. What is wrong with a request by itself is said at once; then placement
 * is asked where it goes, here or at another node, and the RTC office there makes it.
 *
 *   signal_open --place--> placed --session_create--> signal_opened
 *                             \--at another node--> signal_refused 307
 */
#include "actors/callback/callback.h"
#include "actors/http/http_internal.h"
#include "actors/http/signal_internal.h"
#include "runtime/config.h"

enum { PLACE_MS = 3000 };

bool signal_node_takes_sessions(struct actor *self)
{
	const struct http_office *office = http_office_of(self);

	return office && http_takes_sessions(office, false);
}

/* The permit that it came with, or resumes with. */
static const char *permit_of(const struct msg_signal_open *open)
{
	return open->permit[0]					   ? open->permit
	       : permit_is_one(open->resume, strlen(open->resume)) ? open->resume
								   : "";
}

/* What is wrong with it by itself. True when nothing is: but for a permit, which placement looks at
 * (*unproved). */
static bool check_open(struct actor *self, struct signal_channel *s, uint64_t seq,
	const struct msg_signal_open *open, struct http_permit *permit, bool *unproved)
{
	struct http_office *office = http_office_of(self);
	const char *why = "";
	struct name_path name;
	int64_t wait_us = 0;
	enum err err;

	if (!office || (!signal_node_takes_sessions(self) && !http_is_in_cluster(self))) {
		signal_refuse(self, s, seq, 503, NULL, "this server takes no new sessions", 0);
		return false;
	}
	if (limits_request(&office->limits, &s->peer, actor_now_us(self), &wait_us)) {
		office->st.refused_rate++;
		signal_refuse(self, s, seq, 429, NULL, "too many requests from this address",
			(uint32_t)(wait_us / 1000 + 1));
		return false;
	}
	err = name_path_parse(open->stream, strlen(open->stream), &name);
	if (err) {
		signal_refuse(self, s, seq, 400, NULL, "this is no name of a stream", 0);
		return false;
	}
	err = http_token_check(self, (struct http_text){open->token.data, open->token.size}, &name,
		open->play ? TOKEN_PLAY : TOKEN_PUBLISH, permit, &why);
	*unproved = err == ERR_AUTH && http_is_in_cluster(self) && permit_of(open)[0];
	if (err && !*unproved) {
		signal_refuse_err(self, s, seq, err, why, 0);
		return false;
	}
	if (!open->offer.size)
		signal_refuse(self, s, seq, 400, NULL, "there must be an SDP offer", 0);
	return open->offer.size > 0;
}

void signal_take_open(struct actor *self, struct signal_channel *s,
	const struct signal_message *message, const struct slice *bytes)
{
	const struct msg_signal_open *open = &message->open;
	uint64_t seq = message->envelope.seq;
	struct msg_place place = {
		.closed = !signal_node_takes_sessions(self), .follows = !open->permit[0]};
	struct signal_slot *slot;
	struct signal_task *task;
	struct http_permit permit;
	bool unproved;

	if (!check_open(self, s, seq, open, &permit, &unproved))
		return;
	slot = signal_need_slot(self, s);
	task = slot ? signal_new_task(s, seq, TASK_PLACE) : NULL;
	if (!task) {
		signal_refuse(self, s, seq, 429, NULL, "too many requests at once", 0);
		return;
	}
	slot->offers[task - s->st.tasks].size = bytes->size;
	memcpy(slot->offers[task - s->st.tasks].bytes, bytes->data, bytes->size);
	memcpy(task->subject, permit.subject, sizeof(task->subject));
	task->standby = name_standby_of(permit.standby, "standby=1", open->standby ? 9 : 0);
	task->unproved = unproved;
	task->play = open->play;
	memcpy(task->stream, open->stream, sizeof(task->stream));
	if (unproved)
		text_copy(place.permit, sizeof(place.permit), permit_of(open));
	text_copy(place.purpose, sizeof(place.purpose), open->play ? "play" : "publish");
	memcpy(place.stream_name, open->stream, sizeof(place.stream_name));
	memcpy(place.client, s->st.peer, sizeof(place.client));
	task->request = actor_request_mail(self, actor_office(self, OFFICE_PLACEMENT), PLACE_MS,
		MSG_place, &schema_place, &place);
}

void signal_create_session(
	struct actor *self, struct signal_channel *s, struct signal_task *task, uint32_t process)
{
	struct signal_slot *slot = signal_slot_of(self, s);
	struct addr office = actor_office_in(self, OFFICE_RTC, process);
	struct msg_session_create create = {.watcher = actor_addr(self)};
	struct signal_message message;
	const struct config *config = actor_config(self);
	size_t place = (size_t)(task - s->st.tasks);

	if (!slot || slot->offers[place].size > SIGNAL_FRAME_MAX ||
		signal_message_read(
			&message, slot->offers[place].bytes, slot->offers[place].size)) {
		signal_refuse(self, s, task->seq, 500, NULL, "the offer was lost", 0);
		signal_end_task(self, s, task);
		return;
	}
	if (addr_is_nobody(office)) {
		signal_refuse(self, s, task->seq, 503, NULL, "the worker chosen has just gone", 0);
		signal_end_task(self, s, task);
		return;
	}
	create.play = message.open.play;
	create.offer = message.open.offer;
	if (create.play && message.open.wait)
		create.wait_ms = config ? (uint32_t)config->webrtc_wait_max_ms : HTTP_WAIT_MAX_MS;
	memcpy(create.stream_name, message.open.stream, sizeof(create.stream_name));
	if (!create.play) /* a viewer's is a permit */
		text_copy(create.resume, sizeof(create.resume), message.open.resume);
	create.standby = task->standby;
	memcpy(create.subject, task->subject, sizeof(create.subject));
	memcpy(create.client, s->st.peer, sizeof(create.client));
	task->kind = TASK_CREATE;
	task->request = actor_request_mail(self, office,
		callback_wait_ms(config, create.play) + create.wait_ms + HTTP_REQUEST_MS,
		MSG_session_create, &schema_session_create, &create);
	signal_release_if_empty(self, s);
}

/* As HTTP's 307. With a permit always: who brings one is not sent on once more. */
static void send_elsewhere(struct actor *self, struct signal_channel *s, struct signal_task *task,
	const struct msg_placed *placed)
{
	struct msg_signal_refused refused = {
		.status = 307, .code = "elsewhere", .text = "another server takes this session"};

	http_permit_write(self,
		&(struct http_permit_order){.play = task->play,
			.stream = task->stream,
			.subject = task->subject,
			.standby = task->standby,
			.for_s = PERMIT_REDIRECT_S,
			.number = placed->permit},
		refused.permit);
	memcpy(refused.url, placed->url, sizeof(refused.url));
	signal_say_mail(self, s, task->seq, MSG_signal_refused, &schema_signal_refused, &refused);
	signal_end_task(self, s, task);
}

void signal_placed(struct actor *self, struct signal_channel *s, struct signal_task *task,
	const struct msg_placed *placed)
{
	task->permit = placed->permit;
	if (task->unproved) {
		memcpy(task->subject, placed->subject, sizeof(task->subject));
		if (placed->standby != NAME_STANDBY_UNSAID)
			task->standby = placed->standby;
	}
	if (task->unproved && !placed->permitted) {
		signal_refuse(self, s, task->seq, 401, NULL, "", 0);
		signal_end_task(self, s, task);
	} else if (placed->url[0]) {
		send_elsewhere(self, s, task, placed);
	} else {
		signal_create_session(self, s, task, placed->process);
	}
}

void signal_resume_of(struct actor *self, const struct signal_task *task,
	const struct msg_session_created *created, char resume[PERMIT_TEXT_MAX + 1])
{
	text_copy(resume, PERMIT_TEXT_MAX + 1, created->resume);
	if (task->play)
		http_permit_write(self,
			&(struct http_permit_order){.play = true,
				.stream = task->stream,
				.subject = task->subject,
				.standby = task->standby,
				.for_s = PERMIT_RESUME_S},
			resume);
}
