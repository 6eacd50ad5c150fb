/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/permits_used.h"

#include <stddef.h>
#include <string.h>

uint64_t permits_used_client(const char *client)
{
	const char *colon = strrchr(client, ':');
	size_t size = colon ? (size_t)(colon - client) : strlen(client);
	uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (uint8_t)client[i]) * UINT64_C(0x100000001B3);
	return hash;
}

static struct permit_used *find(struct permits_used *used, uint64_t number)
{
	for (size_t i = 0; number && i < PERMITS_USED_MAX; i++)
		if (used->rows[i].number == number)
			return &used->rows[i];
	return NULL;
}

static struct permit_used *add(struct permits_used *used, uint64_t number)
{
	struct permit_used *row = &used->rows[used->next];

	used->next = (used->next + 1) % PERMITS_USED_MAX;
	*row = (struct permit_used){.number = number};
	return row;
}

enum err permits_used_show(
	struct permits_used *used, uint64_t number, uint64_t client, int64_t now_us)
{
	struct permit_used *row = find(used, number);

	if (!number)
		return ERR_AUTH;
	if (!row) {
		row = add(used, number);
	} else {
		bool recent = now_us - row->at_us < PERMITS_AGAIN_MS * INT64_C(1000);
		bool same = row->client == client;

		if (row->spent ? !(same && recent) : !same && recent)
			return ERR_AUTH;
	}
	if (!row->spent) {
		row->client = client;
		row->at_us = now_us;
	}
	return ERR_OK;
}

void permits_used_spend(struct permits_used *used, uint64_t number, uint64_t client, int64_t now_us)
{
	struct permit_used *row = find(used, number);

	if (!number || (row && row->spent)) /* its seconds are not prolonged */
		return;
	if (!row)
		row = add(used, number);
	row->client = client;
	row->at_us = now_us;
	row->spent = true;
}
