/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/paths.h"

#include <stdlib.h>
#include <string.h>

enum {
	TAILS = 6,	       /* of a relay; see paths.h */
	ROOM_STEP = 64,	       /* nodes; bits of a word */
	DESTINATION_COST = 64, /* of building tails, in pairs */
	FEW_SOURCES = 16,      /* tails are built for their relays alone */
	BEYOND_PERMILLE = 1500,
};

/* A relay's lightest ways on to the destination in hand. */
struct tails {
	uint32_t weight[TAILS];
	uint16_t relay[TAILS]; /* the next and last one; PATHS_NOBODY: straight on */
	uint16_t count;
};

struct paths {
	struct graph graph;
	struct paths_options options;
	uint32_t room;		    /* nodes that fit, a multiple of ROOM_STEP */
	struct ways *plan;	    /* by destination, then source */
	uint64_t *marked, *changed; /* a bit a pair, in the same order */
	uint64_t *waiting;	    /* a bit a destination */
	struct tails *tails;	    /* by relay, of the destination in hand */
	uint16_t *with_tails;	    /* relays that have some */
	uint32_t with_tails_count;
	bool *wanted; /* relays whose tails are needed, when few are */
	uint32_t next;
	uint64_t planned;
};

/* ---- ways ------------------------------------------------------------------------------------ */

unsigned way_relays(struct way way)
{
	return way.relay[0] >= PATHS_NONE ? 0 : way.relay[1] == PATHS_NOBODY ? 1 : 2;
}

bool way_is(struct way a, struct way b)
{
	return a.relay[0] == b.relay[0] && a.relay[1] == b.relay[1];
}

unsigned way_shares(struct way a, struct way b)
{
	unsigned shared = 0;

	for (unsigned i = 0; i < way_relays(a); i++)
		for (unsigned j = 0; j < way_relays(b); j++)
			shared += a.relay[i] == b.relay[j];
	return shared;
}

uint32_t way_weight(const struct graph *graph, uint16_t from, uint16_t to, struct way way)
{
	unsigned relays = way_relays(way);
	uint16_t at = from;
	uint32_t weight = 0;

	if (way.relay[0] == PATHS_NONE)
		return GRAPH_NO_EDGE;
	for (unsigned i = 0; i < relays; at = way.relay[i++]) {
		if (!graph->relays[way.relay[i]])
			return GRAPH_NO_EDGE;
		weight += graph_weight(graph, at, way.relay[i]);
	}
	weight += graph_weight(graph, at, to);
	return weight < GRAPH_NO_EDGE ? weight : GRAPH_NO_EDGE;
}

static const struct way way_none = {
	{PATHS_NONE, PATHS_NOBODY}
};
static const struct way way_direct = {
	{PATHS_NOBODY, PATHS_NOBODY}
};

/* ---- room ------------------------------------------------------------------------------------ */

static size_t words(uint32_t room)
{
	return room / ROOM_STEP;
}

static void move_rows(struct paths *to, const struct paths *from)
{
	for (size_t i = 0; i < (size_t)to->room * to->room; i++)
		to->plan[i] = (struct ways){
			{way_none, way_none, way_none}
		      };
	for (uint32_t row = 0; row < from->room; row++) {
		memcpy(to->plan + (size_t)row * to->room, from->plan + (size_t)row * from->room,
			from->room * sizeof(*to->plan));
		memcpy(to->marked + row * words(to->room), from->marked + row * words(from->room),
			words(from->room) * sizeof(*to->marked));
		memcpy(to->changed + row * words(to->room), from->changed + row * words(from->room),
			words(from->room) * sizeof(*to->changed));
	}
	if (from->room)
		memcpy(to->waiting, from->waiting, words(from->room) * sizeof(*to->waiting));
}

static void free_room(struct paths *paths)
{
	free(paths->plan);
	free(paths->marked);
	free(paths->changed);
	free(paths->waiting);
	free(paths->tails);
	free(paths->with_tails);
	free(paths->wanted);
}

/* Room for so many nodes; what was planned stays. */
static enum err fit(struct paths *paths, uint32_t wanted)
{
	struct paths more = *paths;
	size_t bits;

	if (wanted <= paths->room)
		return ERR_OK;
	if (paths->room && wanted < paths->room + paths->room / 4)
		wanted = paths->room + paths->room / 4; /* one that joins is followed by more */
	more.room = (wanted + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;
	if (more.room > GRAPH_NODES_MAX)
		more.room = GRAPH_NODES_MAX;
	bits = more.room * words(more.room);
	more.plan = malloc((size_t)more.room * more.room * sizeof(*more.plan));
	more.marked = calloc(bits, sizeof(*more.marked));
	more.changed = calloc(bits, sizeof(*more.changed));
	more.waiting = calloc(words(more.room), sizeof(*more.waiting));
	more.tails = calloc(more.room, sizeof(*more.tails));
	more.with_tails = calloc(more.room, sizeof(*more.with_tails));
	more.wanted = calloc(more.room, sizeof(*more.wanted));
	if (!more.plan || !more.marked || !more.changed || !more.waiting || !more.tails ||
		!more.with_tails || !more.wanted) {
		free_room(&more);
		return ERR_NO_MEMORY;
	}
	move_rows(&more, paths);
	free_room(paths);
	*paths = more;
	return ERR_OK;
}

enum err paths_create(const struct paths_options *options, struct paths **paths)
{
	enum err err;

	*paths = calloc(1, sizeof(**paths));
	if (!*paths)
		return ERR_NO_MEMORY;
	(*paths)->options = *options;
	err = graph_init(&(*paths)->graph);
	if (err)
		paths_destroy(paths);
	return err;
}

void paths_destroy(struct paths **paths)
{
	if (*paths) {
		free_room(*paths);
		graph_fini(&(*paths)->graph);
	}
	free(*paths);
	*paths = NULL;
}

const struct graph *paths_graph(const struct paths *paths)
{
	return &paths->graph;
}

size_t paths_bytes(const struct paths *paths)
{
	size_t bits = paths->room * words(paths->room) * sizeof(uint64_t);

	return sizeof(*paths) + (size_t)paths->room * paths->room * sizeof(*paths->plan) +
	       2 * bits + paths->room * (sizeof(*paths->tails) + sizeof(*paths->with_tails) + 1);
}

uint64_t paths_planned(const struct paths *paths)
{
	return paths->planned;
}

/* ---- marks ----------------------------------------------------------------------------------- */

static void set_bit(uint64_t *bits, uint32_t place)
{
	bits[place / 64] |= UINT64_C(1) << place % 64;
}

static bool has_bit(const uint64_t *bits, uint32_t place)
{
	return bits[place / 64] >> place % 64 & 1;
}

static uint64_t *marks_of(const struct paths *paths, uint32_t to)
{
	return paths->marked + to * words(paths->room);
}

static void mark_pair(struct paths *paths, uint16_t from, uint16_t to)
{
	set_bit(marks_of(paths, to), from);
	set_bit(paths->waiting, to);
}

static void mark_destination(struct paths *paths, uint16_t to)
{
	for (uint32_t from = 0; from < paths->graph.count; from++)
		set_bit(marks_of(paths, to), from);
	set_bit(paths->waiting, to);
}

static void mark_source(struct paths *paths, uint16_t from)
{
	for (uint32_t to = 0; to < paths->graph.count; to++)
		mark_pair(paths, from, (uint16_t)to);
}

/* From whoever has an edge to the first to whoever has one from the second. */
static void mark_middle(struct paths *paths, uint16_t first, uint16_t second)
{
	const struct graph_edges *in = &paths->graph.nodes[first].in;
	const struct graph_edges *out = &paths->graph.nodes[second].out;
	uint64_t sources[GRAPH_NODES_MAX / 64] = {0};

	for (uint16_t i = 0; i < in->count; i++)
		set_bit(sources, in->edge[i].node);
	for (uint16_t i = 0; i < out->count; i++) {
		uint64_t *marks = marks_of(paths, out->edge[i].node);

		for (size_t word = 0; word < words(paths->room); word++)
			marks[word] |= sources[word];
		set_bit(paths->waiting, out->edge[i].node);
	}
}

static void mark_edge(
	struct paths *paths, uint16_t from, uint16_t to, bool from_relays, bool to_relays)
{
	if (from_relays)
		mark_destination(paths, to);
	else
		mark_pair(paths, from, to);
	if (to_relays)
		mark_source(paths, from);
	if (from_relays && to_relays)
		mark_middle(paths, from, to);
}

enum err paths_set_edge(struct paths *paths, uint16_t from, uint16_t to, uint32_t weight)
{
	const bool *relays = paths->graph.relays;
	enum err err = fit(paths, (from > to ? from : to) + 1u);

	if (!err)
		err = graph_set(&paths->graph, from, to, weight);
	if (!err)
		mark_edge(paths, from, to, relays[from], relays[to]);
	return err;
}

void paths_set_relay(struct paths *paths, uint16_t node, bool relays)
{
	const struct graph_node *edges = &paths->graph.nodes[node];
	const bool *others = paths->graph.relays;

	if (paths->graph.relays[node] == relays)
		return;
	paths->graph.relays[node] = relays;
	for (uint16_t i = 0; i < edges->in.count; i++) {
		uint16_t from = edges->in.edge[i].node;

		mark_edge(paths, from, node, others[from], true);
	}
	for (uint16_t i = 0; i < edges->out.count; i++) {
		uint16_t to = edges->out.edge[i].node;

		mark_edge(paths, node, to, true, others[to]);
	}
}

void paths_mark_all(struct paths *paths)
{
	for (uint32_t to = 0; to < paths->graph.count; to++)
		mark_destination(paths, (uint16_t)to);
}

uint32_t paths_waiting(const struct paths *paths)
{
	uint32_t count = 0;

	for (size_t i = 0; i < words(paths->room); i++)
		count += (uint32_t)__builtin_popcountll(paths->waiting[i]);
	return count;
}

/* ---- tails ----------------------------------------------------------------------------------- */

static void add_tail(struct paths *paths, uint16_t relay, uint16_t next, uint32_t weight)
{
	struct tails *tails = &paths->tails[relay];
	unsigned place = tails->count;

	if (place == TAILS && weight >= tails->weight[TAILS - 1])
		return;
	if (!place)
		paths->with_tails[paths->with_tails_count++] = relay;
	if (place == TAILS)
		place--;
	else
		tails->count++;
	for (; place && tails->weight[place - 1] > weight; place--) {
		tails->weight[place] = tails->weight[place - 1];
		tails->relay[place] = tails->relay[place - 1];
	}
	tails->weight[place] = weight;
	tails->relay[place] = next;
}

static void build_tails(struct paths *paths, uint16_t to, const bool *wanted)
{
	const struct graph *graph = &paths->graph;
	const struct graph_edges *last = &graph->nodes[to].in;

	for (uint16_t i = 0; i < last->count; i++) {
		const struct graph_edges *before = &graph->nodes[last->edge[i].node].in;
		uint32_t weight = last->edge[i].weight;
		uint16_t relay = last->edge[i].node;

		if (!graph->relays[relay])
			continue;
		if (wanted[relay])
			add_tail(paths, relay, PATHS_NOBODY, weight);
		for (uint16_t j = 0; j < before->count; j++)
			if (wanted[before->edge[j].node] && before->edge[j].node != to)
				add_tail(paths, before->edge[j].node, relay,
					weight + before->edge[j].weight);
	}
}

static void drop_tails(struct paths *paths)
{
	while (paths->with_tails_count)
		paths->tails[paths->with_tails[--paths->with_tails_count]].count = 0;
}

/* ---- one pair -------------------------------------------------------------------------------- */

struct found {
	struct way way;
	uint32_t weight;
	uint64_t rank; /* lower is better: beyond the limit, shared relays, weight */
};

/* What is looked for: beside these, sharing little with them, within a limit. */
struct search {
	uint16_t from;
	unsigned chosen_count, avoid_count;
	struct way chosen[PATHS_WAYS - 1];
	uint16_t avoid[2 * (PATHS_WAYS - 1)];
	uint32_t limit;
	struct found best;
};

static uint64_t rank_of(uint32_t weight, uint32_t limit, unsigned shared)
{
	return (uint64_t)(weight > limit) << 40 | (uint64_t)shared << 36 | weight;
}

static bool is_avoided(const struct search *search, uint16_t relay)
{
	bool avoided = false;

	for (unsigned i = 0; i < search->avoid_count; i++)
		avoided |= search->avoid[i] == relay;
	return avoided;
}

static bool is_chosen(const struct search *search, struct way way)
{
	for (unsigned i = 0; i < search->chosen_count; i++)
		if (way_is(search->chosen[i], way))
			return true;
	return false;
}

static unsigned shared_with(const struct search *search, struct way way)
{
	unsigned shared = 0;

	for (unsigned i = 0; i < way_relays(way); i++)
		shared += is_avoided(search, way.relay[i]);
	return shared;
}

static void offer(struct search *search, struct way way, uint32_t weight, unsigned shared)
{
	uint64_t rank = rank_of(weight, search->limit, shared);

	if (rank < search->best.rank && !is_chosen(search, way))
		search->best = (struct found){.way = way, .weight = weight, .rank = rank};
}

static void offer_tails(
	struct search *search, uint16_t relay, uint32_t weight, const struct tails *tails)
{
	unsigned least = is_avoided(search, relay);

	if (rank_of(weight + tails->weight[0], search->limit, least) >= search->best.rank)
		return;
	for (unsigned i = 0; i < tails->count; i++) {
		struct way way = {
			{relay, tails->relay[i]}
		};
		unsigned shared = least;

		if (way.relay[1] == search->from || is_chosen(search, way))
			continue;
		if (way.relay[1] != PATHS_NOBODY)
			shared += is_avoided(search, way.relay[1]);
		offer(search, way, weight + tails->weight[i], shared);
		if (shared == least)
			break; /* what follows is heavier and shares no less */
	}
}

static struct found find(const struct paths *paths, struct search *search, uint16_t to)
{
	const struct graph_edges *out = &paths->graph.nodes[search->from].out;

	search->best = (struct found){way_none, GRAPH_NO_EDGE, UINT64_MAX};
	for (uint16_t i = 0; i < out->count; i++) {
		const struct tails *tails = &paths->tails[out->edge[i].node];

		if (out->edge[i].node == to)
			offer(search, way_direct, out->edge[i].weight, 0);
		else if (tails->count)
			offer_tails(search, out->edge[i].node, out->edge[i].weight, tails);
	}
	return search->best;
}

static uint32_t stay(const struct paths *paths, uint32_t weight)
{
	uint32_t share = (uint32_t)((uint64_t)weight * paths->options.stay_permille / 1000);

	return weight + (share > paths->options.stay_us ? share : paths->options.stay_us);
}

/* What was planned before stays when it is of the same kind and hardly heavier. */
static struct found prefer_old(const struct paths *paths, const struct search *search, uint16_t to,
	struct way old, struct found found)
{
	struct found kept = {.way = old};
	uint32_t limit = search->limit;

	if (way_is(old, found.way) || is_chosen(search, old))
		return found;
	kept.weight = way_weight(&paths->graph, search->from, to, old);
	if (kept.weight == GRAPH_NO_EDGE || kept.weight > stay(paths, found.weight))
		return found;
	if (limit < GRAPH_NO_EDGE)
		limit = stay(paths, limit);
	kept.rank = rank_of(kept.weight, limit, shared_with(search, old));
	return kept.rank >> 36 <= found.rank >> 36 ? kept : found;
}

static void avoid(struct search *search, struct way way)
{
	search->chosen[search->chosen_count++] = way;
	for (unsigned i = 0; i < way_relays(way); i++)
		search->avoid[search->avoid_count++] = way.relay[i];
}

static void plan_pair(const struct paths *paths, uint16_t from, uint16_t to, struct ways *ways)
{
	struct search search = {.from = from, .limit = GRAPH_NO_EDGE};
	struct search apart;
	struct found found;
	uint32_t limit;

	found = prefer_old(paths, &search, to, ways->way[0], find(paths, &search, to));
	ways->way[0] = found.way;
	if (found.weight == GRAPH_NO_EDGE) {
		ways->way[1] = ways->way[2] = way_none;
		return;
	}
	limit = (uint32_t)((uint64_t)found.weight * BEYOND_PERMILLE / 1000);
	search.limit = limit;
	avoid(&search, found.way);
	found = prefer_old(paths, &search, to, ways->way[1], find(paths, &search, to));
	ways->way[1] = found.way;
	apart = search;
	if (found.weight != GRAPH_NO_EDGE)
		avoid(&search, found.way);
	if (found.weight != GRAPH_NO_EDGE && way_shares(ways->way[0], found.way)) {
		apart.limit = GRAPH_NO_EDGE;
		apart.chosen[apart.chosen_count++] = found.way;
		search = apart;
	}
	found = prefer_old(paths, &search, to, ways->way[2], find(paths, &search, to));
	ways->way[2] = found.way;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static bool ways_are(const struct ways *a, const struct ways *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Tails for all relays, or for those next to the few sources. */
static void build_tails_for(struct paths *paths, uint16_t to, const uint16_t *few, unsigned count)
{
	if (count > FEW_SOURCES) {
		build_tails(paths, to, paths->graph.relays);
		return;
	}
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < count; i++) {
			const struct graph_edges *out = &paths->graph.nodes[few[i]].out;

			for (uint16_t j = 0; j < out->count; j++)
				paths->wanted[out->edge[j].node] =
					!pass && paths->graph.relays[out->edge[j].node];
		}
		if (!pass)
			build_tails(paths, to, paths->wanted);
	}
}

static uint32_t plan_destination(struct paths *paths, uint16_t to)
{
	uint64_t *marks = marks_of(paths, to);
	uint64_t *changed = paths->changed + to * words(paths->room);
	uint16_t few[FEW_SOURCES + 1];
	unsigned sources = 0;
	uint32_t planned = 0;

	marks[to / 64] &= ~(UINT64_C(1) << to % 64);
	for (size_t word = 0; word < words(paths->room); word++)
		for (uint64_t left = marks[word]; left && sources <= FEW_SOURCES; left &= left - 1)
			few[sources++] = (uint16_t)(word * 64 + (unsigned)__builtin_ctzll(left));
	if (sources)
		build_tails_for(paths, to, few, sources);
	for (size_t word = 0; word < words(paths->room); word++) {
		for (uint64_t left = marks[word]; left; left &= left - 1) {
			uint32_t from = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(left));
			struct ways *ways = &paths->plan[(size_t)to * paths->room + from];
			struct ways before = *ways;

			plan_pair(paths, (uint16_t)from, to, ways);
			if (!ways_are(&before, ways))
				set_bit(changed, from);
			planned++;
		}
		marks[word] = 0;
	}
	drop_tails(paths);
	paths->waiting[to / 64] &= ~(UINT64_C(1) << to % 64);
	paths->planned += planned;
	return planned;
}

bool paths_step(struct paths *paths, uint32_t pairs)
{
	uint32_t done = 0;

	for (uint32_t looked = 0; looked < paths->room; looked++) {
		uint32_t to = paths->next;

		if (has_bit(paths->waiting, to)) {
			if (done >= pairs && done)
				return true;
			done += plan_destination(paths, (uint16_t)to) + DESTINATION_COST;
		}
		paths->next = to + 1 < paths->room ? to + 1 : 0;
	}
	return false;
}

const struct ways *paths_get(const struct paths *paths, uint16_t from, uint16_t to)
{
	if (from == to || from >= paths->room || to >= paths->room)
		return NULL;
	return &paths->plan[(size_t)to * paths->room + from];
}

bool paths_take_changed(struct paths *paths, uint16_t to, uint32_t *at, uint16_t *from)
{
	uint64_t *changed = paths->changed + to * words(paths->room);

	if (to >= paths->room)
		return false;
	while (*at < paths->room) {
		uint64_t left = changed[*at / 64] >> *at % 64;

		if (!left) {
			*at = (*at / 64 + 1) * 64;
			continue;
		}
		*at += (uint32_t)__builtin_ctzll(left);
		changed[*at / 64] &= ~(UINT64_C(1) << *at % 64);
		*from = (uint16_t)(*at)++;
		return true;
	}
	return false;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void keep_light(struct way way, uint32_t weight, struct way *ways, uint32_t *weights,
	unsigned max, unsigned *count)
{
	unsigned place = *count;

	if (weight >= GRAPH_NO_EDGE || (place == max && weight >= weights[max - 1]))
		return;
	if (place == max)
		place--;
	else
		++*count;
	for (; place && weights[place - 1] > weight; place--) {
		weights[place] = weights[place - 1];
		ways[place] = ways[place - 1];
	}
	weights[place] = weight;
	ways[place] = way;
}

unsigned paths_candidates(const struct graph *graph, uint16_t from, uint16_t to, struct way *ways,
	uint32_t *weights, unsigned max)
{
	const struct graph_edges *out = &graph->nodes[from].out, *in = &graph->nodes[to].in;
	unsigned count = 0;

	keep_light(way_direct, graph_weight(graph, from, to), ways, weights, max, &count);
	for (uint16_t i = 0; i < out->count; i++) {
		uint16_t first = out->edge[i].node;

		if (first == to || !graph->relays[first])
			continue;
		keep_light(
			(struct way){
				{first, PATHS_NOBODY}
		     },
			out->edge[i].weight + graph_weight(graph, first, to), ways, weights, max,
			&count);
		for (uint16_t j = 0; j < in->count; j++) {
			uint16_t second = in->edge[j].node;

			if (second == from || second == first || !graph->relays[second])
				continue;
			keep_light(
				(struct way){
					{first, second}
			       },
				out->edge[i].weight + graph_weight(graph, first, second) +
					in->edge[j].weight,
				ways, weights, max, &count);
		}
	}
	return count;
}
