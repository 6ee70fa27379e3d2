/* bench_serve.c - a process that answers its part of a trace. See bench_serve.h. */
#include "cli/bench_serve.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/bench.h"

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

void vd_bench_send(int fd, const void *data, size_t n)
{
    if (!vd_fd_write(fd, data, n))
        _exit(1); /* the parent has gone */
}

bool vd_bench_receive(int fd, void *data, size_t n)
{
    return vd_fd_read(fd, data, n);
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

size_t vd_bench_count(const vd_bench_share *share)
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
    vd_bench_message m = {.type = type, .status = err != NULL ? err->status : VD_OK};
    if (err != NULL)
        snprintf(m.text, sizeof(m.text), "%.380s", err->message);
    vd_bench_send(fd, &m, sizeof(m));
}

_Noreturn void vd_bench_serve(const vd_bench_share *share, int from, int to)
{
    server s = {.share = share, .n = vd_bench_count(share)};
    vd_err err = {0};
    uint64_t begin_ns;
    char ask;
    vd_status st = prepare(&s, &err);
    say(to, st == VD_OK ? VD_BENCH_READY : VD_BENCH_FAILED, st == VD_OK ? NULL : &err);
    if (st != VD_OK || !vd_bench_receive(from, &begin_ns, sizeof(begin_ns)))
        _exit(1);
    st = serve(&s, begin_ns, &err);
    say(to, st == VD_OK ? VD_BENCH_ENDED : VD_BENCH_FAILED, st == VD_OK ? NULL : &err);
    if (st != VD_OK || !vd_bench_receive(from, &ask, 1))
        _exit(1);
    for (size_t i = 0; i < s.n; i++)
        vd_bench_send(to, &s.job[i].result, sizeof(s.job[i].result));
    while (vd_bench_receive(from, &ask, 1)) /* until the parent closes: its memory is looked at */
        continue;
    _exit(0); /* what it holds, the kernel frees */
}
