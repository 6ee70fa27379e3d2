/* bench_child.c - see bench_child.h. */
#include "cli/bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/bench.h"

enum { READY = 'R', FAILED = 'X', ENDED = 'E' };

typedef struct message {
    int type;
    vd_status status;
    char text[400];
} message;

/* ---- the child ------------------------------------------------------------------------------- */

typedef struct server server;

typedef struct job {
    server *server;
    uint64_t arrival_ns;
    vd_bench_result result;
} job;

struct server {
    const vd_bench_share *share;
    vd_engine *engine;
    job *job; /* [n] its own requests */
    size_t n, n_done;
    vd_status failed;
};

static void send_all(int fd, const void *data, size_t n)
{
    const char *at = data;
    while (n > 0) {
        ssize_t sent = write(fd, at, n);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            _exit(1); /* the parent has gone */
        at += sent;
        n -= (size_t)sent;
    }
}

static bool receive_all(int fd, void *data, size_t n)
{
    char *at = data;
    while (n > 0) {
        ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static void on_event(void *ctx, const vd_event *event)
{
    job *j = ctx;
    uint64_t now = vd_now_ns();
    if (event->token >= 0) {
        if (j->result.n_tokens++ == 0) {
            j->result.first_ns = now - j->arrival_ns;
            j->result.hash = 0xcbf29ce484222325u; /* FNV-1a */
        }
        for (int i = 0; i < 4; i++)
            j->result.hash = (j->result.hash ^ (((uint32_t)event->token >> (8 * i)) & 0xff)) *
                             0x100000001b3u;
    }
    if (event->finish == VD_FINISH_NONE)
        return;
    j->result.last_ns = now - j->arrival_ns;
    j->server->n_done++;
    if (event->finish == VD_FINISH_ERROR)
        j->server->failed = event->status;
}

/* The prompt's tokens depend on the request alone, so that every way of serving reads the same. */
static vd_status submit(server *s, job *j, size_t n_prompt, size_t n_answer, vd_err *err)
{
    uint64_t seed = (j->result.index + 1) * 0x9e3779b97f4a7c15u + s->share->trace->seed;
    vd_request_options options = {
        .n_prompt = n_prompt, .max_tokens = n_answer, .on_event = on_event, .ctx = j};
    return vd_bench_submit(s->engine, seed, &options, err);
}

static bool is_ours(const vd_bench_share *share, size_t i)
{
    return share->trace->request[i].client % share->n_parts == share->number;
}

static size_t count_ours(const vd_bench_share *share)
{
    size_t n = 0;
    for (size_t i = 0; i < share->trace->n; i++)
        n += is_ours(share, i);
    return n;
}

static void sleep_until(uint64_t at_ns)
{
    struct timespec t = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

/* Submits what has arrived, steps while there is work, sleeps until the next arrival otherwise. */
static vd_status serve(server *s, uint64_t begin_ns, vd_err *err)
{
    const vd_trace *trace = s->share->trace;
    size_t n_sent = 0;
    vd_status st = VD_OK;
    for (size_t i = 0; i < s->n; i++)
        s->job[i].arrival_ns =
            begin_ns + (uint64_t)(trace->request[s->job[i].result.index].at_s * 1e9);
    while (st == VD_OK && s->failed == VD_OK && s->n_done < s->n) {
        bool worked = false;
        for (; st == VD_OK && n_sent < s->n && s->job[n_sent].arrival_ns <= vd_now_ns(); n_sent++) {
            const vd_trace_request *r = &trace->request[s->job[n_sent].result.index];
            st = submit(s, &s->job[n_sent], r->prompt_tokens, r->answer_tokens, err);
        }
        if (st == VD_OK)
            st = vd_engine_step(s->engine, &worked, err);
        if (st == VD_OK && !worked && n_sent < s->n)
            sleep_until(s->job[n_sent].arrival_ns);
    }
    if (st == VD_OK && s->failed != VD_OK)
        st = VD_FAIL(err, s->failed, "a request failed: %s", vd_finish_message(s->failed));
    return st;
}

/* Pages of weights and caches are touched, threads woken, before anything is measured. */
static vd_status warm_up(server *s, vd_err *err)
{
    job warm = {.server = s, .result.index = UINT32_MAX};
    bool worked;
    vd_status st = submit(s, &warm, VD_MIN(vd_trace_longest(s->share->trace) / 2 + 1, (size_t)64),
                          2, err);
    while (st == VD_OK && s->n_done == 0)
        st = vd_engine_step(s->engine, &worked, err);
    s->n_done = 0;
    if (st == VD_OK && s->failed != VD_OK)
        st = VD_FAIL(err, s->failed, "a request failed: %s", vd_finish_message(s->failed));
    return st;
}

static void bind_cores(const vd_bench_share *share)
{
    cpu_set_t all, own;
    size_t at = 0, first = share->number * share->engine.n_threads;
    CPU_ZERO(&own);
    if (!share->bind || sched_getaffinity(0, sizeof(all), &all) != 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all)) {
            if (at >= first && at < first + share->engine.n_threads)
                CPU_SET(cpu, &own);
            at++;
        }
    if (CPU_COUNT(&own) > 0)
        (void)sched_setaffinity(0, sizeof(own), &own);
}

static vd_status prepare(server *s, vd_err *err)
{
    size_t n = 0;
    bind_cores(s->share);
    vd_status st = vd_alloc_array(s->n, sizeof(*s->job), "the requests", &s->job, err);
    for (size_t i = 0; st == VD_OK && i < s->share->trace->n; i++)
        if (is_ours(s->share, i))
            s->job[n++] = (job){.server = s, .result.index = i};
    if (st == VD_OK)
        st = vd_engine_open(s->share->path, &s->share->engine, &s->engine, err);
    return st == VD_OK ? warm_up(s, err) : st;
}

static void say(int fd, int type, const vd_err *err)
{
    message m = {.type = type, .status = err != NULL ? err->status : VD_OK};
    if (err != NULL)
        snprintf(m.text, sizeof(m.text), "%.380s", err->message);
    send_all(fd, &m, sizeof(m));
}

static void child_main(const vd_bench_share *share, int from, int to)
{
    server s = {.share = share, .n = count_ours(share)};
    vd_err err = {0};
    uint64_t begin_ns;
    char ask;
    vd_status st = prepare(&s, &err);
    say(to, st == VD_OK ? READY : FAILED, st == VD_OK ? NULL : &err);
    if (st != VD_OK || !receive_all(from, &begin_ns, sizeof(begin_ns)))
        _exit(1);
    st = serve(&s, begin_ns, &err);
    say(to, st == VD_OK ? ENDED : FAILED, st == VD_OK ? NULL : &err);
    if (st != VD_OK || !receive_all(from, &ask, 1))
        _exit(1);
    for (size_t i = 0; i < s.n; i++)
        send_all(to, &s.job[i].result, sizeof(s.job[i].result));
    while (receive_all(from, &ask, 1)) /* until the parent closes: its memory is looked at */
        continue;
    _exit(0); /* what it holds, the kernel frees */
}

/* ---- the parent ------------------------------------------------------------------------------ */

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
        child_main(share, down[0], up[1]);
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
                                  .number = share->number, .n_requests = count_ours(share)};
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
    message m;
    if (!receive_all(child->from, &m, sizeof(m)))
        return died(child, err);
    if (m.type == FAILED) {
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
    return expect_all(child, n, READY, err);
}

vd_status vd_bench_children_ended(vd_bench_child *child, size_t n, vd_err *err)
{
    return expect_all(child, n, ENDED, err);
}

vd_status vd_bench_child_go(vd_bench_child *child, uint64_t begin_ns, vd_err *err)
{
    return tell(child, &begin_ns, sizeof(begin_ns), err);
}

vd_status vd_bench_child_results(vd_bench_child *child, vd_bench_result *result, vd_err *err)
{
    vd_status st = tell(child, "?", 1, err);
    if (st == VD_OK && !receive_all(child->from, result, child->n_requests * sizeof(*result)))
        st = died(child, err);
    return st;
}

uint64_t vd_bench_child_memory(const vd_bench_child *child)
{
    char path[64], line[256];
    unsigned long long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)child->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "Pss: %llu kB", &kb) == 1)
            break;
    fclose(file);
    return kb * 1024;
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
