/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators who come to a node's console from afar (docs/decisions/026): who they are, as the cluster
 * says, and what they and a node say to each other at the mesh's port.
 *
 * A certificate binds a name to the CURVE key of an operator, until a time. It is not a node's (another
 * layout, another purpose of the signature), so neither admits the other:
 *
 *   0        version, 1
 *   1 - 31   name, of the letters that names of nodes are of, zero behind it
 *   32 - 63  CURVE public key of the operator
 *   64 - 71  not after, seconds of Unix time
 *   72 - 79  serial: a later one has a higher one
 *   80 - 143 signature
 *
 * A frame: MESH_FRAME_OPERATOR, a byte of kind, then
 *   open     certificate                                  operator -> node, first
 *   opened   certificate of the node (it may have none)   node -> operator
 *   refused  why (enum err, a byte)                       node -> operator
 *   data     bytes of the console, both ways: what a connection to its Unix socket would have
 *   end      nothing                                      node -> operator: the console has closed
 *
 * Numbers are big-endian. Pure functions; time is an argument. Thread: any.
 */
#ifndef MILLRACE_OPERATOR_H
#define MILLRACE_OPERATOR_H

#include "runtime/mesh_certificate.h"

enum {
	OPERATOR_NAME_SIZE = 32, /* with its NUL */
	OPERATOR_CERTIFICATE_SIZE = 144,
	OPERATOR_CERTIFICATE_TEXT_SIZE = 2 * OPERATOR_CERTIFICATE_SIZE + 1,
	OPERATOR_HEAD_SIZE = 2,
	OPERATOR_DATA_MAX = 16384, /* bytes of the console in one frame */
	OPERATOR_FRAME_MAX = OPERATOR_HEAD_SIZE + OPERATOR_DATA_MAX,
};

struct operator_certificate {
	char name[OPERATOR_NAME_SIZE]; /* never "" */
	uint8_t key[MESH_KEY_SIZE];
	int64_t not_after_s;
	uint64_t serial;
};

bool operator_is_name(const char *name);

/* ERR_CRYPTO; ERR_FORMAT: no name, or a time before 1970. */
enum err operator_certificate_sign(const struct operator_certificate *certificate,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t bytes[OPERATOR_CERTIFICATE_SIZE]);
/* What it says, whoever signed it. ERR_FORMAT, ERR_VERSION. */
enum err operator_certificate_read(
	const void *bytes, size_t size, struct operator_certificate *certificate);
/* The same of one that this cluster signed and that is still good: also ERR_AUTH, ERR_TIMEOUT. */
enum err operator_certificate_verify(const void *bytes, size_t size,
	const uint8_t key[MESH_KEY_SIZE], int64_t now_s, struct operator_certificate *certificate);

enum operator_kind {
	OPERATOR_OPEN = 1,
	OPERATOR_OPENED = 2,
	OPERATOR_REFUSED = 3,
	OPERATOR_DATA = 4,
	OPERATOR_END = 5,
};

struct operator_frame {
	enum operator_kind kind;
	const uint8_t *bytes; /* behind the head; borrowed */
	size_t size;
	enum err err; /* OPERATOR_REFUSED */
};

/* The head of a frame. */
void operator_frame_head(enum operator_kind kind, uint8_t head[OPERATOR_HEAD_SIZE]);
/* ERR_FORMAT: no frame of these, or of a size that its kind does not have. */
enum err operator_frame_read(const uint8_t *bytes, size_t size, struct operator_frame *frame);

#endif
