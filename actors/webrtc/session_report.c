/* SPDX-License-Identifier: Apache-2.0
 *
 * What people see of a session: its slot's counters, once a second, in its schema'd state.
 */
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

static struct media_log *log_of(struct actor *self, const struct session *s)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){s->st.log_index, s->st.log_generation});
}

/* How old the packet is that goes out next; 0 = all that there is has gone out. */
static int64_t lag_of(struct actor *self, const struct session *s, const struct session_slot *slot)
{
	const struct media_log *log = log_of(self, s);
	const struct packet *next =
		log ? media_log_packet(actor_arena(self), log, slot->play.position) : NULL;

	return next ? log->newest_us - next->header.capture_us : 0;
}

/* A viewer's are counted in its stream's log; one that has moved here has none for a moment. */
static void count_bytes(struct actor *self, struct session *s, uint64_t bytes)
{
	struct media_log *log = s->st.play ? log_of(self, s) : NULL;

	if (bytes <= s->st.bytes || (s->st.play && !log))
		return;
	if (log)
		media_log_count_sent(log, bytes - s->st.bytes);
	s->st.bytes = bytes;
}

void session_report(struct actor *self, struct session *s, const struct session_slot *slot)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	int64_t now_us = actor_now_us(self);
	uint64_t bytes = 0;

	if (s->st.play) {
		play_report(s, slot);
		s->st.lag_us = lag_of(self, s, slot);
		process_observe(env, PROCESS_HISTOGRAM_LAG_WEBRTC, s->st.lag_us);
	} else {
		publish_report(s, slot);
	}
	if (s->st.rtt_us >= 0)
		process_observe(env, PROCESS_HISTOGRAM_RTT, s->st.rtt_us);
	for (int i = 0; i < s->st.tracks_count; i++)
		bytes += s->st.tracks[i].bytes;
	if (s->statistics_us && now_us > s->statistics_us && bytes >= s->statistics_bytes)
		s->st.bitrate_bps = (uint32_t)((bytes - s->statistics_bytes) * 8 * 1000000 /
					       (uint64_t)(now_us - s->statistics_us));
	count_bytes(self, s, bytes);
	s->statistics_bytes = bytes;
	s->statistics_us = now_us;
	s->st.stun_checks = slot->ice.counters.checks;
	s->st.stun_refused = slot->ice.counters.unauthenticated + slot->ice.counters.malformed;
	s->st.address_changes = slot->ice.counters.address_changes;
	s->st.srtp_replayed = slot->window.replayed;
	s->st.srtp_unauthentic = slot->window.unauthentic;
}
