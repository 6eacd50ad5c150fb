/* SPDX-License-Identifier: Apache-2.0
 *
 * directory: how a name is taken and kept.
 *
 *   claim --> put under the lease of the owner's process --the event comes--> granted
 *     |         '-- somebody else was faster: decided anew by what is known then
 *     '--> the store is down: granted provisionally, put when it is back (settle)
 *
 * A put that was not answered may have taken place: what the store then tells decides.
 */
#include "cluster/directory_internal.h"
#include "cluster/hlc.h"
#include "cluster/store.h"

#include <stdio.h>

enum {
	LEASE_MS = 10000,
	LEASE_KEEP_MS = 3000,
	CLAIM_TRIES = 4,
	SETTLE_MS = 250,	/* looks as long as something is not settled … */
	SETTLE_AGAIN_MS = 1000, /* … and asks again for what was asked so long ago */
	SILENT_MS = 5000, /* an owner here that does not claim what the store says is its own */
};

/* ---- leases ------------------------------------------------------------------------------------ */

static struct process_lease *find_process(struct directory *s, uint32_t process)
{
	for (uint32_t i = 0; i < s->process_count; i++)
		if (process && s->processes[i].process == process)
			return &s->processes[i];
	return NULL;
}

static struct process_lease *find_lease_request(struct directory *s, uint64_t request)
{
	for (uint32_t i = 0; i < s->process_count; i++)
		if (request && s->processes[i].request == request)
			return &s->processes[i];
	return NULL;
}

static void ask_for_lease(struct actor *self, struct process_lease *row)
{
	if (row->request)
		return;
	row->lease = 0;
	row->request = actor_request(self, actor_office(self, OFFICE_STORE), DIRECTORY_STORE_MS,
		store_lease_grant, {.ttl_ms = LEASE_MS});
}

void directory_process_up(struct actor *self, struct directory *s, uint32_t process)
{
	struct process_lease *row = &s->processes[s->process_count];

	if (find_process(s, process) || s->process_count > RUNTIME_PEERS_MAX)
		return;
	s->process_count++;
	*row = (struct process_lease){.process = process};
	ask_for_lease(self, row);
}

void directory_process_down(struct actor *self, struct directory *s, uint32_t process)
{
	struct process_lease *row = find_process(s, process);

	if (!row)
		return;
	if (row->lease)
		actor_send(self, actor_office(self, OFFICE_STORE), store_lease_revoke,
			{.lease = row->lease});
	*row = s->processes[--s->process_count];
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (s->claims[i].used && s->claims[i].process == process)
			s->claims[i].used = false;
}

void directory_keep_leases(struct actor *self, struct directory *s)
{
	for (uint32_t i = 0; i < s->process_count; i++) {
		struct process_lease *row = &s->processes[i];

		if (row->request)
			continue;
		if (row->lease)
			row->request = actor_request(self, actor_office(self, OFFICE_STORE),
				DIRECTORY_STORE_MS, store_lease_keep, {.lease = row->lease});
		else
			ask_for_lease(self, row);
	}
	actor_timer_in_ms(self, DIRECTORY_TIMER_LEASES, LEASE_KEEP_MS);
}

/* ---- claims ------------------------------------------------------------------------------------ */

static struct claim *free_claim(struct directory *s)
{
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (!s->claims[i].used)
			return &s->claims[i];
	return NULL;
}

static struct claim *find_claim(struct directory *s, uint64_t request)
{
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (request && s->claims[i].used && s->claims[i].request == request)
			return &s->claims[i];
	return NULL;
}

static void end_claim(struct actor *self, struct claim *claim, enum err err, const char *text)
{
	if (err && claim->asker.request)
		actor_refuse(self, claim->asker, err, text);
	claim->used = false;
}

static void grant(struct actor *self, struct directory *s, struct claim *claim, struct owned *row)
{
	struct msg_name_granted granted = {.epoch = row->epoch, .start_us = row->start_us};

	if (claim->unwanted ||
		(claim->until_us && !claim->claim.epoch && claim->until_us <= actor_now_us(self))) {
		claim->used = false;
		directory_release(self, s, row);
		return;
	}
	row->spoken = true;
	memcpy(granted.name, row->name, sizeof(granted.name));
	if (claim->asker.request)
		actor_answer_mail(
			self, claim->asker, MSG_name_granted, &schema_name_granted, &granted);
	end_claim(self, claim, ERR_OK, "");
}

static void refuse_for(
	struct actor *self, struct directory *s, struct claim *claim, const struct owned *row)
{
	struct msg_name_lost lost = {.epoch = row->epoch, .owner = row->owner};

	if (!claim->claim.epoch) {
		end_claim(self, claim, ERR_BUSY, "the name has an owner");
		return;
	}
	memcpy(lost.name, row->name, sizeof(lost.name));
	if (claim->asker.request) { /* else it has heard of it when the row changed */
		s->st.conflicts++;
		log_warn(actor_log(self), "name_conflict", "name", row->name, "epoch", row->epoch);
		actor_answer_mail(self, claim->asker, MSG_name_lost, &schema_name_lost, &lost);
	}
	end_claim(self, claim, ERR_OK, "");
}

/* What the name's row would be if the claim had its way. */
static struct owned row_wanted(struct actor *self, struct directory *s, struct claim *claim)
{
	struct owned wanted = {
		.owner = claim->asker.from,
		.epoch = claim->claim.epoch,
		.process = claim->process,
	};

	/* of an owner's start there is one time, whoever asks again */
	if (!claim->claim.epoch && !claim->tries)
		claim->claim.start_us = hlc_now(&s->st.clock_us, actor_wall_us(self));
	wanted.start_us = claim->claim.start_us;
	memcpy(wanted.name, claim->claim.name, sizeof(wanted.name));
	return wanted;
}

static uint64_t next_epoch(const struct directory *s)
{
	return (s->st.last_epoch > s->revision ? s->st.last_epoch : s->revision) + 1;
}

static void put(struct actor *self, struct directory *s, struct claim *claim, uint64_t lease,
	const struct owned *wanted)
{
	const struct owned *row = directory_find(s, wanted->name);
	/* (that of a released one is on its way out, unless it was tried in vain) */
	bool over = row && row->modified && (!row->released || claim->tries > 1);
	bool mine = row && addr_equal(row->owner, wanted->owner);
	struct name_value value = {
		.owner = wanted->owner,
		.epoch = mine ? row->epoch : wanted->epoch,
		.start_us = mine ? row->start_us : wanted->start_us,
		.process = wanted->process,
	};
	struct msg_store_put m = {
		.lease = lease,
		.compare = over ? STORE_AT_REVISION : STORE_CREATE,
		.revision = over ? row->modified : 0,
	};
	struct writer out = writer_of(m.value.data, sizeof(m.value.data));

	/* the revision of its creation will do as an epoch where it is a creation, and higher than all
	 * before (not where the store has lost its memory, or its clock was set back) */
	if (!value.epoch && (over || s->st.last_epoch > s->revision))
		value.epoch = next_epoch(s);
	MUST(schema_encode(&schema_name_value, &value, &out) == ERR_OK);
	m.value.size = (uint16_t)writer_used(&out);
	snprintf(m.key, sizeof(m.key), DIRECTORY_PREFIX "%s", wanted->name);
	claim->request = actor_request_mail(self, actor_office(self, OFFICE_STORE),
		DIRECTORY_STORE_MS, MSG_store_put, &schema_store_put, &m);
}

static void grant_alone(
	struct actor *self, struct directory *s, struct claim *claim, struct owned *wanted)
{
	struct owned *row;

	if (!wanted->epoch)
		wanted->epoch = next_epoch(s);
	row = directory_own(self, s, wanted);
	s->st.alone += row != NULL;
	if (row)
		grant(self, s, claim, row);
	else
		end_claim(self, claim, ERR_OVERLOAD, "too many names");
}

/* Is the name the claim's, though another has it? */
static bool gives_way(
	const struct owned *row, const struct owned *wanted, const struct claim *claim)
{
	return wanted->epoch ? directory_beats(wanted, row) : row->epoch <= claim->claim.over;
}

/* Decides by what is known now; comes here again when the store knew better. `alone`: it does not
 * answer. */
static void go_on(struct actor *self, struct directory *s, struct claim *claim, bool alone)
{
	struct owned *row = directory_find_kept(s, claim->claim.name);
	const struct process_lease *process = find_process(s, claim->process);
	struct owned wanted = row_wanted(self, s, claim);
	bool mine = row && addr_equal(row->owner, claim->asker.from);

	claim->request = 0;
	if (mine && row->process != claim->process) { /* it has moved: its name goes with it */
		row->process = claim->process;
		row->provisional = true;
		directory_settle_in(self, s, DIRECTORY_MS);
	}
	if (mine && (alone || (process && !row->provisional && row->lease == process->lease)))
		grant(self, s, claim, row);
	else if (row && !mine && !gives_way(row, &wanted, claim))
		refuse_for(self, s, claim, row);
	else if (!process)
		end_claim(self, claim, ERR_DEAD, "");
	else if (alone)
		grant_alone(self, s, claim, &wanted);
	else if (claim->tries++ == CLAIM_TRIES)
		end_claim(self, claim, ERR_OVERLOAD, "");
	else if (process->lease)
		put(self, s, claim, process->lease, &wanted);
}

enum err directory_begin_claim(struct actor *self, struct directory *s, struct asker asker,
	int64_t until_us, const struct msg_name_claim *m)
{
	struct claim *claim = free_claim(s);

	if (!claim) {
		s->st.refused++;
		return ERR_OVERLOAD;
	}
	*claim = (struct claim){
		.used = true,
		.process = actor_process_of(self, asker.from),
		.until_us = until_us,
		.asker = asker,
		.claim = *m,
	};
	go_on(self, s, claim, s->st.store_down);
	return ERR_OK;
}

void directory_give_up_claims(struct directory *s, struct addr who, const char *name)
{
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (s->claims[i].used && addr_equal(s->claims[i].asker.from, who) &&
			!strcmp(s->claims[i].claim.name, name))
			s->claims[i].unwanted = true;
}

void directory_decide_alone(struct actor *self, struct directory *s)
{
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (s->claims[i].used && !s->claims[i].request)
			go_on(self, s, &s->claims[i], true);
}

/* ---- what the store answers -------------------------------------------------------------------- */

bool directory_claim_done(struct actor *self, struct directory *s, uint64_t request)
{
	struct claim *claim = find_claim(s, request);

	if (claim) /* the event came before */
		go_on(self, s, claim, s->st.store_down);
	return claim != NULL;
}

bool directory_claim_failed(struct actor *self, struct directory *s, uint64_t request, enum err err)
{
	struct claim *claim = find_claim(s, request);
	struct process_lease *process =
		claim ? find_process(s, claim->process) : find_lease_request(s, request);

	if (claim && err == ERR_NOT_FOUND && process) {
		claim->request = 0;
		ask_for_lease(self, process);
	} else if (claim && (err == ERR_LIMIT || err == ERR_OVERLOAD || err == ERR_FORBIDDEN)) {
		end_claim(self, claim, ERR_OVERLOAD, "");
	} else if (claim) {
		/* another was faster; or nobody answers, and it may have taken place: it is asked for
		 * again (settle) when somebody does */
		go_on(self, s, claim, s->st.store_down || err == ERR_TIMEOUT || err == ERR_DEAD);
	} else if (process) {
		process->request = 0;
		if (err == ERR_NOT_FOUND) /* it has expired */
			ask_for_lease(self, process);
	}
	return claim || process;
}

void directory_leased(struct actor *self, struct directory *s, uint64_t request, uint64_t lease)
{
	struct process_lease *process = find_lease_request(s, request);

	if (!process) /* it went while the lease was on its way */
		return;
	process->request = 0;
	process->lease = lease;
	for (int i = 0; i < DIRECTORY_CLAIMS_MAX; i++)
		if (s->claims[i].used && !s->claims[i].request &&
			s->claims[i].process == process->process)
			go_on(self, s, &s->claims[i], s->st.store_down);
}

/* ---- settling ---------------------------------------------------------------------------------- */

/* A name that the store has from a control process before this one, and that its owner has given up
 * while there was none: nobody claims it again. */
static bool is_left_over(struct actor *self, const struct owned *row)
{
	return !row->spoken && !row->released && directory_is_own(self, row);
}

static void put_again(struct actor *self, struct directory *s, const struct owned *row)
{
	struct msg_name_claim claim = {.epoch = row->epoch, .start_us = row->start_us};

	memcpy(claim.name, row->name, sizeof(claim.name));
	directory_begin_claim(self, s, (struct asker){.from = row->owner}, 0, &claim);
}

/* False: the store says of it what is so. Else it is asked to, when it is time. */
static bool settle_row(struct actor *self, struct directory *s, struct owned *row)
{
	int64_t now_us = actor_now_us(self), asked_us = row->asked_us;
	bool left_over = is_left_over(self, row);

	if (!row->provisional && !row->released && !left_over)
		return false;
	if (left_over && !asked_us) {
		row->asked_us = now_us;
	} else if (left_over && now_us - asked_us >= SILENT_MS * DIRECTORY_MS) {
		directory_release(self, s, row);
	} else if (!left_over && !s->st.store_down &&
		   (!asked_us || now_us - asked_us >= SETTLE_AGAIN_MS * DIRECTORY_MS)) {
		row->asked_us = now_us;
		if (row->released)
			directory_release(self, s, row);
		else
			put_again(self, s, row);
	}
	return true;
}

void directory_settle(struct actor *self, struct directory *s)
{
	uint32_t unsettled = 0;

	/* (one that is removed leaves its place to the last) */
	for (uint32_t i = s->name_count; i-- > 0;)
		unsettled += settle_row(self, s, &s->names[i]);
	s->st.unsettled = unsettled;
	s->settle_us = INT64_MAX;
	if (unsettled && !s->st.store_down)
		directory_settle_in(self, s, SETTLE_MS);
}

void directory_settle_in(struct actor *self, struct directory *s, int64_t ms)
{
	int64_t at_us = actor_now_us(self) + ms * DIRECTORY_MS;

	if (at_us >= s->settle_us)
		return;
	s->settle_us = at_us;
	actor_timer_at(self, DIRECTORY_TIMER_SETTLE, at_us);
}
