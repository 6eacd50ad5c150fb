/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/transcode/libav.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct function {
	const char *name;
	size_t offset; /* of its pointer in struct libav */
};

#define LIBAV_ROW(name) {#name, offsetof(struct libav, name)},

static const struct function util_functions[] = {LIBAV_UTIL_FUNCTIONS(LIBAV_ROW){0}};
static const struct function resample_functions[] = {LIBAV_RESAMPLE_FUNCTIONS(LIBAV_ROW){0}};
static const struct function codec_functions[] = {LIBAV_CODEC_FUNCTIONS(LIBAV_ROW){0}};

/* Another major version has other structs. */
static const struct library {
	const char *file;
	const struct function *functions;
} libraries[] = {
	{"libavutil.so." AV_STRINGIFY(LIBAVUTIL_VERSION_MAJOR),		util_functions    },
	{"libswresample.so." AV_STRINGIFY(LIBSWRESAMPLE_VERSION_MAJOR), resample_functions},
	{"libavcodec.so." AV_STRINGIFY(LIBAVCODEC_VERSION_MAJOR),	  codec_functions	 },
};

struct libav libav;

static char error[200];
static bool is_open;

static enum err fail(void)
{
	const char *why = dlerror();

	snprintf(error, sizeof(error), "%s", why ? why : "unknown");
	return ERR_UNSUPPORTED;
}

static enum err load(const struct library *library, struct libav *into)
{
	void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL); /* for as long as we live */

	if (!handle)
		return fail();
	for (const struct function *at = library->functions; at->name; at++) {
		void *symbol = dlsym(handle, at->name);

		if (!symbol)
			return fail();
		memcpy((uint8_t *)into + at->offset, &symbol, sizeof(symbol));
	}
	return ERR_OK;
}

enum err libav_open(void)
{
	struct libav loaded;
	enum err err = ERR_OK;

	if (is_open)
		return ERR_OK;
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]) && !err; i++)
		err = load(&libraries[i], &loaded);
	if (err)
		return err;
	libav = loaded;
	is_open = true;
	return ERR_OK;
}

const char *libav_error(void)
{
	return error;
}
