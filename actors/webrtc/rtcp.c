/* SPDX-License-Identifier: Apache-2.0
 *
 * RTCP packets: iterator, parsers, writers. Pure functions over borrowed bytes.
 */
#include "actors/webrtc/rtcp.h"

enum {
	VERSION = 2,
	SENDER_INFO_SIZE = 24, /* SSRC, NTP, RTP time, packets, octets */
	REPORT_BLOCK_SIZE = 24,
	FEEDBACK_HEAD_SIZE = 8, /* SSRC of sender, SSRC of media */
	SDES_CNAME = 1,
	NACK_PAIR_SIZE = 4,
	FIR_ENTRY_SIZE = 8,
	REMB_HEAD_SIZE = 8, /* 'REMB', count, exponent and mantissa */
	REMB_MANTISSA_BITS = 18,
	XR_BLOCK_HEAD_SIZE = 4,
	DLRR_SIZE = 12,
	RTT_SLACK = 0x10000 / 20, /* 50 ms that clocks may disagree, in 1/65536 s */
};

static const uint8_t remb_name[4] = {'R', 'E', 'M', 'B'};

/* Steps over one packet and checks its frame (RFC 3550 A.2). */
static bool read_packet(struct reader *r, struct rtcp_packet *packet)
{
	uint8_t first = read_u8(r);

	packet->type = read_u8(r);
	packet->count = first & 0x1F;
	packet->size = (size_t)read_u16(r) * 4;
	packet->body = read_bytes(r, packet->size);
	if (r->bad || first >> 6 != VERSION)
		return false;
	if (first & 0x20) {
		if (!packet->size)
			return false;
		uint8_t padding = packet->body[packet->size - 1];
		if (!padding || padding > packet->size)
			return false;
		packet->size -= padding;
	}
	return true;
}

enum err rtcp_iter_init(struct rtcp_iter *iter, const void *bytes, size_t size)
{
	struct reader r = reader_of(bytes, size);
	struct rtcp_packet packet;

	iter->left = r;
	if (!size)
		return ERR_FORMAT;
	while (reader_left(&r))
		if (!read_packet(&r, &packet))
			return ERR_FORMAT;
	return ERR_OK;
}

bool rtcp_iter_next(struct rtcp_iter *iter, struct rtcp_packet *packet)
{
	return reader_left(&iter->left) && read_packet(&iter->left, packet);
}

uint32_t rtcp_sender_ssrc(const struct rtcp_packet *packet)
{
	struct reader r = reader_of(packet->body, packet->size);

	return read_u32(&r);
}

enum err rtcp_parse_sender_info(const struct rtcp_packet *sr, struct rtcp_sender_info *info)
{
	struct reader r = reader_of(sr->body, sr->size);

	info->ssrc = read_u32(&r);
	info->ntp = read_u64(&r);
	info->rtp_timestamp = read_u32(&r);
	info->packets = read_u32(&r);
	info->octets = read_u32(&r);
	return r.bad || sr->type != RTCP_SR ? ERR_FORMAT : ERR_OK;
}

enum err rtcp_parse_report_block(
	const struct rtcp_packet *packet, unsigned i, struct rtcp_report_block *block)
{
	struct reader r = reader_of(packet->body, packet->size);

	if (packet->type != RTCP_SR && packet->type != RTCP_RR)
		return ERR_FORMAT;
	if (i >= packet->count)
		return ERR_NOT_FOUND;
	read_bytes(&r, packet->type == RTCP_SR ? SENDER_INFO_SIZE : 4);
	read_bytes(&r, (size_t)i * REPORT_BLOCK_SIZE);
	block->ssrc = read_u32(&r);
	block->fraction_lost = read_u8(&r);
	block->lost = (int32_t)(read_u24(&r) << 8) >> 8;
	block->newest = read_u32(&r);
	block->jitter = read_u32(&r);
	block->lsr = read_u32(&r);
	block->dlsr = read_u32(&r);
	return r.bad ? ERR_FORMAT : ERR_OK;
}

enum err rtcp_parse_cname(
	const struct rtcp_packet *sdes, uint32_t *ssrc, const uint8_t **cname, size_t *size)
{
	struct reader r = reader_of(sdes->body, sdes->size);

	if (sdes->type != RTCP_SDES)
		return ERR_FORMAT;
	for (int chunk = 0; chunk < sdes->count; chunk++) {
		*ssrc = read_u32(&r);
		for (uint8_t item = read_u8(&r); item; item = read_u8(&r)) {
			*size = read_u8(&r);
			*cname = read_bytes(&r, *size);
			if (r.bad)
				return ERR_FORMAT;
			if (item == SDES_CNAME)
				return ERR_OK;
		}
		/* RFC 3550 6.5: the list ends with zeros up to the next 32-bit boundary */
		read_bytes(&r, (size_t)(sdes->body - r.at) & 3);
		if (r.bad)
			return ERR_FORMAT;
	}
	return ERR_NOT_FOUND;
}

enum err rtcp_parse_bye(const struct rtcp_packet *bye, unsigned i, uint32_t *ssrc)
{
	struct reader r = reader_of(bye->body, bye->size);

	if (bye->type != RTCP_BYE)
		return ERR_FORMAT;
	if (i >= bye->count)
		return ERR_NOT_FOUND;
	read_bytes(&r, (size_t)i * 4);
	*ssrc = read_u32(&r);
	return r.bad ? ERR_FORMAT : ERR_OK;
}

enum err rtcp_parse_feedback(const struct rtcp_packet *packet, struct rtcp_feedback *feedback)
{
	struct reader r = reader_of(packet->body, packet->size);

	feedback->sender = read_u32(&r);
	feedback->media = read_u32(&r);
	feedback->fci = r.at;
	feedback->fci_size = reader_left(&r);
	if (r.bad || (packet->type != RTCP_RTPFB && packet->type != RTCP_PSFB))
		return ERR_FORMAT;
	return ERR_OK;
}

enum err rtcp_parse_nack(
	const struct rtcp_packet *packet, uint16_t *sequences, size_t max, size_t *count)
{
	struct rtcp_feedback feedback;
	enum err err = rtcp_parse_feedback(packet, &feedback);

	*count = 0;
	if (err || packet->type != RTCP_RTPFB || packet->count != RTCP_RTPFB_NACK ||
		feedback.fci_size < NACK_PAIR_SIZE || feedback.fci_size % NACK_PAIR_SIZE)
		return ERR_FORMAT;
	struct reader r = reader_of(feedback.fci, feedback.fci_size);
	while (reader_left(&r)) {
		uint16_t first = read_u16(&r);
		uint32_t named = (uint32_t)read_u16(&r) << 1 | 1;
		for (int i = 0; i < RTCP_NACK_SPAN && *count < max; i++)
			if (named & 1u << i)
				sequences[(*count)++] = (uint16_t)(first + i);
	}
	return ERR_OK;
}

enum err rtcp_parse_fir(const struct rtcp_packet *packet, unsigned i, struct rtcp_fir_entry *entry)
{
	struct rtcp_feedback feedback;

	if (rtcp_parse_feedback(packet, &feedback) || packet->type != RTCP_PSFB ||
		packet->count != RTCP_PSFB_FIR)
		return ERR_FORMAT;
	if (i >= feedback.fci_size / FIR_ENTRY_SIZE)
		return ERR_NOT_FOUND;
	struct reader r = reader_of(feedback.fci + (size_t)i * FIR_ENTRY_SIZE, FIR_ENTRY_SIZE);
	entry->ssrc = read_u32(&r);
	entry->sequence = read_u8(&r);
	return ERR_OK;
}

enum err rtcp_parse_remb(const struct rtcp_packet *packet, struct rtcp_remb *remb)
{
	struct rtcp_feedback feedback;

	if (rtcp_parse_feedback(packet, &feedback) || packet->type != RTCP_PSFB ||
		packet->count != RTCP_PSFB_AFB)
		return ERR_FORMAT;
	struct reader r = reader_of(feedback.fci, feedback.fci_size);
	const uint8_t *name = read_bytes(&r, sizeof(remb_name));
	if (!name || memcmp(name, remb_name, sizeof(remb_name)))
		return ERR_UNSUPPORTED;
	uint8_t count = read_u8(&r);
	uint32_t packed = read_u24(&r);
	unsigned exponent = packed >> REMB_MANTISSA_BITS;
	uint64_t mantissa = packed & ((1u << REMB_MANTISSA_BITS) - 1);
	bool fits = mantissa << exponent >> exponent == mantissa;
	remb->bitrate_bps = fits ? mantissa << exponent : UINT64_MAX;
	remb->ssrc_count = 0;
	for (int i = 0; i < count; i++) {
		uint32_t ssrc = read_u32(&r);
		if (remb->ssrc_count < RTCP_REMB_SSRC_MAX)
			remb->ssrc[remb->ssrc_count++] = ssrc;
	}
	return r.bad ? ERR_FORMAT : ERR_OK;
}

/* Steps to the next XR block; false at the end or when it announces more than there is. */
static bool next_xr_block(struct reader *r, uint8_t *type, struct reader *block)
{
	*type = read_u8(r);
	read_u8(r);
	size_t size = (size_t)read_u16(r) * 4;
	const uint8_t *body = read_bytes(r, size);
	if (r->bad)
		return false;
	*block = reader_of(body, size);
	return true;
}

enum err rtcp_parse_rrtr(const struct rtcp_packet *xr, uint32_t *ssrc, uint64_t *ntp)
{
	struct reader r = reader_of(xr->body, xr->size), block;
	uint8_t type;

	*ssrc = read_u32(&r);
	if (r.bad || xr->type != RTCP_XR)
		return ERR_FORMAT;
	while (reader_left(&r)) {
		if (!next_xr_block(&r, &type, &block))
			return ERR_FORMAT;
		if (type != RTCP_XR_RRTR)
			continue;
		*ntp = read_u64(&block);
		return block.bad ? ERR_FORMAT : ERR_OK;
	}
	return ERR_NOT_FOUND;
}

enum err rtcp_parse_dlrr(const struct rtcp_packet *xr, unsigned i, struct rtcp_dlrr *dlrr)
{
	struct reader r = reader_of(xr->body, xr->size), block;
	uint8_t type;

	read_u32(&r);
	if (r.bad || xr->type != RTCP_XR)
		return ERR_FORMAT;
	while (reader_left(&r)) {
		if (!next_xr_block(&r, &type, &block))
			return ERR_FORMAT;
		size_t count = type == RTCP_XR_DLRR ? reader_left(&block) / DLRR_SIZE : 0;
		if (i >= count) {
			i -= (unsigned)count;
			continue;
		}
		read_bytes(&block, (size_t)i * DLRR_SIZE);
		dlrr->ssrc = read_u32(&block);
		dlrr->lrr = read_u32(&block);
		dlrr->dlrr = read_u32(&block);
		return ERR_OK;
	}
	return ERR_NOT_FOUND;
}

/* Writers reserve the whole packet first, so that a full writer never holds half a packet. */
static bool write_head(struct writer *w, unsigned count, enum rtcp_type type, size_t body_size)
{
	if (w->bad || writer_left(w) < RTCP_HEADER_SIZE + body_size) {
		w->bad = true;
		return false;
	}
	write_u8(w, (uint8_t)(VERSION << 6 | count));
	write_u8(w, (uint8_t)type);
	write_u16(w, (uint16_t)(body_size / 4));
	return true;
}

static void write_blocks(struct writer *w, const struct rtcp_report_block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct rtcp_report_block *block = &blocks[i];
		write_u32(w, block->ssrc);
		write_u8(w, block->fraction_lost);
		write_u24(w, (uint32_t)block->lost & 0xFFFFFF);
		write_u32(w, block->newest);
		write_u32(w, block->jitter);
		write_u32(w, block->lsr);
		write_u32(w, block->dlsr);
	}
}

enum err rtcp_write_sr(struct writer *w, const struct rtcp_sender_info *info,
	const struct rtcp_report_block *blocks, size_t count)
{
	MUST(count <= RTCP_COUNT_MAX);
	if (!write_head(w, (unsigned)count, RTCP_SR, SENDER_INFO_SIZE + count * REPORT_BLOCK_SIZE))
		return ERR_NO_SPACE;
	write_u32(w, info->ssrc);
	write_u64(w, info->ntp);
	write_u32(w, info->rtp_timestamp);
	write_u32(w, info->packets);
	write_u32(w, info->octets);
	write_blocks(w, blocks, count);
	return ERR_OK;
}

enum err rtcp_write_rr(
	struct writer *w, uint32_t sender, const struct rtcp_report_block *blocks, size_t count)
{
	MUST(count <= RTCP_COUNT_MAX);
	if (!write_head(w, (unsigned)count, RTCP_RR, 4 + count * REPORT_BLOCK_SIZE))
		return ERR_NO_SPACE;
	write_u32(w, sender);
	write_blocks(w, blocks, count);
	return ERR_OK;
}

enum err rtcp_write_cname(struct writer *w, uint32_t ssrc, const char *cname)
{
	size_t size = strlen(cname);
	/* one zero byte at least ends the item list */
	size_t chunk = (4 + 2 + size + 1 + 3) & ~(size_t)3;

	if (size > RTCP_CNAME_MAX)
		return ERR_TOO_LARGE;
	if (!write_head(w, 1, RTCP_SDES, chunk))
		return ERR_NO_SPACE;
	write_u32(w, ssrc);
	write_u8(w, SDES_CNAME);
	write_u8(w, (uint8_t)size);
	write_bytes(w, cname, size);
	write_be(w, 0, (int)(chunk - 6 - size));
	return ERR_OK;
}

enum err rtcp_write_bye(struct writer *w, const uint32_t *ssrcs, size_t count)
{
	MUST(count <= RTCP_COUNT_MAX);
	if (!write_head(w, (unsigned)count, RTCP_BYE, count * 4))
		return ERR_NO_SPACE;
	for (size_t i = 0; i < count; i++)
		write_u32(w, ssrcs[i]);
	return ERR_OK;
}

enum err rtcp_write_feedback_head(struct writer *w, enum rtcp_type type, unsigned format,
	uint32_t sender, uint32_t media, size_t fci_size)
{
	if (!write_head(w, format, type, FEEDBACK_HEAD_SIZE + fci_size))
		return ERR_NO_SPACE;
	write_u32(w, sender);
	write_u32(w, media);
	return ERR_OK;
}

/* One PID/BLP pair from the front of the list; returns how many sequences it names. */
static size_t take_nack_pair(const uint16_t *sequences, size_t count, uint16_t *mask)
{
	size_t taken = 1;

	*mask = 0;
	for (; taken < count; taken++) {
		uint16_t distance = (uint16_t)(sequences[taken] - sequences[0]);
		if (distance >= RTCP_NACK_SPAN)
			break;
		if (distance)
			*mask |= (uint16_t)(1u << (distance - 1));
	}
	return taken;
}

size_t rtcp_write_nack(
	struct writer *w, uint32_t sender, uint32_t media, const uint16_t *sequences, size_t count)
{
	size_t overhead = RTCP_HEADER_SIZE + FEEDBACK_HEAD_SIZE;
	size_t room = writer_left(w) > overhead ? (writer_left(w) - overhead) / NACK_PAIR_SIZE : 0;
	size_t pairs = 0, done = 0;
	uint16_t mask;

	for (; done < count && pairs < room; pairs++)
		done += take_nack_pair(sequences + done, count - done, &mask);
	if (!done || rtcp_write_feedback_head(
			     w, RTCP_RTPFB, RTCP_RTPFB_NACK, sender, media, pairs * NACK_PAIR_SIZE))
		return 0;
	for (size_t at = 0; at < done;) {
		size_t taken = take_nack_pair(sequences + at, done - at, &mask);
		write_u16(w, sequences[at]);
		write_u16(w, mask);
		at += taken;
	}
	return done;
}

enum err rtcp_write_pli(struct writer *w, uint32_t sender, uint32_t media)
{
	return rtcp_write_feedback_head(w, RTCP_PSFB, RTCP_PSFB_PLI, sender, media, 0);
}

enum err rtcp_write_fir(
	struct writer *w, uint32_t sender, const struct rtcp_fir_entry *entries, size_t count)
{
	/* RFC 5104 4.3.1.2: the SSRC of the media source in the head is zero */
	if (rtcp_write_feedback_head(
		    w, RTCP_PSFB, RTCP_PSFB_FIR, sender, 0, count * FIR_ENTRY_SIZE))
		return ERR_NO_SPACE;
	for (size_t i = 0; i < count; i++) {
		write_u32(w, entries[i].ssrc);
		write_u8(w, entries[i].sequence);
		write_u24(w, 0);
	}
	return ERR_OK;
}

enum err rtcp_write_remb(struct writer *w, uint32_t sender, const struct rtcp_remb *remb)
{
	uint64_t mantissa = remb->bitrate_bps;
	uint32_t exponent = 0;

	MUST(remb->ssrc_count <= RTCP_REMB_SSRC_MAX);
	for (; mantissa >> REMB_MANTISSA_BITS; exponent++)
		mantissa >>= 1;
	if (rtcp_write_feedback_head(
		    w, RTCP_PSFB, RTCP_PSFB_AFB, sender, 0, REMB_HEAD_SIZE + remb->ssrc_count * 4u))
		return ERR_NO_SPACE;
	write_bytes(w, remb_name, sizeof(remb_name));
	write_u8(w, remb->ssrc_count);
	write_u24(w, exponent << REMB_MANTISSA_BITS | (uint32_t)mantissa);
	for (int i = 0; i < remb->ssrc_count; i++)
		write_u32(w, remb->ssrc[i]);
	return ERR_OK;
}

enum err rtcp_write_rrtr(struct writer *w, uint32_t sender, uint64_t ntp)
{
	if (!write_head(w, 0, RTCP_XR, 4 + XR_BLOCK_HEAD_SIZE + 8))
		return ERR_NO_SPACE;
	write_u32(w, sender);
	write_u8(w, RTCP_XR_RRTR);
	write_u8(w, 0);
	write_u16(w, 2);
	write_u64(w, ntp);
	return ERR_OK;
}

enum err rtcp_write_dlrr(
	struct writer *w, uint32_t sender, const struct rtcp_dlrr *blocks, size_t count)
{
	MUST(count <= RTCP_COUNT_MAX);
	if (!write_head(w, 0, RTCP_XR, 4 + XR_BLOCK_HEAD_SIZE + count * DLRR_SIZE))
		return ERR_NO_SPACE;
	write_u32(w, sender);
	write_u8(w, RTCP_XR_DLRR);
	write_u8(w, 0);
	write_u16(w, (uint16_t)(count * DLRR_SIZE / 4));
	for (size_t i = 0; i < count; i++) {
		write_u32(w, blocks[i].ssrc);
		write_u32(w, blocks[i].lrr);
		write_u32(w, blocks[i].dlrr);
	}
	return ERR_OK;
}

int64_t rtcp_round_trip_us(uint32_t now_middle, uint32_t echoed, uint32_t delay)
{
	int32_t trip = (int32_t)(now_middle - echoed - delay);

	if (!echoed || trip < -RTT_SLACK)
		return -1;
	int64_t us = trip < 0 ? 0 : (int64_t)trip * 1000000 >> 16;
	return us <= RTCP_RTT_MAX_US ? us : -1;
}
