/*
 * attn.c - queries against the cached keys and values, one at a time, by online softmax (Milakov
 * and Gimelshein 2018): a running maximum, a running sum, and an accumulator that is scaled down
 * when the maximum grows. In double. The output is made in slices of 64 dimensions, whose
 * accumulator is on the stack; the logits are computed again for each slice.
 */
#include <math.h>

#include "base/checked.h"
#include "kernels/ref/ref.h"

enum { SLICE = 64, BLOCK_MAX = 32 };

static const unsigned char *row_at(const vd_attn *a, const unsigned char *base, size_t position)
{
    return base + (size_t)a->page[position / a->page_tokens] * a->page_stride +
           position % a->page_tokens * a->row_stride;
}

static double value_at(const vd_attn *a, const unsigned char *row, size_t i)
{
    const vd_dtype_info *type = vd_dtype_get((uint32_t)a->kv_dtype);
    float block[BLOCK_MAX];
    vd_dtype_decode(a->kv_dtype, row + i / type->block * type->bytes, block, type->block);
    return (double)block[i % type->block];
}

static void attend(const vd_attn *a, size_t i_q, size_t head, size_t begin, size_t end)
{
    const float *q = a->q + i_q * a->ld_q + head * a->head_dim;
    float *out = a->out + i_q * a->ld_q + head * a->head_dim;
    size_t first, end_kv;
    vd_attn_range(a, i_q, &first, &end_kv);
    double acc[SLICE] = {0}, most = -INFINITY, total = 0;
    for (size_t p = first; p < end_kv; p++) {
        const unsigned char *k = row_at(a, a->k_base, p), *v = row_at(a, a->v_base, p);
        double logit = 0;
        for (size_t i = 0; i < a->head_dim; i++)
            logit += (double)q[i] * value_at(a, k, i);
        logit *= (double)a->scale;
        if (a->softcap != 0)
            logit = (double)a->softcap * tanh(logit / (double)a->softcap);
        if (logit > most) {
            double shrink = exp(most - logit);
            total *= shrink;
            for (size_t i = begin; i < end; i++)
                acc[i - begin] *= shrink;
            most = logit;
        }
        double weight = exp(logit - most);
        total += weight;
        for (size_t i = begin; i < end; i++)
            acc[i - begin] += weight * value_at(a, v, i);
    }
    for (size_t i = begin; i < end; i++)
        out[i] = (float)(acc[i - begin] / total);
}

void vd_ref_attn(const vd_attn *args)
{
    size_t d = args->head_dim;
    for (size_t i = 0; i < args->n_q; i++)
        for (size_t g = 0; g < args->n_group; g++)
            for (size_t begin = 0; begin < d; begin += SLICE)
                attend(args, i, g, begin, VD_MIN(begin + SLICE, d));
}
