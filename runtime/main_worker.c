/* SPDX-License-Identifier: Apache-2.0
 *
 * A media worker, or the spare that will be one: its offices, and the types of actors that live in it.
 */
#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/http/signal.h"
#include "actors/link/link_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/webrtc/session.h"
#include "actors/webrtc/warm.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

static const struct actor_type *const types[] = {
	&media_office_actor,
	&stream_actor,
	&rtmp_office_actor,
	&rtmp_session_actor,
	&http_office_actor,
	&http_connection_actor,
	&signal_channel_actor,
	&flv_mux_actor,
	&rtc_port_actor,
	&session_actor,
	&link_office_actor,
	&media_link_actor,
	&callback_ticket_actor,
	&process_office_actor,
	NULL,
};

/* What placement and the console count as sessions. */
static const struct process_session_kind session_kinds[] = {
	// clang-format off
	{"session", NULL},
	{"rtmp_session", NULL},
	{"http_connection", "streaming"},
	// clang-format on
};

static const struct process_office_args process_args = {
	session_kinds, sizeof(session_kinds) / sizeof(session_kinds[0])};

static const struct live_office offices[] = {
	// clang-format off
	{OFFICE_MEDIA, &media_office_actor, NULL},
	{OFFICE_RTMP, &rtmp_office_actor, NULL},
	{OFFICE_HTTP, &http_office_actor, NULL},
	{OFFICE_RTC, &rtc_port_actor, NULL},
	{OFFICE_LINK, &link_office_actor, NULL},
	{OFFICE_PROCESS, &process_office_actor, &process_args},
	{0},
	// clang-format on
};

const struct live_program worker_program = {
	.types = types, .offices = offices, .warm = webrtc_warm};

int worker_main(const struct process_env *env)
{
	return live_run(env, &worker_program);
}

int spare_main(const struct process_env *env)
{
	return live_run(env, &worker_program);
}
