/* SPDX-License-Identifier: Apache-2.0
 *
 * link_office: the UDP socket of a worker's links, and their parent.
 *
 *   datagram -> the session in its head -> link, or the other end of a link that is relayed here
 *   packet for a node without a link -> a link is opened, and holds it until then
 *
 * It is the route for every node that is up and has no link yet. Owns the table of sessions; knows
 * nothing of keys or media.
 */
#include "actors/link/link_internal.h"
#include "actors/link/link_relay.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	OFFICE_TIMER_SWEEP = 0,
	OPEN_TRIES_PER_S = 64, /* links that this worker tries to open in a second */
	IDLE_US = 5000000, /* without media for so long, a link gives way to one that has some */
	KEPT_AGAIN_US =
		10000000, /* one that is to be measured was refused: tried again after so long */
};

struct link_office {
	struct link_office_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	uint64_t datagrams; /* since the last look: the state is not to change with each */
	struct link_facts facts;
	struct link_hop hop;
	struct idmap by_session; /* entry: the link's */
	struct idmap by_node;	 /* the same entries */
	struct link_entry {
		uint64_t link;
		uint64_t node;
		uint32_t session; /* 0 = free */
	} entries[LINKS_MAX];
	uint32_t tries;			      /* in this second */
	int64_t kept_after_us[LINK_ROWS_MAX]; /* of st.kept: not opened before */
	struct link_relays relays;
};

static struct addr here(struct actor *self, uint64_t id)
{
	return (struct addr){.node = actor_addr(self).node, .id = id};
}

/* ---- datagrams ----------------------------------------------------------------------------------- */

static uint32_t session_of(const struct datagram *d)
{
	struct link_head head;

	return link_head_read(d->bytes, d->size, &head) ? 0 : head.session;
}

static void link_office_datagrams(
	struct actor *self, void *data, const struct datagram *datagrams, size_t count)
{
	struct link_office *s = data;

	uint64_t unknown = s->st.unknown;

	s->datagrams += count;
	for (size_t i = 0, end; i < count; i = end) {
		uint32_t session = session_of(&datagrams[i]);
		const struct link_entry *entry =
			session ? idmap_get(&s->by_session, session) : NULL;

		for (end = i + 1; end < count && session_of(&datagrams[end]) == session; end++)
			;
		struct link_input input = {datagrams + i, end - i};

		if (entry ? actor_call(actor_runtime(self), here(self, entry->link),
				    &media_link_actor, link_take_datagrams, &input)
			  : link_relays_hand_on(self, &s->relays, s->facts.socket, &input, session))
			continue;
		s->st.unknown += end - i;
	}
	if (s->st.unknown == unknown)
		actor_unchanged(self);
}

/* ---- links ----------------------------------------------------------------------------------------- */

static void forget(struct actor *self, struct link_office *s, struct link_entry *entry)
{
	struct addr route = actor_addr(self);

	idmap_remove(&s->by_session, entry->session);
	if (idmap_get(&s->by_node, entry->node) == entry) {
		idmap_remove(&s->by_node, entry->node);
		/* another one to the same node, if there is one */
		for (int i = 0; i < LINKS_MAX; i++) {
			struct link_entry *other = &s->entries[i];

			if (other != entry && other->session && other->node == entry->node &&
				!idmap_put(&s->by_node, other->node, other)) {
				route = here(self, other->link);
				break;
			}
		}
		runtime_media_route(actor_runtime(self), entry->node, route);
	}
	*entry = (struct link_entry){0};
	s->st.links--;
}

static struct link_entry *free_entry(struct link_office *s)
{
	for (int i = 0; i < LINKS_MAX; i++)
		if (!s->entries[i].session)
			return &s->entries[i];
	return NULL;
}

struct joining {
	struct actor *link;
	uint64_t node;
	uint32_t *session;
	const struct link_facts *facts;
};

static void join(struct actor *self, void *data, void *context)
{
	struct link_office *s = data;
	struct joining *joining = context;
	struct link_entry *entry = free_entry(s);
	uint32_t session;

	if (!s->facts.socket)
		return;
	if (!joining->session) {
		joining->facts = &s->facts;
		return;
	}
	session = *joining->session;
	const struct link_entry *known = session ? idmap_get(&s->by_session, session) : NULL;

	if (known && known->link == actor_addr(joining->link).id) {
		joining->facts = &s->facts;
		return;
	}
	if (!entry)
		return;
	while (!session || (!*joining->session && idmap_get(&s->by_session, session)))
		session = (uint32_t)actor_random_u64(self);
	if (idmap_get(&s->by_session, session))
		return; /* a damaged state: it is another's */
	*entry = (struct link_entry){
		.link = actor_addr(joining->link).id, .node = joining->node, .session = session};
	if (idmap_put(&s->by_session, session, entry)) {
		*entry = (struct link_entry){0};
		return;
	}
	if (!idmap_get(&s->by_node, joining->node) && !idmap_put(&s->by_node, joining->node, entry))
		runtime_media_route(actor_runtime(self), joining->node, here(self, entry->link));
	s->st.links++;
	*joining->session = session;
	joining->facts = &s->facts;
}

const struct link_facts *link_office_join(struct actor *link, uint64_t node, uint32_t *session)
{
	struct joining joining = {.link = link, .node = node, .session = session};

	actor_call(actor_runtime(link), actor_office(link, OFFICE_LINK), &link_office_actor, join,
		&joining);
	return joining.facts;
}

/* All places are taken: the link that has been without media for longest ends. */
static bool make_room(struct actor *self, struct link_office *s)
{
	int64_t longest_us = actor_now_us(self) - IDLE_US;
	struct link_entry *chosen = NULL;
	char node[17];

	for (int i = 0; i < LINKS_MAX; i++) {
		struct link_entry *entry = &s->entries[i];
		int64_t since_us;

		if (entry->session &&
			actor_call(actor_runtime(self), here(self, entry->link), &media_link_actor,
				link_idle_since, &since_us) &&
			since_us <= longest_us) {
			longest_us = since_us;
			chosen = entry;
		}
	}
	if (!chosen)
		return false;
	snprintf(node, sizeof(node), "%016llx", (unsigned long long)chosen->node);
	log_info(actor_log(self), "link_gave_way", "node", node, "idle_ms",
		(actor_now_us(self) - longest_us) / 1000);
	actor_call(actor_runtime(self), here(self, chosen->link), &media_link_actor, link_give_way,
		NULL);
	forget(self, s, chosen);
	s->st.gave_way++;
	return true;
}

/* The link to a node; one is opened if there is none. NULL: it cannot be. */
static const struct link_entry *link_to(
	struct actor *self, struct link_office *s, uint64_t node, bool media)
{
	const struct link_entry *entry = idmap_get(&s->by_node, node);
	struct link_args args = {.node = node, .media = media};

	if (entry || s->st.draining || !s->facts.socket || node == actor_addr(self).node || !node ||
		s->tries >= OPEN_TRIES_PER_S)
		return entry;
	s->tries++;
	if (s->st.links == LINKS_MAX && (!media || !make_room(self, s)))
		return NULL;
	if (!actor_spawn(actor_runtime(self), self, &media_link_actor, &args, NULL))
		s->st.opened++;
	return idmap_get(&s->by_node, node);
}

static void need(struct actor *self, struct link_office *s, uint64_t node, bool media)
{
	const struct link_entry *entry = link_to(self, s, node, media);

	if (entry)
		actor_call(actor_runtime(self), here(self, entry->link), &media_link_actor,
			link_note_need, &media);
}

/* Of a node without a link. */
static void link_office_outbound(struct actor *self, void *data, struct addr to, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct link_office *s = data;
	const struct link_entry *entry = link_to(self, s, to.node, true);
	struct link_output output = {to, from, packets, count};

	if (!entry || !actor_call(actor_runtime(self), here(self, entry->link), &media_link_actor,
			      link_take_packets, &output))
		s->st.dropped += count;
}

/* The first packet opens a link, and that is asked for the rest. */
static uint32_t link_office_room(struct actor *self, void *data)
{
	(void)data;
	actor_unchanged(self);
	return LINK_PACE_FIRST;
}

/* ---- mail ------------------------------------------------------------------------------------------- */

static struct link_sender *find_sender(struct link_office *s, uint64_t actor)
{
	for (int i = 0; i < s->st.senders_count; i++)
		if (s->st.senders[i].actor == actor)
			return &s->st.senders[i];
	return NULL;
}

/* As a sender's that says nothing. */
static struct link_sender terms_of(struct actor *self)
{
	const struct config *config = actor_config(self);

	return (struct link_sender){
		.mode = config ? (uint8_t)config->link_mode : LINK_SMART,
		.recover_ms = config ? (uint32_t)config->link_recover_ms : 0,
	};
}

static void forget_sender(struct link_office *s, struct link_sender *sender)
{
	idmap_remove(&s->facts.terms, sender->actor);
	*sender = s->st.senders[--s->st.senders_count];
}

static enum err apply_sender(struct link_office *s, const struct link_sender *sender)
{
	return idmap_put(&s->facts.terms, sender->actor, link_terms_word(sender));
}

/* What that actor sends travels so from now on. */
static enum err set_terms(
	struct actor *self, struct link_office *s, struct addr who, const struct msg_link_need *m)
{
	const struct link_sender usual = terms_of(self);
	uint32_t recover_ms = m->recover_ms ? m->recover_ms : usual.recover_ms;
	struct link_sender *sender = find_sender(s, who.id);
	enum err err;

	if (who.node != actor_addr(self).node)
		return ERR_FORBIDDEN;
	if (m->mode == usual.mode && recover_ms == usual.recover_ms) {
		if (sender) {
			forget_sender(s, sender);
			actor_unmonitor(self, who);
		}
		return ERR_OK;
	}
	if (!sender && s->st.senders_count == LINK_SENDERS_MAX)
		return ERR_LIMIT;
	if (!sender) {
		sender = &s->st.senders[s->st.senders_count++];
		*sender = (struct link_sender){.actor = who.id};
		actor_monitor(self, who);
	}
	sender->mode = m->mode;
	sender->recover_ms = recover_ms;
	err = apply_sender(s, sender);
	if (err)
		forget_sender(s, sender);
	return err;
}

ON(link_office, link_need)
{
	need(self, s, m->node, true);
	return m->media ? set_terms(self, s, mail->from, m) : ERR_OK;
}

/* One that is to be measured only finds its place at the next worker, if there is none here. */
static enum err refuse_link(struct actor *self, struct link_office *s)
{
	uint32_t index = runtime_options(actor_runtime(self))->index;
	struct addr next =
		actor_office_at_worker(self, OFFICE_LINK, actor_addr(self).node, index + 1);

	if (!s->st.draining && s->facts.socket && !addr_is_nobody(next))
		return actor_forward(self, next);
	s->st.refused++;
	return ERR_OVERLOAD;
}

ON(link_office, link_open)
{
	struct link_args args = {.node = mail->from.node, .open = m, .asker = actor_asker(self)};
	enum err err;

	if (mail->from.node == actor_addr(self).node)
		return ERR_FORBIDDEN;
	if (s->st.draining || !s->facts.socket ||
		(s->st.links == LINKS_MAX && (!m->media || !make_room(self, s))))
		return refuse_link(self, s);
	err = actor_spawn(actor_runtime(self), self, &media_link_actor, &args, NULL);
	s->st.opened += !err;
	s->st.refused += !!err;
	return err;
}

/* Nodes that relay streams do this as well; one that drains goes on with those it has. */
ON(link_office, link_relay)
{
	const struct config *config = actor_config(self);
	struct msg_link_relayed relayed = {.port = s->facts.port};
	size_t first = strcspn(s->facts.addresses, ",") + 1;
	enum err err;

	if (mail->from.node == actor_addr(self).node || idmap_get(&s->by_session, m->session) ||
		(config && (!config->tier || !config->link_relay_bps)))
		return ERR_FORBIDDEN;
	err = s->facts.socket ? link_relays_take(&s->relays, mail->from.node, m, actor_now_us(self))
			      : ERR_UNSUPPORTED;
	if (err)
		return err;
	text_copy(relayed.address,
		first < sizeof(relayed.address) ? first : sizeof(relayed.address),
		s->facts.addresses);
	return actor_answer_mail(
		self, actor_asker(self), MSG_link_relayed, &schema_link_relayed, &relayed);
}

/* There was no room for us: another worker has the link, or nobody. */
static void put_off(struct actor *self, struct link_office *s, uint64_t node)
{
	for (unsigned i = 0; i < s->st.kept_count; i++)
		if (s->st.kept[i].node == node)
			s->kept_after_us[i] = actor_now_us(self) + KEPT_AGAIN_US;
}

ON(link_office, down)
{
	for (int i = 0; i < LINKS_MAX; i++) {
		if (!s->entries[i].session || s->entries[i].link != m->who.id)
			continue;
		if (m->reason == ERR_OVERLOAD)
			put_off(self, s, s->entries[i].node);
		forget(self, s, &s->entries[i]);
	}
	struct link_sender *sender = find_sender(s, m->who.id);

	if (sender)
		forget_sender(s, sender);
	return ERR_OK;
}

/* Those it named before are kept for a minute more, as if somebody had used them. */
ON(link_office, probe_plan)
{
	s->st.kept_count = m->nodes_count;
	memcpy(s->st.kept, m->nodes, sizeof(s->st.kept));
	memset(s->kept_after_us, 0, sizeof(s->kept_after_us));
	return ERR_OK;
}

/* The mesh lets that node in no more: nor do we. */
static void close_links(struct actor *self, struct link_office *s, uint64_t node)
{
	for (int i = 0; i < LINKS_MAX; i++)
		if (s->entries[i].session && s->entries[i].node == node)
			actor_send(self, here(self, s->entries[i].link), stop,
				{.reason = ERR_FORBIDDEN});
	link_relays_forget(&s->relays, node);
}

/* It is the route of all who have no link; of one that is lost nothing changes: its link may live. */
ON(link_office, node_seen)
{
	if (m->barred)
		close_links(self, s, m->node);
	if (m->up && !idmap_get(&s->by_node, m->node))
		runtime_media_route(actor_runtime(self), m->node, actor_addr(self));
	return ERR_OK;
}

/* What goes through goes on until the process ends: those who are fed by it move elsewhere meanwhile. */
ON(link_office, drain)
{
	s->st.draining = true;
	return ERR_OK;
}

static void link_office_timer(struct actor *self, void *data, unsigned timer)
{
	struct link_office *s = data;
	const struct process_env *env = runtime_env(actor_runtime(self));

	(void)timer;
	s->st.datagrams += s->datagrams;
	s->datagrams = 0;
	s->tries = 0;
	for (unsigned i = 0; i < s->st.kept_count; i++)
		if (s->kept_after_us[i] <= actor_now_us(self))
			need(self, s, s->st.kept[i].node, false);
	link_relays_expire(&s->relays, actor_now_us(self));
	s->st.handed_on = s->relays.handed_on;
	s->st.relay_refused = s->relays.refused;
	process_metric_set(env, PROCESS_METRIC_LINKS, s->st.links);
	process_metric_set(env, PROCESS_METRIC_LINK_UNKNOWN, s->st.unknown);
	process_metric_set(env, PROCESS_METRIC_LINK_DROPPED, s->st.dropped);
	process_metric_set(env, PROCESS_METRIC_LINK_RELAYED, s->st.handed_on);
	process_metric_set(env, PROCESS_METRIC_LINK_RELAY_REFUSED, s->st.relay_refused);
	process_metric_set(env, PROCESS_METRIC_LINK_GAVE_WAY, s->st.gave_way);
	actor_timer_at(self, OFFICE_TIMER_SWEEP, link_second_us(self));
}

/* ---- life ------------------------------------------------------------------------------------------- */

/* Where what is said to come from each address leaves: link.local names it, or it is the address itself. A
 * node that listens at one address has no choice. */
static void find_locals(struct actor *self, struct link_office *s, const struct config *config,
	const struct net_addr *socket)
{
	static const uint8_t any[sizeof(socket->ip)];
	const char *list = config->link_local[0] ? config->link_local : s->facts.addresses;
	char one[PROCESS_ADDRESS_SIZE];
	size_t at = 0;

	if (memcmp(socket->ip, any, sizeof(any)) != 0)
		return;
	for (unsigned i = 0;
		i < s->facts.address_count && config_list_next(list, &at, one, sizeof(one)); i++)
		if (net_addr_parse(one, &s->facts.locals[i]) ||
			!net_is_local(self, &s->facts.locals[i]))
			s->facts.locals[i] = (struct net_addr){0};
}

/* Those of link.advertise, at most one a path; else the first that WebRTC offers; else where we are. */
static void find_addresses(struct actor *self, struct link_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct config *config = actor_config(self);
	struct net_addr local;
	char one[PROCESS_ADDRESS_SIZE], text[NET_ADDR_TEXT_SIZE];
	size_t at = 0, used = 0;

	net_local_addr(self, s->facts.socket, &local);
	s->facts.port = local.port;
	while (config && s->facts.address_count < LINK_ADDRESSES_MAX &&
		config_list_next(config->link_advertise, &at, one, sizeof(one)) &&
		used + strlen(one) + 2 < sizeof(s->facts.addresses)) {
		used += (size_t)snprintf(s->facts.addresses + used,
			sizeof(s->facts.addresses) - used, "%s%s", used ? "," : "", one);
		s->facts.address_count++;
	}
	if (s->facts.address_count) {
		find_locals(self, s, config, &local);
		return;
	}
	s->facts.address_count = 1;
	text_copy(s->facts.addresses, sizeof(s->facts.addresses),
		env && env->advertise_count ? env->advertise[0] : net_addr_ip_text(&local, text));
}

static enum err link_office_restore(struct actor *self, void *data)
{
	struct link_office *s = data;

	actor_set_name(self, "office/link");
	s->st.links = 0; /* they come back one by one */
	s->facts.hop = &s->hop;
	s->facts.socket = net_take(self, NET_LINK_UDP);
	if (s->facts.socket)
		find_addresses(self, s);
	for (int i = 0; i < s->st.senders_count; i++)
		if (s->st.senders[i].mode > LINK_BACKUP || apply_sender(s, &s->st.senders[i]))
			return ERR_FORMAT;
	enum err err = link_relays_init(&s->relays, &s->st);

	if (err)
		return err;
	s->relays.handed_on = s->st.handed_on;
	s->relays.refused = s->st.relay_refused;
	actor_timer_at(self, OFFICE_TIMER_SWEEP, link_second_us(self));
	return ERR_OK;
}

static enum err link_office_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	actor_watch_nodes(self);
	return link_office_restore(self, data);
}

static void link_office_stop(struct actor *self, void *data, enum err reason)
{
	struct link_office *s = data;

	(void)self;
	(void)reason;
	idmap_fini(&s->by_session);
	idmap_fini(&s->by_node);
	idmap_fini(&s->facts.terms);
	link_relays_fini(&s->relays);
}

static const struct handler link_office_handlers[] = {
	HANDLER(link_office, link_need, 0),
	HANDLER(link_office, link_open, 0),
	HANDLER(link_office, link_relay, 0),
	HANDLER(link_office, down, 0),
	HANDLER(link_office, node_seen, 0),
	HANDLER(link_office, probe_plan, 0),
	HANDLER(link_office, drain, 0),
};

const struct actor_type link_office_actor = {
	.name = "link_office",
	.size = sizeof(struct link_office),
	.state = &schema_link_office_state,
	HANDLER_TABLE(link_office_handlers),
	.init = link_office_init,
	.restore = link_office_restore,
	.stop = link_office_stop,
	.timer = link_office_timer,
	.outbound = link_office_outbound,
	.room = link_office_room,
	.datagrams = link_office_datagrams,
};
