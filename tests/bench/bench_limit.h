/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit that forwarding is compared with: a process that does nothing but encrypt and send. The
 * same number of packets of the same size to the same receivers, paced by frame, each viewer's with
 * its own key by one bare EVP context, in one GSO call. Or by libipsec-mb, where that is built in.
 */
#ifndef MILLRACE_BENCH_LIMIT_H
#define MILLRACE_BENCH_LIMIT_H

#include "tests/bench/bench_viewer.h"

struct bench_limit {
	pid_t pid;
	int result; /* a pipe: int64_t nanoseconds of processor time */
};

/* Sends `frames` frames of `packets` packets of `size` bytes (tag included) each to all viewers, one
 * frame each SOURCE_FRAME_MS. */
void bench_limit_start(struct bench_limit *limit, const struct bench_audience *audience,
	unsigned frames, unsigned packets, size_t size, bool by_ipsec_mb);
/* False while it is running. *cpu_ns: what it took, contexts and keys not counted. */
bool bench_limit_is_done(struct bench_limit *limit, int64_t *cpu_ns);

#endif
