/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a callback server as its answer, and of a client as its query.
 */
#include "actors/callback/callback.h"
#include "actors/callback/callback_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char param[CALLBACK_PARAM_SIZE], body[CALLBACK_BODY_MAX];
	struct callback_state callback = {
		.stream_name = "live/x", .client = "c", .protocol = "flv"};
	enum err err = callback_verdict(200, (struct slice){(const char *)bytes, (uint32_t)size});

	MUST(err == ERR_OK || err == ERR_FORBIDDEN || err == ERR_FORMAT);
	if (callback_param((const char *)bytes, size, param))
		return 0;
	/* whatever it was: the question can be written */
	memcpy(callback.param, param, sizeof(callback.param));
	MUST(callback_body(&callback, CALLBACK_ON_STOP, "node", body, sizeof(body)) > 0);
	return 0;
}
