/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace ctl`: what an operator asks of a running node, told to its console like `repl -e`, and
 * waited for: a line a step, status 0 only when what was asked is done.
 */
#ifndef MILLRACE_CTL_H
#define MILLRACE_CTL_H

extern const char ctl_help[];

/* The words behind `millrace ctl`. Returns the exit status: 0 done, 1 refused, failed or not done in
 * time, 2 usage, 3 no node to talk to. */
int ctl_main(int argc, char **argv);

#endif
