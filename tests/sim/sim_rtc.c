/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what WebRTC publishers and viewers share: a session asked for by HTTP, connectivity
 * checks, keys, sealed packets, and what goes wrong with all that. See sim_rtc.h.
 *
 * Every session of a client has an IP address of its own (10.edge.x.y), so that whatever the node
 * sends there belongs to that session and is sealed with its keys.
 */
#include "tests/sim/sim_rtc.h"

#include "tests/webrtc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	CHECK_MS = 50,	      /* until one is answered … */
	CONSENT_MS = 500,     /* … and then */
	GRACE_SLACK_MS = 500, /* the node has lost a publisher before that has heard it */
	GONE_MS = 3000,	      /* nothing is answered for so long: the node has forgotten us */
	SETTLED_MS = 300,     /* after its handshake: what made the session is kept */
	SILENT_MAX_MS = 7000, /* above webrtc.consent_ms: some sessions end by it */
	ANSWER_MS = 40000,    /* longest an HTTP request may be held */
	RETRY_MS = 200,
	OFFER_MAX = 4096,
	REQUEST_MAX = OFFER_MAX + 512,
	BODY_MAX = 16384,
	CODEC_GARBAGE_MAX = 200,
	WRAPS_MIN =
		250, /* packets to a viewer until numbers begin again: more than can be lost … */
	WRAPS_MAX = 400, /* … before the first has come, and not too many for a run */
};

const char sim_rtc_pwd[] = "clientclientclientclient";

/* ---- datagrams ----------------------------------------------------------------------------------- */

void sim_rtc_send(struct sim *sim, struct sim_edge *edge, const void *bytes, size_t size)
{
	sim_client_send_datagram(sim, edge->rtc->slot, &edge->rtc->address, bytes, size);
}

void sim_rtc_send_rtcp(struct sim *sim, struct sim_edge *edge, struct writer *w)
{
	struct sim_rtc *s = edge->rtc;
	size_t size = writer_used(w);

	MUST(!w->bad);
	MUST(seal_rtcp(&s->seal, s->rtcp_index++, w->begin, &size,
		     SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX) == ERR_OK);
	sim_rtc_send(sim, edge, w->begin, size);
}

struct sim_edge *sim_rtc_at(struct sim *sim, const struct net_addr *address)
{
	struct sim_edge *edge = &sim->edges->edge[address->ip[1] % SIM_EDGES_MAX];

	return edge->rtc && net_addr_same_ip(&edge->rtc->address, address) ? edge : NULL;
}

static void take_address(struct sim *sim, struct sim_edge *edge)
{
	uint32_t number = ++sim->edges->sessions;

	edge->rtc->address = (struct net_addr){
		.family = 4,
		.port = 20000,
		.ip = {10, (uint8_t)(edge - sim->edges->edge), (uint8_t)(number >> 8),
			(uint8_t)number},
	};
}

/* ---- HTTP ---------------------------------------------------------------------------------------- */

static void hang_up(struct sim *sim, struct sim_edge *edge)
{
	sim_client_close(sim, edge->client);
	edge->client = 0;
}

/* Any worker will do; false: this one is not there now. */
static bool ask(struct sim *sim, struct sim_edge *edge, enum sim_rtc_ask what, uint32_t worker,
	const char *request, size_t size)
{
	if (!sim_edge_connect(sim, edge, worker))
		return false;
	edge->rtc->asked = what;
	edge->rtc->asked_us = sim->now_us;
	sim_edge_write(sim, edge, request, size);
	return true;
}

static uint32_t any_worker_of(struct sim *sim, uint32_t node)
{
	uint32_t first = 0, count = 0;

	for (uint32_t i = 0; i < sim->media_count; i++) {
		if (sim->processes[sim->media[i]].node != node)
			continue;
		if (!count++)
			first = i;
	}
	return first + (uint32_t)rng_below(&sim->rng, count);
}

static void make_offer(struct sim *sim, struct sim_edge *edge, char offer[OFFER_MAX])
{
	struct sim_rtc *s = edge->rtc;
	struct webrtc_client_offer made = {
		.play = !edge->kind->publishes,
		.codec = s->h264 ? "H264" : "VP8",
		.setup = s->active ? "actpass" : "passive",
		.ufrag = s->ufrag,
		.pwd = sim_rtc_pwd,
		.fingerprint = &s->certificate.fingerprint,
		.rtx = s->rtx,
		.extensions = s->extensions,
	};

	if (edge->kind->publishes && rng_below(&sim->rng, 3)) {
		made.video_ssrc = s->publish.tracks[SIM_RTC_VIDEO].ssrc;
		made.audio_ssrc = s->publish.tracks[SIM_RTC_AUDIO].ssrc;
		made.rtx_ssrc = s->publish.rtx_ssrc;
	}
	MUST(webrtc_client_offer(offer, OFFER_MAX, &made));
}

static void draw_ssrcs(struct sim *sim, struct sim_rtc_publishing *p)
{
	uint32_t base = (uint32_t)rng_between(&sim->rng, 1, 1 << 28) * 4;

	p->tracks[SIM_RTC_VIDEO].ssrc = base;
	p->tracks[SIM_RTC_AUDIO].ssrc = base + 1;
	p->rtx_ssrc = base + 2;
}

static void begin(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = calloc(1, sizeof(*s));
	char offer[OFFER_MAX], request[REQUEST_MAX], name[32];

	MUST(s);
	edge->rtc = s;
	edge->retry_us = sim->now_us + RETRY_MS * SIM_MS;
	take_address(sim, edge);
	s->rtx = rng_below(&sim->rng, 3) != 0;
	s->extensions = rng_below(&sim->rng, 2);
	s->active = rng_below(&sim->rng, 4) != 0;
	s->h264 = sim_edge_is_h264(sim, edge->stream);
	snprintf(s->ufrag, sizeof(s->ufrag), "c%u", 1000 + sim->edges->sessions);
	MUST(certificate_create(&s->certificate, (int64_t)(rng_u64(&sim->rng) >> 1)) == ERR_OK);
	MUST(dtls_context_init(&s->context, &s->certificate) == ERR_OK);
	if (edge->kind->publishes)
		draw_ssrcs(sim, &s->publish);
	make_offer(sim, edge, offer);
	sim_edge_name(edge, name, sizeof(name));
	int size = snprintf(request, sizeof(request),
		"POST /%s/%s?%s%s HTTP/1.1\r\nHost: localhost\r\n"
		"Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
		edge->kind->publishes ? "whip" : "whep", name,
		edge->kind->publishes ? "" : "wait=1&", edge->sent_here ? "redirected=1" : "",
		strlen(offer), offer);

	MUST(size > 0 && (size_t)size < sizeof(request));
	if (!ask(sim, edge, SIM_RTC_ASK_CREATE, edge->worker, request, (size_t)size))
		sim_rtc_end(sim, edge);
}

void sim_rtc_end(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	if (!s)
		return;
	sim_note(sim, "rtc end", edge->stream, s->phase);
	hang_up(sim, edge);
	seal_fini(&s->seal);
	unseal_fini(&s->unseal);
	dtls_fini(&s->dtls);
	dtls_context_fini(&s->context);
	certificate_fini(&s->certificate);
	free(s);
	edge->rtc = NULL;
	edge->retry_us = sim->now_us + RETRY_MS * SIM_MS;
}

/* The worker whose candidate this is. */
static bool read_candidate(struct sim *sim, struct sim_rtc *s, const char *sdp)
{
	const char *at = strstr(sdp, "a=candidate:");
	unsigned port = 0;

	if (!at || sscanf(at, "a=candidate:%*s %*s %*s %*s %*s %u", &port) != 1)
		return false;
	s->slot = 1 + port - SIM_RTC_PORT;
	return port >= SIM_RTC_PORT && s->slot < sim->slots && sim->processes[s->slot].used &&
	       sim->processes[s->slot].role == PROCESS_MEDIA;
}

static bool read_answer(struct sim *sim, struct sim_rtc *s, const char *sdp)
{
	char text[FINGERPRINT_TEXT_MAX], setup[16];

	return webrtc_client_value(sdp, "a=ice-ufrag:", s->peer_ufrag, sizeof(s->peer_ufrag)) &&
	       webrtc_client_value(sdp, "a=ice-pwd:", s->peer_pwd, sizeof(s->peer_pwd)) &&
	       webrtc_client_value(sdp, "a=fingerprint:", text, sizeof(text)) &&
	       fingerprint_parse(&s->peer, text, strlen(text)) == ERR_OK &&
	       webrtc_client_value(sdp, "a=setup:", setup, sizeof(setup)) &&
	       !strcmp(setup, s->active ? "passive" : "active") && read_candidate(sim, s, sdp);
}

/* Of a URL; a path stays. */
static void keep_path(char *location)
{
	const char *host = strstr(location, "://");
	const char *path = host ? strchr(host + 3, '/') : NULL;

	if (path)
		memmove(location, path, strlen(path) + 1);
}

/* 307: on to the node that this one names, which must not send us on again. */
static void go_elsewhere(struct sim *sim, struct sim_edge *edge, const char *head)
{
	char location[256], name[32], path[64];
	unsigned node = sim->nodes;

	sim_edge_name(edge, name, sizeof(name));
	snprintf(path, sizeof(path), "/%s/%s?", edge->kind->publishes ? "whip" : "whep", name);
	SIM_CHECK(sim,
		webrtc_client_value(head, "Location: ", location, sizeof(location)) &&
			sscanf(location, SIM_NODE_URL "%u/", &node) == 1 && node < sim->nodes &&
			strstr(location, path) && strstr(location, "redirected=1") &&
			(edge->kind->publishes || strstr(location, "wait=1")),
		"%s is sent nowhere: %s", name, location);
	SIM_CHECK(sim,
		!edge->sent_here &&
			node != sim->processes[sim->media[edge->worker % sim->media_count]].node,
		"%s is sent on for ever", name);
	sim_rtc_end(sim, edge);
	if (sim->failed)
		return;
	sim->edges->sent_on++;
	edge->worker = any_worker_of(sim, node);
	edge->sent_here = true;
	edge->retry_us = sim->now_us;
}

static void take_created(
	struct sim *sim, struct sim_edge *edge, unsigned status, const char *head, const char *body)
{
	struct sim_rtc *s = edge->rtc;

	if (status == 307 && sim->wide) {
		go_elsewhere(sim, edge, head);
		return;
	}
	edge->sent_here = false;
	if (status != 201) {
		SIM_CHECK(sim,
			status == 409 || status >= 500 || status == 400 ||
				(sim->callbacks && (status == 401 || status == 403)),
			"an offer for live/e%u is answered %u", edge->stream, status);
		sim->edges->refused++;
		sim_rtc_end(sim, edge);
		return;
	}
	SIM_CHECK(sim,
		webrtc_client_value(head, "Location: ", s->location, sizeof(s->location)) &&
			read_answer(sim, s, body),
		"an answer for live/e%u cannot be read", edge->stream);
	keep_path(s->location);
	s->phase = SIM_RTC_CONNECTING;
	s->answered_us = s->check_us = sim->now_us;
	if (!edge->kind->publishes && rng_below(&sim->rng, 2))
		sim_edges_age(sim, edge, (uint32_t)rng_between(&sim->rng, WRAPS_MIN, WRAPS_MAX));
}

static void take_patched(struct sim *sim, struct sim_edge *edge, unsigned status, const char *body)
{
	struct sim_rtc *s = edge->rtc;

	SIM_CHECK(sim, status == 200 || status == 404 || status >= 500,
		"an ICE restart of live/e%u is answered %u", edge->stream, status);
	if (status != 200)
		return;
	SIM_CHECK(sim,
		webrtc_client_value(body, "a=ice-ufrag:", s->peer_ufrag, sizeof(s->peer_ufrag)) &&
			webrtc_client_value(body, "a=ice-pwd:", s->peer_pwd, sizeof(s->peer_pwd)),
		"an ICE restart of live/e%u brings no credentials", edge->stream);
	snprintf(s->ufrag, sizeof(s->ufrag), "r%u", 1000 + s->restarts);
	s->check_us = sim->now_us;
}

/* edge->in holds what has come. */
static void take_response(struct sim *sim, struct sim_edge *edge)
{
	char head[SIM_HTTP_HEAD_MAX + 1], body[BODY_MAX + 1];
	size_t head_size = sim_http_head(edge);
	size_t size = head_size ? sim_http_length(edge, head_size) : 0;
	enum sim_rtc_ask asked = edge->rtc->asked;

	if (!head_size || edge->in_size < head_size + size)
		return;
	MUST(head_size <= SIM_HTTP_HEAD_MAX && size <= BODY_MAX);
	unsigned status = sim_http_status(sim, edge);

	memcpy(head, edge->in, head_size);
	memcpy(body, edge->in + head_size, size);
	head[head_size] = body[size] = 0;
	edge->rtc->asked = SIM_RTC_ASK_NONE;
	sim->edges->answers++;
	sim_note(sim, "rtc answer", edge->stream, status);
	if (sim->options.trace && status >= 400)
		fprintf(stderr, "            %.*s\n", (int)strcspn(body, "\n"), body);
	hang_up(sim, edge);
	if (asked == SIM_RTC_ASK_CREATE)
		take_created(sim, edge, status, head, body);
	else if (asked == SIM_RTC_ASK_PATCH)
		take_patched(sim, edge, status, body);
	else
		sim_rtc_end(sim, edge);
}

static void run_http(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	if (!edge->client)
		return;
	sim_edge_read(sim, edge);
	take_response(sim, edge);
	if (!edge->client || edge->rtc != s)
		return;
	SIM_CHECK(sim, sim->now_us - s->asked_us < ANSWER_MS * SIM_MS,
		"a request for live/e%u was never answered", edge->stream);
	if (sim_client_is_open(sim, edge->client))
		return;
	hang_up(sim, edge);
	if (s->asked != SIM_RTC_ASK_PATCH)
		sim_rtc_end(sim, edge);
	else
		s->asked = SIM_RTC_ASK_NONE;
}

static bool ask_session(
	struct sim *sim, struct sim_edge *edge, enum sim_rtc_ask what, const char *body)
{
	char request[REQUEST_MAX];
	int size = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: localhost\r\nIf-Match: *\r\n"
		"Content-Type: application/trickle-ice-sdpfrag\r\nContent-Length: %zu\r\n\r\n%s",
		what == SIM_RTC_ASK_PATCH ? "PATCH" : "DELETE", edge->rtc->location, strlen(body),
		body);

	MUST(size > 0 && (size_t)size < sizeof(request));
	return !edge->client &&
	       ask(sim, edge, what, any_worker_of(sim, sim->processes[edge->rtc->slot].node),
		       request, (size_t)size);
}

/* ---- connectivity and keys ----------------------------------------------------------------------- */

static void send_check(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	uint8_t transaction[STUN_TRANSACTION_SIZE], bytes[256];
	struct writer w = writer_of(bytes, sizeof(bytes));

	rng_fill(&sim->rng, transaction, sizeof(transaction));
	MUST(webrtc_client_check(&w, s->peer_ufrag, s->peer_pwd, s->ufrag, transaction) == ERR_OK);
	sim_rtc_send(sim, edge, bytes, writer_used(&w));
	s->check_us = sim->now_us + (s->phase == SIM_RTC_UP ? CONSENT_MS : CHECK_MS) * SIM_MS;
}

static void drain_dtls(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	uint8_t bytes[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(&s->dtls, bytes, sizeof(bytes))))
		sim_rtc_send(sim, edge, bytes, size);
	SIM_CHECK(sim, s->dtls.phase != DTLS_FAILED, "the handshake of live/e%u failed: %s",
		edge->stream, err_name((enum err)s->dtls.failure));
	if (s->dtls.phase == DTLS_CLOSED) {
		sim_rtc_end(sim, edge);
	} else if (s->dtls.phase == DTLS_ESTABLISHED && s->phase == SIM_RTC_CONNECTING) {
		MUST(seal_init(&s->seal, &s->dtls.send) == ERR_OK);
		MUST(unseal_init(&s->unseal, &s->dtls.receive, &s->window) == ERR_OK);
		s->phase = SIM_RTC_UP;
		s->up_us = s->report_us = sim->now_us;
		sim_note(sim, "rtc up", edge->stream, sim->edges->sessions);
		if (edge->kind->publishes)
			sim_rtc_publish_begin(sim, edge);
		else
			sim_rtc_play_begin(sim, edge);
	}
}

static void start_dtls(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	if (s->shaking)
		return;
	MUST(dtls_init(&s->dtls, &s->context, s->active ? DTLS_CLIENT : DTLS_SERVER, &s->peer,
		     sim->now_us) == ERR_OK);
	s->shaking = true;
	drain_dtls(sim, edge);
}

static void take_stun(struct sim *sim, struct sim_edge *edge, const uint8_t *bytes, size_t size)
{
	struct sim_rtc *s = edge->rtc;
	struct stun_message message;

	SIM_CHECK(sim, stun_parse(&message, bytes, size) == ERR_OK, "no STUN message");
	/* (an answer to a check of before a restart has the old password) */
	if (message.class != STUN_SUCCESS ||
		!stun_check_integrity(&message, bytes, size, s->peer_pwd))
		return;
	SIM_CHECK(sim,
		message.has & STUN_HAS_MAPPED && net_addr_same_ip(&message.mapped, &s->address),
		"a check of live/e%u is answered with another address", edge->stream);
	s->answered_us = sim->now_us;
	s->abandoned = false;
	s->settled = s->phase == SIM_RTC_UP && sim->now_us - s->up_us > SETTLED_MS * SIM_MS;
	if (s->active)
		start_dtls(sim, edge);
}

static void take_rtcp(struct sim *sim, struct sim_edge *edge, uint8_t *bytes, size_t size)
{
	struct sim_rtc *s = edge->rtc;
	struct rtcp_iter iter;
	struct rtcp_packet packet;
	enum err err = unseal_rtcp(&s->unseal, &s->window, bytes, &size);

	SIM_CHECK(sim, !err || err == ERR_REPLAY, "a report for live/e%u cannot be opened: %s",
		edge->stream, err_name(err));
	if (err)
		return;
	SIM_CHECK(sim, !rtcp_iter_init(&iter, bytes, size), "a report that cannot be read");
	while (!sim->failed && rtcp_iter_next(&iter, &packet))
		if (edge->kind->publishes)
			sim_rtc_publish_take_rtcp(sim, edge, &packet);
}

static void take_rtp(struct sim *sim, struct sim_edge *edge, uint8_t *bytes, size_t size)
{
	struct sim_rtc *s = edge->rtc;
	enum err err = unseal_rtp(&s->unseal, &s->window, bytes, &size);

	SIM_CHECK(sim, !err || err == ERR_REPLAY, "a packet for live/e%u cannot be opened: %s",
		edge->stream, err_name(err));
	SIM_CHECK(sim, !edge->kind->publishes, "media is sent to a publisher");
	if (!err && !edge->kind->publishes)
		sim_rtc_play_take_rtp(sim, edge, bytes, size);
}

void sim_rtc_take(struct sim *sim, const struct net_addr *to, const void *bytes_, size_t size)
{
	struct sim_edge *edge = sim_rtc_at(sim, to);
	struct sim_rtc *s = edge ? edge->rtc : NULL;
	uint8_t bytes[NET_DATAGRAM_MAX];

	/* what goes to an address of before is not heard any more */
	if (!s || !net_addr_equal(&s->address, to) || s->silent_until_us || size > sizeof(bytes))
		return;
	memcpy(bytes, bytes_, size);
	switch (rtp_classify_packet(bytes, size)) {
	case RTP_CLASS_STUN: take_stun(sim, edge, bytes, size); break;
	case RTP_CLASS_DTLS:
		if (!s->active)
			start_dtls(sim, edge);
		if (!s->shaking)
			break;
		dtls_input(&s->dtls, bytes, size, sim->now_us);
		drain_dtls(sim, edge);
		break;
	case RTP_CLASS_RTP:
		if (s->phase == SIM_RTC_UP)
			take_rtp(sim, edge, bytes, size);
		break;
	case RTP_CLASS_RTCP:
		if (s->phase == SIM_RTC_UP)
			take_rtcp(sim, edge, bytes, size);
		break;
	case RTP_CLASS_UNKNOWN: sim_fail(sim, "the node sends what is no packet"); break;
	}
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void say_bye(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	uint8_t bytes[SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SIM_RTC_RTCP_SIZE);
	uint32_t ssrcs[SIM_RTC_TRACKS] = {1, 2};

	for (int i = 0; edge->kind->publishes && i < SIM_RTC_TRACKS; i++)
		ssrcs[i] = s->publish.tracks[i].ssrc;
	MUST(!rtcp_write_rr(&w, ssrcs[0], NULL, 0) && !rtcp_write_bye(&w, ssrcs, SIM_RTC_TRACKS));
	sim_rtc_send_rtcp(sim, edge, &w);
	dtls_close(&s->dtls);
	drain_dtls(sim, edge);
}

/* By DELETE, by its goodbye, or without a word. */
static void leave(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	if (s->phase == SIM_RTC_LEAVING)
		return;
	s->excused = true;
	switch (rng_below(&sim->rng, 3)) {
	case 0:
		if (s->location[0] && ask_session(sim, edge, SIM_RTC_ASK_DELETE, "")) {
			s->phase = SIM_RTC_LEAVING;
			return;
		}
		break;
	case 1:
		if (s->phase == SIM_RTC_UP) {
			say_bye(sim, edge);
			return; /* what is closed has ended */
		}
		break;
	default: break;
	}
	sim_rtc_end(sim, edge);
}

/* A stream ends that nobody has published for so long, and its viewers' sessions with it: this one
 * may have ended since its last answer. */
static void look_for_abandoned(const struct sim *sim, const struct sim_edge *edge)
{
	int64_t grace_us = (sim->config.stream_publisher_grace_ms - GRACE_SLACK_MS) * SIM_MS;

	edge->rtc->abandoned |= sim->now_us - sim->edges->published_us[edge->stream] > grace_us;
}

/* With a port that is poison its sessions end: this one's last answer came soon before. */
static void excuse_poisoned(const struct sim *sim, struct sim_rtc *s)
{
	s->excused |= sim->poisoned_us && s->answered_us <= sim->poisoned_us &&
		      sim->poisoned_us - s->answered_us < GONE_MS * SIM_MS;
}

static void live(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	if (s->phase == SIM_RTC_ASKING || s->phase == SIM_RTC_LEAVING)
		return;
	if (s->silent_until_us) {
		if (sim->now_us < s->silent_until_us)
			return;
		s->silent_until_us = 0;
	}
	if (!edge->kind->publishes && s->phase == SIM_RTC_UP)
		look_for_abandoned(sim, edge);
	if (sim->now_us - s->answered_us > GONE_MS * SIM_MS) {
		excuse_poisoned(sim, s);
		SIM_CHECK(sim, !sim->scenario->keeps || !s->settled || s->excused || s->abandoned,
			"a session of live/e%u is lost", edge->stream);
		sim_rtc_end(sim, edge);
		return;
	}
	if (sim->now_us >= s->check_us)
		send_check(sim, edge);
	if (s->shaking && sim->now_us >= dtls_deadline(&s->dtls)) {
		dtls_on_timer(&s->dtls, sim->now_us);
		drain_dtls(sim, edge);
	}
	if (edge->rtc != s || s->phase != SIM_RTC_UP)
		return;
	if (edge->kind->publishes)
		sim_rtc_publish_tick(sim, edge);
	else
		sim_rtc_play_tick(sim, edge);
}

static void rtc_run(struct sim *sim, struct sim_edge *edge)
{
	if (!edge->rtc) {
		if (edge->wanted && sim->now_us >= edge->retry_us)
			begin(sim, edge);
		return;
	}
	run_http(sim, edge);
	if (edge->rtc && !edge->wanted)
		leave(sim, edge);
	if (edge->rtc)
		live(sim, edge);
}

/* ---- misfortunes --------------------------------------------------------------------------------- */

static void restart_ice(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;
	char fragment[160];

	if (s->phase != SIM_RTC_UP || s->asked)
		return;
	snprintf(fragment, sizeof(fragment), "a=ice-ufrag:r%u\r\na=ice-pwd:%s\r\n",
		1000 + ++s->restarts, sim_rtc_pwd);
	ask_session(sim, edge, SIM_RTC_ASK_PATCH, fragment);
}

static void send_garbage(struct sim *sim, struct sim_edge *edge)
{
	static const uint8_t firsts[] = {0, 1, 21, 22, 64, 128, 144, 255};
	uint8_t bytes[CODEC_GARBAGE_MAX];

	rng_fill(&sim->rng, bytes, sizeof(bytes));
	bytes[0] = firsts[rng_below(&sim->rng, sizeof(firsts))];
	if (bytes[0] >= 128 && edge->kind->publishes) /* as if it were ours */
		memcpy(bytes + 8, &edge->rtc->publish.tracks[SIM_RTC_VIDEO].ssrc, 4);
	sim_rtc_send(sim, edge, bytes, (size_t)rng_between(&sim->rng, 1, sizeof(bytes)));
}

static void rtc_act(struct sim *sim, struct sim_edge *edge)
{
	struct sim_rtc *s = edge->rtc;

	switch (rng_below(&sim->rng, 7)) {
	case 0: leave(sim, edge); break;
	case 1: sim_rtc_end(sim, edge); break; /* in the middle of whatever it was doing */
	case 2:
	case 3: /* another way out: the address changes, a check from there follows sometime */
		s->address.port++;
		s->check_us = sim->now_us + rng_between(&sim->rng, 0, CONSENT_MS) * SIM_MS;
		break;
	case 4: restart_ice(sim, edge); break;
	case 5:
		s->excused = true;
		s->silent_until_us =
			sim->now_us + rng_between(&sim->rng, 1, SILENT_MAX_MS) * SIM_MS;
		break;
	default: send_garbage(sim, edge);
	}
}

const struct sim_edge_kind sim_whip_kind = {
	.name = "whip",
	.listener = NET_HTTP,
	.publishes = true,
	.run = rtc_run,
	.act = rtc_act,
};

const struct sim_edge_kind sim_whep_kind = {
	.name = "whep",
	.listener = NET_HTTP,
	.watches = true,
	.run = rtc_run,
	.act = rtc_act,
};
