/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: WebRTC clients outside of the node, made of our own engines. sim_rtc.c is what both
 * kinds share (HTTP, ICE, DTLS, SRTP), sim_rtc_publish.c the publisher, sim_rtc_play.c the viewer.
 *
 *   asking --201--> connecting --checked, keys--> up --DELETE sent--> leaving
 *      |                |                          |                     |
 *      '---------- refused, nobody answers, has left, was silent --------'--> (none)
 */
#ifndef MILLRACE_SIM_RTC_H
#define MILLRACE_SIM_RTC_H

#include "actors/webrtc/dtls.h"
#include "actors/webrtc/rtp_receiver.h"
#include "actors/webrtc/rtp_sender.h"
#include "actors/webrtc/twcc.h"
#include "actors/webrtc/unseal.h"
#include "tests/sim/sim_edges.h"

enum {
	SIM_RTC_HISTORY = 256, /* packets that a publisher can send again; also a viewer's order */
	SIM_RTC_RTCP_SIZE = 1200,
	SIM_RTC_SEALED_MAX = SIM_RTC_RTCP_SIZE + SEAL_RTCP_OVERHEAD_MAX,
	SIM_RTC_REPORT_MS = 1000,
	SIM_RTC_VIDEO = 0,
	SIM_RTC_AUDIO = 1,
	SIM_RTC_TRACKS = 2,
};

enum sim_rtc_phase { SIM_RTC_ASKING, SIM_RTC_CONNECTING, SIM_RTC_UP, SIM_RTC_LEAVING };

enum sim_rtc_ask { SIM_RTC_ASK_NONE, SIM_RTC_ASK_CREATE, SIM_RTC_ASK_PATCH, SIM_RTC_ASK_DELETE };

/* A packet that a publisher has sent: all that makes it again. */
struct sim_rtc_sent {
	uint64_t index; /* SRTP's; 0 = none */
	uint32_t timestamp, frame;
	uint32_t send_time;
	uint16_t transport_seq, size;
	uint8_t part, parts;
	bool key;
};

struct sim_rtc_out {
	uint32_t ssrc;
	uint64_t next_index;
	uint32_t first_timestamp, frames, packets;
	struct sim_rtc_sent sent[SIM_RTC_HISTORY]; /* index modulo SIM_RTC_HISTORY */
};

struct sim_rtc_publishing {
	uint32_t number; /* of this publisher, in the run */
	int64_t began_us;
	bool wants_key;
	uint32_t rtx_ssrc;
	uint64_t rtx_index;
	uint16_t transport_seq;
	struct rtp_ext_layout layout;
	struct sim_rtc_out tracks[SIM_RTC_TRACKS];
};

/* A packet that came, in the order of its numbers. */
struct sim_rtc_heard {
	uint64_t track_seq; /* 0 = none */
	uint32_t timestamp;
	bool key, last;	      /* of its frame */
	bool begins, ends;    /* published by WebRTC: a frame; by RTMP: a NAL unit */
	uint8_t part;	      /* published by WebRTC */
	struct sim_mark mark; /* .publisher 0: none in it (parameter sets) */
};

struct sim_rtc_in {
	struct rtp_receiver receiver;
	bool known;
	struct sim_rtc_heard newest;
	struct sim_rtc_heard heard[SIM_RTC_HISTORY]; /* track_seq modulo SIM_RTC_HISTORY */
	int64_t last_us;			     /* something new came */
	uint64_t lost;				     /* given up until all was quiet */
};

struct sim_rtc_playing {
	struct rtp_timeline timeline;
	struct twcc_recorder recorder;
	struct rtp_ext_map extensions;
	int64_t began_us;
	int64_t quiet_us; /* from then on nothing may be lost; 0 = not known yet */
	struct sim_rtc_in tracks[SIM_RTC_TRACKS];
};

struct sim_rtc {
	enum sim_rtc_phase phase;
	enum sim_rtc_ask asked;
	int64_t asked_us;
	char location[256];

	/* connectivity */
	struct net_addr address; /* ours */
	uint32_t slot;		 /* worker's */
	char ufrag[16];		 /* ours */
	char peer_ufrag[64], peer_pwd[64];
	unsigned restarts;
	int64_t check_us, answered_us, up_us;
	int64_t silent_until_us; /* 0 = speaks */
	bool settled;		 /* checks have been answered since it was up */
	bool excused;		 /* it was silent, or is leaving: its session may end */
	bool abandoned; /* a viewer: its stream may have ended for want of a publisher since the
			 * last answer */

	/* keys */
	bool active; /* begins the handshake */
	bool shaking;
	struct certificate certificate;
	struct fingerprint peer;
	struct dtls_context context;
	struct dtls dtls;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
	uint32_t rtcp_index;
	int64_t report_us;

	bool rtx, extensions, h264; /* as offered */
	union {
		struct sim_rtc_publishing publish;
		struct sim_rtc_playing play;
	};
};

/* Which profile both sides will agree on; SEAL_NONE before there is a handshake. */
uint16_t sim_dtls_profile(const struct dtls *dtls);

/* ---- sim_rtc.c ----------------------------------------------------------------------------------- */

extern const char sim_rtc_pwd[]; /* of every client */

/* A datagram to where the node is believed to be. */
void sim_rtc_send(struct sim *sim, struct sim_edge *edge, const void *bytes, size_t size);
/* Seals the compound in `w`, which has SEAL_RTCP_OVERHEAD_MAX bytes of room behind, and sends it. */
void sim_rtc_send_rtcp(struct sim *sim, struct sim_edge *edge, struct writer *w);
/* A datagram from the node to whoever has that address. */
void sim_rtc_take(struct sim *sim, const struct net_addr *to, const void *bytes, size_t size);
/* The client with that address, or that had it in the same session; NULL. */
struct sim_edge *sim_rtc_at(struct sim *sim, const struct net_addr *address);
/* All there is of it; the node is not told. */
void sim_rtc_end(struct sim *sim, struct sim_edge *edge);

/* sim_edge_checks.c: the node's session of this viewer, which has sent nothing yet, will begin so many
 * packets before its numbers wrap. */
void sim_edges_age(struct sim *sim, const struct sim_edge *edge, uint32_t packets);

/* ---- sim_rtc_publish.c, sim_rtc_play.c ----------------------------------------------------------- */

/* Keys are there. */
void sim_rtc_publish_begin(struct sim *sim, struct sim_edge *edge);
void sim_rtc_publish_tick(struct sim *sim, struct sim_edge *edge);
void sim_rtc_publish_take_rtcp(
	struct sim *sim, struct sim_edge *edge, const struct rtcp_packet *packet);

void sim_rtc_play_begin(struct sim *sim, struct sim_edge *edge);
void sim_rtc_play_tick(struct sim *sim, struct sim_edge *edge);
/* A NACK of what came last, under the index that comes next, which is not counted as used: for a
 * successor that is only tried out. Bytes; 0 = nothing came yet. */
size_t sim_rtc_play_nack(struct sim_edge *edge, uint8_t bytes[SIM_RTC_SEALED_MAX]);
/* An opened packet. */
void sim_rtc_play_take_rtp(
	struct sim *sim, struct sim_edge *edge, const uint8_t *bytes, size_t size);

/* ---- sim_seals.c: no index seals two different packets -------------------------------------------- */

struct sim_seals *sim_seals_create(void);
void sim_seals_destroy(struct sim_seals **seals);
/* Looks at every datagram that leaves the node, lost or not. `trial`: it comes from a successor that
 * is only tried out; compared, and not remembered. */
void sim_seals_look(
	struct sim *sim, const struct net_addr *to, const void *bytes, size_t size, bool trial);
/* First number that was sent of an SSRC; false: none was. */
/* False: that index of that stream (not 0) was used for something else. `trial`: it is not used now. */
bool sim_seals_note(struct sim_seals *seals, uint64_t stream, uint64_t index, const void *bytes,
	size_t size, bool trial);
bool sim_seals_first(struct sim *sim, const struct net_addr *to, uint32_t ssrc, uint16_t *sequence);

#endif
