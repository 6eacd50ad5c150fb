/* SPDX-License-Identifier: Apache-2.0
 *
 * A new type of actor is not forgotten: what the three programs know can be restored, and a test
 * does it in another process (tests/unit/restore_rows.h).
 */
#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/http/signal.h"
#include "actors/link/link_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/stream/stream_actor.h"
#include "actors/transcode/transcode_actor.h"
#include "actors/webrtc/session.h"
#include "cluster/cluster.h"
#include "runtime/live.h"
#include "runtime/process_office.h"
#include "tests/test.h"
#include "tests/unit/restore_rows.h"

#define TYPE(type, same) &(type),

static const struct actor_type *const restored[] = {
	// clang-format off
	RESTORED_BY_SIM(TYPE)
	RESTORED_BY_WEBRTC(TYPE)
	RESTORED_BY_HTTP(TYPE)
	RESTORED_BY_TRANSCODE(TYPE)
	RESTORED_BY_CLUSTER(TYPE)
	RESTORED_BY_BRAIN(TYPE)
	RESTORED_BY_ETCD(TYPE)
	RESTORED_BY_SETTINGS(TYPE)
	RESTORED_BY_MESH(TYPE)
	RESTORED_BY_LINK(TYPE)
	RESTORED_BY_RELAY(TYPE)
	NULL,
	// clang-format on
};

static const struct live_program *const programs[] = {
	&control_program, &worker_program, &helper_program};

enum { PROGRAMS = sizeof(programs) / sizeof(programs[0]) };

static bool is_among(const struct actor_type *type, const struct actor_type *const *types)
{
	while (*types && *types != type)
		types++;
	return *types != NULL;
}

TEST(every_type_of_every_program_is_restored_by_a_test)
{
	for (int i = 0; i < PROGRAMS; i++) {
		const struct actor_type *const *type = programs[i]->types;

		for (; *type; type++) {
			if (!(*type)->restore)
				fail_msg("%s has no restore function", (*type)->name);
			if (!is_among(*type, restored))
				fail_msg("%s has no row in restore_rows.h", (*type)->name);
		}
	}
}

TEST(every_office_is_a_type_its_program_can_restore)
{
	for (int i = 0; i < PROGRAMS; i++)
		for (const struct live_office *office = programs[i]->offices; office->type;
			office++)
			if (!is_among(office->type, programs[i]->types))
				fail_msg("%s is not among the types", office->type->name);
}

TEST(every_row_is_a_type_of_a_program)
{
	for (const struct actor_type *const *type = restored; *type; type++) {
		bool known = false;

		for (int i = 0; i < PROGRAMS; i++)
			known = known || is_among(*type, programs[i]->types);
		if (!known)
			fail_msg("%s is of no program", (*type)->name);
	}
}
