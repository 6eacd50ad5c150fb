/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the mesh between the gateways of a cluster. Who may come in, who is there and who is lost
 * decides the shipped engine (runtime/mesh.h); modelled is what carries its frames: for each direction
 * between two nodes a connection that keeps their order, breaks with all that is under way, and holds
 * frames back while nothing comes through, as TCP does.
 *
 *   mesh_ops.send --connection--> mesh_frame of the other        told, up, down --> kernel, mesh office
 *
 * Keys are no secrets here: a node's is its number, and a certificate of the cluster says so.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	AGAIN_US = 150 * SIM_MS, /* at most until a broken connection is made anew */
	SELF_US = 5 * SIM_MS,
};

/* From one gateway to another. */
struct way {
	bool open;
	uint64_t epoch; /* one more whenever it breaks */
	int64_t broken_until_us;
	int64_t arrival_us; /* of the last frame */
	uint32_t under_way;
};

struct gateway {
	struct sim *sim;
	uint32_t node;
	struct mesh *mesh; /* NULL: its process has not opened it, or is dead */
	uint64_t owner;	   /* mesh office */
	int64_t run_us;	   /* when it runs next */
	uint8_t key[MESH_KEY_SIZE];
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	struct way way[SIM_NODES_MAX]; /* to that node */
};

struct sim_mesh {
	struct gateway gateway[SIM_NODES_MAX];
	uint8_t cluster_key[MESH_KEY_SIZE];
};

struct letter {
	uint32_t from, to; /* nodes */
	uint64_t epoch;
	uint32_t size;
	uint8_t bytes[];
};

static const struct sim_carrier letters;

static struct gateway *gateway_of(const struct sim_process *process)
{
	return &process->sim->mesh->gateway[process->node];
}

/* NULL: it is dead. */
static struct sim_process *process_of(const struct gateway *gateway)
{
	struct sim_process *process =
		&gateway->sim->processes[gateway->node * gateway->sim->node_slots];

	return process->alive ? process : NULL;
}

static struct mesh_time now_of(const struct sim *sim)
{
	return (struct mesh_time){
		.now_us = sim->now_us, .wall_us = sim->now_us + SIM_WALL_SHIFT_US};
}

/* ---- its turn ------------------------------------------------------------------------------------- */

static void run(struct sim *sim, uint64_t node);

static void run_at(struct gateway *gateway, int64_t at_us)
{
	if (at_us >= gateway->run_us || at_us == INT64_MAX)
		return;
	gateway->run_us = at_us;
	sim_at(gateway->sim, at_us, run, gateway->node);
}

static void run(struct sim *sim, uint64_t node)
{
	struct gateway *gateway = &sim->mesh->gateway[node];
	struct sim_process *process = process_of(gateway);
	int64_t due_us;

	if (sim->now_us < gateway->run_us)
		return; /* it ran since */
	gateway->run_us = INT64_MAX;
	if (!process || !gateway->mesh)
		return;
	if (process->paused_until_us > sim->now_us) {
		run_at(gateway, process->paused_until_us);
		return;
	}
	runtime_tick(process->rt);
	due_us = mesh_turn(gateway->mesh, now_of(sim));
	run_at(gateway, due_us > sim->now_us ? due_us : sim->now_us + SIM_MS);
	sim_wake(sim, process);
}

/* ---- connections ------------------------------------------------------------------------------------ */

static void break_way(struct sim *sim, struct way *way)
{
	way->epoch++;
	way->broken_until_us = sim->now_us + rng_between(&sim->rng, 1, AGAIN_US);
}

void sim_mesh_gateway_gone(struct sim *sim, uint32_t node)
{
	struct gateway *gateway;

	if (!sim->mesh) {
		sim_ways_gateway_gone(sim, node);
		return;
	}
	gateway = &sim->mesh->gateway[node];
	mesh_destroy(&gateway->mesh, false);
	gateway->owner = 0;
	for (uint32_t other = 0; other < sim->nodes; other++) {
		break_way(sim, &gateway->way[other]);
		break_way(sim, &sim->mesh->gateway[other].way[node]);
	}
}

void sim_mesh_cut(struct sim *sim)
{
	uint32_t a, b;

	if (!sim->mesh) {
		sim_ways_cut(sim);
		return;
	}
	a = (uint32_t)rng_below(&sim->rng, sim->nodes);
	b = (uint32_t)rng_below(&sim->rng, sim->nodes);
	sim_note(sim, "broken", a, b);
	break_way(sim, &sim->mesh->gateway[a].way[b]);
}

static void drop_letter(struct sim *sim, void *carried)
{
	struct letter *letter = carried;

	sim->mesh->gateway[letter->from].way[letter->to].under_way--;
	free(letter);
}

static void deliver_letter(struct sim *sim, void *carried)
{
	struct letter *letter = carried;
	struct gateway *to = &sim->mesh->gateway[letter->to];
	struct gateway *from = &sim->mesh->gateway[letter->from];
	struct way *way = &from->way[letter->to];
	struct sim_process *process = process_of(to);
	int64_t wait_us = sim_wide_parted_until_us(sim, letter->from, letter->to);

	if (process && process->paused_until_us > sim->now_us && process->paused_until_us > wait_us)
		wait_us = process->paused_until_us;
	if (letter->epoch != way->epoch || !process || !to->mesh) {
		drop_letter(sim, letter);
		return;
	}
	if (wait_us) {
		if (wait_us > way->arrival_us)
			way->arrival_us = wait_us;
		sim_carry(sim, wait_us, &letters, letter);
		return;
	}
	sim_note(sim, "parcel", letter->from << 8 | letter->to, letter->size);
	runtime_tick(process->rt);
	/* (an error: it may not be here yet, which is its own business) */
	(void)mesh_frame(to->mesh, from->key, letter->bytes, letter->size, now_of(sim));
	run_at(to, sim->now_us + 1);
	sim_wake(sim, process);
	drop_letter(sim, letter);
}

static const struct sim_carrier letters = {.deliver = deliver_letter, .drop = drop_letter};

/* ---- what the engine calls -------------------------------------------------------------------------- */

static enum err op_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	struct gateway *gateway = context;

	(void)endpoint;
	(void)key;
	gateway->way[node - SIM_NODE].open = true;
	return ERR_OK;
}

static void op_close(void *context, uint64_t node)
{
	struct gateway *gateway = context;
	struct way *way = &gateway->way[node - SIM_NODE];

	way->open = false;
	way->epoch++;
}

static enum err op_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct gateway *gateway = context;
	struct sim *sim = gateway->sim;
	uint32_t other = (uint32_t)(node - SIM_NODE);
	struct way *way = &gateway->way[other];
	struct letter *letter;
	size_t size = 0;

	if (rng_chance_ppm(&sim->rng, sim->faults_on ? sim->faults.cut_ppm : 0))
		break_way(sim, way);
	if (!way->open || way->broken_until_us > sim->now_us ||
		!process_of(&sim->mesh->gateway[other]) || way->under_way >= SIM_QUEUE_FRAMES ||
		rng_chance_ppm(&sim->rng, sim->faults_on ? sim->faults.full_ppm : 0))
		return ERR_AGAIN;
	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	letter = malloc(sizeof(*letter) + size);
	MUST(letter);
	*letter = (struct letter){.from = gateway->node, .to = other, .epoch = way->epoch};
	for (size_t i = 0; i < count; i++) {
		memcpy(letter->bytes + letter->size, parts[i].iov_base, parts[i].iov_len);
		letter->size += (uint32_t)parts[i].iov_len;
	}
	int64_t at_us = sim->now_us + sim_wide_delay_us(sim, gateway->node, other) +
			rng_between(&sim->rng, 10, SIM_MS);

	way->arrival_us = at_us > way->arrival_us ? at_us : way->arrival_us;
	way->under_way++;
	sim_carry(sim, way->arrival_us, &letters, letter);
	return ERR_OK;
}

static void op_up(void *context, uint64_t node, uint64_t boot)
{
	struct gateway *gateway = context;

	sim_note(gateway->sim, "node up", gateway->node, node);
	MUST(runtime_node_up(process_of(gateway)->rt, node, boot) == ERR_OK);
}

static void op_again(void *context, uint64_t node)
{
	runtime_node_again(process_of(context)->rt, node);
}

static void op_down(void *context, uint64_t node)
{
	struct gateway *gateway = context;

	sim_note(gateway->sim, "node down", gateway->node, node);
	runtime_node_down(process_of(gateway)->rt, node);
}

static void op_frame(void *context, uint64_t node, const uint8_t *bytes, size_t size)
{
	runtime_node_frame(process_of(context)->rt, node, bytes, size);
}

static void op_told(void *context, const struct mesh_view *view)
{
	struct gateway *gateway = context;
	struct msg_mesh_node node = {
		.node = view->node,
		.boot = view->boot,
		.state = view->state,
		.rtt_us = view->rtt_us,
		.offset_us = view->offset_us,
	};

	text_copy(node.name, sizeof(node.name), view->name);
	text_copy(node.version, sizeof(node.version), view->version);
	runtime_mesh_node(process_of(gateway)->rt, gateway->owner, &node);
}

static const struct mesh_ops engine_ops = {
	.open = op_open,
	.close = op_close,
	.send = op_send,
	.up = op_up,
	.again = op_again,
	.down = op_down,
	.frame = op_frame,
	.told = op_told,
};

/* ---- what actors and the kernel call ---------------------------------------------------------------- */

static void name_endpoint(const struct gateway *gateway, char *text, size_t size)
{
	snprintf(text, size, "tcp://10.0.%u.1:7400", gateway->node);
}

static void tell_self(struct sim *sim, uint64_t node)
{
	const struct gateway *gateway = &sim->mesh->gateway[node];
	struct sim_process *process = process_of(gateway);
	struct msg_mesh_self self = {
		.key = {.size = MESH_KEY_SIZE}, .certificate = {.size = MESH_CERTIFICATE_SIZE}};

	if (!process || !gateway->owner)
		return;
	self.boot = runtime_options(process->rt)->boot;
	name_endpoint(gateway, self.endpoint, sizeof(self.endpoint));
	memcpy(self.key.data, gateway->key, MESH_KEY_SIZE);
	memcpy(self.certificate.data, gateway->certificate, MESH_CERTIFICATE_SIZE);
	runtime_tick(process->rt);
	runtime_mesh_self(process->rt, gateway->owner, &self);
	sim_wake(sim, process);
}

enum err sim_mesh_open(void *context, uint64_t owner)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	struct gateway *gateway = gateway_of(process);
	const struct config *config = sim_config_of(sim, process->node);
	char endpoint[64];

	if (!process->alive)
		return ERR_DEAD;
	name_endpoint(gateway, endpoint, sizeof(endpoint));
	gateway->owner = owner;
	gateway->mesh = mesh_create(&(struct mesh_options){
		.node = SIM_NODE + process->node,
		.boot = runtime_options(process->rt)->boot,
		.name = config->node_name,
		.version = "1",
		.endpoint = endpoint,
		.cluster_key = sim->mesh->cluster_key,
		.lost_us = config->cluster_node_lost_ms * SIM_MS,
		.ops = &engine_ops,
		.context = gateway,
	});
	MUST(gateway->mesh);
	mesh_set_certificate(gateway->mesh, gateway->certificate, MESH_CERTIFICATE_SIZE);
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 1, SELF_US), tell_self, process->node);
	run_at(gateway, sim->now_us + 1);
	return ERR_OK;
}

enum err sim_mesh_learn(void *context, const struct mesh_hint *hint)
{
	struct sim_process *process = context;
	struct gateway *gateway = gateway_of(process);
	enum err err;

	if (!gateway->mesh)
		return ERR_UNSUPPORTED;
	err = mesh_learn(gateway->mesh, hint, now_of(process->sim));
	run_at(gateway, process->sim->now_us + 1);
	return err;
}

void sim_mesh_forget(void *context, uint64_t node)
{
	struct gateway *gateway = gateway_of(context);

	if (gateway->mesh)
		mesh_forget(gateway->mesh, node);
}

enum err sim_mesh_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	struct sim_process *process = context;
	struct gateway *gateway;

	if (!process->sim->mesh)
		return sim_ways_send(context, node, parts, count);
	gateway = gateway_of(process);
	if (!process->alive || !gateway->mesh)
		return ERR_DEAD;
	return mesh_send(gateway->mesh, node, parts, count, now_of(process->sim));
}

/* Nobody knows where it is. */
static void lose(struct sim *sim, uint64_t argument)
{
	struct sim_process *process = process_of(&sim->mesh->gateway[argument >> 32]);

	if (!process)
		return;
	runtime_tick(process->rt);
	runtime_node_down(process->rt, (uint32_t)argument);
	sim_wake(sim, process);
}

void sim_mesh_wanted(void *context, uint64_t node)
{
	struct sim_process *process = context;
	struct gateway *gateway;

	if (!process->sim->mesh) {
		sim_ways_wanted(context, node);
		return;
	}
	gateway = gateway_of(process);
	if (!process->alive || !gateway->mesh)
		return;
	if (mesh_want(gateway->mesh, node, now_of(process->sim)))
		sim_at(process->sim, process->sim->now_us + 1, lose,
			(uint64_t)process->node << 32 | (uint32_t)node);
	else
		run_at(gateway, process->sim->now_us + 1);
}

/* ---- life ----------------------------------------------------------------------------------------------- */

struct sim_mesh *sim_mesh_create(struct sim *sim)
{
	struct sim_mesh *mesh = calloc(1, sizeof(*mesh));
	uint8_t secret[MESH_KEY_SIZE];

	MUST(mesh);
	rng_fill(&sim->rng, secret, sizeof(secret));
	MUST(mesh_cluster_key_public(secret, mesh->cluster_key) == ERR_OK);
	for (uint32_t node = 0; node < sim->nodes; node++) {
		struct gateway *gateway = &mesh->gateway[node];
		struct mesh_certificate says = {
			.node = SIM_NODE + node, .not_after_s = INT32_MAX, .serial = 1};

		gateway->sim = sim;
		gateway->node = node;
		gateway->run_us = INT64_MAX;
		gateway->key[0] = (uint8_t)(SIM_NODE + node);
		memcpy(says.key, gateway->key, MESH_KEY_SIZE);
		MUST(mesh_certificate_sign(&says, secret, gateway->certificate) == ERR_OK);
	}
	return mesh;
}

void sim_mesh_destroy(struct sim_mesh **mesh)
{
	for (uint32_t node = 0; *mesh && node < SIM_NODES_MAX; node++)
		mesh_destroy(&(*mesh)->gateway[node].mesh, false);
	free(*mesh);
	*mesh = NULL;
}
