/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh: who may come in: keys, certificates, what was revoked.
 */
#include "tests/unit/runtime_mesh_world.h"

/* At node 0; node 2 has not heard of it. */
TEST(a_key_that_was_revoked_is_let_in_no_more)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint64_t refused;

	CHECK(mesh_admits(a->mesh, b->key));
	CHECK_OK(mesh_revoke(a->mesh, b->key, time_of(a)));
	CHECK_EQ(mesh_revoke(a->mesh, b->key, time_of(a)), ERR_EXISTS);
	CHECK(mesh_is_revoked(a->mesh, b->key) && !mesh_admits(a->mesh, b->key));
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	CHECK_EQ(a->barred, 1);
	CHECK(!a->open[1]);
	refused = mesh_counters(a->mesh)->refused_key;
	run_ms(world, 2 * LOST_MS);
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	CHECK(mesh_counters(a->mesh)->refused_key > refused); /* it goes on greeting */
	CHECK_EQ(b->refused, ERR_FORBIDDEN);
	CHECK_EQ(state_of(world, 1, 0), MESH_DOWN);
	CHECK_EQ(say(world, 0, 1, "anybody?"), ERR_AGAIN);
	CHECK_EQ(mesh_want(a->mesh, b->id, time_of(a)), ERR_NOT_FOUND);
	CHECK_EQ(tell_of(world, 0, 1), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK_EQ(a->ups, 1);
	/* with another key it may come */
	memset(b->key, 0x77, MESH_KEY_SIZE);
	sign(world, b, world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	mesh_close_all(b->mesh);
	CHECK_OK(tell_of(world, 0, 1));
	CHECK_EQ(state_of(world, 0, 1), MESH_KNOWN);
	CHECK_OK(tell_of(world, 1, 0));
	run_ms(world, 3000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	destroy(&world);
}

/* What was there of it before this gateway began may live in the workers. */
TEST(a_record_with_a_key_that_was_revoked_bars_its_node_once)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1], *c = &world->gateway[2];

	CHECK_OK(mesh_revoke(a->mesh, b->key, time_of(a)));
	CHECK_EQ(a->barred, 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tell_of(world, 0, 1), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK_EQ(state_of(world, 0, 1), MESH_REVOKED);
	/* a record can take away that key, not the one that a node has */
	CHECK_OK(tell_of(world, 0, 2));
	memcpy(c->key, b->key, MESH_KEY_SIZE);
	CHECK_EQ(tell_of(world, 0, 2), ERR_FORBIDDEN);
	CHECK_EQ(a->barred, 1);
	CHECK(state_of(world, 0, 2) != MESH_REVOKED);
	destroy(&world);
}

TEST(keys_that_are_revoked_have_a_bound)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0];
	uint8_t key[MESH_KEY_SIZE] = {0xee};

	for (unsigned i = 0; i < MESH_REVOKED_MAX; i++) {
		memcpy(key + 1, &i, sizeof(i));
		CHECK_OK(mesh_revoke(a->mesh, key, time_of(a)));
	}
	key[0]++;
	CHECK_EQ(mesh_revoke(a->mesh, key, time_of(a)), ERR_LIMIT);
	CHECK(!mesh_is_revoked(a->mesh, key));
	destroy(&world);
}

TEST(who_is_not_of_the_cluster_stays_outside)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint8_t other[MESH_KEY_SIZE];

	/* its record is in the store, with a certificate of somebody else's cluster, or none */
	CHECK_OK(mesh_cluster_key_new(other));
	sign(world, b, other, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	CHECK_EQ(tell_of(world, 0, 1), ERR_AUTH);
	CHECK_OK(tell_of(world, 1, 0));
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_AUTH);
	b->certificate_size = 0;
	mesh_set_certificate(b->mesh, NULL, 0);
	CHECK_EQ(tell_of(world, 0, 1), ERR_AUTH);
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_AUTH);
	/* one that is good, but of another node or key, or past */
	sign(world, b, world->cluster_secret, 1000);
	CHECK_EQ(tell_of(world, 0, 1), ERR_TIMEOUT);
	sign(world, &world->gateway[2], world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, world->gateway[2].certificate, MESH_CERTIFICATE_SIZE);
	run_ms(world, 500);
	CHECK_EQ(b->refused, ERR_FORBIDDEN);
	CHECK(mesh_counters(a->mesh)->refused_key >= 3);
	CHECK_EQ(mesh_counters(a->mesh)->nodes, 0);
	CHECK_EQ(a->ups + a->frames, 0);
	/* and what it says without a hello is dropped */
	CHECK_OK(mesh_frame(
		a->mesh, b->key, (const uint8_t *)"\2abcdefghabcdefghmail", 21, time_of(a)));
	CHECK_EQ(mesh_counters(a->mesh)->stale, 1);
	destroy(&world);
}

TEST(a_certificate_that_passes_its_time_is_noticed)
{
	struct world *world = create();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];

	sign(world, b, world->cluster_secret, time_of(a).wall_us / 1000000 + 2);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	run_ms(world, 6000);
	CHECK_EQ(b->refused, ERR_TIMEOUT);
	CHECK_EQ(state_of(world, 0, 1), MESH_DOWN);
	destroy(&world);
}

TEST(listed_keys_need_no_certificate)
{
	struct world *world = create();
	uint8_t listed[2][MESH_KEY_SIZE];

	for (int i = 0; i < 2; i++) {
		memcpy(listed[i], world->gateway[i].key, MESH_KEY_SIZE);
		world->gateway[i].certificate_size = 0;
	}
	for (int i = 0; i < 2; i++) {
		mesh_destroy(&world->gateway[i].mesh, false);
		start_with(world, i, (const uint8_t(*)[MESH_KEY_SIZE])listed, 2);
	}
	CHECK_OK(tell_of(world, 0, 1));
	run_ms(world, 200);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(state_of(world, 1, 0), MESH_UP);
	destroy(&world);
}

TEST(of_two_with_one_id_the_later_is_taken)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	struct mesh_hello hello = {.protocol = MESH_PROTOCOL, .node = b->id};
	uint8_t bytes[700] = {1};
	struct writer out;

	hello.certificate.size = MESH_CERTIFICATE_SIZE;
	memcpy(hello.certificate.data, b->certificate, MESH_CERTIFICATE_SIZE);
	text_copy(hello.endpoint, sizeof(hello.endpoint), b->endpoint);
	for (int later = 0; later < 2; later++) {
		hello.boot = later ? b->boot + 1 : b->boot - 1;
		out = writer_of(bytes + 1, sizeof(bytes) - 1);
		CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
		CHECK_EQ(mesh_frame(a->mesh, b->key, bytes, writer_used(&out) + 1, time_of(a)),
			later ? ERR_OK : ERR_EXISTS);
		CHECK_EQ(mesh_counters(a->mesh)->refused_twice, 1);
	}
	/* our own id from somebody else */
	hello.node = a->id;
	out = writer_of(bytes + 1, sizeof(bytes) - 1);
	CHECK_OK(schema_encode(&schema_mesh_hello, &hello, &out));
	CHECK_EQ(mesh_frame(a->mesh, b->key, bytes, writer_used(&out) + 1, time_of(a)),
		ERR_FORBIDDEN);
	destroy(&world);
}

TEST(a_node_changes_its_key_while_others_speak_with_it)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0], *b = &world->gateway[1];
	uint8_t old[MESH_CERTIFICATE_SIZE];

	memcpy(old, b->certificate, sizeof(old));
	b->key[0] ^= 0xff;
	sign(world, b, world->cluster_secret, INT32_MAX);
	mesh_set_certificate(b->mesh, b->certificate, b->certificate_size);
	mesh_close_all(b->mesh);
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP);
	CHECK_EQ(state_of(world, 1, 0), MESH_UP);
	CHECK_EQ(a->downs + b->downs, 0);
	CHECK_OK(say(world, 0, 1, "the same"));
	run_ms(world, 10);
	CHECK_MEM(b->last, "the same", 8);
	/* the one before is not taken any more while the new one lives */
	b->key[0] ^= 0xff;
	mesh_set_certificate(b->mesh, old, sizeof(old));
	mesh_close_all(b->mesh);
	run_ms(world, 100);
	CHECK_EQ(b->refused, ERR_EXISTS);
	destroy(&world);
}

TEST(a_node_without_record_is_forgotten_when_it_is_gone)
{
	struct world *world = create_met();
	struct gateway *a = &world->gateway[0];

	mesh_forget(a->mesh, world->gateway[1].id);
	run_ms(world, 1000);
	CHECK_EQ(state_of(world, 0, 1), MESH_UP); /* the store is a hint */
	mesh_destroy(&world->gateway[1].mesh, false);
	run_ms(world, 5000);
	CHECK_EQ(a->downs, 1);
	CHECK_EQ(mesh_counters(a->mesh)->nodes, 0);
	CHECK_EQ(mesh_counters(a->mesh)->open, 0);
	destroy(&world);
}
