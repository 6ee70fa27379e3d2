/* session.c - see session.h. */
#include "compress/structured/session.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fail.h"

static bool on_walk(void *ctx, size_t layer, size_t done, size_t total)
{
    vd_cut_session *s = ctx;
    const vd_structured_options *o = s->options;
    char note[48];
    uint64_t all = (uint64_t)s->plan.n_layer * total;
    int n = snprintf(note, sizeof(note), "%s, layer %zu", vd_structured_name(s->cut->kind), layer);
    return o->progress == NULL ||
           o->progress(o->ctx, (uint64_t)s->pass * all + (uint64_t)layer * total + done,
                       s->n_passes * all, (vd_str){note, (size_t)n});
}

vd_status vd_session_walk(vd_cut_session *s, vd_session_ear ear, vd_walk **ret_walk,
                          vd_err *err)
{
    const vd_gguf_tensor *embed = vd_gguf_find_tensor(s->plan.gguf, "token_embd.weight");
    vd_walk_options options = {.calib = s->options->calib, .gram = ear.gram,
                               .cross = ear.cross,
                               .folder = s->options->folder, .progress = on_walk, .ctx = s,
                               .passed = ear.passed, .passed_ctx = ear.passed_ctx};
    options.embed_dtype = embed != NULL ? embed->dtype : VD_DTYPE_F32;
    vd_status st = VD_OK;
    if (ear.gram && s->linalg == NULL)
        st = vd_linalg_open(&s->linalg, err);
    if (st == VD_OK)
        st = vd_walk_open(s->source, &options, s->pool, s->linalg, ret_walk, err);
    if (st == VD_OK)
        s->n_calib_tokens = vd_walk_n_tokens(*ret_walk);
    return st;
}

vd_status vd_session_values(const vd_gguf_tensor *t, double **ret_values, vd_err *err)
{
    size_t n_cols = (size_t)t->dim[0], n_rows = (size_t)t->dim[1], row_bytes;
    float *row = NULL;
    double *values = NULL;
    if (!vd_dtype_decodable(t->dtype) || !vd_dtype_row_bytes(t->dtype, n_cols, &row_bytes))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %.*s is %s, which cannot be read",
                       (int)t->name.n, t->name.data, vd_dtype_name(t->dtype));
    vd_status st = vd_alloc_array(n_cols, sizeof(*row), "a row", &row, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_rows * n_cols, sizeof(*values), "a matrix", &values, err);
    for (size_t r = 0; st == VD_OK && r < n_rows; r++) {
        vd_dtype_decode((vd_dtype)t->dtype, t->data + r * row_bytes, row, n_cols);
        for (size_t c = 0; c < n_cols; c++)
            values[r * n_cols + c] = (double)row[c];
    }
    vd_free(row);
    if (st == VD_OK)
        *ret_values = values;
    return st;
}
