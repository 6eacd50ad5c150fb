/* SPDX-License-Identifier: Apache-2.0
 *
 * What an RTMP server of a stranger may say to our client: the first byte is the size of the pieces,
 * and whether we publish; the handshake is given, else nobody would get past it.
 */
#include "actors/rtmp/rtmp_client.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct rtmp_client client;
	static uint8_t *arena, out_bytes[RTMP_CLIENT_OUT_MIN];
	static uint8_t hello[HANDSHAKE_ANSWER_SIZE] = {3};
	struct writer out = writer_of(out_bytes, sizeof(out_bytes));
	struct reader in = reader_of(hello, sizeof(hello));
	struct chunk_message message;
	size_t piece = size ? (bytes[0] >> 1) + 1u : 1;
	enum err err;

	if (!arena)
		arena = malloc(RTMP_CLIENT_ARENA_SIZE);
	MUST(arena);
	MUST(!rtmp_client_begin(&client, "rtmp://h/a/b", "t", size && bytes[0] & 1, &out));
	out = writer_of(out_bytes, sizeof(out_bytes));
	err = rtmp_client_input(&client, arena, &in, &out, &message);
	for (size_t at = 1; at < size && err == ERR_AGAIN; at += piece) {
		in = reader_of(bytes + at, piece < size - at ? piece : size - at);
		do {
			out = writer_of(out_bytes, sizeof(out_bytes));
			err = rtmp_client_input(&client, arena, &in, &out, &message);
			MUST(err || message.size <= RTMP_CLIENT_MESSAGE_MAX);
		} while (!err || err == ERR_NO_SPACE);
		MUST(!out.bad);
		MUST(chunk_reader_is_valid(&client.chunks, RTMP_CLIENT_ARENA_SIZE));
	}
	return 0;
}
