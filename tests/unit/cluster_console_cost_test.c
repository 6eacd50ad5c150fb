/* SPDX-License-Identifier: Apache-2.0
 *
 * What looking in costs a worker with a thousand actors: the processor time of its own turns, in
 * spells with and without that alternate in one run. A list of all actors and top, twice a second,
 * take a share of one processor: a worker that is full loses that much throughput. A trace of an
 * actor that does nothing but mail is the worst there is.
 */
#include "runtime/process_office.h"
#include "tests/unit/cluster_node.h"

#include <time.h>

enum {
	IDLE_ACTORS = 1000,
	IN_FLIGHT = 64,		/* mails that two players throw at each other */
	SPELL_MS = 500,		/* of the node's time */
	SPELLS = 8,		/* of each kind */
	LISTED_MAX_MAILS = 150, /* mails that cost as much as an actor listed; about 25 are usual */
	TRACED_MAX_PERCENT = 200, /* of a mail that is not traced; about 125 are usual */
};

struct player {
	struct name_row state;
	struct addr other;
	uint64_t handled;
};

ON(player, name_granted)
{
	s->handled++;
	return actor_send(self, s->other, name_granted, {.epoch = m->epoch + 1});
}

static enum err player_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static const struct handler player_handlers[] = {HANDLER(player, name_granted, 0)};

static const struct actor_type player_actor = {
	.name = "player",
	.size = sizeof(struct player),
	.state = &schema_name_row,
	HANDLER_TABLE(player_handlers),
	.init = player_init,
};

struct match {
	struct node *node;
	struct runtime *control, *worker;
	struct addr asker, player[2];
};

static void serve(struct actor *self, void *data, void *context)
{
	const struct match *match = context;

	((struct player *)data)->other = match->player[0];
	for (int i = 0; i < IN_FLIGHT; i++)
		actor_send(self, match->player[0], name_granted, {.epoch = 1});
}

static void meet(struct actor *self, void *data, void *context)
{
	(void)self;
	((struct player *)data)->other = ((const struct match *)context)->player[1];
}

static struct match match_create(void)
{
	struct match match = {.node = node_create()};

	match.control = node_start(match.node, 0);
	CHECK_OK(actor_spawn_office(match.control, OFFICE_CONSOLE, &console_actor, NULL));
	match.asker = puppet_new(match.control, "asker");
	match.worker = node_start(match.node, 1);
	CHECK_OK(actor_spawn_office(match.worker, OFFICE_PROCESS, &process_office_actor, NULL));
	for (int i = 0; i < IDLE_ACTORS; i++)
		puppet_new(match.worker, "idle");
	for (int i = 0; i < 2; i++)
		CHECK_OK(actor_spawn(match.worker, NULL, &player_actor, NULL, &match.player[i]));
	node_run_ms(match.node, 20);
	CHECK(actor_call(match.worker, match.player[0], &player_actor, meet, &match));
	CHECK(actor_call(match.worker, match.player[1], &player_actor, serve, &match));
	return match;
}

static void ask(struct match *match, const char *text)
{
	puppet_ask(match->control, match->asker, OFFICE_CONSOLE, console_query,
		{
			.command = {text, (uint32_t)strlen(text)},
			.follow = 1,
			.follower = match->asker,
	});
}

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* As node_run_ms; returns the processor time of the worker's turns. */
static double run_ms(struct match *match, int ms)
{
	struct node *node = match->node;
	double used_s = 0;

	for (; ms; ms--, node->now_us += NODE_STEP_US) {
		for (int round = 0; round < 8; round++) {
			double begin_s = cpu_s();

			runtime_turn(match->worker);
			used_s += cpu_s() - begin_s;
			runtime_turn(match->control);
			node_deliver(node);
		}
	}
	return used_s;
}

static uint64_t handled(const struct match *match)
{
	uint64_t sum = 0;

	for (int i = 0; i < 2; i++)
		sum += ((struct player *)actor_data(
				runtime_find(match->worker, match->player[i].id)))
			       ->handled;
	return sum;
}

TEST(lists_and_top_take_a_small_share_of_a_worker)
{
	struct match match = match_create();
	double with_s = 0, without_s = 0;
	uint64_t mails = 0;

	run_ms(&match, SPELL_MS); /* warm */
	for (int i = 0; i < SPELLS; i++) {
		mails -= handled(&match);
		without_s += run_ms(&match, SPELL_MS);
		mails += handled(&match);
		ask(&match, "top");
		ask(&match, "actors");
		with_s += run_ms(&match, SPELL_MS);
		CHECK(puppet_last(match.control, match.asker));
	}
	double share = (with_s - without_s) * 1e6 / (SPELLS * SPELL_MS);
	double listed = (with_s - without_s) / without_s * (double)mails / (SPELLS * IDLE_ACTORS);

	printf("top and a list of %d actors twice a second: %.1f permille of a processor, "
	       "%.1f mails an actor\n",
		IDLE_ACTORS, share, listed);
	CHECK(listed < LISTED_MAX_MAILS);
	node_destroy(match.node);
}

static double spell_per_mail(struct match *match)
{
	uint64_t before = handled(match);
	double used_s = run_ms(match, SPELL_MS);

	return used_s / (double)(handled(match) - before);
}

TEST(a_trace_and_a_watch_of_a_busy_actor)
{
	struct match match = match_create();
	double with = 0, without = 0;
	char text[64], address[ADDR_TEXT_SIZE];
	struct addr office = {NODE_ID,
		match.player[0].id >> RUNTIME_BLOCK_SHIFT << RUNTIME_BLOCK_SHIFT | OFFICE_PROCESS};
	const struct process_office_state *follows =
		actor_data(runtime_find(match.worker, office.id));

	run_ms(&match, SPELL_MS);
	for (int i = 0; i < SPELLS; i++) {
		without += spell_per_mail(&match);
		snprintf(text, sizeof(text), "trace %s", addr_text(match.player[0], address));
		ask(&match, text);
		snprintf(text, sizeof(text), "watch %s", address);
		ask(&match, text);
		run_ms(&match, 20);
		CHECK_EQ(follows->follows_count, 2);
		with += spell_per_mail(&match);
		/* the asker ends, and with it what it follows */
		CHECK(actor_call(match.control, match.asker, &puppet_actor, puppet_end, NULL));
		run_ms(&match, 20);
		CHECK_EQ(follows->follows_count, 0);
		match.asker = puppet_new(match.control, "asker");
	}
	printf("%.0f ns a mail, %.0f traced and watched: %.1f %%\n", without / SPELLS * 1e9,
		with / SPELLS * 1e9, 100 * with / without);
	CHECK(with * 100 < without * TRACED_MAX_PERCENT);
	node_destroy(match.node);
}
