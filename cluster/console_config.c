/* SPDX-License-Identifier: Apache-2.0
 *
 * console: `config`: the node's keys with their values, where each comes from, and what a change of it
 * takes. `config set` and `unset` write what the cluster says of a key into the store (config/KEY), from
 * where every node's settings office puts it into effect; only keys that may change while a node runs, and
 * no secrets: what lies in the store is read by all.
 */
#include "cluster/console_internal.h"
#include "cluster/store.h"
#include "runtime/config.h"
#include "runtime/process.h"

#include <stdio.h>

enum { STORE_WAIT_MS = 2500 };

static const char usage[] = "expected: config [KEY], config set KEY VALUE, config unset KEY";

/* ---- showing --------------------------------------------------------------------------------------- */

static const struct setting *told_of(const struct msg_settings_told *told, const char *key)
{
	for (int i = 0; told && i < told->settings_count; i++)
		if (!strcmp(told->settings[i].key, key))
			return &told->settings[i];
	return NULL;
}

static json_t *key_row(struct actor *self, enum config_key key, const struct setting *setting)
{
	const struct config *config = actor_config(self);
	const struct config_row *row = config_row(key);
	const char *source = config_source_name((enum config_source)config->set_by[key]);
	char text[CONFIG_VALUE_MAX + 1];
	json_t *result;

	if (setting && setting->taken) {
		source = config_source_name(CONFIG_FROM_CLUSTER);
		text_copy(text, sizeof(text), setting->value);
	} else {
		config_value_text(config, key, text, sizeof(text));
	}
	result = json_pack("{s:s, s:s, s:s, s:s}", "key", row->key, "value", text, "source", source,
		"change", row->flags & CONFIG_RELOAD ? "live" : "restart");
	if (setting && setting->why[0]) /* of what the store says now */
		json_object_set_new(result, "refused", json_string(setting->why));
	return result;
}

/* All that begin with the words, "" = all; one that is named whole tells what it is for. */
static void show(struct actor *self, struct question *q, const struct msg_settings_told *told)
{
	const char *wanted = q->reply.words;
	enum config_key whole = config_find(wanted, strlen(wanted));

	if (whole < CONFIG_KEY_COUNT) {
		const struct config_row *row = config_row(whole);

		q->reply.document = key_row(self, whole, told_of(told, row->key));
		json_object_set_new(q->reply.document, "default", json_string(row->fallback));
		json_object_set_new(q->reply.document, "does", json_string(row->help));
		console_finish(self, q);
		return;
	}
	q->reply.document = json_array();
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (!strncmp(config_row(key)->key, wanted, strlen(wanted)))
			json_array_append_new(
				q->reply.document, key_row(self, (enum config_key)key,
							   told_of(told, config_row(key)->key)));
	if (json_array_size(q->reply.document))
		console_finish(self, q);
	else
		console_fail(self, q, ERR_NOT_FOUND, "no key begins so");
}

/* Without an answer the node's own values are shown. */
static void settings_told(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	show(self, q, schema == &schema_settings_told ? message : NULL);
}

static void begin_show(struct actor *self, struct question *q, const char *arguments)
{
	static const char nothing; /* the message has no fields */

	if (console_has_words(arguments) &&
		!console_next_word(&arguments, q->reply.words, sizeof(q->reply.words)))
		console_fail(self, q, ERR_NOT_FOUND, "no key begins so");
	else if (console_has_words(arguments))
		console_fail(self, q, ERR_FORMAT, usage);
	else if (!actor_config(self))
		console_fail(self, q, ERR_UNSUPPORTED, "there is no configuration here");
	else if (!console_in_cluster(self))
		show(self, q, NULL);
	else {
		q->answered = settings_told;
		console_ask_office(self, q, OFFICE_SETTINGS, &schema_settings_ask, &nothing);
	}
}

/* ---- changing -------------------------------------------------------------------------------------- */

static void stored(
	struct actor *self, struct question *q, const struct schema *schema, const void *message)
{
	const struct msg_failed *failed = schema == &schema_failed ? message : NULL;
	bool set = q->sent == &schema_store_put;

	q->asked[0].request = 0;
	q->asked_count = q->waiting = 0;
	if (failed && failed->err == ERR_NOT_FOUND && !set) {
		console_fail(self, q, ERR_NOT_FOUND, "the cluster says nothing of this key");
	} else if (failed) {
		console_fail(self, q, (enum err)failed->err, failed->text);
	} else {
		q->reply.document = json_pack(
			"{s:s, s:s}", set ? "set" : "unset", q->reply.words, "in", "etcd");
		console_finish(self, q);
	}
}

static void write_setting(struct actor *self, struct question *q, const char *value)
{
	struct msg_store_put put = {.compare = STORE_ANY};
	struct msg_store_delete forget = {.compare = STORE_ANY};
	const struct schema *schema = value ? &schema_store_put : &schema_store_delete;

	q->answered = stored;
	q->sent = schema;
	q->asked_count = q->waiting = 1;
	q->asked[0] = (struct expected){0};
	if (value) {
		put.value.size = (uint16_t)strlen(value);
		memcpy(put.value.data, value, put.value.size);
	}
	snprintf(put.key, sizeof(put.key), "config/%s", q->reply.words);
	memcpy(forget.key, put.key, sizeof(forget.key));
	q->asked[0].request = actor_request_mail(self, actor_office(self, OFFICE_STORE),
		STORE_WAIT_MS, schema->id, schema, value ? (const void *)&put : &forget);
}

/* NULL: it may be set. `problem` may be used for the text. */
static const char *why_not(const struct config_row *row, const char *value, char *problem)
{
	struct config_report report;
	struct config scratch;

	if (row->flags & CONFIG_SECRET)
		return "a secret is not for the store, which all nodes read: set it in each node's "
		       "configuration";
	if (!(row->flags & CONFIG_RELOAD))
		return "this key takes effect at a start: set it in each node's configuration, and "
		       "restart the node";
	if (!value)
		return NULL;
	if (strlen(value) >= sizeof(((struct setting *)0)->value))
		return "the value is too long";
	config_init(&scratch, &report);
	if (!config_set(&scratch, row->key, value, CONFIG_FROM_CLUSTER, "config set", &report))
		return NULL;
	text_copy(problem, SCHEMA_PROBLEM_SIZE, report.errors[0].text);
	return problem;
}

static void begin_change(struct actor *self, struct question *q, const char *arguments, bool set)
{
	char problem[SCHEMA_PROBLEM_SIZE];
	const struct config_row *row;
	const char *value = NULL, *why;

	if (!console_next_word(&arguments, q->reply.words, sizeof(q->reply.words)) ||
		console_has_words(arguments) != set) {
		console_fail(self, q, ERR_FORMAT, usage);
		return;
	}
	if (set)
		value = console_skip_blanks(arguments);
	row = config_row(config_find(q->reply.words, strlen(q->reply.words)));
	why = row ? why_not(row, value, problem) : NULL;
	if (q->from_afar)
		console_fail(self, q, ERR_UNSUPPORTED, "other nodes only tell");
	else if (!row)
		console_fail(self, q, ERR_NOT_FOUND, "no such key, see config");
	else if (why)
		console_fail(self, q, ERR_CONFIG, why);
	else if (!console_in_cluster(self))
		console_fail(self, q, ERR_UNSUPPORTED,
			"this node is alone (coord local): set it in its configuration, and "
			"reload");
	else
		write_setting(self, q, value);
}

void console_begin_config(struct actor *self, struct question *q, const char *arguments)
{
	const char *rest = arguments;
	char word[16];

	if (console_next_word(&rest, word, sizeof(word)) &&
		(!strcmp(word, "set") || !strcmp(word, "unset")))
		begin_change(self, q, rest, word[0] == 's');
	else
		begin_show(self, q, arguments);
}
