/* gptq.c - see gptq.h. */
#include "compress/gptq.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

typedef struct rounding {
    const vd_grid *grid;
    size_t n, n_rows, row_bytes;
    unsigned char *rows;
    float *scale, *min; /* [n_rows, n / sub] */
    uint8_t *code;      /* [n_rows, n] */
} rounding;

static void read_grids(const rounding *r)
{
    const vd_grid *g = r->grid;
    size_t n_subs = g->block / g->sub;
    for (size_t row = 0; row < r->n_rows; row++)
        for (size_t b = 0; b < r->n / g->block; b++) {
            size_t at = row * (r->n / g->sub) + b * n_subs;
            g->read(r->rows + row * r->row_bytes + b * g->bytes, r->scale + at, r->min + at);
        }
}

static void put_codes(const rounding *r)
{
    const vd_grid *g = r->grid;
    for (size_t row = 0; row < r->n_rows; row++)
        for (size_t b = 0; b < r->n / g->block; b++)
            g->put(r->rows + row * r->row_bytes + b * g->bytes,
                   r->code + row * r->n + b * g->block);
}

static void settle(void *ctx, size_t row, size_t column, const double *w, const double *weight,
                   double *ret)
{
    const rounding *r = ctx;
    const vd_grid *g = r->grid;
    size_t at = row * (r->n / g->sub) + column / g->sub;
    uint8_t *code = r->code + row * r->n + column;
    if (g->group > 1)
        g->nearest(r->scale[at], r->min[at], w, weight, code, ret);
    else
        *code = vd_grid_nearest(g, r->scale[at], r->min[at], *w, ret);
}

vd_status vd_gptq_run(const vd_linalg *linalg, vd_pool *pool, const vd_obs *obs,
                      const vd_grid *grid, bool keep_zeros, double *w, size_t n_rows,
                      unsigned char *rows, size_t row_bytes, vd_err *err)
{
    rounding r = {.grid = grid, .n = obs->n, .n_rows = n_rows, .row_bytes = row_bytes,
                  .rows = rows};
    vd_obs_options options = {.settle = settle, .settle_ctx = &r, .group = grid->group};
    size_t n, n_scales = n_rows * (obs->n / grid->sub);
    bool *zero = NULL;
    if (!vd_mul_size(n_rows, obs->n, &n))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu rows are too many", n_rows);
    vd_status st = vd_alloc_array(n_scales, sizeof(float), "scales", &r.scale, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_scales, sizeof(float), "minima", &r.min, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, 1, "codes", &r.code, err);
    if (st == VD_OK && keep_zeros)
        st = vd_alloc_array(n, sizeof(*zero), "a mask", &zero, err);
    for (size_t i = 0; st == VD_OK && keep_zeros && i < n; i++)
        zero[i] = w[i] == 0;
    options.mask = zero;
    if (st == VD_OK) {
        read_grids(&r);
        st = vd_obs_run(linalg, pool, obs, &options, w, n_rows, err);
    }
    if (st == VD_OK)
        put_codes(&r);
    vd_free(r.scale);
    vd_free(r.min);
    vd_free(r.code);
    vd_free(zero);
    return st;
}
