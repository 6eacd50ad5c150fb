/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of requests to etcd, and what is made of its answers.
 */
#include "cluster/etcd.h"
#include "cluster/store.h"
#include "tests/test.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>

static char body[ETCD_REQUEST_MAX];
static char prefix[ETCD_PREFIX_SIZE];

static const char *written(struct writer *out)
{
	CHECK(!out->bad);
	*out->at = 0;
	return body;
}

static struct writer begin(void)
{
	etcd_prefix(prefix, "c");
	return writer_of(body, sizeof(body) - 1);
}

TEST(requests_as_the_gateway_reads_them)
{
	struct writer out = begin();
	struct msg_store_put put = {
		.key = "k", .value = {.size = 1, .data = "v"},
		       .lease = 7
	 };
	struct msg_store_delete delete = {.key = "k", .compare = STORE_AT_REVISION, .revision = 5};

	CHECK_STR(prefix, "/millrace/c/");
	etcd_write_put(&out, prefix, &put);
	CHECK_STR(written(&out), "{\"success\":[{\"request_put\":{\"key\":\"L21pbGxyYWNlL2Mvaw==\","
				 "\"value\":\"dg==\","
				 "\"lease\":\"7\"}}],\"failure\":[{\"request_range\":{\"key\":"
				 "\"L21pbGxyYWNlL2Mvaw==\",\"keys_only\":true}}]}");
	out = begin();
	etcd_write_delete(&out, prefix, &delete);
	CHECK_STR(written(&out),
		"{\"compare\":[{\"key\":\"L21pbGxyYWNlL2Mvaw==\",\"target\":\"MOD\","
		"\"mod_revision\":\"5\"}],\"success\":[{\"request_delete_range\":{\"key\":"
		"\"L21pbGxyYWNlL2Mvaw==\"}}],\"failure\":[{\"request_range\":{\"key\":"
		"\"L21pbGxyYWNlL2Mvaw==\",\"keys_only\":true}}]}");
	out = begin();
	put.compare = STORE_CREATE;
	etcd_write_put(&out, prefix, &put);
	CHECK(strstr(written(&out), "\"target\":\"CREATE\",\"create_revision\":\"0\""));
	out = begin();
	etcd_write_grant(&out, 1001);
	CHECK_STR(written(&out), "{\"TTL\":\"2\"}");
	out = begin();
	etcd_write_lease(&out, UINT64_MAX); /* etcd's are signed */
	CHECK_STR(written(&out), "{\"ID\":\"-1\"}");
	out = begin();
	etcd_write_watch(&out, prefix, 9);
	CHECK(strstr(written(&out), "\"range_end\":\"L21pbGxyYWNlL2Mw\",\"start_revision\":\"9\""));
	out = begin();
	etcd_write_range(&out, prefix, "k", 3, 10, true);
	CHECK(strstr(written(&out), "\"key\":\"L21pbGxyYWNlL2MvawA=\""));
	CHECK(strstr(body, "\"limit\":\"10\"") && strstr(body, "\"revision\":\"3\"") &&
		strstr(body, "keys_only"));
}

TEST(the_longest_requests_fit)
{
	struct writer out;
	struct msg_store_put put = {.compare = STORE_AT_REVISION,
		.lease = UINT64_MAX >> 1,
		.revision = UINT64_MAX,
		.value.size = STORE_VALUE_MAX};
	char name[64], after[STORE_KEY_MAX + 2];

	memset(put.key, 'k', STORE_KEY_MAX);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	memset(after, 'k', sizeof(after) - 1);
	after[sizeof(after) - 1] = 0;
	etcd_prefix(prefix, name);
	out = writer_of(body, sizeof(body));
	etcd_write_put(&out, prefix, &put);
	CHECK(!out.bad);
	out = writer_of(body, sizeof(body));
	etcd_write_range(&out, prefix, after, UINT64_MAX, UINT32_MAX, true);
	CHECK(!out.bad);
	/* and less room is noticed */
	for (size_t room = 0; room < 300; room++) {
		out = writer_of(body, room);
		etcd_write_put(&out, prefix, &put);
		CHECK(out.bad);
	}
}

TEST(user_and_password_are_any_text)
{
	struct writer out = begin();

	CHECK_OK(etcd_write_authenticate(&out, "u", "a\"b\\c\xc3\xa4"));
	CHECK_STR(written(&out), "{\"name\":\"u\",\"password\":\"a\\\"b\\\\c\xc3\xa4\"}");
	out = begin();
	CHECK_EQ(etcd_write_authenticate(&out, "u", "\xff"), ERR_FORMAT);
	out = writer_of(body, 10);
	CHECK_EQ(etcd_write_authenticate(&out, "u", "p"), ERR_TOO_LARGE);
	CHECK_EQ(writer_used(&out), 0);
}

/* ---- answers ----------------------------------------------------------------------------------- */

#define HEADER "\"header\":{\"cluster_id\":\"3\",\"revision\":\"40\"}"

static struct etcd_answer answer;

static enum err read(const char *text)
{
	return etcd_read(text, strlen(text), &answer);
}

TEST(answers_of_calls)
{
	CHECK_OK(read("{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}"));
	CHECK(answer.succeeded && answer.revision == 40 && answer.cluster == 3);
	CHECK_OK(read("{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":"
		      "\"12\"}],\"count\":\"1\"}}]}"));
	CHECK(!answer.succeeded && answer.modified == 12);
	CHECK_OK(read("{" HEADER ",\"responses\":[{\"response_range\":{}}]}"));
	CHECK_EQ(answer.modified, 0);
	CHECK_OK(read("{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_delete_range\":"
		      "{\"deleted\":\"1\"}}]}"));
	CHECK_EQ(answer.deleted, 1);
	CHECK_OK(read("{" HEADER ",\"ID\":\"7587\",\"TTL\":\"10\"}"));
	CHECK(answer.lease == 7587 && answer.ttl_ms == 10000);
	CHECK_OK(read("{\"result\":{" HEADER ",\"ID\":\"-5\",\"TTL\":\"10\"}}"));
	CHECK(answer.lease == (uint64_t)-5 && answer.ttl_ms == 10000);
	CHECK_OK(read("{\"result\":{" HEADER ",\"ID\":\"7587\"}}")); /* a dead one */
	CHECK_EQ(answer.ttl_ms, 0);
	CHECK_OK(read("{" HEADER ",\"ID\":\"1\",\"TTL\":\"-1\"}"));
	CHECK_EQ(answer.ttl_ms, 0);
	CHECK_OK(read("{" HEADER ",\"token\":\"abc.5\"}"));
	CHECK_STR(answer.token, "abc.5");
}

TEST(answers_that_make_no_sense)
{
	static const char *const rows[] = {"", "null", "[]", "{", "{}", "hello", "{\"header\":5}",
		"{\"header\":{\"revision\":\"1\"}", "\xff\xfe", "{\"result\":{}}"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(read(rows[i]), ERR_FORMAT);
	/* numbers that are none are zero */
	CHECK_OK(read("{\"header\":{\"revision\":\"12x\",\"cluster_id\":[]},\"ID\":"
		      "\"99999999999999999999999\",\"TTL\":true}"));
	CHECK(!answer.revision && !answer.cluster && !answer.lease && !answer.ttl_ms);
	static char large[ETCD_ANSWER_MAX + 1];
	memset(large, ' ', sizeof(large));
	CHECK_EQ(etcd_read(large, sizeof(large), &answer), ERR_TOO_LARGE);
	CHECK_EQ(etcd_read(large, sizeof(large) - 1, &answer), ERR_FORMAT);
}

static struct store_pair seen[8];
static struct msg_store_event events[8];
static int seen_count;

static void take_pair(void *context, const struct store_pair *pair)
{
	(void)context;
	CHECK(seen_count < 8);
	seen[seen_count++] = *pair;
}

static void take_event(void *context, const struct msg_store_event *event)
{
	(void)context;
	CHECK(seen_count < 8);
	events[seen_count++] = *event;
}

/* "key":"…" of the key below the prefix (or without it) */
static const char *coded(const char *before, const char *key, size_t repeat)
{
	static char text[4096];
	char plain[2048];
	int size = snprintf(plain, sizeof(plain), "%s", before);

	for (size_t i = 0; i < repeat; i++)
		size += snprintf(plain + size, sizeof(plain) - (size_t)size, "%s", key);
	size_t used = (size_t)snprintf(text, sizeof(text), "\"key\":\"");
	used += (size_t)EVP_EncodeBlock((unsigned char *)text + used, (unsigned char *)plain, size);
	snprintf(text + used, sizeof(text) - used, "\"");
	return text;
}

static enum err read_range(const char *kv)
{
	char text[8192];

	seen_count = 0;
	etcd_prefix(prefix, "c");
	snprintf(text, sizeof(text), "{" HEADER ",\"kvs\":[{%s}],\"more\":true}", kv);
	return etcd_read_range(text, strlen(text), prefix, &answer, take_pair, NULL);
}

TEST(pairs_of_a_range)
{
	char kv[8192];

	snprintf(kv, sizeof(kv),
		"%s,\"create_revision\":\"5\",\"mod_revision\":\"6\",\"lease\":\"7\",\"value\":"
		"\"dmFs\"",
		coded(prefix, "name/x", 1));
	CHECK_OK(read_range(kv));
	CHECK(seen_count == 1 && answer.more && answer.revision == 40);
	CHECK_STR(seen[0].key, "name/x");
	CHECK_EQ(seen[0].value.size, 3);
	CHECK_MEM(seen[0].value.data, "val", 3);
	CHECK(seen[0].created == 5 && seen[0].modified == 6 && seen[0].lease == 7);
	CHECK_STR(answer.last, "name/x");
	/* what does not fit is skipped, and reading goes on behind it */
	static const char *const values[] = {
		"\"value\":5", "\"value\":\"a\"", "\"value\":\"!!!!\""};
	for (size_t i = 0; i < 3; i++) {
		snprintf(kv, sizeof(kv), "%s,%s", coded(prefix, "k", 1), values[i]);
		CHECK_OK(read_range(kv));
		CHECK(!seen_count && answer.skipped == 1);
		CHECK_STR(answer.last, "k");
	}
	snprintf(kv, sizeof(kv), "%s,\"value\":\"%0*d\"", coded(prefix, "k", 1),
		STORE_VALUE_MAX / 3 * 4 + 8, 0);
	CHECK_OK(read_range(kv));
	CHECK(!seen_count && answer.skipped == 1);
	CHECK_OK(read_range(coded(prefix, "k", STORE_KEY_MAX)));
	CHECK(seen_count == 1 && strlen(answer.last) == STORE_KEY_MAX);
	CHECK_OK(read_range(coded(prefix, "k", STORE_KEY_MAX + 1)));
	CHECK(!seen_count && strlen(answer.last) == STORE_KEY_MAX + 1);
	CHECK_EQ(answer.last[STORE_KEY_MAX], (char)0xff);
	CHECK_OK(read_range(coded(prefix, "k", 1500)));
	CHECK(!seen_count && strlen(answer.last) == STORE_KEY_MAX + 1);
	CHECK_OK(read_range(coded("/other/", "k", 1)));
	CHECK(!seen_count && answer.skipped == 1);
	CHECK_OK(read_range("\"key\":7"));
	CHECK(!seen_count && answer.skipped == 1);
	CHECK_EQ(etcd_read_range("{}", 2, prefix, &answer, take_pair, NULL), ERR_FORMAT);
}

static enum err read_watch(const char *text)
{
	seen_count = 0;
	etcd_prefix(prefix, "c");
	return etcd_read_watch(text, strlen(text), prefix, &answer, take_event, NULL);
}

TEST(lines_of_a_watch)
{
	CHECK_OK(read_watch("{\"result\":{" HEADER ",\"created\":true}}"));
	CHECK(answer.created && !answer.canceled && answer.revision == 40);
	CHECK_OK(read_watch(
		"{\"result\":{" HEADER ",\"canceled\":true,\"compact_revision\":\"30\"}}"));
	CHECK(answer.canceled && answer.compacted == 30);
	CHECK_OK(read_watch(
		"{\"result\":{" HEADER
		",\"events\":[{\"kv\":{\"key\":\"L21pbGxyYWNlL2Mvaw==\",\"mod_revision\":\"6\","
		"\"value\":\"dg==\"}},{\"type\":\"DELETE\",\"kv\":{\"key\":"
		"\"L21pbGxyYWNlL2Mvaw==\",\"mod_revision\":\"7\"}},{\"kv\":5},7]}}"));
	CHECK_EQ(seen_count, 2);
	CHECK(!events[0].deleted && events[0].revision == 6 && events[0].pair.value.size == 1);
	CHECK(events[1].deleted && events[1].revision == 7);
	CHECK_EQ(answer.skipped, 2);
	CHECK_EQ(
		read_watch("{\"error\":{\"grpc_code\":14,\"message\":\"no leader\"}}"), ERR_CLOSED);
	CHECK_EQ(read_watch("{\"result\":5}"), ERR_FORMAT);
	CHECK_EQ(read_watch("{}"), ERR_FORMAT);
	CHECK_EQ(read_watch(""), ERR_FORMAT);
}

TEST(what_errors_mean)
{
	static const struct {
		uint16_t status;
		const char *body;
		enum err err;
		const char *text;
	} rows[] = {
		{404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}",
			ERR_NOT_FOUND,									  "etcdserver: requested lease not found"},
		{400, "{\"code\":11,\"message\":\"compacted\"}",				 ERR_REPLAY,    "compacted"				},
		{401, "{\"code\":16,\"message\":\"invalid auth token\"}",		  ERR_AUTH,
			"invalid auth token"													   },
		{400, "{\"code\":3,\"message\":\"etcdserver: user name is empty\"}",	     ERR_AUTH,
			NULL															   },
		{400, "{\"code\":3,\"message\":\"revision of auth store is old\"}",	    ERR_AUTH,      NULL					  },
		{400, "{\"code\":3,\"message\":\"authentication failed\"}",		    ERR_FORBIDDEN, NULL				       },
		{400, "{\"code\":3,\"message\":\"odd\"}",				  ERR_FORMAT,    NULL					  },
		{403, "{\"code\":7,\"message\":\"permission denied\"}",			ERR_FORBIDDEN, NULL				   },
		{429, "{\"code\":8,\"message\":\"too many requests\"}",			ERR_OVERLOAD,  NULL					  },
		{503, "{\"code\":14,\"message\":\"no leader\"}",				 ERR_TIMEOUT,   NULL					  },
		{504, "{\"code\":4,\"message\":\"deadline\"}",			       ERR_TIMEOUT,   NULL					},
		{502, "<html>",							   ERR_TIMEOUT,   "status 502"				 },
		{401, "",								 ERR_AUTH,	    "status 401"				},
		{404, "not here",							 ERR_FORMAT,    "status 404"				  },
		{500, "{\"message\":\"line\\nend\"}",				      ERR_TIMEOUT,   "line?end"			     },
	};
	char text[ETCD_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(etcd_read_error(rows[i].status, rows[i].body, strlen(rows[i].body), text),
			rows[i].err);
		if (rows[i].text)
			CHECK_STR(text, rows[i].text);
	}
}
