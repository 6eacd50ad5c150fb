/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/operator.h"

#include "runtime/mesh.h"
#include "schemas/bytes.h"

#include <string.h>

enum {
	VERSION = 1,
	NAME_AT = 1,
	NAME_BYTES = OPERATOR_NAME_SIZE - 1,
	KEY_AT = 32,
	TIMES_AT = 64,
	SIGNED_SIZE = 80,
};

_Static_assert(SIGNED_SIZE + MESH_SIGNATURE_SIZE == OPERATOR_CERTIFICATE_SIZE, "the layout above");

static const char purpose[] = "millrace operator certificate";

/* ---- certificates ---------------------------------------------------------------------------- */

bool operator_is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t length = strlen(name);

	return length && length < OPERATOR_NAME_SIZE && strspn(name, letters) == length;
}

enum err operator_certificate_sign(const struct operator_certificate *certificate,
	const uint8_t secret[MESH_KEY_SIZE], uint8_t bytes[OPERATOR_CERTIFICATE_SIZE])
{
	struct writer times = writer_of(bytes + TIMES_AT, SIGNED_SIZE - TIMES_AT);

	if (!operator_is_name(certificate->name) || certificate->not_after_s < 0)
		return ERR_FORMAT;
	bytes[0] = VERSION;
	memset(bytes + NAME_AT, 0, NAME_BYTES);
	memcpy(bytes + NAME_AT, certificate->name, strlen(certificate->name));
	memcpy(bytes + KEY_AT, certificate->key, MESH_KEY_SIZE);
	write_u64(&times, (uint64_t)certificate->not_after_s);
	write_u64(&times, certificate->serial);
	MUST(!times.bad && !writer_left(&times));
	return mesh_sign(purpose, bytes, SIGNED_SIZE, secret, bytes + SIGNED_SIZE);
}

/* What is behind the name is zero: one name has one form only. */
static bool take_name(const uint8_t *bytes, char name[OPERATOR_NAME_SIZE])
{
	memcpy(name, bytes, NAME_BYTES);
	name[NAME_BYTES] = '\0';
	for (size_t i = strlen(name); i < NAME_BYTES; i++)
		if (bytes[i])
			return false;
	return operator_is_name(name);
}

enum err operator_certificate_read(
	const void *bytes, size_t size, struct operator_certificate *certificate)
{
	struct reader in = reader_of(bytes, size);

	if (size != OPERATOR_CERTIFICATE_SIZE)
		return ERR_FORMAT;
	if (read_u8(&in) != VERSION)
		return ERR_VERSION;
	if (!take_name(read_bytes(&in, NAME_BYTES), certificate->name))
		return ERR_FORMAT;
	memcpy(certificate->key, read_bytes(&in, MESH_KEY_SIZE), MESH_KEY_SIZE);
	certificate->not_after_s = (int64_t)read_u64(&in);
	certificate->serial = read_u64(&in);
	return certificate->not_after_s >= 0 ? ERR_OK : ERR_FORMAT;
}

enum err operator_certificate_verify(const void *bytes, size_t size,
	const uint8_t key[MESH_KEY_SIZE], int64_t now_s, struct operator_certificate *certificate)
{
	enum err err = operator_certificate_read(bytes, size, certificate);

	if (err)
		return err;
	if (!mesh_is_signed(purpose, bytes, SIGNED_SIZE, key, (const uint8_t *)bytes + SIGNED_SIZE))
		return ERR_AUTH;
	return certificate->not_after_s < now_s ? ERR_TIMEOUT : ERR_OK;
}

/* ---- frames ---------------------------------------------------------------------------------- */

void operator_frame_head(enum operator_kind kind, uint8_t head[OPERATOR_HEAD_SIZE])
{
	head[0] = MESH_FRAME_OPERATOR;
	head[1] = (uint8_t)kind;
}

enum err operator_frame_read(const uint8_t *bytes, size_t size, struct operator_frame *frame)
{
	static const struct {
		uint16_t least, most;
	} sizes[] = {
		[OPERATOR_OPEN] = {OPERATOR_CERTIFICATE_SIZE, OPERATOR_CERTIFICATE_SIZE},
		[OPERATOR_OPENED] = {0,				MESH_CERTIFICATE_SIZE    },
		[OPERATOR_REFUSED] = {1,			 1			  },
		[OPERATOR_DATA] = {1,			      OPERATOR_DATA_MAX	       },
		[OPERATOR_END] = {0,			     0			      },
	};
	uint8_t kind = size >= OPERATOR_HEAD_SIZE ? bytes[1] : 0;

	if (kind < OPERATOR_OPEN || kind > OPERATOR_END || bytes[0] != MESH_FRAME_OPERATOR)
		return ERR_FORMAT;
	*frame = (struct operator_frame){.kind = (enum operator_kind)kind,
		.bytes = bytes + OPERATOR_HEAD_SIZE,
		.size = size - OPERATOR_HEAD_SIZE};
	if (frame->size < sizes[kind].least || frame->size > sizes[kind].most)
		return ERR_FORMAT;
	if (frame->kind == OPERATOR_REFUSED)
		frame->err = frame->bytes[0] && frame->bytes[0] < ERR_COUNT
				     ? (enum err)frame->bytes[0]
				     : ERR_FORBIDDEN;
	return ERR_OK;
}
