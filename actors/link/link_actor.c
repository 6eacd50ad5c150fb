/* SPDX-License-Identifier: Apache-2.0
 *
 * media_link: one end of a link to another node, and its actors' way there.
 *
 *   (created by need) --link_open--> opening --link_opened--> open --nobody uses it, or it is dead--> (stopped)
 *   (created by link_open of the other end) -------------------^
 *
 * Packets of this worker for that node come by outbound(), leave as datagrams by the office's socket;
 * datagrams of its session come from the office and become packets for actors of this node. The
 * engine does all of it (link_engine.h). Owns an arena slot, with all that must not be used twice.
 */
#include "actors/link/link_internal.h"
#include "runtime/config.h"
#include "runtime/runtime.h"

#include <openssl/crypto.h>
#include <stdlib.h>

enum {
	OPENING = 1 << 0,
	OPEN = 1 << 1,
	LINK_TIMER_SECOND = 0,
	UNUSED_US = 60000000,			       /* the opener closes it */
	KEY_AGE_US = 1800000000,		       /* half an hour, then a new one */
	ALL_DEAD_US = 10000000,			       /* all paths, for so long */
	OPENING_US = (2 * LINK_OPEN_MS + 1000) * 1000, /* both questions */
	REDUNDANCY_DEFAULT = 3,			       /* percent */
};

_Static_assert(sizeof(struct link_hot) <= ARENA_SESSION_SIZE, "it fits its slot");

/* ---- the engine's way out ---------------------------------------------------------------------------- */

static void emit(void *context, unsigned path, const struct iovec *datagrams, size_t count)
{
	struct actor *self = context;
	struct media_link *s = actor_data(self);
	size_t sent = net_send_from(
		self, s->facts->socket, &s->locals[path], &s->remotes[path], datagrams, count);

	s->st.dropped_socket_full += count - sent;
}

static void deliver(void *context, const struct link_media *media)
{
	struct actor *self = context;
	struct media_link *s = actor_data(self);
	struct arena *arena = actor_arena(self);
	struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, 0);
	struct packet *packet = arena_packet(arena, ref);

	if (!packet) {
		s->st.dropped_no_slot++;
		return;
	}
	packet->header = media->header;
	memcpy(packet->payload, media->payload, media->header.size);
	link_hop_came(s, ref);
	actor_media_from(self, (struct addr){.node = s->st.node, .id = media->from},
		(struct addr){.node = actor_addr(self).node, .id = media->to}, ref);
	arena_release(arena, ARENA_PACKET, ref);
}

static const struct packet *packet_of(void *context, struct slot_ref ref)
{
	return arena_packet(actor_arena(context), ref);
}

static void release(void *context, struct slot_ref ref)
{
	arena_release(actor_arena(context), ARENA_PACKET, ref);
}

/* ---- packets and datagrams ---------------------------------------------------------------------------- */

static void media_link_outbound(struct actor *self, void *data, struct addr to, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct media_link *s = data;
	struct link_terms terms = link_terms_of(s, from.id);
	int64_t now_us = actor_now_us(self);

	uint64_t dropped = s->st.dropped_not_open;

	link_hop_leaves(s, packets, count);
	for (size_t i = 0; i < count; i++) {
		if (!s->ready)
			s->st.dropped_not_open +=
				!link_hold_put(self, s, to.id, from.id, packets[i]);
		else if (arena_hold(actor_arena(self), ARENA_PACKET, packets[i]))
			link_engine_send(s->engine, packets[i], to.id, from.id, terms, now_us);
	}
	if (s->ready)
		actor_kick(actor_runtime(self), actor_addr(self));
	if (s->st.dropped_not_open == dropped)
		actor_unchanged(self);
}

/* (Until the other end is there: what is held will leave at once when it is.) */
static uint32_t media_link_room(struct actor *self, void *data)
{
	struct media_link *s = data;

	actor_unchanged(self);
	if (s->ready)
		return link_engine_room(s->engine, actor_now_us(self));
	return s->held.count < LINK_PACE_FIRST ? LINK_PACE_FIRST - s->held.count : 0;
}

/* (The rate and what was sent are of the last second.) */
static uint32_t media_link_carries(struct actor *self, void *data)
{
	const struct media_link *s = data;

	actor_unchanged(self);
	return link_view_carries(s);
}

void link_take_packets(struct actor *self, void *data, void *context)
{
	const struct link_output *output = context;

	media_link_outbound(self, data, output->to, output->from, output->packets, output->count);
}

/* The other end takes datagrams: what waits for that leaves. */
static void become_ready(struct actor *self, struct media_link *s)
{
	s->ready = true;
	s->due_us = link_engine_tick(s->engine, actor_now_us(self));
	link_hold_end(self, s, true);
	actor_kick(actor_runtime(self), actor_addr(self));
}

void link_take_datagrams(struct actor *self, void *data, void *context)
{
	struct media_link *s = data;
	const struct link_input *input = context;
	bool moved = false;

	for (size_t i = 0; s->engine && i < input->count; i++) {
		const struct datagram *d = &input->datagrams[i];
		unsigned path;

		s->arrival_us = d->arrival_us;
		if (link_engine_take(s->engine, d->bytes, d->size, d->arrival_us, &path))
			continue;
		if (!s->ready)
			become_ready(self, s);
		if (path >= s->path_count || net_addr_equal(&s->remotes[path], &d->from))
			continue;
		/* its address has changed, or is another behind a NAT */
		s->remotes[path] = d->from;
		net_addr_text(&d->from, s->st.ways[path].remote);
		s->st.address_changes++;
		moved = true;
	}
	actor_kick(actor_runtime(self), actor_addr(self));
	if (!moved)
		actor_unchanged(self);
}

/* At the end of the turn, and when something is due. */
static void media_link_pump(struct actor *self, void *data)
{
	struct media_link *s = data;
	int64_t now_us = actor_now_us(self);

	if (!s->engine)
		return;
	if (!s->ready && actor_wall_us(self) - s->st.opened_us > LINK_AWAIT_US)
		become_ready(self, s);
	if (now_us >= s->due_us) {
		s->due_us = link_engine_tick(s->engine, now_us);
		link_view_watch(self, s);
	} else {
		link_engine_flush(s->engine);
		s->due_us = link_engine_deadline_us(s->engine, now_us);
	}
	link_hop_left(self, s);
	actor_pump_at(self, s->due_us);
	actor_unchanged(self);
}

/* ---- opening -------------------------------------------------------------------------------------------- */

static void random_key(struct actor *self, struct link_key *key)
{
	actor_random(self, key->key, sizeof(key->key));
	actor_random(self, key->salt, sizeof(key->salt));
}

static void key_to_bytes(const struct link_key *key, uint8_t bytes[LINK_KEY_BYTES])
{
	memcpy(bytes, key->key, LINK_KEY_SIZE);
	memcpy(bytes + LINK_KEY_SIZE, key->salt, LINK_SALT_SIZE);
}

static bool key_from_bytes(struct link_key *key, const uint8_t *bytes, size_t size)
{
	if (size != LINK_KEY_BYTES)
		return false;
	memcpy(key->key, bytes, LINK_KEY_SIZE);
	memcpy(key->salt, bytes + LINK_KEY_SIZE, LINK_SALT_SIZE);
	return true;
}

/* Of senders that say nothing else. */
static uint8_t mode_of(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config ? (uint8_t)config->link_mode : LINK_SMART;
}

static struct link_options options_of(struct actor *self, const struct media_link *s)
{
	const struct config *config = actor_config(self);

	return (struct link_options){
		.session = s->st.peer_session,
		.redundancy_permille =
			10 * (config ? (uint32_t)config->link_redundancy : REDUNDANCY_DEFAULT),
		.age_us = config ? config->link_recover_ms * 1000 : LINK_AGE_DEFAULT_US,
		.age_max_us = config ? (int64_t)config_recover_longest_ms(config) * 1000
				     : LINK_AGE_DEFAULT_US,
		.phase_us = link_phase_us(self),
	};
}

static void close_engine(struct media_link *s)
{
	if (s->engine)
		link_engine_fini(s->engine);
	free(s->engine);
	free(s->out);
	s->engine = NULL;
	s->out = NULL;
}

/* With the hot part as it is. */
static enum err start_engine(struct actor *self, struct media_link *s)
{
	const struct link_ops ops = {self, emit, deliver, packet_of, release};
	const struct link_options options = options_of(self, s);
	int64_t now_us = actor_now_us(self);
	enum err err = ERR_NO_MEMORY;

	s->engine = calloc(1, sizeof(*s->engine));
	s->out = calloc(1, sizeof(*s->out));
	if (s->engine && s->out)
		err = link_engine_init(s->engine, &options, &ops, s->hot, s->out, now_us);
	if (err) {
		free(s->engine);
		s->engine = NULL;
		close_engine(s);
		return err;
	}
	link_ways_begin(self, s);
	s->due_us = now_us;
	actor_become(self, OPEN);
	actor_pump_at(self, now_us);
	return ERR_OK;
}

static enum err begin(struct actor *self, struct media_link *s, struct addr peer)
{
	s->st.peer = peer;
	s->st.opened_us = actor_wall_us(self);
	s->st.used_us = s->st.keyed_us = actor_now_us(self);
	enum err err = start_engine(self, s);

	return err ? err : actor_monitor(self, peer);
}

static void ask_to_open(struct actor *self, struct media_link *s)
{
	uint32_t index = s->tried_first ? 0 : runtime_options(actor_runtime(self))->index;
	struct msg_link_open open = {
		.session = s->st.session, .port = s->facts->port, .media = s->for_media};

	open.key.size = LINK_KEY_BYTES;
	key_to_bytes(&s->hot->tx[0], open.key.data);
	text_copy(open.addresses, sizeof(open.addresses), s->facts->addresses);
	actor_request_mail(self, actor_office_at_worker(self, OFFICE_LINK, s->st.node, index),
		LINK_OPEN_MS, MSG_link_open, &schema_link_open, &open);
	OPENSSL_cleanse(&open, sizeof(open));
}

static enum err answer_opener(struct actor *self, struct media_link *s, struct asker asker)
{
	struct msg_link_opened opened = {.session = s->st.session, .port = s->facts->port};

	opened.key.size = LINK_KEY_BYTES;
	key_to_bytes(&s->hot->tx[0], opened.key.data);
	text_copy(opened.addresses, sizeof(opened.addresses), s->facts->addresses);
	enum err err =
		actor_answer_mail(self, asker, MSG_link_opened, &schema_link_opened, &opened);

	OPENSSL_cleanse(&opened, sizeof(opened));
	return err;
}

static enum err accept_link(struct actor *self, struct media_link *s, const struct link_args *args)
{
	const struct msg_link_open *m = args->open;
	struct link_key rx;

	if (!m->session || !key_from_bytes(&rx, m->key.data, m->key.size) ||
		!link_ways_take(s, m->addresses, m->port))
		return ERR_FORMAT;
	link_hot_meet(s->hot, &rx);
	link_key_clear(&rx);
	s->st.peer_session = m->session;
	enum err err = begin(self, s, args->asker.from);

	return err ? err : answer_opener(self, s, args->asker);
}

/* An answer is from the node that was asked (the kernel takes no other), and a link that opens has asked for
 * nothing else; what somebody says unasked opens and ends nothing. */
ON(media_link, link_opened)
{
	struct link_key rx;
	enum err err = ERR_FORMAT;

	if (!mail->is_reply || mail->from.node != s->st.node)
		return ERR_FORBIDDEN;
	if (!m->session || !key_from_bytes(&rx, m->key.data, m->key.size) ||
		!link_ways_take(s, m->addresses, m->port))
		goto out;
	link_hot_meet(s->hot, &rx);
	link_key_clear(&rx);
	s->st.peer_session = m->session;
	err = begin(self, s, mail->from);
	if (!err)
		become_ready(self, s);
out:
	if (err)
		actor_stop(self, err);
	return ERR_OK;
}

/* ---- mail --------------------------------------------------------------------------------------------------- */

ON(media_link, failed)
{
	if (mail->request && mail->request == s->rekey_request) {
		s->rekey_request = 0; /* the next second tries again */
		return ERR_OK;
	}
	if (link_via_failed(self, s, mail->request) || actor_phase(self) != OPENING)
		return ERR_OK;
	/* there may be fewer workers than here */
	if (!s->tried_first && runtime_options(actor_runtime(self))->index) {
		s->tried_first = true;
		ask_to_open(self, s);
		return ERR_OK;
	}
	actor_stop(self, (enum err)m->err);
	return ERR_OK;
}

static bool hears(const struct media_link *s)
{
	for (unsigned i = 0; s->engine && i < s->path_count; i++)
		if (s->engine->paths[i].state != LINK_PATH_DEAD)
			return true;
	return false;
}

/* The mesh may have lost its node while media gets through: then it lives. */
ON(media_link, down)
{
	s->peer_lost = true;
	if (m->reason == ERR_OK || !hears(s))
		actor_stop(self, ERR_OK);
	return ERR_OK;
}

ON(media_link, link_close)
{
	if (mail->from.node == s->st.node)
		actor_stop(self, ERR_OK);
	return ERR_OK;
}

ON(media_link, link_via)
{
	link_via_found(self, s, m->relay, mail->request);
	return ERR_OK;
}

ON(media_link, link_relayed)
{
	return mail->from.node == s->st.via ? link_via_relayed(self, s, m, mail->request)
					    : ERR_FORBIDDEN;
}

ON(media_link, link_go_via)
{
	return mail->from.node == s->st.node ? link_via_go(self, s, m) : ERR_FORBIDDEN;
}

ON(media_link, link_rekey)
{
	struct link_key key;
	enum err err;

	if (mail->from.node != s->st.node || !key_from_bytes(&key, m->key.data, m->key.size))
		return ERR_FORMAT;
	err = link_engine_set_rx_key(s->engine, m->bit, &key);
	link_key_clear(&key);
	return err ? err : actor_reply(self, done, {});
}

ON(media_link, done)
{
	if (!mail->is_reply || mail->request != s->rekey_request || !s->rekey_request)
		return ERR_OK;
	s->rekey_request = 0;
	enum err err = link_engine_set_tx_key(s->engine, &s->next_key);

	link_key_clear(&s->next_key);
	s->st.keyed_us = actor_now_us(self);
	s->st.rekeys += !err;
	return err;
}

static void rekey(struct actor *self, struct media_link *s)
{
	struct msg_link_rekey m = {.bit = s->hot->tx_bit ^ 1};

	random_key(self, &s->next_key);
	m.key.size = LINK_KEY_BYTES;
	key_to_bytes(&s->next_key, m.key.data);
	s->rekey_request = actor_request_mail(
		self, s->st.peer, LINK_OPEN_MS, MSG_link_rekey, &schema_link_rekey, &m);
	OPENSSL_cleanse(&m, sizeof(m));
}

void link_note_need(struct actor *self, void *data, void *media)
{
	struct media_link *s = data;

	s->st.used_us = actor_now_us(self);
	if (*(const bool *)media)
		s->needed_us = s->st.used_us;
}

void link_idle_since(struct actor *self, void *data, void *since_us)
{
	const struct media_link *s = data;

	*(int64_t *)since_us = s->media_us > s->needed_us ? s->media_us : s->needed_us;
	actor_unchanged(self);
}

void link_give_way(struct actor *self, void *data, void *unused)
{
	struct media_link *s = data;

	(void)unused;
	if (s->engine)
		actor_send(self, s->st.peer, link_close, {});
	actor_stop(self, ERR_OK);
}

static bool is_dead(const struct media_link *s, int64_t now_us)
{
	for (unsigned i = 0; i < s->path_count; i++) {
		const struct link_path *p = &s->engine->paths[i];

		if (p->state != LINK_PATH_DEAD || now_us - p->state_since_us < ALL_DEAD_US)
			return false;
	}
	return true;
}

/* What flows goes on; its next packet leaves so. */
static void media_link_configured(struct actor *self, void *data)
{
	struct media_link *s = data;
	const struct link_options options = options_of(self, s);

	s->st.mode = mode_of(self);
	if (s->engine)
		link_engine_configure(s->engine, &options);
}

static void media_link_timer(struct actor *self, void *data, unsigned timer)
{
	struct media_link *s = data;
	int64_t now_us = actor_now_us(self);

	(void)timer;
	actor_timer_at(self, LINK_TIMER_SECOND, link_second_us(self));
	if (!s->engine) {
		/* it was answered with something that is no answer */
		if (now_us - s->opening_us > OPENING_US)
			actor_stop(self, ERR_TIMEOUT);
		return;
	}
	link_view_refresh(self, s);
	link_via_tend(self, s);
	if (is_dead(s, now_us) || (s->peer_lost && !hears(s))) {
		actor_stop(self, ERR_TIMEOUT);
	} else if (s->st.opener && now_us - s->st.used_us > UNUSED_US) {
		actor_send(self, s->st.peer, link_close, {});
		actor_stop(self, ERR_OK);
	} else if (!s->rekey_request &&
		   (now_us - s->st.keyed_us > KEY_AGE_US || link_engine_wants_key(s->engine))) {
		rekey(self, s);
	}
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static struct slot_ref slot_of(const struct media_link *s)
{
	return (struct slot_ref){s->st.slot_index, s->st.slot_generation};
}

static void name_it(struct actor *self, const struct media_link *s)
{
	char name[64];

	snprintf(name, sizeof(name), "link/%016llx/%08x", (unsigned long long)s->st.node,
		s->st.session);
	actor_set_name(self, name);
}

static void media_link_stop(struct actor *self, void *data, enum err reason)
{
	struct media_link *s = data;

	(void)reason;
	if (s->engine)
		link_view_report(self, s, true);
	link_hold_end(self, s, false);
	close_engine(s);
	link_key_clear(&s->next_key);
	/* (its keys go with the slot when this turn is kept; until then a successor may have to go on) */
	arena_release(actor_arena(self), ARENA_SESSION, slot_of(s));
}

static enum err media_link_init(struct actor *self, void *data, const void *args)
{
	struct media_link *s = data;
	const struct link_args *a = args;
	struct slot_ref slot;
	enum err err = ERR_OK;

	s->st.node = a->node;
	s->st.opener = !a->open;
	s->for_media = a->media;
	s->st.mode = mode_of(self);
	const struct link_facts *facts = link_office_join(self, a->node, &s->st.session);

	if (!facts)
		return ERR_OVERLOAD;
	s->facts = facts;
	name_it(self, s);
	slot = arena_alloc(actor_arena(self), ARENA_SESSION, actor_addr(self).id);
	s->hot = arena_get(actor_arena(self), ARENA_SESSION, slot);
	if (!s->hot)
		return ERR_OVERLOAD;
	s->st.slot_index = slot.index;
	s->st.slot_generation = slot.generation;
	random_key(self, &s->next_key);
	link_hot_init(s->hot, &s->next_key);
	link_key_clear(&s->next_key);
	s->st.used_us = s->opening_us = s->needed_us = actor_now_us(self);
	actor_timer_at(self, LINK_TIMER_SECOND, link_second_us(self));
	actor_become(self, OPENING);
	if (a->open)
		err = accept_link(self, s, a);
	else
		ask_to_open(self, s);
	if (err)
		media_link_stop(self, data, err);
	return err;
}

static enum err media_link_restore(struct actor *self, void *data)
{
	struct media_link *s = data;
	struct arena *arena = actor_arena(self);
	bool open = actor_phase(self) == OPEN;

	s->hot = arena_get(arena, ARENA_SESSION, slot_of(s));
	if (!s->hot || !s->st.session || !s->st.node || s->st.mode > LINK_BACKUP ||
		!link_hot_is_valid(s->hot) || (open && !link_ways_restore(s)))
		return ERR_FORMAT;
	const struct link_facts *facts = link_office_join(self, s->st.node, &s->st.session);

	if (!facts)
		return ERR_OVERLOAD;
	s->facts = facts;
	s->st.mode = mode_of(self);
	s->opening_us = s->needed_us = actor_now_us(self);
	if (open) {
		enum err err = start_engine(self, s);

		if (err)
			return err;
		s->ready = true;
	}
	arena_hold_again(arena, ARENA_SESSION, slot_of(s));
	actor_timer_at(self, LINK_TIMER_SECOND, link_second_us(self));
	return ERR_OK;
}

static const struct handler media_link_handlers[] = {
	HANDLER(media_link, link_opened, OPENING),
	HANDLER(media_link, link_rekey, OPEN),
	HANDLER(media_link, link_via, OPEN),
	HANDLER(media_link, link_relayed, OPEN),
	HANDLER(media_link, link_go_via, OPEN),
	HANDLER(media_link, link_close, 0),
	HANDLER(media_link, done, OPEN),
	HANDLER(media_link, failed, 0),
	HANDLER(media_link, down, 0),
};

static const char *const media_link_phases[] = {"opening", "open", NULL};

const struct actor_type media_link_actor = {
	.name = "link",
	.size = sizeof(struct media_link),
	.state = &schema_media_link_state,
	.phases = media_link_phases,
	HANDLER_TABLE(media_link_handlers),
	.init = media_link_init,
	.restore = media_link_restore,
	.stop = media_link_stop,
	.timer = media_link_timer,
	.configured = media_link_configured,
	.pump = media_link_pump,
	.outbound = media_link_outbound,
	.room = media_link_room,
	.carries = media_link_carries,
};
