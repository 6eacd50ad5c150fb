/* SPDX-License-Identifier: Apache-2.0
 *
 * One binary: a child that the supervisor started runs the program of its role, everything else is
 * a command.
 */
#include "actors/client/load_options.h"
#include "actors/webrtc/warm.h"
#include "runtime/arena.h"
#include "runtime/cli.h"
#include "runtime/process.h"
#include "version.h"

#include <unistd.h>

static const struct process_programs programs = {
	.run = {[PROCESS_CONTROL] = control_main,
		[PROCESS_MEDIA] = worker_main,
		[PROCESS_HELPER] = helper_main,
		[PROCESS_SPARE] = spare_main,
		[PROCESS_HOLDER] = holder_main},
};

enum { BUFFER_SPARE = 256 * 1024 };

static int create_arena(const struct config *config, const char *name, size_t *size)
{
	/* an RTMP connection's buffer holds the largest message and what is interleaved with it;
	 * the others' are as large as they are however small that is */
	const uint32_t message = (uint32_t)config->rtmp_message_bytes_max;
	const uint32_t wanted = message + message / 4 + BUFFER_SPARE;
	const struct arena_layout layout = {
		.size = {[ARENA_BUFFER] = wanted > ARENA_BUFFER_SIZE ? wanted : ARENA_BUFFER_SIZE},
	};

	*size = arena_size(&layout);
	return arena_create_memfd(name, &layout);
}

int main(int argc, char **argv)
{
	if (process_is_child(argc, argv))
		return process_child_main(argc, argv, &programs);
	return cli_run(&(struct cli){.argc = argc,
		.argv = argv,
		.environment = environ,
		.version = MILLRACE_FULL_VERSION,
		.arena_create = create_arena,
		.self_test = webrtc_self_test,
		.load = load_main,
		.load_help = load_help});
}
