/* linalg.c - see linalg.h. BLAS is column-major: a row-major matrix is its transpose there. */
#include "compress/linalg.h"

#include <dlfcn.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* The Fortran interface with 32-bit integers; the lengths of character arguments, which some
 * compilers pass last, are not read for single letters. */
typedef void (*syrk_fn)(const char *uplo, const char *trans, const int *n, const int *k,
                        const double *alpha, const double *a, const int *lda, const double *beta,
                        double *c, const int *ldc);
typedef void (*syrk_f32_fn)(const char *uplo, const char *trans, const int *n, const int *k,
                            const float *alpha, const float *a, const int *lda, const float *beta,
                            float *c, const int *ldc);
typedef void (*gemm_fn)(const char *transa, const char *transb, const int *m, const int *n,
                        const int *k, const double *alpha, const double *a, const int *lda,
                        const double *b, const int *ldb, const double *beta, double *c,
                        const int *ldc);
typedef void (*gemm_f32_fn)(const char *transa, const char *transb, const int *m, const int *n,
                            const int *k, const float *alpha, const float *a, const int *lda,
                            const float *b, const int *ldb, const float *beta, float *c,
                            const int *ldc);
typedef void (*potr_fn)(const char *uplo, const int *n, double *a, const int *lda, int *info);

struct vd_linalg {
    void *library[2]; /* the second: LAPACK, where it is not in the first */
    syrk_fn syrk;
    syrk_f32_fn syrk_f32;
    gemm_fn gemm;
    gemm_f32_fn gemm_f32;
    potr_fn factor, invert;
};

static void *find(const vd_linalg *l, const char *name)
{
    for (size_t i = 0; i < VD_COUNT(l->library); i++) {
        void *symbol = l->library[i] != NULL ? dlsym(l->library[i], name) : NULL;
        if (symbol != NULL)
            return symbol;
    }
    return NULL;
}

/* Whether all are there. */
static bool open_libraries(vd_linalg *l, const char *blas, const char *lapack)
{
    l->library[0] = dlopen(blas, RTLD_NOW | RTLD_LOCAL);
    l->library[1] = lapack != NULL ? dlopen(lapack, RTLD_NOW | RTLD_LOCAL) : NULL;
    /* A pointer to an object becomes one to a function: POSIX allows it for dlsym. */
    *(void **)&l->syrk = find(l, "dsyrk_");
    *(void **)&l->syrk_f32 = find(l, "ssyrk_");
    *(void **)&l->gemm = find(l, "dgemm_");
    *(void **)&l->gemm_f32 = find(l, "sgemm_");
    *(void **)&l->factor = find(l, "dpotrf_");
    *(void **)&l->invert = find(l, "dpotri_");
    return l->syrk != NULL && l->syrk_f32 != NULL && l->gemm != NULL &&
           l->gemm_f32 != NULL && l->factor != NULL && l->invert != NULL;
}

static void close_libraries(vd_linalg *l)
{
    for (size_t i = 0; i < VD_COUNT(l->library); i++)
        if (l->library[i] != NULL)
            dlclose(l->library[i]);
    *l = (vd_linalg){0};
}

vd_status vd_linalg_open(vd_linalg **ret_linalg, vd_err *err)
{
    static const char *const files[][2] = {{"libopenblas.so.0", NULL},
                                           {"libmkl_rt.so.2", NULL},
                                           {"libblas.so.3", "liblapack.so.3"}};
    vd_linalg *l = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*l), "linear algebra", &l, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < VD_COUNT(files); i++) {
        if (open_libraries(l, files[i][0], files[i][1])) {
            *ret_linalg = l;
            return VD_OK;
        }
        close_libraries(l);
    }
    vd_free(l);
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "this needs OpenBLAS: install libopenblas0 (Debian's "
                   "package) or another BLAS with LAPACK");
}

void vd_linalg_close(vd_linalg *linalg)
{
    if (linalg == NULL)
        return;
    close_libraries(linalg);
    vd_free(linalg);
}

void vd_linalg_gram(const vd_linalg *l, double *h, size_t n, const double *x, size_t t)
{
    const int order = (int)n, k = (int)t;
    const double one = 1;
    if (n > 0 && t > 0)
        l->syrk("U", "N", &order, &k, &one, x, &order, &one, h, &order);
}

void vd_linalg_gram_f32(const vd_linalg *l, float *h, size_t n, const float *x, size_t t)
{
    const int order = (int)n, k = (int)t;
    const float one = 1, zero = 0;
    if (n > 0 && t > 0)
        l->syrk_f32("U", "N", &order, &k, &one, x, &order, &zero, h, &order);
}

void vd_linalg_cross_f32(const vd_linalg *l, float *c, size_t n, const float *a, const float *b,
                         size_t t)
{
    const int order = (int)n, k = (int)t;
    const float one = 1, zero = 0;
    if (n > 0 && t > 0)
        l->gemm_f32("N", "T", &order, &order, &k, &one, b, &order, a, &order, &zero, c, &order);
}

void vd_linalg_mirror(double *h, size_t n)
{
    enum { TILE = 32 }; /* both sides of a tile fit the cache */
    for (size_t i = 0; i < n; i += TILE)
        for (size_t j = 0; j <= i; j += TILE)
            for (size_t r = i; r < VD_MIN(i + TILE, n); r++)
                for (size_t c = j; c < VD_MIN(j + TILE, r); c++)
                    h[c * n + r] = h[r * n + c];
}

void vd_linalg_subtract_product(const vd_linalg *l, double *c, size_t ld_c, const double *a,
                                size_t ld_a, const double *b, size_t ld_b, size_t m, size_t n,
                                size_t k)
{
    const int rows = (int)n, cols = (int)m, depth = (int)k;
    const int lda = (int)ld_b, ldb = (int)ld_a, ldc = (int)ld_c;
    const double minus = -1, one = 1;
    if (m > 0 && n > 0 && k > 0)
        l->gemm("N", "N", &rows, &cols, &depth, &minus, b, &lda, a, &ldb, &one, c, &ldc);
}

bool vd_linalg_invert(const vd_linalg *l, double *a, size_t n)
{
    const int order = (int)n;
    int info = 0;
    if (n == 0)
        return true;
    l->factor("U", &order, a, &order, &info);
    if (info == 0)
        l->invert("U", &order, a, &order, &info);
    if (info != 0)
        return false;
    vd_linalg_mirror(a, n);
    return true;
}

bool vd_linalg_upper_factor(const vd_linalg *l, double *a, size_t n)
{
    const int order = (int)n;
    int info = 0;
    if (n == 0)
        return true;
    l->factor("L", &order, a, &order, &info); /* column-major L with L L^T = a: our U = L^T */
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            a[i * n + j] = 0;
    return info == 0;
}
