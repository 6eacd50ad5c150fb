/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `trace STREAM`: how long frames take from hop to hop, over all workers and nodes that have the
 * stream. Who has it and from whom is asked as for `paths`; then every copy says when the frames of the
 * next second came to it (stream_trace). A frame is known by its capture time, so of each hop those count
 * that both its ends have seen.
 *
 * Clocks of other nodes are read by the offsets that the mesh has measured; what is unequal in the two
 * directions of a way cannot be told from an offset. So a hop's time is right to within half of the round
 * trips between this node and its ends ("accurate_to_ms"), and within a node exactly.
 */
#include "cluster/console_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TRACE_MS = 1000,
	TRACE_ASK_MS = TRACE_MS + 700, /* who asked waits 5 s, of which the nodes may take 3 */
	TRACE_COPIES_MAX = 256,
};

/* A stream on one worker. */
struct trace_copy {
	const json_t *row; /* of `copies`, owned by the reply */
	const struct far_node *node;
	uint64_t request; /* 0 = has answered, or will not */
	struct msg_stream_traced *seen;
};

struct trace {
	struct trace_copy copies[TRACE_COPIES_MAX];
	uint32_t count, waiting;
};

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

/* ---- times --------------------------------------------------------------------------------------- */

/* By this node's clock; 0 = that frame was not seen. */
static int64_t came_us(const struct trace_copy *copy, int64_t capture_us)
{
	for (int i = 0; copy->seen && i < copy->seen->frames_count; i++)
		if (copy->seen->frames[i].capture_us == capture_us)
			return copy->seen->frames[i].at_us - copy->node->offset_us;
	return 0;
}

struct spent {
	int64_t us[STREAM_TRACED_MAX]; /* in order */
	int count;
};

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* What frames took from one copy to another. */
static void measure(const struct trace_copy *from, const struct trace_copy *to, struct spent *spent)
{
	spent->count = 0;
	for (int i = 0; to->seen && i < to->seen->frames_count; i++) {
		int64_t capture_us = to->seen->frames[i].capture_us;
		int64_t left_us = came_us(from, capture_us);

		if (left_us)
			spent->us[spent->count++] = came_us(to, capture_us) - left_us;
	}
	if (spent->count)
		qsort(spent->us, (size_t)spent->count, sizeof(spent->us[0]), by_time);
}

static json_t *ms_json(int64_t us)
{
	return json_real((double)us / CONSOLE_MS);
}

/* Null: nothing is known of the clocks. */
static json_t *accuracy_of(
	struct actor *self, const struct far_node *from, const struct far_node *to)
{
	uint64_t own = actor_addr(self).node;

	if (from == to)
		return ms_json(0);
	if ((from->node != own && !from->rtt_us) || (to->node != own && !to->rtt_us))
		return json_null();
	return ms_json((from->rtt_us + to->rtt_us) / 2);
}

/* ---- what is shown ------------------------------------------------------------------------------- */

static json_t *place_of(const struct trace_copy *copy)
{
	return json_sprintf("%s.%d", copy->node->name,
		(int)json_integer_value(json_object_get(copy->row, "worker")));
}

static const struct trace_copy *find_copy(const struct trace *trace, const char *addr)
{
	for (uint32_t i = 0; i < trace->count; i++)
		if (!strcmp(text_of(trace->copies[i].row, "addr"), addr))
			return &trace->copies[i];
	return NULL;
}

/* How the stream came in. */
static json_t *publisher_of(const struct question *q, const struct trace_copy *copy)
{
	json_t *row;
	size_t i;

	json_array_foreach(q->reply.rows, i, row)
	{
		if (!strcmp(text_of(row, "addr"), text_of(copy->row, "upstream")))
			return json_incref(json_object_get(row, "protocol"));
	}
	return json_null();
}

static json_t *hop_row(struct actor *self, const struct question *q,
	const struct trace_copy *origin, const struct trace_copy *from, const struct trace_copy *to)
{
	json_t *row = json_pack("{s:o, s:o, s:i, s:i}", "from",
		from ? place_of(from) : publisher_of(q, to), "to", place_of(to), "viewers",
		to->seen ? (int)to->seen->viewers : 0, "frames",
		to->seen ? (int)to->seen->frames_count : 0);
	struct spent *spent = calloc(1, sizeof(*spent));

	if (from && spent)
		measure(from, to, spent);
	json_object_set_new(row, "hop_ms",
		spent && spent->count ? ms_json(spent->us[spent->count / 2]) : json_null());
	json_object_set_new(row, "hop_max_ms",
		spent && spent->count ? ms_json(spent->us[spent->count - 1]) : json_null());
	if (origin && spent)
		measure(origin, to, spent);
	json_object_set_new(row, "since_origin_ms",
		origin && spent && spent->count ? ms_json(spent->us[spent->count / 2])
						: json_null());
	json_object_set_new(row, "accurate_to_ms",
		from ? accuracy_of(self, from->node, to->node) : json_null());
	free(spent);
	return row;
}

/* Copies come after what they copy. */
static void add_hops(struct actor *self, struct question *q, json_t *rows,
	const struct trace_copy *origin, const struct trace_copy *from, int depth)
{
	const struct trace *trace = q->far->trace;

	for (uint32_t i = 0; i < trace->count; i++) {
		const struct trace_copy *copy = &trace->copies[i];

		if (strcmp(text_of(copy->row, "upstream"), text_of(from->row, "addr")) != 0)
			continue;
		json_array_append_new(rows, hop_row(self, q, origin, from, copy));
		if (depth < CONSOLE_HOPS_MAX)
			add_hops(self, q, rows, origin, copy, depth + 1);
	}
}

static void show(struct actor *self, struct question *q)
{
	const struct trace *trace = q->far->trace;
	json_t *rows = json_array();

	for (uint32_t i = 0; i < trace->count; i++) {
		const struct trace_copy *copy = &trace->copies[i];
		bool origin = !json_is_true(json_object_get(copy->row, "replica"));

		/* one whose source has not answered begins a tree of its own */
		if (!origin && find_copy(trace, text_of(copy->row, "upstream")))
			continue;
		json_array_append_new(rows, hop_row(self, q, origin ? copy : NULL, NULL, copy));
		add_hops(self, q, rows, origin ? copy : NULL, copy, 0);
	}
	q->reply.document = rows;
	console_finish(self, q);
}

/* ---- asking -------------------------------------------------------------------------------------- */

static const struct far_node *node_of(const struct far *far, const char *name)
{
	for (uint32_t i = 0; i < far->count; i++)
		if (!strcmp(far->nodes[i].name, name))
			return &far->nodes[i];
	return &far->nodes[0];
}

static void ask_copies(struct actor *self, struct question *q)
{
	struct trace *trace = q->far->trace;
	struct addr who;
	json_t *row;
	size_t i;

	json_array_foreach(q->reply.rows, i, row)
	{
		struct trace_copy *copy = &trace->copies[trace->count];

		if (strcmp(text_of(row, "type"), "stream") != 0 ||
			addr_parse(text_of(row, "addr"), &who))
			continue;
		if (trace->count == TRACE_COPIES_MAX) {
			q->reply.page.ended = true;
			break;
		}
		*copy = (struct trace_copy){
			.row = row, .node = node_of(q->far, text_of(row, "node"))};
		copy->request =
			actor_request(self, who, TRACE_ASK_MS, stream_trace, {.for_ms = TRACE_MS});
		trace->count++;
		trace->waiting++;
	}
}

static void copies_gathered(struct actor *self, struct question *q)
{
	console_copies_join(q);
	q->far->trace = calloc(1, sizeof(*q->far->trace));
	if (!q->far->trace) {
		console_fail(self, q, ERR_NO_MEMORY, "");
		return;
	}
	ask_copies(self, q);
	if (!q->far->trace->waiting)
		console_fail(self, q, ERR_NOT_FOUND, "nobody publishes or plays such a stream");
}

static void keep_seen(struct trace_copy *copy, const struct msg_stream_traced *m)
{
	copy->seen = m ? malloc(sizeof(*copy->seen)) : NULL;
	if (copy->seen)
		*copy->seen = *m;
}

bool console_trace_answered(
	struct actor *self, struct console *s, uint64_t request, const struct msg_stream_traced *m)
{
	for (int i = 0; request && i < CONSOLE_QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];
		struct trace *trace = q->used && q->far ? q->far->trace : NULL;

		for (uint32_t k = 0; trace && k < trace->count; k++) {
			if (trace->copies[k].request != request)
				continue;
			trace->copies[k].request = 0;
			keep_seen(&trace->copies[k], m);
			if (!--trace->waiting)
				show(self, q);
			return true;
		}
	}
	return false;
}

void console_trace_forget(struct actor *self, struct trace *trace)
{
	for (uint32_t i = 0; trace && i < trace->count; i++) {
		if (trace->copies[i].request)
			actor_forget_request(self, trace->copies[i].request);
		free(trace->copies[i].seen);
	}
	free(trace);
}

void console_begin_trace_stream(struct actor *self, struct question *q, const char *arguments)
{
	console_copies_of_all(self, q, arguments, copies_gathered);
}
