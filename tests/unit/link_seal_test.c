/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/link/link_seal.h"
#include "schemas/random.h"
#include "tests/test.h"

static size_t write_datagram(uint8_t *bytes, uint64_t counter, size_t body)
{
	const struct link_head head = {.kind = LINK_MEDIA, .session = 9, .counter = counter};

	link_head_write(&head, bytes);
	for (size_t i = 0; i < body; i++)
		bytes[LINK_HEAD + i] = (uint8_t)(i * 7 + counter);
	return LINK_HEAD + body;
}

static size_t sealed(struct link_seal *seal, uint8_t *bytes, uint64_t counter, size_t body)
{
	struct link_sealing one = {bytes, (uint16_t)write_datagram(bytes, counter, body)};

	CHECK_OK(link_seal_batch(seal, &one, 1));
	return one.size;
}

static enum err open_it(
	struct link_seal *seal, struct link_window *window, const uint8_t *bytes, size_t size)
{
	uint8_t body[LINK_BODY_MAX], plain[LINK_DATAGRAM_MAX];
	struct link_head head;
	size_t body_size;
	enum err err = link_head_read(bytes, size, &head);

	if (!err)
		err = link_unseal(seal, window, &head, bytes, size, body, &body_size);
	if (err)
		return err;
	CHECK_EQ(body_size, size - LINK_HEAD - LINK_TAG);
	write_datagram(plain, head.counter, body_size);
	CHECK_MEM(body, plain + LINK_HEAD, body_size);
	return ERR_OK;
}

TEST(both_libraries_make_the_same_bytes)
{
	const struct link_key key = {.key = "sixteen bytes k", .salt = "twelve salt"};
	struct link_seal fast, evp;
	struct link_window window = {0};

	CHECK_OK(link_seal_init(&fast, &key));
	CHECK_OK(link_seal_init_evp(&evp, &key));
	for (size_t body = 1; body <= LINK_BODY_MAX; body += body < 40 ? 1 : 173) {
		uint8_t a[LINK_DATAGRAM_MAX], b[LINK_DATAGRAM_MAX];
		size_t size = sealed(&fast, a, body, body);

		CHECK_EQ(sealed(&evp, b, body, body), size);
		CHECK_MEM(a, b, size);
		CHECK_OK(open_it(&evp, &window, a, size));
	}
	window = (struct link_window){0};
	for (uint64_t counter = 1; counter < 50; counter++) {
		uint8_t bytes[LINK_DATAGRAM_MAX];
		size_t size = sealed(&evp, bytes, counter, 1200);

		CHECK_OK(open_it(&fast, &window, bytes, size));
	}
	link_seal_fini(&fast);
	link_seal_fini(&evp);
	CHECK(!link_seal_is_ready(&fast));
	link_seal_fini(&fast);
}

/* Every bit of a datagram counts. */
static void every_bit_counts(struct link_seal *seal)
{
	struct link_window window = {0};
	uint8_t bytes[LINK_DATAGRAM_MAX], damaged[LINK_DATAGRAM_MAX];
	size_t size = sealed(seal, bytes, 5, 100);

	for (size_t bit = 0; bit < size * 8; bit++) {
		memcpy(damaged, bytes, size);
		damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(open_it(seal, &window, damaged, size) != ERR_OK);
	}
	for (size_t cut = 0; cut < size; cut++)
		CHECK(open_it(seal, &window, bytes, cut) != ERR_OK);
	CHECK_EQ(window.highest, 0);
	CHECK_OK(open_it(seal, &window, bytes, size));
	CHECK_EQ(open_it(seal, &window, bytes, size), ERR_REPLAY);
}

TEST(damaged_datagrams_are_refused)
{
	const struct link_key key = {.key = "sixteen bytes k", .salt = "twelve salt"};
	struct link_seal seal;

	CHECK_OK(link_seal_init(&seal, &key));
	every_bit_counts(&seal);
	link_seal_fini(&seal);
	CHECK_OK(link_seal_init_evp(&seal, &key));
	every_bit_counts(&seal);
	link_seal_fini(&seal);
}

TEST(a_counter_is_taken_once_in_whatever_order)
{
	const struct link_key key = {.key = "sixteen bytes k"};
	static uint8_t bytes[3000][LINK_HEAD + 8 + LINK_TAG];
	struct link_window window = {0};
	struct link_seal seal;
	struct rng rng = rng_of(4);

	CHECK_OK(link_seal_init(&seal, &key));
	for (int i = 0; i < 3000; i++)
		sealed(&seal, bytes[i], (uint64_t)i + 1, 8);
	for (int i = 0; i < 3000; i++) {
		int other = (int)rng_below(&rng, 3000);
		uint8_t kept[sizeof(bytes[0])];

		memcpy(kept, bytes[i], sizeof(kept));
		memcpy(bytes[i], bytes[other], sizeof(kept));
		memcpy(bytes[other], kept, sizeof(kept));
	}
	for (int i = 0; i < 3000; i++) {
		CHECK_OK(open_it(&seal, &window, bytes[i], sizeof(bytes[i])));
		CHECK_EQ(open_it(&seal, &window, bytes[rng_below(&rng, (uint64_t)i + 1)],
				 sizeof(bytes[i])),
			ERR_REPLAY);
	}
	/* what the window has left behind */
	uint8_t far[LINK_HEAD + 8 + LINK_TAG];

	sealed(&seal, far, LINK_WINDOW + 5000, 8);
	CHECK_OK(open_it(&seal, &window, far, sizeof(far)));
	sealed(&seal, far, 5000, 8);
	CHECK_EQ(open_it(&seal, &window, far, sizeof(far)), ERR_REPLAY);
	sealed(&seal, far, 5001, 8);
	CHECK_OK(open_it(&seal, &window, far, sizeof(far)));
	sealed(&seal, far, 0, 8);
	CHECK_EQ(open_it(&seal, &window, far, sizeof(far)), ERR_REPLAY);
	link_seal_fini(&seal);
}

TEST(without_memory_there_is_no_seal)
{
	const struct link_key key = {.key = "sixteen bytes k"};
	struct link_seal seal;

	for (size_t n = 1;; n++) {
		test_fail_allocation(n);
		enum err err = link_seal_init_evp(&seal, &key);
		size_t seen = test_fail_allocation(0);

		if (!err)
			link_seal_fini(&seal);
		CHECK(!err || !link_seal_is_ready(&seal));
		if (seen < n)
			break;
	}
}
