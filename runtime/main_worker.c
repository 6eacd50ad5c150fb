/* SPDX-License-Identifier: Apache-2.0
 *
 * A media worker: its offices, and the types of actors that live in it.
 */
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/webrtc/session.h"
#include "runtime/live.h"

static const struct {
	enum office office;
	const struct actor_type *type;
} offices[] = {
	{OFFICE_MEDIA, &media_office_actor},
	{OFFICE_RTMP, &rtmp_office_actor},
	{OFFICE_RTC, &rtc_port_actor},
};

static const struct actor_type *const types[] = {
	&media_office_actor,
	&stream_actor,
	&rtmp_office_actor,
	&rtmp_session_actor,
	&rtc_port_actor,
	&session_actor,
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

int worker_main(const struct process_env *env)
{
	return live_run(env, &(struct live_program){.types = types, .start = start});
}
