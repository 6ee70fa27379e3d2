/*
 * source_test.h - for the tests of sources: a folder of files, a clock, a source that samples at
 * each read.
 */
#ifndef TESTS_ENERGY_SOURCE_TEST_H
#define TESTS_ENERGY_SOURCE_TEST_H

#include "fake_tree.h"

#include <time.h>

#include "base/alloc.h"
#include "energy/sources/source.h"

#define MS UINT64_C(1000000)

typedef struct source_test {
    fake_tree tree; /* root, clock, what is denied */
    vd_source source;
    uint64_t uj[VD_PART_N]; /* of the last read */
} source_test;

/* Writes a file below the root, with its folders. */
static inline void put(const source_test *t, const char *path, const char *text)
{
    char full[500], *slash;
    snprintf(full, sizeof(full), "%s/%s", t->tree.root, path);
    slash = strrchr(full, '/');
    *slash = '\0';
    make_path(full);
    *slash = '/';
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void put_number(const source_test *t, const char *path, int64_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64 "\n", number);
    put(t, path, text);
}

static inline void take_away(const source_test *t, const char *path)
{
    char full[500];
    snprintf(full, sizeof(full), "%s/%s", t->tree.root, path);
    assert_int_equal(remove(full), 0);
}

static inline vd_source_env env_of(source_test *t, const char *spec)
{
    return (vd_source_env){.sysfs = t->tree.root,
                           .spec = spec,
                           .now_ns = t->tree.now_ns,
                           .sample_in_read = true,
                           .open_file = tree_open,
                           .ctx = &t->tree};
}

static inline vd_status try_open(source_test *t, vd_source_open_fn open_source, const char *spec,
                                 vd_err *err)
{
    vd_source_env env = env_of(t, spec);
    return open_source(&env, &t->source, err);
}

static inline void must_open(source_test *t, vd_source_open_fn open_source, const char *spec)
{
    vd_err err = {0};
    if (try_open(t, open_source, spec, &err) != VD_OK)
        fail_msg("%s", err.message);
}

/* Opening fails with this status and a message that has these words. */
static inline void must_fail(source_test *t, vd_source_open_fn open_source, const char *spec,
                             vd_status status, const char *words)
{
    vd_err err = {0};
    assert_int_equal(try_open(t, open_source, spec, &err), status);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    assert_null(t->source.ops);
}

/* Reads after so long; t->uj is what was added. False: a gap. */
static inline bool read_source(source_test *t, uint64_t ns)
{
    t->tree.now_ns += ns;
    memset(t->uj, 0, sizeof(t->uj));
    return t->source.ops->read(&t->source, t->tree.now_ns, t->uj);
}

static inline void close_source(source_test *t)
{
    if (t->source.ops != NULL)
        t->source.ops->close(&t->source);
    t->source = (vd_source){0};
}

/* Every allocation of an opening fails once; then it succeeds, and nothing is left over. */
static inline void fail_each_allocation(source_test *t, vd_source_open_fn open_source,
                                        const char *spec)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = try_open(t, open_source, spec, &err);
        vd_alloc_fail_at(0);
        close_source(t);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            assert_true(k > 1);
            return;
        }
        assert_int_equal(st, VD_ERR_NOMEM);
    }
}

#endif
