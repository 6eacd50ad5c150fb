/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_whep.h"

#include "actors/webrtc/rtp.h"
#include "tests/bench/bench_bare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PACKET_SIZE = 1200, REQUEST_MAX = 8192 };

struct server {
	int listener, udp;
	SSL_CTX *context;
	SSL *ssl; /* of the viewer that is coming; NULL when its picture was sent */
	char answer[2048];
	struct bare_sender sender;
	unsigned packets; /* of a picture */
};

static void open_server(struct server *s, const struct certificate *certificate, size_t picture)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);
	char fingerprint[FINGERPRINT_TEXT_MAX], sdp[1024];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->udp < 0 || bind(s->udp, (struct sockaddr *)&at, size) ||
		getsockname(s->udp, (struct sockaddr *)&at, &size))
		bench_die("%s", strerror(errno));
	fingerprint_print(&certificate->fingerprint, fingerprint);
	snprintf(sdp, sizeof(sdp),
		"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
		"a=ice-lite\r\na=ice-ufrag:bare\r\na=ice-pwd:barebarebarebarebarebare\r\n"
		"a=fingerprint:%s\r\na=setup:passive\r\n"
		"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\n"
		"a=rtcp-mux\r\na=sendonly\r\na=rtpmap:96 H264/90000\r\n"
		"a=candidate:1 1 udp 1 127.0.0.1 %u typ host\r\n",
		fingerprint, ntohs(at.sin_port));
	snprintf(s->answer, sizeof(s->answer),
		"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\n"
		"Location: /whep/session/bare\r\nConnection: close\r\nContent-Length: "
		"%zu\r\n\r\n%s",
		strlen(sdp), sdp);
	s->context = bare_context(certificate);
	s->sender = (struct bare_sender){.fd = s->udp, .size = PACKET_SIZE};
	s->packets = (unsigned)((picture + PACKET_SIZE - 1) / PACKET_SIZE);
}

/* ---- HTTP ---------------------------------------------------------------------------------- */

static void expect_viewer(struct server *s)
{
	BIO *bio = BIO_new_dgram(s->udp, BIO_NOCLOSE);

	SSL_free(s->ssl);
	s->ssl = SSL_new(s->context);
	MUST(s->ssl && bio);
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_mtu(s->ssl, DTLS_MTU);
	SSL_set_accept_state(s->ssl);
}

/* The bench writes a request at once; it is here whole. */
static void answer_http(struct server *s)
{
	static const char done[] =
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	char request[REQUEST_MAX];
	int fd = accept(s->listener, NULL, NULL);
	ssize_t got = read(fd, request, sizeof(request));
	bool comes = got > 5 && !memcmp(request, "POST ", 5);
	const char *answer = comes ? s->answer : done;

	if (comes)
		expect_viewer(s);
	if (write(fd, answer, strlen(answer)) < 0)
		bench_die("the limit cannot answer");
	close(fd);
}

/* ---- UDP ----------------------------------------------------------------------------------- */

static void send_picture(struct server *s, const struct sockaddr_in *to)
{
	uint8_t bytes[28];
	struct bare_key key;

	MUST(SSL_export_keying_material(
		     s->ssl, bytes, sizeof(bytes), "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0) == 1);
	bare_key_init(&key, bytes, false);
	for (unsigned left = s->packets; left; left -= s->sender.packets) {
		s->sender.packets = left < BARE_PACKETS_MAX ? left : BARE_PACKETS_MAX;
		bare_send(&s->sender, &key, to, left == s->sender.packets);
	}
	bare_key_fini(&key);
	SSL_free(s->ssl);
	s->ssl = NULL;
}

static void take_datagram(struct server *s)
{
	uint8_t bytes[2048];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	ssize_t size =
		recvfrom(s->udp, bytes, sizeof(bytes), MSG_PEEK, (struct sockaddr *)&from, &length);
	enum rtp_class class = size > 0 ? rtp_classify_packet(bytes, (size_t)size) : RTP_CLASS_RTP;

	if (class == RTP_CLASS_DTLS && s->ssl) {
		SSL_do_handshake(s->ssl);
		ERR_clear_error();
		if (SSL_is_init_finished(s->ssl))
			send_picture(s, &from);
		return;
	}
	recv(s->udp, bytes, sizeof(bytes), 0);
	if (class == RTP_CLASS_STUN)
		sendto(s->udp, bytes, (size_t)size, 0, (struct sockaddr *)&from, length);
}

static void serve(struct server *s)
{
	struct pollfd fds[2] = {
		{.fd = s->listener, .events = POLLIN},
		       {.fd = s->udp,      .events = POLLIN}
	       };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			bench_die("%s", strerror(errno));
		if (fds[0].revents & POLLIN)
			answer_http(s);
		if (fds[1].revents & POLLIN)
			take_datagram(s);
	}
}

void bench_whep_start(struct bench_whep *whep, size_t picture_size)
{
	int listener;

	*whep = (struct bench_whep){0};
	listener = bench_listen(&whep->node.http);
	whep->pid = fork();
	if (whep->pid == 0) {
		static struct server server;
		struct certificate certificate;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (certificate_create(&certificate, bench_real_ns() / 1000000000))
			bench_die("no certificate");
		server.listener = listener;
		open_server(&server, &certificate, picture_size);
		serve(&server);
	}
	close(listener);
}

void bench_whep_stop(struct bench_whep *whep)
{
	kill(whep->pid, SIGKILL);
	waitpid(whep->pid, NULL, 0);
}
