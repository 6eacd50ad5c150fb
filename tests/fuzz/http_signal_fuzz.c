/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of a signalling client, each behind its size in two bytes. Whatever they are: what is read
 * can be written again, a line stays true, and what it keeps can be found again.
 */
#include "actors/http/signal_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(struct signal_line *line, struct signal_kept *kept)
{
	struct signal_line again = *line;
	uint32_t bytes;

	MUST(signal_line_recover(&again, kept));
	MUST(again.sent == line->sent && again.acked >= line->acked);
	for (uint64_t seq = again.acked + 1; seq <= line->sent; seq++)
		MUST(signal_line_at(kept, seq, &bytes));
	MUST(!signal_line_at(kept, again.acked, &bytes));
}

static void take(
	struct signal_line *line, struct signal_kept *kept, const uint8_t *data, size_t size)
{
	static uint8_t copy[SIGNAL_FRAME_MAX + 64];
	struct writer out = writer_of(copy, sizeof(copy));
	struct signal_message message, again;
	enum err err = signal_message_read(&message, data, size);

	if (err && err != ERR_UNSUPPORTED)
		return;
	if (!err) {
		const struct schema *schema = schema_by_id(message.envelope.type);

		MUST(schema);
		MUST(!signal_message_write(&out, &message.envelope, schema, &message.hello));
		MUST(!signal_message_read(&again, copy, writer_used(&out)));
		MUST(schema_equal(schema, &message.hello, &again.hello));
	}
	switch (signal_line_take(line, kept, &message.envelope)) {
	case SIGNAL_NEXT:
		MUST(message.envelope.seq == line->seen);
		if (signal_line_put(line, kept, line->seen, MSG_signal_done, &schema_signal_done,
			    &(struct msg_signal_done){}))
			MUST(!signal_kept_is_empty(kept));
		break;
	case SIGNAL_TWICE: MUST(message.envelope.seq <= line->seen); break;
	case SIGNAL_UNNUMBERED:
	case SIGNAL_BROKEN: break;
	}
	check_line(line, kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct signal_kept kept;
	struct signal_line line = {0};

	kept.span = 0;
	while (size >= 2) {
		size_t part = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		part = part < size ? part : size;
		take(&line, &kept, data, part);
		data += part;
		size -= part;
	}
	return 0;
}
