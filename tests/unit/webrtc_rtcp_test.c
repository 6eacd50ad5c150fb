/* SPDX-License-Identifier: Apache-2.0
 *
 * RTCP: compound packets, every type read from bytes typed from the RFC's figures, and written back.
 */
#include "actors/webrtc/rtcp.h"
#include "tests/test.h"

#include <stdlib.h>

/* What a browser sends in one datagram: SR with a block, SDES, NACK, PLI, FIR, REMB, XR. */
static const uint8_t compound[] = {
	/* SR of 0x01020304: NTP, RTP time, 5 packets, 600 octets; about 0x0A0B0C0D: 64/256, -2 … */
	0x81, 200, 0, 12, 1, 2, 3, 4, 0xE0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0x03, 0xE8, 0, 0, 0, 5, 0,
	0, 0x02, 0x58, 0x0A, 0x0B, 0x0C, 0x0D, 64, 0xFF, 0xFF, 0xFE, 0, 1, 0, 7, 0, 0, 0, 9, 0x11,
	0x22, 0x33, 0x44, 0, 1, 0, 0,
	/* SDES: a TOOL item first, then CNAME "abc" */
	0x81, 202, 0, 4, 1, 2, 3, 4, 6, 2, 'x', 'y', 1, 3, 'a', 'b', 'c', 0, 0, 0,
	/* NACK: 100, 101, 116 and 65535 */
	0x81, 205, 0, 4, 1, 2, 3, 4, 0x0A, 0x0B, 0x0C, 0x0D, 0, 100, 0x80, 0x01, 0xFF, 0xFF, 0, 0,
	/* PLI */
	0x81, 206, 0, 2, 1, 2, 3, 4, 0x0A, 0x0B, 0x0C, 0x0D,
	/* FIR number 3 */
	0x84, 206, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0x0A, 0x0B, 0x0C, 0x0D, 3, 0, 0, 0,
	/* REMB: 2^2 * 0x20000 = 524288 bit/s for one SSRC */
	0x8F, 206, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 'R', 'E', 'M', 'B', 1, 0x0A, 0, 0, 0x0A, 0x0B,
	0x0C, 0x0D,
	/* XR: RRTR, then DLRR with two */
	0x80, 207, 0, 11, 1, 2, 3, 4, 4, 0, 0, 2, 0xE0, 0, 0, 2, 0x40, 0, 0, 0, 5, 0, 0, 6, 0, 0, 0,
	7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11, 0, 0, 0, 12,
	/* APP, stepped over; BYE of two */
	0x80, 204, 0, 2, 1, 2, 3, 4, 'n', 'a', 'm', 'e', 0x82, 203, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};

static struct rtcp_packet find(uint8_t type, uint8_t count)
{
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	CHECK_OK(rtcp_iter_init(&iter, compound, sizeof(compound)));
	while (rtcp_iter_next(&iter, &packet))
		if (packet.type == type && packet.count == count)
			return packet;
	fail();
	return packet;
}

TEST(a_compound_is_walked)
{
	static const uint8_t types[] = {200, 202, 205, 206, 206, 206, 207, 204, 203};
	struct rtcp_iter iter;
	struct rtcp_packet packet;
	size_t i = 0;

	CHECK_OK(rtcp_iter_init(&iter, compound, sizeof(compound)));
	for (; rtcp_iter_next(&iter, &packet); i++) {
		CHECK(i < sizeof(types));
		CHECK_EQ(packet.type, types[i]);
		CHECK_EQ(rtcp_sender_ssrc(&packet), 0x01020304);
	}
	CHECK_EQ(i, sizeof(types));
}

TEST(a_compound_cut_anywhere_is_refused_or_shorter)
{
	for (size_t size = 0; size < sizeof(compound); size++) {
		struct rtcp_iter iter;
		struct rtcp_packet packet;
		size_t seen = 0;
		uint8_t *copy = malloc(size ? size : 1);
		memcpy(copy, compound, size);
		if (rtcp_iter_init(&iter, copy, size) == ERR_OK)
			while (rtcp_iter_next(&iter, &packet))
				seen += packet.size + 4;
		CHECK(seen == 0 || seen == size);
		free(copy);
	}
}

TEST(sender_and_receiver_reports_are_read)
{
	struct rtcp_packet sr = find(RTCP_SR, 1);
	struct rtcp_sender_info info;
	struct rtcp_report_block block;

	CHECK_OK(rtcp_parse_sender_info(&sr, &info));
	CHECK_EQ(info.ntp, 0xE000000180000000);
	CHECK_EQ(info.rtp_timestamp, 1000);
	CHECK_EQ(info.packets, 5);
	CHECK_EQ(info.octets, 600);
	CHECK_OK(rtcp_parse_report_block(&sr, 0, &block));
	CHECK_EQ(block.ssrc, 0x0A0B0C0D);
	CHECK_EQ(block.fraction_lost, 64);
	CHECK_EQ(block.lost, -2);
	CHECK_EQ(block.newest, 0x10007);
	CHECK_EQ(block.jitter, 9);
	CHECK_EQ(block.lsr, 0x11223344);
	CHECK_EQ(block.dlsr, 0x10000);
	CHECK_EQ(rtcp_parse_report_block(&sr, 1, &block), ERR_NOT_FOUND);
	/* a count that the packet does not hold */
	sr.count = 2;
	CHECK_EQ(rtcp_parse_report_block(&sr, 1, &block), ERR_FORMAT);
	sr.size = 20;
	CHECK_EQ(rtcp_parse_sender_info(&sr, &info), ERR_FORMAT);
}

TEST(names_and_farewells_are_read)
{
	struct rtcp_packet sdes = find(RTCP_SDES, 1), bye = find(RTCP_BYE, 2);
	const uint8_t *cname;
	size_t size;
	uint32_t ssrc;

	CHECK_OK(rtcp_parse_cname(&sdes, &ssrc, &cname, &size));
	CHECK_EQ(size, 3);
	CHECK_MEM(cname, "abc", 3);
	for (sdes.size = 0; sdes.size < 13; sdes.size++)
		CHECK_EQ(rtcp_parse_cname(&sdes, &ssrc, &cname, &size), ERR_FORMAT);
	CHECK_OK(rtcp_parse_bye(&bye, 1, &ssrc));
	CHECK_EQ(ssrc, 0x05060708);
	CHECK_EQ(rtcp_parse_bye(&bye, 2, &ssrc), ERR_NOT_FOUND);
	bye.count = 3;
	CHECK_EQ(rtcp_parse_bye(&bye, 2, &ssrc), ERR_FORMAT);

	/* two chunks, the first without a CNAME */
	static const uint8_t two[] = {0, 0, 0, 1, 6, 1, 'x', 0, 0, 0, 0, 2, 1, 1, 'n', 0};
	struct rtcp_packet chunks = {RTCP_SDES, 2, two, sizeof(two)};
	CHECK_OK(rtcp_parse_cname(&chunks, &ssrc, &cname, &size));
	CHECK_EQ(ssrc, 2);
	CHECK_EQ(cname[0], 'n');
	chunks.count = 1;
	CHECK_EQ(rtcp_parse_cname(&chunks, &ssrc, &cname, &size), ERR_NOT_FOUND);
}

TEST(feedback_is_read)
{
	struct rtcp_packet nack = find(RTCP_RTPFB, 1), fir = find(RTCP_PSFB, 4),
			   remb = find(RTCP_PSFB, 15), pli = find(RTCP_PSFB, 1);
	static const uint16_t asked[] = {100, 101, 116, 65535};
	uint16_t sequences[8];
	struct rtcp_feedback feedback;
	struct rtcp_fir_entry entry;
	struct rtcp_remb estimate;
	size_t count;

	CHECK_OK(rtcp_parse_nack(&nack, sequences, 8, &count));
	CHECK_EQ(count, 4);
	CHECK_MEM(sequences, asked, sizeof(asked));
	CHECK_OK(rtcp_parse_nack(&nack, sequences, 2, &count));
	CHECK_EQ(count, 2);
	nack.size -= 2;
	CHECK_EQ(rtcp_parse_nack(&nack, sequences, 8, &count), ERR_FORMAT);
	CHECK_OK(rtcp_parse_feedback(&pli, &feedback));
	CHECK_EQ(feedback.media, 0x0A0B0C0D);
	CHECK_EQ(feedback.fci_size, 0);
	CHECK_OK(rtcp_parse_fir(&fir, 0, &entry));
	CHECK_EQ(entry.ssrc, 0x0A0B0C0D);
	CHECK_EQ(entry.sequence, 3);
	CHECK_EQ(rtcp_parse_fir(&fir, 1, &entry), ERR_NOT_FOUND);
	CHECK_OK(rtcp_parse_remb(&remb, &estimate));
	CHECK_EQ(estimate.bitrate_bps, 524288);
	CHECK_EQ(estimate.ssrc_count, 1);
	CHECK_EQ(estimate.ssrc[0], 0x0A0B0C0D);
	remb.size -= 4;
	CHECK_EQ(rtcp_parse_remb(&remb, &estimate), ERR_FORMAT);
	/* other application feedback */
	static const uint8_t other[] = {0, 0, 0, 1, 0, 0, 0, 2, 'X', 'E', 'M', 'B', 0, 0, 0, 0};
	CHECK_EQ(rtcp_parse_remb(&(struct rtcp_packet){RTCP_PSFB, 15, other, 16}, &estimate),
		ERR_UNSUPPORTED);
	CHECK_EQ(rtcp_parse_fir(&pli, 0, &entry), ERR_FORMAT);
}

TEST(extended_reports_are_read)
{
	struct rtcp_packet xr = find(RTCP_XR, 0);
	struct rtcp_dlrr dlrr;
	uint32_t ssrc;
	uint64_t ntp;

	CHECK_OK(rtcp_parse_rrtr(&xr, &ssrc, &ntp));
	CHECK_EQ(ssrc, 0x01020304);
	CHECK_EQ(ntp, 0xE000000240000000);
	CHECK_OK(rtcp_parse_dlrr(&xr, 1, &dlrr));
	CHECK_EQ(dlrr.ssrc, 10);
	CHECK_EQ(dlrr.lrr, 11);
	CHECK_EQ(dlrr.dlrr, 12);
	CHECK_EQ(rtcp_parse_dlrr(&xr, 2, &dlrr), ERR_NOT_FOUND);
	xr.size -= 4;
	CHECK_EQ(rtcp_parse_dlrr(&xr, 0, &dlrr), ERR_FORMAT);
	CHECK_OK(rtcp_parse_rrtr(&xr, &ssrc, &ntp));
}

/* Reads one packet back. */
static struct rtcp_packet read_back(const struct writer *w)
{
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	CHECK_OK(rtcp_iter_init(&iter, w->begin, writer_used(w)));
	CHECK(rtcp_iter_next(&iter, &packet));
	CHECK_EQ(reader_left(&iter.left), 0);
	return packet;
}

TEST(reports_are_written)
{
	uint8_t buffer[400];
	struct rtcp_sender_info info = {1, 0x1122334455667788, 3, 4, 5}, info_back;
	struct rtcp_report_block blocks[2] = {
		{7,  255, RTCP_LOST_MIN, 8,  9,  10, 11},
		       {12, 0,   RTCP_LOST_MAX, 13, 14, 15, 16}
	     };
	struct rtcp_report_block back;

	for (int with_sender = 0; with_sender < 2; with_sender++) {
		struct writer w = writer_of(buffer, sizeof(buffer));
		CHECK_OK(with_sender ? rtcp_write_sr(&w, &info, blocks, 2)
				     : rtcp_write_rr(&w, 99, blocks, 2));
		struct rtcp_packet packet = read_back(&w);
		for (unsigned i = 0; i < 2; i++) {
			CHECK_OK(rtcp_parse_report_block(&packet, i, &back));
			CHECK_EQ(back.ssrc, blocks[i].ssrc);
			CHECK_EQ(back.fraction_lost, blocks[i].fraction_lost);
			CHECK_EQ(back.lost, blocks[i].lost);
			CHECK_EQ(back.newest, blocks[i].newest);
			CHECK_EQ(back.jitter, blocks[i].jitter);
			CHECK_EQ(back.lsr, blocks[i].lsr);
			CHECK_EQ(back.dlsr, blocks[i].dlsr);
		}
		if (with_sender) {
			CHECK_OK(rtcp_parse_sender_info(&packet, &info_back));
			CHECK_EQ(info_back.ntp, info.ntp);
			CHECK_EQ(info_back.octets, info.octets);
		}
	}
}

TEST(names_are_written_at_every_length)
{
	char name[300];
	uint8_t buffer[400];
	uint32_t ssrc;
	const uint8_t *cname;
	size_t back;

	for (size_t size = 0; size <= RTCP_CNAME_MAX + 1; size++) {
		struct writer w = writer_of(buffer, sizeof(buffer));
		memset(name, 'n', size);
		name[size] = 0;
		if (size > RTCP_CNAME_MAX) {
			CHECK_EQ(rtcp_write_cname(&w, 5, name), ERR_TOO_LARGE);
			continue;
		}
		CHECK_OK(rtcp_write_cname(&w, 5, name));
		struct rtcp_packet packet = read_back(&w);
		CHECK_OK(rtcp_parse_cname(&packet, &ssrc, &cname, &back));
		CHECK_EQ(ssrc, 5);
		CHECK_EQ(back, size);
	}
}

TEST(nack_lists_are_packed)
{
	static const struct {
		uint16_t asked[6];
		size_t count, pairs;
	} rows[] = {
		{{5},		       1, 1},
		{{5, 6, 21},		     3, 1},
		{{5, 22},			  2, 2},
		{{65530, 65535, 0, 10, 11}, 5, 2},
		{{1, 100, 200, 300},	     4, 4},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t buffer[100];
		uint16_t back[20];
		size_t count;
		struct writer w = writer_of(buffer, sizeof(buffer));
		CHECK_EQ(rtcp_write_nack(&w, 1, 2, rows[i].asked, rows[i].count), rows[i].count);
		CHECK_EQ(writer_used(&w), 12 + 4 * rows[i].pairs);
		struct rtcp_packet packet = read_back(&w);
		CHECK_OK(rtcp_parse_nack(&packet, back, 20, &count));
		CHECK_EQ(count, rows[i].count);
		CHECK_MEM(back, rows[i].asked, count * 2);
		/* room for one pair less: the rest is left for the next packet */
		struct writer small = writer_of(buffer, 12 + 4 * (rows[i].pairs - 1));
		size_t packed = rtcp_write_nack(&small, 1, 2, rows[i].asked, rows[i].count);
		CHECK(packed < rows[i].count);
		CHECK(!small.bad);
	}
}

TEST(remb_keeps_eighteen_bits)
{
	static const struct {
		uint64_t in, out;
	} rows[] = {
		{0,		     0			   },
		{262143,		 262143		       },
		{262145,		 262144		       },
		{2500000,		  2500000			 },
		{UINT64_C(10000000001), UINT64_C(9999941632)	    },
		{UINT64_MAX,	     UINT64_C(0xFFFFC00000000000)},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t buffer[100];
		struct writer w = writer_of(buffer, sizeof(buffer));
		struct rtcp_remb in =
					 {
						 rows[i].in, 2, {7, 8}
		      },
				 out;
		CHECK_OK(rtcp_write_remb(&w, 1, &in));
		struct rtcp_packet packet = read_back(&w);
		CHECK_OK(rtcp_parse_remb(&packet, &out));
		CHECK_EQ(out.bitrate_bps, rows[i].out);
		CHECK_EQ(out.ssrc[1], 8);
	}
}

TEST(the_rest_is_written)
{
	uint8_t buffer[200];
	struct writer w = writer_of(buffer, sizeof(buffer));
	struct rtcp_fir_entry firs[2] =
		{
			{1, 2},
			{3, 4}
	      },
			      fir;
	struct rtcp_dlrr dlrrs[2] =
		{
			{1, 2, 3},
			   {4, 5, 6}
	    },
			 dlrr;
	uint32_t ssrcs[3] = {7, 8, 9}, ssrc;
	uint64_t ntp;

	CHECK_OK(rtcp_write_fir(&w, 9, firs, 2));
	struct rtcp_packet packet = read_back(&w);
	CHECK_OK(rtcp_parse_fir(&packet, 1, &fir));
	CHECK_EQ(fir.ssrc, 3);
	CHECK_EQ(fir.sequence, 4);

	w = writer_of(buffer, sizeof(buffer));
	CHECK_OK(rtcp_write_dlrr(&w, 9, dlrrs, 2));
	packet = read_back(&w);
	CHECK_OK(rtcp_parse_dlrr(&packet, 1, &dlrr));
	CHECK_EQ(dlrr.dlrr, 6);

	w = writer_of(buffer, sizeof(buffer));
	CHECK_OK(rtcp_write_rrtr(&w, 9, 0x123456789));
	packet = read_back(&w);
	CHECK_OK(rtcp_parse_rrtr(&packet, &ssrc, &ntp));
	CHECK_EQ(ntp, 0x123456789);

	w = writer_of(buffer, sizeof(buffer));
	CHECK_OK(rtcp_write_bye(&w, ssrcs, 3));
	packet = read_back(&w);
	CHECK_OK(rtcp_parse_bye(&packet, 2, &ssrc));
	CHECK_EQ(ssrc, 9);

	w = writer_of(buffer, 11);
	CHECK_EQ(rtcp_write_pli(&w, 1, 2), ERR_NO_SPACE);
	CHECK_EQ(writer_used(&w), 0);
	w = writer_of(buffer, 12);
	CHECK_OK(rtcp_write_pli(&w, 1, 2));
}

TEST(round_trips_are_computed)
{
	static const struct {
		uint32_t now, echoed, delay;
		int64_t us;
	} rows[] = {
		{0x20000,	  0x10000,	   0x8000,	   500000 },
		{0xb7108000, 0xb7052000, 0x00054000, 6125000}, /* figure 2 of RFC 3550 6.4.1 */
		{0x1000,	 0,	    0,	       -1	 },
		    {0x10000,    0x10000,    0x100,      0      }, /* a little below zero */
		{0x10000,	  0x10000,	   0x10000,    -1     }, /* a second below zero */
		{0x00000100, 0xFFFFFF00, 0,	    7812	}, /* around the end of the counter */
		{0x01000000, 1,		0,	   -1     }, /* minutes */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(
			rtcp_round_trip_us(rows[i].now, rows[i].echoed, rows[i].delay), rows[i].us);
}
