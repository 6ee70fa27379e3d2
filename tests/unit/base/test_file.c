/* test_file.c - files: whole or not at all, and clear words when they cannot be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

static char folder[4096];
static char name[8192];

static const char *in_folder(const char *file)
{
    snprintf(name, sizeof(name), "%s/%s", folder, file);
    return name;
}

static int make_folder(void **state)
{
    const char *temp = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/verdant-test-XXXXXX", temp != NULL ? temp : "/tmp");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char inner[16384];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name);
        struct stat info;
        if (lstat(inner, &info) == 0 && S_ISDIR(info.st_mode))
            remove_tree(inner);
        else
            unlink(inner);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

static int remove_folder(void **state)
{
    remove_tree(folder);
    return 0;
}

static size_t files_in_folder(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void write_text(const char *path, const char *text)
{
    vd_atomic_file file;
    assert_int_equal(vd_atomic_file_open(path, &file, NULL), VD_OK);
    fputs(text, file.stream);
    assert_int_equal(vd_atomic_file_commit(&file, NULL), VD_OK);
}

static void a_committed_file_reads_back_and_leaves_nothing_beside_it(void **state)
{
    write_text(in_folder("a"), "first");
    write_text(in_folder("a"), "second");
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(vd_file_read(in_folder("a"), 100, &text, &n, NULL), VD_OK);
    assert_string_equal(text, "second");
    assert_int_equal(n, 6);
    vd_free(text);
    assert_int_equal(files_in_folder(), 1);
}

static void an_abandoned_file_never_stands_under_its_name(void **state)
{
    write_text(in_folder("a"), "old");
    vd_atomic_file file;
    assert_int_equal(vd_atomic_file_open(in_folder("a"), &file, NULL), VD_OK);
    fputs("half", file.stream);
    fflush(file.stream);
    vd_atomic_file_done(&file);
    vd_atomic_file_done(&file);
    char *text = NULL;
    assert_int_equal(vd_file_read(in_folder("a"), 100, &text, NULL, NULL), VD_OK);
    assert_string_equal(text, "old");
    vd_free(text);
    assert_int_equal(files_in_folder(), 1);
}

static void what_is_taken_has_no_name(void **state)
{
    vd_atomic_file file;
    char text[8] = "";
    int fd = -1;
    write_text(in_folder("a"), "old");
    assert_int_equal(vd_atomic_file_open(in_folder("a"), &file, NULL), VD_OK);
    fputs("new", file.stream);
    assert_int_equal(vd_atomic_file_take(&file, &fd, NULL), VD_OK);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    assert_string_equal(text, "new");
    close(fd);
    assert_int_equal(files_in_folder(), 1);
    char *old = NULL;
    assert_int_equal(vd_file_read(in_folder("a"), 100, &old, NULL, NULL), VD_OK);
    assert_string_equal(old, "old");
    vd_free(old);
    assert_int_equal(vd_atomic_file_open("/dev/null", &file, NULL), VD_OK);
    assert_int_equal(vd_atomic_file_take(&file, &fd, NULL), VD_ERR_ARG);
}

static void a_full_disk_is_a_failed_commit(void **state)
{
    vd_atomic_file file;
    vd_err err = {0};
    assert_int_equal(vd_atomic_file_open(in_folder("a"), &file, NULL), VD_OK);
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL) {
        vd_atomic_file_done(&file);
        skip();
    }
    fclose(file.stream);
    file.stream = full;
    fputs("lost", file.stream);
    assert_int_equal(vd_atomic_file_commit(&file, &err), VD_ERR_IO);
    assert_non_null(strstr(err.message, "cannot write"));
    assert_int_equal(files_in_folder(), 0);
}

static void a_link_stays_a_link_and_its_target_is_replaced(void **state)
{
    char link_path[8192];
    struct stat info;
    write_text(in_folder("target"), "old");
    assert_int_equal(chmod(in_folder("target"), 0640), 0);
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    assert_int_equal(symlink("target", link_path), 0);
    write_text(link_path, "new");
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(in_folder("target"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    char *text = NULL;
    assert_int_equal(vd_file_read(in_folder("target"), 100, &text, NULL, NULL), VD_OK);
    assert_string_equal(text, "new");
    vd_free(text);
    assert_int_equal(files_in_folder(), 2);
}

/* As root a rename over /dev/null would succeed, and nobody's /dev/null would be one any more. */
static void a_pipe_is_written_and_not_replaced(void **state)
{
    struct stat info;
    char got[8] = {0};
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    int reader = open(in_folder("pipe"), O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    write_text(in_folder("pipe"), "bytes");
    assert_int_equal(read(reader, got, sizeof(got)), 5);
    close(reader);
    assert_string_equal(got, "bytes");
    assert_int_equal(lstat(in_folder("pipe"), &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(files_in_folder(), 1);
    vd_atomic_file file;
    vd_err err = {0};
    assert_int_equal(vd_atomic_file_open(folder, &file, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "directory"));
}

/* Whoever may write to the folder could lay a link where the temporary file will be. */
static void a_link_under_the_temporary_name_is_not_followed(void **state)
{
    char temporary[9000];
    write_text(in_folder("victim"), "mine");
    snprintf(temporary, sizeof(temporary), "%s.part-%ld", in_folder("a"), (long)getpid());
    assert_int_equal(symlink("victim", temporary), 0);
    write_text(in_folder("a"), "new");
    char *text = NULL;
    assert_int_equal(vd_file_read(in_folder("victim"), 100, &text, NULL, NULL), VD_OK);
    assert_string_equal(text, "mine");
    vd_free(text);
    assert_int_equal(files_in_folder(), 2);
}

static void a_file_that_is_being_written_has_no_name_yet(void **state)
{
    vd_atomic_file file;
    assert_int_equal(vd_atomic_file_open(in_folder("a"), &file, NULL), VD_OK);
    bool named = file.named; /* on a file system without nameless files */
    size_t n = files_in_folder();
    vd_atomic_file_done(&file);
    if (named)
        skip();
    assert_int_equal(n, 0);
}

static void a_name_may_be_as_long_as_the_file_system_takes(void **state)
{
    char long_name[300];
    vd_atomic_file file;
    vd_err err = {0};
    memset(long_name, 'n', sizeof(long_name));
    long_name[255] = '\0';
    write_text(in_folder(long_name), "text");
    assert_int_equal(files_in_folder(), 1);
    long_name[255] = 'n';
    long_name[256] = '\0';
    assert_int_equal(vd_atomic_file_open(in_folder(long_name), &file, &err), VD_ERR_IO);
    assert_non_null(strstr(err.message, "long"));
    assert_int_equal(vd_atomic_file_open("", &file, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "empty name"));
}

static void a_missing_folder_is_said(void **state)
{
    vd_atomic_file file;
    vd_err err = {0};
    assert_int_equal(vd_atomic_file_open(in_folder("no/such"), &file, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "no/such"));
    char *text = NULL;
    assert_int_equal(vd_file_read(in_folder("none"), 10, &text, NULL, &err), VD_ERR_NOT_FOUND);
    assert_null(text);
    vd_mapping mapping;
    assert_int_equal(vd_mapping_open(in_folder("none"), &mapping, &err), VD_ERR_NOT_FOUND);
}

static void an_unreadable_file_is_a_matter_of_permission(void **state)
{
    if (geteuid() == 0)
        skip(); /* root may read everything */
    write_text(in_folder("secret"), "x");
    assert_int_equal(chmod(in_folder("secret"), 0), 0);
    vd_err err = {0};
    vd_mapping mapping;
    char *text = NULL;
    assert_int_equal(vd_mapping_open(in_folder("secret"), &mapping, &err), VD_ERR_PERM);
    assert_int_equal(vd_file_read(in_folder("secret"), 10, &text, NULL, &err), VD_ERR_PERM);
}

static void a_folder_is_neither_mapped_nor_read(void **state)
{
    vd_err err = {0};
    vd_mapping mapping;
    char *text = NULL;
    assert_int_equal(vd_mapping_open(folder, &mapping, &err), VD_ERR_ARG);
    assert_int_equal(vd_file_read(folder, 10, &text, NULL, &err), VD_ERR_IO);
    assert_non_null(strstr(err.message, "cannot read"));
    assert_null(text);
}

static void a_pipe_is_not_waited_for(void **state)
{
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    vd_err err = {0};
    vd_mapping mapping;
    alarm(20); /* a plain open would wait for a writer for ever */
    assert_int_equal(vd_mapping_open(in_folder("pipe"), &mapping, &err), VD_ERR_ARG);
    alarm(0);
}

static void a_mapping_shows_the_bytes_and_an_empty_file_has_none(void **state)
{
    write_text(in_folder("a"), "bytes");
    vd_mapping mapping;
    assert_int_equal(vd_mapping_open(in_folder("a"), &mapping, NULL), VD_OK);
    assert_int_equal(mapping.size, 5);
    assert_memory_equal(mapping.data, "bytes", 5);
    vd_mapping_close(&mapping);
    vd_mapping_close(&mapping);
    write_text(in_folder("empty"), "");
    assert_int_equal(vd_mapping_open(in_folder("empty"), &mapping, NULL), VD_OK);
    assert_null(mapping.data);
    assert_int_equal(mapping.size, 0);
    vd_mapping_close(&mapping);
    char *text = NULL;
    assert_int_equal(vd_file_read(in_folder("empty"), 0, &text, NULL, NULL), VD_OK);
    assert_string_equal(text, "");
    vd_free(text);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    write_text(in_folder("a"), "123456");
    char *text = NULL;
    vd_err err = {0};
    assert_int_equal(vd_file_read(in_folder("a"), 5, &text, NULL, &err), VD_ERR_LIMIT);
    assert_null(text);
    assert_int_equal(vd_file_read(in_folder("a"), 6, &text, NULL, &err), VD_OK);
    vd_free(text);
}

static void folders_are_made_with_their_parents(void **state)
{
    struct stat info;
    assert_int_equal(vd_make_dirs(in_folder("x/y//z/"), NULL), VD_OK);
    assert_int_equal(vd_make_dirs(in_folder("x/y/z"), NULL), VD_OK);
    assert_int_equal(stat(in_folder("x/y/z"), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0700);
    write_text(in_folder("file"), "");
    vd_err err = {0};
    assert_int_not_equal(vd_make_dirs(in_folder("file/below"), &err), VD_OK);
    assert_non_null(strstr(err.message, "file"));
    assert_int_not_equal(vd_make_dirs(in_folder("file"), &err), VD_OK);
    assert_non_null(strstr(err.message, "a file of that name is there"));
}

static vd_status write_and_read(void)
{
    vd_atomic_file file;
    char *text = NULL;
    vd_status st = vd_make_dirs(in_folder("d"), NULL);
    if (st == VD_OK)
        st = vd_atomic_file_open(in_folder("d/f"), &file, NULL);
    if (st != VD_OK)
        return st;
    fputs("x", file.stream);
    st = vd_atomic_file_commit(&file, NULL);
    if (st == VD_OK)
        st = vd_file_read(in_folder("d/f"), 10, &text, NULL, NULL);
    vd_free(text);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        assert_true(k < 50);
        vd_alloc_fail_at(k);
        vd_status st = write_and_read();
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK)
            break;
        assert_int_equal(st, VD_ERR_NOMEM);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_committed_file_reads_back_and_leaves_nothing_beside_it),
        TEST(an_abandoned_file_never_stands_under_its_name),
        TEST(what_is_taken_has_no_name),
        TEST(a_full_disk_is_a_failed_commit),
        TEST(a_link_stays_a_link_and_its_target_is_replaced),
        TEST(a_pipe_is_written_and_not_replaced),
        TEST(a_link_under_the_temporary_name_is_not_followed),
        TEST(a_file_that_is_being_written_has_no_name_yet),
        TEST(a_name_may_be_as_long_as_the_file_system_takes),
        TEST(a_missing_folder_is_said),
        TEST(an_unreadable_file_is_a_matter_of_permission),
        TEST(a_folder_is_neither_mapped_nor_read),
        TEST(a_pipe_is_not_waited_for),
        TEST(a_mapping_shows_the_bytes_and_an_empty_file_has_none),
        TEST(a_file_over_the_limit_is_refused),
        TEST(folders_are_made_with_their_parents),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
