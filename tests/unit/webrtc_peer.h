/* SPDX-License-Identifier: Apache-2.0
 *
 * The other end of tests/unit/webrtc_worker.h for tests that look at packets as they are on the wire
 * and say what a well-behaved client would not: offers of any codec, checks and packets by hand. Who
 * only wants a client takes actors/webrtc/rtc_client.h.
 */
#ifndef MILLRACE_WEBRTC_PEER_H
#define MILLRACE_WEBRTC_PEER_H

#include "tests/unit/webrtc_worker.h"

static struct {
	struct certificate certificate;
	struct dtls_context context;
	struct dtls dtls;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
	struct rtp_packet packets[SENT_MAX];
	size_t packet_count;
	unsigned stun, rtcp, bad;
	unsigned rembs;
	uint64_t remb_bps; /* of the last */
	uint32_t rtcp_index;
} client;

static void client_take_rtcp(const uint8_t *bytes, size_t size)
{
	struct rtcp_packet packet;
	struct rtcp_iter iter;
	struct rtcp_remb remb;

	client.rtcp++;
	CHECK_OK(rtcp_iter_init(&iter, bytes, size));
	while (rtcp_iter_next(&iter, &packet)) {
		if (rtcp_parse_remb(&packet, &remb))
			continue;
		client.rembs++;
		client.remb_bps = remb.bitrate_bps;
	}
}

static void client_take(uint8_t *bytes, size_t size)
{
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t out_size;

	switch (rtp_classify_packet(bytes, size)) {
	case RTP_CLASS_STUN: client.stun++; break;
	case RTP_CLASS_DTLS:
		dtls_input(&client.dtls, bytes, size, now_us);
		while ((out_size = dtls_output(&client.dtls, out, sizeof(out))))
			deliver(out, out_size);
		if (client.dtls.phase == DTLS_ESTABLISHED && !client.unseal.profile) {
			CHECK_OK(seal_init(&client.seal, &client.dtls.send));
			CHECK_OK(unseal_init(&client.unseal, &client.dtls.receive, &client.window));
		}
		break;
	case RTP_CLASS_RTP:
		if (unseal_rtp(&client.unseal, &client.window, bytes, &size) ||
			rtp_parse(&client.packets[client.packet_count], bytes, size))
			client.bad++;
		else
			client.packet_count++;
		break;
	case RTP_CLASS_RTCP:
		if (unseal_rtcp(&client.unseal, &client.window, bytes, &size))
			client.bad++;
		else
			client_take_rtcp(bytes, size);
		break;
	case RTP_CLASS_UNKNOWN: client.bad++; break;
	}
}

static void client_read(void)
{
	for (size_t i = 0; i < sent_count; i++)
		client_take(sent[i].bytes, sent[i].size);
	sent_count = 0;
}

static void make_offer(char *offer, size_t size, bool play, const char *codec)
{
	CHECK(webrtc_client_offer(offer, size,
		&(struct webrtc_client_offer){
			.play = play,
			.codec = codec,
			.setup = "actpass",
			.ufrag = "clnt",
			.pwd = "clientclientclientclient",
			.fingerprint = &client.certificate.fingerprint,
			.rtx = true,
			.audio_ssrc = play ? 0 : 7777,
		}));
}

static void value_of(const char *name, char *value, size_t size)
{
	CHECK(webrtc_client_value(heard.answer, name, value, size));
}

static void check_path_with(const struct net_addr *from, const char *ufrag, const char *pwd)
{
	uint8_t bytes[256];
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {1, 2, 3};
	struct writer w = writer_of(bytes, sizeof(bytes));

	CHECK_OK(webrtc_client_check(&w, ufrag, pwd, "clnt", transaction));
	deliver_from(from, bytes, writer_used(&w));
}

static void check_path(const struct net_addr *from)
{
	char ufrag[64], pwd[64];

	value_of("a=ice-ufrag:", ufrag, sizeof(ufrag));
	value_of("a=ice-pwd:", pwd, sizeof(pwd));
	check_path_with(from, ufrag, pwd);
}

static void client_begin(bool play)
{
	static char offer[4096];

	memset(&client, 0, sizeof(client));
	CHECK_OK(certificate_create(&client.certificate, 1700000000));
	CHECK_OK(dtls_context_init(&client.context, &client.certificate));
	make_offer(offer, sizeof(offer), play, "VP8");
	create(play, offer);
	CHECK_EQ(heard.created_count, 1);
}

static void client_connect(void)
{
	struct fingerprint fingerprint;
	char text[256];
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t size;

	check_path(&client_addr);
	client_read();
	CHECK_EQ(client.stun, 1);
	value_of("a=fingerprint:", text, sizeof(text));
	CHECK_OK(fingerprint_parse(&fingerprint, text, strlen(text)));
	CHECK_OK(dtls_init(&client.dtls, &client.context, DTLS_CLIENT, &fingerprint, now_us));
	while ((size = dtls_output(&client.dtls, out, sizeof(out))))
		deliver(out, size);
	for (int i = 0; i < 20 && client.dtls.phase == DTLS_HANDSHAKING; i++)
		client_read();
	CHECK_EQ(client.dtls.phase, DTLS_ESTABLISHED);
	CHECK_EQ(actor_phase(runtime_find(rt, stream.session.id)), SESSION_UP);
}

static void client_end(void)
{
	seal_fini(&client.seal);
	unseal_fini(&client.unseal);
	dtls_fini(&client.dtls);
	dtls_context_fini(&client.context);
	certificate_fini(&client.certificate);
}

enum { CLIENT_RTP_MAX = 256 };

/* A sealed packet; its size. */
static inline size_t client_seal_rtp(
	uint8_t payload_type, uint32_t ssrc, uint16_t sequence, uint8_t out[CLIENT_RTP_MAX])
{
	uint8_t payload[64] = {0xfc, 1, 2, 3};
	struct rtp_packet header = {.ssrc = ssrc,
		.timestamp = sequence * 960u,
		.sequence = sequence,
		.payload_type = payload_type};
	struct seal_packet packet = {.out = out,
		.payload = payload,
		.index = sequence,
		.out_capacity = CLIENT_RTP_MAX,
		.header_size = RTP_HEADER_SIZE,
		.payload_size = sizeof(payload)};

	rtp_write_fixed(out, &header);
	CHECK_OK(seal_rtp_batch(&client.seal, &packet, 1));
	return packet.size;
}

static inline void client_send_rtp(
	uint8_t payload_type, uint32_t ssrc, uint16_t sequence, const struct net_addr *from)
{
	uint8_t out[CLIENT_RTP_MAX];

	deliver_from(from, out, client_seal_rtp(payload_type, ssrc, sequence, out));
}

static inline void ask_patch(const char *if_match, const char *fragment)
{
	struct msg_session_patch message = {
		.fragment = {fragment, (uint32_t)strlen(fragment)}
	  };

	snprintf(message.secret, sizeof(message.secret), "%s", heard.created.secret);
	snprintf(message.if_match, sizeof(message.if_match), "%s", if_match);
	actor_request_mail(edge(), heard.created.session, 5000, MSG_session_patch,
		&schema_session_patch, &message);
	run_ms(10);
}

#endif
