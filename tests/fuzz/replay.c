/*
 * replay.c - runs a fuzz target over every file of a directory, without libFuzzer: the corpus as a
 * plain regression test, with any compiler. `replay DIR [DIR...]`; at least one file must be there.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may have one. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int run_file(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *stream = fopen(path, "rbe");
    struct stat info;
    if (stream == NULL || fstat(fileno(stream), &info) != 0) {
        perror(path);
        exit(1);
    }
    int count = 0;
    if (S_ISREG(info.st_mode)) {
        size_t size = (size_t)info.st_size;
        uint8_t *data = malloc(size > 0 ? size : 1);
        if (data == NULL || fread(data, 1, size, stream) != size) {
            fprintf(stderr, "%s: cannot read\n", path);
            exit(1);
        }
        uint64_t live = vd_alloc_stats_get().n_live;
        LLVMFuzzerTestOneInput(data, size);
        if (vd_alloc_stats_get().n_live != live) {
            fprintf(stderr, "%s: blocks are left over\n", path);
            exit(1);
        }
        free(data);
        count = 1;
    }
    fclose(stream);
    return count;
}

int main(int argc, char **argv)
{
    int n_files = 0;
    vd_json_init();
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        struct dirent **entry = NULL;
        int n = scandir(argv[i], &entry, NULL, alphasort);
        if (n < 0) {
            perror(argv[i]);
            return 1;
        }
        for (int k = 0; k < n; k++) {
            if (entry[k]->d_name[0] != '.')
                n_files += run_file(argv[i], entry[k]->d_name);
            free(entry[k]);
        }
        free(entry);
    }
    printf("%d inputs\n", n_files);
    return n_files > 0 ? 0 : 1;
}
