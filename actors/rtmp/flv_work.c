/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/flv_work.h"

#include <stdio.h>

enum {
	US = 1000,		/* microseconds a millisecond */
	DRIFT_SLEW_US = 30000,	/* a track's clock may differ from its captures by this … */
	DRIFT_STEP_US = 250,	/* … then it follows, so much a frame … */
	DRIFT_JUMP_US = 150000, /* … or at once */
	SILENCE_MS = 200,	/* of a source that changed; longer is left out … */
	SILENCE_LEFT_MS = 40,	/* … down to this */
	SOUND_WAITS_MS = 2000,	/* for the picture, when it begins anew */
	JUMP_AHEAD_MS = 10000,	/* a clock that jumped, whatever the flags say */
	JUMP_BACK_MS = 3000,
};

/* ---- tags into the log ----------------------------------------------------------------------- */

/* A tag to be written: its bytes are head, payload, tail. */
struct tag {
	struct flv_tag around;
	const uint8_t *payload;
	size_t payload_size;
	struct media_header header; /* of every packet; flags without START and END */
};

static size_t tag_size(const struct tag *tag)
{
	return tag->around.head_size + tag->payload_size + FLV_TAG_TRAILER_SIZE;
}

/* Copies bytes [at, at + size) of the tag. */
static void tag_copy(const struct tag *tag, size_t at, size_t size, uint8_t *out)
{
	const struct {
		const uint8_t *bytes;
		size_t size;
	} parts[] = {
		{tag->around.head, tag->around.head_size},
		{tag->payload,     tag->payload_size	},
		{tag->around.tail, FLV_TAG_TRAILER_SIZE },
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && size; i++) {
		if (at >= parts[i].size) {
			at -= parts[i].size;
			continue;
		}
		size_t take = parts[i].size - at < size ? parts[i].size - at : size;

		memcpy(out, parts[i].bytes + at, take);
		out += take;
		size -= take;
		at = 0;
	}
}

static bool has_room(const struct arena *arena, size_t packets)
{
	struct arena_usage usage;

	arena_usage(arena, &usage);
	return usage.count[ARENA_PACKET] - usage.used[ARENA_PACKET] >= packets;
}

struct turn {
	struct flv_desk *desk;
	struct flv_work *work; /* on it */
	uint8_t *video_frame;  /* the second one */
	struct arena *arena;
	const struct media_log *source;
	struct media_log *tags;
	uint64_t owner;
	int64_t now_us;
	struct flv_progress *progress;
};

/* Bytes of the tag's packet that begins at `at`. A trailer has something of the body before it: who
 * sends tags without their trailers has something to send of every packet. */
static size_t part_size(size_t size, size_t at)
{
	size_t left = size - at;

	if (left <= MEDIA_PAYLOAD_MAX)
		return left;
	return left - MEDIA_PAYLOAD_MAX > FLV_TAG_TRAILER_SIZE
		       ? MEDIA_PAYLOAD_MAX
		       : MEDIA_PAYLOAD_MAX - FLV_TAG_TRAILER_SIZE;
}

static bool put_tag(const struct turn *t, struct tag *tag)
{
	size_t size = tag_size(tag), part;

	if (!has_room(t->arena, size / MEDIA_PAYLOAD_MAX + 1)) {
		t->progress->no_slot++;
		return false;
	}
	tag->header.frame = ++t->work->tags;
	tag->header.track_seq = t->work->headers.version;
	for (size_t at = 0; at < size; at += part) {
		struct slot_ref ref = arena_alloc(t->arena, ARENA_PACKET, t->owner);
		struct packet *packet = arena_packet(t->arena, ref);

		MUST(packet);
		part = part_size(size, at);
		packet->header = tag->header;
		packet->header.decode_time = at;
		packet->header.size = (uint16_t)part;
		packet->header.flags |= (at == 0 ? MEDIA_FRAME_START : 0) |
					(at + part == size ? MEDIA_FRAME_END : 0);
		tag_copy(tag, at, part, packet->payload);
		MUST(media_log_put(t->arena, t->tags, t->tags->next, ref) == ERR_OK);
		arena_release(t->arena, ARENA_PACKET, ref); /* the log holds it */
	}
	t->progress->tags++;
	t->progress->bytes += size;
	return true;
}

/* ---- headers --------------------------------------------------------------------------------- */

static size_t video_body_header(const struct flv_work *work, enum flv_packet packet,
	const struct assembler_frame *frame, int32_t composition_ms,
	uint8_t out[FLV_BODY_HEADER_MAX])
{
	struct flv_video video = {
		.codec = work->video.codec,
		.packet = packet,
		.keyframe = !frame || (frame->flags & MEDIA_KEYFRAME),
		.discardable = frame && (frame->flags & MEDIA_DISCARDABLE),
		.composition_ms = composition_ms,
	};

	return flv_video_header(&video, out);
}

static size_t audio_body_header(
	const struct flv_work *work, enum flv_packet packet, uint8_t out[FLV_BODY_HEADER_MAX])
{
	return flv_audio_header(
		&(struct flv_audio){.codec = work->audio.codec, .packet = packet}, out);
}

/* The tag that carries a decoder's configuration; `record` holds its payload. False: not known. */
static bool sequence_tag(const struct flv_work *work, enum flv_tag_type type, uint32_t time_ms,
	uint8_t record[CODEC_CONFIG_RECORD_MAX], struct tag *tag)
{
	uint8_t header[FLV_BODY_HEADER_MAX];
	size_t size = 0, header_size;

	if (type == FLV_VIDEO) {
		if (!work->config.codec ||
			codec_config_write(&work->config, record, CODEC_CONFIG_RECORD_MAX, &size))
			return false;
		header_size = video_body_header(work, FLV_SEQUENCE_START, NULL, 0, header);
	} else {
		if (!work->asc_size)
			return false;
		size = work->asc_size;
		memcpy(record, work->asc, size);
		header_size = audio_body_header(work, FLV_SEQUENCE_START, header);
	}
	*tag = (struct tag){.payload = record, .payload_size = size};
	flv_tag_make(&tag->around, type, time_ms, header, header_size, size);
	return true;
}

static void append_tag(struct writer *w, const struct tag *tag)
{
	uint8_t *at = write_reserve(w, tag_size(tag));

	if (at)
		tag_copy(tag, 0, tag_size(tag), at);
}

static void append_metadata(const struct flv_work *work, struct writer *w)
{
	struct flv_metadata metadata = {
		.width = work->config.width ? work->config.width : work->source_video.width,
		.height = work->config.height ? work->config.height : work->source_video.height,
		.video_codec = work->video.codec,
		.audio_codec = work->audio.codec,
		.sample_rate = work->source_audio.clock_rate,
		.channels = work->source_audio.channels,
	};
	uint8_t body[512];
	struct writer body_writer = writer_of(body, sizeof(body));
	struct tag tag = {.payload = body};

	snprintf(metadata.encoder, sizeof(metadata.encoder), "Millrace %s", MILLRACE_VERSION);
	flv_metadata_write(&body_writer, &metadata);
	if (body_writer.bad)
		return;
	tag.payload_size = writer_used(&body_writer);
	flv_tag_make(&tag.around, FLV_SCRIPT, 0, NULL, 0, tag.payload_size);
	append_tag(w, &tag);
}

/* Makes the headers anew from what is known now. */
static void build_headers(struct flv_work *work)
{
	struct flv_headers *headers = &work->headers;
	struct writer w = writer_of(headers->bytes, sizeof(headers->bytes));
	uint8_t record[CODEC_CONFIG_RECORD_MAX];
	uint8_t *start = write_reserve(&w, FLV_FILE_HEADER_SIZE);
	struct tag tag;

	flv_file_header(start, work->asc_size > 0, work->video.codec != MEDIA_CODEC_NONE);
	append_metadata(work, &w);
	headers->sequence_at = (uint32_t)writer_used(&w);
	if (sequence_tag(work, FLV_VIDEO, 0, record, &tag))
		append_tag(&w, &tag);
	if (sequence_tag(work, FLV_AUDIO, 0, record, &tag))
		append_tag(&w, &tag);
	headers->size = (uint32_t)writer_used(&w);
	headers->version++;
}

/* Viewers that are there already hear of a new configuration in band. */
static void announce(
	const struct turn *t, enum flv_tag_type type, int64_t capture_us, uint64_t time_ms)
{
	bool first = t->work->headers.version == 0;
	uint8_t record[CODEC_CONFIG_RECORD_MAX];
	struct tag tag;

	build_headers(t->work);
	if (first || type == FLV_AUDIO)
		t->work->asc_fresh = false;
	if (first || !sequence_tag(t->work, type, (uint32_t)time_ms, record, &tag))
		return;
	tag.header = (struct media_header){.track = FLV_TRACK_HEADER,
		.rtp_time = time_ms,
		.capture_us = capture_us,
		.priority = MEDIA_PRIORITY_AUDIO};
	put_tag(t, &tag);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Decoding time of a frame on the captures' timeline, along its track's own clock. */
static int64_t decode_us(struct flv_track *track, const struct assembler_frame *frame)
{
	int64_t reorder = (int64_t)(frame->rtp_time - frame->decode_time);
	int64_t captured_us = frame->capture_us - reorder * 1000000 / track->clock_rate;
	int64_t ticks = (int64_t)(frame->decode_time - track->anchor_decode);
	int64_t line_us = track->anchor_us + ticks * 1000000 / track->clock_rate;
	int64_t drift_us = captured_us - line_us;

	if (!track->started || drift_us > DRIFT_JUMP_US || drift_us < -DRIFT_JUMP_US) {
		track->started = true;
		track->anchor_us = captured_us;
		track->anchor_decode = frame->decode_time;
		return captured_us;
	}
	if (drift_us > DRIFT_SLEW_US)
		track->anchor_us += DRIFT_STEP_US;
	else if (drift_us < -DRIFT_SLEW_US)
		track->anchor_us -= DRIFT_STEP_US;
	return line_us;
}

/* Leaves out the time in which there was no source. */
static int64_t close_gap(struct flv_work *work, int64_t ms, bool changed)
{
	int64_t ahead_ms = ms - work->last_ms;
	bool jumps = ahead_ms > JUMP_AHEAD_MS || ahead_ms < -JUMP_BACK_MS;

	if (jumps || (changed && ahead_ms > SILENCE_MS)) {
		work->zero_us += (ahead_ms - SILENCE_LEFT_MS) * US;
		return work->last_ms + SILENCE_LEFT_MS;
	}
	return ms;
}

/* Sound that begins anew far ahead of all that is written: the pictures before it are on their way
 * (its transcoder was lost, not the source), or those of a new source are, whose first closes the
 * gap for both. Until then it is left out. */
static bool waits_for_picture(
	struct flv_work *work, struct flv_track *track, int64_t ms, bool discontinuity)
{
	if (track != &work->audio || !work->video.started)
		return false;
	if (discontinuity) {
		track->anew = true;
		track->anew_ms = ms;
	}
	if (!track->anew)
		return false;
	track->anew = ms - work->last_ms > SILENCE_MS && ms >= track->anew_ms &&
		      ms - track->anew_ms < SOUND_WAITS_MS;
	return track->anew;
}

/* False: it is from before the first frame of all, where nothing has a time, or waits. */
static bool tag_time(struct flv_work *work, struct flv_track *track,
	const struct assembler_frame *frame, uint64_t *time_ms)
{
	int64_t at_us = decode_us(track, frame);
	int64_t ms;

	if (!work->zeroed) {
		work->zeroed = true;
		work->zero_us = at_us;
	}
	ms = (at_us - work->zero_us) / US;
	bool changed = frame->flags & MEDIA_DISCONTINUITY || track->anew;

	if (waits_for_picture(work, track, ms, frame->flags & MEDIA_DISCONTINUITY))
		return false;
	ms = close_gap(work, ms, changed);
	if (ms < 0)
		return false;
	if (ms <= track->last_ms && track->last_ms)
		ms = track->last_ms + 1;
	track->last_ms = ms;
	if (ms > work->last_ms)
		work->last_ms = ms;
	*time_ms = (uint64_t)ms; /* in a tag it wraps after 49 days; players unwrap */
	return true;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static bool learn_config(struct flv_work *work, const struct assembler_frame *frame,
	const uint8_t *bytes, bool *changed)
{
	struct codec_config found;

	*changed = false;
	if (codec_config_from_frame(&found, work->video.codec, bytes, frame->size))
		return work->config.codec == work->video.codec;
	if (!codec_config_equal(&found, &work->config)) {
		work->config = found;
		*changed = true;
	}
	return true;
}

static bool audio_is_awaited(const struct flv_work *work, int64_t now_us)
{
	return work->audio.codec && !work->asc_size && now_us < work->audio_until_us;
}

static void write_video(
	const struct turn *t, const struct assembler_frame *frame, const uint8_t *bytes)
{
	struct flv_work *work = t->work;
	struct flv_track *track = &work->video;
	bool key = frame->flags & MEDIA_KEYFRAME;
	bool changed = false;
	uint8_t header[FLV_BODY_HEADER_MAX];

	if (frame->after_gap && !key)
		track->wants_keyframe = true;
	if ((track->wants_keyframe && !key) ||
		(key && !learn_config(work, frame, bytes, &changed))) {
		track->wants_keyframe = true;
		t->progress->lost++;
		return;
	}
	uint64_t time_ms;

	if (!tag_time(work, track, frame, &time_ms))
		time_ms = 0; /* a picture is not left out because sound came first */
	int64_t composition = (int64_t)(frame->rtp_time - frame->decode_time);
	size_t header_size = video_body_header(
		work, FLV_FRAMES, frame, (int32_t)(composition * 1000 / track->clock_rate), header);

	if (work->headers.version ? changed : !audio_is_awaited(work, t->now_us))
		announce(t, FLV_VIDEO, frame->capture_us, time_ms);
	struct tag tag = {
		.payload = bytes,
		.payload_size = frame->size,
		.header = {.track = FLV_TRACK_VIDEO,
			   .rtp_time = time_ms,
			   .capture_us = frame->capture_us,
			   .flags = frame->flags & (MEDIA_KEYFRAME | MEDIA_DISCARDABLE),
			   .priority = key				       ? MEDIA_PRIORITY_KEY
				    : frame->flags & MEDIA_DISCARDABLE ? MEDIA_PRIORITY_DISCARDABLE
								       : MEDIA_PRIORITY_DELTA},
	};

	flv_tag_make(&tag.around, FLV_VIDEO, (uint32_t)time_ms, header, header_size, frame->size);
	track->wants_keyframe = !put_tag(t, &tag);
	t->progress->video = true;
}

static void write_audio(
	const struct turn *t, const struct assembler_frame *frame, const uint8_t *bytes)
{
	struct flv_work *work = t->work;
	uint8_t header[FLV_BODY_HEADER_MAX];
	size_t header_size;
	uint64_t time_ms;

	if (!work->asc_size) {
		t->progress->lost++;
		return;
	}
	if (!tag_time(work, &work->audio, frame, &time_ms))
		return; /* made of sound from before the first picture, or ahead of the next */
	if (work->headers.version ? work->asc_fresh : !work->video.codec)
		announce(t, FLV_AUDIO, frame->capture_us, time_ms);
	header_size = audio_body_header(work, FLV_FRAMES, header);
	struct tag tag = {
		.payload = bytes,
		.payload_size = frame->size,
		.header = {.track = FLV_TRACK_AUDIO,
			   .rtp_time = time_ms,
			   .capture_us = frame->capture_us,
			   .priority = MEDIA_PRIORITY_AUDIO},
	};

	flv_tag_make(&tag.around, FLV_AUDIO, (uint32_t)time_ms, header, header_size, frame->size);
	put_tag(t, &tag);
}

/* ---- packets --------------------------------------------------------------------------------- */

/* Where the frame under assembly lies. A new one does not go where that lies which would have to be
 * finished again. */
static uint8_t *frame_buffer(const struct turn *t, struct flv_track *track)
{
	struct flv_desk *desk = t->desk;
	bool video = track == &t->work->video;
	const struct flv_track *was = video ? &desk->was.video : &desk->was.audio;

	if (!track->assembler.used && was->assembler.used)
		track->frame_in = !was->frame_in;
	if (!video)
		return desk->audio_frame[track->frame_in];
	return track->frame_in ? t->video_frame : desk->video_frame;
}

static void take_packet(const struct turn *t, struct flv_track *track, uint64_t position)
{
	struct flv_work *work = t->work;
	bool video = track == &work->video;
	const struct packet *packet = media_log_packet(t->arena, t->source, position);
	struct assembler_frame frame;
	uint64_t broken = track->assembler.frames_broken;
	uint8_t *bytes = frame_buffer(t, track);
	enum err err;

	if (!packet || packet->header.track != track->id) {
		assembler_reset(&track->assembler);
		return;
	}
	err = assembler_push(&track->assembler, &packet->header, packet->payload, bytes,
		video ? FLV_VIDEO_FRAME_MAX : FLV_AUDIO_FRAME_MAX, &frame);
	if (track->assembler.frames_broken != broken) {
		t->progress->lost++;
		track->wants_keyframe |= video;
	}
	if (err)
		return;
	if (video)
		write_video(t, &frame, bytes);
	else
		write_audio(t, &frame, bytes);
}

static void drain_order(const struct turn *t, struct flv_track *track)
{
	struct frame_order_out out;
	enum frame_order_event event;

	if (!track->codec)
		return;
	while ((event = frame_order_pop(&track->order, t->now_us, &out)) != FRAME_ORDER_NONE) {
		if (event == FRAME_ORDER_PACKET)
			take_packet(t, track, out.ref);
		else if (track == &t->work->video)
			track->wants_keyframe = true;
	}
	if (out.deadline_us < t->progress->deadline_us)
		t->progress->deadline_us = out.deadline_us;
}

static void push_packet(const struct turn *t, const struct media_header *header, uint64_t position)
{
	struct flv_track *track =
		t->work->video.codec && header->track == t->work->video.id   ? &t->work->video
		: t->work->audio.codec && header->track == t->work->audio.id ? &t->work->audio
									     : NULL;

	if (!track)
		return;
	if (frame_order_push(&track->order, header->track_seq, position, t->now_us) == ERR_AGAIN) {
		drain_order(t, track);
		frame_order_push(&track->order, header->track_seq, position, t->now_us);
	}
	drain_order(t, track);
}

void flv_work_turn(struct flv_desk *desk, uint8_t *video_frame, struct arena *arena,
	const struct media_log *source, struct media_log *tags, uint64_t owner, int64_t now_us,
	struct flv_progress *progress)
{
	struct flv_work *work = &desk->work;
	struct turn t = {desk, work, video_frame, arena, source, tags, owner, now_us, progress};

	flv_desk_begin(desk, tags);
	*progress = (struct flv_progress){.deadline_us = INT64_MAX};
	if (work->position < source->first)
		work->position = source->first; /* the window sees the hole by its sequence */
	for (int i = 0; work->position < source->ready; i++) {
		const struct packet *packet = media_log_packet(arena, source, work->position);

		if (i == FLV_PACKETS_A_TURN) {
			progress->more = true;
			break;
		}
		if (packet)
			push_packet(&t, &packet->header, work->position);
		work->position++;
	}
	drain_order(&t, &work->video);
	drain_order(&t, &work->audio);
	progress->wants_keyframe = work->video.codec && work->video.wants_keyframe;
	/* nobody has seen anything yet: it is time to go on without the audio */
	if (!work->headers.version && work->config.codec && work->video.codec) {
		if (!audio_is_awaited(work, now_us)) {
			build_headers(work);
			work->asc_fresh = false;
		} else if (work->audio_until_us < progress->deadline_us) {
			progress->deadline_us = work->audio_until_us;
		}
	}
	flv_desk_end(desk);
}

/* ---- tracks, life ---------------------------------------------------------------------------- */

static void follow_track(struct flv_track *track, const struct media_track *source)
{
	if (!source || !source->clock_rate) {
		track->codec = MEDIA_CODEC_NONE;
		return;
	}
	if (track->codec == source->codec && track->id == source->id &&
		track->clock_rate == source->clock_rate)
		return;
	track->id = source->id;
	track->codec = source->codec;
	track->clock_rate = source->clock_rate;
	track->started = false;
	track->wants_keyframe = source->kind == MEDIA_VIDEO;
	assembler_init(&track->assembler, source->codec);
	frame_order_init(&track->order, FLV_ORDER_WAIT_US);
}

static bool flv_carries(enum media_codec codec)
{
	return codec == MEDIA_H264 || codec == MEDIA_H265 || codec == MEDIA_AV1 ||
	       codec == MEDIA_VP9;
}

enum err flv_work_tracks(
	struct flv_work *work, const struct media_track *tracks, size_t count, const char **codec)
{
	const struct media_track *video = NULL, *audio = NULL;

	*codec = "";
	for (size_t i = 0; i < count; i++) {
		if (tracks[i].kind == MEDIA_VIDEO && !video)
			video = &tracks[i];
		if (tracks[i].codec == MEDIA_AAC && !audio)
			audio = &tracks[i];
	}
	if (video && !flv_carries(video->codec)) {
		*codec = media_codec_name(video->codec);
		video = NULL;
	}
	if (!video && !audio && !**codec)
		return ERR_AGAIN;
	follow_track(&work->video, video);
	follow_track(&work->audio, audio);
	/* headers name what there is; what comes back is announced again */
	if (!video || video->codec != work->config.codec)
		work->config = (struct codec_config){0};
	if (!audio)
		work->asc_size = 0;
	if (video)
		work->source_video = *video;
	if (audio) {
		uint16_t size = audio->config_size <= sizeof(work->asc) ? audio->config_size : 0;

		work->source_audio = *audio;
		if (size && (size != work->asc_size || memcmp(work->asc, audio->config, size))) {
			work->asc_size = size;
			memcpy(work->asc, audio->config, size);
			work->asc_fresh = true;
		}
	}
	return **codec ? ERR_CODEC : ERR_OK;
}

void flv_work_init(struct flv_work *work, uint64_t position, int64_t now_us)
{
	work->position = position;
	work->audio_until_us = now_us + FLV_AUDIO_WAIT_US;
}

static bool track_is_valid(const struct flv_track *track)
{
	if (track->codec == MEDIA_CODEC_NONE)
		return true;
	return track->codec < MEDIA_CODEC_COUNT && track->clock_rate > 0 && track->frame_in <= 1 &&
	       assembler_is_valid(&track->assembler) && frame_order_is_valid(&track->order);
}

static bool work_is_valid(const struct flv_work *work)
{
	return work->headers.size <= FLV_HEADERS_MAX &&
	       work->headers.sequence_at <= work->headers.size &&
	       work->asc_size <= sizeof(work->asc) && track_is_valid(&work->video) &&
	       track_is_valid(&work->audio) && codec_config_is_valid(&work->config);
}

/* ---- going back ------------------------------------------------------------------------------ */

_Static_assert(offsetof(struct flv_track, order) + sizeof(struct frame_order) ==
			       sizeof(struct flv_track) &&
		       offsetof(struct flv_work, audio) + sizeof(struct flv_track) ==
			       sizeof(struct flv_work),
	"windows are what comes last");

/* The window of packets that wait for others is empty but for a moment. */
static void copy_track(struct flv_track *to, const struct flv_track *from)
{
	memcpy(to, from, offsetof(struct flv_track, order.slots));
	if (from->order.count)
		memcpy(to->order.slots, from->order.slots, sizeof(to->order.slots));
}

void flv_desk_begin(struct flv_desk *desk, const struct media_log *tags)
{
	const struct flv_work *work = &desk->work;
	size_t headers = offsetof(struct flv_work, position);
	size_t tracks = offsetof(struct flv_work, video);

	MUST(!desk->busy);
	if (desk->was.headers.version != work->headers.version)
		desk->was.headers = work->headers;
	memcpy((uint8_t *)&desk->was + headers, (const uint8_t *)work + headers, tracks - headers);
	copy_track(&desk->was.video, &work->video);
	copy_track(&desk->was.audio, &work->audio);
	media_log_mark(tags, &desk->tags_were);
	arena_step();
	desk->busy = true;
	arena_step();
}

void flv_desk_end(struct flv_desk *desk)
{
	arena_step();
	desk->busy = false;
}

static void recover_track(struct flv_track *track, const struct flv_track *was)
{
	copy_track(track, was);
	if (!was->order.count)
		memset(track->order.slots, 0, sizeof(track->order.slots));
}

bool flv_desk_recover(struct flv_desk *desk, struct media_log *tags)
{
	flv_runs_forget(desk->runs);
	if (desk->busy) {
		memcpy(&desk->work, &desk->was, offsetof(struct flv_work, video));
		recover_track(&desk->work.video, &desk->was.video);
		recover_track(&desk->work.audio, &desk->was.audio);
		media_log_go_back(tags, &desk->tags_were);
		flv_desk_end(desk);
	}
	desk->was.headers.version = 0; /* may be half of a copy */
	return work_is_valid(&desk->work);
}

void flv_stamp(uint8_t *bytes, size_t size, uint32_t time_ms)
{
	size_t at = 0;

	while (size - at >= FLV_TAG_HEADER_SIZE) {
		uint8_t *tag = bytes + at;
		size_t body = (size_t)tag[1] << 16 | (size_t)tag[2] << 8 | tag[3];

		tag[4] = (uint8_t)(time_ms >> 16);
		tag[5] = (uint8_t)(time_ms >> 8);
		tag[6] = (uint8_t)time_ms;
		tag[7] = (uint8_t)(time_ms >> 24);
		if (body + FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE > size - at)
			return;
		at += body + FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE;
	}
}
