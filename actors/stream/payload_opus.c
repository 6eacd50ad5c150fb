/* SPDX-License-Identifier: Apache-2.0
 *
 * Opus payloads, RFC 7587: the payload is the packet, and a frame.
 */
#include "actors/stream/payload_format.h"

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	(void)s;
	(void)payload;
	(void)size;
	out->start = PAYLOAD_START_YES;
	return ERR_OK;
}

static enum err begin(struct payload_cut *cut)
{
	cut->at = cut->units.at;
	cut->left = reader_left(&cut->units);
	/* cannot be fragmented; the goal is a wish, the maximum is not */
	if (cut->left > MEDIA_PAYLOAD_MAX)
		return ERR_TOO_LARGE;
	if (cut->left > cut->goal)
		cut->goal = cut->left;
	return ERR_OK;
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	write_bytes(w, cut->at, cut->left);
	cut->left = 0;
	return true;
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	if (a->used)
		return ERR_FORMAT;
	write_bytes(w, payload, size);
	return ERR_OK;
}

const struct payload_format payload_opus_format = {look, begin, next, join};
