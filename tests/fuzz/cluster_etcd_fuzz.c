/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of etcd: the first byte says of what.
 */
#include "cluster/etcd.h"

static void take_pair(void *context, const struct store_pair *pair)
{
	(void)context;
	MUST(pair->key[0] && strnlen(pair->key, sizeof(pair->key)) <= STORE_KEY_MAX);
	MUST(pair->value.size <= STORE_VALUE_MAX);
}

static void take_event(void *context, const struct msg_store_event *event)
{
	take_pair(context, &event->pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etcd_answer answer;
	char text[ETCD_TEXT_SIZE];
	const uint8_t *body = data + 1;

	if (!size--)
		return 0;
	switch (*data % 4) {
	case 0: etcd_read(body, size, &answer); break;
	case 1: etcd_read_range(body, size, "/millrace/c/", &answer, take_pair, NULL); break;
	case 2: etcd_read_watch(body, size, "/millrace/c/", &answer, take_event, NULL); break;
	case 3:
		MUST(etcd_read_error(400, body, size, text) != ERR_OK);
		MUST(strnlen(text, sizeof(text)) < sizeof(text));
	}
	return 0;
}
