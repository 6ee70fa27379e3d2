/* test_gguf.c - well-formed GGUF files: what is read back is what was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "gguf_writer.h"

/* Every type as scalar and array, two tensors (one quantized), alignment 64. */
static gguf_writer sample(void)
{
    gguf_writer w = {0};
    gguf_header(&w, 3, 2, 15);
    gguf_key(&w, "t.u8", 0);
    gguf_int(&w, 200, 1);
    gguf_key(&w, "t.i8", 1);
    gguf_int(&w, (uint64_t)-3, 1);
    gguf_key(&w, "t.u16", 2);
    gguf_int(&w, 65535, 2);
    gguf_key(&w, "t.i16", 3);
    gguf_int(&w, (uint64_t)-300, 2);
    gguf_kv_u32(&w, "general.alignment", 64);
    gguf_key(&w, "t.i32", 5);
    gguf_u32(&w, (uint32_t)-70000);
    gguf_kv_f32(&w, "t.f32", 0.5f);
    gguf_kv_bool(&w, "t.bool", 1);
    gguf_kv_str(&w, "t.str", "abc");
    gguf_key_array(&w, "t.arr_str", 8, 3);
    gguf_str(&w, "x");
    gguf_str(&w, "");
    gguf_str(&w, "yz");
    gguf_key(&w, "t.u64", 10);
    gguf_u64(&w, UINT64_MAX);
    gguf_key(&w, "t.i64", 11);
    gguf_u64(&w, (uint64_t)INT64_MIN);
    gguf_key(&w, "t.f64", 12);
    double pi = 3.141592653589793;
    uint64_t bits;
    memcpy(&bits, &pi, 8);
    gguf_u64(&w, bits);
    gguf_key_array(&w, "t.arr_i16", 3, 2);
    gguf_int(&w, 7, 2);
    gguf_int(&w, (uint64_t)-8, 2);
    gguf_key_array(&w, "t.arr_empty", 6, 0);
    gguf_tensor(&w, "first", 2, (uint64_t[]){5, 3}, 0, 0); /* 60 bytes of F32, padded to 64 */
    gguf_tensor(&w, "second", 1, (uint64_t[]){64}, 2, 64); /* two blocks of Q4_0, 36 bytes */
    gguf_pad(&w, 64);
    gguf_fill(&w, 64, 1);
    gguf_fill(&w, 64, 2);
    return w;
}

static void everything_written_is_read_back(void **state)
{
    gguf_writer w = sample();
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    uint32_t u32 = 1;
    int32_t i32 = 1;
    float f32 = 0;
    bool flag = false;
    vd_str str;
    uint64_t u64 = 0;
    int64_t i64 = 0;
    double f64 = 0;
    assert_int_equal(vd_gguf_open_memory(w.data, w.n, NULL, &gguf, &err), VD_OK);
    assert_int_equal(vd_gguf_version(gguf), 3);
    assert_int_equal(vd_gguf_alignment(gguf), 64);
    assert_int_equal(vd_gguf_file_bytes(gguf), w.n);
    assert_int_equal(vd_gguf_n_kv(gguf), 15);
    assert_true(vd_gguf_get_u32(gguf, "t.u8", &u32) && u32 == 200);
    assert_true(vd_gguf_get_u32(gguf, "t.u16", &u32) && u32 == 65535);
    assert_true(vd_gguf_get_i32(gguf, "t.i8", &i32) && i32 == -3);
    assert_true(vd_gguf_get_i32(gguf, "t.i16", &i32) && i32 == -300);
    assert_true(vd_gguf_get_i32(gguf, "t.i32", &i32) && i32 == -70000);
    assert_true(vd_gguf_get_f32(gguf, "t.f32", &f32) && f32 == 0.5f);
    assert_true(vd_gguf_get_f32(gguf, "t.f64", &f32) && f32 == 3.14159265f);
    assert_true(vd_gguf_get_bool(gguf, "t.bool", &flag) && flag);
    assert_true(vd_gguf_get_str(gguf, "t.str", &str) && str.n == 3);
    assert_memory_equal(str.data, "abc", 3);
    assert_true(vd_gguf_item_u64(vd_gguf_find(gguf, "t.u64"), 0, &u64) && u64 == UINT64_MAX);
    assert_true(vd_gguf_item_i64(vd_gguf_find(gguf, "t.i64"), 0, &i64) && i64 == INT64_MIN);
    assert_true(vd_gguf_item_f64(vd_gguf_find(gguf, "t.f64"), 0, &f64) && f64 == 3.141592653589793);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, "t.arr_i16");
    assert_true(vd_gguf_item_i64(kv, 1, &i64) && i64 == -8);
    assert_false(vd_gguf_item_i64(kv, 2, &i64));
    kv = vd_gguf_find(gguf, "t.arr_str");
    assert_int_equal(kv->n_items, 3);
    const unsigned char *cursor = kv->data;
    assert_int_equal(vd_gguf_next_str(&cursor).n, 1);
    assert_int_equal(vd_gguf_next_str(&cursor).n, 0);
    str = vd_gguf_next_str(&cursor);
    assert_int_equal(str.n, 2);
    assert_memory_equal(str.data, "yz", 2);
    assert_int_equal(vd_gguf_find(gguf, "t.arr_empty")->n_items, 0);

    assert_int_equal(vd_gguf_n_tensors(gguf), 2);
    const vd_gguf_tensor *tensor = vd_gguf_find_tensor(gguf, "second");
    assert_ptr_equal(tensor, vd_gguf_tensor_at(gguf, 1));
    assert_int_equal(tensor->n_bytes, 36);
    assert_int_equal(tensor->dim[0], 64);
    assert_int_equal(tensor->dim[1], 1);
    assert_int_equal(tensor->data[0], 2);
    assert_ptr_equal(vd_gguf_tensor_at(gguf, 0)->data + 64, tensor->data);
    assert_null(vd_gguf_find_tensor(gguf, "third"));
    vd_gguf_free(gguf);
    free(w.data);
}

static void reads_that_would_lose_something_are_refused(void **state)
{
    gguf_writer w = sample();
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    uint32_t u32 = 77;
    int32_t i32 = 77;
    float f32 = 77;
    bool flag = true;
    vd_str str = {"77", 2};
    assert_int_equal(vd_gguf_open_memory(w.data, w.n, NULL, &gguf, &err), VD_OK);
    assert_false(vd_gguf_get_u32(gguf, "t.i8", &u32));
    assert_false(vd_gguf_get_u32(gguf, "t.u64", &u32));
    assert_false(vd_gguf_get_u32(gguf, "t.f32", &u32));
    assert_false(vd_gguf_get_u32(gguf, "t.arr_i16", &u32));
    assert_false(vd_gguf_get_u32(gguf, "absent", &u32));
    assert_false(vd_gguf_get_i32(gguf, "t.i64", &i32));
    assert_false(vd_gguf_get_f32(gguf, "t.str", &f32));
    assert_false(vd_gguf_get_f32(gguf, "t.u64", &f32));
    assert_false(vd_gguf_get_bool(gguf, "t.u8", &flag));
    assert_false(vd_gguf_get_str(gguf, "t.arr_str", &str));
    assert_true(u32 == 77 && i32 == 77 && f32 == 77 && flag && str.n == 2);
    assert_int_equal(vd_gguf_require_u32(gguf, "absent", &u32, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "'absent' is missing"));
    assert_int_equal(vd_gguf_require_u32(gguf, "t.i8", &u32, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "-3"));
    assert_int_equal(vd_gguf_require_str(gguf, "t.u8", &str, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_gguf_require_f32(gguf, "t.str", &f32, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "string"));
    vd_gguf_free(gguf);
    free(w.data);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    gguf_writer w = sample();
    for (size_t n = 0; n < w.n; n++) {
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        unsigned char *exact = malloc(n > 0 ? n : 1); /* so that a sanitizer sees overreading */
        assert_non_null(exact);
        memcpy(exact, w.data, n);
        assert_int_equal(vd_gguf_open_memory(exact, n, NULL, &gguf, &err), VD_ERR_FORMAT);
        assert_null(gguf);
        assert_non_null(strstr(err.message, "byte"));
        vd_status st = vd_gguf_open_memory(exact, n, &(vd_gguf_options){.metadata_only = true},
                                           &gguf, &err);
        assert_int_equal(st, n < w.n - 128 ? VD_ERR_FORMAT : VD_OK);
        if (st == VD_OK)
            assert_null(vd_gguf_tensor_at(gguf, 0)->data);
        vd_gguf_free(gguf);
        free(exact);
    }
    free(w.data);
}

static void every_failed_allocation_is_reported_and_nothing_leaks(void **state)
{
    gguf_writer w = sample();
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        assert_true(k < 100);
        vd_alloc_fail_at(k);
        st = vd_gguf_open_memory(w.data, w.n, NULL, &gguf, &err);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_gguf_free(gguf);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    free(w.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_written_is_read_back),
        cmocka_unit_test(reads_that_would_lose_something_are_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(every_failed_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
