/* SPDX-License-Identifier: Apache-2.0
 *
 * Topologies by chance, for tests and benchmarks. The same seed makes the same one everywhere.
 *
 * Pure. Thread: any.
 */
#ifndef MILLRACE_TOPOLOGY_CHANCE_H
#define MILLRACE_TOPOLOGY_CHANCE_H

#include "cluster/topology.h"

/* Nodes in regions on a map, some of each region cores. Every node has links to the cores nearest to
 * it, to one far away and to two of its neighbours; a core to all cores, the nearest first. Round trips
 * are those of light in glass on roads that are none too straight; a few links lose packets, a few are
 * full. */
struct topology_chance {
	uint64_t seed;
	uint32_t nodes;
	uint32_t cores_permille; /* of the nodes, beside two in each region; 1000 = all are */
	uint32_t edge_links;	 /* of an edge to cores */
	uint32_t core_links;	 /* of a core to cores, at most */
	uint32_t regions;	 /* 0 = one for each sixty nodes */
};

enum err topology_by_chance(struct topology *topology, const struct topology_chance *chance);

#endif
