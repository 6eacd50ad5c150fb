/* SPDX-License-Identifier: Apache-2.0
 *
 * Offers of browsers and encoders (tests/data/sdp; Chrome's are recorded, the others are written
 * after what those programs send), answered in both roles; wrong offers with the sentence they get.
 */
#include "tests/test.h"

#include "actors/webrtc/sdp.h"

#define FOR_EACH(row, rows) for (size_t row = 0; row < sizeof(rows) / sizeof((rows)[0]); row++)

enum { OFFER_MAX = SDP_TEXT_MAX + 16 };

static const struct media_track video_h264 = {.id = 0, .kind = MEDIA_VIDEO, .codec = MEDIA_H264};
static const struct media_track audio_aac = {
	.id = 1, .kind = MEDIA_AUDIO, .codec = MEDIA_AAC, .channels = 2};

static char why[SDP_WHY_MAX];
static struct sdp_offer offer;
static struct sdp_plan plan;
static char answer[SDP_ANSWER_MAX + 1];
static char offer_text[OFFER_MAX + 1];

static struct sdp_answer_options options_of(enum sdp_role role)
{
	static const struct net_addr candidates[] = {
		{.family = 4, .transport = NET_UDP, .port = 8000, .ip = {192, 0, 2, 1}},
		{.family = 6,
			.transport = NET_UDP,
			.port = 8000,
			.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}				    },
		{.family = 4, .transport = NET_TCP, .port = 8000, .ip = {192, 0, 2, 1}},
	};
	static struct media_track tracks[2];

	tracks[0] = video_h264;
	tracks[1] = audio_aac;
	return (struct sdp_answer_options){
		.role = role,
		.session_id = 77,
		.local = {"ours", "our-password-is-22-char"},
		.fingerprint = {	0xab,     1			       },
		.candidates = candidates,
		.candidate_count = 3,
		.cname = "cname",
		.stream_id = "stream",
		.ssrc = { 11,    12,				 13},
		.rtx_ssrc = { 21,	 22,			     23},
		.tracks = tracks,
		.track_count = 2,
		.transcodable = 1u << MEDIA_OPUS,
	};
}

static size_t load(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/data/sdp/%s.sdp", test_dir(), name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size_t size = fread(offer_text, 1, OFFER_MAX, file);
	fclose(file);
	offer_text[size] = '\0';
	return size;
}

/* Parse, plan, write; leaves `offer`, `plan`, `answer` and `why`. */
static enum err run(const char *text, size_t size, const struct sdp_answer_options *options)
{
	struct writer w = writer_of(answer, SDP_ANSWER_MAX);
	enum err err = sdp_offer_parse(&offer, text, size, why);

	if (!err)
		err = sdp_answer_plan(&plan, &offer, options, why);
	if (err) {
		CHECK(why[0]);
		return err;
	}
	CHECK_STR(why, "");
	CHECK(sdp_plan_is_valid(&plan));
	CHECK_OK(sdp_answer_write(&w, &plan, &offer, options));
	answer[writer_used(&w)] = '\0';
	return ERR_OK;
}

/* "0 H264 108/109 mid 1" of every live m-line, separated by ", " */
static const char *summary(void)
{
	static char text[512];
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < plan.media_count; i++) {
		const struct sdp_plan_media *m = &plan.media[i];

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u %s %u/%u mid %s",
			i ? ", " : "", m->line, media_codec_name(m->codec), m->payload_type,
			m->rtx_payload_type, m->mid);
	}
	return text;
}

static const struct {
	const char *file;
	enum sdp_role role;
	enum err err;
	const char *expected; /* summary, or why not */
} answers[] = {
	{"chrome156-sendonly",  SDP_WHIP, ERR_OK,		 "0 OPUS 111/0 mid 0, 1 H264 108/109 mid 1"	   },
	{"chrome156-simulcast", SDP_WHIP, ERR_OK,		  "0 H264 108/109 mid 0, 1 OPUS 111/0 mid 1"	    },
	{"chrome156-recvonly",  SDP_WHIP, ERR_UNPROCESSABLE,
		"offer sends nothing: no sendonly or sendrecv m-line of audio or video"			       },
	{"chrome156-recvonly",  SDP_WHEP, ERR_OK,		 "0 OPUS 111/0 mid 0, 1 H264 108/109 mid 1"	   },
	{"chrome156-sendonly",  SDP_WHEP, ERR_UNPROCESSABLE,
		"offer asks for nothing: no recvonly or sendrecv m-line of audio or video"				  },
	{"firefox-sendonly",    SDP_WHIP, ERR_OK,	       "0 OPUS 109/0 mid 0, 1 H264 126/127 mid 1"	 },
	{"firefox-recvonly",    SDP_WHEP, ERR_OK,	       "0 OPUS 109/0 mid 0, 1 H264 126/127 mid 1"	 },
	{"safari-sendrecv",	    SDP_WHIP, ERR_OK,	      "0 H264 98/99 mid 0, 1 OPUS 111/0 mid 1"	      },
	{"safari-recvonly",	    SDP_WHEP, ERR_OK,	      "0 H264 98/99 mid 0, 1 OPUS 111/0 mid 1"	      },
	{"obs-whip",	     SDP_WHIP, ERR_OK,	       "0 OPUS 111/0 mid 0, 1 H264 96/0 mid 1"	      },
	{"gstreamer-whip",	   SDP_WHIP, ERR_OK,	     "0 H264 97/98 mid video0, 1 OPUS 96/0 mid audio1"},
	{"minimal-audio-whep",  SDP_WHEP, ERR_OK,		 "0 OPUS 97/0 mid "				   },
};

TEST(offers_are_answered)
{
	FOR_EACH (i, answers) {
		struct sdp_answer_options options = options_of(answers[i].role);
		enum err err = run(offer_text, load(answers[i].file), &options);
		const char *got = err ? why : summary();

		if (err != answers[i].err || strcmp(got, answers[i].expected) != 0)
			fail_msg("%s role %d: %s: %s", answers[i].file, answers[i].role,
				err_name(err), got);
	}
}

static const struct {
	const char *file;
	enum sdp_role role;
	const char *text;
	bool there;
} lines[] = {
	{"chrome156-sendonly",  SDP_WHIP, "a=group:BUNDLE 0 1\r\n",				   true },
	{"chrome156-sendonly",  SDP_WHIP, "a=ice-lite\r\n",					   true },
	{"chrome156-sendonly",  SDP_WHIP, "a=setup:passive\r\n",				true },
	{"chrome156-sendonly",  SDP_WHIP, "a=fingerprint:sha-256 AB:01:00:",		    true },
	{"chrome156-sendonly",  SDP_WHIP, "a=recvonly\r\n",					   true },
	{"chrome156-sendonly",  SDP_WHIP, "a=sendonly\r\n",					   false},
	{"chrome156-sendonly",  SDP_WHIP, "a=rtcp-rsize\r\n",				     true },
	{"chrome156-sendonly",  SDP_WHIP, "a=ssrc",						   false},
	{"chrome156-sendonly",  SDP_WHIP,
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8000 typ host\r\n",			      true },
	{"chrome156-sendonly",  SDP_WHIP,
		"a=candidate:2 1 udp 2130706175 2001:db8::1 8000 typ host\r\n",			true },
	{"chrome156-sendonly",  SDP_WHIP,
		"a=candidate:3 1 tcp 1520434687 192.0.2.1 8000 typ host tcptype passive\r\n",	      true },
	{"chrome156-sendonly",  SDP_WHIP, "a=end-of-candidates\r\n",			    true },
	{"chrome156-sendonly",  SDP_WHIP, "m=video 8000 UDP/TLS/RTP/SAVPF 108 109\r\n",	       true },
	{"chrome156-sendonly",  SDP_WHIP, "a=rtpmap:109 rtx/90000\r\na=fmtp:109 apt=108\r\n",   true },
	{"chrome156-sendonly",  SDP_WHIP,
		"a=fmtp:108 "
		"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n",	true },
	{"chrome156-sendonly",  SDP_WHIP,
		"a=rtcp-fb:108 goog-remb\r\na=rtcp-fb:108 transport-cc\r\n",			     true },
	{"chrome156-sendonly",  SDP_WHIP,
		"a=rtcp-fb:108 ccm fir\r\na=rtcp-fb:108 nack\r\na=rtcp-fb:108 nack pli\r\n",	     true },
	{"chrome156-sendonly",  SDP_WHIP, "a=extmap:5 http://www.webrtc.org/experiments/",	  true },
	{"chrome156-sendonly",  SDP_WHIP, "a=extmap:6 ",					false}, /* video-content-type */
	{"chrome156-simulcast", SDP_WHIP, "a=simulcast",					 false},
	{"chrome156-simulcast", SDP_WHIP, "a=rid:",						    false},
	{"chrome156-simulcast", SDP_WHIP, "dependency-descriptor",				   false},
	{"chrome156-simulcast", SDP_WHIP,
		"m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 "
		"0.0.0.0\r\na=mid:2\r\n",						       true },
	{"chrome156-simulcast", SDP_WHIP, "a=group:BUNDLE 0 1\r\n",				    true },
	{"chrome156-recvonly",  SDP_WHEP, "a=sendonly\r\na=msid:stream video0\r\n",		   true },
	{"chrome156-recvonly",  SDP_WHEP, "a=ssrc-group:FID 12 22\r\n",			       true },
	{"chrome156-recvonly",  SDP_WHEP, "a=ssrc:22 cname:cname\r\n",			      true },
	{"chrome156-recvonly",  SDP_WHEP, "a=ssrc:11 msid:stream audio1\r\n",		     true },
	{"chrome156-recvonly",  SDP_WHEP, "sdes:rtp-stream-id",				       false},
	{"chrome156-recvonly",  SDP_WHEP, "sprop-stereo=1",					   true },
	{"firefox-sendonly",    SDP_WHIP, "playout-delay",					false}, /* offered recvonly */
	{"firefox-recvonly",    SDP_WHEP, "a=extmap:6/sendonly http://www.webrtc.org/",	     true },
	{"obs-whip",	     SDP_WHIP, "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n", true },
	{"obs-whip",	     SDP_WHIP, "a=rtcp-rsize\r\n",				   false},
	{"obs-whip",	     SDP_WHIP, "transport-cc",				       false},
	{"gstreamer-whip",	   SDP_WHIP, "sprop-parameter-sets",				     false},
	{"gstreamer-whip",	   SDP_WHIP, "profile-level-id=64001f\r\n",			    true },
	{"minimal-audio-whep",  SDP_WHEP, "a=setup:active\r\n",				       true },
	{"minimal-audio-whep",  SDP_WHEP, "BUNDLE",						   false},
	{"minimal-audio-whep",  SDP_WHEP, "a=mid",						  false},
};

TEST(answers_have_and_lack_lines)
{
	FOR_EACH (i, lines) {
		struct sdp_answer_options options = options_of(lines[i].role);

		CHECK_OK(run(offer_text, load(lines[i].file), &options));
		if (!strstr(answer, lines[i].text) == lines[i].there)
			fail_msg("%s: %s %s\n%s", lines[i].file, lines[i].there ? "no" : "has",
				lines[i].text, answer);
	}
}

TEST(the_last_of_a_simulcast_can_be_taken)
{
	struct sdp_answer_options options = options_of(SDP_WHIP);

	options.simulcast_last = true;
	CHECK_OK(run(offer_text, load("chrome156-simulcast"), &options));
	CHECK_STR(plan.media[0].rid, "f");
	CHECK_STR(plan.media[1].rid, "");
	CHECK(strstr(answer, "a=rid:f recv\r\na=simulcast:recv f\r\n"));
	CHECK_OK(run(offer_text, load("chrome156-sendonly"), &options));
	CHECK(!strstr(answer, "simulcast"));
}

TEST(an_offer_is_read_completely)
{
	CHECK_OK(sdp_offer_parse(&offer, offer_text, load("chrome156-simulcast"), why));

	const struct sdp_media *video = &offer.media[0], *audio = &offer.media[1];

	CHECK_EQ(offer.media_count, 3);
	CHECK(offer.has_bundle && offer.extmap_allow_mixed && offer.trickle && !offer.ice_lite);
	CHECK_EQ(video->direction, SDP_SENDRECV);
	CHECK(video->simulcast && video->rtcp_mux && video->rtcp_rsize && video->bundled);
	CHECK_EQ(video->rid_count, 3);
	CHECK_MEM(video->rids[1].at, "h", 1);
	CHECK_EQ(video->candidate_count, 4);
	CHECK_EQ(video->extensions[SDP_EXT_DEPENDENCY_DESCRIPTOR], 13);
	CHECK_EQ(video->extensions[SDP_EXT_RID], 10);
	CHECK_EQ(audio->source_count, 1);
	CHECK_EQ(audio->sources[0].ssrc, 254919236);
	CHECK_EQ(audio->formats[0].channels, 2);
	CHECK_EQ(offer.media[2].kind, SDP_OTHER);

	struct sdp_answer_options options = options_of(SDP_WHIP);

	CHECK_OK(run(offer_text, load("chrome156-sendonly"), &options));
	CHECK_EQ(plan.media[1].remote_ssrc, 1584405416);
	CHECK_EQ(plan.media[1].remote_rtx_ssrc, 182672769);
	CHECK_STR(plan.remote.ufrag, "KY8V");
	CHECK_STR(plan.remote.pwd, "3k5C6aVnrYYFYvaJExqTHmnY");
	CHECK_EQ(plan.fingerprint_hash, SDP_SHA256);
	CHECK_EQ(plan.fingerprint[0], 0x24);
	CHECK_EQ(plan.fingerprint[31], 0xfc);
	CHECK_EQ(
		plan.media[1].feedback, SDP_NACK | SDP_PLI | SDP_FIR | SDP_TRANSPORT_CC | SDP_REMB);
	CHECK_EQ(plan.media[0].feedback, SDP_TRANSPORT_CC);
	CHECK_EQ(plan.media[1].extensions[SDP_EXT_MID], 4);
	CHECK_EQ(plan.media[1].extensions[SDP_EXT_AUDIO_LEVEL], 0);
	CHECK_EQ(plan.media[0].extensions[SDP_EXT_AUDIO_LEVEL], 1);
}

static const struct {
	enum media_codec order[3];
	uint8_t count;
	enum err err;
	const char *expected;
} orders[] = {
	{{MEDIA_VP8, MEDIA_H264}, 2, ERR_OK,    "0 OPUS 111/0 mid 0, 1 VP8 96/97 mid 1" },
	{{MEDIA_H265, MEDIA_AV1}, 2, ERR_OK,    "0 OPUS 111/0 mid 0, 1 AV1 45/46 mid 1" },
	{{MEDIA_VP9},	      1, ERR_OK,	 "0 OPUS 111/0 mid 0, 1 VP9 98/99 mid 1" },
	{{MEDIA_H265},	       1, ERR_CODEC,
		"m-line 1: no video codec in common, offered: VP8, H264, AV1, VP9, red, ulpfec"},
	{{MEDIA_OPUS},	       1, ERR_CODEC,
		"m-line 1: no video codec in common, offered: VP8, H264, AV1, VP9, red, ulpfec"},
};

TEST(codec_order_decides_for_publishers)
{
	FOR_EACH (i, orders) {
		struct sdp_answer_options options = options_of(SDP_WHIP);

		memcpy(options.codec_order, orders[i].order, sizeof(orders[i].order));
		options.codec_order_count = orders[i].count;
		CHECK_EQ(run(offer_text, load("chrome156-sendonly"), &options), orders[i].err);
		CHECK_STR(orders[i].err ? why : summary(), orders[i].expected);
	}
}

static const struct {
	const char *file;
	enum media_codec video;
	const char *fmtp;
	enum media_codec audio; /* MEDIA_CODEC_NONE = no audio track */
	uint32_t transcodable;
	enum err err;
	const char *expected;
} plays[] = {
	{"chrome156-recvonly", MEDIA_H264, "packetization-mode=1;profile-level-id=42e01f",
		MEDIA_OPUS,											 0,		       ERR_OK,    "0 OPUS 111/0 mid 0, 1 H264 108/109 mid 1"},
	{"chrome156-recvonly", MEDIA_H264, "profile-level-id=42001f",		      MEDIA_OPUS,	  0,		     ERR_OK,
		"0 OPUS 111/0 mid 0, 1 H264 102/103 mid 1"																 },
	{"chrome156-recvonly", MEDIA_H264, "profile-level-id=640028",		      MEDIA_OPUS,	  0,		     ERR_OK,
		"0 OPUS 111/0 mid 0, 1 H264 116/117 mid 1"																 },
	{"safari-recvonly",    MEDIA_H264, "profile-level-id=640028",			   MEDIA_OPUS,       0,		  ERR_OK,
		"0 H264 96/97 mid 0, 1 OPUS 111/0 mid 1"																   },
	{"safari-recvonly",    MEDIA_H265, "",					     MEDIA_CODEC_NONE, 0,		 ERR_OK,	 "0 H265 100/101 mid 0"		       },
	{"chrome156-recvonly", MEDIA_VP9,  "profile-id=2",				  MEDIA_CODEC_NONE, 0,		       ERR_OK,
		"1 VP9 100/101 mid 1"																		      },
	{"chrome156-recvonly", MEDIA_VP9,  "",					      MEDIA_CODEC_NONE, 0,		   ERR_OK,	   "1 VP9 98/99 mid 1"			      },
	{"chrome156-recvonly", MEDIA_AV1,  "level-idx=5;profile=1;tier=0",		  MEDIA_CODEC_NONE, 0,
		ERR_OK,															  "1 AV1 47/48 mid 1"			   },
	{"chrome156-recvonly", MEDIA_VP8,  "",					      MEDIA_AAC,	 1u << MEDIA_OPUS, ERR_OK,
		"0 OPUS 111/0 mid 0, 1 VP8 96/97 mid 1"																    },
	{"chrome156-recvonly", MEDIA_VP8,  "",					      MEDIA_AAC,	 0,		    ERR_OK,    "1 VP8 96/97 mid 1"		       },
	{"chrome156-recvonly", MEDIA_H265, "",					       MEDIA_OPUS,	   0,		      ERR_OK,    "0 OPUS 111/0 mid 0"			  },
	{"chrome156-recvonly", MEDIA_H265, "",					       MEDIA_CODEC_NONE, 0,		    ERR_CODEC,
		"the offer has no payload type for a codec of the stream (H265)"													   },
	{"chrome156-recvonly", MEDIA_H265, "",					       MEDIA_AAC,	  0,		     ERR_CODEC,
		"the offer has no payload type for a codec of the stream (H265, AAC)"												      },
};

TEST(players_get_what_the_stream_is)
{
	FOR_EACH (i, plays) {
		struct sdp_answer_options options = options_of(SDP_WHEP);
		struct media_track tracks[2] = {
			{.id = 3,		  .kind = MEDIA_VIDEO, .codec = (uint8_t)plays[i].video},
			{ .id = 5,
				.kind = MEDIA_AUDIO,
				.codec = (uint8_t)plays[i].audio,
				.channels = 2},
		};

		snprintf(tracks[0].fmtp, sizeof(tracks[0].fmtp), "%s", plays[i].fmtp);
		options.tracks = tracks;
		options.track_count = plays[i].audio ? 2 : 1;
		options.transcodable = plays[i].transcodable;

		enum err err = run(offer_text, load(plays[i].file), &options);
		const char *got = err ? why : summary();

		if (err != plays[i].err || strcmp(got, plays[i].expected) != 0)
			fail_msg("row %zu: %s: %s", i, err_name(err), got);
		for (int j = 0; !err && j < plan.media_count; j++) {
			const struct sdp_plan_media *m = &plan.media[j];

			CHECK_EQ(m->track, m->kind == MEDIA_VIDEO ? 3 : 5);
			CHECK_EQ(m->transcode,
				m->kind == MEDIA_AUDIO && plays[i].audio == MEDIA_AAC);
		}
	}
}

TEST(a_stream_without_tracks_cannot_be_played)
{
	struct sdp_answer_options options = options_of(SDP_WHEP);

	options.track_count = 0;
	CHECK_EQ(run(offer_text, load("chrome156-recvonly"), &options), ERR_PHASE);
	CHECK_STR(why, "the stream has no tracks yet");
}

/* A small good offer; each row puts `put` for the first (or every) `take`. */
#define FINGERPRINT                                                              \
	"a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:" \
	"10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n"

static const char good[] =
	"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	"a=group:BUNDLE a v\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n"
	"a=setup:actpass\r\n" FINGERPRINT "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:a\r\n"
	"a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:96 opus/48000/2\r\n"
	"m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:v\r\na=sendrecv\r\na=rtcp-mux\r\n"
	"a=rtpmap:97 VP8/90000\r\n";

static const struct {
	const char *take, *put;
	enum err err;
	const char *why; /* or the summary */
} wrongs[] = {
	{"",				      "",				       ERR_OK,		 "0 OPUS 96/0 mid a, 1 VP8 97/0 mid v"		      },
	{"\r\n",				  "\n",				     ERR_OK,	       "0 OPUS 96/0 mid a, 1 VP8 97/0 mid v"		    },
	{"s=-\r\n",			       "\r\n",				   ERR_OK,	    "0 OPUS 96/0 mid a, 1 VP8 97/0 mid v"			 },
	{"a=setup:actpass\r\n",			"",				       ERR_OK,	    "0 OPUS 96/0 mid a, 1 VP8 97/0 mid v"			 },
	{"m=audio 9 ",			    "m=audio 0 ",			     ERR_OK,	     "1 VP8 97/0 mid v"				       },
	{"a=group:BUNDLE a v",		       "a=group:BUNDLE v",			   ERR_OK,		   "1 VP8 97/0 mid v"				     },
	{"v=0",				   "v=1",				    ERR_FORMAT,	   "not an SDP: the first line is not v=0"		  },
	{"v=0",				   "{\"sdp\":1}",			       ERR_FORMAT,	   "not an SDP: the first line is not v=0"		  },
	{"s=-",				   "hello",				  ERR_FORMAT,	     "line 3 is not of the form x=text"		       },
	{"s=-",				   "s=\x01",				 ERR_FORMAT,	      "line 3 is not of the form x=text"			},
	{FINGERPRINT,			     "",				       ERR_FORMAT,	      "offer has no a=fingerprint"				  },
	{"sha-256",			       "md5",				    ERR_FORMAT,	       "a=fingerprint is by none of sha-256, sha-384, sha-512"},
	{":1F\r\n",			       "\r\n",				   ERR_FORMAT,	"line 9: malformed a=fingerprint"			 },
	{":1F\r\n",			       ":1G\r\n",				ERR_FORMAT,	   "line 9: malformed a=fingerprint"			    },
	{"a=ice-ufrag:abcd\r\n",			 "",				       ERR_FORMAT,	 "offer has no a=ice-ufrag"				   },
	{"a=ice-pwd:0123456789abcdef012345\r\n",	 "",					     ERR_FORMAT,	 "offer has no a=ice-pwd"				 },
	{"ufrag:abcd",			    "ufrag:abc",				    ERR_FORMAT,	"a=ice-ufrag or a=ice-pwd is malformed"		       },
	{"a=setup:actpass",			    "a=setup:holdconn",			ERR_FORMAT,	    "a=setup:holdconn cannot be answered"			 },
	{"a=setup:actpass",			    "a=setup:maybe",			     ERR_FORMAT,	 "line 8: malformed a=setup"			    },
	{"a=group:BUNDLE a v\r\n",		   "",				       ERR_FORMAT,	   "offer has no a=group:BUNDLE"				},
	{"a=rtcp-mux\r\n",			   "",				       ERR_FORMAT,	   "m-line 0 (audio) has no a=rtcp-mux"		       },
	{"UDP/TLS/RTP/SAVPF",		      "RTP/AVP",				 ERR_FORMAT,
		"m-line 0 (audio): protocol RTP/AVP is not UDP/TLS/RTP/SAVPF"												},
	{"a=mid:v",			       "a=mid:a",				ERR_FORMAT,	   "two m-lines have the same a=mid:a"		      },
	{"a=mid:v",			       "a=mid:0123456789012345678901234567890x", ERR_FORMAT,
		"line 16: malformed a=mid"																   },
	{"m=video 9 ",			    "m=video 70000 ",			 ERR_FORMAT,	     "line 15: malformed m= line"				 },
	{"SAVPF 97",			      "SAVPF 128",				  ERR_FORMAT,	      "line 15: malformed m= line"				  },
	{"SAVPF 97",			      "SAVPF",				  ERR_FORMAT,	  "line 15: malformed m= line"			      },
	{"97 VP8/90000",			  "97 VP8",				   ERR_FORMAT,	       "line 19: malformed a=rtpmap"			    },
	{"97 VP8/90000",			  "97 H263/90000",			  ERR_CODEC,
		"m-line 1: no video codec in common, offered: H263"													  },
	{"opus/48000/2",			  "PCMU/8000",			      ERR_CODEC,
		"m-line 0: no audio codec in common, offered: PCMU"													  },
	{"a=sendrecv",			    "a=inactive",			     ERR_OK,	     "1 VP8 97/0 mid v"				       },
	{"m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:a\r\na=sendrecv\r\na=rtcp-mux\r\n"
	 "a=rtpmap:96 opus/48000/2\r\n", "m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:a\r\na=rtcp-mux\r\na=rtpmap:98 "
		"VP8/90000\r\n",		ERR_UNPROCESSABLE, "offer sends more video tracks than allowed"	       },
	{"a=setup:actpass",			    "a=ice-lite",				  ERR_UNPROCESSABLE,
		"offer is from an ICE-lite agent, as we are: nobody would send checks"										       },
};

static size_t replace(char *to, const char *text, const char *take, const char *put, bool all)
{
	size_t used = 0;

	for (const char *at = text; *at;) {
		if (*take && !strncmp(at, take, strlen(take))) {
			used += (size_t)sprintf(to + used, "%s", put);
			at += strlen(take);
			if (!all)
				take = "";
		} else {
			to[used++] = *at++;
		}
	}
	to[used] = '\0';
	return used;
}

TEST(wrong_offers_get_a_sentence)
{
	FOR_EACH (i, wrongs) {
		struct sdp_answer_options options = options_of(SDP_WHIP);
		bool all = !strcmp(wrongs[i].take, "\r\n");
		size_t size = replace(offer_text, good, wrongs[i].take, wrongs[i].put, all);
		enum err err = run(offer_text, size, &options);
		const char *got = err ? why : summary();

		if (err != wrongs[i].err || strcmp(got, wrongs[i].why) != 0)
			fail_msg("row %zu: %s: %s", i, err_name(err), got);
	}
}

TEST(bounds_are_answered)
{
	size_t used = (size_t)sprintf(offer_text, "v=0\r\n");

	for (int i = 0; i <= SDP_MEDIA_MAX; i++)
		used += (size_t)sprintf(offer_text + used, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
	CHECK_EQ(sdp_offer_parse(&offer, offer_text, used, why), ERR_UNPROCESSABLE);
	CHECK_STR(why, "offer has more than 16 m-lines");

	memset(offer_text, '\n', OFFER_MAX);
	memcpy(offer_text, "v=0\n", 4);
	CHECK_EQ(sdp_offer_parse(&offer, offer_text, SDP_TEXT_MAX + 1, why), ERR_TOO_LARGE);
	CHECK_EQ(sdp_offer_parse(&offer, offer_text, SDP_TEXT_MAX, why), ERR_FORMAT);
	CHECK_STR(why, "offer has no m= line");
	CHECK_EQ(sdp_offer_parse(&offer, offer_text, 0, why), ERR_FORMAT);

	/* more formats, sources and rids than are kept */
	used = (size_t)sprintf(offer_text, "v=0\nm=video 9 UDP/TLS/RTP/SAVPF");
	for (int i = 0; i < 128; i++)
		used += (size_t)sprintf(offer_text + used, " %d", i);
	for (int i = 1; i < 100; i++)
		used += (size_t)sprintf(offer_text + used,
			"\na=ssrc:%d cname:c\na=rid:r%d send\na=ssrc-group:FID %d %d", i, i, i,
			i + 1000);
	CHECK_OK(sdp_offer_parse(&offer, offer_text, used, why));
	CHECK_EQ(offer.media[0].format_count, SDP_FORMATS_MAX);
	CHECK_EQ(offer.media[0].source_count, SDP_SOURCES_MAX);
	CHECK_EQ(offer.media[0].rid_count, SDP_RIDS_MAX);
}

TEST(every_truncation_is_survived)
{
	size_t size = load("chrome156-simulcast");

	for (size_t cut = 0; cut < size; cut += cut < 2000 ? 1 : 7) {
		struct sdp_answer_options options = options_of(cut & 1 ? SDP_WHIP : SDP_WHEP);
		char *copy = test_malloc(cut + 1);

		memcpy(copy, offer_text, cut);
		run(copy, cut, &options);
		test_free(copy);
	}
}

TEST(a_small_answer_buffer_is_an_error)
{
	struct sdp_answer_options options = options_of(SDP_WHEP);

	CHECK_OK(run(offer_text, load("chrome156-recvonly"), &options));

	size_t needed = strlen(answer);

	for (size_t size = 0; size <= needed; size += size + 40 < needed ? 37 : 1) {
		struct writer w = writer_of(answer, size);

		CHECK_EQ(sdp_answer_write(&w, &plan, &offer, &options),
			size < needed ? ERR_NO_SPACE : ERR_OK);
	}
}

TEST(a_plan_from_other_memory_is_checked)
{
	struct sdp_answer_options options = options_of(SDP_WHIP);
	struct sdp_plan bad;

	CHECK_OK(run(offer_text, load("chrome156-sendonly"), &options));
#define SPOILED(change)                          \
	do {                                     \
		bad = plan;                      \
		change;                          \
		CHECK(!sdp_plan_is_valid(&bad)); \
	} while (0)
	SPOILED(bad.role = 2);
	SPOILED(bad.media_count = 0);
	SPOILED(bad.media_count = SDP_LIVE_MAX + 1);
	SPOILED(bad.fingerprint_size = SDP_FINGERPRINT_MAX + 1);
	SPOILED(bad.media[0].codec = MEDIA_CODEC_COUNT);
	SPOILED(bad.media[0].kind = MEDIA_VIDEO);
	SPOILED(bad.media[1].line = SDP_MEDIA_MAX);
	SPOILED(bad.media[1].track = MEDIA_TRACKS_MAX);
	SPOILED(bad.media[1].payload_type = 128);
	SPOILED(memset(bad.media[1].mid, 'x', sizeof(bad.media[1].mid)));
	SPOILED(memset(bad.cname, 'x', sizeof(bad.cname)));
	SPOILED(memset(bad.remote.pwd, 'x', sizeof(bad.remote.pwd)));
}

/* RFC 8445 5.1.2.1 and RFC 6544 4.2, by hand */
static const struct {
	enum net_transport transport;
	unsigned index;
	uint32_t priority;
} priorities[] = {
	{NET_UDP, 0,  (126u << 24) + (65535u << 8) + 255	       },
	{NET_UDP, 1,  (126u << 24) + (65534u << 8) + 255	       },
	{NET_TCP, 0,  (90u << 24) + (((4u << 13) + 8191) << 8) + 255},
	{NET_TCP, 15, (90u << 24) + (((4u << 13) + 8176) << 8) + 255},
};

TEST(candidate_priorities)
{
	FOR_EACH (i, priorities) {
		struct net_addr address = {
			.family = 4, .transport = (uint8_t)priorities[i].transport};

		CHECK_EQ(sdp_candidate_priority(&address, priorities[i].index),
			priorities[i].priority);
	}
}

static const struct {
	const char *text;
	enum err err;
	const char *why;
	unsigned candidates;
	bool end, restart;
} frags[] = {
	{"a=ice-ufrag:KY8V\r\na=ice-pwd:3k5C6aVnrYYFYvaJExqTHmnY\r\nm=audio 9 RTP/AVP "
	 "0\r\na=mid:0\r\n"
	 "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n", ERR_OK,	"",						1, true,  false},
	{"m=audio 9 UDP/TLS/RTP/SAVPF "
	 "0\na=mid:0\na=ice-ufrag:newo\na=ice-pwd:0123456789abcdef012345",		     ERR_OK,	"",						0, false, true },
	{"a=ice-ufrag:KY8V\r\na=ice-pwd:another-password-22-chars\r\n",					ERR_OK,	"",						    0, false, true },
	{"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ "
	 "host\r\n"
	 "a=candidate:2 1 udp 1 192.0.2.1 2 typ host\r\n",				     ERR_OK,	"",						2, false, false},
	{"a=end-of-candidates\r\n",								     ERR_OK,	    "",						0, true,	 false},
	{"",											    ERR_FORMAT, "fragment has neither candidates nor credentials", 0, false, false},
	{"{}",											  ERR_FORMAT, "line 1 is not of the form x=text",		       0, false, false},
	{"a=ice-ufrag:KY8V\r\n",									ERR_FORMAT, "fragment has a=ice-ufrag but no a=ice-pwd",	  0, false,
		false																					},
	{"a=ice-pwd:0123456789abcdef012345\r\n",							ERR_FORMAT,
		"fragment has a=ice-pwd but no a=ice-ufrag",														  0, false, false},
	{"a=ice-ufrag:KY8V\r\na=ice-pwd:short\r\n",						     ERR_FORMAT,
		"a=ice-ufrag or a=ice-pwd is malformed",														      0, false, false},
	{"a=candidate:1\r\na=mid:\r\n",								 ERR_FORMAT, "line 2: malformed a=mid",			       0, false, false},
};

TEST(fragments_are_trickle_or_restart)
{
	struct ice_credentials remote = {"KY8V", "3k5C6aVnrYYFYvaJExqTHmnY"};
	static struct sdp_frag frag;

	FOR_EACH (i, frags) {
		enum err err = sdp_frag_parse(&frag, frags[i].text, strlen(frags[i].text), why);

		if (err != frags[i].err || strcmp(why, frags[i].why) != 0)
			fail_msg("row %zu: %s: %s", i, err_name(err), why);
		if (err)
			continue;
		CHECK_EQ(frag.candidate_count, frags[i].candidates);
		CHECK_EQ(frag.end_of_candidates, frags[i].end);
		CHECK_EQ(sdp_frag_is_restart(&frag, &remote), frags[i].restart);
	}
	memset(offer_text, '\n', OFFER_MAX);
	CHECK_EQ(sdp_frag_parse(&frag, offer_text, SDP_TEXT_MAX + 1, why), ERR_TOO_LARGE);
}

TEST(the_answer_to_a_restart)
{
	struct sdp_answer_options options = options_of(SDP_WHIP);
	struct ice_credentials local = {"newo", "our-next-password-22-ch"};
	struct writer w = writer_of(answer, SDP_ANSWER_MAX);

	CHECK_OK(run(offer_text, load("gstreamer-whip"), &options));
	CHECK_OK(sdp_frag_write(&w, &plan, &local, options.candidates, 1));
	answer[writer_used(&w)] = '\0';
	CHECK_STR(answer, "a=ice-lite\r\na=group:BUNDLE video0 audio1\r\n"
			  "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:video0\r\n"
			  "a=ice-ufrag:newo\r\na=ice-pwd:our-next-password-22-ch\r\n"
			  "a=candidate:1 1 udp 2130706431 192.0.2.1 8000 typ host\r\n"
			  "a=end-of-candidates\r\n");
}
