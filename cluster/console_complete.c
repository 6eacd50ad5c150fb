/* SPDX-License-Identifier: Apache-2.0
 *
 * console: what a line may go on with, for the page's console, which has no grammar of its own
 * (`millrace repl` completes by itself, with the same runtime/repl_complete.h). "complete LINE|" is
 * about the text before the last bar, so that blanks at its end count. The answer:
 *
 *	{"word":"act","words":[{"word":"actors","is":"…"}],"more":0,"common":"actors","goes_on":false}
 *
 * word = what is being completed, common = what all candidates begin with, more = how many are not
 * listed, goes_on = no blank behind a single one. Addresses and names are asked of the processes.
 */
#include "cluster/console_internal.h"
#include "runtime/repl_complete.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *lists; /* the command … */
	const char *where; /* … what it is asked for when a word was begun … */
	const char *key;   /* … and which field of its rows is meant */
} fetches[] = {
	[REPL_FETCH_ADDRESSES] = {"actors",   " where addr ~ ", "addr"},
	[REPL_FETCH_STREAMS] = {"streams",  " where name ~ ", "name"},
	[REPL_FETCH_SESSIONS] = {"sessions", NULL,		   "id"  },
};

enum { FETCH_NONE = -1 };

static json_t *document_of(const struct repl_candidates *candidates, const char *word)
{
	json_t *words = json_array();

	for (unsigned i = 0; i < candidates->kept; i++)
		json_array_append_new(words, json_pack("{s:s, s:s}", "word", candidates->word[i],
						     "is", candidates->label[i]));
	return json_pack("{s:s, s:o, s:i, s:s%, s:b}", "word", word, "words", words, "more",
		(int)(candidates->count - candidates->kept), "common",
		candidates->kept ? candidates->word[0] : "", candidates->common, "goes_on",
		candidates->goes_on);
}

/* ---- what the node itself knows --------------------------------------------------------------- */

struct wanted {
	int what; /* enum repl_fetch */
};

static void note_fetch(
	void *context, enum repl_fetch what, const char *prefix, struct repl_candidates *candidates)
{
	struct wanted *wanted = context;

	(void)prefix;
	(void)candidates;
	wanted->what = (int)what;
}

/* The rows of these are candidates (console_complete_go_on). */
static void ask_for(struct actor *self, struct question *q, enum repl_fetch what, const char *word)
{
	char text[CONSOLE_COMMAND_MAX];
	struct actor_filter filter;
	const char *expected;
	bool narrow = *word && fetches[what].where;

	snprintf(text, sizeof(text), "%s%s%s limit %d", fetches[what].lists,
		narrow ? fetches[what].where : "", narrow ? word : "", REPL_CANDIDATES_MAX);
	if (actor_filter_parse(text + strlen(fetches[what].lists), &filter, &expected)) {
		console_fail(self, q, ERR_FORMAT, expected);
		return;
	}
	q->reply.fetched = (int)what;
	text_copy(q->reply.words, sizeof(q->reply.words), word);
	console_ask_everybody(self, q, text);
}

void console_begin_complete(struct actor *self, struct question *q, const char *arguments)
{
	struct wanted wanted = {FETCH_NONE};
	char line[CONSOLE_COMMAND_MAX], *end;
	struct repl_candidates *candidates = malloc(sizeof(*candidates));
	json_t *commands = console_help();
	struct repl_source source = {.commands = commands, .fetch = note_fetch, .context = &wanted};

	text_copy(line, sizeof(line), *arguments ? arguments + 1 : "");
	end = strrchr(line, '|');
	if (!candidates || !commands) {
		console_fail(self, q, ERR_NO_MEMORY, "");
	} else if (!end || end[1]) {
		console_fail(self, q, ERR_FORMAT, "expected: complete LINE|");
	} else {
		*end = 0;
		candidates->start = strlen(line);
		repl_complete(line, &source, candidates);
		if (wanted.what != FETCH_NONE) {
			ask_for(self, q, (enum repl_fetch)wanted.what, line + candidates->start);
		} else {
			q->reply.document = document_of(candidates, line + candidates->start);
			console_finish(self, q);
		}
	}
	json_decref(commands);
	free(candidates);
}

/* ---- what the processes have said -------------------------------------------------------------- */

bool console_complete_go_on(struct actor *self, struct question *q)
{
	const struct console_reply *reply = &q->reply;
	struct repl_candidates *candidates;
	char label[REPL_WORD_MAX];
	json_t *row;
	size_t i;

	(void)self;
	if (reply->err || reply->document)
		return false;
	candidates = calloc(1, sizeof(*candidates));
	if (!candidates) {
		q->reply.err = ERR_NO_MEMORY;
		return false;
	}
	json_array_foreach(reply->rows, i, row)
	{
		const char *word =
			json_string_value(json_object_get(row, fetches[reply->fetched].key));
		const char *type = json_string_value(json_object_get(row, "type"));
		const char *name = json_string_value(json_object_get(row, "name"));

		snprintf(label, sizeof(label), "%.30s  %.110s", type ? type : "", name ? name : "");
		if (word)
			repl_candidate(candidates, reply->words, word, label);
	}
	q->reply.document = document_of(candidates, reply->words);
	free(candidates);
	return false;
}
