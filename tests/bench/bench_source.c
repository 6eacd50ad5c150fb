/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_source.h"

#include "actors/rtmp/amf.h"
#include "actors/rtmp/chunk.h"
#include "actors/rtmp/flv.h"
#include "actors/rtmp/handshake.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct encoder {
	int fd;
	int64_t start_ns;
};

enum { OUT_CHUNK = 60000, FRAME_MAX = 200000, PARTS_MAX = 32 };

/* 176x144, 25 pictures a second, no B-frames (tests/data/stream/h264_plain) */
static const uint8_t avc_record[] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x64,
	0x00, 0x0c, 0xac, 0xb4, 0x10, 0x6d, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00,
	0x03, 0x01, 0x90, 0x78, 0xa1, 0x55, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0xb0, 0xfd, 0xf8,
	0xf8, 0x00};
static const uint8_t key_slice[] = {0x65, 0x88, 0x84, 0x19, 0xff, 0xd7, 0x47, 0x66, 0xe1, 0x06};
static const uint8_t delta_slice[] = {0x41, 0x9a, 0x26, 0x23, 0x3f, 0x9f, 0xb7, 0x61, 0xa2, 0x0b};

static void write_all(int fd, struct iovec *parts, size_t count)
{
	while (count) {
		ssize_t sent = writev(fd, parts, (int)count);

		if (sent < 0 && errno != EINTR)
			bench_die("the publisher was cut off: %s", strerror(errno));
		for (; count && sent >= (ssize_t)parts->iov_len; parts++, count--)
			sent -= (ssize_t)parts->iov_len;
		if (count && sent > 0) {
			parts->iov_base = (uint8_t *)parts->iov_base + sent;
			parts->iov_len -= (size_t)sent;
		}
	}
}

static void put_message(struct encoder *source, uint8_t type, uint32_t time_ms, uint32_t chunk_size,
	const struct iovec *pieces, size_t count)
{
	struct chunk_headers headers;
	struct iovec out[PARTS_MAX];
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += pieces[i].iov_len;
	chunk_headers_make(&headers, type == CHUNK_VIDEO ? 6 : 3, type, 1, time_ms, (uint32_t)size);
	size_t parts = chunk_frame(&headers, chunk_size, pieces, count, out, PARTS_MAX);

	MUST(parts > 0);
	write_all(source->fd, out, parts);
}

static void put_command(
	struct encoder *source, const char *name, const char *app, const char *argument)
{
	uint8_t bytes[512];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, name);
	amf_write_number(&w, 1);
	if (app) {
		amf_write_object(&w);
		amf_write_string_member(&w, "app", app);
		amf_write_end(&w);
	} else {
		amf_write_null(&w);
	}
	if (argument)
		amf_write_string(&w, argument);
	MUST(!w.bad);
	put_message(source, CHUNK_COMMAND_AMF0, 0, OUT_CHUNK,
		&(struct iovec){bytes, writer_used(&w)}, 1);
}

static void await_start(struct encoder *source)
{
	static char bytes[65536];
	size_t size = 0;
	ssize_t got;

	while (!memmem(bytes, size, "NetStream.Publish.Start", 23)) {
		got = read(source->fd, bytes + size, sizeof(bytes) - size);
		if (got <= 0)
			bench_die("the publisher was refused");
		size += (size_t)got;
	}
}

static void open_stream(struct encoder *source, const struct bench_node *node, const char *name)
{
	static const uint8_t chunk_size[] = {0, 0, OUT_CHUNK >> 8, OUT_CHUNK & 255};
	static const uint8_t part[HANDSHAKE_PART_SIZE];
	uint8_t header[FLV_BODY_HEADER_MAX];
	struct flv_video video = {
		.codec = MEDIA_H264, .packet = FLV_SEQUENCE_START, .keyframe = true};
	struct iovec hello[] = {
		{(void *)(uintptr_t) "\x03", 1	      },
		 {(void *)(uintptr_t)part,	   sizeof(part)},
		{(void *)(uintptr_t)part,	  sizeof(part)}
	       };

	source->fd = bench_connect(&node->rtmp);
	source->start_ns = bench_now_ns();
	write_all(source->fd, hello, 3);
	put_message(source, CHUNK_SET_CHUNK_SIZE, 0, CHUNK_SIZE_INITIAL,
		&(struct iovec){(void *)(uintptr_t)chunk_size, sizeof(chunk_size)}, 1);
	put_command(source, "connect", "live", NULL);
	put_command(source, "createStream", NULL, NULL);
	put_command(source, "publish", NULL, name);
	await_start(source);
	struct iovec pieces[] = {
		{header, flv_video_header(&video, header)},
		{(void *)(uintptr_t)avc_record,	sizeof(avc_record)}
	   };

	put_message(source, CHUNK_VIDEO, 0, OUT_CHUNK, pieces, 2);
}

static void put_frame(struct encoder *source, size_t size, bool keyframe)
{
	static uint8_t nal[FRAME_MAX];
	uint8_t header[FLV_BODY_HEADER_MAX], length[4] = {0};
	struct flv_video video = {.codec = MEDIA_H264, .packet = FLV_FRAMES, .keyframe = keyframe};
	int64_t now_ns = bench_now_ns();

	MUST(size >= sizeof(key_slice) && size <= sizeof(nal));
	if (!nal[FRAME_MAX - 1])
		memset(nal, 0x55, sizeof(nal));
	memcpy(nal, keyframe ? key_slice : delta_slice, sizeof(key_slice));
	length[1] = (uint8_t)(size >> 16);
	length[2] = (uint8_t)(size >> 8);
	length[3] = (uint8_t)size;
	struct iovec pieces[] = {
		{header, flv_video_header(&video, header)},
		    {length,	     sizeof(length)			   },
		      {nal,	    size	}
	 };

	put_message(source, CHUNK_VIDEO, (uint32_t)((now_ns - source->start_ns) / 1000000),
		OUT_CHUNK, pieces, 3);
}

/* ---- its process --------------------------------------------------------------------------- */

static void run(struct encoder *source, struct source_page *page)
{
	int64_t next_ns = bench_now_ns();

	for (;; next_ns += SOURCE_FRAME_MS * INT64_C(1000000)) {
		uint32_t every, n = page->sent;
		char rest[4096];
		bool key;

		bench_sleep_until_ns(next_ns);
		while (recv(source->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
		if (n >= page->wanted || n >= SOURCE_FRAMES_MAX)
			continue;
		every = page->keyframe_every;
		key = n == 0 || (every && n % every == 0) || page->keyframe_next;
		page->keyframe_next = false;
		page->sent_ns[n] = bench_real_ns();
		put_frame(source, key ? SOURCE_KEYFRAME_SIZE : SOURCE_FRAME_SIZE, key);
		page->sent = n + 1;
	}
}

void bench_source_open(struct bench_source *source, const struct bench_node *node, const char *name)
{
	source->page = mmap(NULL, sizeof(*source->page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (source->page == MAP_FAILED)
		bench_die("no memory");
	source->page->wanted = 1;
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
