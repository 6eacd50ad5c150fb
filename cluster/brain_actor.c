/* SPDX-License-Identifier: Apache-2.0
 *
 * brain: plans the paths between all nodes, in the control process that the store has elected.
 *
 *   (start) --> candidate --key "brain" made under a lease--> gathering --all heard, or time--> planning
 *       gathering, planning --lease or key gone--> candidate
 *
 * Every control process has one. The candidates watch the key and run for it when it goes; its revision
 * is the *term*, and nodes take tables of the highest term only: two that both believe to be the brain
 * do no harm. So a brain that the store does not answer goes on; it ends when the store says that its
 * lease or key has gone. A key of this node that a process before this one has made is deleted: whoever
 * made it is dead.
 *
 * Owns what brain.h plans with, from election to its end: all of it comes back with the reports of a
 * few seconds. A turn plans and sends a bounded piece. Never asks a node for anything.
 */
#include "cluster/brain.h"
#include "cluster/cluster.h"
#include "cluster/store.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
	MS = 1000,
	STORE_MS = 2000,
	LEASE_MS = 3000, /* a brain whose node has died is followed by another when this is over */
	LEASE_KEEP_MS = 1000,
	RUN_AGAIN_MS = 500, /* at most: candidates do not run at the same time */
	GATHER_MS = 2500,   /* from its election on: reports come each second */
	/* Nodes report to a new brain at once, and soon again: of links to nodes that it had not heard of
	 * nothing is kept. When all that are up have been heard it waits for no more than this. */
	GATHER_SETTLE_MS = 500,
	YOUNG_MS = 10000,  /* a process does not know at once which nodes are up */
	WORK_MS = 20,	   /* after a report */
	STEP_PAIRS = 4000, /* planned at a time: 5 ms */
	PUSH_ROWS = 20000, /* sent at a time: 300 kB */
	HOUSE_MS = 1000,
	STAY_PERMILLE = 150,
	STAY_US = 5000,
};

static const char key[] = "brain";

enum brain_phase {
	BRAIN_CANDIDATE = 1 << 0,
	BRAIN_GATHERING = 1 << 1,
	BRAIN_PLANNING = 1 << 2,
};

enum brain_timer { TIMER_LEASE, TIMER_RUN, TIMER_GATHERED, TIMER_WORK, TIMER_HOUSE };

struct brain_actor {
	struct brain_state st;

	struct brain *brain; /* NULL: a candidate */
	uint64_t lease;
	uint64_t request; /* to the store: look, lease or run */
	uint64_t keep_request;
	uint64_t keep_heard; /* highest term that a report had when that was asked */
	uint64_t delete_request;
	bool watches;	 /* the key */
	bool heard_all;	 /* gathering: all nodes that are up have reported */
	int64_t born_us; /* this process */
	struct idmap up; /* nodes, as the mesh has them */
};

/* ---- the office ------------------------------------------------------------------------------- */

/* What its tables are fenced by: the key's revision, or more when the store has begun anew. */
static uint64_t term_of(const struct brain_actor *s)
{
	return s->brain ? s->brain->term : s->st.term;
}

static void say_who(struct actor *self, const struct brain_actor *s)
{
	actor_send(self, actor_office(self, OFFICE_ROUTES), brain_is,
		{.node = s->st.holder, .term = term_of(s)});
}

static void end_office(struct actor *self, struct brain_actor *s)
{
	if (!s->brain)
		return;
	log_warn(actor_log(self), "brain_ended", "term", s->brain->term);
	brain_destroy(&s->brain);
	s->st.since_us = 0;
	s->st.nodes = s->st.links = 0;
	s->lease = 0;
	actor_become(self, BRAIN_CANDIDATE);
	actor_timer_off(self, TIMER_GATHERED);
	actor_timer_off(self, TIMER_WORK);
	actor_timer_off(self, TIMER_LEASE);
}

static void set_holder(struct actor *self, struct brain_actor *s, uint64_t node, uint64_t term)
{
	if (s->st.holder == node && s->st.term == term)
		return;
	s->st.holder = node;
	s->st.term = term;
	if (s->brain)
		end_office(self, s);
	say_who(self, s);
}

static void begin_office(struct actor *self, struct brain_actor *s, uint64_t term)
{
	const struct config *config = actor_config(self);
	struct brain_options options = {
		.term = term,
		.probe_neighbours = config ? (uint32_t)config->cluster_probe_neighbours : 8,
		.topology = {.cost_weight = config ? (uint32_t)config->cluster_cost_weight : 0,
			     .paths = {.stay_permille = STAY_PERMILLE, .stay_us = STAY_US}},
	};

	if (brain_create(&options, &s->brain)) {
		/* somebody else has memory */
		actor_send(self, actor_office(self, OFFICE_STORE), store_lease_revoke,
			{.lease = s->lease});
		s->lease = 0;
		return;
	}
	s->st.holder = actor_addr(self).node;
	s->st.term = term;
	s->st.elections++;
	s->st.since_us = actor_wall_us(self);
	s->st.version = 0;
	log_info(actor_log(self), "brain_elected", "term", term);
	actor_become(self, BRAIN_GATHERING);
	s->heard_all = false;
	actor_timer_in_ms(self, TIMER_GATHERED, GATHER_MS);
	actor_timer_in_ms(self, TIMER_LEASE, LEASE_KEEP_MS);
	say_who(self, s);
}

/* ---- the election ------------------------------------------------------------------------------ */

static void look(struct actor *self, struct brain_actor *s)
{
	struct msg_store_get get = {0};

	text_copy(get.key, sizeof(get.key), key);
	s->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_get, &schema_store_get, &get);
}

static void watch(struct actor *self, struct brain_actor *s)
{
	struct msg_store_watch wanted = {0};

	text_copy(wanted.prefix, sizeof(wanted.prefix), key);
	s->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_watch, &schema_store_watch, &wanted);
}

static void run_later(struct actor *self, const struct brain_actor *s)
{
	if (!s->brain)
		actor_timer_in_ms(
			self, TIMER_RUN, (int64_t)(1 + actor_random_u64(self) % RUN_AGAIN_MS));
}

/* The key is one of this node's, of a process that has died: no need to wait until its lease ends. */
static void clear_own(struct actor *self, struct brain_actor *s, uint64_t revision)
{
	struct msg_store_delete delete = {.compare = STORE_AT_REVISION, .revision = revision};

	text_copy(delete.key, sizeof(delete.key), key);
	s->delete_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_delete, &schema_store_delete, &delete);
}

static void run(struct actor *self, struct brain_actor *s)
{
	struct brain_value value = {.node = actor_addr(self).node};
	struct msg_store_put put = {.lease = s->lease, .compare = STORE_CREATE};
	struct writer out = writer_of(put.value.data, sizeof(put.value.data));

	if (!s->lease) {
		s->request = actor_request(self, actor_office(self, OFFICE_STORE), STORE_MS,
			store_lease_grant, {.ttl_ms = LEASE_MS});
		return;
	}
	MUST(schema_encode(&schema_brain_value, &value, &out) == ERR_OK);
	put.value.size = (uint16_t)writer_used(&out);
	text_copy(put.key, sizeof(put.key), key);
	s->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_put, &schema_store_put, &put);
}

ON(brain_actor, store_watching)
{
	if (mail->request == s->request) {
		s->watches = true;
		look(self, s);
	}
	return ERR_OK;
}

/* What the store has of the key; false: it is another key, or makes no sense. */
static bool take_pair(struct actor *self, struct brain_actor *s, const struct store_pair *pair)
{
	struct reader in = reader_of(pair->value.data, pair->value.size);
	struct brain_value value;

	if (strcmp(pair->key, key) || schema_decode(&schema_brain_value, &in, &value))
		return false;
	set_holder(self, s, value.node, pair->created);
	return true;
}

ON(brain_actor, store_pairs)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	if (!m->pairs_count || !take_pair(self, s, &m->pairs[0]))
		run_later(self, s);
	else if (!s->brain && s->st.holder == actor_addr(self).node && !s->delete_request)
		clear_own(self, s, m->pairs[0].modified);
	return ERR_OK;
}

ON(brain_actor, store_event)
{
	if (strcmp(m->pair.key, key))
		return ERR_OK;
	if (!m->deleted) {
		take_pair(self, s, &m->pair);
		return ERR_OK;
	}
	if (m->pair.created != s->st.term)
		return ERR_OK;
	end_office(self, s);
	set_holder(self, s, 0, s->st.term);
	run_later(self, s);
	return ERR_OK;
}

ON(brain_actor, store_leased)
{
	if (mail->request == s->keep_request) {
		s->keep_request = 0;
		if (s->brain)
			brain_raise(s->brain, s->keep_heard);
	} else if (mail->request == s->request) {
		s->lease = m->lease;
		run(self, s);
	}
	return ERR_OK;
}

ON(brain_actor, store_done)
{
	if (mail->request == s->delete_request) {
		s->delete_request = 0;
		set_holder(self, s, 0, s->st.term);
		run_later(self, s);
	} else if (mail->request == s->request) {
		s->request = 0;
		begin_office(self, s, m->revision);
	}
	return ERR_OK;
}

ON(brain_actor, store_up)
{
	/* leases and keys may have gone meanwhile */
	look(self, s);
	return ERR_OK;
}

ON(brain_actor, failed)
{
	if (m->type == MSG_store_lease_keep && mail->request == s->keep_request) {
		s->keep_request = 0;
		if (m->err == ERR_NOT_FOUND) {
			end_office(self, s);
			set_holder(self, s, 0, s->st.term);
			run_later(self, s);
		}
		return ERR_OK;
	}
	if (mail->request && mail->request == s->delete_request) {
		s->delete_request = 0;
		run_later(self, s);
	}
	if (!mail->request || mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	if (m->type == MSG_store_get && m->err == ERR_NOT_FOUND) {
		end_office(self, s);
		set_holder(self, s, 0, s->st.term);
	}
	if (m->type == MSG_store_put && m->err == ERR_NOT_FOUND)
		s->lease = 0; /* it was too old */
	if (m->type == MSG_store_put && m->err == ERR_EXISTS)
		look(self, s);
	else
		run_later(self, s);
	return ERR_OK;
}

static void keep_lease(struct actor *self, struct brain_actor *s)
{
	if (s->brain && s->lease && !s->keep_request) {
		s->keep_heard = s->brain->term_heard;
		s->keep_request = actor_request(self, actor_office(self, OFFICE_STORE), STORE_MS,
			store_lease_keep, {.lease = s->lease});
	}
	actor_timer_in_ms(self, TIMER_LEASE, LEASE_KEEP_MS);
}

/* ---- gathering ---------------------------------------------------------------------------------- */

static bool has_heard_all(const struct brain_actor *s)
{
	for (size_t i = 0; i < s->up.capacity; i++)
		if (s->up.entries[i].id && !topology_find(s->brain->topology, s->up.entries[i].id))
			return false;
	return true;
}

static void look_whether_gathered(struct actor *self, struct brain_actor *s)
{
	if (s->heard_all || actor_now_us(self) - s->born_us < (int64_t)YOUNG_MS * MS)
		return;
	s->heard_all = has_heard_all(s);
	if (s->heard_all)
		actor_timer_in_ms(self, TIMER_GATHERED, GATHER_SETTLE_MS);
}

/* ---- planning ----------------------------------------------------------------------------------- */

ON(brain_actor, node_report)
{
	enum err err;

	if (!s->brain)
		return ERR_OK; /* the sender will hear who plans */
	s->st.reports++;
	err = brain_hear(s->brain, mail->from.node, m, actor_now_us(self));
	s->st.refused += err != ERR_OK;
	if (actor_phase(self) == BRAIN_PLANNING)
		actor_timer_in_ms(self, TIMER_WORK, WORK_MS);
	else
		look_whether_gathered(self, s);
	return ERR_OK;
}

ON(brain_actor, node_seen)
{
	if (!m->up)
		idmap_remove(&s->up, m->node);
	else if (idmap_put(&s->up, m->node, s))
		return ERR_NO_MEMORY;
	if (s->brain && !m->up) {
		brain_lost(s->brain, m->node);
		if (actor_phase(self) == BRAIN_PLANNING)
			actor_timer_in_ms(self, TIMER_WORK, WORK_MS);
		else
			look_whether_gathered(self, s);
	}
	return ERR_OK;
}

static void send_table(void *context, uint64_t node, const struct msg_path_table *table)
{
	struct actor *self = context;

	actor_send_mail(self, actor_office_at(self, OFFICE_ROUTES, node), MSG_path_table,
		&schema_path_table, table);
}

static void work(struct actor *self, struct brain_actor *s)
{
	bool more = brain_step(s->brain, STEP_PAIRS);
	bool due = brain_push(s->brain, actor_now_us(self), PUSH_ROWS, send_table, self);
	uint64_t planned = paths_planned(s->brain->topology->paths);

	if (!more && planned != s->st.pairs_planned)
		s->st.planned_us = actor_wall_us(self);
	s->st.pairs_planned = planned;
	s->st.version = s->brain->version;
	s->st.tables_sent = s->brain->tables_sent;
	s->st.rows_sent = s->brain->rows_sent;
	/* others have their turn in between */
	if (more || due)
		actor_timer_in_ms(self, TIMER_WORK, 1);
	else if (brain_is_behind(s->brain))
		actor_timer_in_ms(self, TIMER_WORK, BRAIN_PUSH_MS);
}

static void send_probes(struct actor *self, struct brain_actor *s)
{
	uint32_t looks = s->brain->topology->places / 8 + 8;
	struct msg_probe_plan plan = {0};
	uint64_t node;

	for (uint32_t i = 0; i < looks; i++)
		if (brain_next_probes(s->brain, actor_now_us(self), &node, &plan))
			actor_send_mail(self, actor_office_at(self, OFFICE_ROUTES, node),
				MSG_probe_plan, &schema_probe_plan, &plan);
}

static void count(struct actor *self, const struct brain_actor *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	struct actor_facts facts;

	runtime_facts(self, &facts);
	process_metric_set(env, PROCESS_METRIC_BRAIN_PLANS, s->brain != NULL);
	process_metric_set(env, PROCESS_METRIC_BRAIN_TERM, term_of(s));
	process_metric_set(env, PROCESS_METRIC_BRAIN_BUSY, (uint64_t)facts.busy_us);
	process_metric_set(env, PROCESS_METRIC_BRAIN_MEMORY,
		s->brain ? topology_bytes(s->brain->topology) : 0);
	process_metric_set(env, PROCESS_METRIC_BRAIN_NODES, s->brain ? s->st.nodes : 0);
	process_metric_set(env, PROCESS_METRIC_BRAIN_LINKS, s->brain ? s->st.links : 0);
	process_metric_set(env, PROCESS_METRIC_BRAIN_PAIRS, s->st.pairs_planned);
	process_metric_set(env, PROCESS_METRIC_BRAIN_TABLES, s->st.tables_sent);
	process_metric_set(env, PROCESS_METRIC_BRAIN_ROWS, s->st.rows_sent);
	process_metric_set(env, PROCESS_METRIC_BRAIN_DETOURS, s->brain ? s->st.detours : 0);
}

static void keep_house(struct actor *self, struct brain_actor *s)
{
	/* now and then, so that it hears of a holder though its word was lost */
	say_who(self, s);
	actor_timer_in_ms(self, TIMER_HOUSE, HOUSE_MS);
	count(self, s);
	if (!s->brain)
		return;
	topology_expire(s->brain->topology, actor_now_us(self));
	s->st.nodes = s->brain->topology->node_count;
	s->st.links = s->brain->topology->link_count;
	s->st.detours = brain_detours(s->brain);
	send_probes(self, s);
	if (actor_phase(self) == BRAIN_PLANNING)
		actor_timer_in_ms(self, TIMER_WORK, WORK_MS);
}

/* ---- questions ---------------------------------------------------------------------------------- */

/* Whoever plans answers; true: he was asked. One that is down is not waited for. */
static bool passed_on(struct actor *self, const struct brain_actor *s)
{
	if (s->brain || !s->st.holder || s->st.holder == actor_addr(self).node ||
		!idmap_get(&s->up, s->st.holder))
		return false;
	actor_forward(self, actor_office_at(self, OFFICE_BRAIN, s->st.holder));
	return true;
}

ON(brain_actor, brain_query)
{
	static const char *const phases[] = {"candidate", "gathering", "planning"};
	struct msg_brain_status status = {
		.node = s->st.holder,
		.term = term_of(s),
		.since_us = s->st.since_us,
		.nodes = s->st.nodes,
		.links = s->st.links,
		.version = s->st.version,
		.pairs_planned = s->st.pairs_planned,
		.planned_us = s->st.planned_us,
		.tables_sent = s->st.tables_sent,
		.rows_sent = s->st.rows_sent,
		.detours = s->st.detours,
	};

	if (passed_on(self, s))
		return ERR_OK;
	text_copy(status.phase, sizeof(status.phase), phases[__builtin_ctz(actor_phase(self))]);
	if (s->brain) {
		status.pairs_waiting = paths_waiting(s->brain->topology->paths);
		status.memory_bytes = topology_bytes(s->brain->topology);
		status.behind = brain_is_behind(s->brain);
	}
	return actor_answer_mail(
		self, actor_asker(self), MSG_brain_status, &schema_brain_status, &status);
}

ON(brain_actor, path_query)
{
	struct msg_path_answer *answer;
	enum err err;

	if (passed_on(self, s))
		return ERR_OK;
	if (!s->brain)
		return actor_refuse(self, actor_asker(self), ERR_NOT_FOUND, "nobody plans");
	answer = calloc(1, sizeof(*answer));
	if (!answer)
		return ERR_NO_MEMORY;
	err = brain_explain(s->brain, m, answer);
	if (err)
		actor_refuse(self, actor_asker(self), err, "no such node");
	else
		actor_answer_mail(
			self, actor_asker(self), MSG_path_answer, &schema_path_answer, answer);
	free(answer);
	return ERR_OK;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void try_again(struct actor *self, struct brain_actor *s)
{
	if (s->brain || s->request)
		return;
	if (!s->watches)
		watch(self, s);
	else if (!s->st.holder)
		run(self, s);
	else
		look(self, s);
}

static void brain_actor_timer(struct actor *self, void *data, unsigned timer)
{
	struct brain_actor *s = data;

	switch ((enum brain_timer)timer) {
	case TIMER_LEASE: keep_lease(self, s); break;
	case TIMER_RUN: try_again(self, s); break;
	case TIMER_GATHERED:
		actor_become(self, BRAIN_PLANNING);
		actor_timer_in_ms(self, TIMER_WORK, 0);
		break;
	case TIMER_WORK: work(self, s); break;
	case TIMER_HOUSE: keep_house(self, s); break;
	}
}

static enum err brain_actor_init(struct actor *self, void *data, const void *args)
{
	struct brain_actor *s = data;

	(void)args;
	s->born_us = actor_now_us(self);
	actor_set_name(self, "office/brain");
	actor_become(self, BRAIN_CANDIDATE);
	actor_watch_nodes(self);
	watch(self, data);
	actor_timer_in_ms(self, TIMER_HOUSE, HOUSE_MS);
	return ERR_OK;
}

/* A candidate again: what it planned with is gone, its lease soon. */
static enum err brain_actor_restore(struct actor *self, void *data)
{
	return brain_actor_init(self, data, NULL);
}

static void brain_actor_stop(struct actor *self, void *data, enum err reason)
{
	struct brain_actor *s = data;

	(void)reason;
	if (s->brain && s->lease) /* the next one need not wait for its end */
		actor_send(self, actor_office(self, OFFICE_STORE), store_lease_revoke,
			{.lease = s->lease});
	brain_destroy(&s->brain);
	idmap_fini(&s->up);
}

static const char *const brain_phases[] = {"candidate", "gathering", "planning", NULL};

static const struct handler brain_handlers[] = {
	HANDLER(brain_actor, node_report, 0),
	HANDLER(brain_actor, node_seen, 0),
	HANDLER(brain_actor, brain_query, 0),
	HANDLER(brain_actor, path_query, 0),
	HANDLER(brain_actor, store_watching, 0),
	HANDLER(brain_actor, store_pairs, 0),
	HANDLER(brain_actor, store_event, 0),
	HANDLER(brain_actor, store_leased, 0),
	HANDLER(brain_actor, store_done, 0),
	HANDLER(brain_actor, store_up, 0),
	HANDLER(brain_actor, failed, 0),
};

const struct actor_type brain_actor = {
	.name = "brain",
	.size = sizeof(struct brain_actor),
	.state = &schema_brain_state,
	.phases = brain_phases,
	.mailbox_max = 16384,
	HANDLER_TABLE(brain_handlers),
	.init = brain_actor_init,
	.restore = brain_actor_restore,
	.stop = brain_actor_stop,
	.timer = brain_actor_timer,
};
