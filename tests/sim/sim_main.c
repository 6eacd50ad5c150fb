/* SPDX-License-Identifier: Apache-2.0
 *
 * millrace-sim: runs seeds of the simulator.
 *
 *   millrace-sim [--seeds N | --seconds S] [--from SEED] [--scenario X] [--jobs J] [--plant P]
 *                [--thorough] [--times]
 *   millrace-sim --seed N [--scenario X] [--plant P] [--thorough] [--trace]
 *   (--etcd-away SECONDS: in every cluster etcd is gone for so long when all is well)
 *   (--settings: in every cluster somebody changes how media travels, again and again)
 *
 * One process a job; every failing seed prints the line that repeats it. The last line is
 * "N passed, N failed". Exit status 0 = none failed, 1 = some did, 2 = usage.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, FAILURES_SHOWN = 10, SCENARIOS_MAX = 40 };

struct plan {
	struct sim_options options;
	uint64_t from;
	uint64_t seeds; /* 0 = until the time is over */
	double seconds;
	unsigned jobs;
	bool one;
	bool times;    /* what each scenario costs is told */
	uint64_t *now; /* which seed each job is at, shared with it; JOBS_MAX of them */
};

/* Seeds of one scenario. */
struct share {
	uint64_t seeds;
	double cpu_s, cpu_most_s;
};

struct tally {
	uint64_t passed, failed, events, packets_sent, packets_read, restores, deaths, takeovers,
		moves, moved;
	uint64_t frames_sent, tags_read, answers, console_answers;
	uint64_t rtc_sessions, rtp_sent, rtp_read, rtp_asked, sent_on;
	uint64_t nodes, datagrams, converged_ms, converged_most_ms;
	struct share shares[SCENARIOS_MAX];
};

static double clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void count_time(struct tally *tally, const char *scenario, double spent_s)
{
	size_t at = 0;

	while (strcmp(sim_scenario_at(at)->name, scenario))
		at++;
	struct share *share = &tally->shares[at];

	MUST(at < SCENARIOS_MAX);
	share->seeds++;
	share->cpu_s += spent_s;
	if (spent_s > share->cpu_most_s)
		share->cpu_most_s = spent_s;
}

static void print_times(const struct tally *tally)
{
	for (size_t i = 0; sim_scenario_at(i); i++)
		if (tally->shares[i].seeds)
			printf("%-12s %6llu seeds, %8.1f ms of processor time each, %8.1f at "
			       "most\n",
				sim_scenario_at(i)->name,
				(unsigned long long)tally->shares[i].seeds,
				tally->shares[i].cpu_s * 1000 / (double)tally->shares[i].seeds,
				tally->shares[i].cpu_most_s * 1000);
}

static void print_failure(const struct plan *plan, uint64_t seed, const struct sim_result *result)
{
	const struct sim_options *options = &plan->options;

	printf("seed %llu (%s): %s\n  repeat with: millrace-sim --seed %llu --scenario %s",
		(unsigned long long)seed, result->scenario, result->failure,
		(unsigned long long)seed, result->scenario);
	if (options->plant)
		printf(" --plant %s", sim_plant_names[options->plant]);
	if (options->settings)
		printf(" --settings");
	if (options->etcd_away_s)
		printf(" --etcd-away %u", options->etcd_away_s);
	printf("%s --trace\n", options->thorough ? " --thorough" : "");
	fflush(stdout);
}

/* Every jobs-th seed, beginning with the first + job. */
static struct tally run_share(const struct plan *plan, unsigned job)
{
	double until_s = clock_s() + plan->seconds;
	struct tally tally = {0};

	for (uint64_t i = job; plan->seeds ? i < plan->seeds : clock_s() < until_s;
		i += plan->jobs) {
		struct sim_options options = plan->options;

		options.seed = plan->now[job] = plan->from + i;
		double began_s = cpu_s();
		struct sim_result result = sim_run_seed(&options);

		count_time(&tally, result.scenario, cpu_s() - began_s);
		tally.passed += result.ok;
		tally.failed += !result.ok;
		tally.events += result.events;
		tally.packets_sent += result.packets_sent;
		tally.packets_read += result.packets_read;
		tally.restores += result.restores;
		tally.deaths += result.deaths;
		tally.takeovers += result.takeovers;
		tally.moves += result.moves;
		tally.moved += result.moved;
		tally.frames_sent += result.frames_sent;
		tally.tags_read += result.tags_read;
		tally.answers += result.answers;
		tally.console_answers += result.console_answers;
		tally.rtc_sessions += result.rtc_sessions;
		tally.rtp_sent += result.rtp_sent;
		tally.rtp_read += result.rtp_read;
		tally.rtp_asked += result.rtp_asked;
		tally.sent_on += result.sent_on;
		if (result.datagrams)
			tally.nodes += result.nodes;
		tally.datagrams += result.datagrams;
		tally.converged_ms += result.converged_ms;
		if (result.converged_ms > tally.converged_most_ms)
			tally.converged_most_ms = result.converged_ms;
		if (!result.ok && tally.failed <= FAILURES_SHOWN)
			print_failure(plan, options.seed, &result);
	}
	return tally;
}

/* What it had found so far went with it, but for what it has printed. */
static void print_crash(const struct plan *plan, unsigned job)
{
	struct sim_result result = {
		.scenario = plan->options.scenario, .failure = "the simulator itself ended"};

	if (!result.scenario)
		result.scenario = sim_scenario_of(plan->now[job])->name;
	print_failure(plan, plan->now[job], &result);
}

static bool start_job(const struct plan *plan, unsigned job, int *from)
{
	int ends[2];

	if (pipe(ends))
		return false;
	fflush(stdout);
	pid_t child = fork();

	if (child == 0) {
		struct tally tally = run_share(plan, job);

		_exit(write(ends[1], &tally, sizeof(tally)) == sizeof(tally) ? 0 : 1);
	}
	close(ends[1]);
	*from = ends[0];
	return child > 0;
}

static struct tally run_jobs(const struct plan *plan)
{
	struct tally all = {0};
	int from[JOBS_MAX];

	for (unsigned job = 0; job < plan->jobs; job++)
		if (!start_job(plan, job, &from[job]))
			from[job] = -1;
	for (unsigned job = 0; job < plan->jobs; job++) {
		struct tally tally = {0};
		bool whole =
			from[job] >= 0 && read(from[job], &tally, sizeof(tally)) == sizeof(tally);

		if (!whole) {
			tally.failed = 1;
			print_crash(plan, job);
		}
		all.passed += tally.passed;
		all.failed += tally.failed;
		all.events += tally.events;
		all.packets_sent += tally.packets_sent;
		all.packets_read += tally.packets_read;
		all.restores += tally.restores;
		all.deaths += tally.deaths;
		all.takeovers += tally.takeovers;
		all.moves += tally.moves;
		all.moved += tally.moved;
		all.frames_sent += tally.frames_sent;
		all.tags_read += tally.tags_read;
		all.answers += tally.answers;
		all.console_answers += tally.console_answers;
		all.rtc_sessions += tally.rtc_sessions;
		all.rtp_sent += tally.rtp_sent;
		all.rtp_read += tally.rtp_read;
		all.rtp_asked += tally.rtp_asked;
		all.sent_on += tally.sent_on;
		all.nodes += tally.nodes;
		all.datagrams += tally.datagrams;
		all.converged_ms += tally.converged_ms;
		if (tally.converged_most_ms > all.converged_most_ms)
			all.converged_most_ms = tally.converged_most_ms;
		for (int i = 0; i < SCENARIOS_MAX; i++) {
			all.shares[i].seeds += tally.shares[i].seeds;
			all.shares[i].cpu_s += tally.shares[i].cpu_s;
			if (tally.shares[i].cpu_most_s > all.shares[i].cpu_most_s)
				all.shares[i].cpu_most_s = tally.shares[i].cpu_most_s;
		}
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return all;
}

static bool read_plant(const char *text, enum sim_plant *plant)
{
	for (unsigned i = 0; i < SIM_PLANTS; i++) {
		if (!strcmp(text, sim_plant_names[i])) {
			*plant = (enum sim_plant)i;
			return true;
		}
	}
	return false;
}

static bool read_plan(int argc, char **argv, struct plan *plan)
{
	static const struct option options[] = {
		{"seed",		 required_argument, NULL, 'n'},
		{"seeds",		  required_argument, NULL, 'c'},
		{"seconds",		    required_argument, NULL, 's'},
		{"from",required_argument, NULL, 'f'},
		{"scenario",		     required_argument, NULL, 'x'},
		{"plant",	  required_argument, NULL, 'p'},
		{"jobs",		 required_argument, NULL, 'j'},
		{"thorough",		     no_argument, NULL, 'r'},
		{"trace",		  no_argument, NULL, 't'},
		{"times",		  no_argument, NULL, 'm'},
		{"settings",	     no_argument, NULL, 'g'},
		{"etcd-away",	      required_argument, NULL, 'e'},
		{0		  },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			plan->from = strtoull(optarg, NULL, 0);
			plan->seeds = plan->jobs = 1;
			plan->one = true;
			break;
		case 'c': plan->seeds = strtoull(optarg, NULL, 0); break;
		case 's': plan->seconds = strtod(optarg, NULL); break;
		case 'f': plan->from = strtoull(optarg, NULL, 0); break;
		case 'x': plan->options.scenario = optarg; break;
		case 'j': plan->jobs = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'r': plan->options.thorough = true; break;
		case 't': plan->options.trace = true; break;
		case 'm': plan->times = true; break;
		case 'g': plan->options.settings = true; break;
		case 'e': plan->options.etcd_away_s = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'p':
			if (!read_plant(optarg, &plan->options.plant))
				return false;
			break;
		default: return false;
		}
	}
	if (plan->options.scenario && !sim_scenario_find(plan->options.scenario))
		return false;
	return optind == argc && plan->jobs >= 1 && plan->jobs <= JOBS_MAX &&
	       (plan->seeds || plan->seconds > 0);
}

static void usage(void)
{
	fputs("usage: millrace-sim [--seeds N | --seconds S] [--from SEED] [--scenario X] [--jobs "
	      "J]\n"
	      "                    [--plant "
	      "hold|death|resend|packet|restore|index|escrow|forget|parcel|nonce] [--thorough] "
	      "[--times]\n"
	      "                    [--etcd-away SECONDS] [--settings]\n"
	      "       millrace-sim --seed N [--scenario X] [--plant P] [--thorough] [--trace]\n"
	      "scenarios:",
		stderr);
	for (size_t i = 0; sim_scenario_at(i); i++)
		fprintf(stderr, " %s", sim_scenario_at(i)->name);
	fputc('\n', stderr);
}

int main(int argc, char **argv)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct plan plan = {.from = 1, .jobs = cores > 0 && cores < JOBS_MAX ? (unsigned)cores : 1};

	if (!read_plan(argc, argv, &plan)) {
		usage();
		return 2;
	}
	plan.now = mmap(NULL, JOBS_MAX * sizeof(*plan.now), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(plan.now != MAP_FAILED);
	double began_s = clock_s();
	struct tally tally = plan.one ? run_share(&plan, 0) : run_jobs(&plan);

	printf("%llu seeds in %.1f s: %llu events, %llu packets sent, %llu read, %llu processes "
	       "killed, %llu gone on with, %llu actors restored elsewhere\n",
		(unsigned long long)(tally.passed + tally.failed), clock_s() - began_s,
		(unsigned long long)tally.events, (unsigned long long)tally.packets_sent,
		(unsigned long long)tally.packets_read, (unsigned long long)tally.deaths,
		(unsigned long long)tally.takeovers, (unsigned long long)tally.restores);
	printf("outside: %llu RTMP frames sent, %llu FLV tags read, %llu HTTP answers, %llu of the "
	       "console\n",
		(unsigned long long)tally.frames_sent, (unsigned long long)tally.tags_read,
		(unsigned long long)tally.answers, (unsigned long long)tally.console_answers);
	printf("WebRTC: %llu sessions asked for, %llu packets published, %llu played, %llu asked "
	       "for again, %llu told to move, %llu have, %llu sent to another node\n",
		(unsigned long long)tally.rtc_sessions, (unsigned long long)tally.rtp_sent,
		(unsigned long long)tally.rtp_read, (unsigned long long)tally.rtp_asked,
		(unsigned long long)tally.moves, (unsigned long long)tally.moved,
		(unsigned long long)tally.sent_on);
	printf("clusters: %llu nodes, %llu datagrams between them; all was well %llu ms after the "
	       "last fault, summed up, %llu at most\n",
		(unsigned long long)tally.nodes, (unsigned long long)tally.datagrams,
		(unsigned long long)tally.converged_ms,
		(unsigned long long)tally.converged_most_ms);
	if (plan.times)
		print_times(&tally);
	printf("%llu passed, %llu failed\n", (unsigned long long)tally.passed,
		(unsigned long long)tally.failed);
	return tally.failed ? 1 : 0;
}
