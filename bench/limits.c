/*
 * limits.c - what this machine can do at all: products in registers, and memory read.
 *
 *     limits [-t THREADS] [BYTES ...]
 *
 * Prints one line of JSON: tera-operations per second (a multiplication and an addition are two) of
 * the instructions that kernels are made of, with operands that never leave the registers, and GB/s
 * of reading each number of BYTES over and over. Best of many passes. x86-64 only.
 */
#include <errno.h>
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bandwidth.h"
#include "base/clock.h"
#include "base/pool.h"

enum { ROUNDS = 200000, ACCUMULATORS = 12, SIZES_MAX = 64 };

/* Long enough for a moment in which all threads have their cores. */
static const uint64_t enough_ns = UINT64_C(300000000);

/* Enough independent sums that none waits for the one before: latency 4 to 5, two at a time. */
#define REPEAT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

__attribute__((target("avx512f,avx512vnni"))) static uint64_t int8_vnni(void)
{
    __m512i a[ACCUMULATORS], x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(2);
    for (int i = 0; i < ACCUMULATORS; i++)
        a[i] = _mm512_set1_epi32(i);
    for (int r = 0; r < ROUNDS; r++) {
#define STEP(i) a[i] = _mm512_dpbusd_epi32(a[i], x, y);
        REPEAT(STEP)
#undef STEP
    }
    for (int i = 1; i < ACCUMULATORS; i++)
        a[0] = _mm512_xor_si512(a[0], a[i]);
    return (uint64_t)_mm512_reduce_add_epi32(a[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static uint64_t bf16_dot(void)
{
    __m512 a[ACCUMULATORS];
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(1));
    for (int i = 0; i < ACCUMULATORS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#define STEP(i) a[i] = _mm512_dpbf16_ps(a[i], x, x);
        REPEAT(STEP)
#undef STEP
    }
    for (int i = 1; i < ACCUMULATORS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    return (uint64_t)_mm512_reduce_add_ps(a[0]);
}

__attribute__((target("avx512f"))) static uint64_t f32_fma(void)
{
    __m512 a[ACCUMULATORS], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1);
    for (int i = 0; i < ACCUMULATORS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#define STEP(i) a[i] = _mm512_fmadd_ps(a[i], x, y);
        REPEAT(STEP)
#undef STEP
    }
    for (int i = 1; i < ACCUMULATORS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    return (uint64_t)_mm512_reduce_add_ps(a[0]);
}

__attribute__((target("avx2,fma"))) static uint64_t f32_fma_256(void)
{
    __m256 a[ACCUMULATORS], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(1);
    float sum[8];
    for (int i = 0; i < ACCUMULATORS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++) {
#define STEP(i) a[i] = _mm256_fmadd_ps(a[i], x, y);
        REPEAT(STEP)
#undef STEP
    }
    for (int i = 1; i < ACCUMULATORS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    _mm256_storeu_ps(sum, a[0]);
    return (uint64_t)sum[0];
}

typedef struct product {
    const char *name;
    bool here;
    int ops; /* of one instruction */
    uint64_t (*run)(void);
} product;

typedef struct job {
    const product *product;
    uint64_t sum[VD_POOL_THREADS_MAX * 8]; /* a cache line per thread */
} job;

static void run_product(void *ctx, size_t thread, size_t n_threads)
{
    job *j = ctx;
    (void)n_threads;
    j->sum[thread * 8] += j->product->run();
}

static double tera_ops(vd_pool *pool, const product *p)
{
    static job j;
    double best = 0;
    j.product = p;
    uint64_t end_ns = vd_now_ns() + enough_ns;
    for (uint64_t begin_ns = vd_now_ns(); begin_ns < end_ns; begin_ns = vd_now_ns()) {
        vd_pool_run(pool, run_product, &j);
        double ns = (double)(vd_now_ns() - begin_ns);
        double ops = (double)ROUNDS * ACCUMULATORS * p->ops * (double)vd_pool_n_threads(pool);
        best = ops / ns * 1e-3 > best ? ops / ns * 1e-3 : best;
    }
    return best;
}

static bool number(const char *text, uint64_t most, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || n < 1 || n > most)
        return false;
    *ret = n;
    return true;
}

int main(int argc, char **argv)
{
    uint64_t n_threads = 0, bytes[SIZES_MAX];
    size_t n_sizes = 0;
    vd_pool *pool = NULL;
    vd_err err = {0};
    bool good = true;
    for (int i = 1; good && i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] == 't' && argv[i][2] == '\0' && i + 1 < argc)
            good = number(argv[++i], VD_POOL_THREADS_MAX, &n_threads);
        else
            good = n_sizes < SIZES_MAX && number(argv[i], UINT64_C(1) << 40, &bytes[n_sizes++]);
    }
    if (!good) {
        fprintf(stderr, "usage: limits [-t THREADS] [BYTES ...]\n");
        return 2;
    }
    if (vd_pool_create((size_t)n_threads, &pool, &err) != VD_OK) {
        fprintf(stderr, "limits: %s\n", err.message);
        return 1;
    }
    const product products[] = {
        {"int8_vnni_tops", __builtin_cpu_supports("avx512vnni"), 128, int8_vnni},
        {"bf16_dot_tflops", __builtin_cpu_supports("avx512bf16"), 64, bf16_dot},
        {"f32_fma_tflops", __builtin_cpu_supports("avx512f"), 32, f32_fma},
        {"f32_fma_256_tflops", __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"), 16,
         f32_fma_256},
    };
    printf("{\"threads\": %zu", vd_pool_n_threads(pool));
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++)
        if (products[i].here)
            printf(", \"%s\": %.4f", products[i].name, tera_ops(pool, &products[i]));
    vd_pool_free(pool);
    printf(", \"read\": [");
    for (size_t i = 0; i < n_sizes; i++) {
        vd_bandwidth b;
        vd_bandwidth_measure(bytes[i], (size_t)n_threads, &b);
        if (b.n_passes == 0) {
            fprintf(stderr, "limits: reading %llu bytes: %s\n", (unsigned long long)bytes[i],
                    b.why_not);
            return 1;
        }
        printf("%s{\"bytes\": %llu, \"gb_s\": %.3f, \"median_gb_s\": %.3f}", i > 0 ? ", " : "",
               (unsigned long long)b.bytes, b.best_gb_s, b.median_gb_s);
    }
    printf("]}\n");
    if (fflush(stdout) != 0) {
        perror("limits: standard output");
        return 1;
    }
    return 0;
}
