/* SPDX-License-Identifier: Apache-2.0
 *
 * directory: who owns a name.
 *
 *   (start) --> loading --store was read--> gathering --time--> serving
 *
 * The names lie in the store, each under the lease of its owner's process; here is a copy that the
 * store's events keep up to date, so that a lookup asks nobody. A name is claimed by a put that
 * only creates; the revision that created the key is the owner's epoch, which therefore grows with every
 * owner. A name goes when it is released, its owner ends, or its process does.
 *
 * A new control process finds an empty store. While it gathers, owners tell their names again (a
 * claim with an epoch), and new claims and lookups wait, so that nobody takes a name whose owner is
 * about to speak. Of two owners the highest (epoch, start, process) stays; the other gets
 * name_lost.
 */
#include "cluster/cluster.h"
#include "cluster/key_index.h"
#include "cluster/store.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	STORE_MS = 5000, /* deadline of a request to the store */
	GATHER_MS = 300,
	LEASE_MS = 10000,
	LEASE_KEEP_MS = 3000,
	WAIT_MAX_MS = 120000,
	CLAIMS_MAX = 1024, /* under way at once */
	CLAIM_TRIES = 4,
	NAMES_MAX = STORE_PAIRS_MAX,
	WAITERS_MAX = sizeof(((struct directory_state *)0)->waiters) / sizeof(struct name_waiter),
};

static const char prefix[] = "name/";

enum directory_phase {
	DIRECTORY_LOADING = 1 << 0,
	DIRECTORY_GATHERING = 1 << 1,
	DIRECTORY_SERVING = 1 << 2,
};

enum directory_timer { TIMER_WAITERS, TIMER_LEASES, TIMER_GATHER, TIMER_LOAD };

/* A name as the store has it. */
struct owned {
	char name[128]; /* first: key_index */
	struct addr owner;
	uint64_t epoch;
	uint64_t modified;
	int64_t start_us;
	uint32_t process;
	bool released; /* its end was asked for here */
};

struct process_lease {
	uint32_t process;
	uint64_t lease;	  /* 0 = not granted yet */
	uint64_t request; /* to the store, 0 = none */
};

/* A put under way, or waiting for the lease of its process. */
struct claim {
	bool used;
	uint8_t tries;
	uint32_t process;
	uint64_t request; /* 0 = waits for the lease */
	struct asker asker;
	struct addr loser; /* who had the name */
	struct msg_name_claim claim;
};

struct directory {
	struct directory_state st;

	struct owned *names; /* NAMES_MAX, in no order */
	uint32_t name_count;
	struct key_index index;
	struct claim *claims; /* CLAIMS_MAX; their askers ask again when this process is replaced */
	struct process_lease processes[RUNTIME_PEERS_MAX + 1];
	uint32_t process_count;
	uint64_t load_request;	/* range or watch */
	uint64_t load_revision; /* of the first page */
	uint64_t revision;	/* last change seen */
};

/* ---- names ----------------------------------------------------------------------------------- */

static struct owned *find_name(struct directory *s, const char *name)
{
	long place = key_index_find(&s->index, name);

	return place < 0 ? NULL : &s->names[place];
}

/* The same, but a name that is being released counts as gone: the store ends it before it handles
 * whatever is sent from now on. */
static struct owned *find_kept(struct directory *s, const char *name)
{
	struct owned *row = find_name(s, name);

	return row && !row->released ? row : NULL;
}

static bool owns_something(const struct directory *s, struct addr who)
{
	for (uint32_t i = 0; i < s->name_count; i++)
		if (addr_equal(s->names[i].owner, who))
			return true;
	return false;
}

static void remove_name(struct actor *self, struct directory *s, struct owned *row)
{
	struct owned *last = &s->names[s->name_count - 1];
	struct addr owner = row->owner;

	key_index_remove(&s->index, row->name);
	if (row != last) {
		key_index_move(&s->index, last->name, (uint16_t)(row - s->names));
		*row = *last;
	}
	s->st.names = --s->name_count;
	if (!owns_something(s, owner))
		actor_unmonitor(self, owner);
}

/* Takes a pair of the store into the copy; NULL when it is no name, or older than what is here. */
static struct owned *take_pair(
	struct actor *self, struct directory *s, const struct store_pair *pair)
{
	struct reader in = reader_of(pair->value.data, pair->value.size);
	const char *name = pair->key + sizeof(prefix) - 1;
	struct owned *row;
	struct name_value value;

	if (strncmp(pair->key, prefix, sizeof(prefix) - 1) || strlen(name) >= sizeof(row->name) ||
		schema_decode(&schema_name_value, &in, &value))
		return NULL;
	row = find_name(s, name);
	if (row && row->modified >= pair->modified)
		return NULL;
	if (row && !addr_equal(row->owner, value.owner))
		remove_name(self, s, row);
	row = find_name(s, name);
	if (!row) {
		if (s->name_count == NAMES_MAX)
			return NULL;
		row = &s->names[s->name_count];
		text_copy(row->name, sizeof(row->name), name);
		MUST(key_index_add(&s->index, (uint16_t)s->name_count));
		if (!owns_something(s, value.owner))
			actor_monitor(self, value.owner);
		s->st.names = ++s->name_count;
	}
	row->owner = value.owner;
	row->epoch = value.epoch ? value.epoch : pair->created;
	row->modified = pair->modified;
	row->start_us = value.start_us;
	row->process = value.process;
	row->released = false;
	if (row->epoch > s->st.last_epoch)
		s->st.last_epoch = row->epoch;
	return row;
}

static void release_name(struct actor *self, struct owned *row)
{
	struct msg_store_delete delete = {.compare = STORE_AT_REVISION, .revision = row->modified};

	row->released = true;
	snprintf(delete.key, sizeof(delete.key), "%s%s", prefix, row->name);
	/* no answer is wanted: when it fails the name has a new owner, or is gone already */
	actor_send_mail(self, actor_office(self, OFFICE_STORE), MSG_store_delete,
		&schema_store_delete, &delete);
}

/* ---- those who wait for a name --------------------------------------------------------------- */

static enum err answer_found(struct actor *self, struct asker asker, const struct owned *row)
{
	struct msg_name_found found = {
		.owner = row->owner, .epoch = row->epoch, .process = row->process};

	memcpy(found.name, row->name, sizeof(found.name));
	return actor_answer_mail(self, asker, MSG_name_found, &schema_name_found, &found);
}

static struct asker asker_of(const struct name_waiter *waiter)
{
	return (struct asker){.from = waiter->who, .request = waiter->request};
}

static void set_waiter_timer(struct actor *self, const struct directory *s)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < s->st.waiters_count; i++)
		if (!s->st.waiters[i].claims && s->st.waiters[i].until_us < next_us)
			next_us = s->st.waiters[i].until_us;
	if (next_us < INT64_MAX)
		actor_timer_at(self, TIMER_WAITERS, next_us);
	else
		actor_timer_off(self, TIMER_WAITERS);
}

static enum err wait_for_name(
	struct actor *self, struct directory *s, const struct name_waiter *waiter)
{
	if (s->st.waiters_count == WAITERS_MAX) {
		s->st.refused++;
		return ERR_OVERLOAD;
	}
	s->st.waiters[s->st.waiters_count++] = *waiter;
	set_waiter_timer(self, s);
	return ERR_OK;
}

static void answer_waiters(struct actor *self, struct directory *s, const struct owned *row)
{
	for (int i = s->st.waiters_count - 1; i >= 0; i--) {
		struct name_waiter *waiter = &s->st.waiters[i];

		if (waiter->claims || strcmp(waiter->name, row->name) ||
			row->epoch <= waiter->newer_than)
			continue;
		answer_found(self, asker_of(waiter), row);
		*waiter = s->st.waiters[--s->st.waiters_count];
	}
}

static void refuse_late_waiters(struct actor *self, struct directory *s)
{
	for (int i = s->st.waiters_count - 1; i >= 0; i--) {
		struct name_waiter *waiter = &s->st.waiters[i];

		if (waiter->claims || waiter->until_us > actor_now_us(self))
			continue;
		if (actor_phase(self) != DIRECTORY_SERVING) {
			/* nobody is told that a name has no owner before all could speak */
			waiter->until_us = actor_now_us(self) + GATHER_MS * MS;
			continue;
		}
		actor_refuse(self, asker_of(waiter), ERR_NOT_FOUND, "nobody has this name");
		*waiter = s->st.waiters[--s->st.waiters_count];
	}
	set_waiter_timer(self, s);
}

ON(directory, name_lookup)
{
	const struct owned *row = find_kept(s, m->name);
	uint32_t wait_ms = m->wait_ms < WAIT_MAX_MS ? m->wait_ms : WAIT_MAX_MS;
	struct name_waiter waiter = {
		.who = mail->from,
		.request = mail->request,
		.until_us = actor_now_us(self) + (int64_t)wait_ms * MS,
		.newer_than = m->newer_than,
	};

	s->st.lookups++;
	if (row && row->epoch > m->newer_than)
		return answer_found(self, actor_asker(self), row);
	if (!wait_ms && actor_phase(self) == DIRECTORY_SERVING)
		return actor_refuse(self, actor_asker(self), ERR_NOT_FOUND, "nobody has this name");
	memcpy(waiter.name, m->name, sizeof(waiter.name));
	return wait_for_name(self, s, &waiter);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static struct process_lease *find_process(struct directory *s, uint32_t process)
{
	for (uint32_t i = 0; i < s->process_count; i++)
		if (process && s->processes[i].process == process)
			return &s->processes[i];
	return NULL;
}

static void ask_for_lease(struct actor *self, struct process_lease *row)
{
	if (row->request)
		return;
	row->lease = 0;
	row->request = actor_request(self, actor_office(self, OFFICE_STORE), STORE_MS,
		store_lease_grant, {.ttl_ms = LEASE_MS});
}

static void add_process(struct actor *self, struct directory *s, uint32_t process)
{
	struct process_lease *row = &s->processes[s->process_count];

	if (find_process(s, process) || s->process_count > RUNTIME_PEERS_MAX)
		return;
	s->process_count++;
	*row = (struct process_lease){.process = process};
	ask_for_lease(self, row);
}

static void keep_leases(struct actor *self, struct directory *s)
{
	for (uint32_t i = 0; i < s->process_count; i++) {
		struct process_lease *row = &s->processes[i];

		if (row->request)
			continue;
		if (row->lease)
			row->request = actor_request(self, actor_office(self, OFFICE_STORE),
				STORE_MS, store_lease_keep, {.lease = row->lease});
		else
			ask_for_lease(self, row);
	}
	actor_timer_in_ms(self, TIMER_LEASES, LEASE_KEEP_MS);
}

static struct process_lease *find_lease_request(struct directory *s, uint64_t request)
{
	for (uint32_t i = 0; i < s->process_count; i++)
		if (request && s->processes[i].request == request)
			return &s->processes[i];
	return NULL;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static struct claim *free_claim(struct directory *s)
{
	for (int i = 0; i < CLAIMS_MAX; i++)
		if (!s->claims[i].used)
			return &s->claims[i];
	return NULL;
}

static struct claim *find_claim(struct directory *s, uint64_t request)
{
	for (int i = 0; i < CLAIMS_MAX; i++)
		if (request && s->claims[i].used && s->claims[i].request == request)
			return &s->claims[i];
	return NULL;
}

static void end_claim(struct actor *self, struct claim *claim, enum err err, const char *text)
{
	if (err)
		actor_refuse(self, claim->asker, err, text);
	claim->used = false;
}

static void grant(
	struct actor *self, struct directory *s, struct claim *claim, const struct owned *row)
{
	struct msg_name_granted granted = {.epoch = row->epoch};
	struct msg_name_lost lost = {.epoch = row->epoch, .owner = row->owner};

	memcpy(granted.name, row->name, sizeof(granted.name));
	memcpy(lost.name, row->name, sizeof(lost.name));
	if (!addr_is_nobody(claim->loser)) {
		s->st.conflicts++;
		log_warn(actor_log(self), "name_conflict", "name", row->name, "epoch", row->epoch);
		actor_send_mail(self, claim->loser, MSG_name_lost, &schema_name_lost, &lost);
	}
	actor_answer_mail(self, claim->asker, MSG_name_granted, &schema_name_granted, &granted);
	end_claim(self, claim, ERR_OK, "");
}

/* Highest (epoch, start, process). */
static bool beats(const struct claim *claim, const struct owned *row)
{
	if (claim->claim.epoch != row->epoch)
		return claim->claim.epoch > row->epoch;
	if (claim->claim.start_us != row->start_us)
		return claim->claim.start_us > row->start_us;
	return claim->process > row->process;
}

static void refuse_for(
	struct actor *self, struct directory *s, struct claim *claim, const struct owned *row)
{
	struct msg_name_lost lost = {.epoch = row->epoch, .owner = row->owner};

	if (!claim->claim.epoch) {
		end_claim(self, claim, ERR_BUSY, "the name has an owner");
		return;
	}
	s->st.conflicts++;
	log_warn(actor_log(self), "name_conflict", "name", row->name, "epoch", row->epoch);
	memcpy(lost.name, row->name, sizeof(lost.name));
	if (claim->asker.request)
		actor_answer_mail(self, claim->asker, MSG_name_lost, &schema_name_lost, &lost);
	else
		actor_send_mail(self, claim->asker.from, MSG_name_lost, &schema_name_lost, &lost);
	end_claim(self, claim, ERR_OK, "");
}

static void put_claim(struct actor *self, struct directory *s, struct claim *claim, uint64_t lease,
	const struct owned *row)
{
	struct name_value value = {
		.owner = claim->asker.from,
		.epoch = claim->claim.epoch,
		.start_us = claim->claim.start_us,
		.process = claim->process,
	};
	struct msg_store_put put = {
		.lease = lease,
		.compare = row ? STORE_AT_REVISION : STORE_CREATE,
		.revision = row ? row->modified : 0,
	};
	struct writer out = writer_of(put.value.data, sizeof(put.value.data));

	/* the store's revisions grow, unless its clock was set back over a restart */
	if (!value.epoch && s->st.last_epoch > s->revision)
		value.epoch = s->st.last_epoch + 1;
	MUST(schema_encode(&schema_name_value, &value, &out) == ERR_OK);
	put.value.size = (uint16_t)writer_used(&out);
	snprintf(put.key, sizeof(put.key), "%s%s", prefix, claim->claim.name);
	claim->loser =
		row && !addr_equal(row->owner, claim->asker.from) ? row->owner : (struct addr){0};
	claim->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_put, &schema_store_put, &put);
}

/* Decides by what is known now; comes here again when the store knew better. */
static void go_on(struct actor *self, struct directory *s, struct claim *claim)
{
	const struct owned *row = find_kept(s, claim->claim.name);
	const struct process_lease *process = find_process(s, claim->process);
	bool owns = row && addr_equal(row->owner, claim->asker.from);

	claim->request = 0;
	/* (an owner that has moved to another process puts its name under the lease of that) */
	if (owns && row->process == claim->process) {
		claim->loser = (struct addr){0};
		grant(self, s, claim, row);
	} else if (row && !owns && (!claim->claim.epoch || !beats(claim, row))) {
		refuse_for(self, s, claim, row);
	} else if (!process || claim->tries++ == CLAIM_TRIES) {
		end_claim(self, claim, process ? ERR_OVERLOAD : ERR_DEAD, "");
	} else if (process->lease) {
		put_claim(self, s, claim, process->lease, row);
	}
}

static enum err begin_claim(
	struct actor *self, struct directory *s, struct asker asker, const struct msg_name_claim *m)
{
	struct claim *claim = free_claim(s);

	if (!claim) {
		s->st.refused++;
		return ERR_OVERLOAD;
	}
	*claim = (struct claim){
		.used = true,
		.process = actor_process_of(self, asker.from),
		.asker = asker,
		.claim = *m,
	};
	go_on(self, s, claim);
	return ERR_OK;
}

ON(directory, name_claim)
{
	struct name_waiter waiter = {
		.who = mail->from,
		.request = mail->request,
		.claims = true,
		.start_us = m->start_us,
	};

	s->st.claims++;
	if (!m->name[0])
		return ERR_FORMAT;
	if (actor_phase(self) == DIRECTORY_LOADING && m->epoch)
		return ERR_AGAIN;
	if (m->epoch > s->st.last_epoch)
		s->st.last_epoch = m->epoch;
	if (m->epoch || actor_phase(self) == DIRECTORY_SERVING)
		return begin_claim(self, s, actor_asker(self), m);
	memcpy(waiter.name, m->name, sizeof(waiter.name));
	return wait_for_name(self, s, &waiter);
}

ON(directory, name_release)
{
	struct owned *row = find_name(s, m->name);

	if (row && addr_equal(row->owner, mail->from) && (!m->epoch || m->epoch == row->epoch))
		release_name(self, row);
	return ERR_OK;
}

/* ---- what the store says --------------------------------------------------------------------- */

ON(directory, store_done)
{
	struct claim *claim = find_claim(s, mail->request);
	const struct owned *row;

	if (!claim)
		return ERR_OK;
	row = find_kept(s, claim->claim.name);
	/* the event came before; if the name is gone or another's again, decide anew */
	if (row && addr_equal(row->owner, claim->asker.from))
		grant(self, s, claim, row);
	else
		go_on(self, s, claim);
	return ERR_OK;
}

ON(directory, store_leased)
{
	struct process_lease *process = find_lease_request(s, mail->request);

	if (!process) { /* it went while the lease was on its way */
		return ERR_OK;
	}
	process->request = 0;
	process->lease = m->lease;
	for (int i = 0; i < CLAIMS_MAX; i++)
		if (s->claims[i].used && !s->claims[i].request &&
			s->claims[i].process == process->process)
			go_on(self, s, &s->claims[i]);
	return ERR_OK;
}

/* A name went that nobody here gave up: its lease ended while this process was held up. Its owner
 * lives and keeps it. */
static void claim_again(struct actor *self, struct directory *s, const struct owned *row)
{
	struct msg_name_claim claim = {.epoch = row->epoch, .start_us = row->start_us};

	memcpy(claim.name, row->name, sizeof(claim.name));
	begin_claim(self, s, (struct asker){.from = row->owner}, &claim);
}

ON(directory, store_event)
{
	const char *name = m->pair.key + sizeof(prefix) - 1;
	struct owned *row;

	if (m->revision > s->revision)
		s->revision = m->revision;
	if (!m->deleted) {
		row = take_pair(self, s, &m->pair);
		if (row)
			answer_waiters(self, s, row);
		set_waiter_timer(self, s);
		return ERR_OK;
	}
	row = strlen(m->pair.key) >= sizeof(prefix) - 1 ? find_name(s, name) : NULL;
	if (row && row->modified < m->revision) {
		struct owned gone = *row;

		remove_name(self, s, row);
		if (!gone.released && find_process(s, gone.process))
			claim_again(self, s, &gone);
	}
	return ERR_OK;
}

static void load(struct actor *self, struct directory *s, const char *after)
{
	struct msg_store_range range = {0};

	memcpy(range.prefix, prefix, sizeof(prefix));
	text_copy(range.after, sizeof(range.after), after);
	if (!after[0])
		s->load_revision = 0;
	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_range, &schema_store_range, &range);
}

ON(directory, store_pairs)
{
	struct msg_store_watch watch = {0};

	if (mail->request != s->load_request)
		return ERR_OK;
	if (!s->load_revision)
		s->revision = s->load_revision = m->revision;
	for (int i = 0; i < m->pairs_count; i++)
		take_pair(self, s, &m->pairs[i]);
	if (m->more && m->pairs_count) {
		load(self, s, m->pairs[m->pairs_count - 1].key);
		return ERR_OK;
	}
	memcpy(watch.prefix, prefix, sizeof(prefix));
	watch.from_revision = s->load_revision + 1;
	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_watch, &schema_store_watch, &watch);
	return ERR_OK;
}

ON(directory, store_watching)
{
	if (mail->request != s->load_request)
		return ERR_OK;
	s->load_request = 0;
	if (m->compacted) {
		load(self, s, "");
		return ERR_OK;
	}
	actor_become(self, DIRECTORY_GATHERING);
	actor_timer_in_ms(self, TIMER_GATHER, GATHER_MS);
	return ERR_OK;
}

static void claim_failed(struct actor *self, struct directory *s, struct claim *claim, enum err err)
{
	struct process_lease *process = find_process(s, claim->process);

	if (err == ERR_NOT_FOUND && process) {
		claim->request = 0;
		ask_for_lease(self, process);
	} else if (err == ERR_EXISTS || err == ERR_PHASE) {
		go_on(self, s, claim);
	} else {
		end_claim(self, claim, process ? ERR_OVERLOAD : ERR_DEAD, "");
	}
}

ON(directory, failed)
{
	struct claim *claim = find_claim(s, mail->request);
	struct process_lease *process = find_lease_request(s, mail->request);

	if (claim) {
		claim_failed(self, s, claim, m->err);
	} else if (process) {
		process->request = 0;
		if (m->err == ERR_NOT_FOUND) /* it has expired */
			ask_for_lease(self, process);
	} else if (mail->request && mail->request == s->load_request) {
		s->load_request = 0;
		actor_timer_in_ms(self, TIMER_LOAD, GATHER_MS);
	}
	return ERR_OK;
}

/* ---- ends ------------------------------------------------------------------------------------ */

ON(directory, down)
{
	for (uint32_t i = 0; i < s->name_count; i++)
		if (addr_equal(s->names[i].owner, m->who) && !s->names[i].released)
			release_name(self, &s->names[i]);
	return ERR_OK;
}

ON(directory, peer)
{
	struct process_lease *process = find_process(s, m->process);

	if (m->up) {
		add_process(self, s, m->process);
		return ERR_OK;
	}
	if (!process)
		return ERR_OK;
	if (process->lease)
		actor_send(self, actor_office(self, OFFICE_STORE), store_lease_revoke,
			{.lease = process->lease});
	*process = s->processes[--s->process_count];
	for (int i = 0; i < CLAIMS_MAX; i++)
		if (s->claims[i].used && s->claims[i].process == m->process)
			s->claims[i].used = false;
	return ERR_OK;
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* All owners could speak: the new claims that waited, in their order. */
static void serve(struct actor *self, struct directory *s)
{
	int kept = 0;

	actor_become(self, DIRECTORY_SERVING);
	for (int i = 0; i < s->st.waiters_count; i++) {
		struct name_waiter *waiter = &s->st.waiters[i];
		struct msg_name_claim claim = {.start_us = waiter->start_us};

		if (!waiter->claims) {
			s->st.waiters[kept++] = *waiter;
			continue;
		}
		memcpy(claim.name, waiter->name, sizeof(claim.name));
		enum err err = begin_claim(self, s, asker_of(waiter), &claim);

		if (err)
			actor_refuse(self, asker_of(waiter), err, "");
	}
	s->st.waiters_count = (uint16_t)kept;
	refuse_late_waiters(self, s);
}

static void directory_timer(struct actor *self, void *data, unsigned timer)
{
	struct directory *s = data;

	switch ((enum directory_timer)timer) {
	case TIMER_WAITERS: refuse_late_waiters(self, s); break;
	case TIMER_LEASES: keep_leases(self, s); break;
	case TIMER_GATHER: serve(self, s); break;
	case TIMER_LOAD: load(self, s, ""); break;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err directory_init(struct actor *self, void *data, const void *args)
{
	struct directory *s = data;

	(void)args;
	s->names = calloc(NAMES_MAX, sizeof(*s->names));
	s->claims = calloc(CLAIMS_MAX, sizeof(*s->claims));
	s->index = (struct key_index){
		.rows = (const char *)s->names,
		.stride = sizeof(*s->names),
		.capacity = NAMES_MAX,
		.order = calloc(NAMES_MAX, sizeof(*s->index.order)),
	};
	if (!s->names || !s->claims || !s->index.order) {
		free(s->names);
		free(s->claims);
		free(s->index.order);
		s->names = NULL;
		s->claims = NULL;
		s->index.order = NULL;
		return ERR_NO_MEMORY;
	}
	actor_set_name(self, "office/directory");
	actor_become(self, DIRECTORY_LOADING);
	load(self, s, "");
	add_process(self, s, actor_own_process(self));
	actor_watch_peers(self);
	actor_timer_in_ms(self, TIMER_LEASES, LEASE_KEEP_MS);
	return ERR_OK;
}

/* The names come from the store; who waited goes on waiting. */
static enum err directory_restore(struct actor *self, void *data)
{
	struct directory *s = data;
	enum err err = directory_init(self, data, NULL);

	s->st.names = 0;
	set_waiter_timer(self, s);
	return err;
}

static void directory_stop(struct actor *self, void *data, enum err reason)
{
	struct directory *s = data;

	(void)self;
	(void)reason;
	free(s->names);
	free(s->claims);
	free(s->index.order);
}

static const char *const directory_phases[] = {"loading", "gathering", "serving", NULL};

static const struct handler directory_handlers[] = {
	HANDLER(directory, name_claim, 0),
	HANDLER(directory, name_release, 0),
	HANDLER(directory, name_lookup, 0),
	HANDLER(directory, store_done, 0),
	HANDLER(directory, store_leased, 0),
	HANDLER(directory, store_event, 0),
	HANDLER(directory, store_pairs, DIRECTORY_LOADING),
	HANDLER(directory, store_watching, DIRECTORY_LOADING),
	HANDLER(directory, failed, 0),
	HANDLER(directory, down, 0),
	HANDLER(directory, peer, 0),
};

const struct actor_type directory_actor = {
	.name = "directory",
	.size = sizeof(struct directory),
	.state = &schema_directory_state,
	.phases = directory_phases,
	.mailbox_max = 16384,
	HANDLER_TABLE(directory_handlers),
	.init = directory_init,
	.restore = directory_restore,
	.stop = directory_stop,
	.timer = directory_timer,
};
