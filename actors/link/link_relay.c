/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams of other nodes' links, handed on as they are: sealed, and not opened. Both ends of such a link
 * have said over the mesh that we are to do it, each for its own session:
 *
 *   {session, where it is, its peer's session, the peer's node}
 *
 * A datagram with a session is handed to who announced it, if the end that it names as its peer has
 * announced the reverse, and if the datagram comes from where that one is. So a datagram is handed on once,
 * by one node, and nobody is sent more than somebody has sent. Owns the table; bounded in rows and rate.
 */
#include "actors/link/link_relay.h"
#include "runtime/config.h"

enum {
	ROW_OLD_US = 15000000,	 /* not announced again for so long */
	CREDIT_US = 100000,	 /* what is not used of the rate is kept for so long … */
	CREDIT_LEAST = 64 << 10, /* … but at least so many bytes */
	RATE_DEFAULT = 100 << 20,
};

static struct link_relay_row *find(struct link_relays *r, uint32_t session)
{
	uintptr_t number = (uintptr_t)idmap_get(&r->by_session, session);

	return number ? &r->rows[number - 1] : NULL;
}

static const struct net_addr *address_of(
	const struct link_relays *r, const struct link_relay_row *row)
{
	return &r->addresses[row - r->rows];
}

/* The row of its other end, when that says the same. */
static struct link_relay_row *other_end(struct link_relays *r, const struct link_relay_row *row)
{
	struct link_relay_row *other = find(r, row->peer_session);

	return other && other->peer_session == row->session && other->node == row->peer &&
			       other->peer == row->node
		       ? other
		       : NULL;
}

/* ---- rows ---- */

static void remove_row(struct link_relays *r, struct link_relay_row *row)
{
	struct link_relay_row *last = &r->rows[*r->count - 1];

	idmap_remove(&r->by_session, row->session);
	if (row != last) {
		*row = *last;
		r->addresses[row - r->rows] = *address_of(r, last);
		MUST(idmap_put(&r->by_session, row->session,
			     (void *)(uintptr_t)(row - r->rows + 1)) == ERR_OK); /* replaces */
	}
	--*r->count;
}

static enum err index_row(struct link_relays *r, struct link_relay_row *row)
{
	struct net_addr *address = &r->addresses[row - r->rows];

	if (!row->session || net_addr_parse(row->remote, address) || !address->port)
		return ERR_FORMAT;
	address->transport = NET_UDP;
	return idmap_put(&r->by_session, row->session, (void *)(uintptr_t)(row - r->rows + 1));
}

enum err link_relays_init(struct link_relays *r, struct link_office_state *st)
{
	r->rows = st->relays;
	r->count = &st->relays_count;
	for (unsigned i = 0; i < *r->count; i++) {
		enum err err = index_row(r, &r->rows[i]);

		if (err)
			return err;
	}
	return ERR_OK;
}

void link_relays_fini(struct link_relays *r)
{
	idmap_fini(&r->by_session);
}

enum err link_relays_take(
	struct link_relays *r, uint64_t node, const struct msg_link_relay *m, int64_t now_us)
{
	struct link_relay_row *row = find(r, m->session), before;
	struct net_addr address;
	enum err err;

	if (!m->session || !m->port || m->session == m->peer_session || m->peer == node ||
		net_addr_parse(m->address, &address))
		return ERR_FORMAT;
	if (row && row->node != node)
		return ERR_BUSY;
	if (!row && *r->count == LINK_RELAYS_MAX)
		return ERR_OVERLOAD;
	if (!row) {
		row = &r->rows[(*r->count)++];
		*row = (struct link_relay_row){.session = m->session, .node = node};
	}
	before = *row;
	row->peer_session = m->peer_session;
	row->peer = m->peer;
	row->heard_us = now_us;
	address.port = m->port;
	net_addr_text(&address, row->remote);
	err = index_row(r, row);
	if (err && !before.heard_us)
		--*r->count;
	return err;
}

void link_relays_forget(struct link_relays *r, uint64_t node)
{
	for (unsigned i = *r->count; i > 0; i--)
		if (r->rows[i - 1].node == node || r->rows[i - 1].peer == node)
			remove_row(r, &r->rows[i - 1]);
}

void link_relays_expire(struct link_relays *r, int64_t now_us)
{
	for (unsigned i = *r->count; i > 0; i--)
		if (now_us - r->rows[i - 1].heard_us > ROW_OLD_US)
			remove_row(r, &r->rows[i - 1]);
}

/* ---- datagrams ---- */

/* What may leave now, in bytes. */
static int64_t credit(struct link_relays *r, int64_t rate_bps, int64_t now_us)
{
	int64_t most = rate_bps / 8 * CREDIT_US / 1000000;

	most = most < CREDIT_LEAST ? CREDIT_LEAST : most;
	r->credit_bytes += (now_us - r->credit_us) * (rate_bps / 8) / 1000000;
	r->credit_us = now_us;
	if (r->credit_bytes > most)
		r->credit_bytes = most;
	return r->credit_bytes;
}

static void flush(struct actor *self, struct link_relays *r, uint32_t socket,
	const struct net_addr *to, struct iovec *packets, size_t *count)
{
	size_t sent = *count ? net_send(self, socket, to, packets, *count) : 0;

	r->handed_on += sent;
	r->refused += *count - sent;
	*count = 0;
}

bool link_relays_hand_on(struct actor *self, struct link_relays *r, uint32_t socket,
	const struct link_input *input, uint32_t session)
{
	const struct config *config = actor_config(self);
	struct link_relay_row *row = find(r, session);
	const struct link_relay_row *other = row ? other_end(r, row) : NULL;
	struct iovec packets[NET_SEND_PACKETS_MAX];
	size_t count = 0;

	if (!other)
		return false;
	credit(r, config ? config->link_relay_bps : RATE_DEFAULT, actor_now_us(self));
	for (size_t i = 0; i < input->count; i++) {
		const struct datagram *d = &input->datagrams[i];

		if (r->credit_bytes < d->size ||
			!net_addr_same_ip(&d->from, address_of(r, other))) {
			r->refused++;
			continue;
		}
		r->credit_bytes -= d->size;
		packets[count++] = (struct iovec){(void *)(uintptr_t)d->bytes, d->size};
		if (count == NET_SEND_PACKETS_MAX)
			flush(self, r, socket, address_of(r, row), packets, &count);
	}
	flush(self, r, socket, address_of(r, row), packets, &count);
	return true;
}
