/* SPDX-License-Identifier: Apache-2.0
 *
 * A media helper: its offices, and the types of actors that live in it. What is costly or may crash
 * on a stranger's bytes (libav code) runs here, apart from the workers.
 */
#include "actors/transcode/libav.h"
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

/* Before there is anything to wait for it. Without it only AAC is refused. */
static void load_codecs(const struct process_env *env)
{
	struct log log;

	if (!libav_open())
		return;
	process_log_init(env, &log);
	log_error(&log, "codecs_not_loaded", "reason", libav_error());
	log_flush(&log);
}

int helper_main(const struct process_env *env)
{
	load_codecs(env);
	return live_run(env, &helper_program);
}
