/* SPDX-License-Identifier: Apache-2.0
 *
 * placement: the other nodes. It says to theirs how this one stands, when that has changed (looked at each
 * second) and now and then, and keeps what they say: so every node can send a client on without asking
 * anybody, with or without etcd and the brain (docs/decisions/025).
 *
 *   place --full, drains: another node has room--> placed with its address   --none has--> failed OVERLOAD
 *   place with a permit --signed by a node of the cluster--> as if its token had been looked at
 *
 * What a client is told of, should this node be lost (alternatives), goes to the HTTP offices when it
 * changes.
 */
#include "cluster/placement_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	LOOKUP_MS = 500,
	EMPTY_TICKS = 2, /* a session may be on its way from one worker to another */
};

static bool is_in_cluster(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config && strcmp(config->coord, "local") != 0;
}

/* ---- this node ------------------------------------------------------------------------------- */

static uint32_t egress_permille(struct actor *self, const struct placement *s)
{
	const struct config *config = actor_config(self);
	uint64_t kbps = 0, capacity = config ? (uint64_t)config->node_capacity_bps / 1000 : 0;

	for (int i = 0; i < s->st.workers_count; i++)
		kbps += s->st.workers[i].egress_kbps;
	return capacity ? (uint32_t)(kbps < capacity * 10 ? kbps * 1000 / capacity : 10000) : 0;
}

static uint32_t node_busy(struct actor *self, const struct placement *s)
{
	uint32_t load = placement_node_load(s), egress = egress_permille(self, s);

	load = load > egress ? load : egress;
	return load < 1000 ? load : 1000;
}

bool placement_is_full(struct actor *self, struct placement *s)
{
	const struct config *config = actor_config(self);

	if (!is_in_cluster(self))
		return false;
	s->st.full = standing_is_full(s->st.full, node_busy(self, s), placement_sessions(s),
		(uint32_t)config->placement_full_percent * 10,
		(uint32_t)config->placement_sessions_max);
	return s->st.full;
}

static void fill_standing(struct actor *self, struct placement *s, struct msg_node_standing *said)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct config *config = actor_config(self);

	*said = (struct msg_node_standing){
		.busy_permille = (uint16_t)node_busy(self, s),
		.sessions = placement_sessions(s),
		.full = placement_is_full(self, s),
		.draining = placement_is_draining(s),
	};
	text_copy(said->name, sizeof(said->name), env ? env->node_name : config->node_name);
	text_copy(said->region, sizeof(said->region), config->region);
	process_public_url(env, config, said->url);
	if (s->has_key) {
		said->key.size = PERMIT_KEY_SIZE;
		memcpy(said->key.data, s->key, PERMIT_KEY_SIZE);
	}
}

static void say_standing(struct actor *self, uint64_t node, const struct msg_node_standing *said)
{
	actor_send_mail(self, actor_office_at(self, OFFICE_PLACEMENT, node), MSG_node_standing,
		&schema_node_standing, said);
}

/* Out of turn: to one that has just come. */
static void say_standing_to(struct actor *self, struct placement *s, uint64_t node)
{
	struct msg_node_standing said;

	fill_standing(self, s, &said);
	say_standing(self, node, &said);
	OPENSSL_cleanse(&said, sizeof(said));
}

/* Would the others choose otherwise if they knew? */
static bool has_changed(const struct msg_node_standing *said, const struct msg_node_standing *now)
{
	int busier = (int)now->busy_permille - said->busy_permille;

	return said->full != now->full || said->draining != now->draining ||
	       said->sessions != now->sessions || abs(busier) >= PLACEMENT_NOISE / 2 ||
	       strcmp(said->name, now->name) != 0 || strcmp(said->region, now->region) != 0 ||
	       strcmp(said->url, now->url) != 0 || said->key.size != now->key.size ||
	       memcmp(said->key.data, now->key.data, now->key.size) != 0;
}

/* What the brain is to know, and, if there is something new to say, every other node. */
static void tell_standing(struct actor *self, struct placement *s)
{
	struct msg_node_standing now;

	fill_standing(self, s, &now);
	actor_send(self, actor_office(self, OFFICE_ROUTES), node_load,
		{.busy_permille = now.busy_permille, .draining = now.draining});
	if (has_changed(&s->said, &now) ||
		actor_now_us(self) - s->said_us >= STANDING_SAY_MS * INT64_C(1000)) {
		for (uint32_t i = 0; i < s->up_count; i++)
			say_standing(self, s->up[i], &now);
		s->said = now;
		s->said_us = actor_now_us(self);
	}
	OPENSSL_cleanse(&now, sizeof(now));
}

/* ---- alternatives ---------------------------------------------------------------------------- */

void placement_tell_alternatives(struct actor *self, struct placement *s, uint32_t process)
{
	struct msg_alternatives m;

	memcpy(m.urls, s->st.alternatives, sizeof(m.urls));
	actor_send_mail(self, actor_office_in(self, OFFICE_HTTP, process), MSG_alternatives,
		&schema_alternatives, &m);
}

static void look_at_alternatives(struct actor *self, struct placement *s)
{
	char urls[ALTERNATIVES_SIZE + 1];

	standing_alternatives(s->st.nodes, s->st.nodes_count, actor_config(self)->region,
		actor_now_us(self), urls);
	if (!strcmp(urls, s->st.alternatives))
		return;
	memcpy(s->st.alternatives, urls, sizeof(urls));
	for (int i = 0; i < s->st.workers_count; i++)
		placement_tell_alternatives(self, s, s->st.workers[i].process);
}

/* ---- the others ------------------------------------------------------------------------------ */

static int up_place(const struct placement *s, uint64_t node)
{
	for (uint32_t i = 0; i < s->up_count; i++)
		if (s->up[i] == node)
			return (int)i;
	return -1;
}

static struct permit_key *find_key(struct placement *s, uint64_t node)
{
	for (int i = 0; i < s->st.keys_count; i++)
		if (s->st.keys[i].node == node)
			return &s->st.keys[i];
	return NULL;
}

/* Never fails: of those that are gone the one that has been for the longest gives way. */
static struct permit_key *add_key(struct placement *s, uint64_t node)
{
	struct permit_key *key = find_key(s, node);

	if (key)
		return key;
	if (s->st.keys_count < STANDINGS_MAX) {
		key = &s->st.keys[s->st.keys_count++];
	} else {
		key = &s->st.keys[0];
		for (int i = 1; i < s->st.keys_count; i++)
			if (s->st.keys[i].heard_us < key->heard_us)
				key = &s->st.keys[i];
	}
	*key = (struct permit_key){.node = node};
	return key;
}

/* Permits outlive their node, and its next start. */
static void take_key(
	struct placement *s, uint64_t node, const struct msg_node_standing *m, int64_t now_us)
{
	struct permit_key *key = add_key(s, node);

	key->heard_us = now_us;
	if (key->key.size == m->key.size && !memcmp(key->key.data, m->key.data, m->key.size))
		return;
	if (key->key.size == PERMIT_KEY_SIZE) {
		key->before.size = PERMIT_KEY_SIZE;
		memcpy(key->before.data, key->key.data, PERMIT_KEY_SIZE);
	}
	key->key.size = m->key.size;
	memcpy(key->key.data, m->key.data, m->key.size);
}

enum err placement_node_seen(struct actor *self, struct placement *s, const struct msg_node_seen *m)
{
	int at = up_place(s, m->node);

	if (m->up && (at >= 0 || s->up_count < STANDINGS_MAX)) {
		if (at < 0)
			s->up[s->up_count++] = m->node;
		say_standing_to(
			self, s, m->node); /* it, or its next process, wants to know at once */
	} else if (!m->up && at >= 0) {
		s->up[at] = s->up[--s->up_count];
		standing_forget(s->st.nodes, &s->st.nodes_count, m->node);
		actor_timer_in_ms(self, 0, 0);
	}
	return ERR_OK;
}

/* Does it change whether clients are told of that node? How busy it is can wait for the next look. */
static bool is_news(const struct standing *before, const struct msg_node_standing *m)
{
	return !before || before->full != m->full || before->draining != m->draining ||
	       strcmp(before->url, m->url) != 0;
}

enum err placement_node_standing(
	struct actor *self, struct placement *s, uint64_t node, const struct msg_node_standing *m)
{
	bool news = is_news(standing_find(s->st.nodes, s->st.nodes_count, node), m);
	enum err err;

	if (node == actor_addr(self).node)
		return ERR_FORBIDDEN;
	if (m->key.size && m->key.size != PERMIT_KEY_SIZE)
		return ERR_FORMAT;
	if (m->key.size)
		take_key(s, node, m, actor_now_us(self));
	err = standing_take(s->st.nodes, &s->st.nodes_count, node, m, actor_now_us(self));
	if (!err && news)
		look_at_alternatives(self, s);
	return err;
}

/* ---- who goes elsewhere ---------------------------------------------------------------------- */

static enum err send_there(struct actor *self, struct placement *s, struct asker asker,
	struct msg_placed *answer, uint64_t with_stream)
{
	struct standing *node = standing_choose(s->st.nodes, s->st.nodes_count,
		actor_config(self)->region, with_stream, actor_now_us(self));

	if (!node) {
		s->st.refused++;
		return actor_refuse_later(self, asker, ERR_OVERLOAD,
			"no node has room for another session", PLACEMENT_RETRY_MS);
	}
	node->sent++;
	s->st.sent_away++;
	memcpy(answer->url, node->url, sizeof(answer->url));
	return actor_answer_mail(self, asker, MSG_placed, &schema_placed, answer);
}

static struct placement_lookup *find_lookup(struct placement *s, uint64_t request)
{
	for (int i = 0; i < PLACEMENT_LOOKUPS_MAX; i++)
		if (s->lookups[i].request == request)
			return &s->lookups[i];
	return NULL;
}

enum err placement_send_away(struct actor *self, struct placement *s, const struct msg_place *place,
	const struct msg_placed *answer)
{
	struct placement_lookup *lookup = find_lookup(s, 0);
	struct msg_name_lookup name = {0};
	struct msg_placed there = *answer;

	if (!place->follows || !is_in_cluster(self)) {
		s->st.refused++;
		return actor_refuse_later(self, actor_asker(self), ERR_OVERLOAD,
			"this server has no room for another session", PLACEMENT_RETRY_MS);
	}
	if (strcmp(place->purpose, "play") != 0 || !lookup)
		return send_there(self, s, actor_asker(self), &there, 0);
	snprintf(name.name, sizeof(name.name), "stream/%.120s", place->stream_name);
	lookup->asker = actor_asker(self);
	lookup->answer = there;
	lookup->request = actor_request_mail(self, actor_office(self, OFFICE_DIRECTORY), LOOKUP_MS,
		MSG_name_lookup, &schema_name_lookup, &name);
	return ERR_OK;
}

void placement_looked_up(struct actor *self, struct placement *s, uint64_t request, uint64_t owner)
{
	struct placement_lookup *lookup = request ? find_lookup(s, request) : NULL;

	if (!lookup)
		return;
	lookup->request = 0;
	send_there(self, s, lookup->asker, &lookup->answer, owner);
}

/* ---- permits --------------------------------------------------------------------------------- */

static enum err check(struct actor *self, struct placement *s, const struct msg_place *place,
	struct permit *permit)
{
	uint64_t node = permit_issuer(place->permit);
	enum token_action action = strcmp(place->purpose, "play") ? TOKEN_PUBLISH : TOKEN_PLAY;
	int64_t now_s = actor_wall_us(self) / 1000000;
	const struct permit_key *key = find_key(s, node);
	enum err err = ERR_AUTH;

	if (node && node == actor_addr(self).node && s->has_key)
		return permit_check(
			s->key, place->permit, place->stream_name, action, now_s, permit);
	if (key && key->key.size == PERMIT_KEY_SIZE)
		err = permit_check(
			key->key.data, place->permit, place->stream_name, action, now_s, permit);
	if (err && key && key->before.size == PERMIT_KEY_SIZE)
		err = permit_check(
			key->before.data, place->permit, place->stream_name, action, now_s, permit);
	return err;
}

static bool have_used(struct placement *s)
{
	if (!s->used)
		s->used = calloc(1, sizeof(*s->used));
	return s->used != NULL;
}

enum err placement_permit(struct actor *self, struct placement *s, const struct msg_place *place,
	struct msg_placed *answer)
{
	struct permit permit;
	enum err err = check(self, s, place, &permit);

	if (!err && permit.node != permit_issuer(place->permit))
		err = ERR_AUTH;
	if (!err)
		err = have_used(s) ? permits_used_show(s->used, permit.number,
					     permits_used_client(place->client), actor_now_us(self))
				   : ERR_OVERLOAD;
	if (err) {
		s->st.permits_refused++;
		return err;
	}
	s->st.permits++;
	answer->permitted = true;
	answer->standby = (uint8_t)permit.standby;
	answer->permit = permit.number;
	memcpy(answer->subject, permit.subject, sizeof(answer->subject));
	return ERR_OK;
}

void placement_permit_used(struct actor *self, struct placement *s, const struct msg_permit_used *m)
{
	uint64_t client = permits_used_client(m->client);

	if (!have_used(s))
		return;
	permits_used_spend(s->used, m->number, client, actor_now_us(self));
	for (uint32_t i = 0; i < s->up_count; i++)
		actor_send(self, actor_office_at(self, OFFICE_PLACEMENT, s->up[i]), permit_spent,
			{.number = m->number, .client = client});
}

void placement_permit_spent(
	struct actor *self, struct placement *s, const struct msg_permit_spent *m)
{
	if (have_used(s))
		permits_used_spend(s->used, m->number, m->client, actor_now_us(self));
}

/* ---- draining -------------------------------------------------------------------------------- */

/* Process offices look at the page twice a second, and tell whoever makes sessions. */
static void set_closed(struct actor *self, bool closed)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	if (env)
		atomic_store(&env->page->closed, closed);
}

static bool is_closed(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	return env && atomic_load(&env->page->closed);
}

enum err placement_node_drain(
	struct actor *self, struct placement *s, const struct msg_node_drain *m)
{
	if (!m->ask) {
		set_closed(self, !m->off);
		s->st.stop = m->stop && !m->off;
		s->empty_ticks = 0;
		log_info(actor_log(self), "node_drain", "on", !m->off, "stop", s->st.stop);
	}
	return actor_reply(self, node_drained,
		{.draining = is_closed(self), .sessions = placement_sessions(s)});
}

/* It was to stop, and nobody is left. */
static void stop_if_empty(struct actor *self, struct placement *s)
{
	struct process_command command = {.op = PROCESS_STOP_NODE};

	if (!s->st.stop)
		return;
	if (!is_closed(self)) { /* taken back on the console */
		s->st.stop = false;
		return;
	}
	s->empty_ticks = placement_sessions(s) ? 0 : s->empty_ticks + 1;
	if (s->empty_ticks < EMPTY_TICKS || !placement_is_draining(s))
		return;
	log_info(actor_log(self), "node_drained");
	s->st.stop = runtime_supervisor_tell(actor_runtime(self), &command) != ERR_OK;
}

/* ---- what people see, and life --------------------------------------------------------------- */

enum err placement_standings(struct actor *self, struct placement *s)
{
	struct msg_standings_told *told = calloc(1, sizeof(*told));
	struct msg_node_standing own;
	enum err err;

	if (!told)
		return ERR_NO_MEMORY;
	fill_standing(self, s, &own);
	told->nodes_count = 1;
	told->nodes[0] = (struct standing){.node = actor_addr(self).node,
		.busy_permille = own.busy_permille,
		.sessions = own.sessions,
		.full = own.full,
		.draining = own.draining};
	memcpy(told->nodes[0].name, own.name, sizeof(own.name));
	memcpy(told->nodes[0].region, own.region, sizeof(own.region));
	memcpy(told->nodes[0].url, own.url, sizeof(own.url));
	for (int i = 0; i < s->st.nodes_count; i++)
		told->nodes[told->nodes_count++] = s->st.nodes[i];
	err = actor_answer_mail(
		self, actor_asker(self), MSG_standings_told, &schema_standings_told, told);
	OPENSSL_cleanse(&own, sizeof(own));
	free(told);
	return err;
}

static void publish_metrics(struct actor *self, const struct placement *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	process_metric_set(env, PROCESS_METRIC_SENT_AWAY, s->st.sent_away);
	process_metric_set(env, PROCESS_METRIC_PERMITS, s->st.permits);
	process_metric_set(env, PROCESS_METRIC_PERMITS_REFUSED, s->st.permits_refused);
	process_metric_set(env, PROCESS_METRIC_NODE_FULL, s->st.full);
	process_metric_set(env, PROCESS_METRIC_NODE_DRAINING, placement_is_draining(s));
}

void placement_nodes_look(struct actor *self, struct placement *s)
{
	stop_if_empty(self, s);
	if (!is_in_cluster(self))
		return;
	publish_metrics(self, s);
	tell_standing(self, s);
	look_at_alternatives(self, s);
}

void placement_nodes_begin(struct actor *self, struct placement *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	s->has_key = env && is_in_cluster(self);
	if (s->has_key)
		permit_key_derive(s->key, env->secret, sizeof(env->secret));
	actor_watch_nodes(self);
}
