/* test_drafter.c - the second model that guesses: what it reads and when, what is told of it, and
 * which files are none. That its guesses change no answer is in test_speculate. */
#include "engine/speculating.h"

#include "engine/engine.h"

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

/* 24 tokens are few enough to guess behind, but no step of 9 takes them at once. */
static void a_drafter_catches_up_where_steps_are_short(void **state)
{
    static outcome o;
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1, .max_running = 1,
                                                   .step_tokens = 9}, TWIN, true);
    vd_request_options r = way(0);
    submit(e, 0, &r, &o);
    run_all(e);
    assert_int_equal(o.n_ids, ANSWER);
    assert_true(o.usage.draft_taken > ANSWER / 2);
    vd_engine_free(e);
}

/* Pieces are short where others wait for the step. */
static void a_drafter_reads_shorter_pieces_where_others_answer(void **state)
{
    static outcome o, others[3];
    int32_t prompt[400];
    uint64_t id;
    bool worked;
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1}, TWIN, true);
    vd_request_options r = way(0);
    for (size_t i = 0; i < VD_COUNT(prompt); i++)
        prompt[i] = (int32_t)((i * 31 + i * i % 13) % 256);
    r.prompt = prompt;
    r.n_prompt = VD_COUNT(prompt);
    r.on_event = on_event;
    r.ctx = &o;
    o = (outcome){0};
    assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK); /* the prompt */
    const vd_drafter_seq *seq = &e->running.head->drafter;
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(seq->n_computed, 128); /* it is alone */
    for (uint32_t i = 0; i < VD_COUNT(others); i++)
        submit(e, i, &r, &others[i]);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK); /* they are read, and answer */
    assert_int_equal(seq->n_computed, 256);
    /* As if answers alone took more than a step may. */
    e->pace = (vd_pace){0};
    vd_pace_learn(&e->pace, 4, 0, (uint64_t)e->options.step_ms * 2000000);
    assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    assert_int_equal(seq->n_computed, 256 + 32);
    run_all(e);
    assert_int_equal(o.n_ids, ANSWER);
    assert_true(o.usage.draft_taken > 0);
    vd_engine_free(e);
}

/* Embeddings are often padded, each model's to another number of rows, and such tokens can be
 * drawn. A drafter without such a row reads token 0: its guesses behind the first, which was wrong,
 * show it. */
static void a_token_that_a_drafter_has_no_row_for_is_none_to_it(void **state)
{
    enum { LAST = 4 * TINY_V - 1 };
    static outcome o;
    const int32_t prompt[] = {1, LAST, 3, LAST}, its_own[] = {1, 0, 3, 0, 0};
    const vd_logit_bias bias = {LAST, 100};
    char path[] = "/tmp/verdant-test-XXXXXX";
    vd_engine *e = NULL;
    uint64_t id;
    bool worked;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_write_rows(path, 42, "llama", LAST + 1);
    vd_engine_options options = {.n_threads = 1, .draft_always = true, .draft_path = other_path,
                                 .speculate = VD_SPECULATE_MODEL};
    vd_status st = vd_engine_open(path, &options, &e, NULL);
    unlink(path);
    assert_int_equal(st, VD_OK);
    vd_request_options r = way(0);
    r.prompt = prompt;
    r.n_prompt = VD_COUNT(prompt);
    r.sampling.bias = &bias;
    r.sampling.n_bias = 1;
    r.on_event = on_event;
    r.ctx = &o;
    o = (outcome){0};
    assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(vd_engine_step(e, &worked, NULL), VD_OK);
    int32_t guess[8];
    memcpy(guess, e->running.head->token + VD_COUNT(its_own), sizeof(guess));
    assert_int_equal(guess[0], LAST); /* as it was drawn */
    run_all(e);
    assert_int_equal(o.n_ids, ANSWER);
    vd_engine_free(e);

    options = (vd_engine_options){.n_threads = 1};
    assert_int_equal(vd_engine_open(other_path, &options, &e, NULL), VD_OK);
    r.prompt = its_own;
    r.n_prompt = VD_COUNT(its_own);
    r.sampling.n_bias = 0;
    o = (outcome){0};
    assert_int_equal(vd_engine_submit(e, &r, &id, NULL), VD_OK);
    run_all(e);
    vd_engine_free(e);
    assert_memory_equal(guess + 1, o.ids + 1, sizeof(guess) - sizeof(*guess));
}

static void what_a_drafter_keeps_in_memory_is_told(void **state)
{
    vd_engine *e = open_engine((vd_engine_options){.n_threads = 1}, TWIN, false);
    vd_engine_info info = vd_engine_info_get(e);
    assert_true(info.weight_bytes > 0 && info.draft_weight_bytes == info.weight_bytes);
    assert_true(info.kv_bytes > 0 && info.draft_kv_bytes == info.kv_bytes);
    vd_engine_free(e);
    e = open_engine((vd_engine_options){.n_threads = 1}, TEXT, false);
    info = vd_engine_info_get(e);
    assert_true(info.draft_weight_bytes == 0 && info.draft_kv_bytes == 0);
    vd_engine_free(e);
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
    static const char other[] = {'\033', 'v', '\xff'};
    if (at != NULL)
        memcpy(at + 2, other, sizeof(other));
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    vd_engine_options o = {
        .n_threads = 1, .speculate = VD_SPECULATE_MODEL, .draft_path = path};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "token 257"));
    assert_non_null(strstr(err.message, "'<|\\x1bv\\xffr|>', the model's is '<|user|>'"));
    tiny_write_rows(path, 5, "llama", 4 * TINY_V); /* padding that the vocabulary does not name */
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_OK);
    vd_engine_free(e);
    unlink(path);
    e = NULL;
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_NOT_FOUND);
    at = strstr(err.message, path); /* named, and once */
    assert_true(at != NULL && strstr(at + 1, path) == NULL);
    o.draft_path = NULL;
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
    o = (vd_engine_options){.speculate = VD_SPECULATE_LOOKUP, .draft_path = other_path};
    assert_int_equal(vd_engine_open(model_path, &o, &e, &err), VD_ERR_ARG);
}

int main(void)
{
    setenv("VERDANT_CPU", "c", 1); /* whose sums do not depend on the tokens of a step */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_twin_is_always_right),
        cmocka_unit_test(a_drafter_reads_a_long_prompt_in_pieces_and_then_guesses),
        cmocka_unit_test(a_drafter_catches_up_where_steps_are_short),
        cmocka_unit_test(a_drafter_reads_shorter_pieces_where_others_answer),
        cmocka_unit_test(a_token_that_a_drafter_has_no_row_for_is_none_to_it),
        cmocka_unit_test(what_a_drafter_keeps_in_memory_is_told),
        cmocka_unit_test(a_drafter_must_have_the_same_vocabulary),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
