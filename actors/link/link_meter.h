/* SPDX-License-Identifier: Apache-2.0
 *
 * link_meter: what the receiving end of a link knows of one path, from the sequence on the path, the
 * send times in media and probes and the arrival times: loss, longest burst, one-way jitter, queueing
 * delay and its gradient, rate. It is told to the sender in reports (link_path.h uses it).
 *
 * Plain. Thread: one at a time. No allocation. Times are monotonic microseconds; that the two clocks
 * have different zeros and drift apart slowly does not matter.
 */
#ifndef MILLRACE_LINK_METER_H
#define MILLRACE_LINK_METER_H

#include "actors/link/link_wire.h"

enum {
	LINK_METER_SLOT_US = 100000,  /* over which the rate and the gradient are taken */
	LINK_METER_BASE_US = 5000000, /* the least delay is that of the last one or two of these */
	LINK_METER_RECENT = 256, /* sequences in which a run of lost ones is looked for; x 64 */
};

struct link_meter {
	bool started;
	bool has_delay;
	uint64_t first, highest; /* path sequence, unwrapped */
	uint64_t received;
	int64_t last_us; /* of the newest datagram */
	/* delay: arrival - send time, of unknown zero */
	uint64_t sent_us;   /* newest send time, unwrapped */
	int64_t delay_us;   /* of the newest */
	int64_t jitter_us;  /* RFC 3550 6.4.1, by datagram */
	int64_t base_us[2]; /* least delay of this period and of the one before */
	int64_t base_since_us;
	int64_t queue_us; /* above the least, smoothed */
	/* a slot of the rate */
	int64_t slot_us;
	uint64_t slot_bytes;
	int64_t slot_delay_us; /* sum */
	uint32_t slot_delays;
	int64_t mean_delay_us; /* of the slot before */
	bool has_mean;
	int64_t gradient_us; /* in a second, smoothed */
	uint64_t rate_bps;   /* smoothed */
	uint64_t seen[LINK_METER_RECENT / 64];
};

/* An authentic datagram of `size` bytes on the wire. */
void link_meter_take(struct link_meter *m, uint16_t path_seq, size_t size, int64_t now_us);
/* Its send time, when it says one. */
void link_meter_take_time(struct link_meter *m, uint32_t sent_us, int64_t now_us);
/* Everything but `path`. False: nothing came yet. */
bool link_meter_fill(const struct link_meter *m, int64_t now_us, struct link_path_report *report);

#endif
