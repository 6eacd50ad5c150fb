/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from another node's gateway: the input is a row of frames, each behind its size (u16, big
 * endian). The first input byte chooses whether the numbering is put right, so that bodies are reached
 * too. A worker of the node takes what is for it, and loses nothing of its own.
 */
#include "runtime/kernel.h"
#include "runtime/process.h"

#include <stdlib.h>

enum { OWN = 1, OTHER = 2, OWN_BOOT = 11, OTHER_BOOT = 22 };

static int64_t fuzz_now_us(void *context)
{
	return *(int64_t *)context;
}

static void fuzz_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 1, size);
}

static enum err fuzz_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_OK;
}

static enum err fuzz_node_send(
	void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	(void)context;
	MUST(node == OTHER && count <= 2 && parts[0].iov_len == sizeof(struct node_header));
	return ERR_OK;
}

static void fuzz_node_wanted(void *context, uint64_t node)
{
	(void)context;
	MUST(node == OTHER); /* a stranger makes nobody ask for others */
}

static const struct runtime_ops fuzz_ops = {.now_us = fuzz_now_us,
	.wall_us = fuzz_now_us,
	.random = fuzz_random,
	.bus_send = fuzz_bus_send,
	.node_send = fuzz_node_send,
	.node_wanted = fuzz_node_wanted};

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
	const struct addr other = {OTHER, UINT64_C(7) << RUNTIME_BLOCK_SHIFT | 70};

	(void)data;
	(void)args;
	actor_monitor(self, other);
	actor_request(self, other, 1000, name_lookup, {.wait_ms = 1});
	return ERR_OK;
}

static const struct handler fuzz_handlers[] = {HANDLER(media_office_state, name_lookup, 0)};
static const struct actor_type fuzz_actor = {
	.name = "fuzz",
	.size = sizeof(struct media_office_state),
	.state = &schema_media_office_state,
	HANDLER_TABLE(fuzz_handlers),
	.init = fuzz_init,
};

static void put_right(const struct runtime *rt, uint8_t *frame)
{
	const struct far_node *node = kernel_node(rt, OTHER);
	struct node_header header;

	memcpy(&header, frame, sizeof(header));
	header.magic = BUS_MAGIC;
	header.version = BUS_VERSION;
	header.number = node->theirs ? node->theirs : 1;
	header.boot = OTHER_BOOT;
	header.to_boot = OWN_BOOT;
	header.to_number = node->number;
	header.seq = node->mail.in_seq + 1;
	memcpy(frame, &header, sizeof(header));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	int64_t now_us = 1000000;
	struct log_sink sink = {.now_us = fuzz_now_us, .write = fuzz_log, .context = &now_us};
	struct runtime_peer_info worker = {.process = 2, .block = 2, .role = PROCESS_MEDIA};
	struct reader in = reader_of(bytes, size);
	struct runtime *rt = NULL;
	struct log log;
	bool right = read_u8(&in) & 1;

	log_init(&log, "fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	MUST(runtime_create(&(struct runtime_options){.ops = &fuzz_ops,
				    .context = &now_us,
				    .log = &log,
				    .node = OWN,
				    .boot = OWN_BOOT,
				    .block = 1,
				    .process = 1,
				    .role = PROCESS_CONTROL},
		     &rt) == ERR_OK);
	MUST(runtime_peer_up(rt, &worker) == ERR_OK);
	MUST(runtime_node_up(rt, OTHER, OTHER_BOOT) == ERR_OK);
	MUST(actor_spawn_office(rt, OFFICE_MEDIA, &fuzz_actor, NULL) == ERR_OK);
	while (reader_left(&in) > 2) {
		uint8_t frame[4096];
		size_t length = read_u16(&in) % sizeof(frame);

		length = length < reader_left(&in) ? length : reader_left(&in);
		memcpy(frame, read_bytes(&in, length), length);
		if (right && length >= sizeof(struct node_header))
			put_right(rt, frame);
		runtime_node_frame(rt, OTHER, frame, length);
		now_us += 1000;
		runtime_turn(rt);
		MUST(runtime_peer_known(rt, 2) && kernel_node(rt, OTHER)->boot == OTHER_BOOT);
		MUST(runtime_actor_count(rt) == 1 && rt->nodes.count == 1);
	}
	runtime_destroy(&rt);
	return 0;
}
