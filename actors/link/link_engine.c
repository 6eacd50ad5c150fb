/* SPDX-License-Identifier: Apache-2.0
 *
 * One end of a link: life, keys, what leaves. link_engine_receive.c: what comes.
 */
#include "actors/link/link_engine_internal.h"

#include <openssl/crypto.h>
#include <string.h>

/* ---- life ---- */

void link_hot_init(struct link_hot *hot, const struct link_key *tx)
{
	memset(hot, 0, sizeof(*hot));
	hot->magic = LINK_HOT_MAGIC;
	hot->next_seq = UINT64_C(1) << 32;
	hot->tx[0] = *tx;
}

void link_hot_meet(struct link_hot *hot, const struct link_key *rx)
{
	if (hot->rx_known && CRYPTO_memcmp(&hot->rx[0], rx, sizeof(*rx)) == 0)
		return;
	hot->rx_known = 0;
	arena_step();
	hot->window = (struct link_window){0};
	hot->rx[0] = *rx;
	hot->rx_newest = 0;
	arena_step();
	hot->rx_known = 1;
}

bool link_hot_is_valid(const struct link_hot *hot)
{
	/* far from a wrap, so that nothing that follows can reach one */
	uint64_t limit = UINT64_C(1) << 62;
	bool valid = hot->magic == LINK_HOT_MAGIC && hot->tx_bit <= 1 && hot->rx_known <= 3 &&
		     hot->rx_newest <= 1 && hot->counter < limit && hot->key_from <= hot->counter &&
		     hot->next_seq < limit && hot->window.highest < limit;

	for (int i = 0; i < LINK_PATHS_MAX; i++)
		valid = valid && hot->path_seq[i] < limit;
	return valid;
}

enum err link_engine_init(struct link_engine *e, const struct link_options *options,
	const struct link_ops *ops, struct link_hot *hot, struct link_out *out, int64_t now_us)
{
	enum err err;

	if (!link_hot_is_valid(hot) || !hot->rx_known)
		return ERR_FORMAT;
	e->options = *options;
	e->ops = *ops;
	e->hot = hot;
	e->out = out;
	err = link_seal_init(&e->tx, &hot->tx[hot->tx_bit]);
	for (int i = 0; i < 2; i++)
		if (!err && hot->rx_known >> i & 1)
			err = link_seal_init(&e->rx[i], &hot->rx[i]);
	if (err) {
		link_engine_fini(e);
		return err;
	}
	link_send_init(&e->send, options->redundancy_permille, options->age_max_us, hot->next_seq);
	link_receive_init(&e->receive, options->age_max_us);
	e->began_us = e->report_us = e->nack_us = now_us;
	e->expire_at_us = INT64_MAX;
	return ERR_OK;
}

void link_engine_configure(struct link_engine *e, const struct link_options *options)
{
	e->options.redundancy_permille = e->send.redundancy_permille = options->redundancy_permille;
	e->options.age_us = options->age_us;
	e->options.age_max_us = e->send.age_max_us = e->receive.age_max_us = options->age_max_us;
}

void link_engine_fini(struct link_engine *e)
{
	struct slot_ref ref;

	while (link_send_drop(&e->send, &ref))
		link_release(e, ref);
	link_send_fini(&e->send);
	link_seal_fini(&e->tx);
	link_seal_fini(&e->rx[0]);
	link_seal_fini(&e->rx[1]);
	e->hot = NULL;
}

void link_release(struct link_engine *e, struct slot_ref ref)
{
	if (ref.generation)
		e->ops.release(e->ops.context, ref);
}

void link_engine_add_path(struct link_engine *e, unsigned path, uint8_t route, int64_t now_us)
{
	MUST(path < LINK_PATHS_MAX);
	link_path_init(&e->paths[path], route, now_us);
	if (e->hot->path_seq[path])
		e->paths[path].next_seq = e->hot->path_seq[path];
	e->paths[path].acked = e->paths[path].next_seq - 1;
	e->paces[path] = (struct link_pace){0};
}

void link_engine_remove_path(struct link_engine *e, unsigned path)
{
	MUST(path < LINK_PATHS_MAX);
	e->paths[path] = (struct link_path){0};
	e->meters[path] = (struct link_meter){0};
	if (e->send.best == path)
		e->send.best = LINK_NO_PATH;
	if (e->send.second == path)
		e->send.second = LINK_NO_PATH;
	if (e->send.leaving == path)
		e->send.leaving = LINK_NO_PATH;
}

/* ---- keys ---- */

enum err link_engine_set_tx_key(struct link_engine *e, const struct link_key *key)
{
	struct link_seal seal;
	enum err err = link_seal_init(&seal, key);

	if (err)
		return err;
	link_engine_flush(e);
	link_seal_fini(&e->tx);
	e->tx = seal;
	e->hot->tx[e->hot->tx_bit ^ 1] = *key;
	e->hot->key_from = e->hot->counter;
	arena_step();
	e->hot->tx_bit ^= 1;
	arena_step();
	link_key_clear(&e->hot->tx[e->hot->tx_bit ^ 1]);
	return ERR_OK;
}

enum err link_engine_set_rx_key(struct link_engine *e, uint8_t bit, const struct link_key *key)
{
	struct link_seal seal;
	enum err err;

	if (bit > 1)
		return ERR_FORMAT;
	err = link_seal_init(&seal, key);
	if (err)
		return err;
	link_seal_fini(&e->rx[bit]);
	e->rx[bit] = seal;
	e->hot->rx[bit] = *key;
	e->hot->rx_newest = bit;
	arena_step();
	e->hot->rx_known |= (uint8_t)(1 << bit);
	e->rx_old_until_us = 0;
	return ERR_OK;
}

void link_note_key(struct link_engine *e, uint8_t bit, int64_t now_us)
{
	/* (that the peer has heard that we have it is not sure before) */
	if (e->hot->rx_known == 3 && bit == e->hot->rx_newest && !e->rx_old_until_us)
		e->rx_old_until_us = now_us + LINK_OLD_KEY_US;
}

/* The key that was replaced is taken no more. */
static void forget_old_key(struct link_engine *e, int64_t now_us)
{
	uint8_t old = e->hot->rx_newest ^ 1;

	if (!e->rx_old_until_us || now_us < e->rx_old_until_us)
		return;
	e->rx_old_until_us = 0;
	e->hot->rx_known &= (uint8_t) ~(1 << old);
	arena_step();
	link_key_clear(&e->hot->rx[old]);
	link_seal_fini(&e->rx[old]);
}

bool link_engine_wants_key(const struct link_engine *e)
{
	return e->hot->counter - e->hot->key_from > LINK_KEY_PACKETS;
}

/* ---- datagrams out ---- */

static void flush_path(struct link_engine *e, unsigned path)
{
	struct link_outbox *box = &e->out->boxes[path];
	struct link_sealing sealing[LINK_BATCH];
	struct iovec datagrams[LINK_BATCH];
	size_t count = 0;

	for (unsigned i = 0; i < box->count; i++)
		sealing[i] = (struct link_sealing){box->bytes[i], box->sizes[i]};
	link_seal_batch(&e->tx, sealing, box->count);
	for (unsigned i = 0; i < box->count; i++)
		if (sealing[i].size)
			datagrams[count++] = (struct iovec){sealing[i].bytes, sealing[i].size};
	box->count = 0;
	if (count)
		e->ops.emit(e->ops.context, path, datagrams, count);
}

void link_engine_flush(struct link_engine *e)
{
	for (unsigned i = 0; i < LINK_PATHS_MAX; i++)
		if (e->out->boxes[i].count)
			flush_path(e, i);
}

uint8_t *link_out_body(struct link_engine *e, unsigned path)
{
	struct link_outbox *box = &e->out->boxes[path];

	if (box->count == LINK_BATCH)
		flush_path(e, path);
	return box->bytes[box->count] + LINK_HEAD;
}

/* Media of that kind has left lately. */
static bool is_lately(int64_t left_us, int64_t now_us)
{
	return left_us && now_us - left_us < LINK_ACTIVE_US;
}

static bool rests(const struct link_engine *e, int64_t now_us)
{
	return now_us - e->media_us >= LINK_REST_US && now_us - e->heard_us >= LINK_REST_US &&
	       now_us - e->began_us >= LINK_REST_US;
}

void link_wake(struct link_engine *e, int64_t now_us)
{
	if (!rests(e, now_us))
		return;
	for (unsigned i = 0; i < LINK_PATHS_MAX; i++)
		link_path_wake(&e->paths[i], now_us);
}

bool link_is_hurried(const struct link_engine *e, int64_t now_us)
{
	return is_lately(e->backed_us, now_us);
}

uint64_t link_out_commit(struct link_engine *e, unsigned path, enum link_kind kind, bool covered,
	size_t body_size, int64_t now_us)
{
	struct link_outbox *box = &e->out->boxes[path];
	struct link_path *p = &e->paths[path];
	uint64_t path_seq = p->next_seq;
	const struct link_head head = {
		.kind = (uint8_t)kind,
		.path = (uint8_t)path,
		.key = e->hot->tx_bit,
		.covered = covered,
		.hurry = link_is_hurried(e, now_us),
		.path_seq = link_path_send(p, LINK_HEAD + body_size + LINK_TAG, now_us),
		.session = e->options.session,
		.counter = ++e->hot->counter,
	};

	e->hot->path_seq[path] = p->next_seq;
	arena_step();
	link_head_write(&head, box->bytes[box->count]);
	box->sizes[box->count++] = (uint16_t)(LINK_HEAD + body_size);
	return path_seq;
}

/* ---- media out ---- */

/* Writes the packet for one path; false: it cannot be said on the wire. */
static bool send_on(struct link_engine *e, const struct link_sent *sent,
	const struct packet *packet, unsigned path, bool covered, uint64_t *path_seq,
	int64_t now_us)
{
	const struct link_media media = {
		.seq = (uint32_t)sent->seq,
		.sent_us = (uint32_t)now_us,
		.to = sent->to,
		.from = sent->from,
		.header = packet->header,
		.payload = packet->payload,
	};
	uint8_t *body = link_out_body(e, path);
	size_t size;

	if (link_media_write(&media, body, &size)) {
		e->counters.too_wide++;
		return false;
	}
	*path_seq = link_out_commit(e, path, LINK_MEDIA, covered, size, now_us);
	return true;
}

/* Those that waited, in their order, as their path has room. */
static void send_copies(struct link_engine *e, int64_t now_us)
{
	uint8_t beside = link_send_beside(&e->send, e->paths, now_us);
	struct link_sent *sent;

	while (e->send.copies_count &&
		(beside == LINK_NO_PATH || link_path_has_spare(&e->paths[beside], now_us)) &&
		(sent = link_send_next_copy(&e->send, e->paths, beside))) {
		const struct packet *packet = e->ops.packet(e->ops.context, sent->packet);
		uint64_t path_seq;

		if (packet && packet->header.size <= MEDIA_PAYLOAD_MAX &&
			send_on(e, sent, packet, beside, false, &path_seq, now_us))
			link_send_note_copy(&e->send, sent,
				LINK_HEAD + LINK_MEDIA_HEAD + (size_t)packet->header.size +
					LINK_TAG);
	}
}

static void send_rows(struct link_engine *e, int64_t now_us)
{
	uint8_t path = e->send.best;
	size_t size;

	if (path == LINK_NO_PATH) {
		e->fec_out = (struct link_fec_encoder){0};
		return;
	}
	link_fec_end_late(&e->fec_out, now_us);
	while (link_path_has_spare(&e->paths[path], now_us) &&
		(size = link_fec_take_row(&e->fec_out, link_out_body(e, path)))) {
		e->send.extra_bytes += LINK_HEAD + size + LINK_TAG;
		link_out_commit(e, path, LINK_FEC, false, size, now_us);
	}
}

/* Adds the packet to the rows, from the body as it was written last (seal comes later). */
static bool cover(struct link_engine *e, const struct link_sent *sent, const struct packet *packet,
	int64_t now_us)
{
	const struct link_media media = {.seq = (uint32_t)sent->seq,
		.to = sent->to,
		.from = sent->from,
		.header = packet->header,
		.payload = packet->payload};
	uint8_t body[LINK_BODY_MAX];
	size_t size;

	if (!e->fec_out.wanted.count && !e->fec_out.plan.count)
		return false;
	return !link_media_write(&media, body, &size) &&
	       link_fec_add(&e->fec_out, sent->seq, body, size, now_us);
}

static int64_t age_of(const struct link_engine *e, struct link_terms terms)
{
	int64_t age_us = terms.age_us ? terms.age_us : e->options.age_us;

	return age_us && age_us < e->options.age_max_us ? age_us : e->options.age_max_us;
}

/* FEC is for those that have the least time. */
static void note_age(struct link_engine *e, int64_t age_us, int64_t now_us)
{
	if (age_us <= e->tight_us || !is_lately(e->tight_at_us, now_us)) {
		e->tight_us = age_us;
		e->tight_at_us = now_us;
	}
}

void link_engine_send(struct link_engine *e, struct slot_ref ref, uint64_t to, uint64_t from,
	struct link_terms terms, int64_t now_us)
{
	const struct packet *packet = e->ops.packet(e->ops.context, ref);
	struct slot_ref dropped;

	if (!packet || packet->header.size > MEDIA_PAYLOAD_MAX ||
		e->hot->counter - e->hot->key_from >= 2 * LINK_KEY_PACKETS ||
		e->send.best == LINK_NO_PATH) {
		e->counters.no_path += e->send.best == LINK_NO_PATH;
		e->counters.no_key += e->send.best != LINK_NO_PATH;
		link_release(e, ref);
		return;
	}
	struct link_sent *sent = link_send_put(&e->send, ref, to, from, now_us, &dropped);

	link_wake(e, now_us);
	if (!sent) {
		e->counters.no_memory++;
		link_release(e, ref);
		return;
	}
	size_t size = LINK_HEAD + LINK_MEDIA_HEAD + (size_t)packet->header.size + LINK_TAG;
	struct link_select select = link_send_select(&e->send, e->paths, size, terms.mode,
		packet->header.priority >= MEDIA_PRIORITY_KEY, now_us);

	sent->mode = (uint8_t)terms.mode;
	sent->in_trouble = select.in_trouble;
	sent->age_us = age_of(e, terms);
	note_age(e, sent->age_us, now_us);
	if (terms.mode == LINK_RACE)
		e->raced_us = now_us;
	if (terms.mode == LINK_BACKUP)
		e->backed_us = now_us;

	e->hot->next_seq = e->send.next;
	link_release(e, dropped);
	bool covered = cover(e, sent, packet, now_us);

	for (unsigned i = 0; i < select.count; i++) {
		uint64_t path_seq;

		if (i && !link_send_copy_may_go(
				 &e->send, &e->paths[select.paths[i]], sent->seq, now_us))
			break;
		if (!send_on(e, sent, packet, select.paths[i], covered, &path_seq, now_us))
			break;
		if (i) {
			link_send_note_copy(&e->send, sent, size);
		} else {
			sent->path = select.paths[0];
			sent->path_seq = path_seq;
		}
	}
	if (!e->media_us || e->expire_at_us == INT64_MAX)
		e->expire_at_us = now_us + LINK_EXPIRE_US;
	e->media_us = now_us;
	if (covered)
		send_rows(e, now_us);
}

uint32_t link_engine_room(struct link_engine *e, int64_t now_us)
{
	uint8_t best = e->send.best;

	return best == LINK_NO_PATH ? 0 : link_pace_room(&e->paces[best], &e->paths[best], now_us);
}

bool link_send_again(struct link_engine *e, struct link_sent *sent, bool at_once, int64_t now_us)
{
	const struct packet *packet = e->ops.packet(e->ops.context, sent->packet);

	if (!packet || packet->header.size > MEDIA_PAYLOAD_MAX || e->send.best == LINK_NO_PATH)
		return false;
	size_t size = LINK_HEAD + LINK_MEDIA_HEAD + (size_t)packet->header.size + LINK_TAG;

	if (!at_once && !link_path_has_room(&e->paths[e->send.best], now_us))
		return false; /* it will be asked for again */
	struct link_select select = link_send_select_again(
		&e->send, e->paths, size, (enum link_mode)sent->mode, now_us);

	for (unsigned i = 0; i < select.count; i++) {
		uint64_t path_seq;

		if (!send_on(e, sent, packet, select.paths[i], false, &path_seq, now_us))
			return false;
		if (!i) {
			sent->path = select.paths[0];
			sent->path_seq = path_seq;
		}
	}
	sent->again_us = now_us;
	e->send.resent++;
	return true;
}

/* ---- time ---- */

/* What the path that was left has not been heard to deliver goes by the new one, at once. */
static void send_undelivered(struct link_engine *e, uint8_t left, int64_t now_us)
{
	uint64_t seq = e->send.next > LINK_RESEND_MAX ? e->send.next - LINK_RESEND_MAX : 0;
	struct link_sent *sent;

	uint64_t extra_bytes = e->send.extra_bytes;

	while ((sent = link_send_undelivered(&e->send, left, e->paths[left].acked, &seq)))
		e->send.resent_by_switch += link_send_again(e, sent, true, now_us);
	e->send.trouble_bytes += e->send.extra_bytes - extra_bytes;
}

void link_judge(struct link_engine *e, int64_t now_us)
{
	uint8_t before = e->send.best;

	if (link_send_judge(&e->send, e->paths, now_us))
		send_undelivered(e, before, now_us);
	if (e->send.best == LINK_NO_PATH)
		return;
	const struct link_path *p = &e->paths[e->send.best];

	link_fec_want(&e->fec_out, link_fec_plan_for(p->loss_ppm, p->burst, link_path_rtt_us(p),
					   e->tight_us ? e->tight_us : e->options.age_max_us,
					   e->options.redundancy_permille));
}

/* All links of a worker at once: it wakes up once for them. */
static int64_t rest_at_us(const struct link_engine *e, int64_t now_us)
{
	return rests(e, now_us) ? link_next_second_us(now_us, e->options.phase_us) : 0;
}

static void send_probe(struct link_engine *e, unsigned path, bool beat, int64_t now_us)
{
	struct link_probe probe = {.sent_us = (uint64_t)now_us};

	if (!beat)
		link_path_probe(&e->paths[path], now_us, rest_at_us(e, now_us), &probe);
	probe.next_seq = (uint32_t)e->send.next;
	link_probe_write(&probe, link_out_body(e, path));
	link_out_commit(e, path, LINK_PROBE, false, LINK_PROBE_SIZE, now_us);
	e->counters.beats += beat;
}

static int64_t beat_at_us(const struct link_engine *e, unsigned path, int64_t now_us)
{
	return e->paths[path].last_sent_us +
	       (link_is_hurried(e, now_us) ? LINK_BEAT_HURRY_US : LINK_BEAT_US);
}

static void beat(struct link_engine *e, uint8_t path, int64_t now_us)
{
	if (path != LINK_NO_PATH && now_us >= beat_at_us(e, path, now_us))
		send_probe(e, path, true, now_us);
}

static int64_t report_at_us(const struct link_engine *e)
{
	bool hears = e->heard_us && e->report_us - e->heard_us < LINK_REPORT_LAST_US;
	bool hurries = e->hurried_us && e->report_us - e->hurried_us < LINK_REPORT_LAST_US;
	int64_t wait_us = hurries ? LINK_REPORT_HURRY_US : LINK_REPORT_US;

	if (!hears && rests(e, e->report_us))
		return link_next_second_us(e->report_us, e->options.phase_us) +
		       LINK_REPORT_REST_US - LINK_PROBE_REST_US;
	if (!hears)
		wait_us = LINK_REPORT_IDLE_US;
	return e->report_us + wait_us;
}

static int64_t ask_at_us(const struct link_engine *e)
{
	int64_t at_us = link_receive_deadline_us(&e->receive, link_rtt_us(e));

	return at_us < e->nack_us + LINK_NACK_US ? e->nack_us + LINK_NACK_US : at_us;
}

int64_t link_rtt_us(const struct link_engine *e)
{
	return e->send.best == LINK_NO_PATH ? LINK_RTT_FIRST_US
					    : link_path_rtt_us(&e->paths[e->send.best]);
}

static void expire(struct link_engine *e, int64_t now_us)
{
	struct slot_ref ref;

	/* a request for the oldest that may be asked for is a round trip behind */
	while (link_send_expire(&e->send, now_us - link_rtt_us(e), &ref))
		link_release(e, ref);
	e->expire_at_us = e->send.oldest == e->send.next ? INT64_MAX : now_us + LINK_EXPIRE_US;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What waits for a path that is none is given up. */
static int64_t spare_at_us(const struct link_engine *e, uint8_t path, int64_t now_us)
{
	return path == LINK_NO_PATH ? now_us + 1 : link_path_spare_at_us(&e->paths[path], now_us);
}

int64_t link_engine_deadline_us(const struct link_engine *e, int64_t now_us)
{
	int64_t at_us = earlier(report_at_us(e), ask_at_us(e));

	for (unsigned i = 0; i < LINK_PATHS_MAX; i++)
		at_us = earlier(at_us, link_path_deadline_us(&e->paths[i]));
	if (is_lately(e->media_us, now_us) && e->send.best != LINK_NO_PATH)
		at_us = earlier(at_us, beat_at_us(e, e->send.best, now_us));
	if (e->rx_old_until_us)
		at_us = earlier(at_us, e->rx_old_until_us);
	if (e->send.copies_count)
		at_us = earlier(at_us,
			spare_at_us(e, link_send_beside(&e->send, e->paths, now_us), now_us));
	if (e->fec_out.ended_count)
		at_us = earlier(at_us, spare_at_us(e, e->send.best, now_us));
	return earlier(earlier(at_us, e->expire_at_us), link_fec_deadline_us(&e->fec_out));
}

int64_t link_engine_tick(struct link_engine *e, int64_t now_us)
{
	forget_old_key(e, now_us);
	for (unsigned i = 0; i < LINK_PATHS_MAX; i++) {
		link_path_look(&e->paths[i], now_us);
		if (link_path_probe_is_due(&e->paths[i], now_us))
			send_probe(e, i, false, now_us);
	}
	link_judge(e, now_us);
	if (is_lately(e->media_us, now_us))
		beat(e, e->send.best, now_us);
	if (is_lately(e->raced_us, now_us))
		beat(e, e->send.second, now_us);
	if (now_us >= report_at_us(e) || now_us >= ask_at_us(e))
		link_report(e, now_us);
	if (now_us >= e->expire_at_us)
		expire(e, now_us);
	send_copies(e, now_us);
	send_rows(e, now_us);
	link_engine_flush(e);
	return link_engine_deadline_us(e, now_us);
}
