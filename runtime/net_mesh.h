/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh as its office sees it (cluster/mesh_actor.c): it tells the transport where nodes may be, and
 * hears what has become of them. Mail to other nodes needs none of this: actor_send does it.
 *
 *   net_mesh_open --> mesh_self (again when this node's key has changed), mesh_node …, mesh_revoked …
 *
 * Thread: that of the gateway, the control process. Nothing blocks.
 */
#ifndef MILLRACE_NET_MESH_H
#define MILLRACE_NET_MESH_H

#include "runtime/actor.h"
#include "runtime/mesh.h"

/* Self hears of nodes from now on. ERR_UNSUPPORTED: this node has no mesh. */
enum err net_mesh_open(struct actor *self);
/* As mesh_learn; ERR_UNSUPPORTED. */
enum err net_mesh_learn(struct actor *self, const struct mesh_hint *hint);
/* As mesh_revoke, and kept beyond this process. ERR_UNSUPPORTED. */
enum err net_mesh_revoke(struct actor *self, const uint8_t key[MESH_KEY_SIZE]);
/* As mesh_forget. */
void net_mesh_forget(struct actor *self, uint64_t node);

#endif
