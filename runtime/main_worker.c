/* SPDX-License-Identifier: Apache-2.0
 *
 * A media worker: its offices, and the types of actors that live in it.
 */
#include "actors/http/http_actor.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/webrtc/session.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

static const struct {
	enum office office;
	const struct actor_type *type;
} offices[] = {
	{OFFICE_MEDIA, &media_office_actor},
	{OFFICE_RTMP, &rtmp_office_actor},
	{OFFICE_HTTP, &http_office_actor},
	{OFFICE_RTC, &rtc_port_actor},
};

static const struct actor_type *const types[] = {
	&media_office_actor,
	&stream_actor,
	&rtmp_office_actor,
	&rtmp_session_actor,
	&http_office_actor,
	&http_connection_actor,
	&flv_mux_actor,
	&rtc_port_actor,
	&session_actor,
	&process_office_actor,
	NULL,
};

/* What placement and the console count as sessions. */
static const struct process_session_kind session_kinds[] = {
	{"session", NULL},
	{"rtmp_session", NULL},
	{"http_connection", "streaming"},
};

static enum err start(struct runtime *rt, const struct process_env *env)
{
	enum err err = ERR_OK;

	(void)env;
	for (size_t i = 0; i < sizeof(offices) / sizeof(offices[0]) && !err; i++)
		err = actor_spawn_office(rt, offices[i].office, offices[i].type, NULL);
	return err ? err :
		     actor_spawn_office(rt, OFFICE_PROCESS, &process_office_actor,
			     &(struct process_office_args){session_kinds,
				     sizeof(session_kinds) / sizeof(session_kinds[0])});
}

int worker_main(const struct process_env *env)
{
	return live_run(env, &(struct live_program){.types = types, .start = start});
}
