/* SPDX-License-Identifier: Apache-2.0
 *
 * relay: from whom this node gets a stream that another node owns (docs/decisions/023). One of its
 * replicas, the *entry*, has it from another node; those of other workers copy the entry.
 *
 *   a search, of one stream:
 *   rests --an entry asks, its source is lost, or not the best for 5 s--> routes --route, or none in time-->
 *   pulls --relay_found--> (the entry's answer)                    pulls --failed--> the next way, or rests
 *                      \--it did not ask--> switches --done, failed--> rests
 *
 * Each step is one request with a deadline of its own, and there are at most RELAY_PULLS_MAX pulls: who
 * asks is answered within 3 s. What is decided is decided by relay.c.
 *
 * Owns nothing but its table. Nothing in it outlives the process: replicas ask again when the control
 * process is a new one, and say what they copy. Never sees media.
 */
#include "cluster/cluster.h"
#include "cluster/relay_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
	PLACE_MS = 300, /* with HOST_MS: who pulls waits no longer than a second */
	HOST_MS = 500,
	GRACE_MS = 10000, /* without a configuration */
	TICK_MS = 500,
};

/* ---- pulls that wait, streams that end ------------------------------------------------------------ */

/* Pulls that wait for a copy here. */
static void answer_pulls(struct actor *self, struct relay *s, const struct relay_stream *stream,
	struct addr source, const struct relay_path *path)
{
	struct msg_relay_found found = relay_found_at(stream, source, path);
	struct relay_downstream *one = NULL;

	while ((one = relay_downstream_next(s->table, stream, one))) {
		if (!one->asker.request)
			continue;
		actor_answer_mail(self, one->asker, MSG_relay_found, &schema_relay_found, &found);
		one->asker = (struct asker){0};
	}
}

static void refuse_pulls(
	struct actor *self, struct relay *s, struct relay_stream *stream, enum err err)
{
	struct relay_downstream *one = NULL;

	while ((one = relay_downstream_next(s->table, stream, one))) {
		if (one->asker.request) {
			actor_refuse(self, one->asker, err, "");
			relay_downstream_remove(s->table, stream, one->node);
			one = NULL; /* the list has changed */
		}
	}
}

/* A stream that is nobody's entry and that nobody waits for is none of ours. */
static void drop_if_idle(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	if (!addr_is_nobody(stream->row.entry) || stream->host_request)
		return;
	refuse_pulls(self, s, stream, ERR_NOT_FOUND);
	relay_drop(s->table, stream);
	s->st.streams = relay_count(s->table);
}

static void lose_entry(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	relay_end_search(self, s, stream);
	relay_leave_source(self, stream);
	actor_refuse(self, stream->asker, ERR_DEAD, "");
	stream->asker = (struct asker){0};
	stream->had.count = 0;
	relay_set_entry(s->table, stream, (struct addr){0});
}

/* False: no memory. */
static bool make_entry(
	struct actor *self, struct relay *s, struct relay_stream *stream, struct addr who)
{
	if (!relay_set_entry(s->table, stream, who))
		return false;
	actor_monitor(self, who);
	return true;
}

/* ---- replicas ask -------------------------------------------------------------------------------- */

/* `failed` could not be copied from. */
static void note_failure(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr who, struct addr failed)
{
	if (failed.node == s->table->own) {
		if (!addr_equal(stream->row.entry, failed) || addr_equal(failed, who))
			return;
		actor_unmonitor(self, failed);
		lose_entry(self, s, stream);
		return;
	}
	relay_avoid(stream, failed.node, actor_now_us(self));
	if (stream->row.source.node == failed.node)
		relay_leave_source(self, stream);
}

/* The first who asks. A control process that is new hears by it what there is. ERR_NO_MEMORY. */
static enum err adopt(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr who, struct addr source)
{
	struct relay_path origin = {.count = 1, .hops[0].node = stream->row.owner.node};
	bool copies_entry = source.node == s->table->own && !addr_equal(source, who);

	if (!make_entry(self, s, stream, copies_entry ? source : who))
		return ERR_NO_MEMORY;
	if (addr_equal(source, stream->row.owner) &&
		!relay_avoids(stream, source.node, actor_now_us(self))) {
		relay_take_source(self, s, stream, source, &origin);
		relay_origin_of(self, s, source.node);
	}
	return ERR_OK;
}

static enum err answer_follower(
	struct actor *self, struct relay *s, const struct relay_stream *stream)
{
	struct relay_path path = relay_path_from_here(s->table, stream);
	struct msg_relay_found found = relay_found_at(stream, stream->row.entry, &path);

	return actor_answer_mail(
		self, actor_asker(self), MSG_relay_found, &schema_relay_found, &found);
}

/* The table is full, or the stream is our own: as if there were no relays. */
static enum err answer_without(struct actor *self, struct relay *s, const struct msg_relay_ask *m)
{
	if (m->owner.node != s->table->own)
		s->st.overflow++;
	if (addr_equal(m->failed, m->owner)) {
		s->st.none++;
		return ERR_NOT_FOUND;
	}
	s->st.direct++;
	return actor_reply(self, relay_found,
		{.source = m->owner,
			.owner = m->owner,
			.epoch = m->epoch,
			.path_count = 1,
			.path[0].node = m->owner.node});
}

ON(relay, relay_ask)
{
	struct addr who = actor_asker(self).from;
	struct relay_stream *stream = relay_find(s->table, m->stream_name);
	bool has_other_source;

	s->st.asked++;
	if (!m->stream_name[0] || addr_is_nobody(m->owner))
		return ERR_FORMAT;
	if (m->owner.node == s->table->own)
		return answer_without(self, s, m);
	if (!stream)
		stream = relay_add(s->table, m->stream_name, m->owner, m->epoch);
	if (!stream)
		return answer_without(self, s, m);
	s->st.streams = relay_count(s->table);
	relay_note_owner(stream, m->owner, m->epoch);
	relay_note_lost(self, stream, m->lost_ms);
	if (!addr_is_nobody(m->failed))
		note_failure(self, s, stream, who, m->failed);
	if (addr_is_nobody(stream->row.entry) && adopt(self, s, stream, who, m->source)) {
		drop_if_idle(self, s, stream);
		return ERR_NO_MEMORY;
	}
	struct relay_path path = relay_path_from_here(s->table, stream);

	answer_pulls(self, s, stream, stream->row.entry, &path);
	if (!addr_equal(stream->row.entry, who))
		return answer_follower(self, s, stream);
	actor_refuse(self, stream->asker, ERR_CLOSED, "asked again");
	stream->asker = actor_asker(self);
	if (relay_is_fed(stream)) {
		relay_answer_entry(self, s, stream);
		return ERR_OK;
	}
	has_other_source = m->source.node != m->owner.node && m->source.node != s->table->own &&
			   !addr_equal(m->source, m->failed);
	stream->want = RELAY_WANT_SOURCE; /* whatever a search under way was begun for */
	if (stream->row.step == RELAY_RESTS || stream->row.step == RELAY_SWITCHES)
		relay_search(self, s, stream, RELAY_WANT_SOURCE, RELAY_WHY_FAILED,
			has_other_source ? m->source.node : 0);
	return ERR_OK;
}

/* ---- other nodes pull ----------------------------------------------------------------------------- */

static enum err host(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	struct msg_place place = {.purpose = "relay"};

	memcpy(place.stream_name, stream->row.name, sizeof(place.stream_name));
	if (stream->host_request)
		return ERR_OK;
	s->st.hosted++;
	return relay_note_request(self, s, stream, &stream->host_request,
		       actor_request_mail(self, actor_office(self, OFFICE_PLACEMENT), PLACE_MS,
			       MSG_place, &schema_place, &place))
		       ? ERR_OK
		       : ERR_NO_MEMORY;
}

ON(relay, placed)
{
	struct relay_stream *stream = idmap_get(&s->table->requests, mail->request);
	struct msg_relay_host host;

	if (!stream || stream->host_request != mail->request)
		return ERR_OK;
	host = (struct msg_relay_host){.owner = stream->row.owner,
		.epoch = stream->row.epoch,
		.lost_ms = relay_lost_ms(self, stream)};
	memcpy(host.stream_name, stream->row.name, sizeof(host.stream_name));
	if (!relay_note_request(self, s, stream, &stream->host_request,
		    actor_request_mail(
			    self, m->office, HOST_MS, MSG_relay_host, &schema_relay_host, &host)))
		drop_if_idle(self, s, stream);
	return ERR_OK;
}

/* It asks by itself for its source, now or a moment ago. */
ON(relay, relay_hosted)
{
	struct relay_stream *stream = idmap_get(&s->table->requests, mail->request);
	struct relay_path path;

	if (!stream || stream->host_request != mail->request)
		return ERR_OK;
	relay_forget_request(self, s, &stream->host_request);
	if (m->origin) {
		path = (struct relay_path){.count = 1, .hops[0].node = s->table->own};
		answer_pulls(self, s, stream, m->stream, &path);
	} else if (!addr_is_nobody(stream->row.entry) || make_entry(self, s, stream, m->stream)) {
		path = relay_path_from_here(s->table, stream);
		answer_pulls(self, s, stream, stream->row.entry, &path);
	}
	drop_if_idle(self, s, stream);
	return ERR_OK;
}

/* A copy made now would end at once, and those of other nodes that it asks as well. */
static bool is_over(struct actor *self, const struct msg_relay_pull *m)
{
	const struct config *config = actor_config(self);

	return m->lost_ms >= (config ? config->stream_publisher_grace_ms : GRACE_MS);
}

/* Has an answer at once, or waits for a copy. */
static enum err serve_pull(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct msg_relay_pull *m)
{
	uint64_t node = actor_asker(self).from.node;
	struct relay_path path = relay_path_from_here(s->table, stream);
	struct relay_downstream *one;
	enum err err;

	if (relay_leads_over(stream, node)) {
		s->st.loops++;
		return ERR_EXISTS;
	}
	if (addr_is_nobody(stream->row.entry) && is_over(self, m)) {
		s->st.refused++;
		return ERR_NOT_FOUND;
	}
	one = path.count ? relay_downstream_put(s->table, stream, node) : NULL;
	if (!one) {
		s->st.refused++;
		return ERR_LIMIT;
	}
	actor_refuse(self, one->asker, ERR_CLOSED, "asked again");
	one->asker = actor_asker(self);
	if (!addr_is_nobody(stream->row.entry)) {
		answer_pulls(self, s, stream, stream->row.entry, &path);
		return ERR_OK;
	}
	if (!stream->host_request) {
		relay_note_lost(self, stream, m->lost_ms);
		stream->is_hinted = true;
		stream->hint = m->far == node || m->far == s->table->own ? 0 : m->far;
	}
	err = host(self, s, stream);
	if (err)
		relay_downstream_remove(s->table, stream, node);
	return err;
}

ON(relay, relay_pull)
{
	struct relay_stream *stream = relay_find(s->table, m->stream_name);
	enum err err;

	s->st.pulled++;
	if (!m->stream_name[0] || addr_is_nobody(m->owner) || mail->from.node == s->table->own) {
		s->st.refused++;
		return ERR_FORMAT;
	}
	if (m->owner.node == s->table->own)
		return actor_reply(self, relay_found,
			{.source = m->owner,
				.owner = m->owner,
				.epoch = m->epoch,
				.path_count = 1,
				.path[0].node = s->table->own});
	if (!stream)
		stream = relay_add(s->table, m->stream_name, m->owner, m->epoch);
	if (!stream) {
		s->st.refused++;
		return ERR_LIMIT;
	}
	s->st.streams = relay_count(s->table);
	relay_note_owner(stream, m->owner, m->epoch);
	err = serve_pull(self, s, stream, m);
	drop_if_idle(self, s, stream);
	return err;
}

/* What was copied is published here now; who pulled it hears of that from its stream. */
ON(relay, relay_own)
{
	struct relay_stream *stream = relay_find(s->table, m->stream_name);

	if (!stream)
		return ERR_OK;
	relay_note_path(
		self, s, stream, &(struct relay_path){.count = 1, .hops[0].node = s->table->own});
	if (!addr_is_nobody(stream->row.entry)) {
		actor_unmonitor(self, stream->row.entry);
		lose_entry(self, s, stream);
	}
	relay_forget_request(self, s, &stream->host_request);
	drop_if_idle(self, s, stream);
	return ERR_OK;
}

ON(relay, relay_leave)
{
	struct relay_stream *stream = relay_find(s->table, m->stream_name);

	if (stream)
		relay_downstream_remove(s->table, stream, mail->from.node);
	return ERR_OK;
}

/* ---- what becomes of a source --------------------------------------------------------------------- */

/* Not from there: another way, while the entry still has this one. */
static void lose_source(struct actor *self, struct relay *s, struct relay_stream *stream,
	uint64_t node, enum relay_why why)
{
	relay_avoid(stream, node, actor_now_us(self));
	if (stream->row.step == RELAY_RESTS && !addr_is_nobody(stream->row.entry))
		relay_search(self, s, stream, RELAY_WANT_SOURCE, why, 0);
}

/* Of the source that the entry changes over to: it counts when that is done. */
static void take_next_path(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct msg_relay_path *m)
{
	enum err err = relay_check_path(s->table, stream->next, m->path, m->path_count);

	if (err) {
		s->st.loops += err == ERR_EXISTS;
		relay_avoid(stream, stream->next.node, actor_now_us(self));
		return;
	}
	stream->path.count = m->path_count;
	memcpy(stream->path.hops, m->path, sizeof(stream->path.hops));
}

ON(relay, relay_path)
{
	struct relay_stream *stream = relay_find(s->table, m->stream_name);
	struct relay_path path = {.count = m->path_count};
	enum err err;

	if (stream && stream->next.node == mail->from.node)
		take_next_path(self, s, stream, m);
	if (!stream || stream->row.source.node != mail->from.node) {
		if (!stream || stream->next.node != mail->from.node)
			relay_send_leave(self, m->stream_name, mail->from.node);
		return ERR_OK;
	}
	relay_note_owner(stream, m->owner, m->epoch);
	err = relay_check_path(s->table, stream->row.source, m->path, m->path_count);
	if (err) {
		s->st.loops += err == ERR_EXISTS;
		stream->is_circle = err == ERR_EXISTS;
		lose_source(self, s, stream, mail->from.node,
			err == ERR_EXISTS ? RELAY_WHY_CIRCLE : RELAY_WHY_FAILED);
		return ERR_OK;
	}
	memcpy(path.hops, m->path, sizeof(path.hops));
	relay_take_source(self, s, stream, stream->row.source, &path);
	return ERR_OK;
}

/* A node that we asked has a copy for us. */
ON(relay, relay_found)
{
	struct relay_stream *stream = idmap_get(&s->table->requests, mail->request);
	struct relay_path path = {.count = m->path_count};
	enum err err;

	if (!stream || stream->request != mail->request || stream->row.step != RELAY_PULLS)
		return ERR_OK;
	relay_forget_request(self, s, &stream->request);
	err = m->source.node == stream->pulling
		      ? relay_check_path(s->table, m->source, m->path, m->path_count)
		      : ERR_FORMAT;
	if (err || relay_avoids(stream, stream->pulling, actor_now_us(self))) {
		s->st.loops += err == ERR_EXISTS;
		relay_send_leave(self, stream->row.name, stream->pulling);
		relay_avoid(stream, stream->pulling, actor_now_us(self));
		relay_try_next(self, s, stream);
		return ERR_OK;
	}
	memcpy(path.hops, m->path, sizeof(path.hops));
	relay_note_owner(stream, m->owner, m->epoch);
	relay_settle(self, s, stream, m->source, &path);
	return ERR_OK;
}

/* The entry has changed over. */
ON(relay, done)
{
	struct relay_stream *stream = idmap_get(&s->table->requests, mail->request);
	struct relay_path path;

	if (!stream || stream->request != mail->request || stream->row.step != RELAY_SWITCHES)
		return ERR_OK;
	path = stream->path;
	s->st.switched++;
	relay_take_source(self, s, stream, stream->next, &path);
	relay_end_search(self, s, stream);
	/* it has been found to lead through here meanwhile */
	if (relay_avoids(stream, stream->row.source.node, actor_now_us(self))) {
		stream->is_circle = true;
		lose_source(self, s, stream, stream->row.source.node, RELAY_WHY_CIRCLE);
	}
	return ERR_OK;
}

static void search_failed(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	relay_forget_request(self, s, &stream->request);
	if (stream->row.step == RELAY_PULLS) {
		relay_avoid(stream, stream->pulling, actor_now_us(self));
		relay_try_next(self, s, stream);
	} else {
		s->st.switch_failed++;
		relay_avoid(stream, stream->next.node, actor_now_us(self));
		relay_stay(self, s, stream);
	}
}

ON(relay, failed)
{
	struct relay_stream *stream = idmap_get(&s->table->requests, mail->request);
	struct relay_origin *origin = relay_origin_of_request(s, mail->request);

	if (origin) {
		s->st.unplanned += !origin->is_known;
		origin->request = 0;
		relay_route_settled(self, s, origin);
	} else if (stream && stream->host_request == mail->request) {
		relay_forget_request(self, s, &stream->host_request);
		drop_if_idle(self, s, stream);
	} else if (stream && stream->request == mail->request) {
		search_failed(self, s, stream);
	}
	return ERR_OK;
}

ON(relay, down)
{
	struct relay_stream *stream = relay_of_entry(s->table, m->who);

	if (stream) {
		lose_entry(self, s, stream);
		drop_if_idle(self, s, stream);
	}
	return ERR_OK;
}

/* A node that is lost pulls nothing, and brings nothing; one that began anew has forgotten who pulls. */
ON(relay, node_seen)
{
	for (uint32_t i = 0; i < relay_count(s->table); i++) {
		struct relay_stream *stream = relay_at(s->table, i);
		bool is_source = stream->row.source.node == m->node;

		if (!m->up) {
			relay_downstream_remove(s->table, stream, m->node);
			if (is_source)
				lose_source(self, s, stream, m->node, RELAY_WHY_LOST);
		} else if (is_source && relay_is_relayed(stream) &&
			   stream->row.step == RELAY_RESTS) {
			relay_search(self, s, stream, RELAY_WANT_SOURCE, RELAY_WHY_LOST, m->node);
		}
	}
	return ERR_OK;
}

/* ---- routes -------------------------------------------------------------------------------------- */

ON(relay, route)
{
	struct relay_origin *origin = relay_find_origin(s, m->origin);

	if (!origin)
		return ERR_NOT_FOUND;
	if (mail->request == origin->request)
		origin->request = 0;
	relay_note_route(self, s, origin, m);
	origin->is_known = true;
	origin->route = *m;
	relay_route_settled(self, s, origin);
	return ERR_OK;
}

static void count(struct actor *self, const struct relay *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct {
		enum process_metric metric;
		uint64_t value;
	} rows[] = {
		{PROCESS_METRIC_RELAY_STREAMS,      s->st.streams	    },
		{PROCESS_METRIC_RELAY_DIRECT,	      s->st.direct	  },
		{PROCESS_METRIC_RELAY_RELAYED,      s->st.relayed	    },
		{PROCESS_METRIC_RELAY_NONE,	    s->st.none	      },
		{PROCESS_METRIC_RELAY_PULLED,	      s->st.pulled	  },
		{PROCESS_METRIC_RELAY_HOSTED,	      s->st.hosted	  },
		{PROCESS_METRIC_RELAY_SWITCHED,	s->st.switched     },
		{PROCESS_METRIC_RELAY_NOT_SWITCHED, s->st.switch_failed},
		{PROCESS_METRIC_RELAY_LOOPS,	     s->st.loops	},
		{PROCESS_METRIC_RELAY_OVERFLOW,	s->st.overflow     },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		process_metric_set(env, rows[i].metric, rows[i].value);
}

static void relay_timer(struct actor *self, void *data, unsigned timer)
{
	struct relay *s = data;
	int64_t again_us = actor_now_us(self) - RELAY_WATCH_AGAIN_MS * 1000;

	for (uint32_t i = 0; i < relay_count(s->table); i++) {
		struct relay_stream *stream = relay_at(s->table, i);
		const struct relay_origin *origin = relay_find_origin(s, stream->row.owner.node);

		if (origin && origin->is_known)
			relay_consider(self, s, stream, origin);
	}
	for (uint32_t i = s->origin_count; i-- > 0;)
		if (!s->origins[i].request && s->origins[i].asked_us < again_us)
			relay_renew_origin(self, s, &s->origins[i]);
	count(self, s);
	actor_timer_in_ms(self, timer, TICK_MS);
}

/* ---- looking in ----------------------------------------------------------------------------------- */

ON(relay, relay_list)
{
	static const struct msg_relay_told none;
	struct msg_relay_told told = none;
	struct relay_stream *stream = m->stream_name[0] ? relay_find(s->table, m->stream_name)
							: relay_behind(s->table, m->after);

	for (; stream && told.rows_count < RELAY_PAGE_MAX;
		stream = m->stream_name[0] ? NULL : relay_behind(s->table, stream->row.name))
		told.rows[told.rows_count++] = stream->row;
	told.more = stream != NULL;
	return actor_answer_mail(
		self, actor_asker(self), MSG_relay_told, &schema_relay_told, &told);
}

ON(relay, relay_changes_ask)
{
	struct msg_relay_changes_told told;

	relay_newest_changes(s->changes, m->max, &told);
	return actor_answer_mail(
		self, actor_asker(self), MSG_relay_changes_told, &schema_relay_changes_told, &told);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static enum err relay_init(struct actor *self, void *data, const void *args)
{
	struct relay *s = data;

	(void)args;
	actor_set_name(self, "office/relay");
	s->table = relay_create(actor_addr(self).node);
	s->origins = calloc(RELAY_ORIGINS_MAX, sizeof(*s->origins));
	s->changes = calloc(1, sizeof(*s->changes));
	if (!s->table || !s->origins || !s->changes) {
		relay_destroy(&s->table);
		free(s->origins);
		free(s->changes);
		return ERR_NO_MEMORY;
	}
	actor_watch_nodes(self);
	actor_timer_in_ms(self, 0, TICK_MS);
	return ERR_OK;
}

static enum err relay_restore(struct actor *self, void *data)
{
	((struct relay *)data)->st.streams = 0;
	return relay_init(self, data, NULL);
}

static void relay_stop(struct actor *self, void *data, enum err reason)
{
	struct relay *s = data;

	(void)self;
	(void)reason;
	relay_destroy(&s->table);
	free(s->origins);
	free(s->changes);
}

static const struct handler relay_handlers[] = {
	HANDLER(relay, relay_ask, 0),
	HANDLER(relay, relay_pull, 0),
	HANDLER(relay, relay_leave, 0),
	HANDLER(relay, relay_own, 0),
	HANDLER(relay, relay_path, 0),
	HANDLER(relay, relay_found, 0),
	HANDLER(relay, relay_hosted, 0),
	HANDLER(relay, relay_list, 0),
	HANDLER(relay, relay_changes_ask, 0),
	HANDLER(relay, placed, 0),
	HANDLER(relay, route, 0),
	HANDLER(relay, done, 0),
	HANDLER(relay, failed, 0),
	HANDLER(relay, down, 0),
	HANDLER(relay, node_seen, 0),
};

const struct actor_type relay_actor = {
	.name = "relay",
	.size = sizeof(struct relay),
	.state = &schema_relay_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(relay_handlers),
	.init = relay_init,
	.restore = relay_restore,
	.stop = relay_stop,
	.timer = relay_timer,
};
