/* test_pace.c - what steps take: the line through answers, the chunk that fits, and that the engine
 * keeps to it while somebody answers, and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <verdant/engine.h>

#include "base/checked.h"
#include "engine/engine.h"
#include "tiny_model.h"

enum { MS = 1000000 };

static char model_path[64];

static void assert_near(double value, double expected, double part)
{
    if (value < expected * (1 - part) || value > expected * (1 + part))
        fail_msg("%g, expected %g", value, expected);
}

static void steps_of_several_sizes_give_base_and_slope(void **state)
{
    vd_pace p = {0};
    assert_true(vd_pace_answers_ns(&p, 1) == 0 && vd_pace_slope_ns(&p) == 0);
    for (size_t i = 0; i < 200; i++)
        vd_pace_learn(&p, 1 + i % 8, 0, 20 * MS + (1 + i % 8) * 2 * MS);
    assert_near(vd_pace_slope_ns(&p), 2 * MS, 0.001);
    assert_near(vd_pace_answers_ns(&p, 1), 22 * MS, 0.001);
    assert_near(vd_pace_answers_ns(&p, 30), 80 * MS, 0.001);
}

static void one_size_of_step_leaves_the_slope_to_a_guess_until_another_is_seen(void **state)
{
    vd_pace p = {0};
    for (int i = 0; i < 20; i++)
        vd_pace_learn(&p, 1, 0, 10 * MS);
    assert_near(vd_pace_answers_ns(&p, 1), 10 * MS, 0.001);
    assert_near(vd_pace_slope_ns(&p), 2 * MS, 0.001);
    for (int i = 0; i < 20; i++)
        vd_pace_learn(&p, 3, 0, 28 * MS);
    assert_near(vd_pace_slope_ns(&p), 9 * MS, 0.001);
}

static void a_line_is_never_negative_and_one_hiccup_counts_little(void **state)
{
    vd_pace p = {0};
    for (int i = 0; i < 20; i++) {
        vd_pace_learn(&p, 1, 0, 10 * MS);
        vd_pace_learn(&p, 2, 0, 5 * MS);
    }
    assert_true(vd_pace_slope_ns(&p) == 0);
    vd_pace q = {0};
    for (int i = 0; i < 20; i++)
        vd_pace_learn(&q, 1, 0, 10 * MS);
    vd_pace_learn(&q, 1, 0, (uint64_t)10000 * MS);
    assert_near(vd_pace_answers_ns(&q, 1), 10 * MS, 0.13);
}

static void old_steps_are_forgotten(void **state)
{
    vd_pace p = {0};
    vd_pace_learn(&p, 8, 0, 100 * MS);
    for (int i = 0; i < 3000; i++)
        vd_pace_learn(&p, 1, 0, 10 * MS);
    assert_near(vd_pace_answers_ns(&p, 1), 10 * MS, 0.001);
    assert_near(vd_pace_slope_ns(&p), 2 * MS, 0.001); /* unknown again */
}

static void the_longest_chunk_that_fits_is_taken(void **state)
{
    vd_pace p = {0};
    assert_int_equal(vd_pace_chunk(&p, 4, 50 * MS, 32, 508), 32); /* nothing is known */
    for (int i = 0; i < 50; i++)
        vd_pace_learn(&p, 4, 0, 10 * MS);
    for (int i = 0; i < 50; i++) {
        vd_pace_learn(&p, 0, 512, 512 * MS / 2);
        vd_pace_learn(&p, 4, 40, 10 * MS + 40 * MS);
    }
    assert_int_equal(vd_pace_chunk(&p, 4, 50 * MS, 32, 508), 40);
    assert_int_equal(vd_pace_chunk(&p, 4, 50 * MS, 32, 20), 20);  /* no more are there */
    assert_int_equal(vd_pace_chunk(&p, 4, 5 * MS, 32, 508), 32);  /* never less than this */
    assert_int_equal(vd_pace_chunk(&p, 4, 5 * MS, 32, 10), 10);
    /* Long chunks are known to cost half: 600 ms hold all that may be taken. */
    assert_int_equal(vd_pace_chunk(&p, 4, 600 * MS, 32, 508), 508);
}

static void the_least_chunk_is_the_shortest_that_is_not_dear(void **state)
{
    vd_pace p = {0};
    assert_int_equal(vd_pace_efficient_chunk(&p, 32, 128), 32);
    for (int i = 0; i < 50; i++) {
        vd_pace_learn(&p, 0, 512, 512 * MS);
        vd_pace_learn(&p, 0, 40, 40 * 4 * MS);
    }
    assert_int_equal(vd_pace_efficient_chunk(&p, 32, 128), 128); /* of 64 nothing else is known */
    for (int i = 0; i < 50; i++)
        vd_pace_learn(&p, 0, 64, 64 * MS * 5 / 4);
    assert_int_equal(vd_pace_efficient_chunk(&p, 32, 128), 64);
    for (int i = 0; i < 50; i++)
        vd_pace_learn(&p, 0, 40, 40 * MS * 7 / 5);
    assert_int_equal(vd_pace_efficient_chunk(&p, 32, 128), 32);
}

/* ---- the engine ------------------------------------------------------------------------------*/

typedef struct seen {
    size_t n_prefill, n_decode; /* of the last step */
} seen;

static void on_step(void *ctx, const vd_step *step)
{
    seen *s = ctx;
    *s = (seen){0};
    for (size_t i = 0; i < step->n_share; i++) {
        s->n_prefill += step->share[i].n_prefill;
        s->n_decode += step->share[i].n_decode;
    }
}

static void on_event(void *ctx, const vd_event *event)
{
    size_t *n_ends = ctx;
    *n_ends += event->finish != VD_FINISH_NONE;
}

static void submit(vd_engine *e, size_t n, size_t max_tokens, size_t *n_ends)
{
    int32_t prompt[400];
    uint64_t id;
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 31 + n * 7 + i * i % 13) % 256);
    vd_request_options r = {.prompt = prompt, .n_prompt = n, .max_tokens = max_tokens,
                            .sampling = vd_sampling_default(), .ignore_end = true,
                            .on_event = on_event, .ctx = n_ends};
    assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
}

/* As if a token of a prompt took 2 ms in chunks of any size, and a step with answers 10 ms. */
static void slow_down(vd_engine *e)
{
    e->pace = (vd_pace){0};
    vd_pace_learn(&e->pace, 1, 0, 10 * MS);
    for (size_t i = 0; i < VD_PACE_CHUNKS; i++)
        e->pace.per_token[i] = 2 * MS;
}

static void a_long_prompt_is_cut_while_somebody_answers_and_else_read_at_once(void **state)
{
    vd_engine *e = NULL;
    seen s;
    size_t n_ends = 0;
    bool worked;
    const vd_engine_options o = {.n_threads = 1, .step_ms = 100, .no_prefix_cache = true};
    assert_int_equal(vd_engine_open(model_path, &o, &e, NULL), VD_OK);
    vd_engine_observe(e, &(vd_engine_observer){.on_step = on_step, .ctx = &s});
    slow_down(e);
    submit(e, 400, 20, &n_ends); /* nobody answers */
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(s.n_prefill, 400);
    submit(e, 399, 1, &n_ends);
    slow_down(e);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(s.n_decode, 1);
    assert_int_equal(s.n_prefill, 45); /* (100 - 10) / 2 */
    e->options.step_ms = 20;
    slow_down(e);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(s.n_prefill, 32); /* 5 would fit: too few to be worth it */
    for (int i = 0; i < 100 && worked; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(n_ends, 2);
    vd_engine_free(e);
}

static int setup(void **state)
{
    snprintf(model_path, sizeof(model_path), "/tmp/verdant-pace-%d.gguf", (int)getpid());
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
        cmocka_unit_test(steps_of_several_sizes_give_base_and_slope),
        cmocka_unit_test(one_size_of_step_leaves_the_slope_to_a_guess_until_another_is_seen),
        cmocka_unit_test(a_line_is_never_negative_and_one_hiccup_counts_little),
        cmocka_unit_test(old_steps_are_forgotten),
        cmocka_unit_test(the_longest_chunk_that_fits_is_taken),
        cmocka_unit_test(the_least_chunk_is_the_shortest_that_is_not_dear),
        cmocka_unit_test(a_long_prompt_is_cut_while_somebody_answers_and_else_read_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
