/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from other gateways: the input is a row of them, each behind its size (u16, big endian), from
 * a connection whose key is listed, so that greetings are taken and what lies behind them is reached.
 */
#include "runtime/mesh.h"

#include "schemas/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct kernel {
	bool up;
};

static enum err fuzz_open(
	void *context, uint64_t node, const char *endpoint, const uint8_t key[MESH_KEY_SIZE])
{
	(void)context;
	MUST(node && endpoint[0] && key[0] == 7);
	return ERR_OK;
}

static void fuzz_close(void *context, uint64_t node)
{
	(void)context;
	MUST(node);
}

static enum err fuzz_send(void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	(void)context;
	MUST(node && count && parts[0].iov_len);
	return ERR_OK;
}

static void fuzz_up(void *context, uint64_t node, uint64_t boot)
{
	MUST(node && boot);
	((struct kernel *)context)->up = true;
}

static void fuzz_again(void *context, uint64_t node)
{
	MUST(node && ((struct kernel *)context)->up);
}

static void fuzz_down(void *context, uint64_t node)
{
	MUST(node && ((struct kernel *)context)->up);
}

static void fuzz_barred(void *context, uint64_t node)
{
	(void)context;
	MUST(node);
}

static void fuzz_frame(void *context, uint64_t node, const uint8_t *bytes, size_t size)
{
	MUST(node && ((struct kernel *)context)->up && (bytes || !size));
}

static void fuzz_told(void *context, const struct mesh_view *view)
{
	(void)context;
	MUST(view->node && strlen(view->name) < 64 && strlen(view->version) < 32);
}

static const struct mesh_ops fuzz_ops = {
	.open = fuzz_open,
	.close = fuzz_close,
	.send = fuzz_send,
	.up = fuzz_up,
	.again = fuzz_again,
	.down = fuzz_down,
	.barred = fuzz_barred,
	.frame = fuzz_frame,
	.told = fuzz_told,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel kernel = {0};
	uint8_t listed[1][MESH_KEY_SIZE] = {{7}};
	struct mesh *mesh = mesh_create(&(struct mesh_options){.node = 1,
		.boot = 2,
		.name = "a",
		.version = "1",
		.endpoint = "tcp://192.0.2.1:1",
		.listed = (const uint8_t(*)[MESH_KEY_SIZE])listed,
		.listed_count = 1,
		.lost_us = 3000000,
		.ops = &fuzz_ops,
		.context = &kernel});
	struct mesh_time at = {.now_us = 1000000, .wall_us = 1700000000000000};
	struct reader in = reader_of(data, size);

	MUST(mesh);
	while (reader_left(&in) >= 2) {
		size_t length = read_u16(&in);
		const uint8_t *bytes;

		if (length > reader_left(&in))
			length = reader_left(&in);
		bytes = read_bytes(&in, length);
		(void)mesh_frame(mesh, listed[0], bytes, length, at);
		mesh_turn(mesh, at);
		at.now_us += 300000;
		at.wall_us += 300000;
	}
	MUST(mesh_counters(mesh)->nodes <= MESH_NODES_MAX);
	mesh_destroy(&mesh, size & 1);
	return 0;
}
