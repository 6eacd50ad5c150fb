/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages, actor states and records, described once in the .def files and included several times
 * by the preprocessor: as C structs here, as field tables in schema.c. One small interpreter
 * encodes, decodes, clones, compares, prints and randomises all of them.
 *
 * On the wire a value is a msgpack map {tag: value}. Tags are for ever; a field that is zero or
 * empty is left out; an unknown tag is skipped; every string, blob and list has its bound in the
 * row. Decoding never allocates and never reads beyond its input.
 *
 * Thread: any; everything here is a pure function of its arguments.
 */
#ifndef MILLRACE_SCHEMA_H
#define MILLRACE_SCHEMA_H

#include "schemas/bytes.h"
#include "schemas/err.h"
#include "schemas/media.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An actor's address. Never names a worker, a process or a socket; ids are never reused.
 * {0, 0} is nobody. */
struct addr {
	uint64_t node;
	uint64_t id;
};

/* Bytes owned by somebody else (the message they came in). */
struct slice {
	const char *data;
	uint32_t size;
};

enum field_kind {
	FIELD_BOOL, /* bool */
	FIELD_U8,
	FIELD_U16,
	FIELD_U32,
	FIELD_U64,
	FIELD_I64,
	FIELD_STR,    /* char[max + 1], UTF-8, NUL-terminated in memory */
	FIELD_BYTES,  /* struct { uint16_t size; uint8_t data[max]; } */
	FIELD_TEXT,   /* struct slice, at most max bytes */
	FIELD_ADDR,   /* struct addr; on the wire [node, id] */
	FIELD_RECORD, /* a nested struct by its own schema */
	FIELD_LIST,   /* array of nested structs; the uint16_t count lies at count_offset */
};

enum field_flags {
	FIELD_IS_SECRET = 1, /* never printed: REPL, API, trace, log, crash report */
	FIELD_IS_HOT = 2,    /* of a state: changes with each packet, and is kept apart (keep.c) */
};

/* Bounds of lists in the .def files. */
enum {
	STREAM_SUBSCRIBERS_MAX = 4096, /* of a stream on one worker */
	FLV_ASKERS_MAX = 1024,	       /* viewers that wait for one muxer */
	STREAMS_MAX = 1024,	       /* on one worker */
	STREAM_STANDBYS_MAX = 3,       /* publishers of a stream that wait to take over */
	STREAM_TRACED_MAX = 256,       /* frames of a stream, told at once when they came */
	STORE_PAIRS_MAX = 8192,	       /* of the built-in coordination store */
	STORE_LEASES_MAX = 256,
	STORE_WATCHERS_MAX = 64,
	STORE_PAGE_MAX = 64, /* pairs in one answer */
	STORE_KEY_MAX = 159, /* bytes */
	STORE_VALUE_MAX = 767,
	SETTINGS_MAX = 32,	  /* pairs config/KEY that are looked at */
	MESH_NODES_MAX = 1024,	  /* of a cluster, as one node knows it */
	MESH_REVOKED_MAX = 256,	  /* keys that are let in no more */
	NODES_PAGE_MAX = 64,	  /* in one answer */
	CALLBACK_LINE_MAX = 4096, /* notifications that wait, of a node */
	SIGNAL_TASKS_MAX = 8,	  /* unanswered requests of one client */
	SIGNAL_SESSIONS_MAX = 32, /* of one client, whose end it is told of */
	SIGNAL_FRAME_MAX =
		72 * 1024,	 /* bytes of a message: an SDP of 64 kB and what is around it */
	LINK_ROWS_MAX = 256,	 /* in one report of links */
	LINK_WAYS_MAX = 5,	 /* paths of a link */
	LINK_RELAYS_MAX = 256,	 /* sessions that a worker hands on for links of others */
	LINK_SENDERS_MAX = 1024, /* streams of a worker with a mode of their own */
	ROUTE_WAYS_MAX = 4,	 /* to one origin */
	ROUTE_TROUBLED_MAX = 8,
	ROUTE_WATCHERS_MAX = 4096, /* streams of a node that want to hear of changed routes */
	RELAY_PATH_MAX = 4,	   /* nodes from a copy to the origin, it and that of the origin */
	RELAY_PAGE_MAX = 64,	   /* streams in one answer */
	RELAY_CHANGES_MAX = 64,	   /* of ways, that a node remembers */
	STANDINGS_MAX = 256,	   /* other nodes that a node sends clients to */
	STANDINGS_TOLD_MAX = 257,  /* they and itself */
	ALTERNATIVES_SIZE = 1023,  /* bytes of URLs that clients hear of */
	PERMIT_KEY_SIZE = 32,	   /* bytes */
	PERMIT_TEXT_MAX = 143,	   /* characters (runtime/permit.h) */
};

/* How a link, a path of it, or a node stands, better first. */
enum link_mode { LINK_SMART, LINK_RACE, LINK_BACKUP };
enum link_state { LINK_UP, LINK_DOUBTFUL, LINK_DOWN, LINK_CLOSED };

/* What the mesh knows of a node: its place alone, nothing yet, that it lives, that it has been silent, or
 * has been so for too long (runtime/mesh.h). */
enum mesh_state { MESH_KNOWN, MESH_CONNECTING, MESH_UP, MESH_DOUBTFUL, MESH_DOWN, MESH_REVOKED };

/* What the relay office is doing for a stream: nothing, asking for a route, asking a node for its copy,
 * having its entry change over. */
enum relay_step { RELAY_RESTS, RELAY_ROUTES, RELAY_PULLS, RELAY_SWITCHES };

/* Why a node has a stream another way now: the link on the way before is doubtful, or down; its node is lost; the
 * copy could not have it from there; it led in a circle; another one is better; trouble that kept from it is
 * over; the way is another one further up; its publisher is at another node. */
enum relay_why {
	RELAY_WHY_DOUBTFUL,
	RELAY_WHY_DOWN,
	RELAY_WHY_LOST,
	RELAY_WHY_FAILED,
	RELAY_WHY_CIRCLE,
	RELAY_WHY_BETTER,
	RELAY_WHY_OVER,
	RELAY_WHY_UPSTREAM,
	RELAY_WHY_OWNER,
};

/* Only a core relays what is not for itself. */
enum node_tier { NODE_EDGE, NODE_CORE };

struct schema;

struct field {
	const char *name;
	uint8_t tag; /* 1 .. 127 */
	uint8_t kind;
	uint8_t flags;
	uint32_t offset;
	uint32_t count_offset; /* FIELD_LIST */
	uint32_t max;	       /* bytes or items */
	const struct schema *sub;
	const char *(*name_of)(int value); /* prints an enum by name; NULL = number */
};

/* What happens to mail when the mailbox is full; and whether it is taken from other nodes. */
enum message_class {
	CLASS_CONTROL = 0, /* refused loudly: bounced with ERR_OVERLOAD, counted */
	CLASS_NOTE = 1,	   /* statistics and the like: newest dropped and counted */
	CLASS_REMOTE = 2,  /* a flag: other nodes may say it; without it they are refused */
};

enum schema_use { SCHEMA_RECORD, SCHEMA_MESSAGE, SCHEMA_STATE };

struct schema {
	const char *name;
	uint16_t id;  /* message or state id; 0 = record */
	uint8_t mail; /* bits of enum message_class */
	uint32_t size;
	uint32_t field_count;
	const struct field *fields;
	uint8_t use; /* enum schema_use */
};

/* The rows of every .def, as C structs. */
#define FIELD_C_bool(f, m) bool f;
#define FIELD_C_u8(f, m)   uint8_t f;
#define FIELD_C_u16(f, m)  uint16_t f;
#define FIELD_C_u32(f, m)  uint32_t f;
#define FIELD_C_u64(f, m)  uint64_t f;
#define FIELD_C_i64(f, m)  int64_t f;
#define FIELD_C_str(f, m)  char f[(m) + 1];
#define FIELD_C_bytes(f, m)      \
	struct {                 \
		uint16_t size;   \
		uint8_t data[m]; \
	} f;
#define FIELD_C_text(f, m) struct slice f;
#define FIELD_C_addr(f, m) struct addr f;

#define REC_BEGIN(name)			 struct name {
#define MSG_BEGIN(name, id, mail)	 struct msg_##name {
#define STATE_BEGIN(name, id)		 struct name {
#define FIELD(owner, tag, kind, f, max)	 FIELD_C_##kind(f, max)
#define SECRET(owner, tag, kind, f, max) FIELD_C_##kind(f, max)
#define HOT(owner, tag, kind, f, max)	 FIELD_C_##kind(f, max)
#define ENUM(owner, tag, f, name_of)	 uint8_t f; /* printed by name_of(int) */
#define RECORD(owner, tag, sub, f)	 struct sub f;
#define LIST(owner, tag, sub, f, max) \
	uint16_t f##_count;           \
	struct sub f[max];
#define HOT_LIST(owner, tag, sub, f, max) LIST(owner, tag, sub, f, max)
#define REC_END(name) \
	}             \
	;
#define MSG_END(name) \
	}             \
	;
#define STATE_END(name) \
	}               \
	;
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

/* const struct schema schema_<name>, and for messages their ids MSG_<name>. */
#define REC_BEGIN(name)		  extern const struct schema schema_##name;
#define MSG_BEGIN(name, id, mail) extern const struct schema schema_##name;
#define STATE_BEGIN(name, id)	  extern const struct schema schema_##name;
#define FIELD(owner, tag, kind, f, max)
#define SECRET(owner, tag, kind, f, max)
#define HOT(owner, tag, kind, f, max)
#define ENUM(owner, tag, f, name_of) const char *name_of(int value);
#define RECORD(owner, tag, sub, f)
#define LIST(owner, tag, sub, f, max)
#define HOT_LIST(owner, tag, sub, f, max)
#define REC_END(name)
#define MSG_END(name)
#define STATE_END(name)
#include "schemas/all.def"
#undef REC_BEGIN
#undef MSG_BEGIN
#undef STATE_BEGIN
#undef ENUM
#define ENUM(owner, tag, f, name_of)
#define REC_BEGIN(name)
#define MSG_BEGIN(name, id, mail) MSG_##name = id,
#define STATE_BEGIN(name, id)
enum message_id {
#include "schemas/all.def"
	MESSAGE_ID_END = 0x10000
};
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

/* struct media_track (schemas/media.h) as a record. */
extern const struct schema schema_media_track;

static inline bool schema_is_note(const struct schema *schema)
{
	return schema->mail & CLASS_NOTE;
}

static inline bool schema_is_remote(const struct schema *schema)
{
	return schema->mail & CLASS_REMOTE;
}

/* Printers of ENUM rows: enum err, enum media_codec. */
const char *schema_err_name(int value);
const char *schema_codec_name(int value);
const char *schema_link_state_name(int value);
const char *schema_link_mode_name(int value);
const char *schema_node_tier_name(int value);
const char *schema_mesh_state_name(int value);
const char *schema_relay_step_name(int value);
const char *schema_relay_why_name(int value);

/* NULL when unknown. Messages, states and records share one id space and one name space. */
const struct schema *schema_by_id(uint16_t id);
const struct schema *schema_by_name(const char *name);
/* All schemas in order of definition; NULL past the end. For documentation and property tests. */
const struct schema *schema_at(size_t index);

/* The field of that name (of `length` bytes), NULL when there is none. */
const struct field *schema_field(const struct schema *schema, const char *name, size_t length);

/* Appends `value` as a msgpack map to `out`. ERR_NO_SPACE, ERR_LIMIT (a count or size beyond its
 * bound; a MUST in debug of the caller's own data is not wanted: states may come from an escrow). */
enum err schema_encode(const struct schema *schema, const void *value, struct writer *out);
/* Only the fields that are hot, or only the others. */
enum err schema_encode_part(
	const struct schema *schema, const void *value, bool hot, struct writer *out);

/* Upper bound of the encoded size of any value without FIELD_TEXT bytes (those come on top). */
size_t schema_encoded_size_max(const struct schema *schema);

/* Reads one map from `in` into `value` (schema->size bytes, zeroed first). Slices borrow from the
 * input. Unknown tags are skipped whatever they hold; a wrong type, a bound exceeded, truncation or
 * nesting deeper than 16 is ERR_FORMAT (ERR_TOO_LARGE for bounds). Duplicate tags: last wins. */
enum err schema_decode(const struct schema *schema, struct reader *in, void *value);
/* The same; what the map does not name stays as it is. */
enum err schema_decode_more(const struct schema *schema, struct reader *in, void *value);

/* Whether a value may hold slices, here or in what it contains. */
bool schema_has_text(const struct schema *schema);

/* Bytes needed by schema_clone: the struct and all slice bytes, including nested ones. */
size_t schema_clone_size(const struct schema *schema, const void *value);
/* Copies value into `block` (8-aligned, of at least schema_clone_size bytes); slices then point into
 * the block. Returns the struct at the start of the block. */
void *schema_clone(const struct schema *schema, const void *value, void *block, size_t size);

/* True when both encode to the same bytes (compares field by field; padding is ignored). */
bool schema_equal(const struct schema *schema, const void *a, const void *b);
/* The same of one field of two values. */
bool schema_field_equal(const struct field *field, const void *a, const void *b);

/* Appends compact JSON; secrets print as "***" (absent when empty). ERR_NO_SPACE. 64-bit numbers
 * above 2^53 and addresses print as strings (addresses "node/id" in hex). Zero fields ARE printed. */
enum err schema_print_json(const struct schema *schema, const void *value, struct writer *out);

/* Appends a JSON object of those fields that differ, as they are in `now`; of a list as long as
 * before only the items that changed, {"3":{…}}; a field that takes more than `field_max` bytes is
 * the text "(large)". Returns how many differ. */
uint32_t schema_print_changes(const struct schema *schema, const void *before, const void *now,
	size_t field_max, struct writer *out);

/* Reads what a person typed, "field=value field=value …", into `value` (zeroed first): numbers in
 * decimal, true or false, an enum by name or number, an address as addr_text writes it, bytes in
 * hex, text in double quotes when it has spaces (\" and \\ inside), a member of a record as
 * "record.field=…", of a list as "list.0.field=…". Slices point into `pool`, which must hold as many
 * bytes as `words` has. ERR_FORMAT or ERR_TOO_LARGE with what was expected in `problem`. */
enum { SCHEMA_PROBLEM_SIZE = 192 };
enum err schema_parse_words(const struct schema *schema, const char *words, void *value, char *pool,
	char problem[SCHEMA_PROBLEM_SIZE]);

/* Fills value with random legal contents (for property tests); slices point into `pool`. */
struct rng;
void schema_randomise(
	const struct schema *schema, void *value, struct rng *rng, char *pool, size_t pool_size);

/* "n/i" in hex, both without leading zeros; returns text. */
enum { ADDR_TEXT_SIZE = 34 };
const char *addr_text(struct addr addr, char text[ADDR_TEXT_SIZE]);
/* ERR_FORMAT unless it is exactly what addr_text makes (or only "i", node 0 = this node). */
enum err addr_parse(const char *text, struct addr *addr);

static inline bool addr_equal(struct addr a, struct addr b)
{
	return a.node == b.node && a.id == b.id;
}

static inline bool addr_is_nobody(struct addr a)
{
	return a.id == 0;
}

#endif
