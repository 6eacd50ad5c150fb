/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that crashes notes on its way out which actor ran, so that its successor can leave out one
 * that kills every process that goes on with it. Nothing else happens in the handler: memory may be
 * in any state. The signal then does its work.
 */
#include "runtime/live_internal.h"

#include <pthread.h>
#include <signal.h>

enum { STACK_SIZE = 64 * 1024 }; /* its own: an actor may have run out of the usual one */

static const struct runtime *noted;
static pthread_t thread;

static void on_fatal(int signal_number)
{
	/* libraries have threads; what crashes there is no actor's doing that we could tell */
	if (pthread_equal(pthread_self(), thread))
		runtime_note_fatal(noted);
	raise(signal_number); /* once this returns, and with the usual end */
}

void live_watch_fatal(const struct runtime *rt)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
	static uint8_t stack[STACK_SIZE];
	const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_ONSTACK};

	noted = rt;
	thread = pthread_self();
	sigaltstack(&own, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], rt ? &action : &(struct sigaction){.sa_handler = SIG_DFL},
			NULL);
}
