/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's transport: connectivity checks, the DTLS handshake, SRTP and SRTCP in, SRTCP out.
 *
 *   STUN -> ICE (response, address, consent)      DTLS -> handshake -> keys -> up
 *   SRTP -> publish_take_rtp                      SRTCP -> publish_take_rtcp or play_take_rtcp
 *
 * A datagram counts as authentic when a check's integrity or an SRTP tag proved it.
 */
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum { DTLS_HANDSHAKE = 22 };

static void send_one(struct actor *self, struct session *s, const struct net_addr *to,
	const void *bytes, size_t size)
{
	struct iovec packet = {(void *)(uintptr_t)bytes, size};

	if (to && size && s->port && session_send(self, s, to, &packet, 1, NULL) == 0)
		s->st.dropped_socket_full++;
}

/* RFC 8445 12.1: before the nomination any pair that was checked may carry media. */
const struct net_addr *session_path(const struct session_slot *slot)
{
	const struct net_addr *path = ice_selected(&slot->ice);
	int64_t newest_us = 0;

	for (int i = 0; !slot->ice.connected && i < slot->ice.pair_count; i++) {
		const struct ice_pair *pair = &slot->ice.pairs[i];

		if (pair->checked_us >= newest_us) {
			newest_us = pair->checked_us;
			path = &pair->remote;
		}
	}
	return path;
}

void session_show_path(struct session *s, const struct session_slot *slot)
{
	const struct net_addr *remote = session_path(slot);
	char text[NET_ADDR_TEXT_SIZE];

	text_copy(
		s->st.remote, sizeof(s->st.remote), remote ? net_addr_text(remote, text) : "none");
	s->st.remote_tcp = remote && remote->transport == NET_TCP;
}

/* ---- DTLS ---------------------------------------------------------------------------------- */

static void start_dtls(struct actor *self, struct session *s, struct session_slot *slot)
{
	struct fingerprint expected = {0};
	const struct sdp_plan *plan = &slot->plan;

	_Static_assert((int)SDP_SHA256 == (int)CERTIFICATE_SHA_256 &&
			       (int)SDP_SHA384 == (int)CERTIFICATE_SHA_384 &&
			       (int)SDP_SHA512 == (int)CERTIFICATE_SHA_512,
		"one numbering of hashes");
	if (s->dtls_started || actor_phase(self) != SESSION_CONNECTING)
		return;
	expected.hash = plan->fingerprint_hash;
	memcpy(expected.bytes, plan->fingerprint, plan->fingerprint_size);
	if (dtls_init(&s->dtls, &s->port->dtls, plan->dtls_active ? DTLS_CLIENT : DTLS_SERVER,
		    &expected, actor_now_us(self))) {
		actor_stop(self, ERR_NO_MEMORY);
		return;
	}
	s->dtls_started = true;
}

enum err session_make_crypto(struct session *s, const struct session_slot *slot)
{
	enum err err = seal_init(&s->seal, &slot->send);

	if (!err)
		err = unseal_init(&s->unseal, &slot->receive, &slot->window);
	text_copy(s->st.srtp, sizeof(s->st.srtp), seal_profile_name(slot->send.profile));
	return err;
}

static void become_up(struct actor *self, struct session *s, struct session_slot *slot)
{
	slot->send = s->dtls.send;
	slot->receive = s->dtls.receive;
	slot->report_us = session_report_at_us(actor_now_us(self) + SESSION_FIRST_REPORT_US);
	if (session_make_crypto(s, slot)) {
		actor_stop(self, ERR_CRYPTO);
		return;
	}
	s->st.up_us = actor_wall_us(self);
	s->statistics_us = actor_now_us(self);
	actor_become(self, SESSION_UP);
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_CONNECT,
		actor_now_us(self) - s->answered_us);
	log_info(actor_log(self), "session_up", "stream", s->st.stream_name, "play", s->st.play,
		"remote", s->st.remote, "srtp", s->st.srtp, "after_ms",
		(actor_now_us(self) - s->answered_us) / 1000);
	if (s->st.play)
		actor_kick(actor_runtime(self), actor_addr(self));
	else
		rtp_keyframe_want(&slot->publish.keyframe);
}

void session_drain_dtls(
	struct actor *self, struct session *s, struct session_slot *slot, const struct net_addr *to)
{
	uint8_t datagram[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(&s->dtls, datagram, sizeof(datagram))))
		send_one(self, s, to, datagram, size);
	if (s->dtls.phase == DTLS_ESTABLISHED && actor_phase(self) == SESSION_CONNECTING) {
		become_up(self, s, slot);
	} else if (s->dtls.phase == DTLS_FAILED || s->dtls.phase == DTLS_CLOSED) {
		enum err reason =
			s->dtls.phase == DTLS_CLOSED ? ERR_CLOSED : (enum err)s->dtls.failure;

		log_info(actor_log(self), "dtls_ended", "stream", s->st.stream_name, "play",
			s->st.play, "reason", err_name(reason));
		actor_stop(self, reason);
	}
}

/* Our last flight was lost, and with our predecessor who could say it again: the client that asks for
 * it can only begin anew. (RFC 6347 4.1: a record's first byte is its type.) */
static bool is_half_way(
	const struct actor *self, const struct session_slot *slot, const struct datagram *d)
{
	return actor_phase(self) == SESSION_UP && d->bytes[0] == DTLS_HANDSHAKE &&
	       !slot->window.rtp_packets && !slot->window.rtcp_packets;
}

static void take_dtls(
	struct actor *self, struct session *s, struct session_slot *slot, const struct datagram *d)
{
	const struct net_addr *to = session_path(slot);

	start_dtls(self, s, slot);
	if (!s->dtls_started && is_half_way(self, slot, d)) {
		log_info(actor_log(self), "handshake_lost", "stream", s->st.stream_name, "play",
			s->st.play);
		actor_stop(self, ERR_CLOSED);
	}
	if (!s->dtls_started)
		return;
	dtls_input(&s->dtls, d->bytes, d->size, actor_now_us(self));
	/* before the nomination: back along the pair that was checked */
	session_drain_dtls(self, s, slot, to ? to : &d->from);
}

/* The peer has our last flight: nothing of the handshake is needed any more. */
static void finish_dtls(struct session *s)
{
	if (s->dtls_started) {
		dtls_fini(&s->dtls);
		s->dtls_started = false;
	}
}

/* ---- ICE ----------------------------------------------------------------------------------- */

static bool take_stun(
	struct actor *self, struct session *s, struct session_slot *slot, const struct datagram *d)
{
	uint8_t response[STUN_RESPONSE_MAX];
	struct writer w = writer_of(response, sizeof(response));
	unsigned events = 0;
	enum err err =
		ice_input(&slot->ice, &d->from, d->bytes, d->size, actor_now_us(self), &w, &events);

	send_one(self, s, &d->from, response, writer_used(&w));
	if (events & (ICE_NOMINATED | ICE_ADDRESS_CHANGED) || !s->st.remote[0])
		session_show_path(s, slot);
	if (events & ICE_ADDRESS_CHANGED) {
		log_info(actor_log(self), "session_moved", "stream", s->st.stream_name, "play",
			s->st.play, "remote", s->st.remote);
		actor_kick(actor_runtime(self), actor_addr(self));
	}
	if (events & (ICE_NOMINATED | ICE_ADDRESS_CHANGED) && session_is_away(self, s))
		session_open_away(self, s, slot);
	if (events & ICE_NOMINATED && slot->plan.dtls_active) {
		start_dtls(self, s, slot);
		if (s->dtls_started)
			session_drain_dtls(self, s, slot, session_path(slot));
	}
	return err == ERR_OK;
}

void session_lose_path(struct actor *self, void *data, void *context)
{
	struct session *s = data;
	struct session_slot *slot = session_slot(self, s);

	if (slot && actor_phase(self) != SESSION_STARTING) {
		ice_forget(&slot->ice, context);
		session_show_path(s, slot);
	}
}

/* ---- SRTP ---------------------------------------------------------------------------------- */

/* A publisher whose every track says goodbye has left; a single one may end by itself. */
static void take_bye(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct rtcp_packet *packet)
{
	uint32_t ssrc;
	int left = 0;

	for (unsigned i = 0; !s->st.play && rtcp_parse_bye(packet, i, &ssrc) == ERR_OK; i++)
		for (int j = 0; j < slot->plan.media_count; j++)
			left += slot->publish.tracks[j].known &&
				slot->publish.tracks[j].receiver.ssrc == ssrc;
	if (left && left >= slot->plan.media_count)
		actor_stop(self, ERR_CLOSED);
}

static bool take_rtcp(struct actor *self, struct session *s, struct session_slot *slot,
	uint8_t *bytes, size_t size, int64_t now_us)
{
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	if (unseal_rtcp(&s->unseal, &slot->window, bytes, &size))
		return false;
	if (rtcp_iter_init(&iter, bytes, size))
		return true;
	while (rtcp_iter_next(&iter, &packet)) {
		if (packet.type == RTCP_BYE)
			take_bye(self, s, slot, &packet);
		else if (s->st.play)
			play_take_rtcp(self, s, slot, &packet, now_us);
		else
			publish_take_rtcp(self, s, slot, &packet, now_us);
	}
	return true;
}

static bool take_srtp(struct actor *self, struct session *s, struct session_slot *slot,
	const struct datagram *d, bool is_rtcp)
{
	uint8_t bytes[NET_DATAGRAM_MAX];
	size_t size = d->size;

	if (actor_phase(self) != SESSION_UP || size > sizeof(bytes))
		return false;
	memcpy(bytes, d->bytes, size); /* decrypted in place; the batch is only lent */
	if (is_rtcp) {
		if (!take_rtcp(self, s, slot, bytes, size, d->arrival_us))
			return false;
	} else {
		if (unseal_rtp(&s->unseal, &slot->window, bytes, &size))
			return false;
		if (!s->st.play)
			publish_take_rtp(self, s, slot, bytes, size, d->arrival_us);
	}
	finish_dtls(s);
	return true;
}

void session_take_datagrams(struct actor *self, void *data, void *context)
{
	struct session *s = data;
	struct rtc_input *input = context;
	struct session_slot *slot = session_slot(self, s);

	if (!slot || actor_phase(self) == SESSION_STARTING)
		return;
	for (size_t i = 0; i < input->count; i++) {
		const struct datagram *d = input->datagrams[i];
		enum rtp_class class = rtp_classify_packet(d->bytes, d->size);
		bool authentic = false;

		if (class == RTP_CLASS_STUN)
			authentic = take_stun(self, s, slot, d);
		else if (class == RTP_CLASS_DTLS)
			take_dtls(self, s, slot, d);
		else if (class == RTP_CLASS_RTP || class == RTP_CLASS_RTCP)
			authentic = take_srtp(self, s, slot, d, class == RTP_CLASS_RTCP);
		input->authentic |= (uint64_t)authentic << i;
	}
	if (actor_phase(self) == SESSION_UP && !s->st.play)
		publish_feedback(self, s, slot);
	session_schedule(self, s, slot);
}

/* ---- RTCP out ------------------------------------------------------------------------------ */

void session_send_rtcp(
	struct actor *self, struct session *s, struct session_slot *slot, struct writer *w)
{
	size_t size = writer_used(w);
	uint32_t index = slot->rtcp_index;

	if (w->bad || size == 0 || index > SEAL_RTCP_INDEX_MAX)
		return;
	slot->rtcp_index = index + 1; /* before it is used: no index serves twice */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (seal_rtcp(&s->seal, index, w->begin, &size, SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX))
		return;
	send_one(self, s, session_path(slot), w->begin, size);
}

void session_say_bye(struct actor *self, struct session *s, struct session_slot *slot)
{
	uint8_t bytes[SESSION_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, SESSION_RTCP_SIZE);
	uint32_t ssrcs[SDP_LIVE_MAX];

	for (int i = 0; i < slot->plan.media_count; i++)
		ssrcs[i] = slot->plan.media[i].local_ssrc;
	if (actor_phase(self) == SESSION_UP && !rtcp_write_rr(&w, ssrcs[0], NULL, 0) &&
		!rtcp_write_cname(&w, ssrcs[0], slot->cname) &&
		!rtcp_write_bye(&w, ssrcs, slot->plan.media_count))
		session_send_rtcp(self, s, slot, &w);
	if (s->dtls_started) {
		uint8_t datagram[DTLS_DATAGRAM_MAX];
		size_t size;

		dtls_close(&s->dtls);
		while ((size = dtls_output(&s->dtls, datagram, sizeof(datagram))))
			send_one(self, s, session_path(slot), datagram, size);
	}
}

/* ---- after a takeover ---------------------------------------------------------------------- */

void session_send_again(struct actor *self, void *data, void *context)
{
	struct session *s = data;
	struct session_slot *slot = session_slot(self, s);

	if (slot && s->st.play && actor_phase(self) == SESSION_UP) {
		const struct rtc_facts *facts = context;

		s->port = facts;
		if (session_is_away(self, s))
			session_open_away(self, s, slot);
		play_send_again(self, s, slot);
	}
}
