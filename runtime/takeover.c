/* SPDX-License-Identifier: Apache-2.0
 *
 * A successor goes on with what its line's last process left in arena and escrow (decision 14).
 */
#include "runtime/kernel.h"

#include <stdlib.h>

static void restore_entry(
	struct runtime *rt, struct runtime_takeover_report *report, uint8_t *bytes, uint32_t entry)
{
	uint64_t id;
	size_t size;
	struct reader in;
	struct actor *actor;
	enum err err = escrow_read(rt->options.escrow, entry, &id, bytes, RUNTIME_FRAME_MAX, &size);

	if (err == ERR_NOT_FOUND)
		return;
	in = reader_of(bytes, err ? 0 : size);
	err = err ? err : runtime_restore_actor(rt, &in);
	actor = idmap_get(&rt->actors, id);
	if (actor)
		actor->escrow_entry = entry;
	else
		escrow_remove(rt->options.escrow, entry);
	report->restored += !err;
	report->ended_by_restore += err && actor;
	report->left_out += err && !actor;
}

enum err runtime_takeover(struct runtime *rt, struct runtime_takeover_report *report)
{
	int64_t since_us = rt->options.ops->now_us(rt->options.context);
	uint8_t *bytes = malloc(RUNTIME_FRAME_MAX);

	*report = (struct runtime_takeover_report){0};
	if (!bytes)
		return ERR_NO_MEMORY;
	arena_recount_begin(rt->options.arena);
	for (uint32_t entry = 1; entry <= escrow_entries(rt->options.escrow); entry++)
		restore_entry(rt, report, bytes, entry);
	report->slots_freed = arena_recount_end(rt->options.arena);
	runtime_restore_end(rt);
	free(bytes);
	report->took_us = rt->options.ops->now_us(rt->options.context) - since_us;
	return ERR_OK;
}

void runtime_peer_again(struct runtime *rt, uint32_t process)
{
	struct peer *peer = kernel_peer(rt, process);

	if (!peer)
		return;
	peer->in_seq = peer->in_kept = peer->out_seq = peer->out_acked = 0;
	for (struct outgoing *mail = peer->first; mail; mail = mail->next)
		mail->seq = ++peer->out_seq;
	peer->unsent = peer->first;
}

void runtime_note_fatal(const struct runtime *rt)
{
	(void)rt;
}
