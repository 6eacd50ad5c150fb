/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what must hold for clients outside and the actors that serve them. Looks; changes nothing
 * of the run.
 */
#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/rtmp/flv_mux.h"
#include "actors/rtmp/rtmp_actor.h"
#include "actors/webrtc/session.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"
#include "tests/sim/sim_rtc.h"

enum {
	RECENT_US = 1500 * SIM_MS,     /* a picture in a live stream's reader */
	LOOK_AHEAD_US = 1200 * SIM_MS, /* a successor has a report to send by then */
};

/* ---- checks ------------------------------------------------------------------------------------ */

/* Number of who publishes; 0 = nobody does. */
static uint32_t live_on(struct sim *sim, uint8_t stream)
{
	for (int i = 0; i < SIM_EDGES_MAX; i++) {
		const struct sim_edge *edge = &sim->edges->edge[i];

		if (!edge->kind || edge->stream != stream)
			continue;
		if (edge->kind == &sim_rtmp_kind && edge->client &&
			edge->rtmp.phase == SIM_RTMP_PUBLISHING)
			return edge->rtmp.number;
		if (edge->kind == &sim_whip_kind && edge->rtc && edge->rtc->phase == SIM_RTC_UP)
			return edge->rtc->publish.number;
	}
	return 0;
}

/* When this one is known to have published last; 0 = it does not. */
static int64_t published_us(const struct sim *sim, const struct sim_edge *edge)
{
	if (edge->kind == &sim_rtmp_kind && edge->client && edge->rtmp.phase == SIM_RTMP_PUBLISHING)
		return sim->now_us;
	/* (its stream is live as soon as it has its answer) */
	if (edge->kind == &sim_whip_kind && edge->rtc && edge->rtc->phase != SIM_RTC_ASKING)
		return edge->rtc->answered_us;
	return 0;
}

void sim_edge_note_published(struct sim *sim, const struct sim_edge *edge)
{
	int64_t at_us = published_us(sim, edge);

	if (at_us > sim->edges->published_us[edge->stream])
		sim->edges->published_us[edge->stream] = at_us;
}

static void check_session(struct sim *sim, const struct sim_edge *edge, uint32_t publisher)
{
	const struct sim_rtc *s = edge->rtc;
	const struct sim_rtc_in *video = s ? &s->play.tracks[SIM_RTC_VIDEO] : NULL;

	SIM_CHECK(sim, s && s->phase == SIM_RTC_UP, "a WebRTC %s of live/e%u has no session",
		edge->kind->publishes ? "publisher" : "viewer", edge->stream);
	if (sim->failed || edge->kind->publishes)
		return;
	SIM_CHECK(sim, sim->now_us - video->last_us < RECENT_US,
		"a WebRTC viewer of live/e%u had no picture for %lld ms", edge->stream,
		(long long)((sim->now_us - video->last_us) / SIM_MS));
	SIM_CHECK(sim, sim->now_us - s->play.tracks[SIM_RTC_AUDIO].last_us < RECENT_US,
		"a WebRTC viewer of live/e%u hears nothing", edge->stream);
	SIM_CHECK(sim, video->newest.mark.publisher == publisher,
		"a WebRTC viewer of live/e%u sees publisher %u, live is %u", edge->stream,
		video->newest.mark.publisher, publisher);
}

static void check_reader(struct sim *sim, const struct sim_edge *edge, uint32_t publisher)
{
	const struct sim_flv *s = &edge->flv;

	SIM_CHECK(sim, edge->client && s->begun && sim->now_us - s->last_us < RECENT_US,
		"an FLV reader of live/e%u had no picture for %lld ms", edge->stream,
		(long long)((sim->now_us - s->last_us) / SIM_MS));
	SIM_CHECK(sim, sim->now_us - s->heard_us < RECENT_US,
		"an FLV reader of live/e%u hears nothing for %lld ms", edge->stream,
		(long long)((sim->now_us - s->heard_us) / SIM_MS));
	SIM_CHECK(sim, s->video.publisher == publisher,
		"an FLV reader of live/e%u sees publisher %u, live is %u", edge->stream,
		s->video.publisher, publisher);
}

void sim_edges_check_converged(struct sim *sim)
{
	for (int i = 0; sim->edges && i < SIM_EDGES_MAX; i++) {
		const struct sim_edge *edge = &sim->edges->edge[i];

		if (!edge->kind || !(edge->kind->publishes || edge->kind->watches))
			continue;
		uint32_t publisher = live_on(sim, edge->stream);

		SIM_CHECK(sim, publisher, "nobody publishes live/e%u", edge->stream);
		if (edge->kind->run)
			check_session(sim, edge, publisher);
		else if (edge->kind->watches)
			check_reader(sim, edge, publisher);
	}
}

bool sim_edges_is_unborn(const struct actor *actor)
{
	return actor->type == &session_actor && actor->phase != SESSION_UP;
}

void sim_edges_left_by(const struct actor *actor, uint64_t left[ARENA_TABLE_COUNT])
{
	left[ARENA_SESSION] += sim_edges_is_unborn(actor);
}

void sim_edges_check_empty(struct sim *sim, const struct sim_process *process)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct rtc_port_state *port = (const void *)actor->data;
		const struct repl_state *repl = (const void *)actor->data;

		SIM_CHECK(sim,
			actor->type != &rtmp_session_actor &&
				actor->type != &http_connection_actor &&
				actor->type != &flv_mux_actor && actor->type != &session_actor &&
				actor->type != &callback_actor &&
				actor->type != &callback_ticket_actor,
			"%s outlives its client", actor->name[0] ? actor->name : actor->type->name);
		SIM_CHECK(sim, actor->type != &rtc_port_actor || !port->sessions,
			"a port counts %u sessions and has none", port->sessions);
		SIM_CHECK(sim, actor->type != &repl_actor || !repl->connections,
			"the console has %u connections left", repl->connections);
	}
}

/* ---- a successor, tried out -------------------------------------------------------------------- */

void sim_edges_plant_index(struct sim_process *process, struct arena *copy)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct session_state *st = (const void *)actor->data;
		struct session_slot *slot;

		if (actor->type != &session_actor || actor->phase != SESSION_UP)
			continue;
		slot = arena_get(copy, ARENA_SESSION,
			(struct slot_ref){st->slot_index, st->slot_generation});
		if (slot && slot->rtcp_index)
			slot->rtcp_index--;
	}
}

void sim_edges_age(struct sim *sim, const struct sim_edge *edge, uint32_t packets)
{
	struct sim_process *process = &sim->processes[edge->rtc->slot];

	for (struct actor *actor = process->alive ? process->rt->oldest : NULL; actor;
		actor = actor->next) {
		const struct session_state *st = (const void *)actor->data;
		struct session_slot *slot;

		if (actor->type != &session_actor || actor->phase != SESSION_CONNECTING)
			continue;
		slot = arena_get(process->arena, ARENA_SESSION,
			(struct slot_ref){st->slot_index, st->slot_generation});
		if (!slot || strcmp(slot->plan.remote.ufrag, edge->rtc->ufrag) != 0)
			continue;
		for (int i = 0; i < slot->plan.media_count; i++) {
			struct rtp_sender *sender = &slot->play.tracks[i].sender;

			sender->first_at = UINT16_MAX - packets;
			sender->heads[sender->current].committed = sender->first_at;
		}
	}
}

static void join_again(struct actor *self, void *data, void *context)
{
	(void)context;
	session_actor.timer(self, data, SESSION_TIMER_JOIN);
	session_actor.pump(self, data);
}

static void be_due(struct actor *self, void *data, void *context)
{
	(void)context;
	session_actor.timer(self, data, SESSION_TIMER_DUE);
}

static unsigned each_session(
	struct sim_process *process, void (*fn)(struct actor *self, void *data, void *context))
{
	struct actor *next;
	unsigned count = 0;

	for (struct actor *actor = process->rt->oldest; actor; actor = next) {
		next = actor->next;
		if (actor->type == &session_actor && actor->phase == SESSION_UP)
			count += actor_call(
				process->rt, actor_addr(actor), &session_actor, fn, process);
	}
	return count;
}

/* Viewers ask the successor for what they got from the one before. */
static void ask_successor(struct sim *sim, struct sim_process *elsewhere, const struct actor *port)
{
	uint8_t bytes[SIM_RTC_SEALED_MAX];

	for (int i = 0; i < SIM_EDGES_MAX; i++) {
		struct sim_edge *edge = &sim->edges->edge[i];
		struct datagram datagram = {.bytes = bytes};

		if (edge->kind != &sim_whep_kind || !edge->rtc ||
			sim->processes[edge->rtc->slot].incarnation != elsewhere->incarnation)
			continue;
		datagram.from = edge->rtc->address;
		datagram.size = (uint16_t)sim_rtc_play_nack(edge, bytes);
		datagram.arrival_us = sim->now_us;
		if (datagram.size)
			runtime_net_datagrams(elsewhere->rt, port->id, &datagram, 1);
	}
}

void sim_edges_try(struct sim *sim, struct sim_process *elsewhere)
{
	unsigned sessions = each_session(elsewhere, join_again);

	for (const struct actor *actor = elsewhere->rt->oldest; actor; actor = actor->next) {
		const struct rtc_port_state *port = (const void *)actor->data;

		if (actor->type != &rtc_port_actor)
			continue;
		SIM_CHECK(sim, port->sessions == sessions,
			"%u sessions join the port of a successor, which counts %u", sessions,
			port->sessions);
		ask_successor(sim, elsewhere, actor);
	}
	elsewhere->ahead_us = LOOK_AHEAD_US;
	runtime_tick(elsewhere->rt);
	each_session(elsewhere, be_due);
}
