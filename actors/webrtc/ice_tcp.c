/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/ice_tcp.h"

void ice_tcp_init(struct ice_tcp *tcp)
{
	*tcp = (struct ice_tcp){0};
}

/* A header in the buffer must announce a packet that fits it and is not complete yet. */
bool ice_tcp_is_valid(const struct ice_tcp *tcp)
{
	size_t packet_size = (size_t)tcp->buffer[0] << 8 | tcp->buffer[1];

	if (tcp->used < ICE_TCP_HEADER_SIZE)
		return true;
	return packet_size > 0 && packet_size <= ICE_TCP_PACKET_MAX &&
	       tcp->used < ICE_TCP_HEADER_SIZE + packet_size;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Moves bytes into the buffer until it holds `goal`; false when `in` ran out before. */
static bool fill(struct ice_tcp *tcp, struct reader *in, size_t goal)
{
	size_t take = smaller(goal - tcp->used, reader_left(in));

	if (take)
		memcpy(tcp->buffer + tcp->used, read_bytes(in, take), take);
	tcp->used = (uint16_t)(tcp->used + take);
	return tcp->used == goal;
}

enum err ice_tcp_next(struct ice_tcp *tcp, struct reader *in, const uint8_t **packet, size_t *size)
{
	while (tcp->used || reader_left(in)) {
		struct reader ahead = *in;
		bool buffered = tcp->used > 0 || reader_left(in) < ICE_TCP_HEADER_SIZE;

		if (buffered && tcp->used < ICE_TCP_HEADER_SIZE &&
			!fill(tcp, in, ICE_TCP_HEADER_SIZE))
			return ERR_AGAIN;
		if (buffered)
			ahead = reader_of(tcp->buffer, ICE_TCP_HEADER_SIZE);
		*size = read_u16(&ahead);
		if (*size > ICE_TCP_PACKET_MAX)
			return ERR_TOO_LARGE;
		if (!buffered && reader_left(&ahead) >= *size) { /* the usual case: no copy */
			*packet = read_bytes(&ahead, *size);
			*in = ahead;
		} else {
			if (!fill(tcp, in, ICE_TCP_HEADER_SIZE + *size))
				return ERR_AGAIN;
			*packet = tcp->buffer + ICE_TCP_HEADER_SIZE;
			tcp->used = 0;
		}
		if (*size)
			return ERR_OK;
	}
	return ERR_AGAIN;
}

void ice_tcp_header(uint8_t header[ICE_TCP_HEADER_SIZE], size_t size)
{
	MUST(size <= ICE_TCP_PACKET_MAX);
	header[0] = (uint8_t)(size >> 8);
	header[1] = (uint8_t)size;
}
