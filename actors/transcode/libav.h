/* SPDX-License-Identifier: Apache-2.0
 *
 * libavcodec and what it needs, loaded by the process that decodes and by no other. Debian's libavcodec
 * brings eighty libraries with it. Linked into the program they were most of what each process mapped,
 * and a dead worker's mappings are taken down while its successor wants the processor.
 *
 * Thread: that of the codecs; libav_open() before any other.
 */
#ifndef MILLRACE_TRANSCODE_LIBAV_H
#define MILLRACE_TRANSCODE_LIBAV_H

#include "schemas/err.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>

#define LIBAV_UTIL_FUNCTIONS(FUNCTION)      \
	FUNCTION(av_channel_layout_compare) \
	FUNCTION(av_channel_layout_copy)    \
	FUNCTION(av_channel_layout_default) \
	FUNCTION(av_channel_layout_uninit)  \
	FUNCTION(av_frame_alloc)            \
	FUNCTION(av_frame_free)             \
	FUNCTION(av_frame_get_buffer)       \
	FUNCTION(av_frame_make_writable)    \
	FUNCTION(av_frame_unref)            \
	FUNCTION(av_mallocz)                \
	FUNCTION(av_opt_set_double)

#define LIBAV_RESAMPLE_FUNCTIONS(FUNCTION) \
	FUNCTION(swr_alloc_set_opts2)      \
	FUNCTION(swr_convert)              \
	FUNCTION(swr_free)                 \
	FUNCTION(swr_get_delay)            \
	FUNCTION(swr_get_out_samples)      \
	FUNCTION(swr_init)                 \
	FUNCTION(swr_set_compensation)

#define LIBAV_CODEC_FUNCTIONS(FUNCTION)        \
	FUNCTION(av_packet_alloc)              \
	FUNCTION(av_packet_free)               \
	FUNCTION(av_packet_unref)              \
	FUNCTION(avcodec_alloc_context3)       \
	FUNCTION(avcodec_find_decoder_by_name) \
	FUNCTION(avcodec_find_encoder_by_name) \
	FUNCTION(avcodec_flush_buffers)        \
	FUNCTION(avcodec_free_context)         \
	FUNCTION(avcodec_open2)                \
	FUNCTION(avcodec_receive_frame)        \
	FUNCTION(avcodec_receive_packet)       \
	FUNCTION(avcodec_send_frame)           \
	FUNCTION(avcodec_send_packet)

/* The libraries' own functions by their own names; NULL before libav_open(). */
struct libav {
#define LIBAV_MEMBER(name) __typeof__(name) *name;
	LIBAV_UTIL_FUNCTIONS(LIBAV_MEMBER)
	LIBAV_RESAMPLE_FUNCTIONS(LIBAV_MEMBER)
	LIBAV_CODEC_FUNCTIONS(LIBAV_MEMBER)
#undef LIBAV_MEMBER
};

extern struct libav libav;

/* Loads the libraries of the version that this was built with; once they are there it does nothing. May take
 * tens of milliseconds. ERR_UNSUPPORTED: one is missing, or has not all of the functions. */
enum err libav_open(void);

/* What went wrong, for a log; borrowed, never NULL. */
const char *libav_error(void);

#endif
