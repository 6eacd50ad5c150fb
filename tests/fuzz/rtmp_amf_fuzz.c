/* SPDX-License-Identifier: Apache-2.0
 *
 * AMF0 values from anywhere; onMetaData as well, which must survive being written and read again.
 */
#include "actors/rtmp/amf.h"
#include "actors/rtmp/flv.h"

static volatile uint8_t sink; /* so that reads are not optimised away */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amf_cursor c = amf_cursor_of(data, size);
	struct amf_item item;
	char text[64];

	while (amf_next(&c, &item)) {
		MUST(item.depth <= AMF_DEPTH_MAX);
		for (size_t i = 0; i < item.text_size; i++)
			sink ^= (uint8_t)item.text[i];
		for (size_t i = 0; i < item.name_size; i++)
			sink ^= (uint8_t)item.name[i];
		if (amf_copy_text(&item, text, sizeof(text)))
			MUST(text[0] == 0);
		amf_to_u32(&item, UINT32_MAX, 0);
	}

	struct flv_metadata first, second;
	if (flv_metadata_parse(data, size, &first) == ERR_OK) {
		uint8_t body[512];
		struct writer w = writer_of(body, sizeof(body));

		flv_metadata_write(&w, &first);
		MUST(!w.bad);
		MUST(flv_metadata_parse(body, writer_used(&w), &second) == ERR_OK);
		MUST(memcmp(&first, &second, sizeof(first)) == 0);
	}
	return 0;
}
