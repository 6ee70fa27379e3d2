/*
 * test_gguf_files.c - the verdicts of MANIFEST.tsv, for the files tests/gen/gguf_malformed.py wrote
 * to the directory in VERDANT_GENERATED_GGUF, and for $VERDANT_TEST_DATA/gguf-malformed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/gguf.h"

enum { LINE_MAX_BYTES = 4096 };

typedef struct manifest_row {
    char path[2 * LINE_MAX_BYTES];
    bool accept, metadata_only;
} manifest_row;

/* Calls visit for each row; returns how many there were. */
static int for_each_row(const char *directory, void (*visit)(const manifest_row *row))
{
    char name[2 * LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    snprintf(name, sizeof(name), "%s/MANIFEST.tsv", directory);
    FILE *stream = fopen(name, "re");
    assert_non_null(stream);
    int n = 0;
    assert_non_null(fgets(line, sizeof(line), stream)); /* the headings */
    while (fgets(line, sizeof(line), stream) != NULL) {
        char file[256], verdict[16], mode[32];
        manifest_row row;
        int n_fields =
            sscanf(line, "%255[^\t]\t%*[^\t]\t%15[^\t]\t%31s", file, verdict, mode);
        assert_int_equal(n_fields, 3);
        snprintf(row.path, sizeof(row.path), "%s/%s", directory, file);
        row.accept = strcmp(verdict, "accept") == 0;
        row.metadata_only = strcmp(mode, "metadata-only") == 0;
        visit(&row);
        n++;
    }
    fclose(stream);
    return n;
}

static void check_verdict(const manifest_row *row)
{
    vd_gguf_options options = {.metadata_only = row->metadata_only};
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    vd_status st = vd_gguf_open(row->path, &options, &gguf, &err);
    if (st != (row->accept ? VD_OK : VD_ERR_FORMAT))
        fail_msg("%s (%s): %s, %s", row->path, row->metadata_only ? "metadata" : "data",
                 vd_status_name(st), err.message);
    if (st != VD_OK && (strstr(err.message, "byte ") == NULL || strstr(err.message, ": ") == NULL))
        fail_msg("%s: the message names no place: %s", row->path, err.message);
    vd_gguf_free(gguf);
}

/* Each byte in turn replaced by a few others: any verdict will do, a crash will not. */
static void check_changed_bytes(const manifest_row *row)
{
    static const unsigned char change[] = {0x01, 0x80, 0xff};
    vd_gguf_options options = {.metadata_only = row->metadata_only};
    vd_mapping mapping = {0};
    assert_int_equal(vd_mapping_open(row->path, &mapping, NULL), VD_OK);
    if (mapping.size > 512) {
        vd_mapping_close(&mapping);
        return;
    }
    unsigned char *data = malloc(mapping.size + 1); /* exact but for an empty file */
    assert_non_null(data);
    memcpy(data, mapping.size > 0 ? (const void *)mapping.data : "", mapping.size);
    for (size_t i = 0; i < mapping.size; i++)
        for (size_t k = 0; k < sizeof(change); k++) {
            vd_gguf *gguf = NULL;
            data[i] ^= change[k];
            if (vd_gguf_open_memory(data, mapping.size, &options, &gguf, NULL) != VD_OK)
                assert_null(gguf);
            vd_gguf_free(gguf);
            data[i] ^= change[k];
        }
    free(data);
    vd_mapping_close(&mapping);
}

static void check_failed_allocations(const manifest_row *row)
{
    vd_gguf_options options = {.metadata_only = row->metadata_only};
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st == VD_ERR_NOMEM; k++) {
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        assert_true(k < 200);
        vd_alloc_fail_at(k);
        st = vd_gguf_open(row->path, &options, &gguf, &err);
        vd_alloc_fail_at(0);
        vd_gguf_free(gguf);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_int_equal(st, row->accept ? VD_OK : VD_ERR_FORMAT);
}

static const char *generated(void)
{
    const char *directory = getenv("VERDANT_GENERATED_GGUF");
    if (directory == NULL)
        skip();
    return directory;
}

static void generated_files_get_the_verdict_of_the_manifest(void **state)
{
    assert_true(for_each_row(generated(), check_verdict) > 1000);
}

static void any_changed_byte_of_a_generated_file_is_survived(void **state)
{
    for_each_row(generated(), check_changed_bytes);
}

static void any_failed_allocation_on_a_generated_file_is_survived(void **state)
{
    for_each_row(generated(), check_failed_allocations);
}

static void files_of_other_makers_get_the_verdict_of_their_manifest(void **state)
{
    const char *data = getenv("VERDANT_TEST_DATA");
    if (data == NULL)
        skip();
    char directory[LINE_MAX_BYTES];
    snprintf(directory, sizeof(directory), "%s/gguf-malformed", data);
    assert_true(for_each_row(directory, check_verdict) >= 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_files_get_the_verdict_of_the_manifest),
        cmocka_unit_test(any_changed_byte_of_a_generated_file_is_survived),
        cmocka_unit_test(any_failed_allocation_on_a_generated_file_is_survived),
        cmocka_unit_test(files_of_other_makers_get_the_verdict_of_their_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
