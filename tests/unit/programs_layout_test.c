/* SPDX-License-Identifier: Apache-2.0
 *
 * What lies in shared memory is read by the next release as this one has left it (an upgrade, decision 17).
 * Each layout has a version, and the row of its digest: of sizes, and of where the fields lie. Who changes one
 * of these structs changes its version too, and writes the new row down; then an upgrade from the release
 * before is refused with a reason, instead of taking one field for another.
 */
#include "actors/http/http_internal.h"
#include "actors/http/signal_internal.h"
#include "actors/link/link_engine.h"
#include "actors/rtmp/flv_work.h"
#include "actors/rtmp/rtmp_internal.h"
#include "actors/stream/media_log.h"
#include "actors/webrtc/session.h"
#include "runtime/arena.h"
#include "runtime/process.h"
#include "tests/test.h"

#include <stdlib.h>

static uint64_t digest;

static void add(uint64_t number)
{
	for (int i = 0; i < 64; i += 8)
		digest = (digest ^ (number >> i & 0xff)) * 0x100000001b3;
}

#define WHOLE(type)	(add(sizeof(type)), add(_Alignof(type)))
#define AT(type, field) (add(offsetof(type, field)), add(sizeof(((type *)0)->field)))

static void add_session(void)
{
	WHOLE(struct session_slot);
	AT(struct session_slot, plan);
	AT(struct session_slot, local);
	AT(struct session_slot, ssrc);
	AT(struct session_slot, rtx_ssrc);
	AT(struct session_slot, cname);
	AT(struct session_slot, send);
	AT(struct session_slot, receive);
	AT(struct session_slot, rtcp_index);
	AT(struct session_slot, window);
	AT(struct session_slot, ice);
	AT(struct session_slot, report_us);
	AT(struct session_slot, publish);
	AT(struct session_slot, play);
	AT(struct session_sending, ledger);
	AT(struct session_sending, position);
	AT(struct session_sending, ahead);
	AT(struct session_sending, pacer);
	AT(struct session_sending, drain_bps);
	AT(struct session_sending, start_until_us);
	AT(struct session_sending, begun);
	AT(struct session_sending, asked_us);
	AT(struct session_sending, burst_from);
	AT(struct session_sending, burst_to);
	AT(struct session_sending, burst_begin_us);
	AT(struct session_sending, burst_span_us);
	AT(struct session_sending, slow_until_us);
	AT(struct session_sending, slow_strikes);
	AT(struct session_sending, tracks);
	AT(struct session_out, track);
	AT(struct session_out, stopped);
	AT(struct session_out, wants_keyframe);
	AT(struct session_out, skipping);
	AT(struct session_out, frame);
	AT(struct session_out, from_us);
	AT(struct session_out, sender);
	AT(struct session_receiving, timeline);
	AT(struct session_receiving, keyframe);
	AT(struct session_receiving, remb);
	AT(struct session_receiving, recorder);
	AT(struct session_receiving, tracks);
	AT(struct session_in, receiver);
	AT(struct session_in, inspector);
	AT(struct session_in, forwarded);
	AT(struct session_in, malformed);
	AT(struct session_in, known);
}

static void add_rtmp_and_flv(void)
{
	WHOLE(struct rtmp_slot);
	AT(struct rtmp_slot, now);
	AT(struct rtmp_slot, was);
	AT(struct rtmp_slot, was_turn);
	AT(struct rtmp_slot, said);
	AT(struct rtmp_slot, view);
	AT(struct rtmp_slot, in);
	AT(struct rtmp_slot, out);
	AT(struct rtmp_base, server);
	AT(struct rtmp_base, media);
	AT(struct rtmp_base, taken);
	AT(struct rtmp_base, made);
	AT(struct rtmp_base, made_from);
	AT(struct rtmp_base, waits_ms);
	AT(struct rtmp_base, waits_at);
	AT(struct rtmp_base, waits_size);
	AT(struct rtmp_base, waits);
	AT(struct rtmp_base, tracks_untold);
	AT(struct rtmp_base, in_at);
	AT(struct rtmp_base, in_end);
	WHOLE(struct flv_desk);
	AT(struct flv_desk, work);
	AT(struct flv_desk, was);
	AT(struct flv_desk, tags_were);
	AT(struct flv_desk, busy);
	AT(struct flv_desk, audio_frame);
	AT(struct flv_desk, video_frame);
	AT(struct flv_desk, runs);
	AT(struct flv_work, headers);
	AT(struct flv_work, position);
	AT(struct flv_work, zero_us);
	AT(struct flv_work, last_ms);
	AT(struct flv_work, audio_until_us);
	AT(struct flv_work, tags);
	AT(struct flv_work, zeroed);
	AT(struct flv_work, asc_fresh);
	AT(struct flv_work, asc_size);
	AT(struct flv_work, asc);
	AT(struct flv_work, config);
	AT(struct flv_work, source_video);
	AT(struct flv_work, source_audio);
	AT(struct flv_work, video);
	AT(struct flv_work, audio);
}

static void add_http(void)
{
	WHOLE(struct http_slot);
	WHOLE(struct http_buffer);
	AT(struct http_slot, conn);
	AT(struct http_slot, refusal);
	AT(struct http_slot, taken);
	AT(struct http_slot, said);
	AT(struct http_slot, out_from);
	AT(struct http_slot, out_size);
	AT(struct http_slot, out_frame);
	AT(struct http_slot, socket);
	AT(struct http_slot, view);
	WHOLE(struct signal_slot);
	AT(struct signal_slot, kept);
	AT(struct signal_slot, offers);
	AT(struct signal_kept, span);
	AT(struct signal_kept, bytes);
}

static void add_media(void)
{
	WHOLE(struct packet);
	WHOLE(struct media_header);
	WHOLE(struct media_log);
	AT(struct media_log, first);
	AT(struct media_log, ready);
	AT(struct media_log, next);
	AT(struct media_log, keyframe);
	AT(struct media_log, bytes);
	AT(struct media_log, newest_us);
	AT(struct media_log, limits);
	AT(struct media_log, has_video);
	AT(struct media_log, keyframe_frame);
	AT(struct media_log, keyframe_track);
	AT(struct media_log, rate_bytes);
	AT(struct media_log, rate_from_us);
	AT(struct media_log, rate_bps);
	AT(struct media_log, sent_bytes);
	AT(struct media_log, entries);
	WHOLE(struct link_hot);
	AT(struct link_hot, tx_bit);
	AT(struct link_hot, rx_known);
	AT(struct link_hot, rx_newest);
	AT(struct link_hot, counter);
	AT(struct link_hot, key_from);
	AT(struct link_hot, next_seq);
	AT(struct link_hot, path_seq);
	AT(struct link_hot, tx);
	AT(struct link_hot, rx);
	AT(struct link_hot, window);
}

static void add_page(void)
{
	WHOLE(struct process_page);
	AT(struct process_page, magic);
	AT(struct process_page, slots);
	AT(struct process_page, node_state);
	AT(struct process_page, reloads);
	AT(struct process_page, closed);
	AT(struct process_page, worker_count);
	AT(struct process_page, closed_workers);
	AT(struct process_page, slot);
	AT(struct process_page, metrics);
	AT(struct process_page, poisoned);
	AT(struct process_page, neighbours);
	AT(struct process_page, operation);
	AT(struct process_page, paths);
	AT(struct process_page, settings);
	AT(struct process_settings, lines);
	AT(struct process_status, beat_us);
	AT(struct process_status, state);
	AT(struct process_status, order);
	AT(struct process_status, pid);
	AT(struct process_status, incarnation);
	AT(struct process_status, line);
	AT(struct process_metrics, value);
	AT(struct process_metrics, times);
	WHOLE(struct limits_shares);
}

/* It lies behind the magic. */
static uint64_t arena_version(void)
{
	static const struct arena_layout layout = {
		.count = {1, 1, 1, 1}
	     };
	size_t size = arena_size(&layout);
	uint64_t *memory = aligned_alloc(4096, size);
	uint64_t version;

	CHECK(memory != NULL);
	memset(memory, 0, size);
	arena_format(memory, &layout);
	version = (uint32_t)memory[1];
	free(memory);
	return version;
}

static void check(const char *what, uint64_t version, uint64_t wanted_version, uint64_t wanted)
{
	if (version == wanted_version && digest == wanted)
		return;
	fail_msg("%s, version %llx: the layout is 0x%llx now, and 0x%llx was written down for "
		 "version "
		 "%llx. Has it changed? Then so must its version, and this row",
		what, (unsigned long long)version, (unsigned long long)digest,
		(unsigned long long)wanted, (unsigned long long)wanted_version);
}

TEST(a_layout_changes_with_its_version)
{
	digest = 0xcbf29ce484222325;
	add_session();
	add_rtmp_and_flv();
	add_http();
	add_media();
	check("arena (runtime/arena.c)", arena_version(), 6, 0xcda28dbd03d0f14);
	digest = 0xcbf29ce484222325;
	add_page();
	check("status page (runtime/process.h)", PROCESS_PAGE_MAGIC, 0x4d725034,
		0xacde965ddf790bfc);
}
