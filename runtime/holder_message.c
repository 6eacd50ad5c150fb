/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between a worker and its holder: one packet each, descriptors beside it.
 */
#include "runtime/holder.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Control data of a full batch, aligned as the kernel wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(HOLDER_BATCH * sizeof(int))];
};

static size_t message_size(uint32_t count)
{
	return offsetof(struct holder_message, entries) + count * sizeof(struct holder_entry);
}

static bool carries_descriptors(uint32_t op)
{
	return op == HOLDER_HOLD || op == HOLDER_HELD;
}

enum err holder_send(int fd, const struct holder_message *message, const int *fds)
{
	union control control = {0};
	struct iovec part = {(void *)(uintptr_t)message, message_size(message->count)};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	MUST(message->count <= HOLDER_BATCH);
	MUST(!fds == !(carries_descriptors(message->op) && message->count));
	if (fds) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(message->count * sizeof(int));
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(message->count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, message->count * sizeof(int));
	}
	/* whatever the reason, ETOOMANYREFS among them: the other side has to take something first */
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? ERR_AGAIN : ERR_OK;
}

static uint32_t take_descriptors(struct msghdr *header, int *fds)
{
	struct cmsghdr *rights = CMSG_FIRSTHDR(header);

	if (!rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
		return 0;
	size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	MUST(count <= HOLDER_BATCH);
	memcpy(fds, CMSG_DATA(rights), count * sizeof(int));
	return (uint32_t)count;
}

static bool is_valid(const struct holder_message *message, size_t size, uint32_t fd_count)
{
	if (size < message_size(0) || message->count > HOLDER_BATCH ||
		size != message_size(message->count))
		return false;
	if (carries_descriptors(message->op) ? fd_count > message->count : fd_count > 0)
		return false;
	for (uint32_t i = 0; i < message->count; i++)
		if (!message->entries[i].id)
			return false;
	switch (message->op) {
	case HOLDER_HOLD:
	case HOLDER_HELD:
	case HOLDER_RELEASE: return message->count > 0;
	case HOLDER_LIST:
	case HOLDER_HERE:
	case HOLDER_END: return message->count == 0;
	default: return false;
	}
}

void holder_drop(const int *fds)
{
	for (uint32_t i = 0; i < HOLDER_BATCH; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

enum err holder_receive(int fd, struct holder_message *message, int *fds, uint32_t *lost)
{
	union control control;
	struct iovec part = {message, sizeof(*message)};
	struct msghdr header = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};

	*lost = 0;
	ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size < 0)
		return ERR_AGAIN;
	memset(fds, 0xff, HOLDER_BATCH * sizeof(*fds));
	uint32_t fd_count = take_descriptors(&header, fds);
	/* no end of file: the supervisor keeps the other end */
	if ((header.msg_flags & MSG_TRUNC) || !is_valid(message, (size_t)size, fd_count)) {
		holder_drop(fds);
		return ERR_FORMAT;
	}
	/* those that fit came first, in order */
	if (carries_descriptors(message->op))
		*lost = message->count - fd_count;
	return ERR_OK;
}
