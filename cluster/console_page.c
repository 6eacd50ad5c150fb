/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/console_page.h"

#include <stdlib.h>

static uint64_t id_of(const json_t *row)
{
	const char *text = json_string_value(json_object_get(row, "addr"));
	struct addr addr = {0};

	return text && !addr_parse(text, &addr) ? addr.id : 0;
}

void console_page_end(struct console_page *page, uint64_t id)
{
	if (!page->ended || id < page->end)
		page->end = id;
	page->ended = true;
}

uint64_t console_page_first(const json_t *rows)
{
	uint64_t first = id_of(json_array_get(rows, 0));

	return first ? first : UINT64_MAX;
}

void console_page_ends_at(struct console_page *page, const json_t *next)
{
	struct addr addr;

	if (json_is_string(next) && !addr_parse(json_string_value(next), &addr))
		console_page_end(page, addr.id);
}

void console_page_left_out(struct console_page *page, const json_t *rows)
{
	uint64_t first = console_page_first(rows);

	if (first != UINT64_MAX)
		console_page_end(page, first - 1);
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = id_of(*(json_t *const *)a), y = id_of(*(json_t *const *)b);

	return x < y ? -1 : x > y;
}

static json_t *sorted(json_t *rows)
{
	size_t count = json_array_size(rows);
	json_t **list = calloc(count ? count : 1, sizeof(*list));
	json_t *result = list ? json_array() : NULL;

	for (size_t i = 0; result && i < count; i++)
		list[i] = json_array_get(rows, i);
	if (result)
		qsort(list, count, sizeof(*list), by_id);
	for (size_t i = 0; result && i < count; i++)
		json_array_append(result, list[i]);
	free(list);
	return result;
}

json_t *console_page_cut(struct console_page *page, json_t *rows)
{
	json_t *result = sorted(rows), *next = NULL;
	size_t keep = 0, count = json_array_size(result);

	while (keep < count && (!page->limit || keep < page->limit) &&
		(!page->ended || id_of(json_array_get(result, keep)) <= page->end))
		keep++;
	if (keep)
		next = json_incref(json_object_get(json_array_get(result, keep - 1), "addr"));
	for (size_t i = count; i > keep; i--)
		json_array_remove(result, i - 1);
	if (keep < count || page->ended)
		page->next = next;
	else
		json_decref(next);
	return result;
}
