/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what may change of a cluster's configuration while it runs. Somebody writes values into etcd,
 * or takes them back; the supervisor of each node puts into effect what its settings office tells; when the
 * faults are over all nodes have what etcd has, and where that has nothing, what each began with.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

/* Values as etcd may have them; NULL: the key is taken back. */
static const struct {
	const char *key;
	const char *values[5];
} rows[] = {
	{"link.mode",	      {NULL, "smart", "race", "backup", "both"}			       },
	{"link.modes",      {NULL, "live/s0=race", "live/*=backup", "*=smart,x=race", "live/s1"}},
	{"link.tiers",      {NULL, "live/s0=interactive", "*=relaxed", "live/s1=live", "*=race"}},
	{"link.redundancy", {NULL, "0", "3", "50", "51"}					},
};

enum {
	ROWS = sizeof(rows) / sizeof(rows[0]),
	VALUES = 5,
	WRONG = VALUES - 1,
	CHANGE_MAX_MS = 1500
};

/* ---- the supervisor's part ------------------------------------------------------------------------- */

static void tell_processes(struct sim *sim, uint32_t node)
{
	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];

		if (!process->alive || process->node != node)
			continue;
		runtime_tick(process->rt);
		runtime_configured(process->rt);
		sim_wake(sim, process);
	}
}

enum err sim_settings_obey(struct sim *sim, uint32_t node, const char *setting)
{
	static struct config_report report; /* written, never read */
	const char *equals = strchr(setting, '=');
	size_t length = equals ? (size_t)(equals - setting) : strlen(setting);
	enum config_key key = config_find(setting, length);
	struct config *config = sim_config_of(sim, node);
	struct config before = *config;

	if (key == CONFIG_KEY_COUNT)
		return ERR_NOT_FOUND;
	if (!equals)
		config_copy_key(config, sim_config_at_first(sim, node), key);
	else if (config_set(config, config_row(key)->key, equals + 1, CONFIG_FROM_CLUSTER, "",
			 &report))
		return ERR_CONFIG;
	if (!config_same(config, &before, key)) {
		sim->settings_taken++;
		tell_processes(sim, node);
	}
	return ERR_OK;
}

/* ---- whoever writes, and what must come of it ------------------------------------------------------- */

void sim_settings_change(struct sim *sim)
{
	uint64_t row = rng_below(&sim->settings_rng, ROWS);
	uint64_t value = rng_below(&sim->settings_rng, VALUES);
	char key[64];

	snprintf(key, sizeof(key), "config/%s", rows[row].key);
	sim_note(sim, "setting", row, value);
	sim_etcd_set(sim, key, rows[row].values[value]);
}

static void change_again(struct sim *sim, uint64_t argument)
{
	if (!sim->faults_on)
		return;
	sim_settings_change(sim);
	sim_at(sim, sim->now_us + rng_between(&sim->settings_rng, 1, CHANGE_MAX_MS) * SIM_MS,
		change_again, argument);
}

/* Its own chance: the run is otherwise as it is without. */
void sim_settings_begin(struct sim *sim)
{
	if (!sim->wide)
		return;
	sim->settings_rng = rng_of(sim->options.seed ^ 0x73657474696e6773ull);
	change_again(sim, 0);
}

/* A wrong value leaves the one before it in effect, which may be any; a node that began later has its own. */
static bool is_as_told(
	struct sim *sim, uint32_t node, enum config_key key, const char *told, const char *wrong)
{
	static struct config_report report;
	const struct config *config = sim_config_of(sim, node);
	struct config wanted = *sim_config_at_first(sim, node);

	if (told && !strcmp(told, wrong))
		return true;
	if (told)
		MUST(!config_set(
			&wanted, config_row(key)->key, told, CONFIG_FROM_CLUSTER, "", &report));
	return config_same(config, &wanted, key);
}

void sim_settings_check(struct sim *sim)
{
	char name[64], told[STORE_VALUE_MAX + 1], value[CONFIG_VALUE_MAX + 1];

	for (uint32_t node = 0; node < sim->nodes; node++) {
		for (int i = 0; i < ROWS; i++) {
			enum config_key key = config_find(rows[i].key, strlen(rows[i].key));
			bool is_set;

			snprintf(name, sizeof(name), "config/%s", rows[i].key);
			is_set = sim_etcd_get(sim, name, told, sizeof(told));
			SIM_CHECK(sim,
				is_as_told(sim, node, key, is_set ? told : NULL,
					rows[i].values[WRONG]),
				"node %u has %s = %s, etcd has %s", node + SIM_NODE, rows[i].key,
				config_value_text(
					sim_config_of(sim, node), key, value, sizeof(value)),
				is_set ? told : "none");
		}
	}
}
