/* bench_child.c - the parent's side of the processes. See bench_child.h. */
#include "cli/bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "cli/bench_serve.h"

static vd_status make_pipes(int down[2], int up[2], vd_err *err)
{
    if (pipe2(down, O_CLOEXEC) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    if (pipe2(up, O_CLOEXEC) == 0)
        return VD_OK;
    vd_status st = VD_FAIL(err, VD_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    close(down[0]);
    close(down[1]);
    return st;
}

vd_status vd_bench_child_start(const vd_bench_share *share, const char *what,
                               vd_bench_child *ret_child, vd_err *err)
{
    int down[2], up[2];
    pid_t parent = getpid();
    vd_status st = make_pipes(down, up, err);
    if (st != VD_OK)
        return st;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        /* Dies with its parent; one that has died already is noticed by its number. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(1);
        signal(SIGINT, SIG_DFL);
        close(down[1]);
        close(up[0]);
        for (size_t i = 0; i < share->n_siblings; i++) {
            close(share->sibling[i].to); /* or a sibling would not notice when the parent closes */
            close(share->sibling[i].from);
        }
        vd_bench_serve(share, down[0], up[1]);
    }
    int failed = errno;
    close(down[0]);
    close(up[1]);
    if (pid < 0) {
        close(down[1]);
        close(up[0]);
        return VD_FAIL(err, VD_ERR_NOMEM, "cannot start a process: %s", strerror(failed));
    }
    *ret_child = (vd_bench_child){.pid = pid, .to = down[1], .from = up[0],
                                  .number = share->number, .n_requests = vd_bench_count(share)};
    snprintf(ret_child->what, sizeof(ret_child->what), "%s", what);
    return VD_OK;
}

/* It closed its pipe without a word. */
static vd_status died(vd_bench_child *child, vd_err *err)
{
    int status = 0;
    pid_t pid = child->pid;
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) == pid)
        child->pid = 0;
    if (WIFSIGNALED(status))
        return VD_FAIL(err, VD_ERR_CLOSED, "%s was ended by signal %d (%s)%s", child->what,
                       WTERMSIG(status), strsignal(WTERMSIG(status)),
                       WTERMSIG(status) == SIGKILL ? "; memory may have been short" : "");
    return VD_FAIL(err, VD_ERR_CLOSED, "%s ended with status %d", child->what,
                   WEXITSTATUS(status));
}

static vd_status expect(vd_bench_child *child, int type, vd_err *err)
{
    vd_bench_message m;
    if (!vd_bench_receive(child->from, &m, sizeof(m)))
        return died(child, err);
    if (m.type == VD_BENCH_FAILED) {
        m.text[sizeof(m.text) - 1] = '\0';
        return VD_FAIL(err, m.status, "%s: %s", child->what, m.text);
    }
    if (m.type != type)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s said something else than it should", child->what);
    return VD_OK;
}

static vd_status tell(vd_bench_child *child, const void *data, size_t n, vd_err *err)
{
    if (write(child->to, data, n) == (ssize_t)n) /* below PIPE_BUF: whole or not at all */
        return VD_OK;
    return died(child, err);
}

/* Whichever speaks first is heard first: one that dies is noticed while others still work. */
static vd_status expect_all(vd_bench_child *child, size_t n, int type, vd_err *err)
{
    struct pollfd fd[VD_BENCH_COPIES_MAX];
    vd_status st = VD_OK;
    size_t left = n;
    for (size_t i = 0; i < n; i++)
        fd[i] = (struct pollfd){.fd = child[i].from, .events = POLLIN};
    while (st == VD_OK && left > 0) {
        if (poll(fd, n, -1) < 0) {
            if (errno != EINTR)
                st = VD_FAIL(err, VD_ERR_IO, "cannot wait for the processes: %s", strerror(errno));
            continue;
        }
        for (size_t i = 0; st == VD_OK && i < n; i++)
            if (fd[i].fd >= 0 && fd[i].revents != 0) {
                st = expect(&child[i], type, err);
                fd[i].fd = -1;
                left--;
            }
    }
    return st;
}

vd_status vd_bench_children_ready(vd_bench_child *child, size_t n, vd_err *err)
{
    return expect_all(child, n, VD_BENCH_READY, err);
}

vd_status vd_bench_children_ended(vd_bench_child *child, size_t n, vd_err *err)
{
    return expect_all(child, n, VD_BENCH_ENDED, err);
}

vd_status vd_bench_child_go(vd_bench_child *child, uint64_t begin_ns, vd_err *err)
{
    return tell(child, &begin_ns, sizeof(begin_ns), err);
}

vd_status vd_bench_child_results(vd_bench_child *child, vd_bench_result *result, vd_err *err)
{
    vd_status st = tell(child, "?", 1, err);
    if (st == VD_OK && !vd_bench_receive(child->from, result, child->n_requests * sizeof(*result)))
        st = died(child, err);
    return st;
}

uint64_t vd_bench_child_cpu_ns(const vd_bench_child *child)
{
    clockid_t clock;
    struct timespec t;
    if (child->pid <= 0 || clock_getcpuclockid(child->pid, &clock) != 0 ||
        clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void vd_bench_child_stop(vd_bench_child *child)
{
    int status;
    if (child->pid <= 0)
        return;
    close(child->to);
    close(child->from);
    /* It only has to notice that the pipe is closed; one that computes or hangs is not waited
     * for. */
    struct timespec pause = {0, 5000000};
    pid_t gone = 0;
    for (int i = 0; i < 100 && gone == 0; i++) {
        gone = waitpid(child->pid, &status, WNOHANG);
        if (gone == 0 && i == 40)
            kill(child->pid, SIGKILL);
        if (gone == 0)
            nanosleep(&pause, NULL);
    }
    if (gone == 0)
        (void)waitpid(child->pid, &status, 0);
    *child = (vd_bench_child){.to = -1, .from = -1};
}
