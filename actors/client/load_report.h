/* SPDX-License-Identifier: Apache-2.0
 *
 * What all sessions of a load together were like: percentiles, as text or JSON. Pure.
 */
#ifndef MILLRACE_CLIENT_LOAD_REPORT_H
#define MILLRACE_CLIENT_LOAD_REPORT_H

#include "actors/client/load_options.h"
#include "schemas/schema.h"

/* Of client_figures. */
enum client_phase {
	CLIENT_IDLE,	   /* not begun yet */
	CLIENT_CONNECTING, /* first attempt, or again */
	CLIENT_UP,
	CLIENT_WAITING, /* for the next attempt */
	CLIENT_ENDED,	/* by us, as it should */
	CLIENT_FAILED,	/* it will not be tried again */
	CLIENT_PHASE_COUNT
};

enum {
	CLIENT_GAP_US = 200000, /* a pause of media that a viewer sees */
	LOAD_REASONS_MAX = 8,	/* different reasons of failure that are told */
};

struct load_result {
	const struct load_options *options; /* borrowed */
	struct client_figures *figures;	    /* of options->count sessions; owned */
	int64_t began_us, ended_us;	    /* of any one clock */
	int64_t cpu_us;			    /* of this process */
};

struct load_spread { /* over the sessions that have the figure */
	uint32_t count;
	double p50, p95, p99, max;
};

struct load_reason {
	char text[160];
	uint32_t count;
};

struct load_summary {
	uint32_t wanted, begun, up, connected /* once, at least */, failed, lost;
	uint32_t reachable; /* the server answered */
	double seconds, cpu_seconds;
	uint64_t packets, bytes, keyframes, expected, missing, recovered, gaps, reconnects;
	double rate_bps;
	struct load_spread setup_ms, connected_ms, first_packet_ms, first_keyframe_ms, loss_percent,
		gap_ms, jitter_ms, reconnects_each;
	uint32_t reason_count;
	struct load_reason reasons[LOAD_REASONS_MAX];
};

/* Sorts in scratch memory of its own: ERR_NO_MEMORY. */
enum err load_summarise(const struct load_result *result, struct load_summary *summary);

/* "1.2 s  12/20 up  1.02 Mbit/s  0 lost …", for a line that is written again and again. */
void load_progress(const struct load_summary *summary, char *text, size_t size);

/* What is printed at the end; `*text` is the caller's to free. ERR_NO_MEMORY. */
enum err load_report_text(
	const struct load_result *result, const struct load_summary *summary, char **text);
enum err load_report_json(
	const struct load_result *result, const struct load_summary *summary, char **text);

/* Exit status: 0 all were connected and none was lost, 3 the server was never reached, else 1. */
int load_status(const struct load_summary *summary);

#endif
