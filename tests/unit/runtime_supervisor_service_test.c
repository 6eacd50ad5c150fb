/* SPDX-License-Identifier: Apache-2.0
 *
 * What a service manager gets to see, by a socket of the test: texts, signs of life, what children
 * are not told. (With a whole node: runtime_supervisor_test.c.)
 */
#include "runtime/supervisor_child.h"
#include "runtime/supervisor_service.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Binds a socket of that name and says so in the environment. */
static int listen_as(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(at.sun_path, name, strlen(name));
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	CHECK(!bind(fd, (struct sockaddr *)&at,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))));
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

/* The next text that was told, "" when there is none. */
static const char *told(int fd)
{
	static char text[512];
	ssize_t size = recv(fd, text, sizeof(text) - 1, 0);

	text[size > 0 ? size : 0] = '\0';
	return text;
}

static int listen_here(void)
{
	char name[64];

	snprintf(name, sizeof(name), "@millrace-test-%d", (int)getpid());
	return listen_as(name);
}

TEST(states_arrive_at_both_kinds_of_socket)
{
	static const char *const prefixes[] = {"@millrace-test-", "/tmp/millrace-test-"};
	char name[64];

	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s%d", prefixes[i], (int)getpid());
		int fd = listen_as(name);
		service_tell("READY=%d", 1);
		CHECK_STR(told(fd), "READY=1");
		close(fd);
		unlink(name);
	}
}

TEST(no_socket_and_wrong_ones_are_not_minded)
{
	char longest[300];

	memset(longest, 'a', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	const char *const names[] = {"relative", "", "/nonexistent/socket", longest};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		service_tell("READY=1");
	}
	/* a text that would be cut is not sent at all */
	int fd = listen_here();
	service_tell("STATUS=%s", longest);
	CHECK_STR(told(fd), "");
	close(fd);
	unsetenv("NOTIFY_SOCKET");
	service_tell("READY=1");
}

TEST(signs_of_life_come_at_half_of_the_time_asked_for)
{
	char own[16];
	const struct {
		const char *usec, *pid;
		int64_t beat_us;
	} rows[] = {
		{NULL,      NULL, 0     },
		{"1000000", NULL, 500000},
		{"1000000", own,	 500000},
		{"1000000", "1",	 0	  },
		{"-5",      NULL, 0     },
		{"12x",	NULL, 0     },
		{"",	     NULL, 0	    },
	};

	snprintf(own, sizeof(own), "%d", (int)getpid());
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct service service;

		rows[i].usec ? setenv("WATCHDOG_USEC", rows[i].usec, 1) : unsetenv("WATCHDOG_USEC");
		rows[i].pid ? setenv("WATCHDOG_PID", rows[i].pid, 1) : unsetenv("WATCHDOG_PID");
		service_init(&service, 0);
		CHECK_EQ(service.beat_us, rows[i].beat_us);
	}
	unsetenv("WATCHDOG_PID");
}

TEST(a_tick_tells_what_is_due_and_what_has_changed)
{
	static struct process_page page;
	const struct {
		int64_t now_us;
		uint32_t sessions; /* of a worker; another one has a stream and no session */
		uint32_t state;
		const char *beat, *status;
	} rows[] = {
		{0,	    9, PROCESS_NODE_STARTING, "WATCHDOG=1", ""},
		{499999,	 9, PROCESS_NODE_STARTING, "",	       ""},
		{500000,	 3, PROCESS_NODE_READY,	"WATCHDOG=1",
			"STATUS=serving: 3 sessions, 1 streams"	       },
		{600000,	 4, PROCESS_NODE_READY,	"",	    ""},
		{5500000,  3, PROCESS_NODE_READY,	 "WATCHDOG=1", ""},
		{10500000, 4, PROCESS_NODE_READY,	  "WATCHDOG=1",
			"STATUS=serving: 4 sessions, 1 streams"	       },
		{15500000, 5, PROCESS_NODE_STOPPING, "WATCHDOG=1", ""},
	};
	struct service service;
	int fd = listen_here();

	setenv("WATCHDOG_USEC", "1000000", 1);
	service_init(&service, 0);
	unsetenv("WATCHDOG_USEC");
	atomic_store(&page.slot[2].streams, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		atomic_store(&page.slot[1].sessions, rows[i].sessions);
		atomic_store(&page.node_state, rows[i].state);
		service_tick(&service, rows[i].now_us, &page);
		if (rows[i].beat[0])
			CHECK_STR(told(fd), rows[i].beat);
		CHECK_STR(told(fd), rows[i].status);
	}
	close(fd);
	unsetenv("NOTIFY_SOCKET");
}

TEST(children_are_not_told)
{
	char *const given[] = {"PATH=/bin", "NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=1",
		"MILLRACE_TOKEN_KEY=s", "HOME=/", "LANG=C", NULL};
	char *left[3];

	child_environment(given, left, 2);
	CHECK_STR(left[0], "PATH=/bin");
	CHECK_STR(left[1], "HOME=/");
	CHECK(!left[2]); /* no more than there is room for */
}
