/* SPDX-License-Identifier: Apache-2.0
 *
 * What a WHIP or WHEP server of a stranger may answer, and datagrams from it. The first byte says
 * whether we publish; then the answer up to a byte 0xff, then datagrams behind two bytes of size,
 * 100 ms apart.
 */
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/rtc_client.h"

#include <stdlib.h>

enum { STEP_US = 100000, DATAGRAMS_MAX = 64, DATAGRAM_MAX = 2048 };

static void on_send(
	void *context, const struct net_addr *to, const struct iovec *packets, size_t count)
{
	(void)context;
	MUST(to->family);
	for (size_t i = 0; i < count; i++)
		MUST(packets[i].iov_len > 0 && packets[i].iov_len <= 1500);
}

static void on_media(void *context, const struct rtc_client_media *media, int64_t now_us)
{
	(void)context, (void)now_us;
	MUST(media->packet);
}

static void on_random(void *context, void *bytes, size_t size)
{
	(void)context;
	memset(bytes, 0x5a, size);
}

static const struct rtc_client_ops ops = {on_send, on_media, on_random};

static void begin(struct rtc_client *client, bool publish)
{
	static const uint8_t record[] = {0x01, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0x00, 0x09, 0x67, 0x42,
		0xe0, 0x1f, 0x95, 0xa0, 0x28, 0x0c, 0x64, 0x01, 0x00, 0x04, 0x68, 0xce, 0x3c, 0x80};
	static struct certificate certificate;
	static struct dtls_context dtls;
	struct rtc_client_options options = {.ops = &ops,
		.dtls = &dtls,
		.fingerprint = &certificate.fingerprint,
		.publish = publish,
		.now_us = 1000000,
		.unix_us = 1700000000000000,
		.video_config = record,
		.video_config_size = sizeof(record)};

	if (!dtls.ssl) {
		MUST(!openssl_ciphers_install());
		MUST(!certificate_create(&certificate, 1700000000));
		MUST(!dtls_context_init(&dtls, &certificate));
	}
	MUST(!rtc_client_init(client, &options));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct net_addr from = {
		.family = 4, .port = 8000, .ip = {127, 0, 0, 1}
	       };
	static struct rtc_client client;
	struct reader in = reader_of(bytes, size);
	bool publish = read_be(&in, 1) & 1;
	const uint8_t *end = reader_left(&in) ? memchr(in.at, 0xff, reader_left(&in)) : NULL;
	size_t text = end ? (size_t)(end - in.at) : reader_left(&in);
	const char *answer = (const char *)read_bytes(&in, text);
	int64_t now_us = 1000000;
	char why[SDP_WHY_MAX];

	begin(&client, publish);
	read_be(&in, 1);
	if (answer && !rtc_client_answer(&client, answer, text, now_us, why)) {
		MUST(client.answer.plan.media_count <= RTC_CLIENT_TRACKS);
		for (int i = 0; i < DATAGRAMS_MAX && reader_left(&in) > 2; i++) {
			uint8_t datagram[DATAGRAM_MAX];
			size_t length = read_be(&in, 2) % DATAGRAM_MAX;

			if (length > reader_left(&in))
				length = reader_left(&in);
			memcpy(datagram, read_bytes(&in, length), length);
			rtc_client_input(&client, &from, datagram, length, now_us);
			rtc_client_run(&client, now_us);
			MUST(client.phase != RTC_CLIENT_UP); /* nobody has our keys */
			now_us += STEP_US;
		}
	}
	rtc_client_fini(&client);
	return 0;
}
