/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/hlc.h"

int64_t hlc_now(int64_t *last, int64_t wall_us)
{
	*last = wall_us > *last ? wall_us : *last + 1;
	return *last;
}

bool hlc_see(int64_t *last, int64_t wall_us, int64_t seen_us)
{
	if (seen_us > wall_us && seen_us - wall_us > HLC_AHEAD_MAX_US)
		return false;
	if (seen_us > *last)
		*last = seen_us;
	return true;
}
