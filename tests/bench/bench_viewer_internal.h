/* SPDX-License-Identifier: Apache-2.0
 *
 * Between bench_viewer.c (what a viewer sends and takes) and bench_join.c (until it is up).
 */
#ifndef MILLRACE_BENCH_VIEWER_INTERNAL_H
#define MILLRACE_BENCH_VIEWER_INTERNAL_H

#include "tests/bench/bench_viewer.h"

/* bench_viewer.c */
void bench_viewer_put(const struct bench_viewer *v, const void *bytes, size_t size);
void bench_viewer_check(struct bench_viewer *v);
void bench_viewer_report(struct bench_viewer *v);

/* bench_join.c: of a viewer that is not up yet */
void bench_join_readable(struct bench_audience *a, struct bench_viewer *v);
void bench_join_timer(struct bench_audience *a, struct bench_viewer *v, int64_t now_ns);
void bench_join_forget(struct bench_viewer *v);

#endif
