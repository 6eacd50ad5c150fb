/* SPDX-License-Identifier: Apache-2.0
 *
 * `why`: what an actor waits for and what it drops, in words with the counters behind them. Read
 * from what `inspect` says of it and of its stream, so that it costs the worker no more than that,
 * and secrets are blanked already.
 *
 * What is dropped: every counter of the state that counts losses has a sentence in the table; a
 * counter without one is told by its name. What is waited for: a function a type, by phase.
 */
#include "cluster/console_view.h"

#include <stdarg.h>
#include <stdio.h>

enum { SENTENCE_MAX = 240 };

struct why {
	const json_t *state;  /* of the actor, as `inspect` shows it */
	const json_t *stream; /* state of the stream it belongs to; NULL = none, or not found */
	const char *stream_phase;
	json_t *waits; /* sentences */
	json_t *notes;
	json_t *drops; /* {count, what} */
};

static __attribute__((format(printf, 2, 3))) void say(json_t *list, const char *format, ...)
{
	char text[SENTENCE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(list, json_string(text));
}

static long long number(const json_t *state, const char *field)
{
	return (long long)json_integer_value(json_object_get(state, field));
}

static const char *text_of(const json_t *state, const char *field)
{
	const char *text = json_string_value(json_object_get(state, field));

	return text ? text : "";
}

static bool is_true(const json_t *state, const char *field)
{
	return json_is_true(json_object_get(state, field));
}

static bool is_phase(const char *phase, const char *name)
{
	return !strcmp(phase, name);
}

static bool has_address(const json_t *state, const char *field)
{
	const char *text = text_of(state, field);

	return *text && strcmp(text, "0/0");
}

/* A field of every item of a list, added up. */
static long long sum(const json_t *list, const char *field)
{
	long long total = 0;
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)list, i, item)
	{
		total += number(item, field);
	}
	return total;
}

/* ---- what is dropped ------------------------------------------------------------------------- */

static const struct {
	const char *type; /* NULL = any */
	const char *field;
	const char *what;
	bool of_tracks; /* in every item of "tracks" */
} losses[] = {
	// clang-format off
	{"session", "dropped_slow", "packets left out because the viewer takes less than the stream brings (least important first)"},
	{"session", "dropped_b_frames", "packets of B-frames left out: browsers do not reorder them"},
	{"session", "dropped_before_keyframe", "packets before the first keyframe: they could not be decoded"},
	{"session", "dropped_behind", "packets that the stream had forgotten before they could be sent"},
	{"session", "dropped_unknown", "packets of no track that was agreed on"},
	{"session", "dropped_socket_full", "packets that the socket did not take: the host's send buffer was full"},
	{"session", "srtp_replayed", "packets refused as replays"},
	{"session", "srtp_unauthentic", "packets refused because they do not authenticate (wrong key, or forged)"},
	{"session", "given_up", "packets given up: never came, or could not be sent again", true},
	{"session", "late", "packets that came too late", true},
	{"session", "malformed", "payloads refused as malformed", true},
	{"session", "dropped", "packets of a track left out on purpose", true},
	{"stream", "dropped_waiting_keyframe", "packets before the source's first keyframe"},
	{"stream", "dropped_standby", "packets of publishers that stand by"},
	{"stream", "dropped_duplicate", "packets that had come before"},
	{"stream", "dropped_too_late", "packets that came when their place in the log was gone"},
	{"stream", "dropped_not_source", "packets from somebody who is not the publisher (any more)"},
	{"stream", "holes", "positions that never came from the origin's worker"},
	{"rtmp_session", "dropped_waiting_keyframe", "packets before the first keyframe"},
	{"rtmp_session", "dropped_no_config", "frames before the codec's configuration had come"},
	{"rtmp_session", "dropped_bad_config", "codec configurations that could not be read"},
	{"rtmp_session", "dropped_bad_frame", "frames that could not be read"},
	{"rtmp_session", "dropped_codec", "messages of a codec that is not carried"},
	{"rtmp_session", "dropped_malformed", "messages that could not be read"},
	{"rtmp_session", "tags_dropped", "FLV tags left out: the player reads more slowly than the stream comes"},
	{"rtmp_session", "dropped_not_legal", "messages at a time at which they are not legal"},
	{"flv_mux", "frames_lost", "frames broken on the way, or before a keyframe"},
	{"http_connection", "tags_dropped", "FLV tags left out: the viewer reads more slowly than the stream comes"},
	{"transcoder", "lost", "packets that never came"},
	{"transcoder", "late", "packets that came when their time was over"},
	{"transcoder", "damaged", "frames that could not be put together"},
	{"transcoder", "corrupt", "frames that did not decode"},
	{"transcoder", "encoder_lost", "frames that the encoder swallowed"},
	{"transcoder", "dropped_stray", "packets of another stream or track"},
	{"rtc_port", "tcp_dropped", "packets that a slow ICE-TCP connection did not take"},
	{"rtc_port", "unknown_rtp", "RTP packets of no session"},
	{"rtc_port", "unknown_stun", "STUN packets of no session"},
	{"rtc_port", "unknown_dtls", "DTLS packets of no session"},
	{"rtc_port", "unknown_other", "packets that are none of STUN, DTLS, RTP"},
	{NULL, "dropped_no_slot", "packets for which the worker's packet pool had no room (see arena)"},
	{NULL, "refused_rate", "requests refused: too many from one address"},
	// clang-format on
};

static void add_loss(struct why *why, long long count, const char *what)
{
	if (count > 0)
		json_array_append_new(why->drops,
			json_pack("{s:I, s:s}", "count", (json_int_t)count, "what", what));
}

static bool is_told(const char *type, const char *field)
{
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++)
		if (!losses[i].of_tracks && !strcmp(losses[i].field, field) &&
			(!losses[i].type || !strcmp(losses[i].type, type)))
			return true;
	return false;
}

/* dropped_x, refused and refused_x that have no sentence of their own. */
static void add_plain_losses(struct why *why, const char *type)
{
	const char *field;
	char what[80];
	json_t *value;

	json_object_foreach((json_t *)why->state, field, value)
	{
		bool is_loss = !strncmp(field, "dropped", 7) || !strncmp(field, "refused", 7);

		if (!is_loss || !json_is_integer(value) || is_told(type, field))
			continue;
		text_copy(what, sizeof(what), field);
		for (char *at = what; *at; at++)
			*at = *at == '_' ? ' ' : *at;
		add_loss(why, (long long)json_integer_value(value), what);
	}
}

static void add_losses(struct why *why, const char *type)
{
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		if (losses[i].type && strcmp(losses[i].type, type))
			continue;
		add_loss(why,
			losses[i].of_tracks
				? sum(json_object_get(why->state, "tracks"), losses[i].field)
				: number(why->state, losses[i].field),
			losses[i].what);
	}
	add_plain_losses(why, type);
}

/* ---- what is waited for ---------------------------------------------------------------------- */

static const char *name_or(const json_t *state, const char *field, const char *other)
{
	const char *text = text_of(state, field);

	return *text ? text : other;
}

/* Of a stream, asked for itself or by one who reads it. */
static void stream_waits(struct why *why, const json_t *stream, const char *phase)
{
	const char *wanted = text_of(stream, "transcode_wanted");
	const char *name = name_or(stream, "name", "the stream");
	json_t *map;
	size_t i;

	if (is_phase(phase, "claiming"))
		say(why->waits, "directory: whether the name %s is free", name);
	if (is_phase(phase, "joining"))
		say(why->waits, "origin: the worker that has %s has not answered yet", name);
	if (is_phase(phase, "orphaned") ||
		(is_true(stream, "replica") && !is_true(stream, "source_live")))
		say(why->waits, "publisher: nobody publishes %s at present", name);
	json_array_foreach(json_object_get(stream, "maps"), i, map)
	{
		if (is_true(map, "wants_keyframe") && number(map, "last_seq"))
			say(why->waits,
				"keyframe: track %zu of %s goes on at the next one (%lld asked "
				"for)",
				i, name, number(stream, "keyframe_requests"));
	}
	if (*wanted && strcmp(wanted, "none") && !has_address(stream, "transcoder"))
		say(why->waits, "transcoder: no helper makes the %s track of %s yet", wanted, name);
}

static const char stands_by[] = "stands by: somebody else's pictures of %s are shown";

static void session_connects(struct why *why)
{
	const char *remote = text_of(why->state, "remote");

	if (!number(why->state, "stun_checks"))
		say(why->waits,
			"ICE: no connectivity check has come from the client; it may not reach our "
			"candidates (advertise, firewall), or has not begun");
	else if (!*remote)
		say(why->waits, "ICE: %lld checks have come, no pair is chosen yet",
			number(why->state, "stun_checks"));
	else
		say(why->waits, "DTLS: the handshake with %s is not complete", remote);
}

static void session_waits(struct why *why, const char *phase)
{
	bool play = is_true(why->state, "play");
	const char *name = name_or(why->state, "stream_name", "the stream");
	json_t *track;
	size_t i;

	if (is_phase(phase, "starting"))
		say(why->waits,
			play ? "publisher: nobody publishes %s yet"
			     : "stream: whether %s may be published here",
			name);
	if (is_phase(phase, "connecting"))
		session_connects(why);
	if (!is_phase(phase, "up"))
		return;
	if (why->stream && play)
		stream_waits(why, why->stream, why->stream_phase);
	json_array_foreach(json_object_get(why->state, "tracks"), i, track)
	{
		if (is_true(track, "stopped"))
			say(why->waits,
				"codec: the source of track %zu sends one that was not agreed on",
				i);
		else if (!number(track, "packets") && play)
			say(why->waits, "keyframe: nothing of the %s track has been sent yet",
				text_of(track, "codec"));
		else if (!number(track, "packets"))
			say(why->waits, "media: no packet of the %s track has come from %s",
				text_of(track, "codec"), text_of(why->state, "remote"));
	}
	if (is_true(why->state, "standby"))
		say(why->notes, stands_by, name);
	say(why->notes, "%s with %s: %lld kbit/s, loss %.1f %%, round trip %.1f ms",
		play ? "plays" : "publishes", text_of(why->state, "remote"),
		number(why->state, "bitrate_bps") / 1000,
		(double)number(why->state, "loss_ppm") / 10000,
		(double)number(why->state, "rtt_us") / 1000);
}

static void rtmp_waits(struct why *why, const char *phase)
{
	if (is_phase(phase, "connected"))
		say(why->waits, "client: %s has not asked to publish or play",
			text_of(why->state, "client"));
	if (is_phase(phase, "asking"))
		say(why->waits, "stream: whether %s may be published",
			text_of(why->state, "stream_name"));
	if (is_phase(phase, "opening"))
		say(why->waits, "muxer: whether %s can be played",
			text_of(why->state, "stream_name"));
	if (is_phase(phase, "playing") && !number(why->state, "bytes_out"))
		say(why->waits, "media: nothing has been sent to %s yet",
			text_of(why->state, "client"));
	if (is_phase(phase, "playing"))
		say(why->notes, "plays %lld kbit/s, %lld ms behind the newest tag",
			number(why->state, "bitrate_bps") / 1000,
			number(why->state, "lag_us") / 1000);
	if (!is_phase(phase, "publishing"))
		return;
	if (!number(why->state, "video_frames") && !number(why->state, "audio_frames"))
		say(why->waits, "media: no frame has come from %s", text_of(why->state, "client"));
	if (is_true(why->state, "standby"))
		say(why->notes, stands_by, text_of(why->state, "stream_name"));
	say(why->notes, "publishes %lld kbit/s of video, %lld of audio, %.1f frames a second",
		number(why->state, "video_bps") / 1000, number(why->state, "audio_bps") / 1000,
		(double)number(why->state, "frame_rate_milli") / 1000);
}

static void mux_waits(struct why *why, const char *phase)
{
	if (is_phase(phase, "joining"))
		say(why->waits, "stream: the answer of %s", text_of(why->state, "name"));
	if (is_phase(phase, "waiting"))
		say(why->waits, "keyframe: nothing can begin before one and its configuration");
	if (is_phase(phase, "pictureless"))
		say(why->waits, "codec: a picture of %s that FLV can carry",
			text_of(why->state, "name"));
	if (is_phase(phase, "trackless"))
		say(why->waits, "tracks: FLV can carry none of those that %s has",
			text_of(why->state, "name"));
	if (why->stream)
		stream_waits(why, why->stream, why->stream_phase);
	say(why->notes, "%zu viewers, %lld tags made",
		json_array_size(json_object_get(why->state, "viewers")),
		number(why->state, "tags"));
}

static void http_waits(struct why *why, const char *phase)
{
	if (is_phase(phase, "open"))
		say(why->waits, "client: the next request of %s", text_of(why->state, "peer"));
	if (is_phase(phase, "asking"))
		say(why->waits, "node: an answer for %s",
			name_or(why->state, "stream", "a request"));
	if (is_phase(phase, "streaming"))
		say(why->notes, "plays %s, %lld bytes so far; its muxer is %s",
			text_of(why->state, "stream"), number(why->state, "bytes_out"),
			text_of(why->state, "muxer"));
}

static void transcoder_waits(struct why *why, const char *phase)
{
	if (is_phase(phase, "subscribing"))
		say(why->waits, "stream: the answer of %s", text_of(why->state, "stream_name"));
	else if (!number(why->state, "frames_in"))
		say(why->waits, "media: no frame of %s has come",
			text_of(why->state, "stream_name"));
	if (why->stream)
		stream_waits(why, why->stream, why->stream_phase);
	say(why->notes, "%lld frames in, %lld out, %lld us of processor each",
		number(why->state, "frames_in"), number(why->state, "frames_out"),
		number(why->state, "us_per_frame"));
}

static void own_stream_waits(struct why *why, const char *phase)
{
	stream_waits(why, why->state, phase);
	if (number(why->state, "switches"))
		say(why->notes,
			"switched %lld times to a publisher that stood by, last after %lld ms",
			number(why->state, "switches"), number(why->state, "switched_after_ms"));
	say(why->notes, "%s of %lld kbit/s, %lld viewers, %lld packets",
		is_true(why->state, "replica") ? "a copy" : "the origin",
		number(why->state, "bitrate_bps") / 1000, number(why->state, "viewers"),
		number(why->state, "packets"));
}

static void office_waits(struct why *why, const char *phase)
{
	(void)phase;
	if (is_true(why->state, "draining"))
		say(why->notes, "this worker is about to end: nothing new is taken");
	if (is_true(why->state, "closed"))
		say(why->notes, "the node drains: no new sessions are taken");
	if (is_true(why->state, "paused"))
		say(why->notes, "the listener rests: another worker has clearly less load, or this "
				"one is full");
}

static void directory_waits(struct why *why, const char *phase)
{
	size_t waiters = json_array_size(json_object_get(why->state, "waiters"));

	if (is_phase(phase, "loading"))
		say(why->waits, "store: the names kept there");
	if (is_phase(phase, "gathering"))
		say(why->waits, "workers: their streams claim their names again");
	if (waiters)
		say(why->notes, "%zu wait for a name", waiters);
}

static const struct {
	const char *type;
	void (*waits)(struct why *why, const char *phase);
} types[] = {
	// clang-format off
	{"session", session_waits},
	{"rtmp_session", rtmp_waits},
	{"stream", own_stream_waits},
	{"flv_mux", mux_waits},
	{"http_connection", http_waits},
	{"transcoder", transcoder_waits},
	{"directory", directory_waits},
	{"http_office", office_waits},
	{"rtmp_office", office_waits},
	{"rtc_port", office_waits},
	{"process_office", office_waits},
	// clang-format on
};

json_t *console_view_why(const struct console_reply *reply)
{
	struct why why = {
		.state = json_object_get(reply->subject, "state"),
		.stream = json_object_get(reply->document, "state"),
		.stream_phase = text_of(reply->document, "state_name"),
		.waits = json_array(),
		.notes = json_array(),
		.drops = json_array(),
	};
	const char *type = text_of(reply->subject, "type");
	const char *phase = text_of(reply->subject, "state_name");
	long long waiting = number(reply->subject, "mailbox");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].type, type))
			types[i].waits(&why, phase);
	if (waiting)
		say(why.notes, "%lld mails wait in its mailbox", waiting);
	if (number(reply->subject, "refused"))
		add_loss(&why, number(reply->subject, "refused"),
			"mails refused because its mailbox was full");
	add_losses(&why, type);
	return json_pack("{s:O?, s:O?, s:O?, s:O?, s:o, s:o, s:o}", "addr",
		json_object_get(reply->subject, "addr"), "type",
		json_object_get(reply->subject, "type"), "name",
		json_object_get(reply->subject, "name"), "state_name",
		json_object_get(reply->subject, "state_name"), "waits", why.waits, "drops",
		why.drops, "notes", why.notes);
}
