/* SPDX-License-Identifier: Apache-2.0
 *
 * The other processes of the node, as the status page tells of them. A peer is a line: when its
 * process is killed it stays, mail to it waits, and the process that goes on with it is connected to
 * anew. It is down only when its line has ended.
 */
#include "runtime/live_internal.h"

enum { LOOK_US = 1000 };

static bool is_reachable(uint32_t state)
{
	return state == PROCESS_READY || state == PROCESS_DRAINING || state == PROCESS_RESTORING;
}

static void lose(struct live *live, struct live_peer *peer)
{
	uint32_t gone = peer->process;

	live_bus_disconnect(peer);
	*peer = (struct live_peer){0};
	runtime_peer_down(live->rt, gone);
}

static void meet(struct live *live, const struct process_status *row, struct live_peer *peer)
{
	struct runtime_peer_info info = {
		.process = peer->process,
		.block = atomic_load_explicit(&row->block, memory_order_relaxed),
		.role = (uint8_t)atomic_load_explicit(&row->role, memory_order_relaxed),
		.index = atomic_load_explicit(&row->index, memory_order_relaxed),
	};

	if (runtime_peer_known(live->rt, peer->process))
		runtime_peer_again(live->rt, peer->process);
	else
		runtime_peer_up(live->rt, &info);
}

/* The numbers of a row are written one after the other: what says who runs there is read first. */
static void look_at_row(struct live *live, struct process_status *row, struct live_peer *peer)
{
	uint32_t incarnation = atomic_load_explicit(&row->incarnation, memory_order_acquire);
	uint32_t line = atomic_load_explicit(&row->line, memory_order_acquire);
	uint32_t state = atomic_load_explicit(&row->state, memory_order_acquire);

	if (!peer->process && line && runtime_peer_known(live->rt, line))
		peer->process = line; /* our predecessor knew it */
	if (peer->process && (peer->process != line || state == PROCESS_DRAINED))
		lose(live, peer);
	if (peer->socket && (peer->incarnation != incarnation || !is_reachable(state)))
		live_bus_disconnect(peer);
	if (peer->socket || !line || !incarnation || row == live->own || !is_reachable(state))
		return;
	peer->process = line;
	peer->incarnation = incarnation;
	if (live_bus_connect(live, peer) == ERR_OK)
		meet(live, row, peer);
	else
		live_bus_disconnect(peer);
}

void live_look_at_peers(struct live *live, int64_t now_us)
{
	if (now_us && now_us - live->peers_looked_us < LOOK_US)
		return;
	live->peers_looked_us = now_us;
	for (uint32_t i = 0; i < PROCESS_PEERS_MAX; i++)
		look_at_row(live, &live->env->page->slot[i], &live->peers[i]);
}

/* ---- after a takeover ------------------------------------------------------------------------- */

struct gone {
	const struct live *live;
	uint32_t count;
	uint32_t process[RUNTIME_PEERS_MAX];
};

static void note_gone(void *context, const struct runtime_peer_info *info)
{
	struct gone *gone = context;

	for (uint32_t i = 0; i < PROCESS_PEERS_MAX; i++)
		if (gone->live->peers[i].process == info->process)
			return;
	gone->process[gone->count++] = info->process;
}

void live_meet_peers_again(struct live *live)
{
	struct gone gone = {.live = live};

	live_look_at_peers(live, 0);
	runtime_each_peer(live->rt, note_gone, &gone);
	for (uint32_t i = 0; i < gone.count; i++)
		runtime_peer_down(live->rt, gone.process[i]);
}
