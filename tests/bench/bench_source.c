/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_source.h"

#include "actors/rtmp/flv.h"
#include "actors/rtmp/rtmp_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FRAME_MAX = 200000,
	SIGN_FRAMES = 25, /* a sign of life each so many that are not sent */
};

struct encoder {
	int fd;
	int64_t start_ns;
	struct rtmp_client client;
};

/* 176x144, 25 pictures a second, no B-frames (tests/data/stream/h264_plain) */
static const uint8_t avc_record[] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x64,
	0x00, 0x0c, 0xac, 0xb4, 0x10, 0x6d, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00,
	0x03, 0x01, 0x90, 0x78, 0xa1, 0x55, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0xb0, 0xfd, 0xf8,
	0xf8, 0x00};
static const uint8_t key_slice[] = {0x65, 0x88, 0x84, 0x19, 0xff, 0xd7, 0x47, 0x66, 0xe1, 0x06};
static const uint8_t delta_slice[] = {0x41, 0x9a, 0x26, 0x23, 0x3f, 0x9f, 0xb7, 0x61, 0xa2, 0x0b};

/* What a writer over `bytes` has taken. */
static void write_out(struct encoder *source, const uint8_t *bytes, const struct writer *out)
{
	size_t size = writer_used(out);

	MUST(!out->bad);
	for (size_t at = 0; at < size;) {
		ssize_t sent = write(source->fd, bytes + at, size - at);

		if (sent < 0 && errno != EINTR)
			bench_die("the publisher was cut off: %s", strerror(errno));
		at += sent > 0 ? (size_t)sent : 0;
	}
}

/* Speaks until the name is granted. */
static void ask_for_name(struct encoder *source)
{
	static uint8_t arena[RTMP_CLIENT_ARENA_SIZE];
	uint8_t answer[4096], bytes[RTMP_CLIENT_OUT_MIN];
	struct chunk_message message;

	while (source->client.phase != RTMP_CLIENT_RUNNING) {
		struct writer out = writer_of(bytes, sizeof(bytes));
		ssize_t got = read(source->fd, answer, sizeof(answer));
		struct reader in = reader_of(answer, got > 0 ? (size_t)got : 0);
		enum err err = ERR_OK;

		if (got <= 0)
			bench_die("the publisher was cut off");
		while (!err)
			err = rtmp_client_input(&source->client, arena, &in, &out, &message);
		if (err != ERR_AGAIN)
			bench_die("the publisher was refused: %s %s", source->client.code,
				source->client.text);
		write_out(source, bytes, &out);
	}
}

static void put_video(struct encoder *source, enum flv_packet packet, bool keyframe,
	uint32_t time_ms, const void *data, size_t size)
{
	static uint8_t bytes[FRAME_MAX + 256];
	uint8_t header[FLV_BODY_HEADER_MAX];
	struct flv_video video = {.codec = MEDIA_H264, .packet = packet, .keyframe = keyframe};
	struct writer out = writer_of(bytes, sizeof(bytes));

	MUST(!rtmp_client_put(&source->client, &out, CHUNK_VIDEO, time_ms, header,
		flv_video_header(&video, header), data, size));
	write_out(source, bytes, &out);
}

static void open_stream(struct encoder *source, const struct bench_node *node, const char *name)
{
	uint8_t bytes[RTMP_CLIENT_OUT_MIN];
	char url[128];
	struct writer out = writer_of(bytes, sizeof(bytes));

	snprintf(url, sizeof(url), "rtmp://bench/live/%s", name);
	source->fd = bench_connect(&node->rtmp);
	source->start_ns = bench_now_ns();
	MUST(!rtmp_client_begin(&source->client, url, NULL, true, &out));
	write_out(source, bytes, &out);
	ask_for_name(source);
	put_video(source, FLV_SEQUENCE_START, true, 0, avc_record, sizeof(avc_record));
}

static void put_frame(struct encoder *source, size_t size, bool keyframe)
{
	static uint8_t unit[4 + FRAME_MAX]; /* behind its length */
	int64_t now_ns = bench_now_ns();

	MUST(size >= sizeof(key_slice) && size <= FRAME_MAX);
	if (!unit[FRAME_MAX])
		memset(unit + 4, 0x55, FRAME_MAX);
	memcpy(unit + 4, keyframe ? key_slice : delta_slice, sizeof(key_slice));
	unit[1] = (uint8_t)(size >> 16);
	unit[2] = (uint8_t)(size >> 8);
	unit[3] = (uint8_t)size;
	put_video(source, FLV_FRAMES, keyframe, (uint32_t)((now_ns - source->start_ns) / 1000000),
		unit, 4 + size);
}

/* That it is there, which the node would doubt: an acknowledgement (RTMP 1.0, 5.4.3) of nothing. */
static void put_sign_of_life(struct encoder *source)
{
	static const uint8_t bytes[16] = {
		[0] = 2 /* chunk stream */, [6] = 4, [7] = CHUNK_ACKNOWLEDGEMENT};

	if (write(source->fd, bytes, sizeof(bytes)) != sizeof(bytes))
		bench_die("the publisher was cut off: %s", strerror(errno));
}

/* ---- its process --------------------------------------------------------------------------- */

static void run(struct encoder *source, struct source_page *page)
{
	int64_t next_ns = bench_now_ns();
	unsigned idle = 0;

	for (;; next_ns += SOURCE_FRAME_MS * INT64_C(1000000)) {
		uint32_t every, n = page->sent;
		char rest[4096];
		bool key;

		bench_sleep_until_ns(next_ns);
		while (recv(source->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
		if (n >= page->wanted || n >= SOURCE_FRAMES_MAX) {
			if (++idle % SIGN_FRAMES == 0)
				put_sign_of_life(source);
			continue;
		}
		every = page->keyframe_every;
		key = n == 0 || (every && n % every == 0) || page->keyframe_next;
		page->keyframe_next = false;
		page->sent_ns[n] = bench_real_ns();
		put_frame(source, key ? page->keyframe_size : SOURCE_FRAME_SIZE, key);
		page->sent = n + 1;
	}
}

void bench_source_open(struct bench_source *source, const struct bench_node *node, const char *name,
	size_t keyframe_size)
{
	source->page = bench_shared(sizeof(*source->page));
	source->page->wanted = 1;
	source->page->keyframe_size = keyframe_size;
	source->pid = fork();
	if (source->pid == 0) {
		struct encoder encoder;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		open_stream(&encoder, node, name);
		run(&encoder, source->page);
	}
	while (!bench_source_is_done(source)) {
		if (waitpid(source->pid, NULL, WNOHANG))
			bench_die("the publisher has ended");
		bench_sleep_until_ns(bench_now_ns() + 1000000);
	}
}

void bench_source_want(struct bench_source *source, uint32_t frames)
{
	source->page->wanted += frames;
}

bool bench_source_is_done(const struct bench_source *source)
{
	return source->page->sent >= source->page->wanted;
}

void bench_source_close(struct bench_source *source)
{
	kill(source->pid, SIGKILL);
	waitpid(source->pid, NULL, 0);
	munmap(source->page, sizeof(*source->page));
}
