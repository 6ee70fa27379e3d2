/* structured.c - see structured.h. */
#include "compress/structured/structured.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/structured/inner.h"
#include "compress/structured/layers.h"
#include "compress/structured/width.h"

static const char *const names[] = {
    [VD_STRUCTURED_NEURONS] = "neurons",
    [VD_STRUCTURED_HEADS] = "heads",
    [VD_STRUCTURED_LAYERS] = "layers",
    [VD_STRUCTURED_WIDTH] = "width",
};

const char *vd_structured_name(vd_structured_kind kind)
{
    return names[kind];
}

bool vd_structured_parse(const char *text, vd_structured *ret, const char **ret_wrong)
{
    size_t n = strcspn(text, ":"), i = 0;
    *ret_wrong = NULL;
    while (i < VD_COUNT(names) && (strlen(names[i]) != n || memcmp(names[i], text, n) != 0))
        i++;
    if (i == VD_COUNT(names))
        return false;
    const char *number = text + n + (text[n] == ':');
    char *end = NULL;
    double keep = strtod(number, &end);
    if ((!isdigit((unsigned char)number[0]) && number[0] != '.') || *end != '\0' ||
        strpbrk(number, "xX") != NULL || !(keep >= 0 && keep <= 1))
        *ret_wrong = "the keep-rate lies between 0 and 1: 1 keeps all, 0.75 three quarters";
    else if (keep == 0)
        *ret_wrong = "it would leave nothing";
    else
        *ret = (vd_structured){(vd_structured_kind)i, keep};
    return true;
}

/* ---- the session ------------------------------------------------------------------------------*/

static bool on_walk(void *ctx, size_t layer, size_t done, size_t total)
{
    vd_cut_session *s = ctx;
    const vd_structured_options *o = s->options;
    char note[48];
    uint64_t all = (uint64_t)s->plan.n_layer * total;
    int n = snprintf(note, sizeof(note), "%s, layer %zu", names[s->cut->kind], layer);
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

static void count_units(const vd_cut_session *s, vd_structured_result *result)
{
    const vd_cut_plan *p = &s->plan;
    *result = (vd_structured_result){.n_calib_tokens = s->n_calib_tokens,
                                     .uneven = vd_cut_plan_is_uneven(p)};
    if (s->cut->kind == VD_STRUCTURED_WIDTH) {
        result->n_before = p->width.n_all;
        result->n_after = p->width.n;
    } else if (s->cut->kind == VD_STRUCTURED_LAYERS) {
        result->n_before = p->n_layer;
        result->n_after = p->n_layer_new;
    }
    for (size_t i = 0; s->cut->kind <= VD_STRUCTURED_HEADS && i < p->n_layer; i++) {
        const vd_kept *kept = s->cut->kind == VD_STRUCTURED_NEURONS ? &p->neurons[i]
                                                                    : &p->groups[i];
        result->n_before += kept->n_all;
        result->n_after += kept->n;
    }
}

static vd_status run(vd_cut_session *s, vd_err *err)
{
    if (vd_gguf_is_file(s->plan.gguf, s->target))
        return VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file",
                       s->target);
    vd_status st = vd_pool_create(s->options->n_threads, &s->pool, err);
    if (st == VD_OK)
        st = vd_shrink_open(&s->plan, s->target, s->pool, &s->shrink, err);
    if (st == VD_OK)
        st = s->cut->kind == VD_STRUCTURED_LAYERS  ? vd_layers_run(s, err)
             : s->cut->kind == VD_STRUCTURED_WIDTH ? vd_width_run(s, err)
                                                   : vd_inner_run(s, err);
    if (st == VD_OK)
        st = vd_shrink_commit(s->shrink, err);
    return st;
}

vd_status vd_structured_run(const char *source, const char *target, const vd_structured *cut,
                            const vd_structured_options *options,
                            vd_structured_result *ret_result, vd_err *err)
{
    vd_cut_session s = {.cut = cut, .options = options, .source = source, .target = target,
                        .n_passes = 1};
    vd_status st = vd_cut_plan_open(source, &s.plan, err);
    if (st != VD_OK)
        return st;
    st = run(&s, err);
    if (st == VD_OK)
        count_units(&s, ret_result);
    vd_shrink_free(s.shrink);
    vd_linalg_close(s.linalg);
    vd_pool_free(s.pool);
    vd_cut_plan_done(&s.plan);
    return st;
}
