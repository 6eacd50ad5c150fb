/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a client: offer and answer, ICE, DTLS, what comes by class, what is due.
 */
#include "actors/webrtc/rtc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { RTCP_SIZE = 1200 };

static void random_u32(struct rtc_client *c, uint32_t *value)
{
	do
		c->ops->random(c->context, value, sizeof(*value));
	while (!*value);
}

enum err rtc_client_init(struct rtc_client *c, const struct rtc_client_options *options)
{
	uint8_t random[ICE_RANDOM_SIZE];
	uint64_t number;

	*c = (struct rtc_client){
		.ops = options->ops,
		.context = options->context,
		.dtls_context = options->dtls,
		.unix_offset_us = options->unix_us - options->now_us,
		.offered = {.publish = options->publish, .candidate = options->candidate},
	};
	c->ops->random(c->context, random, sizeof(random));
	ice_credentials_make(&c->offered.local, random);
	c->ops->random(c->context, &number, sizeof(number));
	c->offered.session_id = number >> 2;
	snprintf(c->cname, sizeof(c->cname), "%016llx", (unsigned long long)number);
	c->offered.cname = c->cname;
	memcpy(c->offered.fingerprint, options->fingerprint->bytes, sizeof(c->offered.fingerprint));
	random_u32(c, &c->offered.ssrc[0]);
	random_u32(c, &c->offered.ssrc[1]);
	random_u32(c, &c->offered.rtx_ssrc);
	if (!options->publish)
		return ERR_OK;
	c->kept = malloc(RTC_CLIENT_HISTORY * sizeof(*c->kept));
	payload_packetiser_init(&c->out[0].packetiser, MEDIA_H264);
	payload_packetiser_init(&c->out[1].packetiser, MEDIA_OPUS);
	enum err err = !c->kept ? ERR_NO_MEMORY
				: payload_packetiser_configure(&c->out[0].packetiser,
					  options->video_config, options->video_config_size);

	if (err)
		rtc_client_fini(c);
	return err;
}

void rtc_client_fini(struct rtc_client *c)
{
	seal_fini(&c->seal);
	unseal_fini(&c->unseal);
	if (c->dtls_started)
		dtls_fini(&c->dtls);
	free(c->kept);
	*c = (struct rtc_client){.phase = RTC_CLIENT_CLOSED};
}

static void fail(struct rtc_client *c, enum err err)
{
	c->phase = RTC_CLIENT_FAILED;
	c->why = (uint8_t)err;
}

enum err rtc_client_offer(const struct rtc_client *c, struct writer *w)
{
	struct sdp_client_options options = c->offered;

	options.cname = c->cname;
	return sdp_client_offer(w, &options);
}

static void make_map(struct rtp_ext_map *map, const struct sdp_plan_media *media)
{
	if (media->extensions[SDP_EXT_MID])
		rtp_ext_map_set(map, RTP_EXT_MID, media->extensions[SDP_EXT_MID]);
	if (media->extensions[SDP_EXT_ABS_SEND_TIME])
		rtp_ext_map_set(
			map, RTP_EXT_ABS_SEND_TIME, media->extensions[SDP_EXT_ABS_SEND_TIME]);
	if (media->extensions[SDP_EXT_TRANSPORT_CC])
		rtp_ext_map_set(map, RTP_EXT_TRANSPORT_CC, media->extensions[SDP_EXT_TRANSPORT_CC]);
}

enum err rtc_client_answer(
	struct rtc_client *c, const char *text, size_t size, int64_t now_us, char *why)
{
	struct sdp_offer *scratch = malloc(sizeof(*scratch));
	uint64_t tie_breaker;
	enum err err = scratch ? sdp_client_read(&c->answer, &c->offered, scratch, text, size, why)
			       : ERR_NO_MEMORY;

	free(scratch);
	if (!scratch)
		why[0] = '\0';
	if (err)
		return err;
	for (int i = 0; i < c->answer.plan.media_count; i++)
		make_map(&c->ext_maps[i], &c->answer.plan.media[i]);
	c->ops->random(c->context, &tie_breaker, sizeof(tie_breaker));
	ice_client_init(&c->ice, &c->offered.local, &c->answer.plan.remote, tie_breaker, now_us);
	for (int i = 0; i < c->answer.candidate_count; i++)
		ice_client_add(&c->ice, &c->answer.candidates[i].address,
			c->answer.candidates[i].priority, now_us);
	c->phase = RTC_CLIENT_CHECKING;
	if (c->offered.publish)
		return rtc_client_begin_sending(c);
	rtc_client_begin_receiving(c, now_us);
	return ERR_OK;
}

int rtc_client_media_index(const struct rtc_client *c, enum media_kind kind)
{
	for (int i = 0; i < c->answer.plan.media_count && i < RTC_CLIENT_TRACKS; i++)
		if (c->answer.plan.media[i].kind == kind)
			return i;
	return -1;
}

/* ---- DTLS ---------------------------------------------------------------------------------- */

static void send_one(struct rtc_client *c, const struct net_addr *to, void *bytes, size_t size)
{
	struct iovec packet = {bytes, size};

	c->ops->send(c->context, to, &packet, 1);
}

static void drain_dtls(struct rtc_client *c)
{
	const struct net_addr *to = ice_client_selected(&c->ice);
	uint8_t bytes[DTLS_DATAGRAM_MAX];
	size_t size;

	while (c->dtls_started && (size = dtls_output(&c->dtls, bytes, sizeof(bytes))))
		if (to)
			send_one(c, to, bytes, size);
}

static void begin_dtls(struct rtc_client *c, int64_t now_us)
{
	static const uint8_t hashes[] = {[SDP_SHA256] = CERTIFICATE_SHA_256,
		[SDP_SHA384] = CERTIFICATE_SHA_384,
		[SDP_SHA512] = CERTIFICATE_SHA_512};
	const struct sdp_plan *plan = &c->answer.plan;
	struct fingerprint expected = {.hash = hashes[plan->fingerprint_hash]};
	enum err err;

	memcpy(expected.bytes, plan->fingerprint, plan->fingerprint_size);
	err = dtls_init(&c->dtls, c->dtls_context, plan->dtls_active ? DTLS_CLIENT : DTLS_SERVER,
		&expected, now_us);
	if (err) {
		fail(c, err);
		return;
	}
	c->dtls_started = true;
	c->phase = RTC_CLIENT_SHAKING;
	drain_dtls(c);
}

static void come_up(struct rtc_client *c, int64_t now_us)
{
	enum err err = seal_init(&c->seal, &c->dtls.send);

	if (!err)
		err = unseal_init(&c->unseal, &c->dtls.receive, &c->window);
	if (err) {
		fail(c, err);
		return;
	}
	c->phase = RTC_CLIENT_UP;
	c->up_us = now_us;
	c->report_us = now_us + RTC_CLIENT_REPORT_US;
}

static void look_at_dtls(struct rtc_client *c, int64_t now_us)
{
	drain_dtls(c);
	if (c->dtls.phase == DTLS_ESTABLISHED && c->phase == RTC_CLIENT_SHAKING)
		come_up(c, now_us);
	else if (c->dtls.phase == DTLS_FAILED)
		fail(c, (enum err)c->dtls.failure);
	else if (c->dtls.phase == DTLS_CLOSED)
		c->phase = RTC_CLIENT_CLOSED;
}

/* ---- what comes ---------------------------------------------------------------------------- */

static void take_stun(struct rtc_client *c, const struct net_addr *from, const uint8_t *bytes,
	size_t size, int64_t now_us)
{
	uint8_t answer[STUN_RESPONSE_MAX];
	struct writer w = writer_of(answer, sizeof(answer));

	if (c->phase == RTC_CLIENT_OFFERED)
		return;
	ice_client_input(&c->ice, from, bytes, size, now_us, &w);
	if (writer_used(&w) && !w.bad)
		send_one(c, from, answer, writer_used(&w));
}

static void take_rtcp(struct rtc_client *c, uint8_t *bytes, size_t size, int64_t now_us)
{
	struct rtcp_packet packet;
	struct rtcp_iter iter;

	if (unseal_rtcp(&c->unseal, &c->window, bytes, &size) || rtcp_iter_init(&iter, bytes, size))
		return;
	while (rtcp_iter_next(&iter, &packet)) {
		if (packet.type == RTCP_SR && !c->offered.publish)
			rtc_client_take_sender_report(c, &packet, now_us);
		else if (packet.type == RTCP_BYE && !c->offered.publish)
			c->phase = RTC_CLIENT_CLOSED;
		else if (c->offered.publish)
			rtc_client_take_feedback(c, &packet, now_us);
	}
}

void rtc_client_input(struct rtc_client *c, const struct net_addr *from, uint8_t *bytes,
	size_t size, int64_t now_us)
{
	switch (rtp_classify_packet(bytes, size)) {
	case RTP_CLASS_STUN: take_stun(c, from, bytes, size, now_us); break;
	case RTP_CLASS_DTLS:
		if (!c->dtls_started || c->phase >= RTC_CLIENT_FAILED)
			break;
		dtls_input(&c->dtls, bytes, size, now_us);
		look_at_dtls(c, now_us);
		break;
	case RTP_CLASS_RTP:
		if (c->phase != RTC_CLIENT_UP || unseal_rtp(&c->unseal, &c->window, bytes, &size))
			break;
		if (!c->offered.publish)
			rtc_client_take_rtp(c, bytes, size, now_us);
		break;
	case RTP_CLASS_RTCP:
		if (c->phase == RTC_CLIENT_UP)
			take_rtcp(c, bytes, size, now_us);
		break;
	case RTP_CLASS_UNKNOWN: break;
	}
}

/* ---- what is due --------------------------------------------------------------------------- */

static void run_ice(struct rtc_client *c, int64_t now_us)
{
	uint8_t bytes[ICE_CLIENT_CHECK_MAX], random[STUN_TRANSACTION_SIZE];
	struct net_addr to;
	size_t size;

	do {
		c->ops->random(c->context, random, sizeof(random));
		size = ice_client_poll(&c->ice, now_us, random, bytes, &to);
		if (size)
			send_one(c, &to, bytes, size);
	} while (size);
	if (c->ice.phase == ICE_FAILED)
		fail(c, ERR_TIMEOUT);
	else if (c->phase == RTC_CLIENT_CHECKING && c->ice.phase == ICE_CONNECTED)
		begin_dtls(c, now_us);
}

void rtc_client_run(struct rtc_client *c, int64_t now_us)
{
	bool report;

	if (c->phase == RTC_CLIENT_OFFERED || c->phase >= RTC_CLIENT_FAILED)
		return;
	if (now_us >= ice_client_deadline_us(&c->ice) || c->phase == RTC_CLIENT_CHECKING)
		run_ice(c, now_us);
	if (c->phase == RTC_CLIENT_SHAKING && now_us >= dtls_deadline(&c->dtls)) {
		dtls_on_timer(&c->dtls, now_us);
		look_at_dtls(c, now_us);
	}
	if (c->phase != RTC_CLIENT_UP)
		return;
	report = now_us >= c->report_us;
	if (report)
		c->report_us = now_us + RTC_CLIENT_REPORT_US;
	if (!c->offered.publish)
		rtc_client_receiver_feedback(c, report, now_us);
	else if (report)
		rtc_client_sender_report(c, now_us);
}

int64_t rtc_client_deadline_us(const struct rtc_client *c)
{
	int64_t due_us, other_us = INT64_MAX;

	if (c->phase == RTC_CLIENT_OFFERED || c->phase >= RTC_CLIENT_FAILED)
		return INT64_MAX;
	due_us = ice_client_deadline_us(&c->ice);
	if (c->phase == RTC_CLIENT_SHAKING)
		other_us = dtls_deadline(&c->dtls);
	if (c->phase == RTC_CLIENT_UP) {
		other_us = c->offered.publish ? INT64_MAX : rtc_client_receiver_deadline_us(c);
		if (c->report_us < other_us)
			other_us = c->report_us;
	}
	return other_us < due_us ? other_us : due_us;
}

void rtc_client_send_rtcp(struct rtc_client *c, struct writer *w)
{
	const struct net_addr *to = ice_client_selected(&c->ice);
	size_t size = writer_used(w);

	if (to && !w->bad && size &&
		!seal_rtcp(
			&c->seal, c->rtcp_index++, w->begin, &size, size + SEAL_RTCP_OVERHEAD_MAX))
		send_one(c, to, w->begin, size);
}

void rtc_client_close(struct rtc_client *c, int64_t now_us)
{
	uint8_t bytes[RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX];
	struct writer w = writer_of(bytes, RTCP_SIZE);

	(void)now_us;
	if (c->phase != RTC_CLIENT_UP)
		return;
	rtcp_write_rr(&w, c->offered.ssrc[0], NULL, 0);
	rtcp_write_bye(&w, c->offered.ssrc, RTC_CLIENT_TRACKS);
	rtc_client_send_rtcp(c, &w);
	dtls_close(&c->dtls);
	drain_dtls(c);
}
