/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP payloads: see payload.h. Here is what all formats have in common; what a payload looks like
 * is in payload_<codec>.c, behind struct payload_format.
 */
#include "actors/stream/payload.h"

#include "actors/stream/payload_format.h"

enum note_bits {
	NOTE_STARTED = 1 << 0,
	NOTE_KEYFRAME = 1 << 1,
	NOTE_UNUSED = 1 << 2,	 /* a packet said that nobody refers to it */
	NOTE_REFERENCE = 1 << 3, /* a packet said the contrary */
	NOTE_REORDERED = 1 << 4,
};

static const struct payload_format *const formats[MEDIA_CODEC_COUNT] = {
	[MEDIA_H264] = &payload_h264_format,
	[MEDIA_H265] = &payload_h265_format,
	[MEDIA_VP8] = &payload_vp8_format,
	[MEDIA_VP9] = &payload_vp9_format,
	[MEDIA_AV1] = &payload_av1_format,
	[MEDIA_OPUS] = &payload_opus_format,
	[MEDIA_AAC] = &payload_aac_format,
};

const struct payload_format *payload_format_of(unsigned codec)
{
	return codec < MEDIA_CODEC_COUNT ? formats[codec] : NULL;
}

static bool is_video(unsigned codec)
{
	return codec != MEDIA_OPUS && codec != MEDIA_AAC;
}

static uint8_t priority_of(unsigned codec, uint8_t flags)
{
	if (!is_video(codec))
		return MEDIA_PRIORITY_AUDIO;
	if (flags & MEDIA_KEYFRAME)
		return MEDIA_PRIORITY_KEY;
	return flags & MEDIA_DISCARDABLE ? MEDIA_PRIORITY_DISCARDABLE : MEDIA_PRIORITY_DELTA;
}

void payload_inspector_init(struct payload_inspector *s, enum media_codec codec)
{
	MUST(payload_format_of(codec));
	*s = (struct payload_inspector){.codec = (uint8_t)codec};
}

bool payload_inspector_is_valid(const struct payload_inspector *s)
{
	return payload_format_of(s->codec) && s->note_at < PAYLOAD_NOTES &&
	       s->temporal_max <= NAL_H265_TEMPORAL_MAX && s->sequence.order_hint_bits <= 8 &&
	       s->sequence.frame_id_bits <= 16;
}

static struct payload_note *find_note(struct payload_inspector *s, uint64_t rtp_time)
{
	for (int i = 0; i < PAYLOAD_NOTES; i++) {
		if (s->notes[i].frame && s->notes[i].rtp_time == rtp_time)
			return &s->notes[i];
	}
	return NULL;
}

static bool follows_an_end(const struct payload_inspector *s, uint64_t track_seq)
{
	for (int i = 0; i < PAYLOAD_NOTES; i++) {
		if (s->notes[i].frame && s->notes[i].end_seq &&
			s->notes[i].end_seq + 1 == track_seq)
			return true;
	}
	return false;
}

static struct payload_note *add_note(
	struct payload_inspector *s, const struct payload_arrival *in, bool in_order)
{
	struct payload_note *note = &s->notes[s->note_at];

	/* the newest frame may get more, however many late ones come in between */
	if (note->frame && note->rtp_time == s->highest_time) {
		s->note_at = (uint8_t)((s->note_at + 1) % PAYLOAD_NOTES);
		note = &s->notes[s->note_at];
	}
	s->note_at = (uint8_t)((s->note_at + 1) % PAYLOAD_NOTES);
	if (++s->last_frame == 0)
		s->last_frame = 1;
	*note = (struct payload_note){.rtp_time = in->rtp_time, .frame = s->last_frame};
	if (in_order && in->rtp_time < s->highest_time)
		note->is |= NOTE_REORDERED;
	return note;
}

/* H.264 and H.265 payloads do not say that they begin a frame; the place behind another frame does.
 * Behind a gap only the payload itself can tell. */
static bool begins_frame(const struct payload_inspector *s, const struct payload_arrival *in,
	enum payload_start start, bool is_new)
{
	if (start == PAYLOAD_START_NO)
		return false;
	if (start == PAYLOAD_START_YES || (start == PAYLOAD_START_MAYBE && s->highest_seq == 0))
		return true;
	return (is_new && in->track_seq == s->highest_seq + 1) || follows_an_end(s, in->track_seq);
}

static void learn(
	struct payload_inspector *s, struct payload_note *note, const struct payload_view *view)
{
	if (view->keyframe)
		note->is |= NOTE_KEYFRAME;
	if (view->use == PAYLOAD_USE_NONE)
		note->is |= NOTE_UNUSED;
	else if (view->use == PAYLOAD_USE_REFERENCE)
		note->is |= NOTE_REFERENCE;
	if (view->width) {
		s->width = view->width;
		s->height = view->height;
	}
}

static uint8_t note_flags(const struct payload_note *note)
{
	uint8_t flags = 0;

	if (note->is & NOTE_KEYFRAME)
		flags |= MEDIA_KEYFRAME;
	else if ((note->is & NOTE_UNUSED) && !(note->is & NOTE_REFERENCE))
		flags |= MEDIA_DISCARDABLE;
	if (note->is & NOTE_REORDERED)
		flags |= MEDIA_B_FRAME;
	return flags;
}

static enum err look(
	struct payload_inspector *s, const struct payload_arrival *in, struct payload_view *view)
{
	enum err err = ERR_FORMAT;

	if (in->size > MEDIA_PAYLOAD_MAX)
		err = ERR_TOO_LARGE;
	else if (in->size)
		err = payload_format_of(s->codec)->look(s, in->payload, in->size, view);
	if (err == ERR_UNSUPPORTED)
		s->unsupported++;
	else if (err)
		s->malformed++;
	return err;
}

enum err payload_inspect(
	struct payload_inspector *s, const struct payload_arrival *in, struct payload_info *out)
{
	struct payload_view view = {0};

	*out = (struct payload_info){0};
	enum err err = look(s, in, &view);
	if (err)
		return err;

	struct payload_note *note = find_note(s, in->rtp_time);
	bool is_new = !note;
	if (is_new)
		note = add_note(s, in, in->track_seq > s->highest_seq);
	if (!(note->is & NOTE_STARTED) && begins_frame(s, in, view.start, is_new)) {
		note->is |= NOTE_STARTED;
		out->flags |= MEDIA_FRAME_START;
	}
	learn(s, note, &view);
	if (in->marker)
		note->end_seq = in->track_seq;
	if (s->codec == MEDIA_OPUS) /* a packet is a frame; the marker starts a talkspurt */
		out->flags |=
			MEDIA_FRAME_START | MEDIA_FRAME_END | (in->marker ? MEDIA_TALKSPURT : 0);
	else
		out->flags |= (in->marker ? MEDIA_FRAME_END : 0) | note_flags(note);
	out->frame = note->frame;
	out->layer = view.layer;
	out->width = s->width;
	out->height = s->height;
	out->priority = priority_of(s->codec, out->flags);
	if (in->track_seq > s->highest_seq)
		s->highest_seq = in->track_seq;
	if (in->rtp_time > s->highest_time || (out->flags & MEDIA_KEYFRAME))
		s->highest_time = in->rtp_time;
	return ERR_OK;
}

void payload_packetiser_init(struct payload_packetiser *p, enum media_codec codec)
{
	MUST(payload_format_of(codec));
	memset(p, 0, sizeof(*p));
	p->codec = (uint8_t)codec;
}

bool payload_packetiser_is_valid(const struct payload_packetiser *p)
{
	return payload_format_of(p->codec) && p->has_time <= 1 &&
	       codec_config_is_valid(&p->config) &&
	       (p->config.codec == MEDIA_CODEC_NONE || p->config.codec == p->codec);
}

enum err payload_packetiser_configure(
	struct payload_packetiser *p, const uint8_t *record, size_t size)
{
	struct codec_config config;
	enum err err = codec_config_parse(&config, (enum media_codec)p->codec, record, size);

	if (!err)
		p->config = config;
	return err;
}

void payload_split_evenly(struct payload_cut *cut, size_t total, size_t room)
{
	size_t pieces = (total + room - 1) / room;

	cut->step = pieces ? (total + pieces - 1) / pieces : 0;
}

/* Presented before a frame decoded earlier? A keyframe starts the comparison anew, so that a source
 * whose time jumps back is not taken for one long B-frame. */
static bool is_reordered(struct payload_packetiser *p, uint64_t rtp_time, bool keyframe)
{
	bool back = p->has_time && !keyframe && rtp_time < p->highest_time;

	if (!back)
		p->highest_time = rtp_time;
	p->has_time = 1;
	return back;
}

enum err payload_cut_begin(struct payload_cut *cut, struct payload_packetiser *p,
	const uint8_t *frame, size_t size, uint64_t rtp_time, size_t goal)
{
	enum err err = size > PAYLOAD_FRAME_MAX ? ERR_TOO_LARGE : ERR_OK;

	MUST(goal >= PAYLOAD_GOAL_MIN && goal <= MEDIA_PAYLOAD_MAX);
	*cut = (struct payload_cut){
		.of = p,
		.goal = goal,
		.length_size = p->config.length_size ? p->config.length_size : 4,
	};
	if (!err && !size)
		err = ERR_NOT_FOUND;
	if (!err) {
		cut->units = reader_of(frame, size);
		err = formats[p->codec]->begin(cut);
	}
	if (err) {
		p->frames_bad++;
		return err;
	}
	p->frames++;
	p->keyframes += !!(cut->flags & MEDIA_KEYFRAME);
	p->keyframes_bare += cut->bare;
	if (is_video(p->codec) && is_reordered(p, rtp_time, cut->flags & MEDIA_KEYFRAME))
		cut->flags |= MEDIA_B_FRAME;
	if (cut->flags & MEDIA_B_FRAME) {
		p->b_frames++;
		p->b_frames_referenced += !(cut->flags & MEDIA_DISCARDABLE);
	}
	cut->priority = priority_of(p->codec, cut->flags);
	return ERR_OK;
}

bool payload_cut_next(
	struct payload_cut *cut, uint8_t *buffer, size_t capacity, struct payload_packet *out)
{
	struct writer w = writer_of(buffer, cut->goal);

	*out = (struct payload_packet){0};
	if (!cut->units_left && !cut->left)
		return false;
	MUST(capacity >= cut->goal);
	bool last = formats[cut->of->codec]->next(cut, &w);
	MUST(!w.bad && writer_used(&w) > 0);
	out->size = (uint16_t)writer_used(&w);
	out->flags = (uint8_t)(cut->flags | (cut->started ? 0 : MEDIA_FRAME_START) |
			       (last ? MEDIA_FRAME_END : 0));
	out->priority = cut->priority;
	cut->started = true;
	return true;
}
