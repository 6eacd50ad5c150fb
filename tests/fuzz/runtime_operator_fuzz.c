/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes to the mesh's port as an operator's, or to an operator as a node's: frames, and the
 * certificate in one. What is read of a certificate must be what is written for it again.
 */
#include "runtime/mesh.h"
#include "runtime/operator.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_certificate(const uint8_t *data, size_t size)
{
	static uint8_t secret[MESH_KEY_SIZE], key[MESH_KEY_SIZE];
	struct operator_certificate certificate, again;
	uint8_t bytes[OPERATOR_CERTIFICATE_SIZE];
	enum err err;

	if (!secret[0]) {
		memset(secret, 1, sizeof(secret));
		MUST(mesh_cluster_key_public(secret, key) == ERR_OK);
	}
	err = operator_certificate_read(data, size, &certificate);
	MUST(err == ERR_OK || err == ERR_FORMAT || err == ERR_VERSION);
	if (err)
		return;
	MUST(operator_is_name(certificate.name));
	MUST(operator_certificate_sign(&certificate, secret, bytes) == ERR_OK);
	MUST(!memcmp(bytes, data, OPERATOR_CERTIFICATE_SIZE - MESH_SIGNATURE_SIZE));
	MUST(operator_certificate_verify(bytes, sizeof(bytes), key, 0, &again) == ERR_OK);
	err = operator_certificate_verify(data, size, key, 0, &again);
	MUST((err == ERR_OK) == !memcmp(bytes, data, sizeof(bytes)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct operator_frame frame;

	check_certificate(data, size);
	if (operator_frame_read(data, size, &frame))
		return 0;
	MUST(data[0] == MESH_FRAME_OPERATOR && data[1] == frame.kind);
	MUST(frame.bytes == data + OPERATOR_HEAD_SIZE && frame.size == size - OPERATOR_HEAD_SIZE);
	MUST(frame.size <= OPERATOR_DATA_MAX);
	MUST((frame.kind == OPERATOR_REFUSED) == (frame.err != ERR_OK) && frame.err < ERR_COUNT);
	if (frame.kind == OPERATOR_OPEN)
		check_certificate(frame.bytes, frame.size);
	return 0;
}
