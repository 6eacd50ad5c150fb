/* SPDX-License-Identifier: Apache-2.0
 *
 * What a callback server gets to see, and what its answers mean.
 */
#include "actors/callback/callback.h"
#include "actors/callback/callback_text.h"
#include "tests/test.h"

#include <jansson.h>

TEST(parameters_are_the_query_without_our_tokens)
{
	static const struct {
		const char *query, *param;
	} rows[] = {
		{"",			     ""		       },
		{"a=1",			  "a=1"		     },
		{"token=x",			    ""		      },
		{"token",			  ""		    },
		{"a=1&token=x&b=2",		    "a=1&b=2"	     },
		{"resume=r&a=1",		 "a=1"		      },
		{"a=1&resume=r",		 "a=1"		      },
		{"a=1&redirected=1&permit=p1.x", "a=1"		      },
		{"tokens=3&mytoken=4",	       "tokens=3&mytoken=4"},
		{"&&a=1&&b&",		      "a=1&b"	     },
		{"a=%20b+c",		     "a=%20b+c"	       },
		{"a=\"b\\",			    "a=%22b%5C"	       },
		{"a=\xC3\xA4<\x7F\x01",		"a=%C3%A4%3C%7F%01" },
	};
	char param[CALLBACK_PARAM_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_OK(callback_param(rows[i].query, strlen(rows[i].query), param));
		CHECK_STR(param, rows[i].param);
	}
}

TEST(parameters_have_a_bound)
{
	static char query[3 * CALLBACK_PARAM_SIZE];
	char param[CALLBACK_PARAM_SIZE];
	size_t fits = 0;

	memset(query, 'a', sizeof(query));
	for (size_t size = 0; size < sizeof(query); size++) {
		enum err err = callback_param(query, size, param);

		CHECK(err == ERR_OK || err == ERR_TOO_LARGE);
		CHECK_EQ(strlen(param), err ? 0 : size);
		fits = err ? fits : size;
	}
	CHECK(fits > 1000 && fits < CALLBACK_PARAM_SIZE);
	memset(query, 0xFF, sizeof(query)); /* three bytes each */
	CHECK_OK(callback_param(query, 300, param));
	CHECK_EQ(callback_param(query, 400, param), ERR_TOO_LARGE);
	/* a long token alone does no harm */
	memset(query, 'a', sizeof(query));
	memcpy(query, "token=", 6);
	CHECK_OK(callback_param(query, sizeof(query), param));
	CHECK_STR(param, "");
}

TEST(what_an_answer_means)
{
	static const struct {
		uint16_t status;
		const char *body;
		enum err err;
	} rows[] = {
		{200,   "",				       ERR_OK	},
		{201,   "",				       ERR_OK	},
		{204,   "",				       ERR_OK	},
		{299,   " \r\n\t",				 ERR_OK       },
		{200,   "{}",				     ERR_OK	  },
		{200,   " {\"code\":0}\n",			 ERR_OK       },
		{200,   "{\"code\":0,\"data\":[1,{\"code\":5}]}", ERR_OK	      },
		{200,   "{\"code\":1}",			      ERR_FORBIDDEN},
		{200,   "{\"code\":-9223372036854775808}",	 ERR_FORBIDDEN},
		{200,   "{\"code\":\"0\"}",			  ERR_FORMAT   },
		{200,   "{\"code\":0.0}",				ERR_FORMAT	  },
		{200,   "{\"code\":null}",			 ERR_FORMAT   },
		{200,   "{\"code\":0,\"code\":1}",		 ERR_FORMAT   },
		{200,   "{\"code\":0",			     ERR_FORMAT   },
		{200,   "{\"code\":0}x",			       ERR_FORMAT	 },
		{200,   "[0]",				    ERR_FORMAT   },
		{200,   "0",				      ERR_FORMAT   },
		{200,   "ok",				     ERR_FORMAT   },
		{401,   "{\"code\":0}",			      ERR_AUTH     },
		{403,   "",				       ERR_FORBIDDEN},
		{0,	    "",				       ERR_FORMAT	  },
		{199,   "",				       ERR_FORMAT   },
		{300,   "",				       ERR_FORMAT   },
		{302,   "{\"code\":0}",			      ERR_FORMAT	},
		{400,   "",				       ERR_FORMAT   },
		{404,   "",				       ERR_FORMAT   },
		{500,   "{\"code\":0}",			      ERR_FORMAT	},
		{65535, "",				       ERR_FORMAT   },
	};
	static char large[CALLBACK_ANSWER_MAX + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(callback_verdict(rows[i].status,
				 (struct slice){rows[i].body, (uint32_t)strlen(rows[i].body)}),
			rows[i].err);
	memset(large, ' ', sizeof(large));
	CHECK_EQ(callback_verdict(200, (struct slice){large, sizeof(large)}), ERR_FORMAT);
	CHECK_OK(callback_verdict(200, (struct slice){large, sizeof(large) - 1}));
	CHECK_EQ(callback_verdict(200, (struct slice){"\0", 1}), ERR_FORMAT);
}

static const struct callback_state callback = {
	.stream_name = "live/cam",
	.client = "[2001:db8::1]:5000",
	.protocol = "whep",
	.param = "a=1",
	.session = {0xabc, 0x20000000011},
	.asked_us = 1700000000123456,
};

TEST(a_question_is_one_document)
{
	char body[CALLBACK_BODY_MAX];
	size_t size = callback_body(&callback, CALLBACK_ON_PLAY, "edge-1", body, sizeof(body) - 1);

	body[size] = 0;
	CHECK_STR(body, "{\"action\":\"on_play\",\"app\":\"live\",\"stream\":\"cam\","
			"\"session\":\"abc/20000000011\",\"client\":\"[2001:db8::1]:5000\","
			"\"protocol\":\"whep\",\"param\":\"a=1\",\"node\":\"edge-1\","
			"\"time\":1700000000123}");
	for (size_t room = 0; room < size; room++)
		CHECK_EQ(callback_body(&callback, CALLBACK_ON_PLAY, "edge-1", body, room), 0);
}

TEST(the_longest_question_fits)
{
	struct callback_state longest = callback;
	char body[CALLBACK_BODY_MAX], node[64];

	memset(longest.param, 'p', sizeof(longest.param) - 1);
	memset(longest.stream_name, 's', sizeof(longest.stream_name) - 1);
	longest.stream_name[63] = '/';
	memset(longest.client, '9', sizeof(longest.client) - 1);
	memset(longest.protocol, 'x', sizeof(longest.protocol) - 1);
	longest.session = (struct addr){UINT64_MAX, UINT64_MAX};
	longest.over_us = INT64_MAX;
	memset(node, 'n', sizeof(node));
	node[63] = 0;
	size_t size = callback_body(&longest, CALLBACK_ON_UNPUBLISH, node, body, sizeof(body));
	json_t *json = json_loadb(body, size, 0, NULL);

	CHECK(json);
	CHECK_EQ(json_integer_value(json_object_get(json, "time")), INT64_MAX / 1000);
	json_decref(json);
}

TEST(tries_come_less_and_less_often)
{
	static const uint32_t rows[] = {500, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};

	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(callback_backoff_ms(i), rows[i]);
	CHECK_EQ(callback_backoff_ms(UINT32_MAX), 30000);
}
