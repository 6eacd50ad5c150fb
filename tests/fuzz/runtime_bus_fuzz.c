/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from another process: the input is a row of frames, each behind its size (u16, big endian).
 * The first input byte chooses whether the numbering is put right, so that bodies are reached too.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

static int64_t fuzz_now_us(void *context)
{
	(void)context;
	return 1000000;
}

static void fuzz_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 1, size);
}

static enum err fuzz_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_OK;
}

static const struct runtime_ops fuzz_ops = {.now_us = fuzz_now_us,
	.wall_us = fuzz_now_us,
	.random = fuzz_random,
	.bus_send = fuzz_send};

static bool fuzz_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

ON(media_office_state, name_lookup)
{
	return actor_reply(self, name_found, {.epoch = 1});
}

static enum err fuzz_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)data;
	(void)args;
	return ERR_OK;
}

static void fuzz_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	(void)data;
	(void)from;
	for (size_t i = 0; i < count; i++)
		MUST(arena_packet(actor_arena(self), packets[i])->header.size <= MEDIA_PAYLOAD_MAX);
}

static const struct handler fuzz_handlers[] = {HANDLER(media_office_state, name_lookup, 0)};
static const struct actor_type fuzz_actor = {
	.name = "fuzz",
	.size = sizeof(struct media_office_state),
	.state = &schema_media_office_state,
	HANDLER_TABLE(fuzz_handlers),
	.init = fuzz_init,
	.media = fuzz_media,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct arena_layout layout = {
		.count = {32,		      1,	 1,    1   },
			.size = {sizeof(struct packet), 4096, 4096, 4096}
	 };
	struct log_sink sink = {.now_us = fuzz_now_us, .write = fuzz_log};
	struct runtime_peer_info peer = {.process = 2, .block = 2, .role = 1};
	struct reader in = reader_of(bytes, size);
	struct arena *arena = NULL;
	struct runtime *rt = NULL;
	void *memory = aligned_alloc(4096, arena_size(&layout));
	struct log log;
	bool right = read_u8(&in) & 1;

	MUST(memory);
	memset(memory, 0, arena_size(&layout));
	arena_format(memory, &layout);
	MUST(arena_attach(memory, arena_size(&layout), &arena) == ERR_OK);
	log_init(&log, "fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	MUST(runtime_create(&(struct runtime_options){.ops = &fuzz_ops,
				    .log = &log,
				    .arena = arena,
				    .node = 1,
				    .block = 1,
				    .process = 1},
		     &rt) == ERR_OK);
	MUST(actor_spawn_office(rt, OFFICE_MEDIA, &fuzz_actor, NULL) == ERR_OK);
	MUST(runtime_peer_up(rt, &peer) == ERR_OK);
	while (reader_left(&in) > 2) {
		uint8_t frame[4096];
		size_t length = read_u16(&in) % sizeof(frame);

		length = length < reader_left(&in) ? length : reader_left(&in);
		memcpy(frame, read_bytes(&in, length), length);
		if (right && length >= sizeof(struct bus_header)) {
			struct bus_header header;

			memcpy(&header, frame, sizeof(header));
			header.magic = BUS_MAGIC;
			header.version = BUS_VERSION;
			header.from = 2;
			header.seq = kernel_peer(rt, 2)->mail.in_seq + 1;
			memcpy(frame, &header, sizeof(header));
		}
		runtime_bus_frame(rt, frame, length);
		runtime_turn(rt);
	}
	runtime_destroy(&rt);
	arena_detach(&arena);
	free(memory);
	return 0;
}
