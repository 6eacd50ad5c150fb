/* SPDX-License-Identifier: Apache-2.0
 *
 * impair: the network between the hosts of a test. Every host is a network namespace with a TUN
 * device that ends here; each pair of addresses has its own impairment, changed while packets flow.
 *
 *   host NAME NETNS ADDRESS [ADDRESS...]   makes the device `net0` in that namespace ("-": in ours).
 *                                          Addresses (10.90.x.y) and routes are the caller's to set
 *   path FROM TO [KEY=VALUE...]            FROM and TO: an address, a host (all of its) or * (all).
 *   pair A B [KEY=VALUE...]                both directions. Without keys: no impairment any more.
 *                                          A path keeps what is not named; keys: impair_path.h
 *   seed N                                 of what is random
 *   show                                   paths that have carried something, one JSON document
 *
 * Commands come as lines on standard input, each is answered by a line: "ok ...", or "error: ...". The
 * end of the input is the end of the program, and of the devices with it. Needs CAP_NET_ADMIN.
 */
#include "tests/net/impair_path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
	HOSTS_MAX = 160,
	ADDRESSES_MAX = 250, /* a byte numbers them */
	PACKETS_MAX = 1 << 17,
	PACKET_SIZE = 1600, /* the devices' MTU is 1,500 */
	WORDS_MAX = 16,
	LINE_SIZE = 512,
	READS_MAX = 64, /* packets of one device before the others have their turn */
	NETWORK = 10 << 24 | 90 << 16,
};

struct packet {
	int64_t at_us;
	uint64_t order; /* of those that arrive at the same time */
	int device;
	uint16_t size;
	uint8_t bytes[PACKET_SIZE];
};

struct host {
	char name[32];
	int device;
};

static struct {
	struct host hosts[HOSTS_MAX];
	int host_count;
	struct {
		uint32_t address;
		int host;
	} addresses[ADDRESSES_MAX];
	int address_count;
	uint8_t address_of[1 << 16]; /* by the low half; its number + 1, 0 = nobody's */
	struct impair_path paths[ADDRESSES_MAX][ADDRESSES_MAX];
	struct packet *heap[PACKETS_MAX]; /* by at_us, order */
	int heap_count;
	struct packet *unused;
	uint64_t order, random;
	uint64_t overflows; /* more packets under way than there is room for */
	int epoll;
} net;

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- packets under way -------------------------------------------------------------------------- */

static bool is_before(const struct packet *a, const struct packet *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void push(struct packet *packet)
{
	int i = net.heap_count++;

	for (; i && is_before(packet, net.heap[(i - 1) / 2]); i = (i - 1) / 2)
		net.heap[i] = net.heap[(i - 1) / 2];
	net.heap[i] = packet;
}

static struct packet *pop(void)
{
	struct packet *first = net.heap[0], *last = net.heap[--net.heap_count];
	int i = 0;

	for (int child = 1; child < net.heap_count; child = 2 * i + 1) {
		if (child + 1 < net.heap_count && is_before(net.heap[child + 1], net.heap[child]))
			child++;
		if (!is_before(net.heap[child], last))
			break;
		net.heap[i] = net.heap[child];
		i = child;
	}
	net.heap[i] = last;
	return first;
}

/* A freed packet's first bytes are the next one. */
static struct packet *take_packet(void)
{
	struct packet *packet = net.unused;

	if (!packet)
		return malloc(sizeof(*packet));
	memcpy(&net.unused, packet, sizeof(net.unused));
	return packet;
}

static void give_back(struct packet *packet)
{
	memcpy(packet, &net.unused, sizeof(net.unused));
	net.unused = packet;
}

static int number_of(const uint8_t *address)
{
	uint32_t whole;

	memcpy(&whole, address, sizeof(whole));
	whole = ntohl(whole);
	return (whole & 0xffff0000) == NETWORK ? net.address_of[whole & 0xffff] - 1 : -1;
}

/* An IPv4 packet that has left a host; consumed. */
static void carry(struct packet *packet, int64_t now)
{
	int from, to, copies;
	int64_t at_us[IMPAIR_COPIES_MAX];

	if (packet->size < 20 || packet->bytes[0] >> 4 != 4)
		goto gone;
	from = number_of(packet->bytes + 12);
	to = number_of(packet->bytes + 16);
	if (from < 0 || to < 0)
		goto gone;
	copies = impair_path_packet(&net.paths[from][to], packet->size, now, &net.random, at_us);
	packet->device = net.hosts[net.addresses[to].host].device;
	for (int i = 0; i < copies; i++) {
		struct packet *copy = i ? take_packet() : packet;

		if (net.heap_count == PACKETS_MAX || !copy) {
			net.overflows++;
			if (copy)
				give_back(copy);
			continue;
		}
		if (i)
			memcpy(copy, packet, offsetof(struct packet, bytes) + packet->size);
		copy->at_us = at_us[i];
		copy->order = net.order++;
		push(copy);
	}
	if (copies)
		return;
gone:
	give_back(packet);
}

static void read_device(int device)
{
	int64_t now = now_us();

	for (int i = 0; i < READS_MAX; i++) {
		struct packet *packet = take_packet();
		ssize_t size = packet ? read(device, packet->bytes, PACKET_SIZE) : -1;

		if (size <= 0) {
			if (packet)
				give_back(packet);
			return;
		}
		packet->size = (uint16_t)size;
		carry(packet, now);
	}
}

static void deliver(void)
{
	int64_t now = now_us();

	while (net.heap_count && net.heap[0]->at_us <= now) {
		struct packet *packet = pop();

		/* a host that is gone or does not read loses it, as on any wire */
		if (write(packet->device, packet->bytes, packet->size) < 0 && errno == EBADF)
			net.overflows++;
		give_back(packet);
	}
}

/* ---- commands ------------------------------------------------------------------------------------ */

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

/* -1: errno tells. */
static int make_device(const char *netns)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "net0"};
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other = -1, device = -1;
	char path[128];

	snprintf(path, sizeof(path), "/run/netns/%.100s", netns);
	if (strcmp(netns, "-"))
		other = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0 || (strcmp(netns, "-") && (other < 0 || setns(other, CLONE_NEWNET))))
		goto out;
	device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (device >= 0 && ioctl(device, TUNSETIFF, &request)) {
		int reason = errno;

		close(device);
		device = -1;
		errno = reason;
	}
	if (other >= 0 && setns(own, CLONE_NEWNET))
		abort(); /* everything after would happen somewhere else */
out:
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
	return device;
}

static const struct host *find_host(const char *name)
{
	for (int i = 0; i < net.host_count; i++)
		if (!strcmp(net.hosts[i].name, name))
			return &net.hosts[i];
	return NULL;
}

static bool add_address(const char *text, int host)
{
	uint32_t address;

	if (inet_pton(AF_INET, text, &address) != 1 || net.address_count == ADDRESSES_MAX)
		return false;
	address = ntohl(address);
	if ((address & 0xffff0000) != NETWORK || net.address_of[address & 0xffff])
		return false;
	net.addresses[net.address_count].address = address;
	net.addresses[net.address_count].host = host;
	net.address_of[address & 0xffff] = (uint8_t)++net.address_count;
	return true;
}

static void command_host(char **words, int count)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct host *host = &net.hosts[net.host_count];

	if (count < 4 || net.host_count == HOSTS_MAX || strlen(words[1]) >= sizeof(host->name) ||
		find_host(words[1])) {
		say("error: expected host NAME NETNS ADDRESS..., a new name, at most %d",
			HOSTS_MAX);
		return;
	}
	host->device = make_device(words[2]);
	if (host->device < 0) {
		say("error: no device in %s: %s", words[2], strerror(errno));
		return;
	}
	strcpy(host->name, words[1]);
	event.data.fd = host->device;
	epoll_ctl(net.epoll, EPOLL_CTL_ADD, host->device, &event);
	net.host_count++;
	for (int i = 3; i < count; i++) {
		if (!add_address(words[i], net.host_count - 1)) {
			say("error: %s: expected an address of 10.90.0.0/16 that nobody has",
				words[i]);
			return;
		}
	}
	say("ok");
}

/* Whether an address is one of those that `text` names. */
static bool is_named(int number, const char *text)
{
	char address[INET_ADDRSTRLEN];
	uint32_t raw = htonl(net.addresses[number].address);

	if (!strcmp(text, "*") || !strcmp(net.hosts[net.addresses[number].host].name, text))
		return true;
	return !strcmp(inet_ntop(AF_INET, &raw, address, sizeof(address)), text);
}

static const char *change(struct impair_rules *rules, char **words, int count)
{
	if (!count)
		*rules = impair_rules_none();
	for (int i = 0; i < count; i++) {
		char key[LINE_SIZE];
		const char *value = strchr(words[i], '=');
		const char *expected = "KEY=VALUE";

		if (value) {
			snprintf(key, sizeof(key), "%.*s", (int)(value - words[i]), words[i]);
			expected = impair_rules_set(rules, key, value + 1);
		}
		if (expected)
			return expected;
	}
	return NULL;
}

/* Returns how many paths it is about, -1 after an error. */
static int change_paths(const char *from, const char *to, char **words, int count)
{
	int changed = 0;

	for (int a = 0; a < net.address_count; a++) {
		for (int b = 0; b < net.address_count; b++) {
			if (!is_named(a, from) || !is_named(b, to))
				continue;
			const char *expected = change(&net.paths[a][b].rules, words, count);

			if (expected) {
				say("error: expected %s", expected);
				return -1;
			}
			changed++;
		}
	}
	return changed;
}

static void command_path(char **words, int count)
{
	bool both = !strcmp(words[0], "pair");
	int there, back = 0;

	if (count < 3) {
		say("error: expected %s FROM TO [KEY=VALUE...]", words[0]);
		return;
	}
	there = change_paths(words[1], words[2], words + 3, count - 3);
	if (there >= 0 && both)
		back = change_paths(words[2], words[1], words + 3, count - 3);
	if (there == 0)
		say("error: nobody is called %s or %s", words[1], words[2]);
	else if (there > 0 && back >= 0)
		say("ok %d", there + back);
}

static void command_seed(char **words, int count)
{
	char *end = "x";

	if (count == 2)
		net.random = strtoull(words[1], &end, 10);
	if (count != 2 || *end || !net.random) {
		net.random = 1;
		say("error: expected seed N, from 1");
		return;
	}
	say("ok");
}

static void command_show(void)
{
	const char *comma = "";

	printf("ok {\"under_way\":%d,\"overflows\":%llu,\"paths\":[", net.heap_count,
		(unsigned long long)net.overflows);
	for (int a = 0; a < net.address_count; a++) {
		for (int b = 0; b < net.address_count; b++) {
			const struct impair_path *path = &net.paths[a][b];
			char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
			uint32_t raw[2] = {
				htonl(net.addresses[a].address), htonl(net.addresses[b].address)};

			if (!path->packets)
				continue;
			printf("%s{\"from\":\"%s\",\"to\":\"%s\",\"packets\":%llu,\"bytes\":%llu,"
			       "\"lost\":%llu,\"dropped\":%llu}",
				comma, inet_ntop(AF_INET, &raw[0], from, sizeof(from)),
				inet_ntop(AF_INET, &raw[1], to, sizeof(to)),
				(unsigned long long)path->packets, (unsigned long long)path->bytes,
				(unsigned long long)path->lost, (unsigned long long)path->dropped);
			comma = ",";
		}
	}
	say("]}");
}

static void obey(char *line)
{
	char *words[WORDS_MAX], *rest = NULL;
	int count = 0;

	for (char *word = strtok_r(line, " \t\r\n", &rest); word && count < WORDS_MAX;
		word = strtok_r(NULL, " \t\r\n", &rest))
		words[count++] = word;
	if (!count)
		return;
	if (!strcmp(words[0], "host"))
		command_host(words, count);
	else if (!strcmp(words[0], "path") || !strcmp(words[0], "pair"))
		command_path(words, count);
	else if (!strcmp(words[0], "seed"))
		command_seed(words, count);
	else if (!strcmp(words[0], "show"))
		command_show();
	else
		say("error: expected host, path, pair, seed or show");
}

/* False: the input has ended. */
static bool read_commands(void)
{
	static char line[LINE_SIZE];
	static size_t used;
	ssize_t size = read(STDIN_FILENO, line + used, sizeof(line) - 1 - used);
	char *end;

	if (size <= 0)
		return size < 0 && (errno == EAGAIN || errno == EINTR);
	used += (size_t)size;
	line[used] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		obey(line);
		used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, used + 1);
	}
	if (used == sizeof(line) - 1) {
		say("error: a line has at most %d characters", LINE_SIZE - 2);
		used = 0;
	}
	return true;
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static int wait_for_events(struct epoll_event *events, int most)
{
	struct timespec time = {0}, *until = NULL;

	if (net.heap_count) {
		int64_t left_us = net.heap[0]->at_us - now_us();

		if (left_us > 0) {
			time.tv_sec = left_us / 1000000;
			time.tv_nsec = left_us % 1000000 * 1000;
		}
		until = &time;
	}
	return epoll_pwait2(net.epoll, events, most, until, NULL);
}

int main(int argc, char **argv)
{
	struct epoll_event input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
	bool open = true;

	(void)argv;
	if (argc != 1) {
		fprintf(stderr, "usage: impair < COMMANDS; see tests/net/impair.c\n");
		return 2;
	}
	net.random = 1;
	net.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int a = 0; a < ADDRESSES_MAX; a++)
		for (int b = 0; b < ADDRESSES_MAX; b++)
			net.paths[a][b].rules = impair_rules_none();
	if (net.epoll < 0 || epoll_ctl(net.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input)) {
		perror("impair: standard input");
		return 1;
	}
	while (open) {
		struct epoll_event events[HOSTS_MAX + 1];
		int count = wait_for_events(events, HOSTS_MAX + 1);

		deliver();
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == STDIN_FILENO)
				open = read_commands();
			else
				read_device(events[i].data.fd);
		}
	}
	return 0;
}
