/* SPDX-License-Identifier: Apache-2.0
 *
 * Meaning of RTP header extension elements, and ready-made blocks of them.
 */
#include "actors/webrtc/rtp_ext.h"

static const char *const uris[RTP_EXT_COUNT] = {"",
#define X(name, uri) uri,
	RTP_EXT_TABLE(X)
#undef X
};

enum rtp_ext_kind rtp_ext_kind_of(const char *uri)
{
	for (int kind = RTP_EXT_NONE + 1; kind < RTP_EXT_COUNT; kind++)
		if (!strcmp(uris[kind], uri))
			return (enum rtp_ext_kind)kind;
	return RTP_EXT_NONE;
}

const char *rtp_ext_uri(enum rtp_ext_kind kind)
{
	return (unsigned)kind < RTP_EXT_COUNT ? uris[kind] : "";
}

enum err rtp_ext_map_set(struct rtp_ext_map *map, enum rtp_ext_kind kind, int id)
{
	if (id < 1 || id > 255 || id == 15 || kind <= RTP_EXT_NONE || kind >= RTP_EXT_COUNT)
		return ERR_FORMAT;
	map->id[kind] = (uint8_t)id;
	return ERR_OK;
}

static enum rtp_ext_kind kind_of_id(const struct rtp_ext_map *map, uint8_t id)
{
	for (int kind = RTP_EXT_NONE + 1; kind < RTP_EXT_COUNT; kind++)
		if (map->id[kind] == id)
			return (enum rtp_ext_kind)kind;
	return RTP_EXT_NONE;
}

static bool take_text(char text[RTP_EXT_TEXT_MAX + 1], const struct rtp_ext_element *element)
{
	if (!element->size || element->size > RTP_EXT_TEXT_MAX ||
		memchr(element->data, 0, element->size))
		return false;
	memcpy(text, element->data, element->size);
	text[element->size] = 0;
	return true;
}

static bool take_playout_delay(struct rtp_ext_values *values, const uint8_t *data)
{
	values->playout_min_ms = (uint16_t)((data[0] << 4 | data[1] >> 4) * 10);
	values->playout_max_ms = (uint16_t)(((data[1] & 0x0F) << 8 | data[2]) * 10);
	return values->playout_min_ms <= values->playout_max_ms;
}

/* True when the element has the size its kind prescribes and was taken. */
static bool take_element(struct rtp_ext_values *values, enum rtp_ext_kind kind,
	const struct rtp_ext_element *element)
{
	const uint8_t *data = element->data;
	uint8_t size = element->size;

	switch (kind) {
	case RTP_EXT_MID: return take_text(values->mid, element);
	case RTP_EXT_RID: return take_text(values->rid, element);
	case RTP_EXT_REPAIRED_RID: return take_text(values->repaired_rid, element);
	case RTP_EXT_PLAYOUT_DELAY: return size == 3 && take_playout_delay(values, data);
	case RTP_EXT_ABS_SEND_TIME:
		if (size == 3)
			values->abs_send_time = (uint32_t)(data[0] << 16 | data[1] << 8 | data[2]);
		return size == 3;
	case RTP_EXT_TRANSPORT_CC:
		/* four bytes is version 2: the number and a feedback request that we do not need */
		if (size == 2 || size == 4)
			values->transport_seq = (uint16_t)(data[0] << 8 | data[1]);
		return size == 2 || size == 4;
	case RTP_EXT_AUDIO_LEVEL:
		if (size)
			values->audio_level = data[0];
		return size > 0;
	case RTP_EXT_TOFFSET:
		if (size == 3)
			values->toffset =
				(int32_t)((uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
					  (uint32_t)data[2] << 8) >>
				8;
		return size == 3;
	case RTP_EXT_VIDEO_ORIENTATION:
		if (size == 1)
			values->video_orientation = data[0];
		return size == 1;
	case RTP_EXT_DEPENDENCY:
		values->dependency = data;
		values->dependency_size = size;
		return size > 0;
	default: return false;
	}
}

void rtp_ext_parse(struct rtp_ext_values *values, const struct rtp_ext_map *map,
	const struct rtp_packet *packet)
{
	struct rtp_ext_iter iter = rtp_ext_iterate(packet);
	struct rtp_ext_element element;

	memset(values, 0, sizeof(*values));
	while (rtp_ext_next(&iter, &element)) {
		enum rtp_ext_kind kind = kind_of_id(map, element.id);
		if (kind != RTP_EXT_NONE && take_element(values, kind, &element))
			values->present |= 1u << kind;
	}
}

/* Elements of a layout in the order written, with their data as far as it is constant. */
struct planned {
	enum rtp_ext_kind kind;
	uint8_t size;
	const uint8_t *data;
	uint8_t *at; /* where its offset goes, or NULL */
};

static enum err write_block(struct rtp_ext_layout *layout, const struct rtp_ext_map *map,
	const struct planned *plan, size_t count)
{
	struct writer w = writer_of(layout->block, sizeof(layout->block));

	write_u16(&w, layout->two_byte ? RTP_EXT_TWO_BYTE : RTP_EXT_ONE_BYTE);
	write_u16(&w, 0);
	for (size_t i = 0; i < count; i++) {
		uint8_t id = map->id[plan[i].kind];
		if (layout->two_byte) {
			write_u8(&w, id);
			write_u8(&w, plan[i].size);
		} else {
			write_u8(&w, (uint8_t)(id << 4 | (plan[i].size - 1)));
		}
		if (plan[i].at)
			*plan[i].at = (uint8_t)writer_used(&w);
		write_bytes(&w, plan[i].data, plan[i].size);
	}
	while (writer_used(&w) % 4)
		write_u8(&w, 0);
	if (w.bad)
		return ERR_TOO_LARGE;
	layout->size = (uint8_t)writer_used(&w);
	layout->block[3] = (uint8_t)((layout->size - RTP_EXT_HEADER_SIZE) / 4);
	return ERR_OK;
}

enum err rtp_ext_layout_init(struct rtp_ext_layout *layout, const struct rtp_ext_map *map,
	const struct rtp_ext_layout_options *options)
{
	static const uint8_t zero[4];
	unsigned min = options->playout_min_ms / 10u, max = options->playout_max_ms / 10u;
	uint8_t playout[3] = {(uint8_t)(min >> 4), (uint8_t)(min << 4 | max >> 8), (uint8_t)max};
	size_t mid_size = options->mid ? strlen(options->mid) : 0, count = 0;
	struct planned plan[5];

	memset(layout, 0, sizeof(*layout));
	if (mid_size > RTP_EXT_TEXT_MAX || max > RTP_EXT_PLAYOUT_MS_MAX / 10 || min > max)
		return ERR_TOO_LARGE;
	// clang-format off
	const struct planned all[] = {
		{RTP_EXT_ABS_SEND_TIME, 3, zero, &layout->abs_send_time_at},
		{RTP_EXT_TRANSPORT_CC, 2, zero, &layout->transport_seq_at},
		{RTP_EXT_MID, (uint8_t)mid_size, (const uint8_t *)options->mid, NULL},
		{RTP_EXT_AUDIO_LEVEL, 1, zero, &layout->audio_level_at},
		{RTP_EXT_PLAYOUT_DELAY, 3, playout, NULL},
	};
	// clang-format on
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		uint8_t id = map->id[all[i].kind];
		if (!(options->chosen & 1u << all[i].kind) || !id || !all[i].size)
			continue;
		plan[count++] = all[i];
		if (id > 14 || all[i].size > 16)
			layout->two_byte = true;
	}
	enum err err = count ? write_block(layout, map, plan, count) : ERR_OK;
	if (err)
		memset(layout, 0, sizeof(*layout));
	return err;
}

/* An element whose data begins at `at` has its head before and its data inside the block. */
static bool offset_is_valid(const struct rtp_ext_layout *layout, uint8_t at, unsigned size)
{
	unsigned first = RTP_EXT_HEADER_SIZE + 1u + layout->two_byte;

	return !at || (at >= first && at + size <= layout->size);
}

bool rtp_ext_layout_is_valid(const struct rtp_ext_layout *layout)
{
	uint8_t two_byte;

	memcpy(&two_byte, &layout->two_byte, 1); /* any byte may lie there */
	return two_byte <= 1 && layout->size <= RTP_EXT_BLOCK_MAX && layout->size % 4 == 0 &&
	       offset_is_valid(layout, layout->abs_send_time_at, 3) &&
	       offset_is_valid(layout, layout->transport_seq_at, 2) &&
	       offset_is_valid(layout, layout->audio_level_at, 1);
}
