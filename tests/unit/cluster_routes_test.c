/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables of nodes: packing, digests, wrong input; and what a node does by itself when links and nodes
 * are in trouble.
 */
#include "cluster/routes.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum { S = 1000000, ORIGIN = 0x10, NEAR = 0x20, OTHER = 0x30, FAR = 0x40 };

/* ---- packing --------------------------------------------------------------------------------- */

static struct table_row random_row(struct rng *rng, unsigned relays)
{
	struct table_row row = {.origin = 1 + rng_below(rng, 1000),
		.count = (unsigned)rng_below(rng, PATH_WAYS_MAX + 1)};

	for (unsigned i = 0; i < row.count; i++) {
		if (rng_chance_ppm(rng, 700000))
			row.way[i].near = 2000 + rng_below(rng, relays);
		if (row.way[i].near && rng_chance_ppm(rng, 500000))
			row.way[i].far = 1000000 + rng_below(rng, relays);
	}
	return row;
}

TEST(what_is_packed_is_unpacked)
{
	static struct path_pack pack;
	static struct table_row rows[4096];

	for (int round = 0; round < test_rounds(100); round++) {
		struct rng rng = rng_of((uint64_t)round);
		unsigned relays = (unsigned)rng_between(&rng, 1, 400), count = 0;
		struct msg_path_table message = {0};
		struct table_row row;
		size_t at = 0;

		path_pack_begin(&pack);
		for (;;) {
			rows[count] = random_row(&rng, relays);
			if (path_pack_add(&pack, &rows[count]))
				break;
			count++;
		}
		CHECK(count > 80); /* it ended for want of room, not before */
		path_pack_end(&pack, &message);
		CHECK_LE(message.relays.size, PATH_RELAYS_BYTES);
		CHECK_LE(message.rows.size, PATH_ROWS_BYTES);
		for (unsigned i = 0; i < count; i++) {
			CHECK_OK(path_unpack(&message, &at, &row));
			CHECK_MEM(&row, &rows[i], sizeof(row));
		}
		CHECK_EQ(path_unpack(&message, &at, &row), ERR_AGAIN);
	}
}

TEST(wrong_rows_are_refused)
{
#define ORIGIN_BYTES "\0\0\0\0\0\0\0\x10"
#define RELAY	     "\0\0\0\0\0\0\0\x20"
#define RELAY_2	     "\0\0\0\0\0\0\0\x30"
	static const struct {
		const char *rows, *relays;
		size_t rows_size, relays_size;
		enum err err;
	} rows[] = {
		{"",			"",		 0,  0,  ERR_AGAIN },
		{ORIGIN_BYTES "\0",	    "",			9,  0,  ERR_OK    },
		{ORIGIN_BYTES,	       "",		   8,  0,	 ERR_FORMAT},
		{ORIGIN_BYTES,	       "",		   3,  0,	 ERR_FORMAT},
		{"\0\0\0\0\0\0\0\0\0",      "",		   9,  0,	 ERR_FORMAT}, /* nobody's */
		{ORIGIN_BYTES "\4",	    "",			9,  0,  ERR_FORMAT}, /* more ways than there are */
		{ORIGIN_BYTES "\1\xff\xff", "",			11, 0,  ERR_OK    }, /* straight */
		{ORIGIN_BYTES "\1\xff",	"",		    10, 0,  ERR_FORMAT}, /* cut */
		{ORIGIN_BYTES "\1\0\xff",	  RELAY,		 11, 8,	ERR_OK    }, /* over one */
		{ORIGIN_BYTES "\1\0\xff",	  RELAY,		 11, 7,	ERR_FORMAT}, /* half an id */
		{ORIGIN_BYTES "\1\1\xff",	  RELAY,		 11, 8,	ERR_FORMAT}, /* no such place */
		{ORIGIN_BYTES "\1\0\0",	RELAY,	       11, 8,  ERR_FORMAT}, /* twice */
		{ORIGIN_BYTES "\1\xff\0",	  RELAY,		 11, 8,	ERR_FORMAT}, /* far, but not near */
		{ORIGIN_BYTES "\1\0\1",	RELAY RELAY_2,      11, 16, ERR_OK    }, /* over two */
		{ORIGIN_BYTES "\1\0\xff",	  ORIGIN_BYTES,	11, 8,  ERR_FORMAT}, /* over the origin */
		{ORIGIN_BYTES "\1\0\xff",	  "\0\0\0\0\0\0\0\0", 11, 8,  ERR_FORMAT},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct msg_path_table message = {
			.relays = {rows[i].relays, (uint32_t)rows[i].relays_size},
			.rows = {rows[i].rows,   (uint32_t)rows[i].rows_size  }
		   };
		struct table_row row;
		size_t at = 0;

		if (path_unpack(&message, &at, &row) != rows[i].err)
			fail_msg("row %zu", i);
	}
}

TEST(a_digest_is_of_rows_in_any_order)
{
	struct path_table a, b;
	struct rng rng = rng_of(3);

	CHECK_OK(path_table_init(&a));
	CHECK_OK(path_table_init(&b));
	for (int i = 0; i < 5000; i++) {
		struct table_row row = random_row(&rng, 20);

		CHECK_OK(path_table_set(&a, &row));
		CHECK(row.count ? !memcmp(path_table_get(&a, row.origin), &row, sizeof(row))
				: !path_table_get(&a, row.origin));
	}
	for (uint32_t i = a.count; i > 0; i--)
		CHECK_OK(path_table_set(&b, &a.rows[i - 1]));
	CHECK_EQ(a.count, b.count);
	CHECK_EQ(a.digest, b.digest);
	b.rows[0].way[0].near++;
	CHECK(table_row_digest(&a.rows[a.count - 1]) != table_row_digest(&b.rows[0]));
	path_table_clear(&a);
	CHECK_EQ(a.digest, 0);
	path_table_fini(&a);
	path_table_fini(&b);
}

TEST(a_table_has_its_bound)
{
	struct path_table table;

	CHECK_OK(path_table_init(&table));
	for (uint64_t i = 1; i <= PATH_ROWS_MAX + 10; i++)
		CHECK_EQ(path_table_set(&table, &(struct table_row){.origin = i, .count = 1}),
			i <= PATH_ROWS_MAX ? ERR_OK : ERR_LIMIT);
	CHECK_OK(path_table_set(&table, &(struct table_row){.origin = 7, .count = 0}));
	CHECK_OK(path_table_set(&table, &(struct table_row){.origin = 99999, .count = 1}));
	CHECK_EQ(table.count, PATH_ROWS_MAX);
	path_table_fini(&table);
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* The origin over NEAR; else over OTHER and FAR; else straight. */
static struct routes usual(void)
{
	static struct path_pack pack;
	struct msg_path_table message = {.term = 5, .version = 1, .anew = true};
	struct routes routes;

	CHECK_OK(routes_init(&routes));
	path_pack_begin(&pack);
	CHECK_OK(path_pack_add(&pack,
		&(struct table_row){
			.origin = ORIGIN, .count = 3, .way = {{NEAR, 0}, {OTHER, FAR}, {0, 0}}
	      }));
	path_pack_end(&pack, &message);
	CHECK_OK(routes_take(&routes, &message, 0));
	return routes;
}

static bool say(struct routes *routes, uint64_t node, enum link_state state, int64_t now_us)
{
	struct link_row row = {.node = node, .state = (uint8_t)state, .rtt_us = 1000};
	enum err err;
	bool trouble = routes_heard(routes, 1, &row, now_us, &err);

	CHECK_OK(err);
	return trouble;
}

static uint64_t first(const struct routes *routes, uint64_t origin, int64_t now_us)
{
	struct msg_route route;

	routes_choose(routes, origin, now_us, &route);
	CHECK(route.ways_count > 0 && route.ways_count <= ROUTE_WAYS_MAX);
	CHECK_EQ(route.origin, origin);
	return route.ways[0].near;
}

TEST(a_way_in_trouble_is_left_for_a_while)
{
	struct routes routes = usual();

	CHECK_EQ(first(&routes, ORIGIN, 0), NEAR);
	CHECK(!say(&routes, NEAR, LINK_UP, S));
	CHECK(say(&routes, NEAR, LINK_DOUBTFUL, 2 * S));
	CHECK_EQ(first(&routes, ORIGIN, 2 * S), OTHER);
	CHECK(!say(&routes, NEAR, LINK_DOUBTFUL, 3 * S)); /* known */
	CHECK(say(&routes, NEAR, LINK_DOWN, 3 * S));	  /* worse */
	CHECK_EQ(routes.alarms, 2);
	CHECK(!say(&routes, NEAR, LINK_UP, 4 * S));
	CHECK_EQ(first(&routes, ORIGIN, 7900000), OTHER);
	CHECK_EQ(first(&routes, ORIGIN, 8 * S), NEAR); /* 5 s after the last bad word */
	/* a path through a relay node says nothing of the neighbour */
	enum err err;
	CHECK(!routes_heard(&routes, 1,
		&(struct link_row){.node = NEAR, .path = 1, .relay = FAR, .state = LINK_DOWN},
		9 * S, &err));
	/* nor does one of two workers alone */
	CHECK(!say(&routes, NEAR, LINK_UP, 9 * S));
	CHECK(!routes_heard(
		&routes, 2, &(struct link_row){.node = NEAR, .state = LINK_DOWN}, 9 * S, &err));
	CHECK(say(&routes, NEAR, LINK_DOWN, 9 * S));
	routes_fini(&routes);
}

TEST(what_was_in_trouble_a_while_ago_is_better_than_what_is_now)
{
	struct routes routes = usual();

	CHECK(say(&routes, OTHER, LINK_DOUBTFUL, S));
	CHECK(say(&routes, ORIGIN, LINK_DOWN, S));
	CHECK(!say(&routes, OTHER, LINK_UP, 2 * S));
	CHECK_EQ(first(&routes, ORIGIN, 3 * S), NEAR);
	CHECK(say(&routes, NEAR, LINK_DOUBTFUL, 3 * S));
	CHECK_EQ(first(&routes, ORIGIN, 3 * S), OTHER);
	CHECK(!say(&routes, NEAR, LINK_UP, 4 * S)); /* now both were: as planned */
	CHECK_EQ(first(&routes, ORIGIN, 4 * S), NEAR);
	routes_fini(&routes);
}

TEST(trouble_that_counts_still_is_told_of_when_it_comes_again)
{
	struct routes routes = usual();
	struct route_trouble troubled[ROUTE_TROUBLED_MAX];

	CHECK(say(&routes, OTHER, LINK_DOUBTFUL, S));
	CHECK_EQ(routes_troubled(&routes, S, troubled), 1);
	CHECK_EQ(troubled[0].node, OTHER);
	CHECK_EQ(troubled[0].state, LINK_DOUBTFUL);
	CHECK(!say(&routes, OTHER, LINK_UP, 2 * S));
	CHECK_EQ(routes_troubled(&routes, 2 * S, troubled), 0);
	CHECK(say(&routes, OTHER, LINK_DOUBTFUL, 3 * S)); /* who copies from there hears of it */
	CHECK_EQ(routes.alarms, 1);			  /* no other one: it is the same trouble */
	/* of who is lost everybody hears by the mesh */
	CHECK_OK(routes_seen(&routes, OTHER, false, 3 * S));
	CHECK_EQ(routes_troubled(&routes, 3 * S, troubled), 0);
	routes_fini(&routes);
}

TEST(of_many_in_trouble_the_worst_are_named)
{
	struct routes routes = usual();
	struct route_trouble troubled[ROUTE_TROUBLED_MAX];

	for (unsigned i = 0; i < 2 * ROUTE_TROUBLED_MAX; i++)
		CHECK(say(&routes, 100 + i, i % 2 ? LINK_DOWN : LINK_DOUBTFUL, S));
	CHECK_EQ(routes_troubled(&routes, S, troubled), ROUTE_TROUBLED_MAX);
	for (unsigned i = 0; i < ROUTE_TROUBLED_MAX; i++)
		CHECK_EQ(troubled[i].state, LINK_DOWN);
	routes_fini(&routes);
}

TEST(who_is_lost_is_led_around)
{
	struct routes routes = usual();
	struct msg_route route;

	CHECK_OK(routes_seen(&routes, NEAR, false, S));
	CHECK_EQ(first(&routes, ORIGIN, S), OTHER);
	CHECK_OK(routes_seen(&routes, FAR, false, S)); /* not even next to us */
	CHECK_EQ(first(&routes, ORIGIN, S), 0);
	routes_choose(&routes, ORIGIN, S, &route);
	CHECK(route.detour && route.planned);
	CHECK_EQ(routes_detours(&routes, S), 1);
	CHECK_EQ(route.ways[1].state, LINK_DOWN);
	CHECK_OK(routes_seen(&routes, FAR, true, 2 * S));
	CHECK_EQ(first(&routes, ORIGIN, 10 * S), OTHER);
	/* a link that is up knows better than the mesh */
	CHECK(!say(&routes, NEAR, LINK_UP, 10 * S));
	CHECK_EQ(first(&routes, ORIGIN, 10 * S), NEAR);
	CHECK_EQ(routes_detours(&routes, 10 * S), 0);
	routes_fini(&routes);
}

TEST(the_last_resort_is_the_nearest_relay_that_is_well)
{
	struct routes routes = usual();
	struct msg_route route;

	say(&routes, FAR, LINK_UP, S);	/* a neighbour too, and a relay by the table */
	say(&routes, 0x77, LINK_UP, S); /* no relay that we know of */
	say(&routes, NEAR, LINK_DOWN, S);
	say(&routes, OTHER, LINK_DOWN, S);
	say(&routes, ORIGIN, LINK_DOWN, S);
	routes_choose(&routes, ORIGIN, S, &route);
	CHECK_EQ(route.ways[0].near, FAR);
	CHECK_EQ(route.ways[0].state, LINK_UP);
	CHECK(route.detour);
	/* where the origin itself is lost nobody helps */
	CHECK_OK(routes_seen(&routes, ORIGIN, false, S));
	routes_choose(&routes, ORIGIN, S, &route);
	CHECK_EQ(route.ways[0].state, LINK_DOWN);
	/* who is in no table: straight, or over the nearest */
	CHECK_EQ(first(&routes, 0x99, S), 0);
	say(&routes, 0x99, LINK_DOUBTFUL, S);
	CHECK_EQ(first(&routes, 0x99, S), FAR);
	routes_fini(&routes);
}

TEST(the_lost_leave_the_table_and_the_deposed_are_not_heard)
{
	struct routes routes = usual();
	struct msg_path_table message = {.term = 4, .version = 9, .anew = true};

	CHECK_EQ(routes_take(&routes, &message, S), ERR_VERSION);
	CHECK_EQ(routes.table.count, 1);
	CHECK_OK(routes_seen(&routes, ORIGIN, false, S));
	CHECK(!routes_expire(&routes, 5 * S));
	CHECK_EQ(routes.table.count, 1);
	CHECK(routes_expire(&routes, 62 * S));
	CHECK_EQ(routes.table.count, 0);
	CHECK_EQ(routes.table.digest, 0);
	message.term = 6;
	CHECK_OK(routes_take(&routes, &message, 63 * S));
	CHECK_EQ(routes.term, 6);
	routes_fini(&routes);
}

TEST(a_neighbour_is_reported_once_with_what_all_send)
{
	struct routes routes;
	struct link_row row;
	uint32_t at = 0;
	enum err err;

	CHECK_OK(routes_init(&routes));
	for (uint64_t worker = 1; worker <= 3; worker++)
		routes_heard(&routes, worker,
			&(struct link_row){.node = NEAR,
				.rtt_us = (uint32_t)(20000 - worker * 1000),
				.loss_ppm = worker == 3 ? 40000 : 0,
				.rate_bps = worker == 3 ? 1000000 : 3000000,
				.capacity_bps = worker == 2 ? 0 : 5000000,
				.state = LINK_UP},
			S, &err);
	CHECK(routes_next_link(&routes, &at, S, &row));
	CHECK_EQ(row.node, NEAR);
	CHECK_EQ(row.rtt_us, 17000);
	CHECK_EQ(row.rate_bps, 7000000);
	/* two have met a limit, 4 of 10 Mbit/s; the third sends 3 and has met none */
	CHECK_EQ(row.capacity_bps, 17500000);
	CHECK(row.loss_ppm > 5000 && row.loss_ppm < 6000); /* a seventh of 4 % */
	CHECK(!routes_next_link(&routes, &at, S, &row));
	/* of each path: the best, and the sum of what is sent */
	struct link_row paths[LINK_WAYS_MAX];

	routes_heard(&routes, 2,
		&(struct link_row){
			.node = NEAR, .path = 3, .relay = FAR, .rtt_us = 9, .state = LINK_DOWN},
		S, &err);
	CHECK_EQ(routes_paths(&routes, NEAR, S, paths), 2);
	CHECK_EQ(paths[0].rtt_us, 17000);
	CHECK_EQ(paths[0].rate_bps, 7000000);
	CHECK_EQ(paths[0].loss_ppm, 40000);
	CHECK_EQ(paths[1].path, 3);
	CHECK_EQ(paths[1].relay, FAR);
	CHECK_EQ(paths[1].state, LINK_DOWN);
	CHECK_EQ(routes_paths(&routes, FAR, S, paths), 0);
	CHECK_EQ(routes_paths(&routes, NEAR, 5 * S, paths), 0);
	/* silent: nothing is said of it; closed: forgotten */
	at = 0;
	CHECK(!routes_next_link(&routes, &at, 5 * S, &row));
	routes_expire(&routes, 5 * S);
	CHECK_EQ(routes.count, 0);
	say(&routes, NEAR, LINK_UP, 6 * S);
	say(&routes, NEAR, LINK_CLOSED, 6 * S);
	at = 0;
	CHECK(!routes_next_link(&routes, &at, 6 * S, &row));
	routes_fini(&routes);
}

TEST(without_memory_it_says_so)
{
	struct routes routes;
	enum err err = ERR_NO_MEMORY;

	for (size_t n = 1; err; n++) {
		test_fail_allocation(n);
		err = routes_init(&routes);
		test_fail_allocation(0);
		CHECK(err == ERR_OK || err == ERR_NO_MEMORY);
	}
	for (uint64_t i = 1; i < 100; i++) {
		struct link_row row = {.node = i, .state = LINK_UP};

		for (size_t n = 1;; n++) {
			test_fail_allocation(n);
			routes_heard(&routes, 1, &row, S, &err);
			test_fail_allocation(0);
			if (!err)
				break;
			CHECK_EQ(err, ERR_NO_MEMORY);
		}
	}
	CHECK_EQ(routes.count, 99);
	routes_fini(&routes);
}
