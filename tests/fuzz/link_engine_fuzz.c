/* SPDX-License-Identifier: Apache-2.0
 *
 * One end of a link under a peer that has the keys and says anything: bodies of any kind, sealed; bytes
 * that are not; packets to send; time. What is delivered is well-formed, what is kept is given back.
 *
 * Steps: kind; then a size (16 bits) and as many bytes, or milliseconds.
 */
#include "actors/link/link_engine.h"
#include "schemas/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 400 };

struct bench {
	uint8_t mode; /* enum link_mode, of what is sent */
	struct link_engine engine;
	struct link_hot hot;
	struct link_out out;
	struct link_seal peer;
	struct packet packet;
	uint64_t counter, held;
	uint16_t path_seq[LINK_PATHS_MAX];
	int64_t now_us;
};

static void emit(void *context, unsigned path, const struct iovec *datagrams, size_t count)
{
	(void)context;
	MUST(path < LINK_PATHS_MAX && count && count <= LINK_BATCH);
	for (size_t i = 0; i < count; i++)
		MUST(datagrams[i].iov_len <= LINK_DATAGRAM_MAX);
}

static void deliver(void *context, const struct link_media *media)
{
	volatile uint8_t sum = 0;

	(void)context;
	MUST(media->header.size <= MEDIA_PAYLOAD_MAX && media->header.track < MEDIA_TRACKS_MAX &&
		media->header.priority <= MEDIA_PRIORITY_AUDIO);
	for (size_t i = 0; i < media->header.size; i++)
		sum ^= media->payload[i];
}

static const struct packet *packet_of(void *context, struct slot_ref ref)
{
	struct bench *b = context;

	return ref.index % 16 ? &b->packet : NULL;
}

static void release(void *context, struct slot_ref ref)
{
	struct bench *b = context;

	(void)ref;
	MUST(b->held);
	b->held--;
}

static void offer(struct bench *b, const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	unsigned path = 0;

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	if (!link_engine_take(&b->engine, copy, size, b->now_us, &path))
		MUST(path < LINK_PATHS_MAX);
	free(copy);
}

static void offer_sealed(struct bench *b, uint8_t kind, const uint8_t *body, size_t size)
{
	uint8_t bytes[LINK_DATAGRAM_MAX];
	uint8_t path = kind >> 3 & 3;
	const struct link_head head = {
		.kind = (uint8_t)(1 + (kind & 7) % LINK_FEC),
		.path = path,
		.covered = kind & 0x20,
		.path_seq = b->path_seq[path]++,
		.session = 1,
		.counter = ++b->counter,
	};
	struct link_sealing one = {bytes, (uint16_t)(LINK_HEAD + size)};

	if (!size || size > LINK_BODY_MAX)
		return;
	link_head_write(&head, bytes);
	memcpy(bytes + LINK_HEAD, body, size);
	MUST(!link_seal_batch(&b->peer, &one, 1));
	offer(b, bytes, one.size);
}

static void send_some(struct bench *b, uint16_t argument)
{
	for (unsigned i = 0; i <= (argument & 15u); i++) {
		b->packet.header = (struct media_header){.position = argument,
			.size = argument % (MEDIA_PAYLOAD_MAX + 1),
			.priority = argument & 3};
		b->held++;
		link_engine_send(&b->engine, (struct slot_ref){argument + i, 1}, argument, i,
			(struct link_terms){(enum link_mode)b->mode, argument % 7 * 100000},
			b->now_us);
	}
}

static void step(struct bench *b, struct reader *r)
{
	uint8_t kind = read_u8(r);
	uint16_t argument = read_u16(r);
	size_t left = reader_left(r), size = argument % (LINK_BODY_MAX + 64);

	size = size < left ? size : left;
	switch (kind >> 6) {
	case 0: offer_sealed(b, kind, read_bytes(r, size), size); break;
	case 1: offer(b, read_bytes(r, size), size); break;
	case 2: send_some(b, argument); break;
	default: b->now_us += (int64_t)(argument & 0x3ff) * 1000; break;
	}
	link_engine_flush(&b->engine);
	if (kind & 0x80)
		MUST(link_engine_tick(&b->engine, b->now_us) > b->now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct link_key keys[2] = {{.key = "one"}, {.key = "other"}};
	struct bench *b = calloc(1, sizeof(*b));
	struct reader r = reader_of(data, size);
	const struct link_ops ops = {b, emit, deliver, packet_of, release};

	if (!b)
		abort();
	const struct link_options options = {
		.session = 2, .redundancy_permille = 100, .age_max_us = LINK_AGE_DEFAULT_US};

	b->mode = read_u8(&r) % 3;
	b->now_us = 1000000;
	link_hot_init(&b->hot, &keys[0]);
	link_hot_meet(&b->hot, &keys[1]);
	MUST(!link_engine_init(&b->engine, &options, &ops, &b->hot, &b->out, b->now_us));
	MUST(!link_seal_init(&b->peer, &keys[1]));
	link_engine_add_path(&b->engine, 0, link_route(0, 0), b->now_us);
	link_engine_add_path(&b->engine, 1, link_route(1, 1), b->now_us);
	for (int i = 0; i < STEPS_MAX && reader_left(&r) >= 3; i++)
		step(b, &r);
	link_engine_fini(&b->engine);
	MUST(!b->held && link_hot_is_valid(&b->hot));
	link_seal_fini(&b->peer);
	free(b);
	return 0;
}
