/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/repl_complete.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
	"[{\"command\":\"help\",\"arguments\":\"[COMMAND]\",\"does\":\"x\"},"
	"{\"command\":\"actors\",\"arguments\":\"[TYPE] [where FIELD OP VALUE]\",\"does\":\"x\"},"
	"{\"command\":\"arena\",\"arguments\":\"\",\"does\":\"x\"},"
	"{\"command\":\"inspect\",\"arguments\":\"ADDR\",\"does\":\"x\"},"
	"{\"command\":\"paths\",\"arguments\":\"STREAM\",\"does\":\"x\"},"
	"{\"command\":\"trace\",\"arguments\":\"ADDR [MESSAGE …]\",\"does\":\"x\"},"
	"{\"command\":\"send\",\"arguments\":\"ADDR MESSAGE [FIELD=VALUE …]\",\"does\":\"x\"},"
	"{\"command\":\"session-delete\",\"arguments\":\"ID\",\"does\":\"x\"},"
	"{\"command\":\"top\",\"arguments\":\"[cpu|mails|mailbox]\",\"does\":\"x\"}]";

static void fetch(
	void *context, enum repl_fetch what, const char *prefix, struct repl_candidates *candidates)
{
	static const char *const words[][2] = {
		[REPL_FETCH_ADDRESSES] = {"1f/10000000010",   "1f/10000000011"  },
		[REPL_FETCH_STREAMS] = {"live/demo",	     "live/other"	 },
		[REPL_FETCH_SESSIONS] = {"0000020000000010", "0000020000000011"},
	};

	(void)context;
	for (int i = 0; i < 2; i++)
		repl_candidate(candidates, prefix, words[what][i], "");
}

static struct repl_candidates candidates;

static bool has(const char *word)
{
	for (unsigned i = 0; i < candidates.kept; i++)
		if (!strcmp(candidates.word[i], word))
			return true;
	return false;
}

TEST(what_a_line_may_go_on_with)
{
	static const struct {
		const char *text;
		unsigned count;	    /* 0 = nothing, 99 = any number above nothing */
		const char *one;    /* is among them */
		const char *common; /* what they begin with; NULL = not looked at */
	} rows[] = {
	// clang-format off
		{"", 9, "help", ""},
		{"a", 2, "actors", "a"},
		{"act", 1, "actors", "actors"},
		{"  act", 1, "actors", "actors"},
		{"nothing", 0, NULL, NULL},
		{"help ar", 1, "arena", "arena"},
		{"help arena ", 0, NULL, NULL},
		{"arena ", 0, NULL, NULL},
		{"actors rtmp_s", 1, "rtmp_session", "rtmp_session"},
		{"actors wh", 1, "where", "where"},
		{"actors session ", 3, "limit", ""},
		{"actors session where rtt", 2, "rtt_ms", "rtt_"},
		{"actors session where mailb", 1, "mailbox", "mailbox"},
		{"actors session where resu", 0, NULL, NULL}, /* a secret */
		{"actors session where track", 0, NULL, NULL}, /* a list */
		{"actors where mailb", 1, "mailbox", "mailbox"},
		{"actors where rtt", 0, NULL, NULL}, /* of which type? */
		{"actors session where rtt_ms ", 7, "<=", ""},
		{"actors session where play = ", 2, "true", ""},
		{"actors stream where transcoded_codec = OP", 1, "OPUS", "OPUS"},
		{"actors session where rtt_ms > ", 0, NULL, NULL},
		{"actors session where rtt_ms > 1 a", 2, "and", "a"},
		{"actors session where rtt_ms > 1 and pla", 1, "play", "play"},
		{"actors after 1f/", 2, "1f/10000000011", "1f/1000000001"},
		{"actors limit ", 0, NULL, NULL},
		{"inspect ", 2, "1f/10000000010", "1f/1000000001"},
		{"inspect 2", 0, NULL, NULL},
		{"inspect 1f/10000000010 ", 0, NULL, NULL},
		{"paths live/d", 1, "live/demo", "live/demo"},
		{"session-delete ", 2, "0000020000000011", "000002000000001"},
		{"trace 1f/10000000010 subscribed", 1, "subscribed", "subscribed"},
		{"trace 1f/10000000010 publish pub", 2, "publish", "publish"},
		{"send 1f/10000000010 name_lo", 2, "name_lookup", "name_lo"},
		{"send 1f/10000000010 subscribe fe", 1, "feed=", "feed="},
		{"send 1f/10000000010 subscribe feed=", 2, "feed=true", "feed="},
		{"send 1f/10000000010 subscribe feed=f", 1, "feed=false", "feed=false"},
		{"send 1f/10000000010 publish tra", 1, "tracks.0.", "tracks.0."},
		{"send 1f/10000000010 nonsense x", 0, NULL, NULL},
		{"top ma", 2, "mailbox", "mail"},
		{"top cpu ", 0, NULL, NULL},
	// clang-format on
	};
	json_t *commands = json_loads(help, 0, NULL);
	struct repl_source source = {.commands = commands, .fetch = fetch};

	CHECK(commands);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		repl_complete(rows[i].text, &source, &candidates);
		if (candidates.count != rows[i].count || (rows[i].one && !has(rows[i].one)))
			fail_msg("%s: %u candidates, first %s", rows[i].text, candidates.count,
				candidates.kept ? candidates.word[0] : "");
		if (rows[i].common &&
			(candidates.common != strlen(rows[i].common) ||
				strncmp(candidates.word[0], rows[i].common, candidates.common)))
			fail_msg("%s: common %zu", rows[i].text, candidates.common);
	}
	source.fetch = NULL; /* no node */
	repl_complete("inspect ", &source, &candidates);
	CHECK_EQ(candidates.count, 0);
	json_decref(commands);
	source.commands = NULL; /* it did not answer */
	repl_complete("a", &source, &candidates);
	CHECK_EQ(candidates.count, 0);
}

TEST(candidates_are_bounded)
{
	char word[REPL_WORD_MAX + 20];

	memset(&candidates, 0, sizeof(candidates));
	for (int i = 0; i < REPL_CANDIDATES_MAX + 7; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		repl_candidate(&candidates, "word", word, "");
		repl_candidate(&candidates, "other", word, "");
	}
	CHECK_EQ(candidates.kept, REPL_CANDIDATES_MAX);
	CHECK_EQ(candidates.count, REPL_CANDIDATES_MAX + 7);
	CHECK_EQ(candidates.common, 5);
	repl_candidate(&candidates, "", "word-1", ""); /* it is there */
	CHECK_EQ(candidates.count, REPL_CANDIDATES_MAX + 7);
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = 0;
	repl_candidate(&candidates, "", word, ""); /* longer than any name */
	CHECK_EQ(candidates.count, REPL_CANDIDATES_MAX + 7);
}

TEST(secrets_are_not_kept)
{
	static const struct {
		const char *line, *kept;
	} rows[] = {
	// clang-format off
		{"workers\n", "workers"},
		{"  actors   stream ", "actors stream"},
		{"send 1f/10 publish resume=secret protocol=x", "send 1f/10 publish resume=*** protocol=x"},
		{"send 1f/10 publish resume=\"two words\" protocol=x", "send 1f/10 publish resume=*** protocol=x"},
		{"send 1f/10 publish resume=\"a \\\" b\" protocol=x\r\n", "send 1f/10 publish resume=*** protocol=x"},
		{"send 1f/10 publish resume=", "send 1f/10 publish resume=***"},
		{"send 1f/10 publish subject=\"a b\"", "send 1f/10 publish subject=\"a b\""},
		{"send 1f/10 nonsense resume=x", "send 1f/10 nonsense resume=x"},
		{"send 1f/10 publish tracks.0.fmtp=x", "send 1f/10 publish tracks.0.fmtp=x"},
		{"actors where resume=x", "actors where resume=x"},
		{"", ""},
	// clang-format on
	};
	char kept[200], cut[12];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		repl_without_secrets(rows[i].line, kept, sizeof(kept));
		CHECK_STR(kept, rows[i].kept);
	}
	repl_without_secrets("send 1f/10000000000 publish", cut, sizeof(cut));
	CHECK(strlen(cut) < sizeof(cut));
}
