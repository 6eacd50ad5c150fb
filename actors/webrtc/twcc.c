/* SPDX-License-Identifier: Apache-2.0
 *
 * Transport-wide congestion control: recorder and feedback builder, feedback reader, ledger of what
 * was sent; REMB meter. Section numbers are those of the draft.
 */
#include "actors/webrtc/twcc.h"

enum {
	FCI_HEAD_SIZE = 8, /* base, count, reference time, feedback packet count; 3.1 */
	CHUNK_VECTOR = 0x8000,
	CHUNK_TWO_BIT = 0x4000,
	ONE_BIT_SYMBOLS = 14,
	TWO_BIT_SYMBOLS = 7,
	RUN_MAX = 8191, /* thirteen bits; 3.1.3 */
	SMALL_DELTA_MAX = 255,
	OLD_IN_A_ROW_MAX = 64, /* then the sender has begun anew, whatever it is up to */
};

enum symbol { NOT_RECEIVED, SMALL_DELTA, LARGE_DELTA, RESERVED };

_Static_assert((TWCC_WINDOW & (TWCC_WINDOW - 1)) == 0, "window is a power of two");
_Static_assert(RTCP_HEADER_SIZE + 8 + FCI_HEAD_SIZE + 2 * TWCC_FEEDBACK_PACKETS +
			       2 * (TWCC_WINDOW / TWO_BIT_SYMBOLS + 1) + 3 <=
		       TWCC_FEEDBACK_MAX,
	"the worst feedback fits");
_Static_assert((TWCC_LEDGER_PACKETS & (TWCC_LEDGER_PACKETS - 1)) == 0, "ledger is a power of two");

/* ---- recorder ---- */

void twcc_recorder_init(struct twcc_recorder *t)
{
	memset(t, 0, sizeof(*t));
}

bool twcc_recorder_is_valid(const struct twcc_recorder *t)
{
	int64_t limit = INT64_C(1) << 60;

	if (t->newest >> 62 || t->newest + 1 < t->next_told ||
		t->newest + 1 - t->next_told > TWCC_WINDOW || t->told_us < -limit ||
		t->told_us > limit)
		return false;
	for (int i = 0; i < TWCC_WINDOW; i++)
		if (t->arrival_tick[i] < 0 || t->arrival_tick[i] > limit)
			return false;
	return true;
}

static int64_t *slot_of(struct twcc_recorder *t, uint64_t sequence)
{
	return &t->arrival_tick[sequence % TWCC_WINDOW];
}

static void recorder_start(struct twcc_recorder *t, uint16_t sequence, int64_t now_us)
{
	memset(t->arrival_tick, 0, sizeof(t->arrival_tick));
	t->started = true;
	t->old_in_a_row = 0;
	t->pending = 0;
	t->newest = RTP_EXTEND_SEQUENCE_START + sequence;
	t->next_told = t->newest;
	t->told_us = now_us;
}

void twcc_recorder_take(struct twcc_recorder *t, uint16_t sequence, uint32_t ssrc, int64_t now_us)
{
	if (!t->started)
		recorder_start(t, sequence, now_us);
	uint64_t here = rtp_extend_sequence(t->newest, sequence);
	if (here + TWCC_WINDOW <= t->newest) {
		t->too_old++;
		if (++t->old_in_a_row < OLD_IN_A_ROW_MAX)
			return;
		recorder_start(t, sequence, now_us);
		here = t->newest;
	}
	t->old_in_a_row = 0;
	if (here > t->newest) {
		uint64_t from = here - t->newest > TWCC_WINDOW ? here - TWCC_WINDOW : t->newest;
		for (uint64_t s = from + 1; s <= here; s++)
			*slot_of(t, s) = 0;
		t->newest = here;
		if (t->next_told + TWCC_WINDOW <= here) {
			t->skipped += here - TWCC_WINDOW + 1 - t->next_told;
			t->next_told = here - TWCC_WINDOW + 1;
		}
	} else if (*slot_of(t, here)) {
		t->duplicates++;
		return;
	}
	/* what was told as missing and came after all is told again, from there on */
	if (here < t->next_told)
		t->next_told = here;
	*slot_of(t, here) = now_us / TWCC_TICK_US + 1;
	t->ssrc = ssrc;
	t->packets++;
	t->pending += t->pending < UINT16_MAX;
}

int64_t twcc_recorder_deadline_us(const struct twcc_recorder *t)
{
	if (!t->pending)
		return INT64_MAX;
	if (t->pending >= TWCC_FEEDBACK_PACKETS)
		return t->told_us;
	return t->told_us +
	       (t->pending >= TWCC_FAST_PACKETS ? TWCC_INTERVAL_FAST_US : TWCC_INTERVAL_US);
}

/* What one feedback will tell: symbols and deltas of numbers [first, first + count). */
struct telling {
	uint64_t first;
	uint64_t reference; /* TWCC_REFERENCE_TICKS units */
	unsigned count;
	unsigned received;
	uint8_t symbols[TWCC_WINDOW];
	int16_t deltas[TWCC_FEEDBACK_PACKETS];
};

/* Collects until the window's end, enough packets, or a delta that 16 bits cannot say. */
static void collect(struct twcc_recorder *t, struct telling *telling)
{
	int64_t tick = 0;
	unsigned i = 0, last = 0;

	telling->first = t->next_told;
	telling->received = 0;
	for (; i < TWCC_WINDOW && telling->first + i <= t->newest; i++) {
		int64_t here = *slot_of(t, telling->first + i);
		telling->symbols[i] = NOT_RECEIVED;
		if (!here)
			continue;
		if (telling->received == TWCC_FEEDBACK_PACKETS)
			break;
		if (!telling->received) {
			telling->reference = (uint64_t)here / TWCC_REFERENCE_TICKS;
			tick = (int64_t)telling->reference * TWCC_REFERENCE_TICKS;
		}
		int64_t delta = here - tick;
		if (delta < INT16_MIN || delta > INT16_MAX)
			break;
		telling->symbols[i] =
			delta >= 0 && delta <= SMALL_DELTA_MAX ? SMALL_DELTA : LARGE_DELTA;
		telling->deltas[telling->received++] = (int16_t)delta;
		tick = here;
		last = i;
	}
	telling->count = last + 1;
}

/* One chunk from the front of the symbols; returns how many it covers. */
static unsigned take_chunk(const uint8_t *symbols, unsigned count, uint16_t *chunk)
{
	unsigned run = 1, small = 0;

	while (run < count && run < RUN_MAX && symbols[run] == symbols[0])
		run++;
	while (small < count && small < ONE_BIT_SYMBOLS && symbols[small] != LARGE_DELTA)
		small++;
	unsigned vector =
		small == ONE_BIT_SYMBOLS || small == count ? ONE_BIT_SYMBOLS : TWO_BIT_SYMBOLS;
	if (run >= vector || run == count) {
		*chunk = (uint16_t)(symbols[0] << 13 | run);
		return run;
	}
	unsigned bits = vector == ONE_BIT_SYMBOLS ? 1 : 2;
	*chunk = bits == 1 ? CHUNK_VECTOR : CHUNK_VECTOR | CHUNK_TWO_BIT;
	for (unsigned i = 0; i < vector && i < count; i++)
		*chunk |= (uint16_t)(symbols[i] << ((vector - 1 - i) * bits));
	return vector < count ? vector : count;
}

static void write_telling(struct writer *w, const struct telling *telling)
{
	unsigned delta = 0;
	uint16_t chunk;

	for (unsigned i = 0; i < telling->count;) {
		i += take_chunk(telling->symbols + i, telling->count - i, &chunk);
		write_u16(w, chunk);
	}
	for (unsigned i = 0; i < telling->count; i++) {
		if (telling->symbols[i] == NOT_RECEIVED)
			continue;
		if (telling->symbols[i] == SMALL_DELTA)
			write_u8(w, (uint8_t)telling->deltas[delta++]);
		else
			write_u16(w, (uint16_t)telling->deltas[delta++]);
	}
}

enum err twcc_recorder_build(
	struct twcc_recorder *t, struct writer *w, uint32_t sender, int64_t now_us)
{
	struct telling telling;
	uint8_t body[TWCC_FEEDBACK_MAX];
	struct writer b = writer_of(body, sizeof(body) - RTCP_HEADER_SIZE - 8 - FCI_HEAD_SIZE);

	if (now_us < twcc_recorder_deadline_us(t))
		return ERR_AGAIN;
	if (writer_left(w) < TWCC_FEEDBACK_MAX)
		return ERR_NO_SPACE;
	collect(t, &telling);
	if (!telling.received) {
		/* all that was pending left the window */
		t->pending = 0;
		return ERR_AGAIN;
	}
	write_telling(&b, &telling);
	while (writer_used(&b) % 4)
		write_u8(&b, 0);
	MUST(!b.bad);
	rtcp_write_feedback_head(
		w, RTCP_RTPFB, RTCP_RTPFB_TWCC, sender, t->ssrc, FCI_HEAD_SIZE + writer_used(&b));
	write_u16(w, (uint16_t)telling.first);
	write_u16(w, (uint16_t)telling.count);
	write_u24(w, (uint32_t)telling.reference & 0xFFFFFF);
	write_u8(w, t->feedback_count++);
	write_bytes(w, body, writer_used(&b));
	t->next_told = telling.first + telling.count;
	t->pending = 0;
	/* the rest, if any, is due at once: told_us stays */
	for (uint64_t s = t->next_told; s <= t->newest && !t->pending; s++)
		t->pending = *slot_of(t, s) ? TWCC_FEEDBACK_PACKETS : 0;
	if (!t->pending)
		t->told_us = now_us;
	return ERR_OK;
}

/* ---- wire form ---- */

/* Symbol of the next number, from the chunk under way or a new one. */
static enum symbol next_symbol(struct twcc_feedback *f)
{
	if (!f->run_left && !f->vector_left) {
		uint16_t chunk = read_u16(&f->chunks);
		if (chunk & CHUNK_VECTOR) {
			f->vector_bits = chunk & CHUNK_TWO_BIT ? 2 : 1;
			f->vector_left = chunk & CHUNK_TWO_BIT ? TWO_BIT_SYMBOLS : ONE_BIT_SYMBOLS;
			f->vector = chunk;
		} else {
			f->run_symbol = chunk >> 13 & 3;
			f->run_left = chunk & RUN_MAX;
			/* a run of none would never end the walk */
			f->chunks.bad |= !f->run_left;
		}
	}
	if (f->chunks.bad)
		return RESERVED;
	if (f->run_left) {
		f->run_left--;
		return f->run_symbol;
	}
	f->vector_left--;
	return f->vector >> (f->vector_left * f->vector_bits) & (f->vector_bits == 2 ? 3 : 1);
}

static bool next_status(struct twcc_feedback *f, struct twcc_status *status)
{
	enum symbol symbol = next_symbol(f);

	status->sequence = (uint16_t)(f->base + f->at++);
	status->received = symbol == SMALL_DELTA || symbol == LARGE_DELTA;
	if (symbol == SMALL_DELTA)
		f->tick += read_u8(&f->deltas);
	else if (symbol == LARGE_DELTA)
		f->tick += (int16_t)read_u16(&f->deltas);
	status->arrival_us = f->tick * TWCC_TICK_US;
	return symbol != RESERVED && !f->deltas.bad;
}

/* Steps over the chunks only, to find where the deltas begin. */
static bool skip_chunks(struct twcc_feedback *f)
{
	struct twcc_feedback walk = *f;

	for (unsigned i = 0; i < f->count; i++)
		if (next_symbol(&walk) == RESERVED)
			return false;
	f->deltas = walk.chunks;
	return true;
}

enum err twcc_feedback_parse(struct twcc_feedback *f, const struct rtcp_packet *packet)
{
	struct rtcp_feedback feedback;
	struct twcc_status status;

	memset(f, 0, sizeof(*f));
	if (rtcp_parse_feedback(packet, &feedback) || packet->type != RTCP_RTPFB ||
		packet->count != RTCP_RTPFB_TWCC)
		return ERR_FORMAT;
	f->sender = feedback.sender;
	f->media = feedback.media;
	f->chunks = reader_of(feedback.fci, feedback.fci_size);
	f->base = read_u16(&f->chunks);
	f->count = read_u16(&f->chunks);
	f->reference = read_u24(&f->chunks);
	f->feedback_count = read_u8(&f->chunks);
	f->tick = (int64_t)f->reference * TWCC_REFERENCE_TICKS;
	if (f->count > TWCC_STATUS_MAX)
		return ERR_TOO_LARGE;
	if (f->chunks.bad || !f->count || !skip_chunks(f))
		return ERR_FORMAT;
	struct twcc_feedback walk = *f;
	for (unsigned i = 0; i < f->count; i++)
		if (!next_status(&walk, &status))
			return ERR_FORMAT;
	return ERR_OK;
}

bool twcc_feedback_next(struct twcc_feedback *f, struct twcc_status *status)
{
	return f->at < f->count && next_status(f, status);
}

/* ---- REMB ---- */

void remb_meter_init(struct remb_meter *m, uint64_t min_bps, uint64_t max_bps,
	uint64_t headroom_bps, int64_t now_us)
{
	*m = (struct remb_meter){
		.min_bps = min_bps,
		.max_bps = max_bps,
		.headroom_bps = headroom_bps,
		.slot = now_us / REMB_SLOT_US,
		.told_us = now_us,
	};
}

/* Moves the window on and empties the slots it enters. */
static void meter_move(struct remb_meter *m, int64_t now_us)
{
	int64_t slot = now_us / REMB_SLOT_US;

	if (slot - m->slot >= REMB_WINDOW_SLOTS)
		m->slot = slot - REMB_WINDOW_SLOTS;
	while (m->slot < slot)
		m->octets[(uint64_t)++m->slot % REMB_WINDOW_SLOTS] = 0;
}

void remb_meter_take(struct remb_meter *m, size_t size, int64_t now_us)
{
	meter_move(m, now_us);
	m->octets[(uint64_t)m->slot % REMB_WINDOW_SLOTS] += size;
}

bool remb_meter_poll(struct remb_meter *m, int64_t now_us, uint64_t *bitrate_bps)
{
	uint64_t octets = 0;

	if (now_us < remb_meter_deadline_us(m))
		return false;
	meter_move(m, now_us);
	for (int i = 0; i < REMB_WINDOW_SLOTS; i++)
		octets += m->octets[i];
	/* the window is one second long: octets * 8 bits * 1.5 */
	uint64_t bps = octets * 12 + m->headroom_bps;
	*bitrate_bps = bps < m->min_bps ? m->min_bps : bps > m->max_bps ? m->max_bps : bps;
	m->told_us = now_us;
	return true;
}

int64_t remb_meter_deadline_us(const struct remb_meter *m)
{
	return m->told_us + REMB_INTERVAL_US;
}

/* ---- ledger ---- */

void twcc_ledger_init(struct twcc_ledger *l)
{
	memset(l, 0, sizeof(*l));
	/* above zero, so that feedback about the first number can be unwrapped around it */
	l->committed = RTP_EXTEND_SEQUENCE_START;
	l->rtt_us = -1;
}

bool twcc_ledger_is_valid(const struct twcc_ledger *l)
{
	int64_t limit = INT64_C(1) << 60;
	const int64_t times[] = {l->feedback_us, l->rtt_us, l->delay_us, l->delay_base_us,
		l->queue_us, l->gradient_us, l->remb_us};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (times[i] < -limit || times[i] > limit)
			return false;
	return l->committed >= RTP_EXTEND_SEQUENCE_START && !(l->committed >> 62);
}

uint16_t twcc_ledger_commit(struct twcc_ledger *l, size_t size, int64_t now_us)
{
	struct twcc_sent *sent = &l->sent[l->committed % TWCC_LEDGER_PACKETS];

	sent->sent_us = (uint32_t)now_us;
	sent->size = (uint16_t)(size < UINT16_MAX ? size : UINT16_MAX);
	sent->state = TWCC_SENT_WAITING;
	l->sent_packets++;
	l->sent_bytes += size;
	return (uint16_t)l->committed++;
}

static int64_t smooth(int64_t old, int64_t now, bool first)
{
	return first ? now : old + (now - old) / 8;
}

/* What one feedback adds up to. */
struct tally {
	unsigned received, lost;
	uint64_t bytes;
	bool has_newest;
	int64_t newest_sent_us, newest_arrival_us, oldest_sent_us, oldest_arrival_us;
};

/* Send time in 64 bits from the low 32 that were kept: within the last 71 minutes. */
static int64_t sent_time(const struct twcc_sent *sent, int64_t now_us)
{
	return now_us - (int64_t)(uint32_t)((uint32_t)now_us - sent->sent_us);
}

static void tally_status(struct twcc_ledger *l, const struct twcc_status *status, int64_t now_us,
	struct tally *tally)
{
	uint64_t number = rtp_extend_sequence(l->committed - 1, status->sequence);
	struct twcc_sent *sent = &l->sent[number % TWCC_LEDGER_PACKETS];

	if (number >= l->committed || number + TWCC_LEDGER_PACKETS < l->committed ||
		sent->state == TWCC_SENT_NONE) {
		l->unknown_packets++;
		return;
	}
	if (!status->received) {
		tally->lost++;
		l->lost_packets += sent->state == TWCC_SENT_WAITING;
		if (sent->state == TWCC_SENT_WAITING)
			sent->state = TWCC_SENT_LOST;
		return;
	}
	tally->received++;
	if (sent->state == TWCC_SENT_ACKED)
		return;
	l->lost_packets -= sent->state == TWCC_SENT_LOST;
	sent->state = TWCC_SENT_ACKED;
	l->acked_packets++;
	l->acked_bytes += sent->size;
	tally->bytes += sent->size;
	tally->newest_sent_us = sent_time(sent, now_us);
	tally->newest_arrival_us = status->arrival_us;
	if (!tally->has_newest) {
		tally->oldest_sent_us = tally->newest_sent_us;
		tally->oldest_arrival_us = tally->newest_arrival_us;
	}
	tally->has_newest = true;
}

static void learn_delay(struct twcc_ledger *l, const struct tally *tally)
{
	int64_t delay = tally->newest_arrival_us - tally->newest_sent_us;
	int64_t change = delay - (tally->oldest_arrival_us - tally->oldest_sent_us);
	int64_t span = tally->newest_arrival_us - tally->oldest_arrival_us;
	bool first = !l->has_delay;

	/* another zero: the peer's 24-bit reference wrapped (12 days) or its clock was set */
	if (!first && (delay - l->delay_us > TWCC_LEDGER_AGE_MAX_US ||
			      l->delay_us - delay > TWCC_LEDGER_AGE_MAX_US))
		first = true;
	l->has_delay = true;
	l->delay_us = delay;
	l->delay_base_us = first || delay < l->delay_base_us ? delay : l->delay_base_us + 1000;
	l->queue_us = smooth(l->queue_us, delay - l->delay_base_us, first);
	l->gradient_us = smooth(l->gradient_us, change, first);
	if (span > 0 && tally->bytes) {
		uint64_t bps = tally->bytes * 8000000 / (uint64_t)span;
		bps = bps < UINT32_MAX ? bps : UINT32_MAX;
		l->acked_bps = (uint32_t)smooth(l->acked_bps, (int64_t)bps, !l->acked_bps);
	}
}

enum err twcc_ledger_take_feedback(
	struct twcc_ledger *l, const struct rtcp_packet *packet, int64_t now_us)
{
	struct twcc_feedback feedback;
	struct twcc_status status;
	struct tally tally = {0};
	enum err err = twcc_feedback_parse(&feedback, packet);

	if (err) {
		l->feedbacks_bad++;
		return err;
	}
	while (twcc_feedback_next(&feedback, &status))
		tally_status(l, &status, now_us, &tally);
	uint8_t missed = (uint8_t)(feedback.feedback_count - l->feedback_count - 1);
	if (l->has_feedback && missed < 128)
		l->feedbacks_lost += missed;
	if (tally.received + tally.lost)
		l->loss_ppm = (uint32_t)smooth(l->loss_ppm,
			(int64_t)tally.lost * 1000000 / (tally.received + tally.lost),
			!l->has_feedback);
	l->has_feedback = true;
	l->feedback_count = feedback.feedback_count;
	l->feedback_us = now_us;
	l->feedbacks++;
	if (tally.has_newest) {
		l->rtt_us = now_us - tally.newest_sent_us;
		learn_delay(l, &tally);
	}
	return ERR_OK;
}

void twcc_ledger_take_remb(struct twcc_ledger *l, const struct rtcp_remb *remb, int64_t now_us)
{
	l->remb_bps = remb->bitrate_bps;
	l->remb_us = now_us;
}
