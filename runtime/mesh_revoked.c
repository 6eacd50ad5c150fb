/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_revoked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 320, LINE_SIZE = 256 };

static const char *path_of(const char *data_dir, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/mesh-revoked", data_dir);
	return path;
}

enum err mesh_revoked_read(const char *data_dir, struct mesh_revoked_list *list)
{
	char path[PATH_SIZE], line[LINE_SIZE];
	FILE *file = fopen(path_of(data_dir, path), "re");

	list->count = list->damaged = 0;
	if (!file)
		return errno == ENOENT ? ERR_OK : ERR_IO;
	while (fgets(line, sizeof(line), file)) {
		size_t length = strcspn(line, "\r\n");

		if (!length)
			continue;
		if (list->count < MESH_REVOKED_MAX &&
			mesh_hex_read(line, length, list->keys[list->count], MESH_KEY_SIZE))
			list->count++;
		else
			list->damaged++;
	}
	fclose(file);
	return ERR_OK;
}

/* One write: two who add at once both do. */
static enum err append(const char *path, const uint8_t key[MESH_KEY_SIZE])
{
	char line[MESH_KEY_TEXT_SIZE + 2]; /* an end, digits, an end */
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char last = '\n';
	off_t size;
	bool good;

	if (fd < 0)
		return ERR_IO;
	size = lseek(fd, 0, SEEK_END);
	good = size >= 0 && (!size || pread(fd, &last, 1, size - 1) == 1);
	/* a last line that somebody left without its end */
	snprintf(line, sizeof(line), "%s", last == '\n' ? "" : "\n");
	mesh_hex_write(key, MESH_KEY_SIZE, line + strlen(line));
	strcat(line, "\n");
	good = good && write(fd, line, strlen(line)) == (ssize_t)strlen(line) && !fsync(fd);
	close(fd);
	return good ? ERR_OK : ERR_IO;
}

enum err mesh_revoked_add(const char *data_dir, const uint8_t key[MESH_KEY_SIZE])
{
	struct mesh_revoked_list list;
	char path[PATH_SIZE];
	enum err err = mesh_revoked_read(data_dir, &list);

	for (uint32_t i = 0; !err && i < list.count; i++)
		if (!memcmp(list.keys[i], key, MESH_KEY_SIZE))
			err = ERR_EXISTS;
	if (!err && list.count == MESH_REVOKED_MAX)
		err = ERR_LIMIT;
	return err ? err : append(path_of(data_dir, path), key);
}

uint64_t mesh_revoked_stamp(const char *data_dir)
{
	char path[PATH_SIZE];
	struct stat status;

	if (stat(path_of(data_dir, path), &status))
		return 0;
	return ((uint64_t)status.st_ino * 31 + (uint64_t)status.st_mtim.tv_sec) * 31 +
	       (uint64_t)status.st_mtim.tv_nsec + (uint64_t)status.st_size;
}
