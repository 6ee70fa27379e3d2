/* test_embed.c - embeddings beside answers in one engine: neither changes the other, preemption and
 * the prefix cache change nothing, and memory and pages come back. Their numbers are compared with
 * NumPy's and llama.cpp's in tests/py/test_embed.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <verdant/engine.h>

#include "base/alloc.h"
#include "engine/observe.h"
#include "tiny_model.h"

enum { WIDTH_MAX = 512, ROWS_MAX = 64, ANSWER_MAX = 64 };

static char model_path[64];
static size_t width; /* C of the model */

typedef struct outcome {
    uint64_t id;
    float vector[ROWS_MAX * WIDTH_MAX];
    size_t n, n_ends, n_ids;
    int32_t ids[ANSWER_MAX];
    vd_finish finish;
    vd_status status;
    vd_usage usage;
} outcome;

static void on_event(void *ctx, const vd_event *event)
{
    outcome *o = ctx;
    if (event->token >= 0 && o->n_ids < ANSWER_MAX)
        o->ids[o->n_ids++] = event->token;
    if (event->finish == VD_FINISH_NONE)
        return;
    o->n_ends++;
    o->finish = event->finish;
    o->status = event->status;
    o->usage = *event->usage;
    o->n = event->n_embedding;
    assert_true(o->n <= ROWS_MAX * WIDTH_MAX);
    if (o->n > 0)
        memcpy(o->vector, event->embedding, o->n * sizeof(float));
}

static vd_engine *open_engine(const vd_engine_options *options)
{
    vd_engine *e = NULL;
    vd_err err = {0};
    if (vd_engine_open(model_path, options, &e, &err) != VD_OK)
        fail_msg("%s", err.message);
    width = vd_engine_info_get(e).n_embd;
    assert_true(width <= WIDTH_MAX);
    return e;
}

static vd_request_options embed(const int32_t *ids, size_t n, vd_pooling pooling, outcome *o)
{
    *o = (outcome){0};
    return (vd_request_options){.prompt = ids, .n_prompt = n, .embed = true, .pooling = pooling,
                                .on_event = on_event, .ctx = o};
}

static vd_request_options answer(const int32_t *ids, size_t n, size_t max_tokens, outcome *o)
{
    *o = (outcome){0};
    vd_request_options r = {.prompt = ids, .n_prompt = n, .max_tokens = max_tokens,
                            .sampling = vd_sampling_default(), .ignore_end = true,
                            .on_event = on_event, .ctx = o};
    r.sampling.temperature = 0;
    return r;
}

static void submit(vd_engine *e, const vd_request_options *r, outcome *o)
{
    vd_err err = {0};
    if (vd_engine_submit(e, r, &o->id, &err) != VD_OK)
        fail_msg("%s", err.message);
}

static void run_all(vd_engine *e)
{
    bool worked = true;
    for (int i = 0; worked && i < 100000; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    vd_engine_stats s = vd_engine_stats_get(e);
    assert_int_equal(s.n_running + s.n_waiting + s.kv_tokens_used, 0);
}

static void make_ids(int32_t *ids, size_t n, uint32_t salt)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 31 + salt * 97 + i * i % 13) % 256);
}

/* What every other way has to give too. */
static void alone(const vd_request_options *options, outcome *o)
{
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1, .no_prefix_cache = true});
    vd_request_options r = *options;
    *o = (outcome){0};
    r.ctx = o;
    submit(e, &r, o);
    run_all(e);
    vd_engine_free(e);
}

/* Up to the rounding of products that are made of few rows or of many. */
static void assert_same_vector(const outcome *a, const outcome *b)
{
    assert_int_equal(a->finish, VD_FINISH_STOP);
    assert_int_equal(a->n, b->n);
    assert_true(a->n >= width);
    for (size_t i = 0; i < a->n; i++)
        assert_true(fabsf(a->vector[i] - b->vector[i]) < 1e-5f);
}

static void embeddings_and_answers_share_steps_and_do_not_change_each_other(void **state)
{
    enum { N = 12 };
    static const vd_pooling poolings[] = {VD_POOLING_MEAN, VD_POOLING_CLS, VD_POOLING_LAST,
                                          VD_POOLING_NONE};
    static int32_t ids[N][60];
    static outcome want[N], got[N];
    vd_engine *e = open_engine(
        &(vd_engine_options){.n_threads = 2, .step_tokens = 32, .max_running = 6});
    for (uint32_t i = 0; i < N; i++) {
        size_t n = 1 + i * 5;
        make_ids(ids[i], n, i);
        vd_request_options r = i % 3 == 2 ? answer(ids[i], n, 20, &got[i])
                                          : embed(ids[i], n, poolings[i % 4], &got[i]);
        alone(&r, &want[i]);
        submit(e, &r, &got[i]);
    }
    run_all(e);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(got[i].n_ends, 1);
        assert_int_equal(got[i].usage.prompt_tokens, 1 + i * 5);
        if (i % 3 == 2) {
            assert_int_equal(got[i].n_ids, 20);
            assert_memory_equal(got[i].ids, want[i].ids, 20 * sizeof(int32_t));
        } else {
            assert_same_vector(&got[i], &want[i]);
            assert_int_equal(got[i].usage.completion_tokens, 0);
            assert_int_equal(got[i].usage.decode_ns, 0);
        }
    }
    vd_engine_free(e);
}

static void a_preempted_text_is_read_again_from_its_beginning(void **state)
{
    enum { N = 4 };
    static int32_t ids[100];
    static outcome want, got, answers[N];
    vd_engine *e = open_engine(&(vd_engine_options){
        .n_threads = 1, .kv_tokens = 176, .ctx_tokens = 160, .step_tokens = 8, .max_running = 8});
    make_ids(ids, 100, 9);
    for (uint32_t i = 0; i < N; i++) { /* they grow and take its pages */
        vd_request_options r = answer(ids + i, 1, 60, &answers[i]);
        submit(e, &r, &answers[i]);
    }
    vd_request_options r = embed(ids, 60, VD_POOLING_MEAN, &got);
    alone(&r, &want);
    submit(e, &r, &got);
    run_all(e);
    assert_same_vector(&got, &want);
    assert_true(vd_engine_stats_get(e).n_prefill_tokens > N + 60);
    vd_engine_free(e);
}

static void the_prefix_cache_serves_only_those_who_want_the_last_row(void **state)
{
    static int32_t ids[60];
    static outcome first, mean, last, cls;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
    make_ids(ids, 60, 4);
    vd_request_options r = answer(ids, 60, 1, &first);
    submit(e, &r, &first);
    run_all(e);
    static const vd_pooling poolings[] = {VD_POOLING_MEAN, VD_POOLING_LAST, VD_POOLING_CLS};
    outcome *outcomes[] = {&mean, &last, &cls};
    for (size_t i = 0; i < 3; i++) {
        static outcome want;
        r = embed(ids, 60, poolings[i], outcomes[i]);
        alone(&r, &want);
        submit(e, &r, outcomes[i]);
        run_all(e);
        assert_same_vector(outcomes[i], &want);
        assert_int_equal(outcomes[i]->usage.cached_tokens, poolings[i] == VD_POOLING_LAST ? 48 : 0);
    }
    vd_engine_free(e);
}

static void a_mean_is_the_mean_and_lengths_are_1(void **state)
{
    static int32_t ids[20];
    static outcome rows, mean, unit;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
    make_ids(ids, 20, 6);
    vd_request_options r = embed(ids, 20, VD_POOLING_NONE, &rows);
    r.no_normalize = true;
    submit(e, &r, &rows);
    r = embed(ids, 20, VD_POOLING_MEAN, &mean);
    r.no_normalize = true;
    submit(e, &r, &mean);
    r = embed(ids, 20, VD_POOLING_MEAN, &unit);
    submit(e, &r, &unit);
    run_all(e);
    assert_int_equal(rows.n, 20 * width);
    double square = 0, length = 0;
    for (size_t i = 0; i < width; i++) {
        double sum = 0;
        for (size_t t = 0; t < 20; t++)
            sum += rows.vector[t * width + i];
        assert_true(fabs(sum / 20 - mean.vector[i]) < 1e-6);
        square += (double)unit.vector[i] * unit.vector[i];
        length += (double)mean.vector[i] * mean.vector[i];
    }
    assert_true(fabs(square - 1) < 1e-5);
    for (size_t i = 0; i < width; i++)
        assert_true(fabs(mean.vector[i] / sqrt(length) - unit.vector[i]) < 1e-6);
    vd_engine_free(e);
}

static void cancelled_and_impossible_texts_end_or_are_refused(void **state)
{
    static int32_t ids[600];
    static outcome o;
    vd_err err = {0};
    uint64_t id;
    bool worked;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1, .step_tokens = 64});
    vd_request_options r = embed(ids, 512, VD_POOLING_MEAN, &o); /* the whole context */
    submit(e, &r, &o);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    vd_engine_cancel(e, o.id);
    run_all(e);
    assert_int_equal(o.finish, VD_FINISH_CANCELLED);
    assert_int_equal(o.n, 0);
    r = embed(ids, 513, VD_POOLING_MEAN, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_CONTEXT);
    assert_non_null(strstr(err.message, "513"));
    r = embed(ids, 0, VD_POOLING_MEAN, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    r = embed(ids, 3, VD_POOLING_RANK, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_UNSUPPORTED);
    r = embed(ids, 3, (vd_pooling)17, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    ids[1] = -1;
    r = embed(ids, 3, VD_POOLING_LAST, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    assert_int_equal(o.n_ends, 0);
    vd_engine_free(e);
}

static void the_model_and_the_options_say_the_pooling(void **state)
{
    vd_engine *e = open_engine(NULL);
    vd_engine_info info = vd_engine_info_get(e);
    assert_int_equal(info.pooling, VD_POOLING_LAST); /* a guess: the file says nothing */
    assert_false(info.pooling_known || info.encoder);
    vd_engine_free(e);
    e = open_engine(&(vd_engine_options){.pooling = VD_POOLING_MEAN});
    info = vd_engine_info_get(e);
    assert_int_equal(info.pooling, VD_POOLING_MEAN);
    assert_true(info.pooling_known);
    vd_engine_free(e);
    assert_int_equal(
        vd_engine_open(model_path, &(vd_engine_options){.pooling = (vd_pooling)17}, &e, NULL),
        VD_ERR_ARG);
    vd_pooling p = VD_POOLING_MODEL;
    assert_true(vd_pooling_parse("cls", &p));
    assert_int_equal(p, VD_POOLING_CLS);
    assert_string_equal(vd_pooling_name(p), "cls");
    assert_false(vd_pooling_parse("rank", &p) || vd_pooling_parse("model", &p));
    assert_false(vd_pooling_parse("", &p));
}

static void count_steps(void *ctx, const vd_step *step)
{
    uint64_t *sum = ctx;
    for (size_t i = 0; i < step->n_share; i++) {
        sum[0] += step->share[i].n_prefill;
        sum[1] += step->share[i].n_decode;
    }
}

static void steps_take_no_memory_and_tell_of_embeddings_too(void **state)
{
    static int32_t ids[200];
    static outcome o[2];
    uint64_t sum[2] = {0};
    bool worked;
    make_ids(ids, 200, 1);
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1, .step_tokens = 32});
    vd_engine_observe(e, &(vd_engine_observer){.on_step = count_steps, .ctx = sum});
    for (int i = 0; i < 2; i++) {
        vd_request_options r = embed(ids, 200 - (size_t)i, VD_POOLING_MEAN, &o[i]);
        submit(e, &r, &o[i]);
    }
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    uint64_t before = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 8; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    run_all(e);
    assert_int_equal(sum[0], 399);
    assert_int_equal(sum[1], 0);
    assert_int_equal(vd_engine_stats_get(e).n_finished, 2);
    vd_engine_free(e);
}

static void every_failed_allocation_is_a_status(void **state)
{
    int32_t ids[8];
    static outcome o;
    make_ids(ids, 8, 1);
    uint64_t live = vd_alloc_stats_get().n_live;
    bool done = false;
    for (uint64_t k = 1; !done && k < 200; k++) {
        vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
        vd_request_options r = embed(ids, 8, VD_POOLING_MEAN, &o);
        vd_alloc_fail_at(k);
        vd_status st = vd_engine_submit(e, &r, &o.id, NULL);
        if (st == VD_OK)
            run_all(e);
        vd_alloc_fail_at(0);
        done = st == VD_OK && o.finish == VD_FINISH_STOP;
        if (!done)
            assert_true(st == VD_ERR_NOMEM || o.status == VD_ERR_NOMEM);
        vd_engine_free(e);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_true(done);
}

static int setup(void **state)
{
    strncpy(model_path, "/tmp/verdant-test-XXXXXX", sizeof(model_path) - 1);
    int fd = mkstemp(model_path);
    if (fd < 0)
        return -1;
    close(fd);
    tiny_write(model_path, 42, "llama");
    return 0;
}

static int teardown(void **state)
{
    return unlink(model_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_and_answers_share_steps_and_do_not_change_each_other),
        cmocka_unit_test(a_preempted_text_is_read_again_from_its_beginning),
        cmocka_unit_test(the_prefix_cache_serves_only_those_who_want_the_last_row),
        cmocka_unit_test(a_mean_is_the_mean_and_lengths_are_1),
        cmocka_unit_test(cancelled_and_impossible_texts_end_or_are_refused),
        cmocka_unit_test(the_model_and_the_options_say_the_pooling),
        cmocka_unit_test(steps_take_no_memory_and_tell_of_embeddings_too),
        cmocka_unit_test(every_failed_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
