/* SPDX-License-Identifier: Apache-2.0
 *
 * The line of notifications is bounded, and a stream's own keep their order in it.
 */
#include "actors/callback/callback.h"
#include "runtime/kernel.h"
#include "tests/sim/sim.h"
#include "tests/test.h"

#include <stdio.h>

enum { TOO_MANY = 10, TURNS = 16, STREAMS = 1024 };

struct teller {
	struct placement_state st;

	unsigned turns;
};

ON(teller, callback_turn)
{
	s->turns++;
	return ERR_OK;
}

static enum err teller_init(struct actor *self, void *data, const void *args)
{
	(void)data, (void)args;
	for (int i = 0; i < CALLBACK_LINE_MAX + TOO_MANY; i++) {
		struct msg_callback_queue queue = {0};

		snprintf(queue.stream_name, sizeof(queue.stream_name), "live/s%d", i % STREAMS);
		actor_send_mail(self, actor_office(self, OFFICE_CALLBACK), MSG_callback_queue,
			&schema_callback_queue, &queue);
	}
	return ERR_OK;
}

static const struct handler teller_handlers[] = {HANDLER(teller, callback_turn, 0)};

static const struct actor_type teller_type = {
	.name = "teller",
	.size = sizeof(struct teller),
	.state = &schema_placement_state,
	HANDLER_TABLE(teller_handlers),
	.init = teller_init,
};

TEST(a_full_line_drops_what_comes_and_gives_so_many_turns)
{
	struct sim_options options = {.seed = 4, .scenario = "calm"};
	struct sim *sim = sim_create(&options);
	struct sim_process *control = &sim->processes[0];
	const struct callback_office_state *office;
	struct addr teller;
	int first = 0, telling = 0;

	CHECK_OK(actor_spawn(control->rt, NULL, &teller_type, NULL, &teller));
	sim_run_until(sim, sim->now_us + 100 * SIM_MS);
	office = actor_data(
		runtime_find(control->rt, actor_office(control->rt->oldest, OFFICE_CALLBACK).id));
	CHECK_EQ(office->line_count, CALLBACK_LINE_MAX);
	CHECK_EQ(office->dropped, TOO_MANY);
	for (int i = 0; i < office->line_count; i++) {
		CHECK_EQ(office->line[i].first, i < STREAMS);
		first += office->line[i].first;
		telling += office->line[i].telling;
	}
	CHECK_EQ(first, STREAMS);
	CHECK_EQ(telling, TURNS);
	CHECK(!runtime_find(control->rt, teller.id)); /* told to stop by the full line */
	sim_destroy(&sim);
}
