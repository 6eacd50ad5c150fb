/* SPDX-License-Identifier: Apache-2.0
 *
 * What a supervisor hands to the program that it becomes: whole, cut, with any byte wrong, of another
 * layout, and without memory.
 */
#include "runtime/supervisor_internal.h"
#include "runtime/supervisor_state.h"
#include "tests/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 2, BYTES_MAX = 1 << 17, FDS_MAX = 64, ALLOCATIONS_MAX = 8, NOT_OPEN = 999 };

static struct supervisor old, next;
static int fds[FDS_MAX], fd_count;
static uint8_t bytes[BYTES_MAX];

static int some_fd(void)
{
	CHECK(fd_count < FDS_MAX);
	fds[fd_count] = memfd_create("fd", MFD_CLOEXEC);
	CHECK(fds[fd_count] > STDERR_FILENO);
	return fds[fd_count++];
}

static void add_child(enum process_role role, uint32_t index)
{
	struct child *child = &old.children[old.child_count++];

	child_init(child, role, index);
	child->wake = some_fd();
	child->incarnation = old.child_count;
	child->failures = index;
}

static void set_up(void)
{
	static struct config_report report;

	fd_count = 0;
	memset(&old, 0, sizeof(old));
	config_init(&old.config, &report);
	old.own = old.config;
	old.places = (struct places){.run = some_fd(),
		.data = some_fd(),
		.run_lock = some_fd(),
		.data_lock = some_fd(),
		.repl = some_fd(),
		.node_id = 77,
		.next_block = 10,
		.end_block = 1034};
	old.listeners = (struct listeners){.http = some_fd(),
		.rtmp = some_fd(),
		.https = -1,
		.rtmps = -1,
		.api = -1,
		.http_port = 8080,
		.worker_count = WORKERS};
	old.page = process_page_create(WORKERS, &old.env.fd.status);
	CHECK(old.page);
	old.env.fd.lifeline = some_fd();
	old.lifeline = some_fd();
	memset(old.secret, 0x5c, sizeof(old.secret));
	snprintf(old.program, sizeof(old.program), "/opt/old");
	add_child(PROCESS_CONTROL, 0);
	for (uint32_t i = 0; i < WORKERS; i++) {
		old.lines[i] = (struct line){.number = 3 + i, .block = 8 + i, .arena = -1};
		old.listeners.rtc_udp[i] = some_fd();
		old.listeners.rtc_tcp[i] = some_fd();
		old.listeners.rtc_ports[i] = (uint16_t)(8000 + i);
		old.listeners.link_udp[i] = some_fd();
		old.listeners.link_ports[i] = (uint16_t)(7500 + i);
		old.holders[i][0] = some_fd();
		old.holders[i][1] = some_fd();
		add_child(PROCESS_HOLDER, i);
		add_child(PROCESS_MEDIA, i);
		add_child(PROCESS_SPARE, i);
	}
	old.incarnation = 20;
}

static void tear_down(void)
{
	munmap(old.page, process_page_size());
	close(old.env.fd.status);
	for (int i = 0; i < fd_count; i++)
		close(fds[i]);
}

static int memfd_of(size_t size)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, size), size);
	return fd;
}

static size_t saved_bytes(void)
{
	int fd = state_save(&old);
	CHECK(fd >= 0);
	ssize_t size = pread(fd, bytes, sizeof(bytes), 0);
	CHECK(size > 0 && size < BYTES_MAX);
	close(fd);
	return (size_t)size;
}

TEST(a_supervisor_goes_on_where_it_was)
{
	static struct log log;
	const char *why;

	set_up();
	int fd = state_save(&old);
	CHECK(fd >= 0);
	CHECK(supervisor_state_suits(fd, 0, &why) && !why);
	CHECK_OK(state_keep_open(fd, true));
	CHECK(!(fcntl(old.places.run, F_GETFD) & FD_CLOEXEC) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC));
	memset(&next, 0, sizeof(next));
	next.log = &log;
	log_init(&log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &(struct log_sink){0});
	CHECK_OK(state_load(&next, fd));
	CHECK(fcntl(old.places.run, F_GETFD) & FD_CLOEXEC);
	CHECK_MEM(&next.places, &old.places, offsetof(struct places, problem));
	CHECK_MEM(next.secret, old.secret, sizeof(old.secret));
	CHECK_EQ(next.incarnation, old.incarnation);
	CHECK_EQ(next.listeners.worker_count, WORKERS);
	CHECK_EQ(next.listeners.https, -1);
	CHECK_EQ(next.child_count, old.child_count);
	for (uint32_t i = 0; i < WORKERS; i++) {
		CHECK_EQ(next.listeners.rtc_udp[i], old.listeners.rtc_udp[i]);
		CHECK_EQ(next.listeners.link_udp[i], old.listeners.link_udp[i]);
		CHECK_EQ(next.listeners.link_ports[i], old.listeners.link_ports[i]);
		CHECK_EQ(next.holders[i][1], old.holders[i][1]);
		CHECK_EQ(next.lines[i].number, old.lines[i].number);
		CHECK_EQ(next.lines[i].block, old.lines[i].block);
		CHECK_EQ(next.lines[i].arena, -1);
	}
	for (uint32_t i = 0; i < old.child_count; i++) {
		CHECK_EQ(next.children[i].role, old.children[i].role);
		CHECK_EQ(next.children[i].wake, old.children[i].wake);
		CHECK_EQ(next.children[i].incarnation, old.children[i].incarnation);
	}
	CHECK(next.operation.go_on != NULL);
	munmap(next.page, process_page_size());
	close(fd);
	tear_down();
}

/* What the cluster has said holds on, as its word and not as the node's: it may be taken back. */
TEST(the_cluster_s_settings_hold_on_and_can_be_taken_back)
{
	static const struct log_sink silent;
	static struct log log;

	set_up();
	old.log = &log;
	log_init(&log, "test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, &silent);
	CHECK_OK(supervisor_set(&old, "link.modes=a/*=race"));
	CHECK_OK(supervisor_set(&old, "log.level=error"));
	int fd = state_save(&old);
	CHECK(fd >= 0);
	memset(&next, 0, sizeof(next));
	next.log = &log;
	CHECK_OK(state_load(&next, fd));
	CHECK_STR(next.config.link_modes, "");
	next.own = next.config;
	supervisor_find_settings(&next);
	CHECK_STR(next.config.link_modes, "a/*=race");
	CHECK_EQ(next.config.log_level, LOG_LEVEL_ERROR);
	supervisor_take(&next, &old.own); /* as each start reads it */
	CHECK_STR(next.config.link_modes, "a/*=race");
	CHECK_OK(supervisor_set(&next, "link.modes"));
	CHECK_STR(next.config.link_modes, "");
	CHECK_EQ(next.config.log_level, LOG_LEVEL_ERROR);
	CHECK_OK(supervisor_set(&next, "log.level"));
	CHECK_EQ(next.config.log_level, LOG_LEVEL_INFO);
	munmap(next.page, process_page_size());
	close(fd);
	tear_down();
}

/* Never a crash; what is cut is never taken, and most of what is bent is not either. */
TEST(a_damaged_state_is_refused)
{
	const char *why;
	size_t refused = 0;

	set_up();
	size_t size = saved_bytes();
	for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 37) {
		int fd = memfd_of(cut);
		CHECK(!supervisor_state_suits(fd, 0, &why) && why);
		close(fd);
	}
	for (size_t at = 0; at < size; at++) {
		bytes[at] ^= 0xff;
		int fd = memfd_of(size);
		refused += !supervisor_state_suits(fd, 0, &why);
		bytes[at] ^= 0xff;
		close(fd);
	}
	CHECK_GE(refused, size / 4);
	CHECK(!supervisor_state_suits(-1, 0, &why) && why);
	tear_down();
}

TEST(what_is_not_whole_is_refused)
{
	const char *why;

	set_up();
	old.child_count--; /* a worker's spare */
	int fd = state_save(&old);
	CHECK(!supervisor_state_suits(fd, 0, &why));
	CHECK_STR(why, err_text(ERR_FORMAT));
	close(fd);
	old.child_count++;
	old.listeners.rtmp = NOT_OPEN;
	fd = state_save(&old);
	CHECK(!supervisor_state_suits(fd, 0, &why));
	close(fd);
	tear_down();
}

TEST(another_layout_is_refused)
{
	const char *why;

	set_up();
	size_t size = saved_bytes();
	bytes[4]++; /* the version */
	int fd = memfd_of(size);
	CHECK(!supervisor_state_suits(fd, 0, &why));
	assert_non_null(strstr(why, "laid out differently"));
	close(fd);
	old.page->slots++;
	fd = state_save(&old);
	CHECK(!supervisor_state_suits(fd, 0, &why));
	assert_non_null(strstr(why, "status page"));
	close(fd);
	old.page->slots--;
	old.lines[1].arena = some_fd(); /* no arena at all */
	fd = state_save(&old);
	CHECK(!supervisor_state_suits(fd, 0, &why));
	assert_non_null(strstr(why, "shared memory"));
	close(fd);
	tear_down();
}

TEST(without_memory_nothing_is_handed_over)
{
	const char *why;
	bool saved = false, suits = false;
	int fd, whole;

	set_up();
	whole = state_save(&old);
	for (size_t n = 1; n <= ALLOCATIONS_MAX && !(saved && suits); n++) {
		test_fail_allocation(n);
		fd = state_save(&old);
		saved = fd >= 0;
		if (saved)
			close(fd);
		test_fail_allocation(n);
		suits = supervisor_state_suits(whole, 0, &why);
		CHECK(suits || why);
		test_fail_allocation(0);
		CHECK(n > 1 || (!saved && !suits));
	}
	CHECK(saved && suits);
	close(whole);
	tear_down();
}

TEST(only_a_descriptor_is_taken_from_the_environment)
{
	static const char *const wrong[] = {
		"", "x", "3x", "2", "-1", "0", "99999999999", "1000000"};
	char text[16];

	CHECK_EQ(supervisor_state_take(), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		setenv(SUPERVISOR_STATE_VARIABLE, wrong[i], 1);
		CHECK_EQ(supervisor_state_take(), 0);
		assert_null(getenv(SUPERVISOR_STATE_VARIABLE));
	}
	int fd = memfd_create("state", 0);
	snprintf(text, sizeof(text), "%d", fd);
	setenv(SUPERVISOR_STATE_VARIABLE, text, 1);
	CHECK_EQ(supervisor_state_take(), fd);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_null(getenv(SUPERVISOR_STATE_VARIABLE));
	close(fd);
}
