/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that came before the other end was there to take them: held by reference, in their order, and
 * sent when it is. A link opens within a round trip of the mesh, which is less than a stream's first
 * frames may wait.
 */
#include "actors/link/link_internal.h"

#include <stdlib.h>

/* As its sender wants to travel, or this node's media. */
struct link_terms link_terms_of(const struct media_link *s, uint64_t from)
{
	uintptr_t terms = s->facts->terms.count ? (uintptr_t)idmap_get(&s->facts->terms, from) : 0;

	if (!terms)
		return (struct link_terms){.mode = (enum link_mode)s->st.mode};
	return (struct link_terms){.mode = (enum link_mode)((terms & UINT8_MAX) - 1),
		.age_us = (int64_t)(terms >> 8) * 1000};
}

bool link_hold_put(struct actor *self, struct media_link *s, uint64_t to, uint64_t from,
	struct slot_ref packet)
{
	struct link_held *held = &s->held;

	if (!held->packets)
		held->packets = calloc(LINK_HELD_MAX, sizeof(*held->packets));
	if (!held->packets || held->count == LINK_HELD_MAX ||
		!arena_hold(actor_arena(self), ARENA_PACKET, packet))
		return false;
	held->packets[held->count++] = (struct link_held_packet){packet, to, from};
	return true;
}

void link_hold_end(struct actor *self, struct media_link *s, bool send)
{
	struct link_held *held = &s->held;

	for (uint32_t i = 0; i < held->count; i++) {
		const struct link_held_packet *one = &held->packets[i];

		if (send)
			link_engine_send(s->engine, one->packet, one->to, one->from,
				link_terms_of(s, one->from), actor_now_us(self));
		else
			arena_release(actor_arena(self), ARENA_PACKET, one->packet);
	}
	free(held->packets);
	*held = (struct link_held){0};
}
