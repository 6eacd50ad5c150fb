/* SPDX-License-Identifier: Apache-2.0
 *
 * The console's client, when the node is elsewhere: a connection over ZeroMQ with CURVE to its mesh's
 * port, which carries what the Unix socket would (runtime/operator.h, docs/decisions/026).
 *
 *   tcp://HOST:PORT[?key=DIGITS]
 *
 * CURVE wants the node's key before the first byte: it is given, or known from the last time. What the
 * node then shows of itself must be of that key and signed by the operator's cluster, unless the key was
 * given. Owns its ZeroMQ context. Thread: one; calls block, until what they were told at most.
 */
#ifndef MILLRACE_REPL_FAR_H
#define MILLRACE_REPL_FAR_H

#include "runtime/mesh_keys.h"

enum { REPL_FAR_HOST_SIZE = 256, REPL_FAR_WHY_SIZE = 384 };

struct repl_far_address {
	char host[REPL_FAR_HOST_SIZE]; /* without brackets */
	uint16_t port;
	bool has_key;
	uint8_t key[MESH_KEY_SIZE];
};

/* False: it is no such address. */
bool repl_far_parse(const char *text, struct repl_far_address *address);

/* Where the operator's file is: as given, else MILLRACE_OPERATOR, else among the user's configuration.
 * NULL: nowhere. */
const char *repl_far_operator_file(const char *given, char path[MESH_KEYS_PATH_SIZE]);

struct repl_far;

/* The exit status; why[] says what is wrong. `file`: the operator's. */
int repl_far_open(
	struct repl_far **far, const char *address, const char *file, char why[REPL_FAR_WHY_SIZE]);
void repl_far_close(struct repl_far **far);

/* False: the connection has ended. */
bool repl_far_send(struct repl_far *far, const void *bytes, size_t size);

enum repl_far_got { REPL_FAR_TIMEOUT = 0, REPL_FAR_CLOSED = -1, REPL_FAR_INTERRUPTED = -2 };
/* Bytes of the console, or an enum repl_far_got. timeout_ms < 0: waits for ever. */
long repl_far_receive(struct repl_far *far, void *bytes, size_t room, int timeout_ms);

#endif
