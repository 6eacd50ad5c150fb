/* SPDX-License-Identifier: Apache-2.0
 *
 * RTMP chunk stream. See chunk.h.
 *
 *	header --(complete)--> payload --(chunk ends)--> header
 *
 * A header is collected in c->ahead until it is complete, byte by byte if need be; it costs at most
 * 18 bytes of copying a chunk. Up to four bytes may be taken there that turn out to be payload (a
 * peer that does not repeat extended timestamps): payload is therefore taken from c->ahead first.
 *
 * Partial messages lie in the arena where the first fit left room when they began. Nothing is ever
 * moved: compaction would let a peer with tiny messages buy megabytes of copying. What is written of
 * a message is the same whenever it is written, so an older copy of the reader finds its partial
 * messages as they were, if only nothing else was put where they lie.
 */
#include "actors/rtmp/chunk.h"

enum {
	EXTENDED = 0xffffff, /* timestamp field that says: four more bytes */
};

static const uint8_t message_header_sizes[4] = {11, 7, 3, 0};

void chunk_reader_init(struct chunk_reader *c, uint32_t message_max)
{
	MUST(message_max > 0 && message_max <= CHUNK_MESSAGE_MAX);
	*c = (struct chunk_reader){.chunk_size = CHUNK_SIZE_INITIAL, .message_max = message_max};
}

static bool stream_is_valid(
	const struct chunk_reader *c, const struct chunk_stream *s, size_t arena_size)
{
	if (s->partial > 1 || s->placed > 1 || s->extended > 1 || s->length > c->message_max)
		return false;
	if (!s->partial)
		return !s->placed && s->taken == 0;
	if (s->id == 0 || s->taken > s->length || (s->taken > 0 && !s->placed))
		return false;
	return !s->placed || (s->length <= arena_size && s->place <= arena_size - s->length);
}

bool chunk_reader_is_valid(const struct chunk_reader *c, size_t arena_size)
{
	if (c->chunk_size == 0 || c->chunk_size > CHUNK_SIZE_MAX || c->message_max == 0 ||
		c->message_max > CHUNK_MESSAGE_MAX || c->ahead_size > sizeof(c->ahead) ||
		c->current > CHUNK_STREAMS_MAX || c->repeat >= CHUNK_REPEAT_COUNT)
		return false;
	for (size_t i = 0; i < CHUNK_STREAMS_MAX; i++) {
		if (!stream_is_valid(c, &c->streams[i], arena_size))
			return false;
	}
	if (c->current) {
		const struct chunk_stream *s = &c->streams[c->current - 1];

		return s->partial && c->chunk_left <= s->length - s->taken;
	}
	return true;
}

/* Collects until `size` bytes lie ahead. */
static bool look_ahead(struct chunk_reader *c, struct reader *in, size_t size)
{
	if (c->ahead_size < size) {
		size_t wanted = size - c->ahead_size;
		size_t taken = reader_left(in) < wanted ? reader_left(in) : wanted;

		if (taken > 0)
			memcpy(c->ahead + c->ahead_size, read_bytes(in, taken), taken);
		c->ahead_size += (uint8_t)taken;
	}
	return c->ahead_size >= size;
}

static void drop_ahead(struct chunk_reader *c, size_t size)
{
	c->ahead_size -= (uint8_t)size;
	memmove(c->ahead, c->ahead + size, c->ahead_size);
}

static struct chunk_stream *find_stream(struct chunk_reader *c, uint32_t id)
{
	for (size_t i = 0; i < CHUNK_STREAMS_MAX; i++) {
		if (c->streams[i].id == id)
			return &c->streams[i];
	}
	return NULL;
}

/* Section 5.3.1.1: one, two or three bytes. 0 when not all of them are here. */
static size_t read_basic_header(struct chunk_reader *c, struct reader *in, uint32_t *id)
{
	if (!look_ahead(c, in, 1))
		return 0;
	uint32_t low = c->ahead[0] & 0x3f;
	size_t size = low == 0 ? 2 : low == 1 ? 3 : 1;
	if (!look_ahead(c, in, size))
		return 0;
	if (size == 1)
		*id = low;
	else
		*id = 64u + c->ahead[1] + (size == 3 ? c->ahead[2] * 256u : 0);
	return size;
}

/* Type 3: are the next four bytes the extended timestamp again, or payload already? Learnt at the
 * first chance, for the whole connection. */
static bool is_repeated(struct chunk_reader *c, const struct chunk_stream *s, uint32_t value)
{
	if (c->repeat == CHUNK_REPEAT_UNKNOWN)
		c->repeat = value == s->time_field || value == s->time_ms ? CHUNK_REPEAT_ALWAYS
									  : CHUNK_REPEAT_NEVER;
	return c->repeat == CHUNK_REPEAT_ALWAYS;
}

static enum err begin_message(
	struct chunk_reader *c, struct chunk_stream *s, unsigned fmt, uint32_t time_field)
{
	/* A type 3 chunk that begins a message repeats the last time field as its delta, even when
	 * that came in a type 0 header (section 5.3.1.2.4). */
	s->time_ms = fmt == 0 ? time_field : s->time_ms + time_field;
	s->time_field = time_field;
	if (s->length > c->message_max) {
		s->length = 0;
		return ERR_TOO_LARGE;
	}
	s->partial = 1;
	s->placed = 0;
	s->taken = 0;
	return ERR_OK;
}

/* The message header proper, section 5.3.1.2, from its `size` bytes. */
static uint32_t parse_message_header(struct chunk_stream *s, const uint8_t *bytes, size_t size)
{
	struct reader r = reader_of(bytes, size);
	uint32_t time_field = s->time_field;

	if (size >= 3) {
		time_field = read_u24(&r);
		s->extended = time_field == EXTENDED;
	}
	if (size >= 7) {
		s->length = read_u24(&r);
		s->type = read_u8(&r);
	}
	if (size == 11)
		s->stream = read_u32le(&r);
	return time_field;
}

static enum err read_header(struct chunk_reader *c, struct reader *in)
{
	uint32_t id;
	size_t size = read_basic_header(c, in, &id);

	if (size == 0)
		return ERR_AGAIN;
	unsigned fmt = c->ahead[0] >> 6;
	struct chunk_stream *s = find_stream(c, id);
	/* Type 1 without a past is tolerated: librtmp begins its control stream so. */
	if ((!s && fmt >= 2) || (s && s->partial && fmt != 3))
		return ERR_FORMAT;
	if (!s && !(s = find_stream(c, 0)))
		return ERR_LIMIT;

	size_t basic_size = size;
	size += message_header_sizes[fmt];
	if (!look_ahead(c, in, size))
		return ERR_AGAIN;
	bool extended = fmt == 3 ? s->extended && c->repeat != CHUNK_REPEAT_NEVER
				 : (c->ahead[basic_size] & c->ahead[basic_size + 1] &
					   c->ahead[basic_size + 2]) == 0xff;
	if (extended && !look_ahead(c, in, size + 4))
		return ERR_AGAIN;

	s->id = id;
	uint32_t time_field =
		parse_message_header(s, c->ahead + basic_size, message_header_sizes[fmt]);
	if (extended) {
		struct reader r = reader_of(c->ahead + size, 4);
		uint32_t value = read_u32(&r);

		if (fmt < 3 || is_repeated(c, s, value)) {
			time_field = value;
			size += 4;
		}
	}
	drop_ahead(c, size);
	enum err err = s->partial ? ERR_OK : begin_message(c, s, fmt, time_field);
	if (err)
		return err;
	c->current = (uint8_t)(1 + (s - c->streams));
	c->chunk_left = s->length - s->taken;
	if (c->chunk_left > c->chunk_size)
		c->chunk_left = c->chunk_size;
	return ERR_OK;
}

void chunk_reader_hold(struct chunk_reader *c)
{
	c->held_from = c->held_to = 0;
	for (size_t i = 0; i < CHUNK_STREAMS_MAX; i++) {
		const struct chunk_stream *s = &c->streams[i];

		if (!s->placed)
			continue;
		if (c->held_from == c->held_to || s->place < c->held_from)
			c->held_from = s->place;
		if (s->place + s->length > c->held_to)
			c->held_to = s->place + s->length;
	}
}

static bool region_is_free(const struct chunk_reader *c, size_t place, size_t size)
{
	for (size_t i = 0; i < CHUNK_STREAMS_MAX; i++) {
		const struct chunk_stream *s = &c->streams[i];

		if (s->placed && place < (size_t)s->place + s->length && s->place < place + size)
			return false;
	}
	return true;
}

static bool is_held(const struct chunk_reader *c, size_t place, size_t size)
{
	return place < c->held_to && c->held_from < place + size;
}

/* First fit among the places that touch the beginning, another region's end, or that of what is
 * held. */
static enum err place_message(
	const struct chunk_reader *c, struct chunk_stream *s, size_t arena_size)
{
	size_t best = SIZE_MAX;
	bool later = false;

	for (size_t i = 0; i <= CHUNK_STREAMS_MAX + 1; i++) {
		size_t place = i > CHUNK_STREAMS_MAX ? c->held_to : 0;

		if (i < CHUNK_STREAMS_MAX) {
			if (!c->streams[i].placed)
				continue;
			place = (size_t)c->streams[i].place + c->streams[i].length;
		}
		if (place >= best || place + s->length > arena_size ||
			!region_is_free(c, place, s->length))
			continue;
		if (is_held(c, place, s->length))
			later = true;
		else
			best = place;
	}
	if (best == SIZE_MAX)
		return later ? ERR_AGAIN : ERR_LIMIT;
	s->place = (uint32_t)best;
	s->placed = 1;
	return ERR_OK;
}

static void append(struct chunk_reader *c, struct chunk_stream *s, uint8_t *arena,
	const uint8_t *bytes, size_t size)
{
	memcpy(arena + s->place + s->taken, bytes, size);
	s->taken += (uint32_t)size;
	c->chunk_left -= (uint32_t)size;
}

/* Takes payload of the current chunk. ERR_OK: the chunk is complete; *whole is where the message
 * lies when this was its last. */
static enum err read_payload(struct chunk_reader *c, struct chunk_stream *s, uint8_t *arena,
	size_t arena_size, struct reader *in, const uint8_t **whole)
{
	if (!s->placed) {
		if (s->length == 0) {
			*whole = arena;
			return ERR_OK;
		}
		if (c->ahead_size == 0 && c->chunk_left == s->length &&
			reader_left(in) >= s->length) {
			*whole = read_bytes(in, s->length);
			return ERR_OK;
		}
		enum err err = place_message(c, s, arena_size);
		if (err)
			return err;
	}
	if (c->ahead_size > 0) {
		size_t size = c->ahead_size < c->chunk_left ? c->ahead_size : c->chunk_left;

		append(c, s, arena, c->ahead, size);
		drop_ahead(c, size);
	}
	size_t size = reader_left(in) < c->chunk_left ? reader_left(in) : c->chunk_left;
	if (size > 0)
		append(c, s, arena, read_bytes(in, size), size);
	if (c->chunk_left > 0)
		return ERR_AGAIN;
	if (s->taken == s->length)
		*whole = arena + s->place;
	return ERR_OK;
}

static void end_message(struct chunk_stream *s)
{
	s->partial = 0;
	s->placed = 0;
	s->taken = 0;
}

/* Sections 5.4.1 and 5.4.2. */
static enum err obey(struct chunk_reader *c, const struct chunk_message *m)
{
	struct reader r = reader_of(m->payload, m->size);
	uint32_t value = read_u32(&r);

	if (r.bad)
		return ERR_FORMAT;
	if (m->type == CHUNK_SET_CHUNK_SIZE) {
		if (value == 0 || value >> 31)
			return ERR_FORMAT;
		c->chunk_size = value < CHUNK_SIZE_MAX ? value : CHUNK_SIZE_MAX;
		return ERR_OK;
	}
	struct chunk_stream *s = value ? find_stream(c, value) : NULL;
	if (s && s->partial) {
		end_message(s);
		c->aborted++;
	}
	return ERR_OK;
}

enum err chunk_read(struct chunk_reader *c, uint8_t *arena, size_t arena_size, struct reader *in,
	struct chunk_message *out)
{
	for (;;) {
		const uint8_t *whole = NULL;
		enum err err = c->current ? ERR_OK : read_header(c, in);

		if (err)
			return err;
		struct chunk_stream *s = &c->streams[c->current - 1];
		err = read_payload(c, s, arena, arena_size, in, &whole);
		if (err)
			return err;
		c->current = 0;
		c->chunk_left = 0;
		if (!whole)
			continue;
		*out = (struct chunk_message){
			.type = s->type,
			.stream = s->stream,
			.time_ms = s->time_ms,
			.size = s->length,
			.payload = whole,
		};
		end_message(s);
		if (out->type != CHUNK_SET_CHUNK_SIZE && out->type != CHUNK_ABORT)
			return ERR_OK;
		err = obey(c, out);
		if (err)
			return err;
	}
}

void chunk_headers_make(struct chunk_headers *h, unsigned chunk_stream, uint8_t type,
	uint32_t stream, uint32_t time_ms, uint32_t size)
{
	bool extended = time_ms >= EXTENDED;
	struct writer first = writer_of(h->first, sizeof(h->first));
	struct writer next = writer_of(h->next, sizeof(h->next));

	MUST(chunk_stream >= 2 && chunk_stream <= 63 && size <= CHUNK_MESSAGE_MAX);
	write_u8(&first, (uint8_t)chunk_stream);
	write_u24(&first, extended ? EXTENDED : time_ms);
	write_u24(&first, size);
	write_u8(&first, type);
	write_u32le(&first, stream);
	write_u8(&next, (uint8_t)(3 << 6 | chunk_stream));
	if (extended) {
		write_u32(&first, time_ms);
		write_u32(&next, time_ms);
	}
	h->first_size = (uint8_t)writer_used(&first);
	h->next_size = (uint8_t)writer_used(&next);
}

size_t chunk_frame(const struct chunk_headers *h, uint32_t chunk_size, const struct iovec *pieces,
	size_t piece_count, struct iovec *out, size_t out_max)
{
	size_t used = 0;
	size_t room = chunk_size; /* payload bytes that the current chunk still takes */

	MUST(chunk_size > 0);
	if (out_max == 0)
		return 0;
	out[used++] = (struct iovec){(void *)h->first, h->first_size};
	for (size_t i = 0; i < piece_count; i++) {
		uint8_t *at = pieces[i].iov_base;
		size_t left = pieces[i].iov_len;

		while (left > 0) {
			if (used + 2 > out_max)
				return 0;
			if (room == 0) {
				out[used++] = (struct iovec){(void *)h->next, h->next_size};
				room = chunk_size;
			}
			size_t part = left < room ? left : room;
			out[used++] = (struct iovec){at, part};
			at += part;
			left -= part;
			room -= part;
		}
	}
	return used;
}
