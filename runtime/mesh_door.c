/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_door.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

enum { MS = 1000 };

/* ---- connections ----------------------------------------------------------------------------- */

static struct mesh_connection *find_connection(struct mesh_door *door, int fd)
{
	for (uint32_t i = 0; i < door->count; i++)
		if (door->connections[i].fd == fd)
			return &door->connections[i];
	return NULL;
}

/* A descriptor may have been closed since, and be something else of this process now. */
static bool is_of_port(const struct mesh_door *door, int fd)
{
	struct sockaddr_in6 name = {0}; /* the port is where IPv4 has it */
	socklen_t size = sizeof(name);

	return !getsockname(fd, (struct sockaddr *)&name, &size) &&
	       (name.sin6_family == AF_INET6 || name.sin6_family == AF_INET) &&
	       ntohs(name.sin6_port) == door->port;
}

/* The descriptor is ZeroMQ's: it is not closed here, only ended, and the I/O thread finds it so. Should
 * it be another connection's by now, that one is made again by its other side. */
void mesh_door_end(struct mesh_door *door, int fd)
{
	if (!is_of_port(door, fd))
		return;
	shutdown(fd, SHUT_RDWR);
	door->ended++;
}

static void forget_connection(struct mesh_door *door, struct mesh_connection *connection)
{
	door->strangers -= !connection->greeted;
	*connection = door->connections[--door->count];
}

static struct mesh_connection *oldest_stranger(struct mesh_door *door)
{
	struct mesh_connection *oldest = NULL;

	for (uint32_t i = 0; i < door->count; i++)
		if (!door->connections[i].greeted &&
			(!oldest || door->connections[i].accepted_us < oldest->accepted_us))
			oldest = &door->connections[i];
	return oldest;
}

static void end_stranger(struct mesh_door *door, struct mesh_connection *connection)
{
	mesh_door_end(door, connection->fd);
	forget_connection(door, connection);
}

static void note_accepted(struct mesh_door *door, int fd, int64_t now_us)
{
	struct mesh_connection *connection = find_connection(door, fd);

	if (connection) /* its end was not told of */
		forget_connection(door, connection);
	if (door->strangers == MESH_DOOR_STRANGERS_MAX)
		end_stranger(door, oldest_stranger(door));
	if (door->count == MESH_DOOR_CONNECTIONS_MAX) {
		mesh_door_end(door, fd);
		return;
	}
	door->connections[door->count++] =
		(struct mesh_connection){.fd = fd, .accepted_us = now_us};
	door->strangers++;
}

void mesh_door_greeted(struct mesh_door *door, int fd)
{
	struct mesh_connection *connection = find_connection(door, fd);

	if (connection && !connection->greeted) {
		connection->greeted = true;
		door->strangers--;
	}
}

bool mesh_door_has_greeted(const struct mesh_door *door, int fd)
{
	for (uint32_t i = 0; i < door->count; i++)
		if (door->connections[i].fd == fd)
			return door->connections[i].greeted;
	return false;
}

bool mesh_door_refuse(struct mesh_door *door, int fd)
{
	struct mesh_connection *connection = find_connection(door, fd);
	bool first = connection && !connection->greeted && !connection->refused;

	if (first)
		connection->refused = true;
	return first;
}

void mesh_door_tend(struct mesh_door *door, int64_t now_us)
{
	struct mesh_connection *oldest;

	while (door->strangers && (oldest = oldest_stranger(door)) &&
		now_us - oldest->accepted_us >= MESH_DOOR_GREET_MS * MS)
		end_stranger(door, oldest);
}

bool mesh_door_event(struct mesh_door *door, void *monitor, int64_t now_us)
{
	struct mesh_connection *connection;
	uint16_t event = 0;
	int32_t value = 0;
	zmq_msg_t part;

	zmq_msg_init(&part);
	if (zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&part);
		return false;
	}
	if (zmq_msg_size(&part) >= sizeof(event) + sizeof(value)) {
		memcpy(&event, zmq_msg_data(&part), sizeof(event));
		memcpy(&value, (uint8_t *)zmq_msg_data(&part) + sizeof(event), sizeof(value));
	}
	while (zmq_msg_more(&part) && zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) >= 0)
		;
	zmq_msg_close(&part);
	switch (event) {
	case ZMQ_EVENT_ACCEPTED: note_accepted(door, value, now_us); break;
	case ZMQ_EVENT_DISCONNECTED:
		connection = find_connection(door, value);
		if (connection) {
			door->left_early += !connection->greeted;
			forget_connection(door, connection);
		}
		break;
	default: break;
	}
	return true;
}

void mesh_door_close(struct mesh_door *door)
{
	door->count = door->strangers = 0;
}

/* ---- ZAP (RFC 27 of ZeroMQ) ------------------------------------------------------------------ */

enum {
	ZAP_VERSION,
	ZAP_ID,
	ZAP_DOMAIN,
	ZAP_ADDRESS,
	ZAP_IDENTITY,
	ZAP_MECHANISM,
	ZAP_KEY,
	ZAP_PARTS
};

struct zap_request {
	uint8_t id[64];
	size_t id_size;
	uint8_t key[MESH_KEY_SIZE];
	bool has_key; /* by CURVE */
};

static void take_zap_part(struct zap_request *request, int number, zmq_msg_t *part)
{
	const void *bytes = zmq_msg_data(part);
	size_t size = zmq_msg_size(part);

	if (number == ZAP_ID && size <= sizeof(request->id)) {
		memcpy(request->id, bytes, size);
		request->id_size = size;
	} else if (number == ZAP_MECHANISM) {
		request->has_key = size == 5 && !memcmp(bytes, "CURVE", 5);
	} else if (number == ZAP_KEY) {
		request->has_key = request->has_key && size == MESH_KEY_SIZE;
		if (request->has_key)
			memcpy(request->key, bytes, MESH_KEY_SIZE);
	}
}

static void answer_zap(void *zap, const struct zap_request *request, bool good)
{
	char user[MESH_KEY_TEXT_SIZE] = "";

	if (good)
		mesh_hex_write(request->key, MESH_KEY_SIZE, user);
	zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
	zmq_send(zap, request->id, request->id_size, ZMQ_SNDMORE);
	zmq_send(zap, good ? "200" : "400", 3, ZMQ_SNDMORE);
	zmq_send(zap, "", 0, ZMQ_SNDMORE);
	zmq_send(zap, user, strlen(user), ZMQ_SNDMORE);
	zmq_send(zap, "", 0, 0);
}

bool mesh_door_zap(void *zap, const struct mesh *mesh)
{
	struct zap_request request = {0};
	int number = 0;
	zmq_msg_t part;
	bool more = true;

	for (; more; number++) {
		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, zap, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			return false;
		}
		more = zmq_msg_more(&part);
		take_zap_part(&request, number, &part);
		zmq_msg_close(&part);
	}
	answer_zap(zap, &request,
		number == ZAP_PARTS && request.has_key && mesh_admits(mesh, request.key));
	return true;
}
