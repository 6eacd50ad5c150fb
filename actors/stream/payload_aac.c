/* SPDX-License-Identifier: Apache-2.0
 *
 * AAC payloads, RFC 3640 AAC-hbr (3.3.6): sizelength 13, indexlength 3, indexdeltalength 3. Each
 * payload has one AU header (16 bits) and one access unit, or a fragment of one; in a fragment the
 * header still tells the size of the whole unit (3.2.3).
 */
#include "actors/stream/payload_format.h"

enum {
	PREFIX_SIZE = 4,      /* AU-headers-length, one AU header */
	HEADERS_BITS = 16,    /* what AU-headers-length says */
	UNIT_SIZE_MAX = 8191, /* 13 bits */
};

struct unit {
	uint16_t size; /* of the whole access unit */
	const uint8_t *data;
	size_t here; /* bytes in this payload */
};

static enum err read_unit(const uint8_t *payload, size_t size, struct unit *out)
{
	struct reader r = reader_of(payload, size);
	uint16_t bits = read_u16(&r);
	uint16_t header = read_u16(&r);

	*out = (struct unit){.size = header >> 3, .data = r.at, .here = reader_left(&r)};
	if (r.bad || !out->here || out->here > out->size)
		return ERR_FORMAT;
	/* several units in one payload are legal, but the inner form has one */
	return bits == HEADERS_BITS ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err look(
	struct payload_inspector *s, const uint8_t *payload, size_t size, struct payload_view *out)
{
	struct unit unit;

	(void)s;
	out->start = PAYLOAD_START_MAYBE;
	enum err err = read_unit(payload, size, &unit);
	if (!err && unit.here == unit.size)
		out->start = PAYLOAD_START_YES;
	return err;
}

static enum err begin(struct payload_cut *cut)
{
	cut->at = cut->units.at;
	cut->left = reader_left(&cut->units);
	if (cut->left > UNIT_SIZE_MAX)
		return ERR_TOO_LARGE;
	payload_split_evenly(cut, cut->left, cut->goal - PREFIX_SIZE);
	return ERR_OK;
}

static bool next(struct payload_cut *cut, struct writer *w)
{
	size_t size = cut->left < cut->step ? cut->left : cut->step;

	write_u16(w, HEADERS_BITS);
	write_u16(w, (uint16_t)(reader_left(&cut->units) << 3));
	write_bytes(w, cut->at, size);
	cut->at += size;
	cut->left -= size;
	return !cut->left;
}

static enum err join(struct assembler *a, struct writer *w, const uint8_t *payload, size_t size)
{
	struct unit unit;
	enum err err = read_unit(payload, size, &unit);

	if (err)
		return err;
	if (a->used == 0)
		a->unit_size = unit.size;
	if (unit.size != a->unit_size || a->used + unit.here > a->unit_size)
		return ERR_FORMAT;
	write_bytes(w, unit.data, unit.here);
	a->open = a->used + unit.here < a->unit_size;
	return ERR_OK;
}

const struct payload_format payload_aac_format = {look, begin, next, join};
