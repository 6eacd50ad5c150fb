/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_certificate.h"
#include "tests/test.h"

static const uint8_t secret[MESH_KEY_SIZE] = {1, 2, 3};

static struct mesh_certificate sample(void)
{
	struct mesh_certificate certificate = {
		.node = 0xe145c432dd83962e, .not_after_s = 2000, .serial = 7};

	for (int i = 0; i < MESH_KEY_SIZE; i++)
		certificate.key[i] = (uint8_t)i;
	return certificate;
}

static void sign(uint8_t bytes[MESH_CERTIFICATE_SIZE], uint8_t key[MESH_KEY_SIZE])
{
	struct mesh_certificate certificate = sample();

	CHECK_OK(mesh_certificate_sign(&certificate, secret, bytes));
	CHECK_OK(mesh_cluster_key_public(secret, key));
}

TEST(what_the_cluster_signed_is_read_again)
{
	uint8_t bytes[MESH_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];
	struct mesh_certificate was = sample(), now;

	sign(bytes, key);
	CHECK_OK(mesh_certificate_verify(bytes, sizeof(bytes), key, 2000, &now));
	CHECK_EQ(now.node, was.node);
	CHECK_EQ(now.not_after_s, was.not_after_s);
	CHECK_EQ(now.serial, was.serial);
	CHECK_MEM(now.key, was.key, MESH_KEY_SIZE);
	CHECK_EQ(mesh_certificate_verify(bytes, sizeof(bytes), key, 2001, &now), ERR_TIMEOUT);
}

TEST(every_changed_bit_is_noticed)
{
	uint8_t bytes[MESH_CERTIFICATE_SIZE], key[MESH_KEY_SIZE];
	struct mesh_certificate now;

	sign(bytes, key);
	for (int bit = 0; bit < 8 * MESH_CERTIFICATE_SIZE; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		enum err err = mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &now);
		CHECK(err == ERR_AUTH || (bit < 8 && err == ERR_VERSION) ||
			(bit == 8 * 41 + 7 && err == ERR_FORMAT));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	key[0] ^= 1;
	CHECK_EQ(mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &now), ERR_AUTH);
}

TEST(wrong_sizes_and_impossible_contents)
{
	uint8_t bytes[MESH_CERTIFICATE_SIZE + 1] = {0}, key[MESH_KEY_SIZE];
	struct mesh_certificate certificate = sample();

	sign(bytes, key);
	for (size_t size = 0; size < MESH_CERTIFICATE_SIZE; size++)
		CHECK_EQ(mesh_certificate_read(bytes, size, &certificate), ERR_FORMAT);
	CHECK_EQ(mesh_certificate_read(bytes, sizeof(bytes), &certificate), ERR_FORMAT);
	certificate = sample();
	certificate.node = 0;
	CHECK_EQ(mesh_certificate_sign(&certificate, secret, bytes), ERR_FORMAT);
	certificate = sample();
	certificate.not_after_s = -1;
	CHECK_EQ(mesh_certificate_sign(&certificate, secret, bytes), ERR_FORMAT);
}

TEST(a_new_cluster_key_signs)
{
	uint8_t one[MESH_KEY_SIZE], other[MESH_KEY_SIZE], key[MESH_KEY_SIZE];
	uint8_t bytes[MESH_CERTIFICATE_SIZE];
	struct mesh_certificate certificate = sample();

	CHECK_OK(mesh_cluster_key_new(one));
	CHECK_OK(mesh_cluster_key_new(other));
	CHECK(memcmp(one, other, MESH_KEY_SIZE));
	CHECK_OK(mesh_cluster_key_public(one, key));
	CHECK_OK(mesh_certificate_sign(&certificate, one, bytes));
	CHECK_OK(mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &certificate));
	CHECK_OK(mesh_certificate_sign(&certificate, other, bytes));
	CHECK_EQ(mesh_certificate_verify(bytes, sizeof(bytes), key, 0, &certificate), ERR_AUTH);
}

TEST(digits)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"0009afAF",  true },
		{"0009afA",   false},
		{"0009afAF0", false},
		{"0009afAg",  false},
		{"",	     false},
		{"0009 fAF",  false},
		{"0x09afAF",  false},
	};
	uint8_t bytes[4];
	char text[9];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(mesh_hex_read(rows[i].text, strlen(rows[i].text), bytes, 4), rows[i].good);
	CHECK(mesh_hex_read("0009afAF", 8, bytes, 4));
	CHECK_STR(mesh_hex_write(bytes, 4, text), "0009afaf");
}
