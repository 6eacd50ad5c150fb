/* SPDX-License-Identifier: Apache-2.0
 *
 * How often a muxer wakes those who watch: one worker in the real kernel under virtual time; viewers
 * that only count.
 */
#include "actors/http/http_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "tests/unit/sample_log.h"
#include "tests/unit/tcp_worker.h"

enum { FEW = 49, MANY = 50, TICK_MS = 5, FRAME_MS = 40, FRAMES = 30 };

static struct slot_ref source;
static struct addr muxer;
static unsigned opened, woken;

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
	(void)self, (void)data;
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
		.count = {512, 2, 4, 4}
	       };

	opened = woken = 0;
	worker_begin(&layout, NET_HTTP, types);
	source = sample_log_create(arena);
	sample_log_grow(arena, source, 0, 12);
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

/* How often each was woken by FRAMES pictures. */
static unsigned wakes(unsigned viewers)
{
	begin(viewers);
	woken = 0;
	for (int i = 0; i < FRAMES; i++) {
		sample_log_grow(arena, source, 12 + i, 13 + i);
		actor_kick(rt, muxer);
		for (int ms = 0; ms < FRAME_MS; ms += TICK_MS)
			run_ms(TICK_MS);
	}
	CHECK_EQ(woken % viewers, 0); /* all of them, each time */
	end();
	return woken / viewers;
}

TEST(few_viewers_get_a_picture_when_it_comes)
{
	CHECK_EQ(wakes(1), FRAMES);
	CHECK_EQ(wakes(FEW), FRAMES);
}

TEST(many_viewers_get_together_what_comes_within_60_ms)
{
	CHECK_EQ(wakes(MANY), FRAMES * FRAME_MS / 60);
}
