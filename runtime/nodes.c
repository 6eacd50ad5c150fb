/* SPDX-License-Identifier: Apache-2.0
 *
 * Other nodes as every process knows them: which are up, what their loss means to the actors here, who
 * takes media for them, and the addresses of their offices. Mail to them goes by the gateway, the
 * control process, which says what it sees to the other processes of its node (decision 20):
 *
 *   gateway --node_seen: up, began anew, lost--> processes --node_seen--> actors that watch nodes
 *           --node_gone: nobody will answer----> processes: requests fail, watches fire or are renewed
 *   process --node_seen: I took it to be up----> a gateway that has begun anew
 *
 * Owns rt->nodes; the channels in it are node_bus.c's.
 */
#include "runtime/kernel.h"
#include "runtime/process.h"

#include <stdlib.h>

/* ---- the gateway --------------------------------------------------------------------------------- */

bool kernel_is_gateway(const struct runtime *rt)
{
	return rt->options.role == PROCESS_CONTROL && rt->options.ops->node_send;
}

/* While it is replaced both may be known: the later one is to be. */
uint32_t kernel_gateway(const struct runtime *rt)
{
	uint32_t process = 0;

	if (rt->options.role == PROCESS_CONTROL)
		return kernel_is_gateway(rt) ? rt->options.process : 0;
	for (int i = 0; i < rt->peers_end; i++) {
		const struct peer *peer = &rt->peers[i];

		if (peer->used && peer->info.role == PROCESS_CONTROL &&
			peer->info.process > process)
			process = peer->info.process;
	}
	return process;
}

/* ---- the table ----------------------------------------------------------------------------------- */

struct far_node *kernel_node(const struct runtime *rt, uint64_t id)
{
	return rt->nodes.count ? idmap_get(&rt->nodes, id) : NULL;
}

struct far_node *kernel_node_note(struct runtime *rt, uint64_t id)
{
	struct far_node *node = kernel_node(rt, id);

	if (node || rt->nodes.count >= RUNTIME_NODES_MAX)
		return node;
	node = calloc(1, sizeof(*node));
	if (node && idmap_put(&rt->nodes, id, node)) {
		free(node);
		return NULL;
	}
	if (node) {
		node->id = id;
		node->number = ++rt->node_numbers;
	}
	return node;
}

void kernel_node_tidy(struct runtime *rt, struct far_node *node)
{
	if (node->boot || node->wanted || node->active || !addr_is_nobody(node->link))
		return;
	MUST(!node->mail.first);
	free(idmap_remove(&rt->nodes, node->id));
}

void kernel_nodes_fini(struct runtime *rt)
{
	for (size_t i = 0; i < rt->nodes.capacity; i++) {
		struct far_node *node = rt->nodes.entries[i].value;

		if (node)
			kernel_channel_fini(&node->mail);
		free(node);
	}
	idmap_fini(&rt->nodes);
}

void runtime_each_node(
	struct runtime *rt, void (*fn)(void *context, uint64_t node, uint64_t boot), void *context)
{
	for (size_t i = 0; i < rt->nodes.capacity; i++) {
		const struct far_node *node = rt->nodes.entries[i].value;

		if (node && node->boot)
			fn(context, node->id, node->boot);
	}
}

enum err runtime_media_route(struct runtime *rt, uint64_t id, struct addr link)
{
	struct far_node *node =
		addr_is_nobody(link) ? kernel_node(rt, id) : kernel_node_note(rt, id);

	if (!node)
		return addr_is_nobody(link) ? ERR_OK : ERR_NO_MEMORY;
	node->link = link;
	kernel_node_tidy(rt, node);
	return ERR_OK;
}

/* ---- who is up ----------------------------------------------------------------------------------- */

static void tell_actor(struct actor *actor, const struct msg_node_seen *seen)
{
	kernel_deliver(actor->rt, &(struct kernel_letter){.to = actor_addr(actor),
					  .from = actor_addr(actor),
					  .type = MSG_node_seen,
					  .schema = &schema_node_seen,
					  .body = seen});
}

void kernel_node_tell_watchers(struct runtime *rt, const struct msg_node_seen *seen)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->watches_nodes)
			tell_actor(actor, seen);
}

void actor_watch_nodes(struct actor *self)
{
	const struct idmap *nodes = &self->rt->nodes;

	self->watches_nodes = true;
	for (size_t i = 0; i < nodes->capacity; i++) {
		const struct far_node *node = nodes->entries[i].value;

		if (node && node->boot)
			tell_actor(self, &(struct msg_node_seen){
						 .node = node->id, .boot = node->boot, .up = true});
	}
}

/* The gateway has said so. One that is lost is told of even when it was not known here: our
 * predecessor's actors may have known it. */
static void take_seen(struct runtime *rt, const struct msg_node_seen *seen)
{
	uint64_t boot = seen->up ? seen->boot : 0;
	struct far_node *node =
		boot ? kernel_node_note(rt, seen->node) : kernel_node(rt, seen->node);

	if (node && boot && node->boot == boot)
		return;
	if (node) {
		node->boot = boot;
		kernel_node_tidy(rt, node);
	}
	kernel_node_tell_watchers(rt,
		&(struct msg_node_seen){
			.node = seen->node, .boot = boot, .up = boot != 0, .barred = seen->barred});
}

/* ---- between the processes of this node ---------------------------------------------------------- */

static void tell_process(struct runtime *rt, const struct runtime_peer_info *peer, uint16_t type,
	const struct schema *schema, const void *message)
{
	kernel_bus_mail(rt, peer->process,
		&(struct kernel_letter){.to = kernel_peer_office(rt, peer),
			.from = {.node = rt->options.node}, /* nobody: it never bounces */
			.type = type,
			.schema = schema,
			.body = message});
}

void kernel_tell_processes(
	struct runtime *rt, uint16_t type, const struct schema *schema, const void *message)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used)
			tell_process(rt, &rt->peers[i].info, type, schema, message);
}

void kernel_tell_of_nodes(struct runtime *rt, const struct runtime_peer_info *peer)
{
	for (size_t i = 0; i < rt->nodes.capacity; i++) {
		const struct far_node *node = rt->nodes.entries[i].value;
		struct msg_node_seen seen = {.up = true};

		if (!node || !node->boot)
			continue;
		seen.node = node->id;
		seen.boot = node->boot;
		tell_process(rt, peer, MSG_node_seen, &schema_node_seen, &seen);
	}
}

void kernel_meet_process(struct runtime *rt, const struct runtime_peer_info *peer)
{
	if (kernel_is_gateway(rt)) {
		kernel_tell_of_nodes(rt, peer);
	} else if (peer->process == kernel_gateway(rt)) {
		/* it begins anew: what went by the one before may be lost, both ways */
		kernel_tell_of_nodes(rt, peer);
		kernel_watches_of_node(rt, 0, false);
	}
}

void kernel_node_gone(struct runtime *rt, const struct msg_node_gone *gone)
{
	kernel_fail_requests_to_node(rt, gone);
	kernel_watches_of_node(rt, gone->node, gone->lost);
}

bool kernel_take_node_news(struct runtime *rt, const struct runtime_peer_info *from,
	const struct kernel_letter *letter)
{
	bool from_gateway = from->process == kernel_gateway(rt);

	if (letter->type == MSG_node_seen) {
		const struct msg_node_seen *seen = letter->body;

		if (kernel_is_gateway(rt) && seen->node != rt->options.node)
			kernel_node_want_again(rt, seen->node);
		else if (from_gateway)
			take_seen(rt, seen);
		return true;
	}
	if (letter->type == MSG_node_gone) {
		const struct msg_node_gone gone = *(const struct msg_node_gone *)letter->body;

		if (from_gateway) /* (of one that has been replaced: its successor asks anew) */
			kernel_node_gone(rt, &gone);
		return true;
	}
	return false;
}

/* ---- offices of other nodes ---------------------------------------------------------------------- */

/* Below the first block: the office, and 16 times more than that the worker's index + 1. */
static struct addr office_alias(uint64_t node, enum office office, uint64_t worker)
{
	return (struct addr){.node = node, .id = worker * OFFICE_SERIALS + office};
}

bool kernel_is_alias(struct addr who)
{
	return who.id && who.id >> RUNTIME_BLOCK_SHIFT == 0;
}

static struct addr office_of_worker(const struct runtime *rt, enum office office, uint32_t index)
{
	uint64_t block = 0;

	if (rt->options.role == PROCESS_MEDIA && rt->options.index == index)
		block = rt->options.block;
	for (int i = 0; i < rt->peers_end && !block; i++) {
		const struct peer *peer = &rt->peers[i];

		if (peer->used && peer->info.role == PROCESS_MEDIA && peer->info.index == index)
			block = peer->info.block;
	}
	return block ? (struct addr){.node = rt->options.node,
			       .id = block << RUNTIME_BLOCK_SHIFT | office}
		     : (struct addr){0};
}

struct addr kernel_of_alias(const struct runtime *rt, struct addr alias)
{
	uint64_t worker = alias.id / OFFICE_SERIALS;
	enum office office = (enum office)(alias.id % OFFICE_SERIALS);
	struct addr found = {
		.node = rt->options.node, .id = rt->options.block << RUNTIME_BLOCK_SHIFT | office};

	if (worker)
		found = office_of_worker(rt, office, (uint32_t)(worker - 1));
	return addr_is_nobody(found) ? alias : found;
}

struct addr actor_office_at(struct actor *self, enum office office, uint64_t node)
{
	return node == self->rt->options.node ? actor_office(self, office)
					      : office_alias(node, office, 0);
}

struct addr actor_office_at_worker(
	struct actor *self, enum office office, uint64_t node, uint32_t index)
{
	return node == self->rt->options.node ? office_of_worker(self->rt, office, index)
					      : office_alias(node, office, index + 1ull);
}
