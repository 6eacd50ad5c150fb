/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `ping NODE [COUNT]`: how long a message of this console's takes to that of another node and the answer
 * back, as any two actors of control processes would see it: both kernels, loops and gateways, ZeroMQ with
 * CURVE, and the network. One at a time, with a pause in between, since that is how control messages come.
 *
 *   question --the node answers a question--> ping --answer, or none--> pause --PING_EVERY_MS--> ping … finished
 */
#include "cluster/console_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	PING_EVERY_MS = 10,
	PING_COUNT = 20,
	PING_COUNT_MAX = 200,
	PING_FOR_MS = 3000, /* who asked waits 5 s; one answer may take PING_ANSWER_MS */
	PING_ANSWER_MS = 1000,
};

struct ping {
	struct addr console;
	uint32_t wanted, sent, count;
	bool waits; /* for the next one's time */
	int64_t sent_us, until_us;
	int64_t us[PING_COUNT_MAX]; /* there and back */
};

static int by_time(const void *one, const void *other)
{
	int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;

	return (a > b) - (a < b);
}

static json_t *ms_at(const struct ping *ping, unsigned percent)
{
	if (!ping->count)
		return json_null();
	return json_real((double)ping->us[(ping->count - 1) * percent / 100] / CONSOLE_MS);
}

static void finish(struct actor *self, struct question *q)
{
	struct ping *ping = q->far->ping;

	qsort(ping->us, ping->count, sizeof(ping->us[0]), by_time);
	q->reply.document = json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "node",
		q->far->nodes[0].name, "sent", (int)ping->sent, "answered", (int)ping->count,
		"least_ms", ms_at(ping, 0), "p50_ms", ms_at(ping, 50), "p99_ms", ms_at(ping, 99),
		"most_ms", ms_at(ping, 100));
	console_finish(self, q);
}

static void answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	struct ping *ping = q->far->ping;
	int64_t now_us = actor_clock_us(self);

	(void)message;
	q->asked[0].request = 0;
	if (schema == &schema_done)
		ping->us[ping->count++] = now_us - ping->sent_us;
	if (ping->sent == ping->wanted || now_us >= ping->until_us) {
		finish(self, q);
		return;
	}
	ping->waits = true;
	actor_timer_in_ms(self, CONSOLE_TIMER_PING, PING_EVERY_MS);
}

static void send_one(struct actor *self, struct question *q)
{
	static const char nothing; /* the message has no fields */
	struct ping *ping = q->far->ping;

	ping->waits = false;
	ping->sent++;
	q->sent = &schema_console_ping;
	q->answered = answered;
	q->asked_count = 1;
	q->asked[0] = (struct expected){0};
	ping->sent_us = actor_clock_us(self);
	q->asked[0].request = actor_request_mail(self, ping->console, PING_ANSWER_MS,
		MSG_console_ping, &schema_console_ping, &nothing);
}

void console_ping_due(struct actor *self, struct console *s)
{
	for (int i = 0; i < CONSOLE_QUESTIONS_MAX; i++) {
		struct question *q = &s->questions[i];

		if (q->used && q->far && q->far->ping && q->far->ping->waits)
			send_one(self, q);
	}
}

/* The node is known, and has answered a question. */
static void found(struct actor *self, struct question *q)
{
	const struct far_node *node = &q->far->nodes[0];
	char problem[SCHEMA_PROBLEM_SIZE];
	struct ping *ping;

	if (!console_far_result(node)) {
		snprintf(problem, sizeof(problem), "%s does not answer", node->name);
		console_fail(self, q, node->err ? node->err : ERR_TIMEOUT, problem);
		return;
	}
	ping = q->far->ping = calloc(1, sizeof(*q->far->ping));
	if (!ping) {
		console_fail(self, q, ERR_NO_MEMORY, "");
		return;
	}
	ping->wanted = (uint32_t)atoi(q->reply.words);
	ping->until_us = actor_clock_us(self) + PING_FOR_MS * CONSOLE_MS;
	ping->console = node->node == actor_addr(self).node
				? actor_office(self, OFFICE_CONSOLE)
				: actor_office_at(self, OFFICE_CONSOLE, node->node);
	send_one(self, q);
}

void console_begin_ping(struct actor *self, struct question *q, const char *arguments)
{
	char name[sizeof(q->far->wanted)] = "", count[8] = "";
	char *end = count;
	long wanted = PING_COUNT;

	if (console_next_word(&arguments, name, sizeof(name)) &&
		console_next_word(&arguments, count, sizeof(count)))
		wanted = strtol(count, &end, 10);
	if (!console_has_words(name) || !strcmp(name, "all") || *end || wanted < 1 ||
		wanted > PING_COUNT_MAX || console_has_words(arguments)) {
		console_fail(self, q, ERR_FORMAT, "expected: ping NODE [COUNT], 1 to 200");
		return;
	}
	snprintf(q->reply.words, sizeof(q->reply.words), "%ld", wanted);
	console_far_begin(self, q, name, "changed", found);
}
