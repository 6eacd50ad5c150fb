/* SPDX-License-Identifier: Apache-2.0
 *
 * The two byte streams of an RTMP session, and how a successor goes on in them.
 *
 * What the client says is read into the slot, once as much as there is room for in a turn. The
 * engine's state goes back to what it was if the turn is not kept (slot->was), so bytes that were
 * read in it stay where they are until it is; how many they were the socket tells. They are parsed
 * again, and what they led to happens again: mail has not left, the stream knows packets that it has
 * by their numbers, and answers leave only when the turn that made them is kept.
 *
 * What goes out is answers (`made`, of which `said` are out) and a player's tags (the view's `out`),
 * never both at once. So what the socket has taken beyond what was counted is of the one of them
 * that was writing.
 */
#include "actors/rtmp/rtmp_internal.h"
#include "runtime/net.h"

/* ---- turns ----------------------------------------------------------------------------------- */

/* Used up: the next bytes may lie at the beginning. */
static void rewind_input(struct rtmp_base *base)
{
	if (base->in_at == base->in_end)
		base->in_at = base->in_end = 0;
}

void rtmp_session_touch(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	uint64_t turn = actor_turn(self);

	if (!turn)
		rewind_input(&slot->now);
	if (slot->was_turn == turn)
		return;
	slot->was = slot->now;
	rewind_input(&slot->was);
	chunk_reader_hold(&slot->was.server.chunks);
	arena_step();
	slot->was_turn = turn;
	arena_step();
	rewind_input(&slot->now);
	chunk_reader_hold(&slot->now.server.chunks);
}

static bool is_kept(struct actor *self, const struct rtmp_slot *slot)
{
	return !actor_turn(self) || slot->was_turn != actor_turn(self);
}

/* ---- out ------------------------------------------------------------------------------------- */

static uint32_t answers_room(const struct rtmp_base *base)
{
	return RTMP_UNSENT_MAX - (uint32_t)(base->made - base->made_from);
}

struct writer rtmp_session_output(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;

	rtmp_session_touch(self, s);
	if (slot->said == slot->now.made)
		slot->now.made_from = slot->now.made;
	return writer_of(
		slot->out + (slot->now.made - slot->now.made_from), answers_room(&slot->now));
}

void rtmp_session_wrote(struct rtmp_session *s, const struct writer *out)
{
	s->slot->now.made += writer_used(out);
}

bool rtmp_session_is_blocked(const struct rtmp_slot *slot)
{
	return slot->said < slot->now.made && answers_room(&slot->now) < RTMP_OUT_MIN;
}

bool rtmp_session_owes(const struct rtmp_slot *slot)
{
	return slot->said < slot->now.made;
}

/* A peer that closes without listening breaks the socket for writing, while what it sent last is
 * still to be read: answers are thrown away then, and the reading side finds the end. Inside a tag
 * that a player gets nothing else may stand. */
void rtmp_session_flush(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	uint64_t until = is_kept(self, slot) || s->ending ? slot->now.made : slot->was.made;

	if (!s->socket || (flv_view_is_inside(&slot->view) && !s->deaf))
		return;
	s->full = false;
	while (slot->said < until && !s->deaf && !s->full) {
		struct iovec rest = {slot->out + (slot->said - slot->now.made_from),
			(size_t)(until - slot->said)};
		long written = net_write(self, s->socket, &rest, 1);

		s->deaf = written == -2;
		s->full = written <= 0 || (uint64_t)written < until - slot->said;
		slot->said += written > 0 ? (uint64_t)written : 0;
	}
	if (s->deaf)
		slot->said = slot->now.made;
	else if (slot->said < slot->now.made && !s->full)
		actor_kick(actor_runtime(self), actor_addr(self)); /* the turn will be kept */
}

/* ---- in -------------------------------------------------------------------------------------- */

long rtmp_session_receive(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	long size;

	rtmp_session_touch(self, s);
	if (slot->now.in_end == RTMP_IN_SIZE)
		return -1; /* there is more room in the next turn */
	size = net_read(
		self, s->socket, slot->in + slot->now.in_end, RTMP_IN_SIZE - slot->now.in_end);
	if (size > 0) {
		slot->now.in_end += (uint32_t)size;
		slot->now.taken += (uint64_t)size;
	}
	return size;
}

/* ---- a successor ----------------------------------------------------------------------------- */

static bool is_base_valid(const struct rtmp_base *base, size_t arena_size)
{
	return base->in_at <= base->in_end && base->in_end <= RTMP_IN_SIZE &&
	       base->made_from <= base->made && base->made - base->made_from <= RTMP_UNSENT_MAX &&
	       rtmp_media_is_valid(&base->media) && rtmp_server_is_valid(&base->server, arena_size);
}

bool rtmp_session_recover(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;

	if (!is_kept(self, slot))
		slot->now = slot->was;
	arena_step();
	slot->was_turn = 0;
	/* what is not made again was said before that turn */
	return is_base_valid(&slot->now, s->arena_size) && slot->said <= slot->now.made &&
	       (slot->said == slot->now.made || slot->said >= slot->now.made_from);
}

bool rtmp_session_resume(struct actor *self, struct rtmp_session *s)
{
	struct rtmp_slot *slot = s->slot;
	struct net_progress progress;
	uint64_t out;

	if (!net_progress(self, s->socket, &progress))
		return false;
	rtmp_session_touch(self, s);
	out = progress.out - slot->said - slot->view.at.out;
	if (progress.in - slot->now.taken > RTMP_IN_SIZE - slot->now.in_end)
		return false;
	slot->now.in_end += (uint32_t)(progress.in - slot->now.taken);
	slot->now.taken = progress.in;
	if (!flv_view_was_writing(&slot->view)) {
		if (out > slot->now.made - slot->said)
			return false;
		slot->said += out;
		out = 0;
	}
	return actor_phase(self) == RTMP_SESSION_PLAYING ? rtmp_play_resolve(self, s, out) : !out;
}
