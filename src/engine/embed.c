/* embed.c - see embed.h. */
#include "engine/embed.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "engine/finish.h"

static const char *const names[] = {
    [VD_POOLING_MODEL] = "model", [VD_POOLING_NONE] = "none", [VD_POOLING_MEAN] = "mean",
    [VD_POOLING_CLS] = "cls",     [VD_POOLING_LAST] = "last", [VD_POOLING_RANK] = "rank",
};

const char *vd_pooling_name(vd_pooling pooling)
{
    return names[pooling];
}

bool vd_pooling_parse(const char *word, vd_pooling *ret_pooling)
{
    for (size_t i = VD_POOLING_NONE; i < VD_POOLING_RANK; i++) {
        if (strcmp(word, names[i]) == 0) {
            *ret_pooling = (vd_pooling)i;
            return true;
        }
    }
    return false;
}

vd_status vd_embed_check(const vd_engine *e, vd_request_options *o, vd_err *err)
{
    bool encoder = e->model->hp.block.encoder;
    if (!o->embed && encoder)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder: it makes embeddings, no text",
                       e->model->arch->name);
    if (!o->embed)
        return VD_OK;
    if (o->pooling == VD_POOLING_MODEL)
        o->pooling = e->pooling;
    if (o->pooling < VD_POOLING_NONE || o->pooling > VD_POOLING_RANK)
        return VD_FAIL(err, VD_ERR_ARG, "there is no pooling %d", (int)o->pooling);
    if (o->pooling == VD_POOLING_RANK)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "the model's pooling is rank: it scores pairs of texts, and we lack that; "
                       "none, mean, cls and last there are");
    return VD_OK;
}

bool vd_embed_wants(const vd_request *r, size_t pos)
{
    switch (r->options.pooling) {
    case VD_POOLING_CLS:
        return pos == 0;
    case VD_POOLING_LAST:
        return pos + 1 == r->n_prompt;
    default:
        return true;
    }
}

void vd_embed_add(vd_request *r, const float *row)
{
    vd_embedding *x = &r->embedding;
    if (r->options.pooling == VD_POOLING_MEAN)
        for (size_t i = 0; i < x->n; i++)
            x->sum[i] += row[i];
    else
        memcpy(x->vector + x->n_rows * x->n, row, x->n * sizeof(float));
    x->n_rows++;
}

/* Brings v[n] to length 1, or leaves it; false where it is no direction: not finite, or zero. */
static bool settle(float *v, size_t n, bool normalize)
{
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)v[i] * v[i];
    if (!isfinite(square) || square == 0)
        return false;
    double scale = 1 / sqrt(square);
    for (size_t i = 0; normalize && i < n; i++)
        v[i] = (float)(v[i] * scale);
    return true;
}

void vd_embed_finish(vd_engine *e, vd_request *r)
{
    vd_embedding *x = &r->embedding;
    bool normalize = !r->options.no_normalize, good = true;
    if (r->options.pooling == VD_POOLING_MEAN) {
        for (size_t i = 0; i < x->n; i++)
            x->vector[i] = (float)(x->sum[i] / (double)x->n_rows);
        x->n_rows = 1;
    }
    for (size_t i = 0; i < x->n_rows; i++)
        good = settle(x->vector + i * x->n, x->n, normalize) && good;
    vd_queue_remove(&e->running, r);
    if (atomic_load_explicit(&r->cancelled, memory_order_acquire))
        vd_finish_request(e, r, VD_FINISH_CANCELLED, VD_OK);
    else if (!good)
        vd_finish_request(e, r, VD_FINISH_ERROR, VD_ERR_FORMAT);
    else
        vd_finish_request(e, r, VD_FINISH_STOP, VD_OK);
}
