/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables that the .def files become, looking them up, and addresses as text. What interprets
 * the tables lies in schema_wire.c (encode, decode), schema_value.c (clone, compare, randomise),
 * schema_json.c (print) and schema_doc.c (docs/protocol.md).
 */
#include "schemas/schema.h"

#include <inttypes.h>
#include <stdio.h>

#define FIELD_KIND_bool	 FIELD_BOOL
#define FIELD_KIND_u8	 FIELD_U8
#define FIELD_KIND_u16	 FIELD_U16
#define FIELD_KIND_u32	 FIELD_U32
#define FIELD_KIND_u64	 FIELD_U64
#define FIELD_KIND_i64	 FIELD_I64
#define FIELD_KIND_str	 FIELD_STR
#define FIELD_KIND_bytes FIELD_BYTES
#define FIELD_KIND_text	 FIELD_TEXT
#define FIELD_KIND_addr	 FIELD_ADDR

/* struct media_track is written by hand in media.h: it is also the engines' own. */
#define TRACK_FIELD(tag, name, kind, f, max, name_of)                                      \
	{                                                                                  \
		name, tag, kind, 0, offsetof(struct media_track, f), 0, max, NULL, name_of \
	}

const char *schema_codec_name(int value)
{
	return media_codec_name((enum media_codec)value);
}

static const struct field media_track_fields[] = {
	TRACK_FIELD(1, "id", FIELD_U8, id, 0, NULL),
	TRACK_FIELD(2, "kind", FIELD_U8, kind, 0, NULL),
	TRACK_FIELD(3, "codec", FIELD_U8, codec, 0, schema_codec_name),
	TRACK_FIELD(4, "channels", FIELD_U8, channels, 0, NULL),
	TRACK_FIELD(5, "clock_rate", FIELD_U32, clock_rate, 0, NULL),
	TRACK_FIELD(6, "width", FIELD_U16, width, 0, NULL),
	TRACK_FIELD(7, "height", FIELD_U16, height, 0, NULL),
	TRACK_FIELD(8, "config", FIELD_BYTES, config_size, MEDIA_CODEC_CONFIG_MAX, NULL),
	TRACK_FIELD(9, "fmtp", FIELD_STR, fmtp, MEDIA_FMTP_MAX, NULL),
};

/* FIELD_BYTES is { uint16_t size; uint8_t data[]; } */
_Static_assert(
	offsetof(struct media_track, config) == offsetof(struct media_track, config_size) + 2,
	"config follows its size");

const struct schema schema_media_track = {"media_track", 0, CLASS_CONTROL,
	sizeof(struct media_track), sizeof(media_track_fields) / sizeof(struct field),
	media_track_fields, SCHEMA_RECORD};

// clang-format off
/* One table of fields a schema … */
#define REC_BEGIN(name)           static const struct field name##_fields[] = {
#define MSG_BEGIN(name, id, mail) static const struct field name##_fields[] = {
#define STATE_BEGIN(name, id)     static const struct field name##_fields[] = {
#define FIELD(owner, tag, kind, f, max)                                                            \
	{#f, tag, FIELD_KIND_##kind, 0, offsetof(struct owner, f), 0, max, NULL, NULL},
#define SECRET(owner, tag, kind, f, max)                                                           \
	{#f, tag, FIELD_KIND_##kind, FIELD_IS_SECRET, offsetof(struct owner, f), 0, max, NULL, NULL},
#define HOT(owner, tag, kind, f, max)                                                              \
	{#f, tag, FIELD_KIND_##kind, FIELD_IS_HOT, offsetof(struct owner, f), 0, max, NULL, NULL},
#define ENUM(owner, tag, f, name_of)                                                               \
	{#f, tag, FIELD_U8, 0, offsetof(struct owner, f), 0, 0, NULL, name_of},
#define RECORD(owner, tag, sub, f)                                                                 \
	{#f, tag, FIELD_RECORD, 0, offsetof(struct owner, f), 0, 0, &schema_##sub, NULL},
#define LIST_OF(owner, tag, sub, f, max, flags)                                                    \
	{#f, tag, FIELD_LIST, flags, offsetof(struct owner, f), offsetof(struct owner, f##_count),    \
		max, &schema_##sub, NULL},
#define LIST(owner, tag, sub, f, max)     LIST_OF(owner, tag, sub, f, max, 0)
#define HOT_LIST(owner, tag, sub, f, max) LIST_OF(owner, tag, sub, f, max, FIELD_IS_HOT)
#define REC_END(name)   };
#define MSG_END(name)   };
#define STATE_END(name) };
#include "schemas/all.def"
#undef REC_BEGIN
#undef MSG_BEGIN
#undef STATE_BEGIN
#undef FIELD
#undef SECRET
#undef HOT
#undef ENUM
#undef RECORD
#undef LIST
#undef HOT_LIST
#undef REC_END
#undef MSG_END
#undef STATE_END

#define FIELD(owner, tag, kind, f, max)
#define SECRET(owner, tag, kind, f, max)
#define HOT(owner, tag, kind, f, max)
#define ENUM(owner, tag, f, name_of)
#define RECORD(owner, tag, sub, f)
#define LIST(owner, tag, sub, f, max)
#define HOT_LIST(owner, tag, sub, f, max)
#define REC_END(name)
#define MSG_END(name)
#define STATE_END(name)

/* … the schema over it … */
#define SCHEMA(name, tag, id, mail, use)                                                           \
	const struct schema schema_##name = {#name, id, mail, sizeof(struct tag),                     \
		sizeof(name##_fields) / sizeof(struct field), name##_fields, use};
#define REC_BEGIN(name)           SCHEMA(name, name, 0, CLASS_CONTROL, SCHEMA_RECORD)
#define MSG_BEGIN(name, id, mail) SCHEMA(name, msg_##name, id, mail, SCHEMA_MESSAGE)
#define STATE_BEGIN(name, id)     SCHEMA(name, name, id, CLASS_CONTROL, SCHEMA_STATE)
#include "schemas/all.def"
#undef REC_BEGIN
#undef MSG_BEGIN
#undef STATE_BEGIN

/* … all of them in a row … */
static const struct schema *const schemas[] = {
#define REC_BEGIN(name)           &schema_##name,
#define MSG_BEGIN(name, id, mail) &schema_##name,
#define STATE_BEGIN(name, id)     &schema_##name,
#include "schemas/all.def"
#undef REC_BEGIN
#undef MSG_BEGIN
#undef STATE_BEGIN
};

/* … and by id: the compiler makes the search tree, and refuses an id that is given twice. */
const struct schema *schema_by_id(uint16_t id)
{
	switch (id) {
#define REC_BEGIN(name)
#define MSG_BEGIN(name, id, mail) case id: return &schema_##name;
#define STATE_BEGIN(name, id)     case id: return &schema_##name;
#include "schemas/all.def"
#undef REC_BEGIN
#undef MSG_BEGIN
#undef STATE_BEGIN
	}
	return NULL;
}
// clang-format on

const struct schema *schema_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++) {
		if (strcmp(schemas[i]->name, name) == 0)
			return schemas[i];
	}
	return NULL;
}

const struct schema *schema_at(size_t index)
{
	return index < sizeof(schemas) / sizeof(schemas[0]) ? schemas[index] : NULL;
}

const struct field *schema_field(const struct schema *schema, const char *name, size_t length)
{
	for (uint32_t i = 0; i < schema->field_count; i++) {
		const char *known = schema->fields[i].name;

		if (!strncmp(known, name, length) && !known[length])
			return &schema->fields[i];
	}
	return NULL;
}

const char *schema_link_state_name(int value)
{
	static const char *const names[] = {"up", "doubtful", "down", "closed"};

	return value >= LINK_UP && value <= LINK_CLOSED ? names[value] : NULL;
}

const char *schema_link_mode_name(int value)
{
	static const char *const names[] = {"smart", "race", "backup"};

	return value >= LINK_SMART && value <= LINK_BACKUP ? names[value] : NULL;
}

const char *schema_mesh_state_name(int value)
{
	static const char *const names[] = {
		"known", "connecting", "up", "doubtful", "down", "revoked"};

	return value >= MESH_KNOWN && value <= MESH_REVOKED ? names[value] : NULL;
}

const char *schema_relay_step_name(int value)
{
	static const char *const names[] = {"rests", "routes", "pulls", "switches"};

	return value >= RELAY_RESTS && value <= RELAY_SWITCHES ? names[value] : NULL;
}

const char *schema_relay_why_name(int value)
{
	static const char *const names[] = {"doubtful", "down", "lost", "failed", "circle",
		"better", "over", "upstream", "owner"};

	return value >= RELAY_WHY_DOUBTFUL && value <= RELAY_WHY_OWNER ? names[value] : NULL;
}

const char *schema_node_tier_name(int value)
{
	return value == NODE_EDGE ? "edge" : value == NODE_CORE ? "core" : NULL;
}

const char *schema_err_name(int value)
{
	return err_name((enum err)value);
}

const char *addr_text(struct addr addr, char text[ADDR_TEXT_SIZE])
{
	snprintf(text, ADDR_TEXT_SIZE, "%" PRIx64 "/%" PRIx64, addr.node, addr.id);
	return text;
}

/* 1 to 16 lower-case hex digits, no leading zero; returns behind them, NULL when there are none. */
static const char *parse_hex(const char *text, uint64_t *value)
{
	const char *at = text;

	*value = 0;
	for (;; at++) {
		unsigned digit;
		if (*at >= '0' && *at <= '9')
			digit = (unsigned)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			digit = (unsigned)(*at - 'a') + 10;
		else
			break;
		if (*value >> 60)
			return NULL;
		*value = *value << 4 | digit;
	}
	if (at == text || (*text == '0' && at - text > 1))
		return NULL;
	return at;
}

enum err addr_parse(const char *text, struct addr *addr)
{
	struct addr parsed = {0};
	const char *at = parse_hex(text, &parsed.id);

	if (at && *at == '/') {
		parsed.node = parsed.id;
		at = parse_hex(at + 1, &parsed.id);
	}
	if (!at || *at)
		return ERR_FORMAT;
	*addr = parsed;
	return ERR_OK;
}
