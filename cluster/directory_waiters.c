/* SPDX-License-Identifier: Apache-2.0
 *
 * directory: those who wait for a name to get an owner, and new claims that wait until all owners could
 * speak. Both lie in the state.
 */
#include "cluster/directory_internal.h"

enum { WAITERS_MAX = sizeof(((struct directory_state *)0)->waiters) / sizeof(struct name_waiter) };

enum err directory_answer_found(struct actor *self, struct asker asker, const struct owned *row)
{
	struct msg_name_found found = {
		.owner = row->owner,
		.epoch = row->epoch,
		.process = directory_is_own(self, row) ? row->process : 0,
	};

	memcpy(found.name, row->name, sizeof(found.name));
	return actor_answer_mail(self, asker, MSG_name_found, &schema_name_found, &found);
}

static struct asker asker_of(const struct name_waiter *waiter)
{
	return (struct asker){.from = waiter->who, .request = waiter->request};
}

void directory_set_waiter_timer(struct actor *self, const struct directory *s)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < s->st.waiters_count; i++)
		if (!s->st.waiters[i].claims && s->st.waiters[i].until_us < next_us)
			next_us = s->st.waiters[i].until_us;
	if (next_us < INT64_MAX)
		actor_timer_at(self, DIRECTORY_TIMER_WAITERS, next_us);
	else
		actor_timer_off(self, DIRECTORY_TIMER_WAITERS);
}

enum err directory_wait(struct actor *self, struct directory *s, const struct name_waiter *waiter)
{
	if (s->st.waiters_count == WAITERS_MAX) {
		s->st.refused++;
		return ERR_OVERLOAD;
	}
	s->st.waiters[s->st.waiters_count++] = *waiter;
	directory_set_waiter_timer(self, s);
	return ERR_OK;
}

void directory_answer_waiters(struct actor *self, struct directory *s, const struct owned *row)
{
	for (int i = s->st.waiters_count - 1; i >= 0; i--) {
		struct name_waiter *waiter = &s->st.waiters[i];

		if (waiter->claims || strcmp(waiter->name, row->name) ||
			row->epoch <= waiter->newer_than)
			continue;
		directory_answer_found(self, asker_of(waiter), row);
		*waiter = s->st.waiters[--s->st.waiters_count];
	}
	directory_set_waiter_timer(self, s);
}

void directory_refuse_late(struct actor *self, struct directory *s)
{
	for (int i = s->st.waiters_count - 1; i >= 0; i--) {
		struct name_waiter *waiter = &s->st.waiters[i];

		if (waiter->claims || waiter->until_us > actor_now_us(self))
			continue;
		if (actor_phase(self) != DIRECTORY_SERVING) {
			/* nobody is told that a name has no owner before all could speak */
			waiter->until_us = actor_now_us(self) + DIRECTORY_GATHER_MS * DIRECTORY_MS;
			continue;
		}
		actor_refuse(self, asker_of(waiter), ERR_NOT_FOUND, "nobody has this name");
		*waiter = s->st.waiters[--s->st.waiters_count];
	}
	directory_set_waiter_timer(self, s);
}

void directory_begin_waiting_claims(struct actor *self, struct directory *s)
{
	int kept = 0;

	for (int i = 0; i < s->st.waiters_count; i++) {
		struct name_waiter *waiter = &s->st.waiters[i];
		struct msg_name_claim claim = {.start_us = waiter->start_us, .over = waiter->over};

		if (!waiter->claims) {
			s->st.waiters[kept++] = *waiter;
			continue;
		}
		memcpy(claim.name, waiter->name, sizeof(claim.name));
		enum err err = directory_begin_claim(self, s, asker_of(waiter), 0, &claim);

		if (err)
			actor_refuse(self, asker_of(waiter), err, "");
	}
	s->st.waiters_count = (uint16_t)kept;
}
