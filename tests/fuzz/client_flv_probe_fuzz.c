/* SPDX-License-Identifier: Apache-2.0
 *
 * An HTTP-FLV body of a stranger, in pieces whose sizes the first byte says.
 */
#include "actors/client/flv_probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t piece = size ? bytes[0] + 1u : 1;
	struct flv_probe probe = {0};
	struct flv_probe_tag tag;
	enum err err = ERR_AGAIN;

	for (size_t at = 1; at < size && err == ERR_AGAIN; at += piece) {
		struct reader in = reader_of(bytes + at, piece < size - at ? piece : size - at);

		while (!(err = flv_probe_take(&probe, &in, &tag)))
			MUST(tag.size <=
				FLV_TAG_SIZE_MAX + FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE);
		MUST(err != ERR_AGAIN || !reader_left(&in));
		MUST(probe.kept <= sizeof(probe.head));
	}
	return 0;
}
