/* SPDX-License-Identifier: Apache-2.0
 *
 * A media helper: its offices, and the types of actors that live in it. What is costly or may crash
 * on a stranger's bytes (libav code) runs here, apart from the workers.
 */
#include "actors/transcode/transcode_actor.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

static const struct {
	enum office office;
	const struct actor_type *type;
} offices[] = {
	{OFFICE_TRANSCODE, &transcode_office_actor},
	{OFFICE_PROCESS, &process_office_actor},
};

static const struct actor_type *const types[] = {
	&transcode_office_actor,
	&transcoder_actor,
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

int helper_main(const struct process_env *env)
{
	return live_run(env, &(struct live_program){.types = types, .start = start});
}
