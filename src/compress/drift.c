/* drift.c - see drift.h. */
#include "compress/drift.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* -(H + damping)^-1 by its factor, U^T U. lower[n, n] is scratch. */
static void negative_inverse(const vd_linalg *linalg, const vd_obs *obs, double *lower,
                             double *ret_inverse)
{
    size_t n = obs->n;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            lower[k * n + i] = obs->upper[i * n + k];
    vd_linalg_subtract_product(linalg, ret_inverse, n, lower, n, obs->upper, n, n, n, n);
}

vd_status vd_drift_correct(const vd_linalg *linalg, const vd_obs *obs, const double *gram,
                           const double *cross, double strength, double *w, size_t n_rows,
                           vd_err *err)
{
    size_t n = obs->n, n_all, n_values;
    double *drift = NULL, *inverse = NULL, *by_inverse = NULL, *before = NULL;
    if (!vd_mul_size(n, n, &n_all) || !vd_mul_size(n_rows, n, &n_values))
        return VD_FAIL(err, VD_ERR_NOMEM, "a matrix of %zu by %zu is too large", n_rows, n);
    vd_status st = vd_alloc_array(n_all, sizeof(double), "a drift", &drift, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_all, sizeof(double), "an inverse", &inverse, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_all, sizeof(double), "a product", &by_inverse, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(double), "weights", &before, err);
    if (st == VD_OK) {
        negative_inverse(linalg, obs, drift, inverse);
        for (size_t i = 0; i < n_all; i++)
            drift[i] = strength * (cross[i] - gram[i]);
        vd_linalg_subtract_product(linalg, by_inverse, n, drift, n, inverse, n, n, n, n);
        for (size_t i = 0; i < n_all; i++)
            by_inverse[i] = -by_inverse[i];
        for (size_t i = 0; i < n_values; i++)
            before[i] = w[i];
        vd_linalg_subtract_product(linalg, w, n, before, n, by_inverse, n, n_rows, n, n);
    }
    vd_free(drift);
    vd_free(inverse);
    vd_free(by_inverse);
    vd_free(before);
    return st;
}
