/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/metrics_text.h"
#include "runtime/process.h"
#include "schemas/schema.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { US_PER_S = 1000000 };

struct text {
	char *at;
	size_t size;
	size_t used; /* beyond `size`: there was no room */
};

static __attribute__((format(printf, 2, 3))) void print(struct text *out, const char *format, ...)
{
	bool room = out->used < out->size;
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(room ? out->at + out->used : NULL, room ? out->size - out->used : 0,
		format, arguments);
	va_end(arguments);
	out->used += size > 0 ? (size_t)size : 0;
}

static void print_head(struct text *out, const char *name, const char *type, const char *help)
{
	print(out, "# HELP millrace_%s %s.\n# TYPE millrace_%s %s\n", name, help, name, type);
}

/* Microseconds as seconds. */
static void print_seconds(struct text *out, uint64_t us)
{
	print(out, "%" PRIu64 ".%06" PRIu64 "\n", us / US_PER_S, us % US_PER_S);
}

static uint32_t load(const _Atomic uint32_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

static bool is_there(const struct process_status *slot)
{
	return load(&slot->state) != PROCESS_EMPTY;
}

static const char *role_of(const struct process_status *slot)
{
	return process_role_name((enum process_role)load(&slot->role));
}

/* ---- what the status page says of a process --------------------------------------------------- */

static void print_processes(struct text *out, const struct process_page *page)
{
	static const struct {
		const char *name;
		const char *type;
		const char *help;
		size_t offset;
	} rows[] = {
	// clang-format off
		{"process_cpu_permille", "gauge", "Processor use, thousandths of a core", offsetof(struct process_status, cpu_permille)},
		{"process_packets_per_second", "gauge", "Packets in and out a second", offsetof(struct process_status, packets_per_s)},
		{"process_sessions", "gauge", "Sessions", offsetof(struct process_status, sessions)},
		{"process_streams", "gauge", "Streams", offsetof(struct process_status, streams)},
		{"process_restarts_total", "counter", "Times it was started again", offsetof(struct process_status, restarts)},
	// clang-format on
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		print_head(out, rows[row].name, rows[row].type, rows[row].help);
		for (uint32_t i = 0; page && i < PROCESS_SLOTS_MAX; i++) {
			const struct process_status *slot = &page->slot[i];
			const void *value = (const char *)slot + rows[row].offset;

			if (is_there(slot))
				print(out, "millrace_%s{role=\"%s\",index=\"%u\"} %u\n",
					rows[row].name, role_of(slot), load(&slot->index),
					load(value));
		}
	}
}

/* ---- what processes count ---------------------------------------------------------------------- */

static bool is_time(const char *name)
{
	static const char end[] = "_seconds_total";
	size_t length = strlen(name);

	return length >= sizeof(end) && !strcmp(name + length - (sizeof(end) - 1), end);
}

/* Numbers that a process has no part in are not said of it. */
static bool is_of(const struct process_status *slot, enum process_metric metric, uint64_t value)
{
	uint32_t role = load(&slot->role);

	if (role == PROCESS_CONTROL)
		return true;
	if (role == PROCESS_SPARE) /* it waits */
		return metric == PROCESS_METRIC_CPU || metric == PROCESS_METRIC_MEMORY;
	return metric < PROCESS_METRIC_CONTROL_FIRST &&
	       (role != PROCESS_HOLDER || metric == PROCESS_METRIC_SOCKETS_HELD ||
		       metric == PROCESS_METRIC_SOCKETS_NOT_HELD || value);
}

static void print_count(struct text *out, const struct process_page *page, uint32_t i,
	const struct process_metric_info *info, enum process_metric metric)
{
	const struct process_status *slot = &page->slot[i];
	uint64_t value = atomic_load_explicit(
		&process_metrics_of(page, i)->value[metric], memory_order_relaxed);

	if (!is_there(slot) || !is_of(slot, metric, value))
		return;
	print(out, "millrace_%s{role=\"%s\",index=\"%u\"%s%s} ", info->name, role_of(slot),
		load(&slot->index), *info->label ? "," : "", info->label);
	if (is_time(info->name))
		print_seconds(out, value);
	else
		print(out, "%" PRIu64 "\n", value);
}

static void print_counts(struct text *out, const struct process_page *page)
{
	const char *previous = "";

	for (int metric = 0; metric < PROCESS_METRIC_COUNT; metric++) {
		const struct process_metric_info *info = &process_metric_infos[metric];

		if (strcmp(previous, info->name))
			print_head(out, info->name, info->type, info->help);
		previous = info->name;
		for (uint32_t i = 0; page && i < PROCESS_SLOTS_MAX; i++)
			print_count(out, page, i, info, (enum process_metric)metric);
	}
}

/* ---- neighbours -------------------------------------------------------------------------------- */

enum neighbour_value { COUNT, MICROSECONDS, MILLIONTHS };

static const struct neighbour_family {
	const char *name, *help;
	size_t offset;
	bool is_long;
	enum neighbour_value value;
} neighbour_families[] = {
	// clang-format off
	{"neighbour_up", "Whether the links to a node are up, as the control process sees them. Of other: how many are", offsetof(struct process_neighbour, up), false, COUNT},
	{"neighbour_round_trip_seconds", "Round trip of the best path to a node. Of other: the longest", offsetof(struct process_neighbour, round_trip_us), false, MICROSECONDS},
	{"neighbour_lost_ratio", "What is lost on the way to a node before it is mended. Of other: the most", offsetof(struct process_neighbour, lost_ppm), false, MILLIONTHS},
	{"neighbour_sent_bytes_per_second", "Sent to a node over the last second, by all paths and workers", offsetof(struct process_neighbour, bytes_per_s), true, COUNT},
	{"neighbour_repaired_packets_per_second", "Packets from a node that did not come the first time, and came", offsetof(struct process_neighbour, repaired_per_s), true, COUNT},
	{"neighbour_given_up_packets_per_second", "Packets from a node that did not come", offsetof(struct process_neighbour, given_up_per_s), true, COUNT},
	// clang-format on
};

static void print_neighbour(struct text *out, const struct neighbour_family *family,
	const struct process_neighbour *row)
{
	const char *at = (const char *)row + family->offset;
	uint64_t value = family->is_long ? *(const uint64_t *)(const void *)at
					 : *(const uint32_t *)(const void *)at;

	print(out, "millrace_%s{role=\"control\",index=\"0\",node=\"%s\"} ", family->name,
		row->name);
	if (family->value == COUNT)
		print(out, "%" PRIu64 "\n", value);
	else /* both are millionths of what is shown */
		print_seconds(out, value);
}

static const struct path_family {
	const char *name, *help;
} path_families[] = {
	{"neighbour_path_up",		      "Whether a path to a node is up. Of other: how many are"},
	{"neighbour_path_round_trip_seconds",    "Round trip of a path. Of other: the longest"	   },
	{"neighbour_path_lost_ratio",
		"What is lost on a path before it is mended. Of other: the most"				},
	{"neighbour_path_jitter_seconds",	  "Jitter of a path, one way. Of other: the most"	 },
	{"neighbour_path_sent_bytes_per_second", "Sent on a path over the last second"		      },
};

static void print_path(struct text *out, size_t family, const char *node, const char *path,
	const struct process_path *row, unsigned up)
{
	print(out,
		"millrace_%s{role=\"control\",index=\"0\",node=\"%s\",path=\"%s\",relayed=\"%s\"} ",
		path_families[family].name, node, path, row->relayed ? "yes" : "no");
	switch (family) {
	case 0: print(out, "%u\n", up); break;
	case 1: print_seconds(out, row->round_trip_us); break;
	case 2: print_seconds(out, (uint64_t)row->lost_share * 1000000 / UINT16_MAX); break;
	case 3: print_seconds(out, (uint64_t)row->jitter_16us * 16); break;
	default: print(out, "%" PRIu64 "\n", (uint64_t)row->sent_kbps * 125);
	}
}

/* Those of the busiest neighbours one by one, as many as there is room for; the rest together. */
static void print_paths(struct text *out, const struct process_neighbours *rows,
	const struct process_paths *paths, bool told)
{
	for (size_t i = 0; i < sizeof(path_families) / sizeof(path_families[0]); i++) {
		print_head(out, path_families[i].name, "gauge", path_families[i].help);
		for (uint32_t j = 0; told && j < paths->count; j++) {
			const struct process_path *row = &paths->named[j];
			char path[4];

			snprintf(path, sizeof(path), "%u", row->path);
			print_path(out, i, rows->named[row->neighbour].name, path, row,
				row->state == LINK_UP);
		}
		if (told)
			print_path(out, i, "other", "other", &paths->other, paths->other.state);
	}
}

static void print_modes(struct text *out, const struct process_neighbour *row, bool all)
{
	for (int mode = 0; mode < PROCESS_LINK_MODES; mode++)
		if (all || row->modes[mode])
			print(out,
				"millrace_neighbour_mode{role=\"control\",index=\"0\",node=\"%s\","
				"mode=\"%s\"} %u\n",
				row->name, schema_link_mode_name(mode), row->modes[mode]);
}

/* The nodes at the other ends of links: the busiest by name, the rest together. */
static void print_neighbours(struct text *out, const struct process_page *page)
{
	bool told = page && is_there(&page->slot[process_slot(PROCESS_CONTROL, 0)]);
	struct process_neighbours rows;
	struct process_paths paths;

	if (!process_neighbours_get(page, &rows, &paths) || !rows.other.name[0]) {
		rows = (struct process_neighbours){.other.name = "other"};
		paths = (struct process_paths){0};
	}
	print_head(out, "neighbours", "gauge", "Nodes that there are links to");
	if (told)
		print(out, "millrace_neighbours{role=\"control\",index=\"0\"} %u\n", rows.total);
	for (size_t i = 0; i < sizeof(neighbour_families) / sizeof(neighbour_families[0]); i++) {
		const struct neighbour_family *family = &neighbour_families[i];

		print_head(out, family->name, "gauge", family->help);
		for (uint32_t j = 0; told && j < rows.count; j++)
			print_neighbour(out, family, &rows.named[j]);
		if (told)
			print_neighbour(out, family, &rows.other);
	}
	print_head(out, "neighbour_mode", "gauge",
		"The mode in which links to a node send: 1. Of other: how many do");
	for (uint32_t j = 0; told && j < rows.count; j++)
		print_modes(out, &rows.named[j], false);
	if (told)
		print_modes(out, &rows.other, true);
	print_paths(out, &rows, &paths, told);
}

/* ---- times ------------------------------------------------------------------------------------- */

/* Buckets of all processes together. Read while others count: the total is that of the buckets. */
static void print_histogram(struct text *out, const struct process_page *page,
	const struct process_metric_info *info, enum process_histogram histogram)
{
	uint64_t sum_us = 0, count = 0;

	for (int bucket = 0; bucket < PROCESS_BUCKET_COUNT; bucket++) {
		const char *below =
			bucket < PROCESS_BUCKET_BEYOND ? process_bucket_infos[bucket].text : "+Inf";

		for (uint32_t i = 0; page && i < PROCESS_SLOTS_MAX; i++)
			count += atomic_load_explicit(
				&process_metrics_of(page, i)->times[histogram].bucket[bucket],
				memory_order_relaxed);
		print(out, "millrace_%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", info->name,
			info->label, *info->label ? "," : "", below, count);
	}
	for (uint32_t i = 0; page && i < PROCESS_SLOTS_MAX; i++)
		sum_us +=
			atomic_load_explicit(&process_metrics_of(page, i)->times[histogram].sum_us,
				memory_order_relaxed);
	const char *open = *info->label ? "{" : "", *close = *info->label ? "}" : "";

	print(out, "millrace_%s_sum%s%s%s ", info->name, open, info->label, close);
	print_seconds(out, sum_us);
	print(out, "millrace_%s_count%s%s%s %" PRIu64 "\n", info->name, open, info->label, close,
		count);
}

size_t metrics_text(const struct process_page *page, char *out, size_t size)
{
	struct text text = {.at = out, .size = size};
	const char *previous = "";

	print_head(&text, "build_info", "gauge", "The release, in its label");
	print(&text, "millrace_build_info{version=\"%s\"} 1\n", MILLRACE_VERSION);
	print_processes(&text, page);
	print_counts(&text, page);
	print_neighbours(&text, page);
	for (int i = 0; i < PROCESS_HISTOGRAM_COUNT; i++) {
		const struct process_metric_info *info = &process_histogram_infos[i];

		if (strcmp(previous, info->name))
			print_head(&text, info->name, info->type, info->help);
		previous = info->name;
		print_histogram(&text, page, info, (enum process_histogram)i);
	}
	return text.used < text.size ? text.used : 0;
}
