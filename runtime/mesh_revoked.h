/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that are let in no more, of nodes and operators, as this node keeps them:
 *
 *   DATA-DIR/mesh-revoked   one a line, 64 hexadecimal digits, 0600; only ever added to
 *
 * What others have revoked is written here too, so that it counts when the store is gone or was emptied.
 * Blocks on the file: for commands, the start of a process, and now and then when it has changed.
 */
#ifndef MILLRACE_MESH_REVOKED_H
#define MILLRACE_MESH_REVOKED_H

#include "runtime/mesh_certificate.h"
#include "schemas/schema.h"

struct mesh_revoked_list {
	uint32_t count, damaged; /* lines that are no key, or one too many */
	uint8_t keys[MESH_REVOKED_MAX][MESH_KEY_SIZE];
};

/* No file: an empty list. ERR_IO. */
enum err mesh_revoked_read(const char *data_dir, struct mesh_revoked_list *list);
/* ERR_EXISTS: it is there; ERR_LIMIT: MESH_REVOKED_MAX are; ERR_IO. */
enum err mesh_revoked_add(const char *data_dir, const uint8_t key[MESH_KEY_SIZE]);
/* When the file was last changed, as one number that differs from the one before. */
uint64_t mesh_revoked_stamp(const char *data_dir);

#endif
