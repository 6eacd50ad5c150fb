/* SPDX-License-Identifier: Apache-2.0
 *
 * settings: what the cluster says of the nodes' configuration. A pair config/KEY of the store, whose value
 * is text as the configuration file would have it, goes before the node's own value for as long as it is
 * there, for keys that may change while a node runs (those that a reload takes). Anything else is
 * refused, with a line in the log, and shown (`config`).
 *
 *   loading --watch, range--> watching
 *
 * The supervisor puts values into effect (PROCESS_SET); here is the list of them. A store that is down
 * changes nothing.
 */
#include "cluster/cluster.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	STORE_MS = 5000,
	AGAIN_MS = 300,
};

enum settings_timer { TIMER_LOAD, TIMER_TELL };

#define PREFIX "config/"

struct settings {
	struct settings_state st;

	uint64_t request; /* to the store, while it is loaded */
};

static struct setting *find(struct settings *s, const char *key)
{
	for (int i = 0; i < s->st.settings_count; i++)
		if (!strcmp(s->st.settings[i].key, key))
			return &s->st.settings[i];
	return NULL;
}

/* ---- the supervisor ---------------------------------------------------------------------------- */

/* False: it could not be told now. */
static bool tell(struct actor *self, const char *text)
{
	struct process_command command = {.op = PROCESS_SET};
	enum err err;

	text_copy(command.text, sizeof(command.text), text);
	err = runtime_supervisor_tell(actor_runtime(self), &command);
	/* where there is none (a unit test) nobody waits for it either */
	return err != ERR_AGAIN;
}

/* Of every key that may change, so that a control process that begins anew need not know what the one before
 * it has said; what is as it was changes nothing. */
static void tell_all(struct actor *self, struct settings *s)
{
	char text[PROCESS_TEXT_SIZE];
	bool told = true;

	for (unsigned key = 0; told && key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);
		const struct setting *setting = find(s, row->key);

		if (!(row->flags & CONFIG_RELOAD))
			continue;
		if (setting && setting->taken)
			snprintf(text, sizeof(text), "%s=%s", row->key, setting->value);
		else
			text_copy(text, sizeof(text), row->key);
		told = tell(self, text);
	}
	if (!told)
		actor_timer_in_ms(self, TIMER_TELL, AGAIN_MS);
}

/* ---- values ------------------------------------------------------------------------------------ */

/* False: `why` says why it cannot be put into effect. */
static bool is_good(struct setting *setting, const struct store_pair *pair)
{
	struct config scratch;
	struct config_report report;
	const struct config_row *row = config_row(config_find(setting->key, strlen(setting->key)));
	const char *why = "";

	if (!row)
		why = "no such key";
	else if (!(row->flags & CONFIG_RELOAD))
		why = "it takes effect at a start only: set it in each node's configuration";
	else if (pair->value.size >= sizeof(setting->value) ||
		 memchr(pair->value.data, 0, pair->value.size))
		why = "the value is too long, or no text";
	text_copy(setting->why, sizeof(setting->why), why);
	if (setting->why[0])
		return false;
	config_init(&scratch, &report);
	if (!config_set(&scratch, row->key, setting->value, CONFIG_FROM_CLUSTER, "", &report))
		return true;
	text_copy(setting->why, sizeof(setting->why), report.errors[0].text);
	return false;
}

static struct setting *add(struct settings *s, const char *key)
{
	struct setting *setting = &s->st.settings[s->st.settings_count];

	if (s->st.settings_count == SETTINGS_MAX || strlen(key) >= sizeof(setting->key))
		return NULL;
	s->st.settings_count++;
	*setting = (struct setting){0};
	text_copy(setting->key, sizeof(setting->key), key);
	return setting;
}

static void take(struct actor *self, struct settings *s, const struct store_pair *pair)
{
	const char *key = pair->key + sizeof(PREFIX) - 1;
	struct setting *setting, now = {0};

	if (strncmp(pair->key, PREFIX, sizeof(PREFIX) - 1) || !key[0])
		return;
	setting = find(s, key);
	if (!setting)
		setting = add(s, key);
	if (!setting) {
		s->st.refused++;
		log_warn(actor_log(self), "setting_refused", "key", key, "why",
			"too many, or too long");
		return;
	}
	memcpy(now.key, setting->key, sizeof(now.key));
	snprintf(now.value, sizeof(now.value), "%.*s", (int)pair->value.size,
		(const char *)pair->value.data);
	now.taken = is_good(&now, pair);
	if (now.taken) {
		s->st.taken++;
		log_info(actor_log(self), "setting_taken", "key", key, "value", now.value);
	} else {
		s->st.refused++;
		log_warn(actor_log(self), "setting_refused", "key", key, "why", now.why);
	}
	if (now.taken || !setting->taken)
		*setting = now;
	else /* what held before holds on */
		memcpy(setting->why, now.why, sizeof(setting->why));
}

static void forget(struct actor *self, struct settings *s, const char *key)
{
	struct setting *setting = find(s, key + sizeof(PREFIX) - 1);

	if (!setting)
		return;
	log_info(actor_log(self), "setting_gone", "key", setting->key);
	*setting = s->st.settings[--s->st.settings_count];
}

/* ---- the store --------------------------------------------------------------------------------- */

static void load(struct actor *self, struct settings *s)
{
	struct msg_store_watch watch = {.prefix = PREFIX};

	s->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_watch, &schema_store_watch, &watch);
}

static void read_settings(struct actor *self, struct settings *s, const char *after)
{
	struct msg_store_range range = {.prefix = PREFIX};

	text_copy(range.after, sizeof(range.after), after);
	s->request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_range, &schema_store_range, &range);
}

ON(settings, store_watching)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->st.settings_count = 0;
	read_settings(self, s, "");
	return ERR_OK;
}

ON(settings, store_pairs)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->request = 0;
	for (int i = 0; i < m->pairs_count; i++)
		take(self, s, &m->pairs[i]);
	if (m->more && m->pairs_count)
		read_settings(self, s, m->pairs[m->pairs_count - 1].key);
	else
		tell_all(self, s);
	return ERR_OK;
}

ON(settings, store_event)
{
	if (m->deleted)
		forget(self, s, m->pair.key);
	else
		take(self, s, &m->pair);
	if (!s->request)
		tell_all(self, s);
	return ERR_OK;
}

/* All that has changed meanwhile, or was there at the start, was told before this. */
ON(settings, store_up)
{
	s->request = 0;
	actor_timer_off(self, TIMER_LOAD);
	tell_all(self, s);
	return ERR_OK;
}

ON(settings, store_down)
{
	return ERR_OK;
}

ON(settings, settings_ask)
{
	struct msg_settings_told told = {.settings_count = s->st.settings_count};

	memcpy(told.settings, s->st.settings, sizeof(told.settings));
	return actor_answer_mail(
		self, actor_asker(self), MSG_settings_told, &schema_settings_told, &told);
}

ON(settings, failed)
{
	if (mail->request && mail->request == s->request)
		actor_timer_in_ms(self, TIMER_LOAD, AGAIN_MS);
	return ERR_OK;
}

static void settings_timer(struct actor *self, void *data, unsigned timer)
{
	switch ((enum settings_timer)timer) {
	case TIMER_LOAD: load(self, data); break;
	case TIMER_TELL: tell_all(self, data); break;
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

static enum err settings_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	actor_set_name(self, "office/settings");
	load(self, data);
	return ERR_OK;
}

/* They are read anew. */
static enum err settings_restore(struct actor *self, void *data)
{
	(void)data;
	actor_timer_in_ms(self, TIMER_LOAD, 0);
	return ERR_OK;
}

static const struct handler settings_handlers[] = {
	HANDLER(settings, store_watching, 0),
	HANDLER(settings, store_pairs, 0),
	HANDLER(settings, store_event, 0),
	HANDLER(settings, store_up, 0),
	HANDLER(settings, store_down, 0),
	HANDLER(settings, settings_ask, 0),
	HANDLER(settings, failed, 0),
};

const struct actor_type settings_actor = {
	.name = "settings",
	.size = sizeof(struct settings),
	.state = &schema_settings_state,
	HANDLER_TABLE(settings_handlers),
	.init = settings_init,
	.restore = settings_restore,
	.timer = settings_timer,
};
