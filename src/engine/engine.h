/*
 * engine.h (internal) - what the files of the engine share. The public side is verdant/engine.h.
 *
 *   submit ──► waiting ──admit──► running ──last event──► freed
 *                 ▲                  │
 *                 └────preempted─────┘   (no KV page left: the youngest goes back)
 *
 * Lock order: `lock` is the only lock. It guards the waiting queue, the counters and the closing
 * flags. `running` and all of a running request belong to the thread that steps; callbacks run on
 * that thread without the lock.
 */
#ifndef VD_ENGINE_ENGINE_H
#define VD_ENGINE_ENGINE_H

#include <pthread.h>
#include <verdant/engine.h>

#include "engine/observe.h"
#include "engine/pace.h"
#include "engine/request.h"
#include "model/forward.h"

typedef struct vd_queue {
    vd_request *head, *tail;
    size_t n;
} vd_queue;

/* Who reads which rows of logits: one, and one for each drafted token. */
typedef struct vd_sampled {
    vd_request *request;
    vd_step_share *share;
    size_t first_out, n_out;
} vd_sampled;

struct vd_engine {
    /* immutable after open */
    vd_engine_options options; /* with the defaults filled in */
    vd_pool *pool;
    vd_model *model;
    vd_tokenizer *tokenizer;
    char *chat_template; /* NULL where the model has none */
    char *name;
    vd_pooling pooling; /* of requests that do not say */
    bool pooling_known; /* not our guess */
    vd_engine_observer observer;

    /* of the stepping thread */
    vd_kv *kv;
    vd_forward *forward;
    vd_sampler *sampler;
    vd_queue running;
    vd_pace pace;
    vd_drafter *drafter;      /* NULL: no draft model */
    size_t draft_rows;        /* drafted tokens of one step at most */
    float *logits;            /* [max_running + draft_rows, V] */
    float *logits_before;     /* [V] a row before drawing changed it */
    int32_t *token;           /* [step_tokens] the batch */
    uint32_t *pos;            /* [step_tokens] */
    const vd_kv_seq **seq;    /* [step_tokens] */
    uint32_t *out;            /* [max_running + draft_rows] */
    vd_sampled *sampled;      /* [max_running] */
    size_t n_sampled;
    size_t n_answer;          /* tokens of this step that are answers' */
    float *embeddings;        /* [step_tokens, C] */
    uint32_t *embed;          /* [step_tokens] */
    vd_request **embedded;    /* [step_tokens] who takes in which row of embeddings */
    vd_request **pooled;      /* [max_running] whose last row is among them */
    size_t n_pooled;
    vd_step_share *share;     /* [max_running] */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* something to do, or closing */
    /* guarded by lock: */
    vd_queue waiting;
    vd_request **by_id; /* [max_running + max_waiting] all living requests, any order */
    size_t n_by_id;
    uint64_t next_id;
    vd_engine_stats stats;
    bool has_thread, stopping, draining, closed;
    pthread_t thread;
};

void vd_queue_push_back(vd_queue *queue, vd_request *request);
void vd_queue_push_front(vd_queue *queue, vd_request *request);
void vd_queue_remove(vd_queue *queue, vd_request *request);

#endif
