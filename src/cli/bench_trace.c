/*
 * bench_trace.c - private copies and one shared server on the same trace, in turn. See bench.h.
 *
 * Every repetition starts its processes anew, lets them load and warm up, measures what the machine
 * draws while they wait, and then meters it from the moment the trace begins to the last answer.
 * This process only waits meanwhile.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/pool.h"
#include "cli/bench.h"
#include "cli/bench_child.h"
#include "cli/bench_limit.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "model/gguf.h"
#include "model/store.h"

static const uint64_t idle_ns = 500000000, lead_ns = 20000000;

typedef struct way {
    const char *mode; /* "copies", "shared" */
    char label[96];
    size_t n_parts, n_threads;
    vd_run_facts facts;
    vd_run run;
    char (*hash)[VD_RUN_SERIES_MAX]; /* [n_requests] of the answers of the first repetition */
    bool steady; /* they were the same in every repetition */
} way;

typedef struct study {
    const vd_bench_args *args;
    char *path;
    char series[VD_RUN_SERIES_MAX];
    vd_trace trace;
    vd_meter *meter;
    vd_progress progress;
    way side[2];
    size_t n_sides;
    vd_bench_child child[VD_BENCH_COPIES_MAX]; /* those of now */
    size_t n_children;
    vd_bench_result *result; /* [trace.n] */
    double *time;            /* [trace.n], for percentiles */
} study;

/* The meter's model of the machine asks for CPU time: ours and that of the processes. */
static uint64_t cpu_of_all(void *ctx)
{
    const study *s = ctx;
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    uint64_t sum = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    for (size_t i = 0; i < s->n_children; i++)
        sum += vd_bench_child_cpu_ns(&s->child[i]);
    return sum;
}

static void stop_children(study *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        vd_bench_child_stop(&s->child[i]);
    s->n_children = 0;
}

static vd_engine_options engine_options(const study *s, size_t n_threads, size_t number,
                                        size_t n_parts)
{
    vd_engine_options options = s->args->engine;
    size_t longest = vd_trace_longest(&s->trace) + 2, all = 0;
    for (size_t i = 0; i < s->trace.n; i++)
        if (s->trace.request[i].client % n_parts == number)
            all += s->trace.request[i].prompt_tokens + s->trace.request[i].answer_tokens + 32;
    options.n_threads = n_threads;
    options.ctx_tokens = VD_MAX(longest, (size_t)128);
    options.max_running = 32;
    options.max_waiting = s->trace.n + 1;
    /* Room for all its requests at once, or 32 of the longest: nobody waits for memory. */
    options.kv_tokens = VD_MAX(VD_MIN(all, 32 * longest), options.ctx_tokens);
    options.no_prefix_cache = true;
    return options;
}

static vd_status start_children(study *s, const way *side, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < side->n_parts; i++) {
        char what[64] = "the shared server";
        vd_bench_share share = {.path = s->path,
                                .trace = &s->trace,
                                .number = i,
                                .n_parts = side->n_parts,
                                .engine = engine_options(s, side->n_threads, i, side->n_parts),
                                .sibling = s->child,
                                .n_siblings = i};
        share.bind = side->n_parts > 1 && side->n_threads * side->n_parts <= vd_pool_n_cores();
        if (side->n_parts > 1 || side->mode[0] == 'c')
            snprintf(what, sizeof(what), "copy %zu of %zu", i + 1, side->n_parts);
        st = vd_bench_child_start(&share, what, &s->child[i], err);
        s->n_children += st == VD_OK;
    }
    return st == VD_OK ? vd_bench_children_ready(s->child, s->n_children, err) : st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value that p of 1 do not exceed. */
static double percentile(const double *sorted, size_t n, double p)
{
    size_t i = (size_t)ceil(p * (double)n);
    return sorted[i > 0 ? i - 1 : 0];
}

static vd_run_times times_of(study *s, bool first)
{
    for (size_t i = 0; i < s->trace.n; i++)
        s->time[i] = (double)(first ? s->result[i].first_ns : s->result[i].last_ns) * 1e-9;
    qsort(s->time, s->trace.n, sizeof(*s->time), by_value);
    return (vd_run_times){percentile(s->time, s->trace.n, 0.5),
                          percentile(s->time, s->trace.n, 0.95),
                          percentile(s->time, s->trace.n, 0.99)};
}

/* Results of all processes, by request; what each answered is kept or compared. */
static vd_status collect(study *s, way *side, size_t run, vd_run_sample *sample, vd_err *err)
{
    vd_bench_result *part = NULL;
    vd_status st = vd_alloc_array(s->trace.n, sizeof(*part), "the results", &part, err);
    for (size_t c = 0; st == VD_OK && c < s->n_children; c++) {
        st = vd_bench_child_results(&s->child[c], part, err);
        for (size_t i = 0; st == VD_OK && i < s->child[c].n_requests; i++)
            s->result[part[i].index] = part[i];
        sample->memory_bytes += vd_bench_pss_bytes(s->child[c].pid);
    }
    vd_free(part);
    for (size_t i = 0; st == VD_OK && i < s->trace.n; i++) {
        const vd_bench_result *r = &s->result[i];
        char hash[VD_RUN_SERIES_MAX];
        sample->answers++;
        sample->whole.tokens += r->n_tokens;
        sample->prompt_tokens += s->trace.request[i].prompt_tokens;
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)r->hash);
        if (run == 0)
            memcpy(side->hash[i], hash, sizeof(hash));
        else
            side->steady &= strcmp(side->hash[i], hash) == 0;
    }
    if (st == VD_OK) {
        sample->ttft_s = times_of(s, true);
        sample->latency_s = times_of(s, false);
    }
    return st;
}

static vd_status measure(study *s, way *side, size_t run, size_t order, vd_err *err)
{
    vd_run_sample *sample = &side->run.sample[run];
    vd_reading from, to;
    vd_status st = start_children(s, side, err);
    if (st == VD_OK) {
        sample->idle_w = vd_idle_watts(s->meter, idle_ns);
        uint64_t begin = vd_now_ns() + lead_ns;
        struct timespec at = {(time_t)(begin / 1000000000u), (long)(begin % 1000000000u)};
        for (size_t i = 0; st == VD_OK && i < s->n_children; i++)
            st = vd_bench_child_go(&s->child[i], begin, err);
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        vd_meter_read(s->meter, &from);
        if (st == VD_OK)
            st = vd_bench_children_ended(s->child, s->n_children, err);
        vd_meter_read(s->meter, &to);
    }
    if (st == VD_OK) {
        vd_run_phase_fill(&sample->whole, &from, &to);
        sample->has_pair = true;
        sample->pair = run;
        sample->order = order;
        side->run.meter.incomplete |= to.gap;
        side->run.meter.method = to.method;
        side->run.meter.common_pct = to.common_pct;
        side->run.meter.independent_pct = to.independent_pct;
        side->run.meter.idle_w = sample->idle_w;
        st = collect(s, side, run, sample, err);
    }
    stop_children(s);
    return st;
}

/* Said before anything is started, instead of a machine that swaps. */
static vd_status check_memory(const study *s, vd_err *err)
{
    char line[128];
    unsigned long long available_kb = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &available_kb) == 1)
            break;
    if (file != NULL)
        fclose(file);
    uint64_t need = s->side[0].run.model.bytes, most = 1;
    for (size_t i = 0; i < s->n_sides; i++)
        most = VD_MAX(most, s->side[i].n_parts);
    if (available_kb == 0 || need <= available_kb * 1024 / most)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_NOMEM, "%llu copies of %s need about %s of memory, and %s are free; "
                   "take fewer copies or a smaller model", (unsigned long long)most,
                   s->args->model[0], vd_cli_size(need * most).text,
                   vd_cli_size(available_kb * 1024).text);
}

/* How many tokens a sequence may have: what the model was trained for, at most 4,096. */
static size_t tokens_max(const char *path)
{
    vd_gguf *gguf = NULL;
    vd_gguf_options metadata = {.metadata_only = true};
    vd_str architecture = {0};
    char key[128];
    uint32_t n = 4096;
    if (vd_gguf_open(path, &metadata, &gguf, NULL) != VD_OK)
        return n;
    if (vd_gguf_get_str(gguf, "general.architecture", &architecture)) {
        snprintf(key, sizeof(key), "%.*s.context_length", (int)VD_MIN(architecture.n, (size_t)64),
                 architecture.data);
        (void)vd_gguf_get_u32(gguf, key, &n);
    }
    vd_gguf_free(gguf);
    return VD_MIN(VD_MAX(n, 8u), 4096u) - 4;
}

static vd_status open_trace(study *s, vd_err *err)
{
    const vd_bench_args *a = s->args;
    vd_trace_options options = {
        .n_requests = a->n_requests,
        .n_clients = a->n_clients > 0 ? a->n_clients : VD_MAX(a->n_copies, (size_t)1),
        .per_second = a->per_second,
        .prompt_median = (double)a->n_prompt,
        .answer_median = (double)a->n_answer,
        .speedup = a->speedup,
        .tokens_max = tokens_max(s->path),
        .seed = a->seed,
    };
    if (strcmp(a->trace, "poisson") == 0)
        return vd_trace_make(&options, &s->trace, err);
    return vd_trace_read(a->trace, &options, &s->trace, err);
}

static vd_status open_side(study *s, way *side, const char *mode, size_t n_parts,
                           size_t n_threads, vd_err *err)
{
    const vd_bench_args *a = s->args;
    side->mode = mode;
    side->n_parts = n_parts;
    side->n_threads = n_threads;
    side->steady = true;
    vd_status st = vd_run_facts_model("trace", a->model[0], s->path, &side->facts, &side->run, err);
    if (st != VD_OK)
        return st;
    vd_run_facts_meter(s->meter, &side->facts, &side->run);
    st = vd_run_facts_carbon(a->zone, &side->facts, &side->run, err);
    if (st == VD_OK)
        st = vd_alloc_array(a->n_runs, sizeof(*side->run.sample), "the runs", &side->run.sample,
                            err);
    if (st == VD_OK)
        st = vd_alloc_array(s->trace.n, sizeof(*side->hash), "the answers", &side->hash, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->trace.n, sizeof(*side->run.answer_hash), "the answers",
                            &side->run.answer_hash, err);
    if (st != VD_OK)
        return st;
    vd_bench_building(a, &side->run.carbon);
    if (mode[0] == 'c')
        snprintf(side->label, sizeof(side->label), "%.60s, %zu private cop%s",
                 side->run.model.name, n_parts, n_parts == 1 ? "y" : "ies");
    else
        snprintf(side->label, sizeof(side->label), "%.60s, one shared server",
                 side->run.model.name);
    for (size_t i = 0; i < s->trace.n; i++)
        side->run.answer_hash[i] = side->hash[i];
    side->run.n_answer_hashes = s->trace.n;
    side->run.n_samples = a->n_runs;
    side->run.label = side->label;
    side->run.series = s->series;
    side->run.settings = (vd_run_settings){.threads = n_threads,
                                           .processes = n_parts,
                                           .kv = vd_kv_type_name(a->engine.kv_type),
                                           .precision = a->engine.exact ? "exact" : "fast"};
    side->run.trace = (vd_run_trace){mode, s->trace.name, s->trace.n, s->trace.n_clients,
                                     s->trace.seed, s->trace.speedup};
    return VD_OK;
}

static vd_status open_study(study *s, vd_err *err)
{
    const vd_bench_args *a = s->args;
    size_t cores = vd_pool_n_cores();
    size_t all = a->engine.n_threads > 0 ? a->engine.n_threads : cores;
    size_t each = a->n_copies > 0 ? VD_MAX(all / a->n_copies, (size_t)1) : 1;
    vd_meter_options meter = {.cpu_ns = cpu_of_all, .ctx = s};
    vd_run_series(s->series);
    vd_status st = vd_store_resolve(a->model[0], &s->path, err);
    if (st == VD_OK)
        st = vd_meter_open(&meter, &s->meter, err);
    if (st == VD_OK)
        st = open_trace(s, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->trace.n, sizeof(*s->result), "the results", &s->result, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->trace.n, sizeof(*s->time), "the results", &s->time, err);
    if (st == VD_OK && a->n_copies > 0)
        st = open_side(s, &s->side[s->n_sides++], "copies", a->n_copies,
                       a->copy_threads > 0 ? a->copy_threads : each, err);
    if (st == VD_OK && a->shared)
        st = open_side(s, &s->side[s->n_sides++], "shared", 1, all, err);
    return st == VD_OK ? check_memory(s, err) : st;
}

static void close_study(study *s)
{
    stop_children(s);
    for (size_t i = 0; i < s->n_sides; i++) {
        vd_run_done(&s->side[i].run);
        vd_free(s->side[i].hash);
    }
    vd_trace_done(&s->trace);
    vd_meter_close(s->meter);
    vd_free(s->result);
    vd_free(s->time);
    vd_free(s->path);
}

static void print_side(const way *side)
{
    const vd_run *run = &side->run;
    size_t n = run->n_samples;
    double joules = 0, seconds = 0, ttft = 0, latency = 0;
    for (size_t i = 0; i < n; i++) {
        const vd_run_sample *one = &run->sample[i];
        joules += one->whole.joules / (double)n;
        seconds += one->whole.seconds / (double)n;
        ttft += one->ttft_s.p50 / (double)n;
        latency += one->latency_s.p95 / (double)n;
    }
    const vd_run_sample *last = &run->sample[n - 1];
    printf("%-36s %8.1f J %8.3f J/answer %7.2f s   first token %6.3f s   p95 %6.2f s   %s%s\n",
           side->label, joules, joules / (double)last->answers, seconds, ttft, latency,
           vd_cli_size(last->memory_bytes).text,
           side->steady ? "" : "   (answers differed from run to run)");
}

static json_t *study_json(const study *s)
{
    if (s->n_sides == 1)
        return vd_run_json(&s->side[0].run);
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_sides; i++)
        if (json_array_append_new(list, vd_run_json(&s->side[i].run)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static vd_status run_study(study *s, vd_err *err)
{
    size_t n_runs = s->args->n_runs, n_done = 0;
    vd_status st = open_study(s, err);
    vd_progress_init(&s->progress, "bench");
    for (size_t run = 0; st == VD_OK && run < n_runs; run++)
        for (size_t k = 0; st == VD_OK && k < s->n_sides; k++) {
            size_t i = run % 2 == 0 ? k : s->n_sides - 1 - k;
            vd_progress_update(&s->progress, n_done++, n_runs * s->n_sides, s->side[i].mode);
            st = measure(s, &s->side[i], run, k, err);
        }
    vd_progress_done(&s->progress);
    if (st == VD_OK && s->args->folder != NULL) {
        const vd_run *run[2] = {&s->side[0].run, &s->side[1].run};
        st = vd_bench_write(s->args->folder, run, s->n_sides, err);
    }
    return st;
}

int vd_bench_trace(const vd_bench_args *args)
{
    study *s = vd_calloc(1, sizeof(*s));
    vd_err err = {0};
    int status = VD_EXIT_OK;
    if (s == NULL) {
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory");
        return vd_cli_failed("bench", &err);
    }
    s->args = args;
    if (run_study(s, &err) != VD_OK)
        status = vd_cli_failed("bench", &err);
    else if (args->json)
        status = vd_cli_put_json("bench", study_json(s));
    else {
        printf("%zu requests (%s), %zu repetition%s\n\n", s->trace.n, s->trace.name, args->n_runs,
               args->n_runs == 1 ? "" : "s");
        for (size_t i = 0; i < s->n_sides; i++)
            print_side(&s->side[i]);
    }
    close_study(s);
    vd_free(s);
    return status;
}
