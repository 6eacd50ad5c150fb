/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor that comes from another process (decision 18): its record and its slots are untrusted. The input is
 * the mail that brings it, as it lies in a frame. Whoever is taken in then lives for some turns, beside the
 * offices that are its parents.
 */
#include "actors/stream/stream_actor.h"
#include "actors/webrtc/rtc_port.h"
#include "tests/fuzz/fuzz_worker.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PROCESS = 77, OTHER = 78 };

static void take_in(struct runtime *rt, const uint8_t *bytes, size_t size)
{
	const struct runtime_peer_info other = {
		.process = OTHER, .block = 2, .role = PROCESS_MEDIA, .index = 1};
	struct reader in = reader_of(bytes, size);
	static struct msg_arrive arrive;

	MUST(actor_spawn_office(rt, OFFICE_MEDIA, &media_office_actor, NULL) == ERR_OK);
	MUST(actor_spawn_office(rt, OFFICE_RTC, &rtc_port_actor, NULL) == ERR_OK);
	MUST(runtime_peer_up(rt, &other) == ERR_OK);
	if (schema_decode(&schema_arrive, &in, &arrive))
		return;
	kernel_move_in(rt, &arrive);
	fuzz_live(rt);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t *memory = mmap(NULL, arena_size(&layout), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct arena *arena = NULL;
	struct escrow *escrow = NULL;
	struct runtime *rt;

	MUST(memory != MAP_FAILED);
	now_us = 1000000;
	arena_format(memory, &layout);
	MUST(arena_attach(memory, arena_size(&layout), &arena) == ERR_OK);
	MUST(arena_escrow(arena, &escrow) == ERR_OK);
	rt = fuzz_start(arena, escrow, PROCESS);
	take_in(rt, bytes, size);
	runtime_destroy(&rt);
	escrow_detach(&escrow);
	arena_detach(&arena);
	munmap(memory, arena_size(&layout));
	return 0;
}
