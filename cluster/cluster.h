/* SPDX-License-Identifier: Apache-2.0
 *
 * The offices of the control process, all spawned under their well-known addresses
 * (runtime/actor.h, enum office), in this order.
 */
#ifndef MILLRACE_CLUSTER_H
#define MILLRACE_CLUSTER_H

#include "runtime/actor.h"

/* OFFICE_STORE: pairs under leases, see cluster/store.h. No arguments. */
extern const struct actor_type store_local_actor;
/* The same, agreed on in etcd (coord etcd://…). No arguments. */
extern const struct actor_type store_etcd_actor;

/* OFFICE_DIRECTORY: who owns a name (messages name_*). No arguments. */
extern const struct actor_type directory_actor;

/* OFFICE_SETTINGS: configuration from the store (keys config/KEY). No arguments. */
extern const struct actor_type settings_actor;

/* OFFICE_PLACEMENT: which worker, or other node, takes a new session (place, load_report, node_standing).
 * No arguments. */
extern const struct actor_type placement_actor;

/* OFFICE_MESH: the nodes of the cluster (nodes_ask). No arguments. */
extern const struct actor_type mesh_actor;

/* OFFICE_RELAY: from whom the node gets a stream of another node (schemas/relay.def). No arguments. */
extern const struct actor_type relay_actor;

/* OFFICE_CONSOLE: answers console_query of the REPL and the API. No arguments. */
extern const struct actor_type console_actor;

/* OFFICE_REPL: console connections over the socket NET_REPL. No arguments. */
extern const struct actor_type repl_actor;

/* OFFICE_BOARD: what the node looks like, for pages (board_next). No arguments. */
extern const struct actor_type board_actor;

/* OFFICE_BRAIN: plans the paths between nodes, when it is elected (node_report, path_query). No arguments. */
extern const struct actor_type brain_actor;

/* OFFICE_ROUTES: over which nodes another one is reached (route_ask, link_report). No arguments. */
extern const struct actor_type routes_actor;

#endif
