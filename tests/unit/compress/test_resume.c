/* test_resume.c - what a compression has done so far, on disk: whole states only. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "compress/resume.h"

static char directory[64], target[96], folder[104];

static int make_folder(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-resume-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(target, sizeof(target), "%s/q.gguf", directory);
    snprintf(folder, sizeof(folder), "%s.work", target);
    return 0;
}

static int remove_folder(void **state)
{
    return rmdir(directory); /* fails where a test has left something */
}

static void path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static void put(const char *name, const char *text, const char *mode)
{
    char path[128];
    path_of(name, path);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool exists(const char *name)
{
    char path[128];
    path_of(name, path);
    return access(path, F_OK) == 0;
}

static vd_resume *open_it(const char *fingerprint)
{
    vd_resume *resume = NULL;
    vd_err err = {0};
    if (vd_resume_open(target, fingerprint, &resume, &err) != VD_OK)
        fail_msg("%s", err.message);
    return resume;
}

static void save(vd_resume *resume, size_t n_tensors, size_t layer, const char *stream)
{
    json_t *more = json_pack("{s:i}", "zeros", (int)n_tensors);
    vd_resume_state state = {.n_tensors = n_tensors, .layer = layer, .more = more};
    assert_int_equal(vd_resume_save(resume, &state, stream, strlen(stream), NULL), VD_OK);
    json_decref(more);
}

static void expect_data(vd_resume *resume, const char *text)
{
    char got[64] = "";
    size_t n = strlen(text);
    assert_int_equal(vd_resume_read(resume, got, n / 2, NULL), VD_OK);
    assert_int_equal(vd_resume_read(resume, got + n / 2, n - n / 2, NULL), VD_OK);
    assert_string_equal(got, text);
    assert_int_equal(vd_resume_read(resume, got, 1, NULL), VD_ERR_FORMAT);
}

static void remove_it(void)
{
    vd_resume *resume = open_it("a");
    vd_resume_close(resume, true);
    assert_int_equal(access(folder, F_OK), -1);
}

static void what_was_saved_is_found_and_what_came_after_is_cut_off(void **state)
{
    char stream[4] = "";
    vd_resume *resume = open_it("a");
    assert_null(vd_resume_found(resume));
    assert_int_equal(vd_resume_add(resume, "first ", 6, NULL), VD_OK);
    save(resume, 3, 1, "xyz");
    assert_int_equal(vd_resume_add(resume, "second", 6, NULL), VD_OK);
    save(resume, 9, 2, "uvw");
    assert_int_equal(vd_resume_add(resume, " lost", 5, NULL), VD_OK);
    vd_resume_close(resume, false);
    assert_true(exists("stream.2") && !exists("stream.1"));

    resume = open_it("a");
    const vd_resume_state *found = vd_resume_found(resume);
    assert_non_null(found);
    assert_int_equal(found->n_tensors, 9);
    assert_int_equal(found->layer, 2);
    assert_int_equal(json_integer_value(json_object_get(found->more, "zeros")), 9);
    expect_data(resume, "first second");
    assert_int_equal(vd_resume_stream(resume, stream, 3, NULL), VD_OK);
    assert_memory_equal(stream, "uvw", 3);
    assert_int_equal(vd_resume_stream(resume, stream, 2, NULL), VD_ERR_FORMAT);
    assert_int_equal(vd_resume_add(resume, " third", 6, NULL), VD_OK);
    save(resume, 12, 3, "rst");
    vd_resume_close(resume, false);

    resume = open_it("a");
    expect_data(resume, "first second third");
    vd_resume_close(resume, true);
    assert_int_equal(access(folder, F_OK), -1);
}

static void without_a_state_nothing_is_left(void **state)
{
    vd_resume *resume = open_it("a");
    assert_int_equal(vd_resume_add(resume, "lost", 4, NULL), VD_OK);
    vd_resume_close(resume, false);
    assert_int_equal(access(folder, F_OK), -1);
}

static void a_process_that_died_before_its_first_state_is_begun_anew(void **state)
{
    assert_int_equal(mkdir(folder, 0700), 0);
    put("lock", "", "w");
    put("data", "half", "w");
    put("stream.new", "half", "w");
    put("state.new", "{", "w");
    vd_resume *resume = open_it("a");
    assert_null(vd_resume_found(resume));
    assert_int_equal(vd_resume_add(resume, "x", 1, NULL), VD_OK);
    save(resume, 1, 1, "s");
    vd_resume_close(resume, false);
    resume = open_it("a");
    expect_data(resume, "x");
    vd_resume_close(resume, true);
    assert_int_equal(access(folder, F_OK), -1);
}

static void other_work_and_damage_are_refused_and_left(void **state)
{
    static const char *const states[] = {"", "{", "[]", "{\"version\":2}",
                                         "{\"version\":2,\"work\":\"a\",\"tensors\":-1,\"layer\":1,"
                                         "\"data_bytes\":0,\"data_sum\":\"\",\"stream_sum\":\"\","
                                         "\"more\":{}}",
                                         "{\"version\":2,\"work\":\"a\",\"tensors\":1,\"layer\":1,"
                                         "\"data_bytes\":99,\"data_sum\":\"\",\"stream_sum\":\"\","
                                         "\"more\":{}}"};
    vd_resume *resume = open_it("a"), *other = NULL;
    vd_err err = {0};
    save(resume, 3, 1, "xyz");
    vd_resume_close(resume, false);
    assert_int_equal(vd_resume_open(target, "b", &other, &err), VD_ERR_EXISTS);
    assert_non_null(strstr(err.message, "another compression"));
    assert_true(exists("state.json") && exists("stream.1"));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        put("state.json", states[i], "w");
        assert_int_equal(vd_resume_open(target, "a", &other, &err), VD_ERR_FORMAT);
        assert_non_null(strstr(err.message, "remove the folder"));
        assert_true(exists("state.json") && exists("stream.1"));
    }
    put("state.json", "{\"version\":2,\"work\":\"a\",\"tensors\":1,\"layer\":1,\"data_bytes\":0,"
        "\"data_sum\":\"\",\"stream_sum\":\"\",\"more\":{}}", "w");
    remove_it();
}

static void a_changed_bit_is_seen(void **state)
{
    char got[8], stream[3];
    vd_err err = {0};
    vd_resume *resume = open_it("a");
    assert_int_equal(vd_resume_add(resume, "weights", 7, NULL), VD_OK);
    save(resume, 3, 1, "xyz");
    vd_resume_close(resume, false);
    put("data", "weighty", "w");
    put("stream.1", "xyy", "w");
    resume = open_it("a");
    assert_int_equal(vd_resume_read(resume, got, 6, NULL), VD_OK);
    assert_int_equal(vd_resume_read_end(resume, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "longer"));
    assert_int_equal(vd_resume_read(resume, got, 1, NULL), VD_OK);
    assert_int_equal(vd_resume_read_end(resume, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "data has been changed"));
    assert_int_equal(vd_resume_stream(resume, stream, 3, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "stream has been changed"));
    vd_resume_close(resume, false);
    put("data", "weights", "w");
    put("stream.1", "xyz", "w");
    resume = open_it("a");
    assert_int_equal(vd_resume_read(resume, got, 3, NULL), VD_OK);
    assert_int_equal(vd_resume_read(resume, got, 4, NULL), VD_OK);
    assert_int_equal(vd_resume_read_end(resume, NULL), VD_OK);
    assert_int_equal(vd_resume_stream(resume, stream, 3, NULL), VD_OK);
    vd_resume_close(resume, true);
}

static void two_at_once_are_refused(void **state)
{
    vd_resume *resume = open_it("a"), *other = NULL;
    vd_err err = {0};
    assert_int_equal(vd_resume_open(target, "a", &other, &err), VD_ERR_BUSY);
    assert_non_null(strstr(err.message, "in use"));
    save(resume, 1, 1, "s");
    vd_resume_close(resume, true);
}

static void a_killed_process_leaves_its_last_state(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        vd_resume *resume = NULL;
        if (vd_resume_open(target, "a", &resume, NULL) != VD_OK ||
            vd_resume_add(resume, "done", 4, NULL) != VD_OK)
            _exit(1);
        save(resume, 5, 2, "s");
        if (vd_resume_add(resume, "half", 4, NULL) != VD_OK)
            _exit(1);
        raise(SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    vd_resume *resume = open_it("a");
    assert_int_equal(vd_resume_found(resume)->n_tensors, 5);
    expect_data(resume, "done");
    vd_resume_close(resume, true);
}

static void no_folder_can_be_made(void **state)
{
    vd_resume *resume = NULL;
    vd_err err = {0};
    assert_int_equal(vd_resume_open("/nowhere/at/all/q.gguf", "a", &resume, &err), VD_ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/at/all/q.gguf.work"));
}

static void any_failed_allocation_is_a_status(void **state)
{
    uint64_t before = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        vd_resume *resume = NULL;
        vd_alloc_fail_at(k);
        st = vd_resume_open(target, "a", &resume, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        if (st == VD_OK) {
            json_t *more = json_object();
            vd_resume_state at = {.n_tensors = 1, .layer = 1, .more = more};
            vd_status saved = VD_ERR_NOMEM;
            for (uint64_t i = 1; saved != VD_OK; i++) {
                vd_alloc_fail_at(i);
                saved = vd_resume_save(resume, &at, "x", 1, NULL);
                vd_alloc_fail_at(0);
                assert_true(saved == VD_OK || saved == VD_ERR_NOMEM);
            }
            json_decref(more);
            vd_resume_close(resume, true);
        }
        assert_int_equal(vd_alloc_stats_get().n_live, before);
        assert_int_equal(access(folder, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_is_found_and_what_came_after_is_cut_off),
        cmocka_unit_test(without_a_state_nothing_is_left),
        cmocka_unit_test(a_process_that_died_before_its_first_state_is_begun_anew),
        cmocka_unit_test(other_work_and_damage_are_refused_and_left),
        cmocka_unit_test(a_changed_bit_is_seen),
        cmocka_unit_test(two_at_once_are_refused),
        cmocka_unit_test(a_killed_process_leaves_its_last_state),
        cmocka_unit_test(no_folder_can_be_made),
        cmocka_unit_test(any_failed_allocation_is_a_status),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
