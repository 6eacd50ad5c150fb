/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: who is busy. Two walks over all actors, TOP_MS apart, each in pieces of a turn:
 *
 *   idle --asked--> marking --all marked--> waiting --TOP_MS--> comparing --all seen--> answered, idle
 *
 * Who asks while a measurement is under way gets its result. The kernel counts anyway; nothing is
 * added to an actor's turn.
 */
#include "runtime/process_office_internal.h"

#include <stdlib.h>

enum {
	TOP_MS = 500,
	PIECE = 512,	     /* actors a turn */
	MARKS_MAX = 1 << 17, /* actors measured; 3 MB for the half second */
	MARKS_FIRST = 256,
	SECOND_US = 1000000,
};

enum top_key { TOP_CPU, TOP_MAILS, TOP_MAILBOX };

/* ---- the ones worth telling ------------------------------------------------------------------ */

static void consider(struct top *top, const struct top_found *found)
{
	for (int key = 0; key < TOP_KEYS; key++) {
		struct top_found *best = top->best[key];
		uint32_t *count = &top->best_count[key];
		uint32_t at = *count;

		while (at && best[at - 1].key[key] < found->key[key])
			at--;
		if (!found->key[key] || at == TOP_ROWS)
			continue;
		if (*count < TOP_ROWS)
			(*count)++;
		memmove(&best[at + 1], &best[at], (*count - at - 1) * sizeof(*best));
		best[at] = *found;
	}
}

static bool told_before(const struct top *top, int key, uint32_t at)
{
	for (int k = 0; k <= key; k++)
		for (uint32_t i = 0; i < (k < key ? top->best_count[k] : at); i++)
			if (top->best[k][i].id == top->best[key][at].id)
				return true;
	return false;
}

static void print_found(struct query *q, const struct top_found *found)
{
	struct actor *actor = runtime_find(actor_runtime(q->self), found->id);
	struct actor_facts facts;
	struct actor_row row;

	if (!actor)
		return;
	runtime_facts(actor, &facts);
	process_query_row(q->self, &facts, &row);
	struct top_row line = {
		.addr = row.addr,
		.cpu_ppm = (uint32_t)found->key[TOP_CPU],
		.mails_per_s = (uint32_t)found->key[TOP_MAILS],
		.mailbox = row.mailbox,
		.refused = row.refused,
		.worker = row.worker,
	};
	memcpy(line.type, row.type, sizeof(line.type));
	memcpy(line.name, row.name, sizeof(line.name));
	memcpy(line.role, row.role, sizeof(line.role));
	if (q->out.at[-1] != '[')
		process_query_put(q, ",");
	schema_print_json(&schema_top_row, &line, &q->out);
}

static void answer(struct actor *self, struct process_office *s)
{
	enum { ROOM = TOP_KEYS * TOP_ROWS * 512 };
	struct query q = {.self = self, .s = s, .problem = "no memory"};
	uint8_t *text = malloc(ROOM);

	q.out = writer_of(text, text ? ROOM : 0);
	if (text)
		process_query_put(&q, "{\"rows\":[");
	for (int key = 0; text && key < TOP_KEYS; key++)
		for (uint32_t i = 0; i < s->top.best_count[key]; i++)
			if (!told_before(&s->top, key, i))
				print_found(&q, &s->top.best[key][i]);
	process_query_put(&q, "]}");
	for (uint32_t i = 0; i < s->top.asker_count; i++)
		process_query_answer(&q, s->top.askers[i], q.out.bad ? ERR_NO_MEMORY : ERR_OK);
	free(text);
	process_top_stop(s);
}

/* ---- the two walks --------------------------------------------------------------------------- */

static bool make_room(struct top *top)
{
	uint32_t room = top->mark_room ? top->mark_room * 2 : MARKS_FIRST;
	struct top_mark *marks;

	if (top->mark_count < top->mark_room)
		return true;
	marks = room > MARKS_MAX ? NULL : realloc(top->marks, room * sizeof(*marks));
	if (!marks)
		return false; /* the younger actors are left out */
	top->marks = marks;
	top->mark_room = room;
	return true;
}

static void mark(struct top *top, const struct actor_facts *facts)
{
	if (make_room(top))
		top->marks[top->mark_count++] = (struct top_mark){
			.id = facts->addr.id, .handled = facts->handled, .busy_us = facts->busy_us};
}

/* Both walks go through the same list: marks of actors that have ended are passed over. */
static void compare(struct top *top, const struct actor_facts *facts)
{
	int64_t span_us = top->compared_us - top->marked_us;
	uint32_t at = top->compared;

	while (at < top->mark_count && top->marks[at].id != facts->addr.id)
		at++;
	if (at == top->mark_count || span_us <= 0)
		return; /* born since: next time */
	top->compared = at + 1;
	const struct top_mark *before = &top->marks[at];
	uint64_t busy_us = (uint64_t)(facts->busy_us - before->busy_us);
	uint64_t span = (uint64_t)span_us;
	struct top_found found = {.id = facts->addr.id};

	found.key[TOP_CPU] = busy_us * SECOND_US / span;
	found.key[TOP_MAILS] = (facts->handled - before->handled) * SECOND_US / span;
	found.key[TOP_MAILBOX] = facts->mailbox;
	consider(top, &found);
}

void process_top_work(struct actor *self, struct process_office *s)
{
	struct top *top = &s->top;
	struct runtime *rt = actor_runtime(self);
	struct actor_facts facts;
	struct actor *actor;

	if (top->phase != TOP_MARKING && top->phase != TOP_COMPARING)
		return;
	actor = process_office_next(rt, top->seen);
	for (int i = 0; i < PIECE && actor; i++, actor = runtime_next_actor(rt, actor)) {
		runtime_facts(actor, &facts);
		top->seen = facts.addr.id;
		if (top->phase == TOP_MARKING)
			mark(top, &facts);
		else
			compare(top, &facts);
	}
	if (actor) {
		actor_kick(rt, actor_addr(self));
	} else if (top->phase == TOP_MARKING) {
		top->phase = TOP_WAITING;
		actor_timer_in_ms(self, OFFICE_TIMER_TOP, TOP_MS);
	} else {
		answer(self, s);
	}
}

void process_top_timer(struct actor *self, struct process_office *s)
{
	if (s->top.phase != TOP_WAITING)
		return;
	s->top.phase = TOP_COMPARING;
	s->top.compared_us = actor_now_us(self);
	s->top.seen = 0;
	process_top_work(self, s);
}

enum err process_top_begin(struct query *q)
{
	struct top *top = &q->s->top;

	if (top->asker_count == TOP_ASKERS_MAX)
		return process_query_fail(q, ERR_OVERLOAD, "too many ask for this at once");
	top->askers[top->asker_count++] = actor_asker(q->self);
	if (top->phase == TOP_IDLE) {
		top->phase = TOP_MARKING;
		top->marked_us = actor_now_us(q->self);
		actor_kick(actor_runtime(q->self), actor_addr(q->self));
	}
	return ERR_AGAIN;
}

void process_top_stop(struct process_office *s)
{
	free(s->top.marks);
	s->top = (struct top){0};
}
