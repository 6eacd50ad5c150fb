/* SPDX-License-Identifier: Apache-2.0
 *
 * The control process: the offices of the node, in the order in which they need each other; `coord`
 * says which store is the first of them.
 */
#include "actors/callback/callback.h"
#include "cluster/cluster.h"
#include "runtime/config.h"
#include "runtime/live.h"
#include "runtime/process_office.h"

// clang-format off
#define OFFICES_ABOVE                                  \
	{OFFICE_DIRECTORY, &directory_actor, NULL},    \
	{OFFICE_PLACEMENT, &placement_actor, NULL},    \
	{OFFICE_CONSOLE, &console_actor, NULL},        \
	{OFFICE_REPL, &repl_actor, NULL},              \
	{OFFICE_BOARD, &board_actor, NULL},            \
	{OFFICE_CALLBACK, &callback_office_actor, NULL}, \
	{OFFICE_PROCESS, &process_office_actor, NULL}, \
	{0},

static const struct live_office offices[] = {
	{OFFICE_STORE, &store_local_actor, NULL},
	OFFICES_ABOVE
};
static const struct live_office cluster_offices[] = {
	{OFFICE_STORE, &store_etcd_actor, NULL},
	{OFFICE_MESH, &mesh_actor, NULL},
	{OFFICE_ROUTES, &routes_actor, NULL},
	{OFFICE_BRAIN, &brain_actor, NULL},
	{OFFICE_SETTINGS, &settings_actor, NULL},
	{OFFICE_RELAY, &relay_actor, NULL},
	OFFICES_ABOVE
};
// clang-format on

static const struct actor_type *const types[] = {
	&store_local_actor,
	&store_etcd_actor,
	&mesh_actor,
	&settings_actor,
	&relay_actor,
	&directory_actor,
	&placement_actor,
	&console_actor,
	&repl_actor,
	&board_actor,
	&callback_office_actor,
	&callback_actor,
	&routes_actor,
	&brain_actor,
	&process_office_actor,
	NULL,
};

const struct live_program control_program = {.types = types, .offices = offices};
const struct live_program control_cluster_program = {.types = types, .offices = cluster_offices};

int control_main(const struct process_env *env)
{
	bool alone = !strcmp(env->config->coord, "local");

	return live_run(env, alone ? &control_program : &control_cluster_program);
}
