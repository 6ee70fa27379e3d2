/* bench_run.c - models measured side by side. See bench.h. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/bench.h"
#include "cli/bench_limit.h"
#include "model/store.h"

static const uint64_t idle_ns = 500000000;

/* One phase of one run; `phase` NULL: the warm-up. */
static vd_status run_phase(vd_bench *b, vd_bench_model *m, bool prefill, size_t run,
                           vd_run_phase *phase, vd_err *err)
{
    const vd_bench_args *a = b->args;
    vd_bench_phase bench = {.engine = m->engine, .meter = b->meter};
    vd_bench_shape shape = {.prefill = prefill, .n = prefill ? a->n_prompt : a->n_answer,
                            .depth = a->n_depth, .batch = a->n_batch};
    vd_bench_speed speed;
    vd_status st = vd_bench_phase_run(&bench, &shape, run * 2 + prefill, &speed, err);
    if (st == VD_OK && phase != NULL) {
        const vd_reading *to = &speed.to;
        vd_run_phase_fill(phase, &speed.from, to);
        phase->tokens = speed.tokens;
        m->run.meter.incomplete |= to->gap;
        m->run.meter.method = to->method;
        m->run.meter.common_pct = to->common_pct;
        m->run.meter.independent_pct = to->independent_pct;
    }
    if (st != VD_OK)
        vd_err_prefix(err, "%s", m->name);
    vd_progress_update(&b->progress, ++b->n_done, b->n_total, prefill ? "prefill" : "decode");
    return st;
}

/* The warm-up is run 0. */
static vd_status run_model(vd_bench *b, vd_bench_model *m, size_t run, size_t order, vd_err *err)
{
    vd_run_sample *sample = run > 0 ? &m->run.sample[run - 1] : NULL;
    vd_status st = run_phase(b, m, true, run, sample != NULL ? &sample->prefill : NULL, err);
    if (st == VD_OK)
        st = run_phase(b, m, false, run, sample != NULL ? &sample->decode : NULL, err);
    if (st == VD_OK && sample != NULL) {
        sample->has_pair = b->n_models > 1;
        sample->pair = run - 1;
        sample->order = order;
    }
    return st;
}

void vd_bench_building(const vd_bench_args *args, vd_run_carbon *carbon)
{
    if (isfinite(args->pue))
        carbon->pue = args->pue;
    if (isfinite(args->wue_site))
        carbon->wue_site_l_per_kwh = args->wue_site;
    if (isfinite(args->wue_grid))
        carbon->wue_grid_l_per_kwh = args->wue_grid;
}

static vd_status open_model(vd_bench *b, vd_bench_model *m, const char *name, vd_err *err)
{
    const vd_bench_args *a = b->args;
    vd_engine_options options = a->engine;
    const vd_bench_shape prompt = {true, a->n_prompt, a->n_depth, a->n_batch},
                         answer = {false, a->n_answer, a->n_depth, a->n_batch};
    vd_bench_room(&prompt, &options);
    vd_bench_room(&answer, &options);
    options.no_prefix_cache = a->n_depth == 0; /* the context is kept from run to run */
    m->name = name;
    vd_status st = vd_store_resolve(name, &m->path, err);
    uint64_t begin_ns = vd_now_ns();
    if (st == VD_OK)
        st = vd_engine_open(m->path, &options, &m->engine, err);
    m->load_ns = vd_now_ns() - begin_ns;
    if (st == VD_OK)
        st = vd_run_facts_model("bench", name, m->path, &m->facts, &m->run, err);
    if (st == VD_OK) {
        vd_run_facts_meter(b->meter, &m->facts, &m->run);
        st = vd_run_facts_carbon(a->zone, &m->facts, &m->run, err);
    }
    if (st == VD_OK)
        st = vd_alloc_array(a->n_runs, sizeof(*m->run.sample), "the runs", &m->run.sample, err);
    if (st != VD_OK)
        return st;
    vd_bench_building(a, &m->run.carbon);
    vd_run_facts_engine(m->engine, &options, &m->run);
    m->run.n_samples = a->n_runs;
    m->run.series = b->series;
    m->run.settings.batch = a->n_batch;
    m->run.settings.prompt_tokens = a->n_prompt;
    m->run.settings.answer_tokens = a->n_answer;
    m->weight_bytes = vd_bench_weight_bytes(m->engine);
    m->kv_bytes = vd_bench_kv_bytes(m->engine, a->n_depth + a->n_answer / 2);
    return VD_OK;
}

vd_status vd_bench_models(vd_bench *b, vd_err *err)
{
    const vd_bench_args *a = b->args;
    vd_status st = vd_meter_open(NULL, &b->meter, err);
    vd_run_series(b->series);
    for (size_t i = 0; st == VD_OK && i < a->n_models; i++) {
        b->n_models = i + 1;
        st = open_model(b, &b->model[i], a->model[i], err);
    }
    if (st != VD_OK)
        return st;
    double idle_w = vd_idle_watts(b->meter, idle_ns);
    for (size_t i = 0; i < b->n_models; i++)
        b->model[i].run.meter.idle_w = idle_w;
    b->n_total = 2 * (a->n_runs + 1) * b->n_models;
    /* Phases and models alternate, so that all see the machine's good and bad moments; every other
     * round runs backwards, so that a drift falls on all alike. */
    for (size_t run = 0; st == VD_OK && run <= a->n_runs; run++)
        for (size_t k = 0; st == VD_OK && k < b->n_models; k++) {
            size_t i = run % 2 != 0 ? k : b->n_models - 1 - k;
            st = run_model(b, &b->model[i], run, k, err);
        }
    vd_progress_done(&b->progress);
    if (b->n_models == 1) { /* of several they cannot be told apart */
        b->model[0].run.peak_bytes = vd_bench_peak_bytes();
        b->model[0].pss_bytes = vd_bench_pss_bytes(getpid());
    }
    for (size_t i = 0; st == VD_OK && i < b->n_models; i++) { /* after the peak: it takes memory */
        vd_bench_model *m = &b->model[i];
        vd_bandwidth_measure(m->weight_bytes, vd_engine_info_get(m->engine).n_threads,
                             &m->bandwidth);
    }
    return st;
}

void vd_bench_done(vd_bench *b)
{
    for (size_t i = 0; i < b->n_models; i++) {
        vd_engine_free(b->model[i].engine);
        vd_run_done(&b->model[i].run);
        vd_free(b->model[i].path);
    }
    vd_meter_close(b->meter);
}
