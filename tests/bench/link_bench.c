/* SPDX-License-Identifier: Apache-2.0
 *
 * What a hop between two nodes costs: packets of 1,160 bytes through two ends of a link (sealed, sent in
 * bursts over UDP on loopback, opened, copied to a slot once), beside datagrams of the same size that
 * are only sent and received, by the same calls. In one run, in turn. Processor time of both ends
 * together, a packet; and how long a burst takes from the first end to the second.
 */
#include "actors/link/link_engine.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	PAYLOAD = 1160,
	BURST = 9, /* a frame of 2 Mbit/s at 25 a second */
	BURSTS = 4000,
	ROUNDS = 8,
	SIZE = LINK_HEAD + LINK_MEDIA_HEAD + PAYLOAD + LINK_TAG,
	RECEIVE = 32,
	ROOM = 2048,
};

struct end {
	struct link_engine *engine;
	struct link_hot hot;
	struct link_out *out;
	int fd;
	uint64_t delivered;
};

static struct packet packet = {
	.header = {.size = PAYLOAD, .priority = MEDIA_PRIORITY_DELTA}
};
static struct end ends[2];
static struct mmsghdr messages[RECEIVE];
static struct iovec parts[RECEIVE];
static uint8_t received[RECEIVE][ROOM];
static int64_t delays_ns[ROUNDS * BURSTS];

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

/* As runtime/live_udp.c does it for packets of one size. */
static void send_run(int fd, const struct iovec *packets, size_t count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
	struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)packets, .msg_iovlen = count};

	if (count > 1) {
		uint16_t segment = (uint16_t)packets[0].iov_len;

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		header->cmsg_level = IPPROTO_UDP;
		header->cmsg_type = UDP_SEGMENT;
		header->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(header), &segment, sizeof(segment));
	}
	MUST(sendmsg(fd, &message, 0) > 0);
}

static void emit(void *context, unsigned path, const struct iovec *datagrams, size_t count)
{
	const struct end *end = context;

	(void)path;
	for (size_t i = 0, run; i < count; i += run) {
		for (run = 1;
			i + run < count && datagrams[i + run].iov_len == datagrams[i].iov_len;)
			run++;
		send_run(end->fd, datagrams + i, run);
	}
}

static void deliver(void *context, const struct link_media *media)
{
	static struct packet slot;
	struct end *end = context;

	slot.header = media->header;
	memcpy(slot.payload, media->payload, media->header.size);
	end->delivered++;
}

static const struct packet *packet_of(void *context, struct slot_ref ref)
{
	(void)context;
	(void)ref;
	return &packet;
}

static void release(void *context, struct slot_ref ref)
{
	(void)context;
	(void)ref;
}

static void open_sockets(void)
{
	struct sockaddr_in address[2];
	socklen_t size = sizeof(address[0]);

	for (int i = 0; i < 2; i++) {
		address[i] = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		ends[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
		MUST(!bind(ends[i].fd, (struct sockaddr *)&address[i], size) &&
			!getsockname(ends[i].fd, (struct sockaddr *)&address[i], &size));
	}
	for (int i = 0; i < 2; i++)
		MUST(!connect(ends[i].fd, (struct sockaddr *)&address[!i], size));
	for (int i = 0; i < RECEIVE; i++) {
		parts[i] = (struct iovec){received[i], ROOM};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
}

static void open_links(void)
{
	const struct link_options options = {
		.session = 1, .redundancy_permille = 30, .age_max_us = LINK_AGE_DEFAULT_US};
	const struct link_key keys[2] = {{.key = "one"}, {.key = "other"}};

	for (int i = 0; i < 2; i++) {
		struct end *end = &ends[i];
		const struct link_ops ops = {end, emit, deliver, packet_of, release};

		end->engine = calloc(1, sizeof(*end->engine));
		end->out = calloc(1, sizeof(*end->out));
		MUST(end->engine && end->out);
		link_hot_init(&end->hot, &keys[i], &keys[!i]);
		MUST(!link_engine_init(end->engine, &options, &ops, &end->hot, end->out, now_us()));
		link_engine_add_path(end->engine, 0, link_route(0, 0), now_us());
	}
}

/* What waits at an end; how many datagrams that was. `bare`: nobody looks at them. */
static int take(struct end *end, bool bare)
{
	int count = recvmmsg(end->fd, messages, RECEIVE, MSG_DONTWAIT, NULL);
	int64_t at_us = now_us();
	unsigned path;

	for (int i = 0; i < count && !bare; i++)
		link_engine_take(end->engine, received[i], messages[i].msg_len, at_us, &path);
	if (count > 0 && !bare)
		link_engine_flush(end->engine);
	return count > 0 ? count : 0;
}

static void burst_by_link(void)
{
	uint64_t wanted = ends[1].delivered + BURST;

	for (unsigned i = 0; i < BURST; i++) {
		packet.header.position++;
		link_engine_send(
			ends[0].engine, (struct slot_ref){1, 1}, 1, 2, LINK_SMART, now_us());
	}
	link_engine_flush(ends[0].engine);
	while (ends[1].delivered < wanted)
		take(&ends[1], false);
}

static void burst_bare(void)
{
	static uint8_t bytes[BURST][SIZE];
	struct iovec packets[BURST];

	for (unsigned i = 0; i < BURST; i++)
		packets[i] = (struct iovec){bytes[i], SIZE};
	send_run(ends[0].fd, packets, BURST);
	for (int got = 0; got < BURST;)
		got += take(&ends[1], true);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Processor time a packet; the delays of its bursts go to `delays`. */
static double run(void (*burst)(void), int64_t *delays)
{
	int64_t begin_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	for (int i = 0; i < BURSTS; i++) {
		int64_t from_ns = clock_ns(CLOCK_MONOTONIC);

		burst();
		delays[i] = clock_ns(CLOCK_MONOTONIC) - from_ns;
	}
	return (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin_ns) / (BURSTS * BURST);
}

/* Probes, reports and what else is due, outside what is measured. */
static void settle(void)
{
	for (int i = 0; i < 200; i++)
		for (int side = 0; side < 2; side++) {
			link_engine_tick(ends[side].engine, now_us());
			while (take(&ends[side], false))
				;
		}
}

int main(void)
{
	static int64_t bare_delays[ROUNDS * BURSTS];
	double link_ns = 1e9, bare_ns = 1e9;

	open_sockets();
	open_links();
	settle();
	for (int i = 0; i < ROUNDS; i++) {
		double bare = run(burst_bare, bare_delays + i * BURSTS);
		double link = run(burst_by_link, delays_ns + i * BURSTS);

		bare_ns = bare < bare_ns ? bare : bare_ns;
		link_ns = link < link_ns ? link : link_ns;
		settle();
	}
	qsort(delays_ns, ROUNDS * BURSTS, sizeof(delays_ns[0]), compare);
	qsort(bare_delays, ROUNDS * BURSTS, sizeof(bare_delays[0]), compare);
	printf("a packet over a hop, both ends: %.0f ns, bare UDP %.0f ns, %.2f times\n", link_ns,
		bare_ns, link_ns / bare_ns);
	for (int i = 0; i < 2; i++) {
		size_t at = (size_t)ROUNDS * BURSTS * (i ? 99 : 50) / 100;

		printf("a burst of %d, from the first send to the last packet, p%d: %.1f us, bare "
		       "UDP "
		       "%.1f us\n",
			BURST, i ? 99 : 50, (double)delays_ns[at] / 1000,
			(double)bare_delays[at] / 1000);
	}
	return 0;
}
