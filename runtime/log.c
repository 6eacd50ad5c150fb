/* SPDX-License-Identifier: Apache-2.0
 *
 * Formatting and rate limiting of log lines. A line is built in a bounded buffer in which room for
 * its end is held back, so that a line cut short is still a whole line (and whole JSON).
 */
#include "runtime/log.h"

#include "schemas/err.h"

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	TAIL_RESERVED = 24, /* ,"truncated":true}\n and a closing quote */
	SITE_PROBES = 8,
	SITE_COST_US = 1000000 / LOG_RATE_PER_S,
};

/* A line in the making; `used` never passes `limit`. */
struct line {
	char *at;
	size_t used;
	size_t limit;
	bool full;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

const char *log_level_name(enum log_level level)
{
	return (unsigned)level <= LOG_LEVEL_ERROR ? level_names[level] : "unknown";
}

static void line_add(struct line *line, const char *bytes, size_t size)
{
	if (line->full || line->limit - line->used < size) {
		line->full = true;
		return;
	}
	memcpy(line->at + line->used, bytes, size);
	line->used += size;
}

static void line_text(struct line *line, const char *text)
{
	line_add(line, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void line_format(
	struct line *line, const char *format, ...)
{
	char text[64];
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	MUST(size >= 0 && (size_t)size < sizeof(text));
	line_add(line, text, (size_t)size);
}

/* Length of the well-formed UTF-8 sequence at `p` (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
			: p[0] >= 0xe0 && p[0] <= 0xef ? 3
			: p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						       : 0;

	for (size_t i = 1; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

/* Both formats quote alike; a byte that is not UTF-8 becomes the code point of its value. */
static void line_quoted(struct line *line, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	line_text(line, "\"");
	while (*p && !line->full) {
		size_t length = utf8_length(p);

		if (*p == '"' || *p == '\\')
			line_add(line, (const char[]){'\\', (char)*p}, 2);
		else if (*p >= 0x20 && *p < 0x7f)
			line_add(line, (const char *)p, 1);
		else if (length)
			line_add(line, (const char *)p, length);
		else
			line_format(line, "\\u%04x", *p);
		p += length ? length : 1;
	}
	line_text(line, "\"");
}

static bool is_plain(const char *text)
{
	if (!*text)
		return false;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == '"' || *p == '=' || *p == '\\')
			return false;
	return true;
}

static void line_value(struct line *line, enum log_format format, const struct log_field *field)
{
	switch (field->type) {
	case LOG_I64: line_format(line, "%" PRId64, field->i64); break;
	case LOG_U64: line_format(line, "%" PRIu64, field->u64); break;
	case LOG_F64:
		/* JSON has no word for these */
		if (isfinite(field->f64))
			line_format(line, "%.6g", field->f64);
		else
			line_text(line, "null");
		break;
	case LOG_BOOL: line_text(line, field->u64 ? "true" : "false"); break;
	case LOG_STRING:
		if (!field->string)
			line_text(line, "null");
		else if (format == LOG_FORMAT_TEXT && is_plain(field->string))
			line_text(line, field->string);
		else
			line_quoted(line, field->string);
		break;
	}
}

static void line_field(struct line *line, enum log_format format, const struct log_field *field)
{
	if (format == LOG_FORMAT_JSON) {
		line_text(line, ",");
		line_quoted(line, field->key);
		line_text(line, ":");
	} else {
		line_text(line, " ");
		line_text(line, field->key);
		line_text(line, "=");
	}
	line_value(line, format, field);
}

static void line_time(struct line *line, int64_t unix_us)
{
	time_t seconds = (time_t)(unix_us / 1000000);
	int micros = (int)(unix_us % 1000000);
	struct tm tm;

	if (micros < 0) {
		micros += 1000000;
		seconds--;
	}
	if (!gmtime_r(&seconds, &tm)) {
		line_text(line, "?");
		return;
	}
	line_format(line, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, micros);
}

static void line_head(struct line *line, enum log_format format, int64_t unix_us, const char *name,
	enum log_level level, const char *event)
{
	if (format == LOG_FORMAT_JSON) {
		line_text(line, "{\"time\":\"");
		line_time(line, unix_us);
		line_text(line, "\",\"level\":\"");
		line_text(line, log_level_name(level));
		line_text(line, "\",\"process\":");
		line_quoted(line, name);
		line_text(line, ",\"event\":");
		line_quoted(line, event);
		return;
	}
	line_time(line, unix_us);
	line_format(line, " %-5s ", log_level_name(level));
	line_text(line, name);
	line_text(line, " ");
	line_text(line, event);
}

size_t log_format_line(char *buffer, enum log_format format, int64_t unix_us, const char *name,
	enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	struct line line = {.at = buffer, .limit = LOG_LINE_MAX - TAIL_RESERVED};

	line_head(&line, format, unix_us, name, level, event);
	for (size_t i = 0; i < count && !line.full; i++) {
		size_t whole = line.used;

		line_field(&line, format, &fields[i]);
		/* half a field would be half a truth */
		if (line.full)
			line.used = whole;
	}
	bool truncated = line.full;
	line.limit = LOG_LINE_MAX;
	line.full = false;
	if (truncated)
		line_text(&line,
			format == LOG_FORMAT_JSON ? ",\"truncated\":true" : " truncated=true");
	line_text(&line, format == LOG_FORMAT_JSON ? "}\n" : "\n");
	return line.used;
}

void log_init(struct log *log, const char *name, enum log_level level, enum log_format format,
	const struct log_sink *sink)
{
	*log = (struct log){.level = level, .format = format, .sink = *sink};
	snprintf(log->name, sizeof(log->name), "%s", name);
}

/* Open addressing by address; where all probes are taken, sites share the first place. */
static struct log_site_state *find_site(struct log *log, const struct log_site *site)
{
	size_t home = ((uintptr_t)site >> 4) * 2654435761u % LOG_SITES;

	for (size_t i = 0; i < SITE_PROBES; i++) {
		struct log_site_state *state = &log->sites[(home + i) % LOG_SITES];

		if (!state->site)
			state->site = site;
		if (state->site == site)
			return state;
	}
	return &log->sites[home];
}

static void emit(struct log *log, int64_t now_us, const struct log_site *site,
	const struct log_field *fields, size_t count, uint64_t suppressed)
{
	struct log_field all[LOG_FIELDS_MAX + 2];
	char line[LOG_LINE_MAX];

	MUST(count <= LOG_FIELDS_MAX);
	if (count)
		memcpy(all, fields, count * sizeof(*fields));
	if (suppressed)
		all[count++] = log_field_u64("suppressed", suppressed);
	if (log->lost > log->lost_told)
		all[count++] = log_field_u64("lines_lost", log->lost - log->lost_told);
	size_t size = log_format_line(
		line, log->format, now_us, log->name, site->level, site->event, all, count);
	if (!log->sink.write(log->sink.context, line, size)) {
		log->lost++;
		return;
	}
	log->lost_told = log->lost;
	log->lines++;
}

/* A bucket of LOG_BURST lines, kept as the time at which it is full again. */
void log_write(
	struct log *log, const struct log_site *site, const struct log_field *fields, size_t count)
{
	struct log_site_state *state = find_site(log, site);
	int64_t now_us = log->sink.now_us(log->sink.context);
	int64_t burst_us = (int64_t)LOG_BURST * SITE_COST_US;

	/* also heals a clock that was set back */
	if (state->full_us < now_us || state->full_us > now_us + burst_us)
		state->full_us = now_us;
	if (state->full_us + SITE_COST_US > now_us + burst_us) {
		state->suppressed++;
		log->suppressed++;
		return;
	}
	state->full_us += SITE_COST_US;
	emit(log, now_us, site, fields, count, state->suppressed);
	state->suppressed = 0;
}

void log_flush(struct log *log)
{
	int64_t now_us = log->sink.now_us(log->sink.context);

	for (size_t i = 0; i < LOG_SITES; i++) {
		struct log_site_state *state = &log->sites[i];

		if (!state->suppressed)
			continue;
		emit(log, now_us, state->site, NULL, 0, state->suppressed);
		state->suppressed = 0;
	}
}

static int64_t real_now_us(void *context)
{
	struct timespec now;

	(void)context;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Standard error belongs to others too, so it is not made non-blocking; a pipe that polls writable
 * takes PIPE_BUF bytes, which is more than a line, without blocking. */
static bool write_stderr(void *context, const char *line, size_t size)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	(void)context;
	if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
		return false;
	return write(STDERR_FILENO, line, size) == (ssize_t)size;
}

struct log_sink log_sink_stderr(void)
{
	return (struct log_sink){.now_us = real_now_us, .write = write_stderr};
}
