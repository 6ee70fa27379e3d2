/* test_structured.c - parts cut out of a model: whole or nothing, whatever fails. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "compress/structured/plan.h"
#include "compress/structured/stage.h"
#include "tiny_model.h"

static char directory[64], source[96], target[96], text[96];

static int make_model(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-structured-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(source, sizeof(source), "%s/m.gguf", directory);
    snprintf(target, sizeof(target), "%s/q.gguf", directory);
    snprintf(text, sizeof(text), "%s/calib.txt", directory);
    tiny_write(source, 3, "llama");
    FILE *f = fopen(text, "w");
    for (int i = 0; f != NULL && i < 40; i++)
        fputc('a' + i * 7 % 26, f);
    return f == NULL || fclose(f) != 0;
}

static int remove_model(void **state)
{
    unlink(source);
    unlink(target);
    unlink(text);
    return rmdir(directory);
}

static int count_files(void)
{
    int n = -2; /* . and .. */
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    while (readdir(stream) != NULL)
        n++;
    closedir(stream);
    return n;
}

static void any_failed_allocation_leaves_no_file_and_no_memory(void **state)
{
    static const vd_structured_kind kinds[] = {VD_STRUCTURED_NEURONS, VD_STRUCTURED_HEADS,
                                                VD_STRUCTURED_LAYERS, VD_STRUCTURED_WIDTH};
    vd_linalg *linalg = NULL;
    if (vd_linalg_open(&linalg, NULL) != VD_OK)
        skip();
    vd_linalg_close(linalg);
    for (size_t i = 0; i < VD_COUNT(kinds); i++) {
        vd_stage_options options = {.cut = {{kinds[i], 0.5}}, .n_cuts = 1, .multiple = 1};
        if (kinds[i] == VD_STRUCTURED_LAYERS)
            options.score = VD_UNIT_SCORE_OUTPUT;
        vd_compress_options rest = {.type = vd_filetype_find("Q8_0"), .n_threads = 1,
                                    .calib = {.path = text, .ctx = 16}};
        uint64_t before = vd_alloc_stats_get().n_live;
        vd_status st = VD_ERR_NOMEM;
        int k = 1;
        unlink(target);
        for (; st != VD_OK && k < 4000; k++) {
            vd_stage_result result = {.compress.n_values = 7};
            vd_err err = {0};
            vd_alloc_fail_at((uint64_t)k);
            st = vd_stage_run(source, target, &options, &rest, &result, &err);
            vd_alloc_fail_at(0);
            assert_int_equal(vd_alloc_stats_get().n_live, before);
            if (st == VD_OK)
                break;
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_true(err.message[0] != '\0');
            assert_int_equal(result.compress.n_values, 7);
            assert_int_equal(count_files(), 2);
        }
        assert_int_equal(st, VD_OK);
        assert_true(k > 50);
    }
}

/* Trains nothing. */
static vd_status copy_student(void *ctx, const char *student, const char *teacher,
                              const char *recovered, vd_err *err)
{
    FILE *in = fopen(student, "rb"), *out = fopen(recovered, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (int c; (c = fgetc(in)) != EOF;)
        fputc(c, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
    return VD_OK;
}

static void any_failed_allocation_of_a_recovery_leaves_nothing(void **state)
{
    vd_stage_options options = {.recover = {copy_student, NULL}};
    vd_compress_options rest = {.n_threads = 1,
                                .edit.prune = {.method = VD_PRUNE_MAGNITUDE, .n = 2, .m = 4}};
    uint64_t before = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    uint64_t k = 1;
    unlink(target);
    for (; st != VD_OK && k < 4000; k++) {
        vd_stage_result result;
        vd_alloc_fail_at(k);
        st = vd_stage_run(source, target, &options, &rest, &result, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        assert_int_equal(vd_alloc_stats_get().n_live, before);
        assert_int_equal(count_files(), st == VD_OK ? 3 : 2);
    }
    assert_int_equal(st, VD_OK);
    assert_true(k > 50);
}

static void counts_are_rounded_so_that_blocks_fit(void **state)
{
    assert_int_equal(vd_cut_plan_n_kept(1536, 0.75, 0), 1152); /* nine times 128 */
    assert_int_equal(vd_cut_plan_n_kept(5632, 0.75, 0), 4352); /* 4224 is 16.5 times 256 */
    assert_int_equal(vd_cut_plan_n_kept(172, 0.75, 0), 129);   /* nothing divides it */
    assert_int_equal(vd_cut_plan_n_kept(172, 0.75, 32), 128);
    assert_int_equal(vd_cut_plan_n_kept(96, 0.01, 0), 32);
    assert_int_equal(vd_cut_plan_n_kept(3, 0.1, 0), 1);
    assert_int_equal(vd_cut_plan_n_kept(4, 1, 0), 4);
}

static void cuts_are_read(void **state)
{
    vd_structured cut = {0};
    const char *wrong = NULL;
    assert_true(vd_structured_parse("neurons:0.75", &cut, &wrong));
    assert_null(wrong);
    assert_int_equal(cut.kind, VD_STRUCTURED_NEURONS);
    assert_true(cut.keep == 0.75);
    static const char *const bad[] = {"neurons", "neurons:", "neurons:0", "neurons:-1", "heads:2",
                                      "heads:nan", "heads:inf", "heads:0.5x", "heads:0x1"};
    for (size_t i = 0; i < VD_COUNT(bad); i++) {
        assert_true(vd_structured_parse(bad[i], &cut, &wrong));
        assert_non_null(wrong);
    }
    static const char *const others[] = {"", "2:4", "wanda:0.5", "neuron:0.5", "neuronss:0.5"};
    for (size_t i = 0; i < VD_COUNT(others); i++)
        assert_false(vd_structured_parse(others[i], &cut, &wrong));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_failed_allocation_leaves_no_file_and_no_memory),
        cmocka_unit_test(any_failed_allocation_of_a_recovery_leaves_nothing),
        cmocka_unit_test(counts_are_rounded_so_that_blocks_fit),
        cmocka_unit_test(cuts_are_read),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
