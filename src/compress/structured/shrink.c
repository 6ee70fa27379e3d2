/* shrink.c - see shrink.h. */
#include "compress/structured/shrink.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"
#include "compress/structured/keys.h"
#include "model/gguf_write.h"

struct vd_shrink {
    const vd_cut_plan *plan;
    vd_pool *pool;
    vd_gguf_out *out;
};

/* ---- axes -------------------------------------------------------------------------------------*/

static const vd_kept *kept_of(const vd_cut_plan *p, const vd_axes *axes, size_t i)
{
    vd_cut_list list = axes->axis[i].list;
    if (list == VD_CUT_LIST_WIDTH)
        return &p->width;
    if (list == VD_CUT_LIST_NONE || axes->layer < 0)
        return NULL;
    return list == VD_CUT_LIST_NEURONS ? &p->neurons[axes->layer] : &p->groups[axes->layer];
}

static bool is_cut(const vd_cut_plan *p, const vd_axes *axes, size_t i)
{
    const vd_kept *kept = kept_of(p, axes, i);
    return kept != NULL && kept->n < kept->n_all;
}

static size_t units_width(const vd_axis *axis)
{
    size_t n = 0;
    for (size_t i = 0; i < axis->n_parts; i++)
        n += axis->unit[i];
    return n;
}

static vd_status find_axes(const vd_cut_plan *p, const vd_gguf_tensor *t, vd_axes *axes,
                           vd_err *err)
{
    vd_str rest;
    int layer = vd_axes_layer(t->name, &rest);
    bool known = layer >= 0 && (size_t)layer < p->n_layer;
    vd_status st = vd_axes_find(&p->hp, known ? p->group[layer] : 1, t, axes, err);
    for (size_t i = 0; st == VD_OK && i < 2; i++) {
        const vd_kept *kept = kept_of(p, axes, i);
        if (kept != NULL && kept->n < kept->n_all &&
            t->dim[i] != kept->n_all * units_width(&axes->axis[i]))
            st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %.*s: axis %zu has %llu values, %zu "
                         "units of %zu were expected; the model cannot be cut", (int)t->name.n,
                         t->name.data, i, (unsigned long long)t->dim[i], kept->n_all,
                         units_width(&axes->axis[i]));
    }
    return st;
}

/* The values of an axis that stay, by their numbers in the source. NULL: all. */
static vd_status expand(const vd_cut_plan *p, const vd_axes *axes, size_t i, size_t **ret_index,
                        size_t *ret_n, vd_err *err)
{
    const vd_kept *kept = kept_of(p, axes, i);
    const vd_axis *axis = &axes->axis[i];
    size_t n = 0, base = 0, *index = NULL;
    if (!is_cut(p, axes, i))
        return VD_OK;
    vd_status st = vd_alloc_array(kept->n * units_width(axis), sizeof(*index), "an axis", &index,
                                  err);
    if (st != VD_OK)
        return st;
    for (size_t part = 0; part < axis->n_parts; part++) {
        size_t unit = axis->unit[part];
        for (size_t u = 0; u < kept->n; u++)
            for (size_t k = 0; k < unit; k++)
                index[n++] = base + kept->index[u] * unit + k;
        base += kept->n_all * unit;
    }
    *ret_index = index;
    *ret_n = n;
    return VD_OK;
}

static vd_dtype dtype_of(const vd_cut_plan *p, const vd_gguf_tensor *t, const vd_axes *axes)
{
    bool is_float = vd_dtype_get(t->dtype)->block == 1;
    return is_float || !is_cut(p, axes, 0) ? (vd_dtype)t->dtype : VD_DTYPE_F16;
}

vd_dtype vd_shrink_dtype(const vd_cut_plan *p, const vd_gguf_tensor *t)
{
    vd_axes axes = {0};
    return find_axes(p, t, &axes, NULL) == VD_OK ? dtype_of(p, t, &axes) : (vd_dtype)t->dtype;
}

/* ---- rows -------------------------------------------------------------------------------------*/

static vd_status refuse_value(const vd_gguf_tensor *t, size_t row, float value, vd_dtype dtype,
                              vd_err *err)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: the value %g cannot be had in %s",
                   (int)t->name.n, t->name.data, row, (double)value, vd_dtype_name(dtype));
}

/* x[n] to a row of a float type. */
static vd_status encode_row(const vd_gguf_tensor *t, vd_dtype dtype, const float *x, size_t row,
                            void *dst, size_t n, vd_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= vd_encode_max(dtype)))
            return refuse_value(t, row, x[i], dtype, err);
    vd_encode_row(dtype, x, NULL, dst, n);
    return VD_OK;
}

vd_status vd_shrink_round(vd_dtype dtype, const vd_gguf_tensor *tensor, float *values,
                          size_t n_rows, size_t n_cols, vd_err *err)
{
    unsigned char *row = NULL;
    size_t row_bytes;
    vd_status st = VD_OK;
    if (dtype == VD_DTYPE_F32 || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return VD_OK;
    st = vd_alloc_array(row_bytes, 1, "a row", &row, err);
    for (size_t r = 0; st == VD_OK && r < n_rows; r++) {
        st = encode_row(tensor, dtype, values + r * n_cols, r, row, n_cols, err);
        if (st == VD_OK)
            vd_dtype_decode(dtype, row, values + r * n_cols, n_cols);
    }
    vd_free(row);
    return st;
}

/* ---- tensors ----------------------------------------------------------------------------------*/

typedef struct cutting {
    const vd_gguf_tensor *tensor;
    vd_axes axes;
    vd_dtype to;
    size_t *column, *row; /* that stay; NULL: all */
    size_t n_columns, n_rows, n_outer; /* of the new tensor; outer: dim[2] * dim[3] */
    size_t src_bytes, dst_bytes;       /* of a row */
} cutting;

static vd_status prepare(const vd_cut_plan *p, const vd_gguf_tensor *t, cutting *c, vd_err *err)
{
    *c = (cutting){.tensor = t, .n_columns = (size_t)t->dim[0], .n_rows = (size_t)t->dim[1],
                   .n_outer = (size_t)(t->dim[2] * t->dim[3])};
    vd_status st = find_axes(p, t, &c->axes, err);
    if (st == VD_OK)
        st = expand(p, &c->axes, 0, &c->column, &c->n_columns, err);
    if (st == VD_OK)
        st = expand(p, &c->axes, 1, &c->row, &c->n_rows, err);
    if (st != VD_OK)
        return st;
    c->to = dtype_of(p, t, &c->axes);
    if (!vd_dtype_decodable(t->dtype) && c->column != NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %.*s is %s, which cannot be read",
                       (int)t->name.n, t->name.data, vd_dtype_name(t->dtype));
    if (!vd_dtype_row_bytes(t->dtype, (size_t)t->dim[0], &c->src_bytes) ||
        !vd_dtype_row_bytes(c->to, c->n_columns, &c->dst_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                       (int)t->name.n, t->name.data);
    return VD_OK;
}

static vd_status write_values(vd_shrink *s, const cutting *c, const float *values, vd_err *err)
{
    unsigned char *row = NULL;
    vd_status st = vd_alloc_array(c->dst_bytes, 1, "a row", &row, err);
    for (size_t r = 0; st == VD_OK && r < c->n_rows * c->n_outer; r++) {
        st = encode_row(c->tensor, c->to, values + r * c->n_columns, r, row, c->n_columns, err);
        if (st == VD_OK)
            st = vd_gguf_out_data(s->out, row, c->dst_bytes, err);
    }
    vd_free(row);
    return st;
}

static vd_status write_picked(vd_shrink *s, const cutting *c, vd_err *err)
{
    const vd_gguf_tensor *t = c->tensor;
    size_t n_all = (size_t)t->dim[0], n_src_rows = (size_t)t->dim[1];
    float *x = NULL;
    unsigned char *row = NULL;
    vd_status st = vd_alloc_array(n_all + c->n_columns, sizeof(*x), "a row", &x, err);
    if (st == VD_OK)
        st = vd_alloc_array(c->dst_bytes, 1, "a row", &row, err);
    for (size_t r = 0; st == VD_OK && r < c->n_rows * c->n_outer; r++) {
        size_t at = r / c->n_rows * n_src_rows + (c->row != NULL ? c->row[r % c->n_rows]
                                                                 : r % c->n_rows);
        const unsigned char *src = t->data + at * c->src_bytes;
        if (c->column == NULL) {
            st = vd_gguf_out_data(s->out, src, c->dst_bytes, err);
            continue;
        }
        vd_dtype_decode((vd_dtype)t->dtype, src, x, n_all);
        for (size_t i = 0; i < c->n_columns; i++)
            x[n_all + i] = x[c->column[i]];
        st = encode_row(t, c->to, x + n_all, r, row, c->n_columns, err);
        if (st == VD_OK)
            st = vd_gguf_out_data(s->out, row, c->dst_bytes, err);
    }
    vd_free(x);
    vd_free(row);
    return st;
}

static vd_status write_tensor(vd_shrink *s, const vd_gguf_tensor *t, const vd_shrink_values *values,
                              size_t n, vd_err *err)
{
    cutting c;
    vd_status st = prepare(s->plan, t, &c, err);
    const float *own = NULL;
    for (size_t i = 0; i < n; i++)
        if (values[i].tensor == t)
            own = values[i].values;
    if (st == VD_OK && own != NULL)
        st = write_values(s, &c, own, err);
    else if (st == VD_OK && c.row == NULL && c.column == NULL)
        st = vd_gguf_out_data(s->out, t->data, (size_t)t->n_bytes, err);
    else if (st == VD_OK)
        st = write_picked(s, &c, err);
    vd_free(c.column);
    vd_free(c.row);
    return st;
}

/* Whether a tensor belongs to a layer (-1: to none) of the source. */
static bool belongs(const vd_gguf_tensor *t, int layer)
{
    vd_str rest;
    return vd_axes_layer(t->name, &rest) == layer;
}

static vd_status write_part(vd_shrink *s, int layer, const vd_shrink_values *values, size_t n,
                            vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(s->plan->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(s->plan->gguf, i);
        if (belongs(t, layer))
            st = write_tensor(s, t, values, n, err);
    }
    return st;
}

/* ---- the table --------------------------------------------------------------------------------*/

static vd_status list_tensor(vd_shrink *s, const vd_gguf_tensor *t, vd_err *err)
{
    const vd_cut_plan *p = s->plan;
    vd_axes axes = {0};
    vd_status st = find_axes(p, t, &axes, err);
    if (st != VD_OK)
        return st;
    char name[128];
    vd_str to = t->name, rest;
    uint64_t dim[4] = {t->dim[0], t->dim[1], t->dim[2], t->dim[3]};
    for (size_t i = 0; i < 2; i++)
        if (is_cut(p, &axes, i))
            dim[i] = kept_of(p, &axes, i)->n * units_width(&axes.axis[i]);
    if (axes.layer >= 0 && (size_t)axes.layer < p->n_layer) {
        vd_axes_layer(t->name, &rest);
        int n = snprintf(name, sizeof(name), "blk.%zu.%.*s", p->new_layer[axes.layer],
                         (int)VD_MIN(rest.n, (size_t)96), rest.data);
        to = (vd_str){name, (size_t)n};
    }
    vd_gguf_out_tensor(s->out, to, dtype_of(p, t, &axes), t->n_dims, dim);
    return VD_OK;
}

static vd_status list_part(vd_shrink *s, int layer, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(s->plan->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(s->plan->gguf, i);
        if (belongs(t, layer))
            st = list_tensor(s, t, err);
    }
    return st;
}

vd_status vd_shrink_open(const vd_cut_plan *plan, const char *target, vd_pool *pool,
                         vd_shrink **ret_shrink, vd_err *err)
{
    vd_shrink *s = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*s), "a file to write", &s, err);
    if (st != VD_OK)
        return st;
    s->plan = plan;
    s->pool = pool;
    st = vd_gguf_out_open(target, vd_gguf_alignment(plan->gguf), &s->out, err);
    if (st == VD_OK)
        *ret_shrink = s;
    else
        vd_free(s);
    return st;
}

void vd_shrink_free(vd_shrink *s)
{
    if (s == NULL)
        return;
    vd_gguf_out_free(s->out);
    vd_free(s);
}

vd_status vd_shrink_begin(vd_shrink *s, const vd_shrink_values *values, size_t n, vd_err *err)
{
    vd_status st = vd_keys_write(s->plan, s->out, err);
    if (st == VD_OK)
        st = list_part(s, -1, err);
    for (size_t i = 0; st == VD_OK && i < s->plan->n_layer; i++)
        if (s->plan->new_layer[i] != SIZE_MAX)
            st = list_part(s, (int)i, err);
    if (st == VD_OK)
        st = vd_gguf_out_begin(s->out, err);
    return st == VD_OK ? write_part(s, -1, values, n, err) : st;
}

vd_status vd_shrink_layer(vd_shrink *s, size_t layer, const vd_shrink_values *values, size_t n,
                          vd_err *err)
{
    if (s->plan->new_layer[layer] == SIZE_MAX)
        return VD_OK;
    return write_part(s, (int)layer, values, n, err);
}

vd_status vd_shrink_commit(vd_shrink *s, int *ret_fd, vd_err *err)
{
    return ret_fd != NULL ? vd_gguf_out_take(s->out, ret_fd, err) : vd_gguf_out_commit(s->out, err);
}
