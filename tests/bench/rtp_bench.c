/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet to one viewer costs before encryption: its number, its transport-wide number, its
 * header with extensions. Prints nanoseconds a packet; with many viewers their histories are walked
 * in turn, so that the caches are as cold as they are in a worker.
 * Build: cc -O2 -I. -D_GNU_SOURCE tests/bench/rtp_bench.c actors/webrtc/rtp*.c actors/webrtc/rtcp.c
 *        actors/webrtc/twcc.c schemas/err.c
 */
#include "actors/webrtc/rtp_receiver.h"
#include "actors/webrtc/rtp_sender.h"
#include "actors/webrtc/twcc.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { VIEWERS = 300, FRAMES = 2000, FRAME_PACKETS = 9 };

struct viewer {
	struct rtp_sender sender;
	struct twcc_ledger ledger;
	struct rtp_ext_layout layout;
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void start(struct viewer *v, uint64_t random)
{
	struct rtp_ext_map map = {0};

	rtp_ext_map_set(&map, RTP_EXT_MID, 1);
	rtp_ext_map_set(&map, RTP_EXT_ABS_SEND_TIME, 2);
	rtp_ext_map_set(&map, RTP_EXT_TRANSPORT_CC, 3);
	MUST(rtp_ext_layout_init(&v->layout, &map,
		     &(struct rtp_ext_layout_options){.chosen = ~0u, .mid = "1"}) == ERR_OK);
	twcc_ledger_init(&v->ledger);
	rtp_sender_init(&v->sender, &(struct rtp_sender_options){
					    .ssrc = 1,
					    .rtx_ssrc = 2,
					    .kind = MEDIA_VIDEO,
					    .clock_rate = 90000,
					    .history_count = RTP_SENDER_HISTORY_MAX,
					    .random = random,
				    });
}

/* Sends one frame to one viewer; returns something that depends on every packet. */
static unsigned send_frame(struct viewer *v, int frame)
{
	uint8_t buffer[RTP_SLOT_SIZE_MAX];
	int64_t now_us = frame * INT64_C(40000);
	uint32_t send_time = rtp_ext_abs_send_time(now_us);
	uint64_t first = (uint64_t)frame * FRAME_PACKETS + 1;
	struct rtp_slot slot;
	unsigned sum = 0;

	for (unsigned i = 0; i < FRAME_PACKETS; i++) {
		struct media_header header = {
			.position = first + i,
			.track_seq = first + i,
			.rtp_time = (uint64_t)frame * 3600,
			.capture_us = now_us,
			.frame = (uint32_t)frame,
			.size = 1160,
			.flags = i == FRAME_PACKETS - 1 ? MEDIA_FRAME_END : 0,
		};
		MUST(rtp_sender_map(&v->sender, &header, &slot) == ERR_OK);
		uint16_t number = twcc_ledger_commit(&v->ledger, 1200, now_us);
		sum += (unsigned)rtp_slot_write(&slot, &v->layout, buffer, send_time, number, 0);
		sum += buffer[3];
	}
	return sum;
}

static void run(struct viewer *viewers, int count, int frames)
{
	unsigned sum = 0;
	double begin = now_ns();

	for (int i = 0; i < count; i++)
		start(&viewers[i], (uint64_t)i * 0x9E3779B97F4A7C15);
	for (int frame = 0; frame < frames; frame++)
		for (int i = 0; i < count; i++)
			sum += send_frame(&viewers[i], frame);
	printf("%4d viewers: %6.1f ns a packet (%u)\n", count,
		(now_ns() - begin) / ((double)frames * count * FRAME_PACKETS), sum & 1);
}

int main(void)
{
	struct viewer *viewers = calloc(VIEWERS, sizeof(*viewers));

	MUST(viewers);
	printf("bytes: sender %zu, of which history %zu; ledger %zu; receiver %zu; recorder %zu\n",
		sizeof(struct rtp_sender), sizeof(viewers->sender.history),
		sizeof(struct twcc_ledger), sizeof(struct rtp_receiver),
		sizeof(struct twcc_recorder));
	run(viewers, 1, FRAMES * 10);
	run(viewers, VIEWERS, FRAMES / 5);
	free(viewers);
	return 0;
}
