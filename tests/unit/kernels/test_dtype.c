/* The type table and the two 16-bit floats. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/dtype.h"

static void removed_and_unknown_numbers_are_null(void **state)
{
    static const uint32_t none[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 100, UINT32_MAX};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        size_t bytes = 7;
        assert_null(vd_dtype_get(none[i]));
        assert_string_equal(vd_dtype_name(none[i]), "unknown");
        assert_false(vd_dtype_row_bytes(none[i], 256, &bytes));
        assert_int_equal(bytes, 7);
        assert_false(vd_dtype_decodable(none[i]));
    }
}

static void every_used_number_has_a_block(void **state)
{
    int n_used = 0, n_decodable = 0;
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++) {
        const vd_dtype_info *info = vd_dtype_get(i);
        n_decodable += vd_dtype_decodable(i);
        if (info == NULL)
            continue;
        n_used++;
        assert_non_null(info->name);
        assert_true(info->block >= 1 && info->block <= 256);
        assert_true(info->bytes >= 1);
    }
    assert_int_equal(n_used, 35);
    assert_int_equal(n_decodable, 28);
}

static void row_bytes_wants_whole_blocks_and_no_overflow(void **state)
{
    size_t bytes = 7;
    assert_true(vd_dtype_row_bytes(VD_DTYPE_Q4_K, 512, &bytes));
    assert_int_equal(bytes, 288);
    assert_true(vd_dtype_row_bytes(VD_DTYPE_Q4_1, 0, &bytes));
    assert_int_equal(bytes, 0);
    bytes = 7;
    assert_false(vd_dtype_row_bytes(VD_DTYPE_Q4_K, 257, &bytes));
    assert_false(vd_dtype_row_bytes(VD_DTYPE_F32, SIZE_MAX / 2, &bytes));
    assert_int_equal(bytes, 7);
    assert_true(vd_dtype_row_bytes(VD_DTYPE_Q4_0, SIZE_MAX / 32 * 32, &bytes));
}

/* By the definition, with ldexp. */
static float f16_by_definition(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 0)
        return (float)(sign * ldexp(mantissa, -24));
    return (float)(sign * ldexp(1024 + mantissa, exponent - 25));
}

static void every_f16_decodes_by_its_definition_and_comes_back(void **state)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float value = vd_f16_to_f32((uint16_t)h);
        uint16_t back = vd_f32_to_f16(value);
        if ((h >> 10 & 31) == 31) {
            assert_true((h & 0x3ff) ? isnan(value) : isinf(value));
            assert_int_equal(signbit(value) != 0, h >> 15);
            assert_int_equal(back | ((h & 0x3ff) ? 0x200 : 0), (h & 0x3ff) ? h | 0x200 : h);
            continue;
        }
        float want = f16_by_definition((uint16_t)h);
        assert_memory_equal(&value, &want, 4);
        assert_int_equal(back, h);
    }
}

static void f32_rounds_to_the_nearest_even_f16(void **state)
{
    for (uint32_t h = 0; h < 0x7bff; h++) { /* every gap between neighbours */
        double a = (double)vd_f16_to_f32((uint16_t)h), b = (double)vd_f16_to_f32((uint16_t)(h + 1));
        float middle = (float)((a + b) / 2);
        assert_int_equal(vd_f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(vd_f32_to_f16(-middle), (h & 1 ? h + 1 : h) | 0x8000);
        assert_int_equal(vd_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(vd_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
    }
    assert_int_equal(vd_f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(vd_f32_to_f16(nextafterf(65520.0f, 0)), 0x7bff);
    assert_int_equal(vd_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(vd_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(vd_f32_to_f16(1e-40f), 0);
}

static void every_bf16_comes_back_and_rounding_is_to_even(void **state)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float value = vd_bf16_to_f32((uint16_t)h);
        if (isnan(value)) {
            assert_int_equal(vd_f32_to_bf16(value), h | 0x40);
            continue;
        }
        assert_int_equal(vd_f32_to_bf16(value), h);
        uint32_t bits = h << 16 | 0x8000;
        if ((bits & 0x7f800000) == 0x7f800000)
            continue;
        float middle;
        memcpy(&middle, &bits, 4);
        assert_int_equal(vd_f32_to_bf16(middle), h & 1 ? h + 1 : h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removed_and_unknown_numbers_are_null),
        cmocka_unit_test(every_used_number_has_a_block),
        cmocka_unit_test(row_bytes_wants_whole_blocks_and_no_overflow),
        cmocka_unit_test(every_f16_decodes_by_its_definition_and_comes_back),
        cmocka_unit_test(f32_rounds_to_the_nearest_even_f16),
        cmocka_unit_test(every_bf16_comes_back_and_rounding_is_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
