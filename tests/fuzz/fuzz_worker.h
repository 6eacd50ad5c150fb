/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's process for fuzz targets: its actors in a small arena, a clock that stands still between turns,
 * sockets that are all there, silent, and take what they are given.
 */
#ifndef MILLRACE_FUZZ_WORKER_H
#define MILLRACE_FUZZ_WORKER_H

#include "runtime/config.h"
#include "runtime/kernel.h"
#include "runtime/live.h"
#include "runtime/process.h"

enum { TURNS = 8, TURN_US = 50000 };

static int64_t now_us;

static int64_t fuzz_now_us(void *context)
{
	(void)context;
	return now_us;
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

static uint32_t fuzz_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer)
{
	(void)context;
	(void)owner;
	(void)local;
	(void)peer;
	return 100;
}

static uint32_t fuzz_take(void *context, uint64_t owner, enum net_given what)
{
	(void)context;
	(void)owner;
	return 1 + (uint32_t)what;
}

static size_t fuzz_send_datagrams(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	(void)context;
	(void)socket;
	(void)to;
	(void)packets;
	return count;
}

static void fuzz_give(void *context, uint32_t socket, uint64_t owner)
{
	(void)context;
	(void)socket;
	(void)owner;
}

static long fuzz_read(void *context, uint32_t socket, void *buffer, size_t size)
{
	(void)context;
	(void)socket;
	(void)buffer;
	(void)size;
	return -1;
}

static long fuzz_write(void *context, uint32_t socket, const struct iovec *parts, size_t count)
{
	long size = 0;

	(void)context;
	(void)socket;
	for (size_t i = 0; i < count; i++)
		size += (long)parts[i].iov_len;
	return size;
}

static void fuzz_want(void *context, uint32_t socket, unsigned events)
{
	(void)context;
	(void)socket;
	(void)events;
}

static void fuzz_close(void *context, uint32_t socket)
{
	(void)context;
	(void)socket;
}

static void fuzz_pause(void *context, uint32_t listener, bool paused)
{
	(void)context;
	(void)listener;
	(void)paused;
}

static bool fuzz_claim(void *context, uint64_t owner, uint32_t socket)
{
	(void)context;
	(void)owner;
	return socket != 0;
}

static bool fuzz_progress(void *context, uint32_t socket, struct net_progress *progress)
{
	(void)context;
	*progress = (struct net_progress){0};
	return socket != 0;
}

static void fuzz_local_addr(void *context, uint32_t socket, struct net_addr *addr)
{
	(void)context;
	(void)socket;
	*addr = (struct net_addr){
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };
}

static const struct runtime_ops ops = {.now_us = fuzz_now_us,
	.wall_us = fuzz_now_us,
	.random = fuzz_random,
	.bus_send = fuzz_send,
	.net_take = fuzz_take,
	.net_open_beside = fuzz_beside,
	.net_listen_pause = fuzz_pause,
	.net_send = fuzz_send_datagrams,
	.net_give = fuzz_give,
	.net_read = fuzz_read,
	.net_write = fuzz_write,
	.net_want = fuzz_want,
	.net_close = fuzz_close,
	.net_claim = fuzz_claim,
	.net_progress = fuzz_progress,
	.net_local_addr = fuzz_local_addr};

static bool fuzz_log(void *context, const char *line, size_t size)
{
	(void)context;
	(void)line;
	(void)size;
	return true;
}

static const struct arena_layout layout = {
	.count = {32,	      2,			       4, 2},
	.size = {sizeof(struct packet),		ARENA_LOG_SIZE,						ARENA_SESSION_SIZE, ARENA_BUFFER_SIZE},
	.escrow = {.actors = 64,.blocks = 512},
};

static struct runtime *fuzz_start(struct arena *arena, struct escrow *escrow, uint32_t process)
{
	static struct config_report report;
	static struct config config;
	static struct log log;
	struct log_sink sink = {.now_us = fuzz_now_us, .write = fuzz_log};
	struct runtime *rt;

	config_init(&config, &report);
	log_init(&log, "fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &sink);
	MUST(runtime_create(&(struct runtime_options){.ops = &ops,
				    .config = &config,
				    .log = &log,
				    .arena = arena,
				    .escrow = escrow,
				    .node = 1,
				    .block = 1,
				    .process = process,
				    .role = PROCESS_MEDIA,
				    .types = worker_program.types},
		     &rt) == ERR_OK);
	return rt;
}

static void fuzz_live(struct runtime *rt)
{
	for (int i = 0; i < TURNS; i++, now_us += TURN_US) {
		runtime_tick(rt);
		runtime_turn(rt);
	}
}

#endif
