/* SPDX-License-Identifier: Apache-2.0
 *
 * SDP of WebRTC: an offer in, an answer and a plan out (RFC 8866, RFC 8829 5.3; WHIP is RFC 9725,
 * WHEP draft-ietf-wish-whep). Three steps, in three files:
 *
 *   text --sdp_offer_parse--> sdp_offer --sdp_answer_plan--> sdp_plan --sdp_answer_write--> text
 *
 * The offer borrows from its text and lives as long as one request. The plan is what a session
 * keeps: plain, no pointers, bounded. sdp_frag_* are the fragments of PATCH (RFC 8840).
 *
 * Strict where a mistake would give a session that cannot work (no fingerprint, no rtcp-mux, …),
 * with a sentence for the person who has to repair it; lenient towards everything that is not used.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_SDP_H
#define MILLRACE_SDP_H

#include "actors/webrtc/ice.h"
#include "schemas/media.h"

enum {
	SDP_TEXT_MAX = 64 * 1024,   /* bytes of an offer */
	SDP_ANSWER_MAX = 32 * 1024, /* bytes that every answer or fragment of ours fits in */
	SDP_WHY_MAX = 200,	    /* bytes of the sentence that explains an error, with its NUL */
	SDP_MEDIA_MAX = 16,	    /* m-lines of an offer; more is an error */
	SDP_FORMATS_MAX = 64,	    /* payload types an m-line; the rest is not looked at */
	SDP_SOURCES_MAX = 16,	    /* SSRCs an m-line; the rest is not looked at */
	SDP_RIDS_MAX = 8,
	SDP_RID_MAX = 16,  /* bytes: one of a one-byte header extension, RFC 8285 4.2 */
	SDP_MID_MAX = 31,  /* bytes; RFC 8843 has no bound, browsers use 1 to 6 */
	SDP_NAME_MAX = 63, /* bytes of a cname or msid part */
	SDP_LIVE_MAX = 8,  /* m-lines that can carry media in one session */
	SDP_CODEC_ORDER_MAX = 8,
	SDP_CANDIDATES_MAX = 16,
	SDP_FINGERPRINT_MAX = 64, /* bytes: SHA-512 */
};

/* Borrowed text, not terminated. at may be NULL when size is 0. */
struct sdp_string {
	const char *at;
	size_t size;
};

enum sdp_role {
	SDP_WHIP, /* we receive what the offerer sends */
	SDP_WHEP, /* we send what the offerer asks for */
};

enum sdp_kind { SDP_OTHER = 0, SDP_AUDIO = MEDIA_AUDIO, SDP_VIDEO = MEDIA_VIDEO };

enum sdp_direction { SDP_INACTIVE = 0, SDP_SENDONLY = 1, SDP_RECVONLY = 2, SDP_SENDRECV = 3 };

enum sdp_setup { SDP_SETUP_NONE, SDP_ACTPASS, SDP_ACTIVE, SDP_PASSIVE, SDP_HOLDCONN };

enum sdp_hash { SDP_HASH_NONE, SDP_SHA256, SDP_SHA384, SDP_SHA512 };

/* What a format is to us beyond enum media_codec. */
enum sdp_format_use { SDP_FORMAT_UNKNOWN, SDP_FORMAT_CODEC, SDP_FORMAT_RTX };

enum sdp_feedback {		   /* a=rtcp-fb */
	SDP_NACK = 1 << 0,	   /* RFC 4585 4.2 */
	SDP_PLI = 1 << 1,	   /* nack pli */
	SDP_FIR = 1 << 2,	   /* ccm fir, RFC 5104 */
	SDP_TRANSPORT_CC = 1 << 3, /* draft-holmer-rmcat-transport-wide-cc-extensions */
	SDP_REMB = 1 << 4,	   /* goog-remb, draft-alvestrand-rmcat-remb */
};

/* Header extensions (a=extmap, RFC 8285) by meaning:
 * name, URI, offered to us it may be answered for audio (1) and video (2), in WHIP and WHEP */
#define SDP_EXTENSION_TABLE(X)                                                                    \
	X(MID, "urn:ietf:params:rtp-hdrext:sdes:mid", 3, true, true)                              \
	X(ABS_SEND_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", 3, true,   \
		true)                                                                             \
	X(TRANSPORT_CC,                                                                           \
		"http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", 3,   \
		true, true)                                                                       \
	X(PLAYOUT_DELAY, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", 2, true,   \
		true)                                                                             \
	X(AUDIO_LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level", 1, true, true)              \
	X(RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", 2, true, false)                   \
	X(REPAIRED_RID, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", 2, true, false) \
	X(TOFFSET, "urn:ietf:params:rtp-hdrext:toffset", 2, true, false)                          \
	X(VIDEO_ORIENTATION, "urn:3gpp:video-orientation", 2, true, true)                         \
	X(DEPENDENCY_DESCRIPTOR,                                                                  \
		"https://aomediacodec.github.io/av1-rtp-spec/"                                    \
		"#dependency-descriptor-rtp-header-extension",                                    \
		2, true, true)

enum sdp_extension {
#define X(name, uri, kinds, whip, whep) SDP_EXT_##name,
	SDP_EXTENSION_TABLE(X)
#undef X
		SDP_EXTENSION_COUNT
};

/* ---- the offer ---- */

struct sdp_format { /* one payload type of an m-line */
	uint8_t payload_type;
	uint8_t use;	  /* enum sdp_format_use */
	uint8_t codec;	  /* enum media_codec; MEDIA_CODEC_NONE when it is none of ours */
	uint8_t channels; /* audio; 1 when not said */
	uint8_t apt;	  /* RTX: payload type it repairs (RFC 4588 8.6) */
	bool has_apt;
	uint16_t feedback; /* enum sdp_feedback */
	uint32_t clock_rate;
	struct sdp_string name; /* encoding name; empty without a=rtpmap */
	struct sdp_string fmtp; /* parameters as offered */
};

struct sdp_source { /* a=ssrc */
	uint32_t ssrc;
	uint32_t rtx_ssrc; /* from a=ssrc-group:FID; 0 = none */
	bool is_rtx;	   /* it is the second of a FID group */
	struct sdp_string cname;
};

struct sdp_transport { /* what may stand in the session part or in an m-line */
	struct sdp_string ufrag;
	struct sdp_string pwd;
	uint8_t setup;		  /* enum sdp_setup */
	uint8_t hash;		  /* enum sdp_hash of the fingerprint taken; SDP_HASH_NONE = none */
	uint8_t fingerprint_size; /* bytes */
	bool has_unknown_hash;	  /* there was a fingerprint, by a hash that we do not take */
	uint8_t fingerprint[SDP_FINGERPRINT_MAX];
};

struct sdp_media {	   /* one m-line */
	uint8_t kind;	   /* enum sdp_kind */
	uint8_t direction; /* enum sdp_direction */
	uint8_t format_count;
	uint8_t source_count;
	uint8_t rid_count;
	bool port_zero; /* refused by the offerer (unless bundle_only) */
	bool bundle_only;
	bool bundled; /* its mid is in the BUNDLE group */
	bool rtcp_mux;
	bool rtcp_rsize;
	bool simulcast; /* a=simulcast:send …; recognised, answered with one stream */
	bool end_of_candidates;
	uint16_t candidate_count;
	uint16_t feedback_all; /* a=rtcp-fb:*, merged into the formats */
	struct sdp_string kind_text;
	struct sdp_string protocol;
	struct sdp_string first_format; /* as written, for the m-line of a refusal */
	struct sdp_string mid;
	struct sdp_string stream_id; /* a=msid */
	struct sdp_string rids[SDP_RIDS_MAX];
	struct sdp_transport transport;
	uint8_t extensions[SDP_EXTENSION_COUNT];	   /* id, 0 = not offered */
	uint8_t extension_directions[SDP_EXTENSION_COUNT]; /* enum sdp_direction, the offerer's */
	struct sdp_format formats[SDP_FORMATS_MAX];
	struct sdp_source sources[SDP_SOURCES_MAX];
};

/* About 62 kB: scratch memory of the caller, not a member of a session. */
struct sdp_offer {
	uint8_t media_count;
	bool has_bundle;
	bool extmap_allow_mixed;
	bool ice_lite;
	bool trickle;			/* a=ice-options:trickle */
	struct sdp_string bundle;	/* mids, separated by spaces */
	struct sdp_transport transport; /* of the session part */
	struct sdp_media media[SDP_MEDIA_MAX];
};

/* Parses `size` bytes; *offer borrows from `text`. LF and CRLF, a missing end of the last line and
 * blank lines are accepted. `why` holds SDP_WHY_MAX bytes and gets a sentence when an error is
 * returned, else "".
 * ERR_TOO_LARGE, ERR_FORMAT: a line that cannot be read; ERR_UNPROCESSABLE: too many m-lines. */
enum err sdp_offer_parse(struct sdp_offer *offer, const char *text, size_t size, char *why);

/* ---- the plan ---- */

struct sdp_plan_media {
	char mid[SDP_MID_MAX + 1];
	uint8_t line;	   /* index of the m-line in offer and answer */
	uint8_t kind;	   /* enum media_kind */
	uint8_t codec;	   /* enum media_codec on the wire */
	uint8_t track;	   /* WHEP: id of the media_track sent; WHIP: index in the plan */
	uint8_t transcode; /* WHEP: 1 = the track's codec differs and is transcoded to `codec` */
	uint8_t payload_type;
	uint8_t rtx_payload_type; /* 0 = no retransmission by RFC 4588 */
	uint8_t channels;	  /* audio as SDP counts it (opus: always 2); video 0 */
	uint8_t stereo;		  /* audio: 1 = the offerer wants or sends stereo */
	uint8_t rtcp_rsize;
	uint16_t feedback; /* enum sdp_feedback, both sides agree */
	uint32_t clock_rate;
	uint32_t local_ssrc; /* WHEP: what we send with (given); WHIP: of our receiver reports */
	uint32_t local_rtx_ssrc;  /* WHEP with RTX; else 0 */
	uint32_t remote_ssrc;	  /* WHIP, if signalled; else 0: learnt from mid or payload type */
	uint32_t remote_rtx_ssrc; /* WHIP, if signalled; else 0 */
	uint8_t extensions[SDP_EXTENSION_COUNT]; /* id by enum sdp_extension, 0 = not agreed */
	char fmtp[MEDIA_FMTP_MAX + 1];		 /* format parameters answered, "" = none */
	char rid[SDP_RID_MAX + 1];		 /* the one simulcast stream accepted, "" = none */
};

struct sdp_plan {
	uint8_t role;	     /* enum sdp_role */
	uint8_t media_count; /* 1 … SDP_LIVE_MAX */
	uint8_t dtls_active; /* 1 = we send the ClientHello; 0 (usual) = we wait for it */
	uint8_t bundled;     /* the offer had a BUNDLE group, the answer has one */
	uint8_t extmap_allow_mixed;
	uint8_t fingerprint_hash; /* enum sdp_hash, of the peer's certificate */
	uint8_t fingerprint_size; /* bytes */
	uint8_t fingerprint[SDP_FINGERPRINT_MAX];
	struct ice_credentials remote; /* the peer's */
	char cname[SDP_NAME_MAX + 1];  /* ours */
	/* WHEP: msid of all our tracks, so that they are played in sync */
	char stream_id[SDP_NAME_MAX + 1];
	struct sdp_plan_media media[SDP_LIVE_MAX];
};

/* What we are and want; borrowed during the calls only. */
struct sdp_answer_options {
	enum sdp_role role;
	uint64_t session_id;		   /* o= line, any number below 2^62 */
	struct ice_credentials local;	   /* ours */
	uint8_t fingerprint[32];	   /* SHA-256 of our certificate */
	const struct net_addr *candidates; /* best first; UDP as host, TCP as passive candidates */
	uint8_t candidate_count;	   /* at most SDP_CANDIDATES_MAX */
	uint8_t audio_max;		   /* WHIP: live m-lines of the kind; 0 = 1 */
	uint8_t video_max;
	bool dependency_descriptor;	 /* agree to that extension */
	const char *cname;		 /* at most SDP_NAME_MAX bytes of token characters */
	const char *stream_id;		 /* likewise; "" = "millrace" */
	uint32_t ssrc[SDP_LIVE_MAX];	 /* one a live m-line, random, distinct, not 0 */
	uint32_t rtx_ssrc[SDP_LIVE_MAX]; /* likewise */

	/* WHIP, an offer of simulcast: false = no a=simulcast in the answer, the offerer then sends
	 * its first stream only (for Chrome the one listed first, usually the smallest); true = of the
	 * rids listed the last is accepted (usually the largest) */
	bool simulcast_last;

	/* WHIP: video codecs that we take, best first; count 0 = H264, VP8, VP9, AV1, H265 */
	enum media_codec codec_order[SDP_CODEC_ORDER_MAX];
	uint8_t codec_order_count;

	/* WHEP: the tracks of the stream, and what a track of another codec of the same kind can be
	 * turned into: 1u << enum media_codec, e.g. 1u << MEDIA_OPUS */
	const struct media_track *tracks;
	uint8_t track_count;
	uint32_t transcodable;
};

/* Decides for every m-line. `why` as in sdp_offer_parse.
 * ERR_FORMAT: what WebRTC requires is missing (fingerprint, ufrag, rtcp-mux, …);
 * ERR_UNPROCESSABLE: more tracks than allowed, or nothing is sent (WHIP) or asked for (WHEP);
 * ERR_CODEC: no common codec; ERR_PHASE: WHEP without tracks. */
enum err sdp_answer_plan(struct sdp_plan *plan, const struct sdp_offer *offer,
	const struct sdp_answer_options *options, char *why);

/* The part of the plan that says how to reach and trust the peer: of sdp_answer_plan, and of a client
 * that reads an answer (sdp_client.h), whose server may be an ICE-lite agent. The plan has its
 * m-lines. Errors as above. */
enum err sdp_plan_transport(
	struct sdp_plan *plan, const struct sdp_offer *offer, bool lite_is_fine, char *why);

/* The answer of a plan made from this offer with these options: m-lines in the order of the offer,
 * those not in the plan refused with port 0. Appended to `w` without NUL. ERR_NO_SPACE. */
enum err sdp_answer_write(struct writer *w, const struct sdp_plan *plan,
	const struct sdp_offer *offer, const struct sdp_answer_options *options);

/* Counts, indices and texts within bounds: for a plan read from memory that another process wrote. */
bool sdp_plan_is_valid(const struct sdp_plan *plan);

/* ---- fragments: application/trickle-ice-sdpfrag, RFC 8840 9 ---- */

struct sdp_frag {
	bool has_credentials;
	bool end_of_candidates;
	uint16_t candidate_count;
	char mid[SDP_MID_MAX + 1];	    /* of the first m-line or a=mid; "" = none */
	struct ice_credentials credentials; /* with has_credentials */
};

/* The body of a PATCH. `why` as above. ERR_TOO_LARGE, ERR_FORMAT. */
enum err sdp_frag_parse(struct sdp_frag *frag, const char *text, size_t size, char *why);

/* Does it ask for an ICE restart: credentials other than the peer's known ones (ice_remote)? */
bool sdp_frag_is_restart(const struct sdp_frag *frag, const struct ice_credentials *remote);

/* The answer to a restart: new local credentials and the candidates again (RFC 9725 4.3.3). */
enum err sdp_frag_write(struct writer *w, const struct sdp_plan *plan,
	const struct ice_credentials *local, const struct net_addr *candidates,
	uint8_t candidate_count);

/* Priority of a host candidate, component 1: RFC 8445 5.1.2.1, for TCP RFC 6544 4.2. `index` is its
 * place in the list, 0 = preferred. */
uint32_t sdp_candidate_priority(const struct net_addr *address, unsigned index);

/* Our candidates as a=candidate lines, then a=end-of-candidates. */
void sdp_write_candidates(
	struct writer *w, const struct net_addr *candidates, uint8_t candidate_count);

#endif
