/* quantize.c - quantize_row and store_kv: the same bits at every level. */
#include <math.h>
#include <string.h>

#include "check.h"

static void one_quantize(const vd_kernels *k, const vd_kernels *c, size_t n, int kind, bool wide)
{
    float *x = check_memory(n * sizeof *x);
    int8_t *q[2], *q_low[2] = {NULL, NULL};
    float *scale[2], *sum[2];
    int32_t *neg_sum[2];

    check_now("quantize_row %s n=%zu kind=%d wide=%d", k->name, n, kind, wide);
    check_fill_floats(x, n);
    if (n != 0 && check_random_below(3) == 0)
        x[check_random_below(n)] *= 1e4f;
    check_spoil(x, n, kind);
    for (int i = 0; i < 2; i++) {
        q[i] = check_memory(n);
        if (wide)
            q_low[i] = check_memory(n);
        scale[i] = check_memory(n / 32 * sizeof(float));
        sum[i] = check_memory(n / 32 * sizeof(float));
        neg_sum[i] = check_memory(n / 16 * sizeof(int32_t));
        (i ? c : k)->quantize_row(x, q[i], q_low[i], scale[i], sum[i], neg_sum[i], n);
    }
    check_expect(memcmp(q[0], q[1], n) == 0, "the int8 differ");
    check_expect(!wide || memcmp(q_low[0], q_low[1], n) == 0, "the lower int8 differ");
    check_expect(memcmp(neg_sum[0], neg_sum[1], n / 16 * sizeof(int32_t)) == 0,
                 "the whole sums differ");
    float error = 0, largest = 0; /* of a block that is no oddity: half a step and a little */
    for (size_t i = 0; kind == KIND_PLAIN && i < n; i++) {
        float value = wide ? 256.0f * q[1][i] + q_low[1][i] : q[1][i];
        error = fmaxf(error, fabsf(scale[1][i / 32] * value - x[i]) / scale[1][i / 32]);
        largest = fmaxf(largest, fabsf(value));
    }
    check_expect(error <= (wide ? 1.01f : 0.501f), "a value is %g steps off", (double)error);
    check_expect(largest <= (wide ? 127.0f * 257.0f : 127.0f), "a value is %g", (double)largest);
    bool same = true;
    for (size_t b = 0; b < n / 32; b++) {
        same = same && (scale[0][b] == scale[1][b] || (isnan(scale[0][b]) && isnan(scale[1][b])));
        same = same && (sum[0][b] == sum[1][b] || (isnan(sum[0][b]) && isnan(sum[1][b])));
    }
    check_expect(same, "scales or sums differ");
    check_done_all("quantize_row");
}

static void one_store(const vd_kernels *k, const vd_kernels *c, vd_dtype dtype, size_t n, int kind)
{
    size_t bytes = 0;
    (void)vd_dtype_row_bytes((uint32_t)dtype, n, &bytes);
    float *x = check_memory(n * sizeof *x);
    unsigned char *got = check_memory(bytes), *want = check_memory(bytes);

    check_now("store_kv %s %s n=%zu kind=%d", k->name, vd_dtype_name(dtype), n, kind);
    check_fill_floats(x, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= ldexpf(1.0f, (int)check_random_below(48) - 28); /* subnormal and too large too */
    check_spoil(x, n, kind);
    k->store_kv(dtype, x, got, n);
    c->store_kv(dtype, x, want, n);
    check_expect(memcmp(got, want, bytes) == 0, "bytes differ");
    check_done_all("store_kv");
}

void check_quantize(const vd_kernels *k)
{
    const vd_kernels *c = vd_kernels_level("c");
    for (int kind = 0; kind < KIND_LIMIT; kind++) {
        for (size_t n = 0; n <= 288; n += 32)
            for (int again = 0; again < 8; again++)
                one_quantize(k, c, n, kind, again % 2 != 0);
        for (size_t n = 0; n <= 70; n++) {
            one_store(k, c, VD_DTYPE_F16, n, kind);
            one_store(k, c, VD_DTYPE_F32, n, kind);
            one_store(k, c, VD_DTYPE_BF16, n, kind);
        }
        for (size_t n = 0; n <= 128; n += 32) {
            one_store(k, c, VD_DTYPE_Q8_0, n, kind);
            one_store(k, c, VD_DTYPE_Q4_0, n, kind);
        }
    }
}
