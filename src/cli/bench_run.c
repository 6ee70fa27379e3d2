/* bench_run.c - models measured side by side. See bench.h. */
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "cli/bench.h"
#include "model/store.h"

enum { SHORT_PROMPT = 16 };
static const uint64_t idle_ns = 500000000;

static void on_event(void *ctx, const vd_event *event)
{
    vd_bench *b = ctx;
    if (event->finish == VD_FINISH_NONE) {
        b->n_first++;
        return;
    }
    b->n_alive--;
    if (event->finish == VD_FINISH_ERROR)
        b->failed = event->status;
}

vd_status vd_bench_submit(vd_engine *engine, uint64_t seed, vd_request_options *options,
                          vd_err *err)
{
    size_t n_vocab = vd_engine_info_get(engine).n_vocab;
    int32_t *prompt = NULL;
    uint64_t id, x = seed;
    vd_status st = vd_alloc_array(options->n_prompt, sizeof(*prompt), "a prompt", &prompt, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < options->n_prompt; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        prompt[i] = (int32_t)((x >> 33) % n_vocab);
    }
    options->prompt = prompt;
    options->sampling = vd_sampling_default();
    options->sampling.temperature = 0;
    options->ignore_end = true;
    st = vd_engine_submit(engine, options, &id, err);
    options->prompt = NULL; /* the engine has copied it */
    vd_free(prompt);
    return st;
}

/* Different tokens in every sequence and run, so that nothing is shared or cached; the same for
 * every model, where their vocabularies are of one size. */
static vd_status submit(vd_bench *b, vd_engine *engine, size_t n_prompt, size_t n_answer,
                        uint64_t salt, vd_err *err)
{
    vd_request_options options = {
        .n_prompt = n_prompt, .max_tokens = n_answer, .on_event = on_event, .ctx = b};
    vd_status st = vd_bench_submit(engine, salt * 0x9e3779b97f4a7c15u + 1, &options, err);
    if (st == VD_OK)
        b->n_alive++;
    return st;
}

/* Steps until `n_first` tokens have come or nobody is left. */
static vd_status step_until(vd_bench *b, vd_engine *engine, size_t n_first, vd_err *err)
{
    vd_status st = VD_OK;
    while (st == VD_OK && b->n_alive > 0 && b->n_first < n_first) {
        bool worked = false;
        st = vd_engine_step(engine, &worked, err);
    }
    if (st == VD_OK && b->failed != VD_OK)
        st = VD_FAIL(err, b->failed, "a request failed: %s", vd_finish_message(b->failed));
    return st;
}

/* One phase of one run: n_batch sequences; measured is either the prompt or what follows the first
 * tokens. `phase` NULL: the warm-up. */
static vd_status run_phase(vd_bench *b, vd_bench_model *m, bool prefill, size_t run,
                           vd_run_phase *phase, vd_err *err)
{
    const vd_bench_args *a = b->args;
    vd_status st = VD_OK;
    vd_reading from, to;
    size_t n_prompt = prefill ? a->n_prompt : SHORT_PROMPT;
    size_t n_answer = prefill ? 1 : a->n_answer + 1;
    b->n_first = 0;
    for (size_t i = 0; st == VD_OK && i < a->n_batch; i++)
        st = submit(b, m->engine, n_prompt, n_answer,
                    (run * 2 + prefill) * VD_BENCH_BATCH_MAX + i, err);
    if (st == VD_OK && !prefill)
        st = step_until(b, m->engine, a->n_batch, err);
    vd_meter_read(b->meter, &from);
    if (st == VD_OK)
        st = step_until(b, m->engine, SIZE_MAX, err);
    vd_meter_read(b->meter, &to);
    if (st == VD_OK && phase != NULL) {
        vd_run_phase_fill(phase, &from, &to);
        phase->tokens = (prefill ? a->n_prompt : a->n_answer) * a->n_batch;
        m->run.meter.incomplete |= to.gap;
        m->run.meter.method = to.method;
        m->run.meter.common_pct = to.common_pct;
        m->run.meter.independent_pct = to.independent_pct;
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
    size_t longest = VD_MAX(a->n_prompt + 2, SHORT_PROMPT + a->n_answer + 2);
    options.ctx_tokens = longest;
    options.kv_tokens = (longest + 16) * a->n_batch;
    options.max_running = a->n_batch;
    options.no_prefix_cache = true;
    m->name = name;
    vd_status st = vd_store_resolve(name, &m->path, err);
    if (st == VD_OK)
        st = vd_engine_open(m->path, &options, &m->engine, err);
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
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    if (b->n_models == 1) /* of several the peaks cannot be told apart */
        b->model[0].run.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
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
