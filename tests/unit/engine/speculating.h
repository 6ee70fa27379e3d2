/* speculating.h - engines with and without guesses over tiny models, and their answers compared:
 * what test_speculate and test_drafter share. */
#ifndef TESTS_SPECULATING_H
#define TESTS_SPECULATING_H

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

static inline void on_event(void *ctx, const vd_event *event)
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

static inline void assert_same(const outcome *a, const outcome *b)
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

static inline vd_engine *open_engine(vd_engine_options options, guesser who, bool always)
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
static inline void make_prompt(int32_t *prompt, uint32_t salt)
{
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)((i % (3 + salt % 5) * 31 + salt * 97) % 256);
}

static inline uint64_t submit(vd_engine *e, uint32_t salt, const vd_request_options *how,
                              outcome *o)
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

static inline void run_all(vd_engine *e)
{
    bool worked = true;
    for (int i = 0; worked && i < 100000; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_false(worked);
}

/* Every way of sampling: the i-th. 0 is greedy. */
static inline vd_request_options way(size_t i)
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

static inline int setup(void **state)
{
    snprintf(model_path, sizeof(model_path), "/tmp/verdant-speculate-%d.gguf", (int)getpid());
    snprintf(other_path, sizeof(other_path), "/tmp/verdant-drafter-%d.gguf", (int)getpid());
    tiny_write(model_path, 42, "llama");
    tiny_write(other_path, 43, "llama");
    return 0;
}

static inline int teardown(void **state)
{
    return unlink(model_path) | unlink(other_path);
}

#endif
