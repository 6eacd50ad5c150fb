/* SPDX-License-Identifier: Apache-2.0
 *
 * Who stands at the mesh's port: the ZAP handler, and the connections of the ROUTER, so that none stays
 * that has not greeted. Of live_mesh.c, which owns the ZeroMQ sockets.
 *
 * CURVE proves a key. The handler hands it on as user id and turns away what no certificate could help;
 * whether it may stay decides its first greeting (mesh.h), which has the certificate: ZAP sees the key
 * alone, and a node must be let in before its record has come, or while the store is down.
 *
 * ZeroMQ has no call to end one connection of a ROUTER, so its descriptor is shut down under it.
 * Thread: that of the loop.
 */
#ifndef MILLRACE_MESH_DOOR_H
#define MILLRACE_MESH_DOOR_H

#include "runtime/mesh.h"

enum {
	MESH_DOOR_GREET_MS = 5000,    /* a connection that has not greeted by then is ended */
	MESH_DOOR_STRANGERS_MAX = 64, /* that have not greeted yet; then the oldest is ended */
	MESH_DOOR_CONNECTIONS_MAX = 1100,
};

struct mesh_connection {
	int fd;
	bool greeted;
	bool refused; /* and was told so */
	int64_t accepted_us;
};

struct mesh_door {
	uint16_t port; /* of the listening socket; set by the owner */
	struct mesh_connection connections[MESH_DOOR_CONNECTIONS_MAX];
	uint32_t count, strangers;
	uint64_t ended;	     /* by us */
	uint64_t left_early; /* without a greeting */
};

/* Takes one event of the ROUTER's monitor; false: there is none. */
bool mesh_door_event(struct mesh_door *door, void *monitor, int64_t now_us);
/* Answers one request of the ZAP socket (a REP); false: there is none. */
bool mesh_door_zap(void *zap, const struct mesh *mesh);

/* The connection with that descriptor has greeted well; has not. */
void mesh_door_greeted(struct mesh_door *door, int fd);
void mesh_door_end(struct mesh_door *door, int fd);
bool mesh_door_has_greeted(const struct mesh_door *door, int fd);
/* It was told that it may not be here, and has until it is late to read that: false when it was told
 * before (mesh_door_end it). */
bool mesh_door_refuse(struct mesh_door *door, int fd);
/* Ends those that are late. */
void mesh_door_tend(struct mesh_door *door, int64_t now_us);
/* The ROUTER is gone, and all of its connections. */
void mesh_door_close(struct mesh_door *door);

#endif
