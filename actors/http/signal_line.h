/* SPDX-License-Identifier: Apache-2.0
 *
 * Signalling over a WebSocket as an engine: the bytes of messages, and what makes them outlive their
 * connection. Each side numbers what it sends and keeps it until the other has acknowledged it; after
 * a new connection what was not acknowledged is sent again, and what comes twice is known by its
 * number.
 *
 * What was sent lies in the caller's memory, which outlives the process at any instruction; a line is
 * the numbers about it, and outlives it as of the end of a turn. signal_line_recover() brings both
 * together again.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_SIGNAL_LINE_H
#define MILLRACE_SIGNAL_LINE_H

#include "schemas/schema.h"

enum {
	SIGNAL_KEPT_MAX = 256 * 1024, /* bytes that wait for their acknowledgement */
};

/* A ring of messages, each in one piece. `span` says where it begins and ends, and whether it goes on at the
 * front; it is changed by one store, and nothing inside of it ever moves. Zeroed: none. */
struct signal_kept {
	uint64_t span;
	uint8_t bytes[SIGNAL_KEPT_MAX];
};

/* A message as it came. Texts borrow from the bytes. */
struct signal_message {
	struct signal_envelope envelope;
	union {
		struct msg_signal_hello hello;
		struct msg_signal_open open;
		struct msg_signal_patch patch;
		struct msg_signal_stop stop;
	};
};

/* Of a client. ERR_FORMAT, ERR_TOO_LARGE: damaged; ERR_UNSUPPORTED: no message that a client sends
 * (the envelope is right, and it may be answered). */
enum err signal_message_read(struct signal_message *message, const void *bytes, size_t size);

/* Writes envelope and body. ERR_NO_SPACE. */
enum err signal_message_write(struct writer *out, const struct signal_envelope *envelope,
	const struct schema *schema, const void *body);

enum signal_verdict {
	SIGNAL_NEXT, /* take it */
	SIGNAL_UNNUMBERED,
	SIGNAL_TWICE,  /* it was taken before */
	SIGNAL_BROKEN, /* one is missing, or what was never sent is acknowledged */
};

/* Counts a message of the other side in, and forgets what it acknowledges. `kept` NULL: nothing is. */
enum signal_verdict signal_line_take(
	struct signal_line *line, struct signal_kept *kept, const struct signal_envelope *envelope);

/* The other side has a new connection and says what had come. ERR_FORMAT: that cannot be. */
enum err signal_line_resume(struct signal_line *line, struct signal_kept *kept, uint64_t ack);

/* Numbers a message and keeps it. ERR_LIMIT: the other side acknowledges nothing. */
enum err signal_line_put(struct signal_line *line, struct signal_kept *kept, uint64_t answers,
	uint16_t type, const struct schema *schema, const void *body);

/* The kept message of that number; NULL: there is none. */
const uint8_t *signal_line_at(const struct signal_kept *kept, uint64_t seq, uint32_t *size);

bool signal_kept_is_empty(const struct signal_kept *kept);

/* After a takeover: messages made in a turn that does not count are forgotten, what was acknowledged
 * in it stays so. False: damaged. */
bool signal_line_recover(struct signal_line *line, struct signal_kept *kept);

#endif
