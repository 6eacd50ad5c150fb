/* SPDX-License-Identifier: Apache-2.0
 *
 * Mail between nodes, in the gateway: one channel (channel.c) to the gateway of each node that
 * something is said to (decision 20).
 *
 *   (unknown) --mail for it--> wanted --node_up--> up --first frame of theirs--> talks
 *                                 \--too long, node_down--> lost: all bounces, requests fail, watches fire
 *   up, talks --node_up with another boot, a new number of theirs--> up: what was not acknowledged
 *             bounces, requests fail, watches are asked for anew
 *
 * Each end of a channel has a number, a new one whenever its side gave the other up; a frame says both
 * and is taken only by whom it means. So what was on the way when a channel ended belongs to nobody, and
 * a side that did not notice the other's loss of it learns so from the next frame.
 *
 * Untrusted: the frames. Never relays: what comes is for this node, what leaves is from it.
 */
#include "runtime/kernel.h"
#include "runtime/process.h"

#include <stdlib.h>

enum { MS = 1000 };

_Static_assert(sizeof(struct node_header) == 48, "node header layout");

/* ---- frames out ---------------------------------------------------------------------------------- */

static struct far_node *node_of(struct mail_channel *channel)
{
	return (struct far_node *)((uint8_t *)channel - offsetof(struct far_node, mail));
}

static enum err send_frame(struct runtime *rt, struct mail_channel *channel, enum bus_kind kind,
	uint64_t seq, const void *bytes, size_t size)
{
	const struct far_node *node = node_of(channel);
	struct node_header header = {
		.magic = BUS_MAGIC,
		.version = BUS_VERSION,
		.kind = (uint8_t)kind,
		.number = node->number,
		.boot = rt->options.boot,
		.to_boot = node->theirs ? node->boot : 0,
		.to_number = node->theirs,
		.seq = seq,
		.ack = channel->in_kept,
	};
	struct iovec parts[2] = {
		{.iov_base = &header,		      .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)bytes, .iov_len = size	      },
	};
	enum err err;

	if (kind == BUS_MAIL && !node->theirs)
		return ERR_AGAIN; /* nobody it would be for */
	err = rt->options.ops->node_send(rt->options.context, node->id, parts, size ? 2 : 1);
	if (!err)
		channel->ack_due = false;
	return err;
}

static void activate(struct runtime *rt, struct far_node *node)
{
	if (node->active)
		return;
	node->active = true;
	node->next_active = rt->active_nodes;
	rt->active_nodes = node;
}

/* Says who we are, or what we have, at once. */
static void greet(struct runtime *rt, struct far_node *node)
{
	node->mail.ack_due = true;
	node->mail.ack_at_us = rt->now_us;
	activate(rt, node);
}

/* ---- ends and beginnings ------------------------------------------------------------------------- */

static void tell_gone(struct runtime *rt, const struct msg_node_gone *gone)
{
	kernel_node_gone(rt, gone);
	kernel_tell_processes(rt, MSG_node_gone, &schema_node_gone, gone);
}

static void tell_seen(struct runtime *rt, const struct far_node *node)
{
	struct msg_node_seen seen = {.node = node->id, .boot = node->boot, .up = node->boot != 0};

	kernel_node_tell_watchers(rt, &seen);
	kernel_tell_processes(rt, MSG_node_seen, &schema_node_seen, &seen);
}

/* Nothing that was said either way counts any more. */
static void empty(struct runtime *rt, struct far_node *node, bool lost)
{
	struct outgoing *first = node->mail.first;

	node->mail = (struct mail_channel){0};
	node->broken = false;
	kernel_bounce_unacknowledged(rt, first, true);
	tell_gone(rt, &(struct msg_node_gone){.node = node->id, .lost = lost});
}

static void lose(struct runtime *rt, struct far_node *node)
{
	node->boot = 0;
	node->theirs = 0;
	node->wanted = false;
	node->number = ++rt->node_numbers;
	empty(rt, node, true);
	tell_seen(rt, node);
}

/* It could not be told something that it must hear: it is to ask for everything anew, as we do. */
static void break_off(struct runtime *rt, struct far_node *node)
{
	node->number = ++rt->node_numbers;
	empty(rt, node, false);
	greet(rt, node);
}

static void want(struct runtime *rt, struct far_node *node, int64_t wait_ms)
{
	bool is_news = !node->wanted;

	node->wanted = true;
	node->wanted_until_us = rt->now_us + wait_ms * MS;
	activate(rt, node);
	if (is_news && rt->options.ops->node_wanted)
		rt->options.ops->node_wanted(rt->options.context, node->id);
}

void kernel_node_want(struct runtime *rt, uint64_t id)
{
	struct far_node *node = kernel_node_note(rt, id);

	if (node && !node->boot && !node->wanted)
		want(rt, node, RUNTIME_NODE_WAIT_MS);
}

void kernel_node_want_again(struct runtime *rt, uint64_t id)
{
	struct far_node *node = kernel_node_note(rt, id);

	if (node && !node->boot)
		want(rt, node, RUNTIME_NODE_AGAIN_MS);
}

enum err runtime_node_up(struct runtime *rt, uint64_t id, uint64_t boot)
{
	struct far_node *node;

	if (!kernel_is_gateway(rt) || !id || id == rt->options.node || !boot)
		return ERR_FORMAT;
	node = kernel_node_note(rt, id);
	if (!node)
		return rt->nodes.count >= RUNTIME_NODES_MAX ? ERR_LIMIT : ERR_NO_MEMORY;
	if (node->boot == boot) {
		runtime_node_again(rt, id);
		return ERR_OK;
	}
	bool anew = node->boot != 0;

	node->boot = boot;
	node->theirs = 0;
	node->wanted = false;
	if (anew)
		empty(rt, node, false);
	greet(rt, node);
	tell_seen(rt, node);
	return ERR_OK;
}

void runtime_node_again(struct runtime *rt, uint64_t id)
{
	struct far_node *node = kernel_node(rt, id);

	if (!node || !node->boot)
		return;
	kernel_channel_again(rt, &node->mail, send_frame);
	activate(rt, node);
}

void runtime_node_down(struct runtime *rt, uint64_t id)
{
	struct far_node *node = kernel_is_gateway(rt) ? kernel_node(rt, id) : NULL;

	if (!node || (!node->boot && !node->wanted))
		return;
	lose(rt, node);
	kernel_node_tidy(rt, node);
}

void runtime_node_barred(struct runtime *rt, uint64_t id)
{
	struct msg_node_seen seen = {.node = id, .barred = true};

	if (!kernel_is_gateway(rt))
		return;
	runtime_node_down(rt, id);
	kernel_node_tell_watchers(rt, &seen);
	kernel_tell_processes(rt, MSG_node_seen, &schema_node_seen, &seen);
}

/* ---- sending ------------------------------------------------------------------------------------- */

/* Who waits for one of these would wait for ever: they have room when others have none. */
static bool is_awaited(const struct kernel_letter *letter)
{
	return letter->is_reply || letter->type == MSG_down || letter->type == MSG_failed ||
	       letter->type == MSG_process_gone;
}

static bool has_room(const struct mail_channel *channel, uint32_t times)
{
	return channel->out_count < times * RUNTIME_OUTBOX_MAX &&
	       channel->out_bytes < (size_t)times * RUNTIME_OUTBOX_BYTES_MAX;
}

static enum err queue(struct runtime *rt, struct far_node *node, const struct kernel_letter *letter)
{
	struct writer out = writer_of(rt->scratch, RUNTIME_FRAME_MAX - sizeof(struct node_header));
	struct outgoing *mail;
	enum err err;

	if (!has_room(&node->mail, is_awaited(letter) ? 2 : 1)) {
		rt->counters.refused++;
		return ERR_OVERLOAD;
	}
	err = kernel_write_letter(rt, letter, &out);
	if (err)
		return err == ERR_NO_SPACE ? ERR_TOO_LARGE : err;
	mail = kernel_new_outgoing(letter, out.begin, writer_used(&out));
	if (!mail)
		return ERR_NO_MEMORY;
	mail->seq = node->mail.out_kept = ++node->mail.out_seq;
	kernel_channel_line_up(&node->mail, mail);
	rt->counters.node_mails_out++;
	return ERR_OK;
}

static enum err to_node(struct runtime *rt, const struct kernel_letter *letter)
{
	struct far_node *node;
	enum err err;

	if (!kernel_is_ours(rt, letter->from) || !schema_is_remote(letter->schema))
		return ERR_UNSUPPORTED;
	node = kernel_node_note(rt, letter->to.node);
	if (!node)
		return ERR_OVERLOAD;
	kernel_node_want(rt, node->id);
	err = queue(rt, node, letter);
	activate(rt, node);
	node->broken |= err && is_awaited(letter);
	if (!err && node->boot && !node->broken)
		kernel_channel_push(rt, &node->mail, send_frame);
	return err;
}

enum err kernel_node_mail(struct runtime *rt, const struct kernel_letter *letter)
{
	uint32_t gateway = kernel_gateway(rt);

	if (kernel_is_gateway(rt))
		return to_node(rt, letter);
	if (!gateway || letter->hops >= HOPS_MAX)
		return rt->options.role == PROCESS_CONTROL ? ERR_NOT_FOUND : ERR_DEAD;
	return kernel_bus_mail(rt, gateway, letter);
}

void kernel_nodes_hear_of_end(struct runtime *rt, const struct runtime_peer_info *info)
{
	struct msg_process_gone gone = {
		.block = info->block, .worker = info->role == PROCESS_MEDIA ? info->index + 1 : 0};

	if (!kernel_is_gateway(rt))
		return;
	for (size_t i = 0; i < rt->nodes.capacity; i++) {
		const struct far_node *node = rt->nodes.entries[i].value;

		if (node && node->boot)
			to_node(rt, &(struct kernel_letter){
					    .to = {node->id, OFFICE_PROCESS},
					    .from = {.node = rt->options.node	     },
					    .type = MSG_process_gone,
					    .schema = &schema_process_gone,
					    .body = &gone
			 });
	}
}

/* ---- receiving ----------------------------------------------------------------------------------- */

/* What that node may say, and as whom. */
static bool may_say(
	const struct runtime *rt, const struct far_node *node, const struct kernel_letter *letter)
{
	if (letter->from.node != node->id || letter->to.node != rt->options.node ||
		addr_is_nobody(letter->to))
		return false;
	if (letter->type == MSG_down) {
		const struct msg_down *down = letter->body;

		return addr_equal(down->who, letter->from);
	}
	if (letter->type == MSG_failed && !letter->is_reply) {
		const struct msg_failed *failed = letter->body;

		if (failed->to.node != node->id) /* that another's mail, or watch, has come back */
			return false;
	}
	return schema_is_remote(letter->schema);
}

static void take_mail(struct runtime *rt, struct far_node *node, const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct kernel_letter letter;
	enum err err = kernel_read_letter(rt, &in, &letter);

	if (!err && !may_say(rt, node, &letter))
		err = ERR_FORBIDDEN;
	if (err) {
		*(err == ERR_FORBIDDEN ? &rt->counters.node_refused : &rt->counters.bad_frames) +=
			1;
		if (letter.from.node == node->id)
			kernel_bounce(rt, letter.to, letter.from, letter.type, letter.request,
				letter.is_reply, err);
		return;
	}
	rt->counters.node_mails_in++;
	letter.hops = 0;
	if (letter.type == MSG_process_gone) {
		const struct msg_process_gone *gone = letter.body;

		tell_gone(rt,
			&(struct msg_node_gone){
				.node = node->id, .block = gone->block, .worker = gone->worker});
		return;
	}
	if (kernel_is_alias(letter.to))
		letter.to = kernel_of_alias(rt, letter.to);
	kernel_route(rt, &letter);
}

/* Whether the frame is of the channel as both ends have it now; if not, the other end is told. */
static bool is_current(struct runtime *rt, struct far_node *node, const struct node_header *header)
{
	if (header->boot != node->boot || !header->number || header->number < node->theirs) {
		rt->counters.bad_frames++;
		return false;
	}
	if (header->number > node->theirs) {
		bool anew = node->theirs != 0;

		node->theirs = header->number;
		if (anew)
			empty(rt, node, false);
		activate(rt, node);
	}
	if (header->to_boot == rt->options.boot && header->to_number == node->number)
		return true;
	greet(rt, node);
	return false;
}

void runtime_node_frame(struct runtime *rt, uint64_t id, const uint8_t *bytes, size_t size)
{
	struct far_node *node = kernel_is_gateway(rt) ? kernel_node(rt, id) : NULL;
	struct node_header header;

	if (!node || !node->boot || size < sizeof(header) || size > RUNTIME_FRAME_MAX) {
		rt->counters.bad_frames++;
		return;
	}
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != BUS_MAGIC || header.version != BUS_VERSION) {
		rt->counters.bad_frames++;
		return;
	}
	if (!is_current(rt, node, &header))
		return;
	kernel_channel_acked(rt, &node->mail, header.ack);
	activate(rt, node);
	if (header.kind == BUS_MAIL && kernel_channel_takes(rt, &node->mail, header.seq))
		take_mail(rt, node, bytes + sizeof(header), size - sizeof(header));
}

/* ---- deadlines ----------------------------------------------------------------------------------- */

static int64_t turn_node(struct runtime *rt, struct far_node *node)
{
	if (node->broken)
		break_off(rt, node);
	if (node->wanted && node->wanted_until_us <= rt->now_us)
		lose(rt, node);
	if (node->wanted)
		return node->wanted_until_us;
	if (!node->boot)
		return INT64_MAX;
	if (node->theirs)
		return kernel_channel_turn(rt, &node->mail, send_frame);
	/* until it has answered */
	if (node->mail.ack_at_us <= rt->now_us) {
		bool left = !send_frame(rt, &node->mail, BUS_ACK, 0, NULL, 0);

		node->mail.ack_at_us = rt->now_us + (left ? RUNTIME_RESEND_MS : 1) * MS;
	}
	return node->mail.ack_at_us;
}

int64_t kernel_node_turn(struct runtime *rt)
{
	struct far_node *node = rt->active_nodes, *next;
	int64_t next_us = INT64_MAX;

	rt->active_nodes = NULL; /* those for which nothing is due are left out of the new list */
	for (; node; node = next) {
		int64_t at_us;

		next = node->next_active;
		node->active = false;
		at_us = turn_node(rt, node);
		if (at_us != INT64_MAX)
			activate(rt, node);
		if (at_us < next_us)
			next_us = at_us;
		kernel_node_tidy(rt, node);
	}
	return next_us;
}
