/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit that forwarding is compared with: a process that does nothing but encrypt and send. The
 * same number of packets of the same size to the same receivers, each viewer's with its own key by one
 * bare EVP context, in one GSO call. Or by libipsec-mb, where that is built in.
 *
 * Paced by the clock; or by a publisher, from whom it reads as many bytes a frame over TCP as the node does.
 */
#ifndef MILLRACE_BENCH_LIMIT_H
#define MILLRACE_BENCH_LIMIT_H

#include "tests/bench/bench_viewer.h"

struct bench_limit {
	pid_t pid;
	int result; /* a pipe: int64_t nanoseconds of processor time */
};

struct bench_limit_options {
	const struct bench_audience *audience;
	size_t first, count; /* of its viewers; count 0 = all */
	unsigned frames;     /* one each SOURCE_FRAME_MS */
	unsigned packets;    /* of a frame and viewer */
	size_t size;	     /* bytes of one, tag included */
	bool by_ipsec_mb;
	int64_t start_ns; /* when to begin, monotonic; 0 = at once */
	int64_t *
		sent_ns; /* not NULL: paced by a publisher, who writes down here, for each frame, when he began to
			     write it, real time; bench_shared */
};

void bench_limit_start(struct bench_limit *limit, const struct bench_limit_options *options);
/* False while it is running. *cpu_ns: what it took, contexts and keys not counted. */
bool bench_limit_is_done(struct bench_limit *limit, int64_t *cpu_ns);

#endif
