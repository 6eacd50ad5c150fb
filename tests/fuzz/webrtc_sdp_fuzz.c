/* SPDX-License-Identifier: Apache-2.0
 *
 * An SDP offer, answered as WHIP and as WHEP, and the same bytes as a fragment of PATCH. What we
 * answer must be readable by ourselves and fit its bound, whatever was offered.
 */
#include "actors/webrtc/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct media_track tracks[] = {
	{.id = 0,	  .kind = MEDIA_VIDEO, .codec = MEDIA_H264, .fmtp = "profile-level-id=64001f"},
	{.id = 1,		  .kind = MEDIA_AUDIO,			       .codec = MEDIA_AAC,		   .channels = 2},
	{.id = 2, .kind = MEDIA_VIDEO,		       .codec = MEDIA_VP9			 },
};
static const struct net_addr candidates[] = {
	{.family = 4, .transport = NET_UDP, .port = 8000, .ip = {192, 0, 2, 1}		      },
	{.family = 6, .transport = NET_TCP, .port = 8000, .ip = {0x20, 1, 0xd, 0xb8, [15] = 1}},
};

static void answer(const struct sdp_offer *offer, enum sdp_role role)
{
	static char text[SDP_ANSWER_MAX];
	static struct sdp_offer again;
	static struct sdp_plan plan;
	struct sdp_answer_options options = {
		.role = role,
		.local = {"ours", "our-password-is-22-char"},
		.candidates = candidates,
		.candidate_count = 2,
		.audio_max = 4,
		.video_max = 4,
		.dependency_descriptor = true,
		.simulcast_last = true,
		.cname = "cname",
		.ssrc = { 1,  2,  3,  4,  5,	6, 7, 8},
		.rtx_ssrc = {			     11, 12, 13, 14, 15, 16, 17, 18},
		.tracks = tracks,
		.track_count = sizeof(tracks) / sizeof(tracks[0]),
		.transcodable = 1u << MEDIA_OPUS,
	};
	struct writer w = writer_of(text, sizeof(text));
	char why[SDP_WHY_MAX];

	if (sdp_answer_plan(&plan, offer, &options, why)) {
		MUST(why[0]);
		return;
	}
	MUST(!why[0] && sdp_plan_is_valid(&plan));
	MUST(sdp_answer_write(&w, &plan, offer, &options) == ERR_OK);
	MUST(sdp_offer_parse(&again, text, writer_used(&w), why) == ERR_OK);
	MUST(again.media_count == offer->media_count);
	w = writer_of(text, sizeof(text));
	MUST(sdp_frag_write(&w, &plan, &options.local, candidates, 2) == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sdp_offer offer;
	static struct sdp_frag frag;
	char why[SDP_WHY_MAX];

	if (sdp_offer_parse(&offer, (const char *)data, size, why) == ERR_OK) {
		answer(&offer, SDP_WHIP);
		answer(&offer, SDP_WHEP);
	} else {
		MUST(why[0]);
	}
	if (sdp_frag_parse(&frag, (const char *)data, size, why) == ERR_OK)
		MUST(ice_credentials_are_valid(&frag.credentials));
	else
		MUST(why[0]);
	return 0;
}
