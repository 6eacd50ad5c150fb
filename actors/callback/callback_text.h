/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes to a callback server and what its answer means. Pure functions.
 */
#ifndef MILLRACE_CALLBACK_TEXT_H
#define MILLRACE_CALLBACK_TEXT_H

#include "schemas/schema.h"

enum {
	CALLBACK_BODY_MAX = 4096,   /* bytes of a question: twice what its longest fields take */
	CALLBACK_ANSWER_MAX = 4096, /* bytes of an answer that are looked at */
};

enum callback_action {
	CALLBACK_ON_PUBLISH,
	CALLBACK_ON_PLAY,
	CALLBACK_ON_UNPUBLISH,
	CALLBACK_ON_STOP,
};

const char *callback_action_name(enum callback_action action);

/* The JSON document of one event; its bytes, 0 = no room or no memory. */
size_t callback_body(const struct callback_state *callback, enum callback_action action,
	const char *node, char *out, size_t size);

/* What an answer to a question means: ERR_OK (2xx, the body empty or an object whose `code`, if there
 * is one, is 0), ERR_AUTH (401), ERR_FORBIDDEN (403, or another code), ERR_FORMAT: nothing. */
enum err callback_verdict(uint16_t status, struct slice body);

/* Milliseconds before a notification that has failed `tries` times is tried again. */
uint32_t callback_backoff_ms(uint32_t tries);

#endif
