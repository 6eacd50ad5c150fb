/* SPDX-License-Identifier: Apache-2.0
 *
 * session: what an answer is made of, and what the plan that it says means for the session.
 */
#include "actors/http/precondition.h"
#include "actors/webrtc/session.h"
#include "runtime/config.h"

#include <stdio.h>

static uint8_t codec_order(struct actor *self, enum media_codec order[SDP_CODEC_ORDER_MAX])
{
	const struct config *config = actor_config(self);
	char text[64];
	uint8_t count = 0;

	text_copy(text, sizeof(text), config ? config->webrtc_codec_order : "");
	for (char *rest, *word = strtok_r(text, ",", &rest); word && count < SDP_CODEC_ORDER_MAX;
		word = strtok_r(NULL, ",", &rest)) {
		order[count] = media_codec_from_name(word);
		count += order[count] != MEDIA_CODEC_NONE;
	}
	return count;
}

int session_tracks_max(struct actor *self)
{
	const struct config *config = actor_config(self);
	int max = config ? (int)config->webrtc_tracks_max : SESSION_TRACKS_MAX;

	return max < SESSION_TRACKS_MAX ? max : SESSION_TRACKS_MAX;
}

void session_options(struct actor *self, const struct session *s, const struct session_slot *slot,
	struct sdp_answer_options *options)
{
	int a_kind = (session_tracks_max(self) + 1) / 2;

	*options = (struct sdp_answer_options){
		.role = s->st.play ? SDP_WHEP : SDP_WHIP,
		.session_id = s->st.number >> 2,
		.local = slot->local,
		.candidates = s->port->candidates,
		.candidate_count = s->port->candidate_count,
		.audio_max = (uint8_t)a_kind,
		.video_max = (uint8_t)a_kind,
		.cname = slot->cname,
		.stream_id = "",
		.simulcast_last = true,
		.transcodable = 0,
	};
	memcpy(options->fingerprint, s->port->fingerprint, sizeof(options->fingerprint));
	memcpy(options->ssrc, slot->ssrc, sizeof(options->ssrc));
	memcpy(options->rtx_ssrc, slot->rtx_ssrc, sizeof(options->rtx_ssrc));
	options->codec_order_count = codec_order(self, options->codec_order);
}

static void to_hex(const uint8_t *bytes, size_t size, char *text)
{
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void session_make_identity(struct actor *self, struct session *s, struct session_slot *slot)
{
	uint8_t random[SESSION_SECRET_SIZE / 2 + ICE_RANDOM_SIZE + 8];

	actor_random(self, random, sizeof(random));
	to_hex(random, SESSION_SECRET_SIZE / 2, s->st.secret);
	ice_credentials_make(&slot->local, random + SESSION_SECRET_SIZE / 2);
	to_hex(random + SESSION_SECRET_SIZE / 2 + ICE_RANDOM_SIZE, 8, slot->cname);
	s->st.number = actor_random_u64(self);
	/* distinct by their low bits, never 0 */
	uint32_t base = (uint32_t)actor_random_u64(self) & ~UINT32_C(0x1F);

	for (uint32_t i = 0; i < SDP_LIVE_MAX; i++) {
		slot->ssrc[i] = base | (2 * i + 1);
		slot->rtx_ssrc[i] = base | (2 * i + 2);
	}
	etag_format(s->st.number, s->st.generation, s->st.etag);
}

void session_make_maps(struct session *s, const struct session_slot *slot)
{
	static const uint8_t kinds[SDP_EXTENSION_COUNT] = {
		[SDP_EXT_MID] = RTP_EXT_MID,
		[SDP_EXT_ABS_SEND_TIME] = RTP_EXT_ABS_SEND_TIME,
		[SDP_EXT_TRANSPORT_CC] = RTP_EXT_TRANSPORT_CC,
		[SDP_EXT_PLAYOUT_DELAY] = RTP_EXT_PLAYOUT_DELAY,
		[SDP_EXT_AUDIO_LEVEL] = RTP_EXT_AUDIO_LEVEL,
		[SDP_EXT_RID] = RTP_EXT_RID,
		[SDP_EXT_REPAIRED_RID] = RTP_EXT_REPAIRED_RID,
		[SDP_EXT_TOFFSET] = RTP_EXT_TOFFSET,
		[SDP_EXT_VIDEO_ORIENTATION] = RTP_EXT_VIDEO_ORIENTATION,
		[SDP_EXT_DEPENDENCY_DESCRIPTOR] = RTP_EXT_DEPENDENCY,
	};

	for (int i = 0; i < slot->plan.media_count; i++)
		for (int kind = 0; kind < SDP_EXTENSION_COUNT; kind++)
			if (slot->plan.media[i].extensions[kind])
				rtp_ext_map_set(&s->ext_maps[i], kinds[kind],
					slot->plan.media[i].extensions[kind]);
	if (s->st.play)
		play_make_layouts(s, slot);
}

void session_show_tracks(struct session *s, const struct session_slot *slot)
{
	s->st.tracks_count = slot->plan.media_count;
	for (int i = 0; i < slot->plan.media_count; i++) {
		const struct sdp_plan_media *media = &slot->plan.media[i];
		struct session_track *track = &s->st.tracks[i];

		text_copy(track->mid, sizeof(track->mid), media->mid);
		track->codec = media->codec;
		track->track = media->track;
		track->payload_type = media->payload_type;
		track->ssrc = s->st.play ? media->local_ssrc : media->remote_ssrc;
		track->rtx_ssrc = s->st.play ? media->local_rtx_ssrc : media->remote_rtx_ssrc;
	}
}
