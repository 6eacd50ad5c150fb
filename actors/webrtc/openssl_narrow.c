/* SPDX-License-Identifier: Apache-2.0
 *
 * A provider (provider(7)) of no algorithms of its own: it passes on those of the default provider,
 * but of decoders and key managements only some.
 */
#include "actors/webrtc/openssl_narrow.h"

#include "actors/webrtc/openssl.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { PASSED_MAX = 16 };

/* Keys of certificates (RFC 8827 6.5: P-256; RSA is still met) and of the key exchange. */
static const char *const keys[] = {"EC", "RSA", "X25519"};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* Written once, before the first use. */
static pthread_once_t made = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *whole;
static OSSL_LIB_CTX *context;
static OSSL_ALGORITHM decoders[PASSED_MAX + 1], managements[PASSED_MAX + 1];

/* `names`: the algorithm's, by colons, the usual one first. */
static bool is_wanted(const OSSL_ALGORITHM *algorithm)
{
	const char *names = algorithm->algorithm_names;
	size_t size = strcspn(names, ":");

	for (size_t i = 0; i < KEYS; i++)
		if (strlen(keys[i]) == size && !strncmp(keys[i], names, size))
			return true;
	return false;
}

static bool decodes_public_key(const OSSL_ALGORITHM *algorithm)
{
	return strstr(algorithm->property_definition, "input=der") &&
	       strstr(algorithm->property_definition, "structure=SubjectPublicKeyInfo");
}

static void pass_on(OSSL_ALGORITHM *to, int operation)
{
	int no_store = 0;
	const OSSL_ALGORITHM *at = OSSL_PROVIDER_query_operation(whole, operation, &no_store);

	for (size_t count = 0; at && at->algorithm_names && count < PASSED_MAX; at++)
		if (is_wanted(at) && (operation != OSSL_OP_DECODER || decodes_public_key(at)))
			to[count++] = *at;
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_store)
{
	(void)provider;
	*no_store = 0;
	switch (operation) {
	case OSSL_OP_DECODER: return decoders;
	case OSSL_OP_KEYMGMT: return managements;
	default: return OSSL_PROVIDER_query_operation(whole, operation, no_store);
	}
}

/* TLS asks for its groups this way. */
static int tell_capabilities(
	void *provider, const char *capability, OSSL_CALLBACK *callback, void *argument)
{
	(void)provider;
	return OSSL_PROVIDER_get_capabilities(whole, capability, callback, argument);
}

static int start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
	const OSSL_DISPATCH **functions, void **provider)
{
	static const OSSL_DISPATCH own[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION,  (void (*)(void))query		  },
		{OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))tell_capabilities},
		{0,				   NULL			     },
	};

	(void)handle;
	(void)core;
	*functions = own;
	*provider = OSSL_PROVIDER_get0_provider_ctx(whole); /* the algorithms expect their own */
	return 1;
}

static void make(void)
{
	OSSL_LIB_CTX *fresh = OSSL_LIB_CTX_new();

	whole = OSSL_PROVIDER_load(NULL, "default");
	if (whole) {
		pass_on(decoders, OSSL_OP_DECODER);
		pass_on(managements, OSSL_OP_KEYMGMT);
	}
	if (fresh && whole && OSSL_PROVIDER_add_builtin(fresh, "narrow", start) == 1 &&
		OSSL_PROVIDER_load(fresh, "narrow"))
		context = fresh;
	else
		OSSL_LIB_CTX_free(fresh);
	ERR_clear_error();
}

OSSL_LIB_CTX *openssl_narrow_context(void)
{
	pthread_once(&made, make);
	return context;
}
