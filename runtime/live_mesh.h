/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh of the live backend (live_mesh.c). In a process that is no gateway, or whose node has no
 * mesh, all of it does nothing. Thread: that of the loop.
 */
#ifndef MILLRACE_LIVE_MESH_H
#define MILLRACE_LIVE_MESH_H

#include "runtime/net_mesh.h"

struct live;

enum err live_mesh_open(struct live *live);
void live_mesh_close(struct live *live);
/* A descriptor of its was readable. */
void live_mesh_event(struct live *live);
/* After every wait. */
void live_mesh_run(struct live *live);
/* When it wants to run; INT64_MAX = never. */
int64_t live_mesh_due_us(const struct live *live);
void live_mesh_report(struct live *live);

/* For struct runtime_ops; context: the struct live. */
enum err live_mesh_take(void *context, uint64_t owner);
enum err live_mesh_learn(void *context, const struct mesh_hint *hint);
void live_mesh_forget(void *context, uint64_t node);
enum err live_mesh_revoke(void *context, const uint8_t key[MESH_KEY_SIZE]);
enum err live_mesh_send(void *context, uint64_t node, const struct iovec *parts, size_t count);
void live_mesh_wanted(void *context, uint64_t node);

#endif
