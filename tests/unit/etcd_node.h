/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes (cluster_node.h) around one etcd, which is a model (etcd_model.h): they and it have the same
 * time.
 */
#ifndef MILLRACE_ETCD_NODE_H
#define MILLRACE_ETCD_NODE_H

#include "runtime/config.h"
#include "tests/etcd_model.h"
#include "tests/unit/cluster_node.h"

enum { REGION_NODES = 3 };

struct region {
	struct etcd_model *model;
	struct config *config;
	struct node *node[REGION_NODES];
	int nodes;
};

static enum err region_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	struct node *node = context;

	return model_start(node->outside, node->process[0], request, owner, what);
}

static enum err region_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request)
{
	struct node *node = context;

	return model_read(node->outside, node->process[0], stream, owner, request);
}

static void region_http_cancel(void *context, uint64_t owner, uint64_t id)
{
	struct node *node = context;

	model_cancel(node->outside, node->process[0], owner, id);
}

/* Mail between nodes gets lost: none of these tests needs any. */
static enum err region_node_send(
	void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	(void)context, (void)node, (void)parts, (void)count;
	return ERR_OK;
}

static void region_node_wanted(void *context, uint64_t node)
{
	(void)context, (void)node;
}

static const struct runtime_ops region_ops = {
	.now_us = node_now_us,
	.wall_us = node_wall_us,
	.random = node_random,
	.bus_send = node_bus_send,
	.net_close = node_net_close,
	.mesh_open = node_mesh_open,
	.mesh_learn = node_mesh_learn,
	.mesh_forget = node_mesh_forget,
	.mesh_revoke = node_mesh_revoke,
	.node_send = region_node_send,
	.node_wanted = region_node_wanted,
	.http_start = region_http_start,
	.http_read = region_http_read,
	.http_cancel = region_http_cancel,
};

static struct region region_create(int nodes, uint64_t seed)
{
	struct region region = {.model = model_create(seed), .nodes = nodes};
	static struct config_report report;

	region.config = calloc(1, sizeof(*region.config));
	config_init(region.config, &report);
	CHECK_OK(config_set(
		region.config, "coord", "etcd://a:2379,b:2379", CONFIG_FROM_FLAG, "", &report));
	for (int i = 0; i < nodes; i++) {
		region.node[i] = node_create();
		region.node[i]->id = (uint64_t)(NODE_ID + i);
		region.node[i]->config = region.config;
		region.node[i]->ops = &region_ops;
		region.node[i]->outside = region.model;
		region.node[i]->rng = rng_of(seed + (uint64_t)i);
	}
	return region;
}

static void region_run_ms(struct region *region, int ms)
{
	while (ms-- > 0) {
		for (int i = 0; i < region->nodes; i++)
			node_run_ms(region->node[i], 1);
		region->model->now_us = region->node[0]->now_us;
		model_run(region->model);
	}
}

/* The process is no more, and nobody waits for answers to it. */
__attribute__((unused)) static void region_kill(struct region *region, int node, int slot)
{
	model_forget(region->model, region->node[node]->process[slot]);
	node_kill(region->node[node], slot);
}

static void region_destroy(struct region *region)
{
	for (int i = 0; i < region->nodes; i++)
		node_destroy(region->node[i]);
	model_destroy(region->model);
	free(region->config);
}

#endif
