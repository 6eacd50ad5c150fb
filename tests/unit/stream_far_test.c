/* SPDX-License-Identifier: Apache-2.0
 *
 * What is cached of a stream goes to its first reader at another node as the link has room; and how it
 * travels there.
 */
#include "runtime/config.h"
#include "tests/unit/stream_land.h"

/* A group of 3 s, of which 2.5 s are there: more than the log keeps of a group that is over. */
enum { GOP = 300, CACHED = 250, MORE = 120 };

struct far {
	struct land *land;
	struct person publisher, viewer;
	struct addr origin, copy;
};

static struct far begin_far(uint32_t room)
{
	struct far f = {.land = begin_land()};

	f.publisher = person_at(f.land, A, FIRST);
	f.viewer = person_at(f.land, B, FIRST);
	publish(f.land, &f.publisher, "live/a", "");
	f.origin = f.publisher.mind->answer.stream;
	send_pictures(f.land, &f.publisher, 0, CACHED, GOP);
	wires_have_room = room;
	subscribe(f.land, &f.viewer, "live/a");
	CHECK_EQ(f.viewer.mind->subscribed, 1);
	f.copy = f.viewer.mind->joined.stream;
	return f;
}

static struct media_log *log_of_origin(const struct far *f)
{
	const struct stream_state *origin = state_of(f->land, f->origin);

	return media_log_get(f->land->place[A][FIRST].arena,
		(struct slot_ref){origin->log_index, origin->log_generation});
}

static void check_all_came(const struct far *f, uint64_t packets)
{
	const struct stream_state *copy = state_of(f->land, f->copy);
	const struct media_log *log = log_read_by(f->land, &f->viewer);

	CHECK_EQ(copy->packets, packets);
	CHECK_EQ(copy->holes, 0);
	CHECK_EQ(copy->dropped_duplicate, 0); /* nothing was asked for again */
	CHECK_EQ(log->ready, log->next);
	CHECK(!log_of_origin(f)->is_wanted);
}

TEST(what_is_cached_waits_for_room_and_comes_whole)
{
	struct far f = begin_far(0);

	CHECK_EQ(state_of(f.land, f.copy)->packets, 0);
	/* without room it gets no further behind, and the group that it is in stays when the next begins */
	send_pictures(f.land, &f.publisher, CACHED, MORE, GOP);
	CHECK_LE(state_of(f.land, f.copy)->packets, MORE);
	CHECK_GE(state_of(f.land, f.copy)->packets, MORE - 2);
	CHECK(log_of_origin(&f)->is_wanted);
	wires_have_room = 4;
	run_ms(f.land, 500);
	check_all_came(&f, CACHED + MORE);
	/* what flows does not ask */
	wires_have_room = 0;
	send_pictures(f.land, &f.publisher, CACHED + MORE, 20, GOP);
	check_all_came(&f, CACHED + MORE + 20);
	land_destroy(f.land);
}

TEST(who_leaves_is_waited_for_no_longer)
{
	struct far f = begin_far(0);

	send_pictures(f.land, &f.publisher, CACHED, MORE, GOP);
	uint64_t first = log_of_origin(&f)->first;

	kill_node(f.land, B, 0);
	send_pictures(f.land, &f.publisher, CACHED + MORE, 2, GOP);
	CHECK(!log_of_origin(&f)->is_wanted);
	CHECK(log_of_origin(&f)->first > first);
	land_destroy(f.land);
}

/* ---- how it travels ------------------------------------------------------------------------------ */

static struct {
	struct msg_link_need said; /* the last time */
	int count;
} heard;

/* Any schema does for its state. */
struct links {
	struct name_row st;
};

static enum err links_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

ON(links, link_need)
{
	(void)self, (void)s, (void)mail;
	heard.said = *m;
	heard.count++;
	return ERR_OK;
}

static const struct handler links_handlers[] = {HANDLER(links, link_need, 0)};

static const struct actor_type links_actor = {
	.name = "links",
	.size = sizeof(struct links),
	.state = &schema_name_row,
	HANDLER_TABLE(links_handlers),
	.init = links_init,
};

/* Nobody reads or publishes anew: links are told. */
TEST(links_hear_of_settings_that_change_while_it_plays)
{
	static const struct {
		const char *key, *value;
		enum link_mode mode;
		uint32_t recover_ms;
	} rows[] = {
		{"link.mode",	      "race",			      LINK_RACE,	 400 },
		{"link.modes",      "live/b=smart,live/*=backup", LINK_BACKUP, 400 },
		{"link.tiers",      "live/a=relaxed",		 LINK_BACKUP, 1500},
		{"link.modes",      "live/b=smart",	       LINK_RACE,	  1500},
		{"link.recover_ms", "2s",			  LINK_RACE,   2000},
	};
	static struct config config;
	struct config_report report;

	heard.count = 0;
	config_init(&config, &report);
	land_config[A] = &config;
	struct land *land = begin_land();
	struct runtime *rt = land->place[A][FIRST].rt;
	struct person publisher = person_at(land, A, FIRST), viewer = person_at(land, B, FIRST);

	CHECK_OK(actor_spawn_office(rt, OFFICE_LINK, &links_actor, NULL));
	publish(land, &publisher, "live/a", "");
	runtime_configured(rt);
	run_ms(land, 5);
	CHECK_EQ(heard.count, 0); /* nobody elsewhere plays it */
	subscribe(land, &viewer, "live/a");
	CHECK_EQ(heard.count, 1);
	CHECK_EQ(heard.said.mode, LINK_SMART);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_OK(config_set(
			&config, rows[i].key, rows[i].value, CONFIG_FROM_CLUSTER, "", &report));
		runtime_configured(rt);
		run_ms(land, 5);
		CHECK_EQ(heard.count, 2 + i);
		CHECK_EQ(heard.said.node, land_id(B));
		CHECK(heard.said.media);
		CHECK_EQ(heard.said.mode, rows[i].mode);
		CHECK_EQ(heard.said.recover_ms, rows[i].recover_ms);
	}
	land_destroy(land);
	land_config[A] = NULL;
}
