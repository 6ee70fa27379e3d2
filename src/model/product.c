/* product.c - inputs, products and residuals of a pass; see pass.h. */
#include "model/pass.h"

#include <string.h>

#include "base/checked.h"

void vd_pass_norm_row(const vd_worker *w, const vd_norm *norm, const float *x, float *out,
                      size_t n)
{
    const vd_hparams *hp = &w->m->hp;
    if (hp->block.norm == VD_NORM_RMS)
        w->kn->rms_norm(x, norm->weight, hp->norm_eps, out, n);
    else
        w->kn->layer_norm(x, norm->weight, norm->bias, hp->norm_eps, out, n);
}

vd_width vd_pass_width(const vd_worker *w)
{
    size_t most = w->pass->one_each ? VD_PASS_FEW_MAX : VD_PASS_SHORT_MAX;
    return w->n_tokens <= most ? VD_WIDTH_WIDE : VD_WIDTH_NARROW;
}

static vd_act make_input(vd_worker *w, const float *x, const uint32_t *pick, size_t n,
                         size_t width, const vd_norm *norm, vd_width bits, bool parts)
{
    vd_forward *f = w->f;
    vd_act act;
    bool private = n <= VD_PASS_PRIVATE_MAX;
    bool normed = norm != NULL && norm->weight != NULL;
    float *h = private ? w->space->rows : f->h;
    size_t begin = 0, end = n;
    if (!private)
        vd_pool_range(n, 1, w->thread, w->n_threads, &begin, &end);
    (parts ? vd_act_bind_parts : vd_act_bind)(w->kn, w->m->precision, &act,
                                              private ? w->space->act : f->act,
                                              normed || pick != NULL ? h : x, n, width, width,
                                              bits == VD_WIDTH_WIDE);
    for (size_t t = begin; t < end; t++) { /* row by row: what was normalized is in the L1 cache */
        const float *row = x + (pick != NULL ? pick[t] : t) * width;
        if (normed)
            vd_pass_norm_row(w, norm, row, h + t * width, width);
        else if (pick != NULL)
            memcpy(h + t * width, row, width * sizeof(float));
        vd_act_quantize(w->kn, w->m->precision, &act, t, t + 1);
    }
    if (!private)
        vd_pool_barrier(f->pool);
    return act;
}

vd_act vd_pass_input(vd_worker *w, const float *x, size_t n, size_t width, const vd_norm *norm,
                     vd_width bits)
{
    return make_input(w, x, NULL, n, width, norm, bits, false);
}

vd_act vd_pass_input_parts(vd_worker *w, const float *x, const uint32_t *pick, size_t n,
                           size_t width, const vd_norm *norm, vd_width bits)
{
    return make_input(w, x, pick, n, width, norm, bits, true);
}

void vd_pass_rows(const vd_worker *w, size_t n, size_t *ret_begin, size_t *ret_end)
{
    vd_pool_range(n, VD_ROW_UNIT, w->thread, w->n_threads, ret_begin, ret_end);
}

static void product_rows(vd_worker *w, const vd_dense *dense, const vd_act *act, float *y,
                         size_t begin, size_t end)
{
    size_t n = dense->weight.n_rows;
    if (begin >= end)
        return;
    vd_linear(w->kn, &dense->weight, act, y, n, begin, end, w->space->scratch);
    for (size_t t = 0; dense->bias != NULL && t < act->n_rows; t++)
        w->kn->add(y + t * n + begin, dense->bias + begin, end - begin);
}

static void show_input(const vd_worker *w, const vd_dense *dense, const vd_act *act)
{
    const vd_batch *batch = w->pass->batch;
    if (batch->input != NULL && w->thread == 0)
        batch->input(batch->input_ctx, dense, act->x, act->n_rows, act->n_cols, act->ld_x);
}

void vd_pass_product(vd_worker *w, const vd_dense *dense, const vd_act *act, float *y)
{
    size_t begin, end;
    show_input(w, dense, act);
    vd_pass_rows(w, dense->weight.n_rows, &begin, &end);
    product_rows(w, dense, act, y, begin, end);
}

/* How many of the rows of a weight lie before the *left-th byte; what is then left. */
static size_t rows_before(const vd_weight *weight, size_t *left)
{
    size_t n_units = (weight->n_rows + VD_ROW_UNIT - 1) / VD_ROW_UNIT;
    if (n_units == 0)
        return 0;
    size_t bytes = weight->packed != NULL ? weight->packed_bytes
                                          : weight->row_bytes * weight->n_rows;
    size_t unit_bytes = VD_MAX(bytes / n_units, (size_t)1);
    size_t n = VD_MIN((*left + unit_bytes / 2) / unit_bytes, n_units);
    *left -= VD_MIN(*left, n * unit_bytes);
    if (n < n_units)
        *left = 0;
    return VD_MIN(n * VD_ROW_UNIT, weight->n_rows);
}

void vd_pass_products(vd_worker *w, const vd_dense *const *dense, float *const *y, size_t n,
                      const vd_act *act)
{
    size_t all = 0;
    for (size_t i = 0; i < n; i++) {
        size_t left = SIZE_MAX / 2, before = left;
        (void)rows_before(&dense[i]->weight, &left);
        all += before - left;
    }
    size_t from = all / w->n_threads * w->thread;
    size_t to = w->thread + 1 == w->n_threads ? SIZE_MAX / 2 : from + all / w->n_threads;
    for (size_t i = 0; i < n; i++) {
        show_input(w, dense[i], act);
        size_t begin = rows_before(&dense[i]->weight, &from);
        product_rows(w, dense[i], act, y[i], begin, rows_before(&dense[i]->weight, &to));
    }
}

void vd_pass_add(vd_worker *w, float *y, const vd_norm *out_norm, const vd_norm *sum_norm)
{
    vd_forward *f = w->f;
    float scale = w->m->hp.resid_scale;
    size_t c = w->m->hp.n_embd, begin, end;
    vd_pass_rows(w, c, &begin, &end);
    for (size_t t = 0; scale != 1 && t < w->n_tokens; t++)
        for (size_t i = begin; i < end; i++)
            y[t * c + i] *= scale;
    if (out_norm->weight == NULL)
        for (size_t t = 0; t < w->n_tokens; t++)
            w->kn->add(f->x + t * c + begin, y + t * c + begin, end - begin);
    vd_pool_barrier(f->pool);
    if (out_norm->weight == NULL && sum_norm->weight == NULL)
        return;
    /* A norm needs whole rows: each thread takes some of the tokens. */
    vd_pool_range(w->n_tokens, 1, w->thread, w->n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *x = f->x + t * c, *row = y + t * c;
        if (out_norm->weight != NULL) {
            vd_pass_norm_row(w, out_norm, row, row, c);
            w->kn->add(x, row, c);
        }
        if (sum_norm->weight != NULL)
            vd_pass_norm_row(w, sum_norm, x, x, c);
    }
    vd_pool_barrier(f->pool);
}
