/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens are signed here by libjwt with each algorithm; two come from elsewhere: the HS256 and the
 * RS256 examples of RFC 7515 appendix A, whose claims are not ours but whose signatures are real.
 */
#include "runtime/token.h"
#include "tests/test.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <jansson.h>
#include <jwt.h>
#include <stdlib.h>

enum { NOW = 1000 };

static const char secret[] = "0123456789abcdef0123456789abcdef";

/* Signs claims; the caller frees. */
static char *sign(jwt_alg_t alg, const char *key, size_t key_size, const char *claims)
{
	jwt_t *jwt = NULL;

	CHECK_EQ(jwt_new(&jwt), 0);
	CHECK_EQ(jwt_add_grants_json(jwt, claims), 0);
	CHECK_EQ(jwt_set_alg(jwt, alg, (const unsigned char *)key, (int)key_size), 0);
	char *text = jwt_encode_str(jwt);
	CHECK(text != NULL);
	jwt_free(jwt);
	return text;
}

static struct token_key secret_key(enum token_alg alg)
{
	struct token_key key;
	const char *why;

	CHECK_OK(token_key_init(&key, alg, secret, sizeof(secret) - 1, &why));
	return key;
}

static enum err check(const struct token_key *key, const char *token, struct token_claims *out)
{
	const char *why;
	enum err err =
		token_check(key, token, strlen(token), "live", "demo", TOKEN_PLAY, NOW, out, &why);

	CHECK_EQ(*why == '\0', err == ERR_OK);
	return err;
}

TEST(claims_decide)
{
	static const struct {
		const char *claims;
		enum err err;
	} rows[] = {
	// clang-format off
		{"{'app':'live','stream':'demo','act':['play'],'exp':1001}", ERR_OK},
		{"{'app':'live','stream':'*','act':['publish','play'],'exp':1001}", ERR_OK},
		{"{'app':'*','stream':'*','act':['play'],'exp':1000.5,'nbf':1000,'sub':'me'}",
			ERR_OK},
		{"{'app':'live','stream':'demo','act':['play'],'exp':1e300}", ERR_OK},
		{"{'app':'live','stream':'demo','act':[1,null,'play'],'exp':1001}", ERR_OK},
		/* times */
		{"{'app':'live','stream':'demo','act':['play'],'exp':1000}", ERR_AUTH},
		{"{'app':'live','stream':'demo','act':['play'],'exp':-1}", ERR_AUTH},
		{"{'app':'live','stream':'demo','act':['play'],'exp':'9999'}", ERR_AUTH},
		{"{'app':'live','stream':'demo','act':['play']}", ERR_AUTH},
		{"{'app':'live','stream':'demo','act':['play'],'exp':2000,'nbf':1001}", ERR_AUTH},
		{"{'app':'live','stream':'demo','act':['play'],'exp':2000,'nbf':'0'}", ERR_AUTH},
		/* what it is for */
		{"{'app':'other','stream':'demo','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'other','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo*','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'dem','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo\\u0000','act':['play'],'exp':1001}", ERR_AUTH},
		{"{'app':'live','stream':['demo'],'act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo','act':['publish'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo','act':'play','exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo','act':[],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo','exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'stream':'demo','act':['play'],'exp':1001}", ERR_FORBIDDEN},
		{"{'app':'live','stream':'demo','act':['play'],'exp':1001,'sub':7}", ERR_FORBIDDEN},
	// clang-format on
	};
	struct token_key key = secret_key(TOKEN_ALG_AUTO);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct token_claims claims;
		char json[256];

		snprintf(json, sizeof(json), "%s", rows[i].claims);
		for (char *c = json; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		/* libjwt will not sign what jansson cannot read; such rows are cut from another */
		jwt_t *probe = NULL;
		CHECK_EQ(jwt_new(&probe), 0);
		int unreadable = jwt_add_grants_json(probe, json);
		jwt_free(probe);
		if (unreadable)
			continue;
		char *token = sign(JWT_ALG_HS256, secret, sizeof(secret) - 1, json);
		enum err err = check(&key, token, &claims);
		if (err != rows[i].err)
			print_error("row %zu: %s: %s\n", i, json, err_name(err));
		CHECK_EQ(err, rows[i].err);
		CHECK_EQ(claims.expires_s > 0, err == ERR_OK);
		free(token);
	}
}

TEST(a_subject_is_returned_and_bounded)
{
	struct token_key key = secret_key(TOKEN_HS256);
	struct token_claims claims;
	char json[600], sub[TOKEN_SUB_MAX + 2];

	for (size_t size = TOKEN_SUB_MAX; size <= TOKEN_SUB_MAX + 1; size++) {
		memset(sub, 's', size);
		sub[size] = '\0';
		snprintf(json, sizeof(json),
			"{\"app\":\"live\",\"stream\":\"demo\",\"act\":[\"play\"],\"exp\":2000,"
			"\"sub\":\"%s\"}",
			sub);
		char *token = sign(JWT_ALG_HS256, secret, sizeof(secret) - 1, json);
		enum err err = check(&key, token, &claims);
		CHECK_EQ(err, size <= TOKEN_SUB_MAX ? ERR_OK : ERR_FORBIDDEN);
		CHECK_STR(claims.sub, err ? "" : sub);
		free(token);
	}
}

static const char good_claims[] =
	"{\"app\":\"live\",\"stream\":\"demo\",\"act\":[\"play\"],\"exp\":2000}";

/* A fresh key pair in PEM; bits 0: P-256. */
static void make_pem(unsigned bits, char *private_pem, char *public_pem, size_t size)
{
	EVP_PKEY *pkey = bits ? EVP_RSA_gen(bits) : EVP_EC_gen("P-256");
	BIO *secret_bio = BIO_new(BIO_s_mem()), *public_bio = BIO_new(BIO_s_mem());

	CHECK(pkey && PEM_write_bio_PrivateKey(secret_bio, pkey, NULL, NULL, 0, NULL, NULL));
	CHECK(PEM_write_bio_PUBKEY(public_bio, pkey));
	private_pem[BIO_read(secret_bio, private_pem, (int)size - 1)] = '\0';
	public_pem[BIO_read(public_bio, public_pem, (int)size - 1)] = '\0';
	BIO_free(secret_bio);
	BIO_free(public_bio);
	EVP_PKEY_free(pkey);
}

TEST(the_key_fixes_the_algorithm)
{
	static char rsa[4096], rsa_public[4096], ec[4096], ec_public[4096];
	struct token_claims claims;
	struct token_key keys[5];
	char *tokens[6];
	const char *why;

	make_pem(2048, rsa, rsa_public, sizeof(rsa));
	make_pem(0, ec, ec_public, sizeof(ec));
	for (int i = 0; i < 3; i++)
		keys[i] = secret_key((enum token_alg)(TOKEN_HS256 + i));
	CHECK_OK(token_key_init(&keys[3], TOKEN_ALG_AUTO, rsa_public, strlen(rsa_public), &why));
	CHECK_OK(token_key_init(&keys[4], TOKEN_ES256, ec_public, strlen(ec_public), &why));
	CHECK_EQ(keys[3].alg, TOKEN_RS256);
	tokens[0] = sign(JWT_ALG_HS256, secret, sizeof(secret) - 1, good_claims);
	tokens[1] = sign(JWT_ALG_HS384, secret, sizeof(secret) - 1, good_claims);
	tokens[2] = sign(JWT_ALG_HS512, secret, sizeof(secret) - 1, good_claims);
	tokens[3] = sign(JWT_ALG_RS256, rsa, strlen(rsa), good_claims);
	tokens[4] = sign(JWT_ALG_ES256, ec, strlen(ec), good_claims);
	/* the public key as a shared secret: the classic confusion */
	tokens[5] = sign(JWT_ALG_HS256, rsa_public, strlen(rsa_public), good_claims);
	for (int k = 0; k < 5; k++) {
		for (int t = 0; t < 6; t++)
			CHECK_EQ(check(&keys[k], tokens[t], &claims), k == t ? ERR_OK : ERR_AUTH);
	}
	for (int t = 0; t < 6; t++)
		free(tokens[t]);
}

TEST(what_is_not_a_token_is_refused)
{
	static char large[TOKEN_SIZE_MAX + 2];
	struct token_key key = secret_key(TOKEN_HS256);
	struct token_claims claims;
	const char *why;
	char *good = sign(JWT_ALG_HS256, secret, sizeof(secret) - 1, good_claims);
	size_t size = strlen(good);
	static const char *const rows[] = {"", ".", "..", "a.b", "a.b.c", "a.b.c.d", "...", "=.=.=",
		/* {"alg":"none"}.{…}. with no signature, with one, and in another case */
		"eyJhbGciOiJub25lIn0.eyJhcHAiOiJsaXZlIiwic3RyZWFtIjoiKiIsImFjdCI6WyJwbGF5Il0sImV4cC"
		"I6OTk5OTk5fQ.",
		"eyJhbGciOiJub25lIn0.eyJhcHAiOiJsaXZlIiwic3RyZWFtIjoiKiIsImFjdCI6WyJwbGF5Il0sImV4cC"
		"I6OTk5OTk5fQ.AAAA",
		"eyJhbGciOiJOb25lIn0.eyJhcHAiOiJsaXZlIn0.AAAA"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		CHECK_EQ(check(&key, rows[i], &claims), ERR_AUTH);
	CHECK_EQ(token_check(&key, NULL, 0, "live", "demo", TOKEN_PLAY, NOW, &claims, &why),
		ERR_AUTH);
	memset(large, 'a', sizeof(large) - 1);
	large[10] = large[20] = '.';
	CHECK_EQ(check(&key, large, &claims), ERR_AUTH);

	/* cut at every length, and with every character changed */
	CHECK_OK(check(&key, good, &claims));
	for (size_t cut = 0; cut < size; cut++)
		CHECK_EQ(token_check(
				 &key, good, cut, "live", "demo", TOKEN_PLAY, NOW, &claims, &why),
			ERR_AUTH);
	for (size_t i = 0; i < size - 1; i++) {
		char was = good[i];

		good[i] = was == 'A' ? 'B' : 'A';
		CHECK_EQ(check(&key, good, &claims), ERR_AUTH);
		good[i] = was;
	}
	free(good);
}

/* RFC 7515 A.1: the signature is good, so it is the missing claims that refuse it. */
TEST(the_rfc_example_verifies)
{
	/* the octets of the JWK's "k" */
	static const uint8_t k[] = {3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123,
		166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169, 15, 132, 178, 210, 80, 46, 191,
		211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61, 46, 33,
		114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163};
	static const char token[] =
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
		"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb2"
		"90Ijp0cnVlfQ."
		"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	struct token_claims claims;
	struct token_key key;
	const char *why;

	CHECK_OK(token_key_init(&key, TOKEN_HS256, k, sizeof(k), &why));
	CHECK_EQ(token_check(&key, token, sizeof(token) - 1, "live", "demo", TOKEN_PLAY, 1300819379,
			 &claims, &why),
		ERR_FORBIDDEN);
	CHECK_EQ(token_check(&key, token, sizeof(token) - 1, "live", "demo", TOKEN_PLAY, 1300819380,
			 &claims, &why),
		ERR_AUTH);
}

TEST(keys_are_taken_or_refused)
{
	static char rsa[4096], rsa_public[4096], ec[4096], ec_public[4096], large[9000];
	struct token_key key;
	const char *why;

	make_pem(1024, rsa, rsa_public, sizeof(rsa));
	make_pem(0, ec, ec_public, sizeof(ec));
	memset(large, 'k', sizeof(large));
	const struct {
		enum token_alg alg;
		const char *bytes;
		size_t size;
		enum err err;
	} rows[] = {
	// clang-format off
		{TOKEN_ALG_AUTO, "k", 1, ERR_OK}, {TOKEN_HS512, "key\r\n", 5, ERR_OK},
		{TOKEN_ALG_AUTO, "", 0, ERR_CONFIG}, {TOKEN_ALG_AUTO, "\n", 1, ERR_CONFIG},
		{TOKEN_ALG_COUNT, "k", 1, ERR_CONFIG}, {TOKEN_RS256, "k", 1, ERR_CONFIG},
		{TOKEN_ALG_AUTO, large, sizeof(large), ERR_CONFIG},
		{TOKEN_ALG_AUTO, large, TOKEN_KEY_SIZE_MAX, ERR_OK},
		{TOKEN_ALG_AUTO, rsa_public, strlen(rsa_public), ERR_CONFIG}, /* 1024 bits */
		{TOKEN_ALG_AUTO, ec, strlen(ec), ERR_CONFIG},		      /* private */
		{TOKEN_HS256, ec_public, strlen(ec_public), ERR_CONFIG},
		{TOKEN_RS256, ec_public, strlen(ec_public), ERR_CONFIG},
		{TOKEN_ALG_AUTO, ec_public, strlen(ec_public), ERR_OK},
		{TOKEN_ALG_AUTO, ec_public, 60, ERR_CONFIG}, /* cut */
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		CHECK_EQ(token_key_init(&key, rows[i].alg, rows[i].bytes, rows[i].size, &why),
			rows[i].err);
		CHECK_EQ(*why == '\0', rows[i].err == ERR_OK);
	}
	CHECK_OK(token_key_init(&key, TOKEN_ALG_AUTO, "key\n", 4, &why));
	CHECK_EQ(key.size, 3);
	CHECK(token_key_is_weak(&key));
	key = secret_key(TOKEN_HS256);
	CHECK(!token_key_is_weak(&key));
	CHECK_EQ(token_alg_from_name("ES256"), TOKEN_ES256);
	CHECK_EQ(token_alg_from_name(""), TOKEN_ALG_AUTO);
	CHECK_EQ(token_alg_from_name("none"), TOKEN_ALG_COUNT);
}

TEST(a_lack_of_memory_lets_nobody_in)
{
	struct token_key key = secret_key(TOKEN_HS256);
	struct token_claims claims;
	char *good = sign(JWT_ALG_HS256, secret, sizeof(secret) - 1, good_claims);
	char *bad = sign(JWT_ALG_HS256, "another", 7, good_claims);

	/* libjwt has no door for an allocator in this version; its JSON has */
	json_set_alloc_funcs(malloc, free);
	test_fail_allocation(0);
	CHECK_OK(check(&key, good, &claims));
	size_t count = test_fail_allocation(0);
	CHECK_GE(count, 10);
	for (size_t i = 1; i <= count; i++) {
		test_fail_allocation(i);
		enum err err = check(&key, good, &claims);
		test_fail_allocation(i);
		CHECK(check(&key, bad, &claims) != ERR_OK);
		test_fail_allocation(0);
		CHECK(err == ERR_OK || err == ERR_AUTH || err == ERR_NO_MEMORY);
	}
	free(good);
	free(bad);
}

TEST(random_bytes_become_names)
{
	static const struct {
		enum token_alphabet alphabet;
		const char *bytes;
		size_t size;
		const char *text;
	} rows[] = {
	// clang-format off
		/* RFC 4648 10, without padding */
		{TOKEN_BASE64URL, "f", 1, "Zg"},
		{TOKEN_BASE64URL, "fo", 2, "Zm8"},
		{TOKEN_BASE64URL, "foobar", 6, "Zm9vYmFy"},
		{TOKEN_BASE64URL, "\xfb\xff\xff", 3, "-___"},
		{TOKEN_ICE_CHAR, "\xfb\xff\xff", 3, "+///"},
		{TOKEN_BASE64URL, "", 0, ""},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[16];

		CHECK_EQ(token_from_random(rows[i].alphabet, (const uint8_t *)rows[i].bytes,
				 rows[i].size, text, sizeof(text)),
			strlen(rows[i].text));
		CHECK_STR(text, rows[i].text);
	}
	CHECK(token_equal("abc", "abc", 3));
	CHECK(!token_equal("abc", "abd", 3));
	CHECK(token_equal("", "", 0));
}
