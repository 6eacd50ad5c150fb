/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/client.h"

#include <jansson.h>
#include <stdio.h>

void client_report(struct actor *self, struct client_session *s)
{
	actor_send(self, actor_office(self, OFFICE_CLIENTS), client_report,
		{.number = s->st.number, .figures = s->st.figures});
}

static void begin_attempt(struct actor *self, struct client_session *s)
{
	enum err err;

	s->st.figures.phase = CLIENT_CONNECTING;
	s->st.figures.attempts++;
	s->st.figures.status = 0;
	s->attempt_us = actor_now_us(self);
	s->media_us = 0;
	s->has_transit = false;
	actor_timer_in_ms(self, CLIENT_TIMER_CONNECT, CLIENT_CONNECT_MS);
	err = s->attempt(self, s);
	if (err)
		client_fail(self, s, err, 0, "");
}

enum err client_begin(struct actor *self, struct client_session *s, const struct client_args *args,
	enum err (*attempt)(struct actor *self, struct client_session *s))
{
	char name[ACTOR_NAME_MAX + 1];
	enum err err = load_url(args->shared->options, args->number, s->st.url, sizeof(s->st.url));

	s->shared = args->shared;
	s->attempt = attempt;
	s->st.number = args->number;
	snprintf(name, sizeof(name), "%s/%u", load_kind_name(s->shared->options->kind),
		args->number);
	actor_set_name(self, name);
	actor_timer_in_ms(self, CLIENT_TIMER_REPORT, CLIENT_REPORT_MS);
	if (!err)
		begin_attempt(self, s);
	return err;
}

bool client_on_timer(struct actor *self, struct client_session *s, unsigned timer)
{
	switch (timer) {
	case CLIENT_TIMER_REPORT:
		client_report(self, s);
		actor_timer_in_ms(self, CLIENT_TIMER_REPORT, CLIENT_REPORT_MS);
		return true;
	case CLIENT_TIMER_RETRY:
		if (!s->ending)
			begin_attempt(self, s);
		return true;
	default: return false;
	}
}

void client_agreed(struct actor *self, struct client_session *s)
{
	s->st.figures.answered = true;
	if (!s->st.figures.setup_us)
		s->st.figures.setup_us = (uint64_t)(actor_now_us(self) - s->attempt_us) + 1;
}

void client_up(struct actor *self, struct client_session *s)
{
	s->st.figures.phase = CLIENT_UP;
	if (!s->st.figures.connected_us)
		s->st.figures.connected_us = (uint64_t)(actor_now_us(self) - s->attempt_us) + 1;
	s->backoff_ms = 0;
	actor_timer_off(self, CLIENT_TIMER_CONNECT);
	client_report(self, s);
}

void client_fail(struct actor *self, struct client_session *s, enum err err, uint16_t status,
	const char *text)
{
	struct client_figures *f = &s->st.figures;

	actor_timer_off(self, CLIENT_TIMER_CONNECT);
	if (s->ending) {
		client_end(self, s);
		return;
	}
	f->err = (uint8_t)(err ? err : ERR_CLOSED);
	f->status = status;
	f->answered |= status != 0;
	text_copy(f->text, sizeof(f->text), text);
	f->reconnects += f->phase == CLIENT_UP;
	f->phase = f->connected_us ? CLIENT_WAITING : CLIENT_FAILED;
	client_report(self, s);
	if (f->phase == CLIENT_FAILED) {
		actor_stop(self, ERR_OK);
		return;
	}
	s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : CLIENT_BACKOFF_MIN_MS;
	if (s->backoff_ms > CLIENT_BACKOFF_MAX_MS)
		s->backoff_ms = CLIENT_BACKOFF_MAX_MS;
	/* not all at the same moment: half of it is chance */
	actor_timer_in_ms(self, CLIENT_TIMER_RETRY,
		s->backoff_ms / 2 + actor_random_u64(self) % (s->backoff_ms / 2 + 1));
}

void client_end(struct actor *self, struct client_session *s)
{
	struct client_figures *f = &s->st.figures;

	/* one that was on its way back when the end came stays a lost one */
	if (f->phase != CLIENT_WAITING)
		f->phase = CLIENT_ENDED;
	client_report(self, s);
	actor_stop(self, ERR_OK);
}

void client_media(struct client_session *s, int64_t now_us, size_t bytes)
{
	struct client_figures *f = &s->st.figures;

	f->packets++;
	f->bytes += bytes;
	if (!f->first_packet_us)
		f->first_packet_us = (uint64_t)(now_us - s->attempt_us) + 1;
	if (s->media_us) {
		uint64_t pause_us = now_us > s->media_us ? (uint64_t)(now_us - s->media_us) : 0;

		f->gaps += pause_us > CLIENT_GAP_US;
		if (pause_us > f->gap_max_us)
			f->gap_max_us = pause_us;
	}
	s->media_us = now_us;
}

void client_keyframe(struct client_session *s, int64_t now_us)
{
	struct client_figures *f = &s->st.figures;

	f->keyframes++;
	if (!f->first_keyframe_us)
		f->first_keyframe_us = (uint64_t)(now_us - s->attempt_us) + 1;
}

void client_jitter(struct client_session *s, int64_t now_us, int64_t media_us)
{
	int64_t transit_us = now_us - media_us;
	int64_t change_us = transit_us - s->transit_us;
	int64_t jitter_us = s->st.figures.jitter_us;

	if (s->has_transit) {
		jitter_us += ((change_us < 0 ? -change_us : change_us) - jitter_us) / 16;
		s->st.figures.jitter_us = (uint32_t)jitter_us;
	}
	s->transit_us = transit_us;
	s->has_transit = true;
}

const char *client_authorization(const struct client_session *s, char line[CLIENT_TOKEN_LINE])
{
	const char *token = s->shared->options->token;

	if (!token)
		return NULL;
	snprintf(line, CLIENT_TOKEN_LINE, "Authorization: Bearer %s", token);
	return line;
}

void client_problem(const struct msg_http_response *response, char *text, size_t size)
{
	json_t *root =
		json_loadb(response->body.data, response->body.size, JSON_DISABLE_EOF_CHECK, NULL);
	const char *said = json_string_value(json_object_get(root, "detail"));

	if (!said)
		said = json_string_value(json_object_get(root, "title"));
	if (said)
		snprintf(text, size, "%s", said);
	else
		snprintf(text, size, "%.*s",
			(int)(response->body.size < size ? response->body.size : size - 1),
			response->body.size ? response->body.data : "");
	for (char *at = text; *at; at++) /* one line of plain characters */
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	json_decref(root);
}
