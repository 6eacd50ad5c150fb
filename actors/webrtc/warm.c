/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/warm.h"

#include "actors/webrtc/dtls.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/unseal.h"

#include <string.h>
#include <time.h>

/* Contexts are made with the first packet. What is sealed here is opened by the other side's code. */
static enum err try_srtp(uint16_t profile)
{
	static const uint8_t plain[SEAL_RTCP_HEADER] = {0x80, 201, 0, 1};
	struct unseal_window window = {.stream_count = 1};
	const struct seal_keys keys = {.profile = profile};
	struct seal seal = {0};
	struct unseal unseal = {0};
	uint8_t report[SEAL_RTCP_HEADER + SEAL_RTCP_OVERHEAD_MAX] = {0};
	size_t size = sizeof(plain);
	enum err err;

	memcpy(report, plain, sizeof(plain));
	err = seal_init(&seal, &keys);
	if (!err)
		err = unseal_init(&unseal, &keys, &window);
	if (!err)
		err = seal_rtcp(&seal, 0, report, &size, sizeof(report));
	if (!err)
		err = unseal_rtcp(&unseal, &window, report, &size);
	if (!err && (size != sizeof(plain) || memcmp(report, plain, sizeof(plain)) != 0))
		err = ERR_CRYPTO;
	seal_fini(&seal);
	unseal_fini(&unseal);
	return err;
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

const char *webrtc_self_test(void)
{
	static const struct {
		uint16_t profile;
		const char *problem;
	} profiles[] = {
		{SEAL_AEAD_AES_128_GCM,	"SRTP with AES-128-GCM does not work"},
		{SEAL_AES128_CM_SHA1_80, "SRTP with AES-128-CM does not work" },
		{SEAL_AEAD_AES_256_GCM,	"SRTP with AES-256-GCM does not work"},
	};

	if (openssl_ciphers_install())
		return "the ciphers of SRTP fail their tests";
	for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
		if (try_srtp(profiles[i].profile))
			return profiles[i].problem;
	return NULL;
}

const char *webrtc_warm(const struct process_env *env)
{
	const char *problem = webrtc_self_test();

	if (!problem && env->data_dir[0])
		warm_dtls(env->data_dir);
	return problem;
}
