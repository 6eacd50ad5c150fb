/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/live.h"

static enum err start(struct runtime *rt, const struct process_env *env)
{
	(void)rt;
	(void)env;
	return ERR_OK;
}

int control_main(const struct process_env *env)
{
	return live_run(env, &(struct live_program){.start = start});
}
