/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a console client, as `millrace repl` is. Asks at random, several questions at once,
 * lines in halves and lines that are none; every answer must be one JSON document on a line of its
 * own, belong to its question, and come in time.
 */
#include "tests/sim/sim_edges.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum {
	TICKS = 60, /* between two questions, on average */
	CALM_TICKS = 240,
	ANSWER_US =
		7500 * SIM_MS, /* REPL's patience, a control process that stands still, the way */
	CROWD = 20,	       /* connections at once, of 16 that are taken */
	CROWD_STAYS_US = 300 * SIM_MS,
	ENDLESS = 9000, /* bytes of a line that is too long (repl_actor.c, LINE_MAX) */
	ROWS_MAX = 2000,
};

/* What a command is about. An office that is ended is not replaced: those are let alone. */
enum subject { OF_NOTHING, OF_ACTOR, OF_MORTAL, OF_WORKER };

static bool is_rows(const struct sim_question *q, const json_t *result)
{
	(void)q;
	return json_is_array(result) && json_array_size(result) < ROWS_MAX;
}

static bool is_workers(const struct sim_question *q, const json_t *result)
{
	bool control = false;
	const json_t *row;
	size_t i;

	(void)q;
	json_array_foreach(result, i, row)
	{
		const char *role = json_string_value(json_object_get(row, "role"));

		if (!role || !json_is_string(json_object_get(row, "state")) ||
			!json_is_number(json_object_get(row, "cpu")))
			return false;
		control = control || !strcmp(role, "control");
	}
	return control;
}

static bool is_actors(const struct sim_question *q, const json_t *result)
{
	const json_t *row;
	size_t i;

	json_array_foreach(result, i, row)
	{
		struct addr addr;
		const char *text = json_string_value(json_object_get(row, "addr"));

		if (!text || addr_parse(text, &addr) ||
			!json_is_string(json_object_get(row, "type")))
			return false;
	}
	return is_rows(q, result);
}

static bool is_tree(const struct sim_question *q, const json_t *result)
{
	const json_t *row;
	size_t i;

	json_array_foreach(result, i, row)
	{
		if (!json_is_string(json_object_get(row, "process")) ||
			!json_array_size(json_object_get(row, "children")))
			return false;
	}
	return is_rows(q, result);
}

/* One process a row, each with that number. */
static bool has_number(const json_t *result, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(result, i, row)
	{
		if (!json_is_integer(json_object_get(row, name)))
			return false;
	}
	return json_array_size(result) > 0;
}

static bool is_counters(const struct sim_question *q, const json_t *result)
{
	(void)q;
	return has_number(result, "mails_local");
}

static bool is_arena(const struct sim_question *q, const json_t *result)
{
	(void)q;
	return has_number(result, "packet_used");
}

static bool is_that_actor(const struct sim_question *q, const json_t *result)
{
	const char *text = json_string_value(json_object_get(result, "addr"));
	struct addr addr;

	return text && !addr_parse(text, &addr) && addr.id == q->id;
}

static bool is_that_session(const struct sim_question *q, const json_t *result)
{
	const char *text = json_string_value(json_object_get(result, "id"));
	char id[24];

	snprintf(id, sizeof(id), "%016" PRIx64, q->id);
	return text && !strcmp(text, id);
}

static bool is_that_worker(const struct sim_question *q, const json_t *result)
{
	return json_integer_value(json_object_get(result, "worker")) == (json_int_t)q->id;
}

static const struct {
	const char *words;
	enum subject subject;
	bool harms;
	/* Whether a result answers the question; NULL: only an error does. */
	bool (*fits)(const struct sim_question *q, const json_t *result);
} commands[] = {
	// clang-format off
	{"help",			OF_NOTHING, false, is_rows},
	{"nodes",			OF_NOTHING, false, is_rows},
	{"workers",			OF_NOTHING, false, is_workers},
	{"actors",			OF_NOTHING, false, is_actors},
	{"actors stream where viewers > 0", OF_NOTHING, false, is_actors},
	{"actors transcoder",		OF_NOTHING, false, is_actors},
	{"sessions",			OF_NOTHING, false, is_actors},
	{"streams",			OF_NOTHING, false, is_rows},
	{"tree",			OF_NOTHING, false, is_tree},
	{"counters",			OF_NOTHING, false, is_counters},
	{"arena",			OF_NOTHING, false, is_arena},
	{"inspect",			OF_ACTOR,   false, is_that_actor},
	{"inspect",			OF_ACTOR,   false, is_that_actor},
	{"stop",			OF_MORTAL, true,  is_that_actor},
	{"session-delete",		OF_MORTAL, true,  is_that_session},
	{"kill-worker",			OF_WORKER,  true,  is_that_worker},
	{"drain-worker",		OF_WORKER,  true,  is_that_worker},
	{"actors where",		OF_NOTHING, false, NULL},
	{"inspect nobody",		OF_NOTHING, false, NULL},
	{"dance",			OF_NOTHING, false, NULL},
	{"",				OF_NOTHING, false, NULL},
	// clang-format on
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]), RUBBISH = COMMANDS };

/* ---- asking ------------------------------------------------------------------------------------ */

static uint64_t some_id(struct sim *sim, const struct sim_console *s, enum subject subject)
{
	uint32_t seen = subject == OF_MORTAL ? s->mortal_count : s->actor_count;

	if (subject == OF_WORKER)
		return rng_below(&sim->rng, sim->workers + 1);
	if (!seen || rng_below(&sim->rng, 8) == 0)
		return rng_u64(&sim->rng) >> rng_below(&sim->rng, 63); /* nobody's, perhaps */
	return (subject == OF_MORTAL ? s->mortals : s->actors)[rng_below(&sim->rng, seen)];
}

static struct sim_question *new_question(struct sim *sim, struct sim_edge *edge, uint32_t row)
{
	struct sim_console *s = &edge->console;
	struct sim_question *q = &s->open[s->open_count];

	if (!s->open_count++)
		s->since_us = sim->now_us;
	*q = (struct sim_question){.row = row};
	return q;
}

/* A line, or the first half of one. */
static void say(struct sim *sim, struct sim_edge *edge, const char *line, size_t size)
{
	struct sim_console *s = &edge->console;
	size_t now = rng_below(&sim->rng, 4) ? size : rng_below(&sim->rng, size);

	sim_edge_write(sim, edge, line, now);
	s->half_size = (uint32_t)(size - now);
	memcpy(s->half, line + now, size - now);
}

static void ask(struct sim *sim, struct sim_edge *edge)
{
	struct sim_console *s = &edge->console;
	uint32_t row = (uint32_t)rng_below(&sim->rng, COMMANDS);
	char about[ADDR_TEXT_SIZE] = "";
	char line[SIM_CONSOLE_LINE];

	/* no harm is done once all are to come together */
	if (commands[row].harms && sim->now_us >= sim->chaos_until_us)
		return;
	struct sim_question *q = new_question(sim, edge, row);

	if (commands[row].subject != OF_NOTHING)
		q->id = some_id(sim, s, commands[row].subject);
	if (commands[row].subject == OF_WORKER)
		snprintf(about, sizeof(about), "%" PRIu64, q->id);
	else if (!strcmp(commands[row].words, "session-delete"))
		snprintf(about, sizeof(about), "%016" PRIx64, q->id);
	else if (commands[row].subject != OF_NOTHING)
		addr_text((struct addr){.node = SIM_NODE, .id = q->id}, about);
	sim_note(sim, "asks", row, q->id);
	int size = snprintf(line, sizeof(line), "{\"command\":\"%s%s%s\"}\n", commands[row].words,
		about[0] ? " " : "", about);

	say(sim, edge, line, (size_t)size);
}

static void leave(struct sim *sim, uint64_t client)
{
	sim_client_close(sim, (uint32_t)client);
}

/* More connections than are taken: each asks, and hangs up at some time, answered or not. */
static void come_in_crowds(struct sim *sim)
{
	static const char question[] = "{\"command\":\"actors\"}\n";
	bool stands = sim->processes[0].paused_until_us > sim->now_us;

	for (int i = 0; i < CROWD && !stands; i++) {
		uint32_t client = sim_client_connect(sim, 0, NET_REPL);

		sim_client_write(sim, client, question, sizeof(question) - 1);
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, CROWD_STAYS_US), leave, client);
	}
}

/* A line that is no question, one that never ends, or a crowd. */
static void console_rubbish(struct sim *sim, struct sim_edge *edge)
{
	struct sim_console *s = &edge->console;
	uint8_t bytes[ENDLESS];
	bool endless = rng_below(&sim->rng, 4) == 0;
	size_t size = endless ? ENDLESS : (size_t)rng_between(&sim->rng, 1, 300);

	if (rng_below(&sim->rng, 4) == 0) {
		come_in_crowds(sim);
		return;
	}
	if (s->half_size || s->endless || s->open_count == SIM_QUESTIONS_MAX)
		return;
	rng_fill(&sim->rng, bytes, size);
	for (size_t i = 0; i < size; i++)
		if (bytes[i] == '\n')
			bytes[i] = '{';
	if (endless) {
		s->endless = true;
		s->since_us = s->open_count ? s->since_us : sim->now_us;
	} else {
		bytes[size - 1] = '\n';
		new_question(sim, edge, RUBBISH);
	}
	sim_edge_write(sim, edge, bytes, size);
}

static void console_begin(struct sim *sim, struct sim_edge *edge)
{
	edge->console = (struct sim_console){0};
	ask(sim, edge);
}

static void console_tick(struct sim *sim, struct sim_edge *edge)
{
	struct sim_console *s = &edge->console;
	bool calm = sim->now_us >= sim->chaos_until_us;

	if (s->half_size) {
		sim_edge_write(sim, edge, s->half, s->half_size);
		s->half_size = 0;
	} else if (!s->endless && s->open_count < SIM_QUESTIONS_MAX &&
		   rng_below(&sim->rng, calm ? CALM_TICKS : TICKS) == 0) {
		ask(sim, edge);
	}
	/* (who does not read what was answered must not wonder) */
	if (edge->deaf_until_us + ANSWER_US < sim->now_us && (s->open_count || s->endless))
		SIM_CHECK(sim, sim->now_us - s->since_us < ANSWER_US, "\"%s\" was never answered",
			s->open_count && s->open[0].row < COMMANDS ? commands[s->open[0].row].words
								   : "rubbish");
}

/* ---- answers ----------------------------------------------------------------------------------- */

static bool is_mortal(const json_t *row)
{
	static const char *const types[] = {"stream", "transcoder", "flv_mux", "rtmp_session",
		"http_connection", "sim_publisher", "sim_viewer"};
	const char *type = json_string_value(json_object_get(row, "type"));

	for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

/* Some to ask about later. */
static void remember(struct sim *sim, struct sim_console *s, const json_t *rows)
{
	size_t size = json_array_size(rows);

	s->actor_count = s->mortal_count = 0;
	for (uint32_t i = 0; size && i < SIM_CONSOLE_KNOWS; i++) {
		const json_t *row = json_array_get(rows, rng_below(&sim->rng, size));
		const char *text = json_string_value(json_object_get(row, "addr"));
		struct addr addr;

		if (!text || addr_parse(text, &addr))
			continue;
		s->actors[s->actor_count++] = addr.id;
		if (is_mortal(row))
			s->mortals[s->mortal_count++] = addr.id;
	}
}

static void check_answer(
	struct sim *sim, struct sim_console *s, const struct sim_question *q, const json_t *answer)
{
	const char *words = q->row < COMMANDS ? commands[q->row].words : "rubbish";
	const json_t *result = json_object_get(answer, "result");
	const json_t *error = json_object_get(answer, "error");

	SIM_CHECK(sim, json_is_boolean(json_object_get(answer, "ok")),
		"the answer to \"%s\" does not say whether it is one", words);
	if (!json_is_true(json_object_get(answer, "ok"))) {
		SIM_CHECK(sim,
			json_is_string(json_object_get(error, "code")) &&
				json_is_string(json_object_get(error, "message")),
			"\"%s\" is refused without a reason", words);
		return;
	}
	/* (processes that are dying leave rows out, and are named) */
	bool silent = json_object_get(answer, "silent") != NULL;

	SIM_CHECK(sim, q->row < COMMANDS && commands[q->row].fits, "\"%s\" has a result", words);
	if (sim->failed)
		return;
	SIM_CHECK(sim, commands[q->row].fits(q, result) || (silent && json_is_array(result)),
		"\"%s\" %" PRIx64 " is answered by something else", words, q->id);
	if (commands[q->row].fits == is_actors)
		remember(sim, s, result);
}

static void take_answer(struct sim *sim, struct sim_edge *edge, const char *line, size_t size)
{
	struct sim_console *s = &edge->console;
	json_error_t problem;
	json_t *answer = json_loadb(line, size, JSON_REJECT_DUPLICATES, &problem);

	SIM_CHECK(sim, answer, "no JSON document: %s", problem.text);
	SIM_CHECK(sim, s->open_count, "an answer that nobody asked for: %.60s", line);
	if (answer && s->open_count) {
		check_answer(sim, s, &s->open[0], answer);
		memmove(&s->open[0], &s->open[1], --s->open_count * sizeof(s->open[0]));
		s->since_us = sim->now_us;
		sim->edges->console_answers++;
	}
	json_decref(answer);
}

static size_t console_input(struct sim *sim, struct sim_edge *edge)
{
	const char *at = (const char *)edge->in;
	size_t left = edge->in_size;
	const char *end;

	while (!sim->failed && (end = left ? memchr(at, '\n', left) : NULL)) {
		take_answer(sim, edge, at, (size_t)(end - at));
		left -= (size_t)(end + 1 - at);
		at = end + 1;
	}
	return edge->in_size - left;
}

const struct sim_edge_kind sim_console_kind = {
	.name = "console",
	.listener = NET_REPL,
	.begin = console_begin,
	.input = console_input,
	.tick = console_tick,
	.rubbish = console_rubbish,
};
