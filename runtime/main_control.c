/* SPDX-License-Identifier: Apache-2.0
 *
 * The control process: the offices of the node, in the order in which they need each other.
 */
#include "cluster/cluster.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

static const struct {
	enum office office;
	const struct actor_type *type;
} offices[] = {
	// clang-format off
	{OFFICE_STORE, &store_local_actor},
	{OFFICE_DIRECTORY, &directory_actor},
	{OFFICE_PLACEMENT, &placement_actor},
	{OFFICE_CONSOLE, &console_actor},
	{OFFICE_REPL, &repl_actor},
	{OFFICE_PROCESS, &process_office_actor},
	// clang-format on
};

static const struct actor_type *const types[] = {
	&store_local_actor,
	&directory_actor,
	&placement_actor,
	&console_actor,
	&repl_actor,
	&process_office_actor,
	NULL,
};

static enum err start(struct runtime *rt, const struct process_env *env)
{
	enum err err = ERR_OK;

	(void)env;
	for (size_t i = 0; i < sizeof(offices) / sizeof(offices[0]) && !err; i++)
		err = actor_spawn_office(rt, offices[i].office, offices[i].type, NULL);
	return err;
}

int control_main(const struct process_env *env)
{
	return live_run(env, &(struct live_program){.types = types, .start = start});
}
