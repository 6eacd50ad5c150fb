/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/flv_strip.h"

#include <string.h>

void flv_strip_clear(struct flv_strip *strip)
{
	memset(strip, 0, offsetof(struct flv_strip, bytes));
}

bool flv_strip_begin(struct flv_strip *strip, size_t size)
{
	size_t at = strip->end % FLV_STRIP_SIZE;

	if (size > FLV_STRIP_SIZE)
		return false;
	if (at + size > FLV_STRIP_SIZE)
		strip->end += FLV_STRIP_SIZE - at;
	return true;
}

void flv_strip_put(struct flv_strip *strip, uint64_t position, const uint8_t *bytes, size_t size)
{
	memcpy(strip->bytes + strip->end % FLV_STRIP_SIZE, bytes, size);
	strip->packet[position % FLV_STRIP_PACKETS].position = position;
	strip->packet[position % FLV_STRIP_PACKETS].at = strip->end;
	strip->end += size;
}

const uint8_t *flv_strip_find(const struct flv_strip *strip, uint64_t position)
{
	uint64_t at = strip->packet[position % FLV_STRIP_PACKETS].at;

	if (strip->packet[position % FLV_STRIP_PACKETS].position != position ||
		strip->end - at > FLV_STRIP_SIZE)
		return NULL;
	return strip->bytes + at % FLV_STRIP_SIZE;
}
