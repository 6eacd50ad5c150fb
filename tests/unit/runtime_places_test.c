/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node finds where it starts, and what its children are started with: identity and blocks of ids
 * in its directories, the boot memfd, the log level.
 */
#include "runtime/places.h"
#include "runtime/process.h"
#include "tests/test.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status, (void)type, (void)ftw;
	return remove(path);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/data/%s", dir, name);
	FILE *file = fopen(path, "w");
	MUST(file && fputs(text, file) >= 0);
	fclose(file);
}

TEST(identity_stays_and_blocks_are_never_used_twice)
{
	static struct config config;
	char dir[] = "/tmp/millrace-test-XXXXXX";
	struct places places;
	uint64_t id = 0, last = 0, block;

	MUST(mkdtemp(dir));
	snprintf(config.run_dir, sizeof(config.run_dir), "%s/deep/run", dir);
	snprintf(config.data_dir, sizeof(config.data_dir), "%s/data", dir);
	for (int run = 0; run < 3; run++) {
		CHECK_OK(places_open(&places, &config));
		CHECK(places.node_id != 0 && (id == 0 || id == places.node_id));
		id = places.node_id;
		for (int i = 0; i < PLACES_CHUNK + 10; i++) {
			CHECK_OK(places_next_block(&places, &block));
			CHECK(block > last);
			last = block;
		}
		places_close(&places);
	}
	static const struct {
		const char *name;
		const char *text;
		enum err err;
	} rows[] = {
		{"actor-blocks", "",			     ERR_FORMAT},
		{"actor-blocks", "12x\n",		  ERR_FORMAT},
		{"actor-blocks", "-5\n",			 ERR_FORMAT},
		{"actor-blocks", "99999999999999999999\n", ERR_FORMAT},
		{"actor-blocks", "18446744073709551615\n", ERR_FORMAT},
		{"actor-blocks", "7\n",			ERR_OK    },
		{"node-id",	    "0\n",			   ERR_FORMAT},
		{"node-id",	    "xyz\n",		     ERR_FORMAT},
		{"node-id",	    "00ff\n",		      ERR_OK    },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_text(dir, rows[i].name, rows[i].text);
		CHECK_EQ(places_open(&places, &config), rows[i].err);
		if (rows[i].err)
			assert_non_null(strstr(places.problem, rows[i].name));
		else
			places_close(&places);
	}
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A boot memfd cut at every length, and with every byte of its first part wrong. */
TEST(a_damaged_boot_is_refused)
{
	static struct process_env env, loaded;
	static struct config config, copy;
	static struct config_report report;
	static uint8_t bytes[1 << 17];
	int fds[3];

	config_init(&config, &report);
	for (int i = 0; i < 3; i++)
		fds[i] = memfd_create("x", MFD_CLOEXEC);
	memset(&env.fd, 0xff, sizeof(env.fd));
	env.fd.lifeline = fds[0];
	env.fd.wake = fds[1];
	env.fd.status = fds[2];
	env.config = &config;
	env.worker_count = env.incarnation = env.line = 1;
	env.node_id = 1;
	int boot = process_env_save(&env);
	CHECK(boot >= 0);
	ssize_t size = pread(boot, bytes, sizeof(bytes), 0);
	/* whole, but the status page has another size, then no content */
	CHECK_EQ(process_env_load(boot, &loaded, &copy), ERR_VERSION);
	CHECK(!ftruncate(fds[2], (off_t)process_page_size()));
	CHECK_EQ(process_env_load(boot, &loaded, &copy), ERR_VERSION);
	CHECK_MEM(&copy, &config, sizeof(config));
	close(boot);
	for (ssize_t cut = 0; cut < size; cut += cut < 64 ? 1 : 61) {
		boot = memfd_create("cut", MFD_CLOEXEC);
		CHECK_EQ(write(boot, bytes, (size_t)cut), cut);
		CHECK(process_env_load(boot, &loaded, &copy) != ERR_OK);
		close(boot);
	}
	for (ssize_t at = 0; at < size; at++) {
		boot = memfd_create("bent", MFD_CLOEXEC);
		bytes[at] ^= 0xff;
		CHECK_EQ(write(boot, bytes, (size_t)size), size);
		CHECK(process_env_load(boot, &loaded, &copy) != ERR_OK);
		bytes[at] ^= 0xff;
		close(boot);
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* What the supervisor publishes is taken by the children, once, and nonsense in the page is not. */
TEST(a_child_follows_the_settings)
{
	static struct process_page page;
	static struct config config, now;
	static struct config_report report;
	static struct process_env env = {
		.role = PROCESS_MEDIA, .index = 3, .page = &page, .config = &config};
	static struct log log;
	uint32_t seen = 0;

	config_init(&config, &report);
	config_init(&now, &report);
	process_log_init(&env, &log);
	CHECK_STR(log.name, "media.3");
	CHECK(!process_settings_follow(&env, &seen, &log)); /* nothing was published */
	CHECK_OK(config_set(&now, "log.level", "debug", CONFIG_FROM_CLUSTER, "", &report));
	CHECK_OK(config_set(&now, "link.modes", "a/*=race", CONFIG_FROM_FILE, "", &report));
	CHECK_OK(config_set(&now, "http.port", "81", CONFIG_FROM_FILE, "", &report));
	process_settings_publish(&page, &now);
	CHECK(process_settings_follow(&env, &seen, &log));
	CHECK_EQ(log.level, LOG_LEVEL_DEBUG);
	CHECK_STR(config.link_modes, "a/*=race");
	CHECK_EQ(config.http_port, 8080);
	CHECK_EQ(config.set_by[CONFIG_KEY_log_level], CONFIG_FROM_CLUSTER);
	CHECK(!process_settings_follow(&env, &seen, &log));

	static const struct {
		uint32_t size;
		char at, becomes; /* a byte of the lines; 0 = none */
	} rows[] = {
		{UINT32_MAX,		     0,	0	 },
		{PROCESS_SETTINGS_SIZE + 1, 0,    0	},
		{40,			'\t', ' '},
		{9,			 0,    0	},
		{0,			 '*',	 '='},
	};

	CHECK_OK(config_set(&now, "log.level", "error", CONFIG_FROM_CLUSTER, "", &report));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		process_settings_publish(&page, &now);
		if (rows[i].size)
			page.settings.size = rows[i].size;
		if (rows[i].at)
			*strchr(page.settings.lines, rows[i].at) = rows[i].becomes;
		CHECK(!process_settings_follow(&env, &seen, &log));
		CHECK_EQ(log.level, LOG_LEVEL_DEBUG);
		CHECK_STR(config.link_modes, "a/*=race");
	}
	process_settings_publish(&page, &now);
	atomic_fetch_add(&page.settings.version, 1); /* it is being written */
	CHECK(!process_settings_follow(&env, &seen, &log));
	atomic_fetch_add(&page.settings.version, 1);
	CHECK(process_settings_follow(&env, &seen, &log));
	CHECK_EQ(log.level, LOG_LEVEL_ERROR);
}

/* All that may change, as long as it can be. */
TEST(the_longest_settings_fit_the_page)
{
	static struct process_page page;
	static struct config config;
	static struct config_report report;
	char text[CONFIG_VALUE_MAX + 1];

	config_init(&config, &report);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);
		size_t size = 0;

		if (!(row->flags & CONFIG_RELOAD) || row->type != CONFIG_RULES)
			continue;
		while (size + 50 < (size_t)row->max)
			size += (size_t)snprintf(text + size, sizeof(text) - size,
				"%sstream/*/%zu=%.*s", size ? "," : "", size,
				(int)strcspn(row->extra, "|"), row->extra);
		CHECK_OK(config_set(&config, row->key, text, CONFIG_FROM_CLUSTER, "", &report));
	}
	process_settings_publish(&page, &config);
	CHECK_GE(page.settings.size, 1400);
	CHECK_LE(page.settings.size + 100, PROCESS_SETTINGS_SIZE);
}
