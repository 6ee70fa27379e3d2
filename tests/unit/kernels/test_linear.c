/* Weights and activations made ready: shapes that are refused, memory that is short, slabs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "kernels/kernels.h"
#include "kernels/slab.h"

enum { N = 40, K = 256 };

static const vd_kernels *packing(void)
{
    return vd_kernels_level("c-packed");
}

static void the_plain_tables_are_always_there(void **state)
{
    assert_non_null(vd_kernels_get());
    assert_string_equal(vd_kernels_level("c")->name, "c");
    assert_non_null(packing());
    assert_null(vd_kernels_level("no such level"));
    assert_int_equal(vd_kernels_default_precision(vd_kernels_level("c")), VD_PRECISION_EXACT);
    assert_int_equal(vd_kernels_default_precision(packing()), VD_PRECISION_FAST);
}

static void types_and_shapes_that_cannot_be_are_refused_untouched(void **state)
{
    vd_weight weight = {.n_rows = 7};
    vd_err err = {0};
    const vd_kernels *k = packing();

    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, (vd_dtype)9, 1, 32, "", &weight,
                                       &err), VD_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Q8_1"));
    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, (vd_dtype)99, 1, 256, "", &weight,
                                       &err), VD_ERR_UNSUPPORTED);
    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, VD_DTYPE_Q4_K, 1, 255, "", &weight,
                                       &err), VD_ERR_ARG);
    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, VD_DTYPE_F32, SIZE_MAX / 8, 256, "",
                                       &weight, NULL), VD_ERR_ARG);
    assert_int_equal(weight.n_rows, 7);
}

static void a_scale_that_no_layout_holds_leaves_the_rows_of_the_file(void **state)
{
    unsigned char rows[2 * 17] = {0};
    float x[32], y[2];
    _Alignas(64) float scratch[16 * 32];
    vd_weight weight;
    vd_act act;
    _Alignas(64) unsigned char space[1024];

    for (int last = 0; last < 2; last++) {
        rows[0] = 128, rows[1] = 0x22; /* 1 * table[2] = 2 */
        rows[17] = last == 0 ? 129 : 250, rows[18] = 0x02; /* 2^1 and 2^122 times 2 */
        assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_MXFP4, 2, 32,
                                           rows, &weight, NULL), VD_OK);
        assert_int_equal(weight.layout != 0, last == 0);
        assert_int_equal(weight.packed != NULL, last == 0);
        for (int i = 0; i < 32; i++)
            x[i] = i == 0;
        assert_true(vd_act_bytes(1, 32) <= sizeof space);
        vd_act_bind(packing(), VD_PRECISION_FAST, &act, space, x, 1, 32, 32, false);
        vd_act_quantize(packing(), VD_PRECISION_FAST, &act, 0, 1);
        vd_linear(packing(), &weight, &act, y, 2, 0, 2, scratch);
        assert_float_equal(y[0], 2, 1e-6);
        assert_float_equal(y[1] / (last == 0 ? 4 : 0x1p123f), 1, 1e-6);
        vd_weight_done(&weight);
    }
}

static void rows_of_an_act_give_the_rows_of_the_product(void **state)
{
    enum { T = 5 };
    unsigned char rows[N * K / 32 * 18];
    float x[T * K], whole[T * N], part[2 * N];
    _Alignas(64) static float scratch[16 * K];
    _Alignas(64) static unsigned char space[32 * T * K];
    vd_weight weight;
    vd_act act;
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (unsigned char)(i % 18 == 1 ? 0x2c : i * 37); /* f16 scales near 0.06 */
    for (size_t i = 0; i < T * K; i++)
        x[i] = sinf((float)i);
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_Q4_0, N, K, rows,
                                       &weight, NULL), VD_OK);
    assert_true(vd_act_bytes(T, K) <= sizeof space);
    for (int wide = 0; wide < 2; wide++) {
        vd_act_bind(packing(), VD_PRECISION_FAST, &act, space, x, T, K, K, wide);
        vd_act_quantize(packing(), VD_PRECISION_FAST, &act, 0, T);
        vd_linear(packing(), &weight, &act, whole, N, 0, N, scratch);
        vd_act own = vd_act_rows(&act, 2, 4);
        vd_linear(packing(), &weight, &own, part, N, 0, N, scratch);
        assert_memory_equal(part, whole + 2 * N, sizeof part);
    }
    vd_weight_done(&weight);
}

static void a_failed_packing_leaks_nothing(void **state)
{
    unsigned char rows[N * K / 32 * 18] = {0};
    vd_weight weight;
    vd_err err = {0};
    uint64_t before = vd_alloc_stats_get().n_live;

    vd_alloc_fail_at(1);
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_Q4_0, N, K, rows,
                                       &weight, &err), VD_ERR_NOMEM);
    vd_alloc_fail_at(0);
    assert_int_equal(vd_alloc_stats_get().n_live, before);
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_Q4_0, N, K, rows,
                                       &weight, &err), VD_OK);
    vd_weight_done(&weight);
    vd_weight_done(&weight);
    vd_weight_done(NULL);
    assert_int_equal(vd_alloc_stats_get().n_live, before);
}

static void exact_weights_are_borrowed_and_fast_ones_packed(void **state)
{
    unsigned char rows[N * K / 32 * 18] = {0};
    vd_weight weight;
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_EXACT, VD_DTYPE_Q4_0, N, K, rows,
                                       &weight, NULL), VD_OK);
    assert_int_equal(weight.layout, 0);
    assert_ptr_equal(weight.rows, rows);
    assert_null(weight.packed);
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_Q4_0, N, K, rows,
                                       &weight, NULL), VD_OK);
    assert_int_not_equal(weight.layout, 0);
    assert_int_equal((uintptr_t)weight.packed % 64, 0);
    vd_weight_done(&weight);
}

static void packed_floats_hold_two_columns_of_a_row_together(void **state)
{
    enum { ROWS = 17, COLS = 64 };
    uint16_t rows[ROWS * COLS], *packed;
    vd_weight weight;
    for (int i = 0; i < ROWS * COLS; i++)
        rows[i] = (uint16_t)i;
    assert_int_equal(vd_weight_prepare(packing(), VD_PRECISION_FAST, VD_DTYPE_BF16, ROWS, COLS,
                                       rows, &weight, NULL), VD_OK);
    packed = weight.packed;
    assert_non_null(packed);
    assert_int_equal(weight.packed_bytes, 2 * 16 * COLS * sizeof *rows);
    for (int r = 0; r < 32; r++)
        for (int c = 0; c < COLS; c++)
            assert_int_equal(packed[r / 16 * 16 * COLS + c / 2 * 32 + r % 16 * 2 + c % 2],
                             r < ROWS ? rows[r * COLS + c] : 0);
    vd_weight_done(&weight);
}

static void act_bytes_overflow_asks_for_the_impossible(void **state)
{
    assert_int_equal(vd_act_bytes(SIZE_MAX / 2, 4), SIZE_MAX);
    assert_int_equal(vd_act_bytes(SIZE_MAX, SIZE_MAX), SIZE_MAX);
    assert_true(vd_act_bytes(4, 576) >= 4 * (576 + 18 * 16));
}

/* In whole and in parts, through vd_linear, the same numbers. */
static void a_product_in_parts_is_the_product(void **state)
{
    enum { T = 5 };
    static float rows[N * K], x[T * K], whole[T * N], parts[T * N];
    _Alignas(64) static float scratch[16 * K];
    for (int i = 0; i < N * K; i++)
        rows[i] = (float)(i * 7 % 23) - 11;
    for (int i = 0; i < T * K; i++)
        x[i] = (float)(i * 5 % 19) - 9;
    vd_weight weight;
    vd_act act;
    void *memory = vd_alloc_aligned(vd_act_bytes(T, K), 64);
    assert_non_null(memory);
    const vd_kernels *k = vd_kernels_get();
    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, VD_DTYPE_F32, N, K, rows, &weight,
                                       NULL), VD_OK);
    vd_act_bind(k, VD_PRECISION_FAST, &act, memory, x, T, K, K, false);
    vd_act_quantize(k, VD_PRECISION_FAST, &act, 0, T);
    vd_linear(k, &weight, &act, whole, N, 0, N, scratch);
    vd_linear(k, &weight, &act, parts, N, 32, N, scratch);
    vd_linear(k, &weight, &act, parts, N, 16, 32, scratch);
    vd_linear(k, &weight, &act, parts, N, 0, 16, scratch);
    vd_linear(k, &weight, &act, parts, N, N, N, scratch);
    assert_memory_equal(whole, parts, sizeof whole);
    double want = 0;
    for (int i = 0; i < K; i++)
        want += (double)x[2 * K + i] * (double)rows[33 * K + i];
    assert_true(whole[2 * N + 33] == (float)want); /* whole numbers: exact */
    vd_weight_done(&weight);
    vd_free(memory);
}

/* Many tokens: bf16 panels where the table has them. Whole numbers below 256 are bf16, so the sums
 * are exact, whatever computes them. */
static void products_of_many_tokens_are_exact_on_small_whole_numbers(void **state)
{
    enum { T = 45, COLS = 100, ROWS = 41 };
    static uint16_t rows[ROWS * COLS];
    static float x[T * COLS], y[T * ROWS], part[3 * ROWS];
    _Alignas(64) static float scratch[1 << 17];
    vd_kernels rounds = *packing(); /* of 32 tokens */
    rounds.panel_act_bytes = 23 * sizeof(uint16_t) * COLS;
    const vd_kernels *tables[] = {packing(), &rounds, vd_kernels_get()};
    for (int i = 0; i < ROWS * COLS; i++)
        rows[i] = vd_f32_to_f16((float)(i * 7 % 43) - 21);
    for (int i = 0; i < T * COLS; i++)
        x[i] = (float)(i * 5 % 511) - 255;
    for (int i = 0; i < 3; i++)
        for (int wide = 0; wide < 2; wide++) {
            const vd_kernels *k = tables[i];
            vd_weight weight;
            vd_act act;
            void *memory = vd_alloc_aligned(vd_act_bytes(T, COLS), 64);
            assert_non_null(memory);
            assert_true(vd_linear_scratch_bytes(k, COLS) <= sizeof scratch);
            assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, VD_DTYPE_F16, ROWS, COLS,
                                               rows, &weight, NULL), VD_OK);
            vd_act_bind(k, VD_PRECISION_FAST, &act, memory, x, T, COLS, COLS, wide);
            assert_int_equal(act.b != NULL, T >= k->panel_from.rows);
            vd_act_quantize(k, VD_PRECISION_FAST, &act, 0, T);
            vd_linear(k, &weight, &act, y, ROWS, 0, 16, scratch);
            vd_linear(k, &weight, &act, y, ROWS, 16, ROWS, scratch);
            for (int t = 0; t < T; t++)
                for (int n = 0; n < ROWS; n++) {
                    double want = 0;
                    for (int c = 0; c < COLS; c++)
                        want += (double)x[t * COLS + c] *
                                (double)vd_f16_to_f32(rows[n * COLS + c]);
                    assert_true(y[t * ROWS + n] == (float)want);
                }
            vd_act own = vd_act_rows(&act, 40, 43);
            vd_linear(k, &weight, &own, part, ROWS, 0, ROWS, scratch);
            assert_memory_equal(part, y + (size_t)40 * ROWS, sizeof part);
            vd_weight_done(&weight);
            vd_free(memory);
        }
}

static void an_act_holds_what_the_products_of_its_size_read(void **state)
{
    enum { T = 64 };
    vd_kernels k = *packing();
    float x[32] = {0};
    vd_act act;
    void *memory = vd_alloc_aligned(vd_act_bytes(T, 32), 64);
    assert_non_null(memory);
    k.panel_from = (vd_panel_from){.narrow = 64, .wide = 32, .rows = 16};
    static const struct {
        size_t n_rows, wide;
        bool q, b;
    } cases[] = {{15, 0, true, false}, {16, 0, true, true}, {63, 0, true, true},
                 {64, 0, false, true}, {31, 1, true, true}, {32, 1, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vd_act_bind(&k, VD_PRECISION_FAST, &act, memory, x, cases[i].n_rows, 32, 32,
                    cases[i].wide != 0);
        assert_int_equal(act.q != NULL, cases[i].q);
        assert_int_equal(act.b != NULL, cases[i].b);
        vd_act_bind(&k, VD_PRECISION_EXACT, &act, memory, x, cases[i].n_rows, 32, 32, false);
        assert_true(act.q == NULL && act.b == NULL);
    }
    vd_free(memory);
}

/* As the experts of a mixture take them: each part as if its rows were all there are. */
static void parts_go_the_way_of_their_own_size(void **state)
{
    enum { T = 64, FEW = 3, MANY = 40 };
    static unsigned char rows[N * K / 32 * 18];
    static float x[T * K], got[T * N], want[T * N];
    _Alignas(64) static float scratch[16 * K];
    static const size_t sizes[] = {FEW, MANY};
    const vd_kernels *k = packing();
    vd_weight weight;
    vd_act all, own;
    void *memory = vd_alloc_aligned(vd_act_bytes(T, K), 64);
    void *other = vd_alloc_aligned(vd_act_bytes(T, K), 64);
    assert_true(memory != NULL && other != NULL);
    assert_true(FEW < k->panel_from.wide && MANY >= k->panel_from.wide);
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (unsigned char)(i % 18 == 1 ? 0x2c : i * 37); /* f16 scales near 0.06 */
    for (size_t i = 0; i < T * K; i++)
        x[i] = sinf((float)i);
    assert_int_equal(vd_weight_prepare(k, VD_PRECISION_FAST, VD_DTYPE_Q4_0, N, K, rows, &weight,
                                       NULL), VD_OK);
    vd_act_bind_parts(k, VD_PRECISION_FAST, &all, memory, x, T, K, K, true);
    vd_act_quantize(k, VD_PRECISION_FAST, &all, 0, T);
    for (size_t i = 0; i < 2; i++) {
        vd_act part = vd_act_rows(&all, 7, 7 + sizes[i]);
        vd_linear(k, &weight, &part, got, N, 0, N, scratch);
        vd_act_bind(k, VD_PRECISION_FAST, &own, other, x + (size_t)7 * K, sizes[i], K, K, true);
        assert_int_equal(own.q != NULL, sizes[i] == FEW);
        vd_act_quantize(k, VD_PRECISION_FAST, &own, 0, sizes[i]);
        vd_linear(k, &weight, &own, want, N, 0, N, scratch);
        assert_memory_equal(got, want, sizes[i] * N * sizeof *got);
    }
    vd_weight_done(&weight);
    vd_free(memory);
    vd_free(other);
}

static void slabs_share_memory_and_go_with_their_last_block(void **state)
{
    enum { SIZE = 1 << 20, BLOCKS = 20 };
    unsigned char *blocks[BLOCKS];
    vd_slab *slabs[BLOCKS], *own;
    uint64_t before = vd_alloc_stats_get().n_live;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = vd_slab_take(SIZE - 3, &slabs[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], i, SIZE - 3);
    }
    assert_int_equal(vd_alloc_stats_get().n_live, before + 3);
    assert_ptr_equal(slabs[0], slabs[1]);
    void *large = vd_slab_take(9 << 20, &own);
    assert_non_null(large);
    assert_ptr_not_equal(own, slabs[BLOCKS - 1]);
    for (int i = 0; i < BLOCKS; i++) {
        assert_int_equal(blocks[i][0], i);
        assert_int_equal(blocks[i][SIZE - 4], i);
        vd_slab_release(blocks[i], slabs[i]);
    }
    vd_slab_release(large, own);
    vd_slab_release(NULL, NULL);
    assert_int_equal(vd_alloc_stats_get().n_live, before);
    assert_null(vd_slab_take(SIZE_MAX, &own));
    assert_null(vd_slab_take(SIZE_MAX - 100, &own));
    assert_int_equal(vd_alloc_stats_get().n_live, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plain_tables_are_always_there),
        cmocka_unit_test(types_and_shapes_that_cannot_be_are_refused_untouched),
        cmocka_unit_test(a_scale_that_no_layout_holds_leaves_the_rows_of_the_file),
        cmocka_unit_test(rows_of_an_act_give_the_rows_of_the_product),
        cmocka_unit_test(products_of_many_tokens_are_exact_on_small_whole_numbers),
        cmocka_unit_test(an_act_holds_what_the_products_of_its_size_read),
        cmocka_unit_test(parts_go_the_way_of_their_own_size),
        cmocka_unit_test(a_failed_packing_leaks_nothing),
        cmocka_unit_test(exact_weights_are_borrowed_and_fast_ones_packed),
        cmocka_unit_test(packed_floats_hold_two_columns_of_a_row_together),
        cmocka_unit_test(act_bytes_overflow_asks_for_the_impossible),
        cmocka_unit_test(a_product_in_parts_is_the_product),
        cmocka_unit_test(slabs_share_memory_and_go_with_their_last_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
