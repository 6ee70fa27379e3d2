/* workspace.c - the memory of a forward pass: one block, laid out once. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "model/pass.h"

enum { ALIGN = 64 };

/* Hands out pieces of one block, or counts their bytes while `base` is NULL. */
typedef struct carver {
    unsigned char *base;
    size_t used;
    bool overflow;
} carver;

static void *carve(carver *c, size_t n, size_t size)
{
    size_t bytes, begin = c->used;
    if (!vd_mul_size(n, size, &bytes) || !vd_align_size(bytes, ALIGN, &bytes) ||
        !vd_add_size(c->used, bytes, &c->used))
        c->overflow = true;
    return c->base != NULL ? c->base + begin : NULL;
}

/* What a mixture of experts needs besides. */
static void lay_out_routes(vd_forward *f, carver *c)
{
    const vd_hparams *hp = &f->model->hp;
    vd_routes *r = &f->routes;
    size_t t = f->max_tokens, n = hp->moe.n_experts, k = hp->moe.n_used;
    r->logit = carve(c, t, n * sizeof(*r->logit));
    r->expert = carve(c, t, k * sizeof(*r->expert));
    r->weight = carve(c, t, k * sizeof(*r->weight));
    r->shared_weight = carve(c, t, sizeof(*r->shared_weight));
    r->first = carve(c, n + 1, sizeof(*r->first));
    r->row_token = carve(c, t, k * sizeof(*r->row_token));
    r->row_weight = carve(c, t, k * sizeof(*r->row_weight));
    r->sum = carve(c, t, hp->n_embd * sizeof(*r->sum));
}

static void lay_out(vd_forward *f, carver *c)
{
    const vd_hparams *hp = &f->model->hp;
    const vd_moe_params *moe = &hp->moe;
    size_t t = f->max_tokens, r = VD_MAX(t, moe->n_used), fl = sizeof(float);
    size_t q_dim = hp->n_head * hp->head_dim, kv_dim = hp->n_kv_head * hp->head_dim;
    size_t n_ff = moe->n_experts == 0 ? hp->n_ff : VD_MAX(moe->n_ff, moe->n_ff_shared);
    size_t widest = VD_MAX(VD_MAX(hp->n_embd, n_ff), q_dim);
    f->x = carve(c, t, hp->n_embd * fl);
    /* What the products of one input read is no longer wanted when outputs are written. */
    f->h = f->y = carve(c, r, hp->n_embd * fl);
    carver attention = *c;
    f->q = carve(&attention, t, q_dim * fl);
    f->attn = carve(&attention, t, q_dim * fl);
    f->k = carve(&attention, t, kv_dim * fl);
    f->v = carve(&attention, t, kv_dim * fl);
    /* Attention is over when the feed-forward begins, but where they run in parallel. */
    carver feed_forward = hp->block.parallel ? attention : *c;
    f->gate = carve(&feed_forward, r, n_ff * fl);
    f->up = carve(&feed_forward, r, n_ff * fl);
    c->used = VD_MAX(attention.used, feed_forward.used);
    c->overflow = attention.overflow || feed_forward.overflow;
    f->angles = carve(c, t, hp->rope.n_rot * fl);
    f->angles_local = carve(c, t, hp->rope_local.n_rot * fl);
    f->n_kv = carve(c, t, sizeof(*f->n_kv));
    f->act = carve(c, 1, vd_act_bytes(r, widest));
    for (size_t i = 0; i < vd_pool_n_threads(f->pool); i++) {
        f->space[i].rows = carve(c, VD_PASS_PRIVATE_MAX, hp->n_embd * fl);
        f->space[i].act = carve(c, 1, vd_act_bytes(VD_PASS_PRIVATE_MAX, widest));
        f->space[i].scratch =
            carve(c, 1, vd_linear_scratch_bytes(f->model->kernels, widest));
        f->space[i].attn = carve(c, vd_attn_scratch(hp->head_dim), fl);
    }
    if (moe->n_experts > 0)
        lay_out_routes(f, c);
}

vd_status vd_forward_create(const vd_model *model, vd_kv *kv, vd_pool *pool, size_t max_tokens,
                            size_t ctx_tokens, vd_forward **ret_forward, vd_err *err)
{
    vd_forward *f = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*f), "the workspace", &f, err);
    if (st != VD_OK)
        return st;
    f->model = model;
    f->kv = kv;
    f->pool = pool;
    f->max_tokens = max_tokens;
    for (size_t i = 0; i < VD_PASS_CREWS; i++)
        vd_crew_init(&f->crew[i], vd_pool_n_threads(pool), false);
    atomic_init(&f->n_threads, vd_pool_n_threads(pool));
    bool beyond = model->rope_long.n_pairs != 0 && ctx_tokens > model->hp.rope.ctx_original;
    f->rope = beyond ? &model->rope_long : &model->rope;
    f->rope_local = &model->rope_local;
    st = vd_alloc_array(vd_pool_n_threads(pool), sizeof(*f->space), "thread spaces", &f->space,
                        err);
    if (st != VD_OK)
        goto out;
    carver count = {0};
    lay_out(f, &count);
    f->memory = count.overflow ? NULL : vd_alloc_aligned(count.used, ALIGN);
    if (f->memory == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a workspace of %zu tokens (%zu MiB)",
                     max_tokens, count.used >> 20);
        goto out;
    }
    carver place = {.base = f->memory};
    lay_out(f, &place);
    *ret_forward = f;
    f = NULL;
out:
    vd_forward_free(f);
    return st;
}

void vd_forward_free(vd_forward *forward)
{
    if (forward == NULL)
        return;
    vd_free(forward->memory);
    vd_free(forward->space);
    vd_free(forward);
}
