/* SPDX-License-Identifier: Apache-2.0
 *
 * The console over the process offices of three processes.
 */
#include "runtime/process_office.h"
#include "tests/unit/cluster_node.h"
#include "tests/unit/successor.h"

#include <jansson.h>

static const struct process_session_kind kinds[] = {
	{"puppet", NULL}
};

struct town {
	struct node *node;
	struct runtime *control, *worker[2];
	struct addr asker, puppet[2];
};

static struct town town_create(void)
{
	struct town town = {.node = node_create()};
	struct process_office_args args = {kinds, 1};

	town.control = node_start(town.node, 0);
	CHECK_OK(actor_spawn_office(town.control, OFFICE_CONSOLE, &console_actor, NULL));
	CHECK_OK(actor_spawn_office(town.control, OFFICE_PLACEMENT, &placement_actor, NULL));
	CHECK_OK(actor_spawn_office(town.control, OFFICE_PROCESS, &process_office_actor, NULL));
	town.asker = puppet_new(town.control, "asker");
	for (int i = 0; i < 2; i++) {
		town.worker[i] = node_start(town.node, 1 + i);
		CHECK_OK(actor_spawn_office(
			town.worker[i], OFFICE_PROCESS, &process_office_actor, &args));
		town.puppet[i] = puppet_new(town.worker[i], i ? "second" : "first");
	}
	node_run_ms(town.node, 20);
	return town;
}

/* The answer's document; its error in *err. */
static json_t *ask_ms(struct town *town, const char *text, int ms, enum err *err)
{
	const struct remembered *answer;

	puppet_ask(town->control, town->asker, OFFICE_CONSOLE, console_query,
		{
			.command = {text, (uint32_t)strlen(text)}
	 });
	node_run_ms(town->node, ms);
	answer = puppet_last(town->control, town->asker);
	CHECK(answer && answer->type == MSG_console_answer);
	*err = answer->err;
	return json_loads(answer->json, 0, NULL);
}

static size_t count_of(struct town *town, const char *text)
{
	enum err err;
	json_t *document = ask_ms(town, text, 20, &err);
	size_t count = json_array_size(json_object_get(document, "result"));

	CHECK_OK(err);
	CHECK(json_is_true(json_object_get(document, "ok")));
	json_decref(document);
	return count;
}

TEST(actors_of_all_processes)
{
	static const struct {
		const char *command;
		size_t rows;
	} rows[] = {
		{"actors",				    8},
		{"actors puppet",				  3},
		{" actors  puppet ",			     3},
		{"actors nonsense",			    0},
		{"actors where name = second",		       1},
		{"actors puppet where worker < 1",		   2},
		{"actors where role = media",		      4},
		{"actors where name ~ office/",		5},
		{"actors process_office where queries >= 1",  3}, /* a field of the state */
		{"actors where mailbox = 0 and role = media", 4},
		{"actors limit 3",				   3},
		{"sessions",				  2},
		{"streams",				   0},
		{"tree",				      3},
		{"counters",				  3},
		{"arena",				     3},
		{"nodes",				     1},
		{"workers",				   2},
		{"actors where worker = 1 and type = puppet", 1},
	};
	struct town town = town_create();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t count = count_of(&town, rows[i].command);

		if (count != rows[i].rows)
			fail_msg("%s: %zu rows", rows[i].command, count);
	}
	CHECK(count_of(&town, "help") > 10);
	node_destroy(town.node);
}

TEST(what_is_wrong_is_said)
{
	static const struct {
		const char *command;
		enum err err;
	} rows[] = {
		{"",					ERR_UNSUPPORTED},
		       {"actorsx",				   ERR_UNSUPPORTED},
		     {"actors a b",				    ERR_FORMAT     },
		{"actors where x",			   ERR_FORMAT     },
		{"actors where x is y",			ERR_FORMAT	  },
		{"actors after nobody",			ERR_FORMAT	  },
		     {"inspect",				 ERR_FORMAT	   },
		{"inspect 7/zz",				 ERR_FORMAT	   },
		      {"inspect 7/ffff0000000000",		   ERR_NOT_FOUND	},
		{"inspect 7/10000000fff",			  ERR_NOT_FOUND  },
		  {"stop 7/20000000fff",			 ERR_NOT_FOUND  },
		{"api session-delete 20000000fff",	   ERR_NOT_FOUND	},
		{"api session-delete 20000000001",	   ERR_NOT_FOUND	}, /* it is no session */
		{"kill-worker",				ERR_FORMAT	  },
		     {"drain 1",				 ERR_FORMAT	   },
		{"actors process_office where nothing = 1", ERR_FORMAT     },
		{"actors limit 0",			   ERR_FORMAT     },
		{"nodes x",				    ERR_FORMAT     },
		 {"tree x",				    ERR_FORMAT     },
		{"counters x",			       ERR_FORMAT	 },
		    {"shutdown x",				   ERR_FORMAT     },
		{"help nothing",				 ERR_NOT_FOUND  },
		 {"help api actors",			     ERR_NOT_FOUND  },
		{"top x",				   ERR_FORMAT	    },
		       {"paths",					 ERR_FORMAT	   },
		      {"paths demo",				     ERR_FORMAT     },
		{"paths live/none",			    ERR_NOT_FOUND	 },
		    {"why",					    ERR_FORMAT     },
		 {"why x/y",				     ERR_FORMAT     },
		{"why 7/10000000fff",			      ERR_NOT_FOUND  },
		{"watch 7/10000000001",			ERR_UNSUPPORTED}, /* nobody to tell */
		{"trace 7/10000000001",			ERR_UNSUPPORTED},
		  {"send",					   ERR_FORMAT     },
		{"send 7/10000000001",		       ERR_FORMAT	 },
		    {"send 7/10000000001 nonsense",		    ERR_NOT_FOUND	 },
		{"send 7/10000000001 session_state",	     ERR_NOT_FOUND  }, /* no message */
		{"send 7/10000000001 stop reason",	   ERR_FORMAT     },
		{"send 7/10000000001 stop nothing=1",	      ERR_FORMAT	},
		{"send 7/ffff0000000000 stop",	       ERR_NOT_FOUND  },
		{"send 7/10000000fff place",		     ERR_DEAD	     },
		{"send 7/10000000003 subscribe",		 ERR_UNSUPPORTED}, /* placement has no use for it */
		{"kill-worker -1",			   ERR_FORMAT     },
		{"kill-worker 64",			   ERR_FORMAT     },
		{"kill-worker 0",				  ERR_UNSUPPORTED}, /* no supervisor here */
	};
	struct town town = town_create();
	char longest[5000];
	enum err err;
	json_t *document;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		document = ask_ms(&town, rows[i].command, 20, &err);
		const char *code = json_string_value(
			json_object_get(json_object_get(document, "error"), "code"));

		bool api = !strncmp(rows[i].command, "api", 3); /* plain text */

		if (err != rows[i].err || !!code == api || (code && strcmp(code, err_name(err))))
			fail_msg("%s: %s", rows[i].command, err_name(err));
		json_decref(document);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	json_decref(ask_ms(&town, longest, 20, &err));
	CHECK_EQ(err, ERR_TOO_LARGE);
	node_destroy(town.node);
}

TEST(a_line_is_completed)
{
	/* clang-format off */
	static const struct {
		const char *command;
		const char *word, *common; /* word NULL: an error */
		size_t count;		   /* 99 = many */
		const char *one;	   /* is among them */
	} rows[] = {
		{"complete |",				"",	   "",		99, "help"},
		{"complete wor|",			"wor",	   "workers",	1,  "workers"},
		{"complete   wor|",			"wor",	   "workers",	1,  "workers"},
		{"complete actors puppet |",		"",	   "",		3,  "where"},
		{"complete actors where mailb|",	"mailb",   "mailbox",	1,  "mailbox"},
		{"complete top ma|",			"ma",	   "mail",	2,  "mailbox"},
		{"complete nonsense |",			"",	   "",		0,  NULL},
		{"complete comp|",			"comp",	   "",		0,  NULL}, /* a page's, not a person's */
		{"complete inspect |",			"",	   "7/",	8,  "7/10000000001"},
		{"complete inspect 7/1000000000|",	"7/1000000000", "7/1000000000", 99, "7/10000000001"},
		{"complete session-delete |",		"",	   "",		2,  NULL},
		{"complete paths live/|",		"live/",   "",		0,  NULL},
		{"complete send 7/1 name_lo|",		"name_lo", "name_lo", 2, "name_lookup"},
		{"complete",				NULL,	   "",		0,  NULL},
		{"complete wor",			NULL,	   "",		0,  NULL},
		{"complete wor| x",			NULL,	   "",		0,  NULL},
		{"complete inspect \"|",		"\"",	   "",		0,  NULL},
	};
	/* clang-format on */
	struct town town = town_create();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum err err;
		json_t *document = ask_ms(&town, rows[i].command, 20, &err), *word;
		json_t *result = json_object_get(document, "result");
		const char *common = json_string_value(json_object_get(result, "common"));
		json_t *words = json_object_get(result, "words");
		size_t count = json_array_size(words), k;
		bool found = !rows[i].one;

		json_array_foreach(words, k, word)
		{
			found |= rows[i].one &&
				 !strcmp(json_string_value(json_object_get(word, "word")),
					 rows[i].one);
		}
		bool as_expected =
			rows[i].word
				? !err && common && found &&
					  !strcmp(json_string_value(
							  json_object_get(result, "word")),
						  rows[i].word) &&
					  (rows[i].one ? !strncmp(common, rows[i].common,
								 strlen(rows[i].common))
						       : true) &&
					  (count == rows[i].count || (rows[i].count == 99 && count))
				: err == ERR_FORMAT;

		if (!as_expected)
			fail_msg("%s: %s, %zu words, common %s", rows[i].command, err_name(err),
				count, common ? common : "none");
		json_decref(document);
	}
	node_destroy(town.node);
}

TEST(one_actor_is_inspected_and_stopped)
{
	struct town town = town_create();
	char address[ADDR_TEXT_SIZE], command[64];
	enum err err;

	snprintf(command, sizeof(command), "inspect %s", addr_text(town.puppet[1], address));
	json_t *document = ask_ms(&town, command, 20, &err);
	json_t *result = json_object_get(document, "result");
	CHECK_STR(json_string_value(json_object_get(result, "addr")), address);
	CHECK_STR(json_string_value(json_object_get(result, "type")), "puppet");
	CHECK(json_is_string(json_object_get(result, "state_name")));
	CHECK(json_is_object(json_object_get(result, "state")));
	json_decref(document);
	snprintf(command, sizeof(command), "stop %s", address);
	json_decref(ask_ms(&town, command, 20, &err));
	CHECK_OK(err);
	CHECK_EQ(count_of(&town, "actors puppet"), 2);
	node_destroy(town.node);
}

TEST(an_operator_ends_a_session)
{
	struct town town = town_create();
	enum err err;
	json_t *document = ask_ms(&town, "api sessions", 20, &err);
	json_t *rows = json_object_get(document, "sessions");
	char command[64];

	CHECK_EQ(json_array_size(rows), 2);
	snprintf(command, sizeof(command), "api session-delete %s",
		json_string_value(json_object_get(json_array_get(rows, 0), "id")));
	json_decref(document);
	json_decref(ask_ms(&town, command, 20, &err));
	CHECK_OK(err);
	CHECK_EQ(count_of(&town, "sessions"), 1);
	node_destroy(town.node);
}

/* A process that is up but says nothing is named; the others' answers come all the same. */
TEST(a_silent_process_is_named)
{
	struct town town = town_create();
	enum err err;
	json_t *document;

	node_start(town.node, 3); /* nobody works there: mail to its office bounces */
	document = ask_ms(&town, "actors", 20, &err);
	CHECK_OK(err);
	CHECK_EQ(json_array_size(json_object_get(document, "result")), 8);
	CHECK_STR(json_string_value(json_array_get(json_object_get(document, "silent"), 0)),
		"media.2");
	json_decref(document);
	town.node->deaf = 2; /* hangs: nothing of it is run */
	document = ask_ms(&town, "actors", 2100, &err);
	CHECK_OK(err);
	CHECK_EQ(json_array_size(json_object_get(document, "silent")), 2);
	CHECK_EQ(json_array_size(json_object_get(document, "result")), 6);
	json_decref(document);
	node_destroy(town.node);
}

/* Load reports find their way; sessions go to the worker with fewer. */
TEST(placement_hears_from_workers)
{
	struct town town = town_create();

	puppet_new(town.worker[0], "one more");
	node_run_ms(town.node, 600);
	for (int i = 0; i < 3; i++) {
		const struct remembered *answer;

		puppet_ask(town.control, town.asker, OFFICE_PLACEMENT, place, {.purpose = "play"});
		node_run_ms(town.node, 5);
		answer = puppet_last(town.control, town.asker);
		CHECK(answer && answer->type == MSG_placed);
		if (i == 0)
			CHECK_EQ(answer->placed.index, 1);
	}
	node_kill(town.node, 1);
	node_kill(town.node, 2);
	puppet_ask(town.control, town.asker, OFFICE_PLACEMENT, place, {.purpose = "play"});
	node_run_ms(town.node, 5);
	const struct remembered *answer = puppet_last(town.control, town.asker);
	CHECK(answer && answer->type == MSG_failed);
	CHECK_EQ(answer->failed.err, ERR_OVERLOAD);
	CHECK(answer->failed.retry_after_ms > 0);
	node_destroy(town.node);
}

/* Connections end with their process; what was counted stays. */
static void same_repl(const void *before_, const void *now_)
{
	struct repl_state before = *(const struct repl_state *)before_;

	CHECK_EQ(before.connections, 1);
	before.connections = 0;
	CHECK_MEM(now_, &before, sizeof(before));
}

/* Pages begin anew: another epoch, nothing known yet; what was counted stays. */
static void same_board(const void *before_, const void *now_)
{
	const struct board_state *before = before_, *now = now_;

	CHECK_EQ(before->waiting, 1);
	CHECK_EQ(now->waiting, 0);
	CHECK_EQ(now->seq, 0);
	CHECK(now->epoch && now->epoch != before->epoch);
	CHECK_EQ(now->snapshots, before->snapshots);
}

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_CLUSTER(SUCCESSOR_ROW)
	{NULL, NULL},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

/* With a question under way: what it waited for is remembered. */
TEST(the_offices_come_back_in_another_process)
{
	struct town town = town_create();
	struct net_addr peer = {0};
	uint64_t repl = (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_REPL;

	CHECK_OK(actor_spawn_office(town.control, OFFICE_REPL, &repl_actor, NULL));
	runtime_net_accepted(town.control, repl, 1, 2, &peer);
	CHECK_OK(actor_spawn_office(town.control, OFFICE_BOARD, &board_actor, NULL));
	CHECK_EQ(count_of(&town, "actors"), 10);
	town.node->deaf = 2;
	puppet_ask(town.control, town.asker, OFFICE_BOARD, board_next, {.epoch = 0});
	node_run_ms(town.node, 100);
	const struct remembered *page = puppet_last(town.control, town.asker);

	CHECK(page && page->type == MSG_board_update);
	puppet_ask(town.control, town.asker, OFFICE_BOARD, board_next,
		{.epoch = page->updated.epoch, .seen = page->updated.seq});
	puppet_ask(town.control, town.asker, OFFICE_CONSOLE, console_query,
		{
			.command = {"actors", 6}
	});
	node_run_ms(town.node, 20);
	CHECK(!puppet_last(town.control, town.asker));
	/* somebody watches: the successor ends that, the actor did not come along */
	uint64_t worker = town.puppet[0].id >> RUNTIME_BLOCK_SHIFT << RUNTIME_BLOCK_SHIFT;
	struct process_office_state *office =
		actor_data(runtime_find(town.worker[0], worker | OFFICE_PROCESS));
	office->follows[office->follows_count++] =
		(struct follow){.id = 5, .follower = town.asker, .who = town.puppet[0]};
	CHECK_EQ(successor_run(&kit, town.control, NULL, 0, 0), 4);
	CHECK_EQ(successor_run(&kit, town.worker[0], NULL, 0, 0), 1);
	successor_check_rows(&kit);
	node_destroy(town.node);
}
