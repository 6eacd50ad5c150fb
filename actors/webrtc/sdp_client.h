/* SPDX-License-Identifier: Apache-2.0
 *
 * SDP of a WebRTC client: the offer that we make to a WHIP or WHEP server, and what its answer says
 * (RFC 8829 5.2 and 5.10, RFC 9725). An answer has the grammar of an offer and becomes the same kind
 * of plan (sdp.h).
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_SDP_CLIENT_H
#define MILLRACE_SDP_CLIENT_H

#include "actors/webrtc/sdp.h"

enum {
	SDP_CLIENT_OFFER_MAX = 8192, /* bytes that every offer of ours fits in */
	SDP_CLIENT_FORMATS_MAX = 20,
};

struct sdp_client_options {
	bool publish; /* else we watch */
	uint64_t session_id;
	struct ice_credentials local;
	uint8_t fingerprint[32]; /* SHA-256 */
	struct net_addr candidate;
	const char *cname;
	uint32_t ssrc[2],
		rtx_ssrc; /* publishing: video and audio, and of video's retransmissions */
};

/* What a payload type means in this session: an answer may leave several. */
struct sdp_client_format {
	uint8_t payload_type;
	uint8_t media;	 /* index in the plan */
	uint8_t codec;	 /* enum media_codec */
	uint8_t repairs; /* RTX: payload type of the original; 0 = it is no RTX */
};

struct sdp_candidate {
	struct net_addr address;
	uint32_t priority;
};

struct sdp_client_answer {
	struct sdp_plan plan;
	uint8_t format_count, candidate_count;
	struct sdp_client_format formats[SDP_CLIENT_FORMATS_MAX];
	struct sdp_candidate candidates[SDP_CANDIDATES_MAX];
};

/* Video is m-line 0, audio 1. ERR_NO_SPACE. */
enum err sdp_client_offer(struct writer *w, const struct sdp_client_options *options);

/* Reads the answer to it. `scratch` is memory for the parser. `why` as in sdp.h.
 * ERR_FORMAT, ERR_TOO_LARGE, ERR_CODEC: nothing was accepted. */
enum err sdp_client_read(struct sdp_client_answer *answer, const struct sdp_client_options *options,
	struct sdp_offer *scratch, const char *text, size_t size, char *why);

/* The value of a=candidate ("foundation 1 udp priority address port typ …"). ERR_FORMAT;
 * ERR_UNSUPPORTED: a name in place of an address, or component 2. */
enum err sdp_candidate_parse(struct sdp_candidate *candidate, struct sdp_string value);

#endif
