/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/board.h"

#include "cluster/console_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- the state ------------------------------------------------------------------------------- */

void board_stamp(json_t *answer, int64_t wall_ms)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "rows"), i, row)
	{
		json_int_t age_ms = json_integer_value(json_object_get(row, "age_ms"));

		json_object_set_new(row, "since", json_integer((wall_ms - age_ms + 500) / 1000));
	}
}

/* Ages are a little late, each time by another little: what has begun keeps its first time. */
static void keep_since(json_t *row, const json_t *before)
{
	json_t *known = json_object_get(before, "since");
	json_int_t since = json_integer_value(json_object_get(row, "since"));

	if (known && llabs(since - json_integer_value(known)) <= 2)
		json_object_set(row, "since", known);
}

/* Takes `row`: without what stands elsewhere, and without nulls (they would mean "remove"). */
static json_t *tidy(json_t *row, const json_t *before)
{
	static const char *const dropped[] = {"age_ms", "name", "id", "addr", "type"};
	const char *key;
	json_t *value;
	void *next;

	keep_since(row, before);
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		json_object_del(row, dropped[i]);
	json_object_foreach_safe(row, next, key, value)
	{
		if (json_is_null(value))
			json_object_del(row, key);
	}
	return row;
}

/* An array of rows as an object by the text under `key`. Takes the rows. */
static json_t *by_key(json_t *rows, const char *key, const json_t *before)
{
	json_t *result = json_object();
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *text = json_string_value(json_object_get(row, key));
		json_t *name = json_incref(json_object_get(row, key));

		if (text)
			json_object_set(result, text, tidy(row, json_object_get(before, text)));
		json_decref(name);
	}
	json_decref(rows);
	return result;
}

static json_t *workers_of(const struct console_reply *reply)
{
	json_t *rows = console_view_workers(reply);
	json_t *result = json_object();
	char name[48];
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *role = json_string_value(json_object_get(row, "role"));

		snprintf(name, sizeof(name), "%s.%d", role ? role : "",
			(int)json_integer_value(json_object_get(row, "worker")));
		json_object_set(result, name, row);
	}
	json_decref(rows);
	return result;
}

static json_t *node_of(const struct console_reply *reply)
{
	json_t *rows = console_view_nodes(reply);
	json_t *node = json_incref(json_array_get(rows, 0));

	json_decref(rows);
	return node;
}

/* The rows of all answers, as a copy: they are changed, and the answers are kept. */
static json_t *rows_of(const json_t *answers, bool *more)
{
	json_t *rows = json_array();
	json_t *answer, *copy;
	size_t i;

	json_array_foreach(answers, i, answer)
	{
		*more = *more || json_is_string(json_object_get(answer, "next"));
		copy = json_deep_copy(json_object_get(answer, "rows"));
		json_array_extend(rows, copy);
		json_decref(copy);
	}
	return rows;
}

/* How many the workers have, by their `key`, that are not among those listed. */
static json_int_t left_out(const json_t *workers, const char *key, size_t listed)
{
	json_int_t count = -(json_int_t)listed;
	const char *name;
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)workers, name, row) count +=
		json_integer_value(json_object_get(row, key));
	return count > 0 ? count : 1;
}

static size_t size_of(const json_t *value)
{
	return json_dumpb(value, NULL, 0, BOARD_JSON);
}

/* Adds whole rows of `rows` to `kept` while they fit: those that `before` has, or the others.
 * Returns the bytes that are left. */
static size_t keep_rows(
	json_t *kept, const json_t *rows, const json_t *before, bool known, size_t room)
{
	const char *key;
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)rows, key, row)
	{
		size_t size = strlen(key) + sizeof("\"\":,") - 1 + size_of(row);

		if (known == (json_object_get(before, key) != NULL) && size <= room &&
			!json_object_set(kept, key, row))
			room -= size;
	}
	return room;
}

/* As many rows as `room` bytes hold, whole: a patch is only ever of rows that a page has. Whom pages
 * have stays. Takes `rows`; how many do not fit is added to *more, *room is what is left. */
static json_t *fitting(json_t *rows, const json_t *before, size_t *room, json_int_t *more)
{
	json_t *kept = json_object();

	*room = keep_rows(kept, rows, before, true, *room);
	*room = keep_rows(kept, rows, before, false, *room);
	*more += (json_int_t)(json_object_size(rows) - json_object_size(kept));
	json_decref(rows);
	return kept;
}

json_t *board_state(
	struct runtime *rt, const json_t *streams, const json_t *sessions, const json_t *before)
{
	const json_t *were[] = {
		json_object_get(before, "streams"), json_object_get(before, "sessions")};
	bool more = false, more_streams = false;
	struct console_reply reply = {.rt = rt, .rows = rows_of(streams, &more_streams)};
	json_t *node = node_of(&reply), *workers = workers_of(&reply);
	json_t *players = by_key(rows_of(sessions, &more), "id", were[1]);
	json_int_t left = more ? left_out(workers, "sessions", json_object_size(players)) : 0;
	json_int_t left_streams =
		more_streams ? left_out(workers, "streams", json_array_size(reply.rows)) : 0;
	size_t used = size_of(node) + size_of(workers);
	size_t room = used < BOARD_STATE_MAX ? BOARD_STATE_MAX - used : 0;
	size_t half = room / 2; /* streams leave the sessions so much */

	room -= half;
	streams = fitting(by_key(console_view_streams(&reply), "name", were[0]), were[0], &room,
		&left_streams);
	room += half;
	players = fitting(players, were[1], &room, &left);
	json_t *state = json_pack("{s:o?, s:o?, s:o?, s:o?, s:I, s:I}", "node", node, "workers",
		workers, "streams", streams, "sessions", players, "left_out", left,
		"streams_left_out", left_streams);

	json_decref(reply.rows);
	return state;
}

/* ---- patches --------------------------------------------------------------------------------- */

json_t *board_patch(const json_t *from, const json_t *to)
{
	json_t *patch = json_object();
	json_t *value, *change;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)to, key, value)
	{
		json_t *old = json_object_get(from, key);

		if (json_is_object(value) && json_is_object(old)) {
			change = board_patch(old, value);
			if (change)
				json_object_set_new(patch, key, change);
		} else if (!old || !json_equal(old, value)) {
			json_object_set(patch, key, value);
		}
	}
	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		if (!json_object_get(to, key))
			json_object_set_new(patch, key, json_null());
	}
	if (json_object_size(patch))
		return patch;
	json_decref(patch);
	return NULL;
}

/* ---- events ---------------------------------------------------------------------------------- */

struct telling {
	json_t *events;
	int64_t wall_ms;
	unsigned more; /* that there was no room for */
};

static __attribute__((format(printf, 4, 5))) void tell(
	struct telling *t, const char *level, const char *stream, const char *format, ...)
{
	char text[320];
	va_list arguments;
	json_t *event;

	if (json_array_size(t->events) >= BOARD_NEW_EVENTS_MAX) {
		t->more++;
		return;
	}
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	event = json_pack(
		"{s:I, s:s, s:s}", "at", (json_int_t)t->wall_ms, "level", level, "text", text);
	if (stream)
		json_object_set_new(event, "stream", json_string(stream));
	json_array_append_new(t->events, event);
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

/* Its process was killed, and the next one went on with its line. */
static bool tell_takeover(struct telling *t, const char *name, const json_t *was, const json_t *now)
{
	json_int_t times = number_of(now, "takeovers") - number_of(was, "takeovers");
	json_int_t lost = number_of(now, "damaged") + number_of(now, "poisoned") -
			  number_of(was, "damaged") - number_of(was, "poisoned");

	bool poisoned = number_of(now, "poisoned") > number_of(was, "poisoned");
	const char *who = poisoned ? text_of(now, "poisoned_last") : "";

	if (times <= 0 || number_of(was, "line") != number_of(now, "line"))
		return false;
	tell(t, lost ? "bad" : "warn", NULL,
		"%s was taken over: %d sessions, %d ms, %d left out%s%s (pid %d)", name,
		(int)number_of(now, "sessions"),
		(int)((number_of(now, "takeover_us") - number_of(was, "takeover_us")) / 1000),
		(int)lost, *who ? ": " : "", who, (int)number_of(now, "pid"));
	return true;
}

static void tell_workers(struct telling *t, const json_t *from, const json_t *to)
{
	const char *name;
	json_t *now;

	json_object_foreach((json_t *)(uintptr_t)to, name, now)
	{
		const json_t *was = json_object_get(from, name);
		bool ready = !strcmp(text_of(now, "state"), "ready");
		bool was_ready = !strcmp(text_of(was, "state"), "ready");
		bool other = was && number_of(was, "incarnation") != number_of(now, "incarnation");

		if (!was || !strcmp(text_of(now, "role"), "spare") ||
			tell_takeover(t, name, was, now))
			continue;
		if (was_ready && other)
			tell(t, "bad", NULL, "%s (pid %d) has ended", name,
				(int)number_of(was, "pid"));
		else if (was_ready && !ready)
			tell(t, strcmp(text_of(now, "state"), "dead") ? "warn" : "bad", NULL,
				"%s is %s", name, text_of(now, "state"));
		if (ready && (other || !was_ready))
			tell(t, "good", NULL, "%s is %s (pid %d)", name,
				number_of(now, "restarts") ? "back" : "ready",
				(int)number_of(now, "pid"));
	}
}

/* The picture as people write it: "H264 1280×720". */
static void picture_of(const json_t *stream, char *out, size_t size)
{
	const json_t *track;
	size_t i;

	out[0] = 0;
	json_array_foreach(json_object_get(stream, "tracks"), i, track)
	{
		if (!strcmp(text_of(track, "kind"), "video") && number_of(track, "width"))
			snprintf(out, size, ", %s %dx%d", text_of(track, "codec"),
				(int)number_of(track, "width"), (int)number_of(track, "height"));
	}
}

/* It has only now got room in the list. */
static bool was_left_out(const struct telling *t, const json_t *state, const json_t *row)
{
	return number_of(state, "streams_left_out") &&
	       number_of(row, "since") * 1000 < t->wall_ms - BOARD_BEGUN_MS;
}

static void tell_streams(struct telling *t, const json_t *before, const json_t *after)
{
	const json_t *from = json_object_get(before, "streams");
	const json_t *to = json_object_get(after, "streams");
	const char *name;
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)to, name, row)
	{
		const json_t *was = json_object_get(from, name);
		const char *publisher = text_of(row, "publisher");
		char picture[64];

		if (!was && was_left_out(t, before, row))
			continue;
		if (was && number_of(row, "switches") > number_of(was, "switches")) {
			tell(t, "warn", name, "%s: switched to standby (%s) after %d ms", name,
				text_of(row, "protocol"), (int)number_of(row, "switched_after_ms"));
		} else if (*publisher && strcmp(publisher, text_of(was, "publisher"))) {
			picture_of(row, picture, sizeof(picture));
			tell(t, "good", name, "%s is published by %s%s", name,
				text_of(row, "protocol"), picture);
		} else if (!*publisher && *text_of(was, "publisher")) {
			tell(t, "warn", name, "%s has lost its publisher", name);
		}
		if (was && number_of(row, "standbys") > number_of(was, "standbys"))
			tell(t, "info", name, "%s: a publisher stands by", name);
		if (json_is_true(json_object_get(row, "b_frames")) &&
			!json_is_true(json_object_get(was, "b_frames")))
			tell(t, "warn", name,
				"%s has B-frames: WebRTC viewers see it later, or less smoothly; "
				"encode without them (-bf 0)",
				name);
	}
	json_object_foreach((json_t *)(uintptr_t)from, name, row)
	{
		/* where some are left out it may be one of them */
		if (!json_object_get(to, name) && !number_of(after, "streams_left_out"))
			tell(t, "info", name, "%s is gone", name);
	}
}

/* Counts players of `in` that are not in `other`, by stream and protocol. */
static json_t *count_players(const json_t *in, const json_t *other)
{
	json_t *counts = json_object();
	const char *id;
	char key[160];
	json_t *row;

	json_object_foreach((json_t *)(uintptr_t)in, id, row)
	{
		if (!json_is_true(json_object_get(row, "play")) || json_object_get(other, id))
			continue;
		snprintf(key, sizeof(key), "%s %s", text_of(row, "stream"),
			text_of(row, "protocol"));
		json_object_set_new(counts, key,
			json_integer(json_integer_value(json_object_get(counts, key)) + 1));
	}
	return counts;
}

/* Many who come at once are one event. */
static void tell_players(struct telling *t, const json_t *in, const json_t *other, const char *what)
{
	json_t *counts = count_players(in, other);
	const char *key;
	json_t *count;

	json_object_foreach(counts, key, count)
	{
		int number = (int)json_integer_value(count);
		const char *space = strchr(key, ' ');
		char stream[128];

		snprintf(stream, sizeof(stream), "%.*s", (int)(space - key), key);
		tell(t, "info", stream, "%d viewer%s %s %s by %s", number, number == 1 ? "" : "s",
			what, stream, space + 1);
	}
	json_decref(counts);
}

json_t *board_events(const json_t *from, const json_t *to, int64_t wall_ms)
{
	struct telling t = {.events = json_array(), .wall_ms = wall_ms};
	const json_t *was = json_object_get(from, "sessions");
	const json_t *now = json_object_get(to, "sessions");

	if (!from)
		return t.events;
	tell_workers(&t, json_object_get(from, "workers"), json_object_get(to, "workers"));
	tell_streams(&t, from, to);
	/* whoever was only left out for want of room has neither come nor gone */
	if (!number_of(from, "left_out") && !number_of(to, "left_out")) {
		tell_players(&t, now, was, "joined");
		tell_players(&t, was, now, "left");
	}
	if (t.more) {
		unsigned more = t.more;

		json_array_remove(t.events, BOARD_NEW_EVENTS_MAX - 1);
		tell(&t, "info", NULL, "and %u more at once", more + 1);
	}
	return t.events;
}
