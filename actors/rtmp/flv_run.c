/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/rtmp/flv_run.h"

#include "actors/rtmp/flv_work.h"

static bool is_of(const struct flv_run *run, const struct flv_run_key *key)
{
	return run->phase != FLV_RUN_NOTHING && run->key.position == key->position &&
	       run->key.end == key->end && run->key.way == key->way &&
	       run->key.channel == key->channel;
}

struct flv_run *flv_run_find(struct flv_run runs[FLV_RUNS], const struct flv_run_key *key)
{
	for (int i = 0; i < FLV_RUNS; i++)
		if (is_of(&runs[i], key))
			return &runs[i];
	return NULL;
}

/* One that ends elsewhere is over: the log has grown. One that nobody shares yet gives way. */
void flv_run_ask(struct flv_run runs[FLV_RUNS], const struct flv_run_key *key)
{
	struct flv_run *place = NULL;

	for (int i = 0; i < FLV_RUNS; i++) {
		struct flv_run *run = &runs[i];

		if (run->phase == FLV_RUN_NOTHING || run->key.end != key->end) {
			place = run;
			break;
		}
		if (run->phase == FLV_RUN_ASKED)
			place = run;
	}
	if (!place)
		return;
	place->key = *key;
	place->phase = FLV_RUN_ASKED;
}

/* Are its tags such as everybody wants who keeps up? */
static bool suits_all(
	struct flv_run *run, struct arena *arena, const struct media_log *log, int64_t late_us)
{
	run->version = 0;
	run->sound_from_ms = INT64_MAX;
	for (uint64_t at = run->key.position; at < run->key.end; at++) {
		const struct packet *packet = media_log_packet(arena, log, at);
		const struct media_header *header = packet ? &packet->header : NULL;
		bool is_first = at == run->key.position;

		if (!header || header->track == FLV_TRACK_HEADER ||
			log->newest_us - header->capture_us > late_us ||
			(is_first && !(header->flags & MEDIA_FRAME_START)))
			return false;
		if (is_first) {
			run->first = header->frame;
			run->lag_us = log->newest_us - header->capture_us;
		}
		run->last = header->frame;
		if (header->track_seq > run->version)
			run->version = (uint32_t)header->track_seq;
		if (header->track == FLV_TRACK_AUDIO &&
			(int64_t)header->rtp_time < run->sound_from_ms)
			run->sound_from_ms = (int64_t)header->rtp_time;
	}
	return true;
}

bool flv_run_make(struct flv_run *run, const struct flv_gathered *gathered, struct arena *arena,
	const struct media_log *log, int64_t late_us)
{
	uint32_t size = 0;

	run->phase = FLV_RUN_BARRED;
	if (gathered->bytes > FLV_RUN_MAX || gathered->head_count > FLV_RUN_HEADS ||
		!suits_all(run, arena, log, late_us))
		return false;
	for (size_t i = 0; i < gathered->count; i++) {
		memcpy(run->bytes + size, gathered->iov[i].iov_base, gathered->iov[i].iov_len);
		size += (uint32_t)gathered->iov[i].iov_len;
	}
	memcpy(run->head, gathered->head, gathered->head_count * sizeof(run->head[0]));
	run->head_count = (uint32_t)gathered->head_count;
	run->size = size;
	run->base_ms = gathered->base_ms;
	run->phase = FLV_RUN_MADE;
	return true;
}

bool flv_run_stamp(struct flv_run *run, const struct flv_framing *framing, int64_t base_ms)
{
	if (run->base_ms == base_ms)
		return true;
	for (uint32_t i = 0; i < run->head_count; i++) {
		const struct flv_run_head *head = &run->head[i];
		const struct flv_tag_view tag = {.type = head->type,
			.time_ms = flv_time_since(base_ms, head->rtp_time),
			.size = head->body_size};
		uint8_t bytes[FLV_FRAMING_MAX];
		size_t size = (head->between ? framing->between : framing->head)(
			run->key.channel, &tag, bytes);

		if (size != head->size) {
			if (i) /* some of it is stamped */
				run->phase = FLV_RUN_BARRED;
			return false;
		}
		memcpy(run->bytes + head->at, bytes, size);
	}
	run->base_ms = base_ms;
	return true;
}

void flv_runs_forget(struct flv_run runs[FLV_RUNS])
{
	for (int i = 0; i < FLV_RUNS; i++)
		runs[i].phase = FLV_RUN_NOTHING;
}
