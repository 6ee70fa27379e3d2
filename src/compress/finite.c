/* finite.c - see finite.h. */
#include "compress/finite.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "kernels/dtype.h"

/* Of a row. */
static const float *find_bad(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return &x[i];
    return NULL;
}

static vd_status check_tensor(const vd_gguf_tensor *t, vd_err *err)
{
    size_t n = (size_t)t->dim[0], n_rows = vd_gguf_tensor_rows(t), n_bytes = 0;
    float *row = NULL;
    if (n == 0 || t->data == NULL || !vd_dtype_decodable(t->dtype) ||
        !vd_dtype_row_bytes(t->dtype, n, &n_bytes))
        return VD_OK;
    vd_status st = vd_alloc_array(n, sizeof(*row), "a row", &row, err);
    for (size_t i = 0; st == VD_OK && i < n_rows; i++) {
        vd_dtype_decode((vd_dtype)t->dtype, t->data + i * n_bytes, row, n);
        const float *bad = find_bad(row, n);
        if (bad != NULL)
            st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: the value %g is no number to "
                         "work with", (int)t->name.n, t->name.data, i, (double)*bad);
    }
    vd_free(row);
    return st;
}

/* A NaN has a larger magnitude than infinity, as bits. */
static size_t find_nan_16(const unsigned char *data, size_t n, uint16_t infinity)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
        if ((bits & 0x7fff) > infinity)
            return i;
    }
    return n;
}

static size_t find_nan_32(const unsigned char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
        if ((bits & 0x7fffffff) > 0x7f800000)
            return i;
    }
    return n;
}

vd_status vd_finite_copied(const vd_gguf_tensor *t, uint64_t first, size_t n, vd_err *err)
{
    size_t bad = n;
    if (t->dtype == VD_DTYPE_F32)
        bad = find_nan_32(t->data + 4 * first, n);
    else if (t->dtype == VD_DTYPE_F16 || t->dtype == VD_DTYPE_BF16)
        bad = find_nan_16(t->data + 2 * first, n, t->dtype == VD_DTYPE_F16 ? 0x7c00 : 0x7f80);
    return bad == n ? VD_OK
                    : VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %llu: the value nan is no "
                              "number to work with", (int)t->name.n, t->name.data,
                              (unsigned long long)((first + bad) / t->dim[0]));
}

vd_status vd_finite_fail(const vd_gguf *gguf, const char *what, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(gguf); i++)
        st = check_tensor(vd_gguf_tensor_at(gguf, i), err);
    return st != VD_OK ? st
                       : VD_FAIL(err, VD_ERR_FORMAT, "%s computes what is no number, though all "
                                 "weights are finite", what);
}
