/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_viewer_internal.h"

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
};

void bench_audience_open(
	struct bench_audience *audience, const struct bench_node *node, const char *stream)
{
	*audience = (struct bench_audience){
		.node = node,
		.stream = stream,
		.epoll = epoll_create1(EPOLL_CLOEXEC),
		.viewers = calloc(VIEWERS_MAX, sizeof(*audience->viewers)),
	};
	if (audience->epoll < 0 || !audience->viewers ||
		certificate_create(&audience->certificate, bench_real_ns() / 1000000000) ||
		dtls_context_init(&audience->context, &audience->certificate))
		bench_die("no viewers can be made");
}

/* ---- what a viewer sends ------------------------------------------------------------------- */

void bench_viewer_put(const struct bench_viewer *v, const void *bytes, size_t size)
{
	sendto(v->fd, bytes, size, 0, (const struct sockaddr *)&v->server, sizeof(v->server));
}

void bench_viewer_check(struct bench_viewer *v)
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
	bench_viewer_put(v, bytes, writer_used(&w));
	v->checked_ns = bench_now_ns();
}

void bench_viewer_report(struct bench_viewer *v)
{
	uint8_t bytes[256];
	struct writer w = writer_of(bytes, sizeof(bytes));
	struct rtcp_report_block block = {.ssrc = v->ssrc};
	size_t size;

	rtcp_write_rr(&w, 1, &block, 1);
	size = writer_used(&w);
	MUST(seal_rtcp(&v->seal, v->rtcp_index++, bytes, &size, sizeof(bytes)) == ERR_OK);
	bench_viewer_put(v, bytes, size);
	v->reported_ns = bench_now_ns();
}

/* ---- what comes ---------------------------------------------------------------------------- */

static struct mmsghdr messages[READ_BATCH];
static struct iovec parts[READ_BATCH];
static uint8_t heads[READ_BATCH][HEAD_SIZE];
static _Alignas(struct cmsghdr) uint8_t controls[READ_BATCH][CMSG_SPACE(sizeof(struct timespec))];

static bool is_stamped(const struct bench_audience *a)
{
	return a->stamps || a->gaps;
}

static void take_stamp(struct bench_audience *a, struct bench_viewer *v, const struct timespec *at)
{
	double us = (double)at->tv_sec * 1e6 + (double)at->tv_nsec / 1e3;

	if (a->stamps)
		bench_add(a->stamps, us);
	if (a->gaps && v->came_us > 0 && us - v->came_us > v->gap_us)
		v->gap_us = us - v->came_us;
	v->came_us = us;
}

static void count_packet(
	struct bench_audience *a, struct bench_viewer *v, int i, const struct msghdr *message)
{
	const uint8_t *head = heads[i];

	if (rtp_classify_packet(head, RTP_HEADER_SIZE) != RTP_CLASS_RTP)
		return;
	a->packets++;
	a->bytes += messages[i].msg_len;
	a->heard += !v->heard;
	v->heard = true;
	v->picture |= head[1] >> 7; /* the marker ends a picture; packets do not overtake here */
	if (!v->ssrc)
		rtp_peek_ssrc(head, HEAD_SIZE, &v->ssrc);
	struct cmsghdr *c =
		is_stamped(a) ? CMSG_FIRSTHDR((struct msghdr *)(uintptr_t)message) : NULL;

	if (c && c->cmsg_type == SCM_TIMESTAMPNS) {
		struct timespec at;

		memcpy(&at, CMSG_DATA(c), sizeof(at));
		take_stamp(a, v, &at);
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
				.msg_control = is_stamped(a) ? controls[i] : NULL,
				.msg_controllen = is_stamped(a) ? sizeof(controls[i]) : 0,
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

	for (int i = 0; i < count; i++) {
		struct bench_viewer *v = events[i].data.ptr;

		if (v->phase == VIEWER_UP)
			drain(audience, v);
		else
			bench_join_readable(audience, v);
	}
	for (size_t i = 0; i < audience->count; i++) {
		struct bench_viewer *v = &audience->viewers[i];

		if (v->phase != VIEWER_UP)
			bench_join_timer(audience, v, now_ns);
		else if (now_ns - v->checked_ns > CHECK_MS * INT64_C(1000000))
			bench_viewer_check(v);
		else if (now_ns - v->reported_ns > REPORT_MS * INT64_C(1000000))
			bench_viewer_report(v);
	}
}

static void ask_for_stamps(const struct bench_audience *audience)
{
	const int on = is_stamped(audience);

	for (size_t i = 0; i < audience->count; i++)
		setsockopt(audience->viewers[i].fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
}

void bench_audience_stamp(struct bench_audience *audience, struct bench_samples *stamps)
{
	audience->stamps = stamps;
	ask_for_stamps(audience);
}

void bench_audience_gaps(struct bench_audience *audience, bool on)
{
	audience->gaps = on;
	for (size_t i = 0; i < audience->count; i++)
		audience->viewers[i].came_us = audience->viewers[i].gap_us = 0;
	ask_for_stamps(audience);
}

/* ---- going --------------------------------------------------------------------------------- */

static void forget(struct bench_audience *a, struct bench_viewer *v)
{
	if (v->phase != VIEWER_UP)
		bench_join_forget(v);
	else
		seal_fini(&v->seal);
	a->up -= v->phase == VIEWER_UP;
	a->heard -= v->heard;
	close(v->fd);
}

void bench_audience_leave(struct bench_audience *a)
{
	struct bench_viewer *v = &a->viewers[--a->count];
	char answer[1024], *path = v->session;

	if (!strncmp(path, "http://", 7))
		path = strchr(path + 7, '/');
	if (bench_http(&a->node->http, "DELETE", path, "text/plain", "", answer, sizeof(answer)) !=
		200)
		bench_die("DELETE %s is answered %.40s", path, answer);
	forget(a, v);
}

void bench_audience_close(struct bench_audience *audience)
{
	while (audience->count)
		forget(audience, &audience->viewers[--audience->count]);
	dtls_context_fini(&audience->context);
	certificate_fini(&audience->certificate);
	close(audience->epoll);
	free(audience->viewers);
}
