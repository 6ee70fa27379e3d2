/* batch.c - see batch.h and, for the policy, scheduler.c. */
#include "engine/batch.h"

#include "base/checked.h"
#include "engine/draft.h"
#include "engine/embed.h"
#include "engine/finish.h"
#include "engine/scheduler.h"

/* Shorter pieces of a prompt cost too much per token, since all weights are read for each; how
 * short that is depends on the machine. */
enum { CHUNK_MIN = 32, CHUNK_MIN_MOST = 128 };

/* What is being filled. */
typedef struct building {
    vd_engine *e;
    vd_batch *batch;
    size_t n_share;
} building;

static void preempt(vd_engine *e, vd_request *r)
{
    vd_queue_remove(&e->running, r);
    vd_kv_seq_reset(e->kv, &r->kv);
    vd_request_rewind(r);
    vd_scheduler_put_back(e, r);
}

/* Room for r's next token, at the cost of younger requests. False when r itself had to go. */
static bool reserve_next(vd_engine *e, vd_request *r)
{
    while (!vd_kv_seq_reserve(e->kv, &r->kv, r->n_tokens)) {
        vd_request *youngest = e->running.tail;
        if (youngest == r && e->running.n == 1) {
            vd_queue_remove(&e->running, r);
            vd_finish_request(e, r, VD_FINISH_LENGTH, VD_OK);
            return false;
        }
        preempt(e, youngest);
        if (youngest == r)
            return false;
    }
    return true;
}

/* What of these tokens the request wants when the pass is done: logits of the last one and of the
 * drafts behind it, or embeddings. */
static void want_outputs(building *b, vd_request *r, vd_step_share *share, size_t first_row,
                         size_t n)
{
    vd_engine *e = b->e;
    size_t pos = r->n_computed - n, n_out = 1 + r->n_draft;
    bool complete = r->n_computed >= r->n_tokens;
    for (size_t i = 0; r->options.embed && i < n; i++) {
        if (vd_embed_wants(r, pos + i)) {
            e->embedded[b->batch->n_embed] = r;
            e->embed[b->batch->n_embed++] = (uint32_t)(first_row + i);
        }
    }
    if (complete && r->options.embed) {
        e->pooled[e->n_pooled++] = r;
    } else if (complete) {
        e->sampled[e->n_sampled++] = (vd_sampled){
            .request = r, .share = share, .first_out = b->batch->n_out, .n_out = n_out};
        for (size_t i = n - n_out; i < n; i++)
            e->out[b->batch->n_out++] = (uint32_t)(first_row + i);
    }
}

/* Adds the request's next n tokens to the batch, drafts among them. */
static void add_tokens(building *b, vd_request *r, size_t n)
{
    vd_engine *e = b->e;
    vd_step_share *share = &e->share[b->n_share++];
    size_t first_row = b->batch->n_tokens;
    bool encoder = e->model->hp.block.encoder;
    *share = (vd_step_share){.request_id = r->id};
    for (size_t i = 0; i < n; i++) {
        size_t row = b->batch->n_tokens++, pos = r->n_computed + i;
        e->token[row] = r->token[pos];
        e->pos[row] = (uint32_t)pos;
        e->seq[row] = &r->kv;
        share->n_kv_read += encoder ? n : pos + 1;
        if (pos < r->n_prompt)
            share->n_prefill++;
        else if (pos < r->n_tokens)
            share->n_decode++;
        else
            share->n_rejected++; /* until it is known to be right */
    }
    r->n_computed += n;
    want_outputs(b, r, share, first_row, n);
}

static bool is_answering(const vd_request *r)
{
    return r->n_tokens - r->n_computed == 1;
}

/* One token of each who answers, and what is guessed to follow it. */
static void add_answers(building *b)
{
    vd_engine *e = b->e;
    vd_draft_plan plan = {.n_free = e->draft_rows};
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        if (!is_answering(r))
            continue;
        if (!reserve_next(e, r)) /* may send away those behind r, so r->next is read after */
            break;               /* r was the youngest; nobody stands behind it */
        plan.n_rows++;
    }
    plan.expected = (double)plan.n_rows;
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        if (!is_answering(r))
            continue;
        if (e->options.speculate != VD_SPECULATE_OFF && r->n_tokens > r->n_prompt)
            vd_draft_make(e, r, &plan);
        add_tokens(b, r, 1 + r->n_draft);
    }
    e->n_answer = b->batch->n_tokens;
}

/* Tokens of prompts that this step may read. Who answers waits for all of them. */
static size_t prompt_room(const vd_engine *e)
{
    size_t room = e->options.step_tokens - e->n_answer;
    if (e->n_answer == 0 || e->model->hp.block.encoder)
        return room;
    size_t least = vd_pace_efficient_chunk(&e->pace, CHUNK_MIN, CHUNK_MIN_MOST);
    return vd_pace_chunk(&e->pace, e->n_answer, (double)e->options.step_ms * 1e6, least, room);
}

/* Chunks of prompts fill the rest of the step. */
static void add_prompts(building *b)
{
    vd_engine *e = b->e;
    size_t end = b->batch->n_tokens + prompt_room(e);
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        if (r->n_computed >= r->n_tokens) /* it answers, and is in the step */
            continue;
        size_t n_left = r->n_tokens - r->n_computed;
        size_t n_free = end - b->batch->n_tokens;
        if (e->model->hp.block.encoder && n_left > n_free)
            continue;
        if (n_free > 0 && b->n_share < e->options.max_running)
            add_tokens(b, r, VD_MIN(n_left, n_free));
    }
}

void vd_batch_take_drafts(vd_engine *e)
{
    for (size_t i = 0; i < e->n_sampled; i++) {
        const vd_sampled *s = &e->sampled[i];
        size_t first_row = e->out[s->first_out];
        for (size_t k = 1; k < s->n_out; k++)
            e->token[first_row + k] = s->request->token[s->request->n_tokens + k - 1];
    }
}

size_t vd_batch_build(vd_engine *e, vd_batch *ret_batch)
{
    building b = {.e = e, .batch = ret_batch};
    *ret_batch = (vd_batch){.token = e->token, .pos = e->pos, .seq = e->seq, .out = e->out,
                            .logits = e->logits, .embed = e->embed, .embeddings = e->embeddings};
    e->n_pooled = e->n_sampled = 0;
    add_answers(&b);
    add_prompts(&b);
    return b.n_share;
}
