/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a node's gateway and of a cluster, as files:
 *
 *   DATA-DIR/mesh-key          CURVE key pair of the node, in CZMQ's certificate format
 *   DATA-DIR/mesh-key.next     the pair that `ctl keys rotate` made and nobody has signed yet
 *   DATA-DIR/mesh-certificate  what the cluster says of that key, hexadecimal
 *   DATA-DIR/cluster-key       what the cluster signs with, hexadecimal: on one host, better on none
 *
 * All 0600, written whole or not at all. Certificate and key are two files: whoever reads them while
 * they are replaced may see one old and one new, and keeps what it had (`certified` is false then).
 *
 * Blocks on files: for commands and the start of a process, and now and then when they have changed.
 */
#ifndef MILLRACE_MESH_KEYS_H
#define MILLRACE_MESH_KEYS_H

#include "runtime/mesh_certificate.h"

enum { MESH_KEYS_PATH_SIZE = 320 };

struct mesh_keys {
	uint8_t public_key[MESH_KEY_SIZE];
	uint8_t secret_key[MESH_KEY_SIZE];
	bool certified; /* the two below are there, and of this key */
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	struct mesh_certificate says;
};

/* A pair that nobody else has. ERR_CRYPTO. */
enum err mesh_keys_new(struct mesh_keys *keys);

/* ERR_NOT_FOUND: no key; ERR_FORMAT: it is damaged; ERR_IO. */
enum err mesh_keys_read(const char *data_dir, struct mesh_keys *keys);
/* The same of the pair that waits to be signed. */
enum err mesh_keys_read_next(const char *data_dir, struct mesh_keys *keys);

/* The pair, and its certificate if it is certified; one that waited is no more. ERR_IO. */
enum err mesh_keys_write(const char *data_dir, const struct mesh_keys *keys);
enum err mesh_keys_write_next(const char *data_dir, const struct mesh_keys *keys);

/* What this cluster says of the pair: signed and put into `keys`. ERR_CRYPTO, ERR_FORMAT. */
enum err mesh_keys_certify(struct mesh_keys *keys, uint64_t node,
	const uint8_t cluster_secret[MESH_KEY_SIZE], int64_t not_after_s, uint64_t serial);

/* ERR_NOT_FOUND, ERR_FORMAT, ERR_IO. */
enum err mesh_cluster_secret_read(const char *path, uint8_t secret[MESH_KEY_SIZE]);
/* A new file: ERR_EXISTS. */
enum err mesh_cluster_secret_write(const char *path, const uint8_t secret[MESH_KEY_SIZE]);

/* When the files of a node were last changed, as one number that differs from the one before. */
uint64_t mesh_keys_stamp(const char *data_dir);

#endif
