/* SPDX-License-Identifier: Apache-2.0
 *
 * How a viewer comes to be up, with any number of others at the same time:
 *
 *   asking --201--> checking --answered--> shaking --DTLS done--> up
 *     | '--503--> refused --a while--> asking
 */
#include "actors/webrtc/rtp.h"
#include "tests/bench/bench_viewer_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ANSWER_MAX = 16384,
	RECEIVE_BUFFER = 1 << 20,
	JOIN_MS = 20000,
	REFUSED_MS = 250,
	CHECK_AGAIN_MS = 250,
};

static bool has_passed(int64_t since_ns, int64_t ms, int64_t now_ns)
{
	return now_ns - since_ns > ms * 1000000;
}

static void listen_to(struct bench_audience *a, struct bench_viewer *v, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};

	if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &event))
		bench_die("cannot listen: %s", strerror(errno));
}

/* ---- asking -------------------------------------------------------------------------------- */

static void ask(struct bench_audience *a, struct bench_viewer *v)
{
	char fingerprint[FINGERPRINT_TEXT_MAX], offer[2048], path[128];

	fingerprint_print(&a->certificate.fingerprint, fingerprint);
	snprintf(path, sizeof(path), "/whep/live/%s", a->stream);
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
	v->http = bench_http_ask(&a->node->http, "POST", path, "application/sdp", offer);
	fcntl(v->http, F_SETFL, O_NONBLOCK);
	v->answer = malloc(ANSWER_MAX);
	if (!v->answer)
		bench_die("no memory");
	v->answer_size = 0;
	v->phase = VIEWER_ASKING;
	listen_to(a, v, v->http);
}

static void value_of(const char *text, const char *name, char *value, size_t size)
{
	const char *at = strcasestr(text, name);

	if (!at)
		bench_die("no %s in the answer: %s", name, text);
	at += strlen(name);
	snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void take_answer(struct bench_viewer *v, const char *answer)
{
	struct fingerprint expected;
	unsigned port = 0;
	char text[256];

	value_of(answer, "a=ice-ufrag:", v->ufrag, sizeof(v->ufrag));
	value_of(answer, "a=ice-pwd:", v->password, sizeof(v->password));
	value_of(answer, "\nlocation: ", v->session, sizeof(v->session));
	value_of(answer, "a=fingerprint:", text, sizeof(text));
	if (fingerprint_parse(&expected, text, strlen(text)))
		bench_die("a fingerprint that cannot be read: %s", text);
	v->dtls.expected = expected; /* until the handshake begins */
	value_of(answer, " 127.0.0.1 ", text, sizeof(text));
	if (sscanf(text, "%u typ host", &port) != 1)
		bench_die("no candidate: %s", answer);
	v->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	v->server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* The answer is whole when its connection ends. */
static void read_answer(struct bench_audience *a, struct bench_viewer *v)
{
	ssize_t got = read(v->http, v->answer + v->answer_size, ANSWER_MAX - 1 - v->answer_size);

	if (got > 0)
		v->answer_size += (size_t)got;
	if (got > 0 || (got < 0 && errno == EAGAIN))
		return;
	v->answer[v->answer_size] = 0;
	int status = bench_http_status(v->answer);

	close(v->http);
	v->http = -1;
	if (status == 201)
		take_answer(v, v->answer);
	else if (status != 503)
		bench_die("WHEP is answered %d: %s", status, v->answer);
	free(v->answer);
	v->answer = NULL;
	v->tried_ns = bench_now_ns();
	v->phase = status == 201 ? VIEWER_CHECKING : VIEWER_REFUSED;
	if (v->phase == VIEWER_CHECKING) {
		listen_to(a, v, v->fd);
		bench_viewer_check(v);
	}
}

/* ---- DTLS ---------------------------------------------------------------------------------- */

static void flush_dtls(struct bench_viewer *v)
{
	uint8_t out[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(&v->dtls, out, sizeof(out))))
		bench_viewer_put(v, out, size);
}

/* A client speaks DTLS when it knows that it is heard. */
static void begin_dtls(struct bench_audience *a, struct bench_viewer *v)
{
	struct fingerprint expected = v->dtls.expected;

	if (dtls_init(&v->dtls, &a->context, DTLS_CLIENT, &expected, bench_now_ns() / 1000))
		bench_die("no memory");
	v->phase = VIEWER_SHAKING;
	flush_dtls(v);
}

static void settle_dtls(struct bench_audience *a, struct bench_viewer *v)
{
	flush_dtls(v);
	if (v->dtls.phase == DTLS_HANDSHAKING)
		return;
	if (v->dtls.phase != DTLS_ESTABLISHED || seal_init(&v->seal, &v->dtls.send))
		bench_die("DTLS was not completed");
	bench_viewer_report(v);
	dtls_fini(&v->dtls);
	v->phase = VIEWER_UP;
	a->up++;
}

/* ---- what bench_viewer.c calls --------------------------------------------------------------- */

void bench_join_readable(struct bench_audience *a, struct bench_viewer *v)
{
	uint8_t bytes[2048];
	ssize_t size;

	if (v->phase == VIEWER_ASKING)
		read_answer(a, v);
	while ((v->phase == VIEWER_CHECKING || v->phase == VIEWER_SHAKING) &&
		(size = recv(v->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		enum rtp_class class = rtp_classify_packet(bytes, (size_t)size);

		if (v->phase == VIEWER_CHECKING && class == RTP_CLASS_STUN) {
			begin_dtls(a, v);
		} else if (v->phase == VIEWER_SHAKING && class == RTP_CLASS_DTLS) {
			dtls_input(&v->dtls, bytes, (size_t)size, bench_now_ns() / 1000);
			settle_dtls(a, v);
		}
	}
}

void bench_join_timer(struct bench_audience *a, struct bench_viewer *v, int64_t now_ns)
{
	if (has_passed(v->begun_ns, JOIN_MS, now_ns))
		bench_die("a viewer is not up after %d ms (phase %d)", JOIN_MS, (int)v->phase);
	if (v->phase == VIEWER_REFUSED && has_passed(v->tried_ns, REFUSED_MS, now_ns)) {
		ask(a, v);
	} else if (v->phase == VIEWER_CHECKING &&
		   has_passed(v->checked_ns, CHECK_AGAIN_MS, now_ns)) {
		bench_viewer_check(v);
	} else if (v->phase == VIEWER_SHAKING && dtls_deadline(&v->dtls) <= now_ns / 1000) {
		dtls_on_timer(&v->dtls, now_ns / 1000);
		settle_dtls(a, v);
	}
}

void bench_join_forget(struct bench_viewer *v)
{
	if (v->phase == VIEWER_ASKING)
		close(v->http);
	free(v->answer);
	dtls_fini(&v->dtls);
}

struct bench_viewer *bench_audience_begin(struct bench_audience *a)
{
	struct bench_viewer *v = &a->viewers[a->count];
	const int room = RECEIVE_BUFFER, on = a->stamps != NULL;

	if (a->count == VIEWERS_MAX)
		bench_die("too many viewers");
	*v = (struct bench_viewer){
		.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), .begun_ns = bench_now_ns()};
	setsockopt(v->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(v->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	ask(a, v);
	a->count++;
	return v;
}

struct bench_viewer *bench_audience_join(struct bench_audience *a)
{
	struct bench_viewer *v = bench_audience_begin(a);

	while (v->phase != VIEWER_UP)
		bench_audience_turn(a, 5);
	return v;
}
