/* SPDX-License-Identifier: Apache-2.0
 *
 * What the workers report becomes orders to their ports: placement of one node over the shipped mail, a
 * worker that reports what a row says, and hears who is to go where.
 */
#include "cluster/cluster.h"
#include "cluster/rebalance.h"
#include "runtime/config.h"
#define LAND_NODES 1
#include "tests/unit/node_world.h"

static struct config config = {.placement_rebalance = true};
static struct msg_load_report reports[LAND_PROCESSES]; /* by slot */
static struct msg_shed told[LAND_PROCESSES];
static unsigned orders[LAND_PROCESSES];

struct clerk {
	struct name_row state; /* any schema does */
};

static unsigned slot_of(struct actor *self)
{
	return runtime_options(actor_runtime(self))->index + 1;
}

static void clerk_timer(struct actor *self, void *data, unsigned timer)
{
	struct msg_load_report report = reports[slot_of(self)];

	(void)data;
	report.process = runtime_options(actor_runtime(self))->process;
	report.index = runtime_options(actor_runtime(self))->index;
	actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_load_report,
		&schema_load_report, &report);
	actor_timer_in_ms(self, timer, 500);
}

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)data, (void)args;
	actor_timer_in_ms(self, 0, 1);
	return ERR_OK;
}

ON(clerk, shed)
{
	(void)s;
	told[slot_of(self)] = *m;
	orders[slot_of(self)]++;
	return ERR_OK;
}

static const struct handler clerk_handlers[] = {
	HANDLER(clerk, shed, 0),
};

static const struct actor_type clerk_actor = {
	.name = "clerk",
	.size = sizeof(struct clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(clerk_handlers),
	.init = clerk_init,
	.timer = clerk_timer,
};

static struct land *begin(void)
{
	struct land *land;

	memset(told, 0, sizeof(told));
	memset(orders, 0, sizeof(orders));
	land_config[0] = &config;
	land = land_create();
	CHECK_OK(actor_spawn_office(
		land->place[0][CONTROL].rt, OFFICE_PLACEMENT, &placement_actor, NULL));
	for (unsigned slot = 1; slot < LAND_PROCESSES; slot++)
		CHECK_OK(actor_spawn_office(
			land->place[0][slot].rt, OFFICE_RTC, &clerk_actor, NULL));
	return land;
}

/* Rows: what two workers report, for so long; who of them was told to give how many at least once. */
TEST(placement_tells_the_port_of_the_worker_that_gives)
{
	static const struct {
		const char *what;
		struct msg_load_report reports[2];
		unsigned seconds, giver; /* 0 = nobody, 1, 2 */
		uint32_t count;
	} rows[] = {
	// clang-format off
		{"even", {{.cpu_permille = 300, .sessions = 100, .viewers = 100},
			  {.cpu_permille = 300, .sessions = 100, .viewers = 100}}, 8, 0, 0},
		{"apart", {{.cpu_permille = 600, .sessions = 200, .viewers = 200}, {0}}, 8, 1, 10},
		{"apart, not for long", {{.cpu_permille = 600, .sessions = 200, .viewers = 200}, {0}}, 2, 0, 0},
		{"apart, and all stay", {{.cpu_permille = 600, .sessions = 200, .publishers = 9}, {0}}, 8, 0, 0},
		{"one drains", {{.cpu_permille = 10, .sessions = 9, .viewers = 8},
				{.cpu_permille = 10, .sessions = 9, .viewers = 8, .draining = true}}, 3, 2, 2},
		{"one drains, and all stay", {{.cpu_permille = 10, .sessions = 9, .viewers = 8},
				{.cpu_permille = 10, .sessions = 9, .draining = true}}, 8, 0, 0},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct land *land;

		memcpy(reports + 1, rows[i].reports, sizeof(rows[i].reports));
		land = begin();
		land_run_ms(land, (int)rows[i].seconds * REBALANCE_MS + 100);
		for (unsigned slot = 1; slot < LAND_PROCESSES; slot++)
			if ((orders[slot] > 0) != (rows[i].giver == slot))
				fail_msg("%s: worker %u was told %u times", rows[i].what, slot - 1,
					orders[slot]);
		if (rows[i].giver) {
			CHECK_EQ(told[rows[i].giver].count, rows[i].count);
			CHECK_EQ(told[rows[i].giver].worker, 2 - rows[i].giver);
		}
		land_destroy(land);
	}
}
