/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/signal_line.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

/* What a client may send. */
static const struct schema *const client_messages[] = {&schema_signal_hello, &schema_signal_alive,
	&schema_signal_open, &schema_signal_patch, &schema_signal_stop};

static const struct schema *find_client_message(uint16_t type)
{
	for (size_t i = 0; i < sizeof(client_messages) / sizeof(client_messages[0]); i++)
		if (client_messages[i]->id == type)
			return client_messages[i];
	return NULL;
}

enum err signal_message_read(struct signal_message *message, const void *bytes, size_t size)
{
	struct reader in = reader_of(bytes, size);
	enum err err = schema_decode(&schema_signal_envelope, &in, &message->envelope);
	const struct schema *schema;
	struct msg_signal_alive nothing;

	if (err)
		return err;
	schema = find_client_message(message->envelope.type);
	if (!schema)
		return ERR_UNSUPPORTED;
	err = schema_decode(schema, &in,
		schema == &schema_signal_alive ? (void *)&nothing : (void *)&message->hello);
	return err ? err : reader_left(&in) ? ERR_FORMAT : ERR_OK;
}

enum err signal_message_write(struct writer *out, const struct signal_envelope *envelope,
	const struct schema *schema, const void *body)
{
	enum err err = schema_encode(&schema_signal_envelope, envelope, out);

	return err ? err : schema_encode(schema, body, out);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* In front of each message. Number 0: what follows is at the front. */
struct head {
	uint64_t seq;
	uint32_t size;
};

struct span {
	uint32_t begin, end;
	bool wrapped; /* from `begin` to the back, and from the front to `end` */
};

enum { SPAN_END_SHIFT = 32 };
#define SPAN_WRAPPED (UINT64_C(1) << 63)

static struct span span_of(const struct signal_kept *kept)
{
	uint64_t span = __atomic_load_n(&kept->span, __ATOMIC_ACQUIRE);

	return (struct span){.begin = (uint32_t)span,
		.end = (uint32_t)((span & ~SPAN_WRAPPED) >> SPAN_END_SHIFT),
		.wrapped = (span & SPAN_WRAPPED) != 0};
}

/* A successor may look at any time: it finds the span of before or this one. */
static void set_span(struct signal_kept *kept, struct span span)
{
	uint64_t word = span.begin | (uint64_t)span.end << SPAN_END_SHIFT;

	if (!span.wrapped && span.begin == span.end)
		word = 0; /* all of it is free */
	if (span.wrapped)
		word |= SPAN_WRAPPED;
	__atomic_store_n(&kept->span, word, __ATOMIC_RELEASE);
}

/* What of a span lies behind a place in it: `begin` is the place. */
static bool goes_on_in_front(const struct signal_kept *kept, const struct span *rest)
{
	struct head head;

	if (!rest->wrapped || sizeof(kept->bytes) - rest->begin < sizeof(head))
		return rest->wrapped;
	memcpy(&head, kept->bytes + rest->begin, sizeof(head));
	return !head.seq;
}

/* The message that `rest` begins with; false: it is empty. */
static bool first_of(const struct signal_kept *kept, struct span *rest, struct head *head)
{
	if (goes_on_in_front(kept, rest)) {
		rest->begin = 0;
		rest->wrapped = false;
	}
	if (!rest->wrapped && rest->begin >= rest->end)
		return false;
	*head = (struct head){0};
	if (sizeof(kept->bytes) - rest->begin >= sizeof(*head))
		memcpy(head, kept->bytes + rest->begin, sizeof(*head));
	return true;
}

static void skip(struct span *rest, const struct head *head)
{
	rest->begin += (uint32_t)sizeof(*head) + head->size;
}

static void forget(struct signal_line *line, struct signal_kept *kept, uint64_t ack)
{
	struct span rest = span_of(kept);
	struct head head;

	while (first_of(kept, &rest, &head) && head.seq <= ack)
		skip(&rest, &head);
	set_span(kept, rest);
	if (line->acked < ack)
		line->acked = ack;
}

const uint8_t *signal_line_at(const struct signal_kept *kept, uint64_t seq, uint32_t *size)
{
	struct span rest = span_of(kept);
	struct head head;

	for (; first_of(kept, &rest, &head); skip(&rest, &head)) {
		if (head.seq == seq) {
			*size = head.size;
			return kept->bytes + rest.begin + sizeof(head);
		}
	}
	return NULL;
}

bool signal_kept_is_empty(const struct signal_kept *kept)
{
	return !kept->span;
}

/* ---- numbers --------------------------------------------------------------------------------- */

enum signal_verdict signal_line_take(
	struct signal_line *line, struct signal_kept *kept, const struct signal_envelope *envelope)
{
	if (envelope->ack > line->sent)
		return SIGNAL_BROKEN;
	if (kept)
		forget(line, kept, envelope->ack);
	if (!envelope->seq)
		return SIGNAL_UNNUMBERED;
	if (envelope->seq <= line->seen)
		return SIGNAL_TWICE;
	if (envelope->seq != line->seen + 1)
		return SIGNAL_BROKEN;
	line->seen++;
	return SIGNAL_NEXT;
}

enum err signal_line_resume(struct signal_line *line, struct signal_kept *kept, uint64_t ack)
{
	if (ack < line->acked || ack > line->sent)
		return ERR_FORMAT;
	if (kept)
		forget(line, kept, ack);
	return ERR_OK;
}

/* Bytes that it takes at `at`; 0 = more than `room`. */
static uint32_t write_at(uint8_t *at, uint32_t room, const struct signal_envelope *envelope,
	const struct schema *schema, const void *body)
{
	struct head head = {.seq = envelope->seq};
	struct writer out = writer_of(at, room);

	if (!write_reserve(&out, sizeof(head)) ||
		signal_message_write(&out, envelope, schema, body))
		return 0;
	head.size = (uint32_t)(writer_used(&out) - sizeof(head));
	memcpy(at, &head, sizeof(head));
	return (uint32_t)writer_used(&out);
}

/* Behind the last one, or at the front. */
static uint32_t write_message(struct signal_kept *kept, struct span *span,
	const struct signal_envelope *envelope, const struct schema *schema, const void *body)
{
	const uint32_t whole = sizeof(kept->bytes);
	uint32_t limit = span->wrapped ? span->begin : whole;
	uint32_t size =
		write_at(kept->bytes + span->end, limit - span->end, envelope, schema, body);

	span->end += size;
	if (size || span->wrapped)
		return size;
	size = write_at(kept->bytes, span->begin, envelope, schema, body);
	if (size && whole - span->end >= sizeof(struct head))
		memset(kept->bytes + span->end, 0, sizeof(struct head));
	if (size)
		*span = (struct span){.begin = span->begin, .end = size, .wrapped = true};
	return size;
}

enum err signal_line_put(struct signal_line *line, struct signal_kept *kept, uint64_t answers,
	uint16_t type, const struct schema *schema, const void *body)
{
	struct signal_envelope envelope = {
		.seq = line->sent + 1,
		.ack = line->seen,
		.answers = answers,
		.type = type,
	};
	struct span span = span_of(kept);

	if (!write_message(kept, &span, &envelope, schema, body))
		return ERR_LIMIT;
	set_span(kept, span);
	line->sent++;
	return ERR_OK;
}

/* Is there a whole message at the beginning of `rest`? */
static bool is_whole(const struct signal_kept *kept, const struct span *rest, struct head *head)
{
	uint32_t limit = rest->wrapped ? sizeof(kept->bytes) : rest->end;

	if (limit - rest->begin < sizeof(*head))
		return false;
	memcpy(head, kept->bytes + rest->begin, sizeof(*head));
	return head->seq && head->size <= limit - rest->begin - sizeof(*head);
}

bool signal_line_recover(struct signal_line *line, struct signal_kept *kept)
{
	struct span span = span_of(kept), rest = span;
	uint64_t seq = 0;
	struct head head;

	if (line->acked > line->sent || span.begin > sizeof(kept->bytes) ||
		span.end > sizeof(kept->bytes) ||
		(span.wrapped ? span.end > span.begin : span.begin > span.end))
		return false;
	for (; first_of(kept, &rest, &head); skip(&rest, &head)) {
		if (!is_whole(kept, &rest, &head) ||
			(seq ? head.seq != seq + 1 : head.seq > line->sent + 1))
			return false;
		if (!seq)
			line->acked = head.seq - 1;
		if (head.seq > line->sent) {
			set_span(kept, (struct span){.begin = span.begin,
					       .end = rest.begin,
					       .wrapped = span.wrapped && !rest.wrapped});
			break;
		}
		seq = head.seq;
	}
	if (!seq)
		kept->span = 0;
	if (signal_kept_is_empty(kept))
		line->acked = line->sent;
	else if (seq != line->sent)
		return false;
	return true;
}
