/* test_engine.c - the batching engine on a tiny random model: batches change nothing, requests end
 * as they should, pages and memory come back, and a decode step allocates nothing. */
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
#include "base/fail.h"
#include "engine/observe.h"
#include "tiny_model.h"

enum { TEXT_MAX = 4096, IDS_MAX = 1024 };

static char model_path[64];

/* What came of one request. */
typedef struct outcome {
    uint64_t id;
    int32_t ids[IDS_MAX];
    size_t n_ids, n_ends;
    char text[TEXT_MAX];
    size_t n_text;
    vd_finish finish;
    vd_status status;
    vd_usage usage;
    float logprob_sum;
} outcome;

static void on_event(void *ctx, const vd_event *event)
{
    outcome *o = ctx;
    if (event->token >= 0 && o->n_ids < IDS_MAX)
        o->ids[o->n_ids++] = event->token;
    if (o->n_text + event->n_text < TEXT_MAX) {
        memcpy(o->text + o->n_text, event->text, event->n_text);
        o->n_text += event->n_text;
        o->text[o->n_text] = '\0';
    }
    o->logprob_sum += event->logprob;
    if (event->finish != VD_FINISH_NONE) {
        o->n_ends++;
        o->finish = event->finish;
        o->status = event->status;
        o->usage = *event->usage;
    }
}

static vd_engine *open_engine(const vd_engine_options *options)
{
    vd_engine *e = NULL;
    vd_err err = {0};
    if (vd_engine_open(model_path, options, &e, &err) != VD_OK)
        fail_msg("%s", err.message);
    return e;
}

static vd_request_options request(const int32_t *prompt, size_t n, size_t max_tokens, outcome *o)
{
    vd_request_options r = {.prompt = prompt, .n_prompt = n, .max_tokens = max_tokens,
                            .sampling = vd_sampling_default(), .ignore_end = true,
                            .on_event = on_event, .ctx = o};
    r.sampling.temperature = 0;
    *o = (outcome){0};
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
    assert_false(worked);
    vd_engine_stats s = vd_engine_stats_get(e);
    assert_int_equal(s.n_running + s.n_waiting, 0);
}

static void make_prompt(int32_t *prompt, size_t n, uint32_t salt)
{
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 31 + salt * 97 + i * i % 13) % 256);
}

/* The answer of a lone request in a fresh engine: what every other way has to give too. */
static void answer_alone(const int32_t *prompt, size_t n, size_t max_tokens, double temperature,
                         outcome *o)
{
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 2, .no_prefix_cache = true});
    vd_request_options r = request(prompt, n, max_tokens, o);
    r.sampling.temperature = (float)temperature;
    r.sampling.seed = 5;
    submit(e, &r, o);
    run_all(e);
    vd_engine_free(e);
}

static void a_batch_gives_every_request_the_answer_it_gets_alone(void **state)
{
    enum { N = 9 };
    int32_t prompt[N][70];
    static outcome alone[N], together[N];
    vd_engine *e = open_engine(
        &(vd_engine_options){.n_threads = 2, .step_tokens = 40, .max_running = 5});
    for (uint32_t i = 0; i < N; i++) {
        size_t n = 3 + i * 8;
        double temperature = i % 2 == 0 ? 0 : 1;
        make_prompt(prompt[i], n, i);
        answer_alone(prompt[i], n, 20 + i, temperature, &alone[i]);
        vd_request_options r = request(prompt[i], n, 20 + i, &together[i]);
        r.sampling.temperature = (float)temperature;
        r.sampling.seed = 5;
        submit(e, &r, &together[i]);
        bool worked;
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK); /* they join one by one */
    }
    run_all(e);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(together[i].n_ends, 1);
        assert_int_equal(together[i].finish, VD_FINISH_LENGTH);
        assert_int_equal(together[i].n_ids, 20 + i);
        assert_memory_equal(together[i].ids, alone[i].ids, together[i].n_ids * sizeof(int32_t));
        assert_string_equal(together[i].text, alone[i].text);
    }
    vd_engine_free(e);
}

/* While fewer threads are tried (model/crew.h), and whatever is found best. */
static void answers_do_not_depend_on_how_many_threads_there_are(void **state)
{
    static const size_t n_threads[] = {1, 3, 4, 0};
    int32_t prompt[20];
    static outcome expected, got;
    make_prompt(prompt, 20, 3);
    answer_alone(prompt, 20, 100, 1, &expected);
    assert_int_equal(expected.n_ids, 100);
    for (size_t i = 0; i < 4; i++) {
        vd_engine *e = open_engine(&(vd_engine_options){.n_threads = n_threads[i]});
        vd_request_options r = request(prompt, 20, 100, &got);
        r.sampling.temperature = 1;
        r.sampling.seed = 5;
        submit(e, &r, &got);
        run_all(e);
        assert_int_equal(got.n_ids, 100);
        assert_memory_equal(got.ids, expected.ids, 100 * sizeof(*got.ids));
        vd_engine_info info = vd_engine_info_get(e);
        assert_in_range(info.n_threads_decode, 1, info.n_threads);
        if (n_threads[i] != 0)
            assert_int_equal(info.n_threads, n_threads[i]);
        vd_engine_free(e);
    }
}

static void preempted_requests_go_on_as_if_nothing_had_happened(void **state)
{
    enum { N = 4 };
    int32_t prompt[N][20];
    static outcome alone[N], crowded[N];
    /* 128 positions for four requests that end at 20 + 60: two have to wait for the others. */
    vd_engine *e = open_engine(
        &(vd_engine_options){.n_threads = 1, .kv_tokens = 160, .ctx_tokens = 160});
    for (uint32_t i = 0; i < N; i++) {
        make_prompt(prompt[i], 20, i);
        answer_alone(prompt[i], 20, 60, 1, &alone[i]);
        vd_request_options r = request(prompt[i], 20, 60, &crowded[i]);
        r.sampling.temperature = 1;
        r.sampling.seed = 5;
        submit(e, &r, &crowded[i]);
    }
    run_all(e);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(crowded[i].finish, VD_FINISH_LENGTH);
        assert_int_equal(crowded[i].n_ids, 60);
        assert_memory_equal(crowded[i].ids, alone[i].ids, 60 * sizeof(int32_t));
    }
    assert_true(vd_engine_stats_get(e).n_prefill_tokens > N * 20); /* some were computed again */
    assert_int_equal(vd_engine_stats_get(e).kv_tokens_used <= 160, 1);
    vd_engine_free(e);
}

static void a_repeated_prompt_is_taken_from_the_cache_and_answers_the_same(void **state)
{
    int32_t prompt[100];
    static outcome first, second, other;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 2});
    make_prompt(prompt, 100, 3);
    vd_request_options r = request(prompt, 100, 10, &first);
    submit(e, &r, &first);
    run_all(e);
    r = request(prompt, 100, 10, &second);
    submit(e, &r, &second);
    run_all(e);
    r = request(prompt, 100, 10, &other);
    r.cache_salt = 1;
    submit(e, &r, &other);
    run_all(e);
    assert_int_equal(first.usage.cached_tokens, 0);
    assert_int_equal(second.usage.cached_tokens, 96);
    assert_int_equal(other.usage.cached_tokens, 0);
    assert_memory_equal(first.ids, second.ids, 10 * sizeof(int32_t));
    vd_engine_free(e);
}

static void the_end_token_a_stop_string_and_the_context_end_an_answer(void **state)
{
    int32_t prompt[8];
    static outcome free_run, o;
    make_prompt(prompt, 8, 1);
    answer_alone(prompt, 8, 0, 0, &free_run);
    assert_int_equal(free_run.finish, VD_FINISH_LENGTH);
    assert_int_equal(free_run.usage.completion_tokens, 512 - 8); /* the model's own context */
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
    /* Forced to end at once. */
    vd_logit_bias bias = {TINY_END, 100};
    vd_request_options r = request(prompt, 8, 50, &o);
    r.ignore_end = false;
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    submit(e, &r, &o);
    run_all(e);
    assert_int_equal(o.finish, VD_FINISH_STOP);
    assert_int_equal(o.n_ids, 0);
    assert_int_equal(o.usage.completion_tokens, 1);
    /* "aaaa..." with a stop string that spans two tokens. */
    bias.token = 'a';
    const char *stop = "aa";
    r = request(prompt, 8, 50, &o);
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    r.stop = &stop;
    r.n_stop = 1;
    int32_t a_id = vd_tokenizer_find(vd_engine_tokenizer(e), "a", 1);
    bias.token = a_id;
    submit(e, &r, &o);
    run_all(e);
    assert_int_equal(o.finish, VD_FINISH_STOP);
    assert_string_equal(o.text, "");
    assert_int_equal(o.n_ids, 2);
    vd_engine_free(e);
}

static void a_cancelled_request_ends_within_a_step_running_or_waiting(void **state)
{
    int32_t prompt[200];
    static outcome a, b, c;
    vd_engine *e = open_engine(
        &(vd_engine_options){.n_threads = 1, .max_running = 1, .step_tokens = 16});
    make_prompt(prompt, 200, 9);
    vd_request_options r = request(prompt, 200, 10, &a);
    submit(e, &r, &a);
    r = request(prompt, 200, 10, &b);
    submit(e, &r, &b);
    r = request(prompt, 20, 3, &c);
    submit(e, &r, &c);
    bool worked;
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK); /* a is within its prompt now */
    vd_engine_cancel(e, a.id);
    vd_engine_cancel(e, b.id);
    vd_engine_cancel(e, 12345); /* nobody */
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(a.finish, VD_FINISH_CANCELLED);
    assert_int_equal(b.finish, VD_FINISH_CANCELLED);
    run_all(e);
    assert_int_equal(c.finish, VD_FINISH_LENGTH);
    assert_int_equal(vd_engine_stats_get(e).n_cancelled, 2);
    assert_int_equal(vd_engine_stats_get(e).kv_tokens_used, 0);
    vd_engine_free(e);
}

static void bad_requests_are_refused_with_a_reason(void **state)
{
    int32_t prompt[600] = {0};
    static outcome o;
    vd_err err = {0};
    uint64_t id = 77;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1, .max_waiting = 1});
    vd_request_options r = request(prompt, 512, 1, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_CONTEXT);
    r = request(prompt, 0, 1, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    prompt[3] = TINY_V;
    r = request(prompt, 8, 1, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "258"));
    prompt[3] = 1;
    r.sampling.temperature = 9;
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    const char *bad_stop = "\xff";
    r = request(prompt, 8, 1, &o);
    r.stop = &bad_stop;
    r.n_stop = 1;
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_ARG);
    assert_int_equal(id, 77);
    r = request(prompt, 8, 1, &o);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_OK);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_BUSY);
    vd_engine_stop(e, true);
    assert_int_equal(o.finish, VD_FINISH_LENGTH); /* draining finished it */
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_CLOSED);
    vd_engine_free(e);
}

static void freeing_an_engine_ends_what_runs(void **state)
{
    int32_t prompt[8];
    static outcome o[3];
    make_prompt(prompt, 8, 1);
    for (int with_thread = 0; with_thread < 2; with_thread++) {
        vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 2, .max_running = 2});
        for (int i = 0; i < 3; i++) {
            vd_request_options r = request(prompt, 8, 0, &o[i]);
            submit(e, &r, &o[i]);
        }
        if (with_thread)
            assert_int_equal(vd_engine_start(e, NULL), VD_OK);
        vd_engine_free(e);
        for (int i = 0; i < 3; i++)
            assert_int_equal(o[i].n_ends, 1);
    }
}

static void count_shares(void *ctx, const vd_step *step)
{
    uint64_t *sum = ctx;
    assert_true(step->end_ns >= step->begin_ns);
    for (size_t i = 0; i < step->n_share; i++) {
        sum[0] += step->share[i].n_prefill;
        sum[1] += step->share[i].n_decode;
        sum[2] += step->share[i].n_kv_read;
    }
}

static void steps_tell_who_was_in_them(void **state)
{
    int32_t prompt[50];
    static outcome o;
    uint64_t sum[3] = {0};
    make_prompt(prompt, 50, 2);
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1, .step_tokens = 33});
    vd_engine_observe(e, &(vd_engine_observer){.on_step = count_shares, .ctx = sum});
    vd_request_options r = request(prompt, 50, 11, &o);
    submit(e, &r, &o);
    run_all(e);
    assert_int_equal(sum[0], 50);
    assert_int_equal(sum[1], 10); /* the last token is drawn, not computed */
    assert_int_equal(sum[2], 60 * 61 / 2);
    vd_engine_free(e);
}

static vd_status take_two(void *ctx, uint64_t request_id, vd_err *err)
{
    uint64_t *last = ctx;
    if (request_id >= 1002)
        return VD_FAIL(err, VD_ERR_LIMIT, "two are enough");
    *last = request_id;
    return VD_OK;
}

static void an_observer_hears_of_each_request_and_may_refuse_it(void **state)
{
    int32_t prompt[5];
    static outcome o[3];
    uint64_t last = 0, id = 0;
    vd_err err = {0};
    make_prompt(prompt, 5, 2);
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
    vd_engine_observe(
        e, &(vd_engine_observer){.on_accept = take_two, .ctx = &last, .first_id = 1000});
    for (uint64_t i = 0; i < 2; i++) {
        vd_request_options r = request(prompt, 5, 3, &o[i]);
        submit(e, &r, &o[i]);
        assert_int_equal(last, 1000 + i);
    }
    vd_request_options r = request(prompt, 5, 3, &o[2]);
    assert_int_equal(vd_engine_submit(e, &r, &id, &err), VD_ERR_LIMIT);
    assert_string_equal(err.message, "two are enough");
    assert_int_equal(id, 0);
    run_all(e);
    assert_int_equal(o[0].n_ends, 1);
    assert_int_equal(o[1].n_ends, 1);
    assert_int_equal(o[2].n_ends, 0);
    vd_engine_free(e);
}

static void a_decode_step_allocates_nothing(void **state)
{
    int32_t prompt[30];
    static outcome o[4];
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 2});
    for (uint32_t i = 0; i < 4; i++) {
        make_prompt(prompt, 30, i);
        vd_request_options r = request(prompt, 30, 100, &o[i]);
        r.sampling.temperature = 1;
        r.sampling.top_p = 0.9f;
        r.sampling.repetition_penalty = 1.1f;
        r.n_top = 5;
        submit(e, &r, &o[i]);
    }
    bool worked;
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    uint64_t before = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 90; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    run_all(e);
    vd_engine_free(e);
}

static void every_failed_allocation_is_a_status(void **state)
{
    int32_t prompt[8];
    static outcome o;
    make_prompt(prompt, 8, 1);
    uint64_t live = vd_alloc_stats_get().n_live;
    bool opened = false;
    for (uint64_t k = 1; !opened && k < 2000; k++) {
        vd_engine *e = NULL;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_engine_open(model_path, &(vd_engine_options){.n_threads = 1}, &e, &err);
        opened = st == VD_OK;
        vd_alloc_fail_at(0);
        if (!opened)
            assert_int_equal(st, VD_ERR_NOMEM);
        vd_engine_free(e);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_true(opened);
    bool answered = false;
    for (uint64_t k = 1; !answered && k < 200; k++) {
        vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
        vd_request_options r = request(prompt, 8, 3, &o);
        vd_alloc_fail_at(k);
        vd_status st = vd_engine_submit(e, &r, &o.id, NULL);
        if (st == VD_OK)
            run_all(e);
        vd_alloc_fail_at(0);
        answered = st == VD_OK && o.finish == VD_FINISH_LENGTH;
        if (!answered)
            assert_true(st == VD_ERR_NOMEM || o.status == VD_ERR_NOMEM);
        vd_engine_free(e);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_true(answered);
}

static void a_model_we_cannot_run_is_named(void **state)
{
    char path[] = "/tmp/verdant-test-XXXXXX";
    vd_engine *e = NULL;
    vd_err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_write(path, 1, "mamba");
    assert_int_equal(vd_engine_open(path, NULL, &e, &err), VD_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "mamba"));
    unlink(path);
    assert_int_equal(vd_engine_open(path, NULL, &e, &err), VD_ERR_NOT_FOUND);
}

/* Embeddings are often padded: more rows than the vocabulary has tokens. */
static void penalties_count_tokens_that_the_vocabulary_does_not_name(void **state)
{
    enum { ROWS = 4 * TINY_V, LAST = ROWS - 1 };
    char path[] = "/tmp/verdant-test-XXXXXX";
    static outcome o;
    vd_engine *e = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_write_rows(path, 5, "llama", ROWS);
    assert_int_equal(vd_engine_open(path, &(vd_engine_options){.n_threads = 1}, &e, NULL), VD_OK);
    unlink(path);
    int32_t prompt[8] = {1, LAST, 2, LAST};
    vd_logit_bias bias = {LAST, 100};
    vd_request_options r = request(prompt, 4, 6, &o);
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    r.sampling.presence_penalty = 2;
    r.sampling.frequency_penalty = 0.5f;
    r.sampling.repetition_penalty = 1.1f;
    submit(e, &r, &o);
    run_all(e);
    assert_int_equal(o.n_ids, 6);
    for (size_t i = 0; i < o.n_ids; i++)
        assert_int_equal(o.ids[i], LAST);
    assert_string_equal(o.text, ""); /* it stands for no text */
    vd_engine_free(e);
}

static void ask_answers_with_and_without_a_thread(void **state)
{
    char *one = NULL, *two = NULL;
    vd_engine *e = open_engine(&(vd_engine_options){.n_threads = 1});
    assert_int_equal(vd_engine_ask(e, "hello", 12, &one, NULL), VD_OK);
    assert_int_equal(vd_engine_start(e, NULL), VD_OK);
    assert_int_equal(vd_engine_ask(e, "hello", 12, &two, NULL), VD_OK);
    assert_string_equal(one, two);
    assert_true(strlen(one) > 0);
    vd_text_free(one);
    vd_text_free(two);
    vd_engine_free(e);
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
        cmocka_unit_test(a_batch_gives_every_request_the_answer_it_gets_alone),
        cmocka_unit_test(answers_do_not_depend_on_how_many_threads_there_are),
        cmocka_unit_test(preempted_requests_go_on_as_if_nothing_had_happened),
        cmocka_unit_test(a_repeated_prompt_is_taken_from_the_cache_and_answers_the_same),
        cmocka_unit_test(the_end_token_a_stop_string_and_the_context_end_an_answer),
        cmocka_unit_test(a_cancelled_request_ends_within_a_step_running_or_waiting),
        cmocka_unit_test(bad_requests_are_refused_with_a_reason),
        cmocka_unit_test(freeing_an_engine_ends_what_runs),
        cmocka_unit_test(steps_tell_who_was_in_them),
        cmocka_unit_test(an_observer_hears_of_each_request_and_may_refuse_it),
        cmocka_unit_test(a_decode_step_allocates_nothing),
        cmocka_unit_test(every_failed_allocation_is_a_status),
        cmocka_unit_test(a_model_we_cannot_run_is_named),
        cmocka_unit_test(penalties_count_tokens_that_the_vocabulary_does_not_name),
        cmocka_unit_test(ask_answers_with_and_without_a_thread),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
