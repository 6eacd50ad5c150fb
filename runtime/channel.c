/* SPDX-License-Identifier: Apache-2.0
 *
 * One way and the other of mail that leaves the process: numbered, acknowledged cumulatively, sent
 * again until acknowledged, taken once and in order. Whom a channel is to, and what stands in front of
 * its frames, is its owner's business: another process (bus.c), another node (node_bus.c).
 *
 * Where actors are kept (keep.c) the numbering is kept with them: a mail leaves after the commit that
 * has it, an acknowledgement after the commit that has what was taken.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum { MS = 1000 };

/* ---- letters on the wire ------------------------------------------------------------------------- */

enum err kernel_write_letter(
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

enum err kernel_read_letter(struct runtime *rt, struct reader *in, struct kernel_letter *letter)
{
	struct envelope envelope;
	const struct schema *schema;

	*letter = (struct kernel_letter){0};
	if (schema_decode(&schema_envelope, in, &envelope))
		return ERR_FORMAT;
	schema = schema_by_id(envelope.type);
	*letter = (struct kernel_letter){
		.to = envelope.to,
		.from = envelope.from,
		.type = envelope.type,
		.is_reply = envelope.is_reply,
		.hops = envelope.hops,
		.request = envelope.request,
		.deadline_us =
			envelope.deadline_ms ? rt->now_us + (int64_t)envelope.deadline_ms * MS : 0,
		.schema = schema,
		.body = rt->body,
	};
	if (!schema || schema->use != SCHEMA_MESSAGE || schema->size > MESSAGE_STRUCT_MAX)
		return ERR_UNSUPPORTED;
	return schema_decode(schema, in, rt->body) ? ERR_FORMAT : ERR_OK;
}

/* ---- sending ------------------------------------------------------------------------------------- */

struct outgoing *kernel_new_outgoing(
	const struct kernel_letter *letter, const void *bytes, size_t size)
{
	struct outgoing *mail = malloc(sizeof(*mail) + size);

	if (!mail)
		return NULL;
	*mail = (struct outgoing){
		.request = letter->request,
		.from = letter->from,
		.to = letter->to,
		.type = letter->type,
		.is_reply = letter->is_reply,
		.size = (uint32_t)size,
	};
	memcpy(mail->bytes, bytes, size);
	return mail;
}

void kernel_channel_line_up(struct mail_channel *channel, struct outgoing *mail)
{
	*(channel->last ? &channel->last->next : &channel->first) = mail;
	channel->last = mail;
	if (!channel->unsent)
		channel->unsent = mail;
	channel->out_count++;
	channel->out_bytes += mail->size;
}

void kernel_channel_push(struct runtime *rt, struct mail_channel *channel, channel_send *send)
{
	while (channel->unsent && channel->unsent->seq <= channel->out_kept) {
		struct outgoing *mail = channel->unsent;

		if (send(rt, channel, BUS_MAIL, mail->seq, mail->bytes, mail->size))
			return;
		if (!channel->resend_at_us)
			channel->resend_at_us = rt->now_us + RUNTIME_RESEND_MS * MS;
		channel->unsent = mail->next;
	}
}

static void resend(struct runtime *rt, struct mail_channel *channel)
{
	if (channel->first != channel->unsent) {
		rt->counters.resent_frames++;
		channel->unsent = channel->first;
	}
	channel->resend_at_us = rt->now_us + RUNTIME_RESEND_MS * MS;
}

void kernel_channel_again(struct runtime *rt, struct mail_channel *channel, channel_send *send)
{
	resend(rt, channel);
	kernel_channel_push(rt, channel, send);
	if (!channel->first)
		channel->resend_at_us = 0;
	/* an acknowledgement may have been lost on the way, too */
	channel->ack_due = true;
	channel->ack_at_us = rt->now_us;
}

/* ---- receiving ----------------------------------------------------------------------------------- */

void kernel_channel_acked(struct runtime *rt, struct mail_channel *channel, uint64_t ack)
{
	if (ack > channel->out_seq || ack <= channel->out_acked)
		return;
	channel->out_acked = ack;
	while (channel->first && channel->first->seq <= ack) {
		struct outgoing *mail = channel->first;

		if (channel->unsent == mail)
			channel->unsent = mail->next;
		channel->first = mail->next;
		channel->out_count--;
		channel->out_bytes -= mail->size;
		kernel_keep_not(rt, &mail->escrow_entry);
		free(mail);
	}
	if (!channel->first)
		channel->last = NULL;
	channel->resend_at_us = channel->first ? rt->now_us + RUNTIME_RESEND_MS * MS : 0;
}

bool kernel_channel_takes(struct runtime *rt, struct mail_channel *channel, uint64_t seq)
{
	if (!channel->ack_due) {
		channel->ack_due = true;
		channel->ack_at_us = rt->now_us + RUNTIME_ACK_MS * MS;
	}
	if (seq != channel->in_seq + 1) {
		/* already taken, or one before it was lost and will come again */
		rt->counters.duplicate_frames += seq <= channel->in_seq;
		return false;
	}
	channel->in_seq = seq;
	if (!rt->options.escrow)
		channel->in_kept = seq;
	return true;
}

/* ---- deadlines, end ------------------------------------------------------------------------------ */

int64_t kernel_channel_turn(struct runtime *rt, struct mail_channel *channel, channel_send *send)
{
	int64_t next_us = INT64_MAX;

	if (channel->resend_at_us && channel->resend_at_us <= rt->now_us)
		resend(rt, channel);
	kernel_channel_push(rt, channel, send);
	if (channel->ack_due && channel->ack_at_us <= rt->now_us &&
		send(rt, channel, BUS_ACK, 0, NULL, 0))
		channel->ack_at_us = rt->now_us + RUNTIME_ACK_MS * MS;
	if (channel->unsent)
		next_us = rt->now_us + MS; /* the transport was full: try again soon */
	if (channel->resend_at_us && channel->resend_at_us < next_us)
		next_us = channel->resend_at_us;
	if (channel->ack_due && channel->ack_at_us < next_us)
		next_us = channel->ack_at_us;
	return next_us;
}

void kernel_bounce_unacknowledged(struct runtime *rt, struct outgoing *first, bool but_monitors)
{
	while (first) {
		struct outgoing *next = first->next;

		if (!but_monitors || first->type != MSG_monitor)
			kernel_bounce(rt, first->to, first->from, first->type, first->request,
				first->is_reply, ERR_DEAD);
		kernel_keep_not(rt, &first->escrow_entry);
		free(first);
		first = next;
	}
}

void kernel_channel_fini(struct mail_channel *channel)
{
	while (channel->first) {
		struct outgoing *next = channel->first->next;

		free(channel->first);
		channel->first = next;
	}
}
