/* SPDX-License-Identifier: Apache-2.0
 *
 * A TLS peer made of bytes. First byte: what is spoken inside (bit 0), whether a real client has
 * completed the handshake before (bit 1), TLS 1.2 (bit 2), whether the wire carries one byte at a
 * time (bit 3) and takes nothing (bit 4). Then what the peer sends. Nobody without keys gets a plain
 * byte through, and what is kept for the peer stays bounded.
 */
#include "tests/unit/tls_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tls_context *context;
	uint8_t mode = size ? data[0] : 0, text[256];
	struct iovec part = {text, sizeof(text)};
	struct rig rig;
	long got;

	if (!context)
		context = rig_context(false);
	context->users++;
	rig_open(&rig, context, mode & 1 ? TLS_RTMP : TLS_HTTP,
		mode & 4 ? TLS1_2_VERSION : TLS1_3_VERSION);
	if (mode & 2)
		MUST(rig_handshake(&rig));
	rig.at_once = mode & 8 ? 1 : SIZE_MAX;
	rig.room = mode & 16 ? 0 : SIZE_MAX;
	if (size > 1)
		MUST(BIO_write(rig.to_server, data + 1, (int)(size - 1)) == (int)(size - 1));
	for (int i = 0; i < 4; i++) {
		got = tls_read(&rig.tls, &rig.wire, text, sizeof(text));
		MUST(got <= 0);
		MUST(!tls_has_plain(&rig.tls));
		memset(text, 'x', sizeof(text));
		got = tls_write(&rig.tls, &rig.wire, &part, 1);
		MUST(got == (long)sizeof(text) || got < 0);
		MUST(rig.tls.pending_end <= TLS_PENDING_MAX);
	}
	MUST(rig.tls.phase == TLS_BROKEN || got != -2);
	tls_goodbye(&rig.tls, &rig.wire);
	tls_flush(&rig.tls, &rig.wire);
	rig_close(&rig);
	return 0;
}
