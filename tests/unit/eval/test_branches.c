/* test_branches.c - log-probabilities of branches are those of each branch computed alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/json.h"
#include "eval/branches.h"
#include "eval/row.h"
#include "tiny_model.h"

enum { LONGEST = 300, FORKS = 90, BRANCHES = 4 };

static char model_path[64];
static int32_t tokens[FORKS][BRANCHES][LONGEST];
static vd_branch branch[FORKS][BRANCHES];
static vd_fork forks[FORKS];

static vd_scorer *open_scorer(size_t n_threads, size_t max_tokens)
{
    vd_scorer *s = NULL;
    vd_err err = {0};
    const vd_scorer_options options = {.n_threads = n_threads, .max_tokens = max_tokens,
                                       .exact = true, .kv_type = VD_KV_F32};
    if (vd_scorer_open(model_path, &options, &s, &err) != VD_OK)
        fail_msg("%s", err.message);
    return s;
}

/* Forks with beginnings of 1 to 250 tokens, some of which begin like others, and branches of one
 * to forty tokens. */
static void make_forks(void)
{
    uint64_t x = 7;
    for (size_t i = 0; i < FORKS; i++) {
        static const size_t shared[] = {1, 2, 15, 16, 17, 18, 31, 32, 33, 48, 100, 250};
        size_t n_shared = shared[i % VD_COUNT(shared)];
        forks[i] = (vd_fork){.branch = branch[i], .n_branches = 1 + i % BRANCHES,
                             .n_shared = n_shared};
        for (size_t k = 0; k < forks[i].n_branches; k++) {
            size_t n = n_shared + 1 + (i * 7 + k * 13) % 40;
            for (size_t t = 0; t < n; t++) {
                x = x * 6364136223846793005u + 1442695040888963407u;
                bool copied = t < n_shared && k > 0, as_before = t < n_shared && i % 3 == 1;
                tokens[i][k][t] = copied      ? tokens[i][0][t]
                                  : as_before ? (int32_t)(t * t % 97)
                                              : (int32_t)(x >> 40) % TINY_V;
            }
            branch[i][k] = (vd_branch){.tokens = tokens[i][k], .n = n, .log_prob = NAN};
        }
    }
}

typedef struct alone {
    const vd_branch *branch;
    double sum;
} alone;

static vd_status add_row(void *ctx, size_t pos, const float *logits, vd_err *err)
{
    alone *a = ctx;
    if (pos + 1 < a->branch->n)
        a->sum += logits[a->branch->tokens[pos + 1]] - vd_row_log_sum_exp(logits, TINY_V);
    return VD_OK;
}

static vd_status count_done(void *ctx, size_t n_done, vd_err *err)
{
    size_t *last = ctx;
    assert_true(n_done > *last && n_done <= FORKS);
    for (size_t i = *last; i < n_done; i++)
        assert_true(isfinite(forks[i].branch[0].log_prob));
    *last = n_done;
    return VD_OK;
}

static void branches_have_the_probability_they_have_alone(void **state)
{
    for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
        vd_scorer *s = open_scorer(n_threads, LONGEST);
        size_t n_done = 0;
        vd_err err = {0};
        make_forks();
        if (vd_forks_run(s, forks, FORKS, count_done, &n_done, &err) != VD_OK)
            fail_msg("%s", err.message);
        assert_int_equal(n_done, FORKS);
        for (size_t i = 0; i < FORKS; i++)
            for (size_t k = 0; k < forks[i].n_branches; k++) {
                alone a = {.branch = &branch[i][k]};
                assert_int_equal(vd_scorer_run(s, a.branch->tokens, a.branch->n,
                                               forks[i].n_shared - 1, add_row, &a, &err),
                                 VD_OK);
                if (!(fabs(a.sum - a.branch->log_prob) < 1e-4))
                    fail_msg("fork %zu, branch %zu: %.9g alone, %.9g among others", i, k, a.sum,
                             a.branch->log_prob);
            }
        vd_scorer_free(s);
    }
}

static void a_long_fork_alone_fits(void **state)
{
    static int32_t ids[5000];
    for (size_t i = 0; i < VD_COUNT(ids); i++)
        ids[i] = (int32_t)(i * i % 251);
    vd_branch long_branch[] = {{.tokens = ids, .n = 5000}, {.tokens = ids, .n = 4600}};
    vd_fork fork = {.branch = long_branch, .n_branches = 2, .n_shared = 4500};
    vd_scorer *s = open_scorer(2, 0);
    vd_err err = {0};
    assert_int_equal(vd_scorer_run(s, ids, 10, 0, add_row, NULL, &err), VD_ERR_CONTEXT);
    if (vd_forks_run(s, &fork, 1, NULL, NULL, &err) != VD_OK)
        fail_msg("%s", err.message);
    assert_true(long_branch[0].log_prob < long_branch[1].log_prob); /* a part of it, and more */
    vd_scorer_free(s);
}

static vd_status stop(void *ctx, size_t n_done, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_CANCELLED, "enough");
}

static void impossible_forks_are_refused_and_a_run_can_be_ended(void **state)
{
    vd_scorer *s = open_scorer(1, 0);
    vd_err err = {0};
    make_forks();
    forks[1].n_shared = 0;
    assert_int_equal(vd_forks_run(s, forks, FORKS, NULL, NULL, &err), VD_ERR_ARG);
    make_forks();
    branch[2][0].n = forks[2].n_shared;
    assert_int_equal(vd_forks_run(s, forks, FORKS, NULL, NULL, &err), VD_ERR_ARG);
    make_forks();
    tokens[3][0][0] = TINY_V;
    assert_int_equal(vd_forks_run(s, forks, FORKS, NULL, NULL, &err), VD_ERR_ARG);
    make_forks();
    assert_int_equal(vd_forks_run(s, forks, FORKS, stop, NULL, &err), VD_ERR_CANCELLED);
    assert_int_equal(vd_forks_run(s, forks, 0, stop, NULL, &err), VD_OK);
    vd_scorer_free(s);
}

static void every_failed_allocation_is_survived(void **state)
{
    vd_scorer *s = open_scorer(1, 0);
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    make_forks();
    for (uint64_t k = 1; st != VD_OK; k++) {
        assert_true(k < 400);
        vd_alloc_fail_at(k);
        st = vd_forks_run(s, forks, 1, NULL, NULL, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    vd_scorer_free(s);
}

static int begin(void **state)
{
    vd_json_init();
    snprintf(model_path, sizeof(model_path), "/tmp/verdant-branches-%d.gguf", getpid());
    tiny_write(model_path, 5, "llama");
    return 0;
}

static int end(void **state)
{
    return unlink(model_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_have_the_probability_they_have_alone),
        cmocka_unit_test(a_long_fork_alone_fits),
        cmocka_unit_test(impossible_forks_are_refused_and_a_run_can_be_ended),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
