/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_bare.h"

#include "tests/bench/bench_node.h"

#include <errno.h>
#include <netinet/udp.h>
#include <srtp2/srtp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { CLEAR = 28, TAG = 16, KEY = 16, SALT = 12, TURNS_MAX = 20 };

/* ---- packets ------------------------------------------------------------------------------- */

void bare_key_init(struct bare_key *key, const uint8_t *bytes, bool by_ipsec_mb)
{
	key->gcm = by_ipsec_mb ? gcm_key_create() : NULL;
	key->cipher = EVP_CIPHER_CTX_new();
	MUST(key->cipher &&
		EVP_EncryptInit_ex2(key->cipher, EVP_aes_128_gcm(), bytes, NULL, NULL) == 1);
	if (key->gcm)
		gcm_key_set(key->gcm, bytes, KEY);
}

void bare_key_fini(struct bare_key *key)
{
	gcm_key_destroy(&key->gcm);
	EVP_CIPHER_CTX_free(key->cipher);
	key->cipher = NULL;
}

static void seal_one(struct bare_sender *s, const struct bare_key *key, unsigned i, bool marker)
{
	uint8_t iv[SALT] = {0}, *out = s->out[i];
	int written, body = (int)s->size - CLEAR - TAG;

	memcpy(iv, &s->index, sizeof(s->index));
	out[0] = 0x90;
	out[1] = (uint8_t)(96 | marker << 7);
	out[2] = (uint8_t)(s->index >> 8);
	out[3] = (uint8_t)s->index;
	s->index++;
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

void bare_send(struct bare_sender *s, const struct bare_key *key, const struct sockaddr_in *to,
	bool ends_picture)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
	uint16_t segment = (uint16_t)s->size;
	struct iovec parts[BARE_PACKETS_MAX];
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
	for (unsigned i = 0; i < s->packets; i++) {
		seal_one(s, key, i, ends_picture && i + 1 == s->packets);
		parts[i] = (struct iovec){s->out[i], s->size};
	}
	if (sendmsg(s->fd, &message, 0) < 0)
		bench_die("the limit cannot send: %s", strerror(errno));
}

/* ---- handshakes: OpenSSL as it comes --------------------------------------------------------- */

static int accept_any(X509_STORE_CTX *store, void *unused)
{
	(void)store;
	(void)unused;
	return 1;
}

SSL_CTX *bare_context(const struct certificate *certificate)
{
	SSL_CTX *context = SSL_CTX_new(DTLS_method());

	if (!context || SSL_CTX_use_certificate(context, certificate->x509) != 1 ||
		SSL_CTX_use_PrivateKey(context, certificate->key) != 1 ||
		SSL_CTX_set_tlsext_use_srtp(context, "SRTP_AEAD_AES_128_GCM") != 0)
		bench_die("no context for DTLS");
	SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
	return context;
}

SSL *bare_end(SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	MUST(ssl && in && out);
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(ssl, in, out);
	SSL_set_mtu(ssl, DTLS_MTU);
	return ssl;
}

void bare_carry(SSL *from, SSL *to)
{
	uint8_t bytes[16384];
	int size;

	while ((size = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes))) > 0)
		MUST(BIO_write(SSL_get_rbio(to), bytes, size) == size);
}

SSL *bare_handshake(SSL_CTX *context, int64_t *cpu_ns)
{
	SSL *client = bare_end(context), *server;
	int64_t since_ns = bench_own_cpu_ns();

	server = bare_end(context);
	*cpu_ns += bench_own_cpu_ns() - since_ns;
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int turn = 0; turn < TURNS_MAX && !SSL_is_init_finished(client); turn++) {
		SSL_do_handshake(client);
		bare_carry(client, server);
		since_ns = bench_own_cpu_ns();
		SSL_do_handshake(server);
		*cpu_ns += bench_own_cpu_ns() - since_ns;
		bare_carry(server, client);
	}
	MUST(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	SSL_free(client);
	ERR_clear_error();
	return server;
}

/* ---- memory -------------------------------------------------------------------------------- */

static void open_srtp(SSL *ssl, srtp_ssrc_type_t which)
{
	uint8_t key[KEY + SALT];
	srtp_policy_t policy = {.ssrc = {.type = which}, .key = key, .window_size = 1024};
	srtp_t session;

	MUST(SSL_export_keying_material(
		     ssl, key, sizeof(key), "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0) == 1);
	srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
	srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
	MUST(srtp_create(&session, &policy) == srtp_err_status_ok);
	/* libsrtp2 makes a stream at its first packet */
	uint8_t packet[BARE_PACKET_MAX] = {0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
	int size = 200;

	if (which == ssrc_any_outbound)
		MUST(srtp_protect(session, packet, &size) == srtp_err_status_ok);
}

static void hold_viewers(const struct certificate *certificate, long count, int result)
{
	SSL_CTX *context = bare_context(certificate);
	int64_t unused_ns = 0;
	long kb;

	MUST(srtp_init() == srtp_err_status_ok);
	open_srtp(bare_handshake(context, &unused_ns), ssrc_any_outbound); /* what is made once */
	kb = bench_rss_kb(getpid());
	for (long i = 0; i < count; i++) {
		SSL *ssl = bare_handshake(context, &unused_ns);

		open_srtp(ssl, ssrc_any_outbound);
		open_srtp(ssl, ssrc_any_inbound);
	}
	kb = bench_rss_kb(getpid()) - kb;
	MUST(write(result, &kb, sizeof(kb)) == sizeof(kb));
	_exit(0);
}

double bare_memory_mb(const struct certificate *certificate, long count)
{
	int pipes[2];
	long kb;
	pid_t pid;

	MUST(pipe(pipes) == 0);
	pid = fork();
	if (pid == 0)
		hold_viewers(certificate, count, pipes[1]);
	close(pipes[1]);
	if (read(pipes[0], &kb, sizeof(kb)) != sizeof(kb))
		bench_die("the limit of memory has ended");
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	return (double)kb / 1024 / (double)count;
}
