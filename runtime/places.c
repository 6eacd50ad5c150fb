/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONSOLE_BACKLOG = 16 };

static const char lock_name[] = "lock";
static const char console_name[] = "repl.sock";

__attribute__((format(printf, 3, 4))) static enum err problem(
	struct places *places, enum err err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(places->problem, sizeof(places->problem), format, arguments);
	va_end(arguments);
	return err;
}

/* Opens a directory, made with its parents if need be. Ours alone: nobody may have prepared it. */
static enum err open_directory(struct places *places, const char *path, int *fd)
{
	char part[512];
	struct stat status;

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return problem(
				places, ERR_IO, "cannot create %s: %s", part, strerror(errno));
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return problem(places, ERR_IO, "cannot create %s: %s", path, strerror(errno));
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &status))
		return problem(places, ERR_IO, "cannot open %s: %s", path, strerror(errno));
	if (status.st_uid != geteuid())
		return problem(places, ERR_IO, "%s belongs to user %u, expected %u", path,
			(unsigned)status.st_uid, (unsigned)geteuid());
	if ((status.st_mode & 077) && fchmod(*fd, 0700))
		return problem(places, ERR_IO, "cannot make %s private: %s", path, strerror(errno));
	return ERR_OK;
}

/* Whoever owns the directory above could put another in the place of ours, and answer in its
 * sockets: /tmp/millrace-1000 may have been made by somebody else. */
static enum err check_parent(struct places *places, const char *path)
{
	struct stat status;
	char parent[512];

	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
	if (!parent[0])
		return ERR_OK;
	if (stat(parent, &status))
		return problem(places, ERR_IO, "cannot look at %s: %s", parent, strerror(errno));
	if ((status.st_uid != 0 && status.st_uid != geteuid()) ||
		((status.st_mode & S_IWOTH) && !(status.st_mode & S_ISVTX)))
		return problem(places, ERR_IO, "%s belongs to others, expected to own it", parent);
	return ERR_OK;
}

static pid_t read_pid(int fd)
{
	char text[16] = "";
	ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
	long pid = size > 0 ? strtol(text, NULL, 10) : 0;

	return pid > 0 && pid < INT32_MAX ? (pid_t)pid : 0;
}

/* An open-file-description lock: it goes with the last descriptor, whatever kills the process. */
static enum err take_lock(struct places *places, int directory, const char *path, int *fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[16];

	*fd = openat(directory, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return problem(
			places, ERR_IO, "cannot open %s/%s: %s", path, lock_name, strerror(errno));
	if (fcntl(*fd, F_OFD_SETLK, &lock))
		return problem(places, ERR_BUSY, "another node (pid %d) uses %s",
			(int)read_pid(*fd), path);
	int size = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(*fd, 0) || pwrite(*fd, text, (size_t)size, 0) != size)
		return problem(
			places, ERR_IO, "cannot write %s/%s: %s", path, lock_name, strerror(errno));
	return ERR_OK;
}

pid_t places_holder(const char *run_dir)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[512];
	pid_t pid = 0;

	snprintf(path, sizeof(path), "%s/%s", run_dir, lock_name);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	if (!fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK)
		pid = read_pid(fd);
	close(fd);
	return pid;
}

/* Endpoints are named by incarnation, which starts anew with each run of the node. */
static void remove_sockets(int directory)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	struct stat status;

	while (dir && (entry = readdir(dir)))
		if (!fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) &&
			S_ISSOCK(status.st_mode))
			(void)unlinkat(directory, entry->d_name, 0);
	if (dir)
		closedir(dir);
	else if (copy >= 0)
		close(copy);
}

/* Opened here and not by the control process, so that it outlives it: a console that connects while
 * control is started again waits instead of being refused. */
static enum err listen_console(struct places *places, const char *run_dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(
		address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir, console_name);

	if (length < 0 || (size_t)length >= sizeof(address.sun_path))
		return problem(places, ERR_IO, "%s is too long for sockets in it", run_dir);
	places->repl = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* the file must never be open to others, not even before a chmod */
	mode_t mask = umask(0177);
	bool ok = places->repl >= 0 &&
		  !bind(places->repl, (struct sockaddr *)&address, sizeof(address)) &&
		  !listen(places->repl, CONSOLE_BACKLOG);
	umask(mask);
	return ok ? ERR_OK
		  : problem(places, ERR_IO, "cannot listen on %s: %s", address.sun_path,
			    strerror(errno));
}

/* Whole or not at all, also when the power fails. */
static bool write_file(int directory, const char *name, const char *text)
{
	char temporary[64];
	size_t size = strlen(text);

	snprintf(temporary, sizeof(temporary), "%s.new", name);
	int fd = openat(
		directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	bool ok = write(fd, text, size) == (ssize_t)size && !fsync(fd);
	close(fd);
	return ok && !renameat(directory, temporary, directory, name) && !fsync(directory);
}

/* The number in a file: ERR_NOT_FOUND without the file, ERR_FORMAT when it is something else. */
static enum err read_number(int directory, const char *name, int base, uint64_t *number)
{
	char text[32] = "", *end;
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	ssize_t size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return ERR_FORMAT;
	errno = 0;
	*number = strtoull(text, &end, base);
	return errno || end == text || strcmp(end, "\n") || text[0] == '-' || *number == 0
		       ? ERR_FORMAT
		       : ERR_OK;
}

static enum err load_identity(struct places *places, const char *path)
{
	char text[32];
	enum err err = read_number(places->data, "node-id", 16, &places->node_id);

	if (err == ERR_NOT_FOUND) {
		do {
			if (getrandom(&places->node_id, sizeof(places->node_id), 0) !=
				sizeof(places->node_id))
				return problem(
					places, ERR_IO, "no random numbers: %s", strerror(errno));
		} while (!places->node_id);
		snprintf(text, sizeof(text), "%016" PRIx64 "\n", places->node_id);
		err = write_file(places->data, "node-id", text) ? ERR_OK : ERR_IO;
	}
	if (err)
		return problem(places, err, "%s/node-id: %s", path,
			err == ERR_IO ? strerror(errno) : "expected 16 hexadecimal digits");
	return ERR_OK;
}

enum err places_identity(const char *data_dir, uint64_t *node_id, char *problem)
{
	struct places places = {.data = -1};
	enum err err = open_directory(&places, data_dir, &places.data);

	if (!err)
		err = load_identity(&places, data_dir);
	if (places.data >= 0)
		close(places.data);
	*node_id = places.node_id;
	text_copy(problem, PLACES_TEXT_SIZE, places.problem);
	return err;
}

static enum err reserve_blocks(struct places *places)
{
	uint64_t first = 1;
	char text[32];
	enum err err = read_number(places->data, "actor-blocks", 10, &first);

	if (err && err != ERR_NOT_FOUND)
		return err;
	/* lower than what we hold: somebody put an old file back */
	if (first < places->end_block)
		first = places->end_block;
	if (first > UINT64_MAX / 2)
		return ERR_FORMAT;
	snprintf(text, sizeof(text), "%" PRIu64 "\n", first + PLACES_CHUNK);
	if (!write_file(places->data, "actor-blocks", text))
		return ERR_IO;
	places->next_block = first;
	places->end_block = first + PLACES_CHUNK;
	return ERR_OK;
}

enum err places_next_block(struct places *places, uint64_t *block)
{
	enum err err = ERR_OK;

	if (places->next_block == places->end_block)
		err = reserve_blocks(places);
	if (!err)
		*block = places->next_block++;
	return err;
}

static enum err open_all(struct places *places, const struct config *config)
{
	enum err err = open_directory(places, config->run_dir, &places->run);

	if (!err)
		err = check_parent(places, config->run_dir);
	if (!err)
		err = take_lock(places, places->run, config->run_dir, &places->run_lock);
	if (!err)
		err = open_directory(places, config->data_dir, &places->data);
	/* one directory may serve as both */
	struct stat run, data;
	if (!err && !fstat(places->run, &run) && !fstat(places->data, &data) &&
		(run.st_ino != data.st_ino || run.st_dev != data.st_dev))
		err = take_lock(places, places->data, config->data_dir, &places->data_lock);
	if (!err)
		err = load_identity(places, config->data_dir);
	if (!err && (err = reserve_blocks(places)))
		problem(places, err, "%s/actor-blocks: %s", config->data_dir,
			err == ERR_IO ? strerror(errno) : "expected a number");
	return err;
}

static void release(struct places *places)
{
	int *fds[] = {
		&places->repl, &places->run_lock, &places->data_lock, &places->run, &places->data};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

enum err places_open(struct places *places, const struct config *config)
{
	*places =
		(struct places){.run = -1, .data = -1, .run_lock = -1, .data_lock = -1, .repl = -1};
	enum err err = open_all(places, config);
	if (!err) {
		remove_sockets(places->run);
		err = listen_console(places, config->run_dir);
	}
	if (err)
		release(places);
	return err;
}

void places_close(struct places *places)
{
	if (places->run >= 0)
		remove_sockets(places->run);
	release(places);
}
