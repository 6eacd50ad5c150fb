/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervisor_child.h"

#include "runtime/supervisor_service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXEC_FAILED = 127 };

void child_init(struct child *child, enum process_role role, uint32_t index)
{
	*child = (struct child){.role = role,
		.index = index,
		.wanted = true,
		.pidfd = -1,
		.wake = -1,
		.command = -1};
}

void child_environment(char *const *from, char **to, size_t max)
{
	size_t count = 0;

	for (; *from && count < max; from++)
		if (strncmp(*from, "MILLRACE_", 9) && !service_variable(*from))
			to[count++] = *from;
	to[count] = NULL;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(struct child *child)
{
	close_one(&child->pidfd);
	close_one(&child->wake);
	close_one(&child->command);
}

/* Between fork and exec: only calls that are safe there. */
static _Noreturn void run_child(
	const struct process_env *env, int boot, char *const argv[], char *const *environment)
{
	const int *fds = (const int *)&env->fd;
	sigset_t none;

	/* the parent may be gone already: then there is nobody to be killed with */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != env->supervisor_pid)
		_exit(EXEC_FAILED);
	/* what the service gave to open sockets with is not for those who read from the network */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	int null = open("/dev/null", O_RDONLY);
	/* standard output belongs to the supervisor's one line */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		_exit(EXEC_FAILED);
	if (null != STDIN_FILENO)
		close(null);
	for (size_t i = 0; i < sizeof(env->fd) / sizeof(int); i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_SETFD, 0))
			_exit(EXEC_FAILED);
	if (fcntl(boot, F_SETFD, 0))
		_exit(EXEC_FAILED);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve("/proc/self/exe", argv, environment);
	_exit(EXEC_FAILED);
}

static bool open_own(struct child *child, struct process_env *env, int *control_end)
{
	int pair[2];

	child->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (child->wake < 0)
		return false;
	env->fd.wake = child->wake;
	if (child->role != PROCESS_CONTROL)
		return true;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return false;
	child->command = pair[0];
	env->fd.command = *control_end = pair[1];
	return true;
}

static void announce(struct child *child, const struct process_env *env, uint32_t restarts)
{
	struct process_status *status = &env->page->slot[process_slot(child->role, child->index)];

	atomic_store(&status->beat_us, 0);
	if (env->line == env->incarnation) /* else it goes on with what its predecessor was told */
		atomic_store(&status->order, PROCESS_RUN);
	atomic_store(&status->line, env->line);
	atomic_store(&status->incarnation, child->incarnation);
	atomic_store(&status->block, (uint32_t)env->block);
	atomic_store(&status->restarts, restarts);
	atomic_store(&status->cpu_permille, 0);
	atomic_store(&status->packets_per_s, 0);
	atomic_store(&status->egress_kbps, 0);
	atomic_store(&status->sessions, 0);
	atomic_store(&status->streams, 0);
	atomic_store(&status->role, child->role);
	atomic_store(&status->index, child->index);
	atomic_store(&status->state, PROCESS_STARTING);
}

static enum err start(struct child *child, struct process_env *env, char *const *environment)
{
	struct process_status *status = &env->page->slot[process_slot(child->role, child->index)];
	char name[24], number[16];
	char *const argv[] = {"millrace", PROCESS_CHILD_ARGUMENT, number, name, NULL};
	int control_end = -1, boot = -1;
	enum err err = ERR_IO;

	if (!open_own(child, env, &control_end))
		goto out;
	boot = process_env_save(env);
	if (boot < 0)
		goto out;
	/* the name is for people who look at the process list */
	snprintf(name, sizeof(name), "%s.%u", process_role_name(child->role), child->index);
	snprintf(number, sizeof(number), "%d", boot);
	announce(child, env,
		atomic_load(&status->restarts) + (atomic_load(&status->state) != PROCESS_EMPTY));
	child->pid = fork();
	if (child->pid == 0)
		run_child(env, boot, argv, environment);
	if (child->pid < 0) {
		child->pid = 0;
		goto out;
	}
	atomic_store(&status->pid, (uint32_t)child->pid);
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	err = child->pidfd < 0 ? ERR_IO : ERR_OK;
out:;
	int saved = errno;
	if (boot >= 0)
		close(boot);
	if (control_end >= 0)
		close(control_end);
	errno = saved;
	return err;
}

enum err child_start(struct child *child, struct process_env *env, char *const *environment)
{
	MUST(child->pid == 0 && child->pidfd < 0);
	child->incarnation = env->incarnation;
	child->asked = child->told_ready = child->suspected = child->aborted = false;
	child->kills = 0;
	child->beat_us = child->beat_at_us = 0;
	enum err err = start(child, env, environment);
	if (err) {
		int saved = errno;

		/* a child that cannot be watched must not run */
		if (child->pid) {
			kill(child->pid, SIGKILL);
			waitpid(child->pid, NULL, 0);
			child->pid = 0;
		}
		atomic_store(&env->page->slot[process_slot(child->role, child->index)].state,
			PROCESS_DEAD);
		close_all(child);
		errno = saved;
	}
	return err;
}

void child_replace(struct child *child, struct child *spare)
{
	MUST(child->pid == 0 && child->pidfd < 0);
	child->pid = spare->pid;
	child->pidfd = spare->pidfd;
	child->wake = spare->wake;
	child->incarnation = spare->incarnation;
	child->kills = spare->kills;
	child->told_ready = child->suspected = child->aborted = false;
	child->beat_us = child->beat_at_us = 0;
	spare->pid = 0;
	spare->pidfd = spare->wake = -1;
}

void child_wake(struct child *child)
{
	uint64_t one = 1;

	/* fails only when the counter is full: then it is readable anyway */
	if (child->wake >= 0)
		(void)!write(child->wake, &one, sizeof(one));
}

void child_order(struct child *child, struct process_page *page, enum process_order order)
{
	struct process_status *status = &page->slot[process_slot(child->role, child->index)];

	if (atomic_load(&status->order) < (uint32_t)order)
		atomic_store(&status->order, order);
	child_wake(child);
}

void child_kill(struct child *child)
{
	/* not reaped yet, so the number is still this child's */
	if (!child->pid)
		return;
	kill(child->pid, SIGKILL);
	child->kills++;
}

void child_abort(struct child *child)
{
	if (child->pid)
		kill(child->pid, SIGABRT);
	child->aborted = true;
}

/* Reads the start of a file of /proc as text; "" when there is none. */
static void read_proc(pid_t pid, const char *file, char *text, size_t size)
{
	char path[48];
	ssize_t got = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, text, size - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
}

struct child_turns child_turns(const struct child *child)
{
	char text[160];
	long long ran_ns, waited_ns;

	read_proc(child->pid, "schedstat", text, sizeof(text));
	if (sscanf(text, "%lld %lld", &ran_ns, &waited_ns) != 2)
		return (struct child_turns){0};
	read_proc(child->pid, "stat", text, sizeof(text));
	const char *name_end = strrchr(text, ')'); /* "pid (name) R …" */
	return (struct child_turns){
		.ran_us = ran_ns / 1000,
		.waited_us = waited_ns / 1000,
		.runnable = name_end && !strncmp(name_end, ") R", 3),
	};
}

bool child_reap(struct child *child, int *status)
{
	pid_t pid;

	if (!child->pid)
		return false;
	do
		pid = waitpid(child->pid, status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return false;
	child->pid = 0;
	close_all(child);
	return true;
}
