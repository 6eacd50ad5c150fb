/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit of becoming a viewer: a process that answers every WHEP request with the same text, sends a
 * connectivity check back as it came, makes its DTLS handshake by OpenSSL as that comes, and sends a
 * picture, sealed by a bare EVP context, as fast as it can. One viewer at a time.
 */
#ifndef MILLRACE_BENCH_WHEP_H
#define MILLRACE_BENCH_WHEP_H

#include "tests/bench/bench_node.h"

struct bench_whep {
	pid_t pid;
	struct bench_node node; /* its address; nothing else of it is there */
};

/* `picture_size`: bytes of the picture; packets are as large as the node makes them. */
void bench_whep_start(struct bench_whep *whep, size_t picture_size);
void bench_whep_stop(struct bench_whep *whep);

#endif
