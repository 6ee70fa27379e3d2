/* test_speculate.c - guessed tokens change nothing but the time: the same tokens, texts, logprobs
 * and usage as without them, for every way of sampling, with neighbours, preemption and a cache;
 * and what they cost is told. */
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
#include "engine/lookup.h"
#include "engine/observe.h"
#include "tiny_model.h"

enum { IDS_MAX = 512, TEXT_MAX = 2048, PROMPT = 24, ANSWER = 64 };

static char model_path[64], other_path[64];

/* Who guesses: nobody, the text itself, the same model once more, another model. */
typedef enum guesser { NOBODY, TEXT, TWIN, OTHER, GUESSERS } guesser;

typedef struct outcome {
    int32_t ids[IDS_MAX];
    size_t n_ids, n_ends, n_text;
    char text[TEXT_MAX];
    float logprob[IDS_MAX];
    vd_top_token top[IDS_MAX];
    vd_finish finish;
    vd_usage usage;
} outcome;

static void on_event(void *ctx, const vd_event *event)
{
    outcome *o = ctx;
    assert_true(o->n_ends == 0 && o->n_text + event->n_text < TEXT_MAX);
    memcpy(o->text + o->n_text, event->text, event->n_text);
    o->n_text += event->n_text;
    if (event->token >= 0) {
        assert_true(o->n_ids < IDS_MAX);
        o->logprob[o->n_ids] = event->logprob;
        if (event->n_top > 0)
            o->top[o->n_ids] = event->top[event->n_top - 1];
        o->ids[o->n_ids++] = event->token;
    }
    if (event->finish == VD_FINISH_NONE)
        return;
    o->n_ends++;
    o->finish = event->finish;
    o->usage = *event->usage;
}

static void assert_same(const outcome *a, const outcome *b)
{
    assert_int_equal(a->n_ends, 1);
    assert_int_equal(b->n_ends, 1);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, a->n_ids * sizeof(*a->ids));
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->usage.completion_tokens, b->usage.completion_tokens);
    assert_memory_equal(a->logprob, b->logprob, a->n_ids * sizeof(*a->logprob));
    assert_memory_equal(a->top, b->top, a->n_ids * sizeof(*a->top));
}

static vd_engine *open_engine(vd_engine_options options, guesser who, bool always)
{
    static const vd_speculate speculate[] = {VD_SPECULATE_OFF, VD_SPECULATE_LOOKUP,
                                             VD_SPECULATE_MODEL, VD_SPECULATE_MODEL};
    const char *const draft[] = {NULL, NULL, model_path, other_path};
    vd_engine *e = NULL;
    vd_err err = {0};
    options.speculate = speculate[who];
    options.draft_path = draft[who];
    options.draft_always = always;
    if (vd_engine_open(model_path, &options, &e, &err) != VD_OK)
        fail_msg("%s", err.message);
    return e;
}

/* A prompt with a part that comes again and again. */
static void make_prompt(int32_t *prompt, uint32_t salt)
{
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)((i % (3 + salt % 5) * 31 + salt * 97) % 256);
}

static uint64_t submit(vd_engine *e, uint32_t salt, const vd_request_options *how, outcome *o)
{
    int32_t prompt[PROMPT];
    uint64_t id = 0;
    vd_err err = {0};
    make_prompt(prompt, salt);
    vd_request_options r = *how;
    r.prompt = prompt;
    r.n_prompt = PROMPT;
    r.on_event = on_event;
    r.ctx = o;
    *o = (outcome){0};
    if (vd_engine_submit(e, &r, &id, &err) != VD_OK)
        fail_msg("%s", err.message);
    return id;
}

static void run_all(vd_engine *e)
{
    bool worked = true;
    for (int i = 0; worked && i < 100000; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_false(worked);
}

/* Every way of sampling: the i-th. 0 is greedy. */
static vd_request_options way(size_t i)
{
    static const vd_logit_bias bias[] = {{7, -100}, {65, 2}, {66, 1.5f}};
    vd_request_options r = {.max_tokens = ANSWER, .sampling = vd_sampling_default(),
                            .ignore_end = true, .want_logprobs = true, .n_top = 3};
    vd_sampling *s = &r.sampling;
    s->seed = 11 + i;
    s->temperature = i == 0 ? 0 : i % 2 != 0 ? 0.2f : 0.8f; /* low ones repeat themselves */
    s->top_k = i == 1 || i == 9 ? 5 : 0;
    s->top_p = i == 2 || i == 9 ? 0.7f : 1;
    s->min_p = i == 3 || i == 9 ? 0.1f : 0;
    s->typical_p = i == 4 || i == 9 ? 0.8f : 1;
    s->repetition_penalty = i == 5 || i == 9 ? 1.05f : 1;
    s->frequency_penalty = i == 6 || i == 9 ? 0.05f : 0;
    s->presence_penalty = i == 7 || i == 9 ? 0.2f : 0;
    if (i == 8 || i == 9) {
        s->bias = bias;
        s->n_bias = VD_COUNT(bias);
    }
    return r;
}
enum { WAYS = 10 };

static void every_way_of_sampling_gives_the_same_tokens_as_without_guesses(void **state)
{
    static outcome plain, guessed;
    for (int k = 0; k < 2 * (GUESSERS - 1); k++) {
        bool always = k % 2 == 0;
        vd_engine *one = open_engine((vd_engine_options){.n_threads = 1}, NOBODY, false);
        vd_engine *two =
            open_engine((vd_engine_options){.n_threads = 1}, (guesser)(1 + k / 2), always);
        for (uint32_t i = 0; i < WAYS; i++) {
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
    for (size_t i = 1; i < 40; i++) { /* each length, and a stop string after each token */
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
    for (uint32_t i = 0; i < 8; i++) {
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

/* The same model with the same random numbers: what it guesses is what is drawn. Penalties are not
 * the drafter's. */
static void a_twin_is_always_right(void **state)
{
    static outcome o;
    for (uint32_t i = 0; i < WAYS; i++) {
        vd_request_options r = way(i);
        const vd_sampling *s = &r.sampling;
        if (s->repetition_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0)
            continue;
        vd_engine *e = open_engine((vd_engine_options){.n_threads = 1}, TWIN, true);
        submit(e, i, &r, &o);
        run_all(e);
        assert_int_equal(o.n_ids, ANSWER);
        /* One token from the prompt, then nine of a step; the last draft has no use. */
        assert_true(o.usage.draft_tokens - o.usage.draft_taken <= 8);
        assert_true(vd_engine_stats_get(e).n_steps <= 1 + ANSWER / 9 + 1);
        vd_engine_free(e);
    }
}

static void a_drafter_reads_a_long_prompt_in_pieces_and_then_guesses(void **state)
{
    static outcome plain, guessed;
    int32_t prompt[400];
    uint64_t id;
    for (size_t i = 0; i < VD_COUNT(prompt); i++)
        prompt[i] = (int32_t)((i * 31 + i * i % 13) % 256);
    for (int k = 0; k < 2; k++) {
        outcome *o = k == 0 ? &plain : &guessed;
        vd_engine *e =
            open_engine((vd_engine_options){.n_threads = 1}, k == 0 ? NOBODY : TWIN, true);
        vd_request_options r = way(0);
        r.prompt = prompt;
        r.n_prompt = VD_COUNT(prompt);
        r.max_tokens = 60;
        r.on_event = on_event;
        r.ctx = o;
        *o = (outcome){0};
        assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
        run_all(e);
        vd_engine_free(e);
    }
    assert_same(&plain, &guessed);
    assert_true(guessed.usage.draft_taken > 40);
}

/* The other model's file with one letter of its vocabulary changed, or some rows more. */
static void a_drafter_must_have_the_same_vocabulary(void **state)
{
    char path[] = "/tmp/verdant-test-XXXXXX";
    static char bytes[1 << 20];
    vd_engine *e = NULL;
    vd_err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    FILE *f = fopen(other_path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    char *at = memmem(bytes, n, "<|user|>", 8); /* the chat template has it first */
    at = at != NULL ? memmem(at + 8, n - (size_t)(at + 8 - bytes), "<|user|>", 8) : NULL;
    assert_non_null(at);
    if (at != NULL)
        at[3] = 'v';
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    vd_engine_options o = {
        .n_threads = 1, .speculate = VD_SPECULATE_MODEL, .draft_path = path};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "token 257"));
    assert_non_null(strstr(err.message, "<|uver|>"));
    tiny_write_rows(path, 5, "llama", 4 * TINY_V); /* padding that the vocabulary does not name */
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_OK);
    vd_engine_free(e);
    unlink(path);
    e = NULL;
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_NOT_FOUND);
    o.draft_path = NULL;
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
    o = (vd_engine_options){.speculate = VD_SPECULATE_LOOKUP, .draft_path = other_path};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
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

static void too_many_guesses_are_refused(void **state)
{
    vd_engine *e = NULL;
    vd_err err = {0};
    const vd_engine_options o = {.speculate = VD_SPECULATE_LOOKUP, .draft_tokens = 17};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "draft_tokens"));
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

static int setup(void **state)
{
    snprintf(model_path, sizeof(model_path), "/tmp/verdant-speculate-%d.gguf", (int)getpid());
    snprintf(other_path, sizeof(other_path), "/tmp/verdant-drafter-%d.gguf", (int)getpid());
    tiny_write(model_path, 42, "llama");
    tiny_write(other_path, 43, "llama");
    return 0;
}

static int teardown(void **state)
{
    return unlink(model_path) | unlink(other_path);
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
        cmocka_unit_test(a_twin_is_always_right),
        cmocka_unit_test(a_drafter_reads_a_long_prompt_in_pieces_and_then_guesses),
        cmocka_unit_test(a_drafter_must_have_the_same_vocabulary),
        cmocka_unit_test(every_failed_allocation_is_a_status),
        cmocka_unit_test(too_many_guesses_are_refused),
        cmocka_unit_test(the_longest_agreement_wins_and_of_equal_ones_the_latest),
        cmocka_unit_test(a_guess_beyond_the_end_goes_on_with_itself),
        cmocka_unit_test(chances_follow_what_was_right_lately_by_kind),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
