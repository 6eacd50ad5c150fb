/* SPDX-License-Identifier: Apache-2.0
 *
 * NAL units: see nal.h. The parsers follow the syntax tables of the two standards in their order;
 * every count read from the bitstream is checked before it drives a loop.
 */
#include "actors/stream/nal.h"

#include "actors/stream/bitreader.h"

enum {
	POC_CYCLE_MAX = 255,  /* num_ref_frames_in_pic_order_cnt_cycle, H.264 7.4.2.1.1 */
	CPB_COUNT_MAX = 32,   /* cpb_cnt_minus1 + 1, H.264 E.2.2 */
	EXTENDED_SAR = 255,   /* aspect_ratio_idc, H.264 table E-1 */
	MACROBLOCK_SIDE = 16, /* pixels */
	SUB_LAYERS_MAX = 7,   /* H.265 7.4.3.2.1 */
	REORDER_FRAMES_MAX = 16,
};

static enum nal_class classify_h264(uint8_t header)
{
	switch (nal_h264_type(header)) {
	case NAL_H264_IDR: return NAL_KEY_SLICE;
	case NAL_H264_SPS: return NAL_SPS;
	case NAL_H264_PPS: return NAL_PPS;
	case 0:
	case NAL_H264_AUD:
	case NAL_H264_FILLER: return NAL_DROPPED;
	default:
		if (nal_h264_type(header) >= NAL_H264_STAP_A)
			return NAL_DROPPED;
		return nal_h264_type(header) <= NAL_H264_PARTITION_C ? NAL_SLICE : NAL_OTHER;
	}
}

static enum nal_class classify_h265(uint8_t header)
{
	unsigned type = nal_h265_type(header);

	switch (type) {
	case NAL_H265_VPS: return NAL_VPS;
	case NAL_H265_SPS: return NAL_SPS;
	case NAL_H265_PPS: return NAL_PPS;
	case NAL_H265_AUD:
	case NAL_H265_FILLER: return NAL_DROPPED;
	default:
		if (type >= NAL_H265_BLA_W_LP && type <= NAL_H265_RSV_IRAP_23)
			return NAL_KEY_SLICE;
		if (type >= NAL_H265_AP)
			return NAL_DROPPED;
		return type <= NAL_H265_VCL_MAX ? NAL_SLICE : NAL_OTHER;
	}
}

enum nal_class nal_classify(enum media_codec codec, struct nal nal)
{
	if (codec == MEDIA_H265)
		return nal.size < 2 ? NAL_DROPPED : classify_h265(nal.data[0]);
	return nal.size < 1 ? NAL_DROPPED : classify_h264(nal.data[0]);
}

bool nal_is_discardable(enum media_codec codec, struct nal nal, unsigned temporal_max)
{
	enum nal_class class = nal_classify(codec, nal);

	if (class != NAL_SLICE)
		return false;
	if (codec == MEDIA_H264)
		return nal_h264_ref_idc(nal.data[0]) == 0;

	unsigned type = nal_h265_type(nal.data[0]);
	unsigned temporal = (nal.data[1] & 7u) - 1;
	return type < NAL_H265_RSV_VCL_R15 && type % 2 == 0 && temporal >= temporal_max;
}

bool nal_is_first_slice(enum media_codec codec, struct nal nal)
{
	enum nal_class class = nal_classify(codec, nal);
	size_t header = codec == MEDIA_H265 ? 2 : 1;

	/* either field is the first bit of the slice: ue(v) 0 is a single one */
	return (class == NAL_SLICE || class == NAL_KEY_SLICE) && nal.size > header &&
	       (nal.data[header] & 0x80);
}

enum nal_slice_kind nal_slice_kind(enum media_codec codec, struct nal nal)
{
	static const uint8_t kinds[] = {
		NAL_SLICE_P, NAL_SLICE_B, NAL_SLICE_I, NAL_SLICE_P, NAL_SLICE_I};
	enum nal_class class = nal_classify(codec, nal);

	if (codec != MEDIA_H264 || (class != NAL_SLICE && class != NAL_KEY_SLICE) ||
		nal_h264_type(nal.data[0]) == NAL_H264_PARTITION_B ||
		nal_h264_type(nal.data[0]) == NAL_H264_PARTITION_C)
		return NAL_SLICE_UNKNOWN;

	struct bit_reader r = bits_of_nal(nal.data + 1, nal.size - 1);
	bits_read_ue(&r); /* first_mb_in_slice */
	uint32_t type = bits_read_ue(&r);
	return r.bad || type > 9 ? NAL_SLICE_UNKNOWN : (enum nal_slice_kind)kinds[type % 5];
}

enum err nal_next(struct reader *r, unsigned length_size, struct nal *out)
{
	while (reader_left(r)) {
		size_t size = (size_t)read_be(r, (int)length_size);

		out->data = read_bytes(r, size);
		out->size = size;
		if (r->bad)
			return ERR_FORMAT;
		if (size)
			return ERR_OK;
	}
	return ERR_NOT_FOUND;
}

/* H.264 7.3.2.1.1.1: only stepped over */
static void skip_scaling_list(struct bit_reader *r, int size)
{
	int last = 8, next = 8;

	for (int i = 0; i < size && !r->bad; i++) {
		if (next != 0)
			next = (int)((uint32_t)last + (uint32_t)bits_read_se(r) + 256) & 0xff;
		last = next ? next : last;
	}
}

static bool h264_profile_has_chroma(uint8_t profile)
{
	static const uint8_t profiles[] = {
		100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};

	return memchr(profiles, profile, sizeof(profiles)) != NULL;
}

static void read_h264_chroma(struct bit_reader *r, struct nal_h264_sps *sps, bool *separate)
{
	uint32_t format = bits_read_ue(r);
	if (format > 3)
		r->bad = true;
	*separate = format == 3 && bits_read_flag(r);
	uint32_t luma = bits_read_ue(r);
	uint32_t chroma = bits_read_ue(r);
	if (luma > 6 || chroma > 6)
		r->bad = true;
	bits_skip(r, 1); /* qpprime_y_zero_transform_bypass_flag */
	if (bits_read_flag(r)) {
		for (int i = 0; i < (format == 3 ? 12 : 8) && !r->bad; i++) {
			if (bits_read_flag(r))
				skip_scaling_list(r, i < 6 ? 16 : 64);
		}
	}
	sps->chroma_format = (uint8_t)format;
	sps->depth_luma = (uint8_t)(8 + luma);
	sps->depth_chroma = (uint8_t)(8 + chroma);
}

/* Returns pic_order_cnt_type. */
static uint32_t read_h264_order(struct bit_reader *r)
{
	bits_read_ue(r); /* log2_max_frame_num_minus4 */
	uint32_t type = bits_read_ue(r);

	if (type == 0) {
		bits_read_ue(r); /* log2_max_pic_order_cnt_lsb_minus4 */
	} else if (type == 1) {
		bits_skip(r, 1);
		bits_read_se(r);
		bits_read_se(r);
		uint32_t cycle = bits_read_ue(r);
		if (cycle > POC_CYCLE_MAX)
			r->bad = true;
		for (uint32_t i = 0; i < cycle && !r->bad; i++)
			bits_read_se(r);
	} else if (type > 2) {
		r->bad = true;
	}
	return type;
}

static void read_h264_size(struct bit_reader *r, struct nal_h264_sps *sps, bool separate)
{
	uint64_t width = ((uint64_t)bits_read_ue(r) + 1) * MACROBLOCK_SIDE;
	uint64_t height = ((uint64_t)bits_read_ue(r) + 1) * MACROBLOCK_SIDE;
	bool frame_only = bits_read_flag(r);
	unsigned chroma = separate ? 0 : sps->chroma_format;
	uint64_t unit_x = chroma == 1 || chroma == 2 ? 2 : 1;
	uint64_t unit_y = (chroma == 1 ? 2u : 1u) * (frame_only ? 1u : 2u);

	if (!frame_only) {
		height *= 2;
		bits_skip(r, 1); /* mb_adaptive_frame_field_flag */
	}
	bits_skip(r, 1); /* direct_8x8_inference_flag */
	if (bits_read_flag(r)) {
		uint64_t x = (uint64_t)bits_read_ue(r) + bits_read_ue(r);
		uint64_t y = (uint64_t)bits_read_ue(r) + bits_read_ue(r);
		width -= x * unit_x < width ? x * unit_x : width;
		height -= y * unit_y < height ? y * unit_y : height;
	}
	if (!width || !height || width > NAL_DIMENSION_MAX || height > NAL_DIMENSION_MAX) {
		r->bad = true;
		return;
	}
	sps->width = (uint16_t)width;
	sps->height = (uint16_t)height;
}

/* H.264 E.1.2; returns whether parameters are there */
static bool skip_h264_hrd(struct bit_reader *r)
{
	if (!bits_read_flag(r))
		return false;
	uint32_t count = bits_read_ue(r) + 1;
	if (count > CPB_COUNT_MAX)
		r->bad = true;
	bits_skip(r, 8);
	for (uint32_t i = 0; i < count && !r->bad; i++) {
		bits_read_ue(r);
		bits_read_ue(r);
		bits_skip(r, 1);
	}
	bits_skip(r, 20);
	return true;
}

/* H.264 E.1.1: down to max_num_reorder_frames, -1 when it is not there */
static int8_t read_h264_reorder_frames(struct bit_reader *r)
{
	if (bits_read_flag(r) && bits_read(r, 8) == EXTENDED_SAR)
		bits_skip(r, 32);
	if (bits_read_flag(r)) /* overscan */
		bits_skip(r, 1);
	if (bits_read_flag(r)) { /* video signal type */
		bits_skip(r, 4);
		if (bits_read_flag(r))
			bits_skip(r, 24);
	}
	if (bits_read_flag(r)) { /* chroma location */
		bits_read_ue(r);
		bits_read_ue(r);
	}
	if (bits_read_flag(r)) /* timing */
		bits_skip(r, 65);
	bool nal_hrd = skip_h264_hrd(r);
	bool vcl_hrd = skip_h264_hrd(r);
	if (nal_hrd || vcl_hrd)
		bits_skip(r, 1); /* low_delay_hrd_flag */
	bits_skip(r, 1);	 /* pic_struct_present_flag */
	if (!bits_read_flag(r))
		return -1;
	bits_skip(r, 1); /* motion_vectors_over_pic_boundaries_flag */
	for (int i = 0; i < 4; i++)
		bits_read_ue(r);
	uint32_t reorder = bits_read_ue(r);
	return r->bad || reorder > REORDER_FRAMES_MAX ? -1 : (int8_t)reorder;
}

enum err nal_parse_h264_sps(struct nal nal, struct nal_h264_sps *out)
{
	bool separate = false;

	*out = (struct nal_h264_sps){
		.chroma_format = 1, .depth_luma = 8, .depth_chroma = 8, .reorder_frames = -1};
	if (nal_classify(MEDIA_H264, nal) != NAL_SPS || nal.size < 4)
		return ERR_FORMAT;

	struct bit_reader r = bits_of_nal(nal.data + 1, nal.size - 1);
	out->profile = (uint8_t)bits_read(&r, 8);
	out->constraints = (uint8_t)bits_read(&r, 8);
	out->level = (uint8_t)bits_read(&r, 8);
	if (bits_read_ue(&r) > 31) /* seq_parameter_set_id */
		return ERR_FORMAT;
	if (h264_profile_has_chroma(out->profile))
		read_h264_chroma(&r, out, &separate);
	uint32_t order_type = read_h264_order(&r);
	bits_read_ue(&r); /* max_num_ref_frames */
	bits_skip(&r, 1);
	read_h264_size(&r, out, separate);
	bool has_vui = bits_read_flag(&r);
	if (r.bad)
		return ERR_FORMAT;
	if (has_vui) /* damage in here costs a hint, not the picture size */
		out->reorder_frames = read_h264_reorder_frames(&r);
	if (order_type == 2) /* output order is decoding order, H.264 8.2.1.3 */
		out->reorder_frames = 0;
	return ERR_OK;
}

/* H.265 7.3.3, behind the general part */
static void skip_h265_sub_layers(struct bit_reader *r, unsigned count)
{
	bool profile[SUB_LAYERS_MAX] = {0}, level[SUB_LAYERS_MAX] = {0};

	for (unsigned i = 0; i < count; i++) {
		profile[i] = bits_read_flag(r);
		level[i] = bits_read_flag(r);
	}
	if (count)
		bits_skip(r, 2 * (8 - count));
	for (unsigned i = 0; i < count; i++)
		bits_skip(r, (profile[i] ? 88u : 0u) + (level[i] ? 8u : 0u));
}

static void read_h265_size(struct bit_reader *r, struct nal_h265_sps *sps)
{
	uint32_t format = bits_read_ue(r);
	bool separate = format == 3 && bits_read_flag(r);
	uint64_t width = bits_read_ue(r);
	uint64_t height = bits_read_ue(r);
	uint64_t unit_x = !separate && (format == 1 || format == 2) ? 2 : 1;
	uint64_t unit_y = !separate && format == 1 ? 2 : 1;

	if (bits_read_flag(r)) {
		uint64_t x = ((uint64_t)bits_read_ue(r) + bits_read_ue(r)) * unit_x;
		uint64_t y = ((uint64_t)bits_read_ue(r) + bits_read_ue(r)) * unit_y;
		width -= x < width ? x : width;
		height -= y < height ? y : height;
	}
	if (format > 3 || !width || !height || width > NAL_DIMENSION_MAX ||
		height > NAL_DIMENSION_MAX) {
		r->bad = true;
		return;
	}
	sps->chroma_format = (uint8_t)format;
	sps->width = (uint16_t)width;
	sps->height = (uint16_t)height;
}

enum err nal_parse_h265_sps(struct nal nal, struct nal_h265_sps *out)
{
	*out = (struct nal_h265_sps){0};
	if (nal_classify(MEDIA_H265, nal) != NAL_SPS)
		return ERR_FORMAT;

	struct bit_reader r = bits_of_nal(nal.data + 2, nal.size - 2);
	bits_skip(&r, 4); /* sps_video_parameter_set_id */
	unsigned above = bits_read(&r, 3);
	if (above >= SUB_LAYERS_MAX)
		return ERR_FORMAT;
	out->temporal_layers = (uint8_t)(above + 1);
	out->temporal_nested = bits_read_flag(&r);
	for (size_t i = 0; i < sizeof(out->profile_tier_level); i++)
		out->profile_tier_level[i] = (uint8_t)bits_read(&r, 8);
	skip_h265_sub_layers(&r, above);
	if (bits_read_ue(&r) > 15) /* sps_seq_parameter_set_id */
		return ERR_FORMAT;
	read_h265_size(&r, out);
	uint32_t luma = bits_read_ue(&r);
	uint32_t chroma = bits_read_ue(&r);
	if (r.bad || luma > 8 || chroma > 8)
		return ERR_FORMAT;
	out->depth_luma = (uint8_t)(8 + luma);
	out->depth_chroma = (uint8_t)(8 + chroma);
	return ERR_OK;
}
