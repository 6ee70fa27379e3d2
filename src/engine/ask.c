/* ask.c - the simple way: one question, one answer. */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "engine/engine.h"
#include "text/prompt.h"

enum { DEFAULT_TOKENS = 256, ANSWER_BYTES_MAX = 64 << 20 };

typedef struct asking {
    vd_buf text;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    /* guarded by lock: */
    bool done;
    vd_finish finish;
    vd_status status;
} asking;

static void on_event(void *ctx, const vd_event *event)
{
    asking *a = ctx;
    vd_buf_append(&a->text, event->text, event->n_text);
    if (event->finish == VD_FINISH_NONE)
        return;
    pthread_mutex_lock(&a->lock);
    a->finish = event->finish;
    a->status = event->status;
    a->done = true;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
}

static vd_status make_prompt(const vd_engine *e, const char *question, int32_t **ret_ids,
                             size_t *ret_n, vd_err *err)
{
    vd_template *tmpl = NULL;
    const char *source = e->chat_template;
    if (source == NULL)
        source = vd_chat_fallback(e->tokenizer);
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", question);
    if (messages == NULL)
        return VD_FAIL(err, VD_ERR_ARG, "the question is not valid UTF-8, or memory is short");
    vd_status st = vd_template_parse(source, strlen(source), &tmpl, err);
    if (st == VD_OK)
        st = vd_chat_prompt(tmpl, e->tokenizer, messages, NULL, true, NULL, NULL, ret_ids, ret_n,
                            err);
    vd_template_free(tmpl);
    json_decref(messages);
    return st;
}

static vd_status wait_for_answer(vd_engine *e, asking *a, vd_err *err)
{
    pthread_mutex_lock(&e->lock);
    bool has_thread = e->has_thread;
    pthread_mutex_unlock(&e->lock);
    vd_status st = VD_OK;
    pthread_mutex_lock(&a->lock);
    while (!a->done && st == VD_OK) {
        if (has_thread) {
            pthread_cond_wait(&a->ended, &a->lock);
            continue;
        }
        bool worked = false;
        pthread_mutex_unlock(&a->lock);
        st = vd_engine_step(e, &worked, NULL);
        pthread_mutex_lock(&a->lock);
        if (st == VD_ERR_BUSY) { /* vd_engine_start was called meanwhile: its thread goes on */
            has_thread = true;
            st = VD_OK;
        }
    }
    if (st == VD_OK && a->finish == VD_FINISH_CANCELLED)
        st = VD_FAIL(err, VD_ERR_CANCELLED, "the answer was cancelled");
    else if (st == VD_OK && a->finish == VD_FINISH_ERROR)
        st = VD_FAIL(err, a->status, "the answer failed: %s", vd_finish_message(a->status));
    pthread_mutex_unlock(&a->lock);
    return st;
}

vd_status vd_engine_ask(vd_engine *e, const char *question, size_t max_tokens, char **ret_answer,
                        vd_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0;
    uint64_t id = 0;
    asking a = {0};
    vd_buf_init(&a.text, ANSWER_BYTES_MAX);
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.ended, NULL);
    vd_status st = make_prompt(e, question, &ids, &n, err);
    if (st != VD_OK)
        goto out;
    vd_request_options options = {.prompt = ids,
                                  .n_prompt = n,
                                  .max_tokens = max_tokens != 0 ? max_tokens : DEFAULT_TOKENS,
                                  .sampling = vd_sampling_default(),
                                  .on_event = on_event,
                                  .ctx = &a};
    options.sampling.temperature = 0;
    st = vd_engine_submit(e, &options, &id, err);
    if (st == VD_OK)
        st = wait_for_answer(e, &a, err);
    if (st == VD_OK)
        st = vd_buf_status(&a.text, "the answer", err);
    if (st != VD_OK)
        goto out;
    char *answer = vd_buf_take(&a.text);
    if (answer != NULL)
        *ret_answer = answer;
    else
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the answer");
out:
    vd_buf_done(&a.text);
    pthread_cond_destroy(&a.ended);
    pthread_mutex_destroy(&a.lock);
    vd_ids_free(ids);
    return st;
}
