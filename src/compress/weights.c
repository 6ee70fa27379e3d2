/* weights.c - see <verdant/compress.h>: one matrix in memory, in the thread of the caller. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <verdant/compress.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/cut.h"
#include "compress/edit.h"
#include "compress/encode.h"

/* All values finite, and none of a magnitude above max. */
static vd_status check(const float *w, size_t n_rows, size_t n_cols, float max, vd_err *err)
{
    size_t n;
    if (!vd_mul_size(n_rows, n_cols, &n) || (w == NULL && n > 0))
        return VD_FAIL(err, VD_ERR_ARG, "no matrix of %zu by %zu values", n_rows, n_cols);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(w[i]) <= max))
            return VD_FAIL(err, VD_ERR_FORMAT, "row %zu, column %zu: the value %g %s", i / n_cols,
                           i % n_cols, (double)w[i],
                           isfinite(w[i]) ? "is too large for the type" : "is not finite");
    return VD_OK;
}

static vd_status apply(float *w, size_t n_rows, size_t n_cols, const char *what, float cut,
                       const vd_edit *edit, vd_err *err)
{
    if (!(cut >= 0))
        return VD_FAIL(err, VD_ERR_ARG, "%s is %g, expected a magnitude", what, (double)cut);
    vd_status st = check(w, n_rows, n_cols, FLT_MAX, err);
    for (size_t row = 0; st == VD_OK && row < n_rows; row++)
        vd_edit_row(edit, row, w + row * n_cols, n_cols);
    return st;
}

vd_status vd_weights_clip(float *w, size_t n_rows, size_t n_cols, float limit, vd_err *err)
{
    vd_edit edit = {.clip = limit, .above = INFINITY};
    return apply(w, n_rows, n_cols, "the limit", limit, &edit, err);
}

vd_status vd_weights_threshold(float *w, size_t n_rows, size_t n_cols, float threshold,
                               vd_err *err)
{
    vd_edit edit = {.clip = INFINITY, .below = threshold, .above = INFINITY};
    return apply(w, n_rows, n_cols, "the threshold", threshold, &edit, err);
}

vd_status vd_weights_threshold_above(float *w, size_t n_rows, size_t n_cols, float threshold,
                                     vd_err *err)
{
    vd_edit edit = {.clip = INFINITY, .above = threshold};
    return apply(w, n_rows, n_cols, "the threshold", threshold, &edit, err);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

vd_status vd_weights_prune(float *w, size_t n_rows, size_t n_cols, double keep, vd_err *err)
{
    float *size = NULL;
    if (!(keep >= 0 && keep <= 1))
        return VD_FAIL(err, VD_ERR_ARG, "the keep-rate is %g; it lies between 0 and 1", keep);
    vd_status st = check(w, n_rows, n_cols, FLT_MAX, err);
    size_t n = n_rows * n_cols;
    size_t n_gone = keep == 0 || n == 0 ? n : (size_t)vd_prune_n_gone(keep, n);
    if (st != VD_OK || n_gone == 0)
        return st;
    st = vd_alloc_array(n, sizeof(*size), "magnitudes", &size, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n; i++)
        size[i] = fabsf(w[i]);
    qsort(size, n, sizeof(*size), by_size);
    float cut = size[n_gone - 1];
    size_t n_tied = n_gone; /* of those equal to the cut, so many go */
    while (n_tied > 0 && size[n_gone - n_tied] < cut)
        n_tied--;
    for (size_t i = 0; i < n; i++) {
        bool tied = fabsf(w[i]) == cut && n_tied > 0;
        n_tied -= tied;
        if (tied || fabsf(w[i]) < cut)
            w[i] = 0;
    }
    vd_free(size);
    return VD_OK;
}

/* ---- fewer bits -------------------------------------------------------------------------------*/

static vd_status find_type(const char *type, size_t n_rows, size_t n_cols, vd_dtype *ret_dtype,
                           size_t *ret_row_bytes, size_t *ret_bytes, vd_err *err)
{
    size_t row_bytes, n_bytes;
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++) {
        if (!vd_encodable(i) || strcasecmp(vd_dtype_name(i), type) != 0)
            continue;
        if (!vd_dtype_row_bytes(i, n_cols, &row_bytes))
            return VD_FAIL(err, VD_ERR_ARG, "rows of %zu values are no multiple of the %d in a "
                           "block of %s", n_cols, vd_dtype_get(i)->block, vd_dtype_name(i));
        if (!vd_mul_size(row_bytes, n_rows, &n_bytes))
            return VD_FAIL(err, VD_ERR_ARG, "%zu rows are too many", n_rows);
        *ret_dtype = (vd_dtype)i;
        *ret_row_bytes = row_bytes;
        *ret_bytes = n_bytes;
        return VD_OK;
    }
    return VD_FAIL(err, VD_ERR_ARG, "there is no type '%s' of tensors to write; Q8_0, Q4_0 and "
                   "Q4_K are some", type);
}

vd_status vd_weights_bytes(const char *type, size_t n_rows, size_t n_cols, size_t *ret_bytes,
                           vd_err *err)
{
    vd_dtype dtype;
    size_t row_bytes;
    return find_type(type, n_rows, n_cols, &dtype, &row_bytes, ret_bytes, err);
}

/* The type, and whether the caller's blocks have its size. */
static vd_status open_blocks(const char *type, size_t n_bytes, size_t n_rows, size_t n_cols,
                             vd_dtype *ret_dtype, size_t *ret_row_bytes, vd_err *err)
{
    size_t wanted;
    vd_status st = find_type(type, n_rows, n_cols, ret_dtype, ret_row_bytes, &wanted, err);
    if (st == VD_OK && wanted != n_bytes)
        st = VD_FAIL(err, VD_ERR_ARG, "%zu bytes for a matrix that has %zu in %s", n_bytes, wanted,
                     type);
    return st;
}

vd_status vd_weights_quantize(const char *type, const float *w, const float *importance,
                              size_t n_rows, size_t n_cols, void *blocks, size_t n_bytes,
                              vd_err *err)
{
    vd_dtype dtype;
    size_t row_bytes;
    fenv_t before;
    vd_status st = open_blocks(type, n_bytes, n_rows, n_cols, &dtype, &row_bytes, err);
    if (st == VD_OK)
        st = check(w, n_rows, n_cols, vd_encode_max(dtype), err);
    if (st == VD_OK && importance == NULL && vd_encode_needs_weights(dtype))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is of no use without the importance of each column",
                     vd_dtype_name(dtype));
    for (size_t i = 0; st == VD_OK && importance != NULL && i < n_cols; i++)
        if (!(importance[i] >= 0 && isfinite(importance[i])))
            st = VD_FAIL(err, VD_ERR_ARG, "the importance of column %zu is %g; expected a finite "
                         "number, not negative", i, (double)importance[i]);
    if (st != VD_OK)
        return st;
    vd_encode_floats_begin(&before);
    for (size_t row = 0; row < n_rows; row++)
        vd_encode_row(dtype, w + row * n_cols, importance,
                      (unsigned char *)blocks + row * row_bytes, n_cols);
    vd_encode_floats_end(&before);
    return VD_OK;
}

vd_status vd_weights_dequantize(const char *type, const void *blocks, size_t n_bytes,
                                size_t n_rows, size_t n_cols, float *ret_w, vd_err *err)
{
    vd_dtype dtype;
    size_t row_bytes;
    vd_status st = open_blocks(type, n_bytes, n_rows, n_cols, &dtype, &row_bytes, err);
    for (size_t row = 0; st == VD_OK && row < n_rows; row++)
        vd_dtype_decode(dtype, (const unsigned char *)blocks + row * row_bytes,
                        ret_w + row * n_cols, n_cols);
    return st;
}
