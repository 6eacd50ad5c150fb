/* SPDX-License-Identifier: Apache-2.0
 *
 * A DTLS peer made of bytes. First byte: our role (bit 0) and whether the timer runs between the
 * datagrams (bit 1). Then datagrams, each behind its size (16 bits). No sequence of bytes without
 * the peer's key may establish anything, and what we send stays bounded.
 */
#include "actors/webrtc/certificate.h"
#include "actors/webrtc/dtls.h"
#include "schemas/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SENT_MAX = 64 * 1024, STEP_US = 200000 };

static void drain(struct dtls *dtls, size_t *sent)
{
	uint8_t datagram[DTLS_DATAGRAM_MAX];
	size_t size;

	while ((size = dtls_output(dtls, datagram, sizeof(datagram))))
		*sent += size;
}

static void input_exact(struct dtls *dtls, const uint8_t *bytes, size_t size, int64_t now_us)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	enum err err = dtls_input(dtls, copy, size, now_us);
	MUST((err == ERR_OK) == (dtls->phase <= DTLS_ESTABLISHED));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct certificate certificate;
	static struct dtls_context context;
	struct reader r = reader_of(data, size);
	uint8_t mode = read_u8(&r);
	int64_t now_us = 0;
	struct dtls dtls;
	size_t sent = 0;

	if (!context.ssl) {
		MUST(!certificate_create(&certificate, 1800000000));
		MUST(!dtls_context_init(&context, &certificate));
	}
	MUST(!dtls_init(&dtls, &context, mode & 1 ? DTLS_CLIENT : DTLS_SERVER,
		&certificate.fingerprint, now_us));
	drain(&dtls, &sent);
	while (reader_left(&r) > 2) {
		size_t wanted = read_u16(&r);
		size_t given = wanted < reader_left(&r) ? wanted : reader_left(&r);

		input_exact(&dtls, read_bytes(&r, given), given, now_us);
		drain(&dtls, &sent);
		if (mode & 2) {
			now_us += STEP_US;
			dtls_on_timer(&dtls, now_us);
			drain(&dtls, &sent);
		}
		MUST(dtls.phase != DTLS_ESTABLISHED);
	}
	/* a few flights of a kilobyte each, and not one for every byte that comes in */
	MUST(sent <= SENT_MAX + 64 * size);
	dtls_fini(&dtls);
	return 0;
}
