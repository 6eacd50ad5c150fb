/* SPDX-License-Identifier: Apache-2.0
 *
 * A topology file of any bytes: read, planned, written. Who may write names with quotes in them gets a
 * file that is none; so that only its end is looked at.
 */
#include "cluster/topology_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t file[1 << 20];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct writer out = writer_of(file, sizeof(file));
	struct topology_problem problem;
	struct topology *topology;
	enum err err;

	if (topology_create(&(struct topology_options){0}, &topology))
		return 0;
	err = topology_read(topology, data, size, &problem);
	MUST(!err == !problem.text[0]);
	while (paths_step(topology->paths, 1000))
		;
	(void)topology_write(topology, &out);
	topology_destroy(&topology);
	return 0;
}
