/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: HTTP clients. A reader of FLV, every third by WebSocket, checks all that it gets: that it can be parsed, that
 * times only grow, that it begins with a keyframe, that nothing of a publisher comes twice or
 * backwards, and that sound and picture keep together. An asker sends requests that make no
 * session; each must be answered whole and with a status that fits.
 */
#include "actors/http/ws.h"
#include "actors/rtmp/flv.h"
#include "tests/sim/sim_edges.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	APART_MS = 120,	   /* sound and picture at most … */
	MADE_MS = 60,	   /* … and sound that is made of the end of a packet, or a frame later */
	TOGETHER_MS = 500, /* what was recorded so far apart at most is compared */
	ANSWER_US = 40000000, /* longest a request may be held */
};

/* Where the body of a response begins; 0 = its head is not whole. */
size_t sim_http_head(const struct sim_edge *edge)
{
	const uint8_t *end = memmem(edge->in, edge->in_size, "\r\n\r\n", 4);

	return end ? (size_t)(end - edge->in) + 4 : 0;
}

unsigned sim_http_status(struct sim *sim, const struct sim_edge *edge)
{
	unsigned status =
		edge->in_size > 12 ? (unsigned)strtoul((const char *)edge->in + 9, NULL, 10) : 0;

	SIM_CHECK(sim, !memcmp(edge->in, "HTTP/1.1 ", 9) && status >= 101 && status < 600,
		"no HTTP response: %.20s", (const char *)edge->in);
	return status;
}

/* ---- FLV ----------------------------------------------------------------------------------------- */

static void flv_begin(struct sim *sim, struct sim_edge *edge)
{
	static const char upgrade[] = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
				      "Sec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
	char name[32], request[320];

	edge->flv = (struct sim_flv){.last_us = sim->now_us,
		.heard_us = sim->now_us,
		.framed = rng_below(&sim->rng, 3) == 0};
	sim_edge_name(edge, name, sizeof(name));
	int size = snprintf(request, sizeof(request),
		"GET /%s.flv?wait=1 HTTP/1.1\r\nHost: localhost\r\n%s\r\n", name,
		edge->flv.framed ? upgrade : "");

	sim_edge_write(sim, edge, request, (size_t)size);
}

/* Numbers of one publisher only grow; what a slow reader was not sent leaves gaps. (Sound of a new
 * publisher may come before the last picture of the old one; sound that is made shows its packet's
 * mark until the next: twice, and as long as packets are lost.) */
static void check_mark(struct sim *sim, struct sim_edge *edge, struct sim_flv_track *track,
	const struct sim_mark *mark, uint32_t time_ms)
{
	struct sim_flv *s = &edge->flv;
	bool by_rtmp = sim_edge_by_rtmp(sim, edge->stream);
	uint32_t ms = by_rtmp ? mark->ms : mark->number * SIM_RTC_FRAME_MS;
	int64_t shift_ms = (int64_t)time_ms - ms;

	SIM_CHECK(sim, mark->publisher >= track->publisher,
		"live/e%u goes back from publisher %u to %u", edge->stream, track->publisher,
		mark->publisher);
	if (!by_rtmp && track == &s->audio && mark->publisher == track->publisher &&
		mark->number == track->last_number)
		return;
	SIM_CHECK(sim, mark->publisher != track->publisher || mark->number > track->last_number,
		"live/e%u: frame %u after frame %u", edge->stream, mark->number,
		track->last_number);
	track->publisher = mark->publisher;
	track->last_number = mark->number;
	track->ms = ms;
	track->shift_ms = shift_ms;
	if (s->audio.publisher == s->video.publisher &&
		llabs((int64_t)s->audio.ms - s->video.ms) <= TOGETHER_MS)
		SIM_CHECK(sim,
			llabs(s->audio.shift_ms - s->video.shift_ms) <=
				APART_MS + (by_rtmp ? 0 : MADE_MS),
			"live/e%u: sound and picture are %lld ms apart", edge->stream,
			(long long)(s->audio.shift_ms - s->video.shift_ms));
}

static void check_time(
	struct sim *sim, const struct sim_edge *edge, struct sim_flv_track *track, uint32_t time_ms)
{
	SIM_CHECK(sim, !track->frames || time_ms >= track->last_ms,
		"live/e%u: FLV time goes back from %u to %u", edge->stream, track->last_ms,
		time_ms);
	track->last_ms = time_ms;
	track->frames++;
}

void sim_flv_take(struct sim *sim, struct sim_edge *edge, const struct flv_tag_view *tag)
{
	struct sim_flv *s = &edge->flv;
	struct flv_video video = {.packet = FLV_OTHER};
	struct flv_audio audio = {.packet = FLV_OTHER};
	struct sim_flv_track *track = tag->type == FLV_VIDEO ? &s->video : &s->audio;
	struct sim_mark mark;
	enum err err = ERR_OK;

	sim->edges->tags_read++;
	if (tag->type == FLV_VIDEO)
		err = flv_video_parse(tag->body, tag->size, &video);
	else if (tag->type == FLV_AUDIO)
		err = flv_audio_parse(tag->body, tag->size, &audio);
	SIM_CHECK(sim, !err, "a tag of type %u: %s", tag->type, err_name(err));
	if (video.packet != FLV_FRAMES && audio.packet != FLV_FRAMES)
		return;
	SIM_CHECK(sim, tag->type != FLV_VIDEO || s->video.frames || video.keyframe,
		"live/e%u begins without a keyframe", edge->stream);
	check_time(sim, edge, track, tag->time_ms);
	SIM_CHECK(sim, sim_mark_find(tag->body, tag->size, &mark), "a frame without its mark");
	check_mark(sim, edge, track, &mark, tag->time_ms);
	*(tag->type == FLV_VIDEO ? &s->last_us : &s->heard_us) = sim->now_us;
}

/* Reads tags as far as they are whole. */
static void read_tags(struct sim *sim, struct sim_edge *edge, struct reader *in)
{
	struct flv_tag_view tag;
	enum err err = ERR_OK;

	if (!edge->flv.begun) {
		err = flv_read_file_header(in);
		edge->flv.begun = !err;
	}
	while (!err && !sim->failed) {
		err = flv_read_tag(in, &tag);
		if (!err)
			sim_flv_take(sim, edge, &tag);
	}
	SIM_CHECK(sim, err == ERR_AGAIN || sim->failed, "FLV cannot be read: %s", err_name(err));
}

/* Over WebSocket: whole tags in every message, and nothing but pongs and a close between them. */
static size_t read_frames(struct sim *sim, struct sim_edge *edge, size_t from)
{
	while (edge->in_size - from >= WS_HEAD_MAX && !sim->failed) {
		const uint8_t *head = edge->in + from;
		size_t lengths = head[1] == 127 ? 8 : head[1] == 126 ? 2 : 0;
		size_t size = lengths ? 0 : head[1];

		for (size_t i = 0; i < lengths; i++)
			size = size << 8 | head[2 + i];
		if (edge->in_size - from < 2 + lengths + size)
			break;
		struct reader in = reader_of(head + 2 + lengths, size);

		if (head[0] == (0x80 | WS_BINARY)) {
			read_tags(sim, edge, &in);
			SIM_CHECK(sim, !reader_left(&in), "a message with half a tag");
		} else {
			SIM_CHECK(sim, head[0] == (0x80 | WS_PONG) || head[0] == (0x80 | WS_CLOSE),
				"a frame of type %02x", head[0]);
			edge->flv.pongs += head[0] == (0x80 | WS_PONG);
		}
		from += 2 + lengths + size;
	}
	return from;
}

static size_t read_body(struct sim *sim, struct sim_edge *edge, size_t from)
{
	struct reader in = reader_of(edge->in + from, edge->in_size - from);

	if (edge->flv.framed)
		return read_frames(sim, edge, from);
	read_tags(sim, edge, &in);
	return edge->in_size - reader_left(&in);
}

static size_t flv_input(struct sim *sim, struct sim_edge *edge)
{
	size_t head = 0;

	if (!edge->flv.headed) {
		head = sim_http_head(edge);
		if (!head)
			return 0;
		if (sim_http_status(sim, edge) != (edge->flv.framed ? 101 : 200)) {
			edge->retry_us = sim->now_us + 200 * SIM_MS;
			sim->edges->refused++;
			sim_client_close(sim, edge->client);
			edge->client = 0;
			return edge->in_size;
		}
		edge->flv.headed = true;
	}
	return read_body(sim, edge, head);
}

static void flv_tick(struct sim *sim, struct sim_edge *edge)
{
	if (edge->flv.framed && edge->flv.headed && rng_below(&sim->rng, 20) == 0)
		sim_edge_write(sim, edge, "\x89\x80mask", 6); /* a ping */
	SIM_CHECK(sim, edge->flv.headed || sim->now_us - edge->connected_us < ANSWER_US,
		"a request for live/e%u was never answered", edge->stream);
}

const struct sim_edge_kind sim_flv_kind = {
	.name = "flv",
	.listener = NET_HTTP,
	.watches = true,
	.begin = flv_begin,
	.input = flv_input,
	.tick = flv_tick,
};

/* ---- requests -------------------------------------------------------------------------------------- */

#define SDP "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"

/* What is asked, and statuses that are right (one of the last two whatever is broken). */
static const struct {
	const char *request;
	unsigned fits[3];
} asks[] = {
	{"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",				     {200, 503}     },
	{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",				      {200}	   },
	{"GET /nosuch/thing HTTP/1.1\r\nHost: localhost\r\n\r\n",			  {404}	       },
	{"GET /api/v1/streams HTTP/1.1\r\nHost: localhost\r\n\r\n",			    {200, 503, 504}},
	{"GET /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n",			     {200, 503, 504}},
	{"GET /api/v1/workers HTTP/1.1\r\nHost: localhost\r\n\r\n",			    {200, 503, 504}},
	{"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",				    {200, 503}     },
	{"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",				     {200}	  },
	{"OPTIONS /whip/live/e0 HTTP/1.1\r\nHost: localhost\r\n\r\n",		      {200, 204}	},
	{"POST /whip/live/e0 HTTP/1.1\r\nHost: localhost\r\n" SDP,			   {400, 503, 504}},
	{"POST /whep/live/e0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", {415}	       },
	{"DELETE /whip/live/e0/0660000000010-0123456789abcdef0123456789abcdef HTTP/1.1\r\n"
	 "Host: localhost\r\n\r\n",					      {404, 503}	  },
	{"GET /live/nobody.flv HTTP/1.1\r\nHost: localhost\r\n\r\n",			     {404, 409, 503}},
};

static void asker_ask(struct sim *sim, struct sim_edge *edge)
{
	struct sim_asker *s = &edge->asker;

	s->row = rng_below(&sim->rng, sizeof(asks) / sizeof(asks[0]));
	s->asked = true;
	edge->connected_us = sim->now_us;
	sim_edge_write(sim, edge, asks[s->row].request, strlen(asks[s->row].request));
}

static void asker_begin(struct sim *sim, struct sim_edge *edge)
{
	edge->asker = (struct sim_asker){0};
	asker_ask(sim, edge);
}

size_t sim_http_length(const struct sim_edge *edge, size_t head)
{
	const uint8_t *at = memmem(edge->in, head, "Content-Length: ", 16);

	return at ? (size_t)strtoul((const char *)at + 16, NULL, 10) : 0;
}

static size_t asker_input(struct sim *sim, struct sim_edge *edge)
{
	struct sim_asker *s = &edge->asker;
	size_t head = sim_http_head(edge);
	bool fits = false;

	SIM_CHECK(sim, head || edge->in_size < SIM_HTTP_HEAD_MAX,
		"a response without an end of its head");
	if (!head || edge->in_size < head + sim_http_length(edge, head))
		return 0;
	unsigned status = sim_http_status(sim, edge);

	for (int i = 0; i < 3; i++)
		fits = fits || asks[s->row].fits[i] == status;
	fits = fits || (sim->callbacks && (status == 401 || status == 403));
	/* (400 and 408 after rubbish of ours, 501 when that makes a method with what follows; 503
	 * from one that is full) */
	SIM_CHECK(sim, fits || status == 400 || status == 408 || status == 501 || status == 503,
		"%.30s… is answered %u", asks[s->row].request, status);
	s->asked = false;
	s->answers++;
	sim->edges->answers++;
	return head + sim_http_length(edge, head);
}

static void asker_tick(struct sim *sim, struct sim_edge *edge)
{
	if (!edge->asker.asked && rng_below(&sim->rng, 10) == 0)
		asker_ask(sim, edge);
	else
		SIM_CHECK(sim, sim->now_us - edge->connected_us < ANSWER_US || !edge->asker.asked,
			"%.30s… was never answered", asks[edge->asker.row].request);
}

const struct sim_edge_kind sim_asker_kind = {
	.name = "asker",
	.listener = NET_HTTP,
	.begin = asker_begin,
	.input = asker_input,
	.tick = asker_tick,
};
