/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a node's gateway, of a cluster and of its operators, as files:
 *
 *   DATA-DIR/mesh-key          CURVE key pair of the node, in CZMQ's certificate format
 *   DATA-DIR/mesh-key.next     the pair that `ctl keys rotate` made and nobody has signed yet
 *   DATA-DIR/mesh-certificate  what the cluster says of that key, hexadecimal
 *   DATA-DIR/cluster-key       what the cluster signs with, hexadecimal: on one host, better on none
 *   OPERATOR-FILE              an operator's secret CURVE key, certificate and its cluster's public
 *                              key, hexadecimal: all that `millrace repl tcp://…` needs
 *   OPERATOR-FILE.nodes        nodes that were spoken to: address and certificate, a line each
 *
 * All 0600, written whole or not at all. Certificate and key are two files: whoever reads them while
 * they are replaced may see one old and one new, and keeps what it had (`certified` is false then).
 *
 * Blocks on files: for commands and the start of a process, and now and then when they have changed.
 */
#ifndef MILLRACE_MESH_KEYS_H
#define MILLRACE_MESH_KEYS_H

#include "runtime/operator.h"

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

/* ---- operators ------------------------------------------------------------------------------- */

struct operator_keys {
	uint8_t public_key[MESH_KEY_SIZE];
	uint8_t secret_key[MESH_KEY_SIZE];
	uint8_t cluster_key[MESH_KEY_SIZE];
	uint8_t certificate[OPERATOR_CERTIFICATE_SIZE];
	struct operator_certificate says;
};

/* A new pair with what this cluster says of it. ERR_CRYPTO; ERR_FORMAT: the name. */
enum err operator_keys_new(struct operator_keys *keys, const char *name,
	const uint8_t cluster_secret[MESH_KEY_SIZE], int64_t not_after_s, uint64_t serial);
/* A new file: ERR_EXISTS. ERR_IO. */
enum err operator_keys_write(const char *path, const struct operator_keys *keys);
/* ERR_NOT_FOUND; ERR_FORMAT: it is damaged, or no operator's; ERR_IO. */
enum err operator_keys_read(const char *path, struct operator_keys *keys);

/* The key of the node at that address, as the cluster said when it was spoken to last. ERR_NOT_FOUND. */
enum err operator_known_node(const char *path, const struct operator_keys *keys,
	const char *address, int64_t now_s, uint8_t key[MESH_KEY_SIZE]);
/* From now on it is known. ERR_IO, ERR_NO_MEMORY. */
enum err operator_remember_node(
	const char *path, const char *address, const uint8_t certificate[MESH_CERTIFICATE_SIZE]);

/* When the files of a node were last changed, as one number that differs from the one before. */
uint64_t mesh_keys_stamp(const char *data_dir);

#endif
