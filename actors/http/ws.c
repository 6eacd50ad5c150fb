/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/http/ws.h"

#include <openssl/evp.h>
#include <string.h>

bool ws_is_valid(const struct ws *ws, size_t message_max)
{
	bool control = ws->opcode & 0x8;
	uint64_t room = control ? WS_CONTROL_MAX - (uint64_t)ws->control_size
				: message_max - (uint64_t)ws->message_size;

	return ws->head_size < WS_CLIENT_HEAD_MAX && ws->control_size <= WS_CONTROL_MAX &&
	       ws->message_size <= message_max && (!ws->in_payload || ws->left <= room);
}

bool ws_is_utf8(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size;) {
		uint8_t lead = bytes[i++];
		unsigned more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
		/* the second byte's bounds shut out long forms, surrogates and what lies beyond */
		uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
		uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

		if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || more > size - i)
			return false;
		for (; more; more--, low = 0x80, high = 0xbf) {
			uint8_t byte = bytes[i++];

			if (byte < low || byte > high)
				return false;
		}
	}
	return true;
}

/* ---- frames of the client -------------------------------------------------------------------- */

static enum ws_event fault(struct ws *ws, enum ws_status status)
{
	ws->status = (uint16_t)status;
	ws->closed = true;
	ws->in_payload = false;
	ws->head_size = 0;
	return WS_EVENT_FAULT;
}

static bool is_control(const struct ws *ws)
{
	return ws->opcode & 0x8;
}

/* Bytes of the head, as far as its first two say. */
static size_t head_length(const struct ws *ws)
{
	if (ws->head_size < 2)
		return 2;
	unsigned size = ws->head[1] & 0x7f;

	return 2 + (size == 126 ? 2 : size == 127 ? 8 : 0) + 4;
}

/* What the first two bytes alone can be wrong about: said at once, before any length is awaited. */
static bool first_bytes_are_legal(const struct ws *ws)
{
	uint8_t opcode = ws->head[0] & 0xf;
	bool control = opcode & 0x8;
	bool fin = ws->head[0] & 0x80;
	bool gathering = ws->gathering && !ws->given;

	if (ws->head[0] & 0x70) /* no extension was agreed on */
		return false;
	if (!(ws->head[1] & 0x80)) /* 5.1: a client masks */
		return false;
	if (control)
		return opcode <= WS_PONG && fin && (ws->head[1] & 0x7f) <= WS_CONTROL_MAX;
	return opcode <= WS_BINARY && (opcode == WS_CONTINUATION) == gathering;
}

static uint64_t payload_length(const struct ws *ws, bool *shortest)
{
	unsigned size = ws->head[1] & 0x7f;
	unsigned bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
	uint64_t length = 0;

	for (unsigned i = 0; i < bytes; i++)
		length = length << 8 | ws->head[2 + i];
	*shortest = !bytes || (bytes == 2 ? length > 125 : length > 0xffff && !(length >> 63));
	return bytes ? length : size;
}

static enum ws_event begin_frame(struct ws *ws, size_t message_max)
{
	bool shortest;

	ws->left = payload_length(ws, &shortest);
	if (!shortest)
		return fault(ws, WS_STATUS_PROTOCOL);
	ws->opcode = ws->head[0] & 0xf;
	ws->fin = ws->head[0] >> 7;
	ws->masked = 0;
	memcpy(ws->mask, ws->head + ws->head_size - sizeof(ws->mask), sizeof(ws->mask));
	ws->head_size = 0;
	ws->in_payload = true;
	if (is_control(ws)) {
		ws->control_size = 0;
		return WS_EVENT_MORE;
	}
	if (ws->opcode != WS_CONTINUATION) {
		ws->text = ws->opcode == WS_TEXT;
		ws->message_size = 0;
		ws->gathering = true;
		ws->given = false;
	}
	if (ws->left > message_max - ws->message_size)
		return fault(ws, WS_STATUS_TOO_LARGE);
	return WS_EVENT_MORE;
}

static enum ws_event take_head_byte(struct ws *ws, size_t message_max, uint8_t byte)
{
	ws->head[ws->head_size++] = byte;
	if (ws->head_size == 2 && !first_bytes_are_legal(ws))
		return fault(ws, WS_STATUS_PROTOCOL);
	return ws->head_size == head_length(ws) ? begin_frame(ws, message_max) : WS_EVENT_MORE;
}

/* 7.4.1, 7.4.2: which codes may be on the wire. */
static bool status_is_legal(unsigned status)
{
	return (status >= 1000 && status <= 1014 && status != 1004 && status != 1005 &&
		       status != 1006) ||
	       (status >= 3000 && status <= 4999);
}

static enum ws_event end_close(struct ws *ws)
{
	unsigned status = WS_STATUS_NONE;

	if (ws->control_size) {
		status = (unsigned)ws->control[0] << 8 | ws->control[1];
		if (ws->control_size < 2 || !status_is_legal(status))
			return fault(ws, WS_STATUS_PROTOCOL);
		if (!ws_is_utf8(ws->control + 2, ws->control_size - 2u))
			return fault(ws, WS_STATUS_BAD_DATA);
	}
	ws->status = (uint16_t)status;
	ws->closed = true;
	return WS_EVENT_CLOSE;
}

static enum ws_event end_frame(struct ws *ws, const uint8_t *message)
{
	ws->in_payload = false;
	switch (ws->opcode) {
	case WS_PING: return WS_EVENT_PING;
	case WS_PONG: return WS_EVENT_PONG;
	case WS_CLOSE: return end_close(ws);
	default: break;
	}
	if (!ws->fin)
		return WS_EVENT_MORE;
	ws->given = true;
	if (ws->text && !ws_is_utf8(message, ws->message_size))
		return fault(ws, WS_STATUS_BAD_DATA);
	return WS_EVENT_MESSAGE;
}

static size_t take_payload(struct ws *ws, uint8_t *message, const uint8_t *bytes, size_t size)
{
	uint8_t *to = is_control(ws) ? ws->control + ws->control_size : message + ws->message_size;

	if (size > ws->left)
		size = (size_t)ws->left;
	for (size_t i = 0; i < size; i++)
		to[i] = bytes[i] ^ ws->mask[(ws->masked + i) & 3];
	ws->masked += (uint32_t)size;
	ws->left -= size;
	if (is_control(ws))
		ws->control_size += (uint8_t)size;
	else
		ws->message_size += (uint32_t)size;
	return size;
}

size_t ws_take(struct ws *ws, const struct ws_room *room, const uint8_t *bytes, size_t size,
	enum ws_event *event)
{
	size_t used = 0;

	*event = WS_EVENT_MORE;
	while (used < size && !ws->closed && *event == WS_EVENT_MORE) {
		if (ws->in_payload)
			used += take_payload(ws, room->message, bytes + used, size - used);
		else
			*event = take_head_byte(ws, room->max, bytes[used++]);
		if (ws->in_payload && !ws->left && *event == WS_EVENT_MORE)
			*event = end_frame(ws, room->message);
	}
	return *event == WS_EVENT_MORE ? size : used;
}

/* ---- frames of the server -------------------------------------------------------------------- */

size_t ws_head(enum ws_opcode opcode, uint64_t size, uint8_t out[WS_HEAD_MAX])
{
	unsigned bytes = size <= 125 ? 0 : size <= 0xffff ? 2 : 8;

	out[0] = (uint8_t)(0x80 | opcode);
	out[1] = (uint8_t)(bytes == 8 ? 127 : bytes == 2 ? 126 : size);
	for (unsigned i = 0; i < bytes; i++)
		out[2 + i] = (uint8_t)(size >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}

size_t ws_close_frame(uint16_t status, uint8_t out[4])
{
	out[0] = 0x80 | WS_CLOSE;
	out[1] = status == WS_STATUS_NONE ? 0 : 2;
	out[2] = (uint8_t)(status >> 8);
	out[3] = (uint8_t)status;
	return 2u + out[1];
}

/* ---- the opening handshake ------------------------------------------------------------------- */

/* 16 bytes in base64, in the one form that they have. */
static bool key_is_valid(struct http_text key)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (key.size != WS_KEY_SIZE || key.at[22] != '=' || key.at[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++)
		if (!key.at[i] || !strchr(digits, key.at[i]))
			return false;
	return strchr("AQgw", key.at[21]) != NULL; /* the last digit has four bits to spare */
}

int ws_check_handshake(const struct http_request *request, const char **why)
{
	*why = "this path speaks WebSocket (Upgrade: websocket)";
	if (!request->upgrade || !http_text_has(request->headers[HTTP_HEADER_UPGRADE], "websocket"))
		return 426;
	*why = "WebSocket begins with GET";
	if (request->verb != HTTP_VERB_GET)
		return 400;
	*why = "Sec-WebSocket-Version must be 13";
	if (!http_text_is(request->headers[HTTP_HEADER_SEC_WEBSOCKET_VERSION], "13"))
		return 426;
	*why = "Sec-WebSocket-Key must be 16 bytes in base64";
	if (!key_is_valid(request->headers[HTTP_HEADER_SEC_WEBSOCKET_KEY]))
		return 400;
	*why = "a WebSocket handshake has no body";
	if (request->content_length || request->chunked)
		return 400;
	*why = "";
	return 101;
}

void ws_accept(const struct http_request *request, char out[WS_ACCEPT_SIZE])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	struct http_text key = request->headers[HTTP_HEADER_SEC_WEBSOCKET_KEY];
	uint8_t text[WS_KEY_SIZE + sizeof(guid) - 1], digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	out[0] = '\0';
	if (key.size != WS_KEY_SIZE)
		return;
	memcpy(text, key.at, WS_KEY_SIZE);
	memcpy(text + WS_KEY_SIZE, guid, sizeof(guid) - 1);
	if (EVP_Digest(text, sizeof(text), digest, &size, EVP_sha1(), NULL) && size == 20)
		EVP_EncodeBlock((unsigned char *)out, digest, 20);
}
