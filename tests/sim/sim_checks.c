/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what must always hold, what must hold when all is quiet, and what must be left when
 * everybody has gone. Looks inside the kernel and the streams; changes nothing.
 */
#include "actors/link/link_actor.h"
#include "actors/stream/media_log.h"
#include "actors/stream/stream_actor.h"
#include "actors/transcode/transcode_actor.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"
#include "runtime/process_office.h"
#include "tests/sim/sim_clients.h"
#include "tests/sim/sim_edges.h"

#include <stdlib.h>

enum {
	STEPS_A_LOOK = 32,   /* events between two looks at a process */
	LOOKS_A_SWEEP = 700, /* looks between two at which all of it is restored, on average */
	/* who ran is restored after every event: in every so many seeds throughout (a prime: they
	 * meet every scenario), in the others for so many events in a row, one time in so many */
	THOROUGH_SEEDS = 23,
	RESTORE_STEPS = 256,
	RESTORE_ONE_IN = 10,
	CLUSTER_ONE_IN = 8,
	STALL_US =
		700 * SIM_MS, /* a viewer of a live stream is never without a packet for longer */
	REQUEST_LATE_US = 500 * SIM_MS,
	ASKED_MAX = 64,		/* requests of a process that are looked at once more … */
	ANSWERED_MS = 100,	/* … after this: offices ask each other now and then */
	ACKNOWLEDGED_MS = 1000, /* a mail is, when nothing fails: some round trips */
};

static bool is_a(const struct actor *actor, const struct actor_type *type)
{
	return actor->type == type;
}

static const char *name_of(const struct actor *actor)
{
	return actor->name[0] ? actor->name : actor->type->name;
}

/* ---- always ------------------------------------------------------------------------------------ */

static void check_bounds(struct sim *sim, struct sim_process *process)
{
	struct runtime *rt = process->rt;

	for (const struct actor *actor = rt->oldest; actor; actor = actor->next) {
		uint32_t max =
			actor->type->mailbox_max ? actor->type->mailbox_max : ACTOR_MAILBOX_DEFAULT;

		/* answers, deaths and failures are taken above a mailbox's bound */
		if (rt->options.mailbox_max)
			max = 1024;

		SIM_CHECK(sim, actor->mail_count <= 2 * max, "mailbox of %s holds %u",
			name_of(actor), actor->mail_count);
		SIM_CHECK(sim, actor->depth == 0, "%s is still on the stack", name_of(actor));
	}
	for (int i = 0; i < rt->peers_end; i++) {
		const struct peer *peer = &rt->peers[i];

		SIM_CHECK(sim,
			peer->mail.out_count <= RUNTIME_OUTBOX_MAX &&
				peer->mail.out_bytes <=
					RUNTIME_OUTBOX_BYTES_MAX + RUNTIME_FRAME_MAX,
			"outbox to process %u holds %u mails", peer->info.process,
			peer->mail.out_count);
		const struct sim_process *other = sim_process_of(sim, peer->info.process);
		uint64_t mails =
			other ? sim->mails[other - sim->processes][process - sim->processes] : 0;

		SIM_CHECK(sim, !peer->used || !other || mails == peer->mail.in_seq,
			"%llu mails taken from process %u, which counts %llu",
			(unsigned long long)mails, peer->info.process,
			(unsigned long long)peer->mail.in_seq);
	}
}

static uint64_t taken_by(const struct stream_state *st)
{
	return st->packets + st->dropped_no_slot + st->dropped_waiting_keyframe +
	       st->dropped_duplicate + st->dropped_too_late + st->dropped_not_source +
	       st->dropped_standby;
}

/* Its packets come from a protocol's session, which nobody counts. */
static bool is_of_edges(const struct actor *actor)
{
	return !strncmp(
		((const struct stream_state *)(const void *)actor->data)->name, "live/e", 6);
}

bool sim_account_missing(struct sim *sim, const struct actor *actor, int64_t *missing)
{
	const struct stream_state *st = (const void *)actor->data;
	const struct sim_account *account;

	/* (what comes from other nodes is counted by nobody) */
	if (!is_a(actor, &stream_actor) || is_of_edges(actor) || actor->stopping || sim->wide)
		return false;
	account = sim_account(sim, actor->id);
	*missing = (int64_t)(account->given + account->sent - taken_by(st) - account->lost -
			     account->refused_in - account->flying);
	return true;
}

/* Packets sent = taken + dropped with a reason + lost on the way. */
static void check_account(struct sim *sim, const struct actor *actor)
{
	const struct stream_state *st = (const void *)actor->data;
	const struct sim_account *account = sim_account(sim, actor->id);
	uint64_t sent = account->given + account->sent;
	uint64_t found = taken_by(st) + account->lost + account->refused_in + account->flying;

	SIM_CHECK(sim, sent == found, "%s %s: %llu packets sent, %llu accounted for",
		st->replica ? "replica" : "origin", actor->name, (unsigned long long)sent,
		(unsigned long long)found);
}

static void check_log(struct sim *sim, struct sim_process *process, const struct actor *actor)
{
	const struct stream_state *st = (const void *)actor->data;
	const struct media_log *log =
		media_log_get(process->arena, (struct slot_ref){st->log_index, st->log_generation});
	uint64_t bytes = 0;

	SIM_CHECK(sim, log, "%s has no log", actor->name);
	if (!log)
		return;
	for (uint64_t position = log->first; position < log->next; position++) {
		struct slot_ref ref = media_log_ref(log, position);
		const struct packet *packet = media_log_packet(process->arena, log, position);

		SIM_CHECK(sim, !ref.generation || packet, "%s: position %llu names a freed packet",
			actor->name, (unsigned long long)position);
		SIM_CHECK(sim, !packet || packet->header.position == position,
			"%s: position %llu holds %llu", actor->name, (unsigned long long)position,
			(unsigned long long)(packet ? packet->header.position : 0));
		SIM_CHECK(sim, packet || st->replica || position < log->ready,
			"%s: an origin waits for position %llu", actor->name,
			(unsigned long long)position);
		bytes += packet ? packet->header.size : 0;
	}
	SIM_CHECK(sim, bytes == log->bytes, "%s: log holds %llu bytes, says %llu", actor->name,
		(unsigned long long)bytes, (unsigned long long)log->bytes);
	const struct packet *key =
		log->keyframe ? media_log_packet(process->arena, log, log->keyframe) : NULL;

	SIM_CHECK(sim, !log->keyframe || (key && key->header.flags & MEDIA_KEYFRAME),
		"%s: no keyframe at %llu", actor->name, (unsigned long long)log->keyframe);
}

static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

/* An owner's epoch is a fencing token: two with the same one could not be told apart. */
static void check_grant(struct sim *sim, const struct actor *actor)
{
	const struct stream_state *st = (const void *)actor->data;
	struct sim_grant grant = {
		.name = hash_of(st->name), .epoch = st->epoch, .owner = actor_addr(actor)};

	/* (nodes that cannot agree may grant one epoch twice: then `start` tells them apart) */
	if (sim->wide)
		grant.epoch ^= (uint64_t)st->claimed_us * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = sim->grant_count; i-- > 0;) {
		const struct sim_grant *other = &sim->grants[i];

		if (other->name != grant.name || other->epoch != grant.epoch)
			continue;
		SIM_CHECK(sim, addr_equal(other->owner, grant.owner),
			"epoch %llu of %s has two owners, %llx and %llx",
			(unsigned long long)grant.epoch, st->name,
			(unsigned long long)other->owner.id, (unsigned long long)grant.owner.id);
		return;
	}
	if (sim->grant_count < SIM_EPOCHS_MAX)
		sim->grants[sim->grant_count++] = grant;
}

void sim_check_owners(struct sim *sim, struct sim_process *process)
{
	if (process->role != PROCESS_MEDIA)
		return;
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct stream_state *st = (const void *)actor->data;

		if (is_a(actor, &stream_actor) && !st->replica && st->epoch &&
			actor->phase & (STREAM_LIVE | STREAM_ORPHANED))
			check_grant(sim, actor);
	}
}

static void check_request(struct sim *sim, const struct actor *actor, uint64_t request,
	int64_t asked_us, int64_t timeout_us)
{
	if (request && sim->now_us - asked_us > timeout_us + REQUEST_LATE_US)
		sim_fail(sim, "a request of %s never ended", name_of(actor));
}

void sim_check_process(struct sim *sim, struct sim_process *process, bool closely)
{
	if (process->paused_until_us > sim->now_us)
		return; /* its time stands still */
	check_bounds(sim, process);
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		const struct sim_publisher_actor *publisher = (const void *)actor->data;
		const struct sim_viewer_actor *viewer = (const void *)actor->data;

		if (is_a(actor, &stream_actor)) {
			if (!is_of_edges(actor) && !sim->wide)
				check_account(sim, actor);
			if (closely)
				check_log(sim, process, actor);
		} else if (is_a(actor, &sim_publisher)) {
			check_request(sim, actor, publisher->st.request, publisher->st.asked_us,
				3000 * SIM_MS);
		} else if (is_a(actor, &sim_viewer)) {
			check_request(
				sim, actor, viewer->st.request, viewer->st.asked_us, 4500 * SIM_MS);
		}
	}
}

static void look(struct sim *sim)
{
	struct sim_process *process = &sim->processes[rng_below(&sim->check_rng, sim->slots)];

	if (!process->alive)
		return;
	if (rng_below(&sim->check_rng, LOOKS_A_SWEEP) == 0)
		sim_restore_all(sim, process);
	else
		sim_check_process(sim, process, rng_below(&sim->check_rng, 16) == 0);
}

/* (a cluster has ten times the events, and of what a node restores most is of its control process) */
static bool restores_now(struct sim *sim)
{
	bool thorough = sim->options.thorough || sim->options.seed % THOROUGH_SEEDS == 0;
	uint32_t one_in = thorough ? 1 : RESTORE_ONE_IN;

	return rng_below(&sim->check_rng, sim->wide ? one_in * CLUSTER_ONE_IN : one_in) == 0;
}

void sim_check_step(struct sim *sim)
{
	uint64_t stirred[SIM_PROCESSES_MAX / 64 + 1];

	memcpy(stirred, sim->stirred, sizeof(stirred));
	memset(sim->stirred, 0, sizeof(sim->stirred));
	if (sim->steps % RESTORE_STEPS == 0)
		sim->restoring = restores_now(sim);
	if (!sim->failed && sim->steps++ % STEPS_A_LOOK == 0)
		look(sim);
	if (sim->failed || !sim->restoring)
		return;
	for (uint32_t i = 0; i < sim->slots; i++)
		if (stirred[i / 64] >> i % 64 & 1 && sim->processes[i].alive)
			sim_restore_changed(sim, &sim->processes[i]);
}

/* ---- when all is quiet ------------------------------------------------------------------------- */

struct name_view {
	uint32_t origins, live;
	struct addr source;
	uint64_t publisher; /* number of the one that the owner takes media from */
};

static void look_for_owner(struct sim *sim, const char *name, struct name_view *view)
{
	*view = (struct name_view){0};
	for (uint32_t i = 0; i < sim->slots; i++) {
		if (!sim->processes[i].alive)
			continue;
		for (const struct actor *actor = sim->processes[i].rt->oldest; actor;
			actor = actor->next) {
			const struct stream_state *st = (const void *)actor->data;

			if (!is_a(actor, &stream_actor) || st->replica || strcmp(st->name, name))
				continue;
			view->origins++;
			view->live += actor->phase == STREAM_LIVE;
			view->source = st->source;
		}
	}
	for (uint32_t i = 0; i < sim->slots; i++) {
		if (!sim->processes[i].alive)
			continue;
		for (const struct actor *actor = sim->processes[i].rt->oldest; actor;
			actor = actor->next) {
			const struct sim_publisher_state *st = (const void *)actor->data;

			if (is_a(actor, &sim_publisher) && actor->phase == SIM_PUB_LIVE &&
				addr_equal(actor_addr(actor), view->source))
				view->publisher = st->number;
		}
	}
}

static void check_viewer(struct sim *sim, const struct actor *actor, const struct name_view *view)
{
	const struct sim_viewer_actor *viewer = (const void *)actor->data;
	const struct sim_viewer_state *st = &viewer->st;
	int64_t silent_us = sim->now_us - st->last_packet_us;
	int64_t most_us = STALL_US + (int64_t)st->slow_ms * SIM_MS;

	SIM_CHECK(
		sim, actor->phase == SIM_VIEW_WATCHING, "a viewer of %s does not watch", st->name);
	SIM_CHECK(sim, silent_us < most_us, "a viewer of %s (process %u) had nothing for %lld ms",
		st->name, actor->rt->options.process, (long long)(silent_us / SIM_MS));
	SIM_CHECK(sim, st->last_publisher == view->publisher || st->slow_ms,
		"a viewer of %s sees publisher %llu, live is %llu", st->name,
		(unsigned long long)st->last_publisher, (unsigned long long)view->publisher);
	/* (a short log may have forgotten every keyframe before a slow reader comes) */
	SIM_CHECK(sim, st->started || (st->slow_ms && sim->scenario->packets),
		"a viewer of %s still waits for a keyframe", st->name);
	SIM_CHECK(sim, !st->audio_codec || sim->now_us - st->last_audio_us < most_us,
		"a viewer of %s lacks its made audio", st->name);
}

void sim_check_clients(struct sim *sim)
{
	char name[32];

	for (uint32_t stream = 0; stream < sim->streams && !sim->failed; stream++) {
		struct name_view view;

		sim_stream_name(stream, name, sizeof(name));
		look_for_owner(sim, name, &view);
		if (sim->scenario->scarce) {
			SIM_CHECK(sim, view.origins <= 1, "%s has %u owners", name, view.origins);
			continue;
		}
		SIM_CHECK(sim, view.origins == 1 && view.live == 1, "%s has %u owners, %u live",
			name, view.origins, view.live);
		SIM_CHECK(sim, view.publisher, "nobody publishes %s", name);
		for (size_t i = 0; i < sim->client_count; i++) {
			const struct sim_client *client = &sim->clients[i];
			struct sim_process *process = sim_process_of(sim, client->incarnation);
			struct actor *actor =
				process ? runtime_find(process->rt, client->addr.id) : NULL;

			if (!client->wanted || client->publishes || client->stream != stream)
				continue;
			SIM_CHECK(sim, actor, "a viewer of %s has gone", name);
			if (actor)
				check_viewer(sim, actor, &view);
		}
	}
}

void sim_check_converged(struct sim *sim)
{
	uint64_t swept = rng_below(&sim->check_rng, 1 + sim->workers);

	sim_check_clients(sim);
	if (sim->wide) {
		sim_cluster_check_ways(sim);
		sim_settings_check(sim);
	}
	sim_edges_check_converged(sim);
	sim_far_check_converged(sim);

	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];

		if (!process->alive || sim->failed)
			continue;
		if (i == swept) {
			sim_restore_all(sim, process);
		} else {
			sim_check_process(sim, process, true);
			sim_restore_changed(sim, process);
		}
	}
}

/* What offices say they have is what is there: nothing. */
static void check_office_empty(struct sim *sim, const struct actor *actor)
{
	const struct transcode_office_state *transcodes = (const void *)actor->data;
	const struct process_office_state *process = (const void *)actor->data;

	if (is_a(actor, &transcode_office_actor))
		SIM_CHECK(sim, !transcodes->rows_count, "the helper knows %d transcoders",
			transcodes->rows_count);
	if (is_a(actor, &process_office_actor))
		SIM_CHECK(sim, !process->sessions && !process->streams && !process->endings_count,
			"%u sessions and %u streams are counted, %d are ending", process->sessions,
			process->streams, process->endings_count);
}

static uint32_t count_links(const struct sim_process *process)
{
	uint32_t count = 0;

	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
		count += is_a(actor, &media_link_actor);
	return count;
}

/* (Reports, a claim's renewal, whoever is probed are always under way: but not for long.) */
struct mail_mark {
	const struct mail_channel *channel;
	uint64_t out_seq;
};

typedef void see_channel(struct sim *sim, const struct sim_process *process, const char *whom,
	uint64_t id, const struct mail_channel *channel);

static void each_channel(struct sim *sim, see_channel *see)
{
	for (uint32_t i = 0; i < sim->slots; i++) {
		const struct sim_process *process = &sim->processes[i];
		const struct runtime *rt = process->rt;

		if (!process->alive)
			continue;
		for (int peer = 0; peer < rt->peers_end; peer++)
			if (rt->peers[peer].used)
				see(sim, process, "process", rt->peers[peer].info.process,
					&rt->peers[peer].mail);
		for (size_t node = 0; node < rt->nodes.capacity; node++) {
			const struct far_node *far = rt->nodes.entries[node].value;

			if (far)
				see(sim, process, "node", far->id, &far->mail);
		}
	}
}

static void mark(struct sim *sim, const struct sim_process *process, const char *whom, uint64_t id,
	const struct mail_channel *channel)
{
	(void)process;
	(void)whom;
	(void)id;
	if (!channel->out_count)
		return;
	sim->marks = realloc(sim->marks, (sim->mark_count + 1) * sizeof(*sim->marks));
	MUST(sim->marks);
	sim->marks[sim->mark_count++] = (struct mail_mark){channel, channel->out_seq};
}

static void check_mark(struct sim *sim, const struct sim_process *process, const char *whom,
	uint64_t id, const struct mail_channel *channel)
{
	for (size_t i = 0; i < sim->mark_count; i++)
		SIM_CHECK(sim,
			sim->marks[i].channel != channel ||
				channel->out_seq < sim->marks[i].out_seq || /* it began anew */
				channel->out_acked >= sim->marks[i].out_seq,
			"%u mails of process %u to %s %llu were never acknowledged",
			channel->out_count, process->incarnation, whom, (unsigned long long)id);
}

void sim_check_mail(struct sim *sim)
{
	sim->mark_count = 0;
	each_channel(sim, mark);
	sim_run_until(sim, sim->now_us + ACKNOWLEDGED_MS * SIM_MS);
	each_channel(sim, check_mark);
	free(sim->marks);
	sim->marks = NULL;
}

/* Nobody waits for long. */
static void check_answered(struct sim *sim, struct sim_process *process)
{
	uint64_t asked[ASKED_MAX];
	size_t count = 0;

	for (size_t i = 0; i < process->rt->pending.capacity && count < ASKED_MAX; i++) {
		const struct pending *pending = process->rt->pending.entries[i].value;

		if (pending &&
			pending->process) /* (else a web server's: a watch is open for long) */
			asked[count++] = pending->request;
	}
	if (count)
		sim_run_until(sim, sim->now_us + ANSWERED_MS * SIM_MS);
	for (size_t i = 0; i < count; i++) {
		const struct pending *pending = idmap_get(&process->rt->pending, asked[i]);
		const struct actor *asker =
			pending ? runtime_find(process->rt, pending->actor) : NULL;

		SIM_CHECK(sim, !pending, "%s still waits for an answer to %x",
			asker ? name_of(asker) : "nobody", pending ? pending->type : 0);
	}
}

void sim_check_empty(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->slots; i++) {
		struct sim_process *process = &sim->processes[i];
		struct arena_usage usage;

		if (!process->alive)
			continue;
		sim_edges_check_empty(sim, process);
		for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
			SIM_CHECK(sim,
				!is_a(actor, &stream_actor) && !is_a(actor, &transcoder_actor),
				"%s outlives its readers", name_of(actor));
			check_office_empty(sim, actor);
		}
		check_answered(sim, process);
		if (!process->arena)
			continue;
		arena_usage(process->arena, &usage);
		for (int table = 0; table < ARENA_TABLE_COUNT; table++)
			SIM_CHECK(sim,
				usage.used[table] ==
					(table == ARENA_SESSION ? count_links(process) : 0),
				"%u slots of table %d are left", usage.used[table], table);
	}
	sim_callbacks_check_empty(sim);
	SIM_CHECK(sim, sim->requests_sent == sim->requests_ended, "%llu requests, %llu ended",
		(unsigned long long)sim->requests_sent, (unsigned long long)sim->requests_ended);
}
