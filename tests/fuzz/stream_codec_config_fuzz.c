/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration records and the parsers below them. What parses must write and parse again to the
 * same. Input: kind byte, then the record, frame, or unit.
 */
#include "actors/stream/codec_config.h"
#include "actors/stream/obu.h"
#include "actors/stream/vp9.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct codec_config *c)
{
	static struct codec_config again;
	uint8_t record[CODEC_CONFIG_RECORD_MAX];
	size_t written;

	MUST(codec_config_is_valid(c));
	enum err err = codec_config_write(c, record, sizeof(record), &written);
	MUST(err == ERR_OK ||
		err == ERR_PHASE); /* an av1C without a header, a vpcC without depth */
	if (err)
		return;
	MUST(codec_config_parse(&again, (enum media_codec)c->codec, record, written) == ERR_OK);
	MUST(c->sets_size == again.sets_size && c->width * !!c->sets_size == again.width);
}

static void fuzz_audio(const uint8_t *data, size_t size)
{
	struct aac_config c, again;
	uint8_t asc[CODEC_CONFIG_ASC_MAX], channels;
	uint16_t pre_skip;
	size_t written;

	codec_config_parse_opus_head(data, size, &channels, &pre_skip);
	if (aac_config_parse(&c, data, size))
		return;
	MUST(aac_config_is_valid(&c));
	MUST(aac_config_write(&c, asc, sizeof(asc), &written) == ERR_OK);
	MUST(aac_config_parse(&again, asc, written) == ERR_OK);
	MUST(!memcmp(&c, &again, sizeof(c)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum media_codec codecs[] = {MEDIA_H264, MEDIA_H265, MEDIA_AV1, MEDIA_VP9};
	static struct codec_config c;
	struct nal_h264_sps h264;
	struct nal_h265_sps h265;
	struct vp9_head head;
	struct obu_sequence sequence;
	struct obu_frame frame;
	struct obu unit;

	if (!size)
		return 0;
	uint8_t kind = data[0];
	data++;
	size--;
	if (kind & 4) {
		fuzz_audio(data, size);
		return 0;
	}
	if (!codec_config_parse(&c, codecs[kind & 3], data, size))
		check_again(&c);
	if (!codec_config_from_frame(&c, codecs[kind & 3], data, size))
		check_again(&c);
	nal_parse_h264_sps((struct nal){data, size}, &h264);
	nal_parse_h265_sps((struct nal){data, size}, &h265);
	vp9_parse_head(data, size, &head);
	vp9_is_superframe(data, size);
	struct reader r = reader_of(data, size);
	while (!obu_next(&r, &unit)) {
		if (unit.type == OBU_SEQUENCE_HEADER && !obu_parse_sequence(&unit, &sequence))
			obu_parse_frame(&sequence, r.at, reader_left(&r), &frame);
	}
	return 0;
}
