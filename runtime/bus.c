/* SPDX-License-Identifier: Apache-2.0
 *
 * Mail between the processes of a node, by one channel (channel.c) to each. When a process dies, all
 * that it has not acknowledged bounces to the senders, so that control messages are never lost silently
 * (ZeroMQ drops a dead peer's queue without a word). A successor goes on with the channels of whom it
 * replaces. The same code runs over ipc and over the simulator's lossy bus.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

_Static_assert(sizeof(struct bus_header) == 24, "bus header layout");

/* ---- where actors run -------------------------------------------------------------------------- */

static uint32_t block_process(const struct runtime *rt, uint64_t block)
{
	for (uint32_t i = 0; i < rt->block_count; i++)
		if (rt->blocks[i].block == block)
			return rt->blocks[i].process;
	return 0;
}

bool kernel_is_ours(const struct runtime *rt, struct addr who)
{
	return who.node == rt->options.node || who.node == 0;
}

struct actor *kernel_local(const struct runtime *rt, struct addr who)
{
	return kernel_is_ours(rt, who) ? idmap_get(&rt->actors, who.id) : NULL;
}

uint32_t kernel_process_of(const struct runtime *rt, struct addr who)
{
	uint32_t moved_to;

	if (!kernel_is_ours(rt, who))
		return kernel_gateway(rt);
	moved_to = kernel_moved_to(rt, who.id);
	return moved_to ? moved_to : block_process(rt, who.id >> RUNTIME_BLOCK_SHIFT);
}

void runtime_block_moved(struct runtime *rt, uint64_t block, uint32_t process)
{
	for (uint32_t i = 0; i < rt->block_count; i++) {
		if (rt->blocks[i].block == block) {
			rt->blocks[i].process = process;
			return;
		}
	}
	if (rt->block_count < sizeof(rt->blocks) / sizeof(rt->blocks[0]))
		rt->blocks[rt->block_count++] =
			(struct block_owner){.block = block, .process = process};
}

/* ---- peers ------------------------------------------------------------------------------------- */

struct peer *kernel_peer(struct runtime *rt, uint32_t process)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used && rt->peers[i].info.process == process)
			return &rt->peers[i];
	return NULL;
}

bool runtime_peer_known(const struct runtime *rt, uint32_t process)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used && rt->peers[i].info.process == process)
			return true;
	return false;
}

static void tell_about_peer(struct actor *actor, const struct runtime_peer_info *info, bool up)
{
	struct msg_peer peer = {
		.process = info->process, .role = info->role, .index = info->index, .up = up};

	kernel_deliver(actor->rt, &(struct kernel_letter){.to = actor_addr(actor),
					  .from = actor_addr(actor),
					  .type = MSG_peer,
					  .schema = &schema_peer,
					  .body = &peer});
}

static void tell_watchers(struct runtime *rt, const struct runtime_peer_info *info, bool up)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->watches_peers)
			tell_about_peer(actor, info, up);
}

void actor_watch_peers(struct actor *self)
{
	self->watches_peers = true;
	for (int i = 0; i < self->rt->peers_end; i++)
		if (self->rt->peers[i].used)
			tell_about_peer(self, &self->rt->peers[i].info, true);
}

enum err runtime_peer_up(struct runtime *rt, const struct runtime_peer_info *info)
{
	struct peer *peer = kernel_peer(rt, info->process);

	if (peer && peer->restored) {
		runtime_peer_again(rt, info->process);
		return ERR_OK;
	}
	if (peer)
		return ERR_EXISTS;
	for (int i = 0; i < RUNTIME_PEERS_MAX && !peer; i++)
		if (!rt->peers[i].used)
			peer = &rt->peers[i];
	if (!peer)
		return ERR_LIMIT;
	if (peer - rt->peers >= rt->peers_end)
		rt->peers_end = (int)(peer - rt->peers) + 1;
	*peer = (struct peer){.used = true, .info = *info};
	runtime_block_moved(rt, info->block, info->process);
	kernel_tell_newcomer(rt, peer);
	kernel_meet_process(rt, info);
	tell_watchers(rt, info, true);
	return ERR_OK;
}

static void remove_blocks_of(struct runtime *rt, uint32_t process)
{
	for (uint32_t i = 0; i < rt->block_count; i++)
		if (rt->blocks[i].process == process)
			rt->blocks[i--] = rt->blocks[--rt->block_count];
}

void runtime_peer_down(struct runtime *rt, uint32_t process)
{
	struct peer *peer = kernel_peer(rt, process);
	struct runtime_peer_info info;
	struct outgoing *first;

	if (!peer)
		return;
	info = peer->info;
	first = peer->mail.first;
	kernel_keep_not(rt, &peer->escrow_entry);
	*peer = (struct peer){0};
	kernel_watches_of_dead(rt, process);
	kernel_forget_moves_to(rt, process);
	remove_blocks_of(rt, process);
	kernel_bounce_unacknowledged(rt, first, false);
	kernel_fail_requests_to(rt, process);
	kernel_nodes_hear_of_end(rt, &info);
	tell_watchers(rt, &info, false);
}

void runtime_each_peer(struct runtime *rt,
	void (*fn)(void *context, const struct runtime_peer_info *info), void *context)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used)
			fn(context, &rt->peers[i].info);
}

struct addr kernel_peer_office(const struct runtime *rt, const struct runtime_peer_info *info)
{
	return (struct addr){.node = rt->options.node,
		.id = info->block << RUNTIME_BLOCK_SHIFT | OFFICE_PROCESS};
}

/* ---- sending ----------------------------------------------------------------------------------- */

static enum err send_frame(struct runtime *rt, struct mail_channel *channel, enum bus_kind kind,
	uint64_t seq, const void *bytes, size_t size)
{
	struct peer *peer = (struct peer *)((uint8_t *)channel - offsetof(struct peer, mail));
	struct bus_header header = {
		.magic = BUS_MAGIC,
		.version = BUS_VERSION,
		.kind = (uint8_t)kind,
		.from = rt->options.process,
		.seq = seq,
		.ack = channel->in_kept,
	};
	struct iovec parts[2] = {
		{.iov_base = &header,		      .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)bytes, .iov_len = size	      },
	};
	enum err err = rt->options.ops->bus_send(
		rt->options.context, peer->info.process, parts, size ? 2 : 1);

	if (!err)
		channel->ack_due &= channel->in_kept != channel->in_seq;
	return err;
}

enum err kernel_bus_mail(struct runtime *rt, uint32_t process, const struct kernel_letter *letter)
{
	struct peer *peer = kernel_peer(rt, process);
	struct writer out = writer_of(rt->scratch, RUNTIME_FRAME_MAX - sizeof(struct bus_header));
	struct channel_mail head = {.process = process, .seq = peer ? peer->mail.out_seq + 1 : 0};
	struct outgoing *mail;
	enum err err;

	if (!peer)
		return ERR_DEAD;
	if (peer->mail.out_count >= RUNTIME_OUTBOX_MAX ||
		peer->mail.out_bytes >= RUNTIME_OUTBOX_BYTES_MAX) {
		rt->counters.refused++;
		return ERR_OVERLOAD;
	}
	err = schema_encode(&schema_channel_mail, &head, &out);
	size_t before = writer_used(&out);

	err = err ? err : kernel_write_letter(rt, letter, &out);
	if (err)
		return err == ERR_NO_SPACE ? ERR_TOO_LARGE : err;
	size_t size = writer_used(&out) - before;

	mail = kernel_new_outgoing(letter, out.begin + before, size);
	if (!mail)
		return ERR_NO_MEMORY;
	if (rt->options.escrow) {
		mail->escrow_entry =
			kernel_keep_bytes(rt, KEPT_MAIL, process, out.begin, before + size);
		if (!mail->escrow_entry) {
			free(mail);
			rt->counters.refused++;
			return ERR_OVERLOAD;
		}
	}
	mail->seq = peer->mail.out_seq = head.seq;
	kernel_channel_line_up(&peer->mail, mail);
	rt->counters.mails_out++;
	if (!rt->options.escrow) { /* else when the turn is kept: kernel_bus_turn */
		peer->mail.out_kept = peer->mail.out_seq;
		kernel_channel_push(rt, &peer->mail, send_frame);
	}
	return ERR_OK;
}

/* ---- taken over from a predecessor --------------------------------------------------------------- */

enum err kernel_bus_restore_peer(
	struct runtime *rt, const struct channel *channel, uint32_t escrow_entry)
{
	struct runtime_peer_info info = {.process = channel->process,
		.block = channel->block,
		.role = channel->role,
		.index = channel->index};
	enum err err;
	struct peer *peer;

	if (!info.process || info.process == rt->options.process)
		return ERR_FORMAT;
	err = runtime_peer_up(rt, &info);
	if (err)
		return err;
	peer = kernel_peer(rt, info.process);
	peer->restored = true;
	peer->mail.out_seq = peer->mail.out_kept = peer->mail.out_acked = channel->out_seq;
	peer->mail.in_seq = peer->mail.in_kept = channel->in_seq;
	peer->escrow_entry = escrow_entry;
	return ERR_OK;
}

enum err kernel_bus_restore_mail(struct runtime *rt, const struct channel_mail *head,
	struct reader *in, uint32_t escrow_entry)
{
	struct peer *peer = kernel_peer(rt, head->process);
	struct reader whole = *in;
	struct envelope envelope;
	struct outgoing *mail;
	size_t size = reader_left(in);

	if (!peer || head->seq <= (peer->mail.last ? peer->mail.last->seq : 0) ||
		schema_decode(&schema_envelope, in, &envelope))
		return ERR_FORMAT;
	mail = kernel_new_outgoing(&(struct kernel_letter){.to = envelope.to,
					   .from = envelope.from,
					   .type = envelope.type,
					   .is_reply = envelope.is_reply,
					   .request = envelope.request},
		read_bytes(&whole, size), size);
	if (!mail)
		return ERR_NO_MEMORY;
	mail->seq = head->seq;
	mail->escrow_entry = escrow_entry;
	if (!peer->mail.first)
		peer->mail.out_acked = mail->seq - 1;
	kernel_channel_line_up(&peer->mail, mail);
	return ERR_OK;
}

bool kernel_bus_is_whole(const struct runtime *rt)
{
	for (int i = 0; i < rt->peers_end; i++) {
		const struct peer *peer = &rt->peers[i];

		if (peer->used && peer->mail.out_acked + peer->mail.out_count != peer->mail.out_seq)
			return false;
		if (peer->mail.last && peer->mail.last->seq != peer->mail.out_seq)
			return false;
	}
	return true;
}

/* ---- receiving --------------------------------------------------------------------------------- */

/* Mail for an actor that has moved on: forward it, and tell the sender's process. */
static void forward_moved(
	struct runtime *rt, struct peer *peer, struct kernel_letter *letter, uint32_t process)
{
	letter->hops++;
	kernel_route(rt, letter);
	kernel_say_moved(rt, peer, letter->to, process);
}

/* What kernels say to each other. */
static bool is_for_kernel(struct runtime *rt, struct peer *peer, const struct kernel_letter *letter)
{
	if (letter->type == MSG_moved) {
		const struct msg_moved *moved = letter->body;

		kernel_note_move(rt, moved->who.id, moved->process, moved->moves);
	} else if (letter->type == MSG_arrive) {
		kernel_move_in(rt, letter->body);
	} else {
		return kernel_take_node_news(rt, &peer->info, letter);
	}
	return true;
}

static void take_mail(struct runtime *rt, struct peer *peer, const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct kernel_letter letter;
	enum err err = kernel_read_letter(rt, &in, &letter);

	if (err) {
		rt->counters.bad_frames++;
		kernel_bounce(rt, letter.to, letter.from, letter.type, letter.request,
			letter.is_reply, err);
		return;
	}
	rt->counters.mails_in++;
	if (is_for_kernel(rt, peer, &letter))
		return;
	if (!kernel_is_ours(rt, letter.to)) {
		letter.hops++;
		kernel_route(rt, &letter);
		return;
	}
	uint32_t process = kernel_process_of(rt, letter.to);

	if (!idmap_get(&rt->actors, letter.to.id) && process && process != rt->options.process)
		forward_moved(rt, peer, &letter, process);
	else
		kernel_deliver(rt, &letter);
}

void runtime_bus_frame(struct runtime *rt, const uint8_t *bytes, size_t size)
{
	struct bus_header header;
	struct peer *peer;

	if (size < sizeof(header) || size > RUNTIME_FRAME_MAX) {
		rt->counters.bad_frames++;
		return;
	}
	memcpy(&header, bytes, sizeof(header));
	bytes += sizeof(header);
	size -= sizeof(header);
	peer = kernel_peer(rt, header.from);
	if (header.magic != BUS_MAGIC || header.version != BUS_VERSION || !peer) {
		rt->counters.bad_frames++;
		return;
	}
	kernel_channel_acked(rt, &peer->mail, header.ack);
	if (header.kind == BUS_MEDIA) {
		kernel_media_frame(rt, bytes, size);
		return;
	}
	if (header.kind == BUS_MAIL && kernel_channel_takes(rt, &peer->mail, header.seq))
		take_mail(rt, peer, bytes, size);
}

/* ---- deadlines --------------------------------------------------------------------------------- */

void runtime_peer_again(struct runtime *rt, uint32_t process)
{
	struct peer *peer = kernel_peer(rt, process);

	if (!peer)
		return;
	peer->restored = false;
	kernel_channel_again(rt, &peer->mail, send_frame);
	if (kernel_is_gateway(rt)) /* a successor knows of none */
		kernel_tell_of_nodes(rt, &peer->info);
}

int64_t kernel_bus_turn(struct runtime *rt)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < rt->peers_end; i++) {
		struct peer *peer = &rt->peers[i];
		int64_t at_us =
			peer->used ? kernel_channel_turn(rt, &peer->mail, send_frame) : INT64_MAX;

		if (at_us < next_us)
			next_us = at_us;
	}
	return next_us;
}

void kernel_bus_fini(struct runtime *rt)
{
	for (int i = 0; i < rt->peers_end; i++)
		kernel_channel_fini(&rt->peers[i].mail);
}
