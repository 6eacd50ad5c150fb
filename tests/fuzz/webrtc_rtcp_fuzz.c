/* SPDX-License-Identifier: Apache-2.0
 *
 * RTCP from any bytes: every parser on every packet, and what was read is written and read again.
 */
#include "actors/webrtc/rtcp.h"
#include "actors/webrtc/rtp_sender.h"
#include "actors/webrtc/twcc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEQUENCES = 1000 };

/* Keeps reads of borrowed bytes from being optimised away. */
static volatile uint8_t sink;

static struct rtcp_packet only_packet(const struct writer *w)
{
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	MUST(rtcp_iter_init(&iter, w->begin, writer_used(w)) == ERR_OK);
	MUST(rtcp_iter_next(&iter, &packet));
	return packet;
}

static void try_reports(const struct rtcp_packet *packet, struct rtp_sender *sender)
{
	static uint8_t buffer[2000];
	struct rtcp_report_block blocks[RTCP_COUNT_MAX], again;
	struct rtcp_sender_info info;
	struct writer w = writer_of(buffer, sizeof(buffer));
	unsigned count = 0;

	rtcp_parse_sender_info(packet, &info);
	while (rtcp_parse_report_block(packet, count, &blocks[count]) == ERR_OK)
		rtp_sender_take_report(sender, &blocks[count++], INT64_C(1790000000000000));
	MUST(rtcp_write_rr(&w, 1, blocks, count) == ERR_OK);
	struct rtcp_packet rr = only_packet(&w);
	for (unsigned i = 0; i < count; i++) {
		MUST(rtcp_parse_report_block(&rr, i, &again) == ERR_OK);
		MUST(again.lost == blocks[i].lost && again.dlsr == blocks[i].dlsr);
	}
}

static void try_nack(const struct rtcp_packet *packet, struct rtp_sender *sender)
{
	static uint8_t buffer[8000];
	uint16_t sequences[SEQUENCES], again[2 * SEQUENCES];
	struct writer w = writer_of(buffer, sizeof(buffer));
	struct rtp_resend resend;
	size_t count, count_again;

	if (rtcp_parse_nack(packet, sequences, SEQUENCES, &count))
		return;
	for (size_t i = 0; i < count; i++)
		rtp_sender_take_nack(sender, sequences[i], 1000000, &resend);
	MUST(rtcp_write_nack(&w, 1, 2, sequences, count) == count);
	struct rtcp_packet nack = only_packet(&w);
	MUST(rtcp_parse_nack(&nack, again, 2 * SEQUENCES, &count_again) == ERR_OK);
	MUST(count_again <= count);
}

static void try_remb(const struct rtcp_packet *packet)
{
	uint8_t buffer[400];
	struct rtcp_remb remb, again;
	struct writer w = writer_of(buffer, sizeof(buffer));

	if (rtcp_parse_remb(packet, &remb))
		return;
	MUST(rtcp_write_remb(&w, 1, &remb) == ERR_OK);
	struct rtcp_packet written = only_packet(&w);
	MUST(rtcp_parse_remb(&written, &again) == ERR_OK);
	MUST(again.bitrate_bps == remb.bitrate_bps || remb.bitrate_bps == UINT64_MAX);
}

/* What a feedback tells as received is recorded again, told, and must read the same. */
static void try_twcc(const struct rtcp_packet *packet, struct twcc_ledger *ledger)
{
	static struct twcc_recorder recorder;
	static uint8_t buffer[TWCC_FEEDBACK_MAX];
	struct twcc_feedback feedback;
	struct twcc_status status;
	uint64_t received = 0, told = 0;
	int64_t zero = INT64_C(1) << 50;

	twcc_ledger_take_feedback(ledger, packet, 2000000);
	MUST(twcc_ledger_is_valid(ledger));
	if (twcc_feedback_parse(&feedback, packet) || feedback.count > TWCC_WINDOW)
		return;
	twcc_recorder_init(&recorder);
	while (twcc_feedback_next(&feedback, &status))
		if (status.received) {
			twcc_recorder_take(&recorder, status.sequence, 1, zero + status.arrival_us);
			received++;
		}
	for (;;) {
		struct writer w = writer_of(buffer, sizeof(buffer));
		if (twcc_recorder_build(&recorder, &w, 1, INT64_C(1) << 52))
			break;
		struct rtcp_packet written = only_packet(&w);
		MUST(twcc_feedback_parse(&feedback, &written) == ERR_OK);
		while (twcc_feedback_next(&feedback, &status))
			told += status.received;
	}
	MUST(told == received);
	MUST(twcc_recorder_is_valid(&recorder));
}

static void try_rest(const struct rtcp_packet *packet)
{
	struct rtcp_fir_entry fir;
	struct rtcp_dlrr dlrr;
	const uint8_t *cname;
	size_t size;
	uint32_t ssrc;
	uint64_t ntp;

	if (rtcp_parse_cname(packet, &ssrc, &cname, &size) == ERR_OK)
		for (size_t i = 0; i < size; i++)
			sink ^= cname[i];
	for (unsigned i = 0; rtcp_parse_bye(packet, i, &ssrc) == ERR_OK; i++)
		sink ^= (uint8_t)ssrc;
	for (unsigned i = 0; rtcp_parse_fir(packet, i, &fir) == ERR_OK; i++)
		sink ^= fir.sequence;
	for (unsigned i = 0; i < 64 && rtcp_parse_dlrr(packet, i, &dlrr) == ERR_OK; i++)
		sink ^= (uint8_t)dlrr.dlrr;
	rtcp_parse_rrtr(packet, &ssrc, &ntp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rtp_sender sender;
	static struct twcc_ledger ledger;
	struct rtp_slot slot;
	struct rtcp_iter iter;
	struct rtcp_packet packet;

	rtp_sender_init(
		&sender, &(struct rtp_sender_options){
				 .ssrc = 0x0A0B0C0D, .clock_rate = 90000, .history_count = 64});
	twcc_ledger_init(&ledger);
	for (uint64_t i = 1; i < 100; i++) {
		rtp_sender_map(
			&sender, &(struct media_header){.position = i, .track_seq = i}, &slot);
		twcc_ledger_commit(&ledger, 1000, 1000000 + (int64_t)i * 1000);
	}
	if (rtcp_iter_init(&iter, data, size))
		return 0;
	while (rtcp_iter_next(&iter, &packet)) {
		try_reports(&packet, &sender);
		try_nack(&packet, &sender);
		try_remb(&packet);
		try_twcc(&packet, &ledger);
		try_rest(&packet);
	}
	MUST(rtp_sender_is_valid(&sender));
	return 0;
}
