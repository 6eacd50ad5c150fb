/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_send.h"

#include <stdlib.h>

_Static_assert((LINK_HISTORY_LEAST & (LINK_HISTORY_LEAST - 1)) == 0, "a power of two");
_Static_assert((LINK_COPIES_MAX & (LINK_COPIES_MAX - 1)) == 0, "a power of two");
_Static_assert((LINK_HISTORY_MAX & (LINK_HISTORY_MAX - 1)) == 0, "a power of two");

void link_send_init(
	struct link_send *s, uint32_t redundancy_permille, int64_t age_max_us, uint64_t next_seq)
{
	*s = (struct link_send){
		.best = LINK_NO_PATH,
		.second = LINK_NO_PATH,
		.leaving = LINK_NO_PATH,
		.redundancy_permille = redundancy_permille,
		.age_max_us = age_max_us,
		.oldest = next_seq,
		.next = next_seq,
	};
}

/* ---- paths ---- */

static uint8_t least(const struct link_path *paths, uint8_t but)
{
	uint8_t best = LINK_NO_PATH;
	int64_t best_us = INT64_MAX;

	for (uint8_t i = 0; i < LINK_PATHS_MAX; i++) {
		int64_t weight_us = link_path_weight_us(&paths[i]);

		if (i != but && weight_us < best_us) {
			best = i;
			best_us = weight_us;
		}
	}
	return best;
}

/* Beside `best`: one that shares no address with it if there is one that is up, else the next best. */
static uint8_t least_beside(const struct link_path *paths, uint8_t best)
{
	uint8_t other = LINK_NO_PATH;
	int64_t other_us = INT64_MAX;

	for (uint8_t i = 0; best != LINK_NO_PATH && i < LINK_PATHS_MAX; i++) {
		int64_t weight_us = link_path_weight_us(&paths[i]);

		if (i != best && link_routes_are_disjoint(paths[i].route, paths[best].route) &&
			weight_us < other_us) {
			other = i;
			other_us = weight_us;
		}
	}
	return other != LINK_NO_PATH || best == LINK_NO_PATH ? other : least(paths, best);
}

static void go_to(struct link_send *s, const struct link_path *paths, uint8_t best, int64_t now_us)
{
	s->switches += s->best != LINK_NO_PATH;
	/* one that is well, only less so, has nothing that must be made good for */
	if (s->best != LINK_NO_PATH && paths[s->best].state != LINK_PATH_GOOD) {
		s->leaving = s->best;
		s->overlap_until_us = now_us + LINK_OVERLAP_US;
	}
	s->best = best;
	s->better_since_us = 0;
	s->second = least_beside(paths, best);
}

bool link_send_judge(struct link_send *s, const struct link_path *paths, int64_t now_us)
{
	uint8_t best = least(paths, LINK_NO_PATH);

	if (now_us >= s->overlap_until_us)
		s->leaving = LINK_NO_PATH;
	if (best == LINK_NO_PATH && s->best != LINK_NO_PATH)
		best = s->best; /* all are dead: as good as any */
	if (s->best == LINK_NO_PATH || best == s->best) {
		if (s->best != best)
			go_to(s, paths, best, now_us);
		s->better_since_us = 0;
		s->second = least_beside(paths, s->best);
		return false;
	}
	/* (no path is heavier than one that is dead) */
	int64_t here_us = link_path_weight_us(&paths[s->best]);
	int64_t gain_us = here_us - link_path_weight_us(&paths[best]);

	if (paths[s->best].state != LINK_PATH_GOOD && gain_us >= LINK_BETTER_LEAST_US) {
		go_to(s, paths, best, now_us);
		return true;
	}
	/* better, but the present one does: not so fast */
	s->second = least_beside(paths, s->best);
	if (gain_us < here_us / 5 || gain_us < LINK_BETTER_LEAST_US)
		s->better_since_us = 0;
	else if (!s->better_since_us)
		s->better_since_us = now_us;
	else if (now_us - s->better_since_us > LINK_BETTER_US)
		go_to(s, paths, best, now_us);
	return false;
}

static bool is_up(const struct link_path *paths, uint8_t path)
{
	return path != LINK_NO_PATH && paths[path].used && paths[path].state != LINK_PATH_DEAD;
}

static void earn(struct link_send *s, size_t size)
{
	s->budget_bytes += (int64_t)(size * s->redundancy_permille / 1000);
	if (s->budget_bytes > LINK_BUDGET_BYTES_MAX)
		s->budget_bytes = LINK_BUDGET_BYTES_MAX;
}

static void charge(struct link_send *s, size_t size)
{
	s->extra_bytes += size;
	s->budget_bytes -= (int64_t)size;
	if (s->budget_bytes < -LINK_BUDGET_BYTES_MAX)
		s->budget_bytes = -LINK_BUDGET_BYTES_MAX;
}

uint8_t link_send_beside(const struct link_send *s, const struct link_path *paths, int64_t now_us)
{
	uint8_t other =
		s->leaving != LINK_NO_PATH && now_us < s->overlap_until_us ? s->leaving : s->second;

	return is_up(paths, other) && other != s->best ? other : LINK_NO_PATH;
}

struct link_select link_send_select(struct link_send *s, const struct link_path *paths, size_t size,
	enum link_mode mode, bool matters, int64_t now_us)
{
	struct link_select select = {0};

	if (s->best == LINK_NO_PATH)
		return select;
	select.paths[select.count++] = s->best;
	s->packets++;
	s->bytes += size;
	earn(s, size);
	bool trouble = link_path_is_in_trouble(&paths[s->best]);
	uint8_t other = link_send_beside(s, paths, now_us);

	if (other == LINK_NO_PATH)
		return select;
	if (mode == LINK_RACE || other == s->leaving || trouble) {
		select.paths[select.count++] = other;
		select.in_trouble = mode != LINK_RACE;
	} else if (mode == LINK_SMART && matters && s->budget_bytes >= (int64_t)size) {
		s->budget_bytes -= (int64_t)size;
		select.paths[select.count++] = other;
	}
	return select;
}

/* ---- copies ---- */

bool link_send_copy_may_go(
	struct link_send *s, const struct link_path *path, uint64_t seq, int64_t now_us)
{
	if (!s->copies_count && link_path_has_spare(path, now_us))
		return true;
	if (s->copies_count == LINK_COPIES_MAX) {
		s->copies_first++;
		s->copies_count--;
		s->copies_left_out++;
	}
	s->copies[(s->copies_first + s->copies_count++) % LINK_COPIES_MAX] = seq;
	return false;
}

struct link_sent *link_send_next_copy(
	struct link_send *s, const struct link_path *paths, uint8_t beside)
{
	while (s->copies_count) {
		uint64_t seq = s->copies[s->copies_first++ % LINK_COPIES_MAX];
		struct link_sent *sent = link_send_find(s, seq);

		s->copies_count--;
		if (sent && sent->path != LINK_NO_PATH && sent->path != beside &&
			beside != LINK_NO_PATH && sent->path_seq > paths[sent->path].acked)
			return sent;
		s->copies_left_out++;
	}
	return NULL;
}

void link_send_note_copy(struct link_send *s, const struct link_sent *sent, size_t size)
{
	s->duplicated++;
	s->extra_bytes += size;
	s->trouble_bytes += sent->in_trouble ? size : 0;
}

struct link_select link_send_select_again(struct link_send *s, const struct link_path *paths,
	size_t size, enum link_mode mode, int64_t now_us)
{
	struct link_select select = {0};

	if (s->best == LINK_NO_PATH)
		return select;
	select.paths[select.count++] = s->best;
	charge(s, size);
	if (mode != LINK_BACKUP && is_up(paths, s->second) &&
		link_path_has_spare(&paths[s->second], now_us) &&
		(mode == LINK_RACE || s->budget_bytes >= (int64_t)size)) {
		charge(s, size);
		select.paths[select.count++] = s->second;
		s->duplicated++;
	}
	return select;
}

/* ---- history ---- */

static struct link_sent *at(const struct link_send *s, uint64_t seq)
{
	return &s->history[seq & (s->history_size - 1)];
}

/* All that is kept lies elsewhere afterwards. False: it is as large as it gets, or there is no memory. */
static bool grow(struct link_send *s)
{
	struct link_send larger = *s;

	larger.history_size = s->history_size ? 2 * s->history_size : LINK_HISTORY_LEAST;
	if (larger.history_size > LINK_HISTORY_MAX)
		return false;
	larger.history = calloc(larger.history_size, sizeof(*larger.history));
	if (!larger.history)
		return false;
	for (uint64_t seq = s->oldest; seq < s->next; seq++)
		*at(&larger, seq) = *at(s, seq);
	free(s->history);
	*s = larger;
	return true;
}

void link_send_fini(struct link_send *s)
{
	free(s->history);
	s->history = NULL;
	s->history_size = 0;
	s->oldest = s->next;
}

struct link_sent *link_send_put(struct link_send *s, struct slot_ref packet, uint64_t to,
	uint64_t from, int64_t now_us, struct slot_ref *dropped)
{
	*dropped = (struct slot_ref){0};
	if (s->next - s->oldest == s->history_size && !grow(s)) {
		if (!s->history)
			return NULL;
		*dropped = at(s, s->oldest)->packet;
		s->oldest++;
		s->not_kept++;
	}
	struct link_sent *sent = at(s, s->next);

	*sent = (struct link_sent){
		.packet = packet,
		.seq = s->next,
		.to = to,
		.from = from,
		.sent_us = now_us,
		.path = LINK_NO_PATH,
	};
	s->next++;
	return sent;
}

struct link_sent *link_send_find(struct link_send *s, uint64_t seq)
{
	if (seq < s->oldest || seq >= s->next)
		return NULL;
	return at(s, seq);
}

struct link_sent *link_send_undelivered(
	struct link_send *s, uint8_t path, uint64_t acked, uint64_t *seq)
{
	if (*seq < s->oldest)
		*seq = s->oldest;
	while (*seq < s->next) {
		struct link_sent *sent = at(s, (*seq)++);

		if (sent->path == path && sent->path_seq > acked)
			return sent;
	}
	return NULL;
}

bool link_send_drop(struct link_send *s, struct slot_ref *packet)
{
	if (s->oldest == s->next)
		return false;
	*packet = at(s, s->oldest)->packet;
	s->oldest++;
	return true;
}

bool link_send_expire(struct link_send *s, int64_t now_us, struct slot_ref *packet)
{
	if (s->oldest == s->next || now_us - at(s, s->oldest)->sent_us <= s->age_max_us)
		return false;
	return link_send_drop(s, packet);
}
