/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/process_command.h"

#include <errno.h>
#include <sys/socket.h>

static enum err error_of(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS ? ERR_AGAIN : ERR_DEAD;
}

enum err process_command_send(const struct process_env *env, const struct process_command *command)
{
	if (!env || env->fd.command < 0)
		return ERR_UNSUPPORTED;
	if (send(env->fd.command, command, sizeof(*command), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return error_of(errno);
	return ERR_OK;
}

enum err process_command_take(const struct process_env *env, struct process_reply *reply)
{
	ssize_t size;

	if (!env || env->fd.command < 0)
		return ERR_UNSUPPORTED;
	size = recv(env->fd.command, reply, sizeof(*reply), MSG_DONTWAIT);
	if (size < 0)
		return error_of(errno);
	if (size == 0)
		return ERR_DEAD;
	return size == sizeof(*reply) ? ERR_OK : ERR_AGAIN;
}
