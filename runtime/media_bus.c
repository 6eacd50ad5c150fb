/* SPDX-License-Identifier: Apache-2.0
 *
 * Media between processes: batches of packets to one actor in another process, each packet its
 * inner header and its payload. Not acknowledged: positions are numbered, and the receiving stream
 * asks its source again for what is missing. What the bus will not take is dropped and counted.
 *
 * Frame after the bus header, little endian:
 *   to.node u64, to.id u64, from.node u64, from.id u64, count u16, reserved u16, sent u32 (when, in
 *   microseconds of the node's monotonic clock; 0 = not said),
 *   then per packet: struct media_header, payload (header.size bytes).
 */
#include "runtime/kernel.h"
#include "runtime/process.h"

struct media_frame_head {
	struct addr to;
	struct addr from;
	uint16_t count;
	uint16_t reserved;
	uint32_t sent_us; /* low half */
};

_Static_assert(sizeof(struct media_frame_head) == 40, "media frame layout");

static void send_batch(struct runtime *rt, struct media_batch *batch)
{
	struct peer *peer = kernel_peer(rt, batch->process);
	struct media_frame_head head = {.to = batch->to,
		.from = batch->from,
		.count = batch->count,
		.sent_us = (uint32_t)rt->now_us};
	enum err err = ERR_DEAD;

	if (peer) {
		struct bus_header header = {
			.magic = BUS_MAGIC,
			.version = BUS_VERSION,
			.kind = BUS_MEDIA,
			.from = rt->options.process,
			.ack = peer->mail.in_kept,
		};
		struct iovec parts[3] = {
			{.iov_base = &header,      .iov_len = sizeof(header)},
			{.iov_base = &head,	    .iov_len = sizeof(head)  },
			{.iov_base = batch->bytes, .iov_len = batch->size	 },
		};
		err = rt->options.ops->bus_send(rt->options.context, batch->process, parts, 3);
	}
	if (err)
		rt->counters.media_dropped_out += batch->count;
	else
		rt->counters.media_out += batch->count;
	batch->used = false;
	rt->batches_used--;
}

void kernel_media_flush(struct runtime *rt)
{
	for (int i = 0; i < MEDIA_BATCHES_OPEN && rt->batches_used; i++)
		if (rt->batches[i].used)
			send_batch(rt, &rt->batches[i]);
}

static struct media_batch *open_batch(
	struct runtime *rt, uint32_t process, struct addr to, struct addr from)
{
	struct media_batch *free_batch = NULL;

	for (int i = 0; i < MEDIA_BATCHES_OPEN; i++) {
		struct media_batch *batch = &rt->batches[i];

		if (!batch->used)
			free_batch = free_batch ? free_batch : batch;
		else if (addr_equal(batch->to, to) && addr_equal(batch->from, from))
			return batch;
	}
	if (!free_batch) {
		free_batch = &rt->batches[to.id % MEDIA_BATCHES_OPEN];
		send_batch(rt, free_batch);
	}
	free_batch->used = true;
	rt->batches_used++;
	free_batch->count = 0;
	free_batch->size = 0;
	free_batch->process = process;
	free_batch->to = to;
	free_batch->from = from;
	return free_batch;
}

static void deliver_media(
	struct actor *actor, struct addr from, const struct slot_ref *packets, size_t count)
{
	struct actor *outer;
	int64_t since_us = kernel_enter(actor, &outer);

	actor->type->media(actor, actor->data, from, packets, count);
	kernel_leave(actor, outer, since_us);
}

/* By reference to the link that is registered for the node. */
static void leave_by_link(struct runtime *rt, struct addr from, struct addr to, struct slot_ref ref)
{
	const struct far_node *node = kernel_node(rt, to.node);
	struct actor *link = node ? kernel_local(rt, node->link) : NULL;
	struct actor *outer;

	if (!link || !link->type->outbound || link->stopping) {
		rt->counters.media_dropped_out++;
		return;
	}
	int64_t since_us = kernel_enter(link, &outer);

	link->type->outbound(link, link->data, to, from, &ref, 1);
	kernel_leave(link, outer, since_us);
}

/* What the link to that one's node says; UINT32_MAX: there is none, or it does not say that. */
static uint32_t ask_link(struct runtime *rt, struct addr to,
	uint32_t (*of(const struct actor_type *type))(struct actor *self, void *data))
{
	const struct far_node *node = kernel_is_ours(rt, to) ? NULL : kernel_node(rt, to.node);
	struct actor *link = node ? kernel_local(rt, node->link) : NULL;
	struct actor *outer;

	if (!link || !of(link->type) || link->stopping)
		return UINT32_MAX;
	int64_t since_us = kernel_enter(link, &outer);
	uint32_t answer = of(link->type)(link, link->data);

	kernel_leave(link, outer, since_us);
	return answer;
}

static uint32_t (*room_of(const struct actor_type *type))(struct actor *self, void *data)
{
	return type->room;
}

static uint32_t (*carries_of(const struct actor_type *type))(struct actor *self, void *data)
{
	return type->carries;
}

uint32_t actor_media_room(struct actor *self, struct addr to)
{
	return ask_link(self->rt, to, room_of);
}

uint32_t actor_media_carries(struct actor *self, struct addr to)
{
	return ask_link(self->rt, to, carries_of);
}

static void into_batch(
	struct runtime *rt, struct addr from, struct addr to, const struct packet *packet)
{
	uint32_t process = kernel_process_of(rt, to);
	size_t size = sizeof(packet->header) + packet->header.size;

	if (!process || process == rt->options.process || packet->header.size > MEDIA_PAYLOAD_MAX) {
		/* (the slot's last owner was another process) */
		rt->counters.media_dropped_out++;
		return;
	}
	struct media_batch *batch = open_batch(rt, process, to, from);

	memcpy(batch->bytes + batch->size, packet, size);
	batch->size += size;
	if (++batch->count == MEDIA_BATCH_PACKETS)
		send_batch(rt, batch);
}

static void give(struct runtime *rt, struct addr from, struct addr to, struct slot_ref ref)
{
	struct actor *actor = kernel_local(rt, to);
	const struct packet *packet = arena_packet(rt->options.arena, ref);

	if (!packet)
		return;
	if (actor) {
		if (actor->type->media && !actor->stopping)
			deliver_media(actor, from, &ref, 1);
	} else if (kernel_is_ours(rt, to)) {
		into_batch(rt, from, to, packet);
	} else {
		leave_by_link(rt, from, to, ref);
	}
}

void actor_media(struct actor *self, struct addr to, struct slot_ref ref)
{
	give(self->rt, actor_addr(self), to, ref);
}

void actor_media_from(struct actor *self, struct addr from, struct addr to, struct slot_ref ref)
{
	if (kernel_is_ours(self->rt, to))
		give(self->rt, from, to, ref);
	else
		self->rt->counters.media_dropped_in++;
}

/* One packet of a frame into a slot of our own; {0} when it is malformed or there is no room. */
static struct slot_ref take_packet(struct runtime *rt, struct reader *in)
{
	struct arena *arena = rt->options.arena;
	const uint8_t *header_bytes = read_bytes(in, sizeof(struct media_header));
	struct media_header header;
	const uint8_t *payload;
	struct slot_ref ref;

	if (!header_bytes)
		return (struct slot_ref){0};
	memcpy(&header, header_bytes, sizeof(header));
	if (header.size > MEDIA_PAYLOAD_MAX || header.track >= MEDIA_TRACKS_MAX) {
		in->bad = true;
		return (struct slot_ref){0};
	}
	payload = read_bytes(in, header.size);
	if (!payload)
		return (struct slot_ref){0};
	ref = arena_alloc(arena, ARENA_PACKET, 0);
	struct packet *packet = arena_packet(arena, ref);

	if (!packet) {
		rt->counters.media_dropped_in++;
		return (struct slot_ref){0};
	}
	packet->header = header;
	memcpy(packet->payload, payload, header.size);
	return ref;
}

void kernel_media_frame(struct runtime *rt, const uint8_t *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	struct slot_ref refs[MEDIA_BATCH_PACKETS];
	const uint8_t *head_bytes = read_bytes(&in, sizeof(struct media_frame_head));
	struct media_frame_head head;
	struct actor *actor;
	size_t count = 0;

	if (!head_bytes) {
		rt->counters.bad_frames++;
		return;
	}
	memcpy(&head, head_bytes, sizeof(head));
	actor = kernel_local(rt, head.to);
	if (!actor || !actor->type->media || actor->stopping || !rt->options.arena ||
		head.count > MEDIA_BATCH_PACKETS) {
		rt->counters.media_dropped_in += head.count;
		return;
	}
	for (uint16_t i = 0; i < head.count && !in.bad; i++) {
		struct slot_ref ref = take_packet(rt, &in);

		if (ref.generation)
			refs[count++] = ref;
	}
	rt->counters.bad_frames += in.bad;
	rt->counters.media_in += count;
	if (count && head.sent_us)
		process_observe(runtime_env(rt), PROCESS_HISTOGRAM_HOP,
			(int32_t)((uint32_t)rt->now_us - head.sent_us));
	if (count && actor->mail_first)
		kernel_handle_mail(actor); /* the answer that this media follows may be in there */
	if (count && !actor->stopping)
		deliver_media(actor, head.from, refs, count);
	else
		rt->counters.media_dropped_in += count;
	for (size_t i = 0; i < count; i++)
		arena_release(rt->options.arena, ARENA_PACKET, refs[i]);
}
