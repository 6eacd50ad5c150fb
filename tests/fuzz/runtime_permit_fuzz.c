/* SPDX-License-Identifier: Apache-2.0
 *
 * A permit from outside, as it is and behind a good signature: a byte of choice, then either its text (bit 0
 * clear) or a subject that is signed here (bit 0 set).
 */
#include "runtime/permit.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[PERMIT_KEY_SIZE] = "0123456789abcdef0123456789abcde";
	enum token_action action = size && data[0] & 2 ? TOKEN_PLAY : TOKEN_PUBLISH;
	struct permit said = {.node = 7, .until_s = 2000, .action = action}, read;
	char text[2 * PERMIT_TEXT_MAX + 1];
	bool is_signed = size && data[0] & 1;
	enum err err;

	if (!size || size - 1 > (is_signed ? PERMIT_SUBJECT_MAX : sizeof(text) - 1))
		return 0;
	if (is_signed) {
		memcpy(said.subject, data + 1, size - 1);
		permit_write(key, &said, "live/demo", text);
	} else {
		memcpy(text, data + 1, size - 1);
		text[size - 1] = 0;
	}
	err = permit_check(key, text, "live/demo", action, 1000, &read);
	MUST(err == ERR_OK || err == ERR_AUTH);
	MUST(err || (permit_is_one(text, strlen(text)) && permit_issuer(text) == read.node));
	if (is_signed)
		MUST(!err && !strcmp(read.subject, said.subject));
	return 0;
}
