/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding a source for an entry: the route to the origin, the nodes on it one after the other, the
 * origin itself. The picture is in relay_actor.c.
 */
#include "cluster/relay_internal.h"

enum {
	ROUTE_MS = 200,	  /* without an answer of routes: straight to the origin */
	PULL_MS = 1000,	  /* of another node: it may have to make a copy first (relay_actor.c) */
	SWITCH_MS = 6000, /* longer than a stream takes to change over, or to give it up */
	RETRY_MS = 1000,
};

/* ---- saying it ---------------------------------------------------------------------------------- */

struct msg_relay_found relay_found_at(
	const struct relay_stream *stream, struct addr source, const struct relay_path *path)
{
	struct msg_relay_found found = {.source = source,
		.owner = stream->row.owner,
		.epoch = stream->row.epoch,
		.path_count = path->count};

	memcpy(found.path, path->hops, sizeof(found.path));
	return found;
}

void relay_send_leave(struct actor *self, const char name[128], uint64_t node)
{
	struct msg_relay_leave leave = {0};

	memcpy(leave.stream_name, name, sizeof(leave.stream_name));
	actor_send_mail(self, actor_office_at(self, OFFICE_RELAY, node), MSG_relay_leave,
		&schema_relay_leave, &leave);
}

/* Those who pull from here learn the way. */
static void tell_path(struct actor *self, struct relay *s, const struct relay_stream *stream)
{
	struct relay_path path = relay_path_from_here(s->table, stream);
	struct msg_relay_path told = {
		.owner = stream->row.owner, .epoch = stream->row.epoch, .path_count = path.count};
	const struct relay_downstream *one = NULL;

	memcpy(told.stream_name, stream->row.name, sizeof(told.stream_name));
	memcpy(told.path, path.hops, sizeof(told.path));
	while ((one = relay_downstream_next(s->table, stream, one)))
		if (!one->asker.request)
			actor_send_mail(self, actor_office_at(self, OFFICE_RELAY, one->node),
				MSG_relay_path, &schema_relay_path, &told);
}

uint32_t relay_lost_ms(struct actor *self, const struct relay_stream *stream)
{
	int64_t lost_ms = (actor_now_us(self) - stream->lost_at_us) / 1000;

	if (!stream->lost_at_us)
		return 0;
	return lost_ms < 1 ? 1 : lost_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)lost_ms;
}

void relay_note_lost(struct actor *self, struct relay_stream *stream, uint32_t lost_ms)
{
	stream->lost_at_us = lost_ms ? actor_now_us(self) - (int64_t)lost_ms * 1000 : 0;
}

/* ---- requests ------------------------------------------------------------------------------------ */

void relay_forget_request(struct actor *self, struct relay *s, uint64_t *request)
{
	if (*request) {
		idmap_remove(&s->table->requests, *request);
		actor_forget_request(self, *request);
	}
	*request = 0;
}

bool relay_note_request(struct actor *self, struct relay *s, struct relay_stream *stream,
	uint64_t *request, uint64_t id)
{
	relay_forget_request(self, s, request);
	if (idmap_put(&s->table->requests, id, stream)) {
		actor_forget_request(self, id);
		return false;
	}
	*request = id;
	return true;
}

/* ---- an entry ------------------------------------------------------------------------------------ */

void relay_leave_source(struct actor *self, struct relay_stream *stream)
{
	if (relay_is_relayed(stream))
		relay_send_leave(self, stream->row.name, stream->row.source.node);
	stream->row.source = (struct addr){0};
	stream->row.path_count = 0;
}

void relay_end_search(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	if (stream->row.step == RELAY_SWITCHES && stream->path.count > 1 &&
		stream->next.node != stream->row.source.node)
		relay_send_leave(self, stream->row.name, stream->next.node);
	relay_forget_request(self, s, &stream->request);
	stream->row.step = RELAY_RESTS;
	stream->next = (struct addr){0};
	stream->path.count = 0;
	stream->better_since_us = 0;
}

void relay_take_source(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr source, const struct relay_path *path)
{
	struct addr before = stream->row.source;
	bool was_relayed = relay_is_relayed(stream);
	bool is_news = stream->source_epoch != stream->row.epoch ||
		       stream->row.path_count != path->count ||
		       memcmp(stream->row.path, path->hops, sizeof(stream->row.path)) != 0;

	if (was_relayed && before.node != source.node)
		relay_send_leave(self, stream->row.name, before.node);
	if (!addr_equal(before, source)) {
		stream->row.since_us = actor_wall_us(self);
		stream->row.changes++;
	}
	stream->row.source = source;
	stream->is_circle = false;
	stream->source_epoch = stream->row.epoch;
	stream->row.path_count = path->count;
	memcpy(stream->row.path, path->hops, sizeof(stream->row.path));
	relay_note_path(self, s, stream, path);
	if (is_news)
		tell_path(self, s, stream);
}

/* ---- origins ------------------------------------------------------------------------------------- */

static void ask_route(struct actor *self, struct relay_origin *origin)
{
	struct msg_route_ask ask = {.origin = origin->node, .watch = true};

	if (origin->request)
		actor_forget_request(self, origin->request);
	origin->asked_us = actor_now_us(self);
	origin->request = actor_request_mail(self, actor_office(self, OFFICE_ROUTES), ROUTE_MS,
		MSG_route_ask, &schema_route_ask, &ask);
}

struct relay_origin *relay_find_origin(struct relay *s, uint64_t node)
{
	for (uint32_t i = 0; i < s->origin_count; i++)
		if (s->origins[i].node == node)
			return &s->origins[i];
	return NULL;
}

struct relay_origin *relay_origin_of(struct actor *self, struct relay *s, uint64_t node)
{
	struct relay_origin *origin = relay_find_origin(s, node);

	if (!origin && s->origin_count < RELAY_ORIGINS_MAX) {
		origin = &s->origins[s->origin_count++];
		*origin = (struct relay_origin){.node = node};
	}
	if (origin && !origin->is_known && !origin->request)
		ask_route(self, origin);
	return origin;
}

/* ---- a search ------------------------------------------------------------------------------------ */

void relay_answer_entry(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	struct relay_path path = {.count = stream->row.path_count};

	memcpy(path.hops, stream->row.path, sizeof(path.hops));
	struct msg_relay_found found = relay_found_at(stream, stream->row.source, &path);

	found.entry = true;
	if (relay_is_relayed(stream))
		s->st.relayed++;
	else
		s->st.direct++;
	actor_answer_mail(self, stream->asker, MSG_relay_found, &schema_relay_found, &found);
	stream->asker = (struct asker){0};
}

void relay_settle(struct actor *self, struct relay *s, struct relay_stream *stream,
	struct addr source, const struct relay_path *path)
{
	struct msg_reparent reparent = {.source = source};

	if (stream->asker.request) {
		relay_take_source(self, s, stream, source, path);
		relay_end_search(self, s, stream);
		relay_answer_entry(self, s, stream);
		return;
	}
	if (addr_equal(source, stream->row.source)) {
		relay_take_source(self, s, stream, source, path); /* another path */
		relay_end_search(self, s, stream);
		return;
	}
	stream->row.step = RELAY_SWITCHES;
	stream->next = source;
	stream->path = *path;
	if (!relay_note_request(self, s, stream, &stream->request,
		    actor_request_mail(self, stream->row.entry, SWITCH_MS, MSG_reparent,
			    &schema_reparent, &reparent)))
		relay_end_search(self, s, stream);
}

void relay_stay(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	relay_end_search(self, s, stream);
	if (!stream->is_circle || stream->asker.request)
		return;
	stream->is_circle = false;
	relay_leave_source(self, stream);
	actor_send(self, stream->row.entry, reparent, {0});
}

static void no_way(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	uint32_t wait_ms = relay_avoids_for_ms(stream, stream->row.owner.node, actor_now_us(self));

	relay_stay(self, s, stream);
	if (!stream->asker.request)
		return;
	s->st.none++;
	actor_refuse_later(self, stream->asker, ERR_NOT_FOUND, "no way to this stream",
		wait_ms ? wait_ms : RETRY_MS);
	stream->asker = (struct asker){0};
}

/* False: it cannot even be asked. */
static bool pull(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct route_way *way)
{
	struct msg_relay_pull pull = {.owner = stream->row.owner,
		.epoch = stream->row.epoch,
		.far = way->far,
		.lost_ms = relay_lost_ms(self, stream)};

	memcpy(pull.stream_name, stream->row.name, sizeof(pull.stream_name));
	stream->row.step = RELAY_PULLS;
	stream->pulling = way->near;
	return relay_note_request(self, s, stream, &stream->request,
		actor_request_mail(self, actor_office_at(self, OFFICE_RELAY, way->near), PULL_MS,
			MSG_relay_pull, &schema_relay_pull, &pull));
}

void relay_try_next(struct actor *self, struct relay *s, struct relay_stream *stream)
{
	struct relay_path origin = {.count = 1, .hops[0].node = stream->row.owner.node};
	struct route_way way;

	for (;;) {
		switch (relay_search_next(s->table, stream, actor_now_us(self), &way)) {
		case RELAY_TRY_PULL:
			if (pull(self, s, stream, &way))
				return;
			break;
		case RELAY_TRY_ORIGIN:
			relay_settle(self, s, stream, stream->row.owner, &origin);
			return;
		case RELAY_TRY_NONE: no_way(self, s, stream); return;
		}
	}
}

void relay_search(struct actor *self, struct relay *s, struct relay_stream *stream,
	enum relay_want want, enum relay_why why, uint64_t first)
{
	const struct relay_origin *origin;

	relay_end_search(self, s, stream);
	stream->why = why;
	if (stream->is_hinted) { /* who pulled has the plan */
		stream->is_hinted = false;
		relay_search_begin(stream, want, stream->hint, NULL, 0);
		relay_origin_of(self, s, stream->row.owner.node);
		relay_try_next(self, s, stream);
		return;
	}
	origin = relay_origin_of(self, s, stream->row.owner.node);
	if (origin && !origin->is_known && origin->request) {
		stream->row.step = RELAY_ROUTES;
		relay_search_begin(stream, want, first, NULL, 0);
		return;
	}
	relay_search_begin(stream, want, first, origin ? origin->route.ways : NULL,
		origin ? origin->route.ways_count : 0);
	relay_try_next(self, s, stream);
}

/* ---- routes -------------------------------------------------------------------------------------- */

struct relay_origin *relay_origin_of_request(struct relay *s, uint64_t request)
{
	for (uint32_t i = 0; request && i < s->origin_count; i++)
		if (s->origins[i].request == request)
			return &s->origins[i];
	return NULL;
}

void relay_consider(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct relay_origin *origin)
{
	if (stream->row.step != RELAY_RESTS || !relay_is_fed(stream) ||
		addr_is_nobody(stream->row.entry))
		return;
	switch (relay_judge(s->table, stream, &origin->route, actor_now_us(self))) {
	case RELAY_STAYS: stream->better_since_us = 0; break;
	case RELAY_BETTER:
		if (!stream->better_since_us)
			stream->better_since_us = actor_now_us(self);
		else if (actor_now_us(self) - stream->better_since_us >= RELAY_BETTER_MS * 1000)
			relay_search(self, s, stream, RELAY_WANT_BETTER, RELAY_WHY_BETTER, 0);
		break;
	case RELAY_LOST:
		relay_search(self, s, stream, RELAY_WANT_SOURCE,
			relay_why_lost(stream, &origin->route), 0);
		break;
	}
}

void relay_route_settled(struct actor *self, struct relay *s, const struct relay_origin *origin)
{
	for (uint32_t i = 0; i < relay_count(s->table); i++) {
		struct relay_stream *stream = relay_at(s->table, i);
		uint64_t first = stream->ways_count ? stream->ways[0].near : 0;

		if (stream->row.owner.node != origin->node)
			continue;
		if (stream->row.step == RELAY_ROUTES) {
			relay_search_begin(stream, stream->want, first, origin->route.ways,
				origin->route.ways_count);
			relay_try_next(self, s, stream);
		} else {
			relay_consider(self, s, stream, origin);
		}
	}
}

void relay_renew_origin(struct actor *self, struct relay *s, struct relay_origin *origin)
{
	for (uint32_t i = 0; i < relay_count(s->table); i++) {
		if (relay_at(s->table, i)->row.owner.node == origin->node) {
			ask_route(self, origin);
			return;
		}
	}
	actor_send(self, actor_office(self, OFFICE_ROUTES), route_ask,
		{.origin = origin->node, .off = true});
	*origin = s->origins[--s->origin_count];
}
