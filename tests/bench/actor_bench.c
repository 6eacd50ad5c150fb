/* SPDX-License-Identifier: Apache-2.0
 *
 * What a message costs: between two actors of one process, and between two processes, against the
 * same bytes over bare ZeroMQ sockets of the same kind. Ratios are what counts.
 *
 * Two runtimes in two threads stand for two processes: their bus is a ROUTER and DEALERs over ipc,
 * as in runtime/live_bus.c.
 */
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "tests/bench/bench_node.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { LOCAL_ROUNDS = 2000000, REMOTE_ROUNDS = 20000, BARE_SIZE = 64 };

struct side {
	uint32_t process;
	void *router, *dealer;
	struct runtime *rt;
	struct log log;
	volatile bool *over;
};

static int64_t read_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t clock_ns(void)
{
	return read_clock_ns(CLOCK_MONOTONIC);
}

static int64_t bench_now_us(void *context)
{
	(void)context;
	return clock_ns() / 1000;
}

static void bench_random(void *context, void *bytes, size_t size)
{
	(void)context;
	MUST(getrandom(bytes, size, 0) == (ssize_t)size);
}

static enum err bench_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct side *side = context;
	uint8_t frame[4096];
	size_t size = 0;

	(void)process;
	for (size_t i = 0; i < count; i++) {
		memcpy(frame + size, parts[i].iov_base, parts[i].iov_len);
		size += parts[i].iov_len;
	}
	return zmq_send(side->dealer, frame, size, ZMQ_DONTWAIT) < 0 ? ERR_AGAIN : ERR_OK;
}

static const struct runtime_ops bench_ops = {.now_us = bench_now_us,
	.wall_us = bench_now_us,
	.random = bench_random,
	.bus_send = bench_send};

/* ---- ping and pong ----------------------------------------------------------------------------- */

struct player {
	struct placement_state st;

	struct addr other;
	uint64_t left;
	volatile bool *over;
};

ON(player, name_lookup)
{
	if (m->wait_ms == 0) {
		*s->over = true;
		return ERR_OK;
	}
	return actor_send(self, mail->from, name_lookup, {.wait_ms = m->wait_ms - 1});
}

static enum err player_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	((struct player *)data)->over = (volatile bool *)(uintptr_t)args;
	return ERR_OK;
}

static const struct handler player_handlers[] = {HANDLER(player, name_lookup, 0)};
static const struct actor_type player_actor = {
	.name = "player",
	.size = sizeof(struct player),
	.state = &schema_placement_state,
	HANDLER_TABLE(player_handlers),
	.init = player_init,
};

static bool bench_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static void make_runtime(struct side *side)
{
	struct log_sink sink = {.now_us = bench_now_us, .write = bench_log};

	log_init(&side->log, "bench", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	MUST(runtime_create(&(struct runtime_options){.ops = &bench_ops,
				    .context = side,
				    .log = &side->log,
				    .node = 1,
				    .block = side->process,
				    .process = side->process,
				    .role = PROCESS_MEDIA},
		     &side->rt) == ERR_OK);
	MUST(actor_spawn_office(side->rt, OFFICE_MEDIA, &player_actor, (void *)side->over) ==
		ERR_OK);
}

static struct addr player_of(uint32_t process)
{
	return (struct addr){
		.node = 1, .id = (uint64_t)process << RUNTIME_BLOCK_SHIFT | OFFICE_MEDIA};
}

/* ---- the limit of a message in one process -------------------------------------------------- */

enum { RING = 256, ACTORS = 1024 };

struct bare_message {
	uint64_t to, from;
	uint32_t type;
	uint8_t body[BARE_SIZE];
};

struct bare_actor {
	uint64_t id;
	void (*take)(struct bare_actor *self, const struct bare_message *message);
	uint64_t left;
};

static struct bare_message ring[RING];
static struct bare_actor *bare_actors[ACTORS];
static uint32_t ring_in, ring_out;

static void bare_put(const struct bare_message *message)
{
	memcpy(&ring[ring_in++ % RING], message, sizeof(*message));
}

static void bare_take(struct bare_actor *self, const struct bare_message *message)
{
	struct bare_message answer = {.to = message->from, .from = self->id};

	if (self->left-- == 0)
		return;
	memcpy(answer.body, message->body, BARE_SIZE);
	bare_put(&answer);
}

/* Nanoseconds: copied into a ring and out of it, its receiver found and called. */
static double bare_local_ns(void)
{
	static struct bare_actor players[2];
	const struct bare_message first = {.to = 1, .from = 2};

	for (uint64_t i = 0; i < 2; i++) {
		players[i] = (struct bare_actor){i + 1, bare_take, LOCAL_ROUNDS / 2};
		bare_actors[i + 1] = &players[i];
	}
	int64_t start_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (bare_put(&first); ring_out != ring_in;) {
		struct bare_message message = ring[ring_out++ % RING];
		struct bare_actor *to = bare_actors[message.to % ACTORS];

		if (to && to->id == message.to)
			to->take(to, &message);
	}
	return (double)(read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / LOCAL_ROUNDS;
}

static void bench_local(void)
{
	volatile bool over = false;
	struct side side = {.process = 1, .over = &over};
	struct addr second;

	make_runtime(&side);
	MUST(actor_spawn(side.rt, NULL, &player_actor, (void *)&over, &second) == ERR_OK);
	actor_send(runtime_find(side.rt, second.id), player_of(1), name_lookup,
		{.wait_ms = LOCAL_ROUNDS});
	int64_t start_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	while (!over)
		runtime_turn(side.rt);
	bench_report("message_local", 0, "ns",
		(double)(read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / LOCAL_ROUNDS,
		bare_local_ns());
	runtime_destroy(&side.rt);
}

/* ---- two processes ----------------------------------------------------------------------------- */

static void open_side(struct side *side, void *zmq, uint32_t process, const char *directory)
{
	char own[128];

	snprintf(own, sizeof(own), "ipc://%s/bus-%u", directory, process);
	side->process = process;
	side->router = zmq_socket(zmq, ZMQ_ROUTER);
	MUST(side->router && zmq_bind(side->router, own) == 0);
}

static void connect_side(struct side *side, void *zmq, uint32_t to, const char *directory)
{
	char theirs[128];

	snprintf(theirs, sizeof(theirs), "ipc://%s/bus-%u", directory, to);
	side->dealer = zmq_socket(zmq, ZMQ_DEALER);
	MUST(side->dealer && zmq_connect(side->dealer, theirs) == 0);
}

/* Waits at most 2 ms; the size of the frame, or -1. */
static int receive(struct side *side, uint8_t *frame, size_t size, bool wait)
{
	zmq_pollitem_t item = {.socket = side->router, .events = ZMQ_POLLIN};
	uint8_t identity[256];

	if (wait)
		zmq_poll(&item, 1, 2);
	if (zmq_recv(side->router, identity, sizeof(identity), ZMQ_DONTWAIT) < 0)
		return -1;
	return zmq_recv(side->router, frame, size, 0);
}

static void *run_actors(void *context)
{
	struct side *side = context;
	uint8_t frame[4096];

	while (!*side->over) {
		int64_t next_us = runtime_turn(side->rt);
		int size = receive(side, frame, sizeof(frame), next_us > clock_ns() / 1000);

		for (; size >= 0; size = receive(side, frame, sizeof(frame), false)) {
			runtime_tick(side->rt);
			runtime_bus_frame(side->rt, frame, (size_t)size);
		}
	}
	return NULL;
}

static void *run_bare(void *context)
{
	struct side *side = context;
	uint8_t frame[4096];

	while (!*side->over) {
		int size = receive(side, frame, sizeof(frame), true);
		uint32_t left;

		if (size < 4)
			continue;
		memcpy(&left, frame, sizeof(left));
		if (left == 0) {
			*side->over = true;
			break;
		}
		left--;
		memcpy(frame, &left, sizeof(left));
		MUST(zmq_send(side->dealer, frame, (size_t)size, 0) >= 0);
	}
	return NULL;
}

static double play(struct side *sides, void *(*run)(void *))
{
	pthread_t threads[2];
	int64_t start_ns = clock_ns();

	for (int i = 0; i < 2; i++)
		MUST(pthread_create(&threads[i], NULL, run, &sides[i]) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return (double)(clock_ns() - start_ns) / 1000 / REMOTE_ROUNDS;
}

/* ---- another node --------------------------------------------------------------------------------- */

enum { LAND_NODES = 2, LAND_PROCESSES = 2, LAND_ROUNDS = 100000, LAND_FRAME = 512 };

/* A control process and a worker of each of two nodes, whose frames are handed over at once: what the
 * kernel alone costs, beside the same between the two processes of one node. */
struct place {
	struct runtime *rt;
	struct log log;
	uint32_t node, process; /* from 1 */
	struct {
		uint32_t size;
		uint64_t from; /* node; 0 = a process of this one */
		uint8_t bytes[LAND_FRAME];
	} frames[8];
	uint32_t count;
};

static struct place land[LAND_NODES][LAND_PROCESSES];

static enum err put_frame(struct place *to, uint64_t from, const struct iovec *parts, size_t count)
{
	uint32_t size = 0;

	if (to->count == sizeof(to->frames) / sizeof(to->frames[0]))
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++) {
		MUST(size + parts[i].iov_len <= LAND_FRAME);
		memcpy(to->frames[to->count].bytes + size, parts[i].iov_base, parts[i].iov_len);
		size += (uint32_t)parts[i].iov_len;
	}
	to->frames[to->count].size = size;
	to->frames[to->count++].from = from;
	return ERR_OK;
}

static enum err land_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	const struct place *from = context;

	return put_frame(&land[from->node - 1][process - 1], 0, parts, count);
}

static enum err land_node_send(
	void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	const struct place *from = context;

	return put_frame(&land[node - 1][0], from->node, parts, count);
}

static void land_node_wanted(void *context, uint64_t node)
{
	(void)context;
	(void)node;
}

static const struct runtime_ops land_ops = {.now_us = bench_now_us,
	.wall_us = bench_now_us,
	.random = bench_random,
	.bus_send = land_bus_send,
	.node_send = land_node_send,
	.node_wanted = land_node_wanted};

static void open_land(volatile bool *over)
{
	struct log_sink sink = {.now_us = bench_now_us, .write = bench_log};

	for (uint32_t i = 0; i < LAND_NODES * LAND_PROCESSES; i++) {
		struct place *place = &land[i / LAND_PROCESSES][i % LAND_PROCESSES];

		*place = (struct place){
			.node = i / LAND_PROCESSES + 1, .process = i % LAND_PROCESSES + 1};
		log_init(&place->log, "bench", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
		MUST(runtime_create(
			     &(struct runtime_options){.ops = &land_ops,
				     .context = place,
				     .log = &place->log,
				     .node = place->node,
				     .boot = 1,
				     .block = place->process,
				     .process = place->process,
				     .role = place->process == 1 ? PROCESS_CONTROL : PROCESS_MEDIA},
			     &place->rt) == ERR_OK);
		MUST(actor_spawn_office(place->rt, OFFICE_MEDIA, &player_actor, (void *)over) ==
			ERR_OK);
	}
	for (int node = 0; node < LAND_NODES; node++) {
		struct runtime_peer_info control = {1, 1, PROCESS_CONTROL, 0};
		struct runtime_peer_info worker = {2, 2, PROCESS_MEDIA, 0};

		MUST(runtime_peer_up(land[node][0].rt, &worker) == ERR_OK);
		MUST(runtime_peer_up(land[node][1].rt, &control) == ERR_OK);
		MUST(runtime_node_up(land[node][0].rt, 2 - (uint64_t)node, 1) == ERR_OK);
	}
}

static void turn_land(void)
{
	for (uint32_t i = 0; i < LAND_NODES * LAND_PROCESSES; i++) {
		struct place *place = &land[i / LAND_PROCESSES][i % LAND_PROCESSES];
		uint32_t count = place->count;

		place->count = 0;
		for (uint32_t f = 0; f < count; f++)
			if (place->frames[f].from)
				runtime_node_frame(place->rt, place->frames[f].from,
					place->frames[f].bytes, place->frames[f].size);
			else
				runtime_bus_frame(
					place->rt, place->frames[f].bytes, place->frames[f].size);
		runtime_turn(place->rt);
	}
}

/* Nanoseconds of CPU for a mail between two workers' actors, or from a control process to its worker. */
static double play_land(bool far)
{
	volatile bool over = false;
	struct addr from = {1, UINT64_C(1) << RUNTIME_BLOCK_SHIFT | OFFICE_MEDIA};
	struct addr to = {1, UINT64_C(2) << RUNTIME_BLOCK_SHIFT | OFFICE_MEDIA};

	open_land(&over);
	if (far) {
		from.id = to.id;
		to.node = 2;
	}
	actor_send(
		runtime_find(land[0][far].rt, from.id), to, name_lookup, {.wait_ms = LAND_ROUNDS});
	int64_t start_ns = read_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	while (!over)
		turn_land();
	double each_ns = (double)(read_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / LAND_ROUNDS;

	for (uint32_t i = 0; i < LAND_NODES * LAND_PROCESSES; i++)
		runtime_destroy(&land[i / LAND_PROCESSES][i % LAND_PROCESSES].rt);
	return each_ns;
}

int main(void)
{
	char directory[] = "/tmp/actor-bench-XXXXXX";
	volatile bool over = false;
	struct side sides[2] = {{.over = &over}, {.over = &over}};
	void *zmq = zmq_ctx_new();
	uint8_t first[BARE_SIZE] = {0};
	uint32_t rounds = REMOTE_ROUNDS;

	bench_local();
	bench_report("message_node_kernel", 0, "ns", play_land(true), play_land(false));
	MUST(mkdtemp(directory) && zmq);
	for (uint32_t i = 0; i < 2; i++)
		open_side(&sides[i], zmq, i + 1, directory);
	for (uint32_t i = 0; i < 2; i++)
		connect_side(&sides[i], zmq, 2 - i, directory);
	memcpy(first, &rounds, sizeof(rounds));
	MUST(zmq_send(sides[0].dealer, first, sizeof(first), 0) >= 0);
	double bare_us = play(sides, run_bare);

	over = false;
	for (int i = 0; i < 2; i++)
		make_runtime(&sides[i]);
	for (int i = 0; i < 2; i++) {
		struct runtime_peer_info info = {.process = (uint32_t)(2 - i),
			.block = (uint64_t)(2 - i),
			.role = PROCESS_MEDIA};

		MUST(runtime_peer_up(sides[i].rt, &info) == ERR_OK);
	}
	actor_send(runtime_find(sides[0].rt, player_of(1).id), player_of(2), name_lookup,
		{.wait_ms = REMOTE_ROUNDS});
	double actor_us = play(sides, run_actors);

	bench_report("message_remote", 0, "us", actor_us, bare_us);
	for (int i = 0; i < 2; i++) {
		runtime_destroy(&sides[i].rt);
		zmq_close(sides[i].dealer);
		zmq_close(sides[i].router);
	}
	zmq_ctx_term(zmq);
	char path[128];

	for (int i = 1; i <= 2; i++) {
		snprintf(path, sizeof(path), "%s/bus-%d", directory, i);
		unlink(path);
	}
	rmdir(directory);
	return 0;
}
