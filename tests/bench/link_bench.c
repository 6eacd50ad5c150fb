/* SPDX-License-Identifier: Apache-2.0
 *
 * What links cost, beside datagrams of the same size by the same calls on the loopback, in turn, in one
 * run. Two figures:
 *
 *   hop     two ends of a link: sealed, sent in bursts, opened, copied to a slot. Both ends together,
 *           as time goes; and how long a burst takes from the first end to the second
 *   relay   a node between one that has streams and others that want them: opened once, sealed for
 *           each next hop. The node in between alone. Frames come as streams of 2 Mbit/s bring them,
 *           by a clock of the bench's own, so that reports, probes and beats have their true share
 *
 * Actors, logs of streams and the loop are not in it: what a packet costs in a link, nothing else.
 */
#include "actors/link/link_engine.h"
#include "tests/bench/bench_node.h"

#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	PAYLOAD = 1160,
	BURST = 9, /* a frame of 2 Mbit/s at 25 a second */
	FRAME_US = 40000,
	STEP_US = 5000, /* that a node sleeps, at most */
	SIZE = LINK_HEAD + LINK_MEDIA_HEAD + PAYLOAD + LINK_TAG,
	RECEIVE = 32,
	ROOM = 2048,
	RECEIVE_BUFFER = 4 << 20,
	HOP_BURSTS = 4000, /* a round */
	HOP_ROUNDS = 8,
	HOP_ANSWERS = 64, /* frames between two looks at what the receiver says */
	RELAY_BURSTS = 1500,
	RELAY_ROUNDS = 7,
	NEXT_MAX = 8,
	ENDS_MAX = 2 * (1 + NEXT_MAX),
	SLOTS = LINK_HISTORY_MAX + 4096, /* so many may be kept */
	SETTLE_STEPS = 200,
};

struct end {
	struct link_engine *engine;
	struct link_hot hot;
	struct link_out *out;
	int fd;
	uint64_t delivered;
	int64_t due_us;
	bool hands_on; /* what it delivers goes to the next ones */
};

/* Whose links they are: [0] to [1], then [2] to [3] … of which the even ones are the relay's. */
static struct end ends[ENDS_MAX];
static unsigned next_count;

static struct {
	struct packet packets[SLOTS];
	uint32_t uses[SLOTS], free[SLOTS], free_count;
} pool;

static struct packet source_packet = {
	.header = {.size = PAYLOAD, .priority = MEDIA_PRIORITY_DELTA}
};
static struct mmsghdr messages[RECEIVE];
static struct iovec parts[RECEIVE];
static uint8_t received[RECEIVE][ROOM];
static int64_t own_clock_us; /* 0 = that of the machine */

static int64_t now_us(void)
{
	return own_clock_us ? own_clock_us : bench_now_ns() / 1000;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- slots: as an arena has them -------------------------------------------------------------- */

static void fill_pool(void)
{
	pool.free_count = SLOTS;
	for (uint32_t i = 0; i < SLOTS; i++)
		pool.free[i] = i;
}

static void let_go(uint32_t index)
{
	MUST(pool.uses[index]);
	if (!--pool.uses[index])
		pool.free[pool.free_count++] = index;
}

/* ---- the engine's way out --------------------------------------------------------------------- */

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

static void hand_on(const struct link_media *media)
{
	MUST(pool.free_count);
	uint32_t index = pool.free[--pool.free_count];
	struct packet *packet = &pool.packets[index];

	packet->header = media->header;
	memcpy(packet->payload, media->payload, media->header.size);
	pool.uses[index] = 1 + next_count;
	for (unsigned i = 0; i < next_count; i++)
		link_engine_send(ends[2 + 2 * i].engine, (struct slot_ref){index, 1}, media->to,
			media->from, (struct link_terms){0}, now_us());
	let_go(index);
}

static void deliver(void *context, const struct link_media *media)
{
	static struct packet slot;
	struct end *end = context;

	end->delivered++;
	if (end->hands_on) {
		hand_on(media);
		return;
	}
	slot.header = media->header;
	memcpy(slot.payload, media->payload, media->header.size);
}

static bool is_source(const struct end *end)
{
	return end == &ends[0];
}

static const struct packet *packet_of(void *context, struct slot_ref ref)
{
	return is_source(context) ? &source_packet : &pool.packets[ref.index];
}

static void release(void *context, struct slot_ref ref)
{
	if (!is_source(context))
		let_go(ref.index);
}

/* ---- links ------------------------------------------------------------------------------------- */

static void open_sockets(struct end *pair)
{
	struct sockaddr_in address[2];
	socklen_t size = sizeof(address[0]);
	int room = RECEIVE_BUFFER;

	for (int i = 0; i < 2; i++) {
		address[i] = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		pair[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
		MUST(!bind(pair[i].fd, (struct sockaddr *)&address[i], size) &&
			!getsockname(pair[i].fd, (struct sockaddr *)&address[i], &size));
		if (setsockopt(pair[i].fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
			setsockopt(pair[i].fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	}
	for (int i = 0; i < 2; i++)
		MUST(!connect(pair[i].fd, (struct sockaddr *)&address[!i], size));
}

static void open_link(struct end *pair)
{
	const struct link_options options = {
		.session = 1, .redundancy_permille = 30, .age_max_us = LINK_AGE_DEFAULT_US};
	const struct link_key keys[2] = {{.key = "one"}, {.key = "other"}};

	open_sockets(pair);
	for (int i = 0; i < 2; i++) {
		struct end *end = &pair[i];
		const struct link_ops ops = {end, emit, deliver, packet_of, release};

		end->engine = calloc(1, sizeof(*end->engine));
		end->out = calloc(1, sizeof(*end->out));
		MUST(end->engine && end->out);
		link_hot_init(&end->hot, &keys[i]);
		link_hot_meet(&end->hot, &keys[!i]);
		MUST(!link_engine_init(end->engine, &options, &ops, &end->hot, end->out, now_us()));
		link_engine_add_path(end->engine, 0, link_route(0, 0), now_us());
	}
}

static unsigned end_count(void)
{
	return 2 * (1 + next_count);
}

static void close_links(void)
{
	for (unsigned i = 0; i < end_count(); i++) {
		link_engine_fini(ends[i].engine);
		free(ends[i].engine);
		free(ends[i].out);
		close(ends[i].fd);
		ends[i] = (struct end){0};
	}
	next_count = 0;
}

/* What waits at an end, once; how many datagrams that was. */
static int receive(const struct end *end)
{
	int count = recvmmsg(end->fd, messages, RECEIVE, MSG_DONTWAIT, NULL);

	return count > 0 ? count : 0;
}

static int take(struct end *end)
{
	int count = receive(end);
	int64_t at_us = now_us();
	unsigned path;

	for (int i = 0; i < count; i++)
		link_engine_take(end->engine, received[i], messages[i].msg_len, at_us, &path);
	return count;
}

/* At the end of a turn, as media_link_pump. */
static void end_turn(struct end *end)
{
	if (now_us() >= end->due_us) {
		end->due_us = link_engine_tick(end->engine, now_us());
	} else {
		link_engine_flush(end->engine);
		end->due_us = link_engine_deadline_us(end->engine, now_us());
	}
}

static void take_all(struct end *end)
{
	while (take(end) == RECEIVE)
		;
	end_turn(end);
}

static void send_frame(uint64_t stream)
{
	for (unsigned i = 0; i < BURST; i++) {
		source_packet.header.position++;
		link_engine_send(ends[0].engine, (struct slot_ref){1, 1}, stream, stream,
			(struct link_terms){0}, now_us());
	}
	end_turn(&ends[0]);
}

static void send_bare_frame(void)
{
	static uint8_t bytes[BURST][SIZE];
	struct iovec packets[BURST];

	for (unsigned i = 0; i < BURST; i++)
		packets[i] = (struct iovec){bytes[i], SIZE};
	send_run(ends[0].fd, packets, BURST);
}

/* Until all paths are known and well. */
static void settle(void)
{
	for (int i = 0; i < SETTLE_STEPS; i++) {
		own_clock_us += own_clock_us ? STEP_US : 0;
		for (unsigned j = 0; j < end_count(); j++)
			take_all(&ends[j]);
	}
}

/* ---- a hop --------------------------------------------------------------------------------------- */

static void hop_frame(void)
{
	uint64_t wanted = ends[1].delivered + BURST;

	send_frame(1);
	while (ends[1].delivered < wanted)
		if (take(&ends[1]))
			end_turn(&ends[1]);
}

static void hop_bare_frame(void)
{
	send_bare_frame();
	for (int got = 0; got < BURST;)
		got += receive(&ends[1]);
}

static double hop_round(void (*frame)(void), struct bench_samples *delays)
{
	int64_t began_ns = cpu_ns();

	for (int i = 0; i < HOP_BURSTS; i++) {
		int64_t from_ns = bench_now_ns();

		frame();
		if (i % HOP_ANSWERS == 0)
			take_all(&ends[0]);
		bench_add(delays, (double)(bench_now_ns() - from_ns) / 1000);
	}
	return (double)(cpu_ns() - began_ns) / 1000 / (HOP_BURSTS * BURST);
}

static void measure_hop(void)
{
	struct bench_samples delays = {0}, bare_delays = {0};
	struct bench_pair rounds[HOP_ROUNDS];

	own_clock_us = 0;
	open_link(ends);
	settle();
	for (int i = 0; i < HOP_ROUNDS; i++) {
		rounds[i].limit = hop_round(hop_bare_frame, &bare_delays);
		rounds[i].value = hop_round(hop_frame, &delays);
		settle();
	}
	const struct bench_pair packet = bench_median(rounds, HOP_ROUNDS);

	bench_report("hop_packet", 0, "us", packet.value, packet.limit);
	bench_report("hop_frame_p50", BURST, "us", bench_percentile(&delays, 0.5),
		bench_percentile(&bare_delays, 0.5));
	bench_report("hop_frame_p99", BURST, "us", bench_percentile(&delays, 0.99),
		bench_percentile(&bare_delays, 0.99));
	bench_samples_fini(&delays);
	bench_samples_fini(&bare_delays);
	close_links();
}

/* ---- a relay --------------------------------------------------------------------------------------- */

/* What is spent between two looks at the clocks. */
struct spent {
	int64_t cpu_ns;
	int64_t look_ns; /* what looking costs by itself */
	struct bench_samples *delays;
};

static void spend(struct spent *spent, void (*work)(void), bool has_frame)
{
	int64_t from_ns = bench_now_ns(), began_ns = cpu_ns();

	work();
	spent->cpu_ns += cpu_ns() - began_ns - spent->look_ns;
	if (has_frame)
		bench_add(spent->delays, (double)(bench_now_ns() - from_ns) / 1000);
}

static void do_nothing(void)
{
}

static int64_t cost_of_looking_ns(void)
{
	struct bench_samples samples = {0};
	double cost_ns;

	for (int i = 0; i < 2000; i++) {
		int64_t began_ns = cpu_ns();

		do_nothing();
		bench_add(&samples, (double)(cpu_ns() - began_ns));
	}
	cost_ns = bench_percentile(&samples, 0.5);
	bench_samples_fini(&samples);
	return (int64_t)cost_ns;
}

/* A turn of the node in between. */
static void relay_turn(void)
{
	while (take(&ends[1]) == RECEIVE)
		;
	for (unsigned i = 0; i < next_count; i++)
		if (take(&ends[2 + 2 * i])) /* reports, echoes */
			ends[2 + 2 * i].due_us = now_us();
	end_turn(&ends[1]);
	for (unsigned i = 0; i < next_count; i++)
		end_turn(&ends[2 + 2 * i]);
}

static void relay_bare_turn(void)
{
	struct iovec packets[RECEIVE];
	int count = receive(&ends[1]);

	for (int i = 0; i < count; i++)
		packets[i] = (struct iovec){received[i], messages[i].msg_len};
	for (unsigned i = 0; count && i < next_count; i++)
		send_run(ends[2 + 2 * i].fd, packets, (size_t)count);
}

static void empty_sockets(void)
{
	for (unsigned i = 0; i < end_count(); i++)
		while (receive(&ends[i]))
			;
}

/* Processor time a packet that leaves, microseconds. */
static double relay_round(unsigned streams, struct spent *spent)
{
	spent->cpu_ns = 0;
	for (unsigned burst = 0; burst < RELAY_BURSTS; burst++) {
		int64_t until_us = own_clock_us + FRAME_US / streams;

		send_frame(burst % streams);
		for (bool first = true; own_clock_us < until_us; first = false) {
			spend(spent, relay_turn, first);
			for (unsigned i = 0; i < next_count; i++)
				take_all(&ends[3 + 2 * i]);
			take_all(&ends[0]);
			own_clock_us = until_us - own_clock_us < STEP_US ? until_us
									 : own_clock_us + STEP_US;
		}
	}
	return (double)spent->cpu_ns / 1000 / (RELAY_BURSTS * BURST * next_count);
}

static double relay_bare_round(struct spent *spent)
{
	spent->cpu_ns = 0;
	for (unsigned burst = 0; burst < RELAY_BURSTS; burst++) {
		send_bare_frame();
		spend(spent, relay_bare_turn, true);
		empty_sockets();
	}
	return (double)spent->cpu_ns / 1000 / (RELAY_BURSTS * BURST * next_count);
}

/* `delays`: rows of them, too. */
static void measure_relay(const char *row, long n, unsigned streams, unsigned nexts, bool delays)
{
	struct bench_samples held = {0}, bare_held = {0};
	struct spent spent = {.look_ns = cost_of_looking_ns(), .delays = &held},
		     bare = {.look_ns = spent.look_ns, .delays = &bare_held};
	struct bench_pair rounds[RELAY_ROUNDS];

	own_clock_us = 1000000;
	next_count = nexts;
	for (unsigned i = 0; i < end_count(); i += 2)
		open_link(&ends[i]);
	ends[1].hands_on = true;
	settle();
	for (int i = 0; i < RELAY_ROUNDS; i++) {
		rounds[i].limit = relay_bare_round(&bare);
		rounds[i].value = relay_round(streams, &spent);
	}
	for (unsigned i = 0; i < nexts; i++)
		MUST(ends[3 + 2 * i].delivered == (uint64_t)RELAY_ROUNDS * RELAY_BURSTS * BURST);
	const struct bench_pair packet = bench_median(rounds, RELAY_ROUNDS);

	bench_report(row, n, "us", packet.value, packet.limit);
	if (delays) {
		bench_report("relay_held_p50", n, "us", bench_percentile(&held, 0.5),
			bench_percentile(&bare_held, 0.5));
		bench_report("relay_held_p99", n, "us", bench_percentile(&held, 0.99),
			bench_percentile(&bare_held, 0.99));
	}
	bench_samples_fini(&held);
	bench_samples_fini(&bare_held);
	close_links();
}

int main(void)
{
	static const unsigned streams[] = {1, 10, 50, 200}, nexts[] = {1, 2, 4, 8};

	fill_pool();
	for (int i = 0; i < RECEIVE; i++) {
		parts[i] = (struct iovec){received[i], ROOM};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	measure_hop();
	for (int i = 0; i < 4; i++)
		measure_relay("relay_one", streams[i], streams[i], 1, false);
	for (int i = 0; i < 4; i++)
		measure_relay("relay_eight", streams[i], streams[i], NEXT_MAX, false);
	for (int i = 0; i < 4; i++)
		measure_relay("relay_nexts", nexts[i], 50, nexts[i], true);
	return 0;
}
