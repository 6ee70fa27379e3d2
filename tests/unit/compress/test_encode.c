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
#include "compress/encode/path.h"

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

/* A zero that counts most, beside values of which no f16 scale is a good part. (The code books have
 * no zero.) */
static void no_row_is_worse_than_zeros(void **state)
{
    static float x[N], w[N], back[N];
    static unsigned char bytes[N * 4];
    for (uint32_t dtype = 0; dtype < VD_DTYPE_LIMIT; dtype++) {
        uint32_t seed = 3;
        if (!vd_encode_needs_weights(dtype))
            continue;
        for (int round = 0; round < 50; round++) {
            double lost = 0, all = 0, size = 1e-6 * (1 + round);
            for (int i = 0; i < N; i++) {
                x[i] = i % 256 == 5 ? 0.0f : (float)size * noise(&seed);
                w[i] = i % 256 == 5 ? 1e30f : 1.0f;
            }
            vd_encode_row((vd_dtype)dtype, x, w, bytes, N);
            vd_dtype_decode((vd_dtype)dtype, bytes, back, N);
            for (int i = 0; i < N; i++) { /* what counts nothing counts a millionth */
                double count = i % 256 == 5 ? 1 : 1e-6, off = (double)(x[i] - back[i]);
                lost += count * off * off;
                all += count * (double)x[i] * (double)x[i];
            }
            assert_true(lost <= 1.001 * all);
        }
    }
}

static void find_lowest(vd_spots *s)
{
    s->lowest = 0;
    for (int i = 1; i < s->n; i++)
        if (s->q[i] < s->q[s->lowest] ||
            (s->q[i] == s->q[s->lowest] && s->l[i] > s->l[s->lowest]))
            s->lowest = i;
}

/* Some hundred random spots; with `coarse` many of them share a place, a Q or an L. */
static void scatter(vd_spots *spots, uint32_t *state, int n, bool coarse)
{
    spots->n = n;
    for (int i = 0; i < n; i++) {
        float q = noise(state), l = noise(state);
        spots->q[i] = 3.0f + (coarse ? rintf(4 * q) : q);
        spots->l[i] = coarse ? rintf(4 * l) : l + q;
    }
    find_lowest(spots);
}

static float least_error(const vd_spots *spots, float t)
{
    float least = INFINITY;
    for (int i = 0; i < spots->n; i++)
        least = fminf(least, vd_spot_error((vd_spot){spots->q[i], spots->l[i]}, t));
    return least;
}

static float least_corner(const vd_spot *spot, int n, float t)
{
    float least = INFINITY;
    for (int i = 0; i < n; i++)
        least = fminf(least, vd_spot_error(spot[i], t));
    return least;
}

static int corners_of(vd_spots *spots, vd_spot *ret)
{
    vd_corner corner[VD_CORNERS_MAX];
    int n = vd_path_find(spots, corner);
    assert_in_range(n, 1, VD_CORNERS_MAX);
    for (int i = 0; i < n; i++) {
        ret[i] = corner[i].at;
        assert_true(spots->q[corner[i].spot] == ret[i].q && spots->l[corner[i].spot] == ret[i].l);
        assert_true(i == 0 || (ret[i].q < ret[i - 1].q && ret[i].l < ret[i - 1].l));
    }
    return n;
}

static void a_path_has_the_best_spot_of_every_scale(void **state)
{
    static vd_spots a, b;
    static vd_spot of_a[VD_CORNERS_MAX], of_b[VD_CORNERS_MAX], both[2 * VD_CORNERS_MAX],
        either[2 * VD_CORNERS_MAX];
    uint32_t seed = 11;
    for (int round = 0; round < 60; round++) {
        scatter(&a, &seed, 64 << round % 4, round % 3 == 0);
        scatter(&b, &seed, 64 << round % 2, round % 5 == 0);
        int n_a = corners_of(&a, of_a), n_b = corners_of(&b, of_b);
        int n_both = vd_path_add(of_a, n_a, of_b, n_b, both);
        int n_either = vd_path_either(of_a, n_a, of_b, n_b, either);
        assert_in_range(n_both, 1, n_a + n_b - 1);
        assert_in_range(n_either, 1, n_a + n_b);
        float t = 1e-3f;
        for (int i = 0; i < 140; i++, t *= 1.1f) {
            float in_a = least_error(&a, t), in_b = least_error(&b, t), near = 1e-5f * t * (t + 1);
            assert_true(least_corner(of_a, n_a, t) <= in_a + near);
            assert_true(least_corner(of_b, n_b, t) <= in_b + near);
            assert_true(fabsf(least_corner(both, n_both, t) - in_a - in_b) <= 4 * near);
            assert_true(fabsf(least_corner(either, n_either, t) - fminf(in_a, in_b)) <= near);
        }
    }
}

static void one_spot_is_a_path(void **state)
{
    static vd_spots spots;
    vd_spot corner[VD_CORNERS_MAX];
    spots.n = VD_SPOTS_RUN;
    for (int i = 0; i < spots.n; i++)
        spots.q[i] = 2;
    assert_int_equal(corners_of(&spots, corner), 1);
    spots.lowest = 40;
    spots.q[40] = 1; /* of no L at all the smallest Q */
    assert_int_equal(corners_of(&spots, corner), 1);
    assert_true(corner[0].q == 1);
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
        cmocka_unit_test(no_row_is_worse_than_zeros),
        cmocka_unit_test(a_path_has_the_best_spot_of_every_scale),
        cmocka_unit_test(one_spot_is_a_path),
        cmocka_unit_test(denormals_are_kept_while_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
