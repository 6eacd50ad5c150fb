/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole WebRTC client as an engine, for one peer: what a browser does behind WHEP or WHIP, made of
 * the engines of this folder. The load generator's sessions are it, and so are the clients of tests.
 *
 *   offered --answer--> checking --ICE--> shaking --DTLS--> up --> failed | closed
 *
 * Viewer: incoming SRTP verified, losses asked for again (NACK, RTX), receiver reports, feedback of
 * arrivals (TWCC), a PLI when the first keyframe is late. Publisher: frames in, packets out,
 * retransmissions from a short memory, sender reports.
 *
 *	rtc_client_init, rtc_client_offer; POST; rtc_client_answer
 *	rtc_client_input for every datagram, rtc_client_run at its deadline and after every input
 *
 * The struct must not move between init and fini (DTLS). Calls go to `ops` while a function of the
 * engine runs; they may not call back into it. Thread: one at a time.
 */
#ifndef MILLRACE_RTC_CLIENT_H
#define MILLRACE_RTC_CLIENT_H

#include "actors/stream/payload.h"
#include "actors/webrtc/dtls.h"
#include "actors/webrtc/ice_client.h"
#include "actors/webrtc/rtp_ext.h"
#include "actors/webrtc/rtp_receiver.h"
#include "actors/webrtc/rtp_sender.h"
#include "actors/webrtc/sdp_client.h"
#include "actors/webrtc/twcc.h"
#include "actors/webrtc/unseal.h"

#include <sys/uio.h>

enum {
	RTC_CLIENT_TRACKS = 2, /* video, audio */
	RTC_CLIENT_CNAME_SIZE = 17,
	RTC_CLIENT_REPORT_US = 1000000,
	RTC_CLIENT_PATIENCE_US = 500000, /* for the first keyframe before it is asked for */
	RTC_CLIENT_HISTORY = 512,	 /* packets of video kept for retransmission */
	RTC_CLIENT_BATCH = 16,		 /* packets given to ops->send at once */
};

enum rtc_client_phase {
	RTC_CLIENT_OFFERED,
	RTC_CLIENT_CHECKING,
	RTC_CLIENT_SHAKING,
	RTC_CLIENT_UP,
	RTC_CLIENT_FAILED,
	RTC_CLIENT_CLOSED, /* the peer said goodbye */
};

/* A packet of media that came, decrypted and in the original form. */
struct rtc_client_media {
	uint8_t kind; /* enum media_kind */
	uint8_t codec;
	bool recovered; /* by retransmission */
	bool keyframe;	/* with this packet a keyframe is whole */
	uint32_t timestamp;
	const struct rtp_packet *packet;
};

struct rtc_client_ops {
	void (*send)(void *context, const struct net_addr *to, const struct iovec *packets,
		size_t count);
	void (*media)(void *context, const struct rtc_client_media *media, int64_t now_us);
	void (*random)(void *context, void *bytes, size_t size);
};

/* A keyframe being received. */
struct rtc_client_key {
	uint32_t frame;	      /* 0 = none */
	uint64_t first, last; /* track_seq; last 0 = not seen yet */
	uint32_t count;
};

struct rtc_client_in {
	bool known; /* its SSRC is known and the receiver started */
	uint8_t codec;
	struct rtp_receiver receiver;
	struct payload_inspector inspector;
	struct rtc_client_key key;
};

struct rtc_client_kept { /* of a packet that was sent */
	struct media_header header;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
};

struct rtc_client_out {
	struct rtp_sender sender;
	struct payload_packetiser packetiser;
	struct rtp_ext_layout layout;
	uint64_t track_seq;
	uint32_t frame;
};

struct rtc_client {
	const struct rtc_client_ops *ops;
	void *context;
	const struct dtls_context *dtls_context; /* borrowed */
	struct sdp_client_options offered;
	char cname[RTC_CLIENT_CNAME_SIZE];
	uint8_t phase; /* enum rtc_client_phase */
	uint8_t why;   /* enum err: of FAILED */
	int64_t up_us;
	int64_t unix_offset_us; /* Unix time - now_us */

	struct sdp_client_answer answer;
	struct ice_client ice;
	struct dtls dtls;
	bool dtls_started;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
	uint32_t rtcp_index;
	int64_t report_us;
	struct rtp_ext_map ext_maps[RTC_CLIENT_TRACKS]; /* by m-line of the plan, as all below */
	uint64_t unknown;				/* packets of no m-line */

	/* viewer */
	struct rtp_timeline timeline;
	struct rtp_keyframe keyframe;
	bool keyframe_seen;
	struct twcc_recorder recorder;
	struct rtc_client_in in[RTC_CLIENT_TRACKS];

	/* publisher */
	struct rtc_client_out out[RTC_CLIENT_TRACKS];
	struct twcc_ledger ledger;
	struct rtc_client_kept *kept; /* RTC_CLIENT_HISTORY; owned */
	uint64_t position;
	bool keyframe_asked; /* by the peer, since rtc_client_take_keyframe_wish */
};

struct rtc_client_options {
	const struct rtc_client_ops *ops;
	void *context;
	const struct dtls_context *dtls;
	const struct fingerprint *fingerprint; /* of our certificate, SHA-256 */
	struct net_addr candidate;	       /* our socket as the peer may see it */
	bool publish;
	int64_t now_us, unix_us;
	const uint8_t *video_config; /* publisher: avcC */
	size_t video_config_size;
};

/* ERR_NO_MEMORY (publisher); the client is then as after rtc_client_fini. */
enum err rtc_client_init(struct rtc_client *c, const struct rtc_client_options *options);
/* Harmless on a zeroed client and when repeated. */
void rtc_client_fini(struct rtc_client *c);

/* Appends the offer. ERR_NO_SPACE. */
enum err rtc_client_offer(const struct rtc_client *c, struct writer *w);
/* Takes the answer; checks begin with the next rtc_client_run. Errors of sdp_client_read; `why` gets a
 * sentence (SDP_WHY_MAX bytes). */
enum err rtc_client_answer(
	struct rtc_client *c, const char *text, size_t size, int64_t now_us, char *why);

/* One datagram; it is decrypted in place. */
void rtc_client_input(struct rtc_client *c, const struct net_addr *from, uint8_t *bytes,
	size_t size, int64_t now_us);
/* Does and sends what is due. */
void rtc_client_run(struct rtc_client *c, int64_t now_us);
int64_t rtc_client_deadline_us(const struct rtc_client *c);

/* Says goodbye (BYE, close_notify). The phase does not change. */
void rtc_client_close(struct rtc_client *c, int64_t now_us);

/* Publisher: one frame (video: NAL units behind 4-byte lengths), with its presentation time in the
 * codec's clock. Nothing happens when the peer did not accept that kind. */
void rtc_client_send(struct rtc_client *c, enum media_kind kind, const uint8_t *frame, size_t size,
	uint64_t rtp_time, int64_t now_us);
/* True once after the peer asked for a keyframe. */
bool rtc_client_take_keyframe_wish(struct rtc_client *c);

/* rtc_client_receive.c and rtc_client_send.c, for rtc_client.c */
void rtc_client_begin_receiving(struct rtc_client *c, int64_t now_us);
void rtc_client_take_rtp(struct rtc_client *c, uint8_t *bytes, size_t size, int64_t now_us);
void rtc_client_take_sender_report(
	struct rtc_client *c, const struct rtcp_packet *packet, int64_t now_us);
void rtc_client_receiver_feedback(struct rtc_client *c, bool report, int64_t now_us);
int64_t rtc_client_receiver_deadline_us(const struct rtc_client *c);
enum err rtc_client_begin_sending(struct rtc_client *c);
void rtc_client_take_feedback(
	struct rtc_client *c, const struct rtcp_packet *packet, int64_t now_us);
void rtc_client_sender_report(struct rtc_client *c, int64_t now_us);
/* Seals a compound of `w`, which has SEAL_RTCP_OVERHEAD_MAX bytes of room behind, and sends it. */
void rtc_client_send_rtcp(struct rtc_client *c, struct writer *w);
/* Index in the plan of the m-line of a kind; -1 = not accepted. */
int rtc_client_media_index(const struct rtc_client *c, enum media_kind kind);

#endif
