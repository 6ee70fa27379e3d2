/* test_gguf_shards.c - a model in several files: whole, and with each thing wrong that can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "gguf_writer.h"

/* What a test wants to be wrong; {0} writes three good shards. */
typedef struct fault {
    int missing;           /* shard 1..3 that is not written */
    int wrong_no;          /* shard whose split.no is 7 */
    int no_split_no;       /* shard without split.no */
    int wrong_count;       /* shard whose split.count is 2 */
    int duplicate;         /* shard that holds the first shard's tensor */
    int cut;               /* shard whose data is one byte short */
    uint64_t n_tensors;    /* split.tensors.count when not 0, else 2 */
    int no_tensor_count;   /* leave split.tensors.count out */
} fault;

static char directory[64];

static int make_directory(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-shards-XXXXXX");
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    char path[128];
    for (int shard = 1; shard <= 3; shard++) {
        snprintf(path, sizeof(path), "%s/m-%05d-of-00003.gguf", directory, shard);
        unlink(path);
    }
    return rmdir(directory);
}

static void write_file(const char *path, const gguf_writer *w)
{
    FILE *stream = fopen(path, "wbe");
    assert_non_null(stream);
    assert_int_equal(fwrite(w->data, 1, w->n, stream), w->n);
    assert_int_equal(fclose(stream), 0);
}

/* Shard 1 holds metadata only, 2 and 3 one tensor each. Returns the path of the first. */
static const char *write_shards(fault f)
{
    static char path[128];
    for (int shard = 3; shard >= 1; shard--) {
        gguf_writer w = {0};
        bool with_no = f.no_split_no != shard, with_total = shard == 1 && !f.no_tensor_count;
        snprintf(path, sizeof(path), "%s/m-%05d-of-00003.gguf", directory, shard);
        unlink(path);
        if (f.missing == shard)
            continue;
        gguf_header(&w, 3, shard > 1, (uint64_t)1 + with_no + with_total + (shard == 1));
        gguf_key(&w, "split.count", 2);
        gguf_int(&w, f.wrong_count == shard ? 2 : 3, 2);
        if (with_no) {
            gguf_key(&w, "split.no", 2);
            gguf_int(&w, f.wrong_no == shard ? 7 : (uint64_t)shard - 1, 2);
        }
        if (with_total) {
            gguf_key(&w, "split.tensors.count", 5);
            gguf_u32(&w, f.n_tensors > 0 ? (uint32_t)f.n_tensors : 2);
        }
        if (shard == 1)
            gguf_kv_str(&w, "general.architecture", "llama");
        if (shard > 1) {
            const char *name = shard == 2 || f.duplicate == shard ? "two" : "three";
            gguf_tensor(&w, name, 1, (uint64_t[]){8}, 0, 0);
            gguf_pad(&w, 32);
            gguf_fill(&w, f.cut == shard ? 31 : 32, (unsigned char)shard);
        }
        write_file(path, &w);
        free(w.data);
    }
    snprintf(path, sizeof(path), "%s/m-00001-of-00003.gguf", directory);
    return path;
}

static void check_refused(fault f, vd_status expected, const char *in_message)
{
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    uint64_t live = vd_alloc_stats_get().n_live;
    assert_int_equal(vd_gguf_open(write_shards(f), NULL, &gguf, &err), expected);
    if (strstr(err.message, in_message) == NULL)
        fail_msg("'%s' not in: %s", in_message, err.message);
    assert_null(gguf);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

static void all_shards_open_by_the_first(void **state)
{
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    assert_int_equal(vd_gguf_open(write_shards((fault){0}), NULL, &gguf, &err), VD_OK);
    assert_int_equal(vd_gguf_n_tensors(gguf), 2);
    assert_int_equal(vd_gguf_find_tensor(gguf, "two")->data[31], 2);
    assert_int_equal(vd_gguf_find_tensor(gguf, "three")->data[0], 3);
    assert_int_equal(vd_gguf_find_tensor(gguf, "three")->shard, 2);
    assert_non_null(vd_gguf_find(gguf, "general.architecture"));
    vd_gguf_free(gguf);
    assert_int_equal(vd_gguf_open(write_shards((fault){.no_tensor_count = 1}), NULL, &gguf, &err),
                     VD_OK);
    vd_gguf_free(gguf);
}

static void what_is_wrong_with_a_shard_is_named(void **state)
{
    check_refused((fault){.missing = 2}, VD_ERR_NOT_FOUND, "shard 2 of 3 is missing");
    check_refused((fault){.missing = 3}, VD_ERR_NOT_FOUND, "shard 3 of 3 is missing");
    check_refused((fault){.missing = 1}, VD_ERR_NOT_FOUND, "00001-of-00003");
    check_refused((fault){.wrong_no = 1}, VD_ERR_FORMAT, "split.no");
    check_refused((fault){.wrong_no = 3}, VD_ERR_FORMAT, "split.no");
    check_refused((fault){.no_split_no = 2}, VD_ERR_FORMAT, "split.no");
    check_refused((fault){.wrong_count = 1}, VD_ERR_FORMAT, "is one of 2 shards");
    check_refused((fault){.wrong_count = 2}, VD_ERR_FORMAT, "split.count");
    check_refused((fault){.duplicate = 3}, VD_ERR_FORMAT, "'two'");
    check_refused((fault){.cut = 3}, VD_ERR_FORMAT, "m-00003-of-00003.gguf: data section");
    check_refused((fault){.n_tensors = 3}, VD_ERR_FORMAT, "split.tensors.count");
    check_refused((fault){.n_tensors = 1}, VD_ERR_FORMAT, "split.tensors.count");
}

static void a_shard_other_than_the_first_is_refused(void **state)
{
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    char path[128];
    write_shards((fault){0});
    snprintf(path, sizeof(path), "%s/m-00002-of-00003.gguf", directory);
    assert_int_equal(vd_gguf_open(path, NULL, &gguf, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "-00001-of-00003.gguf"));
    assert_null(gguf);
}

static void every_failed_allocation_with_shards_is_survived(void **state)
{
    const char *path = write_shards((fault){0});
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        vd_gguf *gguf = NULL;
        vd_err err = {0};
        assert_true(k < 200);
        vd_alloc_fail_at(k);
        st = vd_gguf_open(path, NULL, &gguf, &err);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_gguf_free(gguf);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_shards_open_by_the_first),
        cmocka_unit_test(what_is_wrong_with_a_shard_is_named),
        cmocka_unit_test(a_shard_other_than_the_first_is_refused),
        cmocka_unit_test(every_failed_allocation_with_shards_is_survived),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
