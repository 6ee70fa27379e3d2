/* test_step_shares.c - whom the engine names for what it computed: cached prefixes, preempted,
 * cancelled and failed requests, embeddings, and the calibration, which is nobody's. */
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
#include "base/checked.h"
#include "base/clock.h"
#include "engine/calibrate.h"
#include "engine/observe.h"
#include "tiny_model.h"

enum { IDS = 16 };

static char model_path[64], broken_path[64];

/* All that the observer heard, by request; 0 is the calibration. */
typedef struct heard {
    vd_step_share sum[IDS];
    size_t n_in[IDS]; /* steps it was in */
    vd_step_share announced[64];
    size_t n_announced, n_steps;
    bool under_way;
    uint64_t begin_ns;
    uint32_t model;
    size_t n_shares_most, prefill_most, kv_most; /* of a step; of a share */
} heard;

static void on_begin(void *ctx, const vd_step *step)
{
    heard *h = ctx;
    assert_false(h->under_way);
    assert_true(step->end_ns == 0 && step->n_share <= VD_COUNT(h->announced));
    memcpy(h->announced, step->share, step->n_share * sizeof(*step->share));
    h->n_announced = step->n_share;
    h->begin_ns = step->begin_ns;
    h->under_way = true;
}

static void on_step(void *ctx, const vd_step *step)
{
    heard *h = ctx;
    assert_true(h->under_way);
    h->under_way = false;
    assert_true(step->begin_ns == h->begin_ns && step->end_ns >= step->begin_ns);
    assert_int_equal(step->n_share, h->n_announced);
    assert_memory_equal(step->share, h->announced, step->n_share * sizeof(*step->share));
    h->n_steps++;
    h->model = step->model;
    h->n_shares_most = VD_MAX(h->n_shares_most, step->n_share);
    for (size_t i = 0; i < step->n_share; i++) {
        const vd_step_share *s = &step->share[i];
        assert_true(s->request_id < IDS);
        assert_true(s->n_prefill + s->n_decode > 0);
        assert_int_equal(s->n_rejected, 0);
        for (size_t k = 0; s->request_id != 0 && k < i; k++)
            assert_true(step->share[k].request_id != s->request_id);
        h->sum[s->request_id].n_prefill += s->n_prefill;
        h->sum[s->request_id].n_decode += s->n_decode;
        h->sum[s->request_id].n_kv_read += s->n_kv_read;
        h->n_in[s->request_id]++;
        h->prefill_most = VD_MAX(h->prefill_most, s->n_prefill);
        h->kv_most = VD_MAX(h->kv_most, s->n_kv_read);
    }
}

typedef struct ended {
    vd_finish finish;
    vd_usage usage;
    size_t n_tokens;
} ended;

static void on_event(void *ctx, const vd_event *event)
{
    ended *o = ctx;
    o->n_tokens += event->token >= 0;
    if (event->finish == VD_FINISH_NONE)
        return;
    o->finish = event->finish;
    o->usage = *event->usage;
}

static vd_engine *open_engine(const char *path, const vd_engine_options *options, heard *h)
{
    vd_engine *e = NULL;
    vd_err err = {0};
    if (vd_engine_open(path, options, &e, &err) != VD_OK)
        fail_msg("%s", err.message);
    *h = (heard){0};
    vd_engine_observe(e, &(vd_engine_observer){
                             .on_begin = on_begin, .on_step = on_step, .ctx = h, .model = 3});
    return e;
}

static uint64_t submit(vd_engine *e, size_t n, size_t max_tokens, uint32_t salt, ended *o)
{
    int32_t prompt[256];
    uint64_t id = 0;
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 31 + salt * 97 + i * i % 13) % 256);
    vd_request_options r = {.prompt = prompt, .n_prompt = n, .max_tokens = max_tokens,
                            .sampling = vd_sampling_default(), .ignore_end = true,
                            .on_event = on_event, .ctx = o};
    r.sampling.temperature = 0;
    *o = (ended){0};
    assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
    return id;
}

static void run_all(vd_engine *e)
{
    bool worked = true;
    for (int i = 0; worked && i < 10000; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_false(worked);
}

/* What was computed is what the counters say, and somebody was named for each token. */
static void check_counts(vd_engine *e, const heard *h)
{
    uint64_t n_prefill = 0, n_decode = 0;
    for (size_t id = 1; id < IDS; id++) {
        n_prefill += h->sum[id].n_prefill;
        n_decode += h->sum[id].n_decode;
    }
    vd_engine_stats stats = vd_engine_stats_get(e);
    assert_int_equal(stats.n_prefill_tokens, n_prefill);
    assert_int_equal(stats.n_decode_tokens, n_decode);
}

static void a_cached_prefix_costs_its_reads_and_not_its_computation(void **state)
{
    heard h;
    ended o;
    vd_engine *e = open_engine(model_path, &(vd_engine_options){.n_threads = 1}, &h);
    uint64_t first = submit(e, 100, 5, 1, &o);
    run_all(e);
    assert_int_equal(h.sum[first].n_prefill, 100);
    assert_int_equal(h.sum[first].n_decode, 4); /* the last token is drawn, not computed */
    assert_int_equal(h.sum[first].n_kv_read, 104 * 105 / 2);
    uint64_t second = submit(e, 100, 5, 1, &o);
    run_all(e);
    assert_int_equal(o.usage.cached_tokens, 96);
    assert_int_equal(h.sum[second].n_prefill, 4);
    assert_int_equal(h.sum[second].n_decode, 4);
    assert_int_equal(h.sum[second].n_kv_read, 104 * 105 / 2 - 96 * 97 / 2);
    assert_int_equal(h.model, 3);
    check_counts(e, &h);
    vd_engine_free(e);
}

static void who_is_preempted_is_named_for_the_recomputation(void **state)
{
    enum { N = 4 };
    heard h;
    ended o[N];
    uint64_t id[N], again = 0;
    vd_engine *e = open_engine(model_path,
                               &(vd_engine_options){.n_threads = 1, .kv_tokens = 160,
                                                    .ctx_tokens = 160, .no_prefix_cache = true},
                               &h);
    for (uint32_t i = 0; i < N; i++)
        id[i] = submit(e, 20, 60, i, &o[i]);
    run_all(e);
    for (size_t i = 0; i < N; i++) {
        const vd_step_share *s = &h.sum[id[i]];
        assert_int_equal(o[i].n_tokens, 60);
        assert_true(s->n_prefill % 20 == 0 && s->n_prefill >= 20);
        assert_true(s->n_decode >= 59);
        assert_true((s->n_prefill > 20) == (s->n_decode > 59)); /* both parts, or neither */
        again += s->n_prefill > 20;
    }
    assert_int_equal(h.sum[id[0]].n_prefill, 20); /* the oldest never has to go */
    assert_int_equal(h.sum[id[0]].n_decode, 59);
    assert_true(again > 0);
    check_counts(e, &h);
    vd_engine_free(e);
}

static void who_is_cancelled_is_named_until_then_and_never_after(void **state)
{
    heard h;
    ended o[3];
    bool worked;
    vd_engine *e =
        open_engine(model_path, &(vd_engine_options){.n_threads = 1, .max_running = 2}, &h);
    uint64_t stays = submit(e, 10, 20, 1, &o[0]), goes = submit(e, 10, 20, 2, &o[1]);
    uint64_t waits = submit(e, 10, 20, 3, &o[2]);
    for (int i = 0; i < 6; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    vd_engine_cancel(e, goes);
    vd_engine_cancel(e, waits);
    run_all(e);
    assert_int_equal(o[1].finish, VD_FINISH_CANCELLED);
    assert_int_equal(o[2].finish, VD_FINISH_CANCELLED);
    assert_int_equal(h.n_in[goes], 6);
    assert_int_equal(h.sum[goes].n_prefill, 10);
    assert_int_equal(h.sum[goes].n_decode, 5);
    assert_int_equal(h.n_in[waits], 0);
    assert_int_equal(h.sum[stays].n_decode, 19);
    check_counts(e, &h);
    vd_engine_free(e);
}

static void who_fails_is_named_for_what_it_computed(void **state)
{
    heard h;
    ended o;
    vd_engine *e = open_engine(broken_path, &(vd_engine_options){.n_threads = 1}, &h);
    uint64_t id = submit(e, 30, 5, 1, &o);
    run_all(e);
    assert_int_equal(o.finish, VD_FINISH_ERROR);
    assert_int_equal(h.sum[id].n_prefill, 30);
    assert_int_equal(h.sum[id].n_decode, 0);
    check_counts(e, &h);
    vd_engine_free(e);
}

static void calibration_is_nobodys_and_shows_many_kinds_of_steps(void **state)
{
    heard h;
    ended o;
    vd_engine *e = open_engine(model_path, &(vd_engine_options){.n_threads = 1}, &h);
    uint64_t live = vd_alloc_stats_get().n_live;
    assert_int_equal(vd_engine_calibrate(e, 500000000, NULL), VD_OK);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
    assert_true(h.n_steps > 20);
    for (size_t id = 1; id < IDS; id++)
        assert_int_equal(h.n_in[id], 0);
    assert_int_equal(h.n_shares_most, 8);
    assert_true(h.prefill_most >= 64 && h.sum[0].n_decode > 0);
    assert_true(h.kv_most > 128 * 100); /* a chunk that stands deep in the context */
    vd_engine_stats stats = vd_engine_stats_get(e);
    assert_int_equal(stats.n_steps + stats.n_prefill_tokens + stats.n_decode_tokens, 0);
    assert_int_equal(stats.kv_tokens_used, 0);
    uint64_t id = submit(e, 100, 5, 1, &o);
    run_all(e);
    assert_int_equal(o.usage.cached_tokens, 0);
    assert_int_equal(h.sum[id].n_prefill, 100);
    vd_engine_free(e);
}

static void calibration_fits_into_small_engines_and_short_times(void **state)
{
    heard h;
    ended o;
    const vd_engine_options options[] = {
        {.n_threads = 1, .max_running = 1, .kv_tokens = 16, .ctx_tokens = 16, .step_tokens = 2},
        {.n_threads = 1, .max_running = 3, .kv_tokens = 64, .ctx_tokens = 48, .step_tokens = 20},
    };
    for (size_t i = 0; i < VD_COUNT(options); i++) {
        vd_engine *e = open_engine(model_path, &options[i], &h);
        assert_int_equal(vd_engine_calibrate(e, 1, NULL), VD_OK); /* time for one step, or none */
        assert_true(h.n_steps <= 1);
        assert_int_equal(vd_engine_calibrate(e, 200000000, NULL), VD_OK);
        assert_true(h.n_steps > 1 && h.n_shares_most <= options[i].max_running);
        submit(e, 5, 3, 1, &o);
        run_all(e);
        assert_int_equal(o.n_tokens, 3);
        for (uint64_t k = 1;; k++) {
            vd_alloc_fail_at(k);
            vd_status st = vd_engine_calibrate(e, 1, NULL);
            vd_alloc_fail_at(0);
            if (st == VD_OK)
                break;
            assert_int_equal(st, VD_ERR_NOMEM);
        }
        vd_engine_free(e);
    }
}

/* The last weight of the file becomes no number. */
static void break_model(const char *path)
{
    const unsigned char nan_bytes[4] = {0, 0, 0xc0, 0x7f};
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -4, SEEK_END), 0);
    assert_int_equal(fwrite(nan_bytes, 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
}

int main(void)
{
    snprintf(model_path, sizeof(model_path), "/tmp/verdant-shares-%d.gguf", (int)getpid());
    snprintf(broken_path, sizeof(broken_path), "/tmp/verdant-broken-%d.gguf", (int)getpid());
    tiny_write(model_path, 1, "llama");
    tiny_write(broken_path, 1, "llama");
    break_model(broken_path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cached_prefix_costs_its_reads_and_not_its_computation),
        cmocka_unit_test(who_is_preempted_is_named_for_the_recomputation),
        cmocka_unit_test(who_is_cancelled_is_named_until_then_and_never_after),
        cmocka_unit_test(who_fails_is_named_for_what_it_computed),
        cmocka_unit_test(calibration_is_nobodys_and_shows_many_kinds_of_steps),
        cmocka_unit_test(calibration_fits_into_small_engines_and_short_times),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    unlink(broken_path);
    return failed;
}
