/* test_gguf_write.c - GGUF files written: the right bytes, and nothing at all after a failure. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "gguf_writer.h"
#include "model/gguf_write.h"

static char directory[64], path[96];

static int make_directory(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-write-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/m.gguf", directory);
    return 0;
}

static int remove_directory(void **state)
{
    unlink(path);
    return rmdir(directory);
}

static int count_files(void)
{
    int n = 0;
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(stream);
    return n;
}

/* A file with every kind of value and tensors of several sizes, by the tests' own writer. */
static gguf_writer by_hand(uint32_t alignment)
{
    gguf_writer w = {0};
    static const uint64_t dims[4][2] = {{32, 3}, {5, 1}, {0, 4}, {64, 2}};
    gguf_header(&w, 3, 4, alignment == 32 ? 7 : 8);
    if (alignment != 32)
        gguf_kv_u32(&w, "general.alignment", alignment);
    gguf_kv_str(&w, "text", "a\0b");
    gguf_kv_bool(&w, "yes", 1);
    gguf_kv_f32(&w, "third", 0.3333f);
    gguf_key(&w, "wide", 10);
    gguf_u64(&w, UINT64_MAX);
    gguf_key_array(&w, "words", 8, 3);
    gguf_str(&w, "one");
    gguf_str(&w, "");
    gguf_str(&w, "three");
    gguf_key_array(&w, "shorts", 3, 2);
    gguf_int(&w, 0xfffe, 2);
    gguf_int(&w, 7, 2);
    gguf_key_array(&w, "none", 5, 0);
    uint64_t at = 0, bytes[4];
    for (int i = 0; i < 4; i++) {
        uint32_t dtype = i == 3 ? 2 : 0; /* Q4_0: 18 bytes per 32 */
        bytes[i] = dtype == 2 ? dims[i][0] / 32 * 18 * dims[i][1] : 4 * dims[i][0] * dims[i][1];
        gguf_tensor(&w, (const char *[]){"a", "b", "nothing", "d"}[i], 2, dims[i], dtype, at);
        at = (at + bytes[i] + alignment - 1) / alignment * alignment;
    }
    for (int i = 0; i < 4; i++) {
        gguf_pad(&w, alignment);
        gguf_fill(&w, bytes[i], (unsigned char)(i + 1));
    }
    gguf_pad(&w, alignment);
    return w;
}

/* Copies `from` to `path`, the data in pieces of at most `piece` bytes. */
static vd_status copy(const vd_gguf *from, size_t piece, vd_err *err)
{
    vd_gguf_out *out = NULL;
    vd_status st = vd_gguf_out_open(path, vd_gguf_alignment(from), &out, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < vd_gguf_n_kv(from); i++)
        vd_gguf_out_kv(out, vd_gguf_kv_at(from, i));
    for (size_t i = 0; i < vd_gguf_n_tensors(from); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(from, i);
        vd_gguf_out_tensor(out, t->name, t->dtype, t->n_dims, t->dim);
    }
    st = vd_gguf_out_begin(out, err);
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(from); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(from, i);
        for (size_t at = 0; st == VD_OK && at < t->n_bytes; at += piece) {
            size_t n = t->n_bytes - at < piece ? t->n_bytes - at : piece;
            st = vd_gguf_out_data(out, t->data + at, n, err);
        }
    }
    if (st == VD_OK)
        st = vd_gguf_out_commit(out, err);
    vd_gguf_out_free(out);
    return st;
}

static vd_gguf *open_by_hand(gguf_writer *w, uint32_t alignment)
{
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    *w = by_hand(alignment);
    if (vd_gguf_open_memory(w->data, w->n, NULL, &gguf, &err) != VD_OK)
        fail_msg("%s", err.message);
    return gguf;
}

static void a_copy_is_the_file_byte_for_byte(void **state)
{
    static const uint32_t alignments[] = {1, 32, 64, 4096};
    for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        gguf_writer w;
        char *text = NULL;
        size_t n = 0;
        vd_gguf *gguf = open_by_hand(&w, alignments[i]);
        assert_int_equal(copy(gguf, i == 1 ? 7 : SIZE_MAX / 2, NULL), VD_OK);
        assert_int_equal(vd_file_read(path, 1 << 20, &text, &n, NULL), VD_OK);
        assert_int_equal(n, w.n);
        assert_memory_equal(text, w.data, n);
        vd_free(text);
        vd_gguf_free(gguf);
        free(w.data);
    }
}

static void values_of_every_kind_come_back(void **state)
{
    vd_gguf_out *out = NULL;
    vd_gguf *gguf = NULL;
    assert_int_equal(vd_gguf_out_open(path, 32, &out, NULL), VD_OK);
    vd_gguf_out_u32(out, "u", 4000000000u);
    vd_gguf_out_i32(out, "i", -7);
    vd_gguf_out_f32(out, "f", 0.1f);
    vd_gguf_out_bool(out, "b", true);
    vd_gguf_out_str(out, "s", "text");
    vd_gguf_out_array(out, "words", VD_GGUF_TYPE_STRING, 2);
    vd_gguf_out_item_str(out, (vd_str){"x", 1});
    vd_gguf_out_item_str(out, (vd_str){"yz", 2});
    vd_gguf_out_array(out, "numbers", VD_GGUF_TYPE_I32, 1);
    vd_gguf_out_item_i32(out, -1);
    vd_gguf_out_array(out, "scores", VD_GGUF_TYPE_F32, 1);
    vd_gguf_out_item_f32(out, -0.5f);
    assert_int_equal(vd_gguf_out_begin(out, NULL), VD_OK);
    assert_int_equal(vd_gguf_out_commit(out, NULL), VD_OK);
    vd_gguf_out_free(out);

    uint32_t u = 0;
    int32_t i = 0;
    int64_t number = 0;
    float f = 0;
    double score = 0;
    bool b = false;
    vd_str s = {0};
    assert_int_equal(vd_gguf_open(path, NULL, &gguf, NULL), VD_OK);
    assert_true(vd_gguf_get_u32(gguf, "u", &u) && u == 4000000000u);
    assert_true(vd_gguf_get_i32(gguf, "i", &i) && i == -7);
    assert_true(vd_gguf_get_f32(gguf, "f", &f) && f == 0.1f);
    assert_true(vd_gguf_get_bool(gguf, "b", &b) && b);
    assert_true(vd_gguf_get_str(gguf, "s", &s) && s.n == 4);
    const vd_gguf_kv *words = vd_gguf_find(gguf, "words");
    const unsigned char *cursor = words->data;
    assert_int_equal(words->n_items, 2);
    assert_int_equal(vd_gguf_next_str(&cursor).n, 1);
    assert_memory_equal(vd_gguf_next_str(&cursor).data, "yz", 2);
    assert_true(vd_gguf_item_i64(vd_gguf_find(gguf, "numbers"), 0, &number) && number == -1);
    assert_true(vd_gguf_item_f64(vd_gguf_find(gguf, "scores"), 0, &score) && score == -0.5);
    vd_gguf_free(gguf);
}

static void without_commit_nothing_is_left(void **state)
{
    vd_gguf_out *out = NULL;
    unlink(path);
    assert_int_equal(vd_gguf_out_open(path, 32, &out, NULL), VD_OK);
    assert_int_equal(vd_gguf_out_begin(out, NULL), VD_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    vd_gguf_out_free(out);
    assert_int_equal(count_files(), 0);
    vd_gguf_out_free(NULL);
}

static void any_failed_allocation_leaves_no_file_and_no_memory(void **state)
{
    gguf_writer w;
    vd_gguf *gguf = open_by_hand(&w, 64);
    uint64_t before = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    int k = 1;
    unlink(path);
    for (; st != VD_OK && k < 100; k++) {
        vd_err err = {0};
        vd_alloc_fail_at((uint64_t)k);
        st = copy(gguf, SIZE_MAX / 2, &err);
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, before);
        if (st != VD_OK) {
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_int_not_equal(err.message[0], 0);
            assert_int_equal(count_files(), 0);
        }
    }
    assert_true(k > 5);
    assert_int_equal(st, VD_OK);
    vd_gguf_free(gguf);
    free(w.data);
}

static void a_disk_that_is_too_small_is_known_before_the_work(void **state)
{
    struct rlimit old, tight;
    vd_gguf_out *out = NULL;
    vd_err err = {0};
    unlink(path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){.rlim_cur = 65536, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(vd_gguf_out_open(path, 32, &out, NULL), VD_OK);
    vd_gguf_out_tensor(out, (vd_str){"a", 1}, VD_DTYPE_F32, 1, (uint64_t[]){100000});
    vd_status st = vd_gguf_out_begin(out, &err);
    if (st == VD_OK) { /* where the file system cannot reserve, the write fails */
        static const unsigned char zeros[400000];
        st = vd_gguf_out_data(out, zeros, sizeof(zeros), &err);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    vd_gguf_out_free(out);
    assert_int_equal(st, VD_ERR_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(count_files(), 0);
}

static void tensors_without_a_size_are_refused(void **state)
{
    static const struct {
        uint32_t dtype, n_dims;
        uint64_t dim[3];
    } bad[] = {{12, 1, {100}}, {4, 1, {32}}, {0, 3, {1 << 30, 1 << 30, 1 << 30}},
               {0, 1, {UINT64_MAX / 4 - 2}}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vd_gguf_out *out = NULL;
        vd_err err = {0};
        assert_int_equal(vd_gguf_out_open(path, 32, &out, NULL), VD_OK);
        vd_gguf_out_tensor(out, (vd_str){"first", 5}, 0, 1, (uint64_t[]){8});
        vd_gguf_out_tensor(out, (vd_str){"bad", 3}, bad[i].dtype, bad[i].n_dims, bad[i].dim);
        assert_int_equal(vd_gguf_out_begin(out, &err), VD_ERR_ARG);
        vd_gguf_out_free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_file_byte_for_byte),
        cmocka_unit_test(values_of_every_kind_come_back),
        cmocka_unit_test(without_commit_nothing_is_left),
        cmocka_unit_test(any_failed_allocation_leaves_no_file_and_no_memory),
        cmocka_unit_test(a_disk_that_is_too_small_is_known_before_the_work),
        cmocka_unit_test(tensors_without_a_size_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
