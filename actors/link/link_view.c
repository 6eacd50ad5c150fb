/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a link others see: its state, refreshed once a second; reports to this node's routes, from
 * which the brain plans, then too and at once when a path gets into trouble or out of it.
 */
#include "actors/link/link_internal.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum {
	SECOND_US = 1000000,
	NARROW_DATAGRAMS_MIN = 20, /* told of in a second; fewer say nothing */
};

static enum link_state state_of(const struct link_path *p)
{
	return p->state == LINK_PATH_GOOD	? LINK_UP
	       : p->state == LINK_PATH_DOUBTFUL ? LINK_DOUBTFUL
						: LINK_DOWN;
}

static void refresh_way(struct media_link *s, unsigned i)
{
	const struct link_path *p = &s->engine->paths[i];
	struct link_way *way = &s->st.ways[i];

	net_addr_text(&s->remotes[i], way->remote);
	way->state = (uint8_t)state_of(p);
	way->rtt_us = p->rtt_us;
	way->loss_ppm = p->loss_ppm;
	way->jitter_us = p->jitter_us;
	way->queue_us = p->queue_us;
	way->burst = p->burst;
	way->sent_bps = (p->bytes - s->bytes_seen[i]) * 8;
	way->rate_bps = p->rate_bps;
	way->bytes = p->bytes;
	way->doubts = p->doubts;
	way->best = s->engine->send.best == i;
	s->bytes_seen[i] = p->bytes;
}

/* What has been counted since the last look goes into the node's metrics; an engine that a successor made
 * counts from 0. */
static void count(struct actor *self, enum process_metric metric, uint64_t *seen, uint64_t now)
{
	process_metric_add(
		runtime_env(actor_runtime(self)), metric, now >= *seen ? now - *seen : now);
	*seen = now;
}

/* The same of one second, for this link alone. */
static uint32_t since(uint64_t before, uint64_t now)
{
	return (uint32_t)(now >= before ? now - before : now);
}

static void refresh_counters(struct actor *self, struct media_link *s)
{
	const struct link_engine *e = s->engine;
	struct media_link_state *st = &s->st;
	uint64_t repaired = st->recovered + st->restored, given_up = st->given_up;

	count(self, PROCESS_METRIC_LINK_PACKETS_OUT, &st->packets_out, e->send.packets);
	count(self, PROCESS_METRIC_LINK_BYTES, &st->bytes_out, e->send.bytes);
	count(self, PROCESS_METRIC_LINK_BYTES_EXTRA, &st->extra_bytes, e->send.extra_bytes);
	st->trouble_bytes = e->send.trouble_bytes;
	count(self, PROCESS_METRIC_LINK_DUPLICATED, &st->duplicated, e->send.duplicated);
	count(self, PROCESS_METRIC_LINK_RESENT, &st->resent, e->send.resent);
	count(self, PROCESS_METRIC_LINK_SWITCHES, &st->switches, e->send.switches);
	count(self, PROCESS_METRIC_LINK_FEC, &st->fec_rows, e->fec_out.sent);
	count(self, PROCESS_METRIC_LINK_PACKETS_IN, &st->packets_in, e->receive.packets);
	count(self, PROCESS_METRIC_LINK_RECOVERED, &st->recovered, e->receive.recovered);
	count(self, PROCESS_METRIC_LINK_RESTORED, &st->restored, e->fec_in.restored);
	count(self, PROCESS_METRIC_LINK_GIVEN_UP, &st->given_up, e->receive.given_up);
	s->repaired = since(repaired, st->recovered + st->restored);
	s->given_up = since(given_up, st->given_up);
	st->duplicates = e->receive.duplicates;
	st->not_there = e->counters.not_there;
	st->dropped_no_path = e->counters.no_path + e->counters.no_key + e->counters.too_wide +
			      e->counters.no_memory;
	st->unauthentic = e->counters.unauthentic;
	st->replayed = e->counters.replayed;
	st->malformed = e->counters.bad;
}

/* (The path's own rate says what it has proved to carry, and begins with a guess: too high for this.) */
static void judge_narrow(struct media_link *s, unsigned i, int64_t now_us)
{
	const struct link_path *p = &s->engine->paths[i];
	struct link_narrow *narrow = &s->narrow[i];
	uint32_t expected = p->expected - narrow->expected;
	uint32_t received = p->received - narrow->received;

	narrow->expected = p->expected;
	narrow->received = p->received;
	/* (what the other end says may be anything) */
	if (expected < NARROW_DATAGRAMS_MIN || expected > INT32_MAX)
		return;
	uint32_t lost = received < expected ? expected - received : 0;

	narrow_judge(&narrow->way,
		&(struct narrow_look){.span_us = SECOND_US,
			.sent_bps = s->st.ways[i].sent_bps,
			.came_bps = p->delivered_bps,
			.loss_ppm = (uint32_t)((uint64_t)lost * 1000000 / expected),
			.queue_us = p->queue_us},
		now_us);
}

void link_view_refresh(struct actor *self, struct media_link *s)
{
	const struct link_engine *e = s->engine;

	for (unsigned i = 0; i < s->path_count; i++) {
		refresh_way(s, i);
		judge_narrow(s, i, actor_now_us(self));
	}
	if (e->send.packets != s->seen_out || e->receive.packets != s->seen_in)
		s->st.used_us = s->media_us = actor_now_us(self);
	s->seen_out = e->send.packets;
	s->seen_in = e->receive.packets;
	refresh_counters(self, s);
	link_view_report(self, s, false);
}

uint32_t link_view_carries(const struct media_link *s)
{
	uint8_t best = s->engine ? s->engine->send.best : LINK_NO_PATH;

	if (best >= s->path_count)
		return UINT32_MAX;
	uint64_t sent_bps = s->st.ways[best].sent_bps, takes_bps = s->narrow[best].way.takes_bps;

	if (!takes_bps || !sent_bps)
		return UINT32_MAX;
	uint64_t permille = takes_bps * 1000 / sent_bps;

	return permille < UINT32_MAX ? (uint32_t)permille : UINT32_MAX;
}

/* Nothing is known of it yet: that is no trouble. */
static bool only_begins(const struct media_link *s, unsigned path)
{
	return s->said[path] == LINK_PATH_DEAD &&
	       s->engine->paths[path].state == LINK_PATH_DOUBTFUL;
}

void link_view_report(struct actor *self, const struct media_link *s, bool closed)
{
	struct msg_link_report report = {0};
	struct addr routes = actor_office(self, OFFICE_ROUTES);

	for (unsigned i = 0; i < s->path_count; i++) {
		const struct link_path *p = &s->engine->paths[i];

		if (!closed && only_begins(s, i))
			continue;
		report.links[report.links_count++] = (struct link_row){
			.node = s->st.node,
			.path = (uint8_t)i,
			.relay = s->st.ways[i].relay,
			.rtt_us = (uint32_t)link_path_rtt_us(p),
			.loss_ppm = p->loss_ppm,
			.jitter_us = p->jitter_us,
			.rate_bps = s->st.ways[i].sent_bps,
			.capacity_bps = link_path_capacity_bps(p, actor_now_us(self)),
			.state = (uint8_t)(closed ? LINK_CLOSED : state_of(p)),
			.mode = s->st.mode,
			.repaired = i ? 0 : s->repaired,
			.given_up = i ? 0 : s->given_up,
		};
	}
	if (report.links_count && !addr_is_nobody(routes))
		actor_send_mail(self, routes, MSG_link_report, &schema_link_report, &report);
}

void link_view_close_path(struct actor *self, const struct media_link *s, unsigned path)
{
	struct msg_link_report report = {
		.links_count = 1,
		.links = {{.node = s->st.node,
			.path = (uint8_t)path,
			.relay = s->st.ways[path].relay,
			.state = LINK_CLOSED}},
	};
	struct addr routes = actor_office(self, OFFICE_ROUTES);

	if (!addr_is_nobody(routes))
		actor_send_mail(self, routes, MSG_link_report, &schema_link_report, &report);
}

void link_view_watch(struct actor *self, struct media_link *s)
{
	bool is_news = false;

	for (unsigned i = 0; i < s->path_count; i++) {
		uint8_t state = (uint8_t)s->engine->paths[i].state;

		if (only_begins(s, i))
			continue;
		is_news |= s->said[i] != state;
		s->said[i] = state;
	}
	if (is_news)
		link_view_report(self, s, false);
}
