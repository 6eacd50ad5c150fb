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

/* In front of each message. */
struct head {
	uint64_t seq;
	uint32_t size;
};

static bool head_at(const struct signal_kept *kept, uint32_t at, struct head *head)
{
	if (at >= kept->end)
		return false;
	memcpy(head, kept->bytes + at, sizeof(*head));
	return true;
}

static uint32_t next_at(uint32_t at, const struct head *head)
{
	return at + (uint32_t)sizeof(*head) + head->size;
}

static void forget(struct signal_line *line, struct signal_kept *kept, uint64_t ack)
{
	struct head head;

	while (head_at(kept, kept->begin, &head) && head.seq <= ack)
		kept->begin = next_at(kept->begin, &head);
	if (line->acked < ack)
		line->acked = ack;
}

const uint8_t *signal_line_at(const struct signal_kept *kept, uint64_t seq, uint32_t *size)
{
	struct head head;

	for (uint32_t at = kept->begin; head_at(kept, at, &head); at = next_at(at, &head)) {
		if (head.seq == seq) {
			*size = head.size;
			return kept->bytes + at + sizeof(head);
		}
	}
	return NULL;
}

bool signal_kept_is_empty(const struct signal_kept *kept)
{
	return kept->begin == kept->end;
}

/* Room at the end, by moving what is there to the beginning. */
static void make_room(struct signal_kept *kept)
{
	uint32_t size = kept->end - kept->begin;

	if (!kept->begin)
		return;
	memmove(kept->bytes, kept->bytes + kept->begin, size);
	kept->begin = 0;
	kept->end = size;
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

enum err signal_line_put(struct signal_line *line, struct signal_kept *kept, uint64_t answers,
	uint16_t type, const struct schema *schema, const void *body)
{
	struct signal_envelope envelope = {
		.seq = line->sent + 1,
		.ack = line->seen,
		.answers = answers,
		.type = type,
	};
	struct head head = {.seq = envelope.seq};

	for (int tries = 0; tries < 2; tries++) {
		struct writer out =
			writer_of(kept->bytes + kept->end, sizeof(kept->bytes) - kept->end);
		uint8_t *at = write_reserve(&out, sizeof(head));

		if (at && !signal_message_write(&out, &envelope, schema, body)) {
			head.size = (uint32_t)(writer_used(&out) - sizeof(head));
			memcpy(at, &head, sizeof(head));
			/* it is there when this is: a successor may look at any time */
			__atomic_store_n(&kept->end, kept->end + (uint32_t)writer_used(&out),
				__ATOMIC_RELEASE);
			line->sent++;
			return ERR_OK;
		}
		make_room(kept);
	}
	return ERR_LIMIT;
}

bool signal_line_recover(struct signal_line *line, struct signal_kept *kept)
{
	uint64_t seq = 0;
	struct head head;

	if (line->acked > line->sent || kept->begin > kept->end || kept->end > sizeof(kept->bytes))
		return false;
	for (uint32_t at = kept->begin; at < kept->end; at = next_at(at, &head)) {
		if (kept->end - at < sizeof(head) || !head_at(kept, at, &head) ||
			head.size > kept->end - at - sizeof(head) ||
			(seq ? head.seq != seq + 1 : !head.seq || head.seq > line->sent + 1))
			return false;
		if (!seq)
			line->acked = head.seq - 1;
		if (head.seq > line->sent) {
			kept->end = at;
			break;
		}
		seq = head.seq;
	}
	if (signal_kept_is_empty(kept))
		line->acked = line->sent;
	else if (seq != line->sent)
		return false;
	return true;
}
