/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators at the mesh's port (docs/decisions/026): each has a connection of its own to the node's
 * console, the Unix socket that local ones come by, and what it says is carried there and back. Of
 * live_mesh.c, which owns the ROUTER.
 *
 *   (stranger) --open, certificate good--> there --data--> console, console --data--> there
 *                         \--not good--> refused, told why; let go when it is late (mesh_door.h)
 *   there --its connection ends, the console closes, it asks too much at once--> (gone)
 *
 * Bounded: so many operators, of each one command under way (the console sees to that), one frame
 * that ZeroMQ did not take. Thread: that of the loop. Nothing blocks.
 */
#ifndef MILLRACE_MESH_OPERATORS_H
#define MILLRACE_MESH_OPERATORS_H

#include "runtime/log.h"
#include "runtime/mesh_door.h"
#include "runtime/operator.h"

enum {
	MESH_OPERATORS_MAX =
		8,	     /* fewer than the console takes: those of this host always find room */
	MESH_ROUTE_MAX = 16, /* bytes by which a ROUTER knows a connection */
};

struct mesh_operator {
	bool used;
	int fd;	     /* of its connection; ZeroMQ's */
	int console; /* ours */
	uint8_t route[MESH_ROUTE_MAX];
	size_t route_size;
	uint8_t key[MESH_KEY_SIZE];
	char name[OPERATOR_NAME_SIZE];
	size_t held; /* bytes of `frame` that ZeroMQ did not take yet, 0 = none */
	uint8_t frame[OPERATOR_FRAME_MAX];
};

struct mesh_operators {
	/* set by the owner */
	struct log *log;
	const char *run_dir;
	uint8_t cluster_key[MESH_KEY_SIZE];
	bool has_cluster_key; /* false: nobody can be an operator */
	int epoll;
	uint64_t tag; /* of events of the consoles, edge-triggered */
	/* */
	struct mesh_operator operators[MESH_OPERATORS_MAX];
	uint32_t count;
	uint64_t accepted, refused;
};

/* A frame of kind MESH_FRAME_OPERATOR. */
struct mesh_operator_letter {
	void *router;
	const uint8_t *route;
	size_t route_size;
	const uint8_t *key; /* that its connection has proved */
	int fd;
	const uint8_t *bytes;
	size_t size;
	bool revoked;		    /* that key is let in no more */
	const uint8_t *certificate; /* of this node */
	size_t certificate_size;
	int64_t now_s; /* Unix time */
};
void mesh_operators_frame(struct mesh_operators *all, struct mesh_door *door,
	const struct mesh_operator_letter *letter);

/* Carries what consoles have said. True: there is more; *due_us: when it is to be called again though
 * nothing happens. */
bool mesh_operators_run(struct mesh_operators *all, const struct mesh_door *door, void *router,
	int64_t now_us, int64_t *due_us);

/* That key is let in no more; who has it is let go. */
void mesh_operators_revoke(
	struct mesh_operators *all, void *router, const uint8_t key[MESH_KEY_SIZE]);

/* The ROUTER is about to be closed. */
void mesh_operators_close(struct mesh_operators *all);

#endif
