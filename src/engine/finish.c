/* finish.c - see finish.h. */
#include "engine/finish.h"

#include <string.h>

#include "base/clock.h"

static void forget_id(vd_engine *e, vd_request *r, vd_finish finish)
{
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < e->n_by_id; i++) {
        if (e->by_id[i] == r) {
            e->by_id[i] = e->by_id[--e->n_by_id];
            break;
        }
    }
    e->stats.n_running = e->running.n;
    e->stats.kv_tokens_used = vd_kv_tokens_used(e->kv);
    e->stats.n_cached_tokens += r->n_cached;
    if (finish == VD_FINISH_CANCELLED)
        e->stats.n_cancelled++;
    else if (finish == VD_FINISH_ERROR)
        e->stats.n_failed++;
    else
        e->stats.n_finished++;
    pthread_mutex_unlock(&e->lock);
}

const char *vd_finish_message(vd_status status)
{
    if (status == VD_ERR_FORMAT)
        return "the model computes what is no number (NaN): its weights are damaged, or its values "
               "are too large";
    return vd_status_message(status);
}

void vd_finish_request(vd_engine *e, vd_request *r, vd_finish finish, vd_status status)
{
    uint64_t now = vd_now_ns();
    uint64_t started = r->started ? r->started_ns : now;
    uint64_t first = r->first_token_ns != 0 ? r->first_token_ns : now;
    vd_usage usage = {
        .prompt_tokens = r->n_prompt,
        .cached_tokens = r->n_cached,
        .completion_tokens = r->n_tokens - r->n_prompt,
        .draft_tokens = r->n_drafted,
        .draft_taken = r->n_taken,
        .queued_ns = started - r->submitted_ns,
        .prefill_ns = first - started,
        .decode_ns = now - first,
    };
    vd_event event = {
        .request_id = r->id, .token = -1, .text = "", .finish = finish, .status = status,
        .usage = &usage,
    };
    if (r->options.embed && finish == VD_FINISH_STOP) {
        event.embedding = r->embedding.vector;
        event.n_embedding = r->embedding.n_rows * r->embedding.n;
    } else if (r->started && (finish == VD_FINISH_STOP || finish == VD_FINISH_LENGTH)) {
        vd_text_stream_flush(&r->text, &event.text, &event.n_text, NULL);
    }
    /* Pages go back and the id is forgotten first: whoever hears of the end may submit again. */
    if (r->started)
        vd_kv_seq_reset(e->kv, &r->kv);
    vd_drafter_seq_reset(&r->drafter);
    forget_id(e, r, finish);
    r->options.on_event(r->options.ctx, &event);
    vd_request_free(r, e->kv);
}

void vd_finish_ended(vd_engine *e, vd_request *r)
{
    if (r->ending == VD_FINISH_NONE)
        return;
    vd_queue_remove(&e->running, r);
    vd_finish_request(e, r, r->ending, r->ending_status);
}

static bool ends(vd_request *r, vd_finish finish, vd_status status)
{
    r->ending = finish;
    r->ending_status = status;
    return false;
}

bool vd_finish_token(vd_engine *e, vd_request *r, float *logits)
{
    const vd_request_options *o = &r->options;
    vd_event event = {.request_id = r->id, .text = "", .n_top = o->n_top, .top = r->top};
    if (atomic_load_explicit(&r->cancelled, memory_order_acquire))
        return ends(r, VD_FINISH_CANCELLED, VD_OK);
    bool logprobs = o->want_logprobs || o->n_top > 0;
    size_t n_vocab = e->model->hp.n_vocab;
    if (logprobs) /* drawing changes the row; logprobs are of the unmodified one */
        memcpy(e->logits_before, logits, n_vocab * sizeof(float));
    int32_t token = vd_sampler_draw(e->sampler, &o->sampling, &r->counts,
                                    r->n_tokens - r->n_prompt, logits);
    if (token < 0)
        return ends(r, VD_FINISH_ERROR, VD_ERR_FORMAT);
    if (r->first_token_ns == 0)
        r->first_token_ns = vd_now_ns();
    vd_request_append(r, token);
    if (vd_tokenizer_is_end(e->tokenizer, token) && !o->ignore_end)
        return ends(r, VD_FINISH_STOP, VD_OK);
    if (logprobs)
        event.logprob =
            vd_sampler_logprob(e->sampler, e->logits_before, token, o->n_top, r->top);
    bool stopped = false;
    event.token = token;
    vd_text_stream_push(&r->text, token, &event.text, &event.n_text, &stopped);
    o->on_event(o->ctx, &event);
    if (stopped)
        return ends(r, VD_FINISH_STOP, VD_OK);
    if (r->n_tokens >= r->n_limit)
        return ends(r, VD_FINISH_LENGTH, VD_OK);
    return true;
}
