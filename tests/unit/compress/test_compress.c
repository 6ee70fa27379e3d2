/* test_compress.c - a file to a file by vd_pool threads: whole or nothing, whatever fails. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "compress/compress.h"
#include "tiny_model.h"

static char directory[64], source[96], target[96];

static int make_model(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-compress-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(source, sizeof(source), "%s/m.gguf", directory);
    snprintf(target, sizeof(target), "%s/q.gguf", directory);
    tiny_write(source, 3, "llama");
    return 0;
}

static int remove_model(void **state)
{
    unlink(source);
    unlink(target);
    return rmdir(directory);
}

static int count_files(void)
{
    int n = 0;
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(stream);
    return n;
}

static void names_are_found_in_any_case(void **state)
{
    assert_int_equal(vd_filetype_find("q4_k_m")->number, VD_FILE_Q4_K_M);
    assert_int_equal(vd_filetype_find("Q4_K")->number, VD_FILE_Q4_K_M);
    assert_int_equal(vd_filetype_find("bf16")->dtype, VD_DTYPE_BF16);
    assert_null(vd_filetype_find("Q4"));
    assert_null(vd_filetype_find(""));
    for (size_t i = 0; i < vd_filetype_n(); i++)
        assert_ptr_equal(vd_filetype_find(vd_filetype_at(i)->name), vd_filetype_at(i));
}

static void every_type_gives_a_file_that_opens(void **state)
{
    for (size_t i = 0; i < vd_filetype_n(); i++) {
        vd_compress_options options = {.type = vd_filetype_at(i), .n_threads = 3};
        vd_compress_result result;
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        vd_status st = vd_compress_run(source, target, &options, &result, &err);
        if (options.type->number == VD_FILE_Q1_0) { /* rows of 64 do not suit it */
            assert_int_equal(st, VD_ERR_ARG);
            continue;
        }
        if (st != VD_OK)
            fail_msg("%s: %s", options.type->name, err.message);
        assert_int_equal(vd_gguf_open(target, NULL, &gguf, NULL), VD_OK);
        assert_int_equal(vd_gguf_n_tensors(gguf), TINY_TENSORS);
        assert_int_equal(vd_gguf_file_bytes(gguf), result.file_bytes_after);
        uint32_t number = 99;
        assert_true(vd_gguf_get_u32(gguf, "general.file_type", &number));
        assert_int_equal(number, options.type->number);
        vd_gguf_free(gguf);
    }
}

static void any_failed_allocation_leaves_no_file_and_no_memory(void **state)
{
    vd_compress_options options = {.type = vd_filetype_find("Q8_0"), .n_threads = 1};
    uint64_t before = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    int k = 1;
    unlink(target);
    for (; st != VD_OK && k < 200; k++) {
        vd_compress_result result = {.n_values = 7};
        vd_err err = {0};
        vd_alloc_fail_at((uint64_t)k);
        st = vd_compress_run(source, target, &options, &result, &err);
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, before);
        if (st != VD_OK) {
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_int_equal(result.n_values, 7);
            assert_int_equal(count_files(), 1);
        }
    }
    assert_int_equal(st, VD_OK);
    assert_true(k > 10);
}

static bool stop_at_third(void *ctx, uint64_t done, uint64_t total, vd_str tensor)
{
    size_t *n = ctx;
    assert_true(done <= total && tensor.n > 0);
    return ++*n < 3;
}

static void a_caller_may_stop_it(void **state)
{
    size_t n = 0;
    vd_compress_options options = {.type = vd_filetype_find("Q4_0"),
                                   .progress = stop_at_third,
                                   .ctx = &n};
    vd_compress_result result;
    unlink(target);
    assert_int_equal(vd_compress_run(source, target, &options, &result, NULL), VD_ERR_CANCELLED);
    assert_int_equal(n, 3);
    assert_int_equal(count_files(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(every_type_gives_a_file_that_opens),
        cmocka_unit_test(any_failed_allocation_leaves_no_file_and_no_memory),
        cmocka_unit_test(a_caller_may_stop_it),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
