/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers that nobody can guess, however many of them he has seen: AES-256 in counter mode, the key a
 * secret of this process. A second one of the same key gives the same numbers, unless it has another
 * `which`. Cheap: a block of them is made at once. Thread: one.
 */
#ifndef MILLRACE_SECRET_NUMBERS_H
#define MILLRACE_SECRET_NUMBERS_H

#include <stdint.h>

enum { SECRET_NUMBERS_KEY_SIZE = 32 };

struct secret_numbers;

/* NULL: no memory. */
struct secret_numbers *secret_numbers_create(
	const uint8_t key[SECRET_NUMBERS_KEY_SIZE], uint64_t which);
void secret_numbers_destroy(struct secret_numbers **numbers);

/* Uniform; never 0, and below 2^63: it is a number in JSON, too. */
uint64_t secret_numbers_next(struct secret_numbers *numbers);

#endif
