/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured log lines, typed and bounded, without allocation:
 *
 *	log_info(log, "publisher_started", "stream", name, "bitrate_bps", rate, "bframes", false);
 *
 * An event name, then up to LOG_FIELDS_MAX pairs of key and value. Keys are string literals in
 * lower_snake_case with the unit last. Values: any integer, bool, double, C string (NULL prints as
 * null). For an `enum err` pass err_name(err). Never pass a secret.
 *
 *   text   2026-11-22T13:03:31.123456Z info  media.0 publisher_started stream=live/demo …
 *   json   {"time":"…","level":"info","process":"media.0","event":"publisher_started",…}
 *
 * Each call site may write LOG_BURST lines at once and LOG_RATE_PER_S on average; what is held
 * back is counted, and the count goes out as `suppressed` with the site's next line, or by
 * log_flush. A line is at most LOG_LINE_MAX bytes; a longer one loses its last fields and says
 * truncated. Bytes that are not printable UTF-8 are escaped, so one event is always one line.
 *
 * Time and sink are the caller's (struct log_sink): the simulator gives virtual time. A struct log
 * belongs to one thread; only `level` and `format` may be set from outside (process_page).
 */
#ifndef MILLRACE_LOG_H
#define MILLRACE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum {
	LOG_LINE_MAX = 1024, /* bytes with the newline; below PIPE_BUF: lines never interleave */
	LOG_FIELDS_MAX = 12,
	LOG_NAME_SIZE = 32,
	LOG_SITES = 256, /* call sites whose rate is known; more share */
	LOG_BURST = 20,
	LOG_RATE_PER_S = 5,
};

struct log_sink {
	int64_t (*now_us)(void *context); /* Unix time in microseconds */
	/* Takes one whole line with its newline. False: not taken (the pipe is full); counted. */
	bool (*write)(void *context, const char *line, size_t size);
	void *context;
};

/* A call site; immutable, its address is its identity. */
struct log_site {
	enum log_level level;
	const char *event;
};

struct log_site_state {
	const struct log_site *site;
	int64_t full_us; /* when its bucket is full again */
	uint64_t suppressed;
};

struct log {
	enum log_level level; /* what is below is not written */
	enum log_format format;
	char name[LOG_NAME_SIZE]; /* of the process, such as "media.0" */
	struct log_sink sink;
	uint64_t lines;	     /* written */
	uint64_t suppressed; /* held back by the rate limit */
	uint64_t lost;	     /* refused by the sink */
	uint64_t lost_told;  /* of these, already reported */
	struct log_site_state sites[LOG_SITES];
};

enum log_type { LOG_I64, LOG_U64, LOG_F64, LOG_BOOL, LOG_STRING };

struct log_field {
	const char *key;
	enum log_type type;
	union {
		int64_t i64;
		uint64_t u64;
		double f64;
		const char *string;
	};
};

/* `name` is copied (and cut). */
void log_init(struct log *log, const char *name, enum log_level level, enum log_format format,
	const struct log_sink *sink);

/* The live sink: real time, standard error. A full pipe loses lines instead of blocking. */
struct log_sink log_sink_stderr(void);

/* Writes what was suppressed since each site's last line; call about once a second. */
void log_flush(struct log *log);

/* Used by the macros below. */
void log_write(
	struct log *log, const struct log_site *site, const struct log_field *fields, size_t count);

/* Formats one line into `line` (LOG_LINE_MAX bytes). Returns its size, newline included. */
size_t log_format_line(char *line, enum log_format format, int64_t unix_us, const char *name,
	enum log_level level, const char *event, const struct log_field *fields, size_t count);

/* "debug", "info", "warn", "error"; "unknown" for a value out of range. */
const char *log_level_name(enum log_level level);

#define log_debug(to, ...) LOG_AT(to, LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(to, ...)  LOG_AT(to, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(to, ...)  LOG_AT(to, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(to, ...) LOG_AT(to, LOG_LEVEL_ERROR, __VA_ARGS__)

/* The level is looked at first: a line that is not wanted costs one comparison. */
#define LOG_AT(to, at, ...)                                   \
	do {                                                  \
		struct log *log_to_ = (to);                   \
		if ((at) >= log_to_->level)                   \
			LOG_EVENT_(log_to_, at, __VA_ARGS__); \
	} while (0)

#define LOG_EVENT_(to, at, ...) LOG_CAT_(LOG_EVENT_, LOG_COUNT_(__VA_ARGS__))(to, at, __VA_ARGS__)
#define LOG_CAT_(a, b)		LOG_CAT__(a, b)
#define LOG_CAT__(a, b)		a##b

static inline struct log_field log_field_i64(const char *key, int64_t value)
{
	return (struct log_field){.key = key, .type = LOG_I64, .i64 = value};
}

static inline struct log_field log_field_u64(const char *key, uint64_t value)
{
	return (struct log_field){.key = key, .type = LOG_U64, .u64 = value};
}

static inline struct log_field log_field_f64(const char *key, double value)
{
	return (struct log_field){.key = key, .type = LOG_F64, .f64 = value};
}

static inline struct log_field log_field_bool(const char *key, bool value)
{
	return (struct log_field){.key = key, .type = LOG_BOOL, .u64 = value};
}

static inline struct log_field log_field_string(const char *key, const char *value)
{
	return (struct log_field){.key = key, .type = LOG_STRING, .string = value};
}

// clang-format off
#define LOG_FIELD_(key, value)                                                                     \
	_Generic((value),                                                                          \
		bool: log_field_bool,                                                              \
		char: log_field_i64, signed char: log_field_i64, unsigned char: log_field_u64,     \
		short: log_field_i64, unsigned short: log_field_u64,                               \
		int: log_field_i64, unsigned: log_field_u64,                                       \
		long: log_field_i64, unsigned long: log_field_u64,                                 \
		long long: log_field_i64, unsigned long long: log_field_u64,                       \
		float: log_field_f64, double: log_field_f64,                                       \
		char *: log_field_string, const char *: log_field_string)(key, value)

/* 1 + 2 × LOG_FIELDS_MAX arguments at most; an even count (a key without value) does not compile */
#define LOG_COUNT_(...) LOG_COUNT__(__VA_ARGS__, 12, BAD, 11, BAD, 10, BAD, 9, BAD, 8, BAD, 7,     \
	BAD, 6, BAD, 5, BAD, 4, BAD, 3, BAD, 2, BAD, 1, BAD, 0, )
#define LOG_COUNT__(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y,     \
	count, ...) count

#define LOG_EVENT_0(to, at, name)                                                                 \
	do {                                                                                       \
		static const struct log_site log_site_ = {(at), name};                             \
		log_write(to, &log_site_, NULL, 0);                                               \
	} while (0)
#define LOG_EVENT_SOME_(to, at, name, ...)                                                        \
	do {                                                                                       \
		static const struct log_site log_site_ = {(at), name};                             \
		const struct log_field log_fields_[] = {__VA_ARGS__};                              \
		log_write(to, &log_site_, log_fields_,                                            \
			sizeof(log_fields_) / sizeof(log_fields_[0]));                             \
	} while (0)
#define LOG_EVENT_1(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F1_(__VA_ARGS__))
#define LOG_EVENT_2(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F2_(__VA_ARGS__))
#define LOG_EVENT_3(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F3_(__VA_ARGS__))
#define LOG_EVENT_4(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F4_(__VA_ARGS__))
#define LOG_EVENT_5(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F5_(__VA_ARGS__))
#define LOG_EVENT_6(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F6_(__VA_ARGS__))
#define LOG_EVENT_7(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F7_(__VA_ARGS__))
#define LOG_EVENT_8(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F8_(__VA_ARGS__))
#define LOG_EVENT_9(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F9_(__VA_ARGS__))
#define LOG_EVENT_10(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F10_(__VA_ARGS__))
#define LOG_EVENT_11(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F11_(__VA_ARGS__))
#define LOG_EVENT_12(l, at, n, ...) LOG_EVENT_SOME_(l, at, n, LOG_F12_(__VA_ARGS__))
#define LOG_F1_(k, v) LOG_FIELD_(k, v)
#define LOG_F2_(k, v, ...) LOG_FIELD_(k, v), LOG_F1_(__VA_ARGS__)
#define LOG_F3_(k, v, ...) LOG_FIELD_(k, v), LOG_F2_(__VA_ARGS__)
#define LOG_F4_(k, v, ...) LOG_FIELD_(k, v), LOG_F3_(__VA_ARGS__)
#define LOG_F5_(k, v, ...) LOG_FIELD_(k, v), LOG_F4_(__VA_ARGS__)
#define LOG_F6_(k, v, ...) LOG_FIELD_(k, v), LOG_F5_(__VA_ARGS__)
#define LOG_F7_(k, v, ...) LOG_FIELD_(k, v), LOG_F6_(__VA_ARGS__)
#define LOG_F8_(k, v, ...) LOG_FIELD_(k, v), LOG_F7_(__VA_ARGS__)
#define LOG_F9_(k, v, ...) LOG_FIELD_(k, v), LOG_F8_(__VA_ARGS__)
#define LOG_F10_(k, v, ...) LOG_FIELD_(k, v), LOG_F9_(__VA_ARGS__)
#define LOG_F11_(k, v, ...) LOG_FIELD_(k, v), LOG_F10_(__VA_ARGS__)
#define LOG_F12_(k, v, ...) LOG_FIELD_(k, v), LOG_F11_(__VA_ARGS__)
// clang-format on

#endif
