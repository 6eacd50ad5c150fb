/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_viewer.h"

#include "actors/webrtc/rtcp.h"
#include "actors/webrtc/rtp.h"
#include "actors/webrtc/stun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	READ_BATCH = 64,
	HEAD_SIZE = 64, /* bytes of a packet that are looked at */
	CHECK_MS = 4500,
	REPORT_MS = 1000,
	JOIN_MS = 5000,
	TRIES_MAX = 40,
	RETRY_MS = 250,
	RECEIVE_BUFFER = 1 << 20,
};

void bench_audience_open(struct bench_audience *audience)
{
	*audience = (struct bench_audience){
		.epoll = epoll_create1(EPOLL_CLOEXEC),
		.viewers = calloc(VIEWERS_MAX, sizeof(*audience->viewers)),
	};
	if (audience->epoll < 0 || !audience->viewers ||
		certificate_create(&audience->certificate, bench_real_ns() / 1000000000) ||
		dtls_context_init(&audience->context, &audience->certificate))
		bench_die("no viewers can be made");
}

/* ---- what a viewer sends ------------------------------------------------------------------- */

static void put(const struct bench_viewer *v, const void *bytes, size_t size)
{
	sendto(v->fd, bytes, size, 0, (const struct sockaddr *)&v->server, sizeof(v->server));
}

static void check(struct bench_viewer *v)
{
	static uint8_t transaction[STUN_TRANSACTION_SIZE];
	char user[160];
	uint8_t bytes[256];
	struct writer w = writer_of(bytes, sizeof(bytes));

	snprintf(user, sizeof(user), "%s:clnt", v->ufrag);
	transaction[0]++;
	stun_begin(&w, STUN_REQUEST, transaction);
	stun_add_username(&w, user, strlen(user));
	stun_add_priority(&w, 1);
	stun_add_use_candidate(&w);
	stun_add_role(&w, true, 99);
	MUST(stun_finish(&w, v->password) == ERR_OK);
	put(v, bytes, writer_used(&w));
	v->checked_ns = bench_now_ns();
}

static void report(struct bench_viewer *v)
{
	uint8_t bytes[256];
	struct writer w = writer_of(bytes, sizeof(bytes));
	struct rtcp_report_block block = {.ssrc = v->ssrc};
	size_t size;

	rtcp_write_rr(&w, 1, &block, 1);
	size = writer_used(&w);
	MUST(seal_rtcp(&v->seal, v->rtcp_index++, bytes, &size, sizeof(bytes)) == ERR_OK);
	put(v, bytes, size);
	v->reported_ns = bench_now_ns();
}

static void flush_dtls(struct bench_viewer *v)
{
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(&v->dtls, out, sizeof(out))))
		put(v, out, size);
}

/* ---- what comes ---------------------------------------------------------------------------- */

static struct mmsghdr messages[READ_BATCH];
static struct iovec parts[READ_BATCH];
static uint8_t heads[READ_BATCH][HEAD_SIZE];
static _Alignas(struct cmsghdr) uint8_t controls[READ_BATCH][CMSG_SPACE(sizeof(struct timespec))];

static void count_packet(
	struct bench_audience *a, struct bench_viewer *v, int i, const struct msghdr *message)
{
	const uint8_t *head = heads[i];

	if (rtp_classify_packet(head, RTP_HEADER_SIZE) != RTP_CLASS_RTP)
		return;
	a->packets++;
	a->bytes += messages[i].msg_len;
	v->picture |= head[1] >> 7; /* the marker ends a picture; packets do not overtake here */
	if (!v->ssrc)
		rtp_peek_ssrc(head, HEAD_SIZE, &v->ssrc);
	struct cmsghdr *c = a->stamps ? CMSG_FIRSTHDR((struct msghdr *)(uintptr_t)message) : NULL;

	if (c && c->cmsg_type == SCM_TIMESTAMPNS) {
		struct timespec at;

		memcpy(&at, CMSG_DATA(c), sizeof(at));
		bench_add(a->stamps, (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3);
	}
}

static void drain(struct bench_audience *a, struct bench_viewer *v)
{
	int count;

	do {
		for (int i = 0; i < READ_BATCH; i++) {
			parts[i] = (struct iovec){heads[i], HEAD_SIZE};
			messages[i].msg_hdr = (struct msghdr){
				.msg_iov = &parts[i],
				.msg_iovlen = 1,
				.msg_control = a->stamps ? controls[i] : NULL,
				.msg_controllen = a->stamps ? sizeof(controls[i]) : 0,
			};
		}
		count = recvmmsg(v->fd, messages, READ_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
		for (int i = 0; i < count; i++)
			count_packet(a, v, i, &messages[i].msg_hdr);
	} while (count == READ_BATCH);
}

void bench_audience_turn(struct bench_audience *audience, int wait_ms)
{
	struct epoll_event events[VIEWERS_MAX];
	int count = epoll_wait(audience->epoll, events, VIEWERS_MAX, wait_ms);
	int64_t now_ns = bench_now_ns();

	for (int i = 0; i < count; i++)
		drain(audience, events[i].data.ptr);
	for (size_t i = 0; i < audience->count; i++) {
		struct bench_viewer *v = &audience->viewers[i];

		if (now_ns - v->checked_ns > CHECK_MS * INT64_C(1000000))
			check(v);
		if (now_ns - v->reported_ns > REPORT_MS * INT64_C(1000000))
			report(v);
	}
}

void bench_audience_stamp(struct bench_audience *audience, struct bench_samples *stamps)
{
	const int on = stamps != NULL;

	audience->stamps = stamps;
	for (size_t i = 0; i < audience->count; i++)
		setsockopt(audience->viewers[i].fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

/* ---- joining ------------------------------------------------------------------------------- */

static void value_of(const char *text, const char *name, char *value, size_t size)
{
	const char *at = strcasestr(text, name);

	if (!at)
		bench_die("no %s in the answer: %s", name, text);
	at += strlen(name);
	snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void post(struct bench_audience *a, struct bench_viewer *v, const struct bench_node *node,
	const char *name, struct fingerprint *expected)
{
	static char answer[65536];
	char fingerprint[FINGERPRINT_TEXT_MAX], offer[2048], path[128], text[256];
	unsigned port = 0;

	fingerprint_print(&a->certificate.fingerprint, fingerprint);
	snprintf(path, sizeof(path), "/whep/live/%s", name);
	snprintf(offer, sizeof(offer),
		"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
		"a=ice-ufrag:clnt\r\na=ice-pwd:clientclientclientclient\r\na=fingerprint:%s\r\n"
		"a=setup:actpass\r\n"
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
		"a=rtcp-mux\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\n"
		"a=fmtp:96 "
		"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n"
		"a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\n"
		"a=fmtp:97 apt=96\r\n"
		"a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
		"a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n",
		fingerprint);
	int status, tries = 0;

	/* a worker that is busy with those who came before says so */
	while ((status = bench_http(&node->http, "POST", path, "application/sdp", offer, answer,
			sizeof(answer))) == 503 &&
		tries++ < TRIES_MAX)
		bench_sleep_until_ns(bench_now_ns() + INT64_C(1000000) * RETRY_MS);
	if (status != 201)
		bench_die("WHEP is answered %d: %s", status, answer);
	value_of(answer, "a=ice-ufrag:", v->ufrag, sizeof(v->ufrag));
	value_of(answer, "a=ice-pwd:", v->password, sizeof(v->password));
	value_of(answer, "\nlocation: ", v->session, sizeof(v->session));
	value_of(answer, "a=fingerprint:", text, sizeof(text));
	if (fingerprint_parse(expected, text, strlen(text)))
		bench_die("a fingerprint that cannot be read: %s", text);
	value_of(answer, " 127.0.0.1 ", text, sizeof(text));
	if (sscanf(text, "%u typ host", &port) != 1)
		bench_die("no candidate: %s", answer);
	v->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	v->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* A client speaks DTLS when it knows that it is heard. */
static void await_answer(struct bench_viewer *v)
{
	uint8_t bytes[2048];
	int64_t until_ns = bench_now_ns() + INT64_C(1000000) * JOIN_MS;
	ssize_t size;

	do {
		struct pollfd item = {.fd = v->fd, .events = POLLIN};

		if (bench_now_ns() > until_ns)
			bench_die("a connectivity check is not answered");
		poll(&item, 1, 50);
		size = recv(v->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	} while (size <= 0 || rtp_classify_packet(bytes, (size_t)size) != RTP_CLASS_STUN);
}

static void handshake(struct bench_viewer *v)
{
	uint8_t bytes[2048];
	int64_t until_ns = bench_now_ns() + INT64_C(1000000) * JOIN_MS;

	flush_dtls(v);
	while (v->dtls.phase == DTLS_HANDSHAKING && bench_now_ns() < until_ns) {
		struct pollfd item = {.fd = v->fd, .events = POLLIN};

		poll(&item, 1, 50);
		ssize_t size = recv(v->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (size > 0 && rtp_classify_packet(bytes, (size_t)size) == RTP_CLASS_DTLS)
			dtls_input(&v->dtls, bytes, (size_t)size, bench_now_ns() / 1000);
		else if (size < 0)
			dtls_on_timer(&v->dtls, bench_now_ns() / 1000);
		flush_dtls(v);
	}
	if (v->dtls.phase != DTLS_ESTABLISHED || seal_init(&v->seal, &v->dtls.send))
		bench_die("DTLS was not completed");
}

struct bench_viewer *bench_audience_join(
	struct bench_audience *audience, const struct bench_node *node, const char *name)
{
	struct bench_viewer *v = &audience->viewers[audience->count];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
	struct fingerprint expected;
	const int room = RECEIVE_BUFFER, on = audience->stamps != NULL;

	if (audience->count == VIEWERS_MAX)
		bench_die("too many viewers");
	*v = (struct bench_viewer){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	setsockopt(v->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(v->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	post(audience, v, node, name, &expected);
	check(v);
	await_answer(v);
	if (dtls_init(&v->dtls, &audience->context, DTLS_CLIENT, &expected, bench_now_ns() / 1000))
		bench_die("no memory");
	handshake(v);
	report(v);
	dtls_fini(&v->dtls);
	v->up = true;
	audience->count++;
	epoll_ctl(audience->epoll, EPOLL_CTL_ADD, v->fd, &event);
	return v;
}

static void forget(struct bench_viewer *v)
{
	seal_fini(&v->seal);
	close(v->fd);
}

void bench_audience_leave(struct bench_audience *audience, const struct bench_node *node)
{
	struct bench_viewer *v = &audience->viewers[--audience->count];
	char answer[1024], *path = v->session;

	if (!strncmp(path, "http://", 7))
		path = strchr(path + 7, '/');
	if (bench_http(&node->http, "DELETE", path, "text/plain", "", answer, sizeof(answer)) !=
		200)
		bench_die("DELETE %s is answered %.40s", path, answer);
	forget(v);
}

void bench_audience_close(struct bench_audience *audience)
{
	while (audience->count)
		forget(&audience->viewers[--audience->count]);
	dtls_context_fini(&audience->context);
	certificate_fini(&audience->certificate);
	close(audience->epoll);
	free(audience->viewers);
}
