/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_limit.h"

#include "actors/webrtc/openssl.h"
#include "runtime/gcm.h"
#include "tests/bench/bench_source.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { PACKETS_MAX = 16, PACKET_MAX = 1500, CLEAR = 28, TAG = 16 };

struct sender {
	int fd;
	unsigned packets;
	size_t size;
	uint64_t index;
	uint8_t payload[PACKETS_MAX][PACKET_MAX];
	uint8_t out[PACKETS_MAX][PACKET_MAX];
};

/* Of a viewer: one of the two. */
struct bare_key {
	EVP_CIPHER_CTX *cipher;
	struct gcm_key *gcm;
};

static void seal_bare(const struct bare_key *key, struct sender *s, unsigned i)
{
	uint8_t iv[12] = {0}, *out = s->out[i];
	int written, body = (int)s->size - CLEAR - TAG;

	memcpy(iv, &s->index, sizeof(s->index));
	out[0] = 0x90;
	out[1] = 96;
	out[2] = (uint8_t)(s->index >> 8);
	out[3] = (uint8_t)s->index;
	if (key->gcm) {
		const struct gcm_piece piece = {s->payload[i], out + CLEAR, (size_t)body};

		gcm_seal(key->gcm, iv, out, CLEAR, &piece, 1, out + s->size - TAG);
		return;
	}
	EVP_CIPHER_CTX *cipher = key->cipher;

	EVP_EncryptInit_ex2(cipher, NULL, NULL, iv, NULL);
	EVP_EncryptUpdate(cipher, NULL, &written, out, CLEAR);
	EVP_EncryptUpdate(cipher, out + CLEAR, &written, s->payload[i], body);
	EVP_EncryptFinal_ex(cipher, out + s->size - TAG, &written);
	EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG, out + s->size - TAG);
}

static void send_to(struct sender *s, const struct sockaddr_in *to)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
	uint16_t segment = (uint16_t)s->size;
	struct iovec parts[PACKETS_MAX];
	struct msghdr message = {
		.msg_name = (void *)(uintptr_t)to,
		.msg_namelen = sizeof(*to),
		.msg_iov = parts,
		.msg_iovlen = s->packets,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = IPPROTO_UDP;
	header->cmsg_type = UDP_SEGMENT;
	header->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(header), &segment, sizeof(segment));
	for (unsigned i = 0; i < s->packets; i++)
		parts[i] = (struct iovec){s->out[i], s->size};
	if (sendmsg(s->fd, &message, 0) < 0)
		bench_die("the limit cannot send: %s", strerror(errno));
}

static void run(const struct bench_audience *audience, unsigned frames, unsigned packets,
	size_t size, bool by_ipsec_mb, int result)
{
	struct sender *s = calloc(1, sizeof(*s));
	struct bare_key *keys = calloc(audience->count, sizeof(*keys));
	struct sockaddr_in *to = calloc(audience->count, sizeof(*to));
	int64_t cpu_ns, next_ns;

	if (!s || !keys || !to)
		bench_die("no memory");
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	s->packets = packets;
	s->size = size;
	for (size_t i = 0; i < audience->count; i++) {
		uint8_t key[16] = {(uint8_t)i, (uint8_t)(i >> 8)};
		socklen_t length = sizeof(to[i]);

		getsockname(audience->viewers[i].fd, (struct sockaddr *)&to[i], &length);
		to[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		keys[i].gcm = by_ipsec_mb ? gcm_key_create() : NULL;
		keys[i].cipher = EVP_CIPHER_CTX_new();
		EVP_EncryptInit_ex2(keys[i].cipher, EVP_aes_128_gcm(), key, NULL, NULL);
		if (keys[i].gcm)
			gcm_key_set(keys[i].gcm, key, sizeof(key));
	}
	cpu_ns = bench_own_cpu_ns();
	next_ns = bench_now_ns();
	for (unsigned frame = 0; frame < frames; frame++) {
		for (size_t i = 0; i < audience->count; i++) {
			for (unsigned j = 0; j < packets; j++, s->index++)
				seal_bare(&keys[i], s, j);
			send_to(s, &to[i]);
		}
		bench_sleep_until_ns(next_ns += SOURCE_FRAME_MS * INT64_C(1000000));
	}
	cpu_ns = bench_own_cpu_ns() - cpu_ns;
	if (write(result, &cpu_ns, sizeof(cpu_ns)) != sizeof(cpu_ns))
		bench_die("nobody listens");
	_exit(0);
}

void bench_limit_start(struct bench_limit *limit, const struct bench_audience *audience,
	unsigned frames, unsigned packets, size_t size, bool by_ipsec_mb)
{
	int pipes[2];

	if (packets > PACKETS_MAX || size > PACKET_MAX || size < CLEAR + TAG + 1)
		bench_die("a limit of %u packets of %zu bytes", packets, size);
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		bench_die("%s", strerror(errno));
	limit->pid = fork();
	if (limit->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(audience, frames, packets, size, by_ipsec_mb, pipes[1]);
	}
	close(pipes[1]);
	limit->result = pipes[0];
}

bool bench_limit_is_done(struct bench_limit *limit, int64_t *cpu_ns)
{
	ssize_t got = read(limit->result, cpu_ns, sizeof(*cpu_ns));

	if (got < 0 && errno == EAGAIN)
		return false;
	if (got != sizeof(*cpu_ns))
		bench_die("the limit has ended");
	close(limit->result);
	waitpid(limit->pid, NULL, 0);
	return true;
}
