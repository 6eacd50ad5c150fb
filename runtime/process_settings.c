/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process.h"

#include <string.h>

void process_settings_publish(struct process_page *page, const struct config *config)
{
	struct process_settings *settings = &page->settings;
	uint32_t version = atomic_load_explicit(&settings->version, memory_order_relaxed) | 1;
	struct writer lines = writer_of(settings->lines, sizeof(settings->lines));

	atomic_store_explicit(&settings->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	config_encode_reloadable(config, &lines);
	MUST(!lines.bad);
	settings->size = (uint32_t)writer_used(&lines);
	atomic_store_explicit(&settings->version, version + 1, memory_order_release);
}

enum err process_settings_read(
	const struct process_page *page, uint32_t *seen, struct config *config)
{
	const struct process_settings *settings = &page->settings;
	uint32_t version = atomic_load_explicit(&settings->version, memory_order_acquire);
	char lines[PROCESS_SETTINGS_SIZE];
	uint32_t size;

	if (version == *seen || version % 2)
		return ERR_AGAIN; /* who writes it wakes us when it has */
	size = settings->size;
	memcpy(lines, settings->lines, sizeof(lines));
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&settings->version, memory_order_relaxed) != version)
		return ERR_AGAIN;
	*seen = version;
	return size <= sizeof(lines) ? config_apply_reloadable(config, lines, size) : ERR_FORMAT;
}

bool process_settings_follow(const struct process_env *env, uint32_t *seen, struct log *log)
{
	enum err err = process_settings_read(env->page, seen, env->config);

	if (err == ERR_FORMAT)
		log_error(log, "settings_unreadable", "size", env->page->settings.size);
	if (err)
		return false;
	process_log_follow(env, log);
	return true;
}
