/* SPDX-License-Identifier: Apache-2.0
 *
 * directory: who owns a name.
 *
 *   (start) --> loading --store was read--> gathering --time--> serving
 *                  '-- it is down, for a while --^
 *
 * The names lie in the store, each under the lease of its owner's process; here is a copy that the
 * store's events keep up to date, so that a lookup asks nobody. A name is claimed by a put that
 * only creates; the revision that created the key is the owner's epoch, which therefore grows with every
 * owner. A name goes when it is released, its owner ends, or its process does. Each node's directory
 * answers for the owners of its node; those of others come and go with the store.
 *
 * A new control process has lost what the store does not keep. While it gathers, owners tell their
 * names again (a claim with an epoch), and new claims and lookups wait, so that nobody takes a name whose
 * owner is about to speak. Of two owners the highest (epoch, start, node, process) stays, where `start`
 * is of a hybrid clock; the other gets name_lost.
 *
 * While the store is down all goes on from the copy, and names that nobody has are granted here
 * (decision 19); what it does not have is told to it when it is back.
 */
#include "cluster/cluster.h"
#include "cluster/directory_internal.h"
#include "cluster/hlc.h"
#include "cluster/store.h"

#include <stdlib.h>

enum { WAIT_MAX_MS = 120000, STORE_PATIENCE_MS = 2000 };

/* ---- what actors ask --------------------------------------------------------------------------- */

ON(directory, name_lookup)
{
	const struct owned *row = directory_find_kept(s, m->name);
	uint32_t wait_ms = m->wait_ms < WAIT_MAX_MS ? m->wait_ms : WAIT_MAX_MS;
	struct name_waiter waiter = {
		.who = mail->from,
		.request = mail->request,
		.until_us = actor_now_us(self) + (int64_t)wait_ms * DIRECTORY_MS,
		.newer_than = m->newer_than,
	};

	s->st.lookups++;
	if (row && row->epoch > m->newer_than)
		return directory_answer_found(self, actor_asker(self), row);
	if (!wait_ms && actor_phase(self) == DIRECTORY_SERVING)
		return actor_refuse(self, actor_asker(self), ERR_NOT_FOUND, "nobody has this name");
	memcpy(waiter.name, m->name, sizeof(waiter.name));
	return directory_wait(self, s, &waiter);
}

ON(directory, name_claim)
{
	struct name_waiter waiter = {
		.who = mail->from,
		.request = mail->request,
		.claims = true,
		.start_us = m->start_us,
		.over = m->over,
	};

	s->st.claims++;
	if (!m->name[0])
		return ERR_FORMAT;
	if (actor_phase(self) == DIRECTORY_LOADING && m->epoch)
		return ERR_AGAIN;
	if (m->epoch > s->st.last_epoch)
		s->st.last_epoch = m->epoch;
	if (m->over > s->st.last_epoch)
		s->st.last_epoch = m->over;
	if (m->epoch)
		hlc_see(&s->st.clock_us, actor_wall_us(self), m->start_us);
	if (m->epoch || actor_phase(self) == DIRECTORY_SERVING)
		return directory_begin_claim(self, s, actor_asker(self), mail->deadline_us, m);
	memcpy(waiter.name, m->name, sizeof(waiter.name));
	return directory_wait(self, s, &waiter);
}

ON(directory, name_release)
{
	struct owned *row = directory_find(s, m->name);

	directory_give_up_claims(s, mail->from, m->name);
	if (row && !row->released && addr_equal(row->owner, mail->from) &&
		(!m->epoch || m->epoch == row->epoch))
		directory_release(self, s, row);
	return ERR_OK;
}

/* ---- loading ----------------------------------------------------------------------------------- */

/* The watch comes first: what the pages say is what the events up to then have left. */
static void load(struct actor *self, struct directory *s)
{
	struct msg_store_watch watch = {.prefix = DIRECTORY_PREFIX};

	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE),
		DIRECTORY_STORE_MS, MSG_store_watch, &schema_store_watch, &watch);
}

static void read_names(struct actor *self, struct directory *s, const char *after)
{
	struct msg_store_range range = {.prefix = DIRECTORY_PREFIX};

	text_copy(range.after, sizeof(range.after), after);
	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE),
		DIRECTORY_STORE_MS, MSG_store_range, &schema_store_range, &range);
}

static void gather(struct actor *self)
{
	if (actor_phase(self) != DIRECTORY_LOADING)
		return;
	actor_timer_off(self, DIRECTORY_TIMER_LOAD);
	actor_become(self, DIRECTORY_GATHERING);
	actor_timer_in_ms(self, DIRECTORY_TIMER_GATHER, DIRECTORY_GATHER_MS);
}

static void load_again(struct actor *self, struct directory *s)
{
	if (s->st.store_down && actor_now_us(self) >= s->load_until_us)
		gather(self); /* what there is will be told when it is up */
	else
		load(self, s);
}

static void serve(struct actor *self, struct directory *s)
{
	actor_become(self, DIRECTORY_SERVING);
	directory_watch_owners(self, s);
	directory_begin_waiting_claims(self, s);
	directory_refuse_late(self, s);
	directory_settle_in(self, s, 0);
}

ON(directory, store_watching)
{
	if (mail->request == s->load_request)
		read_names(self, s, "");
	return ERR_OK;
}

ON(directory, store_pairs)
{
	if (mail->request != s->load_request)
		return ERR_OK;
	s->load_request = 0;
	if (m->revision > s->revision)
		s->revision = m->revision;
	for (int i = 0; i < m->pairs_count; i++)
		directory_take_pair(self, s, &m->pairs[i]);
	if (m->more && m->pairs_count)
		read_names(self, s, m->pairs[m->pairs_count - 1].key);
	else
		gather(self);
	return ERR_OK;
}

/* ---- what the store says ----------------------------------------------------------------------- */

ON(directory, store_event)
{
	if (m->revision > s->revision)
		s->revision = m->revision;
	if (m->deleted)
		directory_lose_pair(self, s, m->pair.key);
	else
		directory_take_pair(self, s, &m->pair);
	return ERR_OK;
}

ON(directory, store_done)
{
	directory_claim_done(self, s, mail->request);
	return ERR_OK;
}

ON(directory, store_leased)
{
	directory_leased(self, s, mail->request, m->lease);
	return ERR_OK;
}

ON(directory, failed)
{
	if (!mail->request || directory_claim_failed(self, s, mail->request, (enum err)m->err))
		return ERR_OK;
	if (mail->request == s->load_request) {
		s->load_request = 0;
		actor_timer_in_ms(self, DIRECTORY_TIMER_LOAD, DIRECTORY_GATHER_MS);
	}
	return ERR_OK;
}

ON(directory, store_down)
{
	s->st.store_down = true;
	directory_decide_alone(self, s);
	return ERR_OK;
}

/* All that has changed meanwhile was told before this. */
ON(directory, store_up)
{
	s->st.store_down = false;
	s->revision = m->revision; /* it may have begun anew */
	gather(self);
	directory_keep_leases(self, s);
	directory_settle(self, s);
	return ERR_OK;
}

/* ---- ends -------------------------------------------------------------------------------------- */

ON(directory, down)
{
	/* (one that is removed leaves its place to the last) */
	for (uint32_t i = s->name_count; i-- > 0;)
		if (addr_equal(s->names[i].owner, m->who) && !s->names[i].released)
			directory_release(self, s, &s->names[i]);
	return ERR_OK;
}

ON(directory, peer)
{
	if (m->up)
		directory_process_up(self, s, m->process);
	else
		directory_process_down(self, s, m->process);
	return ERR_OK;
}

/* Names of a node that is lost have no owner for those who ask; the store's own expiry ends them. */
ON(directory, node_seen)
{
	directory_note_node(s, m->node, m->up);
	return ERR_OK;
}

/* ---- time -------------------------------------------------------------------------------------- */

static void directory_timer(struct actor *self, void *data, unsigned timer)
{
	struct directory *s = data;

	switch ((enum directory_timer)timer) {
	case DIRECTORY_TIMER_WAITERS: directory_refuse_late(self, s); break;
	case DIRECTORY_TIMER_LEASES: directory_keep_leases(self, s); break;
	case DIRECTORY_TIMER_GATHER: serve(self, s); break;
	case DIRECTORY_TIMER_LOAD: load_again(self, s); break;
	case DIRECTORY_TIMER_SETTLE: directory_settle(self, s); break;
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

static void directory_stop(struct actor *self, void *data, enum err reason)
{
	struct directory *s = data;

	(void)self;
	(void)reason;
	free(s->names);
	free(s->claims);
	free(s->index.order);
	free(s->nodes);
	s->names = NULL;
	s->claims = NULL;
	s->index.order = NULL;
	s->nodes = NULL;
}

static enum err directory_init(struct actor *self, void *data, const void *args)
{
	struct directory *s = data;

	(void)args;
	s->names = calloc(DIRECTORY_NAMES_MAX, sizeof(*s->names));
	s->claims = calloc(DIRECTORY_CLAIMS_MAX, sizeof(*s->claims));
	s->nodes = calloc(DIRECTORY_NODES_MAX, sizeof(*s->nodes));
	s->index = (struct key_index){
		.rows = (const char *)s->names,
		.stride = sizeof(*s->names),
		.capacity = DIRECTORY_NAMES_MAX,
		.order = calloc(DIRECTORY_NAMES_MAX, sizeof(*s->index.order)),
	};
	if (!s->names || !s->claims || !s->nodes || !s->index.order) {
		directory_stop(self, s, ERR_NO_MEMORY);
		return ERR_NO_MEMORY;
	}
	actor_set_name(self, "office/directory");
	actor_become(self, DIRECTORY_LOADING);
	s->settle_us = INT64_MAX;
	s->st.store_down = false; /* it says so when we watch */
	s->load_until_us = actor_now_us(self) + STORE_PATIENCE_MS * DIRECTORY_MS;
	load(self, s);
	directory_process_up(self, s, actor_own_process(self));
	actor_watch_peers(self);
	actor_watch_nodes(self);
	directory_keep_leases(self, s);
	return ERR_OK;
}

/* The names come from the store; who waited goes on waiting. */
static enum err directory_restore(struct actor *self, void *data)
{
	struct directory *s = data;
	enum err err = directory_init(self, data, NULL);

	s->st.names = s->st.unsettled = 0;
	if (!err)
		directory_set_waiter_timer(self, s);
	return err;
}

static const char *const directory_phases[] = {"loading", "gathering", "serving", NULL};

static const struct handler directory_handlers[] = {
	HANDLER(directory, name_claim, 0),
	HANDLER(directory, name_release, 0),
	HANDLER(directory, name_lookup, 0),
	HANDLER(directory, store_done, 0),
	HANDLER(directory, store_leased, 0),
	HANDLER(directory, store_event, 0),
	HANDLER(directory, store_pairs, 0),
	HANDLER(directory, store_watching, 0),
	HANDLER(directory, store_down, 0),
	HANDLER(directory, store_up, 0),
	HANDLER(directory, failed, 0),
	HANDLER(directory, down, 0),
	HANDLER(directory, peer, 0),
	HANDLER(directory, node_seen, 0),
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
