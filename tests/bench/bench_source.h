/* SPDX-License-Identifier: Apache-2.0
 *
 * A publisher in a process of its own: RTMP, H.264 frames of 2 Mbit/s with real parameter sets and
 * slice headers around made-up slices. It sends as many frames as it is told to, one each
 * SOURCE_FRAME_MS, and writes down when.
 */
#ifndef MILLRACE_BENCH_SOURCE_H
#define MILLRACE_BENCH_SOURCE_H

#include "tests/bench/bench_node.h"

#include <stdbool.h>

enum {
	SOURCE_FRAME_SIZE = 10000, /* bytes: 2 Mbit/s at … */
	SOURCE_FRAME_MS = 40,
	SOURCE_KEYFRAME_SIZE = 50000, /* what 0.2 s are worth */
	SOURCE_FRAMES_MAX = 1 << 16,
};

/* Shared with the process that sends. */
struct source_page {
	_Atomic uint32_t wanted, sent;	    /* frames, since the beginning */
	_Atomic uint32_t keyframe_every;    /* 0 = only the first, and … */
	_Atomic bool keyframe_next;	    /* … the next one, once */
	size_t keyframe_size;		    /* bytes */
	int64_t sent_ns[SOURCE_FRAMES_MAX]; /* when frame n began to be written, real time */
};

struct bench_source {
	pid_t pid;
	struct source_page *page;
};

/* Publishes live/NAME and sends a keyframe. */
void bench_source_open(struct bench_source *source, const struct bench_node *node, const char *name,
	size_t keyframe_size);
/* So many frames more are to be sent. */
void bench_source_want(struct bench_source *source, uint32_t frames);
bool bench_source_is_done(const struct bench_source *source);
void bench_source_close(struct bench_source *source);

#endif
