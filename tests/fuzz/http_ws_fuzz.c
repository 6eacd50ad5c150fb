/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of a client fed in pieces. First byte: the seed of the cuts. However the bytes are cut, the
 * same events come out, and the state is valid at every step.
 */
#include "actors/http/ws.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 4096 };

struct outcome {
	uint32_t events[WS_EVENT_FAULT + 1];
	uint32_t hash;
	uint16_t status;
};

static void touch(struct outcome *outcome, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		outcome->hash = outcome->hash * 31 + bytes[i];
}

static void run(const uint8_t *bytes, size_t size, uint32_t seed, struct outcome *outcome)
{
	uint8_t message[MESSAGE_MAX];
	struct ws_room room = {message, sizeof(message)};
	struct ws ws = {0};

	*outcome = (struct outcome){0};
	while (size) {
		enum ws_event event;
		size_t part = seed ? (seed = seed * 1103515245 + 12345) % 9 + 1 : size;
		size_t used = ws_take(&ws, &room, bytes, part < size ? part : size, &event);

		MUST(used > 0 && used <= size && ws_is_valid(&ws, room.max));
		bytes += used;
		size -= used;
		if (event == WS_EVENT_MORE)
			continue;
		outcome->events[event]++;
		outcome->status = ws.status;
		if (event == WS_EVENT_MESSAGE) {
			MUST(!ws.text || ws_is_utf8(message, ws.message_size));
			touch(outcome, message, ws.message_size);
		} else {
			touch(outcome, ws.control, ws.control_size);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, cut;

	if (!size)
		return 0;
	run(data + 1, size - 1, 0, &whole);
	run(data + 1, size - 1, data[0] + 1u, &cut);
	MUST(!memcmp(&whole, &cut, sizeof(whole)));
	return 0;
}
