/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration from the store: what is taken, refused, and said to the supervisor.
 */
#include "runtime/config.h"
#include "tests/unit/cluster_node.h"
#include "tests/unit/successor.h"

enum { COMMANDS = 64 };

static struct {
	char text
		[COMMANDS]
		[PROCESS_TEXT_SIZE]; /* what the supervisor was told, since it was last asked for */
	int count;
	bool full; /* its socket is */
} supervisor;

static enum err supervisor_tell(void *context, const struct process_command *command)
{
	(void)context;
	if (supervisor.full)
		return ERR_AGAIN;
	CHECK_EQ(command->op, PROCESS_SET);
	CHECK(supervisor.count < COMMANDS);
	text_copy(supervisor.text[supervisor.count++], sizeof(supervisor.text[0]), command->text);
	return ERR_OK;
}

/* "key=value", or "key": was that the last word on this key? */
static bool told(const char *setting)
{
	size_t key = strcspn(setting, "=");
	bool found = false;

	for (int i = 0; i < supervisor.count; i++)
		if (strcspn(supervisor.text[i], "=") == key &&
			!strncmp(supervisor.text[i], setting, key))
			found = !strcmp(supervisor.text[i], setting);
	return found;
}

/* Each key that may change was spoken of, and the cluster has a value of none. */
static bool told_of_none(void)
{
	int count = 0;

	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (config_row(key)->flags & CONFIG_RELOAD) {
			count++;
			if (!told(config_row(key)->key))
				return false;
		}
	return count == supervisor.count;
}

struct town {
	struct node *node;
	struct runtime *rt;
	struct addr puppet;
	struct runtime_ops ops;
};

static void town_begin(struct town *town)
{
	memset(&supervisor, 0, sizeof(supervisor));
	*town = (struct town){.node = node_create(), .ops = node_ops};
	town->ops.supervisor_tell = supervisor_tell;
	town->node->ops = &town->ops;
	town->rt = node_start(town->node, 0);
	CHECK_OK(actor_spawn_office(town->rt, OFFICE_STORE, &store_local_actor, NULL));
	town->puppet = puppet_new(town->rt, "operator");
}

static void open_office(struct town *town)
{
	CHECK_OK(actor_spawn_office(town->rt, OFFICE_SETTINGS, &settings_actor, NULL));
	node_run_ms(town->node, 5);
}

static void put(struct town *town, const char *key, const char *value)
{
	struct msg_store_put m = {.value.size = (uint16_t)strlen(value)};

	text_copy(m.key, sizeof(m.key), key);
	memcpy(m.value.data, value, strlen(value));
	supervisor.count = 0;
	puppet_ask_with(town->rt, town->puppet, OFFICE_STORE, store_put, &m);
	node_run_ms(town->node, 5);
}

static void look(struct actor *self, void *data, void *context)
{
	(void)self;
	*(struct settings_state **)context = data;
}

static const struct settings_state *settings_of(struct town *town)
{
	struct addr addr = {
		.node = NODE_ID, .id = (uint64_t)1 << RUNTIME_BLOCK_SHIFT | OFFICE_SETTINGS};
	struct settings_state *st = NULL;

	CHECK(actor_call(town->rt, addr, &settings_actor, look, &st));
	return st;
}

TEST(values_are_taken_changed_and_given_back)
{
	struct town town;

	town_begin(&town);
	put(&town, "config/log.level", "debug");
	put(&town, "node/1", "not ours");
	open_office(&town);
	CHECK(told("log.level=debug"));
	put(&town, "config/log.level", "warn");
	CHECK(told("log.level=warn") && !told("log.level=debug"));
	put(&town, "config/placement.rebalance", "false");
	CHECK(told("log.level=warn") && told("placement.rebalance=false"));
	supervisor.count = 0;
	puppet_ask(town.rt, town.puppet, OFFICE_STORE, store_delete, {.key = "config/log.level"});
	node_run_ms(town.node, 5);
	CHECK(told("log.level") && told("placement.rebalance=false"));
	CHECK_EQ(settings_of(&town)->settings_count, 1);
	CHECK_EQ(settings_of(&town)->taken, 3);
	node_destroy(town.node);
}

TEST(wrong_values_change_nothing)
{
	static const struct {
		const char *key, *value, *why;
	} rows[] = {
		{"config/log.levle",	     "debug",    "no such key"		   },
		{"config/http.port",	     "80",	   "at a start only"	    },
		{"config/admin_token",     "secret",	 "at a start only"	  },
		{"config/log.level",	     "loud",     "expected"		       },
		{"config/log.level",	     "",	 "expected"		   },
		{"config/link.mode",	     "both",     "smart|race|backup"	},
		{"config/link.modes",      "a/b",	     "PATTERN=WORD"		   },
		{"config/link.modes",      "a/*=both", "PATTERN=WORD"		},
		{"config/link.tiers",      "a/*=race", "live|interactive|relaxed"},
		{"config/link.redundancy", "51",	 "from 0 to 50"	       },
		{"config/link.recover_ms", "10ms",	   "from 20ms"		      },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct town town;

		town_begin(&town);
		open_office(&town);
		put(&town, rows[i].key, rows[i].value);
		CHECK(told_of_none());
		CHECK_EQ(settings_of(&town)->refused, 1);
		CHECK(!settings_of(&town)->settings[0].taken);
		CHECK(strstr(settings_of(&town)->settings[0].why, rows[i].why));
		node_destroy(town.node);
	}
}

TEST(what_held_before_holds_on)
{
	struct town town;
	char long_value[300];

	town_begin(&town);
	open_office(&town);
	put(&town, "config/log.level", "debug");
	put(&town, "config/log.level", "loud");
	CHECK(told("log.level=debug"));
	CHECK(strstr(settings_of(&town)->settings[0].why, "expected"));
	memset(long_value, 'x', sizeof(long_value));
	long_value[sizeof(long_value) - 1] = 0;
	put(&town, "config/log.level", long_value);
	CHECK(told("log.level=debug"));
	CHECK_EQ(settings_of(&town)->refused, 2);
	node_destroy(town.node);
}

TEST(the_longest_rules_are_taken)
{
	struct town town;
	char value[STORE_VALUE_MAX + 1] = "", setting[PROCESS_TEXT_SIZE];

	for (size_t at = 0; at + 20 < sizeof(value);)
		at += (size_t)snprintf(
			value + at, sizeof(value) - at, "%slive/%03zu*=backup", at ? "," : "", at);
	CHECK_GE(strlen(value), STORE_VALUE_MAX - 20);
	snprintf(setting, sizeof(setting), "link.modes=%s", value);
	town_begin(&town);
	open_office(&town);
	put(&town, "config/link.modes", value);
	CHECK(told(setting));
	node_destroy(town.node);
}

TEST(it_is_bounded)
{
	struct town town;
	char key[120];

	town_begin(&town);
	open_office(&town);
	for (int i = 0; i < 80; i++) {
		snprintf(key, sizeof(key), "config/nothing.%d", i);
		put(&town, key, "x");
	}
	CHECK_EQ(settings_of(&town)->settings_count, SETTINGS_MAX);
	CHECK_EQ(settings_of(&town)->refused, 80);
	snprintf(key, sizeof(key), "config/%0100d", 0);
	put(&town, key, "x");
	CHECK_EQ(settings_of(&town)->refused, 81);
	node_destroy(town.node);
}

TEST(a_supervisor_that_is_busy_is_told_later)
{
	struct town town;

	town_begin(&town);
	open_office(&town);
	supervisor.full = true;
	put(&town, "config/log.level", "debug");
	CHECK_EQ(supervisor.count, 0);
	supervisor.full = false;
	node_run_ms(town.node, 350);
	CHECK(told("log.level=debug"));
	node_destroy(town.node);
}

/* ---- takeover ---------------------------------------------------------------------------------- */

static const struct successor_row successor_rows[] = {
	// clang-format off
	RESTORED_BY_SETTINGS(SUCCESSOR_ROW)
	{0},
	// clang-format on
};

static const struct successor_kit kit = {.rows = successor_rows, .ops = &successor_ops};

TEST(the_successor)
{
	successor_main(&kit);
}

TEST(another_process_has_the_same)
{
	struct town town;

	town_begin(&town);
	open_office(&town);
	put(&town, "config/log.level", "debug");
	CHECK_EQ(successor_run(&kit, town.rt, NULL, 0, 0), 1);
	successor_check_rows(&kit);
	node_destroy(town.node);
}

/* ---- the console ------------------------------------------------------------------------------- */

static const char *console(struct town *town, const char *command)
{
	const struct remembered *answer;

	puppet_ask(town->rt, town->puppet, OFFICE_CONSOLE, console_query,
		{
			.command = {command, (uint32_t)strlen(command)}
	       });
	node_run_ms(town->node, 20);
	answer = puppet_last(town->rt, town->puppet);
	return answer && answer->type == MSG_console_answer ? answer->json : "no answer";
}

TEST(the_console_shows_and_changes_them)
{
	static const struct {
		const char *command;
		const char *says[2];
	} rows[] = {
	// clang-format off
		{"config log.level", {"\"value\":\"warn\"", "\"source\":\"flag\",\"change\":\"live\""}},
		{"config http", {"\"key\":\"http.port\",\"value\":\"8080\",\"source\":\"default\",\"change\":\"restart\"", "http.requests_per_s_max"}},
		{"config admin_token", {"\"value\":\"(secret)\"", "\"source\":\"file\""}},
		{"config", {"\"key\":\"node.name\"", "\"key\":\"log.level\""}},
		{"config nothing.such", {"not_found", "no key begins so"}},
		{"config a b", {"\"format\"", "expected: config"}},
		{"config set", {"\"format\"", "expected: config"}},
		{"config set log.level", {"\"format\"", "expected: config"}},
		{"config unset", {"\"format\"", "expected: config"}},
		{"config unset log.level now", {"\"format\"", "expected: config"}},
		{"config set nothing.such 1", {"not_found", "no such key"}},
		{"config set admin_token x", {"\"config\"", "a secret"}},
		{"config unset token.key", {"\"config\"", "a secret"}},
		{"config set http.port 80", {"\"config\"", "restart the node"}},
		{"config set log.level loud", {"\"config\"", "log.level: expected"}},
		{"config set link.mode both", {"\"config\"", "expected one of smart|race|backup"}},
		{"config set link.modes vip", {"\"config\"", "expected a list of PATTERN=WORD"}},
		{"config set link.redundancy 3%", {"\"config\"", "expected a whole number from 0 to 50"}},
		{"config link.mode", {"\"value\":\"smart\"", "\"source\":\"default\",\"change\":\"live\""}},
		{"config set link.modes vip/*=race,radio/*=backup", {"\"ok\":true", "\"set\":\"link.modes\""}},
		{"config link.modes", {"vip/*=race,radio/*=backup", "\"source\":\"cluster\""}},
		{"config unset log.level", {"not_found", "the cluster says nothing"}},
		{"config set log.level debug", {"\"ok\":true", "\"set\":\"log.level\""}},
		{"config log.level", {"\"value\":\"debug\"", "\"source\":\"cluster\""}},
		{"config log.level", {"\"value\":\"debug\"", "\"source\":\"cluster\""}},
		{"config unset log.level", {"\"ok\":true", "\"unset\":\"log.level\""}},
		{"config log.level", {"\"value\":\"warn\"", "\"source\":\"flag\""}},
	// clang-format on
	};
	static struct config config;
	struct config_report report;
	struct town town;

	config_init(&config, &report);
	CHECK_OK(config_set(&config, "coord", "etcd://here:1", CONFIG_FROM_FLAG, "", &report));
	CHECK_OK(config_set(&config, "log.level", "warn", CONFIG_FROM_FLAG, "", &report));
	CHECK_OK(config_set(&config, "admin_token", "0123456789abcdef0123456789abcdef",
		CONFIG_FROM_FILE, "", &report));
	memset(&supervisor, 0, sizeof(supervisor));
	town = (struct town){.node = node_create(), .ops = node_ops};
	town.ops.supervisor_tell = supervisor_tell;
	town.node->ops = &town.ops;
	town.node->config = &config;
	town.rt = node_start(town.node, 0);
	CHECK_OK(actor_spawn_office(town.rt, OFFICE_STORE, &store_local_actor, NULL));
	CHECK_OK(actor_spawn_office(town.rt, OFFICE_CONSOLE, &console_actor, NULL));
	town.puppet = puppet_new(town.rt, "operator");
	open_office(&town);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *answer = console(&town, rows[i].command);

		for (int k = 0; k < 2; k++)
			if (!strstr(answer, rows[i].says[k]))
				fail_msg("%s: no %s in %s", rows[i].command, rows[i].says[k],
					answer);
	}
	node_destroy(town.node);
}
