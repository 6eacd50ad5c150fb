/* SPDX-License-Identifier: Apache-2.0
 *
 * What may change while the node runs (CONFIG_RELOAD): the node's own values, as a reload reads them, and
 * what the cluster says of them, which goes before.
 *
 *   file, environment, flags --start, SIGHUP--> own --.
 *                          cluster --PROCESS_SET--> told --> config, status page, children woken
 */
#include "runtime/supervisor_internal.h"

static void settle(struct supervisor *s)
{
	config_copy_reloadable(&s->config, &s->own);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (s->is_told[key])
			config_copy_key(&s->config, &s->told, (enum config_key)key);
	s->log->level = (enum log_level)s->config.log_level;
	s->log->format = (enum log_format)s->config.log_format;
	process_settings_publish(s->page, &s->config);
	for (uint32_t i = 0; i < s->child_count; i++)
		child_wake(&s->children[i]);
}

/* Those of which nothing was told in the page, by a release of other keys perhaps, are the node's own. */
void supervisor_find_settings(struct supervisor *s)
{
	uint32_t seen = 0;

	s->told = s->config;
	if (process_settings_read(s->page, &seen, &s->told))
		return;
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		s->is_told[key] = config_row(key)->flags & CONFIG_RELOAD &&
				  s->told.set_by[key] == CONFIG_FROM_CLUSTER;
	settle(s);
}

void supervisor_take(struct supervisor *s, const struct config *fresh)
{
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (!config_same(fresh, &s->own, (enum config_key)key) &&
			!(config_row(key)->flags & CONFIG_RELOAD))
			log_warn(s->log, "reload_needs_restart", "key", config_row(key)->key);
	config_copy_reloadable(&s->own, fresh);
	atomic_fetch_add(&s->page->reloads, 1);
	settle(s);
}

enum err supervisor_set(struct supervisor *s, const char *setting)
{
	const char *equals = strchr(setting, '=');
	size_t length = equals ? (size_t)(equals - setting) : strlen(setting);
	enum config_key key = config_find(setting, length);
	struct config_report report = {0};
	bool was = key < CONFIG_KEY_COUNT && s->is_told[key];
	struct config before;
	enum err err;

	if (key == CONFIG_KEY_COUNT)
		return ERR_NOT_FOUND;
	if (!(config_row(key)->flags & CONFIG_RELOAD))
		return ERR_CONFIG;
	before = s->told;
	if (equals) {
		err = config_set(&s->told, config_row(key)->key, equals + 1, CONFIG_FROM_CLUSTER,
			"cluster", &report);
		if (err)
			return err;
	}
	s->is_told[key] = equals != NULL;
	if (was != s->is_told[key] || (equals && !config_same(&before, &s->told, key)))
		settle(s);
	return ERR_OK;
}
