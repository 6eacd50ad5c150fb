/* SPDX-License-Identifier: Apache-2.0
 *
 * A media helper: its offices, and the types of actors that live in it. What is costly or may crash
 * on a stranger's bytes (libav code) runs here, apart from the workers.
 */
#include "actors/transcode/transcode_actor.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

static const struct live_office offices[] = {
	// clang-format off
	{OFFICE_TRANSCODE, &transcode_office_actor, NULL},
	{OFFICE_PROCESS, &process_office_actor, NULL},
	{0},
	// clang-format on
};

static const struct actor_type *const types[] = {
	&transcode_office_actor,
	&transcoder_actor,
	&process_office_actor,
	NULL,
};

const struct live_program helper_program = {.types = types, .offices = offices};

int helper_main(const struct process_env *env)
{
	return live_run(env, &helper_program);
}
