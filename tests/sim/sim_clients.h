/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the simulated edge actors as the checks see them.
 */
#ifndef MILLRACE_SIM_CLIENTS_H
#define MILLRACE_SIM_CLIENTS_H

#include "tests/sim/sim.h"

enum { SIM_TRACK_VIDEO = 0, SIM_TRACK_AUDIO = 1, SIM_TRACK_MADE = 4 };

/* At the beginning of every payload; of AAC, behind the prefix of its access unit. A transcoder's
 * model of a codec carries it over. */
enum { SIM_AAC_PREFIX = 4 };
struct sim_stamp {
	uint64_t publisher;
	uint64_t seq; /* as its publisher numbered it */
	uint64_t track;
};

struct sim_publisher_actor {
	struct sim_publisher_state st;

	struct slot_ref held; /* as in the state */
	int64_t stalled_until_us;
};

/* Whose media a viewer has read last. */
struct sim_shown {
	uint64_t publisher;
	uint64_t rtp_time[MEDIA_TRACKS_MAX];
	bool hole; /* something before the next packet was never read */
};

/* Which of a publisher's packets a viewer has read. */
struct sim_stamps {
	uint64_t publisher;
	uint64_t high[SIM_TRACK_MADE], window[SIM_TRACK_MADE];
};

struct sim_viewer_actor {
	struct sim_viewer_state st;

	bool will_read;	   /* slow: its timer runs */
	int64_t wished_us; /* when it asked for a keyframe */
	bool was_replica;  /* the log may have holes of that time */
	struct sim_shown shown;
	struct sim_stamps stamps;
};

/* ---- sim_standby.c ----------------------------------------------------------------------------- */

/* Does it send nothing at present? */
bool sim_publisher_stalls(struct sim *sim, struct sim_publisher_actor *publisher);
/* A packet that a viewer reads, of that publisher. */
void sim_check_source(struct sim *sim, struct sim_viewer_actor *viewer,
	const struct media_header *header, uint64_t publisher);

#endif
