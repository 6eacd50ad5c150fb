/* SPDX-License-Identifier: Apache-2.0
 *
 * main() for a fuzz target where libFuzzer is not linked: runs it over every file of the corpus
 * folders named on the command line. Fails when there is nothing to run.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	static uint8_t buffer[1 << 20];
	FILE *file = fopen(path, "rb");

	if (!file)
		return 0;
	size_t size = fread(buffer, 1, sizeof(buffer), file);
	fclose(file);
	/* an exact-size heap copy, so that the sanitizers see the end */
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	for (size_t i = 0; i < size; i++)
		copy[i] = buffer[i];
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 1;
}

int main(int argc, char **argv)
{
	int ran = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		struct dirent *entry;
		char path[4096];

		if (!dir) {
			fprintf(stderr, "no corpus folder %s\n", argv[i]);
			return 1;
		}
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
			ran += run_file(path);
		}
		closedir(dir);
	}
	printf("%d inputs replayed\n", ran);
	return ran ? 0 : 1;
}
