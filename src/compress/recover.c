/* recover.c - see recover.h. */
#include "compress/recover.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "kernels/dtype.h"
#include "model/gguf.h"

enum { PATIENCE = 30 }; /* tenths of a second in which a program may end by itself */

/* ---- a program --------------------------------------------------------------------------------*/

static vd_status start(const char *const *words, pid_t *ret_pid, vd_err *err)
{
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed == 0) {
        failed = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
        if (failed == 0)
            failed = posix_spawnp(ret_pid, words[0], &actions, NULL, (char *const *)words,
                                  environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_IO, "%s cannot be started: %s", words[0], strerror(failed));
    return VD_OK;
}

/* Its exit status, or -1 and *ret_stopped where it was ended because nobody wants it. */
static int wait_for(const vd_recover_program *p, pid_t pid, bool *ret_stopped)
{
    static const struct timespec pause = {0, 100000000};
    int status = 0, waited = 0;
    *ret_stopped = false;
    for (;;) {
        pid_t gone = waitpid(pid, &status, WNOHANG);
        if (gone == pid)
            return status;
        if (gone < 0 && errno != EINTR)
            return -1;
        if (!*ret_stopped && p->go_on != NULL && !p->go_on(p->ctx)) {
            *ret_stopped = true;
            kill(pid, SIGTERM);
        }
        if (*ret_stopped && ++waited == PATIENCE)
            kill(pid, SIGKILL);
        nanosleep(&pause, NULL);
    }
}

vd_status vd_recover_by_program(void *program, const char *student, const char *teacher,
                                const char *target, vd_err *err)
{
    const vd_recover_program *p = program;
    const char *words[] = {p->program, student, teacher, target, NULL};
    bool stopped = false;
    pid_t pid = 0;
    vd_status st = start(words, &pid, err);
    if (st != VD_OK)
        return st;
    int status = wait_for(p, pid, &stopped);
    if (stopped)
        return VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    if (WIFSIGNALED(status))
        return VD_FAIL(err, VD_ERR_CLOSED, "%s was ended by signal %d (%s)", p->program,
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return VD_FAIL(err, VD_ERR_CLOSED, "%s ended with status %d", p->program,
                       WEXITSTATUS(status));
    if (access(target, R_OK) != 0)
        return VD_FAIL(err, VD_ERR_CLOSED, "%s ended well, but wrote no %s", p->program, target);
    return VD_OK;
}

/* ---- what it wrote ----------------------------------------------------------------------------*/

static bool in_layer(const vd_gguf_tensor *t)
{
    return t->dim[1] > 1 && t->name.n > 4 && memcmp(t->name.data, "blk.", 4) == 0;
}

/* The first value of a row that cannot be: not finite, or not zero where the student's is. */
static size_t find_bad(const float *student, const float *recovered, size_t n, bool zeros)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(recovered[i]) || (zeros && student[i] == 0 && recovered[i] != 0))
            return i;
    return n;
}

static vd_status check_rows(const vd_gguf_tensor *a, const vd_gguf_tensor *b, bool zeros,
                            float *scratch, vd_err *err)
{
    size_t n = (size_t)a->dim[0], n_rows = (size_t)(a->dim[1] * a->dim[2] * a->dim[3]);
    size_t a_bytes = 0, b_bytes = 0;
    float *x = scratch, *y = scratch + n;
    if (!vd_dtype_row_bytes(a->dtype, n, &a_bytes) || !vd_dtype_row_bytes(b->dtype, n, &b_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                       (int)a->name.n, a->name.data);
    for (size_t row = 0; row < n_rows; row++) {
        vd_dtype_decode((vd_dtype)a->dtype, a->data + row * a_bytes, x, n);
        vd_dtype_decode((vd_dtype)b->dtype, b->data + row * b_bytes, y, n);
        size_t bad = find_bad(x, y, n, zeros);
        if (bad < n)
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu, column %zu: %g %s",
                           (int)a->name.n, a->name.data, row, bad, (double)y[bad],
                           isfinite(y[bad]) ? "where the weight was pruned"
                                            : "is no number to work with");
    }
    return VD_OK;
}

static vd_status check_tensor(const vd_gguf *recovered, const vd_gguf_tensor *a, bool keep_zeros,
                              vd_err *err)
{
    const vd_gguf_tensor *b = NULL;
    float *scratch = NULL;
    size_t n_floats;
    for (size_t i = 0; b == NULL && i < vd_gguf_n_tensors(recovered); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(recovered, i);
        if (t->name.n == a->name.n && memcmp(t->name.data, a->name.data, a->name.n) == 0)
            b = t;
    }
    if (b == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "there is no tensor %.*s", (int)a->name.n,
                       a->name.data);
    if (memcmp(a->dim, b->dim, sizeof(a->dim)) != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s has another shape than the student's",
                       (int)a->name.n, a->name.data);
    if (!vd_dtype_decodable(a->dtype) || !vd_dtype_decodable(b->dtype))
        return VD_OK;
    if (!vd_mul_size((size_t)a->dim[0], 2, &n_floats))
        return VD_FAIL(err, VD_ERR_NOMEM, "tensor %.*s: its rows are too long", (int)a->name.n,
                       a->name.data);
    vd_status st = vd_alloc_array(n_floats, sizeof(*scratch), "two rows", &scratch, err);
    if (st == VD_OK)
        st = check_rows(a, b, keep_zeros && in_layer(a), scratch, err);
    vd_free(scratch);
    return st;
}

vd_status vd_recover_check(const char *student, const char *recovered, bool keep_zeros,
                           vd_err *err)
{
    vd_gguf *a = NULL, *b = NULL;
    vd_status st = vd_gguf_open(student, NULL, &a, err);
    if (st == VD_OK)
        st = vd_gguf_open(recovered, NULL, &b, err);
    if (st == VD_OK && vd_gguf_n_tensors(a) != vd_gguf_n_tensors(b))
        st = VD_FAIL(err, VD_ERR_FORMAT, "%zu tensors instead of the student's %zu",
                     vd_gguf_n_tensors(b), vd_gguf_n_tensors(a));
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(a); i++)
        st = check_tensor(b, vd_gguf_tensor_at(a, i), keep_zeros, err);
    vd_gguf_free(a);
    vd_gguf_free(b);
    if (st != VD_OK)
        vd_err_prefix(err, "what the recovery wrote");
    return st;
}
