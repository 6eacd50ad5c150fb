/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the session actor: session_actor.c (life, signalling), session_patch.c (what is said of it
 * later), session_offer.c (what an answer is made of), session_input.c (what comes from the port; RTCP
 * out), session_publish.c (WHIP: media in), session_play.c (WHEP: which packet of the stream when),
 * session_send.c (WHEP: packets on the wire), session_report.c (what people see).
 *
 * Everything that changes with a packet, and the keys, lie in one arena slot, struct session_slot:
 * plain, without pointers, read by a successor as untrusted. Slots are sparse: a viewer touches
 * about 45 kB of one.
 */
#ifndef MILLRACE_WEBRTC_SESSION_H
#define MILLRACE_WEBRTC_SESSION_H

#include "actors/stream/media_log.h"
#include "actors/stream/payload.h"
#include "actors/webrtc/pacer.h"
#include "actors/webrtc/rtc_port.h"
#include "actors/webrtc/rtp_receiver.h"
#include "actors/webrtc/rtp_sender.h"
#include "actors/webrtc/twcc.h"
#include "actors/webrtc/unseal.h"
#include "actors/webrtc/viewer_takes.h"

enum session_phase {
	SESSION_STARTING = 1 << 0,   /* waits for a callback, then for the stream */
	SESSION_CONNECTING = 1 << 1, /* answered; ICE and DTLS */
	SESSION_UP = 1 << 2,
};

enum {
	SESSION_TRACKS_MAX = 4, /* two of a kind */
	SESSION_REPORT_US = 1000000,
	SESSION_FIRST_REPORT_US = 100000,
	SESSION_REPORT_GRID_US = 20000, /* a worker wakes for the reports of some viewers at once */
	SESSION_RTCP_SIZE = 1200,	/* bytes of a compound before sealing */
	SESSION_CNAME_SIZE = 17,
	SESSION_SECRET_SIZE = 32, /* characters of 4 bits: 128 bits */
};

enum session_timer {
	SESSION_TIMER_DUE,
	SESSION_TIMER_JOIN,
	SESSION_TIMER_REJOIN,
	SESSION_TIMER_ROOM
};

/* A track of a publisher. */
struct session_in {
	struct rtp_receiver receiver;
	struct payload_inspector inspector;
	uint64_t forwarded, forwarded_bytes;
	uint64_t malformed;
	uint8_t known; /* its SSRC is known and the receiver started */
};

struct session_receiving {
	struct rtp_timeline timeline;
	struct rtp_keyframe keyframe;
	struct remb_meter remb;
	struct twcc_recorder recorder;
	struct session_in tracks[SESSION_TRACKS_MAX];
};

/* A track of a viewer. */
struct session_out {
	uint8_t track;		/* id in the stream now */
	uint8_t stopped;	/* the source has a codec that was not agreed on */
	uint8_t wants_keyframe; /* video: nothing is sent before one */
	uint8_t skipping;	/* `frame` is being left out */
	uint32_t frame;
	int64_t from_us; /* what was captured before is not played */
	struct rtp_sender sender;
};

struct session_sending {
	struct twcc_ledger ledger;
	uint64_t position; /* next of the stream's log */
	uint64_t ahead;	   /* sound before this one has been sent already */
	struct pacer pacer;
	uint64_t drain_bps;	/* while a frame waits that is larger than one burst; else 0 */
	int64_t start_until_us; /* the cached frames leave at the rate of a start */
	uint8_t begun;
	int64_t asked_us; /* first look at the log */
	/* the burst that brings a new viewer to the live edge */
	uint64_t burst_from, burst_to; /* RTP times of the video; equal = no burst */
	int64_t burst_begin_us, burst_span_us;
	int64_t slow_until_us; /* the path is full: discardable frames are left out */
	uint32_t slow_strikes; /* in a row; many: everything to the next keyframe */
	struct session_out tracks[SESSION_TRACKS_MAX];
};

/* What every packet of a viewer needs stands together, from the end of `ice` on: with hundreds of
 * viewers each page and cache line counts. */
struct session_slot {
	struct sdp_plan plan;
	struct ice_credentials local; /* until ICE has them */
	uint32_t ssrc[SDP_LIVE_MAX], rtx_ssrc[SDP_LIVE_MAX];
	char cname[SESSION_CNAME_SIZE];
	struct seal_keys send, receive; /* SEAL_NONE until DTLS is done */
	uint32_t rtcp_index;		/* next SRTCP index, stored before it is used */
	struct unseal_window window;
	struct ice_session ice;
	int64_t report_us; /* of the next report */
	union {
		struct session_receiving publish;
		struct session_sending play;
	};
};

_Static_assert(sizeof(struct session_slot) <= ARENA_SESSION_SIZE, "a session fits its slot");

struct session {
	struct session_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	const struct rtc_facts *port; /* NULL until it has joined */
	struct seal seal;
	struct unseal unseal;
	struct dtls dtls;
	bool dtls_started;
	int64_t answered_us;
	struct rtp_ext_map ext_maps[SESSION_TRACKS_MAX];
	struct rtp_ext_layout layouts[SESSION_TRACKS_MAX];
	int64_t keyframe_asked_us; /* play */
	int64_t sent_us;	   /* play: media, the last time; 0 = not by this process */
	int64_t statistics_us;	   /* 0 = restored, and not reported since */
	uint64_t statistics_bytes;
	uint32_t away_socket; /* it sends by: of its home's address; 0 = its port's */
	int64_t rejoined_us;
	struct viewer_takes takes; /* play: since this process looks at it */

	/* while another worker is asked whether it has room, and the stream to come along */
	uint64_t room_request, stream_move_request;
	uint32_t room_process;
	bool waits_for_room; /* asks again soon */
	struct asker mover;

	/* until answered */
	struct asker asker;
	bool asked;
	uint64_t callback_request;
	uint64_t stream_request;
	uint32_t wait_ms; /* play: for a publisher */
	char *offer;
	size_t offer_size;
};

/* Arguments of a new session. */
struct session_args {
	const struct msg_session_create *create;
	struct asker asker;
	char *why; /* SDP_WHY_MAX bytes: what was wrong, for people */
};

extern const struct actor_type session_actor;

/* Called by the port through actor_call; context: struct rtc_input. */
void session_take_datagrams(struct actor *self, void *data, void *context);
/* The selected path is a TCP connection that closed; context: const struct net_addr. */
void session_lose_path(struct actor *self, void *data, void *context);
/* After a takeover: sends again what the dead worker had sealed and maybe not sent. */
void session_send_again(struct actor *self, void *data, void *context);

/* session_actor.c */
struct session_slot *session_slot(struct actor *self, const struct session *s);
void session_schedule(struct actor *self, struct session *s, struct session_slot *slot);

/* session_patch.c: answers the mail at hand. */
enum err session_patch(struct actor *self, struct session *s, struct session_slot *slot,
	const struct msg_session_patch *m);

/* session_offer.c */
int session_tracks_max(struct actor *self);
/* Everything unguessable or distinct that the session needs. */
void session_make_identity(struct actor *self, struct session *s, struct session_slot *slot);
void session_options(struct actor *self, const struct session *s, const struct session_slot *slot,
	struct sdp_answer_options *options);
/* The extensions of the plan, as rtp_ext counts them. */
void session_make_maps(struct session *s, const struct session_slot *slot);
/* The plan, as people see it. */
void session_show_tracks(struct session *s, const struct session_slot *slot);

/* session_input.c */
void session_start_crypto(struct actor *self, struct session *s, struct session_slot *slot);
enum err session_make_crypto(struct session *s, const struct session_slot *slot);
void session_drain_dtls(struct actor *self, struct session *s, struct session_slot *slot,
	const struct net_addr *to);
/* Seals a compound of `w` and sends it; `w` has SEAL_RTCP_OVERHEAD_MAX bytes of room behind. */
void session_send_rtcp(
	struct actor *self, struct session *s, struct session_slot *slot, struct writer *w);
/* When a viewer's report is due that is wanted then. */
static inline int64_t session_report_at_us(int64_t at_us)
{
	int64_t late_us = at_us + SESSION_REPORT_GRID_US - 1;

	return late_us - late_us % SESSION_REPORT_GRID_US;
}
/* Where to send; NULL before the first check that authenticated. */
const struct net_addr *session_path(const struct session_slot *slot);
void session_show_path(struct session *s, const struct session_slot *slot);
void session_say_bye(struct actor *self, struct session *s, struct session_slot *slot);
int64_t session_consent_deadline_us(struct actor *self, const struct session_slot *slot);

/* session_publish.c */
void publish_init(struct actor *self, struct session *s, struct session_slot *slot);
bool publish_is_valid(const struct session_slot *slot);
size_t publish_tracks(const struct session_slot *slot, struct media_track *tracks);
void publish_take_rtp(struct actor *self, struct session *s, struct session_slot *slot,
	uint8_t *bytes, size_t size, int64_t now_us);
void publish_take_rtcp(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet, int64_t now_us);
/* Feedback that is due; reports when `report`. */
void publish_feedback(struct actor *self, struct session *s, struct session_slot *slot);
int64_t publish_deadline_us(const struct session_slot *slot);
void publish_report(struct session *s, const struct session_slot *slot);
/* The stream's readers take no more than that; 0 = all. */
void publish_take_bitrate(
	struct actor *self, struct session *s, struct session_slot *slot, uint32_t bps);

/* session_send.c: packets on their way into one send call. */
struct play_burst {
	uint64_t rate_bps;
	size_t bytes, bytes_max; /* of payload */
	size_t count;
	struct seal_packet packets[ARENA_SEND_PACKETS];
};

void play_make_layouts(struct session *s, const struct session_slot *slot);
void play_begin_burst(struct play_burst *burst, uint64_t rate_bps);
/* Adds one packet of track i; what was full is sent before. */
void play_add(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, int i, const struct rtp_slot *rtp, const struct packet *packet);
/* Sends what is there if `size` bytes more are too much for it. */
void play_make_room(struct actor *self, struct session *s, struct session_slot *slot,
	struct play_burst *burst, size_t size);
void play_send_burst(
	struct actor *self, struct session *s, struct session_slot *slot, struct play_burst *burst);
void play_send_again(struct actor *self, struct session *s, struct session_slot *slot);
void play_take_nack(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet);

/* session_play.c */
/* The log does not have what comes next of track i: it goes on with what was captured after the packet sent
 * last, the picture at a keyframe of that. */
void play_go_on_later(struct actor *self, struct session *s, struct session_slot *slot, int i);
struct media_log *play_log(struct actor *self, const struct session *s);
void play_ask_keyframe(struct actor *self, struct session *s, const struct session_out *out);
enum err play_init(
	struct actor *self, struct session *s, struct session_slot *slot, uint64_t position);
bool play_is_valid(const struct session_slot *slot);
void play_pump(struct actor *self, struct session *s, struct session_slot *slot);
/* Brings near what a pump will touch. */
void play_ahead(const struct session *s, const struct session_slot *slot);
void play_take_rtcp(struct actor *self, struct session *s, struct session_slot *slot,
	const struct rtcp_packet *packet, int64_t now_us);
void play_feedback(struct actor *self, struct session *s, struct session_slot *slot);
int64_t play_deadline_us(const struct session_slot *slot);
void play_tracks_changed(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_track *tracks, size_t count);
void play_report(struct session *s, const struct session_slot *slot);

/* session_move.c */
/* Its client sends to another worker's port. */
bool session_is_away(struct actor *self, const struct session *s);
/* The stream here does not take it in. */
void session_stream_failed(struct actor *self, const struct msg_failed *m);
size_t session_send(struct actor *self, struct session *s, const struct net_addr *to,
	const struct iovec *packets, size_t count, uint32_t *fill_permille);
void session_open_away(struct actor *self, struct session *s, const struct session_slot *slot);
void session_tell_home(struct actor *self, struct session *s, const struct session_slot *slot);
enum err session_begin_move(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct msg_session_move *m);
void session_ask_room(struct actor *self, struct session *s, const struct session_slot *slot);
/* There is room, or its stream is about to leave. True: the answer was to such a question. */
bool session_move_answered(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct mail *mail);
bool session_must_stay(
	struct actor *self, struct session *s, const struct mail *mail, const struct msg_failed *m);
void session_say_moved(struct actor *self, struct session *s);
size_t session_slots(void *data, struct actor_slot *slots);
void session_arrived(struct actor *self, void *data);
/* On the port here: with its home's address, where it is not this port's. */
void session_settle(struct actor *self, struct session *s, const struct session_slot *slot);
/* The stream of this worker has taken it in. */
void session_rejoined(struct actor *self, struct session *s, struct session_slot *slot,
	const struct msg_subscribed *m);
/* Whether it knows where in the log it goes on; if not, its pump comes back. */
bool play_find_place(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log);

/* session_report.c */
void session_report(struct actor *self, struct session *s, const struct session_slot *slot);

#endif
