/* test_speculate.c - guessed tokens change nothing but the time: the same tokens, texts, logprobs
 * and usage as without them, for every way of sampling, with neighbours, preemption and a cache;
 * and what they cost is told. */
#include "engine/speculating.h"

#include "base/alloc.h"
#include "engine/lookup.h"
#include "engine/observe.h"
#include "sanitizer.h"

static void every_way_of_sampling_gives_the_same_tokens_as_without_guesses(void **state)
{
    static outcome plain, guessed;
    for (int k = 0; k < 2 * (GUESSERS - 1); k++) {
        bool always = k % 2 == 0;
        vd_engine *one = open_engine((vd_engine_options){.n_threads = 1}, NOBODY, false);
        vd_engine *two =
            open_engine((vd_engine_options){.n_threads = 1}, (guesser)(1 + k / 2), always);
        for (uint32_t i = SANITIZED ? (uint32_t)k % 3 : 0; i < WAYS; i += SANITIZED ? 3 : 1) {
            vd_request_options r = way(i);
            submit(one, i, &r, &plain);
            run_all(one);
            submit(two, i, &r, &guessed);
            run_all(two);
            assert_int_equal(plain.n_ids, ANSWER);
            assert_same(&plain, &guessed);
        }
        vd_engine_stats a = vd_engine_stats_get(one), b = vd_engine_stats_get(two);
        assert_int_equal(a.n_draft_tokens + a.n_draft_taken, 0);
        assert_int_equal(a.n_decode_tokens, b.n_decode_tokens);
        if (always) /* else plain C's steps may cost so much per token that no guess pays */
            assert_true(b.n_draft_taken > 0 && b.n_draft_taken < b.n_draft_tokens);
        /* A step less for each guess that was right. */
        assert_int_equal(a.n_steps, b.n_steps + b.n_draft_taken);
        vd_engine_free(one);
        vd_engine_free(two);
    }
}

static void neighbours_preemption_and_the_cache_change_nothing(void **state)
{
    static outcome plain[WAYS], guessed[WAYS];
    vd_engine *one = open_engine((vd_engine_options){.n_threads = 1}, NOBODY, false);
    for (int round = 0; round < 5; round++) {
        static const guesser who[] = {TEXT, TEXT, TEXT, TWIN, OTHER};
        const vd_engine_options tight = {.n_threads = 2, .kv_tokens = round == 0 ? 0 : 400,
                                         .ctx_tokens = 400, .max_running = 7, .step_tokens = 40};
        vd_engine *two = open_engine(tight, who[round], round != 2);
        for (uint32_t i = 0; i < WAYS; i++) {
            vd_request_options r = way(i);
            if (round == 0) {
                submit(one, i, &r, &plain[i]);
                run_all(one);
            }
            submit(two, i, &r, &guessed[i]);
        }
        run_all(two);
        for (size_t i = 0; i < WAYS; i++)
            assert_same(&plain[i], &guessed[i]);
        if (round == 1) /* some had to be computed again */
            assert_true(vd_engine_stats_get(two).n_prefill_tokens > WAYS * PROMPT);
        assert_int_equal(vd_engine_stats_get(two).kv_tokens_used, 0);
        /* What is in the cache now is right too. */
        vd_request_options r = way(0);
        submit(two, 0, &r, &guessed[0]);
        run_all(two);
        if (round == 0)
            assert_true(guessed[0].usage.cached_tokens > 0);
        assert_same(&plain[0], &guessed[0]);
        vd_engine_free(two);
    }
    vd_engine_free(one);
}

static void ends_where_it_ends_without(guesser who)
{
    vd_engine *one = open_engine((vd_engine_options){.n_threads = 1}, NOBODY, false);
    vd_engine *two = open_engine((vd_engine_options){.n_threads = 1}, who, true);
    static outcome plain, guessed;
    vd_request_options r = way(0);
    submit(one, 3, &r, &plain);
    run_all(one);
    char stops[40][8];
    /* Each length, and a stop string after each token. */
    for (size_t i = 1; i < 40; i += SANITIZED ? 6 : 1) {
        r = way(0);
        r.max_tokens = i;
        submit(one, 3, &r, &plain);
        submit(two, 3, &r, &guessed);
        run_all(one);
        run_all(two);
        assert_same(&plain, &guessed);
        assert_int_equal(guessed.n_ids, i);
        size_t n = VD_MIN(plain.n_text, (size_t)3), at = plain.n_text - n;
        while (n > 0 && ((unsigned char)plain.text[at] & 0xc0) == 0x80)
            at++, n--;
        if (n == 0)
            continue;
        memcpy(stops[i], plain.text + at, n);
        stops[i][n] = '\0';
        const char *stop = stops[i];
        r.max_tokens = 0;
        r.stop = &stop;
        r.n_stop = 1;
        submit(one, 3, &r, &plain);
        submit(two, 3, &r, &guessed);
        run_all(one);
        run_all(two);
        assert_int_equal(guessed.finish, VD_FINISH_STOP);
        assert_same(&plain, &guessed);
    }
    r = way(0);
    r.max_tokens = 0; /* to the end of the context */
    submit(one, 3, &r, &plain);
    submit(two, 3, &r, &guessed);
    run_all(one);
    run_all(two);
    assert_int_equal(guessed.usage.completion_tokens, 512 - PROMPT);
    assert_same(&plain, &guessed);
    /* An end token among the guesses: banned at first, wanted once penalties have grown. */
    const vd_logit_bias bias = {TINY_END, 6};
    r = way(6);
    r.ignore_end = false;
    r.max_tokens = 0;
    r.sampling.temperature = 0;
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    for (uint32_t i = 0; i < (SANITIZED ? 2 : 8); i++) {
        submit(one, i, &r, &plain);
        submit(two, i, &r, &guessed);
        run_all(one);
        run_all(two);
        assert_same(&plain, &guessed);
    }
    vd_engine_free(one);
    vd_engine_free(two);
}

static void an_answer_ends_where_it_ends_without_guesses(void **state)
{
    ends_where_it_ends_without(TEXT);
    ends_where_it_ends_without(TWIN);
}

/* ---- what is told ----------------------------------------------------------------------------*/

typedef struct told {
    vd_step_share announced[8], sum;
    size_t n_announced, n_ends_seen;
    const outcome *answer;
    bool under_way;
} told;

static void on_begin(void *ctx, const vd_step *step)
{
    told *t = ctx;
    assert_false(t->under_way);
    t->under_way = true;
    t->n_announced = step->n_share;
    memcpy(t->announced, step->share, step->n_share * sizeof(*step->share));
}

static void on_step(void *ctx, const vd_step *step)
{
    told *t = ctx;
    assert_true(t->under_way);
    t->under_way = false;
    assert_int_equal(step->n_share, t->n_announced);
    assert_int_equal(t->answer->n_ends, 0); /* the last event comes after its step was told */
    for (size_t i = 0; i < step->n_share; i++) {
        const vd_step_share *a = &t->announced[i], *b = &step->share[i];
        assert_true(a->request_id == b->request_id && a->n_prefill == b->n_prefill);
        assert_true(a->n_decode + a->n_rejected == b->n_decode + b->n_rejected);
        assert_true(a->n_kv_read == b->n_kv_read && b->n_decode >= a->n_decode);
        t->sum.n_prefill += b->n_prefill;
        t->sum.n_decode += b->n_decode;
        t->sum.n_rejected += b->n_rejected;
    }
}

static void taken_guesses_are_decoded_tokens_and_the_others_rejected_ones(void **state)
{
    static outcome o;
    told t = {.answer = &o};
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1}, TEXT, true);
    vd_engine_observe(e, &(vd_engine_observer){
                             .on_begin = on_begin, .on_step = on_step, .ctx = &t});
    for (uint32_t i = 0; i < WAYS; i++) {
        vd_request_options r = way(i);
        r.max_tokens = 60 + i;
        vd_engine_stats before = vd_engine_stats_get(e);
        t.sum = (vd_step_share){0};
        submit(e, i, &r, &o);
        run_all(e);
        vd_engine_stats after = vd_engine_stats_get(e);
        size_t n_taken = after.n_draft_taken - before.n_draft_taken;
        assert_int_equal(o.n_ids, 60 + i);
        assert_int_equal(t.sum.n_prefill + o.usage.cached_tokens, PROMPT);
        assert_int_equal(t.sum.n_decode, 60 + i - 1); /* as without guesses */
        assert_int_equal(t.sum.n_rejected,
                         after.n_draft_tokens - before.n_draft_tokens - n_taken);
        assert_int_equal(after.n_decode_tokens - before.n_decode_tokens, 60 + i - 1);
    }
    vd_engine_free(e);
}

static void who_is_cancelled_among_guesses_ends_at_once(void **state)
{
    static outcome o, other;
    bool worked;
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1}, TEXT, true);
    vd_request_options r = way(0);
    uint64_t id = submit(e, 1, &r, &o);
    submit(e, 2, &r, &other);
    for (int i = 0; i < 5; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    size_t n_ids = o.n_ids;
    vd_engine_cancel(e, id);
    run_all(e);
    assert_int_equal(o.finish, VD_FINISH_CANCELLED);
    assert_int_equal(o.n_ids, n_ids);
    assert_int_equal(o.usage.completion_tokens, n_ids);
    assert_int_equal(other.n_ids, ANSWER);
    assert_int_equal(vd_engine_stats_get(e).kv_tokens_used, 0);
    vd_engine_free(e);
}

static void allocates_nothing(guesser who)
{
    static outcome o[4];
    bool worked;
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 2}, who, true);
    for (uint32_t i = 0; i < 4; i++) {
        vd_request_options r = way(i + 2);
        submit(e, i, &r, &o[i]);
    }
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    uint64_t before = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 10; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    run_all(e);
    vd_engine_free(e);
}

static void a_step_with_guesses_allocates_nothing(void **state)
{
    allocates_nothing(TEXT);
    allocates_nothing(OTHER);
}

static void a_step_has_room_for_guesses_beside_a_token_of_each(void **state)
{
    static outcome o;
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1, .max_running = 4,
                                                   .step_tokens = 4}, TEXT, true);
    vd_request_options r = way(0);
    submit(e, 0, &r, &o);
    run_all(e);
    assert_true(o.usage.draft_tokens > 0);
    vd_engine_free(e);
}

static void every_failed_allocation_is_a_status(void **state)
{
    static outcome o;
    uint64_t live = vd_alloc_stats_get().n_live;
    const vd_engine_options options = {
        .n_threads = 1, .speculate = VD_SPECULATE_MODEL, .draft_path = other_path};
    bool answered = false;
    for (uint64_t k = 1; !answered && k < 4000; k++) {
        vd_engine *e = NULL;
        vd_alloc_fail_at(k);
        vd_status st = vd_engine_open(model_path, &options, &e, NULL);
        if (st == VD_OK) {
            int32_t prompt[3] = {1, 2, 3};
            uint64_t id;
            vd_request_options r = way(1);
            r.max_tokens = 5;
            r.prompt = prompt;
            r.n_prompt = 3;
            r.on_event = on_event;
            r.ctx = &o;
            o = (outcome){0};
            st = vd_engine_submit(e, &r, &id, NULL);
            if (st == VD_OK)
                run_all(e);
            answered = st == VD_OK && o.finish == VD_FINISH_LENGTH;
        }
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_engine_free(e);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_true(answered);
}

static void guesses_that_cannot_be_made_are_refused(void **state)
{
    vd_engine *e = NULL;
    vd_err err = {0};
    const vd_engine_options o = {.speculate = VD_SPECULATE_LOOKUP, .draft_tokens = 17};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "draft_tokens"));
    const vd_engine_options p = {.speculate = VD_SPECULATE_MODEL + 1};
    assert_int_equal(vd_engine_open(model_path, &p, &e, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "guess"));
}

/* ---- the guesses themselves ------------------------------------------------------------------*/

static void the_longest_agreement_wins_and_of_equal_ones_the_latest(void **state)
{
    const int32_t text[] = {1, 2, 3, 50, 9, 2, 3, 60, 2, 3, 70, 8, 1, 2, 3};
    vd_lookup l = vd_lookup_find(text, VD_COUNT(text));
    assert_int_equal(l.n_agree, 3);
    assert_int_equal(text[l.from], 50);
    l = vd_lookup_find(text + 1, VD_COUNT(text) - 1); /* without the 1 in front: two agree */
    assert_int_equal(l.n_agree, 2);
    assert_int_equal(text[1 + l.from], 70);
    assert_int_equal(vd_lookup_find(text, 4).n_agree, 0);
    assert_int_equal(vd_lookup_find(text, 1).n_agree, 0);
    assert_int_equal(vd_lookup_find(text, 0).n_agree, 0);
}

static void a_guess_beyond_the_end_goes_on_with_itself(void **state)
{
    int32_t text[20] = {7, 1, 2, 3, 1, 2, 3, 1, 2, 3};
    vd_lookup l = vd_lookup_find(text, 10);
    assert_int_equal(l.n_agree, 6); /* 1 2 3 1 2 3, three tokens before */
    vd_lookup_copy(&l, text, 10, 10);
    for (size_t i = 1; i < 20; i++)
        assert_int_equal(text[i], (i - 1) % 3 + 1);
}

static void chances_follow_what_was_right_lately_by_kind(void **state)
{
    vd_lookup_hits h = vd_lookup_hits_default();
    float before = vd_lookup_chance(&h, 2);
    for (int i = 0; i < 60; i++)
        vd_lookup_learn(&h, 1, false);
    for (int i = 0; i < 60; i++)
        vd_lookup_learn(&h, 5, true);
    assert_true(vd_lookup_chance(&h, 1) < 0.02f && vd_lookup_chance(&h, 7) > 0.98f);
    assert_true(vd_lookup_chance(&h, 2) == before && vd_lookup_chance(&h, 0) == 0);
    assert_true(vd_lookup_chance(&h, 8) == vd_lookup_chance(&h, 30));
}

int main(void)
{
    setenv("VERDANT_CPU", "c", 1); /* whose sums do not depend on the tokens of a step */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_sampling_gives_the_same_tokens_as_without_guesses),
        cmocka_unit_test(neighbours_preemption_and_the_cache_change_nothing),
        cmocka_unit_test(an_answer_ends_where_it_ends_without_guesses),
        cmocka_unit_test(taken_guesses_are_decoded_tokens_and_the_others_rejected_ones),
        cmocka_unit_test(who_is_cancelled_among_guesses_ends_at_once),
        cmocka_unit_test(a_step_with_guesses_allocates_nothing),
        cmocka_unit_test(a_step_has_room_for_guesses_beside_a_token_of_each),
        cmocka_unit_test(every_failed_allocation_is_a_status),
        cmocka_unit_test(guesses_that_cannot_be_made_are_refused),
        cmocka_unit_test(the_longest_agreement_wins_and_of_equal_ones_the_latest),
        cmocka_unit_test(a_guess_beyond_the_end_goes_on_with_itself),
        cmocka_unit_test(chances_follow_what_was_right_lately_by_kind),
    };
    if (SANITIZED_THREADS) /* the others have one */
        cmocka_set_test_filter("neighbours*");
    return cmocka_run_group_tests(tests, setup, teardown);
}
