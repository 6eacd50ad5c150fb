/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/permit.h"
#include "tests/test.h"

#include <string.h>

enum { NOW_S = 1700000000 };

static const uint8_t key[PERMIT_KEY_SIZE] = "the key of this node, 32 bytes..";
static const uint8_t other_key[PERMIT_KEY_SIZE] = "the key of another one, 32 b....";

static const struct permit to_play = {
	.node = 0x0123456789abcdef,
	.until_s = NOW_S + PERMIT_REDIRECT_S,
	.number = 0xfedcba9876543210,
	.action = TOKEN_PLAY,
	.standby = NAME_STANDBY_UNSAID,
	.subject = "anna",
};

TEST(what_is_written_is_read)
{
	static const char *const subjects[] = {
		"", "a", "anna", "0123456789012345678901234567890123456789012345678901234567890ab"};
	char text[PERMIT_TEXT_MAX + 1];
	struct permit read;

	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		for (int j = 0; j < 6; j++) {
			struct permit said = to_play;

			said.action = j & 1 ? TOKEN_PLAY : TOKEN_PUBLISH;
			said.standby = (enum name_standby)(j / 2);
			strcpy(said.subject, subjects[i]);
			permit_write(key, &said, "live/demo", text);
			CHECK(permit_is_one(text, strlen(text)));
			CHECK_EQ(permit_issuer(text), said.node);
			CHECK_OK(permit_check(key, text, "live/demo", said.action, NOW_S, &read));
			CHECK_EQ(read.node, said.node);
			CHECK_EQ(read.until_s, said.until_s);
			CHECK_EQ(read.number, said.number);
			CHECK_EQ(read.standby, said.standby);
			CHECK_STR(read.subject, subjects[i]);
		}
}

TEST(it_is_good_for_one_thing_by_one_key_for_a_while)
{
	static const struct {
		const char *what;
		const uint8_t *key;
		const char *stream;
		enum token_action action;
		int64_t now_s;
		enum err err;
	} rows[] = {
		{"as said",	    key,	 "live/demo",  TOKEN_PLAY,	  NOW_S,			 ERR_OK  },
		{"the last second",    key,	 "live/demo",  TOKEN_PLAY,	  NOW_S + PERMIT_REDIRECT_S - 1,
			ERR_OK											       },
		{"too late",	     key,	  "live/demo",  TOKEN_PLAY,	   NOW_S + PERMIT_REDIRECT_S,     ERR_AUTH},
		{"another stream",	   key,	"live/demo2", TOKEN_PLAY,	  NOW_S,			 ERR_AUTH},
		{"no stream",	      key,	   "",	       TOKEN_PLAY,	   NOW_S,			  ERR_AUTH},
		{"to publish",	       key,	    "live/demo",	 TOKEN_PUBLISH, NOW_S,			       ERR_AUTH},
		{"another node's key", other_key, "live/demo",  TOKEN_PLAY,	   NOW_S,			  ERR_AUTH},
	};
	char text[PERMIT_TEXT_MAX + 1];
	struct permit read;

	permit_write(key, &to_play, "live/demo", text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (permit_check(rows[i].key, text, rows[i].stream, rows[i].action, rows[i].now_s,
			    &read) != rows[i].err)
			fail_msg("%s", rows[i].what);
}

TEST(another_letter_anywhere_is_another_permit)
{
	static const char letters[] = "AQgw8-_.= p";
	char text[PERMIT_TEXT_MAX + 1], changed[PERMIT_TEXT_MAX + 1];
	struct permit read;

	permit_write(key, &to_play, "live/demo", text);
	for (size_t i = 0; i < strlen(text); i++)
		for (size_t j = 0; j < sizeof(letters); j++) { /* the NUL too */
			strcpy(changed, text);
			if (changed[i] == letters[j])
				continue;
			changed[i] = letters[j];
			CHECK_EQ(permit_check(key, changed, "live/demo", TOKEN_PLAY, NOW_S, &read),
				ERR_AUTH);
		}
}

TEST(what_is_no_permit)
{
	static const char *const rows[] = {"", "p2", "p2.", "p2.AAAA",
		"p1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "abcdefghijklmnopqrstuv",
		"eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
		"p2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!",
		"p2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB" /* a bit too many */,
		"p2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" /* half a byte */};
	char long_one[PERMIT_TEXT_MAX + 8];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK(!permit_is_one(rows[i], strlen(rows[i])));
		CHECK_EQ(permit_issuer(rows[i]), 0);
	}
	memset(long_one, 'A', sizeof(long_one));
	memcpy(long_one, "p2.", 3);
	for (size_t size = PERMIT_TEXT_MAX + 1; size < sizeof(long_one); size++)
		CHECK(!permit_is_one(long_one, size));
}

TEST(keys_differ_by_secret)
{
	uint8_t a[PERMIT_KEY_SIZE], b[PERMIT_KEY_SIZE];

	permit_key_derive(a, key, sizeof(key));
	permit_key_derive(b, other_key, sizeof(other_key));
	CHECK(memcmp(a, b, sizeof(a)) != 0 && memcmp(a, key, sizeof(a)) != 0);
	permit_key_derive(b, key, sizeof(key));
	CHECK_MEM(a, b, sizeof(a));
}
