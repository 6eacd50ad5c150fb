/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-128-GCM over the datagrams of a link. See link_seal.h.
 */
#include "actors/link/link_seal.h"

#include "runtime/gcm.h"
#include "schemas/replay.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

_Static_assert((int)LINK_SALT_SIZE == (int)GCM_IV_SIZE && (int)LINK_TAG == (int)GCM_TAG_SIZE,
	"as GCM has them");

void link_key_clear(struct link_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}

enum err link_seal_init_evp(struct link_seal *seal, const struct link_key *key)
{
	*seal = (struct link_seal){.cipher = EVP_CIPHER_CTX_new()};
	memcpy(seal->salt, key->salt, LINK_SALT_SIZE);
	if (seal->cipher &&
		EVP_CipherInit_ex2(seal->cipher, EVP_aes_128_gcm(), key->key, NULL, 1, NULL) == 1)
		return ERR_OK;
	link_seal_fini(seal);
	return ERR_NO_MEMORY;
}

enum err link_seal_init(struct link_seal *seal, const struct link_key *key)
{
	struct gcm_key *gcm = gcm_key_create();

	if (!gcm)
		return link_seal_init_evp(seal, key);
	*seal = (struct link_seal){.gcm = gcm};
	memcpy(seal->salt, key->salt, LINK_SALT_SIZE);
	gcm_key_set(gcm, key->key, LINK_KEY_SIZE);
	return ERR_OK;
}

bool link_seal_is_ready(const struct link_seal *seal)
{
	return seal->gcm || seal->cipher;
}

void link_seal_fini(struct link_seal *seal)
{
	gcm_key_destroy(&seal->gcm);
	EVP_CIPHER_CTX_free(seal->cipher);
	OPENSSL_cleanse(seal, sizeof(*seal));
}

static void nonce_of(const struct link_seal *seal, const uint8_t *head, uint8_t iv[GCM_IV_SIZE])
{
	memcpy(iv, seal->salt, GCM_IV_SIZE);
	for (int i = 0; i < 8; i++)
		iv[GCM_IV_SIZE - 8 + i] ^= head[8 + i];
}

static bool seal_by_evp(EVP_CIPHER_CTX *cipher, const uint8_t *iv, uint8_t *bytes, size_t size)
{
	uint8_t *body = bytes + LINK_HEAD;
	int written;

	return EVP_CipherInit_ex2(cipher, NULL, NULL, iv, 1, NULL) == 1 &&
	       EVP_CipherUpdate(cipher, NULL, &written, bytes, LINK_HEAD) == 1 &&
	       EVP_CipherUpdate(cipher, body, &written, body, (int)(size - LINK_HEAD)) == 1 &&
	       EVP_CipherFinal_ex(cipher, bytes + size, &written) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, LINK_TAG, bytes + size) == 1;
}

static bool open_by_evp(EVP_CIPHER_CTX *cipher, const uint8_t *iv, const uint8_t *bytes,
	const struct gcm_piece *body, const uint8_t *tag)
{
	uint8_t expected[LINK_TAG];
	int written;

	memcpy(expected, tag, LINK_TAG);
	return EVP_CipherInit_ex2(cipher, NULL, NULL, iv, 0, NULL) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, LINK_TAG, expected) == 1 &&
	       EVP_CipherUpdate(cipher, NULL, &written, bytes, LINK_HEAD) == 1 &&
	       EVP_CipherUpdate(cipher, body->to, &written, body->from, (int)body->size) == 1 &&
	       EVP_CipherFinal_ex(cipher, body->to + body->size, &written) == 1;
}

enum err link_seal_batch(struct link_seal *seal, struct link_sealing *datagrams, size_t count)
{
	enum err err = ERR_OK;

	for (size_t i = 0; i < count; i++) {
		uint8_t *bytes = datagrams[i].bytes, iv[GCM_IV_SIZE];
		size_t size = datagrams[i].size;

		MUST(size > LINK_HEAD && size <= LINK_DATAGRAM_MAX - LINK_TAG);
		nonce_of(seal, bytes, iv);
		if (seal->gcm) {
			const struct gcm_piece body = {
				bytes + LINK_HEAD, bytes + LINK_HEAD, size - LINK_HEAD};

			gcm_seal(seal->gcm, iv, bytes, LINK_HEAD, &body, 1, bytes + size);
		} else if (!seal_by_evp(seal->cipher, iv, bytes, size)) {
			datagrams[i].size = 0;
			err = ERR_CRYPTO;
			continue;
		}
		datagrams[i].size = (uint16_t)(size + LINK_TAG);
	}
	return err;
}

enum err link_unseal(struct link_seal *seal, struct link_window *window,
	const struct link_head *head, const uint8_t *bytes, size_t size, uint8_t *body,
	size_t *body_size)
{
	struct gcm_piece piece = {bytes + LINK_HEAD, body, size - LINK_HEAD - LINK_TAG};
	const uint8_t *tag = bytes + size - LINK_TAG;
	uint8_t iv[GCM_IV_SIZE];

	if (size > LINK_DATAGRAM_MAX)
		return ERR_TOO_LARGE;
	if (!head->counter ||
		!replay_admits(window->seen, LINK_WINDOW, window->highest, head->counter))
		return ERR_REPLAY;
	nonce_of(seal, bytes, iv);
	if (!(seal->gcm ? gcm_open(seal->gcm, iv, bytes, LINK_HEAD, &piece, tag)
			: open_by_evp(seal->cipher, iv, bytes, &piece, tag)))
		return ERR_AUTH;
	replay_accept(window->seen, LINK_WINDOW, &window->highest, head->counter);
	*body_size = piece.size;
	return ERR_OK;
}
