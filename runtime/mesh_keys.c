/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_keys.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { Z85_SIZE = 41, TEXT_MAX = MESH_CERTIFICATE_TEXT_SIZE + 1, PAIR_FILE_MAX = 4096 };

static const char key_name[] = "mesh-key", next_name[] = "mesh-key.next";
static const char certificate_name[] = "mesh-certificate";

static const char *path_of(const char *data_dir, const char *name, char path[MESH_KEYS_PATH_SIZE])
{
	snprintf(path, MESH_KEYS_PATH_SIZE, "%s/%s", data_dir, name);
	return path;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* What was written beside it takes its place, also when the power fails. */
static enum err put_in_place(const char *beside, const char *path)
{
	int fd = open(beside, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool ok = fd >= 0 && !fchmod(fd, 0600) && !fsync(fd) && !rename(beside, path);

	if (fd >= 0)
		close(fd);
	if (!ok)
		unlink(beside);
	return ok ? ERR_OK : ERR_IO;
}

/* A line of digits into a file that must be new. */
static enum err write_new(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t size = strlen(text);

	if (fd < 0)
		return errno == EEXIST ? ERR_EXISTS : ERR_IO;
	bool ok = write(fd, text, size) == (ssize_t)size && write(fd, "\n", 1) == 1 && !fsync(fd);
	close(fd);
	if (!ok)
		unlink(path);
	return ok ? ERR_OK : ERR_IO;
}

/* Digits of `size` bytes and the end of the line. */
static enum err read_digits(const char *path, uint8_t *bytes, size_t size)
{
	char text[TEXT_MAX + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text));
	enum err err = fd < 0 && errno == ENOENT ? ERR_NOT_FOUND : length < 0 ? ERR_IO : ERR_OK;

	if (fd >= 0)
		close(fd);
	while (!err && length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	if (!err && !mesh_hex_read(text, (size_t)length, bytes, size))
		err = ERR_FORMAT;
	explicit_bzero(text, sizeof(text));
	return err;
}

/* ---- the node's pair ------------------------------------------------------------------------- */

static void take_pair(zcert_t *pair, struct mesh_keys *keys)
{
	*keys = (struct mesh_keys){0};
	memcpy(keys->public_key, zcert_public_key(pair), MESH_KEY_SIZE);
	memcpy(keys->secret_key, zcert_secret_key(pair), MESH_KEY_SIZE);
}

enum err mesh_keys_new(struct mesh_keys *keys)
{
	zcert_t *pair = zcert_new();

	if (!pair)
		return ERR_CRYPTO;
	take_pair(pair, keys);
	zcert_destroy(&pair);
	return ERR_OK;
}

/* `name = "40 digits"`, with anything around it that is no digit of the text: false, it is not that. */
static bool read_key(const char *line, const char *name, char text[Z85_SIZE])
{
	size_t length = strlen(name);

	if (strncmp(line, name, length) != 0)
		return false;
	line += length;
	line += strspn(line, " \t");
	if (*line++ != '=')
		return false;
	line += strspn(line, " \t");
	if (*line++ != '"' || strcspn(line, "\"") != Z85_SIZE - 1)
		return false;
	memcpy(text, line, Z85_SIZE - 1);
	text[Z85_SIZE - 1] = 0;
	return true;
}

/* What zcert_save_secret writes: a section "curve" with two lines in it. (zcert_load prints lines that it
 * cannot read, and whatever is in them.) */
static enum err parse_pair(char *file, struct mesh_keys *keys)
{
	char public_text[Z85_SIZE] = "", secret_text[Z85_SIZE] = "", made[Z85_SIZE];
	bool in_curve = false;
	enum err err = ERR_FORMAT;
	char *rest = NULL;

	for (char *line = strtok_r(file, "\r\n", &rest); line;
		line = strtok_r(NULL, "\r\n", &rest)) {
		size_t indent = strspn(line, " \t");

		if (!line[indent] || line[indent] == '#')
			continue;
		if (!indent)
			in_curve = !strncmp(line, "curve", 5) && !line[5 + strspn(line + 5, " \t")];
		else if (in_curve && !read_key(line + indent, "public-key", public_text))
			read_key(line + indent, "secret-key", secret_text);
	}
	*keys = (struct mesh_keys){0};
	/* the secret half makes the public one: what a damaged file says of them is compared */
	if (public_text[0] && secret_text[0] && zmq_z85_decode(keys->public_key, public_text) &&
		zmq_z85_decode(keys->secret_key, secret_text) &&
		!zmq_curve_public(made, secret_text) && !strcmp(made, public_text))
		err = ERR_OK;
	explicit_bzero(secret_text, sizeof(secret_text));
	if (err)
		explicit_bzero(keys, sizeof(*keys));
	return err;
}

static enum err read_pair(const char *path, struct mesh_keys *keys)
{
	char file[PAIR_FILE_MAX + 1];
	size_t size = 0;
	ssize_t got = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum err err = ERR_OK;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	while (got > 0 && size < sizeof(file)) {
		got = read(fd, file + size, sizeof(file) - size);
		size += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (got < 0)
		err = ERR_IO;
	else if (size == sizeof(file) || memchr(file, 0, size))
		err = ERR_FORMAT;
	if (!err) {
		file[size] = 0;
		err = parse_pair(file, keys);
	}
	explicit_bzero(file, sizeof(file));
	return err;
}

static enum err write_pair(const char *path, const struct mesh_keys *keys)
{
	zcert_t *pair = zcert_new_from(keys->public_key, keys->secret_key);
	char beside[MESH_KEYS_PATH_SIZE + 8];
	enum err err;

	if (!pair)
		return ERR_NO_MEMORY;
	snprintf(beside, sizeof(beside), "%s.new", path);
	mode_t mask = umask(0177); /* never open to others, not even before the chmod */
	err = zcert_save_secret(pair, beside) ? ERR_IO : ERR_OK;
	umask(mask);
	zcert_destroy(&pair);
	return err ? err : put_in_place(beside, path);
}

static void read_certificate(const char *data_dir, struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE];

	keys->certified =
		!read_digits(path_of(data_dir, certificate_name, path), keys->certificate,
			MESH_CERTIFICATE_SIZE) &&
		!mesh_certificate_read(keys->certificate, MESH_CERTIFICATE_SIZE, &keys->says) &&
		!memcmp(keys->says.key, keys->public_key, MESH_KEY_SIZE);
}

enum err mesh_keys_read(const char *data_dir, struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE];
	enum err err = read_pair(path_of(data_dir, key_name, path), keys);

	if (!err)
		read_certificate(data_dir, keys);
	return err;
}

enum err mesh_keys_read_next(const char *data_dir, struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE];

	return read_pair(path_of(data_dir, next_name, path), keys);
}

static enum err write_certificate(const char *data_dir, const struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE], beside[MESH_KEYS_PATH_SIZE + 8];
	char text[MESH_CERTIFICATE_TEXT_SIZE];
	enum err err;

	path_of(data_dir, certificate_name, path);
	snprintf(beside, sizeof(beside), "%s.new", path);
	unlink(beside);
	err = write_new(beside, mesh_hex_write(keys->certificate, MESH_CERTIFICATE_SIZE, text));
	return err ? err : put_in_place(beside, path);
}

enum err mesh_keys_write(const char *data_dir, const struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE];
	enum err err = keys->certified ? write_certificate(data_dir, keys) : ERR_OK;

	if (!err)
		err = write_pair(path_of(data_dir, key_name, path), keys);
	if (!err)
		unlink(path_of(data_dir, next_name, path));
	return err;
}

enum err mesh_keys_write_next(const char *data_dir, const struct mesh_keys *keys)
{
	char path[MESH_KEYS_PATH_SIZE];

	return write_pair(path_of(data_dir, next_name, path), keys);
}

enum err mesh_keys_certify(struct mesh_keys *keys, uint64_t node,
	const uint8_t cluster_secret[MESH_KEY_SIZE], int64_t not_after_s, uint64_t serial)
{
	enum err err;

	keys->says = (struct mesh_certificate){
		.node = node, .not_after_s = not_after_s, .serial = serial};
	memcpy(keys->says.key, keys->public_key, MESH_KEY_SIZE);
	err = mesh_certificate_sign(&keys->says, cluster_secret, keys->certificate);
	keys->certified = !err;
	return err;
}

/* ---- the cluster's key ----------------------------------------------------------------------- */

enum err mesh_cluster_secret_read(const char *path, uint8_t secret[MESH_KEY_SIZE])
{
	return read_digits(path, secret, MESH_KEY_SIZE);
}

enum err mesh_cluster_secret_write(const char *path, const uint8_t secret[MESH_KEY_SIZE])
{
	char text[MESH_KEY_TEXT_SIZE];
	enum err err = write_new(path, mesh_hex_write(secret, MESH_KEY_SIZE, text));

	explicit_bzero(text, sizeof(text));
	return err;
}

uint64_t mesh_keys_stamp(const char *data_dir)
{
	const char *const names[] = {key_name, certificate_name};
	char path[MESH_KEYS_PATH_SIZE];
	uint64_t stamp = 0;
	struct stat status;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (stat(path_of(data_dir, names[i], path), &status))
			continue;
		stamp = stamp * 31 + (uint64_t)status.st_ino;
		stamp = stamp * 31 + (uint64_t)status.st_mtim.tv_sec;
		stamp = stamp * 31 + (uint64_t)status.st_mtim.tv_nsec;
	}
	return stamp;
}
