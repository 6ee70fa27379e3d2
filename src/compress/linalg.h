/*
 * linalg.h - double-precision matrix algebra for calibrated compression, by the machine's BLAS and
 * LAPACK (OpenBLAS, opened at run time: nothing else in Verdant needs it; docs/adr/0017).
 *
 * Matrices are row-major. Single-owner; the library has threads of its own.
 */
#ifndef VD_COMPRESS_LINALG_H
#define VD_COMPRESS_LINALG_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_linalg vd_linalg;

/* VD_ERR_UNSUPPORTED where there is no such library: the message says which package has it. */
VD_NODISCARD vd_status vd_linalg_open(vd_linalg **ret_linalg, vd_err *err);
void vd_linalg_close(vd_linalg *linalg); /* NULL is a no-op */

/* h[n, n] += X^T X for x[t, n]; only the lower triangle is written. */
void vd_linalg_gram(const vd_linalg *linalg, double *h, size_t n, const double *x, size_t t);
/* The same in f32, h overwritten: of some hundred rows, to be added up in double precision. */
void vd_linalg_gram_f32(const vd_linalg *linalg, float *h, size_t n, const float *x, size_t t);
/* c[n, n] = A^T B for a[t, n] and b[t, n]. */
void vd_linalg_cross_f32(const vd_linalg *linalg, float *c, size_t n, const float *a,
                         const float *b, size_t t);
/* The upper triangle becomes the mirror of the lower one. */
void vd_linalg_mirror(double *h, size_t n);
/* c[m, n] -= a[m, k] b[k, n]; ld: values from row to row. */
void vd_linalg_subtract_product(const vd_linalg *linalg, double *c, size_t ld_c, const double *a,
                                size_t ld_a, const double *b, size_t ld_b, size_t m, size_t n,
                                size_t k);
/* a[n, n], symmetric and positive definite, to its inverse. False where it is not; a is then
 * spoiled. */
bool vd_linalg_invert(const vd_linalg *linalg, double *a, size_t n);
/* a[n, n], symmetric and positive definite, to the upper triangle U with U^T U = a; below it
 * zeros. False where it is not. */
bool vd_linalg_upper_factor(const vd_linalg *linalg, double *a, size_t n);

#endif
