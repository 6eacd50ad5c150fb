/* SPDX-License-Identifier: Apache-2.0
 *
 * What may change while the node runs: keys that a reload takes, and what the cluster says of them, which
 * goes before the node's own.
 *
 *   file, environment, flags --start, SIGHUP--> own --.
 *                          cluster --PROCESS_SET--> told --> config, status page, children woken
 */
#include "runtime/supervisor_internal.h"

/* Off and on as the page says it; 0 = as each process was configured. */
enum { REBALANCE_OFF = 1, REBALANCE_ON = 2 };

static void settle(struct supervisor *s)
{
	config_copy_reloadable(&s->config, &s->own);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		if (s->is_told[key])
			config_copy_key(&s->config, &s->told, (enum config_key)key);
	s->log->level = (enum log_level)s->config.log_level;
	s->log->format = (enum log_format)s->config.log_format;
	atomic_store(&s->page->log_level, (uint32_t)s->config.log_level);
	atomic_store(&s->page->log_format, (uint32_t)s->config.log_format);
	atomic_store(
		&s->page->rebalance, s->config.placement_rebalance ? REBALANCE_ON : REBALANCE_OFF);
	for (uint32_t i = 0; i < s->child_count; i++)
		child_wake(&s->children[i]);
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
	enum err err = ERR_OK;

	if (!length && !equals) {
		memset(s->is_told, 0, sizeof(s->is_told));
	} else if (key == CONFIG_KEY_COUNT) {
		err = ERR_NOT_FOUND;
	} else if (!(config_row(key)->flags & CONFIG_RELOAD)) {
		err = ERR_CONFIG;
	} else if (!equals) {
		s->is_told[key] = false;
	} else {
		err = config_set(&s->told, config_row(key)->key, equals + 1, CONFIG_FROM_CLUSTER,
			"cluster", &report);
		s->is_told[key] = s->is_told[key] || !err;
	}
	if (!err)
		settle(s);
	return err;
}
