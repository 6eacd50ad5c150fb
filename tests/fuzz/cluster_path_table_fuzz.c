/* SPDX-License-Identifier: Apache-2.0
 *
 * A brain's message with rows of a table, as any bytes: first a byte of how many relays, then these,
 * then rows. What is accepted is packed again and gives the same rows, and choosing among them ends.
 */
#include "cluster/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct path_pack pack;

static void pack_again(const struct msg_path_table *message)
{
	struct msg_path_table again = {0};
	struct table_row row, same;
	size_t at = 0, at_again = 0;

	path_pack_begin(&pack);
	while (path_unpack(message, &at, &row) == ERR_OK && !path_pack_add(&pack, &row)) {
		path_pack_end(&pack, &again);
		MUST(path_unpack(&again, &at_again, &same) == ERR_OK);
		MUST(!memcmp(&row, &same, sizeof(row)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg_path_table message = {.term = 1};
	struct msg_route route;
	struct routes routes;
	size_t relays;

	if (!size)
		return 0;
	relays = data[0] * 8u < size - 1 ? data[0] * 8u : size - 1;
	message.relays = (struct slice){(const char *)data + 1, (uint32_t)relays};
	message.rows =
		(struct slice){(const char *)data + 1 + relays, (uint32_t)(size - 1 - relays)};
	pack_again(&message);
	if (routes_init(&routes))
		return 0;
	(void)routes_take(&routes, &message, 0);
	for (uint32_t i = 0; i < routes.table.count; i++) {
		routes_choose(&routes, routes.table.rows[i].origin, 1, &route);
		MUST(route.ways_count && route.ways_count <= ROUTE_WAYS_MAX);
	}
	routes_fini(&routes);
	return 0;
}
