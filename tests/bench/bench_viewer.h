/* SPDX-License-Identifier: Apache-2.0
 *
 * Many WebRTC viewers in this process, as cheap as they can be: connectivity check and DTLS by our
 * own engines, then the packets are counted unread. Each has a socket of its own, as clients have,
 * and reports and checks as clients do.
 */
#ifndef MILLRACE_BENCH_VIEWER_H
#define MILLRACE_BENCH_VIEWER_H

#include "actors/webrtc/dtls.h"
#include "tests/bench/bench_node.h"

#include <stdbool.h>

enum { VIEWERS_MAX = 1000 };

struct bench_viewer {
	int fd;
	bool up;
	bool picture; /* a whole one has come */
	struct sockaddr_in server;
	char ufrag[64], password[64], session[256];
	uint32_t ssrc, rtcp_index;
	int64_t checked_ns, reported_ns;
	struct dtls dtls;
	struct seal seal;
};

struct bench_audience {
	struct certificate certificate;
	struct dtls_context context;
	struct bench_viewer *viewers; /* VIEWERS_MAX */
	size_t count;
	int epoll;
	uint64_t packets, bytes; /* RTP since they were set to 0 */
	struct bench_samples
		*stamps; /* if not NULL: gets when each came, real time, microseconds */
};

void bench_audience_open(struct bench_audience *audience);
/* One viewer more of live/NAME; returns when its handshake is done. */
struct bench_viewer *bench_audience_join(
	struct bench_audience *audience, const struct bench_node *node, const char *name);
/* The last one leaves. */
void bench_audience_leave(struct bench_audience *audience, const struct bench_node *node);
/* Takes what has come; waits for at most `wait_ms`. */
void bench_audience_turn(struct bench_audience *audience, int wait_ms);
/* The kernel stamps what comes, from now on. */
void bench_audience_stamp(struct bench_audience *audience, struct bench_samples *stamps);
void bench_audience_close(struct bench_audience *audience);

#endif
