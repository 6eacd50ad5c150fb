/* SPDX-License-Identifier: Apache-2.0
 *
 * AudioSpecificConfig and OpusHead: see codec_config.h.
 */
#include "actors/stream/bitreader.h"
#include "actors/stream/codec_config.h"

enum {
	OBJECT_ESCAPE = 31,
	OBJECT_LC = 2,
	OBJECT_LTP = 4,
	OBJECT_SBR = 5,
	OBJECT_PS = 29,
	RATE_EXPLICIT = 15,
	RATE_MAX = 96000, /* Hz; an explicit rate could say 16 MHz */
	SYNC_SBR = 0x2b7,
	CHANNELS_7_1 = 7, /* channelConfiguration 7 means eight channels */
	OPUS_RATE = 48000,
};

static const uint32_t sample_rates[] = {
	96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350};

static uint8_t read_object_type(struct bit_reader *r)
{
	uint32_t type = bits_read(r, 5);

	return (uint8_t)(type == OBJECT_ESCAPE ? 32 + bits_read(r, 6) : type);
}

static uint32_t read_rate(struct bit_reader *r)
{
	uint32_t index = bits_read(r, 4);

	if (index == RATE_EXPLICIT)
		return bits_read(r, 24);
	if (index < sizeof(sample_rates) / sizeof(*sample_rates))
		return sample_rates[index];
	r->bad = true;
	return 0;
}

bool aac_config_is_valid(const struct aac_config *c)
{
	bool rates =
		c->sample_rate > 0 && c->sample_rate <= RATE_MAX && c->extension_rate <= RATE_MAX;

	return rates && c->object_type >= 1 && c->object_type <= OBJECT_LTP && c->channels >= 1 &&
	       c->channels <= 8 && c->channels != 7 && c->sbr <= 1 && c->ps <= 1 &&
	       (c->sbr ? c->extension_rate > 0 : c->extension_rate == 0 && !c->ps) &&
	       (c->frame_samples == 1024 || c->frame_samples == 960);
}

/* Backward compatible signalling behind the core's config: its absence is no error. */
static void read_sync_extension(struct bit_reader *r, struct aac_config *c)
{
	if (bits_read(r, 11) != SYNC_SBR || bits_read(r, 5) != OBJECT_SBR || !bits_read_flag(r))
		return;
	uint32_t rate = read_rate(r);
	if (r->bad || !rate || rate > RATE_MAX)
		return;
	c->sbr = 1;
	c->extension_rate = rate;
	if (bits_read(r, 11) == 0x548)
		c->ps = (uint8_t)bits_read_flag(r);
}

enum err aac_config_parse(struct aac_config *out, const uint8_t *config, size_t size)
{
	struct bit_reader r = bits_of(config, size);
	struct aac_config c = {.frame_samples = 1024};

	*out = (struct aac_config){0};
	c.object_type = read_object_type(&r);
	c.sample_rate = read_rate(&r);
	uint32_t channels = bits_read(&r, 4);
	if (c.object_type == OBJECT_SBR || c.object_type == OBJECT_PS) {
		c.sbr = 1;
		c.ps = c.object_type == OBJECT_PS;
		c.extension_rate = read_rate(&r);
		c.object_type = read_object_type(&r);
	}
	if (r.bad || channels > CHANNELS_7_1)
		return ERR_FORMAT;
	if (c.object_type < 1 || c.object_type > OBJECT_LTP || channels == 0)
		return ERR_UNSUPPORTED;
	c.channels = (uint8_t)(channels == CHANNELS_7_1 ? 8 : channels);
	/* GASpecificConfig, 4.4.1 */
	if (bits_read_flag(&r))
		c.frame_samples = 960;
	if (bits_read_flag(&r))
		bits_skip(&r, 14); /* coreCoderDelay */
	bits_skip(&r, 1);
	if (r.bad)
		return ERR_FORMAT;
	if (!c.sbr)
		read_sync_extension(&r, &c);
	if (!aac_config_is_valid(&c))
		return ERR_FORMAT;
	*out = c;
	return ERR_OK;
}

struct bit_writer {
	uint8_t bytes[CODEC_CONFIG_ASC_MAX];
	unsigned bits;
};

static void put_bits(struct bit_writer *w, uint32_t value, unsigned count)
{
	while (count--) {
		MUST(w->bits < 8 * sizeof(w->bytes));
		w->bytes[w->bits / 8] |= (uint8_t)((value >> count & 1) << (7 - w->bits % 8));
		w->bits++;
	}
}

static void put_rate(struct bit_writer *w, uint32_t rate)
{
	for (uint32_t i = 0; i < sizeof(sample_rates) / sizeof(*sample_rates); i++) {
		if (sample_rates[i] == rate) {
			put_bits(w, i, 4);
			return;
		}
	}
	put_bits(w, RATE_EXPLICIT, 4);
	put_bits(w, rate, 24);
}

enum err aac_config_write(
	const struct aac_config *c, uint8_t *buffer, size_t capacity, size_t *written)
{
	struct bit_writer w = {0};

	*written = 0;
	if (!aac_config_is_valid(c))
		return ERR_PHASE;
	put_bits(&w, c->ps ? OBJECT_PS : c->sbr ? OBJECT_SBR : c->object_type, 5);
	put_rate(&w, c->sample_rate);
	put_bits(&w, c->channels == 8 ? CHANNELS_7_1 : c->channels, 4);
	if (c->sbr) {
		put_rate(&w, c->extension_rate);
		put_bits(&w, c->object_type, 5);
	}
	put_bits(&w, c->frame_samples == 960, 1);
	put_bits(&w, 0, 2); /* dependsOnCoreCoder, extensionFlag */
	size_t size = (w.bits + 7) / 8;
	if (size > capacity)
		return ERR_NO_SPACE;
	memcpy(buffer, w.bytes, size);
	*written = size;
	return ERR_OK;
}

enum err codec_config_write_opus_head(
	uint8_t channels, uint16_t pre_skip, uint8_t *buffer, size_t capacity)
{
	struct writer w = writer_of(buffer, capacity);

	MUST(channels == 1 || channels == 2);
	if (capacity < CODEC_CONFIG_OPUS_HEAD_SIZE)
		return ERR_NO_SPACE;
	write_bytes(&w, "OpusHead", 8);
	write_u8(&w, 1);
	write_u8(&w, channels);
	write_u16(&w, __builtin_bswap16(pre_skip));
	write_u32le(&w, OPUS_RATE);
	write_u16(&w, 0); /* output gain */
	write_u8(&w, 0);  /* mapping family */
	return ERR_OK;
}

enum err codec_config_parse_opus_head(
	const uint8_t *head, size_t size, uint8_t *channels, uint16_t *pre_skip)
{
	struct reader r = reader_of(head, size);
	const uint8_t *magic = read_bytes(&r, 8);

	if (!magic || memcmp(magic, "OpusHead", 8))
		return ERR_FORMAT;
	uint8_t version = read_u8(&r);
	*channels = read_u8(&r);
	*pre_skip = __builtin_bswap16(read_u16(&r));
	read_bytes(&r, 4 + 2); /* original rate, gain */
	uint8_t family = read_u8(&r);
	if (r.bad)
		return ERR_FORMAT;
	if (version & 0xf0 || family != 0)
		return ERR_UNSUPPORTED;
	return *channels == 1 || *channels == 2 ? ERR_OK : ERR_FORMAT;
}
