/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP header, extension block, demultiplexing, widening, clocks.
 */
#include "actors/webrtc/rtp.h"
#include "actors/webrtc/rtp_ext.h"
#include "tests/test.h"

TEST(a_datagram_is_classified_by_its_first_bytes)
{
	static const struct {
		uint8_t bytes[2];
		size_t size;
		enum rtp_class class;
	} rows[] = {
		{{0},		      0, RTP_CLASS_UNKNOWN},
		{{0, 1},		 2, RTP_CLASS_STUN	  },
		{{3, 0},		 2, RTP_CLASS_STUN	  },
		{{4, 0},		 2, RTP_CLASS_UNKNOWN},
		{{16, 0},		  2, RTP_CLASS_UNKNOWN}, /* ZRTP */
		{{19, 0},		  2, RTP_CLASS_UNKNOWN},
		{{20, 254},	    2, RTP_CLASS_DTLS   },
		{{22, 254},	    2, RTP_CLASS_DTLS   },
		{{63, 0},		  2, RTP_CLASS_DTLS   },
		{{64, 0},		  2, RTP_CLASS_UNKNOWN}, /* TURN channel */
		{{128, 96},	    2, RTP_CLASS_RTP    },
		{{128},		1, RTP_CLASS_UNKNOWN},
		{{0x90, 0x80 | 63}, 2, RTP_CLASS_RTP    },
		{{0x80, 191},	      2, RTP_CLASS_RTP    },
		{{0x80, 192},	      2, RTP_CLASS_RTCP   },
		{{0x80, 200},	      2, RTP_CLASS_RTCP   },
		{{0xBF, 223},	      2, RTP_CLASS_RTCP   },
		{{0x80, 224},	      2, RTP_CLASS_RTP    },
		{{192, 0},	   2, RTP_CLASS_UNKNOWN},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(rtp_classify_packet(rows[i].bytes, rows[i].size), rows[i].class);
}

/* A video packet as Chrome sends it: one-byte extensions abs-send-time (2), transport-cc (3) and
 * mid (4), then padding to the word. */
static const uint8_t chrome_video[] = {0x90, 0xE0, 0x12, 0x34, 0x00, 0x01, 0x5F, 0x90, 0xDE, 0xAD,
	0xBE, 0xEF, 0xBE, 0xDE, 0x00, 0x03, 0x22, 0x0A, 0x0B, 0x0C, 0x31, 0xAB, 0xCD, 0x40, '1',
	0x00, 0x00, 0x00, 0x7C, 0x85, 0x88, 0x80};

/* Simulcast: two-byte form with rid (10) and mid (9), an audio level and an empty element. */
static const uint8_t chrome_simulcast[] = {0x90, 0x60, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x01, 0x00,
	0x00, 0x00, 0x02, 0x10, 0x00, 0x00, 0x04, 0x0A, 0x02, 'h', 'i', 0x00, 0x09, 0x01, '0', 0x00,
	0x00, 0x01, 0x01, 0x9E, 0x0C, 0x00, 0x00, 0x01, 0x02, 0x03};

TEST(a_packet_of_chrome_is_read)
{
	struct rtp_packet p;
	struct rtp_ext_map map = {0};
	struct rtp_ext_values v;
	uint32_t ssrc;

	CHECK_OK(rtp_ext_map_set(&map, RTP_EXT_ABS_SEND_TIME, 2));
	CHECK_OK(rtp_ext_map_set(&map, RTP_EXT_TRANSPORT_CC, 3));
	CHECK_OK(rtp_ext_map_set(&map, RTP_EXT_MID, 4));
	CHECK_OK(rtp_parse(&p, chrome_video, sizeof(chrome_video)));
	CHECK(rtp_peek_ssrc(chrome_video, sizeof(chrome_video), &ssrc));
	CHECK_EQ(ssrc, 0xDEADBEEF);
	CHECK_EQ(p.ssrc, 0xDEADBEEF);
	CHECK_EQ(p.sequence, 0x1234);
	CHECK_EQ(p.timestamp, 90000);
	CHECK_EQ(p.payload_type, 96);
	CHECK(p.marker);
	CHECK_EQ(p.payload_size, 4);
	CHECK_EQ(p.payload[0], 0x7C);
	rtp_ext_parse(&v, &map, &p);
	CHECK_EQ(v.present,
		RTP_EXT_BIT(ABS_SEND_TIME) | RTP_EXT_BIT(TRANSPORT_CC) | RTP_EXT_BIT(MID));
	CHECK_EQ(v.abs_send_time, 0x0A0B0C);
	CHECK_EQ(v.transport_seq, 0xABCD);
	CHECK_STR(v.mid, "1");
}

TEST(two_byte_extensions_are_read)
{
	struct rtp_packet p;
	struct rtp_ext_map map = {0};
	struct rtp_ext_values v;

	rtp_ext_map_set(&map, RTP_EXT_RID, 10);
	rtp_ext_map_set(&map, RTP_EXT_MID, 9);
	rtp_ext_map_set(&map, RTP_EXT_AUDIO_LEVEL, 1);
	rtp_ext_map_set(&map, RTP_EXT_REPAIRED_RID, 12);
	CHECK_OK(rtp_parse(&p, chrome_simulcast, sizeof(chrome_simulcast)));
	rtp_ext_parse(&v, &map, &p);
	CHECK_EQ(v.present, RTP_EXT_BIT(RID) | RTP_EXT_BIT(MID) | RTP_EXT_BIT(AUDIO_LEVEL));
	CHECK_STR(v.rid, "hi");
	CHECK_STR(v.mid, "0");
	CHECK_EQ(v.audio_level, 0x9E);
	CHECK_EQ(p.payload_size, 3);
}

TEST(damaged_packets_are_refused)
{
	static const struct {
		const char *what;
		uint8_t bytes[20];
		size_t size;
	} rows[] = {
		{"nothing",		    {0},						  0 },
		{"version 1",		      {0x40, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},		12},
		{"missing CSRC",		 {0x81, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},		   12},
		{"missing extension header", {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE},
			14										  },
		{"extension too long",
			{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0, 2, 0, 0, 0, 0},		20},
		{"padding without a byte",   {0xA0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},	     12},
		{"padding of zero",	    {0xA0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0},		 13},
		{"padding too long",	     {0xA0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 3},	     14},
	};
	struct rtp_packet p;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(rtp_parse(&p, rows[i].bytes, rows[i].size), ERR_FORMAT);
	for (size_t size = 0; size < 28; size++)
		CHECK_EQ(rtp_parse(&p, chrome_video, size), ERR_FORMAT);
}

TEST(damaged_extension_blocks_end_early)
{
	static const struct {
		uint16_t profile;
		uint8_t ext[8];
		uint32_t present;
	} rows[] = {
		{0xBEDE, {0x10, 0x05, 0x21, 1, 2},
			RTP_EXT_BIT(AUDIO_LEVEL) | RTP_EXT_BIT(TRANSPORT_CC)		    },
		{0xBEDE, {0, 0, 0, 0, 0, 0, 0x10, 0x05},	 RTP_EXT_BIT(AUDIO_LEVEL) },
		{0xBEDE, {0x10, 0x05, 0xF0, 0, 0x21, 1, 2},
			RTP_EXT_BIT(AUDIO_LEVEL)						}, /* id 15 stops */
		{0xBEDE, {0x03, 1, 2, 3, 4, 0x10, 0x05},	 0			  }, /* id 0 with a length stops */
		{0xBEDE, {0x10, 0x05, 0x2F},		     RTP_EXT_BIT(AUDIO_LEVEL) }, /* longer than the block */
		{0xBEDE, {0x20, 0x05, 0x10, 0x06},	   RTP_EXT_BIT(AUDIO_LEVEL) }, /* wrong size of 2 */
		{0x1003, {1, 1, 9, 0, 2, 2, 3, 4},
			RTP_EXT_BIT(AUDIO_LEVEL) | RTP_EXT_BIT(TRANSPORT_CC)		    },
		{0x1000, {1, 1, 9, 2, 200, 3, 4},		  RTP_EXT_BIT(AUDIO_LEVEL) },
		{0x1000, {1, 0, 2, 2, 3, 4},		     RTP_EXT_BIT(TRANSPORT_CC)},
		{0x2000, {1, 1, 9, 2, 2, 3, 4},		0			 }, /* not ours */
	};
	struct rtp_ext_map map = {0};
	struct rtp_ext_values v;

	rtp_ext_map_set(&map, RTP_EXT_AUDIO_LEVEL, 1);
	rtp_ext_map_set(&map, RTP_EXT_TRANSPORT_CC, 2);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rtp_packet p = {
			.has_ext = true,
			.ext_profile = rows[i].profile,
			.ext = rows[i].ext,
			.ext_size = 8,
		};
		rtp_ext_parse(&v, &map, &p);
		CHECK_EQ(v.present, rows[i].present);
	}
}

TEST(extension_values_are_decoded)
{
	static const struct {
		enum rtp_ext_kind kind;
		uint8_t size;
		uint8_t data[4];
		int64_t value, more;
	} rows[] = {
		{RTP_EXT_TOFFSET,		  3, {0, 1, 0},		256,	     0    },
		{RTP_EXT_TOFFSET,		  3, {0xFF, 0xFF, 0xFF}, -1,	     0    },
		{RTP_EXT_TOFFSET,		  3, {0x80, 0, 0},	   -8388608, 0    },
		{RTP_EXT_VIDEO_ORIENTATION, 1, {0x0B},	       11,	   0    },
		{RTP_EXT_PLAYOUT_DELAY,	3, {0x00, 0xA0, 0x14}, 100,	    200  },
		{RTP_EXT_PLAYOUT_DELAY,	3, {0xFF, 0xFF, 0xFF}, 40950,    40950},
		{RTP_EXT_TRANSPORT_CC,      4, {1, 2, 0x80, 0},	   258,	0	 },
		{RTP_EXT_DEPENDENCY,	     2, {7, 8},		2,	   0    },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rtp_ext_map map = {0};
		struct rtp_ext_values v;
		uint8_t ext[8] = {(uint8_t)(0x10 | (rows[i].size - 1))};
		struct rtp_packet p = {
			.has_ext = true, .ext_profile = 0xBEDE, .ext = ext, .ext_size = 8};
		rtp_ext_map_set(&map, rows[i].kind, 1);
		memcpy(ext + 1, rows[i].data, rows[i].size);
		rtp_ext_parse(&v, &map, &p);
		CHECK_EQ(v.present, 1u << rows[i].kind);
		switch (rows[i].kind) {
		case RTP_EXT_TOFFSET: CHECK_EQ(v.toffset, rows[i].value); break;
		case RTP_EXT_VIDEO_ORIENTATION: CHECK_EQ(v.video_orientation, rows[i].value); break;
		case RTP_EXT_TRANSPORT_CC: CHECK_EQ(v.transport_seq, rows[i].value); break;
		case RTP_EXT_DEPENDENCY: CHECK_EQ(v.dependency_size, rows[i].value); break;
		default:
			CHECK_EQ(v.playout_min_ms, rows[i].value);
			CHECK_EQ(v.playout_max_ms, rows[i].more);
		}
	}
}

TEST(what_is_written_is_read_back)
{
	uint8_t ext[8] = {0x10, 7}, payload[40] = {1, 2, 3}, buffer[200];

	for (unsigned i = 0; i < 64; i++) {
		struct rtp_packet in = {
			.ssrc = 0x01020304 * i,
			.timestamp = 77 * i,
			.sequence = (uint16_t)(i * 1021),
			.payload_type = (uint8_t)(i * 2),
			.marker = i & 1,
			.csrc_count = (uint8_t)(i % 16),
			.has_ext = i & 2,
			.ext_profile = 0xBEDE,
			.ext = ext,
			.ext_size = i & 2 ? 8 : 0,
			.payload = payload,
			.payload_size = (uint16_t)(i % 41),
			.padding_size = i & 4 ? (uint8_t)i : 0,
		};
		struct rtp_packet out;
		struct writer w = writer_of(buffer, sizeof(buffer));
		for (int c = 0; c < in.csrc_count; c++)
			in.csrc[c] = i * 100u + (unsigned)c;
		CHECK_OK(rtp_write(&w, &in));
		CHECK_OK(rtp_parse(&out, buffer, writer_used(&w)));
		CHECK_EQ(out.sequence, in.sequence);
		CHECK_EQ(out.timestamp, in.timestamp);
		CHECK_EQ(out.ssrc, in.ssrc);
		CHECK_EQ(out.marker, in.marker);
		CHECK_EQ(out.payload_size, in.payload_size);
		CHECK_EQ(out.padding_size, in.padding_size);
		CHECK_EQ(out.ext_size, in.ext_size);
		CHECK_MEM(out.csrc, in.csrc, sizeof(in.csrc));
		for (size_t room = 0; room < writer_used(&w); room++) {
			uint8_t small[200];
			struct writer s = writer_of(small, room);
			CHECK_EQ(rtp_write(&s, &in), ERR_NO_SPACE);
		}
	}
}

TEST(a_layout_is_patched_in_place)
{
	static const struct {
		int abs_id, tcc_id, mid_id, level_id;
		const char *mid;
		uint8_t size;
		bool two_byte;
	} rows[] = {
		{2,  3,  4,	  0,  "0",		  16, false},
		{2,  3,  4,	  1,  "0",		  16, false},
		{14, 13, 12,  11, "ab",		       16, false},
		{2,  3,  200, 1,  "0",		    20, true },
		{2,  3,  4,	  1,  "seventeen bytes !", 36, true },
		{0,  3,  0,	  0,  "",			 8,  false},
		{0,  0,  0,	  0,  "x",		  0,  false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rtp_ext_map map = {0};
		struct rtp_ext_layout layout;
		struct rtp_ext_values v;
		uint8_t block[RTP_EXT_BLOCK_MAX];
		map.id[RTP_EXT_ABS_SEND_TIME] = (uint8_t)rows[i].abs_id;
		map.id[RTP_EXT_TRANSPORT_CC] = (uint8_t)rows[i].tcc_id;
		map.id[RTP_EXT_MID] = (uint8_t)rows[i].mid_id;
		map.id[RTP_EXT_AUDIO_LEVEL] = (uint8_t)rows[i].level_id;
		CHECK_OK(rtp_ext_layout_init(&layout, &map,
			&(struct rtp_ext_layout_options){.chosen = ~0u, .mid = rows[i].mid}));
		CHECK(rtp_ext_layout_is_valid(&layout));
		CHECK_EQ(layout.size, rows[i].size);
		CHECK_EQ(layout.two_byte, rows[i].two_byte);
		for (int known = 0; known < 2 && layout.size; known++) {
			rtp_ext_layout_write(&layout, block, 0x123456, 0xFEDC, known ? 0x185 : 0);
			struct rtp_packet p = {
				.has_ext = true,
				.ext_profile = (uint16_t)(block[0] << 8 | block[1]),
				.ext = block + 4,
				.ext_size = (uint16_t)(layout.size - 4),
			};
			CHECK_EQ((block[2] << 8 | block[3]) * 4, layout.size - 4);
			rtp_ext_parse(&v, &map, &p);
			CHECK_EQ(!!(v.present & RTP_EXT_BIT(AUDIO_LEVEL)),
				known && rows[i].level_id);
			CHECK_EQ(!!(v.present & RTP_EXT_BIT(TRANSPORT_CC)), rows[i].tcc_id > 0);
			CHECK_EQ(v.transport_seq, rows[i].tcc_id ? 0xFEDC : 0);
			CHECK_EQ(v.abs_send_time, rows[i].abs_id ? 0x123456 : 0);
			CHECK_STR(v.mid, rows[i].mid_id ? rows[i].mid : "");
		}
	}
}

TEST(impossible_layouts_are_refused)
{
	struct rtp_ext_map map = {0};
	struct rtp_ext_layout layout;
	struct rtp_ext_layout_options options = {
		.chosen = ~0u, .mid = "much longer than any mid that we keep"};

	rtp_ext_map_set(&map, RTP_EXT_MID, 1);
	CHECK_EQ(rtp_ext_layout_init(&layout, &map, &options), ERR_TOO_LARGE);
	CHECK_EQ(layout.size, 0);
	options = (struct rtp_ext_layout_options){.chosen = ~0u, .playout_max_ms = 50000};
	CHECK_EQ(rtp_ext_layout_init(&layout, &map, &options), ERR_TOO_LARGE);
	CHECK_EQ(rtp_ext_map_set(&map, RTP_EXT_MID, 0), ERR_FORMAT);
	CHECK_EQ(rtp_ext_map_set(&map, RTP_EXT_MID, 15), ERR_FORMAT);
	CHECK_EQ(rtp_ext_map_set(&map, RTP_EXT_MID, 256), ERR_FORMAT);
	CHECK_EQ(rtp_ext_map_set(&map, RTP_EXT_NONE, 1), ERR_FORMAT);
	layout = (struct rtp_ext_layout){.size = 8, .abs_send_time_at = 6};
	CHECK(!rtp_ext_layout_is_valid(&layout));
	layout = (struct rtp_ext_layout){.size = 200};
	CHECK(!rtp_ext_layout_is_valid(&layout));
	layout = (struct rtp_ext_layout){.size = 8, .audio_level_at = 1};
	CHECK(!rtp_ext_layout_is_valid(&layout));
}

TEST(uris_are_known_both_ways)
{
	for (int kind = RTP_EXT_NONE + 1; kind < RTP_EXT_COUNT; kind++)
		CHECK_EQ(rtp_ext_kind_of(rtp_ext_uri((enum rtp_ext_kind)kind)), kind);
	CHECK_EQ(rtp_ext_kind_of("urn:unknown"), RTP_EXT_NONE);
	CHECK_STR(rtp_ext_uri(RTP_EXT_COUNT), "");
}

TEST(short_counters_are_widened)
{
	static const struct {
		uint64_t newest;
		uint16_t sequence;
		uint64_t result;
	} rows[] = {
		{65536,		0,			   65536		},
		{65536,		1,			   65537		},
		{65536,		65535,		       65535		    },
		{131071,	 0,			    131072		  },
		{131072,	 65535,			131071		      },
		{65536 + 100,   100 + 32767,		   65536 + 100 + 32767  },
		{65536 + 40000, (uint16_t)(40000 - 32768), 65536 + 40000 - 32768},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(rtp_extend_sequence(rows[i].newest, rows[i].sequence), rows[i].result);
	CHECK_EQ(rtp_extend_timestamp(0x1FFFFFFF0, 0x10), 0x200000010);
	CHECK_EQ(rtp_extend_timestamp(0x200000010, 0xFFFFFFF0), 0x1FFFFFFF0);
}

TEST(times_are_converted)
{
	CHECK_EQ(rtp_ticks_from_us(1000000, 90000), 90000);
	CHECK_EQ(rtp_ticks_from_us(-20000, 48000), -960);
	CHECK_EQ(rtp_us_from_ticks(3000, 90000), 33333);
	CHECK_EQ(rtp_us_from_ticks(INT64_MAX, 1), INT64_MAX);
	CHECK_EQ(rtp_us_from_ticks(INT64_MIN, 1), INT64_MIN);
	CHECK_EQ(rtp_ntp_from_unix_us(0), UINT64_C(2208988800) << 32);
	CHECK_EQ(rtp_ntp_from_unix_us(500000), UINT64_C(2208988800) << 32 | 0x80000000);
	for (int64_t us = INT64_C(1790000000123456); us < INT64_C(1790000000133456); us += 7)
		CHECK_EQ(rtp_unix_us_from_ntp(rtp_ntp_from_unix_us(us)), us);
	/* 2036-02-07: the NTP era ends */
	CHECK_EQ(rtp_unix_us_from_ntp(rtp_ntp_from_unix_us(INT64_C(2085978496000001))),
		INT64_C(2085978496000001));
	CHECK_EQ(rtp_ext_abs_send_time(1000000), 1 << 18);
	CHECK_EQ(rtp_ext_abs_send_time(64500000), 1 << 17);
}
