/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of a signalling line: rows, and two lines that talk over connections which break at any
 * message.
 */
#include "actors/http/signal_line.h"
#include "schemas/random.h"
#include "tests/test.h"

static struct signal_kept kept;

static size_t write_message(uint8_t *bytes, size_t room, uint64_t seq, uint64_t ack,
	const struct schema *schema, const void *body)
{
	struct writer out = writer_of(bytes, room);
	struct signal_envelope envelope = {.seq = seq, .ack = ack, .type = schema->id};

	CHECK_OK(signal_message_write(&out, &envelope, schema, body));
	return writer_used(&out);
}

TEST(what_a_client_sends_is_read)
{
	struct msg_signal_open open = {
		.play = true, .stream = "live/a", .offer = {"v=0", 3},
			       .wait = true
	   };
	struct signal_message message;
	uint8_t bytes[256];
	size_t size = write_message(bytes, sizeof(bytes), 3, 2, &schema_signal_open, &open);

	CHECK_OK(signal_message_read(&message, bytes, size));
	CHECK_EQ(message.envelope.seq, 3);
	CHECK_EQ(message.envelope.ack, 2);
	CHECK_EQ(message.envelope.type, MSG_signal_open);
	CHECK(message.open.play && message.open.wait);
	CHECK_STR(message.open.stream, "live/a");
	CHECK_EQ(message.open.offer.size, 3);
	for (size_t i = 0; i < size; i++) /* cut anywhere: an error, never a message */
		CHECK(signal_message_read(&message, bytes, i));
	bytes[size] = 0xc0;
	CHECK_EQ(signal_message_read(&message, bytes, size + 1), ERR_FORMAT);
}

TEST(what_no_client_sends_is_refused)
{
	struct msg_signal_done done;
	struct signal_message message;
	uint8_t bytes[64];
	size_t size = write_message(bytes, sizeof(bytes), 1, 0, &schema_signal_done, &done);

	CHECK_EQ(signal_message_read(&message, bytes, size), ERR_UNSUPPORTED);
	CHECK_EQ(message.envelope.seq, 1);
	CHECK(signal_message_read(&message, "", 0));
	CHECK(signal_message_read(&message, "\x90\x80", 2));
	CHECK(signal_message_read(&message, "\x81\x01\xdb\xff\xff\xff\xff", 7));
}

TEST(numbers_are_judged)
{
	static const struct {
		struct signal_line line;
		uint64_t seq, ack;
		enum signal_verdict verdict;
		uint64_t seen;
	} rows[] = {
		{{0},		      1,		 0,	    SIGNAL_NEXT,	 1},
		{{0},		      0,		 0,	    SIGNAL_UNNUMBERED, 0},
		{{0},		      2,		 0,	    SIGNAL_BROKEN,	   0},
		{{.seen = 7},	      8,		 0,	    SIGNAL_NEXT,	 8},
		{{.seen = 7},	      7,		 0,	    SIGNAL_TWICE,	  7},
		{{.seen = 7},	      1,		 0,	    SIGNAL_TWICE,	  7},
		{{.seen = 7},	      9,		 0,	    SIGNAL_BROKEN,	   7},
		{{.seen = 7},	      UINT64_MAX, 0,	     SIGNAL_BROKEN,	    7},
		{{.sent = 3, .acked = 3}, 1,	     4,		SIGNAL_BROKEN,     0},
		{{.sent = 3, .acked = 3}, 1,	     2,		SIGNAL_NEXT,	     1}, /* an old acknowledgement */
		{{.sent = 3, .acked = 3}, 0,	     UINT64_MAX, SIGNAL_BROKEN,	0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct signal_line line = rows[i].line;
		struct signal_envelope envelope = {.seq = rows[i].seq, .ack = rows[i].ack};

		CHECK_EQ(signal_line_take(&line, NULL, &envelope), rows[i].verdict);
		CHECK_EQ(line.seen, rows[i].seen);
	}
}

TEST(what_nobody_acknowledges_is_bounded)
{
	static char fragment[16000];
	struct msg_signal_patched patched = {
		.fragment = {fragment, sizeof(fragment)}
	};
	struct signal_line line = {0};
	enum err err = ERR_OK;

	memset(&kept, 0, sizeof(kept));
	while (!err)
		err = signal_line_put(
			&line, &kept, 0, MSG_signal_patched, &schema_signal_patched, &patched);
	CHECK_EQ(err, ERR_LIMIT);
	CHECK_EQ(line.sent, SIGNAL_KEPT_MAX / (sizeof(fragment) + 100) + 0);
	CHECK(signal_line_recover(&line, &kept));
	/* one goes, one fits */
	CHECK_OK(signal_line_resume(&line, &kept, 1));
	CHECK_OK(signal_line_put(
		&line, &kept, 0, MSG_signal_patched, &schema_signal_patched, &patched));
	CHECK_EQ(signal_line_resume(&line, &kept, 0), ERR_FORMAT);
	CHECK_EQ(signal_line_resume(&line, &kept, line.sent + 1), ERR_FORMAT);
	CHECK_OK(signal_line_resume(&line, &kept, line.sent));
	CHECK(signal_kept_is_empty(&kept));
}

/* The far end of a line, as a client keeps it. */
struct far {
	uint64_t seen;
	uint64_t taken; /* messages, each exactly once */
};

static void carry(const struct signal_line *line, uint64_t *carried, struct far *far)
{
	uint32_t size;
	const uint8_t *bytes = signal_line_at(&kept, *carried + 1, &size);
	struct reader in = reader_of(bytes, bytes ? size : 0);
	struct signal_envelope envelope;

	if (!bytes)
		return;
	CHECK_OK(schema_decode(&schema_signal_envelope, &in, &envelope));
	CHECK_EQ(envelope.seq, ++*carried);
	CHECK_LE(envelope.seq, line->sent);
	if (envelope.seq <= far->seen)
		return;
	CHECK_EQ(envelope.seq, far->seen + 1);
	far->seen++;
	far->taken++;
}

/* Killed at any instruction of a put: some of its bytes may be there, and the span is the one of before. What
 * was there is all there still. */
static void check_killed_in_a_put(const struct signal_kept *before, struct signal_line line)
{
	static struct signal_kept left;
	uint32_t size, size_before;

	left = kept;
	left.span = before->span;
	CHECK(signal_line_recover(&line, &left));
	for (uint64_t seq = line.acked + 1; seq <= line.sent; seq++) {
		const uint8_t *bytes = signal_line_at(&left, seq, &size);
		const uint8_t *bytes_before = signal_line_at(before, seq, &size_before);

		CHECK(bytes && bytes_before);
		CHECK_EQ(size, size_before);
		CHECK_MEM(bytes, bytes_before, size);
	}
}

static void put_some(struct signal_line *line, struct rng *rng)
{
	static char fragment[64000];
	static struct signal_kept before;
	struct signal_line line_before = *line;
	struct msg_signal_patched patched = {
		.fragment = {fragment, (uint32_t)rng_below(rng, sizeof(fragment))}
	  };
	enum err err;

	memset(fragment, (int)line->sent, patched.fragment.size);
	before = kept;
	err = signal_line_put(line, &kept, 0, MSG_signal_patched, &schema_signal_patched, &patched);
	if (err)
		CHECK_EQ(err, ERR_LIMIT);
	check_killed_in_a_put(&before, line_before);
}

/* Messages of any size, and acknowledgements that lag behind: the ring is full now and then, goes round many
 * times, and a kill in the middle of a put loses nothing. */
TEST(a_kill_in_a_put_loses_nothing)
{
	struct signal_line line = {0};
	struct rng rng = rng_of(7);

	memset(&kept, 0, sizeof(kept));
	for (int step = 0; step < 2000; step++) {
		if (rng_below(&rng, 3)) {
			put_some(&line, &rng);
			continue;
		}
		CHECK_OK(signal_line_resume(
			&line, &kept, line.acked + rng_below(&rng, line.sent - line.acked + 1)));
	}
	CHECK_GE(line.sent, 300);
	CHECK_OK(signal_line_resume(&line, &kept, line.sent));
	CHECK(signal_kept_is_empty(&kept));
}

/* Connections break with messages and acknowledgements under way; the process dies between what it
 * has made and the end of its turn. */
TEST(nothing_is_lost_or_doubled)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rng rng;
		struct signal_line line = {0}, committed = {0};
		struct far far = {0};
		uint64_t carried = 0, made = 0;

		rng = rng_of(seed);
		memset(&kept, 0, sizeof(kept));
		for (int step = 0; step < 400; step++) {
			struct msg_signal_ended ended = {.session = "a-session"};
			struct signal_envelope ack = {.ack = far.seen};

			switch (rng_below(&rng, 6)) {
			case 0:
			case 1:
				CHECK_OK(signal_line_put(&line, &kept, 0, MSG_signal_ended,
					&schema_signal_ended, &ended));
				break;
			case 2: /* the turn ends: now it counts, and may leave */
				committed = line;
				made = line.sent;
				break;
			case 3:
				if (carried < committed.sent)
					carry(&line, &carried, &far);
				break;
			case 4:
				CHECK_EQ(signal_line_take(&line, &kept, &ack), SIGNAL_UNNUMBERED);
				break;
			default: /* another connection, or another process */
				if (rng_below(&rng, 2)) {
					line = committed;
					CHECK(signal_line_recover(&line, &kept));
				}
				CHECK_OK(signal_line_resume(&line, &kept, far.seen));
				carried = far.seen;
			}
			CHECK_LE(far.taken, made);
		}
		CHECK_OK(signal_line_resume(&line, &kept, far.seen));
		carried = far.seen;
		while (carried < line.sent)
			carry(&line, &carried, &far);
		CHECK_EQ(far.taken, line.sent);
		CHECK_EQ(far.seen, line.sent);
	}
}

TEST(damaged_memory_is_refused)
{
	struct msg_signal_done done;
	struct signal_line line = {0}, other;

	memset(&kept, 0, sizeof(kept));
	for (int i = 0; i < 3; i++)
		CHECK_OK(signal_line_put(
			&line, &kept, 0, MSG_signal_done, &schema_signal_done, &done));
	other = line;
	CHECK(signal_line_recover(&other, &kept));
	struct signal_kept good = kept;

	kept.span = (uint64_t)(SIGNAL_KEPT_MAX + 1) << 32;
	CHECK(!signal_line_recover(&other, &kept));
	kept = good;
	kept.span += (kept.span >> 32) + 1; /* it begins behind its end */
	CHECK(!signal_line_recover(&other, &kept));
	kept = good;
	memset(kept.bytes, 0xff, 16);
	CHECK(!signal_line_recover(&other, &kept));
	kept = good;
	kept.span -= UINT64_C(1) << 32;
	CHECK(!signal_line_recover(&other, &kept));
	kept = good;
	kept.span |= UINT64_C(1) << 63; /* it goes on in front, and ends before it begins */
	CHECK(!signal_line_recover(&other, &kept));
	other = (struct signal_line){.sent = 1, .acked = 2};
	CHECK(!signal_line_recover(&other, &kept));
	other = (struct signal_line){.sent = 9};
	CHECK(!signal_line_recover(&other, &good));
}
