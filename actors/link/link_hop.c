/* SPDX-License-Identifier: Apache-2.0
 *
 * How long packets of other nodes are in this worker until they have left for the next node: one in
 * LINK_HOP_EVERY that comes is watched. One that leaves by no link, or by another worker's, says nothing.
 */
#include "actors/link/link_internal.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum { LINK_HOP_EVERY = 64 };

void link_hop_came(const struct media_link *s, struct slot_ref packet)
{
	struct link_hop *hop = s->facts->hop;

	if (++hop->count % LINK_HOP_EVERY)
		return;
	hop->packet = packet;
	hop->arrival_us = s->arrival_us;
}

void link_hop_leaves(struct media_link *s, const struct slot_ref *packets, size_t count)
{
	struct link_hop *hop = s->facts->hop;

	for (size_t i = 0; hop->arrival_us && i < count; i++)
		if (packets[i].index == hop->packet.index &&
			packets[i].generation == hop->packet.generation) {
			s->hop_us = hop->arrival_us;
			hop->arrival_us = 0;
		}
}

void link_hop_left(struct actor *self, struct media_link *s)
{
	if (!s->hop_us)
		return;
	process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_LINK_HOP,
		actor_clock_us(self) - s->hop_us);
	s->hop_us = 0;
}
