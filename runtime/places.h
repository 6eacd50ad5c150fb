/* SPDX-License-Identifier: Apache-2.0
 *
 * The two directories of a node, and what lies in them for the supervisor: locks that keep a
 * second node out, the node's identity, and the counter of actor id blocks.
 *
 *   run directory   0700   lock (pid of the supervisor), repl.sock, sockets of processes
 *   data directory  0700   lock, node-id (16 hexadecimal digits), actor-blocks (decimal)
 *
 * A block number is handed to every process that is started and is never used twice, restarts of
 * the node included: numbers are reserved on disk by chunks before the first of them is given.
 * Thread: the supervisor's.
 */
#ifndef MILLRACE_PLACES_H
#define MILLRACE_PLACES_H

#include "runtime/config.h"

#include <sys/types.h>

enum { PLACES_CHUNK = 1024, PLACES_TEXT_SIZE = 256 };

struct places {
	int run; /* the directories, opened */
	int data;
	int run_lock;
	int data_lock;
	int repl; /* listens on RUN-DIR/repl.sock: unix, stream, non-blocking, close-on-exec */
	uint64_t node_id;
	uint64_t next_block;
	uint64_t end_block; /* reserved up to here, exclusive */
	char problem[PLACES_TEXT_SIZE];
};

/* Creates what is missing, takes the locks, removes sockets that a killed node left behind,
 * listens on the console's.
 * ERR_BUSY: another node is there; ERR_FORMAT: a file has been damaged; ERR_IO. After an error
 * `problem` is set and nothing is held. */
enum err places_open(struct places *places, const struct config *config);

/* Only the node's identity, made with its directory where there is none: for commands that speak of a
 * node that may never have run. After an error `problem` (PLACES_TEXT_SIZE) is set. */
enum err places_identity(const char *data_dir, uint64_t *node_id, char *problem);

/* Releases the locks and removes the sockets. */
void places_close(struct places *places);

/* The next block number, from 1. ERR_IO when it cannot be reserved. */
enum err places_next_block(struct places *places, uint64_t *block);

/* Process id of the node that holds the run directory, 0 when none does. */
pid_t places_holder(const char *run_dir);

#endif
