/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ends of a link over a modelled network: by seed, under virtual time. Each path has its own delay,
 * jitter, loss (single or in bursts), rate with a queue, and may be down, in each direction.
 */
#ifndef MILLRACE_TEST_LINK_NET_H
#define MILLRACE_TEST_LINK_NET_H

#include "actors/link/link_engine.h"
#include "schemas/random.h"
#include "tests/test.h"

#include <stdlib.h>

enum {
	NET_EVENTS_MAX = 1 << 16,
	NET_PACKETS_MAX = 1 << 19, /* that one run may send */
	NET_CONTENT = 64,	   /* different payloads */
};

/* One direction of one path. */
struct net_way {
	int64_t delay_us, jitter_us;
	uint32_t loss_ppm;
	uint32_t burst;	   /* lost ones in a row; 0 and 1: single */
	uint64_t rate_bps; /* 0 = without bound */
	int64_t queue_us;  /* what the queue before that rate holds; 0 = 100 ms */
	bool down;
	bool ordered; /* jitter does not overtake */

	int64_t free_us, newest_us;
	uint32_t losing; /* left of a burst */
	uint64_t offered, lost, bytes;
};

struct net_event {
	int64_t at_us;
	uint64_t order;
	uint8_t to, path;
	uint16_t size;
	uint8_t bytes[LINK_DATAGRAM_MAX];
};

struct net_end {
	struct net *net;
	uint8_t side;
	struct link_engine *engine;
	struct link_hot hot;
	uint64_t held; /* references it was given and has not given back */
	uint64_t delivered;
	int64_t deadline_us;
};

struct net_sent {
	int64_t at_us, came_us; /* -1 = has not come */
	uint8_t times;
};

struct net {
	struct rng rng;
	int64_t now_us;
	enum link_mode mode; /* of what is sent from now on … */
	int64_t age_us[2];   /* … and how old it may get: even, odd positions */
	struct net_way ways[2][LINK_PATHS_MAX]; /* from side */
	struct net_end ends[2];
	struct link_out out;
	struct net_event **heap;
	size_t count;
	uint64_t order;
	struct packet content[NET_CONTENT];
	struct net_sent *sent; /* by position, of side 0's packets */
	uint64_t position;     /* of the next, from 1 */
	bool wrong;	       /* something came that was not sent */
};

static bool net_before(const struct net_event *a, const struct net_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void net_push(struct net *n, struct net_event *event)
{
	size_t i = n->count++;

	MUST(n->count < NET_EVENTS_MAX);
	while (i && net_before(event, n->heap[(i - 1) / 2])) {
		n->heap[i] = n->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	n->heap[i] = event;
}

static struct net_event *net_pop(struct net *n)
{
	struct net_event *first = n->heap[0], *last = n->heap[--n->count];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < n->count; i = child) {
		if (child + 1 < n->count && net_before(n->heap[child + 1], n->heap[child]))
			child++;
		if (!net_before(n->heap[child], last))
			break;
		n->heap[i] = n->heap[child];
	}
	n->heap[i] = last;
	return first;
}

static bool net_loses(struct net *n, struct net_way *w)
{
	uint32_t burst = w->burst ? w->burst : 1;

	if (w->down)
		return true;
	if (w->losing) {
		w->losing--;
		return true;
	}
	if (!rng_chance_ppm(&n->rng, w->loss_ppm / burst))
		return false;
	w->losing = burst - 1;
	return true;
}

static void net_carry(struct net *n, unsigned side, unsigned path, const struct iovec *datagram)
{
	struct net_way *w = &n->ways[side][path];
	int64_t at_us = n->now_us;

	w->offered++;
	w->bytes += datagram->iov_len;
	if (w->rate_bps) {
		int64_t queue_us = w->queue_us ? w->queue_us : 100000;

		if (w->free_us < n->now_us)
			w->free_us = n->now_us;
		if (w->free_us - n->now_us > queue_us) {
			w->lost++;
			return;
		}
		w->free_us += (int64_t)(datagram->iov_len * 8 * 1000000 / w->rate_bps);
		at_us = w->free_us;
	}
	if (net_loses(n, w)) {
		w->lost++;
		return;
	}
	at_us += w->delay_us + rng_between(&n->rng, 0, w->jitter_us);
	if (w->ordered && at_us < w->newest_us)
		at_us = w->newest_us;
	w->newest_us = at_us;
	struct net_event *event = malloc(sizeof(*event));

	MUST(event && datagram->iov_len <= sizeof(event->bytes));
	event->at_us = at_us;
	event->order = n->order++;
	event->to = !side;
	event->path = (uint8_t)path;
	event->size = (uint16_t)datagram->iov_len;
	memcpy(event->bytes, datagram->iov_base, datagram->iov_len);
	net_push(n, event);
}

static void net_emit(void *context, unsigned path, const struct iovec *datagrams, size_t count)
{
	struct net_end *end = context;

	for (size_t i = 0; i < count; i++)
		net_carry(end->net, end->side, path, &datagrams[i]);
}

static void net_deliver(void *context, const struct link_media *media)
{
	struct net_end *end = context;
	struct net *n = end->net;
	uint64_t position = media->header.position;
	const struct packet *content = &n->content[position % NET_CONTENT];

	end->delivered++;
	if (end->side == 0)
		return;
	if (position >= n->position || media->header.size != content->header.size ||
		memcmp(media->payload, content->payload, content->header.size) != 0 ||
		media->to != 1000 + position % 7 || media->from != 500) {
		n->wrong = true;
		return;
	}
	struct net_sent *sent = &n->sent[position];

	sent->times++;
	if (sent->came_us < 0)
		sent->came_us = n->now_us;
}

/* The index of a reference is the content it has, its generation the position. */
static const struct packet *net_packet(void *context, struct slot_ref ref)
{
	struct net_end *end = context;
	struct packet *packet = &end->net->content[ref.index];

	packet->header.position = ref.generation;
	return packet;
}

static void net_release(void *context, struct slot_ref ref)
{
	struct net_end *end = context;

	(void)ref;
	MUST(end->held);
	end->held--;
}

static void net_key(struct rng *rng, struct link_key *key)
{
	rng_fill(rng, key, sizeof(*key));
}

static void net_begin_end(struct net *n, unsigned side, const struct link_options *options)
{
	struct net_end *end = &n->ends[side];
	const struct link_ops ops = {end, net_emit, net_deliver, net_packet, net_release};

	end->net = n;
	end->side = (uint8_t)side;
	end->deadline_us = n->now_us;
	if (!end->engine)
		end->engine = calloc(1, sizeof(*end->engine));
	MUST(end->engine);
	CHECK_OK(link_engine_init(end->engine, options, &ops, &end->hot, &n->out, n->now_us));
}

static struct net *net_create(uint64_t seed, const struct link_options *options, unsigned paths)
{
	struct net *n = calloc(1, sizeof(*n));
	struct link_key keys[2];

	MUST(n);
	n->heap = calloc(NET_EVENTS_MAX, sizeof(n->heap[0]));
	n->sent = calloc(NET_PACKETS_MAX, sizeof(n->sent[0]));
	MUST(n->heap && n->sent);
	n->rng = rng_of(seed);
	n->now_us = 1000000000;
	n->position = 1;
	for (int i = 0; i < NET_CONTENT; i++) {
		n->content[i].header.size = (uint16_t)rng_between(&n->rng, 900, 1200);
		n->content[i].header.priority = MEDIA_PRIORITY_DELTA;
		rng_fill(&n->rng, n->content[i].payload, n->content[i].header.size);
	}
	net_key(&n->rng, &keys[0]);
	net_key(&n->rng, &keys[1]);
	for (unsigned side = 0; side < 2; side++) {
		link_hot_init(&n->ends[side].hot, &keys[side]);
		link_hot_meet(&n->ends[side].hot, &keys[!side]);
		net_begin_end(n, side, options);
		for (unsigned path = 0; path < paths; path++) {
			n->ways[side][path] = (struct net_way){
				.delay_us = 10000, .jitter_us = 500, .ordered = true};
			link_engine_add_path(
				n->ends[side].engine, path, link_route(path, path), n->now_us);
		}
	}
	return n;
}

/* Every reference that was given is given back. */
static void net_destroy(struct net **net)
{
	struct net *n = *net;

	while (n->count)
		free(net_pop(n));
	for (int side = 0; side < 2; side++) {
		link_engine_fini(n->ends[side].engine);
		CHECK_EQ(n->ends[side].held, 0);
		free(n->ends[side].engine);
	}
	CHECK(!n->wrong);
	free(n->heap);
	free(n->sent);
	free(n);
	*net = NULL;
}

static void net_run_event(struct net *n)
{
	struct net_event *event = net_pop(n);
	struct net_end *end = &n->ends[event->to];
	unsigned path;

	n->now_us = event->at_us;
	link_engine_take(end->engine, event->bytes, event->size, n->now_us, &path);
	link_engine_flush(end->engine);
	int64_t at_us = link_engine_deadline_us(end->engine, n->now_us);

	end->deadline_us = at_us < end->deadline_us ? at_us : end->deadline_us;
	free(event);
}

/* Virtual time goes on to `until_us`; timers run on a whole millisecond, as in a worker. */
static void net_run_until(struct net *n, int64_t until_us)
{
	for (;;) {
		int64_t timer_us = INT64_MAX;
		unsigned side = 0;

		for (unsigned i = 0; i < 2; i++)
			if (n->ends[i].deadline_us < timer_us) {
				timer_us = n->ends[i].deadline_us;
				side = i;
			}
		timer_us = timer_us > INT64_MAX - 1000 ? timer_us : (timer_us + 999) / 1000 * 1000;
		timer_us = timer_us < n->now_us ? n->now_us : timer_us;
		if (n->count && n->heap[0]->at_us <= timer_us && n->heap[0]->at_us <= until_us) {
			net_run_event(n);
		} else if (timer_us <= until_us) {
			n->now_us = timer_us;
			n->ends[side].deadline_us =
				link_engine_tick(n->ends[side].engine, n->now_us);
			MUST(n->ends[side].deadline_us > n->now_us);
		} else {
			break;
		}
	}
	n->now_us = until_us;
}

static void net_send(struct net *n, bool matters)
{
	struct net_end *end = &n->ends[0];
	struct slot_ref ref = {(uint32_t)(n->position % NET_CONTENT), (uint32_t)n->position};

	MUST(n->position < NET_PACKETS_MAX);
	n->content[ref.index].header.priority =
		matters ? MEDIA_PRIORITY_AUDIO : MEDIA_PRIORITY_DELTA;
	n->sent[n->position] = (struct net_sent){.at_us = n->now_us, .came_us = -1};
	end->held++;
	link_engine_send(end->engine, ref, 1000 + n->position % 7, 500,
		(struct link_terms){n->mode, n->age_us[n->position % 2]}, n->now_us);
	n->position++;
}

/* Bursts of `burst` packets every `every_us`, as frames are; one in sixteen matters. */
static void net_stream(struct net *n, int64_t duration_us, int64_t every_us, unsigned burst)
{
	int64_t end_us = n->now_us + duration_us;

	while (n->now_us < end_us) {
		for (unsigned i = 0; i < burst; i++)
			net_send(n, n->position % 16 == 0);
		link_engine_flush(n->ends[0].engine);
		int64_t at_us = link_engine_deadline_us(n->ends[0].engine, n->now_us);

		if (at_us < n->ends[0].deadline_us)
			n->ends[0].deadline_us = at_us;
		net_run_until(n, n->now_us + every_us);
	}
}

struct net_result {
	uint64_t sent, lost, doubled;
	int64_t delay_p50_us, delay_p99_us, delay_max_us;
	int64_t gap_max_us; /* longest time without a packet, the stream's own pauses included */
	uint32_t extra_ppm; /* bytes beyond one copy of each packet */
};

static int net_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Of the packets from position `from` on. */
static struct net_result net_result(struct net *n, uint64_t from)
{
	struct net_result r = {.sent = n->position - from};
	int64_t *delays = calloc(n->position, sizeof(*delays)), newest_us = 0;
	int64_t *came = calloc(n->position, sizeof(*came));
	size_t count = 0;
	uint64_t bytes = 0;

	MUST(delays && came);
	for (uint64_t i = from; i < n->position; i++) {
		const struct net_sent *s = &n->sent[i];

		r.lost += s->times == 0;
		r.doubled += s->times > 1;
		if (!s->times)
			continue;
		came[count] = s->came_us;
		delays[count++] = s->came_us - s->at_us;
	}
	qsort(delays, count, sizeof(*delays), net_compare);
	qsort(came, count, sizeof(*came), net_compare);
	for (size_t i = 0; i < count; i++) {
		if (i && came[i] - newest_us > r.gap_max_us)
			r.gap_max_us = came[i] - newest_us;
		newest_us = came[i];
	}
	if (count) {
		r.delay_p50_us = delays[count / 2];
		r.delay_p99_us = delays[count * 99 / 100];
		r.delay_max_us = delays[count - 1];
	}
	for (int i = 0; i < LINK_PATHS_MAX; i++)
		bytes += n->ways[0][i].bytes;
	uint64_t once = n->ends[0].engine->send.bytes;

	r.extra_ppm = bytes > once ? (uint32_t)((bytes - once) * 1000000 / (once ? once : 1)) : 0;
	free(delays);
	free(came);
	return r;
}

#endif
