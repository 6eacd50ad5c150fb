/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the network outside of the node. TCP connections from simulated clients to the
 * listeners that actors have taken, and datagrams.
 *
 *   client --write--> under way --pieces of random size, after a while--> arrived --net_read--> actor
 *   client <--read--- arrived   <--------------- the same ---------------- under way <--net_write--
 *
 * TCP loses nothing and keeps its order but comes in any pieces; a send buffer is bounded, so that
 * actors meet "no room now". Datagrams are lost, doubled and overtake each other, in both directions,
 * as the scenario's faults for media say. A datagram goes to a worker's port: to the socket there that is
 * connected to where it comes from, if there is one, else to the one that the node was given. The
 * latter outlives its process, the former does not.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>

enum {
	SOCKETS_MAX = 256,
	SEND_BUFFER = 64 * 1024, /* of an actor's end */
	PIECE_MAX = 4096,
	WAY_US = 2000,
	DETOUR_US = 40000, /* most of a datagram's way that others overtake */
	FLYING_MAX = 1024, /* datagrams under way; more are lost */
};

struct pipe {
	uint8_t *bytes;
	size_t size, capacity;
	size_t arrived; /* of size: readable at the far end */
	bool end;	/* nothing more will be written */
};

enum socket_kind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_UDP, SOCKET_TCP };

struct sim_socket {
	enum socket_kind kind;
	uint32_t incarnation;
	uint64_t owner;
	enum net_given given;
	bool paused;
	bool actor_open, client_open;
	bool moving[2];	    /* an event is scheduled */
	bool claimed, back; /* by a successor; which is to hear so */
	struct net_progress progress;
	unsigned wanted;
	uint16_t port;	      /* UDP */
	struct net_addr peer; /* UDP: all zero when it is not connected */
	struct pipe to_actor, to_client;
};

struct flying_datagram {
	uint16_t port;		 /* that it goes to; 0 = to the outside */
	struct net_addr address; /* outside: where it comes from or goes to */
	uint16_t size;
	uint8_t bytes[];
};

typedef void (*datagram_fn)(
	struct sim *sim, const struct net_addr *to, const void *bytes, size_t size);

struct sim_net {
	struct sim *sim;
	struct sim_socket sockets[SOCKETS_MAX]; /* 0 is never used */
	struct flying_datagram *flying[FLYING_MAX];
	datagram_fn arrived, sent;
};

struct sim_net *sim_net_create(struct sim *sim)
{
	struct sim_net *net = calloc(1, sizeof(*net));

	MUST(net);
	net->sim = sim;
	return net;
}

static void free_socket(struct sim_socket *socket)
{
	free(socket->to_actor.bytes);
	free(socket->to_client.bytes);
	*socket = (struct sim_socket){0};
}

void sim_net_destroy(struct sim_net **net)
{
	for (uint32_t i = 1; *net && i < SOCKETS_MAX; i++)
		free_socket(&(*net)->sockets[i]);
	for (size_t i = 0; *net && i < FLYING_MAX; i++)
		free((*net)->flying[i]);
	free(*net);
	*net = NULL;
}

static struct sim_socket *new_socket(struct sim_net *net, enum socket_kind kind, uint32_t *number)
{
	for (uint32_t i = 1; i < SOCKETS_MAX; i++) {
		if (net->sockets[i].kind == SOCKET_FREE) {
			*number = i;
			net->sockets[i].kind = kind;
			return &net->sockets[i];
		}
	}
	*number = 0;
	return NULL;
}

static struct sim_socket *socket_at(struct sim_net *net, uint32_t number, enum socket_kind kind)
{
	return number && number < SOCKETS_MAX && net->sockets[number].kind == kind
		       ? &net->sockets[number]
		       : NULL;
}

/* ---- bytes in pieces ---------------------------------------------------------------------------- */

static void pipe_write(struct pipe *pipe, const void *bytes, size_t size)
{
	if (pipe->size + size > pipe->capacity) {
		pipe->capacity = (pipe->size + size) * 2;
		pipe->bytes = realloc(pipe->bytes, pipe->capacity);
		MUST(pipe->bytes);
	}
	if (size) /* (without any there may be no memory yet) */
		memcpy(pipe->bytes + pipe->size, bytes, size);
	pipe->size += size;
}

static size_t pipe_read(struct pipe *pipe, void *bytes, size_t size)
{
	if (size > pipe->arrived)
		size = pipe->arrived;
	if (!size)
		return 0; /* it may have no memory yet */
	memcpy(bytes, pipe->bytes, size);
	memmove(pipe->bytes, pipe->bytes + size, pipe->size - size);
	pipe->size -= size;
	pipe->arrived -= size;
	return size;
}

static void move_bytes(struct sim *sim, uint64_t argument);

static void keep_moving(struct sim *sim, uint32_t number, int direction)
{
	struct sim_socket *socket = &sim->net->sockets[number];

	if (socket->moving[direction])
		return;
	socket->moving[direction] = true;
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 20, WAY_US), move_bytes,
		(uint64_t)number << 1 | (unsigned)direction);
}

static void close_end(struct sim_net *net, uint32_t number, bool actor)
{
	struct sim_socket *socket = &net->sockets[number];

	if (actor)
		socket->actor_open = false;
	else
		socket->client_open = false;
	(actor ? &socket->to_client : &socket->to_actor)->end = true;
	if (!socket->actor_open && !socket->client_open)
		free_socket(socket);
	else
		keep_moving(net->sim, number, actor);
}

static void tell_actor(struct sim *sim, uint32_t number, unsigned events)
{
	struct sim_socket *socket = &sim->net->sockets[number];
	struct sim_process *process = sim_process_of(sim, socket->incarnation);

	events &= socket->wanted | NET_CLOSED;
	if (socket->back)
		events |= NET_BACK;
	if (!process || !socket->actor_open || !events)
		return;
	if (process->paused_until_us > sim->now_us) {
		keep_moving(sim, number, 0); /* later */
		return;
	}
	/* as a worker does with a connection whose owner has ended since it claimed it */
	if (socket->back && !runtime_find(process->rt, socket->owner)) {
		close_end(sim->net, number, true);
		return;
	}
	socket->back = false;
	runtime_tick(process->rt);
	runtime_net_tcp(process->rt, socket->owner, number, events);
	sim_wake(sim, process);
}

static void move_bytes(struct sim *sim, uint64_t argument)
{
	uint32_t number = (uint32_t)(argument >> 1);
	int direction = (int)(argument & 1);
	struct sim_socket *socket = socket_at(sim->net, number, SOCKET_TCP);
	struct pipe *pipe;

	if (!socket)
		return;
	pipe = direction ? &socket->to_client : &socket->to_actor;
	socket->moving[direction] = false;
	size_t left = pipe->size - pipe->arrived;
	size_t piece = (size_t)rng_between(&sim->rng, 1, rng_below(&sim->rng, 4) ? PIECE_MAX : 16);

	pipe->arrived += piece < left ? piece : left;
	sim_note(sim, direction ? "tcp out" : "tcp in", number, pipe->arrived);
	if (pipe->arrived < pipe->size)
		keep_moving(sim, number, direction);
	if (!direction && pipe->arrived)
		tell_actor(sim, number, NET_READABLE);
	else if (!direction && socket->back)
		tell_actor(sim, number, 0);
	else if (!direction && pipe->end)
		tell_actor(sim, number, NET_CLOSED | NET_READABLE);
	else if (direction)
		tell_actor(sim, number, NET_WRITABLE);
}

/* ---- datagrams ---------------------------------------------------------------------------------- */

static uint32_t find_given(struct sim_net *net, uint32_t incarnation, enum net_given given)
{
	for (uint32_t i = 1; i < SOCKETS_MAX; i++)
		if ((net->sockets[i].kind == SOCKET_LISTENER ||
			    net->sockets[i].kind == SOCKET_UDP) &&
			net->sockets[i].incarnation == incarnation &&
			net->sockets[i].given == given)
			return i;
	return 0;
}

/* Who is connected gets all of its peer's; 0 = nobody has that port. */
static uint32_t find_receiver(struct sim_net *net, uint16_t port, const struct net_addr *from)
{
	uint32_t any = 0;

	for (uint32_t i = 1; i < SOCKETS_MAX; i++) {
		const struct sim_socket *socket = &net->sockets[i];

		if (socket->kind != SOCKET_UDP || socket->port != port)
			continue;
		if (net_addr_equal(&socket->peer, from))
			return i;
		if (!socket->peer.family)
			any = i;
	}
	return any;
}

static void land_inside(struct sim *sim, const struct flying_datagram *flying, uint32_t number)
{
	const struct sim_socket *socket = &sim->net->sockets[number];
	struct sim_process *process = sim_process_of(sim, socket->incarnation);
	struct datagram datagram = {
		.from = flying->address,
		.bytes = flying->bytes,
		.size = flying->size,
		.arrival_us = sim->now_us,
	};

	if (!process || process->paused_until_us > sim->now_us)
		return;
	sim_note(sim, "udp in", process->incarnation, flying->size);
	process->packets++;
	runtime_tick(process->rt);
	runtime_net_datagrams(process->rt, socket->owner, &datagram, 1);
	sim_wake(sim, process);
}

static void land_datagram(struct sim *sim, uint64_t argument)
{
	struct flying_datagram *flying = sim->net->flying[argument];
	uint32_t number =
		flying->port ? find_receiver(sim->net, flying->port, &flying->address) : 0;
	uint32_t incarnation = sim->net->sockets[number].incarnation;

	/* the socket outlives its process: it waits there */
	if (number && !sim_process_of(sim, incarnation) && sim_line_exists(sim, incarnation)) {
		sim_at(sim, sim->now_us + SIM_MS, land_datagram, argument);
		return;
	}

	sim->net->flying[argument] = NULL;
	if (number)
		land_inside(sim, flying, number);
	else if (flying->port)
		sim_note(sim, "udp nobody", flying->port, flying->size);
	else if (sim->net->arrived)
		sim->net->arrived(sim, &flying->address, flying->bytes, flying->size);
	free(flying);
}

static void launch_one(struct sim *sim, uint16_t port, const struct net_addr *address,
	const void *bytes, size_t size)
{
	struct sim_net *net = sim->net;
	bool detour = rng_chance_ppm(&sim->rng, sim->faults_on ? sim->faults.media_reorder_ppm : 0);
	struct flying_datagram *flying;
	size_t number = 0;

	while (number < FLYING_MAX && net->flying[number])
		number++;
	if (number == FLYING_MAX)
		return;
	flying = malloc(sizeof(*flying) + size);
	MUST(flying);
	flying->port = port;
	flying->address = *address;
	flying->size = (uint16_t)size;
	memcpy(flying->bytes, bytes, size);
	net->flying[number] = flying;
	/* ways of different length: datagrams overtake each other */
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 50, detour ? DETOUR_US : WAY_US),
		land_datagram, number);
}

static void launch(struct sim *sim, uint16_t port, const struct net_addr *address,
	const void *bytes, size_t size)
{
	const struct sim_faults *faults = &sim->faults;

	if (size > NET_DATAGRAM_MAX ||
		rng_chance_ppm(&sim->rng, sim->faults_on ? faults->media_loss_ppm : 0))
		return;
	launch_one(sim, port, address, bytes, size);
	if (rng_chance_ppm(&sim->rng, sim->faults_on ? faults->media_double_ppm : 0))
		launch_one(sim, port, address, bytes, size);
}

/* ---- the actor's side ---------------------------------------------------------------------------- */

uint32_t sim_net_take(void *context, uint64_t owner, enum net_given what)
{
	struct sim_process *process = context;
	uint32_t number;

	if (what == NET_HTTPS || what == NET_RTMPS || what == NET_API)
		return 0; /* none of these is configured */
	if (what == NET_LINK_UDP) {
		if (process->sim->wide)
			sim_wide_take(process, owner);
		return process->sim->wide ? SIM_LINK_SOCKET : 0;
	}
	number = find_given(process->sim->net, process->incarnation, what);
	struct sim_socket *socket =
		number ? &process->sim->net->sockets[number]
		       : new_socket(process->sim->net,
				 what == NET_RTC_UDP ? SOCKET_UDP : SOCKET_LISTENER, &number);

	if (socket) {
		socket->incarnation = process->incarnation;
		socket->owner = owner;
		socket->given = what;
		if (what == NET_RTC_UDP)
			socket->port = sim_rtc_port(process);
	}
	return number;
}

uint32_t sim_net_open_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer)
{
	struct sim_process *process = context;
	struct sim_net *net = process->sim->net;
	struct sim_socket *socket;
	uint32_t number;

	if (process->alive)
		sim_takeover_step(process);
	if (!process->alive || !find_receiver(net, local->port, peer))
		return 0;
	socket = new_socket(net, SOCKET_UDP, &number);
	if (!socket)
		return 0;
	socket->incarnation = process->incarnation;
	socket->owner = owner;
	socket->given = NET_GIVEN_COUNT;
	socket->port = local->port;
	socket->peer = *peer;
	sim_note(process->sim, "beside", number, process->incarnation);
	return number;
}

void sim_net_listen_pause(void *context, uint32_t listener, bool paused)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, listener, SOCKET_LISTENER);

	if (socket)
		socket->paused = paused;
}

size_t sim_net_send(void *context, uint32_t number, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;

	if (process->alive)
		sim_takeover_step(process);
	if (process->alive && number == SIM_LINK_SOCKET)
		return sim_wide_send(process, 0, to, packets, count);
	if (!process->alive || !socket_at(sim->net, number, SOCKET_UDP))
		return 0;
	for (size_t i = 0; i < count && sim->net->sent; i++)
		sim->net->sent(sim, to, packets[i].iov_base, packets[i].iov_len);
	for (size_t i = 0; i < count; i++) {
		if (rng_chance_ppm(&sim->rng, sim->faults_on ? sim->faults.full_ppm : 0))
			return i; /* the socket's buffer is full */
		sim_note(sim, "udp out", process->incarnation, packets[i].iov_len);
		process->packets++;
		launch(sim, 0, to, packets[i].iov_base, packets[i].iov_len);
	}
	return count;
}

void sim_net_give(void *context, uint32_t number, uint64_t owner)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);

	if (!socket || !process->alive)
		return;
	socket->owner = owner;
	keep_moving(process->sim, number, 0); /* what came before is told to the new owner */
}

long sim_net_read(void *context, uint32_t number, void *buffer, size_t size)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);

	if (process->alive)
		sim_takeover_step(process);
	if (!socket || !socket->actor_open || !process->alive)
		return -2;
	if (socket->to_actor.arrived) {
		size = pipe_read(&socket->to_actor, buffer, size);
		socket->progress.in += size;
		sim_takeover_step(process); /* it has them, and knows nothing of it */
		return (long)size;
	}
	return socket->to_actor.end && !socket->to_actor.size ? 0 : -1;
}

long sim_net_write(void *context, uint32_t number, const struct iovec *parts, size_t count)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);
	size_t taken = 0;

	if (process->alive)
		sim_takeover_step(process);
	if (!socket || !socket->actor_open || !socket->client_open || !process->alive)
		return -2;
	for (size_t i = 0; i < count; i++) {
		size_t room = SEND_BUFFER - socket->to_client.size + socket->to_client.arrived;
		size_t size = parts[i].iov_len < room ? parts[i].iov_len : room;

		pipe_write(&socket->to_client, parts[i].iov_base, size);
		taken += size;
		if (size < parts[i].iov_len)
			break;
	}
	socket->progress.out += taken;
	keep_moving(process->sim, number, 1);
	sim_takeover_step(process);
	return taken ? (long)taken : -1;
}

void sim_net_want(void *context, uint32_t number, unsigned events)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);

	if (!socket || !process->alive)
		return;
	socket->wanted = events;
	keep_moving(process->sim, number, 0);
	if (events & NET_WRITABLE)
		keep_moving(process->sim, number, 1);
}

void sim_net_close(void *context, uint32_t number)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);
	struct sim_socket *beside = socket_at(process->sim->net, number, SOCKET_UDP);

	if (socket && socket->actor_open && process->alive)
		close_end(process->sim->net, number, true);
	if (beside && beside->peer.family && process->alive)
		free_socket(beside);
}

bool sim_net_claim(void *context, uint64_t owner, uint32_t number)
{
	struct sim_process *process = context;
	struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);

	if (!socket || !socket->actor_open || socket->incarnation != process->incarnation)
		return false;
	if (process->alive) {
		socket->owner = owner;
		socket->claimed = true;
	}
	return true;
}

bool sim_net_progress(void *context, uint32_t number, struct net_progress *progress)
{
	struct sim_process *process = context;
	const struct sim_socket *socket = socket_at(process->sim->net, number, SOCKET_TCP);

	if (socket)
		*progress = socket->progress;
	return socket != NULL;
}

void sim_net_taken_over(struct sim *sim, struct sim_process *process)
{
	for (uint32_t i = 1; i < SOCKETS_MAX; i++) {
		struct sim_socket *socket = &sim->net->sockets[i];

		if (socket->kind != SOCKET_TCP || socket->incarnation != process->incarnation ||
			!socket->actor_open)
			continue;
		if (!socket->claimed) {
			close_end(sim->net, i, true);
			continue;
		}
		socket->claimed = false;
		socket->back = true;
		socket->wanted = NET_READABLE;
		keep_moving(sim, i, 0);
	}
}

void sim_net_local_addr(void *context, uint32_t number, struct net_addr *addr)
{
	const struct sim_process *process = context;

	if (number == SIM_LINK_SOCKET) {
		sim_wide_local_addr(process, addr);
		return;
	}
	MUST(net_addr_parse("127.0.0.1", addr) == ERR_OK);
	addr->port = sim_rtc_port(process);
}

void sim_net_fallen(struct sim_net *net, uint32_t incarnation)
{
	for (uint32_t i = 1; i < SOCKETS_MAX; i++) {
		struct sim_socket *socket = &net->sockets[i];

		if (socket->kind == SOCKET_UDP && socket->peer.family &&
			socket->incarnation == incarnation)
			free_socket(socket);
	}
}

void sim_net_process_gone(struct sim_net *net, uint32_t incarnation)
{
	for (uint32_t i = 1; i < SOCKETS_MAX; i++) {
		struct sim_socket *socket = &net->sockets[i];

		if (socket->incarnation != incarnation)
			continue;
		if (socket->kind == SOCKET_TCP && socket->actor_open)
			close_end(net, i, true);
		else if (socket->kind != SOCKET_TCP)
			free_socket(socket);
	}
}

/* ---- the client's side ----------------------------------------------------------------------------- */

uint32_t sim_client_connect(struct sim *sim, uint32_t slot, enum net_given given)
{
	struct sim_process *process = &sim->processes[slot];
	uint32_t listener = process->alive ? find_given(sim->net, process->incarnation, given) : 0;
	struct sim_socket *socket;
	uint32_t number;

	if (!listener || sim->net->sockets[listener].paused)
		return 0;
	socket = new_socket(sim->net, SOCKET_TCP, &number);
	if (!socket)
		return 0;
	socket->incarnation = process->incarnation;
	socket->owner = sim->net->sockets[listener].owner;
	socket->actor_open = socket->client_open = true;
	socket->wanted = NET_READABLE;
	MUST(net_addr_parse("127.0.0.1:40000", &socket->peer) == ERR_OK);
	sim_note(sim, "connect", number, process->incarnation);
	runtime_tick(process->rt);
	runtime_net_accepted(process->rt, socket->owner, listener, number, &socket->peer);
	sim_wake(sim, process);
	return number;
}

void sim_client_write(struct sim *sim, uint32_t number, const void *bytes, size_t size)
{
	struct sim_socket *socket = socket_at(sim->net, number, SOCKET_TCP);

	if (!socket || !socket->client_open || !socket->actor_open)
		return;
	pipe_write(&socket->to_actor, bytes, size);
	keep_moving(sim, number, 0);
}

size_t sim_client_read(struct sim *sim, uint32_t number, void *buffer, size_t size)
{
	struct sim_socket *socket = socket_at(sim->net, number, SOCKET_TCP);

	return socket ? pipe_read(&socket->to_client, buffer, size) : 0;
}

void sim_client_close(struct sim *sim, uint32_t number)
{
	struct sim_socket *socket = socket_at(sim->net, number, SOCKET_TCP);

	if (socket && socket->client_open)
		close_end(sim->net, number, false);
}

bool sim_client_is_open(struct sim *sim, uint32_t number)
{
	const struct sim_socket *socket = socket_at(sim->net, number, SOCKET_TCP);

	return socket && (socket->actor_open || socket->to_client.size);
}

void sim_client_send_datagram(
	struct sim *sim, uint32_t slot, const struct net_addr *from, const void *bytes, size_t size)
{
	launch(sim, sim_rtc_port(&sim->processes[slot]), from, bytes, size);
}

void sim_net_on_datagram(struct sim *sim, datagram_fn arrived, datagram_fn sent)
{
	sim->net->arrived = arrived;
	sim->net->sent = sent;
}
