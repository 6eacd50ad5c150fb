/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervisor_service.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	STATUS_EVERY_MS = 5000,
	TEXT_SIZE = 256,
	BEATS_A_PERIOD = 2, /* sd_watchdog_enabled(3): at half of the time asked for */
};

static const char *const variables[] = {"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID="};

bool service_variable(const char *variable)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (!strncmp(variable, variables[i], strlen(variables[i])))
			return true;
	return false;
}

/* A whole positive number of the environment, 0 when there is none. */
static int64_t number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long long number = text ? strtoll(text, &end, 10) : 0;

	return text && *text && !*end && number > 0 && number < INT64_MAX ? number : 0;
}

void service_init(struct service *service, int64_t now_us)
{
	int64_t pid = number_of("WATCHDOG_PID");

	/* without a pid it is meant for us, else only if it is our own */
	*service = (struct service){
		.beat_us = pid == 0 || pid == getpid() ? number_of("WATCHDOG_USEC") / BEATS_A_PERIOD
						       : 0,
		.beat_due_us = now_us,
	};
}

static void send_text(const char *path, const char *text, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);

	if (!length || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

void service_tell(const char *format, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	char text[TEXT_SIZE];
	va_list arguments;

	if (!path)
		return;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size > 0 && (size_t)size < sizeof(text))
		send_text(path, text, (size_t)size);
}

void service_tick(struct service *service, int64_t now_us, const struct process_page *page)
{
	uint64_t sessions = 0, streams = 0;

	if (service->beat_us && now_us >= service->beat_due_us) {
		service->beat_due_us = now_us + service->beat_us;
		service_tell("WATCHDOG=1");
	}
	if (now_us < service->status_due_us || atomic_load(&page->node_state) != PROCESS_NODE_READY)
		return;
	service->status_due_us = now_us + STATUS_EVERY_MS * 1000;
	for (uint32_t i = 0; i < PROCESS_SLOTS_MAX; i++) {
		sessions += atomic_load(&page->slot[i].sessions);
		streams += atomic_load(&page->slot[i].streams);
	}
	if ((sessions << 32 | streams) == service->shown)
		return;
	service->shown = sessions << 32 | streams;
	service_tell(
		"STATUS=serving: %" PRIu64 " sessions, %" PRIu64 " streams", sessions, streams);
}
