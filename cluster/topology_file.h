/* SPDX-License-Identifier: Apache-2.0
 *
 * Topologies as plain files (docs/cluster.md), read and written.
 *
 * Pure. Thread: any. libyaml allocates for itself, the topology for what is new.
 */
#ifndef MILLRACE_TOPOLOGY_FILE_H
#define MILLRACE_TOPOLOGY_FILE_H

#include "cluster/topology.h"

enum { TOPOLOGY_FILE_BYTES_MAX = 32 << 20 };

struct topology_problem {
	uint32_t line; /* from 1; 0 = of the whole file */
	char text[160];
};

/* Adds what the file says to an empty topology, as if it had been measured at time 0. The nodes' ids are
 * 1, 2 … in order. ERR_FORMAT, ERR_TOO_LARGE, ERR_LIMIT, ERR_NO_MEMORY with the first problem; then
 * part of it may be there. */
enum err topology_read(struct topology *topology, const void *bytes, size_t size,
	struct topology_problem *problem);

/* The same as a file, links one way each. ERR_NO_SPACE. */
enum err topology_write(const struct topology *topology, struct writer *out);

#endif
