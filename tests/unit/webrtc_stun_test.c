/* SPDX-License-Identifier: Apache-2.0
 *
 * STUN: the vectors of RFC 5769 section 2 (the password of 2.4 is a long-term one and is not ours),
 * what we build against what we parse, and wrong input.
 */
#include "tests/test.h"

#include "actors/webrtc/stun.h"

/* clang-format off */
static const uint8_t rfc5769_request[] = { /* 2.1 */
	0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42,
	0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
	0x80, 0x22, 0x00, 0x10, 'S', 'T', 'U', 'N', ' ', 't', 'e', 's', 't', ' ', 'c', 'l', 'i', 'e', 'n', 't',
	0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
	0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
	0x00, 0x06, 0x00, 0x09, 'e', 'v', 't', 'j', ':', 'h', '6', 'v', 'Y', ' ', ' ', ' ',
	0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
	0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2,
	0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
};
static const uint8_t rfc5769_response_ipv4[] = { /* 2.2 */
	0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42,
	0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
	0x80, 0x22, 0x00, 0x0b, 't', 'e', 's', 't', ' ', 'v', 'e', 'c', 't', 'o', 'r', ' ',
	0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
	0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74,
	0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7,
	0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96,
};
static const uint8_t rfc5769_response_ipv6[] = { /* 2.3 */
	0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42,
	0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
	0x80, 0x22, 0x00, 0x0b, 't', 'e', 's', 't', ' ', 'v', 'e', 'c', 't', 'o', 'r', ' ',
	0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3,
	0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
	0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84,
	0xc9, 0x7c, 0x82, 0x92, 0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41,
	0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
};
/* clang-format on */

static const char rfc5769_password[] = "VOkJxbRl1RmTxUk/WvJxBt";

static const struct vector {
	const uint8_t *bytes;
	size_t size;
	enum stun_class class;
	uint32_t has;
	const char *mapped;
} vectors[] = {
	{rfc5769_request,	  sizeof(rfc5769_request),	   STUN_REQUEST,
		STUN_HAS_USERNAME | STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT | STUN_HAS_PRIORITY |
			STUN_HAS_CONTROLLED,			  "none"	      },
	{rfc5769_response_ipv4, sizeof(rfc5769_response_ipv4), STUN_SUCCESS,
		STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT | STUN_HAS_MAPPED, "192.0.2.1:32853"},
	{rfc5769_response_ipv6, sizeof(rfc5769_response_ipv6), STUN_SUCCESS,
		STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT | STUN_HAS_MAPPED,
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853"				      },
};

#define FOR_EACH(row, rows) for (size_t row = 0; row < sizeof(rows) / sizeof((rows)[0]); row++)

TEST(rfc5769_vectors_parse_and_verify)
{
	FOR_EACH (i, vectors) {
		const struct vector *v = &vectors[i];
		struct stun_message m;
		char text[NET_ADDR_TEXT_SIZE];

		CHECK(stun_is_message(v->bytes, v->size));
		CHECK_OK(stun_parse(&m, v->bytes, v->size));
		CHECK_EQ(m.class, v->class);
		CHECK_EQ(m.method, 1);
		CHECK_EQ(m.has, v->has);
		CHECK_EQ(m.unknown_count, 0);
		CHECK_STR(net_addr_text(&m.mapped, text), v->mapped);
		CHECK(stun_check_integrity(&m, v->bytes, v->size, rfc5769_password));
		CHECK(!stun_check_integrity(&m, v->bytes, v->size, "VOkJxbRl1RmTxUk/WvJxBu"));
		CHECK(!stun_check_integrity(&m, v->bytes, v->size, ""));
	}
}

TEST(rfc5769_request_fields)
{
	struct stun_message m;
	const char *ufrag;

	CHECK_OK(stun_parse(&m, rfc5769_request, sizeof(rfc5769_request)));
	CHECK_EQ(m.username_size, 9);
	CHECK_MEM(m.username, "evtj:h6vY", 9);
	CHECK_EQ(m.priority, 0x6e0001ff);
	CHECK_EQ(m.tie_breaker, 0x932ff9b151263b36);
	CHECK_EQ(stun_peek_username(rfc5769_request, sizeof(rfc5769_request), &ufrag), 4);
	CHECK_MEM(ufrag, "evtj", 4);
	CHECK_EQ(stun_peek_username(rfc5769_response_ipv4, sizeof(rfc5769_response_ipv4), &ufrag),
		0);
	CHECK(!ufrag);
}

TEST(every_truncation_is_refused)
{
	FOR_EACH (i, vectors) {
		for (size_t size = 0; size < vectors[i].size; size++) {
			uint8_t *copy = test_malloc(size + 1);
			struct stun_message m;
			const char *ufrag;

			memcpy(copy, vectors[i].bytes, size);
			CHECK_EQ(stun_parse(&m, copy, size), ERR_FORMAT);
			stun_peek_username(copy, size, &ufrag);
			stun_is_message(copy, size);
			test_free(copy);
		}
	}
}

TEST(every_flipped_bit_is_noticed)
{
	FOR_EACH (i, vectors) {
		for (size_t bit = 0; bit < vectors[i].size * 8; bit++) {
			uint8_t copy[sizeof(rfc5769_request)];
			struct stun_message m;

			memcpy(copy, vectors[i].bytes, vectors[i].size);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (stun_parse(&m, copy, vectors[i].size))
				continue;
			/* an attribute became another: FINGERPRINT is gone, and with it (unless only
			 * FINGERPRINT itself was hit, which lies behind) the integrity */
			CHECK(!(m.has & STUN_HAS_FINGERPRINT));
			if (bit / 8 < vectors[i].size - 8)
				CHECK(!stun_check_integrity(
					&m, copy, vectors[i].size, rfc5769_password));
		}
	}
}

static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

TEST(what_is_built_parses)
{
	static const char *const addresses[] = {"192.0.2.77:40000", "[2001:db8::77]:40000"};

	FOR_EACH (i, addresses) {
		uint8_t buffer[STUN_MESSAGE_MAX];
		struct writer w = writer_of(buffer, sizeof(buffer));
		struct net_addr address;
		struct stun_message m;

		CHECK_OK(net_addr_parse(addresses[i], &address));
		stun_begin(&w, STUN_REQUEST, transaction);
		stun_add_username(&w, "abcd:efg", 8);
		stun_add_priority(&w, 0x6e001eff);
		stun_add_role(&w, true, 0x1122334455667788);
		stun_add_use_candidate(&w);
		stun_add_xor_mapped_address(&w, &address);
		CHECK_OK(stun_finish(&w, "password-of-the-session"));
		CHECK_EQ(writer_used(&w) % 4, 0);
		CHECK_OK(stun_parse(&m, buffer, writer_used(&w)));
		CHECK_EQ(m.class, STUN_REQUEST);
		CHECK_EQ(m.has, STUN_HAS_USERNAME | STUN_HAS_PRIORITY | STUN_HAS_CONTROLLING |
					STUN_HAS_USE_CANDIDATE | STUN_HAS_MAPPED |
					STUN_HAS_INTEGRITY | STUN_HAS_FINGERPRINT);
		CHECK_MEM(m.transaction, transaction, sizeof(transaction));
		CHECK_EQ(m.tie_breaker, 0x1122334455667788);
		CHECK(net_addr_equal(&m.mapped, &address));
		CHECK(stun_check_integrity(&m, buffer, writer_used(&w), "password-of-the-session"));
	}
}

TEST(errors_are_built_with_code_and_unknown_attributes)
{
	static const enum stun_error_code codes[] = {STUN_400_BAD_REQUEST, STUN_401_UNAUTHENTICATED,
		STUN_420_UNKNOWN_ATTRIBUTE, STUN_487_ROLE_CONFLICT};
	struct stun_message request = {
		.unknown_count = 3, .unknown = {0x7001, 0x7002, 0x7003}
	       };

	FOR_EACH (i, codes) {
		uint8_t buffer[STUN_RESPONSE_MAX];
		struct writer w = writer_of(buffer, sizeof(buffer));
		struct stun_message m;

		stun_begin(&w, STUN_ERROR, transaction);
		stun_add_error(&w, codes[i], &request);
		CHECK_OK(stun_finish(&w, "0123456789012345678901"));
		CHECK_OK(stun_parse(&m, buffer, writer_used(&w)));
		CHECK_EQ(m.class, STUN_ERROR);
		CHECK_EQ(m.error_code, codes[i]);
	}
}

TEST(a_small_buffer_is_an_error_at_every_size)
{
	for (size_t size = 0; size < STUN_RESPONSE_MAX; size++) {
		uint8_t *buffer = test_malloc(size + 1);
		struct writer w = writer_of(buffer, size);
		struct net_addr address;

		CHECK_OK(net_addr_parse("[2001:db8::1]:1", &address));
		stun_begin(&w, STUN_SUCCESS, transaction);
		stun_add_xor_mapped_address(&w, &address);
		CHECK_EQ(stun_finish(&w, "pwd"), size < 20 + 24 + 24 + 8 ? ERR_NO_SPACE : ERR_OK);
		test_free(buffer);
	}
}

static const struct wrong {
	const char *what;
	uint8_t bytes[64];
	size_t size;
	enum err err;
} wrongs[] = {
	{"empty",			{0},								     0,  ERR_FORMAT},
	{"no cookie",		      {0, 1},								  20, ERR_FORMAT},
	{"top bits",		     {0x80, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42},				      20, ERR_FORMAT},
	{"length beyond",		  {0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42},					20, ERR_FORMAT},
	{"length short of the datagram", {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42},				       24, ERR_FORMAT},
	{"length no multiple of 4",	    {0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42},					  23, ERR_FORMAT},
	{"no attribute",		 {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42},				       20, ERR_OK	 },
	{"attribute beyond",	     {0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 6, 0, 9},		      24,
		ERR_FORMAT													     },
	{"empty user name",		    {0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 6, 0, 0},		     24,
		ERR_FORMAT													     },
	{"short priority",		   {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 0x24, 0, 2, 1, 1},	     28,
		ERR_FORMAT													     },
	{"short integrity",		    {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 8, 0, 4},		     28,
		ERR_FORMAT													     },
	{"wrong fingerprint",	      {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, [20] = 0x80, 0x28, 0, 4},	     28,
		ERR_FORMAT													     },
	{"mapped of no family",		{1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 0x20, 0, 8, 0, 3},
		32,													  ERR_FORMAT},
	{"error code 299",		   {1, 0x11, 0, 8, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 9, 0, 4, 0, 0, 2, 99},
		28,													  ERR_FORMAT},
	{"error code 400",		   {1, 0x11, 0, 8, 0x21, 0x12, 0xa4, 0x42, [20] = 0, 9, 0, 4, 0, 0, 4, 0},
		28,													  ERR_OK	  },
};

TEST(wrong_input_is_refused)
{
	static const uint8_t large[STUN_MESSAGE_MAX + 4] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct stun_message m;

	FOR_EACH (i, wrongs) {
		enum err err = stun_parse(&m, wrongs[i].bytes, wrongs[i].size);

		if (err != wrongs[i].err)
			fail_msg("%s: %s", wrongs[i].what, err_name(err));
	}
	CHECK_EQ(stun_parse(&m, large, sizeof(large)), ERR_TOO_LARGE);
}

TEST(unknown_attributes_are_collected_by_their_kind)
{
	/* 0x7fff must be understood, 0xffff need not */
	static const uint8_t bytes[] = {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0x7f, 0xff, 0, 0, 0xff, 0xff, 0, 0};
	struct stun_message m;

	CHECK_OK(stun_parse(&m, bytes, sizeof(bytes)));
	CHECK_EQ(m.unknown_count, 1);
	CHECK_EQ(m.unknown[0], 0x7fff);
}
