/* SPDX-License-Identifier: Apache-2.0
 *
 * libipsec-mb chooses its functions by the processor, once a process; the choice is kept here.
 */
#include "runtime/gcm.h"

#include "runtime/near.h"
#include "schemas/bytes.h"
#include "schemas/err.h"

#ifdef MILLRACE_IPSEC_MB
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

enum { KEY_ALIGNMENT = 64 };

struct functions {
	aes_gcm_pre_t expand;
	aes_gcm_enc_dec_t seal, open;
	aes_gcm_init_t init;
	aes_gcm_enc_dec_update_t update;
	aes_gcm_enc_dec_finalize_t finalize;
};

/* By key size. Written once, before the first key. */
static struct functions functions_128, functions_256;
static pthread_once_t chosen = PTHREAD_ONCE_INIT;

struct gcm_key {
	struct gcm_key_data data; /* first: it is aligned */
	const struct functions *functions;
};

static void choose(void)
{
	IMB_MGR *manager = alloc_mb_mgr(0);

	if (!manager)
		return;
	init_mb_mgr_auto(manager, NULL);
	if (!imb_get_errno(manager)) {
		functions_128 = (struct functions){manager->gcm128_pre, manager->gcm128_enc,
			manager->gcm128_dec, manager->gcm128_init, manager->gcm128_enc_update,
			manager->gcm128_enc_finalize};
		functions_256 = (struct functions){manager->gcm256_pre, manager->gcm256_enc,
			manager->gcm256_dec, manager->gcm256_init, manager->gcm256_enc_update,
			manager->gcm256_enc_finalize};
	}
	free_mb_mgr(manager);
}

struct gcm_key *gcm_key_create(void)
{
	size_t size = (sizeof(struct gcm_key) + KEY_ALIGNMENT - 1) / KEY_ALIGNMENT * KEY_ALIGNMENT;

	pthread_once(&chosen, choose);
	return functions_128.seal ? aligned_alloc(KEY_ALIGNMENT, size) : NULL;
}

void gcm_key_destroy(struct gcm_key **key)
{
	if (*key)
		OPENSSL_cleanse(*key, sizeof(**key));
	free(*key);
	*key = NULL;
}

void gcm_key_set(struct gcm_key *key, const uint8_t *bytes, size_t size)
{
	MUST(size == 16 || size == 32);
	key->functions = size == 16 ? &functions_128 : &functions_256;
	key->functions->expand(bytes, &key->data);
}

void gcm_key_ahead(const struct gcm_key *key)
{
	bring_near(key, sizeof(*key));
}

void gcm_seal(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *pieces, size_t count, uint8_t tag[GCM_TAG_SIZE])
{
	const struct functions *f = key->functions;
	struct gcm_context_data context;

	if (count == 1) {
		f->seal(&key->data, &context, pieces->to, pieces->from, pieces->size, iv, clear,
			clear_size, tag, GCM_TAG_SIZE);
		return;
	}
	f->init(&key->data, &context, iv, clear, clear_size);
	for (size_t i = 0; i < count; i++)
		f->update(&key->data, &context, pieces[i].to, pieces[i].from, pieces[i].size);
	f->finalize(&key->data, &context, tag, GCM_TAG_SIZE);
}

bool gcm_open(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *piece, const uint8_t tag[GCM_TAG_SIZE])
{
	struct gcm_context_data context;
	uint8_t computed[GCM_TAG_SIZE];

	key->functions->open(&key->data, &context, piece->to, piece->from, piece->size, iv, clear,
		clear_size, computed, GCM_TAG_SIZE);
	return memory_equal(computed, tag, GCM_TAG_SIZE);
}

#else

struct gcm_key *gcm_key_create(void)
{
	return NULL;
}

void gcm_key_destroy(struct gcm_key **key)
{
	MUST(!*key);
}

void gcm_key_set(struct gcm_key *key, const uint8_t *bytes, size_t size)
{
	(void)bytes;
	(void)size;
	MUST(!key);
}

void gcm_key_ahead(const struct gcm_key *key)
{
	MUST(!key);
}

void gcm_seal(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *pieces, size_t count, uint8_t tag[GCM_TAG_SIZE])
{
	(void)iv;
	(void)clear;
	(void)clear_size;
	(void)pieces;
	(void)count;
	(void)tag;
	MUST(!key);
}

bool gcm_open(const struct gcm_key *key, const uint8_t iv[GCM_IV_SIZE], const uint8_t *clear,
	size_t clear_size, const struct gcm_piece *piece, const uint8_t tag[GCM_TAG_SIZE])
{
	(void)iv;
	(void)clear;
	(void)clear_size;
	(void)piece;
	(void)tag;
	MUST(!key);
	return false;
}

#endif
