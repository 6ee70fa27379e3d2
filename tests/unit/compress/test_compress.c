/* test_compress.c - a file to a file by vd_pool threads: whole or nothing, whatever fails. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "compress/compress.h"
#include "compress/obs.h"
#include "compress/sparse_file.h"
#include "model/gguf_sparse.h"
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

typedef vd_status (*run_fn)(const char *source, const char *target,
                            const vd_compress_options *options, vd_compress_result *ret_result,
                            vd_err *err);

/* The first EACH allocations of a run fail, one after the other, and every STEP-th behind them, up
 * to the first run that ends before the k-th. One that can be done without (PCRE2's machine code)
 * fails without harm. n_files: in the folder before. */
static void fail_every_allocation_of(run_fn run, const vd_compress_options *options, int n_files)
{
    enum { EACH = 150, STEP = 7 };
    uint64_t before = vd_alloc_stats_get().n_live, n_failed = 0, n_calls = UINT64_MAX;
    for (uint64_t k = 1; k <= n_calls; k += k < EACH ? 1 : STEP) {
        vd_compress_result result = {.n_values = 7};
        vd_err err = {0};
        unlink(target);
        n_calls = vd_alloc_stats_get().n_calls;
        vd_alloc_fail_at(k);
        vd_status st = run(source, target, options, &result, &err);
        vd_alloc_fail_at(0);
        n_calls = st == VD_OK ? vd_alloc_stats_get().n_calls - n_calls : UINT64_MAX;
        assert_int_equal(vd_alloc_stats_get().n_live, before);
        if (st != VD_OK) {
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_true(err.message[0] != '\0');
            assert_int_equal(result.n_values, 7);
            assert_int_equal(count_files(), n_files);
            n_failed++;
        }
    }
    assert_true(n_failed > 10);
}

static void fail_every_allocation(const vd_compress_options *options, int n_files)
{
    fail_every_allocation_of(vd_compress_run, options, n_files);
}

/* The dense rows of every sparse tensor, whatever fails. */
static void expand_with_failures(const vd_gguf *dense)
{
    vd_status st = VD_ERR_NOMEM;
    for (int k = 1; st != VD_OK && k < 2000; k++) {
        uint64_t before = vd_alloc_stats_get().n_live;
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        vd_alloc_fail_at((uint64_t)k);
        st = vd_gguf_open(target, NULL, &gguf, &err);
        if (st == VD_OK)
            st = vd_gguf_expand(gguf, &err);
        vd_alloc_fail_at(0);
        for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(dense); i++) {
            const vd_gguf_tensor *a = vd_gguf_tensor_at(dense, i), *b = vd_gguf_tensor_at(gguf, i);
            assert_int_equal(a->n_bytes, b->n_bytes);
            assert_memory_equal(a->data, b->data, a->n_bytes);
        }
        assert_int_equal(st == VD_OK, err.message[0] == '\0');
        vd_gguf_free(gguf);
        assert_int_equal(vd_alloc_stats_get().n_live, before);
    }
    assert_int_equal(st, VD_OK);
}

static void sparse_files_neither_and_hold_the_dense_weights(void **state)
{
    vd_compress_options options = {.type = vd_filetype_find("Q8_0"),
                                   .n_threads = 1,
                                   .edit.prune = {.method = VD_PRUNE_MAGNITUDE, .keep = 0.5}};
    vd_compress_result result;
    vd_gguf *dense = NULL;
    char path[96];
    fail_every_allocation_of(vd_compress_run_sparse, &options, 1);
    snprintf(path, sizeof(path), "%s/dense.gguf", directory);
    assert_int_equal(vd_compress_run(source, path, &options, &result, NULL), VD_OK);
    assert_int_equal(vd_gguf_open(path, NULL, &dense, NULL), VD_OK);
    expand_with_failures(dense);
    vd_gguf_free(dense);
    unlink(path);
}

static void any_failed_allocation_leaves_no_file_and_no_memory(void **state)
{
    vd_compress_options options = {.type = vd_filetype_find("Q8_0"), .n_threads = 1};
    fail_every_allocation(&options, 1);
    options.edit = (vd_edit_options){.clip = {VD_CUT_AUTO, 0},
                                     .below = {VD_CUT_RMS, 0.1},
                                     .above = {VD_CUT_PERCENT, 99},
                                     .prune = {.method = VD_PRUNE_MAGNITUDE, .keep = 0.5}};
    fail_every_allocation(&options, 1);
}

static void nor_does_one_of_a_calibration(void **state)
{
    static const vd_prune_method methods[] = {VD_PRUNE_WANDA, VD_PRUNE_SPARSEGPT, VD_PRUNE_OBS};
    char text[96];
    vd_linalg *linalg = NULL;
    bool repairs = vd_linalg_open(&linalg, NULL) == VD_OK; /* else Wanda alone */
    vd_linalg_close(linalg);
    snprintf(text, sizeof(text), "%s/calib.txt", directory);
    FILE *f = fopen(text, "w");
    assert_non_null(f);
    for (int i = 0; i < 40; i++)
        fputc('a' + i * 7 % 26, f);
    assert_int_equal(fclose(f), 0);
    char saved[96];
    snprintf(saved, sizeof(saved), "%s/importance.gguf", directory);
    for (size_t i = 0; i < (repairs ? VD_COUNT(methods) : 1); i++) {
        vd_compress_options options = {.type = vd_filetype_find("Q8_0"),
                                       .n_threads = 1,
                                       .edit.prune = {.method = methods[i], .keep = 0.5},
                                       .calib = {.path = text, .ctx = 16}};
        fail_every_allocation(&options, 2);
    }
    vd_compress_options options = {.type = vd_filetype_find("Q4_0"),
                                   .n_threads = 1,
                                   .calib = {.path = text, .ctx = 16},
                                   .save_imatrix = "/dev/null"};
    fail_every_allocation(&options, 2);
    options.save_imatrix = saved;
    vd_compress_result result;
    assert_int_equal(vd_compress_run(source, NULL, &options, &result, NULL), VD_OK);
    assert_true(result.n_weighted > 0);
    options.save_imatrix = NULL;
    options.gptq = repairs;
    options.awq = true;
    options.awq_alpha = -1;
    fail_every_allocation(&options, 3);
    options = (vd_compress_options){.type = options.type, .n_threads = 1, .imatrix = saved,
                                    .edit.prune = {.method = VD_PRUNE_WANDA, .keep = 0.5}};
    fail_every_allocation(&options, 3);
    unlink(saved);
    unlink(text);
}

/* Grams that no inputs have, so that the inverse fails with little damping or with any. */
static void damping_grows_until_there_is_an_inverse(void **state)
{
    static const struct {
        double corner, damping;
        bool diagonal;
    } cases[] = {{0.5, 0.01, false}, {2.5, 10, false}, {1e6, 1e4, true}};
    vd_linalg *linalg = NULL;
    vd_obs obs;
    vd_err err = {0};
    if (vd_linalg_open(&linalg, NULL) != VD_OK)
        skip();
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        double gram[4] = {1, 0, cases[i].corner, 1}, d = cases[i].damping;
        assert_int_equal(vd_obs_init(linalg, gram, 2, 0.01, i == 1, NULL, &obs, &err), VD_OK);
        assert_true(fabs(obs.damping / d - 1) < 1e-9);
        assert_int_equal(obs.diagonal, cases[i].diagonal);
        /* U^T U = (H + damping)^-1, or of the diagonal alone */
        double h = 1 + (obs.diagonal ? 0.01 : d), off = obs.diagonal ? 0 : cases[i].corner;
        assert_true(fabs(obs.upper[3] * obs.upper[3] + obs.upper[1] * obs.upper[1] -
                         h / (h * h - off * off)) < 1e-9);
        vd_obs_done(&obs);
    }
    double bad[4] = {1, 0, NAN, 1};
    assert_int_equal(vd_obs_init(linalg, bad, 2, 0.01, false, NULL, &obs, &err), VD_ERR_FORMAT);
    vd_linalg_close(linalg);
}

static void a_share_is_met_to_the_weight_and_never_leaves_nothing(void **state)
{
    static const struct {
        double keep;
        uint64_t n, n_gone;
    } cases[] = {{1, 7, 0},       {0.5, 64, 32},    {0.5, 7, 3},      {0.9, 640, 64},
                 {0.55, 100, 45}, {0.7, 10, 3},     {0.8, 100, 20},   {0.1, 30, 27},
                 {1e-9, 64, 63},  {1e-300, 64, 63}, {1e-300, 1, 0},   {0.9999999, 100, 0},
                 {0.3, 1ull << 40, (1ull << 40) - 329853488333}};
    for (size_t i = 0; i < VD_COUNT(cases); i++)
        assert_int_equal(vd_prune_n_gone(cases[i].keep, cases[i].n), cases[i].n_gone);
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
        cmocka_unit_test(sparse_files_neither_and_hold_the_dense_weights),
        cmocka_unit_test(nor_does_one_of_a_calibration),
        cmocka_unit_test(damping_grows_until_there_is_an_inverse),
        cmocka_unit_test(a_share_is_met_to_the_weight_and_never_leaves_nothing),
        cmocka_unit_test(a_caller_may_stop_it),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
