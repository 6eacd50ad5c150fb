/* SPDX-License-Identifier: Apache-2.0
 *
 * What the relay office did, for those who look: ways that are others now, of streams and (detours) to the nodes
 * that they come from, with the reason. Only the last ones are kept; nothing depends on them.
 */
#include "cluster/relay_internal.h"

static bool is_same(const struct relay_path *one, const struct relay_path *other)
{
	return one->count == other->count &&
	       !memcmp(one->hops, other->hops, one->count * sizeof(one->hops[0]));
}

static struct relay_change change_of(struct actor *self, const struct relay *s,
	const struct relay_path *before, const struct relay_path *after, enum relay_why why)
{
	struct relay_change change = {.number = s->changes->streams + s->changes->routes + 1,
		.at_us = actor_wall_us(self),
		.before_count = before->count,
		.after_count = after->count,
		.why = (uint8_t)why};

	memcpy(change.before, before->hops, sizeof(change.before));
	memcpy(change.after, after->hops, sizeof(change.after));
	return change;
}

/* ---- of a stream ------------------------------------------------------------------------------ */

/* What a search was begun for does not explain what came of itself. */
static enum relay_why why_of(const struct relay_stream *stream, const struct relay_path *path)
{
	const struct relay_path *had = &stream->had;

	if (had->hops[had->count - 1].node != path->hops[path->count - 1].node)
		return RELAY_WHY_OWNER;
	return had->hops[0].node == path->hops[0].node ? RELAY_WHY_UPSTREAM : stream->why;
}

void relay_note_path(struct actor *self, struct relay *s, struct relay_stream *stream,
	const struct relay_path *path)
{
	struct relay_changes *changes = s->changes;
	struct relay_change *kept = &changes->of_streams[changes->streams % RELAY_STREAM_CHANGES];

	if (stream->had.count && !is_same(&stream->had, path)) {
		*kept = change_of(self, s, &stream->had, path, why_of(stream, path));
		memcpy(kept->stream_name, stream->row.name, sizeof(kept->stream_name));
		kept->origin = path->hops[path->count - 1].node;
		changes->streams++;
	}
	stream->had = *path;
}

/* ---- to an origin ----------------------------------------------------------------------------- */

static struct relay_path first_way(const struct msg_route *route)
{
	const struct route_way *way = &route->ways[0];
	struct relay_path path = {0};

	if (route->ways_count && way->near)
		path.hops[path.count++].node = way->near;
	if (route->ways_count && way->near && way->far)
		path.hops[path.count++].node = way->far;
	path.hops[path.count++].node = route->origin;
	return path;
}

/* How the way that was the first one stands now; LINK_UP: it is well, or on nobody's list. */
static enum link_state state_now(const struct route_way *way, const struct msg_route *route)
{
	for (uint16_t i = 0; i < route->ways_count; i++)
		if (route->ways[i].near == way->near && route->ways[i].far == way->far)
			return (enum link_state)route->ways[i].state;
	return LINK_UP;
}

static enum relay_why why_route(const struct msg_route *before, const struct msg_route *after)
{
	enum link_state state = state_now(&before->ways[0], after);

	if (state == LINK_DOUBTFUL)
		return RELAY_WHY_DOUBTFUL;
	if (state == LINK_DOWN)
		return RELAY_WHY_DOWN;
	return before->detour && !after->detour ? RELAY_WHY_OVER : RELAY_WHY_BETTER;
}

void relay_note_route(struct actor *self, struct relay *s, const struct relay_origin *origin,
	const struct msg_route *route)
{
	struct relay_changes *changes = s->changes;
	struct relay_change *kept = &changes->of_routes[changes->routes % RELAY_ROUTE_CHANGES];
	struct relay_path before = first_way(&origin->route), after = first_way(route);

	if (!origin->is_known || is_same(&before, &after))
		return;
	*kept = change_of(self, s, &before, &after, why_route(&origin->route, route));
	kept->origin = route->origin;
	changes->routes++;
}

/* ---- telling ---------------------------------------------------------------------------------- */

static uint64_t least(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

void relay_newest_changes(
	const struct relay_changes *changes, uint32_t max, struct msg_relay_changes_told *told)
{
	uint64_t most = max ? max : RELAY_CHANGES_MAX;
	uint64_t streams = changes->streams, routes = changes->routes;
	uint64_t streams_left = least(least(streams, RELAY_STREAM_CHANGES), most);
	uint64_t routes_left = least(least(routes, RELAY_ROUTE_CHANGES), most);

	told->changes_count = 0;
	while (streams_left || routes_left) {
		const struct relay_change *of_stream =
			&changes->of_streams[(streams - 1) % RELAY_STREAM_CHANGES];
		const struct relay_change *of_route =
			&changes->of_routes[(routes - 1) % RELAY_ROUTE_CHANGES];
		bool is_stream =
			streams_left && (!routes_left || of_stream->number > of_route->number);

		told->changes[told->changes_count++] = is_stream ? *of_stream : *of_route;
		streams -= is_stream;
		streams_left -= is_stream;
		routes -= !is_stream;
		routes_left -= !is_stream;
	}
}
