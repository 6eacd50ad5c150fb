/* SPDX-License-Identifier: Apache-2.0
 *
 * The consoles of ten nodes: what one is told of the others. Streams are puppets: n0 has the origin, n2
 * copies it, n4 copies n2; frames take 5 ms from each to the next, and clocks are seconds apart.
 */
#include "runtime/process_office.h"
#include "tests/unit/cluster_land.h"

#include <jansson.h>

enum {
	PAGE = 4,
	FRAMES_TOLD = 10,
	HOP_US = 5000,
	RTT_US = 8000,
	SECOND_US = 1000000,
	LONG_MS = 4000, /* for a node that does not answer */
};

static enum err clerk_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

/* ---- the mesh office: knows everybody, also who is gone ------------------------------------------ */

struct mesh_clerk {
	struct name_row state;
};

static bool says_down; /* of n9 */

ON(mesh_clerk, nodes_ask)
{
	static struct msg_nodes_told answer;
	struct msg_nodes_told *told = &answer;
	unsigned own = node_of(actor_addr(self).node);
	unsigned i = m->after ? node_of(m->after) + 1 : 0;

	told->nodes_count = 0;
	for (; i < NODES && told->nodes_count < PAGE; i++) {
		struct node_row *row = &told->nodes[told->nodes_count++];

		*row = (struct node_row){.node = id_of(i), .state = MESH_UP};
		snprintf(row->record.name, sizeof(row->record.name), "n%u", i == 8 ? 7 : i);
		if (i == 9 && says_down)
			row->state = MESH_DOWN;
		row->rtt_us = i == own ? 0 : RTT_US;
		row->offset_us = ((int64_t)i - own) * SECOND_US;
	}
	told->more = i < NODES;
	return actor_answer_mail(self, actor_asker(self), MSG_nodes_told, &schema_nodes_told, told);
}

static const struct handler mesh_clerk_handlers[] = {HANDLER(mesh_clerk, nodes_ask, 0)};

static const struct actor_type mesh_clerk_actor = {
	.name = "mesh_clerk",
	.size = sizeof(struct mesh_clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(mesh_clerk_handlers),
	.init = clerk_init,
};

/* ---- the relay office: n2 and n4 have a way ------------------------------------------------------- */

static struct addr copies[NODES];

static uint32_t changes_asked; /* how many of each kind */

struct relay_clerk {
	struct name_row state;
};

ON(relay_clerk, relay_list)
{
	struct msg_relay_told *told = calloc(1, sizeof(*told));
	unsigned own = node_of(actor_addr(self).node);
	struct relay_row *row = &told->rows[0];

	if ((own == 2 || own == 4) && !strcmp(m->stream_name, "live/x")) {
		told->rows_count = 1;
		*row = (struct relay_row){.owner = copies[0],
			.entry = copies[own],
			.source = copies[own - 2],
			.path_count = (uint16_t)(own / 2),
			.changes = own};
		for (unsigned i = 0; i < own / 2; i++)
			row->path[i].node = id_of(own - 2 - 2 * i);
	}
	actor_answer_mail(self, actor_asker(self), MSG_relay_told, &schema_relay_told, told);
	free(told);
	return ERR_OK;
}

/* n2 has had live/x from n0 since second 2, n4 over n2 since second 4, and the way to n0 has changed with it. */
ON(relay_clerk, relay_changes_ask)
{
	struct msg_relay_changes_told *told = calloc(1, sizeof(*told));
	unsigned own = node_of(actor_addr(self).node);

	changes_asked = m->max;
	for (unsigned i = 0; (own == 2 || own == 4) && i < 2; i++) {
		struct relay_change *change = &told->changes[told->changes_count++];

		*change = (struct relay_change){.number = 2 - i,
			.at_us = actor_wall_us(self) - actor_wall_us(self) % SECOND_US -
				 20 * SECOND_US + (int64_t)own * SECOND_US,
			.origin = id_of(0),
			.before_count = 1,
			.before = {{id_of(9)}},
			.after_count = (uint16_t)(own / 2),
			.why = RELAY_WHY_DOUBTFUL};
		text_copy(change->stream_name, sizeof(change->stream_name), i ? "" : "live/x");
		for (unsigned k = 0; k < own / 2; k++)
			change->after[k].node = id_of(own - 2 - 2 * k);
	}
	actor_answer_mail(
		self, actor_asker(self), MSG_relay_changes_told, &schema_relay_changes_told, told);
	free(told);
	return ERR_OK;
}

static const struct handler relay_clerk_handlers[] = {
	HANDLER(relay_clerk, relay_list, 0),
	HANDLER(relay_clerk, relay_changes_ask, 0),
};

static const struct actor_type relay_clerk_actor = {
	.name = "relay_clerk",
	.size = sizeof(struct relay_clerk),
	.state = &schema_name_row,
	HANDLER_TABLE(relay_clerk_handlers),
	.init = clerk_init,
};

/* ---- a stream ------------------------------------------------------------------------------------ */

struct pipe {
	struct stream_state st;
};

ON(pipe, stream_trace)
{
	struct msg_stream_traced *told = calloc(1, sizeof(*told));
	unsigned own = node_of(actor_addr(self).node);

	/* each has missed one that the others have */
	for (unsigned i = own; i < own + FRAMES_TOLD; i++)
		told->frames[told->frames_count++] = (struct traced_frame){
			.capture_us = 33000 * (int64_t)i,
			.at_us = 1800000000000000 + 33000 * (int64_t)i + HOP_US * (own / 2) +
				 (int64_t)own * SECOND_US,
		};
	told->viewers = own;
	actor_answer_mail(self, actor_asker(self), MSG_stream_traced, &schema_stream_traced, told);
	free(told);
	return ERR_OK;
}

static enum err pipe_init(struct actor *self, void *data, const void *args)
{
	struct pipe *s = data;
	unsigned own = node_of(actor_addr(self).node);

	(void)args;
	text_copy(s->st.name, sizeof(s->st.name), "live/x");
	s->st.replica = own > 0;
	s->st.source = own ? copies[own - 2] : (struct addr){0};
	return ERR_OK;
}

static const struct handler pipe_handlers[] = {HANDLER(pipe, stream_trace, 0)};

static const struct actor_type pipe_actor = {
	.name = "stream",
	.size = sizeof(struct pipe),
	.state = &schema_stream_state,
	HANDLER_TABLE(pipe_handlers),
	.init = pipe_init,
};

/* ---- asking -------------------------------------------------------------------------------------- */

static void ask_console(struct actor *self, void *data, void *context)
{
	const char *command = context;

	((struct route_watch_test *)data)->console[0] = 0;
	actor_request(self, actor_office(self, OFFICE_CONSOLE), 10000, console_query,
		{
			.command = {command, (uint32_t)strlen(command)}
	       });
}

/* "ok {…}": the error's name, the document. */
static const char *console(unsigned node, const char *command, int ms)
{
	CHECK(actor_call(land->node[node].rt, land->node[node].watcher, &route_watch_test_actor,
		ask_console, (void *)(uintptr_t)command));
	run_ms(ms);
	return watcher_of(node)->console;
}

static json_t *document_of(const char *answer)
{
	const char *begin = strchr(answer, '{');
	json_t *document = begin ? json_loads(begin, 0, NULL) : NULL;

	if (!document)
		fail_msg("no document: %s", answer);
	return document;
}

static void begin(void)
{
	static const struct process_office_args args;

	says_down = false;
	land_create(7);
	set_link(1, 3, RTT_US);
	land_start();
	for (unsigned i = 0; i < NODES; i++) {
		struct runtime *rt = land->node[i].rt;

		CHECK_OK(actor_spawn_office(rt, OFFICE_MESH, &mesh_clerk_actor, NULL));
		CHECK_OK(actor_spawn_office(rt, OFFICE_RELAY, &relay_clerk_actor, NULL));
		CHECK_OK(actor_spawn_office(rt, OFFICE_PROCESS, &process_office_actor, &args));
		copies[i] = (struct addr){0};
		if (i < 6 && is_core(i))
			CHECK_OK(actor_spawn(rt, NULL, &pipe_actor, NULL, &copies[i]));
	}
	run_ms(LINKS_MS + 100);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

TEST(any_node_is_asked_from_any_other)
{
	static const struct {
		const char *command;
		const char *says[3];
	} rows[] = {
		{"on n3 actors linker",	{"ok ", "\"addr\":\"73/", "\"type\":\"linker\""}},
		{"actors linker @n3",	      {"ok ", "\"addr\":\"73/", "\"type\":\"linker\""}},
		{"actors linker @73",	      {"ok ", "\"addr\":\"73/", "\"type\":\"linker\""}},
		{"on n0 nodes",		{"ok ", "\"id\":\"70\"", "\"id\":\"79\""}	 },
		{"on n7 workers",		  {"format", "several nodes", ""}		 },
		{"workers @78",		{"ok ", "", ""}				       },
		{"workers @nowhere",	     {"not_found", "no such node", ""}		      },
		{"on",			{"format", "expected: on NODE COMMAND", ""}	  },
		{"on n3",			  {"format", "expected: on NODE COMMAND", ""}     },
		{"on n3 nonsense",		   {"unsupported", "no such command", ""}		 },
		{"on n3 shutdown",		   {"unsupported", "only tell", ""}		   },
		{"on n3 on n4 actors",	       {"unsupported", "only tell", ""}		       },
		{"on all kill-worker 0",	 {"unsupported", "only tell", ""}		 },
		{"on n3 actors where x",	 {"format", "", ""}				   },
		{"on all actors where x",	  {"format", "", ""}				    },
		{"actors linker @all",	       {"ok ", "\"node\":\"n0\"", "\"node\":\"n9\""}   },
		{"top mailbox @all",	     {"ok ", "\"mailbox\":", ""}			},
		{"paths live/none",	    {"not_found", "nobody publishes", ""}		 },
		{"trace live/none",	    {"not_found", "nobody publishes", ""}		 },
		{"paths live",		       {"format", "expected a stream", ""}		  },
		{"inspect 73/ffff0000000001", {"not_found", "no such actor", ""}		},
	};

	begin();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *answer = console((unsigned)i % NODES, rows[i].command, 1500);

		for (int k = 0; k < 3; k++)
			if (!strstr(answer, rows[i].says[k]))
				fail_msg("%s: no %s in %s", rows[i].command, rows[i].says[k],
					answer);
	}
	land_destroy();
}

TEST(an_actor_of_another_node_is_inspected_there)
{
	char command[80], address[ADDR_TEXT_SIZE];

	begin();
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "%s %s", i ? "why" : "inspect",
			addr_text(copies[4], address));
		const char *answer = console(1, command, 200);

		if (!strstr(answer, "ok ") || !strstr(answer, address))
			fail_msg("%s: %s", command, answer);
	}
	land_destroy();
}

TEST(who_does_not_answer_is_named)
{
	for (int known = 0; known < 2; known++) {
		begin();
		kill_node(9);
		run_ms(known ? MESH_LOST_MS + 500 : 10);
		says_down = known;
		json_t *document =
			document_of(console(2, "actors linker @all", known ? 200 : LONG_MS));

		CHECK_EQ(json_array_size(json_object_get(document, "result")), NODES - 1);
		CHECK_EQ(json_array_size(json_object_get(document, "silent")), 1);
		CHECK_STR(json_string_value(json_array_get(json_object_get(document, "silent"), 0)),
			"n9");
		json_decref(document);
		CHECK(strstr(console(2, "actors linker @n9", known ? 200 : LONG_MS),
			"n9 does not answer"));
		land_destroy();
	}
}

static const json_t *child_of(const json_t *line)
{
	CHECK_EQ(json_array_size(json_object_get(line, "children")), 1);
	return json_array_get(json_object_get(line, "children"), 0);
}

static void check_line(const json_t *line, const char *part, const char *node, const char *way)
{
	const char *told = json_string_value(json_object_get(line, "way"));

	CHECK_STR(json_string_value(json_object_get(line, "part")), part);
	CHECK_STR(json_string_value(json_object_get(line, "node")), node);
	CHECK(!told == !way);
	if (way)
		CHECK_STR(told, way);
}

TEST(paths_of_a_stream_over_the_cluster)
{
	begin();
	for (unsigned i = 0; i < NODES; i++) {
		json_t *document = document_of(console(i, "paths live/x", 300));
		const json_t *line = json_array_get(json_object_get(document, "result"), 0);

		CHECK_EQ(json_array_size(json_object_get(document, "result")), 1);
		check_line(line, "origin", "n0", NULL);
		line = child_of(line);
		check_line(line, "copy", "n2", "n0");
		line = child_of(line);
		check_line(line, "copy", "n4", "n2 > n0");
		CHECK_EQ(json_integer_value(json_object_get(line, "changes")), 4);
		/* nothing is measured here: straight */
		CHECK_STR(json_string_value(json_object_get(line, "planned")), "n0");
		json_decref(document);
	}
	land_destroy();
}

TEST(a_map_has_all_nodes_and_links)
{
	begin();
	kill_node(9);
	json_t *document = document_of(console(4, "map", LONG_MS));
	const json_t *map = json_object_get(document, "result");
	const json_t *nodes = json_object_get(map, "nodes"), *links = json_object_get(map, "links");

	CHECK_EQ(json_array_size(nodes), NODES);
	CHECK_EQ(json_array_size(links), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *link = json_array_get(links, i);

		CHECK_STR(json_string_value(json_object_get(link, "from")), i ? "73" : "71");
		CHECK_STR(json_string_value(json_object_get(link, "to")), i ? "71" : "73");
		CHECK_EQ((int)json_number_value(json_object_get(link, "rtt_ms")), RTT_US / 1000);
	}
	for (size_t i = 0; i < NODES; i++)
		CHECK_EQ(json_is_true(json_object_get(json_array_get(nodes, i), "answers")), i < 9);
	CHECK_STR(json_string_value(json_object_get(json_array_get(nodes, 4), "state")), "here");
	json_decref(document);
	land_destroy();
}

static void check_change(const json_t *row, const char *node, const char *stream, const char *after)
{
	const char *told = json_string_value(json_object_get(row, "stream"));

	CHECK_STR(json_string_value(json_object_get(row, "node")), node);
	CHECK(!told == !stream);
	if (stream)
		CHECK_STR(told, stream);
	CHECK_STR(json_string_value(json_object_get(row, "to")), "n0");
	CHECK_STR(json_string_value(json_object_get(row, "before")), "n9");
	CHECK_STR(json_string_value(json_object_get(row, "after")), after);
	CHECK_STR(json_string_value(json_object_get(row, "why")), "doubtful");
}

TEST(changes_of_all_nodes_as_they_happened)
{
	begin();
	json_t *document = document_of(console(7, "changes", 300));
	const json_t *rows = json_object_get(document, "result");

	CHECK_EQ(json_array_size(rows), 4);
	CHECK_EQ(changes_asked, 0);
	for (size_t i = 0; i < 4; i++) /* of one moment: in the order of its node */
		check_change(json_array_get(rows, i), i < 2 ? "n2" : "n4", i % 2 ? "live/x" : NULL,
			i < 2 ? "n0" : "n2 > n0");
	json_decref(document);
	document = document_of(console(1, "changes live/x", 300));
	rows = json_object_get(document, "result");
	CHECK_EQ(json_array_size(rows), 2);
	for (size_t i = 0; i < 2; i++)
		check_change(
			json_array_get(rows, i), i ? "n4" : "n2", "live/x", i ? "n2 > n0" : "n0");
	json_decref(document);
	CHECK(strstr(console(1, "changes live", 300), "expected: changes"));
	document = document_of(console(3, "map", 300));
	CHECK_EQ(json_array_size(json_object_get(json_object_get(document, "result"), "changes")),
		4);
	CHECK(changes_asked > 0);
	json_decref(document);
	land_destroy();
}

TEST(mail_to_another_node_is_timed)
{
	static const struct {
		const char *command, *says;
	} wrong[] = {
		{"ping",	 "expected: ping"},
		{"ping all",    "expected: ping"},
		{"ping n3 0",   "expected: ping"},
		{"ping n3 201", "expected: ping"},
		{"ping n3 4x",  "expected: ping"},
		{"ping n3 4 5", "expected: ping"},
		{"ping nobody", "no such node"  },
	};

	begin();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(strstr(console(0, wrong[i].command, 100), wrong[i].says));
	for (unsigned node = 2; node < 4; node++) { /* itself, and another */
		json_t *document =
			document_of(console(2, node == 2 ? "ping n2 50" : "ping n3 50", 1000));
		const json_t *told = json_object_get(document, "result");
		double last = 0;
		static const char *const keys[] = {"least_ms", "p50_ms", "p99_ms", "most_ms"};

		CHECK_STR(
			json_string_value(json_object_get(told, "node")), node == 2 ? "n2" : "n3");
		CHECK_EQ(json_integer_value(json_object_get(told, "sent")), 50);
		CHECK_EQ(json_integer_value(json_object_get(told, "answered")), 50);
		for (int i = 0; i < 4; i++) {
			double ms = json_number_value(json_object_get(told, keys[i]));

			CHECK(ms >= last && (node == 2 || ms > 0));
			last = ms;
		}
		json_decref(document);
	}
	kill_node(3);
	CHECK(strstr(console(2, "ping n3", LONG_MS), "n3 does not answer"));
	land_destroy();
}

TEST(one_that_stops_answering_while_it_is_timed)
{
	begin();
	CHECK_STR(console(2, "ping n3 200", 200), "");
	kill_node(3);
	run_ms(2 * LONG_MS);
	json_t *document = document_of(watcher_of(2)->console);
	const json_t *told = json_object_get(document, "result");
	long sent = json_integer_value(json_object_get(told, "sent"));
	long answered = json_integer_value(json_object_get(told, "answered"));

	CHECK(answered > 5 && answered < 25 && sent > answered && sent < 30);
	json_decref(document);
	land_destroy();
}

TEST(hops_of_a_stream_are_timed)
{
	begin();
	for (unsigned i = 0; i < NODES; i += 3) {
		json_t *document = document_of(console(i, "trace live/x", 300));
		const json_t *rows = json_object_get(document, "result");

		CHECK_EQ(json_array_size(rows), 3);
		for (size_t k = 0; k < 3; k++) {
			const json_t *row = json_array_get(rows, k);
			double hop = json_number_value(json_object_get(row, "hop_ms"));
			double whole = json_number_value(json_object_get(row, "since_origin_ms"));
			double right = json_number_value(json_object_get(row, "accurate_to_ms"));

			CHECK_EQ(json_integer_value(json_object_get(row, "frames")), FRAMES_TOLD);
			CHECK_EQ(json_integer_value(json_object_get(row, "viewers")), 2 * k);
			CHECK_EQ((int)(hop * 1000 + 0.5), k ? HOP_US : 0);
			CHECK_EQ((int)(whole * 1000 + 0.5), HOP_US * k);
			if (k) /* half a round trip to either end that is not here */
				CHECK(right <= RTT_US / 1000.0 && right >= RTT_US / 2000.0);
		}
		json_decref(document);
	}
	land_destroy();
}

/* Who cannot be told something is ended by the kernel; of an office the process makes another. */
static void revive_offices(struct runtime *rt)
{
	static const struct process_office_args args;

	(void)actor_spawn_office(rt, OFFICE_CONSOLE, &console_actor, NULL);
	(void)actor_spawn_office(rt, OFFICE_MESH, &mesh_clerk_actor, NULL);
	(void)actor_spawn_office(rt, OFFICE_RELAY, &relay_clerk_actor, NULL);
	(void)actor_spawn_office(rt, OFFICE_PROCESS, &process_office_actor, &args);
}

TEST(without_memory_an_asker_is_answered_all_the_same)
{
	static const char *const commands[] = {"actors linker @all", "paths live/x", "trace live/x",
		"map", "changes", "ping n3 2"};

	begin();
	for (size_t n = 1; n < 60; n++) {
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
			struct node *node = &land->node[0];

			CHECK(actor_call(node->rt, node->watcher, &route_watch_test_actor,
				ask_console, (void *)(uintptr_t)commands[i]));
			test_fail_allocation(n);
			for (int turn = 0; turn < 4; turn++)
				runtime_turn(node->rt);
			test_fail_allocation(0);
			run_ms(100);
		}
	}
	run_ms(LONG_MS);
	revive_offices(land->node[0].rt);
	if (!strstr(console(0, "actors linker @all", 200), "ok "))
		fail_msg("%s", watcher_of(0)->console);
	land_destroy();
}
