/* SPDX-License-Identifier: Apache-2.0
 *
 * Many WebRTC viewers in this process, as cheap as they can be: connectivity check and DTLS by our
 * own engines, then the packets are counted unread. Each has a socket of its own, as clients have,
 * and reports and checks as clients do. Any number may be joining at once (bench_join.c).
 */
#ifndef MILLRACE_BENCH_VIEWER_H
#define MILLRACE_BENCH_VIEWER_H

#include "actors/webrtc/dtls.h"
#include "tests/bench/bench_node.h"

#include <stdbool.h>

enum { VIEWERS_MAX = 1000 };

enum bench_viewer_phase {
	VIEWER_ASKING,	 /* the answer to its POST has not come */
	VIEWER_REFUSED,	 /* by a busy worker: asks again soon */
	VIEWER_CHECKING, /* its connectivity check is not answered yet */
	VIEWER_SHAKING,	 /* DTLS */
	VIEWER_UP,
};

struct bench_viewer {
	enum bench_viewer_phase phase;
	int fd;	      /* UDP */
	int http;     /* while it asks */
	bool heard;   /* RTP has come */
	bool picture; /* a whole one has */
	struct sockaddr_in server;
	char ufrag[64], password[64], session[256];
	uint32_t ssrc, rtcp_index;
	int64_t begun_ns, tried_ns; /* the whole, and its present step */
	int64_t checked_ns, reported_ns;
	double came_us, gap_us; /* while gaps are measured: the last packet, the longest silence */
	char *answer;		/* of HTTP, so far; BENCH_ANSWER_MAX */
	size_t answer_size;
	struct dtls dtls;
	struct seal seal;
};

struct bench_audience {
	const struct bench_node *node;
	const char *stream; /* its name in the application `live` */
	struct certificate certificate;
	struct dtls_context context;
	struct bench_viewer *viewers; /* VIEWERS_MAX */
	size_t count;
	size_t up, heard; /* of them */
	int epoll;
	uint64_t packets, bytes; /* RTP since they were set to 0 */
	struct bench_samples
		*stamps; /* if not NULL: gets when each came, real time, microseconds */
	bool gaps;	 /* how long each viewer hears nothing is measured */
};

/* Viewers of live/STREAM; both are borrowed. */
void bench_audience_open(
	struct bench_audience *audience, const struct bench_node *node, const char *stream);
/* One viewer more: asks for the stream. bench_audience_turn does the rest. */
struct bench_viewer *bench_audience_begin(struct bench_audience *audience);
/* The same; returns when its handshake is done. */
struct bench_viewer *bench_audience_join(struct bench_audience *audience);
/* The last one, which is up, leaves. */
void bench_audience_leave(struct bench_audience *audience);
/* Takes what has come; waits for at most `wait_ms`. */
void bench_audience_turn(struct bench_audience *audience, int wait_ms);
/* The kernel stamps what comes, from now on. */
void bench_audience_stamp(struct bench_audience *audience, struct bench_samples *stamps);
/* From now on, or no more: how long each viewer that is up hears nothing at most, by the kernel's stamps. */
void bench_audience_gaps(struct bench_audience *audience, bool on);
void bench_audience_close(struct bench_audience *audience);

#endif
