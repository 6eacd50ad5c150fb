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
	uint32_t weight[TAILS]; /* the first is GRAPH_NO_EDGE when there are none */
	uint16_t relay[TAILS];	/* the next and last one; WAY_NOBODY: straight on */
	uint16_t count;
};

/* The graph as planning walks it: links from and to relays only, one after the other, and relays
 * numbered so that what is kept for each lies close together. */
struct view_edge {
	uint16_t node;	 /* the relay */
	uint16_t number; /* of the relay */
	uint32_t weight;
};

struct view {
	bool is_stale;
	size_t edge_room;
	struct view_edge *edges;
	uint32_t *out, *in; /* by node: where its links to and from relays begin; room + 1 */
	uint16_t *number;   /* by node, of relays */
};

struct paths {
	struct graph graph;
	struct paths_options options;
	uint32_t room;		    /* nodes that fit, a multiple of ROOM_STEP */
	struct ways *plan;	    /* by destination, then source */
	uint64_t *marked, *changed; /* a bit a pair, in the same order */
	uint64_t *waiting;	    /* a bit a destination */
	struct view view;
	struct tails *tails;  /* by number of relay, of the destination in hand */
	uint16_t *with_tails; /* numbers of relays that have some */
	uint32_t with_tails_count;
	bool *wanted;	  /* by number of relay: its tails are needed, when not all are */
	uint32_t *direct; /* by source: its link to the destination in hand */
	uint32_t next;
	uint64_t planned;
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
	free(paths->direct);
	free(paths->view.out);
	free(paths->view.in);
	free(paths->view.number);
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
	more.direct = calloc(more.room, sizeof(*more.direct));
	more.view.out = calloc(more.room + 1, sizeof(*more.view.out));
	more.view.in = calloc(more.room + 1, sizeof(*more.view.in));
	more.view.number = calloc(more.room, sizeof(*more.view.number));
	if (!more.plan || !more.marked || !more.changed || !more.waiting || !more.tails ||
		!more.with_tails || !more.wanted || !more.direct || !more.view.out ||
		!more.view.in || !more.view.number) {
		free_room(&more);
		return ERR_NO_MEMORY;
	}
	move_rows(&more, paths);
	for (uint32_t i = 0; i < more.room; i++) {
		more.direct[i] = GRAPH_NO_EDGE;
		more.tails[i].weight[0] = GRAPH_NO_EDGE;
	}
	more.view.is_stale = true;
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
		free((*paths)->view.edges);
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

/* What a change can touch: of one for the better every pair that the link might serve, of one for the
 * worse those whose ways lead over it. */
struct change {
	uint16_t from, to;
	bool is_worse;
};

static void mark_pair(struct paths *paths, const struct change *change, uint32_t from, uint32_t to)
{
	const struct ways *ways = &paths->plan[(size_t)to * paths->room + from];
	bool touched = !change->is_worse;

	for (unsigned i = 0; !touched && i < PATHS_WAYS; i++)
		touched = way_uses(
			ways->way[i], (uint16_t)from, (uint16_t)to, change->from, change->to);
	if (!touched)
		return;
	set_bit(marks_of(paths, to), from);
	set_bit(paths->waiting, to);
}

/* From whoever has a link to the first to whoever has one from the second. */
static void mark_middle(struct paths *paths, const struct change *change)
{
	const struct graph_edges *in = &paths->graph.nodes[change->from].in;
	const struct graph_edges *out = &paths->graph.nodes[change->to].out;

	for (uint16_t i = 0; i < out->count; i++)
		for (uint16_t j = 0; j < in->count; j++)
			mark_pair(paths, change, in->edge[j].node, out->edge[i].node);
}

static void mark_edge(
	struct paths *paths, const struct change *change, bool from_relays, bool to_relays)
{
	mark_pair(paths, change, change->from, change->to);
	for (uint32_t from = 0; from_relays && from < paths->graph.count; from++)
		mark_pair(paths, change, from, change->to);
	for (uint32_t to = 0; to_relays && to < paths->graph.count; to++)
		mark_pair(paths, change, change->from, to);
	if (from_relays && to_relays)
		mark_middle(paths, change);
}

enum err paths_set_edge(struct paths *paths, uint16_t from, uint16_t to, uint32_t weight)
{
	const bool *relays = paths->graph.relays;
	struct change change = {.from = from, .to = to};
	enum err err = fit(paths, (from > to ? from : to) + 1u);

	change.is_worse = weight > graph_weight(&paths->graph, from, to);
	if (!err)
		err = graph_set(&paths->graph, from, to, weight);
	if (err)
		return err;
	paths->view.is_stale = true;
	mark_edge(paths, &change, relays[from], relays[to]);
	return ERR_OK;
}

void paths_set_relay(struct paths *paths, uint16_t node, bool relays)
{
	const struct graph_node *edges = &paths->graph.nodes[node];
	const bool *others = paths->graph.relays;

	if (paths->graph.relays[node] == relays)
		return;
	paths->graph.relays[node] = relays;
	paths->view.is_stale = true;
	for (uint16_t i = 0; i < edges->in.count; i++) {
		struct change change = {edges->in.edge[i].node, node, !relays};

		mark_edge(paths, &change, others[change.from], true);
	}
	for (uint16_t i = 0; i < edges->out.count; i++) {
		struct change change = {node, edges->out.edge[i].node, !relays};

		mark_edge(paths, &change, true, others[change.to]);
	}
}

void paths_mark_all(struct paths *paths)
{
	for (uint32_t to = 0; to < paths->graph.count; to++)
		for (uint32_t from = 0; from < paths->graph.count; from++)
			mark_pair(paths, &(struct change){0}, from, to);
}

uint32_t paths_waiting(const struct paths *paths)
{
	uint32_t count = 0;

	for (size_t i = 0; i < words(paths->room); i++)
		count += (uint32_t)__builtin_popcountll(paths->waiting[i]);
	return count;
}

/* ---- the view -------------------------------------------------------------------------------- */

/* Appends those of a node's links that lead to or from a relay. */
static uint32_t view_edges(struct paths *paths, const struct graph_edges *edges, uint32_t at)
{
	for (uint16_t i = 0; i < edges->count; i++) {
		uint16_t node = edges->edge[i].node;

		if (paths->graph.relays[node])
			paths->view.edges[at++] = (struct view_edge){
				node, paths->view.number[node], edges->edge[i].weight};
	}
	return at;
}

/* ERR_NO_MEMORY: it stays stale. */
static enum err refresh_view(struct paths *paths)
{
	const struct graph *graph = &paths->graph;
	struct view *view = &paths->view;
	uint16_t relays = 0;
	uint32_t at = 0;
	size_t most = 0;

	for (uint32_t i = 0; i < graph->count; i++)
		most += graph->nodes[i].out.count + graph->nodes[i].in.count;
	if (most > view->edge_room) {
		struct view_edge *more = realloc(view->edges, most * sizeof(*more));

		if (!more)
			return ERR_NO_MEMORY;
		view->edges = more;
		view->edge_room = most;
	}
	for (uint32_t i = 0; i < graph->count; i++)
		if (graph->relays[i])
			view->number[i] = relays++;
	for (uint32_t i = 0; i < graph->count; i++) {
		view->out[i] = at;
		at = view_edges(paths, &graph->nodes[i].out, at);
	}
	view->out[graph->count] = at;
	for (uint32_t i = 0; i < graph->count; i++) {
		view->in[i] = at;
		at = view_edges(paths, &graph->nodes[i].in, at);
	}
	view->in[graph->count] = at;
	view->is_stale = false;
	return ERR_OK;
}

/* ---- tails ----------------------------------------------------------------------------------- */

static void add_tail(struct paths *paths, uint16_t number, uint16_t next, uint32_t weight)
{
	struct tails *tails = &paths->tails[number];
	unsigned place = tails->count;

	if (place == TAILS && weight >= tails->weight[TAILS - 1])
		return;
	if (!place)
		paths->with_tails[paths->with_tails_count++] = number;
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

/* `wanted` by number; NULL: all are. */
static void build_tails(struct paths *paths, uint16_t to, const bool *wanted)
{
	const struct view *view = &paths->view;

	for (uint32_t i = view->in[to]; i < view->in[to + 1]; i++) {
		const struct view_edge *last = &view->edges[i];

		if (!wanted || wanted[last->number])
			add_tail(paths, last->number, WAY_NOBODY, last->weight);
		for (uint32_t j = view->in [last->node]; j < view->in[last->node + 1]; j++) {
			const struct view_edge *before = &view->edges[j];

			if ((!wanted || wanted[before->number]) && before->node != to)
				add_tail(paths, before->number, last->node,
					last->weight + before->weight);
		}
	}
}

static void drop_tails(struct paths *paths)
{
	while (paths->with_tails_count) {
		struct tails *tails = &paths->tails[paths->with_tails[--paths->with_tails_count]];

		tails->count = 0;
		tails->weight[0] = GRAPH_NO_EDGE;
	}
}

/* What the sources' links to the destination weigh; afterwards, that there are none. */
static void set_direct(struct paths *paths, uint16_t to, bool over)
{
	const struct graph_edges *in = &paths->graph.nodes[to].in;

	for (uint16_t i = 0; i < in->count; i++)
		paths->direct[in->edge[i].node] = over ? GRAPH_NO_EDGE : in->edge[i].weight;
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
	unsigned least;

	/* most leave here */
	if (rank_of(weight + tails->weight[0], search->limit, 0) >= search->best.rank)
		return;
	least = is_avoided(search, relay);
	for (unsigned i = 0; i < tails->count; i++) {
		struct way way = {
			{relay, tails->relay[i]}
		};
		unsigned shared = least;

		if (way.relay[1] == search->from || is_chosen(search, way))
			continue;
		if (way.relay[1] != WAY_NOBODY)
			shared += is_avoided(search, way.relay[1]);
		offer(search, way, weight + tails->weight[i], shared);
		if (shared == least)
			break; /* what follows is heavier and shares no less */
	}
}

static struct found find(const struct paths *paths, struct search *search)
{
	const struct view *view = &paths->view;
	uint32_t direct = paths->direct[search->from];

	search->best = (struct found){way_none, GRAPH_NO_EDGE, UINT64_MAX};
	if (direct < GRAPH_NO_EDGE)
		offer(search, way_direct, direct, 0);
	for (uint32_t i = view->out[search->from]; i < view->out[search->from + 1]; i++) {
		const struct view_edge *edge = &view->edges[i];

		offer_tails(search, edge->node, edge->weight, &paths->tails[edge->number]);
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

	found = prefer_old(paths, &search, to, ways->way[0], find(paths, &search));
	ways->way[0] = found.way;
	if (found.weight == GRAPH_NO_EDGE) {
		ways->way[1] = ways->way[2] = way_none;
		return;
	}
	limit = (uint32_t)((uint64_t)found.weight * BEYOND_PERMILLE / 1000);
	search.limit = limit;
	avoid(&search, found.way);
	found = prefer_old(paths, &search, to, ways->way[1], find(paths, &search));
	ways->way[1] = found.way;
	apart = search;
	if (found.weight != GRAPH_NO_EDGE)
		avoid(&search, found.way);
	if (found.weight != GRAPH_NO_EDGE && way_shares(ways->way[0], found.way)) {
		apart.limit = GRAPH_NO_EDGE;
		apart.chosen[apart.chosen_count++] = found.way;
		search = apart;
	}
	found = prefer_old(paths, &search, to, ways->way[2], find(paths, &search));
	ways->way[2] = found.way;
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* Tails for all relays, or for those next to the few sources. */
static void build_tails_for(struct paths *paths, uint16_t to, const uint16_t *few, unsigned count)
{
	const struct view *view = &paths->view;

	if (count > FEW_SOURCES) {
		build_tails(paths, to, NULL);
		return;
	}
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < count; i++)
			for (uint32_t j = view->out[few[i]]; j < view->out[few[i] + 1]; j++)
				paths->wanted[view->edges[j].number] = !pass;
		if (!pass)
			build_tails(paths, to, paths->wanted);
	}
}

/* Returns how many of the marked sources it found, one more than FEW_SOURCES at most. */
static unsigned first_sources(const struct paths *paths, const uint64_t *marks, uint16_t *few)
{
	unsigned count = 0;

	for (size_t word = 0; word < words(paths->room); word++)
		for (uint64_t left = marks[word]; left && count <= FEW_SOURCES; left &= left - 1)
			few[count++] = (uint16_t)(word * 64 + (unsigned)__builtin_ctzll(left));
	return count;
}

static uint32_t plan_destination(struct paths *paths, uint16_t to)
{
	uint64_t *marks = marks_of(paths, to);
	uint64_t *changed = paths->changed + to * words(paths->room);
	uint16_t few[FEW_SOURCES + 1];
	uint32_t planned = 0;

	marks[to / 64] &= ~(UINT64_C(1) << to % 64);
	build_tails_for(paths, to, few, first_sources(paths, marks, few));
	set_direct(paths, to, false);
	for (size_t word = 0; word < words(paths->room); word++) {
		for (uint64_t left = marks[word]; left; left &= left - 1) {
			uint32_t from = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(left));
			struct ways *ways = &paths->plan[(size_t)to * paths->room + from];
			struct ways before = *ways;

			plan_pair(paths, (uint16_t)from, to, ways);
			if (memcmp(&before, ways, sizeof(before)))
				set_bit(changed, from);
			planned++;
		}
		marks[word] = 0;
	}
	set_direct(paths, to, true);
	drop_tails(paths);
	paths->waiting[to / 64] &= ~(UINT64_C(1) << to % 64);
	paths->planned += planned;
	return planned;
}

bool paths_step(struct paths *paths, uint32_t pairs)
{
	uint32_t done = 0;

	if (paths->view.is_stale && paths->room && refresh_view(paths))
		return paths_waiting(paths) > 0;
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

bool paths_next_changed(const struct paths *paths, uint16_t to, uint32_t *at, uint16_t *from)
{
	const uint64_t *changed;

	if (to >= paths->room)
		return false;
	changed = paths->changed + to * words(paths->room);
	while (*at < paths->room) {
		uint64_t left = changed[*at / 64] >> *at % 64;

		if (!left) {
			*at = (*at / 64 + 1) * 64;
			continue;
		}
		*at += (uint32_t)__builtin_ctzll(left);
		*from = (uint16_t)(*at)++;
		return true;
	}
	return false;
}

void paths_clear_changed(struct paths *paths, uint16_t to, uint16_t from)
{
	if (to < paths->room && from < paths->room)
		paths->changed[to * words(paths->room) + from / 64] &= ~(UINT64_C(1) << from % 64);
}
