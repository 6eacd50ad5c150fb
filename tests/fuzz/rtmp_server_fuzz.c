/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole RTMP connection from a hostile peer. The first byte chooses: bit 0 the input brings its
 * own handshake (else a simple one is made before it), bit 1 requests are rejected, bit 2 the state
 * itself is overwritten from the input and used if it is said to be valid. The second byte seeds
 * how the bytes are split (0: not at all). The state moves to another address after every piece.
 */
#include "actors/rtmp/rtmp_reply.h"
#include "actors/rtmp/rtmp_server.h"

#include <stdlib.h>

enum {
	OWN_HANDSHAKE = 1,
	REJECT = 2,
	HOSTILE_STATE = 4,
	ARENA_SIZE = 40000,
	MESSAGE_MAX = 30000,
};

struct fuzz {
	struct rtmp_server *s;
	uint8_t *arena;
	uint8_t flags;
	volatile uint8_t sink;
};

static void touch(struct fuzz *f, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		f->sink ^= ((const uint8_t *)bytes)[i];
}

static void move(struct fuzz *f)
{
	struct rtmp_server *other = malloc(sizeof(*other));

	memcpy(other, f->s, sizeof(*other));
	free(f->s);
	f->s = other;
	MUST(rtmp_server_is_valid(f->s, ARENA_SIZE));
}

static void on_event(struct fuzz *f, const struct rtmp_event *event, struct writer *out)
{
	touch(f, event->app, strlen(event->app));
	touch(f, event->name, strlen(event->name));
	touch(f, event->query, strlen(event->query));
	if (event->type == RTMP_EVENT_VIDEO)
		touch(f, event->video.data, event->video.size);
	if (event->type == RTMP_EVENT_AUDIO)
		touch(f, event->audio.data, event->audio.size);
	if (event->type != RTMP_EVENT_PUBLISH && event->type != RTMP_EVENT_PLAY)
		return;
	if (f->flags & REJECT)
		rtmp_server_reject(f->s, out, 0, "BadName", "refused");
	else
		rtmp_server_accept(f->s, out, "");
}

static bool feed(struct fuzz *f, const uint8_t *bytes, size_t size)
{
	uint8_t buffer[2 * RTMP_OUT_MIN];
	struct writer out = writer_of(buffer, sizeof(buffer));
	/* memory of its own: the sanitizers see a read past the piece */
	uint8_t *piece = malloc(size ? size : 1);
	struct rtmp_event event;
	enum err err;

	memcpy(piece, bytes, size);
	struct reader in = reader_of(piece, size);
	for (;;) {
		err = rtmp_server_input(f->s, f->arena, ARENA_SIZE, &in, &out, 0, &event);
		if (err == ERR_OK)
			on_event(f, &event, &out);
		else if (err == ERR_NO_SPACE || err == ERR_BUSY)
			out = writer_of(buffer, sizeof(buffer));
		else
			break;
		if (err == ERR_BUSY && rtmp_server_accept(f->s, &out, ""))
			break;
	}
	free(piece);
	return err == ERR_AGAIN;
}

static void shake_hands(struct fuzz *f)
{
	static const uint8_t client[HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE] = {3};

	MUST(feed(f, client, sizeof(client)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rtmp_config config = {.message_max = MESSAGE_MAX};

	if (size < 2)
		return 0;
	struct fuzz f = {.flags = data[0]};
	uint32_t split = data[1];
	data += 2;
	size -= 2;
	f.s = malloc(sizeof(*f.s));
	f.arena = malloc(ARENA_SIZE);
	memset(f.arena, 0, ARENA_SIZE);
	rtmp_server_init(f.s, &config, 7, 0);
	if (f.flags & HOSTILE_STATE) {
		size_t taken = size < sizeof(*f.s) ? size : sizeof(*f.s);
		memcpy(f.s, data, taken);
		data += taken;
		size -= taken;
		if (!rtmp_server_is_valid(f.s, ARENA_SIZE))
			size = 0;
	} else if (!(f.flags & OWN_HANDSHAKE)) {
		shake_hands(&f);
	}
	while (size > 0) {
		size_t piece = size;
		if (split) {
			split = split * 1103515245u + 12345u;
			piece = 1 + (split >> 16) % ((split >> 8 & 3) ? 8 : 500);
			piece = piece < size ? piece : size;
		}
		bool more = feed(&f, data, piece);
		move(&f);
		if (!more)
			break;
		data += piece;
		size -= piece;
	}
	rtmp_server_tick(f.s, INT64_MAX - 1);
	free(f.s);
	free(f.arena);
	return 0;
}
