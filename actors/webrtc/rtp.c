/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP header and extension block. Pure functions over borrowed bytes.
 */
#include "actors/webrtc/rtp.h"

enum {
	CLASS_STUN_LAST = 3,
	CLASS_DTLS_FIRST = 20,
	CLASS_DTLS_LAST = 63,
	CLASS_RTP_FIRST = 128,
	CLASS_RTP_LAST = 191,
	/* RFC 5761 4: packet types 192 .. 223 are RTCP, so payload types 64 .. 95 are not used */
	RTCP_TYPE_FIRST = 192,
	RTCP_TYPE_LAST = 223,
	US_PER_S = 1000000,
};

/* Seconds from 1900 (NTP era 0) to 1970. */
#define NTP_UNIX_SECONDS INT64_C(2208988800)

enum rtp_class rtp_classify_packet(const void *bytes, size_t size)
{
	const uint8_t *b = bytes;

	if (size < 1)
		return RTP_CLASS_UNKNOWN;
	if (b[0] <= CLASS_STUN_LAST)
		return RTP_CLASS_STUN;
	if (b[0] >= CLASS_DTLS_FIRST && b[0] <= CLASS_DTLS_LAST)
		return RTP_CLASS_DTLS;
	if (b[0] < CLASS_RTP_FIRST || b[0] > CLASS_RTP_LAST || size < 2)
		return RTP_CLASS_UNKNOWN;
	return b[1] >= RTCP_TYPE_FIRST && b[1] <= RTCP_TYPE_LAST ? RTP_CLASS_RTCP : RTP_CLASS_RTP;
}

bool rtp_peek_ssrc(const void *bytes, size_t size, uint32_t *ssrc)
{
	struct reader r = reader_of(bytes, size);

	read_bytes(&r, 8);
	*ssrc = read_u32(&r);
	return !r.bad;
}

enum err rtp_parse(struct rtp_packet *packet, const void *bytes, size_t size)
{
	struct reader r = reader_of(bytes, size);

	if (size > RTP_PACKET_MAX)
		return ERR_FORMAT;
	*packet = (struct rtp_packet){0};
	uint8_t first = read_u8(&r);
	uint8_t second = read_u8(&r);
	packet->csrc_count = first & 0x0F;
	packet->has_ext = first & 0x10;
	packet->marker = second & 0x80;
	packet->payload_type = second & 0x7F;
	packet->sequence = read_u16(&r);
	packet->timestamp = read_u32(&r);
	packet->ssrc = read_u32(&r);
	for (int i = 0; i < packet->csrc_count; i++)
		packet->csrc[i] = read_u32(&r);
	if (packet->has_ext) {
		packet->ext_profile = read_u16(&r);
		size_t ext_size = (size_t)read_u16(&r) * 4;
		packet->ext = read_bytes(&r, ext_size);
		packet->ext_size = (uint16_t)ext_size;
	}
	if (r.bad || first >> 6 != RTP_VERSION)
		return ERR_FORMAT;
	if (first & 0x20) {
		/* RFC 3550 5.1: the last byte counts the padding, itself included */
		if (!reader_left(&r))
			return ERR_FORMAT;
		packet->padding_size = r.end[-1];
		if (!packet->padding_size || packet->padding_size > reader_left(&r))
			return ERR_FORMAT;
	}
	packet->payload = r.at;
	packet->payload_size = (uint16_t)(reader_left(&r) - packet->padding_size);
	return ERR_OK;
}

void rtp_write_fixed(uint8_t at[RTP_HEADER_SIZE], const struct rtp_packet *packet)
{
	uint16_t sequence = __builtin_bswap16(packet->sequence);
	uint32_t timestamp = __builtin_bswap32(packet->timestamp);
	uint32_t ssrc = __builtin_bswap32(packet->ssrc);

	at[0] = (uint8_t)(RTP_VERSION << 6 | packet->has_ext << 4);
	at[1] = (uint8_t)(packet->marker << 7 | (packet->payload_type & 0x7F));
	memcpy(at + 2, &sequence, 2);
	memcpy(at + 4, &timestamp, 4);
	memcpy(at + 8, &ssrc, 4);
}

enum err rtp_write(struct writer *w, const struct rtp_packet *packet)
{
	uint8_t *at = write_reserve(w, RTP_HEADER_SIZE);

	if (packet->csrc_count > RTP_CSRC_MAX || packet->payload_type > 127 || packet->ext_size % 4)
		return ERR_FORMAT;
	if (!at)
		return ERR_NO_SPACE;
	rtp_write_fixed(at, packet);
	at[0] |= (uint8_t)((packet->padding_size > 0) << 5 | packet->csrc_count);
	for (int i = 0; i < packet->csrc_count; i++)
		write_u32(w, packet->csrc[i]);
	if (packet->has_ext) {
		write_u16(w, packet->ext_profile);
		write_u16(w, packet->ext_size / 4);
		write_bytes(w, packet->ext, packet->ext_size);
	}
	write_bytes(w, packet->payload, packet->payload_size);
	if (packet->padding_size) {
		uint8_t *padding = write_reserve(w, packet->padding_size);
		if (padding) {
			memset(padding, 0, packet->padding_size);
			padding[packet->padding_size - 1] = packet->padding_size;
		}
	}
	return w->bad ? ERR_NO_SPACE : ERR_OK;
}

struct rtp_ext_iter rtp_ext_iterate(const struct rtp_packet *packet)
{
	bool two_byte = (packet->ext_profile & 0xFFF0) == RTP_EXT_TWO_BYTE;
	bool known = packet->has_ext && (two_byte || packet->ext_profile == RTP_EXT_ONE_BYTE);

	/* another profile is an RFC 3550 extension that we know nothing about: no elements */
	return (struct rtp_ext_iter){
		.left = known ? reader_of(packet->ext, packet->ext_size) : reader_of("", 0),
		.two_byte = two_byte,
	};
}

static bool next_one_byte(struct reader *r, struct rtp_ext_element *element)
{
	uint8_t head = read_u8(r);

	/* RFC 8285 4.2: zero is padding; 15, or 0 with a length, ends the processing */
	while (head == 0 && !r->bad)
		head = read_u8(r);
	element->id = head >> 4;
	element->size = (uint8_t)((head & 0x0F) + 1);
	if (element->id == 15 || element->id == 0)
		r->bad = true;
	element->data = read_bytes(r, element->size);
	return !r->bad;
}

static bool next_two_byte(struct reader *r, struct rtp_ext_element *element)
{
	element->id = read_u8(r);
	while (element->id == 0 && !r->bad)
		element->id = read_u8(r);
	element->size = read_u8(r);
	element->data = read_bytes(r, element->size);
	return !r->bad;
}

bool rtp_ext_next(struct rtp_ext_iter *iter, struct rtp_ext_element *element)
{
	return iter->two_byte ? next_two_byte(&iter->left, element)
			      : next_one_byte(&iter->left, element);
}

static int64_t scale(int64_t value, int64_t to, int64_t from)
{
	int64_t whole, part = value % from * to / from;

	if (__builtin_mul_overflow(value / from, to, &whole) ||
		__builtin_add_overflow(whole, part, &whole))
		return value < 0 ? INT64_MIN : INT64_MAX;
	return whole;
}

int64_t rtp_ticks_from_us(int64_t us, uint32_t clock_rate)
{
	return scale(us, clock_rate, US_PER_S);
}

int64_t rtp_us_from_ticks(int64_t ticks, uint32_t clock_rate)
{
	return scale(ticks, US_PER_S, clock_rate);
}

uint64_t rtp_ntp_from_unix_us(int64_t unix_us)
{
	int64_t seconds = unix_us / US_PER_S;
	int64_t rest = unix_us % US_PER_S;

	if (rest < 0) {
		rest += US_PER_S;
		seconds--;
	}
	/* rounded up, so that the way back gives the same microsecond */
	uint64_t fraction = (((uint64_t)rest << 32) + US_PER_S - 1) / US_PER_S;
	return (uint64_t)(seconds + NTP_UNIX_SECONDS) << 32 | fraction;
}

int64_t rtp_unix_us_from_ntp(uint64_t ntp)
{
	int64_t seconds = (int64_t)(ntp >> 32);

	/* RFC 4330 3: with the top bit clear it is era 1, from 2036 on */
	if (seconds < (INT64_C(1) << 31))
		seconds += INT64_C(1) << 32;
	return (seconds - NTP_UNIX_SECONDS) * US_PER_S +
	       (int64_t)((ntp & UINT32_MAX) * US_PER_S >> 32);
}
