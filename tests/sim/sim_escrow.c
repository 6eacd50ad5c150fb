/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the shipped escrow, whose every store is a moment at which a process may be killed. It
 * stands before the kernel's own (as sim_codec.c does before its actors').
 */
#include "tests/sim/sim.h"

#define ESCROW_STORE sim_escrow_store
#include "runtime/escrow.c"
