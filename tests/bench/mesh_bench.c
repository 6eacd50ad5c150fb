/* SPDX-License-Identifier: Apache-2.0
 *
 * What a message to another node costs: two gateways as they run, each in a process of its own (the live
 * loop, the mesh, the kernel's channel between nodes), on the loopback, beside the same bytes over bare
 * ZeroMQ sockets with CURVE over TCP. One way, as half of a round trip.
 *
 *   mesh_bench paced   only the bare sockets, one exchange each 10 ms, as `ping` of a node's console does it:
 *                      the limit for nodes that run (tests/e2e/hops.mjs)
 */
#include "runtime/config.h"
#include "runtime/live.h"
#include "runtime/mesh_keys.h"
#include "runtime/net_mesh.h"
#include "runtime/process.h"
#include "tests/bench/bench_node.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
	ROUNDS = 4000,
	PACED_ROUNDS = 400,
	PACE_NS = 10000000,
	BARE_SIZE = 96,
	TRY_MS = 20,
	GIVE_UP_S = 60,
};

struct gateway {
	uint64_t node;
	char directory[64], endpoint[64];
	int listener;
	uint16_t port;
	struct mesh_keys keys;
};

static struct gateway gateways[2];
static uint8_t cluster_secret[MESH_KEY_SIZE], cluster_key[MESH_KEY_SIZE];
static int result; /* where the first one writes what it measured */

static int64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- two nodes ------------------------------------------------------------------------------- */

struct player {
	struct placement_state st;

	const struct gateway *own, *other;
	int64_t began_us;
	bool plays;
};

ON(player, name_lookup)
{
	if (!s->plays) {
		s->plays = true;
		s->began_us = clock_us();
	}
	if (m->wait_ms == 0) {
		double us = (double)(clock_us() - s->began_us) / ROUNDS;

		MUST(write(result, &us, sizeof(us)) == sizeof(us));
		return ERR_OK;
	}
	return actor_send(self, mail->from, name_lookup, {.wait_ms = m->wait_ms - 1});
}

ON(player, mesh_node)
{
	return ERR_OK;
}

ON(player, mesh_self)
{
	return ERR_OK;
}

ON(player, node_seen)
{
	if (m->up && s->own == &gateways[0])
		return actor_send(self, actor_office_at(self, OFFICE_DIRECTORY, m->node),
			name_lookup, {.wait_ms = ROUNDS});
	return ERR_OK;
}

static void player_timer(struct actor *self, void *data, unsigned timer)
{
	struct player *s = data;

	(void)net_mesh_learn(self, &(struct mesh_hint){.node = s->other->node,
					   .name = "other",
					   .endpoint = s->other->endpoint,
					   .key = s->other->keys.public_key,
					   .certificate = s->other->keys.certificate,
					   .certificate_size = MESH_CERTIFICATE_SIZE});
	actor_timer_in_ms(self, timer, 1000);
}

static enum err player_init(struct actor *self, void *data, const void *args)
{
	struct player *s = data;

	s->own = args;
	s->other = &gateways[s->own == &gateways[0]];
	actor_watch_nodes(self);
	actor_timer_in_ms(self, 0, TRY_MS);
	return net_mesh_open(self);
}

static const struct handler player_handlers[] = {
	HANDLER(player, name_lookup, 0),
	HANDLER(player, mesh_node, 0),
	HANDLER(player, mesh_self, 0),
	HANDLER(player, node_seen, 0),
};

static const struct actor_type player_actor = {
	.name = "player",
	.size = sizeof(struct player),
	.state = &schema_placement_state,
	HANDLER_TABLE(player_handlers),
	.init = player_init,
	.timer = player_timer,
};

static void prepare(struct gateway *gateway, uint64_t node)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);

	gateway->node = node;
	snprintf(gateway->directory, sizeof(gateway->directory), "/tmp/mesh-bench-XXXXXX");
	MUST(mkdtemp(gateway->directory));
	MUST(mesh_keys_new(&gateway->keys) == ERR_OK);
	MUST(mesh_keys_certify(&gateway->keys, node, cluster_secret, INT32_MAX, 1) == ERR_OK);
	MUST(mesh_keys_write(gateway->directory, &gateway->keys) == ERR_OK);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	gateway->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	MUST(gateway->listener > STDERR_FILENO &&
		!bind(gateway->listener, (struct sockaddr *)&address, sizeof(address)) &&
		!listen(gateway->listener, 16) &&
		!getsockname(gateway->listener, (struct sockaddr *)&address, &size));
	gateway->port = ntohs(address.sin_port);
	snprintf(gateway->endpoint, sizeof(gateway->endpoint), "tcp://127.0.0.1:%u", gateway->port);
}

static void tidy(struct gateway *gateway)
{
	static const char *const names[] = {"mesh-key", "mesh-certificate"};
	char path[MESH_KEYS_PATH_SIZE];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", gateway->directory, names[i]);
		unlink(path);
	}
	rmdir(gateway->directory);
	close(gateway->listener);
}

/* A control process of a node that has nothing else; ends with the one that started it. */
static _Noreturn void run_gateway(const struct gateway *gateway)
{
	static const struct actor_type *const types[] = {&player_actor, NULL};
	const struct live_office offices[] = {
		{OFFICE_DIRECTORY, &player_actor, gateway},
		{0	  },
	};
	const struct live_program program = {.types = types, .offices = offices};
	static struct config_report report;
	static struct config config;
	struct process_env env = {.role = PROCESS_CONTROL,
		.incarnation = 1,
		.line = 1,
		.block = 1,
		.node_id = gateway->node,
		.worker_count = 1,
		.mesh_port = gateway->port,
		.config = &config};
	int ends[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	config_init(&config, &report);
	mesh_hex_write(cluster_key, MESH_KEY_SIZE, config.cluster_key);
	snprintf(env.node_name, sizeof(env.node_name), "bench");
	snprintf(env.data_dir, sizeof(env.data_dir), "%s", gateway->directory);
	snprintf(env.advertise[0], sizeof(env.advertise[0]), "127.0.0.1");
	env.advertise_count = 1;
	for (int *fd = (int *)&env.fd; fd < (int *)(&env.fd + 1); fd++)
		*fd = -1;
	MUST(!pipe2(ends, O_CLOEXEC));
	env.fd.lifeline = ends[0];
	env.fd.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	env.fd.mesh = gateway->listener;
	env.page = process_page_create(1, &env.fd.status);
	MUST(env.page);
	exit(live_run(&env, &program));
}

static double measure_nodes(void)
{
	pid_t children[2];
	int ends[2];
	double us = 0;

	MUST(!pipe2(ends, O_CLOEXEC));
	result = ends[1];
	for (int i = 0; i < 2; i++) {
		children[i] = fork();
		MUST(children[i] >= 0);
		if (!children[i])
			run_gateway(&gateways[i]);
	}
	alarm(GIVE_UP_S);
	MUST(read(ends[0], &us, sizeof(us)) == sizeof(us));
	alarm(0);
	for (int i = 0; i < 2; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	close(ends[0]);
	close(ends[1]);
	return us;
}

/* ---- bare ZeroMQ ----------------------------------------------------------------------------- */

static void *bare_router(void *zmq, const struct gateway *own, char *endpoint, size_t size)
{
	void *router = zmq_socket(zmq, ZMQ_ROUTER);
	int server = 1;

	MUST(!zmq_setsockopt(router, ZMQ_CURVE_SERVER, &server, sizeof(server)));
	MUST(!zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, own->keys.secret_key, MESH_KEY_SIZE));
	MUST(!zmq_bind(router, "tcp://127.0.0.1:*"));
	MUST(!zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size));
	return router;
}

static void *bare_dealer(
	void *zmq, const struct gateway *own, const struct gateway *other, const char *endpoint)
{
	void *dealer = zmq_socket(zmq, ZMQ_DEALER);

	MUST(!zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, other->keys.public_key, MESH_KEY_SIZE));
	MUST(!zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, own->keys.public_key, MESH_KEY_SIZE));
	MUST(!zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, own->keys.secret_key, MESH_KEY_SIZE));
	MUST(!zmq_connect(dealer, endpoint));
	return dealer;
}

static void bare_receive(void *router, uint8_t frame[BARE_SIZE])
{
	uint8_t identity[256];

	MUST(zmq_recv(router, identity, sizeof(identity), 0) >= 0);
	MUST(zmq_recv(router, frame, BARE_SIZE, 0) == BARE_SIZE);
}

/* How they play: one exchange after the other, or each PACE_NS one. */
struct bare_game {
	int exchanges;
	bool paced;
	struct bench_samples one_way_us; /* of the first side */
};

/* Microseconds that an exchange took. */
static double bare_exchange(void *dealer, void *router, int number)
{
	uint8_t frame[BARE_SIZE] = {0};
	int64_t began_ns = bench_now_ns();

	if (number == 0)
		MUST(zmq_send(dealer, frame, sizeof(frame), 0) >= 0);
	bare_receive(router, frame);
	if (number == 1)
		MUST(zmq_send(dealer, frame, sizeof(frame), 0) >= 0);
	return (double)(bench_now_ns() - began_ns) / 1000;
}

/* One side in each of two processes, their endpoints told by pipes. */
static void bare_side(int number, int in, int out, struct bare_game *game)
{
	void *zmq = zmq_ctx_new();
	char own[64] = "", other[64] = "";
	void *router = bare_router(zmq, &gateways[number], own, sizeof(own));

	MUST(write(out, own, sizeof(own)) == sizeof(own));
	MUST(read(in, other, sizeof(other)) == sizeof(other));
	void *dealer = bare_dealer(zmq, &gateways[number], &gateways[!number], other);

	(void)bare_exchange(dealer, router, number); /* connections stand */
	for (int i = 0; i < game->exchanges; i++) {
		if (game->paced && number == 0)
			bench_sleep_until_ns(bench_now_ns() + PACE_NS);
		bench_add(&game->one_way_us, bare_exchange(dealer, router, number) / 2);
	}
	zmq_close(dealer);
	zmq_close(router);
	zmq_ctx_term(zmq);
}

static void play_bare(struct bare_game *game)
{
	int there[2], back[2];
	pid_t child;

	MUST(!pipe2(there, O_CLOEXEC) && !pipe2(back, O_CLOEXEC));
	child = fork();
	MUST(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bare_side(1, there[0], back[1], game);
		_exit(0);
	}
	alarm(GIVE_UP_S);
	bare_side(0, back[0], there[1], game);
	alarm(0);
	waitpid(child, NULL, 0);
}

static double measure_bare(void)
{
	struct bare_game game = {.exchanges = ROUNDS / 2};
	double sum_us = 0;

	play_bare(&game);
	for (size_t i = 0; i < game.one_way_us.count; i++)
		sum_us += game.one_way_us.values[i];
	sum_us /= (double)game.one_way_us.count;
	bench_samples_fini(&game.one_way_us);
	return sum_us;
}

static void report_paced(void)
{
	struct bare_game game = {.exchanges = PACED_ROUNDS, .paced = true};

	play_bare(&game);
	bench_report("bare_mail_p50", 0, "us", bench_percentile(&game.one_way_us, 0.5), 0);
	bench_report("bare_mail_p99", 0, "us", bench_percentile(&game.one_way_us, 0.99), 0);
	bench_samples_fini(&game.one_way_us);
}

int main(int argc, char **argv)
{
	bool paced = argc == 2 && !strcmp(argv[1], "paced");

	MUST(mesh_cluster_key_new(cluster_secret) == ERR_OK);
	MUST(mesh_cluster_key_public(cluster_secret, cluster_key) == ERR_OK);
	for (int i = 0; i < 2; i++)
		prepare(&gateways[i], (uint64_t)i + 1);
	if (paced) {
		report_paced();
	} else {
		double bare_us = measure_bare();

		bench_report("message_node", 0, "us", measure_nodes(), bare_us);
	}
	for (int i = 0; i < 2; i++)
		tidy(&gateways[i]);
	return 0;
}
