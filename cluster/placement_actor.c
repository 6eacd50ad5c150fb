/* SPDX-License-Identifier: Apache-2.0
 *
 * placement: which worker a new session goes to, or which other node. Keeps one row a media worker: made
 * when its process comes up, fed by its reports, dropped when it goes. The choice itself is placement.c.
 *
 *   place --a worker has room--> placed          place --all full, or closed--> placement_nodes.c
 *   every second --loads are apart, a worker drains--> shed to the port of the one that gives (rebalance.c)
 *
 * Owns nothing but its state. What it knows of workers was told it by mail, as that of other nodes is: it
 * never looks at a status page for it.
 */
#include "cluster/cluster.h"
#include "cluster/placement_internal.h"
#include "cluster/rebalance.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum { WORKERS_MAX = sizeof(((struct placement_state *)0)->workers) / sizeof(struct worker_load) };

static struct worker_load *find_worker(struct placement *s, uint32_t process)
{
	for (int i = 0; i < s->st.workers_count; i++)
		if (s->st.workers[i].process == process)
			return &s->st.workers[i];
	return NULL;
}

static struct worker_load *add_worker(
	struct placement *s, uint32_t process, uint32_t index, int64_t now_us)
{
	struct worker_load *worker = find_worker(s, process);

	if (worker || s->st.workers_count == WORKERS_MAX)
		return worker;
	worker = &s->st.workers[s->st.workers_count++];
	*worker = (struct worker_load){.process = process, .index = index, .reported_us = now_us};
	return worker;
}

uint32_t placement_node_load(const struct placement *s)
{
	uint32_t busy = 0, taking = 0;

	for (int i = 0; i < s->st.workers_count; i++) {
		if (s->st.workers[i].draining)
			continue;
		busy += placement_load(&s->st.workers[i]);
		taking++;
	}
	return taking ? busy / taking : 1000;
}

uint32_t placement_sessions(const struct placement *s)
{
	uint32_t sessions = 0;

	for (int i = 0; i < s->st.workers_count; i++)
		sessions += s->st.workers[i].sessions + s->st.workers[i].placed;
	return sessions;
}

bool placement_is_draining(const struct placement *s)
{
	for (int i = 0; i < s->st.workers_count; i++)
		if (!s->st.workers[i].draining)
			return false;
	return true;
}

ON(placement, place)
{
	struct msg_placed answer = {0};
	struct worker_load *worker;
	int chosen = -1;
	enum err err = ERR_OK;

	if (m->permit[0])
		err = placement_permit(self, s, m, &answer);
	if (err)
		return actor_refuse(self, actor_asker(self), err,
			"this permit is not of this cluster, not for this, too old, or has served");
	if (!m->closed && !placement_is_full(self, s))
		chosen = placement_choose(s->st.workers, s->st.workers_count, actor_now_us(self));
	if (chosen < 0)
		return placement_send_away(self, s, m, &answer);
	worker = &s->st.workers[chosen];
	worker->placed++;
	s->st.placed++;
	answer.process = worker->process;
	answer.office = actor_office_in(self, OFFICE_MEDIA, worker->process);
	answer.index = worker->index;
	return actor_answer_mail(self, actor_asker(self), MSG_placed, &schema_placed, &answer);
}

ON(placement, name_found)
{
	placement_looked_up(self, s, mail->request, m->owner.node);
	return ERR_OK;
}

ON(placement, failed)
{
	placement_looked_up(self, s, mail->request, 0);
	return ERR_OK;
}

ON(placement, node_seen)
{
	return placement_node_seen(self, s, m);
}

ON(placement, node_standing)
{
	return placement_node_standing(self, s, mail->from.node, m);
}

ON(placement, permit_used)
{
	placement_permit_used(self, s, m);
	return ERR_OK;
}

ON(placement, permit_spent)
{
	placement_permit_spent(self, s, m);
	return ERR_OK;
}

ON(placement, node_drain)
{
	return placement_node_drain(self, s, m);
}

ON(placement, standings_ask)
{
	return placement_standings(self, s);
}

ON(placement, load_report)
{
	uint32_t process = actor_process_of(self, mail->from);
	struct worker_load *worker = find_worker(s, process);

	/* only for itself, and only while it is known to be up */
	if (process && process == m->process && worker)
		placement_report(worker, m, actor_now_us(self));
	return ERR_OK;
}

ON(placement, peer)
{
	struct worker_load *worker = find_worker(s, m->process);

	if (m->role != PROCESS_MEDIA)
		return ERR_OK;
	if (m->up) {
		add_worker(s, m->process, m->index, actor_now_us(self));
		actor_timer_in_ms(self, 0, 0); /* other nodes hear that this one takes sessions */
		if (s->st.alternatives[0])
			placement_tell_alternatives(self, s, m->process);
	} else if (worker) {
		*worker = s->st.workers[--s->st.workers_count];
	}
	return ERR_OK;
}

/* Workers that follow each other have no load of their own yet. */
static bool is_upgrading(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	return env && process_operation_runs(&env->page->operation) &&
	       atomic_load(&env->page->operation.kind) == PROCESS_OPERATION_UPGRADE;
}

static void shed(struct actor *self, struct placement *s, struct rebalance choice)
{
	struct worker_load *to;
	struct addr port;

	if (!choice.count)
		return; /* (there are no workers that it names) */
	to = &s->st.workers[choice.to];
	port = actor_office_in(self, OFFICE_RTC, s->st.workers[choice.from].process);
	s->st.shed += choice.count;
	to->placed += choice.count; /* until it reports again */
	actor_send(self, port, shed, {.worker = to->index, .count = choice.count});
}

/* Each of those that drain, whatever stays with another; and the busiest of the rest. */
static void rebalance(struct actor *self, struct placement *s)
{
	int64_t now_us = actor_now_us(self);

	for (int i = 0; i < s->st.workers_count; i++)
		shed(self, s, rebalance_drain(s->st.workers, s->st.workers_count, now_us, i));
	shed(self, s,
		rebalance_choose(s->st.workers, s->st.workers_count, now_us, &s->st.apart_ticks));
}

static bool may_rebalance(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config && config->placement_rebalance;
}

static void placement_timer(struct actor *self, void *data, unsigned timer)
{
	placement_nodes_look(self, data);
	if (may_rebalance(self) && !is_upgrading(self))
		rebalance(self, data);
	actor_timer_in_ms(self, timer, REBALANCE_MS);
}

static enum err placement_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	actor_set_name(self, "office/placement");
	actor_watch_peers(self);
	placement_nodes_begin(self, data);
	actor_timer_in_ms(self, 0, REBALANCE_MS);
	return ERR_OK;
}

/* The workers of before are asked for again: some may have gone meanwhile. So are the nodes; permits of
 * those that have gone are good all the same. */
static enum err placement_restore(struct actor *self, void *data)
{
	struct placement *s = data;

	s->st.workers_count = 0;
	s->st.nodes_count = 0;
	return placement_init(self, data, NULL);
}

static void placement_stop(struct actor *self, void *data, enum err reason)
{
	struct placement *s = data;

	(void)self, (void)reason;
	free(s->used);
}

static const struct handler placement_handlers[] = {
	HANDLER(placement, place, 0),
	HANDLER(placement, load_report, 0),
	HANDLER(placement, peer, 0),
	HANDLER(placement, name_found, 0),
	HANDLER(placement, failed, 0),
	HANDLER(placement, node_seen, 0),
	HANDLER(placement, node_standing, 0),
	HANDLER(placement, permit_used, 0),
	HANDLER(placement, permit_spent, 0),
	HANDLER(placement, node_drain, 0),
	HANDLER(placement, standings_ask, 0),
};

const struct actor_type placement_actor = {
	.name = "placement",
	.size = sizeof(struct placement),
	.state = &schema_placement_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(placement_handlers),
	.init = placement_init,
	.restore = placement_restore,
	.stop = placement_stop,
	.timer = placement_timer,
};
