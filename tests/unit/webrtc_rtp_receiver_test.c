/* SPDX-License-Identifier: Apache-2.0
 *
 * The receiving side of a track: numbers, statistics, NACK and RTX over a lossy link, capture times,
 * keyframe requests.
 */
#include "actors/webrtc/rtp_receiver.h"
#include "tests/test.h"

enum { MS = 1000, S = 1000000 };
#define UNIX_OFFSET (INT64_C(1790000000) * S)

static struct rtp_receiver r;
static struct rtp_timeline timeline;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void start(void)
{
	rtp_timeline_init(&timeline, UNIX_OFFSET);
	rtp_receiver_init(&r, &(struct rtp_receiver_options){
				      .ssrc = 1,
				      .rtx_ssrc = 2,
				      .payload_type = 96,
				      .rtx_payload_type = 97,
				      .clock_rate = 90000,
				      .nack = true,
				      .video = true,
			      });
	CHECK(rtp_receiver_is_valid(&r));
}

static enum err take(uint16_t sequence, uint32_t timestamp, size_t size, int64_t now_us,
	struct rtp_receipt *receipt)
{
	static const uint8_t payload[1500];
	struct rtp_packet p = {.ssrc = 1,
		.sequence = sequence,
		.timestamp = timestamp,
		.payload = payload,
		.payload_size = (uint16_t)size};

	return rtp_receiver_take(&r, &timeline, &p, false, now_us, receipt);
}

TEST(packets_are_numbered_once)
{
	static const struct {
		uint16_t sequence;
		uint16_t size;
		enum err err;
		int number; /* relative to the first */
		bool late;
	} rows[] = {
		{65533, 100, ERR_OK,     0,	false},
		{65533, 100, ERR_REPLAY, 0,  false},
		{65535, 100, ERR_OK,     2,	false},
		{65532, 100, ERR_OK,     -1, true }, /* overtaken at the start */
		{0,	    100, ERR_OK,	 3,  false},
		{65534, 100, ERR_OK,     1,	true },
		{65534, 100, ERR_REPLAY, 0,  false},
		{2,	    0,   ERR_OK,     5,  false}, /* padding: its number … */
		{3,	    100, ERR_OK,	 5,  false}, /* … is used again */
		{1,	    100, ERR_OK,	 4,  true },
		{4,	    100, ERR_OK,	 6,  false},
	};
	struct rtp_receipt receipt;

	start();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(take(rows[i].sequence, 1000, rows[i].size, S, &receipt), rows[i].err);
		if (rows[i].err)
			continue;
		CHECK_EQ(receipt.track_seq,
			(uint64_t)(RTP_RECEIVER_TRACK_SEQ_FIRST + rows[i].number));
		CHECK_EQ(receipt.late, rows[i].late);
		CHECK_EQ(receipt.padding, !rows[i].size);
	}
	CHECK_EQ(r.duplicates, 2);
}

TEST(jumps_and_restarts_are_survived)
{
	struct rtp_receipt receipt;

	start();
	CHECK_OK(take(100, 0, 9, S, &receipt));
	CHECK_EQ(receipt.track_seq, 33);
	/* an outage: shown as one lost packet, and a keyframe is wanted */
	CHECK_OK(take(100 + 20000, 9000, 9, S + 100 * MS, &receipt));
	CHECK_EQ(receipt.track_seq, 35);
	CHECK(!receipt.discontinuity);
	CHECK(rtp_receiver_take_keyframe_wish(&r));
	CHECK(!rtp_receiver_take_keyframe_wish(&r));
	CHECK_EQ(rtp_receiver_deadline_us(&r), RTP_NO_DEADLINE);
	/* numbering begins anew: one old packet is a straggler, two in sequence are proof */
	CHECK_EQ(take(5, 9000, 9, S + 110 * MS, &receipt), ERR_REPLAY);
	CHECK_OK(take(20101, 9900, 9, S + 110 * MS, &receipt));
	CHECK_EQ(receipt.track_seq, 36);
	CHECK_EQ(take(7, 9900, 9, S + 120 * MS, &receipt), ERR_REPLAY);
	CHECK_OK(take(8, 10800, 9, S + 120 * MS, &receipt));
	CHECK(receipt.discontinuity);
	CHECK_EQ(receipt.track_seq, 37);
	CHECK_OK(take(9, 10800, 9, S + 120 * MS, &receipt));
	CHECK_EQ(receipt.track_seq, 38);
	/* the RTP clock jumps: a new timeline, capture time goes on */
	int64_t before = receipt.capture_us;
	CHECK_OK(take(10, 0x70000000, 9, S + 160 * MS, &receipt));
	CHECK(receipt.discontinuity);
	CHECK(receipt.capture_us > before && receipt.capture_us <= before + 60 * MS);
	CHECK(rtp_receiver_is_valid(&r));
}

TEST(reports_follow_the_rfc)
{
	struct rtp_receipt receipt;
	struct rtcp_report_block block;

	start();
	CHECK(!rtp_receiver_fill_report(&r, false, S, &block));
	for (uint16_t i = 0; i < 100; i++)
		if (i % 4 != 1)
			take(i, i * 900u, 10, S + i * 10 * MS, &receipt);
	rtp_receiver_take_sender_report(&r, &timeline,
		&(struct rtcp_sender_info){
			.ssrc = 1, .ntp = 0x1122334455667788, .rtp_timestamp = 0},
		2 * S);
	CHECK(rtp_receiver_fill_report(&r, false, 2 * S + 500 * MS, &block));
	CHECK_EQ(block.lost, 25);
	CHECK_EQ(block.fraction_lost, 64);
	CHECK_EQ(block.newest, 99);
	CHECK_EQ(block.jitter, 0);
	CHECK_EQ(block.lsr, 0x33445566);
	CHECK_EQ(block.dlsr, 32768);
	/* nothing new: nothing lost in this interval */
	CHECK(rtp_receiver_fill_report(&r, false, 3 * S, &block));
	CHECK_EQ(block.fraction_lost, 0);
	CHECK_EQ(block.lost, 25);
	/* every second packet 10 ms late: jitter goes towards 900 ticks */
	for (uint16_t i = 100; i < 400; i++)
		take(i, i * 900u, 10, S + (i * 10 + (i & 1) * 10) * MS, &receipt);
	CHECK(rtp_receiver_fill_report(&r, false, 3 * S, &block));
	CHECK(block.jitter > 850 && block.jitter < 910);
}

TEST(nacks_come_in_time_and_end)
{
	struct rtp_receipt receipt;
	uint16_t asked[16];
	int64_t now = S;

	start();
	take(1, 0, 10, now, &receipt);
	take(3, 0, 10, now, &receipt);
	CHECK_EQ(rtp_receiver_poll_nacks(&r, now, asked, 16), 0);
	CHECK_EQ(rtp_receiver_deadline_us(&r), now + NACK_TOLERANCE_US);
	/* overtaken by three: no more waiting */
	take(4, 0, 10, now + MS, &receipt);
	CHECK_EQ(rtp_receiver_poll_nacks(&r, now + MS, asked, 16), 0);
	take(5, 0, 10, now + 2 * MS, &receipt);
	CHECK_EQ(rtp_receiver_deadline_us(&r), now + 2 * MS);
	CHECK_EQ(rtp_receiver_poll_nacks(&r, now + 2 * MS, asked, 16), 1);
	CHECK_EQ(asked[0], 2);
	CHECK_EQ(rtp_receiver_poll_nacks(&r, now + 3 * MS, asked, 16), 0);
	int tries = 1;
	while (r.nack_count) {
		now = rtp_receiver_deadline_us(&r);
		tries += (int)rtp_receiver_poll_nacks(&r, now, asked, 16);
	}
	CHECK(tries >= 5 && tries <= NACK_TRIES_MAX);
	CHECK_LE(now, S + NACK_AGE_MAX_US + NACK_INTERVAL_MAX_US);
	CHECK(rtp_receiver_take_keyframe_wish(&r));
	/* more missing than can be pending */
	take(6 + NACK_PENDING_MAX + 1, 0, 10, now, &receipt);
	CHECK_EQ(r.nack_count, 0);
	CHECK_EQ(r.nack_overflows, 1);
	CHECK(rtp_receiver_take_keyframe_wish(&r));
}

/* A link with loss, reordering and duplication; the sender answers NACKs by RTX, some in vain. */
struct flight {
	int64_t at_us;
	uint16_t sequence;
	bool rtx;
};

enum { LINK_PACKETS = 3000, LINK_FLIGHTS = 16384, LINK_DELAY = 20 * MS };

struct link {
	struct flight flights[LINK_FLIGHTS]; /* by time */
	size_t count;
	uint64_t random;
	uint16_t first, rtx_sequence;
	uint8_t got[LINK_PACKETS];
	size_t lost, duplicated;
};

static void link_send(struct link *l, int64_t at_us, uint16_t sequence, bool rtx)
{
	size_t i = l->count++;

	CHECK(l->count < LINK_FLIGHTS);
	for (; i && l->flights[i - 1].at_us > at_us; i--)
		l->flights[i] = l->flights[i - 1];
	l->flights[i] = (struct flight){at_us, sequence, rtx};
}

static void link_fill(struct link *l)
{
	for (int i = 0; i < LINK_PACKETS; i++) {
		uint64_t x = next_random(&l->random);
		int64_t at = S + i * 2 * MS + LINK_DELAY + (int64_t)(x % 6) * MS;
		uint16_t sequence = (uint16_t)(l->first + i);
		if (i == 0) {
			at = S;
		} else if (i == LINK_PACKETS - 1) {
			at += 20 * MS;
		} else if ((x >> 20) % 20 == 0) {
			l->lost++;
			continue;
		}
		link_send(l, at, sequence, false);
		if ((x >> 40) % 50 == 0) {
			l->duplicated++;
			link_send(l, at + 3 * MS, sequence, false);
		}
	}
}

static void link_arrive(struct link *l, const struct flight *f)
{
	uint8_t payload[12] = {(uint8_t)(f->sequence >> 8), (uint8_t)f->sequence};
	uint16_t number = (uint16_t)(f->sequence - l->first);
	struct rtp_packet p = {
		.ssrc = f->rtx ? 2 : 1,
		.sequence = f->rtx ? l->rtx_sequence++ : f->sequence,
		.timestamp = number * 180u,
		.payload = payload,
		.payload_size = sizeof(payload),
	};
	struct rtp_receipt receipt;

	if (f->rtx)
		CHECK_OK(rtp_receiver_unwrap_rtx(&r, &p, f->at_us));
	CHECK_EQ(p.sequence, f->sequence);
	if (rtp_receiver_take(&r, &timeline, &p, f->rtx, f->at_us, &receipt) == ERR_OK) {
		CHECK_EQ(receipt.track_seq - RTP_RECEIVER_TRACK_SEQ_FIRST, number);
		CHECK_EQ(l->got[number]++, 0);
	}
}

static void run_link(uint64_t seed)
{
	static struct link l;
	int64_t now = 0;
	uint16_t asked[64];

	memset(&l, 0, sizeof(l));
	l.random = seed * 0x9E3779B97F4A7C15;
	l.first = (uint16_t)(seed * 2100);
	start();
	link_fill(&l);
	for (size_t next = 0; next < l.count || r.nack_count;) {
		int64_t deadline = rtp_receiver_deadline_us(&r);
		if (next < l.count && l.flights[next].at_us <= deadline) {
			struct flight f = l.flights[next++];
			now = f.at_us;
			link_arrive(&l, &f);
		} else {
			now = deadline > now ? deadline : now;
		}
		size_t count = rtp_receiver_poll_nacks(&r, now, asked, 64);
		for (size_t i = 0; i < count; i++)
			if (next_random(&l.random) % 10)
				link_send(&l, now + 2 * LINK_DELAY, asked[i], true);
		CHECK(rtp_receiver_is_valid(&r));
	}
	for (int i = 0; i < LINK_PACKETS; i++)
		CHECK_EQ(l.got[i], 1);
	CHECK_EQ(r.stats.received + r.recovered, LINK_PACKETS);
	CHECK_GE(r.recovered, l.lost);
	CHECK_GE(r.duplicates, l.duplicated);
	CHECK_EQ(r.nacks_given_up, 0);
	CHECK(r.rtt_known && r.rtt_us >= 2 * LINK_DELAY && r.rtt_us <= 2 * LINK_DELAY + 10 * MS);
}

TEST(what_is_lost_is_recovered)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		run_link(seed);
}

TEST(rtx_packets_are_unwrapped)
{
	static const uint8_t payload[] = {0x12, 0x34, 7, 8};
	struct rtp_packet p = {
		.ssrc = 2, .payload_type = 97, .payload = payload, .payload_size = 4};

	start();
	CHECK_OK(rtp_receiver_unwrap_rtx(&r, &p, S));
	CHECK_EQ(p.sequence, 0x1234);
	CHECK_EQ(p.ssrc, 1);
	CHECK_EQ(p.payload_type, 96);
	CHECK_EQ(p.payload_size, 2);
	CHECK_EQ(p.payload[0], 7);
	p = (struct rtp_packet){.payload = payload, .payload_size = 1};
	CHECK_EQ(rtp_receiver_unwrap_rtx(&r, &p, S), ERR_FORMAT);
	p.payload_size = 0;
	CHECK_EQ(rtp_receiver_unwrap_rtx(&r, &p, S), ERR_AGAIN);
}

/* ---- capture times ---- */

struct source {
	struct rtp_track_clock clock;
	uint32_t rate;
	uint64_t zero;	   /* RTP time of the source's start */
	int64_t encode_us; /* capture → send */
	int64_t step_us;
	int64_t last_us; /* last capture time said */
};

/* The sender's wall clock is off by `skew` from ours and may be stepped. */
static int64_t say(struct source *t, int64_t captured_us, int64_t now_us)
{
	bool jumped;
	uint64_t rtp = t->zero + (uint64_t)(captured_us * t->rate / S);
	int64_t said = rtp_timeline_capture_us(&timeline, &t->clock, rtp, now_us, &jumped);

	CHECK(!jumped);
	CHECK(said > t->last_us);
	t->last_us = said;
	return said;
}

static void report(struct source *t, int64_t captured_us, int64_t skew_us)
{
	rtp_timeline_take_report(&timeline, &t->clock,
		rtp_ntp_from_unix_us(UNIX_OFFSET + captured_us + skew_us),
		(uint32_t)(t->zero + (uint64_t)(captured_us * t->rate / S)));
}

TEST(audio_and_video_land_on_one_timeline)
{
	/* video takes 120 ms to encode, audio 10: by arrival they would be 110 ms apart */
	static const int64_t skews[] = {0, -3 * S, INT64_C(4000) * S};
	static const int64_t steps[] = {0, INT64_C(3600) * S, -INT64_C(50) * S};

	for (size_t row = 0; row < 9; row++) {
		struct source audio = {.rate = 48000, .zero = 0x1FFFF0000, .encode_us = 10 * MS};
		struct source video = {.rate = 90000, .zero = 0x123456789, .encode_us = 120 * MS};
		uint64_t random = row + 7;
		int64_t skew = skews[row % 3], apart = 0, audio_at = 0, video_at = 0;
		rtp_timeline_init(&timeline, UNIX_OFFSET);
		rtp_track_clock_init(&audio.clock, audio.rate);
		rtp_track_clock_init(&video.clock, video.rate);
		for (int64_t t = S; t < 40 * S; t += 20 * MS) {
			int64_t jitter = (int64_t)(next_random(&random) % 15) * MS;
			if (t == 20 * S)
				skew += steps[row / 3];
			audio_at = say(&audio, t, t + audio.encode_us + 30 * MS + jitter) - t;
			if (t % (40 * MS) == 0)
				video_at =
					say(&video, t, t + video.encode_us + 30 * MS + jitter) - t;
			if (t % (5 * S) == 0)
				report(&audio, t, skew);
			if (t % S == 200 * MS)
				report(&video, t, skew);
			apart = audio_at - video_at;
			if (t > 12 * S)
				CHECK(apart > -2 * MS && apart < 2 * MS);
		}
		/* and near the truth: off by the least delay of the faster track */
		CHECK(audio_at - UNIX_OFFSET >= 30 * MS && audio_at - UNIX_OFFSET <= 60 * MS);
	}
}

TEST(senders_without_a_common_clock_stay_on_arrivals)
{
	struct source audio = {.rate = 48000}, video = {.rate = 90000};
	int64_t audio_at = 0, video_at = 0;

	rtp_timeline_init(&timeline, UNIX_OFFSET);
	rtp_track_clock_init(&audio.clock, audio.rate);
	rtp_track_clock_init(&video.clock, video.rate);
	for (int64_t t = S; t < 30 * S; t += 20 * MS) {
		audio_at = say(&audio, t, t + 30 * MS) - t - UNIX_OFFSET;
		video_at = say(&video, t, t + 50 * MS) - t - UNIX_OFFSET;
		if (t % S == 0) {
			report(&video, t, 0);
			report(&audio, t, -INT64_C(1700000000) * S);
		}
	}
	CHECK(audio_at >= 29 * MS && audio_at <= 31 * MS);
	CHECK(video_at >= 49 * MS && video_at <= 51 * MS);
	/* a report without a wall clock says nothing */
	int64_t sender_us;
	struct rtp_track_clock fresh;
	rtp_track_clock_init(&fresh, 90000);
	rtp_timeline_take_report(&timeline, &fresh, 0, 5);
	CHECK(!rtp_timeline_sender_us(&fresh, 5, &sender_us));
	CHECK(rtp_timeline_sender_us(&video.clock, video.clock.anchor_rtp, &sender_us));
	CHECK(sender_us - UNIX_OFFSET > 29 * S && sender_us - UNIX_OFFSET < 30 * S);
}

TEST(keyframe_requests_are_merged)
{
	struct rtp_keyframe k;

	rtp_keyframe_init(&k, RTP_KEYFRAME_INTERVAL_US);
	CHECK(!rtp_keyframe_poll(&k, S));
	CHECK_EQ(rtp_keyframe_deadline_us(&k), RTP_NO_DEADLINE);
	for (int i = 0; i < 100; i++)
		rtp_keyframe_want(&k);
	CHECK(rtp_keyframe_poll(&k, S));
	CHECK_EQ(k.fir_sequence, 1);
	CHECK(!rtp_keyframe_poll(&k, S + 499 * MS));
	CHECK(rtp_keyframe_poll(&k, S + 500 * MS)); /* unanswered: the same request again */
	CHECK_EQ(k.fir_sequence, 1);
	rtp_keyframe_arrived(&k);
	CHECK(!rtp_keyframe_poll(&k, 9 * S));
	rtp_keyframe_want(&k);
	CHECK(rtp_keyframe_poll(&k, 9 * S));
	CHECK_EQ(k.fir_sequence, 2);
	rtp_keyframe_arrived(&k);
	rtp_keyframe_want(&k); /* at once again: no faster than the interval */
	CHECK(!rtp_keyframe_poll(&k, 9 * S + 100 * MS));
	CHECK(rtp_keyframe_poll(&k, 9 * S + 500 * MS));
	CHECK_EQ(k.requests, 4);
}

TEST(damaged_states_are_refused)
{
	start();
	r.nack_count = NACK_PENDING_MAX + 1;
	CHECK(!rtp_receiver_is_valid(&r));
	start();
	r.clock.clock_rate = 0;
	CHECK(!rtp_receiver_is_valid(&r));
	start();
	r.stats.newest = UINT64_MAX;
	CHECK(!rtp_receiver_is_valid(&r));
}
