/* edit.c - see edit.h. */
#include "compress/edit.h"

#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/clip.h"

bool vd_edit_wanted(const vd_edit_options *o)
{
    return o->clip.kind != VD_CUT_NONE || o->below.kind != VD_CUT_NONE ||
           o->above.kind != VD_CUT_NONE || o->prune.method != VD_PRUNE_NONE;
}

bool vd_edit_zeroes(const vd_edit_options *o)
{
    return o->below.kind != VD_CUT_NONE || o->above.kind != VD_CUT_NONE ||
           o->prune.method != VD_PRUNE_NONE;
}

vd_edit_options vd_edit_at(const vd_edit_options *options, double keep)
{
    vd_edit_options edit = *options;
    if (keep < 1)
        edit.prune = (vd_prune){.method = VD_PRUNE_WANDA, .keep = keep};
    return edit;
}

static void apply_cuts(const void *ctx, float *x, size_t n)
{
    const vd_edit *edit = ctx;
    for (size_t i = 0; i < n; i++) {
        float size = fabsf(x[i]);
        if (size > edit->clip) {
            size = edit->clip;
            x[i] = copysignf(size, x[i]);
        }
        if (size < edit->below || size > edit->above)
            x[i] = 0;
    }
}

/* Of every m neighbours the n largest stay; of equal ones the first. */
static void prune_groups(float *x, size_t n_cols, size_t n, size_t m)
{
    for (size_t at = 0; at + m <= n_cols; at += m) {
        float *group = x + at;
        float size[VD_PRUNE_GROUP_MAX];
        for (size_t i = 0; i < m; i++)
            size[i] = fabsf(group[i]);
        for (size_t i = 0; i < m; i++) {
            size_t n_before = 0;
            for (size_t j = 0; j < m; j++)
                n_before += size[j] > size[i] || (size[j] == size[i] && j < i);
            if (n_before >= n)
                group[i] = 0;
        }
    }
}

void vd_edit_row(const vd_edit *edit, size_t row, float *x, size_t n_cols)
{
    apply_cuts(edit, x, n_cols);
    if (edit->m != 0)
        prune_groups(x, n_cols, edit->n, edit->m);
    if (edit->tied == NULL)
        return;
    uint32_t left = edit->tied[row];
    for (size_t i = 0; i < n_cols; i++) {
        float size = fabsf(x[i]);
        bool tied = size == edit->prune && left > 0;
        left -= tied;
        if (tied || size < edit->prune)
            x[i] = 0;
    }
}

static vd_status find_cut(const vd_cut *cut, const vd_scan *scan, const vd_rows *rows, float *ret,
                          vd_err *err)
{
    double n = (double)rows->n_rows * (double)rows->n_cols, rms = 0;
    vd_status st = VD_OK;
    switch (cut->kind) {
    case VD_CUT_VALUE:
        *ret = (float)cut->value;
        break;
    case VD_CUT_PERCENT: {
        uint64_t rank = (uint64_t)ceil(cut->value / 100 * n);
        st = vd_select_magnitude(scan, rows, VD_MAX(rank, 1), ret, err);
        break;
    }
    case VD_CUT_RMS:
        st = vd_select_rms(scan, rows, &rms, err);
        *ret = (float)(cut->value * rms);
        break;
    case VD_CUT_NONE:
    case VD_CUT_AUTO:
        break;
    }
    return st;
}

/* The share 1 - keep of the matrix goes, the smallest of it first: exactly so many, of equal ones
 * those that come first. */
static vd_status rank_magnitudes(const vd_prune *prune, const vd_scan *scan, const vd_rows *rows,
                                 vd_edit *edit, vd_err *err)
{
    uint64_t n = (uint64_t)rows->n_rows * rows->n_cols, below;
    uint64_t n_gone = vd_prune_n_gone(prune->keep, n);
    if (n_gone == 0)
        return VD_OK;
    vd_status st = vd_select_magnitude(scan, rows, n_gone, &edit->prune, err);
    if (st == VD_OK)
        st = vd_alloc_array(rows->n_rows, sizeof(*edit->tied), "ties", &edit->tied, err);
    if (st != VD_OK)
        return st;
    vd_select_count(scan, rows, edit->prune, &below, edit->tied);
    uint64_t left = n_gone - below;
    for (size_t row = 0; row < rows->n_rows; row++) {
        edit->tied[row] = (uint32_t)VD_MIN(left, edit->tied[row]);
        left -= edit->tied[row];
    }
    return VD_OK;
}

vd_status vd_edit_prepare(const vd_edit_options *o, const vd_scan *scan, const vd_rows *rows,
                          vd_dtype to, vd_edit *ret, vd_err *err)
{
    vd_edit edit = {.clip = INFINITY, .above = INFINITY};
    vd_scan so_far = *scan;
    so_far.change = apply_cuts; /* a later step sees what the earlier ones left */
    so_far.ctx = &edit;
    *ret = edit;
    if (o->prune.m != 0 && rows->n_cols % o->prune.m != 0)
        return VD_FAIL(err, VD_ERR_ARG, "its rows of %zu values are no multiple of the %u that "
                       "%u:%u needs", rows->n_cols, o->prune.m, o->prune.n, o->prune.m);
    if (rows->n_rows == 0 || rows->n_cols == 0)
        return VD_OK;
    float clip = edit.clip, below = edit.below, above = edit.above;
    vd_status st = o->clip.kind == VD_CUT_AUTO ? vd_clip_search(scan, rows, to, &clip, err)
                                               : find_cut(&o->clip, &so_far, rows, &clip, err);
    edit.clip = clip;
    if (st == VD_OK)
        st = find_cut(&o->below, &so_far, rows, &below, err);
    edit.below = below;
    if (st == VD_OK)
        st = find_cut(&o->above, &so_far, rows, &above, err);
    edit.above = above;
    bool here = o->prune.method == VD_PRUNE_MAGNITUDE; /* the others see whole matrices */
    edit.n = here ? o->prune.n : 0;
    edit.m = here ? o->prune.m : 0;
    if (st == VD_OK && here && o->prune.m == 0)
        st = rank_magnitudes(&o->prune, &so_far, rows, &edit, err);
    *ret = edit;
    return st;
}

void vd_edit_done(vd_edit *edit)
{
    vd_free(edit->tied);
    *edit = (vd_edit){0};
}
