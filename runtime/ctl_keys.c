/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace ctl keys`: the keys of a node's mesh gateway, of its cluster (docs/decisions/020) and of
 * operators (026). Works on files alone; a running node sees for itself that they have changed.
 *
 *   where the cluster's key is:    init, then node (on the same host) or sign
 *   where it is not:               show --(node, key)--> sign elsewhere --(certificate)--> install
 *   who comes to nodes from afar:  operator, where the cluster's key is
 */
#include "runtime/ctl_internal.h"

#include "runtime/cli.h"
#include "runtime/mesh_keys.h"
#include "runtime/mesh_revoked.h"
#include "runtime/places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DAYS_DEFAULT = 365, DAY_S = 86400, DAY_SIZE = 32, SHORT_TEXT = 1024 };

struct keys_command {
	const char *name;
	int words; /* behind it */
	const char *expected;
	int (*run)(const struct ctl *ctl);
};

/* ---- where things are ------------------------------------------------------------------------ */

static struct config *config_of_node(const struct ctl *ctl)
{
	static struct config_report report;
	static struct config config;
	struct config_host host;

	cli_host(&host);
	config_init(&config, &report);
	(void)config_read_environment(&config, environ, &report);
	if (ctl->name)
		(void)config_set(
			&config, "node.name", ctl->name, CONFIG_FROM_FLAG, "--name", &report);
	if (ctl->data_dir)
		(void)config_set(&config, "data_dir", ctl->data_dir, CONFIG_FROM_FLAG, "--data-dir",
			&report);
	if (report.count) {
		ctl_complain("%s", report.errors[0].text);
		return NULL;
	}
	(void)config_finish(&config, &host, &report);
	return &config;
}

/* False: it was said why not. */
static bool find_data_dir(const struct ctl *ctl, const char **data_dir)
{
	struct config *config = config_of_node(ctl);

	*data_dir = config ? config->data_dir : NULL;
	return config != NULL;
}

static const char *cluster_key_path(
	const struct ctl *ctl, const char *data_dir, char path[MESH_KEYS_PATH_SIZE])
{
	snprintf(path, MESH_KEYS_PATH_SIZE, "%s%s", ctl->cluster_key ? ctl->cluster_key : data_dir,
		ctl->cluster_key ? "" : "/cluster-key");
	return path;
}

static int fail_about(const struct ctl *ctl, enum err err, const char *what, const char *path)
{
	char text[SHORT_TEXT];

	snprintf(text, sizeof(text), "%s %s: %s", what, path,
		err == ERR_IO ? strerror(errno) : err_text(err));
	return ctl_fail(ctl, err_name(err), text, CLI_FAILED);
}

/* Makes the directory, and the node's identity, where they are not there yet. */
static int find_node(const struct ctl *ctl, const char **data_dir, uint64_t *node)
{
	char problem[PLACES_TEXT_SIZE];
	enum err err;

	if (!find_data_dir(ctl, data_dir))
		return CLI_USAGE;
	err = places_identity(*data_dir, node, problem);
	return err ? ctl_fail(ctl, err_name(err), problem, CLI_FAILED) : CLI_CLEAN;
}

static int read_cluster_secret(
	const struct ctl *ctl, const char *data_dir, uint8_t secret[MESH_KEY_SIZE])
{
	char path[MESH_KEYS_PATH_SIZE];
	enum err err = mesh_cluster_secret_read(cluster_key_path(ctl, data_dir, path), secret);

	if (err == ERR_NOT_FOUND)
		return ctl_fail(ctl, "not_found",
			"there is no cluster key here (--cluster-key); make one with keys init, or "
			"sign where it is: keys show, keys sign, keys install",
			CLI_FAILED);
	return err ? fail_about(ctl, err, "the cluster's key", path) : CLI_CLEAN;
}

/* ---- saying ---------------------------------------------------------------------------------- */

static const char *time_text(int64_t time_s, char text[DAY_SIZE])
{
	time_t seconds = (time_t)time_s;
	struct tm utc;

	text[0] = '\0';
	if (gmtime_r(&seconds, &utc))
		strftime(text, DAY_SIZE, "%Y-%m-%dT%H:%M:%SZ", &utc);
	return text;
}

static json_t *describe(uint64_t node, const struct mesh_keys *keys)
{
	char id[32], key[MESH_KEY_TEXT_SIZE], day[DAY_SIZE];
	json_t *result;

	snprintf(id, sizeof(id), "%" PRIx64, node);
	result = json_pack("{s:s, s:s}", "node", id, "key",
		mesh_hex_write(keys->public_key, MESH_KEY_SIZE, key));
	json_object_set_new(result, "signed", json_boolean(keys->certified));
	if (keys->certified)
		json_object_set_new(
			result, "not_after", json_string(time_text(keys->says.not_after_s, day)));
	return result;
}

static int say_node(
	const struct ctl *ctl, const char *what, uint64_t node, const struct mesh_keys *keys)
{
	json_t *result = describe(node, keys);
	char text[SHORT_TEXT];

	if (keys->certified)
		snprintf(text, sizeof(text), "%s of node %s, good until %s", what,
			json_string_value(json_object_get(result, "node")),
			json_string_value(json_object_get(result, "not_after")));
	else
		snprintf(text, sizeof(text),
			"%s, not signed yet. Where the cluster's key is:\n  millrace ctl keys sign "
			"%s %s",
			what, json_string_value(json_object_get(result, "node")),
			json_string_value(json_object_get(result, "key")));
	ctl_say(ctl, text, result, false);
	return CLI_CLEAN;
}

/* ---- commands -------------------------------------------------------------------------------- */

static int run_init(const struct ctl *ctl)
{
	uint8_t secret[MESH_KEY_SIZE], key[MESH_KEY_SIZE];
	char path[MESH_KEYS_PATH_SIZE], digits[MESH_KEY_TEXT_SIZE], text[SHORT_TEXT];
	const char *data_dir;
	uint64_t node;
	int status = find_node(ctl, &data_dir, &node);
	enum err err;

	if (status)
		return status;
	err = mesh_cluster_key_new(secret);
	err = err ? err : mesh_cluster_key_public(secret, key);
	cluster_key_path(ctl, data_dir, path);
	err = err ? err : mesh_cluster_secret_write(path, secret);
	explicit_bzero(secret, sizeof(secret));
	if (err)
		return fail_about(ctl, err, "the cluster's key", path);
	mesh_hex_write(key, MESH_KEY_SIZE, digits);
	snprintf(text, sizeof(text),
		"%s: keep it safe. For every node's configuration:\n"
		"cluster: { key: %s }",
		path, digits);
	ctl_say(ctl, text, json_pack("{s:s, s:s}", "cluster_key", digits, "file", path), false);
	return CLI_CLEAN;
}

/* Until when what is signed now is good; later ones have higher serials. */
struct validity {
	int64_t not_after_s;
	uint64_t serial;
};

static struct validity validity_of(const struct ctl *ctl)
{
	long days = ctl->days < 0 ? DAYS_DEFAULT : ctl->days;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (struct validity){.not_after_s = now.tv_sec + days * DAY_S,
		.serial = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000};
}

static int certify(
	const struct ctl *ctl, const char *data_dir, uint64_t node, struct mesh_keys *keys)
{
	uint8_t secret[MESH_KEY_SIZE];
	struct validity validity = validity_of(ctl);
	int status = read_cluster_secret(ctl, data_dir, secret);
	enum err err;

	if (status)
		return status;
	err = mesh_keys_certify(keys, node, secret, validity.not_after_s, validity.serial);
	explicit_bzero(secret, sizeof(secret));
	return err ? ctl_fail(ctl, err_name(err), err_text(err), CLI_FAILED) : CLI_CLEAN;
}

/* The node's key, a new one where there is none. */
static int find_pair(const struct ctl *ctl, const char *data_dir, struct mesh_keys *keys)
{
	enum err err = mesh_keys_read(data_dir, keys);

	if (err == ERR_NOT_FOUND)
		err = mesh_keys_new(keys);
	return err ? fail_about(ctl, err, "the node's key in", data_dir) : CLI_CLEAN;
}

static int keep_pair(
	const struct ctl *ctl, const char *data_dir, uint64_t node, const struct mesh_keys *keys)
{
	enum err err = mesh_keys_write(data_dir, keys);

	return err ? fail_about(ctl, err, "the node's key in", data_dir)
		   : say_node(ctl, "key", node, keys);
}

static int run_node(const struct ctl *ctl)
{
	const char *data_dir;
	struct mesh_keys keys;
	uint64_t node;
	int status = find_node(ctl, &data_dir, &node);

	status = status ? status : find_pair(ctl, data_dir, &keys);
	status = status ? status : certify(ctl, data_dir, node, &keys);
	return status ? status : keep_pair(ctl, data_dir, node, &keys);
}

static int run_rotate(const struct ctl *ctl)
{
	char path[MESH_KEYS_PATH_SIZE];
	const char *data_dir;
	struct mesh_keys keys, now;
	uint64_t node;
	int status = find_node(ctl, &data_dir, &node);
	enum err err = status ? ERR_OK : mesh_keys_new(&keys);

	if (status)
		return status;
	if (err)
		return ctl_fail(ctl, err_name(err), err_text(err), CLI_FAILED);
	if (!access(cluster_key_path(ctl, data_dir, path), F_OK) || ctl->cluster_key) {
		status = certify(ctl, data_dir, node, &keys);
		return status ? status : keep_pair(ctl, data_dir, node, &keys);
	}
	/* a key that nobody signed needs not wait for anybody */
	if (mesh_keys_read(data_dir, &now) || !now.certified)
		return keep_pair(ctl, data_dir, node, &keys);
	err = mesh_keys_write_next(data_dir, &keys);
	return err ? fail_about(ctl, err, "the node's next key in", data_dir)
		   : say_node(ctl, "next key", node, &keys);
}

static int run_sign(const struct ctl *ctl)
{
	char text[MESH_CERTIFICATE_TEXT_SIZE], *end;
	struct mesh_keys keys = {0};
	const char *data_dir;
	uint64_t node;

	errno = 0;
	node = strtoull(ctl->words[2], &end, 16);
	if (!node || *end || errno || strspn(ctl->words[2], "0123456789abcdefABCDEF") > 16)
		return ctl_complain("expected a node's id, not \"%s\"", ctl->words[2]);
	if (!mesh_hex_read(ctl->words[3], strlen(ctl->words[3]), keys.public_key, MESH_KEY_SIZE))
		return ctl_complain("expected a key of 64 digits, not \"%.80s\"", ctl->words[3]);
	if (!find_data_dir(ctl, &data_dir))
		return CLI_USAGE;
	int status = certify(ctl, data_dir, node, &keys);
	if (status)
		return status;
	mesh_hex_write(keys.certificate, MESH_CERTIFICATE_SIZE, text);
	json_t *result = describe(node, &keys);
	json_object_set_new(result, "certificate", json_string(text));
	ctl_say(ctl, text, result, false);
	return CLI_CLEAN;
}

/* The pair that a certificate is of: the one in use, or the one that waits for it. */
static enum err pair_of(
	const char *data_dir, const struct mesh_certificate *says, struct mesh_keys *keys)
{
	enum err err = mesh_keys_read_next(data_dir, keys);

	if (err || memcmp(keys->public_key, says->key, MESH_KEY_SIZE))
		err = mesh_keys_read(data_dir, keys);
	if (!err && memcmp(keys->public_key, says->key, MESH_KEY_SIZE))
		err = ERR_FORBIDDEN;
	return err;
}

static int run_install(const struct ctl *ctl)
{
	uint8_t bytes[MESH_CERTIFICATE_SIZE];
	struct mesh_certificate says;
	const char *word = ctl->words[2], *data_dir;
	struct mesh_keys keys;
	uint64_t node;
	enum err err;

	if (!mesh_hex_read(word, strlen(word), bytes, sizeof(bytes)) ||
		mesh_certificate_read(bytes, sizeof(bytes), &says))
		return ctl_complain("%s", "expected a certificate as keys sign prints it");
	int status = find_node(ctl, &data_dir, &node);
	if (status)
		return status;
	err = pair_of(data_dir, &says, &keys);
	if (err == ERR_FORBIDDEN || says.node != node)
		return ctl_fail(ctl, "forbidden",
			"the certificate is of another key or another node; see keys show",
			CLI_FAILED);
	if (err)
		return fail_about(ctl, err, "the node's key in", data_dir);
	keys.says = says;
	memcpy(keys.certificate, bytes, sizeof(bytes));
	keys.certified = true;
	return keep_pair(ctl, data_dir, node, &keys);
}

static int run_show(const struct ctl *ctl)
{
	uint8_t secret[MESH_KEY_SIZE], key[MESH_KEY_SIZE];
	char path[MESH_KEYS_PATH_SIZE], digits[MESH_KEY_TEXT_SIZE];
	struct mesh_keys keys, next;
	const char *data_dir;
	uint64_t node;
	int status = find_node(ctl, &data_dir, &node);

	if (!status && mesh_keys_read(data_dir, &keys) == ERR_NOT_FOUND)
		status = ctl_fail(ctl, "not_found",
			"the node has no key yet: keys node, or let it start once", CLI_FAILED);
	else if (!status)
		status = find_pair(ctl, data_dir, &keys);
	if (status)
		return status;
	json_t *result = describe(node, &keys);
	if (!mesh_keys_read_next(data_dir, &next))
		json_object_set_new(result, "next_key",
			json_string(mesh_hex_write(next.public_key, MESH_KEY_SIZE, digits)));
	if (!mesh_cluster_secret_read(cluster_key_path(ctl, data_dir, path), secret) &&
		!mesh_cluster_key_public(secret, key))
		json_object_set_new(result, "cluster_key",
			json_string(mesh_hex_write(key, MESH_KEY_SIZE, digits)));
	explicit_bzero(secret, sizeof(secret));
	ctl_say(ctl, NULL, result, false);
	return CLI_CLEAN;
}

static int run_operator(const struct ctl *ctl)
{
	uint8_t secret[MESH_KEY_SIZE];
	const char *name = ctl->words[2], *path = ctl->words[3], *data_dir;
	char key[MESH_KEY_TEXT_SIZE], day[DAY_SIZE], text[SHORT_TEXT];
	struct operator_keys keys;
	struct validity validity = validity_of(ctl);
	enum err err;

	if (!operator_is_name(name))
		return ctl_complain(
			"expected a name of 31 letters, digits, . _ - at most, not \"%.80s\"",
			name);
	if (!find_data_dir(ctl, &data_dir))
		return CLI_USAGE;
	int status = read_cluster_secret(ctl, data_dir, secret);
	if (status)
		return status;
	err = operator_keys_new(&keys, name, secret, validity.not_after_s, validity.serial);
	explicit_bzero(secret, sizeof(secret));
	err = err ? err : operator_keys_write(path, &keys);
	explicit_bzero(keys.secret_key, sizeof(keys.secret_key));
	if (err)
		return fail_about(ctl, err, "the operator's file", path);
	mesh_hex_write(keys.public_key, MESH_KEY_SIZE, key);
	time_text(keys.says.not_after_s, day);
	snprintf(text, sizeof(text),
		"%s: operator %s, good until %s; whoever has the file is that operator\n"
		"  millrace repl --operator %s 'tcp://HOST:7400?key=KEY'",
		path, name, day, path);
	ctl_say(ctl, text,
		json_pack("{s:s, s:s, s:s, s:s}", "operator", name, "key", key, "not_after", day,
			"file", path),
		false);
	return CLI_CLEAN;
}

/* The running node sees it, and tells the others. */
static int run_revoke(const struct ctl *ctl)
{
	uint8_t key[MESH_KEY_SIZE];
	const char *data_dir;
	char text[SHORT_TEXT];
	enum err err;

	if (!mesh_hex_read(ctl->words[2], strlen(ctl->words[2]), key, sizeof(key)))
		return ctl_complain("expected a key of 64 digits, not \"%.80s\"", ctl->words[2]);
	if (!find_data_dir(ctl, &data_dir))
		return CLI_USAGE;
	err = mesh_revoked_add(data_dir, key);
	if (err && err != ERR_EXISTS)
		return fail_about(ctl, err, "the list of revoked keys in", data_dir);
	snprintf(text, sizeof(text),
		"%s is let in no more: here within a second or two, and wherever the store is "
		"reached\n"
		"  if it is a node's: what its host knows of etcd (user and password, or a "
		"client's\n"
		"  certificate) and of tokens (token.key, admin_token) is good still, until you "
		"change it",
		ctl->words[2]);
	ctl_say(ctl, text,
		json_pack("{s:s, s:b}", "revoked", ctl->words[2], "new", err != ERR_EXISTS), false);
	return CLI_CLEAN;
}

static const struct keys_command commands[] = {
	// clang-format off
	{"init", 0, "expected nothing behind keys init", run_init},
	{"node", 0, "expected nothing behind keys node", run_node},
	{"sign", 2, "expected: keys sign NODE KEY, as keys show tells them", run_sign},
	{"install", 1, "expected: keys install CERTIFICATE", run_install},
	{"rotate", 0, "expected nothing behind keys rotate", run_rotate},
	{"operator", 2, "expected: keys operator NAME FILE", run_operator},
	{"revoke", 1, "expected: keys revoke KEY, as nodes shows it", run_revoke},
	{"show", 0, "expected nothing behind keys show", run_show},
	// clang-format on
};

int ctl_keys(struct ctl *ctl)
{
	const struct keys_command *command = NULL;

	if (ctl->word_count < 2)
		return ctl_complain("%s", "expected: keys init, node, sign, install, rotate, "
					  "operator, revoke or show");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(ctl->words[1], commands[i].name))
			command = &commands[i];
	if (!command)
		return ctl_complain("no such command: keys %s", ctl->words[1]);
	if (ctl->word_count - 2 != command->words)
		return ctl_complain("%s", command->expected);
	if (ctl->days == 0)
		return ctl_complain("%s", "--days: expected at least 1");
	return command->run(ctl);
}
