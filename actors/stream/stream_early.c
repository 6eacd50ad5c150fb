/* SPDX-License-Identifier: Apache-2.0
 *
 * Media that comes before the answer that names its tracks, and whose it is: a link is faster than the
 * mesh, and the first that it brings are the source's cached pictures, for which the viewers of the copy
 * wait. Held by reference, and taken when the answer is there. What finds no room is asked for by its
 * position, as whatever was lost. Until it is taken it counts as dropped, which it is when the process
 * dies.
 */
#include "actors/stream/stream_internal.h"

#include <stdlib.h>

enum { EARLY_MAX = 4096 }; /* packets: as many as a link holds (LINK_HELD_MAX) */

void stream_early_put(
	struct actor *self, struct stream *s, const struct slot_ref *packets, size_t count)
{
	struct stream_early *early = &s->early;

	if (!early->packets)
		early->packets = calloc(EARLY_MAX, sizeof(*early->packets));
	for (size_t i = 0; i < count; i++)
		if (early->packets && early->count < EARLY_MAX &&
			arena_hold(actor_arena(self), ARENA_PACKET, packets[i]))
			early->packets[early->count++] = packets[i];
	s->st.dropped_not_source += count;
}

static void end(struct actor *self, struct stream_early *early)
{
	for (uint32_t i = 0; i < early->count; i++)
		arena_release(actor_arena(self), ARENA_PACKET, early->packets[i]);
	free(early->packets);
}

void stream_early_take(struct actor *self, struct stream *s, struct addr from)
{
	struct stream_early early = s->early;

	s->early = (struct stream_early){0};
	s->st.dropped_not_source -= early.count;
	if (early.count)
		stream_media(self, s, from, early.packets, early.count);
	end(self, &early);
}

void stream_early_drop(struct actor *self, struct stream *s)
{
	end(self, &s->early);
	s->early = (struct stream_early){0};
}
