/* SPDX-License-Identifier: Apache-2.0
 *
 * topology_json FILE: a topology file (cluster/topology_file.h), as JSON, for tests that put up what it
 * describes. Links are one way each. Exit status 1: the file is wrong, standard error says where.
 */
#include "cluster/topology_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *node_row(const struct topology_about *about)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:I}", "name", about->name, "region", about->region,
		"tier", about->tier == NODE_CORE ? "core" : "edge", "cost", (int)about->cost,
		"capacity_bps", (json_int_t)about->capacity_bps);
}

static json_t *link_row(const struct topology *topology, const struct topology_node *from,
	const struct topology_link *link)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "from", from->about.name, "to",
		topology->nodes[link->to].about.name, "delay_us", (json_int_t)(link->rtt_us / 2),
		"jitter_us", (json_int_t)link->jitter_us, "loss_ppm", (json_int_t)link->loss_ppm,
		"rate_bps", (json_int_t)link->capacity_bps);
}

static int write_all(const struct topology *topology)
{
	json_t *nodes = json_array(), *links = json_array();
	json_t *document = json_pack("{s:o, s:o}", "nodes", nodes, "links", links);
	int status;

	for (uint32_t i = 0; i < topology->places; i++) {
		const struct topology_node *node = &topology->nodes[i];

		json_array_append_new(nodes, node_row(&node->about));
		for (uint16_t j = 0; j < node->link_count; j++)
			json_array_append_new(links, link_row(topology, node, &node->links[j]));
	}
	status = document ? json_dumpf(document, stdout, JSON_COMPACT) : -1;
	json_decref(document);
	putchar('\n');
	return status ? 1 : 0;
}

/* NULL: standard error says why. The caller's. */
static char *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	char *bytes = file ? malloc(TOPOLOGY_FILE_BYTES_MAX + 1) : NULL;

	if (bytes) {
		*size = fread(bytes, 1, TOPOLOGY_FILE_BYTES_MAX + 1, file);
		if (ferror(file)) {
			free(bytes);
			bytes = NULL;
		}
	}
	if (!bytes)
		perror(path);
	if (file)
		fclose(file);
	return bytes;
}

int main(int argc, char **argv)
{
	const struct topology_options options = {0};
	struct topology_problem problem = {0};
	struct topology *topology = NULL;
	size_t size = 0;
	char *bytes;
	int status = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: topology_json FILE\n");
		return 2;
	}
	bytes = read_file(argv[1], &size);
	if (!bytes)
		return 1;
	if (topology_create(&options, &topology))
		fprintf(stderr, "topology_json: no memory\n");
	else if (topology_read(topology, bytes, size, &problem))
		fprintf(stderr, "%s:%u: %s\n", argv[1], problem.line, problem.text);
	else
		status = write_all(topology);
	topology_destroy(&topology);
	free(bytes);
	return status;
}
