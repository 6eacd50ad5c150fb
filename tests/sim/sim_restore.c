/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: actors written down and brought back elsewhere, in another runtime whose arena is the
 * same memory at another address. What comes back must read the same and name the same slots. Where a
 * turn has just been kept, actors come back from the escrow, which must say what they are.
 *
 *   all        a fresh runtime: every actor of a process, then the sweep of slots that nobody named
 *   changed    a mirror that stays: whoever ran since the last time is ended there and restored
 *              anew, beside the offices and neighbours restored before
 *
 * A mirror is cheap because hardly anything is copied: packets and the heads of slots are the
 * process's own (counting again writes only to a field of the heads that nobody else reads), and of
 * the rest the kernel copies the pages that a restore writes to. Now and then it is thrown away,
 * with the mails that restored actors have sent each other.
 *
 * Changes nothing in the process.
 */
#include "actors/link/link_actor.h"
#include "actors/stream/media_log.h"
#include "actors/stream/stream_internal.h"
#include "actors/transcode/transcode_actor.h"
#include "actors/webrtc/rtc_port.h"
#include "cluster/cluster.h"
#include "runtime/kernel.h"
#include "tests/sim/sim_clients.h"
#include "tests/sim/sim_rtc.h"

#include <stdlib.h>

enum {
	ENCODED_MAX = 1 << 20, /* bytes of all actors of a process */
	ACTORS_MAX = 256,
	MIRROR_RESTORES = 2000, /* then a mirror is made anew */
	LINK_ONE_IN = 16,	/* times that one has run */
};

/* Actors as they are and as they came back; of the program, as only one check runs at a time. */
static uint8_t before[ENCODED_MAX], after[ENCODED_MAX], kept[ENCODED_MAX];

/* An actor when it was last restored. */
struct mirrored {
	uint64_t id;
	uint64_t runs;
	uint64_t written; /* hash of what it wrote down */
	uint32_t watchers, watching, mails;
	uint64_t held[ARENA_TABLE_COUNT]; /* references that it names */
};

struct sim_mirror {
	struct sim_process elsewhere;
	struct mirrored *actors,
		*next; /* ACTORS_MAX each, in order of id: now, and while it follows */
	size_t count;
	uint32_t restores;
	uint64_t moves_in; /* of the process: who left and came back has another life */
};

static const char *name_of(const struct actor *actor)
{
	return actor->name[0] ? actor->name : actor->type->name;
}

/* ---- elsewhere --------------------------------------------------------------------------------- */

static int64_t copy_now_us(void *context)
{
	const struct sim_process *process = context;

	return process->sim->now_us + process->ahead_us;
}

static int64_t copy_wall_us(void *context)
{
	return copy_now_us(context) + SIM_WALL_SHIFT_US;
}

static void copy_random(void *context, void *bytes, size_t size)
{
	rng_fill(&((struct sim_process *)context)->sim->check_rng, bytes, size);
}

static enum err copy_bus_send(
	void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	(void)context;
	(void)process;
	(void)parts;
	(void)count;
	return ERR_AGAIN;
}

static enum err copy_node_send(
	void *context, uint64_t node, const struct iovec *parts, size_t count)
{
	(void)node;
	return copy_bus_send(context, 0, parts, count);
}

/* (what other sockets bring and take is not tried) */
static uint32_t copy_net_take(void *context, uint64_t owner, enum net_given what)
{
	const struct sim_process *process = context;

	(void)owner;
	return process->sim->wide && what == NET_LINK_UDP ? SIM_LINK_SOCKET : 0;
}

static uint32_t copy_open_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer)
{
	(void)context;
	(void)owner;
	(void)local;
	(void)peer;
	return 1;
}

static void copy_net_close(void *context, uint32_t socket)
{
	(void)context;
	(void)socket;
}

/* Nothing leaves; what would have is looked at. */
static size_t copy_net_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	struct sim *sim = ((struct sim_process *)context)->sim;

	for (size_t i = 0; i < count; i++)
		if (socket == SIM_LINK_SOCKET)
			sim_wide_look(sim, packets[i].iov_base, packets[i].iov_len, true);
		else
			sim_seals_look(sim, to, packets[i].iov_base, packets[i].iov_len, true);
	return count;
}

static const struct runtime_ops copy_ops = {
	.now_us = copy_now_us,
	.wall_us = copy_wall_us,
	.random = copy_random,
	.bus_send = copy_bus_send,
	.node_send = copy_node_send,
	.net_take = copy_net_take,
	.net_open_beside = copy_open_beside,
	.net_send = copy_net_send,
	.net_is_local = sim_wide_is_local,
	.net_close = copy_net_close,
	.net_local_addr = sim_net_local_addr,
};

static void add_peer(void *context, const struct runtime_peer_info *info)
{
	MUST(runtime_peer_up(context, info) == ERR_OK);
}

static void open_elsewhere(const struct sim_process *process, struct sim_process *elsewhere)
{
	struct runtime_options options = *runtime_options(process->rt);

	*elsewhere = *process;
	elsewhere->mirror = NULL;
	elsewhere->escrow = NULL;
	elsewhere->memory = NULL;
	elsewhere->arena = NULL;
	if (process->arena) {
		elsewhere->memory = sim_view(process->memory, process->memory_size);
		MUST(arena_attach(elsewhere->memory, process->memory_size, &elsewhere->arena) ==
			ERR_OK);
	}
	options.ops = &copy_ops;
	options.context = elsewhere;
	options.env = NULL; /* the page's numbers are the other one's */
	options.arena = elsewhere->arena;
	options.escrow = NULL; /* it is read here, not written */
	struct rng secret = rng_fork(&process->sim->check_rng);

	rng_fill(&secret, options.secret, sizeof(options.secret));
	MUST(runtime_create(&options, &elsewhere->rt) == ERR_OK);
	runtime_each_peer(process->rt, add_peer, elsewhere->rt);
}

/* An arena in which whatever a restored actor names is stale: it gives nothing back that is not its
 * own when it ends. */
struct arena *sim_empty_arena(void)
{
	static const struct arena_layout layout = {
		.count = {1,		     1,	1,  1 },
		       .size = {sizeof(struct packet), 64, 64, 64}
	  };
	static struct arena *arena;

	if (!arena) {
		size_t size = arena_size(&layout);
		void *memory = sim_map(size);

		arena_format(memory, &layout);
		MUST(arena_attach(memory, size, &arena) == ERR_OK);
	}
	return arena;
}

static void close_elsewhere(struct sim_process *elsewhere)
{
	sim_silence_clients(elsewhere->rt);
	if (elsewhere->arena)
		elsewhere->rt->options.arena = sim_empty_arena();
	runtime_destroy(&elsewhere->rt);
	arena_detach(&elsewhere->arena);
	sim_view_end(&elsewhere->memory, elsewhere->memory_size);
}

/* ---- what a successor may leave out --------------------------------------------------------------- */

/* Packets in the log of a stream. */
static uint64_t logged(const struct sim_process *process, const struct actor *actor)
{
	const struct stream_state *st = (const void *)actor->data;
	const struct media_log *log = media_log_get(process->arena,
		(struct slot_ref){.index = st->log_index, .generation = st->log_generation});
	uint64_t count = 0;

	for (uint64_t position = log ? log->first : 0; log && position < log->next; position++)
		count += media_log_ref(log, position).generation != 0;
	return count;
}

/* A stream that begins, or begins anew, and has no reader is left out, and with it its log. */
static bool is_unread(const struct actor *actor)
{
	const struct stream_state *st = (const void *)actor->data;

	return actor->type == &stream_actor && !actor->stopping && !st->subscribers_count &&
	       actor->phase & (STREAM_CLAIMING | STREAM_JOINING);
}

bool sim_restore_leaves_out(const struct actor *actor)
{
	return actor->stopping || sim_edges_is_unborn(actor) ||
	       (actor->type == &stream_actor && actor->phase & (STREAM_CLAIMING | STREAM_JOINING));
}

/* The slots of one that is left out: a client's, a stream's log and packets; and the packets that a link
 * has sent and would send again, which its successor does not. */
/* What links and streams keep for a moment only, most of it in a log, too. */
static uint64_t kept_by(const struct actor *actor)
{
	const struct stream *s = (const void *)actor->data;

	return actor->type == &stream_actor ? s->early.count : sim_cluster_kept(actor);
}

static void count_left_out(
	const struct sim_process *process, const struct actor *actor, uint64_t *held)
{
	bool unread = is_unread(actor);

	held[ARENA_LOG] += unread;
	held[ARENA_PACKET] += (unread ? logged(process, actor) : 0) + kept_by(actor);
	sim_edges_left_by(actor, held);
}

/* A helper's packets wait in its transcoders for what is late: a successor does without. */
static void count_waiting(const struct sim_process *process, uint64_t *held)
{
	if (process->role == PROCESS_HELPER)
		held[ARENA_PACKET] += arena_references(process->arena, ARENA_PACKET);
}

/* The directory asks the store for its names again, placement the workers for their load, a
 * transcoder its stream for what there is to hear; console connections end with their process,
 * pages begin anew, and sessions and links join the port and the office, which count them. Of the other
 * nodes an office of the control process keeps nothing, and its questions to etcd have failed. */
static bool asks_anew(const struct actor *actor)
{
	static const struct actor_type *const types[] = {&directory_actor, &placement_actor,
		&transcoder_actor, &repl_actor, &board_actor, &rtc_port_actor, &link_office_actor,
		&mesh_actor, &routes_actor, &brain_actor, &relay_actor, &store_etcd_actor};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (actor->type == types[i])
			return true;
	return false;
}

/* Told to end and not yet run: a successor would leave it out and free its slots. */
static bool somebody_is_ending(const struct sim_process *process)
{
	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next)
		if (actor->stopping)
			return true;
	return false;
}

/* ---- one actor --------------------------------------------------------------------------------- */

struct written {
	uint8_t *bytes;
	size_t size;
};

void sim_restore_plant(struct sim *sim, struct sim_process *process)
{
	struct actor *actor = process->rt->changed;

	if (sim->options.plant != SIM_PLANT_ESCROW || !actor || rng_below(&sim->check_rng, 4))
		return;
	process->rt->changed = actor->next_changed;
	actor->changed = false;
}

/* From here on, what the escrow has is what there is. */
static void look_in_escrow(
	struct sim *sim, const struct actor *actor, const struct written *written)
{
	size_t size = 0;

	if (!actor->rt->options.escrow || actor->rt->changed)
		return;
	SIM_CHECK(sim, runtime_kept_actor(actor, kept, sizeof(kept), &size),
		"the escrow does not have %s", name_of(actor));
	SIM_CHECK(sim, size == written->size && !memcmp(kept, written->bytes, size),
		"%s reads differently in the escrow", name_of(actor));
	if (size == written->size)
		memcpy(written->bytes, kept, size);
}

static struct written write_down(struct sim *sim, struct actor *actor, struct writer *out)
{
	struct written written = {.bytes = out->at};

	SIM_CHECK(sim, runtime_encode_actor(actor, out) == ERR_OK, "%s cannot be encoded",
		name_of(actor));
	written.size = (size_t)(out->at - written.bytes);
	look_in_escrow(sim, actor, &written);
	return written;
}

static void bring_back(struct sim *sim, const struct actor *actor, struct runtime *elsewhere,
	const struct written *written)
{
	struct reader in = reader_of(written->bytes, written->size);
	enum err err = runtime_restore_actor(elsewhere, &in);

	sim->restores++;
	SIM_CHECK(sim, !err || sim_restore_leaves_out(actor), "%s (%llx) cannot be restored: %s",
		name_of(actor), (unsigned long long)actor->id, err_name(err));
}

static void compare(struct sim *sim, const struct actor *actor, struct runtime *elsewhere,
	const struct written *written)
{
	struct actor *restored = runtime_find(elsewhere, actor->id);
	struct writer out = writer_of(after, sizeof(after));

	if (sim_restore_leaves_out(actor) || asks_anew(actor))
		return;
	SIM_CHECK(sim, restored && runtime_encode_actor(restored, &out) == ERR_OK,
		"restored actor %llx is missing", (unsigned long long)actor->id);
	SIM_CHECK(sim,
		writer_used(&out) == written->size && !memcmp(after, written->bytes, written->size),
		"%s reads differently after a restore", name_of(actor));
}

static void check_references(
	struct sim *sim, const struct arena *arena, const uint64_t found[ARENA_TABLE_COUNT])
{
	for (int table = 0; table < ARENA_TABLE_COUNT; table++) {
		uint64_t held = arena_references(arena, (enum arena_table)table);

		SIM_CHECK(sim, held == found[table], "table %d: %llu references, %llu found again",
			table, (unsigned long long)held, (unsigned long long)found[table]);
	}
}

/* ---- all --------------------------------------------------------------------------------------- */

static void sweep(struct sim *sim, struct sim_process *process, struct arena *arena)
{
	uint64_t found[ARENA_TABLE_COUNT] = {0};
	struct arena_usage usage;
	uint64_t left = 0, twice = 0; /* twice: kept, and in a log, too */

	for (const struct actor *actor = process->rt->oldest; actor; actor = actor->next) {
		count_left_out(process, actor, found);
		twice += kept_by(actor);
	}
	count_waiting(process, found);
	arena_usage(process->arena, &usage);
	for (int table = 0; table < ARENA_TABLE_COUNT; table++)
		left += found[table] + usage.freed[table];
	size_t freed = arena_recount_end(arena);

	SIM_CHECK(sim, freed <= left && freed + twice >= left, "%zu slots that nobody names",
		freed - left);
	for (int table = 0; table < ARENA_TABLE_COUNT; table++)
		found[table] += arena_references(arena, (enum arena_table)table);
	check_references(sim, process->arena, found);
}

void sim_restore_all(struct sim *sim, struct sim_process *process)
{
	struct written written[ACTORS_MAX];
	struct writer out = writer_of(before, sizeof(before));
	struct sim_process elsewhere;
	struct actor *actor;
	size_t count = 0;

	if (somebody_is_ending(process))
		return;
	sim_check_process(sim, process, true);
	open_elsewhere(process, &elsewhere);
	if (elsewhere.arena)
		arena_recount_begin(elsewhere.arena);
	if (sim->options.plant == SIM_PLANT_INDEX)
		sim_edges_plant_index(process, elsewhere.arena);
	if (sim->options.plant == SIM_PLANT_NONCE && elsewhere.arena)
		sim_cluster_plant_nonce(process, elsewhere.arena);
	for (actor = process->rt->oldest; actor && !sim->failed; actor = actor->next) {
		MUST(count < ACTORS_MAX);
		written[count] = write_down(sim, actor, &out);
		bring_back(sim, actor, elsewhere.rt, &written[count++]);
	}
	if (elsewhere.arena && !sim->failed)
		sweep(sim, process, elsewhere.arena);
	count = 0;
	for (actor = process->rt->oldest; actor && !sim->failed; actor = actor->next)
		compare(sim, actor, elsewhere.rt, &written[count++]);
	runtime_restore_end(elsewhere.rt); /* (requests that nobody can answer fail) */
	if (sim->edges && !sim->failed)
		sim_edges_try(sim, &elsewhere);
	if (sim->wide && !sim->failed)
		sim_cluster_try(&elsewhere);
	close_elsewhere(&elsewhere);
}

/* ---- changed ----------------------------------------------------------------------------------- */

static struct sim_mirror *mirror_create(struct sim_process *process)
{
	struct sim_mirror *mirror = calloc(1, sizeof(*mirror));
	size_t at = 0, offset, size;

	MUST(mirror);
	mirror->actors = calloc(ACTORS_MAX, sizeof(*mirror->actors));
	mirror->next = calloc(ACTORS_MAX, sizeof(*mirror->next));
	MUST(mirror->actors && mirror->next);
	mirror->moves_in = process->rt->counters.moves_in;
	open_elsewhere(process, &mirror->elsewhere);
	for (int table = 0; process->arena && table < ARENA_TABLE_COUNT; table++) {
		arena_span(process->arena, (enum arena_table)table, &offset, &size);
		sim_view_join(mirror->elsewhere.memory, process->memory, at, offset - at, true);
		if (table == ARENA_PACKET) /* no restore writes to a packet */
			sim_view_join(
				mirror->elsewhere.memory, process->memory, offset, size, false);
		at = offset + size;
	}
	return mirror;
}

void sim_mirror_destroy(struct sim_mirror **mirror)
{
	if (!*mirror)
		return;
	close_elsewhere(&(*mirror)->elsewhere);
	free((*mirror)->actors);
	free((*mirror)->next);
	free(*mirror);
	*mirror = NULL;
}

/* What this restored actor wrote into its slots is of no more use: the next one is to see them as
 * they are. */
static void renew_slots(struct sim_mirror *mirror, const struct mirrored *mirrored)
{
	size_t offset, size;

	for (int table = ARENA_PACKET + 1; table < ARENA_TABLE_COUNT; table++) {
		if (!mirrored->held[table])
			continue;
		arena_span(mirror->elsewhere.arena, (enum arena_table)table, &offset, &size);
		sim_view_renew(mirror->elsewhere.memory, offset, size);
	}
}

/* Frees the ended. Timers and who wants to run are forgotten: nothing ever runs in a mirror. */
static void bury_ended(struct runtime *rt)
{
	kernel_forget_ready(rt);
	rt->timers.count = 0;
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		wheel_remove(&rt->wheel, &actor->pump_later);
	runtime_turn(rt);
}

/* Ends the restored actor of that row without telling anybody; what it wipes of its slots is to be seen
 * again by the next one. */
static void end_mirrored(struct sim_mirror *mirror, const struct mirrored *mirrored)
{
	struct runtime *rt = mirror->elsewhere.rt;
	struct actor *actor = runtime_find(rt, mirrored->id);

	if (!actor)
		return;
	actor->parent = 0;
	actor->watchers.count = actor->watching.count = 0;
	actor->stopping = true;
	if (mirror->elsewhere.arena)
		rt->options.arena = sim_empty_arena();
	kernel_end_if_stopping(actor);
	rt->options.arena = mirror->elsewhere.arena;
	if (mirror->elsewhere.arena)
		renew_slots(mirror, mirrored);
}

/* What is written of an actor changes when one of its functions runs, when it is watched, and when a
 * request of its ends, of which it has a mail. */
static bool has_changed(const struct mirrored *mirrored, const struct actor *actor)
{
	return mirrored->runs != actor->runs || mirrored->mails != actor->mail_count ||
	       mirrored->watchers != actor->watchers.count ||
	       mirrored->watching != actor->watching.count;
}

static uint64_t fold(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

/* Of what it wrote down, and of a stream's log: where that stands, and what is kept beside it. */
static uint64_t hash_of(
	const struct sim_process *process, const struct actor *actor, const struct written *written)
{
	const struct stream *s = (const void *)actor->data;
	const struct media_log *log = NULL;
	uint64_t hash = written->size, value = 0;

	for (size_t at = 0; at < written->size; at += sizeof(value)) {
		size_t rest = written->size - at;

		memcpy(&value, written->bytes + at, rest < sizeof(value) ? rest : sizeof(value));
		hash = fold(hash, value);
	}
	if (actor->type != &stream_actor)
		return hash;
	hash = fold(hash, s->early.count);
	log = media_log_get(
		process->arena, (struct slot_ref){s->st.log_index, s->st.log_generation});
	return log ? fold(fold(fold(hash, log->first), log->next), log->ready) : hash;
}

/* Does it come back as it did the last time? Streams count every packet that they put into their
 * logs; what others do in their slots shows nowhere else. (Of links, which say something every few
 * milliseconds, and whose engines are large, most times are left out.) */
static bool is_as_before(struct sim *sim, const struct mirrored *mirrored,
	const struct mirrored *now, const struct actor *actor)
{
	bool has_slots = mirrored->held[ARENA_LOG] || mirrored->held[ARENA_SESSION] ||
			 mirrored->held[ARENA_BUFFER];

	if (!mirrored->id || mirrored->written != now->written)
		return false;
	if (actor->type == &media_link_actor)
		return rng_below(&sim->check_rng, LINK_ONE_IN);
	return !has_slots || actor->type == &stream_actor;
}

/* `mirrored` is to become as the actor is now. */
static void renew(struct sim *sim, struct sim_process *process, struct sim_mirror *mirror,
	struct mirrored *mirrored, struct actor *actor)
{
	struct sim_process *elsewhere = &mirror->elsewhere;
	struct writer out = writer_of(before, sizeof(before));
	struct written written = write_down(sim, actor, &out);
	struct mirrored now = {.id = actor->id,
		.runs = actor->runs,
		.written = hash_of(process, actor, &written),
		.watchers = actor->watchers.count,
		.watching = actor->watching.count,
		.mails = actor->mail_count};
	uint64_t held[ARENA_TABLE_COUNT] = {0};

	if (is_as_before(sim, mirrored, &now, actor)) {
		memcpy(now.held, mirrored->held, sizeof(now.held));
		if (actor->type == &media_link_actor)
			now.held[ARENA_PACKET] = sim_cluster_kept(actor);
		*mirrored = now;
		return;
	}
	end_mirrored(mirror, mirrored);
	*mirrored = now;
	for (int table = 0; process->arena && table < ARENA_TABLE_COUNT; table++)
		held[table] = arena_held_again(elsewhere->arena, (enum arena_table)table);
	bring_back(sim, actor, elsewhere->rt, &written);
	compare(sim, actor, elsewhere->rt, &written);
	sim_silence_clients(elsewhere->rt);
	mirror->restores++;
	if (!process->arena)
		return;
	count_left_out(process, actor, mirrored->held);
	for (int table = 0; table < ARENA_TABLE_COUNT; table++)
		mirrored->held[table] +=
			arena_held_again(elsewhere->arena, (enum arena_table)table) - held[table];
	renew_slots(mirror, mirrored);
}

/* The rows of actors that have ended go, those of new ones come: afterwards the rows are those of
 * the process. */
static void follow(struct sim *sim, struct sim_process *process, struct sim_mirror *mirror)
{
	struct mirrored *row = mirror->actors, *end = row + mirror->count;
	struct mirrored *to = mirror->next;

	for (struct actor *actor = process->rt->oldest; actor && !sim->failed;
		actor = actor->next) {
		for (; row < end && row->id < actor->id; row++)
			end_mirrored(mirror, row);
		MUST(to < mirror->next + ACTORS_MAX);
		*to = row < end && row->id == actor->id ? *row++ : (struct mirrored){0};
		if (!to->id || has_changed(to, actor))
			renew(sim, process, mirror, to, actor);
		to++;
	}
	for (; row < end; row++)
		end_mirrored(mirror, row);
	mirror->count = (size_t)(to - mirror->next);
	mirror->next = mirror->actors;
	mirror->actors = to - mirror->count;
}

void sim_restore_changed(struct sim *sim, struct sim_process *process)
{
	uint64_t found[ARENA_TABLE_COUNT] = {0};
	struct sim_mirror *mirror;

	if (somebody_is_ending(process))
		return;
	if (process->mirror && process->mirror->moves_in != process->rt->counters.moves_in)
		sim_mirror_destroy(&process->mirror);
	mirror = process->mirror;
	if (!mirror)
		mirror = process->mirror = mirror_create(process);
	runtime_tick(mirror->elsewhere.rt);
	follow(sim, process, mirror);
	bury_ended(mirror->elsewhere.rt);
	if (process->arena && !sim->failed) {
		for (size_t i = 0; i < mirror->count; i++)
			for (int table = 0; table < ARENA_TABLE_COUNT; table++)
				found[table] += mirror->actors[i].held[table];
		count_waiting(process, found);
		check_references(sim, process->arena, found);
	}
	if (mirror->restores >= MIRROR_RESTORES)
		sim_mirror_destroy(&process->mirror);
}
