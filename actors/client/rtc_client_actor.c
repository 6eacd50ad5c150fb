/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc client: a WHEP viewer or WHIP publisher of the load generator (client.h has its life). The
 * engine is actors/webrtc/rtc_client.h; here are its socket, its HTTP requests and the film.
 *
 *   POST offer --201--> ICE, DTLS --> media … --DELETE--> end
 */
#include "actors/client/client.h"
#include "actors/client/clip.h"
#include "actors/webrtc/rtc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum rtc_client_timer { TIMER_ENGINE = CLIENT_TIMER_OWN, TIMER_FILM, TIMER_END };

enum {
	VIDEO_CLOCK = 90000,
	SILENT_US = 5000000, /* a viewer that gets nothing for so long has lost its session */
	/* likewise, from a server that does not even answer checks (sent every 5 s) */
	DEAF_US = 8000000,
};

struct rtc_session {
	struct client_session session; /* first */

	uint32_t socket;
	uint64_t request;		   /* the POST, or at the end the DELETE; 0 = none */
	char resource[CLIENT_URL_MAX + 1]; /* "" = none */
	struct rtc_client engine;
	int64_t heard_us; /* anything from the server */

	/* viewer: of connections before this one */
	uint64_t lost_before, expected_before;
	/* publisher */
	int64_t film_us; /* when it began */
	uint64_t pictures, sounds;
	uint32_t picture; /* of the GOP, next */
};

static struct client_session *base(struct rtc_session *s)
{
	return &s->session;
}

static struct rtc_session *session_of(struct actor *self)
{
	return actor_data(self);
}

/* ---- what the engine wants ----------------------------------------------------------------- */

static void engine_send(
	void *context, const struct net_addr *to, const struct iovec *packets, size_t count)
{
	struct actor *self = context;

	/* what the socket does not take is lost, as on any network */
	net_send(self, session_of(self)->socket, to, packets, count);
}

static void engine_media(void *context, const struct rtc_client_media *media, int64_t now_us)
{
	struct rtc_session *s = session_of(context);
	struct client_figures *f = &s->session.st.figures;

	client_media(base(s), now_us, media->packet->payload_size);
	f->recovered += media->recovered;
	if (media->keyframe)
		client_keyframe(base(s), now_us);
}

static void engine_random(void *context, void *bytes, size_t size)
{
	actor_random(context, bytes, size);
}

static const struct rtc_client_ops engine_ops = {
	.send = engine_send, .media = engine_media, .random = engine_random};

/* ---- figures ------------------------------------------------------------------------------- */

static void count_viewer(struct rtc_session *s)
{
	struct client_figures *f = &s->session.st.figures;

	f->lost = s->lost_before;
	f->expected = s->expected_before;
	for (int i = 0; i < RTC_CLIENT_TRACKS; i++) {
		const struct rtc_client_in *in = &s->engine.in[i];
		const struct rtp_receiver *r = &in->receiver;
		uint64_t due;

		if (!in->known || !r->stats.started)
			continue;
		due = r->stats.newest - r->stats.base + 1;
		f->expected += due;
		f->lost += due > r->stats.received + r->recovered
				   ? due - r->stats.received - r->recovered
				   : 0;
		if (i == rtc_client_media_index(&s->engine, MEDIA_VIDEO) || !f->jitter_us)
			f->jitter_us = (uint32_t)rtp_us_from_ticks(
				r->stats.jitter_q4 / 16, r->clock.clock_rate);
	}
}

static void count_publisher(struct rtc_session *s)
{
	struct client_figures *f = &s->session.st.figures;

	f->packets = f->bytes = f->lost = f->recovered = 0;
	for (int i = 0; i < s->engine.answer.plan.media_count; i++) {
		const struct rtp_sender *sender = &s->engine.out[i].sender;
		const struct rtp_sender_head *head = rtp_sender_head(sender);

		f->packets += head->packets;
		f->bytes += head->octets;
		f->recovered += sender->rtx_packets;
		f->lost += sender->lost > 0 ? (uint64_t)sender->lost : 0; /* as the server says */
		if (sender->kind == MEDIA_VIDEO)
			f->jitter_us =
				(uint32_t)rtp_us_from_ticks(sender->jitter, sender->clock_rate);
	}
	f->expected = f->packets;
}

static void count(struct rtc_session *s)
{
	if (!s->socket)
		return;
	if (s->engine.offered.publish)
		count_publisher(s);
	else
		count_viewer(s);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void ask_delete(struct actor *self, struct rtc_session *s, uint32_t timeout_ms)
{
	const struct load_options *options = s->session.shared->options;
	char line[CLIENT_TOKEN_LINE];

	s->request = net_http(self, &(struct net_http_request){
					    .method = "DELETE",
					    .url = s->resource,
					    .headers = {client_authorization(base(s), line)},
					    .timeout_ms = timeout_ms,
					    .insecure = options->insecure,
					    .ca_file = options->ca_file,
				    });
	s->resource[0] = '\0';
}

static void leave(struct actor *self, struct rtc_session *s)
{
	count(s);
	s->lost_before = s->session.st.figures.lost;
	s->expected_before = s->session.st.figures.expected;
	net_http_cancel(self, s->request);
	s->request = 0;
	if (s->socket) {
		rtc_client_fini(&s->engine);
		net_close(self, s->socket);
	}
	s->socket = 0;
	for (unsigned timer = TIMER_ENGINE; timer <= TIMER_END; timer++)
		actor_timer_off(self, timer);
}

/* The connection is over; the server may still believe in the session. */
static void fail(
	struct actor *self, struct rtc_session *s, enum err err, uint16_t status, const char *text)
{
	leave(self, s);
	if (s->resource[0] && !s->session.ending)
		ask_delete(self, s, CLIENT_END_MS);
	s->request = 0; /* nobody waits for that answer */
	client_fail(self, base(s), err, status, text);
}

static enum err attempt(struct actor *self, struct client_session *session)
{
	struct rtc_session *s = (struct rtc_session *)session;
	const struct client_shared *shared = session->shared;
	char offer[SDP_CLIENT_OFFER_MAX], line[CLIENT_TOKEN_LINE];
	struct writer w = writer_of(offer, sizeof(offer));
	struct rtc_client_options options = {
		.ops = &engine_ops,
		.context = self,
		.dtls = shared->dtls,
		.fingerprint = &shared->certificate->fingerprint,
		.candidate = shared->local,
		.publish = load_publishes(shared->options),
		.now_us = actor_now_us(self),
		.unix_us = actor_wall_us(self),
	};
	struct net_addr bound;
	enum err err;

	s->resource[0] = '\0';
	s->socket = net_open_udp(self, shared->local.family);
	if (!s->socket)
		return ERR_LIMIT;
	net_local_addr(self, s->socket, &bound);
	options.candidate.port = bound.port;
	if (shared->clip) {
		options.video_config = shared->clip->record;
		options.video_config_size = shared->clip->record_size;
	}
	err = rtc_client_init(&s->engine, &options);
	if (!err)
		err = rtc_client_offer(&s->engine, &w);
	if (err) {
		leave(self, s);
		return err;
	}
	s->request = net_http(self, &(struct net_http_request){
					    .method = "POST",
					    .url = session->st.url,
					    .headers = {"Content-Type: application/sdp",
							client_authorization(session, line)},
					    .body = offer,
					    .body_size = writer_used(&w),
					    .body_max = SDP_TEXT_MAX,
					    .timeout_ms = CLIENT_HTTP_MS,
					    .redirects = true,
					    .insecure = shared->options->insecure,
					    .ca_file = shared->options->ca_file,
	    });
	return ERR_OK;
}

static void begin_film(struct actor *self, struct rtc_session *s)
{
	s->film_us = actor_now_us(self);
	s->pictures = s->sounds = s->picture = 0;
	if (s->session.shared->clip)
		actor_timer_at(self, TIMER_FILM, s->film_us);
}

/* The engine is driven after everything that may have changed it. */
static void drive(struct actor *self, struct rtc_session *s)
{
	struct rtc_client *engine = &s->engine;
	int64_t now_us = actor_now_us(self);
	uint8_t phase;

	if (!s->socket)
		return;
	rtc_client_run(engine, now_us);
	phase = engine->phase;
	if (phase == RTC_CLIENT_UP && s->session.st.figures.phase == CLIENT_CONNECTING) {
		client_up(self, base(s));
		begin_film(self, s);
	}
	if (phase == RTC_CLIENT_FAILED) {
		fail(self, s, (enum err)engine->why, 0,
			engine->ice.phase == ICE_FAILED ? "no ICE check was answered"
							: "the DTLS handshake failed");
	} else if (phase == RTC_CLIENT_CLOSED) {
		fail(self, s, ERR_CLOSED, 0, "the server has ended the session");
	} else if (phase == RTC_CLIENT_UP && !engine->offered.publish && s->session.media_us &&
		   now_us - s->session.media_us > SILENT_US) {
		fail(self, s, ERR_TIMEOUT, 0, "no media any more");
	} else if (phase == RTC_CLIENT_UP && now_us - s->heard_us > DEAF_US) {
		fail(self, s, ERR_TIMEOUT, 0, "the server does not answer any more");
	} else {
		actor_timer_at(self, TIMER_ENGINE, rtc_client_deadline_us(engine));
	}
}

/* ---- signalling ---------------------------------------------------------------------------- */

/* Location against the URL that answered (RFC 3986 5, as much as servers use). */
static bool resolve(struct slice url, struct slice location, char *out, size_t size)
{
	const char *scheme = memmem(url.data, url.size, "://", 3);
	size_t head = 0;
	int length;

	if (!location.size || !scheme)
		return false;
	if (!memmem(location.data, location.size, "://", 3)) {
		const char *host = scheme + 3, *end = url.data + url.size;
		const char *path = memchr(host, '/', (size_t)(end - host));

		head = (size_t)((path ? path : end) - url.data);
		if (location.data[0] != '/') { /* beside the last segment */
			const char *query = memchr(host, '?', (size_t)(end - host));

			head = (size_t)((query ? query : end) - url.data);
			while (head && url.data[head - 1] != '/')
				head--;
		}
	}
	length = snprintf(
		out, size, "%.*s%.*s", (int)head, url.data, (int)location.size, location.data);
	return length > 0 && (size_t)length < size;
}

ON(rtc_session, http_response)
{
	char why[SDP_WHY_MAX];
	enum err err;

	if (mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	if (s->session.ending) {
		client_end(self, base(s));
		return ERR_OK;
	}
	if (m->status != 201) {
		client_problem(m, why, sizeof(why));
		fail(self, s, ERR_IO, m->status, why);
		return ERR_OK;
	}
	client_agreed(self, base(s));
	resolve(m->url, net_http_header(m, "Location"), s->resource, sizeof(s->resource));
	err = rtc_client_answer(&s->engine, m->body.data, m->body.size, actor_now_us(self), why);
	if (err)
		fail(self, s, err, 0, why);
	else
		drive(self, s);
	return ERR_OK;
}

ON(rtc_session, failed)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	if (s->session.ending)
		client_end(self, base(s));
	else
		fail(self, s, (enum err)m->err, 0, m->text);
	return ERR_OK;
}

ON(rtc_session, drain)
{
	bool has_resource = s->resource[0] != '\0';

	s->session.ending = true;
	if (s->socket)
		rtc_client_close(&s->engine, actor_now_us(self));
	leave(self, s);
	if (has_resource)
		ask_delete(self, s, CLIENT_END_MS);
	else
		client_end(self, base(s));
	return ERR_OK;
}

/* ---- sockets and time ---------------------------------------------------------------------- */

static void rtc_session_datagrams(
	struct actor *self, void *data, const struct datagram *datagrams, size_t count)
{
	struct rtc_session *s = data;
	uint8_t bytes[NET_DATAGRAM_MAX];

	s->heard_us = actor_now_us(self);
	for (size_t i = 0; i < count && s->socket; i++) {
		memcpy(bytes, datagrams[i].bytes, datagrams[i].size);
		rtc_client_input(&s->engine, &datagrams[i].from, bytes, datagrams[i].size,
			datagrams[i].arrival_us);
	}
	drive(self, s);
}

/* What is due of the film by the clock; a keyframe that is asked for begins the GOP anew. */
static void show_film(struct actor *self, struct rtc_session *s)
{
	const struct clip *clip = s->session.shared->clip;
	int64_t now_us = actor_now_us(self);
	uint64_t passed_us = (uint64_t)(now_us - s->film_us);

	if (!s->socket || s->engine.phase != RTC_CLIENT_UP)
		return;
	if (rtc_client_take_keyframe_wish(&s->engine))
		s->picture = 0;
	while (s->pictures * 1000000 / CLIP_FPS <= passed_us) {
		const struct clip_frame *frame = &clip->frames[s->picture];

		rtc_client_send(&s->engine, MEDIA_VIDEO, frame->bytes, frame->size,
			s->pictures * (VIDEO_CLOCK / CLIP_FPS), now_us);
		client_media(base(s), now_us, 0);
		if (frame->keyframe)
			client_keyframe(base(s), now_us);
		s->pictures++;
		s->picture = (s->picture + 1) % CLIP_GOP;
	}
	while (s->sounds * CLIP_OPUS_MS * 1000 <= passed_us) {
		rtc_client_send(&s->engine, MEDIA_AUDIO, clip_opus, sizeof(clip_opus),
			s->sounds * (CLIP_AUDIO_RATE / 1000 * CLIP_OPUS_MS), now_us);
		s->sounds++;
	}
	int64_t picture_us = (int64_t)(s->pictures * 1000000 / CLIP_FPS);
	int64_t sound_us = (int64_t)(s->sounds * CLIP_OPUS_MS * 1000);

	actor_timer_at(
		self, TIMER_FILM, s->film_us + (picture_us < sound_us ? picture_us : sound_us));
}

static void rtc_session_timer(struct actor *self, void *data, unsigned timer)
{
	struct rtc_session *s = data;

	if (timer == CLIENT_TIMER_REPORT)
		count(s);
	if (client_on_timer(self, base(s), timer))
		return;
	if (timer == CLIENT_TIMER_CONNECT)
		fail(self, s, ERR_TIMEOUT, 0, "not connected in time");
	else if (timer == TIMER_FILM)
		show_film(self, s);
	if (timer == TIMER_ENGINE || timer == TIMER_FILM)
		drive(self, s);
}

static enum err rtc_session_init(struct actor *self, void *data, const void *args)
{
	return client_begin(self, data, args, attempt);
}

static void rtc_session_stop(struct actor *self, void *data, enum err reason)
{
	(void)reason;
	leave(self, data);
}

static const struct handler rtc_session_handlers[] = {
	HANDLER(rtc_session, http_response, 0),
	HANDLER(rtc_session, failed, 0),
	HANDLER(rtc_session, drain, 0),
};

const struct actor_type rtc_client_actor = {
	.name = "rtc_client",
	.size = sizeof(struct rtc_session),
	.state = &schema_client_state,
	HANDLER_TABLE(rtc_session_handlers),
	.init = rtc_session_init,
	.stop = rtc_session_stop,
	.timer = rtc_session_timer,
	.datagrams = rtc_session_datagrams,
};
