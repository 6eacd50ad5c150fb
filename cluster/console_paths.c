/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `brain` and `path`, answered by whoever plans the paths of the cluster (brain_actor.c); any
 * node's brain office passes the question on to it.
 */
#include "cluster/console_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { WAY_TEXT_MAX = 512 };

static const char alone[] = "this node is alone (coord local): there are no paths to plan";

static double ms_of(uint32_t us)
{
	return (double)us / 1000;
}

static json_t *time_of(int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm utc;
	char text[32];

	if (!us || !gmtime_r(&seconds, &utc) ||
		!strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc))
		return json_null();
	return json_string(text);
}

static void ask(struct actor *self, struct question *q, const struct schema *schema,
	const void *message,
	void (*answered)(struct actor *, struct question *, const struct schema *, const void *))
{
	if (!console_in_cluster(self)) {
		console_fail(self, q, ERR_NOT_FOUND, alone);
		return;
	}
	q->answered = answered;
	console_ask_office(self, q, OFFICE_BRAIN, schema, message);
}

/* True: it is the answer; else the question has failed. */
static bool is_answer(struct actor *self, struct question *q, const struct schema *expected,
	const struct schema *schema, const void *message)
{
	const struct msg_failed *failed = message;

	q->waiting = 0;
	q->asked[0].request = 0;
	if (schema == expected)
		return true;
	if (schema == &schema_failed)
		console_fail(self, q, (enum err)failed->err, failed->text);
	else
		console_fail(self, q, ERR_TIMEOUT, "");
	return false;
}

/* ---- brain ------------------------------------------------------------------------------------- */

static void brain_answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_brain_status *m = message;
	char id[20];

	if (!is_answer(self, q, &schema_brain_status, schema, message))
		return;
	snprintf(id, sizeof(id), "%" PRIx64, m->node);
	q->reply.document = json_pack(
		"{s:s, s:s, s:I, s:o, s:i, s:i, s:I, s:I, s:i, s:o, s:b, s:I, s:I, s:i, s:f}",
		"brain", m->node ? id : "", "phase", m->phase, "term", (json_int_t)m->term, "since",
		time_of(m->since_us), "nodes", (int)m->nodes, "links", (int)m->links, "version",
		(json_int_t)m->version, "pairs_planned", (json_int_t)m->pairs_planned,
		"destinations_waiting", (int)m->pairs_waiting, "planned", time_of(m->planned_us),
		"behind", m->behind, "tables_sent", (json_int_t)m->tables_sent, "rows_sent",
		(json_int_t)m->rows_sent, "detours", (int)m->detours, "memory_mb",
		(double)m->memory_bytes / (1 << 20));
	console_finish(self, q);
}

void console_begin_brain(struct actor *self, struct question *q, const char *arguments)
{
	static const char nothing; /* the message has no fields */

	if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "this command takes no arguments");
	else
		ask(self, q, &schema_brain_query, &nothing, brain_answered);
}

/* ---- path -------------------------------------------------------------------------------------- */

static json_t *hop_row(const struct path_hop *hop)
{
	const char *state = schema_link_state_name(hop->state);

	return json_pack("{s:s, s:s, s:f, s:f, s:f, s:s, s:f}", "from", hop->from, "to", hop->to,
		"rtt_ms", ms_of(hop->rtt_us), "loss_percent", (double)hop->loss_ppm / 10000,
		"busy_percent", (double)hop->busy_permille / 10, "state", state ? state : "unknown",
		"weight_ms", ms_of(hop->weight_us));
}

static json_t *candidate_row(const struct path_candidate *candidate)
{
	char way[WAY_TEXT_MAX] = "";
	struct writer out = writer_of(way, sizeof(way) - 1);
	json_t *hops = json_array();

	for (int i = 0; i < candidate->hops_count; i++) {
		const struct path_hop *hop = &candidate->hops[i];

		if (!i)
			write_bytes(&out, hop->from, strlen(hop->from));
		write_bytes(&out, " > ", 3);
		write_bytes(&out, hop->to, strlen(hop->to));
		json_array_append_new(hops, hop_row(hop));
	}
	return json_pack("{s:s, s:f, s:i, s:s, s:o}", "way", way, "weight_ms",
		ms_of(candidate->weight_us), "place", candidate->place, "why", candidate->why,
		"hops", hops);
}

static void path_answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_path_answer *m = message;

	if (!is_answer(self, q, &schema_path_answer, schema, message))
		return;
	q->reply.document = json_array();
	for (int i = 0; i < m->candidates_count; i++)
		json_array_append_new(q->reply.document, candidate_row(&m->candidates[i]));
	console_finish(self, q);
}

void console_begin_path(struct actor *self, struct question *q, const char *arguments)
{
	struct msg_path_query query = {0};

	if (!console_next_word(&arguments, query.from, sizeof(query.from)) ||
		!console_next_word(&arguments, query.to, sizeof(query.to)) ||
		console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, "expected: path FROM TO, names or ids of nodes");
	else
		ask(self, q, &schema_path_query, &query, path_answered);
}
