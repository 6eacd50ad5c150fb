/* SPDX-License-Identifier: Apache-2.0
 *
 * How often a muxer wakes those who watch: one worker in the real kernel under virtual time; viewers
 * that only count.
 */
#include "actors/http/http_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "tests/unit/sample_log.h"
#include "tests/unit/tcp_worker.h"

enum { FEW = 49, MANY = 50, SPAN_MS = 1200, GATHER_MS = 74 };

static struct slot_ref source;
static struct addr muxer;
static unsigned opened, woken;
static int64_t woken_us, longest_us; /* the last time, and between two */

/* ---- the stream and those who watch it ------------------------------------------------------- */

/* Their states are of no interest: any schema does. */
struct stream {
	struct http_office_state st;
};

struct viewer {
	struct http_office_state st;
};

ON(stream, subscribe)
{
	struct msg_subscribed answer = {.stream = actor_addr(self),
		.live = true,
		.start = 1,
		.log_index = source.index,
		.log_generation = source.generation,
		.tracks_count = 1,
		.tracks = {SAMPLE_LOG_TRACK}};

	(void)m;
	return actor_answer_mail(
		self, actor_asker(self), MSG_subscribed, &schema_subscribed, &answer);
}

ON(stream, unsubscribe)
{
	(void)self, (void)s, (void)m;
	return ERR_OK;
}

static enum err stream_init(struct actor *self, void *data, const void *args)
{
	(void)self, (void)data, (void)args;
	return ERR_OK;
}

static const struct handler stream_handlers[] = {
	HANDLER(stream, subscribe, 0),
	HANDLER(stream, unsubscribe, 0),
};

static const struct actor_type stream_actor = {
	.name = "stream",
	.size = sizeof(struct stream),
	.state = &schema_http_office_state,
	HANDLER_TABLE(stream_handlers),
	.init = stream_init,
};

ON(viewer, flv_opened)
{
	(void)self, (void)s;
	muxer = m->muxer;
	opened++;
	return ERR_OK;
}

static void viewer_pump(struct actor *self, void *data)
{
	int64_t gap_us = actor_now_us(self) - woken_us;

	(void)data;
	longest_us = gap_us > longest_us ? gap_us : longest_us;
	woken_us = actor_now_us(self);
	woken++;
}

static enum err viewer_init(struct actor *self, void *data, const void *args)
{
	struct msg_flv_open open = {.stream_name = "live/a"};

	(void)data, (void)args;
	actor_request_mail(
		self, actor_office(self, OFFICE_HTTP), 1000, MSG_flv_open, &schema_flv_open, &open);
	return ERR_OK;
}

static const struct handler viewer_handlers[] = {HANDLER(viewer, flv_opened, 0)};

static const struct actor_type viewer_actor = {
	.name = "viewer",
	.size = sizeof(struct viewer),
	.state = &schema_http_office_state,
	HANDLER_TABLE(viewer_handlers),
	.init = viewer_init,
	.pump = viewer_pump,
};

/* ---- rows ------------------------------------------------------------------------------------ */

static void begin(unsigned viewers)
{
	static const struct actor_type *const types[] = {&http_office_actor, &flv_mux_actor, NULL};
	struct arena_layout layout = {
		.count = {8192, 2, 4, 4}
	};

	opened = woken = 0;
	worker_begin(&layout, NET_HTTP, types);
	source = sample_log_create(arena);
	sample_log_grow(arena, source, 0, 12, 0);
	CHECK_OK(actor_spawn_office(rt, OFFICE_MEDIA, &stream_actor, NULL));
	CHECK_OK(actor_spawn_office(rt, OFFICE_HTTP, &http_office_actor, NULL));
	for (unsigned i = 0; i < viewers; i++)
		CHECK_OK(actor_spawn(rt, NULL, &viewer_actor, NULL, &(struct addr){0}));
	for (int i = 0; i < 100; i++)
		run_ms(1);
	CHECK_EQ(opened, viewers);
}

static void end(void)
{
	runtime_destroy(&rt);
	media_log_destroy(arena, source);
	worker_end();
}

/* How often each was woken by a source of that rate, whose pictures are `extra` bytes larger. */
static unsigned wakes(unsigned viewers, int frames_per_s, size_t extra)
{
	int frames = 0;

	begin(viewers);
	woken = 0;
	woken_us = now_us;
	longest_us = 0;
	for (int ms = 0; ms < SPAN_MS; ms++) {
		for (; frames * 1000 <= ms * frames_per_s; frames++) {
			sample_log_grow(arena, source, 12 + frames, 13 + frames, extra);
			actor_kick(rt, muxer);
		}
		run_ms(1);
	}
	CHECK_EQ(woken % viewers, 0); /* all of them, each time */
	end();
	return woken / viewers;
}

TEST(few_viewers_get_a_picture_when_it_comes)
{
	CHECK_EQ(wakes(1, 25, 0), SPAN_MS * 25 / 1000);
	CHECK_EQ(wakes(FEW, 25, 0), SPAN_MS * 25 / 1000);
	CHECK_EQ(wakes(FEW, 50, 0), SPAN_MS * 50 / 1000);
}

TEST(many_viewers_get_together_what_comes_within_74_ms)
{
	static const int rates[] = {25, 30, 50, 60};

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		CHECK_EQ(wakes(MANY, rates[i], 0), (SPAN_MS + GATHER_MS - 1) / GATHER_MS);
		CHECK_LE(longest_us, (GATHER_MS + 1) * 1000);
	}
}

TEST(what_fills_a_write_does_not_wait)
{
	CHECK_EQ(wakes(MANY, 25, 80000), SPAN_MS * 25 / 1000);
	CHECK_LE(longest_us, 41000);
}
