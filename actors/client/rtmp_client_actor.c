/* SPDX-License-Identifier: Apache-2.0
 *
 * rtmp client: a publisher or player of the load generator (client.h has its life). The engine is
 * actors/rtmp/rtmp_client.h; here are its connection, its buffers and the film.
 *
 * What the server does not take in time waits in `out`; when that is full whole frames are left out,
 * which counts as a gap, up to the next keyframe.
 */
#include "actors/client/client.h"
#include "actors/client/clip.h"
#include "actors/rtmp/flv.h"
#include "actors/rtmp/rtmp_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMER_FILM = CLIENT_TIMER_OWN, TIMER_SILENT };

enum {
	OUT_SIZE = 4 << 20, /* bytes: half a second of the largest rate, and a keyframe */
	READ_SIZE = 65536,
	SILENT_MS = 5000, /* a player that gets nothing for so long has lost its stream */
};

struct rtmp_session {
	struct client_session session; /* first */

	uint32_t socket;
	struct rtmp_client engine;
	uint8_t *arena; /* RTMP_CLIENT_ARENA_SIZE; owned, as is out */
	uint8_t *out;
	size_t out_size, out_sent;
	int64_t film_us;
	uint64_t pictures, sounds;
	bool skipping; /* a frame was left out: to the next keyframe */
};

static struct client_session *base(struct rtmp_session *s)
{
	return &s->session;
}

static void leave(struct actor *self, struct rtmp_session *s)
{
	if (s->socket)
		net_close(self, s->socket);
	s->socket = 0;
	s->out_size = s->out_sent = 0;
	actor_timer_off(self, TIMER_FILM);
	actor_timer_off(self, TIMER_SILENT);
}

static void fail(struct actor *self, struct rtmp_session *s, enum err err, const char *text)
{
	leave(self, s);
	client_fail(self, base(s), err, 0, text);
}

/* ---- out ----------------------------------------------------------------------------------- */

static struct writer out_of(struct rtmp_session *s)
{
	if (s->out_sent) {
		memmove(s->out, s->out + s->out_sent, s->out_size - s->out_sent);
		s->out_size -= s->out_sent;
		s->out_sent = 0;
	}
	return writer_of(s->out + s->out_size, OUT_SIZE - s->out_size);
}

static bool flush(struct actor *self, struct rtmp_session *s)
{
	while (s->out_sent < s->out_size) {
		struct iovec part = {s->out + s->out_sent, s->out_size - s->out_sent};
		long taken = net_write(self, s->socket, &part, 1);

		if (taken == -2) {
			fail(self, s, ERR_CLOSED, "the connection broke");
			return false;
		}
		if (taken < 0)
			break;
		s->out_sent += (size_t)taken;
	}
	net_want(self, s->socket, NET_READABLE | (s->out_sent < s->out_size ? NET_WRITABLE : 0u));
	return true;
}

/* ---- the film ------------------------------------------------------------------------------ */

static bool put(struct rtmp_session *s, uint8_t type, uint32_t time_ms, const uint8_t *head,
	size_t head_size, const void *data, size_t size)
{
	struct writer w = out_of(s);

	if (rtmp_client_put(&s->engine, &w, type, time_ms, head, head_size, data, size))
		return false;
	s->out_size += writer_used(&w);
	return true;
}

static void put_video(struct rtmp_session *s, enum flv_packet packet, bool keyframe,
	uint32_t time_ms, const uint8_t *data, size_t size, int64_t now_us)
{
	uint8_t head[FLV_BODY_HEADER_MAX];
	struct flv_video video = {.codec = MEDIA_H264, .packet = packet, .keyframe = keyframe};

	s->skipping =
		(s->skipping && !keyframe) ||
		!put(s, CHUNK_VIDEO, time_ms, head, flv_video_header(&video, head), data, size);
	if (s->skipping || packet != FLV_FRAMES)
		return;
	client_media(base(s), now_us, size);
	if (keyframe)
		client_keyframe(base(s), now_us);
}

static void put_audio(struct rtmp_session *s, enum flv_packet packet, uint32_t time_ms,
	const uint8_t *data, size_t size)
{
	uint8_t head[FLV_BODY_HEADER_MAX];
	struct flv_audio audio = {.codec = MEDIA_AAC, .packet = packet};

	put(s, CHUNK_AUDIO, time_ms, head, flv_audio_header(&audio, head), data, size);
}

static void begin_film(struct actor *self, struct rtmp_session *s)
{
	const struct clip *clip = s->session.shared->clip;

	s->film_us = actor_now_us(self);
	s->pictures = s->sounds = 0;
	s->skipping = false;
	put_video(s, FLV_SEQUENCE_START, true, 0, clip->record, clip->record_size, 0);
	put_audio(s, FLV_SEQUENCE_START, 0, clip_aac_config, sizeof(clip_aac_config));
	actor_timer_at(self, TIMER_FILM, s->film_us);
}

static void show_film(struct actor *self, struct rtmp_session *s)
{
	const struct clip *clip = s->session.shared->clip;
	int64_t now_us = actor_now_us(self);
	uint64_t passed_us = (uint64_t)(now_us - s->film_us);

	if (!s->socket)
		return;
	for (; s->pictures * 1000000 / CLIP_FPS <= passed_us; s->pictures++) {
		const struct clip_frame *frame = &clip->frames[s->pictures % CLIP_GOP];

		put_video(s, FLV_FRAMES, frame->keyframe, (uint32_t)(s->pictures * 1000 / CLIP_FPS),
			frame->bytes, frame->size, now_us);
	}
	for (; s->sounds * CLIP_AAC_SAMPLES * 1000000 / CLIP_AUDIO_RATE <= passed_us; s->sounds++)
		put_audio(s, FLV_FRAMES,
			(uint32_t)(s->sounds * CLIP_AAC_SAMPLES * 1000 / CLIP_AUDIO_RATE), clip_aac,
			clip_aac_size);
	int64_t picture_us = (int64_t)(s->pictures * 1000000 / CLIP_FPS);
	int64_t sound_us = (int64_t)(s->sounds * CLIP_AAC_SAMPLES * 1000000 / CLIP_AUDIO_RATE);

	if (flush(self, s))
		actor_timer_at(self, TIMER_FILM,
			s->film_us + (picture_us < sound_us ? picture_us : sound_us));
}

/* ---- in ------------------------------------------------------------------------------------ */

static void take_media(struct actor *self, struct rtmp_session *s, const struct chunk_message *m)
{
	int64_t now_us = actor_now_us(self);
	struct flv_video video;

	if (s->engine.publish || m->type == CHUNK_DATA_AMF0)
		return;
	client_media(base(s), now_us, m->size);
	actor_timer_in_ms(self, TIMER_SILENT, SILENT_MS);
	if (m->type != CHUNK_VIDEO || flv_video_parse(m->payload, m->size, &video) ||
		video.packet != FLV_FRAMES)
		return;
	client_jitter(base(s), now_us, (int64_t)m->time_ms * 1000);
	if (video.keyframe)
		client_keyframe(base(s), now_us);
}

static void look_at_phase(struct actor *self, struct rtmp_session *s)
{
	if (s->engine.phase > RTMP_CLIENT_CONNECTING)
		s->session.st.figures.answered = true;
	if (s->engine.phase != RTMP_CLIENT_RUNNING ||
		s->session.st.figures.phase != CLIENT_CONNECTING)
		return;
	client_agreed(self, base(s));
	client_up(self, base(s));
	if (s->engine.publish)
		begin_film(self, s);
	else
		actor_timer_in_ms(self, TIMER_SILENT, SILENT_MS);
}

static enum err take_bytes(
	struct actor *self, struct rtmp_session *s, const void *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct chunk_message message;
	enum err err;

	do {
		struct writer w = out_of(s);

		err = rtmp_client_input(&s->engine, s->arena, &in, &w, &message);
		if (!w.bad)
			s->out_size += writer_used(&w);
		if (!err)
			take_media(self, s, &message);
	} while (!err);
	look_at_phase(self, s);
	return err == ERR_AGAIN ? ERR_OK : err;
}

static const char *why_it_ended(struct actor *self, const struct rtmp_session *s, long result)
{
	const char *reason = net_broken_reason(self, s->socket);

	return result == 0 ? "the server has closed the connection"
	       : *reason   ? reason
			   : "cannot connect, or the connection broke";
}

static void read_all(struct actor *self, struct rtmp_session *s)
{
	uint8_t bytes[READ_SIZE];
	char why[RTMP_CLIENT_CODE_MAX + RTMP_CLIENT_TEXT_MAX + 4];
	long size;

	while (s->socket && (size = net_read(self, s->socket, bytes, sizeof(bytes))) > 0) {
		enum err err = take_bytes(self, s, bytes, (size_t)size);

		if (err) {
			snprintf(why, sizeof(why), "%s%s%s", s->engine.code,
				s->engine.text[0] ? ": " : "", s->engine.text);
			s->session.st.figures.answered |= err == ERR_FORBIDDEN;
			fail(self, s, err, why);
			return;
		}
	}
	if (s->socket && size != -1)
		fail(self, s, s->session.st.figures.phase == CLIENT_UP ? ERR_CLOSED : ERR_DEAD,
			why_it_ended(self, s, size));
}

static void rtmp_session_tcp(struct actor *self, void *data, uint32_t socket, unsigned events)
{
	struct rtmp_session *s = data;

	if (socket != s->socket)
		return;
	if (events & (NET_READABLE | NET_CLOSED))
		read_all(self, s);
	if (s->socket)
		flush(self, s);
}

/* ---- life ---------------------------------------------------------------------------------- */

static enum err attempt(struct actor *self, struct client_session *session)
{
	struct rtmp_session *s = (struct rtmp_session *)session;
	const struct load_options *options = session->shared->options;
	const struct net_tls tls = {
		.host = session->shared->host,
		.ca_file = options->ca_file,
		.insecure = options->insecure,
	};
	struct writer w = writer_of(s->out, OUT_SIZE);
	enum err err =
		rtmp_client_begin(&s->engine, session->st.url, options->token, !options->play, &w);

	if (err)
		return err;
	s->out_size = writer_used(&w); /* leaves when the connection stands */
	s->out_sent = 0;
	s->socket =
		net_connect(self, &session->shared->server, load_is_rtmps(options) ? &tls : NULL);
	return s->socket ? ERR_OK : ERR_DEAD;
}

ON(rtmp_session, drain)
{
	struct writer w;

	s->session.ending = true;
	if (s->socket && s->engine.phase == RTMP_CLIENT_RUNNING) {
		w = out_of(s);
		rtmp_client_end(&s->engine, &w);
		if (!w.bad)
			s->out_size += writer_used(&w);
		if (!flush(self, s))
			return ERR_OK;
	}
	leave(self, s);
	client_end(self, base(s));
	return ERR_OK;
}

static enum err rtmp_session_init(struct actor *self, void *data, const void *args)
{
	struct rtmp_session *s = data;

	s->arena = malloc(RTMP_CLIENT_ARENA_SIZE);
	s->out = malloc(OUT_SIZE);
	if (s->arena && s->out)
		return client_begin(self, base(s), args, attempt);
	free(s->arena);
	free(s->out);
	return ERR_NO_MEMORY;
}

static void rtmp_session_stop(struct actor *self, void *data, enum err reason)
{
	struct rtmp_session *s = data;

	(void)reason;
	leave(self, s);
	free(s->arena);
	free(s->out);
}

static void rtmp_session_timer(struct actor *self, void *data, unsigned timer)
{
	struct rtmp_session *s = data;

	if (client_on_timer(self, base(s), timer))
		return;
	if (timer == CLIENT_TIMER_CONNECT)
		fail(self, s, ERR_TIMEOUT, "not connected in time");
	else if (timer == TIMER_SILENT)
		fail(self, s, ERR_TIMEOUT, "no media any more");
	else if (timer == TIMER_FILM)
		show_film(self, s);
}

static const struct handler rtmp_session_handlers[] = {
	HANDLER(rtmp_session, drain, 0),
};

const struct actor_type rtmp_client_actor = {
	.name = "rtmp_client",
	.size = sizeof(struct rtmp_session),
	.state = &schema_client_state,
	HANDLER_TABLE(rtmp_session_handlers),
	.init = rtmp_session_init,
	.stop = rtmp_session_stop,
	.timer = rtmp_session_timer,
	.tcp = rtmp_session_tcp,
};
