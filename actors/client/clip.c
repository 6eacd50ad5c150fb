/* SPDX-License-Identifier: Apache-2.0
 *
 * The H.264 is written by hand (ITU-T H.264 7.3), with three kinds of macroblocks: PCM; Intra 16x16
 * that continue what is above them (a keyframe: one row of PCM bars, the rest drawn down from it);
 * and skipped ones. Deblocking is off, so that PCM stays what it is.
 */
#include "actors/client/clip.h"

#include "schemas/bytes.h"

#include <stdlib.h>

enum {
	MB = 16,
	MB_COLUMNS = CLIP_WIDTH / MB,
	MB_ROWS = CLIP_HEIGHT / MB,
	MB_COUNT = MB_COLUMNS * MB_ROWS,
	LUMA = MB * MB,
	CHROMA = LUMA / 4,
	PCM_SIZE = LUMA + 2 * CHROMA,
	FRAME_NUM_BITS = 8,
	/* an own run of skips before, a type and alignment around each PCM block */
	MB_SIZE_MAX = PCM_SIZE + 8,
	SLICE_BESIDE = 1024, /* bytes of a keyframe that are no PCM, and of any header */
	NAL_IDR = 0x65,
	NAL_DELTA = 0x41,
	MB_TYPE_I_PCM = 25,
	MB_TYPE_I_16X16_VERTICAL = 1, /* no coefficients but the (empty) DC block */
	MB_TYPE_IN_P = 5,	      /* intra types follow the five of P slices */
	CHROMA_VERTICAL = 2,
};

const uint8_t clip_opus[3] = {0xf8, 0xff, 0xfe}; /* fullband, stereo, 20 ms, coded as silent */
/* channel pair element: two channels without any scale factor band, then the end */
const uint8_t clip_aac[] = {0x20, 0, 0, 0, 0, 0, 0x0e};
const size_t clip_aac_size = sizeof(clip_aac);
const uint8_t clip_aac_config[2] = {0x11, 0x90}; /* AAC-LC, 48 kHz, stereo */

/* ---- bits ---------------------------------------------------------------------------------- */

struct bits {
	uint8_t *at; /* the byte being filled; there is always room */
	unsigned used;
};

static void put_bit(struct bits *b, unsigned bit)
{
	if (!b->used)
		*b->at = 0;
	*b->at |= (uint8_t)(bit << (7 - b->used));
	if (++b->used == 8) {
		b->used = 0;
		b->at++;
	}
}

static void put(struct bits *b, unsigned count, uint32_t value)
{
	while (count--)
		put_bit(b, value >> count & 1);
}

/* Exp-Golomb, 9.1. */
static void put_ue(struct bits *b, uint32_t value)
{
	unsigned length = 0;

	while ((value + 1) >> (length + 1))
		length++;
	put(b, length, 0);
	put(b, length + 1, value + 1);
}

static void put_trailing(struct bits *b)
{
	put_bit(b, 1);
	while (b->used)
		put_bit(b, 0);
}

/* ---- pictures ------------------------------------------------------------------------------ */

static void put_pcm(struct bits *b, uint32_t mb_type, const uint8_t pcm[PCM_SIZE])
{
	put_ue(b, mb_type);
	while (b->used)
		put_bit(b, 0);
	memcpy(b->at, pcm, PCM_SIZE);
	b->at += PCM_SIZE;
}

/* The eight colour bars: white, yellow, cyan, green, magenta, red, blue, black (BT.601, 75%). */
static void bar(unsigned column, uint8_t pcm[PCM_SIZE])
{
	static const uint8_t colours[8][3] = {
		{180, 128, 128},
		 {162, 44,  142},
		 {131, 156, 44 },
		 {112, 72,  58 },
		{84,  184, 198},
		{65,  100, 212},
		{35,  212, 114},
		{16,  128, 128}
	      };
	const uint8_t *colour = colours[column * 8 / MB_COLUMNS];

	memset(pcm, colour[0], LUMA);
	memset(pcm + LUMA, colour[1], CHROMA);
	memset(pcm + LUMA + CHROMA, colour[2], CHROMA);
}

static void noise(uint32_t *state, uint8_t pcm[PCM_SIZE])
{
	for (int i = 0; i < LUMA; i++) {
		*state = *state * 1664525 + 1013904223;
		pcm[i] = (uint8_t)(16 + (*state >> 24) % 220); /* never a start code's zero */
	}
	memset(pcm + LUMA, 128, 2 * CHROMA);
}

static void put_keyframe(struct bits *b)
{
	uint8_t pcm[PCM_SIZE];

	put_ue(b, 0); /* first_mb_in_slice */
	put_ue(b, 7); /* I, all slices of the picture */
	put_ue(b, 0);
	put(b, FRAME_NUM_BITS, 0);
	put_ue(b, 0); /* idr_pic_id */
	put(b, 2, 0); /* dec_ref_pic_marking */
	put_ue(b, 0); /* slice_qp_delta */
	put_ue(b, 1); /* no deblocking */
	for (unsigned i = 0; i < MB_COUNT; i++) {
		if (i < MB_COLUMNS) {
			bar(i, pcm);
			put_pcm(b, MB_TYPE_I_PCM, pcm);
			continue;
		}
		put_ue(b, MB_TYPE_I_16X16_VERTICAL);
		put_ue(b, CHROMA_VERTICAL);
		put_ue(b, 0); /* mb_qp_delta */
		/* an empty block by 9.2.1: PCM above counts as 16 coefficients, all else as none */
		if (i < 2 * MB_COLUMNS)
			put(b, 6, 3);
		else
			put_bit(b, 1);
	}
	put_trailing(b);
}

/* `changed` macroblocks from `first` on are new noise, the others stay. */
static void put_delta(
	struct bits *b, unsigned number, unsigned first, unsigned changed, uint32_t *state)
{
	uint8_t pcm[PCM_SIZE];

	put_ue(b, 0);
	put_ue(b, 5); /* P, all slices of the picture */
	put_ue(b, 0);
	put(b, FRAME_NUM_BITS, number & ((1 << FRAME_NUM_BITS) - 1));
	put(b, 3, 0); /* default references, no marking */
	put_ue(b, 0); /* slice_qp_delta */
	put_ue(b, 1); /* no deblocking */
	for (unsigned i = 0; i < changed; i++) {
		put_ue(b, i ? 0 : first); /* mb_skip_run */
		noise(state, pcm);
		put_pcm(b, MB_TYPE_IN_P + MB_TYPE_I_PCM, pcm);
	}
	if (first + changed < MB_COUNT || !changed)
		put_ue(b, MB_COUNT - (changed ? first + changed : 0));
	put_trailing(b);
}

/* ---- parameter sets ------------------------------------------------------------------------ */

static size_t make_sps(uint8_t *out)
{
	struct bits b = {.at = out};

	put(&b, 32, 0x6742e01f); /* SPS, Constrained Baseline, level 3.1 */
	put_ue(&b, 0);
	put_ue(&b, FRAME_NUM_BITS - 4);
	put_ue(&b, 2); /* output order is decoding order */
	put_ue(&b, 1); /* reference frames */
	put_bit(&b, 0);
	put_ue(&b, MB_COLUMNS - 1);
	put_ue(&b, MB_ROWS - 1);
	put(&b, 4, 12); /* frames only, direct 8x8; no cropping, no VUI */
	put_trailing(&b);
	return (size_t)(b.at - out);
}

static size_t make_pps(uint8_t *out)
{
	struct bits b = {.at = out};

	put(&b, 8, 0x68);
	put_ue(&b, 0);
	put_ue(&b, 0);
	put(&b, 2, 0); /* CAVLC */
	put_ue(&b, 0); /* slice groups */
	put_ue(&b, 0); /* references */
	put_ue(&b, 0);
	put(&b, 3, 0); /* no weights */
	put_ue(&b, 0); /* QP, QS, chroma offset */
	put_ue(&b, 0);
	put_ue(&b, 0);
	put(&b, 3, 4); /* deblocking is said in slices */
	put_trailing(&b);
	return (size_t)(b.at - out);
}

/* avcC, ISO/IEC 14496-15 5.3.3.1 */
static void make_record(struct clip *clip)
{
	uint8_t sps[32], pps[16];
	size_t sps_size = make_sps(sps), pps_size = make_pps(pps);
	struct writer w = writer_of(clip->record, sizeof(clip->record));

	write_u8(&w, 1);
	write_bytes(&w, sps + 1, 3);
	write_u8(&w, 0xff); /* lengths of four bytes */
	write_u8(&w, 0xe1);
	write_u16(&w, (uint16_t)sps_size);
	write_bytes(&w, sps, sps_size);
	write_u8(&w, 1);
	write_u16(&w, (uint16_t)pps_size);
	write_bytes(&w, pps, pps_size);
	MUST(!w.bad);
	clip->record_size = writer_used(&w);
}

/* ---- the film ------------------------------------------------------------------------------ */

/* Copies a slice, with the bytes that keep it free of start codes (7.4.1). Returns the size. */
static size_t put_nal(uint8_t *out, uint8_t header, const uint8_t *slice, size_t size)
{
	uint8_t *at = out + 4;
	unsigned zeros = 0;

	*at++ = header;
	for (size_t i = 0; i < size; i++) {
		if (zeros == 2 && slice[i] <= 3) {
			*at++ = 3;
			zeros = 0;
		}
		zeros = slice[i] ? 0 : zeros + 1;
		*at++ = slice[i];
	}
	size = (size_t)(at - out) - 4;
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(size >> (24 - 8 * i));
	return size + 4;
}

enum err clip_create(uint32_t rate_bps, struct clip **clip_)
{
	const uint64_t wanted = (uint64_t)rate_bps / 8 * CLIP_GOP / CLIP_FPS; /* bytes of a GOP */
	const uint64_t key = MB_COLUMNS * PCM_SIZE;
	const uint64_t changes = wanted > key ? (wanted - key) / PCM_SIZE : 0; /* macroblocks */
	size_t room =
		2 * (SLICE_BESIDE * CLIP_GOP + (MB_COLUMNS + changes + CLIP_GOP) * MB_SIZE_MAX);
	struct clip *clip = calloc(1, sizeof(*clip));
	uint8_t *slice = malloc(SLICE_BESIDE + MB_COUNT * MB_SIZE_MAX);
	uint32_t state = 1;

	*clip_ = clip;
	if (clip)
		clip->bytes = malloc(room);
	if (!clip || !slice || !clip->bytes) {
		free(slice);
		clip_destroy(clip_);
		return ERR_NO_MEMORY;
	}
	make_record(clip);
	uint8_t *at = clip->bytes;

	for (unsigned i = 0; i < CLIP_GOP; i++) {
		struct bits b = {.at = slice};
		uint64_t so_far = changes * i / (CLIP_GOP - 1);
		unsigned changed = i ? (unsigned)(so_far - changes * (i - 1) / (CLIP_GOP - 1)) : 0;

		if (changed > MB_COUNT)
			changed = MB_COUNT;
		if (i == 0)
			put_keyframe(&b);
		else
			put_delta(
				&b, i, i * MB_COLUMNS % (MB_COUNT - changed + 1), changed, &state);
		clip->frames[i] = (struct clip_frame){.bytes = at, .keyframe = i == 0};
		clip->frames[i].size =
			put_nal(at, i ? NAL_DELTA : NAL_IDR, slice, (size_t)(b.at - slice));
		at += clip->frames[i].size;
	}
	MUST((size_t)(at - clip->bytes) <= room);
	free(slice);
	return ERR_OK;
}

void clip_destroy(struct clip **clip)
{
	if (*clip)
		free((*clip)->bytes);
	free(*clip);
	*clip = NULL;
}
