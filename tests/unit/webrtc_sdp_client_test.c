/* SPDX-License-Identifier: Apache-2.0
 *
 * Our offer and our reading of answers: through our own server's side, and by rows of what other
 * servers say.
 */
#include "actors/webrtc/sdp_client.h"
#include "actors/webrtc/sdp_string.h"
#include "tests/test.h"

static struct sdp_offer scratch;
static struct sdp_client_answer answer;
static char why[SDP_WHY_MAX];

static struct sdp_client_options options_of(bool publish)
{
	struct sdp_client_options o = {
		.publish = publish,
		.session_id = 5,
		.candidate = {.family = 4, .port = 4000, .ip = {192, 0, 2, 9}},
		.cname = "me",
		.ssrc = {11,	     12		       },
		.rtx_ssrc = 13
	      };
	static const uint8_t random[ICE_RANDOM_SIZE] = {1, 2, 3};

	ice_credentials_make(&o.local, random);
	memset(o.fingerprint, 0xab, sizeof(o.fingerprint));
	return o;
}

static void answer_as_server(const struct sdp_client_options *client, char *text, size_t size)
{
	static const struct media_track tracks[] = {
		{.id = 0,
			.kind = MEDIA_VIDEO,
			.codec = MEDIA_H264,
			.clock_rate = 90000,
			.fmtp = "profile-level-id=64001f;packetization-mode=1"},
		{.id = 1,
			.kind = MEDIA_AUDIO,
			.codec = MEDIA_OPUS,
			.clock_rate = 48000,
			.channels = 2					 },
	};
	static const struct net_addr candidates[] = {
		{.family = 4,	      .port = 8000, .ip = {127, 0, 0, 1}},
		{ .family = 4, .transport = NET_TCP, .port = 8000, .ip = {127, 0, 0, 1}}
	       };
	struct sdp_answer_options o = {
		.role = client->publish ? SDP_WHIP : SDP_WHEP,
		.candidates = candidates,
		.candidate_count = 2,
		.ssrc = {101, 102},
		.rtx_ssrc = {103, 104},
		.tracks = tracks,
		.track_count = 2
	};
	static const uint8_t random[ICE_RANDOM_SIZE] = {9, 9, 9};
	char offer[SDP_CLIENT_OFFER_MAX];
	struct writer w = writer_of(offer, sizeof(offer));
	struct sdp_plan plan;

	CHECK_OK(sdp_client_offer(&w, client));
	CHECK_OK(sdp_offer_parse(&scratch, offer, writer_used(&w), why));
	ice_credentials_make(&o.local, random);
	memset(o.fingerprint, 0xcd, sizeof(o.fingerprint));
	CHECK_OK(sdp_answer_plan(&plan, &scratch, &o, why));
	w = writer_of(text, size - 1);
	CHECK_OK(sdp_answer_write(&w, &plan, &scratch, &o));
	*w.at = 0;
}

TEST(our_own_server_understands_and_is_understood)
{
	static char text[SDP_ANSWER_MAX];

	for (int publish = 0; publish < 2; publish++) {
		struct sdp_client_options o = options_of(publish);
		const struct sdp_plan_media *video = &answer.plan.media[0];

		answer_as_server(&o, text, sizeof(text));
		CHECK_OK(sdp_client_read(&answer, &o, &scratch, text, strlen(text), why));
		CHECK_EQ(answer.plan.media_count, 2);
		CHECK_EQ(answer.plan.dtls_active, 1);
		CHECK_EQ(answer.plan.fingerprint[0], 0xcd);
		CHECK_EQ(video->codec, MEDIA_H264);
		CHECK_EQ(video->payload_type, publish ? 96 : 100); /* the profile of the track */
		CHECK_EQ(video->rtx_payload_type, video->payload_type + 1);
		CHECK(video->feedback & SDP_NACK && video->feedback & SDP_TRANSPORT_CC);
		CHECK(video->extensions[SDP_EXT_TRANSPORT_CC]);
		CHECK_EQ(video->remote_ssrc, publish ? 0 : 101);
		CHECK_EQ(video->remote_rtx_ssrc, publish ? 0 : 103);
		CHECK_EQ(answer.plan.media[1].codec, MEDIA_OPUS);
		CHECK_EQ(answer.candidate_count, 2);
		CHECK_EQ(answer.candidates[0].address.port, 8000);
		CHECK_EQ(answer.candidates[1].address.transport, NET_TCP);
		CHECK(sdp_plan_is_valid(&answer.plan));
	}
}

#define HEAD "v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
#define KEYS                                                                                   \
	"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 "     \
	"00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:00:01:02:03:04:05:06:07:08:09:0A:0B:" \
	"0C:0D:0E:0F\r\n"
#define VIDEO \
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n"
#define AUDIO                                                                       \
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:111 " \
	"opus/48000/2\r\n"

TEST(answers_of_others)
{
	static const struct {
		const char *text;
		enum err err;
		uint8_t media, active;
	} rows[] = {
		{HEAD KEYS "a=setup:passive\r\n" VIDEO "a=sendonly\r\n" AUDIO "a=sendonly\r\n",
			ERR_OK,										    2, 1},
		{HEAD KEYS "a=ice-lite\r\na=setup:active\r\n" VIDEO "a=sendrecv\r\n" AUDIO
			   "a=inactive\r\n",				   ERR_OK,	1, 0},
		{HEAD KEYS "a=setup:passive\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" AUDIO
			   "a=sendonly\r\n",				   ERR_OK,	1, 1},
		{HEAD KEYS VIDEO "a=recvonly\r\n" AUDIO "a=recvonly\r\n",			  ERR_CODEC,  0, 0},
 /* audio where video was offered */
		{HEAD KEYS AUDIO "a=sendonly\r\n",						   ERR_CODEC,  0, 0},
 /* a payload type that we did not offer */
		{HEAD KEYS "m=video 9 UDP/TLS/RTP/SAVPF 35\r\na=mid:0\r\na=rtpmap:35 H264/90000\r\n"
			   "a=sendonly\r\n",				   ERR_CODEC,  0, 0},
		{HEAD VIDEO "a=sendonly\r\n",						   ERR_FORMAT, 0, 0}, /* no fingerprint */
		{"hello",								       ERR_FORMAT, 0, 0},
		{"",									    ERR_FORMAT, 0, 0},
	};
	struct sdp_client_options o = options_of(false);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(sdp_client_read(
				 &answer, &o, &scratch, rows[i].text, strlen(rows[i].text), why),
			rows[i].err);
		CHECK_EQ(why[0] != 0, rows[i].err != ERR_OK);
		if (rows[i].err)
			continue;
		CHECK_EQ(answer.plan.media_count, rows[i].media);
		CHECK_EQ(answer.plan.dtls_active, rows[i].active);
	}
}

TEST(candidates)
{
	static const struct {
		const char *text;
		enum err err;
		const char *address;
		uint8_t transport;
	} rows[] = {
		{"1 1 udp 2130706431 192.0.2.1 5000 typ host",	       ERR_OK,	       "192.0.2.1:5000",	 NET_UDP},
		{"x 1 UDP 1 2001:db8::1 5 typ srflx raddr 0 rport 0", ERR_OK,	      "[2001:db8::1]:5",
			NET_UDP											 },
		{"1 1 tcp 7 192.0.2.1 9 typ host tcptype passive",	   ERR_OK,	   "192.0.2.1:9",	  NET_TCP},
		{"1 2 udp 7 192.0.2.1 9 typ host",			   ERR_UNSUPPORTED, NULL,		  0	   },
		{"1 1 udp 7 0f-1.local 9 typ host",		    ERR_UNSUPPORTED, NULL,		   0	    },
		{"1 1 udp 7 192.0.2.1 66000 typ host",		       ERR_FORMAT,	   NULL,		 0	  },
		{"1 1 udp 4294967296 192.0.2.1 6 typ host",	    ERR_FORMAT,	NULL,	      0      },
		{"1 1 udp 7 192.0.2.1 6",				  ERR_FORMAT,      NULL,		    0	     },
		{"",						  ERR_FORMAT,	 NULL,	       0	},
	};
	char text[NET_ADDR_TEXT_SIZE];
	struct sdp_candidate candidate;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(sdp_candidate_parse(&candidate, sdp_string_of(rows[i].text)), rows[i].err);
		if (rows[i].err)
			continue;
		CHECK_STR(net_addr_text(&candidate.address, text), rows[i].address);
		CHECK_EQ(candidate.address.transport, rows[i].transport);
	}
}
