/* SPDX-License-Identifier: Apache-2.0
 *
 * What the holder costs: connections accepted, told one byte and closed, by a worker with and
 * without a holder, in one run. "short" connections end before the holder is told of them, "long"
 * ones are held first. Columns: processor time a connection at the worker (the kernel's share of
 * accept and close in it) and at the holder, and connections a second of wall time.
 */
#include "tests/unit/holder_rig.h"

#include <poll.h>
#include <time.h>

enum { AT_ONCE = 1000, ROUNDS = 12 };

static double seconds(clockid_t clock)
{
	struct timespec now;

	MUST(!clock_gettime(clock, &now));
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double used(pid_t pid)
{
	clockid_t clock;

	return pid && !clock_getcpuclockid(pid, &clock) ? seconds(clock) : 0;
}

/* One round; the time in which the clients wait for the holder is not counted. */
static double round_trip(struct rig *rig, bool grow)
{
	static int fds[AT_ONCE];
	double begin = seconds(CLOCK_MONOTONIC), waited = 0;
	char byte;

	for (int i = 0; i < AT_ONCE; i++) {
		fds[i] = connect_to(rig->env.fd.http);
		if (!grow)
			MUST(send(fds[i], "q", 1, 0) == 1);
	}
	if (grow) {
		waited = seconds(CLOCK_MONOTONIC);
		/* old enough, and with a holder also there */
		poll(NULL, 0, 100);
		while (rig->holder && held(rig) < AT_ONCE)
			poll(NULL, 0, 1);
		waited = seconds(CLOCK_MONOTONIC) - waited;
		for (int i = 0; i < AT_ONCE; i++)
			MUST(send(fds[i], "q", 1, 0) == 1);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		MUST(recv(fds[i], &byte, 1, 0) == 0);
		close(fds[i]);
	}
	while (rig->holder && held(rig))
		poll(NULL, 0, 1);
	return seconds(CLOCK_MONOTONIC) - begin - waited;
}

static void measure(bool with_holder, bool grow)
{
	const double n = (double)AT_ONCE * ROUNDS;
	struct rig rig;
	double wall = 0;

	rig_open(&rig);
	if (with_holder)
		rig.holder = start(&rig, PROCESS_HOLDER, 2, 0);
	else
		rig.pair[0] = -1; /* as a process that was given none */
	rig.worker = start(&rig, PROCESS_MEDIA, FIRST_WORKER, 0);
	round_trip(&rig, grow);
	double worker = used(rig.worker), holder = used(rig.holder);
	for (int i = 0; i < ROUNDS; i++)
		wall += round_trip(&rig, grow);
	worker = used(rig.worker) - worker;
	holder = used(rig.holder) - holder;
	printf("%-6s %-15s  worker %6.2f us  holder %6.2f us  %8.0f connections/s\n",
		grow ? "long" : "short", with_holder ? "with holder" : "without holder",
		worker * 1e6 / n, holder * 1e6 / n, n / wall);
	rig_close(&rig);
}

int main(void)
{
	for (int again = 0; again < 2; again++)
		for (int grow = 0; grow < 2; grow++)
			for (int with_holder = 0; with_holder < 2; with_holder++)
				measure(with_holder, grow);
	return 0;
}
