/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor moves to another process of the node, and where those are that have (decision 18).
 *
 *   here:   actor_move --end of the turn--> record and slots into one mail, noted as moved; left()
 *                                           \-- one commit: mail, note, and it is here no more
 *   there:  arrive --> slots, record, arrived(), restore() --> commit --> it runs
 *
 * Before the first commit it is here, after it the mail is sure to come, once (bus.c); nothing runs there
 * before its taking counts. So whichever process is killed when: never two, never none.
 *
 * An actor keeps its id, whose block names the process that it was born in. Where it is now every
 * process hears when it leaves, one that comes later from where it is; each keeps that until it ends or
 * the process does. Who has not heard yet sends to where it was, and is forwarded. The note of an actor
 * that had moved oftener counts.
 *
 * Owns rt->moved and the list of those about to leave.
 */
#include "runtime/kernel.h"
#include "schemas/mp.h"

#include <stdlib.h>

enum {
	MOVED_MAX = 16384, /* actors elsewhere that are remembered; nobody leaves beyond it */
	MOVE_BYTES_MAX =
		256 * 1024, /* of a record, and of all its slots: with both a frame is full */
	MOVE_UNIT = 256,    /* bytes that are left out when they are zero */
	NOTE_SIZE_MAX = 64,
};

_Static_assert(2 * (size_t)MOVE_BYTES_MAX <= RUNTIME_FRAME_MAX, "an actor fits a frame");
_Static_assert((size_t)ACTOR_SLOTS_MAX ==
		       sizeof(((struct msg_arrive *)0)->slots) / sizeof(struct moving_slot),
	"all its slots fit the mail");

struct moved_actor {
	uint64_t id;
	uint32_t process, moves;
	uint32_t escrow_entry; /* 0 = none */
};

/* ---- where they are ---------------------------------------------------------------------------- */

uint32_t kernel_moved_to(const struct runtime *rt, uint64_t id)
{
	const struct moved_actor *moved = rt->moved.count ? idmap_get(&rt->moved, id) : NULL;

	return moved ? moved->process : 0;
}

static void forget(struct runtime *rt, uint64_t id)
{
	struct moved_actor *moved = idmap_remove(&rt->moved, id);

	if (moved)
		kernel_keep_not(rt, &moved->escrow_entry);
	free(moved);
}

static void keep_note(struct runtime *rt, struct moved_actor *moved)
{
	struct kept_move note = {
		.actor = moved->id, .process = moved->process, .moves = moved->moves};
	uint8_t bytes[NOTE_SIZE_MAX];
	struct writer out = writer_of(bytes, sizeof(bytes));

	kernel_keep_not(rt, &moved->escrow_entry);
	if (rt->options.escrow && !schema_encode(&schema_kept_move, &note, &out))
		moved->escrow_entry = kernel_keep_bytes(rt, KEPT_MOVE, 0, bytes, writer_used(&out));
}

static struct moved_actor *note(struct runtime *rt, uint64_t id)
{
	struct moved_actor *moved = idmap_get(&rt->moved, id);

	if (moved || rt->moved.count >= MOVED_MAX)
		return moved;
	moved = calloc(1, sizeof(*moved));
	if (moved && idmap_put(&rt->moved, id, moved)) {
		free(moved);
		return NULL;
	}
	if (moved)
		moved->id = id;
	return moved;
}

/* Who asked it waits for the process that it is in now. */
static void requests_follow(struct runtime *rt, uint64_t id, uint32_t process)
{
	for (size_t i = 0; i < rt->pending.capacity; i++) {
		struct pending *pending = rt->pending.entries[i].value;

		if (pending && pending->to.id == id && pending->process &&
			kernel_is_ours(rt, pending->to)) {
			pending->process = process;
			kernel_asked_changed(rt, pending->actor);
		}
	}
}

void kernel_note_move(struct runtime *rt, uint64_t id, uint32_t process, uint32_t moves)
{
	struct moved_actor *moved = idmap_get(&rt->moved, id);

	if (idmap_get(&rt->actors, id) || (moved && moved->moves > moves))
		return;
	moved = process ? note(rt, id) : NULL;
	if (!moved) { /* it has ended; or it is found through where it was born */
		forget(rt, id);
		return;
	}
	moved->process = process;
	moved->moves = moves;
	keep_note(rt, moved);
	requests_follow(rt, id, process);
}

void kernel_forget_moves_to(struct runtime *rt, uint32_t process)
{
	for (size_t i = 0; i < rt->moved.capacity; i++) {
		struct moved_actor *moved = rt->moved.entries[i].value;

		if (!moved || moved->process != process)
			continue;
		forget(rt, moved->id);
		i--; /* removal shifts later entries back into this place */
	}
}

enum err kernel_restore_note(struct runtime *rt, struct reader *in, uint32_t escrow_entry)
{
	struct kept_move kept;
	struct moved_actor *moved;

	if (schema_decode(&schema_kept_move, in, &kept) || !kept.actor || !kept.process)
		return ERR_FORMAT;
	moved = note(rt, kept.actor);
	if (!moved)
		return ERR_NO_MEMORY;
	moved->process = kept.process;
	moved->moves = kept.moves;
	moved->escrow_entry = escrow_entry;
	return ERR_OK;
}

void kernel_moved_fini(struct runtime *rt)
{
	for (size_t i = 0; i < rt->moved.capacity; i++)
		free(rt->moved.entries[i].value);
	idmap_fini(&rt->moved);
}

static void say(struct runtime *rt, const struct peer *peer, struct addr who, uint32_t process,
	uint32_t moves)
{
	struct msg_moved message = {.who = who, .process = process, .moves = moves};

	kernel_bus_mail(rt, peer->info.process,
		&(struct kernel_letter){.to = kernel_peer_office(rt, &peer->info),
			.from = who,
			.type = MSG_moved,
			.schema = &schema_moved,
			.body = &message});
}

static uint32_t moves_of(const struct runtime *rt, uint64_t id)
{
	const struct moved_actor *moved = idmap_get(&rt->moved, id);
	const struct actor *actor = idmap_get(&rt->actors, id);

	return actor ? actor->moves : moved ? moved->moves : 0;
}

void kernel_say_moved(
	struct runtime *rt, const struct peer *peer, struct addr who, uint32_t process)
{
	say(rt, peer, who, process, moves_of(rt, who.id));
}

static void tell_everybody(struct runtime *rt, struct addr who, uint32_t process, uint32_t moves)
{
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used)
			say(rt, &rt->peers[i], who, process, moves);
}

/* A process that comes later hears whom it would look for in the wrong place. */
void kernel_tell_newcomer(struct runtime *rt, const struct peer *peer)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->moves)
			kernel_say_moved(rt, peer, actor_addr(actor), rt->options.process);
}

void kernel_moved_ended(struct actor *actor)
{
	if (!actor->moves)
		return;
	actor->moves++; /* whatever is still said of it is older */
	tell_everybody(actor->rt, actor_addr(actor), 0, actor->moves);
}

/* ---- slots ------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, size - 1));
}

/* What is not zero: place and size, 4 bytes each, little endian, and the bytes; in order. */
static void write_runs(const uint8_t *slot, size_t size, struct writer *out)
{
	for (size_t from = 0, to; from < size; from = to) {
		to = from;
		while (to < size &&
			!is_zero(slot + to, size - to < MOVE_UNIT ? size - to : MOVE_UNIT))
			to += size - to < MOVE_UNIT ? size - to : MOVE_UNIT;
		if (to > from) {
			uint32_t head[2] = {(uint32_t)from, (uint32_t)(to - from)};

			write_bytes(out, head, sizeof(head));
			write_bytes(out, slot + from, to - from);
		} else {
			to = size - from < MOVE_UNIT ? size : from + MOVE_UNIT;
		}
	}
}

static enum err read_runs(struct reader in, uint8_t *slot, size_t size)
{
	while (reader_left(&in)) {
		const uint8_t *head_at = read_bytes(&in, 2 * sizeof(uint32_t)), *bytes;
		uint32_t head[2] = {0};

		if (head_at)
			memcpy(head, head_at, sizeof(head));
		bytes = head_at ? read_bytes(&in, head[1]) : NULL;
		if (!bytes || head[0] > size || head[1] > size - head[0])
			return ERR_FORMAT;
		memcpy(slot + head[0], bytes, head[1]);
	}
	return ERR_OK;
}

/* ---- away -------------------------------------------------------------------------------------- */

static bool has_office_as_parent(const struct actor *actor)
{
	const uint64_t serial = (UINT64_C(1) << RUNTIME_BLOCK_SHIFT) - 1;

	return !actor->parent || (actor->parent & serial) < OFFICE_SERIALS;
}

enum err actor_move(struct actor *self, uint32_t process)
{
	struct runtime *rt = self->rt;

	if (!self->type->slots || !self->type->restore || self->children ||
		!has_office_as_parent(self))
		return ERR_UNSUPPORTED;
	if (process == rt->options.process)
		return ERR_EXISTS;
	if (!kernel_peer(rt, process))
		return ERR_NOT_FOUND;
	if (self->moves_to)
		return ERR_BUSY;
	self->moves_to = process;
	self->next_leaving = rt->leaving;
	rt->leaving = self;
	return ERR_OK;
}

static enum err write_slots(struct actor *actor, struct writer *out, struct msg_arrive *arrive)
{
	struct arena *arena = actor->rt->options.arena;
	struct actor_slot slots[ACTOR_SLOTS_MAX];
	size_t count = actor->type->slots(actor->data, slots);

	MUST(count <= ACTOR_SLOTS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct slot_ref ref = {*slots[i].index, *slots[i].generation};
		const uint8_t *bytes = arena ? arena_get(arena, slots[i].table, ref) : NULL;
		const uint8_t *begin = out->at;

		if (!bytes)
			return ERR_INTERNAL;
		write_runs(bytes, arena_slot_size(arena, slots[i].table), out);
		arrive->slots[arrive->slots_count++] = (struct moving_slot){
			.table = (uint8_t)slots[i].table,
			.runs = {(const char *)begin, (uint32_t)(out->at - begin)}
		  };
	}
	return out->bad ? ERR_TOO_LARGE : ERR_OK;
}

static enum err send_away(struct actor *actor, uint8_t *bytes)
{
	struct runtime *rt = actor->rt;
	const struct peer *peer = kernel_peer(rt, actor->moves_to);
	struct writer record = writer_of(bytes, MOVE_BYTES_MAX);
	struct writer runs = writer_of(bytes + MOVE_BYTES_MAX, MOVE_BYTES_MAX);
	struct msg_arrive arrive = {0};
	enum err err = peer ? runtime_encode_actor(actor, &record) : ERR_DEAD;

	err = err ? err : write_slots(actor, &runs, &arrive);
	arrive.record = (struct slice){(const char *)bytes, (uint32_t)writer_used(&record)};
	if (!err && !note(rt, actor->id))
		err = ERR_LIMIT;
	return err ? err
		   : kernel_bus_mail(rt, peer->info.process,
			     &(struct kernel_letter){.to = kernel_peer_office(rt, &peer->info),
				     .from = actor_addr(actor),
				     .type = MSG_arrive,
				     .schema = &schema_arrive,
				     .body = &arrive});
}

/* What it was asked and waits for goes with it: nothing bounces, nobody is told of an end. */
static void leave(struct actor *actor)
{
	struct runtime *rt = actor->rt;
	struct addr self = actor_addr(actor);
	struct actor *parent = idmap_get(&rt->actors, actor->parent);
	struct actor *outer = rt->running;
	uint32_t process = actor->moves_to, moves = actor->moves + 1;

	rt->running = actor;
	if (actor->type->left)
		actor->type->left(actor, actor->data);
	rt->running = outer;
	kernel_bury(actor);
	while (actor->mail_first) {
		struct mail_node *node = actor->mail_first;

		actor->mail_first = node->next;
		kernel_free_node(rt, node);
	}
	kernel_forget_requests_of(rt, actor->id);
	if (parent)
		parent->children--;
	kernel_note_move(rt, actor->id, process, moves);
	tell_everybody(rt, self, process, moves);
	rt->counters.moves_out++;
}

static void stay(struct actor *actor, enum err err)
{
	struct msg_failed failed = {
		.err = (uint8_t)err, .type = MSG_arrive, .to = actor_addr(actor)};

	actor->moves_to = 0;
	actor->rt->counters.moves_failed++;
	if (!idmap_get(&actor->rt->actors, actor->id))
		return;
	if (kernel_moved_to(actor->rt, actor->id) == 0)
		forget(actor->rt, actor->id);
	kernel_deliver(actor->rt, &(struct kernel_letter){.to = actor_addr(actor),
					  .from = actor_addr(actor),
					  .type = MSG_failed,
					  .schema = &schema_failed,
					  .body = &failed});
}

void kernel_move_out(struct runtime *rt)
{
	uint8_t *bytes = rt->leaving ? malloc(2 * (size_t)MOVE_BYTES_MAX) : NULL;

	while (rt->leaving) {
		struct actor *actor = rt->leaving;
		enum err err = ERR_CLOSED;

		rt->leaving = actor->next_leaving;
		if (!actor->ended && !actor->stopping)
			err = bytes ? send_away(actor, bytes) : ERR_NO_MEMORY;
		if (err)
			stay(actor, err);
		else
			leave(actor);
	}
	if (bytes) /* there are keys among them */
		explicit_bzero(bytes, 2 * (size_t)MOVE_BYTES_MAX);
	free(bytes);
}

/* ---- here -------------------------------------------------------------------------------------- */

static enum err take_slot(struct runtime *rt, const struct moving_slot *from, uint64_t owner,
	struct actor_slot *slot, struct slot_ref *ref)
{
	struct reader in = reader_of(from->runs.data, from->runs.size);
	struct arena *arena = rt->options.arena;
	uint8_t *bytes;

	if (!arena || from->table != slot->table || slot->table == ARENA_PACKET)
		return ERR_FORMAT;
	*ref = arena_alloc(arena, slot->table, owner);
	bytes = arena_get(arena, slot->table, *ref);
	if (!bytes)
		return ERR_OVERLOAD;
	*slot->index = ref->index;
	*slot->generation = ref->generation;
	return read_runs(in, bytes, arena_slot_size(arena, slot->table));
}

/* Between the decoding of its state and its restore(): the slots of here in the place of those there. */
enum err kernel_arrive(struct actor *actor)
{
	struct arrival *arrival = actor->rt->arrival;
	struct actor_slot slots[ACTOR_SLOTS_MAX];
	size_t count = actor->type->slots ? actor->type->slots(actor->data, slots) : 0;
	enum err err = ERR_OK;

	if (!actor->type->slots || count != arrival->message->slots_count)
		return ERR_FORMAT;
	actor->moves++;
	if (actor->parent)
		actor->parent = actor->rt->options.block << RUNTIME_BLOCK_SHIFT |
				actor->parent % OFFICE_SERIALS;
	for (size_t i = 0; i < count && !err; i++)
		err = take_slot(actor->rt, &arrival->message->slots[i], actor->id, &slots[i],
			&arrival->refs[i]);
	if (!err && actor->type->arrived)
		actor->type->arrived(actor, actor->data);
	return err;
}

static void begin_here(struct runtime *rt, struct actor *actor)
{
	struct actor *parent = idmap_get(&rt->actors, actor->parent);

	forget(rt, actor->id);
	if (parent)
		parent->children++;
	else if (actor->parent)
		actor_stop(actor, ERR_DEAD);
	actor->kicked = true;
	kernel_make_ready(actor);
}

/* Who was not restored holds nothing. */
static void let_go(struct runtime *rt, const struct arrival *arrival)
{
	for (int i = 0; i < ACTOR_SLOTS_MAX; i++)
		if (arrival->refs[i].generation)
			arena_release(rt->options.arena,
				(enum arena_table)arrival->message->slots[i].table,
				arrival->refs[i]);
}

/* There is no room even for an actor that ends: those who watch it hear so all the same. */
static void report_end(struct runtime *rt, struct reader in)
{
	struct actor_record record;
	struct watch watch;

	kernel_hot_of(&in);
	if (schema_decode(&schema_actor_record, &in, &record))
		return;
	struct addr who = {.node = rt->options.node, .id = record.id};

	mp_skip(&in, MP_DEPTH_MAX); /* its state */
	for (uint32_t i = 0; i < record.watch_count; i++) {
		if (schema_decode(&schema_watch, &in, &watch))
			break;
		if (!watch.watching)
			kernel_tell_down(rt, who, record.type, ERR_NO_MEMORY, watch.who);
	}
	tell_everybody(rt, who, 0, record.moves + 2); /* above what is said of its leaving */
}

void kernel_move_in(struct runtime *rt, const struct msg_arrive *message)
{
	const struct msg_arrive m = *message; /* (it lies where mails are decoded) */
	struct reader in = reader_of(m.record.data, m.record.size);
	struct reader hot = kernel_hot_of(&in);
	struct arrival arrival = {.message = &m};
	struct actor *actor;
	enum err err;

	rt->arrival = &arrival;
	err = kernel_restore_actor(rt, &hot, &in, false, &actor);
	rt->arrival = NULL;
	if (!actor || actor->unfinished)
		let_go(rt, &arrival);
	if (actor)
		begin_here(rt, actor);
	else if (err == ERR_NO_MEMORY)
		report_end(rt, reader_of(m.record.data, m.record.size));
	if (err) {
		rt->counters.moves_failed++;
		log_warn(rt->options.log, "moved_actor_lost", "type",
			actor ? actor->type->name : "unknown", "actor", actor ? actor->name : "",
			"error", err_name(err));
	} else {
		rt->counters.moves_in++;
	}
	/* before it does anything: its taking counts, and the mail does not come again */
	kernel_keep_turn(rt);
}
