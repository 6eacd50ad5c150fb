/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's certificate from outside: read as it is, and verified against a key that never signed it.
 * What is read must be what is written for those fields again.
 */
#include "runtime/mesh_certificate.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t secret[MESH_KEY_SIZE], key[MESH_KEY_SIZE];
	struct mesh_certificate certificate, again;
	uint8_t bytes[MESH_CERTIFICATE_SIZE];
	enum err err;

	if (!secret[0]) {
		memset(secret, 1, sizeof(secret));
		MUST(mesh_cluster_key_public(secret, key) == ERR_OK);
	}
	err = mesh_certificate_read(data, size, &certificate);
	MUST(err == ERR_OK || err == ERR_FORMAT || err == ERR_VERSION);
	if (err)
		return 0;
	MUST(mesh_certificate_sign(&certificate, secret, bytes) == ERR_OK);
	MUST(!memcmp(bytes, data, MESH_CERTIFICATE_SIZE - 64));
	MUST(mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &again) == ERR_OK);
	err = mesh_certificate_verify(data, size, key, 0, &again);
	MUST(err == ERR_OK || err == ERR_AUTH);
	MUST((err == ERR_OK) == !memcmp(bytes, data, sizeof(bytes)));
	return 0;
}
