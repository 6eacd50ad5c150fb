/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators from afar: certificates, frames, addresses, and the files of an operator.
 */
#include "runtime/operator.h"

#include "runtime/mesh.h"
#include "runtime/mesh_keys.h"
#include "runtime/repl_far.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t secret[MESH_KEY_SIZE] = {1, 2, 3};

static void sign(
	const char *name, uint8_t bytes[OPERATOR_CERTIFICATE_SIZE], uint8_t key[MESH_KEY_SIZE])
{
	struct operator_certificate says = {.not_after_s = 2000, .serial = 7};

	snprintf(says.name, sizeof(says.name), "%s", name);
	for (int i = 0; i < MESH_KEY_SIZE; i++)
		says.key[i] = (uint8_t)i;
	CHECK_OK(operator_certificate_sign(&says, secret, bytes));
	CHECK_OK(mesh_cluster_key_public(secret, key));
}

TEST(what_the_cluster_signed_is_read_again)
{
	static const char *const names[] = {
		"a", "anna", "ops-2.fra_1", "0123456789012345678901234567890"};
	uint8_t bytes[OPERATOR_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];
	struct operator_certificate now;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		sign(names[i], bytes, key);
		CHECK_OK(operator_certificate_verify(bytes, sizeof(bytes), key, 2000, &now));
		CHECK_STR(now.name, names[i]);
		CHECK_EQ(now.not_after_s, 2000);
		CHECK_EQ(now.serial, 7);
		CHECK_EQ(now.key[31], 31);
		CHECK_EQ(operator_certificate_verify(bytes, sizeof(bytes), key, 2001, &now),
			ERR_TIMEOUT);
	}
}

TEST(every_changed_bit_is_noticed)
{
	uint8_t bytes[OPERATOR_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];
	struct operator_certificate now;

	sign("anna", bytes, key);
	for (int bit = 0; bit < 8 * OPERATOR_CERTIFICATE_SIZE; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(operator_certificate_verify(bytes, sizeof(bytes), key, 0, &now) != ERR_OK);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	key[0] ^= 1;
	CHECK_EQ(operator_certificate_verify(bytes, sizeof(bytes), key, 0, &now), ERR_AUTH);
}

TEST(a_node_is_no_operator_and_an_operator_no_node)
{
	uint8_t bytes[OPERATOR_CERTIFICATE_SIZE], node[OPERATOR_CERTIFICATE_SIZE] = {0};
	uint8_t key[MESH_KEY_SIZE];
	struct mesh_certificate says = {.node = 5, .not_after_s = 2000}, read;
	struct operator_certificate now;

	sign("anna", bytes, key);
	CHECK_OK(mesh_certificate_sign(&says, secret, node));
	CHECK_EQ(
		operator_certificate_verify(node, MESH_CERTIFICATE_SIZE, key, 0, &now), ERR_FORMAT);
	CHECK_EQ(mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &read), ERR_FORMAT);
	/* the same bytes, signed as what a node's are signed as */
	CHECK_OK(mesh_sign("millrace node certificate", bytes, 80, secret, bytes + 80));
	CHECK_EQ(operator_certificate_verify(bytes, sizeof(bytes), key, 0, &now), ERR_AUTH);
}

TEST(names)
{
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{"anna",			     true },
		{"",				 false},
		{"anna b",			   false},
		{"anna\n",			   false},
		{"../anna",			    false},
		{"01234567890123456789012345678901", false},
	};
	uint8_t bytes[OPERATOR_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];
	struct operator_certificate now;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(operator_is_name(rows[i].name), rows[i].good);
	sign("anna", bytes, key);
	bytes[7] = 'x'; /* behind the end of the name */
	CHECK_EQ(operator_certificate_read(bytes, sizeof(bytes), &now), ERR_FORMAT);
}

TEST(frames)
{
	static const struct {
		uint8_t kind;
		size_t size;
		bool good;
	} rows[] = {
		{OPERATOR_OPEN,	OPERATOR_CERTIFICATE_SIZE,	   true },
		{OPERATOR_OPEN,	OPERATOR_CERTIFICATE_SIZE - 1, false},
		{OPERATOR_OPEN,	OPERATOR_CERTIFICATE_SIZE + 1, false},
		{OPERATOR_OPENED,  0,			     true },
		{OPERATOR_OPENED,  MESH_CERTIFICATE_SIZE,	 true },
		{OPERATOR_OPENED,  MESH_CERTIFICATE_SIZE + 1,     false},
		{OPERATOR_REFUSED, 0,			      false},
		{OPERATOR_REFUSED, 1,			      true },
		{OPERATOR_DATA,	0,				   false},
		{OPERATOR_DATA,	OPERATOR_DATA_MAX,		   true },
		{OPERATOR_DATA,	OPERATOR_DATA_MAX + 1,	       false},
		{OPERATOR_END,     0,				  true },
		{OPERATOR_END,     1,				  false},
		{0,		    0,			     false},
		{6,		    0,			     false},
		{255,	      0,			     false},
	};
	static uint8_t bytes[OPERATOR_FRAME_MAX + 1];
	struct operator_frame frame;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		operator_frame_head((enum operator_kind)rows[i].kind, bytes);
		enum err err =
			operator_frame_read(bytes, OPERATOR_HEAD_SIZE + rows[i].size, &frame);

		CHECK_EQ(err, rows[i].good ? ERR_OK : ERR_FORMAT);
		if (!err)
			CHECK_EQ(frame.size, rows[i].size);
	}
	operator_frame_head(OPERATOR_END, bytes);
	for (size_t size = 0; size < OPERATOR_HEAD_SIZE; size++)
		CHECK_EQ(operator_frame_read(bytes, size, &frame), ERR_FORMAT);
	bytes[0] = MESH_FRAME_OPERATOR - 1;
	CHECK_EQ(operator_frame_read(bytes, OPERATOR_HEAD_SIZE, &frame), ERR_FORMAT);
}

TEST(addresses)
{
	static const struct {
		const char *text, *host; /* NULL: no address */
		uint16_t port;
		bool has_key;
	} rows[] = {
		{"tcp://10.0.0.1:7400",							       "10.0.0.1",	    7400, false},
		{"tcp://fra1.example.com:1",							  "fra1.example.com", 1,    false},
		{"tcp://[::1]:7400",								  "::1",		    7400, false},
		{"tcp://h:7400?key="
		 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "h",		     7400, true },
		{"tcp://h:7400?key=00",							       NULL,		      0,	 false},
		{"tcp://h:7400?key=",								 NULL,		    0,    false},
		{"tcp://h:7400?pin=00",							       NULL,		      0,	 false},
		{"tcp://h:7400/",								     NULL,		0,	   false},
		{"tcp://h:0",									 NULL,		    0,    false},
		{"tcp://h:65536",								     NULL,		0,	   false},
		{"tcp://h:-1",									NULL,		     0,	false},
		{"tcp://h:",									  NULL,		   0,    false},
		{"tcp://h",									   NULL,		  0,    false},
		{"tcp://:7400",								       NULL,		      0,	 false},
		{"tcp://[]:7400",								     NULL,		0,	   false},
		{"tcp://[::1:7400",								   NULL,		  0,    false},
		{"tcp://[::1]7400",								   NULL,		  0,    false},
		{"tcp://",									    NULL,		 0,    false},
		{"udp://h:7400",								      NULL,	       0,	  false},
		{"",										  NULL,		   0,    false},
	};
	struct repl_far_address address;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(repl_far_parse(rows[i].text, &address), rows[i].host != NULL);
		if (!rows[i].host)
			continue;
		CHECK_STR(address.host, rows[i].host);
		CHECK_EQ(address.port, rows[i].port);
		CHECK_EQ(address.has_key, rows[i].has_key);
	}
	char text[REPL_FAR_HOST_SIZE + 32] = "tcp://";

	memset(text + 6, 'h', REPL_FAR_HOST_SIZE);
	strcpy(text + 6 + REPL_FAR_HOST_SIZE, ":1");
	CHECK(!repl_far_parse(text, &address));
}

/* ---- files ----------------------------------------------------------------------------------- */

struct place {
	char folder[32], file[64], nodes[80];
};

static struct place place_new(void)
{
	struct place place = {.folder = "/tmp/millrace-operator-XXXXXX"};

	CHECK(mkdtemp(place.folder) != NULL);
	snprintf(place.file, sizeof(place.file), "%s/anna", place.folder);
	snprintf(place.nodes, sizeof(place.nodes), "%s.nodes", place.file);
	return place;
}

static void place_remove(const struct place *place)
{
	unlink(place->file);
	unlink(place->nodes);
	CHECK_EQ(rmdir(place->folder), 0);
}

TEST(an_operators_file_is_written_once_and_read_again)
{
	struct place place = place_new();
	struct operator_keys keys, read;
	struct stat status;

	CHECK_EQ(operator_keys_new(&keys, "no name", secret, 2000, 7), ERR_FORMAT);
	CHECK_OK(operator_keys_new(&keys, "anna", secret, 2000, 7));
	CHECK_EQ(operator_keys_read(place.file, &read), ERR_NOT_FOUND);
	CHECK_OK(operator_keys_write(place.file, &keys));
	CHECK_EQ(operator_keys_write(place.file, &keys), ERR_EXISTS);
	CHECK_EQ(stat(place.file, &status), 0);
	CHECK_EQ(status.st_mode & 0777, 0600);
	CHECK_OK(operator_keys_read(place.file, &read));
	CHECK_STR(read.says.name, "anna");
	CHECK_MEM(read.public_key, keys.public_key, MESH_KEY_SIZE);
	CHECK_MEM(read.secret_key, keys.secret_key, MESH_KEY_SIZE);
	CHECK_MEM(read.cluster_key, keys.cluster_key, MESH_KEY_SIZE);
	CHECK_MEM(read.certificate, keys.certificate, OPERATOR_CERTIFICATE_SIZE);
	FILE *file = fopen(place.file, "w");

	fputs("secret 00\ncertificate 00\n", file);
	fclose(file);
	CHECK_EQ(operator_keys_read(place.file, &read), ERR_FORMAT);
	place_remove(&place);
}

TEST(nodes_are_known_by_their_address_while_their_certificate_is_good)
{
	struct place place = place_new();
	struct operator_keys keys;
	struct mesh_certificate node = {.node = 5, .key = {9}, .not_after_s = 2000};
	uint8_t bytes[MESH_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];

	CHECK_OK(operator_keys_new(&keys, "anna", secret, 2000, 7));
	CHECK_EQ(operator_known_node(place.file, &keys, "tcp://h:1", 0, key), ERR_NOT_FOUND);
	CHECK_OK(mesh_certificate_sign(&node, secret, bytes));
	CHECK_OK(operator_remember_node(place.file, "tcp://h:1", bytes));
	CHECK_OK(operator_known_node(place.file, &keys, "tcp://h:1", 2000, key));
	CHECK_EQ(key[0], 9);
	CHECK_EQ(operator_known_node(place.file, &keys, "tcp://h:1", 2001, key), ERR_NOT_FOUND);
	CHECK_EQ(operator_known_node(place.file, &keys, "tcp://h:12", 0, key), ERR_NOT_FOUND);
	node.key[0] = 10; /* it has another key by now */
	CHECK_OK(mesh_certificate_sign(&node, secret, bytes));
	CHECK_OK(operator_remember_node(place.file, "tcp://h:1", bytes));
	CHECK_OK(operator_remember_node(place.file, "tcp://h:12", bytes));
	CHECK_OK(operator_known_node(place.file, &keys, "tcp://h:1", 0, key));
	CHECK_EQ(key[0], 10);
	CHECK_OK(operator_known_node(place.file, &keys, "tcp://h:12", 0, key));
	keys.cluster_key[0] ^= 1; /* of another cluster: it counts for nothing */
	CHECK_EQ(operator_known_node(place.file, &keys, "tcp://h:1", 0, key), ERR_NOT_FOUND);
	place_remove(&place);
}
