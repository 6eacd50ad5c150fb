/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of an operator (mesh_keys.h). Blocks on files: for commands.
 */
#include "runtime/mesh_keys.h"

#include "schemas/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODES_MAX = 1024, LINE_SIZE = 640 };

/* ---- the operator's own ---------------------------------------------------------------------- */

enum err operator_keys_new(struct operator_keys *keys, const char *name,
	const uint8_t cluster_secret[MESH_KEY_SIZE], int64_t not_after_s, uint64_t serial)
{
	struct mesh_keys pair;
	enum err err;

	*keys = (struct operator_keys){
		.says = {.not_after_s = not_after_s, .serial = serial}
	      };
	if (!operator_is_name(name))
		return ERR_FORMAT;
	err = mesh_keys_new(&pair);
	if (err)
		return err;
	memcpy(keys->public_key, pair.public_key, MESH_KEY_SIZE);
	memcpy(keys->secret_key, pair.secret_key, MESH_KEY_SIZE);
	explicit_bzero(&pair, sizeof(pair));
	memcpy(keys->says.key, keys->public_key, MESH_KEY_SIZE);
	text_copy(keys->says.name, sizeof(keys->says.name), name);
	err = mesh_cluster_key_public(cluster_secret, keys->cluster_key);
	return err ? err
		   : operator_certificate_sign(&keys->says, cluster_secret, keys->certificate);
}

/* What the file has: a word and digits a line. The certificate says name and public key. */
struct line {
	const char *word;
	uint8_t *bytes;
	size_t size;
};

enum { LINES = 3 };

#define LINES_OF(keys)                                                                   \
	{                                                                                \
		{"secret", (keys)->secret_key, MESH_KEY_SIZE},                           \
			{"certificate", (keys)->certificate, OPERATOR_CERTIFICATE_SIZE}, \
			{"cluster", (keys)->cluster_key, MESH_KEY_SIZE},                 \
	}

static bool write_lines(int fd, const struct operator_keys *keys)
{
	struct operator_keys copy = *keys;
	const struct line lines[LINES] = LINES_OF(&copy);
	char digits[OPERATOR_CERTIFICATE_TEXT_SIZE];
	bool good = true;

	for (int i = 0; i < LINES && good; i++)
		good = dprintf(fd, "%s %s\n", lines[i].word,
			       mesh_hex_write(lines[i].bytes, lines[i].size, digits)) > 0;
	explicit_bzero(digits, sizeof(digits));
	explicit_bzero(&copy, sizeof(copy));
	return good && !fsync(fd);
}

enum err operator_keys_write(const char *path, const struct operator_keys *keys)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return errno == EEXIST ? ERR_EXISTS : ERR_IO;
	bool good = write_lines(fd, keys);

	close(fd);
	if (!good)
		unlink(path);
	return good ? ERR_OK : ERR_IO;
}

static bool read_lines(FILE *file, struct operator_keys *keys)
{
	const struct line lines[LINES] = LINES_OF(keys);
	char text[LINE_SIZE];
	bool good = true;

	for (int i = 0; i < LINES && good; i++) {
		size_t word = strlen(lines[i].word);

		good = fgets(text, sizeof(text), file) != NULL;
		if (!good)
			break;
		text[strcspn(text, "\r\n")] = '\0';
		good = !strncmp(text, lines[i].word, word) && text[word] == ' ' &&
		       mesh_hex_read(text + word + 1, strlen(text + word + 1), lines[i].bytes,
			       lines[i].size);
	}
	explicit_bzero(text, sizeof(text));
	return good;
}

enum err operator_keys_read(const char *path, struct operator_keys *keys)
{
	FILE *file = fopen(path, "re");
	enum err err = ERR_FORMAT;

	if (!file)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	if (read_lines(file, keys))
		err = operator_certificate_read(
			keys->certificate, OPERATOR_CERTIFICATE_SIZE, &keys->says);
	if (!err)
		memcpy(keys->public_key, keys->says.key, MESH_KEY_SIZE);
	fclose(file);
	return err;
}

/* ---- nodes that were spoken to --------------------------------------------------------------- */

static FILE *open_nodes(const char *path, const char *mode)
{
	char nodes[MESH_KEYS_PATH_SIZE + 16];

	snprintf(nodes, sizeof(nodes), "%s.nodes", path);
	return fopen(nodes, mode);
}

/* Of a line "ADDRESS DIGITS"; false: it is of another address, or damaged. */
static bool read_line(char *line, const char *address, uint8_t certificate[MESH_CERTIFICATE_SIZE])
{
	char *digits = strchr(line, ' ');

	line[strcspn(line, "\r\n")] = '\0';
	if (!digits)
		return false;
	*digits++ = '\0';
	return !strcmp(line, address) &&
	       mesh_hex_read(digits, strlen(digits), certificate, MESH_CERTIFICATE_SIZE);
}

enum err operator_known_node(const char *path, const struct operator_keys *keys,
	const char *address, int64_t now_s, uint8_t key[MESH_KEY_SIZE])
{
	FILE *file = open_nodes(path, "re");
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	struct mesh_certificate says;
	char line[LINE_SIZE];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = read_line(line, address, certificate) &&
			!mesh_certificate_verify(
				certificate, sizeof(certificate), keys->cluster_key, now_s, &says);
	if (file)
		fclose(file);
	if (found)
		memcpy(key, says.key, MESH_KEY_SIZE);
	return found ? ERR_OK : ERR_NOT_FOUND;
}

/* All but that address' lines; of very many those spoken to longest ago go. */
static void copy_others(FILE *from, FILE *to, const char *address)
{
	size_t length = strlen(address);
	char line[LINE_SIZE];
	int count = 0;

	while (fgets(line, sizeof(line), from) && count < NODES_MAX) {
		if (!strncmp(line, address, length) && line[length] == ' ')
			continue;
		fputs(line, to);
		count++;
	}
}

enum err operator_remember_node(
	const char *path, const char *address, const uint8_t certificate[MESH_CERTIFICATE_SIZE])
{
	char digits[MESH_CERTIFICATE_TEXT_SIZE];
	char nodes[MESH_KEYS_PATH_SIZE + 16], beside[MESH_KEYS_PATH_SIZE + 24];
	mode_t mask = umask(0177);
	FILE *before = open_nodes(path, "re"), *now;
	bool good;

	snprintf(nodes, sizeof(nodes), "%s.nodes", path);
	snprintf(beside, sizeof(beside), "%s.new", nodes);
	now = fopen(beside, "we");
	umask(mask);
	good = now && fprintf(now, "%s %s\n", address,
			      mesh_hex_write(certificate, MESH_CERTIFICATE_SIZE, digits)) > 0;
	if (good && before)
		copy_others(before, now, address);
	if (before)
		fclose(before);
	if (now)
		good = !fclose(now) && good && !rename(beside, nodes);
	if (!good)
		unlink(beside);
	return good ? ERR_OK : ERR_IO;
}
