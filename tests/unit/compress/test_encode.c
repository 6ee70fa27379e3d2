/*
 * test_encode.c - every encoder on rows on which quantizers stumble: nothing is written beyond the
 * blocks, what comes back is finite and near. Under the sanitizers this walks all of encode/; the
 * bytes themselves are held against llama.cpp's by tests/py/test_encode.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "compress/encode.h"

enum { N = 512, N_KINDS = 12, CANARY = 0xA5 };

static float noise(uint32_t *state)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) / 16777216.0f - 0.5f;
    }
    return sum;
}

/* Rows of kind 0..N_KINDS-1. */
static void fill(int kind, float *x)
{
    uint32_t state = 7;
    for (int i = 0; i < N; i++) {
        float r = noise(&state);
        const float kinds[N_KINDS] = {0.0f,
                                      -0.0f,
                                      0.5f,
                                      -0.5f,
                                      i % 256 == 7 ? 1.0f : 0.0f,
                                      i % 2 != 0 ? 1.0f : -1.0f,
                                      r,
                                      r + 3.0f,
                                      r * 65504.0f / 2.0f,
                                      1e-41f,
                                      r * 1e-39f,
                                      r * 1e-7f};
        x[i] = kinds[kind];
    }
}

static void every_type_gives_finite_values_near_the_true_ones(void **state)
{
    static float x[N], back[N];
    static unsigned char bytes[N * 4 + 64];
    fenv_t before;
    vd_encode_floats_begin(&before);
    for (uint32_t dtype = 0; dtype < VD_DTYPE_LIMIT; dtype++) {
        size_t n_bytes = 0;
        if (!vd_encodable(dtype))
            continue;
        assert_true(vd_dtype_row_bytes(dtype, N, &n_bytes));
        for (int kind = 0; kind < N_KINDS; kind++) {
            float low = 0, high = 0;
            fill(kind, x);
            memset(bytes, CANARY, sizeof(bytes));
            vd_encode_row((vd_dtype)dtype, x, NULL, bytes + 1, N); /* at any address */
            assert_int_equal(bytes[0], CANARY);
            for (size_t i = n_bytes + 1; i < sizeof(bytes); i++)
                assert_int_equal(bytes[i], CANARY);
            vd_dtype_decode((vd_dtype)dtype, bytes + 1, back, N);
            for (int i = 0; i < N; i++) {
                low = fminf(low, x[i]);
                high = fmaxf(high, x[i]);
            }
            for (int i = 0; i < N; i++)
                if (!(fabsf(back[i] - x[i]) <= high - low + 1e-6f))
                    fail_msg("%s, row %d: %g became %g", vd_dtype_name(dtype), kind, (double)x[i],
                             (double)back[i]);
        }
    }
    vd_encode_floats_end(&before);
}

static void the_largest_value_does_not_overflow_a_scale(void **state)
{
    static float x[N], back[N];
    static unsigned char bytes[N * 4];
    for (uint32_t dtype = 0; dtype < VD_DTYPE_LIMIT; dtype++) {
        if (!vd_encodable(dtype))
            continue;
        float max = vd_encode_max((vd_dtype)dtype);
        for (int i = 0; i < N; i++)
            x[i] = i % 3 == 0 ? max : i % 3 == 1 ? -max : max / 3;
        vd_encode_row((vd_dtype)dtype, x, NULL, bytes, N);
        vd_dtype_decode((vd_dtype)dtype, bytes, back, N);
        for (int i = 0; i < N; i++)
            assert_true(isfinite(back[i]));
        assert_true(back[0] > 0.5f * max);
    }
}

static void denormals_are_kept_while_encoding(void **state)
{
    fenv_t before, after;
    volatile float tiny = 1e-30f;
    vd_encode_floats_begin(&before);
    volatile float product = tiny * 1e-10f;
    assert_true(product > 0);
    assert_int_equal(fegetround(), FE_TONEAREST);
    vd_encode_floats_end(&before);
    fegetenv(&after);
    assert_memory_equal(&before, &after, sizeof(before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_finite_values_near_the_true_ones),
        cmocka_unit_test(the_largest_value_does_not_overflow_a_scale),
        cmocka_unit_test(denormals_are_kept_while_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
