/* SPDX-License-Identifier: Apache-2.0
 *
 * The control process' side of its socket to the supervisor: ask, and later look for the answer.
 * Nothing blocks. Thread: the control process'.
 */
#ifndef MILLRACE_PROCESS_COMMAND_H
#define MILLRACE_PROCESS_COMMAND_H

#include "runtime/process.h"

/* ERR_UNSUPPORTED: this process has no such socket; ERR_AGAIN: it is full; ERR_DEAD: nobody is at
 * the other end. */
enum err process_command_send(const struct process_env *env, const struct process_command *command);

/* The next answer. ERR_AGAIN: none has come yet; ERR_DEAD, ERR_UNSUPPORTED as above. */
enum err process_command_take(const struct process_env *env, struct process_reply *reply);

#endif
