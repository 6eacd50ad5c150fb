/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_keys.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODE = 0x1234 };

static const char *const names[] = {"mesh-key", "mesh-key.next", "mesh-certificate", "cluster-key"};

static const char *path_of(const char *directory, const char *name)
{
	static char path[MESH_KEYS_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void make_directory(char directory[32])
{
	strcpy(directory, "/tmp/mesh-keys-XXXXXX");
	CHECK(mkdtemp(directory));
}

static void remove_directory(const char *directory)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(directory, names[i]));
	CHECK(!rmdir(directory)); /* nothing else was left */
}

static void put(const char *directory, const char *name, const char *text)
{
	FILE *file = fopen(path_of(directory, name), "w");

	CHECK(file);
	fputs(text, file);
	fclose(file);
}

static void check_private(const char *directory, const char *name)
{
	struct stat status;

	CHECK(!stat(path_of(directory, name), &status));
	CHECK_EQ(status.st_mode & 0777, 0600);
}

TEST(a_pair_is_read_as_it_was_written)
{
	char directory[32];
	struct mesh_keys keys, other, now;
	uint8_t secret[MESH_KEY_SIZE];

	make_directory(directory);
	CHECK_EQ(mesh_keys_read(directory, &now), ERR_NOT_FOUND);
	CHECK_OK(mesh_keys_new(&keys));
	CHECK_OK(mesh_keys_new(&other));
	CHECK(memcmp(keys.secret_key, other.secret_key, MESH_KEY_SIZE));
	CHECK_OK(mesh_keys_write(directory, &keys));
	CHECK_OK(mesh_keys_read(directory, &now));
	CHECK_MEM(now.public_key, keys.public_key, MESH_KEY_SIZE);
	CHECK_MEM(now.secret_key, keys.secret_key, MESH_KEY_SIZE);
	CHECK(!now.certified);
	uint64_t stamp = mesh_keys_stamp(directory);
	CHECK_OK(mesh_cluster_key_new(secret));
	CHECK_OK(mesh_keys_certify(&keys, NODE, secret, 2000, 7));
	CHECK_OK(mesh_keys_write(directory, &keys));
	CHECK(mesh_keys_stamp(directory) != stamp);
	CHECK_OK(mesh_keys_read(directory, &now));
	CHECK(now.certified);
	CHECK_EQ(now.says.node, NODE);
	for (int i = 0; i < 3; i += 2)
		check_private(directory, names[i]);
	/* another pair under the same certificate: half replaced */
	CHECK_OK(mesh_keys_write(directory, &other));
	CHECK_OK(mesh_keys_read(directory, &now));
	CHECK(!now.certified);
	remove_directory(directory);
}

TEST(a_pair_that_waits_is_gone_when_it_is_used)
{
	char directory[32];
	struct mesh_keys keys, next, now;

	make_directory(directory);
	CHECK_OK(mesh_keys_new(&keys));
	CHECK_OK(mesh_keys_new(&next));
	CHECK_OK(mesh_keys_write(directory, &keys));
	CHECK_EQ(mesh_keys_read_next(directory, &now), ERR_NOT_FOUND);
	CHECK_OK(mesh_keys_write_next(directory, &next));
	check_private(directory, "mesh-key.next");
	CHECK_OK(mesh_keys_read_next(directory, &now));
	CHECK_MEM(now.public_key, next.public_key, MESH_KEY_SIZE);
	CHECK_OK(mesh_keys_read(directory, &now));
	CHECK_MEM(now.public_key, keys.public_key, MESH_KEY_SIZE);
	CHECK_OK(mesh_keys_write(directory, &next));
	CHECK_EQ(mesh_keys_read_next(directory, &now), ERR_NOT_FOUND);
	remove_directory(directory);
}

/* What this process prints until it is looked at: nothing of a file with a secret in it. */
struct spoken {
	FILE *file;
	int out, err;
};

static struct spoken listen(void)
{
	struct spoken spoken = {.file = tmpfile(), .out = dup(1), .err = dup(2)};

	CHECK(spoken.file);
	fflush(stdout);
	dup2(fileno(spoken.file), 1);
	dup2(fileno(spoken.file), 2);
	return spoken;
}

static long heard(struct spoken *spoken)
{
	long size;

	fflush(stdout);
	fflush(stderr);
	size = lseek(fileno(spoken->file), 0, SEEK_END);
	dup2(spoken->out, 1);
	dup2(spoken->err, 2);
	close(spoken->out);
	close(spoken->err);
	fclose(spoken->file);
	return size;
}

TEST(damaged_files)
{
	static const char *const rows[] = {
		"",
		"nonsense",
		"curve\n",
		"curve\n    public-key = \"short\"\n    secret-key = \"short\"\n",
		/* two halves that do not belong together */
		"curve\n    public-key = \"]V<yd*q2nZ>*WSVK[-(G)mT0AACv=:IEh3tNq8W?\"\n"
		"    secret-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n",
		"curve\n    public-key = \"]V<yd*q2nZ>*WSVK[-(G)mT0AACv=:IEh3tNq8W?\"\n",
		/* a line cut off in the middle; lines that are no pair; in another section */
		"curve\n    public-key = \"]V<yd*q2nZ>*WSVK[-(G)mT0AACv=:IEh3tNq8W?\"\n"
		"    secret-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M",
		"curve\n  ]]]]  = secret\n\"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n",
		"curve\n    public-key \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n",
		"other\n    public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n"
		"    secret-key = \"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\"\n",
	};
	char directory[32];
	struct mesh_keys keys;
	struct spoken spoken = listen();
	uint8_t secret[MESH_KEY_SIZE];

	make_directory(directory);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(directory, "mesh-key", rows[i]);
		CHECK_EQ(mesh_keys_read(directory, &keys), ERR_FORMAT);
		put(directory, "cluster-key", rows[i]);
		CHECK_EQ(mesh_cluster_secret_read(path_of(directory, "cluster-key"), secret),
			ERR_FORMAT);
	}
	CHECK_EQ(heard(&spoken), 0);
	/* one of more than any pair has; and one as others write it */
	static char large[8192];
	memset(large, '#', sizeof(large) - 1);
	put(directory, "mesh-key", large);
	CHECK_EQ(mesh_keys_read(directory, &keys), ERR_FORMAT);
	put(directory, "mesh-key",
		"#  a comment\nmetadata\n    name = \"x\"\ncurve\n"
		"    public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n"
		"    secret-key = \"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\"\n");
	CHECK_OK(mesh_keys_read(directory, &keys));
	CHECK_OK(mesh_keys_new(&keys));
	CHECK_OK(mesh_keys_write(directory, &keys));
	put(directory, "mesh-certificate", "0100");
	CHECK_OK(mesh_keys_read(directory, &keys));
	CHECK(!keys.certified);
	CHECK_EQ(mesh_keys_write("/nowhere/at/all", &keys), ERR_IO);
	remove_directory(directory);
}

TEST(a_clusters_key_is_never_overwritten)
{
	char directory[32];
	uint8_t secret[MESH_KEY_SIZE], now[MESH_KEY_SIZE];

	make_directory(directory);
	CHECK_EQ(mesh_cluster_secret_read(path_of(directory, "cluster-key"), now), ERR_NOT_FOUND);
	CHECK_OK(mesh_cluster_key_new(secret));
	CHECK_OK(mesh_cluster_secret_write(path_of(directory, "cluster-key"), secret));
	check_private(directory, "cluster-key");
	CHECK_OK(mesh_cluster_secret_read(path_of(directory, "cluster-key"), now));
	CHECK_MEM(now, secret, MESH_KEY_SIZE);
	CHECK_EQ(mesh_cluster_secret_write(path_of(directory, "cluster-key"), secret), ERR_EXISTS);
	remove_directory(directory);
}
