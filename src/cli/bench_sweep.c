/* bench_sweep.c - decode over threads and batch sizes, and which of them is best. See bench.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/pool.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "model/store.h"
#include "report/sweep.h"

enum { PAGE_BYTES_MAX = 4 << 20, ALL_UP_TO = 8, POINTS_MAX = 128 };

static const size_t batches[] = {1, 2, 4, 8, 16};
enum { N_BATCHES = sizeof(batches) / sizeof(batches[0]) };

typedef struct point {
    size_t threads, batch;
    double tok_s, tok_s_min, tok_s_max, j_per_tok;
} point;

typedef struct sweep {
    const vd_bench_args *args;
    char *path;
    vd_meter *meter;
    vd_progress progress;
    size_t n_done, n_total;
    vd_run_facts facts;
    vd_run run; /* for the machine's name and the meter's method */
    const char *kernels;
    point point[POINTS_MAX];
    size_t n;
} sweep;

/* Every number up to eight, then doublings, and all cores; -t says how many at most. */
static size_t next_threads(size_t n, size_t most)
{
    size_t next = n < ALL_UP_TO ? n + 1 : 2 * n;
    return n < most && next > most ? most : next;
}

static size_t most_threads(const vd_bench_args *a)
{
    return a->engine.n_threads > 0 ? a->engine.n_threads : vd_pool_n_cores();
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* n_runs after one that warms up. */
static vd_status measure(sweep *s, vd_engine *engine, point *p, vd_err *err)
{
    const vd_bench_args *a = s->args;
    vd_bench_phase phase = {.engine = engine, .meter = s->meter};
    vd_bench_shape shape = {false, a->n_answer, a->n_depth, p->batch};
    double speed[VD_BENCH_RUNS_MAX], joules[VD_BENCH_RUNS_MAX];
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i <= a->n_runs; i++) {
        vd_bench_speed one;
        st = vd_bench_phase_run(&phase, &shape, s->n_done + 1, &one, err);
        if (st == VD_OK && i > 0) {
            double seconds = (double)(one.to.at_ns - one.from.at_ns) * 1e-9;
            speed[i - 1] = (double)one.tokens / seconds;
            joules[i - 1] =
                vd_joules_between(&one.from, &one.to, VD_PART_N) / (double)one.tokens;
            s->run.meter.method = one.to.method;
            s->run.meter.incomplete |= one.to.gap;
        }
        vd_progress_update(&s->progress, ++s->n_done, s->n_total, "decode");
    }
    if (st != VD_OK)
        return st;
    p->tok_s = median(speed, a->n_runs); /* sorts */
    p->tok_s_min = speed[0];
    p->tok_s_max = speed[a->n_runs - 1];
    p->j_per_tok = median(joules, a->n_runs);
    return VD_OK;
}

static vd_status sweep_threads(sweep *s, size_t threads, vd_err *err)
{
    vd_engine_options options = s->args->engine;
    vd_engine *engine = NULL;
    options.n_threads = threads;
    options.no_prefix_cache = s->args->n_depth == 0;
    for (size_t i = 0; i < N_BATCHES; i++)
        vd_bench_room(&(vd_bench_shape){false, s->args->n_answer, s->args->n_depth, batches[i]},
                      &options);
    vd_status st = vd_engine_open(s->path, &options, &engine, err);
    if (st == VD_OK)
        s->kernels = vd_engine_info_get(engine).kernels; /* static */
    for (size_t i = 0; st == VD_OK && i < N_BATCHES && s->n < POINTS_MAX; i++) {
        point *p = &s->point[s->n];
        *p = (point){.threads = threads, .batch = batches[i]};
        st = measure(s, engine, p, err);
        s->n += st == VD_OK;
    }
    vd_engine_free(engine);
    return st;
}

static vd_status run_sweep(sweep *s, vd_err *err)
{
    const vd_bench_args *a = s->args;
    size_t most = most_threads(a);
    vd_status st = vd_store_resolve(a->model[0], &s->path, err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &s->meter, err);
    if (st == VD_OK)
        st = vd_run_facts_model("bench", a->model[0], s->path, &s->facts, &s->run, err);
    if (st != VD_OK)
        return st;
    vd_run_facts_meter(s->meter, &s->facts, &s->run);
    for (size_t n = 1; n <= most; n = next_threads(n, most))
        s->n_total += N_BATCHES * (a->n_runs + 1);
    for (size_t n = 1; st == VD_OK && n <= most; n = next_threads(n, most))
        st = sweep_threads(s, n, err);
    vd_progress_done(&s->progress);
    return st;
}

static const point *best(const sweep *s, bool by_energy)
{
    const point *found = &s->point[0];
    for (size_t i = 1; i < s->n; i++)
        if (by_energy ? s->point[i].j_per_tok < found->j_per_tok
                      : s->point[i].tok_s > found->tok_s)
            found = &s->point[i];
    return found;
}

static json_t *point_json(const point *p)
{
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f}", "threads", (json_int_t)p->threads, "batch",
                     (json_int_t)p->batch, "tok_s", p->tok_s, "tok_s_min", p->tok_s_min,
                     "tok_s_max", p->tok_s_max, "j_per_tok", p->j_per_tok);
}

static json_t *sweep_json(const sweep *s)
{
    const vd_bench_args *a = s->args;
    vd_meter_info info;
    json_t *points = json_array();
    vd_meter_info_get(s->meter, &info);
    for (size_t i = 0; i < s->n; i++)
        if (json_array_append_new(points, point_json(&s->point[i])) != 0) {
            json_decref(points);
            return NULL;
        }
    return json_pack("{s:s,s:s,s:s,s:s,s:f,s:s,s:s,s:I,s:I,s:I,s:b,s:o,s:o,s:o}", "model",
                     s->run.model.name, "cpu", s->run.machine.cpu, "kernels", s->kernels,
                     "energy_method", s->run.meter.method, "uncertainty_pct",
                     info.uncertainty_pct, "created", s->run.created, "program", s->run.program,
                     "depth", (json_int_t)a->n_depth, "answer_tokens", (json_int_t)a->n_answer,
                     "runs", (json_int_t)a->n_runs, "energy_incomplete",
                     s->run.meter.incomplete, "points", points, "fastest",
                     point_json(best(s, false)), "least_energy", point_json(best(s, true)));
}

static vd_status write_page(const char *path, vd_atomic_file *file, const json_t *json,
                            vd_err *err)
{
    vd_buf page;
    vd_buf_init(&page, PAGE_BYTES_MAX);
    vd_sweep_page(json, &page);
    vd_status st = vd_buf_status(&page, "the page", err);
    if (st == VD_OK && fputs(vd_buf_text(&page), file->stream) < 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (st == VD_OK)
        st = vd_atomic_file_commit(file, err);
    if (st == VD_OK)
        fprintf(stderr, "wrote %s\n", path);
    vd_buf_done(&page);
    return st;
}

static void print_point(const char *name, const point *p)
{
    printf("%-13s %zu thread%s, %zu sequence%s: %.1f tokens/s, %.5f J/token\n", name, p->threads,
           p->threads == 1 ? "" : "s", p->batch, p->batch == 1 ? "" : "s", p->tok_s,
           p->j_per_tok);
}

static void print_sweep(const sweep *s)
{
    const vd_bench_args *a = s->args;
    printf("%s, kernels %s, decode of %zu tokens behind %zu, median of %zu run%s\n\n",
           a->model[0], s->kernels, a->n_answer, a->n_depth, a->n_runs, a->n_runs == 1 ? "" : "s");
    printf("threads  sequences   tokens/s (min .. max)            J/token\n");
    for (size_t i = 0; i < s->n; i++) {
        const point *p = &s->point[i];
        char range[64];
        snprintf(range, sizeof(range), "(%.1f .. %.1f)", p->tok_s_min, p->tok_s_max);
        printf("%7zu  %9zu   %8.1f %-22s  %.5f\n", p->threads, p->batch, p->tok_s, range,
               p->j_per_tok);
    }
    putchar('\n');
    print_point("fastest:", best(s, false));
    print_point("least energy:", best(s, true));
    printf("energy by %s%s\n", s->run.meter.method,
           s->run.meter.incomplete ? "; some of it went unseen" : "");
}

int vd_bench_sweep(const vd_bench_args *args)
{
    sweep s = {.args = args};
    json_t *json = NULL;
    vd_atomic_file file = {0};
    vd_err err = {0};
    int status = VD_EXIT_OK;
    vd_status st = VD_OK;
    vd_progress_init(&s.progress, "bench");
    if (args->folder != NULL) /* now, and not after an hour of measuring */
        st = vd_atomic_file_open(args->folder, &file, &err);
    if (st == VD_OK)
        st = run_sweep(&s, &err);
    if (st == VD_OK) {
        json = sweep_json(&s);
        if (json == NULL)
            st = VD_FAIL(&err, VD_ERR_NOMEM, "no memory for the figures");
    }
    if (st == VD_OK && args->folder != NULL)
        st = write_page(args->folder, &file, json, &err);
    if (st != VD_OK)
        status = vd_cli_failed("bench", &err);
    else if (args->json)
        status = vd_cli_put_json("bench", json_incref(json));
    else
        print_sweep(&s);
    json_decref(json);
    vd_atomic_file_done(&file);
    vd_meter_close(s.meter);
    vd_run_done(&s.run);
    vd_free(s.path);
    return status;
}
