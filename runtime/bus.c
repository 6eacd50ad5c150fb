/* SPDX-License-Identifier: Apache-2.0
 *
 * Mail between processes: numbered, acknowledged cumulatively, sent again until acknowledged, taken
 * once and in order. When a process dies, all it has not acknowledged bounces to the senders, so
 * that control messages are never lost silently (ZeroMQ drops a dead peer's queue without a word).
 * Where actors are kept (keep.c) the numbering is kept with them: a mail leaves after the commit that
 * has it, an acknowledgement after the commit that has what was taken. A successor goes on with both.
 * The same code runs over ipc, later over tcp, and over the simulator's lossy links.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum { MS = 1000 };

_Static_assert(sizeof(struct bus_header) == 24, "bus header layout");

/* ---- where actors run -------------------------------------------------------------------------- */

static uint32_t block_process(const struct runtime *rt, uint64_t block)
{
	for (uint32_t i = 0; i < rt->block_count; i++)
		if (rt->blocks[i].block == block)
			return rt->blocks[i].process;
	return 0;
}

uint32_t kernel_process_of(const struct runtime *rt, uint64_t id)
{
	uint32_t moved_to = kernel_moved_to(rt, id);

	return moved_to ? moved_to : block_process(rt, id >> RUNTIME_BLOCK_SHIFT);
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
	tell_watchers(rt, info, true);
	return ERR_OK;
}

static void remove_blocks_of(struct runtime *rt, uint32_t process)
{
	for (uint32_t i = 0; i < rt->block_count; i++)
		if (rt->blocks[i].process == process)
			rt->blocks[i--] = rt->blocks[--rt->block_count];
}

/* Mails to process that were never acknowledged: back to their senders. */
static void bounce_outbox(struct runtime *rt, struct outgoing *first)
{
	while (first) {
		struct outgoing *next = first->next;

		kernel_bounce(rt, first->to, first->from, first->type, first->request,
			first->is_reply, ERR_DEAD);
		kernel_keep_not(rt, &first->escrow_entry);
		free(first);
		first = next;
	}
}

void runtime_peer_down(struct runtime *rt, uint32_t process)
{
	struct peer *peer = kernel_peer(rt, process);
	struct runtime_peer_info info;
	struct outgoing *first;

	if (!peer)
		return;
	info = peer->info;
	first = peer->first;
	kernel_keep_not(rt, &peer->escrow_entry);
	*peer = (struct peer){0};
	kernel_watches_of_dead(rt, process);
	kernel_forget_moves_to(rt, process);
	remove_blocks_of(rt, process);
	bounce_outbox(rt, first);
	kernel_fail_requests_to(rt, process);
	tell_watchers(rt, &info, false);
}

void runtime_each_peer(struct runtime *rt,
	void (*fn)(void *context, const struct runtime_peer_info *info), void *context)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used)
			fn(context, &rt->peers[i].info);
}

/* ---- sending ----------------------------------------------------------------------------------- */

static void fill_header(struct runtime *rt, struct peer *peer, enum bus_kind kind, uint64_t seq,
	struct bus_header *header)
{
	*header = (struct bus_header){
		.magic = BUS_MAGIC,
		.version = BUS_VERSION,
		.kind = (uint8_t)kind,
		.from = rt->options.process,
		.seq = seq,
		.ack = peer->in_kept,
	};
	peer->ack_due &= peer->in_kept != peer->in_seq;
}

static enum err send_frame(struct runtime *rt, struct peer *peer, enum bus_kind kind, uint64_t seq,
	const void *bytes, size_t size)
{
	struct bus_header header;
	bool ack_due = peer->ack_due;

	fill_header(rt, peer, kind, seq, &header);
	struct iovec parts[2] = {
		{.iov_base = &header,		      .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)bytes, .iov_len = size	      },
	};
	enum err err = rt->options.ops->bus_send(
		rt->options.context, peer->info.process, parts, size ? 2 : 1);

	if (err)
		peer->ack_due = ack_due;
	return err;
}

/* Hands what the transport will take to it, in order. */
static void push_unsent(struct runtime *rt, struct peer *peer)
{
	while (peer->unsent && peer->unsent->seq <= peer->out_kept) {
		struct outgoing *mail = peer->unsent;

		if (send_frame(rt, peer, BUS_MAIL, mail->seq, mail->bytes, mail->size))
			return;
		if (!peer->resend_at_us)
			peer->resend_at_us = rt->now_us + RUNTIME_RESEND_MS * MS;
		peer->unsent = mail->next;
	}
}

static enum err encode_letter(
	struct runtime *rt, const struct kernel_letter *letter, struct writer *out)
{
	struct envelope envelope = {
		.to = letter->to,
		.from = letter->from,
		.type = letter->type,
		.request = letter->request,
		.is_reply = letter->is_reply,
		.hops = letter->hops,
	};
	if (letter->deadline_us > rt->now_us)
		envelope.deadline_ms = (uint32_t)((letter->deadline_us - rt->now_us) / MS + 1);
	enum err err = schema_encode(&schema_envelope, &envelope, out);

	return err ? err : schema_encode(letter->schema, letter->body, out);
}

/* At the end of those that wait; the caller says what of it. */
static void line_up(struct peer *peer, struct outgoing *mail)
{
	*(peer->last ? &peer->last->next : &peer->first) = mail;
	peer->last = mail;
	if (!peer->unsent)
		peer->unsent = mail;
	peer->out_count++;
	peer->out_bytes += mail->size;
}

enum err kernel_bus_mail(struct runtime *rt, uint32_t process, const struct kernel_letter *letter)
{
	struct peer *peer = kernel_peer(rt, process);
	struct writer out = writer_of(rt->scratch, RUNTIME_FRAME_MAX - sizeof(struct bus_header));
	struct channel_mail head = {.process = process, .seq = peer ? peer->out_seq + 1 : 0};
	uint32_t entry = 0;
	struct outgoing *mail;
	enum err err;

	if (!peer)
		return ERR_DEAD;
	if (peer->out_count >= RUNTIME_OUTBOX_MAX || peer->out_bytes >= RUNTIME_OUTBOX_BYTES_MAX) {
		rt->counters.refused++;
		return ERR_OVERLOAD;
	}
	err = schema_encode(&schema_channel_mail, &head, &out);
	size_t before = writer_used(&out);

	err = err ? err : encode_letter(rt, letter, &out);
	if (err)
		return err == ERR_NO_SPACE ? ERR_TOO_LARGE : err;
	size_t size = writer_used(&out) - before;

	mail = malloc(sizeof(*mail) + size);
	if (!mail)
		return ERR_NO_MEMORY;
	if (rt->options.escrow) {
		entry = kernel_keep_bytes(rt, KEPT_MAIL, process, out.begin, before + size);
		if (!entry) {
			free(mail);
			rt->counters.refused++;
			return ERR_OVERLOAD;
		}
	}
	*mail = (struct outgoing){
		.seq = head.seq,
		.request = letter->request,
		.from = letter->from,
		.to = letter->to,
		.type = letter->type,
		.is_reply = letter->is_reply,
		.size = (uint32_t)size,
		.escrow_entry = entry,
	};
	memcpy(mail->bytes, out.begin + before, size);
	peer->out_seq = head.seq;
	line_up(peer, mail);
	rt->counters.mails_out++;
	if (!rt->options.escrow) { /* else when the turn is kept: kernel_bus_turn */
		peer->out_kept = peer->out_seq;
		push_unsent(rt, peer);
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
	peer->out_seq = peer->out_kept = peer->out_acked = channel->out_seq;
	peer->in_seq = peer->in_kept = channel->in_seq;
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

	if (!peer || head->seq <= (peer->last ? peer->last->seq : 0) ||
		schema_decode(&schema_envelope, in, &envelope))
		return ERR_FORMAT;
	mail = malloc(sizeof(*mail) + size);
	if (!mail)
		return ERR_NO_MEMORY;
	*mail = (struct outgoing){
		.seq = head->seq,
		.request = envelope.request,
		.from = envelope.from,
		.to = envelope.to,
		.type = envelope.type,
		.is_reply = envelope.is_reply,
		.size = (uint32_t)size,
		.escrow_entry = escrow_entry,
	};
	memcpy(mail->bytes, read_bytes(&whole, size), size);
	if (!peer->first)
		peer->out_acked = mail->seq - 1;
	line_up(peer, mail);
	return ERR_OK;
}

bool kernel_bus_is_whole(const struct runtime *rt)
{
	for (int i = 0; i < rt->peers_end; i++) {
		const struct peer *peer = &rt->peers[i];

		if (peer->used && peer->out_acked + peer->out_count != peer->out_seq)
			return false;
		if (peer->last && peer->last->seq != peer->out_seq)
			return false;
	}
	return true;
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void take_ack(struct runtime *rt, struct peer *peer, uint64_t ack)
{
	if (ack > peer->out_seq || ack <= peer->out_acked)
		return;
	peer->out_acked = ack;
	while (peer->first && peer->first->seq <= ack) {
		struct outgoing *mail = peer->first;

		if (peer->unsent == mail)
			peer->unsent = mail->next;
		peer->first = mail->next;
		peer->out_count--;
		peer->out_bytes -= mail->size;
		kernel_keep_not(rt, &mail->escrow_entry);
		free(mail);
	}
	if (!peer->first)
		peer->last = NULL;
	peer->resend_at_us = peer->first ? rt->now_us + RUNTIME_RESEND_MS * MS : 0;
}

/* Mail for an actor that has moved on: forward it, and tell the sender's process. */
static void forward_moved(
	struct runtime *rt, struct peer *peer, struct kernel_letter *letter, uint32_t process)
{
	letter->hops++;
	kernel_route(rt, letter);
	kernel_say_moved(rt, peer, letter->to, process);
}

static void take_mail(struct runtime *rt, struct peer *peer, const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct envelope envelope;
	const struct schema *schema;
	uint8_t *body = rt->body;

	if (schema_decode(&schema_envelope, &in, &envelope)) {
		rt->counters.bad_frames++;
		return;
	}
	schema = schema_by_id(envelope.type);
	if (!schema || schema->use != SCHEMA_MESSAGE || schema->size > MESSAGE_STRUCT_MAX ||
		schema_decode(schema, &in, body)) {
		rt->counters.bad_frames++;
		kernel_bounce(rt, envelope.to, envelope.from, envelope.type, envelope.request,
			envelope.is_reply, schema ? ERR_FORMAT : ERR_UNSUPPORTED);
		return;
	}
	struct kernel_letter letter = {
		.to = envelope.to,
		.from = envelope.from,
		.type = envelope.type,
		.is_reply = envelope.is_reply,
		.hops = envelope.hops,
		.request = envelope.request,
		.deadline_us =
			envelope.deadline_ms ? rt->now_us + (int64_t)envelope.deadline_ms * MS : 0,
		.schema = schema,
		.body = body,
	};
	rt->counters.mails_in++;
	if (envelope.type == MSG_moved) {
		const struct msg_moved *moved = (const void *)body;

		kernel_note_move(rt, moved->who.id, moved->process, moved->moves);
		return;
	}
	if (envelope.type == MSG_arrive) {
		kernel_move_in(rt, (const void *)body);
		return;
	}
	uint32_t process = kernel_process_of(rt, letter.to.id);

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
	take_ack(rt, peer, header.ack);
	if (header.kind == BUS_MEDIA) {
		kernel_media_frame(rt, bytes, size);
		return;
	}
	if (header.kind != BUS_MAIL)
		return;
	if (!peer->ack_due) {
		peer->ack_due = true;
		peer->ack_at_us = rt->now_us + RUNTIME_ACK_MS * MS;
	}
	if (header.seq != peer->in_seq + 1) {
		/* already taken, or one before it was lost and will come again */
		rt->counters.duplicate_frames += header.seq <= peer->in_seq;
		return;
	}
	peer->in_seq = header.seq;
	if (!rt->options.escrow)
		peer->in_kept = header.seq;
	take_mail(rt, peer, bytes, size);
}

/* ---- deadlines --------------------------------------------------------------------------------- */

static void resend(struct runtime *rt, struct peer *peer)
{
	if (peer->first != peer->unsent) {
		rt->counters.resent_frames++;
		peer->unsent = peer->first;
	}
	peer->resend_at_us = rt->now_us + RUNTIME_RESEND_MS * MS;
}

void runtime_peer_again(struct runtime *rt, uint32_t process)
{
	struct peer *peer = kernel_peer(rt, process);

	if (!peer)
		return;
	peer->restored = false;
	resend(rt, peer);
	push_unsent(rt, peer);
	if (!peer->first)
		peer->resend_at_us = 0;
	/* an acknowledgement may have been lost on the way, too */
	peer->ack_due = true;
	peer->ack_at_us = rt->now_us;
}

int64_t kernel_bus_turn(struct runtime *rt)
{
	int64_t next_us = INT64_MAX;

	for (int i = 0; i < rt->peers_end; i++) {
		struct peer *peer = &rt->peers[i];

		if (!peer->used)
			continue;
		if (peer->resend_at_us && peer->resend_at_us <= rt->now_us)
			resend(rt, peer);
		push_unsent(rt, peer);
		if (peer->ack_due && peer->ack_at_us <= rt->now_us &&
			send_frame(rt, peer, BUS_ACK, 0, NULL, 0))
			peer->ack_at_us = rt->now_us + RUNTIME_ACK_MS * MS;
		if (peer->unsent && rt->now_us + MS < next_us)
			next_us = rt->now_us + MS; /* the transport was full: try again soon */
		if (peer->resend_at_us && peer->resend_at_us < next_us)
			next_us = peer->resend_at_us;
		if (peer->ack_due && peer->ack_at_us < next_us)
			next_us = peer->ack_at_us;
	}
	return next_us;
}

void kernel_bus_fini(struct runtime *rt)
{
	for (int i = 0; i < rt->peers_end; i++) {
		while (rt->peers[i].first) {
			struct outgoing *next = rt->peers[i].first->next;

			free(rt->peers[i].first);
			rt->peers[i].first = next;
		}
	}
}
