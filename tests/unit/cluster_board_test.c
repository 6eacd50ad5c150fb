/* SPDX-License-Identifier: Apache-2.0
 *
 * The board: documents by rows and by chance, and the office over the process offices of three
 * processes, with pages that keep up and pages that do not.
 */
#include "cluster/board.h"
#include "runtime/process_office.h"
#include "tests/unit/cluster_node.h"

/* ---- documents ------------------------------------------------------------------------------- */

static json_t *parse(const char *text)
{
	json_t *document = json_loads(text, JSON_DECODE_ANY, NULL);

	CHECK(document != NULL);
	return document;
}

/* RFC 7386 2, as the page does it. */
static json_t *merge(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	if (!json_is_object(patch)) {
		json_decref(target);
		return json_deep_copy(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach((json_t *)(uintptr_t)patch, key, value)
	{
		if (json_is_null(value))
			json_object_del(target, key);
		else
			json_object_set_new(target, key,
				merge(json_incref(json_object_get(target, key)), value));
	}
	return target;
}

TEST(patches_say_what_differs)
{
	static const struct {
		const char *from, *to, *patch;
	} rows[] = {
		{"{}",			"{}",			     NULL			 },
		{"{\"a\":1}",		      "{\"a\":1}",		   NULL		       },
		{"{\"a\":1}",		      "{\"a\":2}",		   "{\"a\":2}"	      },
		{"{\"a\":1}",		      "{}",			    "{\"a\":null}"	  },
		{"{}",			"{\"a\":{}}",		     "{\"a\":{}}"		 },
		{"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":3}}", "{\"a\":{\"c\":3}}"   },
		{"{\"a\":{\"b\":1}}",	      "{\"a\":{}}",		    "{\"a\":{\"b\":null}}"},
		{"{\"a\":[1,2]}",		  "{\"a\":[1,3]}",		   "{\"a\":[1,3]}"	  },
		{"{\"a\":{\"b\":1}}",	      "{\"a\":7}",		   "{\"a\":7}"	      },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *from = parse(rows[i].from), *to = parse(rows[i].to);
		json_t *patch = board_patch(from, to);
		char *text = patch ? json_dumps(patch, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

		CHECK_EQ(text != NULL, rows[i].patch != NULL);
		if (text)
			CHECK_STR(text, rows[i].patch);
		free(text);
		json_decref(patch);
		json_decref(from);
		json_decref(to);
	}
}

static json_t *random_document(struct rng *rng, int depth)
{
	json_t *document = json_object();

	for (unsigned i = 0, count = (unsigned)rng_below(rng, 5); i < count; i++) {
		char key[2] = {(char)('a' + rng_below(rng, 6)), 0};

		if (depth && rng_below(rng, 2))
			json_object_set_new(document, key, random_document(rng, depth - 1));
		else
			json_object_set_new(
				document, key, json_integer((json_int_t)rng_below(rng, 3)));
	}
	return document;
}

TEST(a_patch_leads_from_any_state_to_any_other)
{
	struct rng rng = rng_of(3);

	for (int i = 0; i < 3000; i++) {
		json_t *from = random_document(&rng, 3), *to = random_document(&rng, 3);
		json_t *patch = board_patch(from, to);

		if (patch)
			from = merge(from, patch);
		/* an object that replaces a number is merged whole; nothing is lost by that */
		CHECK(json_equal(from, to));
		json_decref(patch);
		json_decref(from);
		json_decref(to);
	}
}

#define WORKER(inc, rest) \
	"{\"workers\":{\"media.0\":{\"incarnation\":" #inc ",\"pid\":" #inc "," rest "}}}"
#define W(inc, state) WORKER(inc, "\"restarts\":1,\"state\":\"" state "\"")
#define LINE(inc, line, takeovers) \
	WORKER(inc,                \
		"\"restarts\":1,\"state\":\"ready\",\"line\":" #line ",\"takeovers\":" takeovers)
#define FRESH(inc) WORKER(inc, "\"state\":\"ready\"")
#define S(rest)	   "{\"streams\":{\"a/b\":{\"protocol\":\"rtmp\"" rest "}}}"
#define V(rest)	   "{\"sessions\":{" rest "}}"
#define P(id)	   "\"" id "\":{\"play\":true,\"stream\":\"a/b\",\"protocol\":\"whep\"}"
#define TRACK	   ",\"tracks\":[{\"kind\":\"video\",\"codec\":\"H264\",\"width\":640,\"height\":360}]"

TEST(events_say_what_has_happened)
{
	static const struct {
		const char *from, *to, *texts;
	} rows[] = {
		{"{}",	       "{}",					    ""			       },
		{W(2,	      "starting"),				     FRESH(2),			     "good media.0 is ready (pid 2)|"},
		{W(2,	      "ready"),							 W(2,								     "ready"), ""},
		{W(2,    "ready"),						 W(2,	     "dead"), "bad media.0 is dead|"},
		{W(2, "ready"),W(2,	     "draining"), "warn media.0 is draining|"},
		{W(2,	      "ready"),							 W(3,										"starting"), "bad media.0 (pid 2) has ended|"},
		{W(2, "ready"),			W(3,					   "ready"),
			"bad media.0 (pid 2) has ended|good media.0 is back (pid 3)|"},
		{W(2,"dead"),W(3,"ready"), "good media.0 is back (pid 3)|"},
		{LINE(2,		 7,							 "0,\"sessions\":9"),
			LINE(3, 7, "1,\"takeover_us\":8999,\"sessions\":9"),
			"warn media.0 was taken over: 9 sessions, 8 ms, 0 left out (pid 3)|"},
		{LINE(2,	 7, "1,\"takeover_us\":5000,\"poisoned\":1"),
			LINE(3, 7, "2,\"takeover_us\":7000,\"poisoned\":2,\"damaged\":1"),
			"bad media.0 was taken over: 0 sessions, 2 ms, 2 left out (pid 3)|"},
		{LINE(2,		 7,									     "1,\"poisoned\":1,\"poisoned_last\":\"a\""),
			LINE(3, 7, "2,\"poisoned\":2,\"poisoned_last\":\"rtmp/a/b\""),
			"bad media.0 was taken over: 0 sessions, 0 ms, 1 left out: rtmp/a/b (pid "
			"3)|"},
		{LINE(2,		 7,						      "1"),									 LINE(3, 8, "1"),
			"bad media.0 (pid 2) has ended|good media.0 is back (pid 3)|"},
		{"{}",       S(",\"publisher\":\"1\"" TRACK),
			"good a/b is published by rtmp, H264 640x360|"					      },
		{S(",\"publisher\":\"1\""),	    S(",\"publisher\":\"1\""),						       ""										},
		{S(",\"publisher\":\"1\""),	    S(",\"publisher\":\"2\""),
			"good a/b is published by rtmp|"				},
		{S(",\"publisher\":\"1\""),	    S(""),						      "warn a/b has lost its publisher|"									     },
		{S(""),	"{}",						     "info a/b is gone|"				 },
		{S(""),		S(",\"b_frames\":true"),
			"warn a/b has B-frames: WebRTC viewers see it later, or less smoothly; "
			"encode without them (-bf 0)|"									},
		{V(""),	V(P("1")),						    "info 1 viewer joined a/b by whep|"      },
		{V(P("1")),	    V(P("1") "," P("2") "," P("3")),							     "info 2 viewers joined a/b by whep|"						 },
		{V(P("1")),	    V(P("2")),
			"info 1 viewer joined a/b by whep|info 1 viewer left a/b by whep|"},
		{"{\"left_out\":1}",	     V(P("1")),					""},
 /* streams that are not listed: who has got room in the list has not begun */
		{"{\"streams_left_out\":1}",	     S(",\"publisher\":\"1\",\"since\":1234"),				       ""			 },
		{"{\"streams_left_out\":1}",	     S(",\"publisher\":\"1\",\"since\":1999995"),
			"good a/b is published by rtmp|"	},
		{"{}",	       S(",\"publisher\":\"1\",\"since\":1234"),							 "good a/b is published by rtmp|"			 },
		{S(""),		"{\"streams_left_out\":1,\"streams\":{}}",							   ""},
		{V(""),		V("\"1\":{\"play\":false,\"stream\":\"a/b\"}"),							""				  },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *from = parse(rows[i].from), *to = parse(rows[i].to);
		json_t *events = board_events(from, to, 1999999999), *event;
		char texts[1024] = "";
		size_t k;

		json_array_foreach(events, k, event)
		{
			size_t used = strlen(texts);

			CHECK_EQ(json_integer_value(json_object_get(event, "at")), 1999999999);
			snprintf(texts + used, sizeof(texts) - used, "%s %s|",
				json_string_value(json_object_get(event, "level")),
				json_string_value(json_object_get(event, "text")));
		}
		CHECK_STR(texts, rows[i].texts);
		json_decref(events);
		json_decref(from);
		json_decref(to);
	}
	json_t *to = parse(S(",\"publisher\":\"1\"")), *events = board_events(NULL, to, 1);

	CHECK_EQ(json_array_size(events), 0); /* it was so before we looked */
	json_decref(events);
	json_decref(to);
}

TEST(many_events_at_once_are_counted)
{
	json_t *from = parse("{\"streams\":{}}"), *to = parse("{\"streams\":{}}"), *events;
	char name[32];

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "live/%d", i);
		json_object_set_new(json_object_get(to, "streams"), name,
			json_pack("{s:s, s:s}", "publisher", "1", "protocol", "whip"));
	}
	events = board_events(from, to, 1);
	CHECK_EQ(json_array_size(events), BOARD_NEW_EVENTS_MAX);
	CHECK_STR(json_string_value(json_object_get(
			  json_array_get(events, BOARD_NEW_EVENTS_MAX - 1), "text")),
		"and 461 more at once");
	json_decref(events);
	json_decref(from);
	json_decref(to);
}

/* ---- the office ------------------------------------------------------------------------------ */

static const struct process_session_kind kinds[] = {
	{"puppet", NULL}
};

struct town {
	struct node *node;
	struct runtime *control, *worker[2];
	struct addr page;
};

static struct town town_create(void)
{
	struct town town = {.node = node_create()};
	struct process_office_args args = {kinds, 1};

	town.control = node_start(town.node, 0);
	CHECK_OK(actor_spawn_office(town.control, OFFICE_BOARD, &board_actor, NULL));
	CHECK_OK(actor_spawn_office(town.control, OFFICE_PLACEMENT, &placement_actor, NULL));
	town.page = puppet_new(town.control, "page");
	for (int i = 0; i < 2; i++) {
		town.worker[i] = node_start(town.node, 1 + i);
		CHECK_OK(actor_spawn_office(
			town.worker[i], OFFICE_PROCESS, &process_office_actor, &args));
	}
	node_run_ms(town.node, 20);
	return town;
}

static void ask(struct town *town, uint64_t epoch, uint64_t seen)
{
	puppet_ask(town->control, town->page, OFFICE_BOARD, board_next,
		{.epoch = epoch, .seen = seen});
}

/* The last update's document; NULL: none has come. Its place in *epoch, *seq. */
static json_t *heard(struct town *town, uint64_t *epoch, uint64_t *seq)
{
	const struct remembered *last = puppet_last(town->control, town->page);

	if (!last || last->type != MSG_board_update)
		return NULL;
	*epoch = last->updated.epoch;
	*seq = last->updated.seq;
	return json_loads(last->json, 0, NULL);
}

static bool is(json_t *document, const char *type)
{
	bool same = document && !strcmp(json_string_value(json_object_get(document, "type")), type);

	json_decref(document);
	return same;
}

static void puppet_forget(struct town *town)
{
	puppet_at(town->control, town->page)->count = 0;
}

TEST(a_page_gets_the_state_and_then_what_changes)
{
	struct town town = town_create();
	uint64_t epoch = 0, seq = 0, first;
	json_t *document;

	ask(&town, 0, 0);
	node_run_ms(town.node, 50);
	document = heard(&town, &epoch, &seq);
	CHECK(document && epoch);
	CHECK_EQ(json_object_size(json_object_get(json_object_get(document, "state"), "sessions")),
		0);
	CHECK(is(document, "state"));
	first = seq;
	/* nothing changes, nothing comes */
	puppet_forget(&town);
	ask(&town, epoch, seq);
	node_run_ms(town.node, 2500);
	CHECK(!heard(&town, &epoch, &seq));
	struct addr session = puppet_new(town.worker[0], "whep/live/demo");

	node_run_ms(town.node, 1200);
	document = heard(&town, &epoch, &seq);
	CHECK_EQ(seq, first + 1);
	CHECK_EQ(json_object_size(json_object_get(json_object_get(document, "patch"), "sessions")),
		1);
	CHECK(is(document, "patch"));
	/* it ends, and so does the row */
	ask(&town, epoch, seq);
	CHECK(actor_call(town.worker[0], session, &puppet_actor, puppet_end, NULL));
	node_run_ms(town.node, 1200);
	CHECK(is(heard(&town, &epoch, &seq), "patch"));
	CHECK_EQ(seq, first + 2);
	/* who has missed something gets all of it at once */
	puppet_forget(&town);
	ask(&town, epoch, first);
	node_run_ms(town.node, 5);
	CHECK(is(heard(&town, &epoch, &seq), "state"));
	/* and who speaks of another epoch, too */
	puppet_forget(&town);
	ask(&town, epoch + 1, seq);
	node_run_ms(town.node, 5);
	CHECK(is(heard(&town, &epoch, &seq), "state"));
	node_destroy(town.node);
}

TEST(pages_that_wait_are_bounded_and_forgotten)
{
	struct town town = town_create();
	uint64_t epoch, seq;

	ask(&town, 0, 0);
	node_run_ms(town.node, 50);
	CHECK(is(heard(&town, &epoch, &seq), "state"));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			ask(&town, epoch, seq);
		node_run_ms(town.node, 5);
		puppet_forget(&town);
		ask(&town, epoch, seq);
		node_run_ms(town.node, 5);
		const struct remembered *last = puppet_last(town.control, town.page);

		CHECK(last && last->type == MSG_failed && last->failed.err == ERR_OVERLOAD);
		node_run_ms(town.node, 8000); /* they have given up */
	}
	node_destroy(town.node);
}

TEST(a_worker_that_hangs_stands_as_it_was_and_a_dead_one_is_gone)
{
	struct town town = town_create();
	uint64_t epoch = 0, seq = 0;
	json_t *document, *sessions;

	puppet_new(town.worker[0], "whep/live/demo");
	puppet_new(town.worker[1], "whep/live/demo");
	node_run_ms(town.node, 5100); /* nobody looks: the next step comes late */
	ask(&town, 0, 0);
	node_run_ms(town.node, 50);
	document = heard(&town, &epoch, &seq);
	sessions = json_object_get(json_object_get(document, "state"), "sessions");
	CHECK_EQ(json_object_size(sessions), 2);
	json_decref(document);
	puppet_forget(&town);
	town.node->deaf = 1;
	ask(&town, epoch, seq);
	node_run_ms(town.node, 4000);
	CHECK(!heard(&town, &epoch, &seq));
	node_kill(town.node, 1);
	node_run_ms(town.node, 100);
	document = heard(&town, &epoch, &seq);
	sessions = json_object_get(json_object_get(document, "patch"), "sessions");
	CHECK_EQ(json_object_size(sessions), 1); /* its row is null */
	CHECK(json_is_null(json_object_iter_value(json_object_iter(sessions))));
	json_decref(document);
	node_destroy(town.node);
}

/* What eight workers list when they have more than that. */
static json_t *lists(const char *row, int from, int count)
{
	json_t *answers = json_array();

	for (int worker = 0; worker < 8; worker++) {
		json_t *answer = parse("{\"rows\":[],\"next\":\"1\"}");

		for (int i = from; i < from + count; i++) {
			json_t *one = parse(row);
			char id[32];

			snprintf(id, sizeof(id), "live/%d-%d", worker, i);
			json_object_set_new(one, "id", json_string(id));
			json_object_set_new(one, "name", json_string(id));
			json_object_set_new(one, "worker", json_integer(worker));
			json_array_append_new(json_object_get(answer, "rows"), one);
		}
		json_array_append_new(answers, answer);
	}
	return answers;
}

TEST(more_than_fits_is_whole_rows_and_how_many_are_missing)
{
	static const char session[] =
		"{\"play\":true,\"stream\":\"live/0-1\",\"protocol\":\"whep\",\"age_ms\":5,"
		"\"client\":\"[2001:db8:1234:5678:9abc:def0:1234:5678]:65535\",\"state\":\"up\","
		"\"bitrate_bps\":2000000,\"rtt_us\":123456,\"loss_ppm\":1000,\"lag_us\":99999,"
		"\"started_us\":1234567,\"dropped\":0,\"frames\":0,\"standby\":false}";
	static const char stream[] =
		"{\"state\":\"live\",\"protocol\":\"rtmp\",\"publisher\":\"1\",\"viewers\":1,"
		"\"tracks\":[{\"kind\":1,\"codec\":\"H264\",\"id\":0,\"width\":1920}]}";
	struct town town = town_create();
	json_t *streams = lists(stream, 0, 200), *sessions = lists(session, 0, 200);
	json_t *others = lists(session, 100, 200);
	json_t *one = board_state(town.control, streams, sessions, NULL);
	json_t *two = board_state(town.control, streams, others, one);
	json_t *patch = board_patch(one, two), *was, *row;
	const char *key;
	size_t count = json_object_size(json_object_get(one, "sessions"));
	size_t streams_count = json_object_size(json_object_get(one, "streams")), kept = 0;

	CHECK_LE(json_dumpb(one, NULL, 0, BOARD_JSON), BOARD_STATE_MAX + 1000);
	CHECK_GE(json_dumpb(one, NULL, 0, BOARD_JSON), BOARD_STATE_MAX - 1000);
	CHECK(count >= 400 && count < 1600 && streams_count >= 400 && streams_count < 1600);
	/* at least one more than listed, as `next` says, and those that have no room */
	CHECK_EQ(json_integer_value(json_object_get(one, "left_out")), 1 + 1600 - count);
	CHECK_EQ(json_integer_value(json_object_get(one, "streams_left_out")),
		1 + 1600 - streams_count);
	/* those that a page has stay, and a patch makes of one state the other */
	was = json_object_get(one, "sessions");
	json_object_foreach(json_object_get(two, "sessions"), key, row)
	{
		CHECK(json_object_get(row, "stream") && json_object_get(row, "started_us"));
		kept += json_object_get(was, key) != NULL;
	}
	CHECK(kept > 0);
	json_object_foreach(was, key, row) if (atoi(strchr(key, '-') + 1) >= 100)
		CHECK(json_object_get(json_object_get(two, "sessions"), key));
	one = merge(one, patch);
	CHECK(json_equal(one, two));
	json_decref(one);
	json_decref(two);
	json_decref(patch);
	json_decref(streams);
	json_decref(sessions);
	json_decref(others);
	node_destroy(town.node);
}

/* Rows may be missing then; nothing is lost, nothing is touched that is not there. */
TEST(a_lack_of_memory_is_survived)
{
	struct town town = town_create();
	json_t *before, *streams, *sessions;
	size_t count = 1;

	json_set_alloc_funcs(malloc, free);
	before = parse(S(",\"publisher\":\"1\",\"since\":7"));
	streams = parse("[{\"rows\":[{\"name\":\"a/b\",\"viewers\":1,\"worker\":0,"
			"\"tracks\":[{\"kind\":1,\"codec\":\"H264\",\"id\":0}]},"
			"{\"name\":\"a/b\",\"replica\":true,\"viewers\":2,\"worker\":1}]}]");
	sessions = parse("[{\"rows\":[{\"id\":\"5\",\"play\":true,\"stream\":\"a/b\","
			 "\"protocol\":\"flv\",\"age_ms\":5}],\"next\":null}]");
	for (size_t i = 0; i <= count; i++) {
		test_fail_allocation(i);
		json_t *after = board_state(town.control, streams, sessions, before);
		json_t *patch = board_patch(before, after);
		json_t *events = board_events(before, after, 1);
		size_t seen = test_fail_allocation(0);

		if (!i) {
			count = seen;
			CHECK_GE(count, 50);
			CHECK_EQ(json_object_size(json_object_get(after, "sessions")), 1);
			CHECK_EQ(json_array_size(events), 2);
		}
		json_decref(after);
		json_decref(patch);
		json_decref(events);
	}
	json_decref(before);
	json_decref(streams);
	json_decref(sessions);
	node_destroy(town.node);
}
