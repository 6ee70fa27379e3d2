/* test_store.c - names, resolution, storing, listing and removing, in a folder of the test's
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "gguf_writer.h"
#include "model/store.h"

static char home[64];

static int make_home(void **state)
{
    vd_json_init();
    snprintf(home, sizeof(home), "/tmp/verdant-store-XXXXXX");
    return mkdtemp(home) == NULL || setenv("VERDANT_HOME", home, 1) != 0;
}

static int remove_home(void **state)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/models", home);
    rmdir(path);
    return rmdir(home);
}

/* Writes a small model (or nonsense) as the unfinished file of `name`; returns its path. */
static char *write_part(const char *name, bool good)
{
    char *path = NULL;
    int fd = -1;
    gguf_writer w = {0};
    assert_int_equal(vd_store_lock(name, NULL, &fd, NULL), VD_OK);
    vd_store_unlock(name, &fd);
    assert_int_equal(vd_store_path(name, ".", ".part", &path, NULL), VD_OK);
    gguf_header(&w, good ? 3 : 9, 0, 1);
    gguf_kv_str(&w, "general.architecture", "llama");
    FILE *stream = fopen(path, "wbe");
    assert_non_null(stream);
    assert_int_equal(fwrite(w.data, 1, w.n, stream), w.n);
    assert_int_equal(fclose(stream), 0);
    free(w.data);
    return path;
}

static void store(const char *name)
{
    vd_err err = {0};
    char *part = write_part(name, true);
    if (vd_store_commit(name, 1, "https://example.org/m.gguf", "00ff", &err) != VD_OK)
        fail_msg("%s", err.message);
    vd_free(part);
}

static void only_names_that_stay_in_the_folder_are_valid(void **state)
{
    char long_name[VD_STORE_NAME_MAX + 2] = {0};
    memset(long_name, 'a', VD_STORE_NAME_MAX);
    assert_true(vd_store_name_valid("smollm2"));
    assert_true(vd_store_name_valid("Llama-3.2_1B"));
    assert_true(vd_store_name_valid("7b"));
    assert_true(vd_store_name_valid("a-00003-of-00002"));
    assert_true(vd_store_name_valid(long_name));
    long_name[VD_STORE_NAME_MAX] = 'a';
    const char *bad[] = {"", ".", "..", ".a", "-a", "_a", "a/b", "../a", "a b", "a\n", "a:b",
                         "\xc3\xa4", "a\\b", "a-00001-of-00002", long_name};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vd_err err = {0};
        assert_false(vd_store_name_valid(bad[i]));
        assert_int_equal(vd_store_name_check(bad[i], &err), VD_ERR_ARG);
    }
}

static void a_path_that_exists_resolves_to_itself(void **state)
{
    char *part = write_part("p", true), *path = NULL;
    assert_int_equal(vd_store_resolve(part, &path, NULL), VD_OK);
    assert_string_equal(path, part);
    unlink(part);
    vd_free(part);
    vd_free(path);
}

static void a_name_that_is_not_there_is_told_how_to_get(void **state)
{
    vd_err err = {0};
    char *path = NULL;
    assert_int_equal(vd_store_resolve("smollm2", &path, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "verdant pull smollm2"));
    assert_int_equal(vd_store_resolve("other", &path, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "verdant pull REF --name other"));
    assert_int_equal(vd_store_resolve("dir/other.gguf", &path, &err), VD_ERR_NOT_FOUND);
    assert_int_equal(vd_store_resolve("/tmp", &path, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "folder"));
    assert_null(path);
}

static void stored_models_are_found_listed_and_removed(void **state)
{
    vd_store_entry *entries = NULL;
    size_t n = 99;
    char *path = NULL;
    vd_err err = {0};
    assert_int_equal(vd_store_list(&entries, &n, &err), VD_OK);
    assert_int_equal(n, 0);
    store("b");
    store("a");
    assert_int_equal(vd_store_resolve("a", &path, &err), VD_OK);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_equal(vd_store_list(&entries, &n, &err), VD_OK);
    assert_int_equal(n, 2);
    assert_string_equal(entries[0].name, "a");
    assert_string_equal(entries[0].path, path);
    assert_string_equal(entries[0].source, "https://example.org/m.gguf");
    assert_string_equal(entries[1].sha256, "00ff");
    assert_true(entries[1].bytes > 24 && entries[1].time_s > 0);
    vd_store_entries_free(entries, n);
    vd_free(path);
    assert_int_equal(vd_store_remove("a", &err), VD_OK);
    assert_int_equal(vd_store_remove("a", &err), VD_ERR_NOT_FOUND);
    assert_int_equal(vd_store_remove("../a", &err), VD_ERR_ARG);
    assert_int_equal(vd_store_remove("b", &err), VD_OK);
}

static void a_file_that_is_no_model_is_never_stored(void **state)
{
    vd_err err = {0};
    char *part = write_part("bad", false), *path = NULL;
    assert_int_equal(vd_store_commit("bad", 1, "x", NULL, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_store_resolve("bad", &path, &err), VD_ERR_NOT_FOUND);
    assert_int_equal(access(part, F_OK), 0);
    assert_int_equal(vd_store_remove("bad", &err), VD_OK); /* takes the unfinished file */
    assert_int_not_equal(access(part, F_OK), 0);
    vd_free(part);
}

/* Writes the unfinished file `no` of `count`; all say that there are `said`. */
static void write_shard(const char *name, unsigned no, unsigned count, unsigned said)
{
    char *path = NULL;
    gguf_writer w = {0};
    assert_int_equal(vd_store_part_path(name, no, count, false, &path, NULL), VD_OK);
    gguf_header(&w, 3, 0, 3);
    gguf_kv_str(&w, "general.architecture", "llama");
    gguf_kv_u32(&w, "split.count", said);
    gguf_kv_u32(&w, "split.no", no - 1);
    FILE *stream = fopen(path, "wbe");
    assert_non_null(stream);
    assert_int_equal(fwrite(w.data, 1, w.n, stream), w.n);
    assert_int_equal(fclose(stream), 0);
    free(w.data);
    vd_free(path);
    assert_int_equal(vd_store_part_path(name, no, count, true, &path, NULL), VD_OK);
    stream = fopen(path, "wbe");
    assert_non_null(stream);
    fclose(stream);
    vd_free(path);
}

static void a_model_of_several_files_is_one_name(void **state)
{
    vd_store_entry *entries = NULL;
    size_t n = 0;
    char *path = NULL;
    vd_err err = {0};
    store("a"); /* makes the folder, and must stay when "s" goes */
    store("s-2");
    for (unsigned no = 1; no <= 3; no++)
        write_shard("s", no, 3, 3);
    if (vd_store_commit("s", 3, "hf:org/repo", NULL, &err) != VD_OK)
        fail_msg("%s", err.message);
    vd_store_remove_parts("s");
    assert_int_equal(vd_store_list(&entries, &n, &err), VD_OK);
    assert_int_equal(n, 3);
    assert_string_equal(entries[1].name, "s");
    assert_int_equal(entries[1].n_files, 3);
    assert_true(entries[1].bytes > 3 * 100);
    assert_int_equal(entries[0].n_files, 1);
    assert_non_null(strstr(entries[1].path, "/s-00001-of-00003.gguf"));
    vd_store_entries_free(entries, n);
    assert_int_equal(vd_store_resolve("s", &path, &err), VD_OK);
    assert_non_null(strstr(path, "/s-00001-of-00003.gguf"));
    vd_free(path);
    assert_int_equal(vd_store_remove("s", &err), VD_OK);
    assert_int_equal(vd_store_resolve("s", &path, &err), VD_ERR_NOT_FOUND);
    assert_int_equal(vd_store_resolve("s-2", &path, &err), VD_OK);
    vd_free(path);
    assert_int_equal(vd_store_remove("a", &err), VD_OK);
    assert_int_equal(vd_store_remove("s-2", &err), VD_OK); /* the folder must be empty at the end */
}

static void files_that_are_not_one_model_are_never_stored(void **state)
{
    vd_err err = {0};
    vd_free(write_part("a", true));
    write_shard("s", 1, 2, 2);
    assert_int_equal(vd_store_commit("s", 2, "x", NULL, &err), VD_ERR_NOT_FOUND);
    write_shard("s", 2, 2, 3);
    assert_int_equal(vd_store_commit("s", 2, "x", NULL, &err), VD_ERR_FORMAT);
    write_shard("s", 1, 1, 2); /* one of two, and named like a whole one */
    assert_int_equal(vd_store_commit("s", 1, "x", NULL, &err), VD_ERR_FORMAT);
    write_shard("s", 1, 2, 1);
    assert_int_equal(vd_store_commit("s", 2, "x", NULL, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_store_remove("s", &err), VD_OK);
    assert_int_equal(vd_store_remove("a", &err), VD_OK);
}

static void the_lock_keeps_other_processes_out(void **state)
{
    int fd = -1, pipe_fd[2], status = 0;
    char byte;
    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(vd_store_lock("l", NULL, &fd, NULL), VD_OK);
    pid_t child = fork();
    if (child == 0) {
        int own = -1;
        if (vd_store_lock("l", NULL, &own, NULL) != VD_OK || write(pipe_fd[1], "x", 1) != 1)
            _exit(1);
        vd_store_unlock("l", &own);
        _exit(0);
    }
    close(pipe_fd[1]);
    vd_store_unlock("l", &fd); /* removes the file the child may be waiting on */
    assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(pipe_fd[0]);
}

static void every_failed_allocation_is_survived(void **state)
{
    store("a");
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        char *path = NULL;
        vd_err err = {0};
        assert_true(k < 50);
        vd_alloc_fail_at(k);
        st = vd_store_resolve("a", &path, &err);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_free(path);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    for (uint64_t k = 1; k < 60; k++) {
        vd_store_entry *entries = NULL;
        size_t n = 0;
        vd_alloc_fail_at(k);
        st = vd_store_list(&entries, &n, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK ? n == 1 : st == VD_ERR_NOMEM);
        vd_store_entries_free(entries, n);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    assert_int_equal(vd_store_remove("a", NULL), VD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_names_that_stay_in_the_folder_are_valid),
        cmocka_unit_test(a_path_that_exists_resolves_to_itself),
        cmocka_unit_test(a_name_that_is_not_there_is_told_how_to_get),
        cmocka_unit_test(stored_models_are_found_listed_and_removed),
        cmocka_unit_test(a_file_that_is_no_model_is_never_stored),
        cmocka_unit_test(a_model_of_several_files_is_one_name),
        cmocka_unit_test(files_that_are_not_one_model_are_never_stored),
        cmocka_unit_test(the_lock_keeps_other_processes_out),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
