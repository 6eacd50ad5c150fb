/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/warm.h"

#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/unseal.h"

#include <time.h>

/* Contexts are made with the first packet. */
static void warm_srtp(uint16_t profile)
{
	struct unseal_window window = {.stream_count = 1};
	const struct seal_keys keys = {.profile = profile};
	struct seal seal = {0};
	struct unseal unseal = {0};
	uint8_t report[SEAL_RTCP_HEADER + SEAL_RTCP_OVERHEAD_MAX] = {0x80, 201, 0, 1};
	size_t size = SEAL_RTCP_HEADER;

	if (!seal_init(&seal, &keys) && !unseal_init(&unseal, &keys, &window) &&
		!seal_rtcp(&seal, 0, report, &size, sizeof(report)))
		unseal_rtcp(&unseal, &window, report, &size);
	seal_fini(&seal);
	unseal_fini(&unseal);
}

static void warm_dtls(const char *directory)
{
	struct certificate certificate = {0};
	struct dtls_context context = {0};
	char problem[CERTIFICATE_PROBLEM_MAX];

	if (!certificate_load(&certificate, directory, (int64_t)time(NULL), problem))
		dtls_context_init(&context, &certificate);
	dtls_context_fini(&context);
	certificate_fini(&certificate);
}

void webrtc_warm(const struct process_env *env)
{
	static const uint16_t profiles[] = {
		SEAL_AEAD_AES_128_GCM, SEAL_AES128_CM_SHA1_80, SEAL_AEAD_AES_256_GCM};

	if (openssl_ciphers_install())
		return;
	for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
		warm_srtp(profiles[i]);
	if (env->data_dir[0])
		warm_dtls(env->data_dir);
}
