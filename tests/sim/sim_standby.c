/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: several publishers on one name (docs/decisions/015). A publisher now and then sends
 * nothing for a while; a viewer sees one source at a time.
 */
#include "tests/sim/sim_clients.h"

enum {
	STALL_ONE_IN = 60, /* pictures */
	STALL_MIN_MS = 100,
	STALL_MAX_MS = 2500,
	TRACKS_SEEN = SIM_TRACK_AUDIO + 1, /* the publisher's own */
};

bool sim_publisher_stalls(struct sim *sim, struct sim_publisher_actor *publisher)
{
	if (!sim->scenario->standby || sim->now_us >= sim->chaos_until_us)
		return false;
	if (sim->now_us >= publisher->stalled_until_us && rng_below(&sim->rng, STALL_ONE_IN) == 0)
		publisher->stalled_until_us =
			sim->now_us + rng_between(&sim->rng, STALL_MIN_MS, STALL_MAX_MS) * SIM_MS;
	return sim->now_us < publisher->stalled_until_us;
}

/* Another publisher is read only where the stream says that it begins anew, and from then on nothing
 * of the last one, unless it begins anew in its turn; times only grow. (After a hole nobody knows
 * who was shown in it.) */
void sim_check_source(struct sim *sim, struct sim_viewer_actor *viewer,
	const struct media_header *header, uint64_t publisher)
{
	struct sim_shown *shown = &viewer->shown;
	uint8_t first = MEDIA_KEYFRAME | MEDIA_FRAME_START;

	if (header->track >= TRACKS_SEEN || header->flags & MEDIA_LATE)
		return;
	uint64_t *time = &shown->rtp_time[header->track];
	bool begins = header->flags & MEDIA_DISCONTINUITY || !*time || shown->hole;

	SIM_CHECK(sim, begins || publisher == shown->publisher,
		"track %u is of publisher %llu while %llu is shown (%s)", header->track,
		(unsigned long long)publisher, (unsigned long long)shown->publisher,
		viewer->st.name);
	SIM_CHECK(sim, header->rtp_time >= *time, "track %u goes from %llu back to %llu (%s)",
		header->track, (unsigned long long)*time, (unsigned long long)header->rtp_time,
		viewer->st.name);
	SIM_CHECK(sim,
		shown->hole || header->track != SIM_TRACK_VIDEO ||
			!(header->flags & MEDIA_DISCONTINUITY) || (header->flags & first) == first,
		"pictures of publisher %llu do not begin with a keyframe (%s)",
		(unsigned long long)publisher, viewer->st.name);
	sim->switches += shown->publisher && publisher != shown->publisher;
	shown->publisher = publisher;
	shown->hole = false;
	*time = header->rtp_time;
}
