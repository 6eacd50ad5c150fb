/* SPDX-License-Identifier: Apache-2.0
 *
 * An FLV file from anywhere: framing, then every body; a parsed body must give the same values
 * after its header was written and read again.
 */
#include "actors/rtmp/flv.h"

static void try_video(const uint8_t *body, size_t size)
{
	struct flv_video first, second;
	uint8_t header[FLV_BODY_HEADER_MAX];

	if (flv_video_parse(body, size, &first))
		return;
	MUST(first.size <= size);
	if (first.packet == FLV_OTHER)
		return;
	size_t header_size = flv_video_header(&first, header);
	MUST(flv_video_parse(header, header_size, &second) == ERR_OK);
	MUST(second.codec == first.codec && second.packet == first.packet);
	MUST(first.packet != FLV_FRAMES || second.keyframe == first.keyframe);
	MUST(first.packet != FLV_FRAMES || second.composition_ms == first.composition_ms);
}

static void try_audio(const uint8_t *body, size_t size)
{
	struct flv_audio first, second;
	uint8_t header[FLV_BODY_HEADER_MAX];

	if (flv_audio_parse(body, size, &first))
		return;
	MUST(first.size <= size);
	if (first.packet == FLV_OTHER)
		return;
	size_t header_size = flv_audio_header(&first, header);
	MUST(flv_audio_parse(header, header_size, &second) == ERR_OK);
	MUST(second.codec == first.codec && second.packet == first.packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_of(data, size);
	struct flv_tag_view tag;
	struct flv_metadata metadata;

	try_video(data, size);
	try_audio(data, size);
	flv_read_file_header(&in);
	while (flv_read_tag(&in, &tag) == ERR_OK) {
		if (tag.type == FLV_VIDEO)
			try_video(tag.body, tag.size);
		else if (tag.type == FLV_AUDIO)
			try_audio(tag.body, tag.size);
		else if (tag.type == FLV_SCRIPT)
			flv_metadata_parse(tag.body, tag.size, &metadata);
	}
	return 0;
}
