/* SPDX-License-Identifier: Apache-2.0
 *
 * Warming up may be done at any time and more than once, finds what sessions will find, and says what
 * they could not do with.
 */
#include "actors/webrtc/certificate.h"
#include "actors/webrtc/unseal.h"
#include "actors/webrtc/warm.h"
#include "tests/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ALLOCATIONS_MAX = 200 };

static struct process_env env;
static char file[PROCESS_PATH_SIZE + 16];

static void directory_make(void)
{
	strcpy(env.data_dir, "/tmp/millrace-warm-XXXXXX");
	CHECK(mkdtemp(env.data_dir) != NULL);
	snprintf(file, sizeof(file), "%s/" CERTIFICATE_FILE, env.data_dir);
}

static void directory_remove(void)
{
	unlink(file);
	CHECK_EQ(rmdir(env.data_dir), 0);
}

static void check_sessions_can_be_made(void)
{
	static const struct unseal_window window;
	const struct seal_keys keys = {.profile = SEAL_AEAD_AES_128_GCM};
	struct seal seal;
	struct unseal unseal;

	CHECK_EQ(seal_init(&seal, &keys), ERR_OK);
	CHECK_EQ(unseal_init(&unseal, &keys, &window), ERR_OK);
	seal_fini(&seal);
	unseal_fini(&unseal);
}

TEST(the_certificate_is_the_one_that_sessions_show)
{
	char problem[CERTIFICATE_PROBLEM_MAX];
	struct certificate before, after;

	directory_make();
	CHECK_EQ(certificate_load(&before, env.data_dir, time(NULL), problem), ERR_OK);
	CHECK(!webrtc_warm(&env));
	CHECK(!webrtc_warm(&env));
	CHECK_EQ(certificate_load(&after, env.data_dir, time(NULL), problem), ERR_OK);
	CHECK_MEM(&before.fingerprint, &after.fingerprint, sizeof(before.fingerprint));
	certificate_fini(&before);
	certificate_fini(&after);
	check_sessions_can_be_made();
	directory_remove();
}

TEST(what_cannot_be_read_is_left_as_it_is)
{
	static const char damaged[] = "no certificate";
	char found[sizeof(damaged) + 1] = "";
	int fd;

	env.data_dir[0] = '\0';
	CHECK(!webrtc_warm(&env));
	strcpy(env.data_dir, "/nowhere/at/all");
	CHECK(!webrtc_warm(&env));

	directory_make();
	fd = open(file, O_WRONLY | O_CREAT, 0600);
	CHECK_EQ(write(fd, damaged, sizeof(damaged)), sizeof(damaged));
	close(fd);
	webrtc_warm(&env);
	fd = open(file, O_RDONLY);
	CHECK_EQ(read(fd, found, sizeof(found)), sizeof(damaged));
	close(fd);
	CHECK(!strcmp(found, damaged));
	check_sessions_can_be_made();
	directory_remove();
}

TEST(memory_that_ends_half_way_ends_nothing_else)
{
	size_t seen = 1, unfit = 0;

	directory_make();
	for (size_t n = 1; n <= seen && n < ALLOCATIONS_MAX; n++) {
		test_fail_allocation(n);
		unfit += webrtc_warm(&env) != NULL;
		seen = test_fail_allocation(0);
	}
	CHECK(unfit > 0);
	CHECK(!webrtc_warm(&env));
	CHECK(seen > 0 && seen < ALLOCATIONS_MAX);
	check_sessions_can_be_made();
	directory_remove();
}
