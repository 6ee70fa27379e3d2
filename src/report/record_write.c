/* record_write.c - a run as JSON. See record.h; record_read.c is its mirror. */
#include "report/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"

void vd_run_init(vd_run *run)
{
    *run = (vd_run){.kind = "bench"};
    run->machine.logical_cpus = run->machine.load_average = NAN;
    run->meter.common_pct = run->meter.independent_pct = run->meter.idle_w = NAN;
    run->quality.ppl = run->quality.ppl_stderr = NAN;
    run->quality.kl_mean = run->quality.kl_stderr = NAN;
    run->quality.top1 = run->quality.top1_stderr = NAN;
    run->quality.accuracy = run->quality.accuracy_stderr = NAN;
    run->carbon.g_per_kwh = run->carbon.pue = NAN;
    run->carbon.wue_site_l_per_kwh = run->carbon.wue_grid_l_per_kwh = NAN;
    run->carbon.server_kg = run->carbon.life_years = run->carbon.reserved_share = NAN;
    run->trace.speedup = NAN;
}

void vd_run_done(vd_run *run)
{
    vd_free(run->sample);
    vd_free(run->answer_hash);
    json_decref(run->json);
    *run = (vd_run){0};
}

void vd_run_series(char text[VD_RUN_SERIES_MAX])
{
    uint64_t x = 0;
    if (getrandom(&x, sizeof(x), 0) != (ssize_t)sizeof(x))
        x = vd_wall_ns() * 0x9e3779b97f4a7c15u ^ vd_now_ns();
    snprintf(text, VD_RUN_SERIES_MAX, "%016llx", (unsigned long long)x);
}

void vd_run_time(char text[VD_RUN_TIME_MAX])
{
    time_t now = (time_t)(vd_wall_ns() / 1000000000u);
    struct tm parts = {0};
    gmtime_r(&now, &parts);
    if (strftime(text, VD_RUN_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
}

/* A builder that failed once fails: `bad` ends in NULL for the whole. */
typedef struct object {
    json_t *json;
    bool bad;
} object;

static void put(object *o, const char *key, json_t *value)
{
    o->bad = json_object_set_new(o->json, key, value) != 0 || o->bad;
}

static void put_text(object *o, const char *key, const char *text)
{
    if (text != NULL)
        put(o, key, json_string(text));
}

static void put_real(object *o, const char *key, double value)
{
    if (isfinite(value))
        put(o, key, json_real(value));
}

static void put_count(object *o, const char *key, uint64_t n)
{
    if (n != 0)
        put(o, key, json_integer((json_int_t)n));
}

static object start(void)
{
    json_t *json = json_object();
    return (object){json, json == NULL};
}

static json_t *end(object *o)
{
    if (!o->bad)
        return o->json;
    json_decref(o->json);
    return NULL;
}

/* An object with nothing in it is left out. */
static void put_object(object *o, const char *key, object *part)
{
    json_t *json = end(part);
    if (json != NULL && json_object_size(json) == 0)
        json_decref(json);
    else
        put(o, key, json);
}

static void put_parts(object *o, const vd_run_phase *phase)
{
    put(o, "seconds", json_real(phase->seconds));
    put(o, "joules", json_real(phase->joules));
    put_real(o, "cpu_j", phase->cpu_j);
    put_real(o, "dram_j", phase->dram_j);
    put_real(o, "gpu_j", phase->gpu_j);
}

static void put_phase(object *o, const char *key, const vd_run_phase *phase)
{
    if (phase->tokens == 0)
        return;
    object part = start();
    put_parts(&part, phase);
    put_count(&part, "tokens", phase->tokens);
    put_object(o, key, &part);
}

static void put_times(object *o, const char *key, const vd_run_times *times)
{
    if (!isfinite(times->p50) || times->p50 <= 0)
        return;
    object part = start();
    put_real(&part, "p50", times->p50);
    put_real(&part, "p95", times->p95);
    put_real(&part, "p99", times->p99);
    put_object(o, key, &part);
}

static json_t *sample_json(const vd_run_sample *s)
{
    object o = start();
    if (s->has_pair) {
        put(&o, "pair", json_integer((json_int_t)s->pair));
        put(&o, "order", json_integer((json_int_t)s->order));
    }
    put_phase(&o, "prefill", &s->prefill);
    put_phase(&o, "decode", &s->decode);
    if (s->whole.tokens > 0 || s->answers > 0) {
        put_parts(&o, &s->whole);
        put_count(&o, "answers", s->answers);
        put_count(&o, "prompt_tokens", s->prompt_tokens);
        put_count(&o, "answer_tokens", s->whole.tokens);
        put_real(&o, "idle_w", s->idle_w);
        put_times(&o, "ttft_s", &s->ttft_s);
        put_times(&o, "latency_s", &s->latency_s);
        put_count(&o, "memory_bytes", s->memory_bytes);
    }
    return end(&o);
}

static void put_samples(object *o, const vd_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_samples; i++)
        o->bad = json_array_append_new(list, sample_json(&run->sample[i])) != 0 || o->bad;
    put(o, "samples", list);
}

static void put_model(object *o, const vd_run *run)
{
    const vd_run_model *m = &run->model;
    object part = start();
    put_text(&part, "name", m->name);
    put_text(&part, "file", m->file);
    put_text(&part, "sha256", m->sha256);
    put_count(&part, "bytes", m->bytes);
    put_text(&part, "quant", m->quant);
    put_text(&part, "architecture", m->architecture);
    put_count(&part, "params", m->params);
    put_text(&part, "compression", m->compression);
    put_object(o, "model", &part);
}

static void put_place(object *o, const vd_run *run)
{
    const vd_run_machine *m = &run->machine;
    object part = start();
    put_text(&part, "id", m->id);
    put_text(&part, "cpu", m->cpu);
    put(&part, "virtual", json_boolean(m->virtual_machine));
    put_real(&part, "logical_cpus", m->logical_cpus);
    put_count(&part, "memory_bytes", m->memory_bytes);
    put_real(&part, "load_average", m->load_average);
    put_object(o, "machine", &part);

    const vd_run_settings *s = &run->settings;
    part = start();
    put_count(&part, "threads", s->threads);
    put_count(&part, "batch", s->batch);
    put_count(&part, "processes", s->processes);
    put_text(&part, "kernels", s->kernels);
    put_text(&part, "kv", s->kv);
    put_text(&part, "precision", s->precision);
    put_count(&part, "prompt_tokens", s->prompt_tokens);
    put_count(&part, "answer_tokens", s->answer_tokens);
    put_object(o, "settings", &part);

    part = start();
    put_text(&part, "method", run->meter.method);
    put_real(&part, "common_pct", run->meter.common_pct);
    put_real(&part, "independent_pct", run->meter.independent_pct);
    put_real(&part, "idle_w", run->meter.idle_w);
    if (run->meter.method != NULL)
        put(&part, "incomplete", json_boolean(run->meter.incomplete));
    put_object(o, "meter", &part);

    part = start();
    put_count(&part, "weights_bytes", run->weights_bytes);
    put_count(&part, "kv_bytes", run->kv_bytes);
    put_count(&part, "peak_bytes", run->peak_bytes);
    put_object(o, "memory", &part);
}

static void put_quality(object *o, const vd_run_quality *q)
{
    object part = start();
    put_text(&part, "text", q->text);
    put_real(&part, "ppl", q->ppl);
    put_real(&part, "ppl_stderr", q->ppl_stderr);
    put_text(&part, "against", q->against);
    put_real(&part, "kl_mean", q->kl_mean);
    put_real(&part, "kl_stderr", q->kl_stderr);
    put_real(&part, "top1_agreement", q->top1);
    put_real(&part, "top1_stderr", q->top1_stderr);
    put_text(&part, "task", q->task);
    put_real(&part, "accuracy", q->accuracy);
    put_real(&part, "accuracy_stderr", q->accuracy_stderr);
    put_count(&part, "n_tasks", q->n_tasks);
    put_object(o, "quality", &part);
}

static void put_carbon(object *o, const vd_run_carbon *c)
{
    object part = start();
    if (isfinite(c->g_per_kwh)) {
        put_real(&part, "intensity_g_per_kwh", c->g_per_kwh);
        put_text(&part, "zone", c->zone);
        put_text(&part, "kind", c->kind);
        put_text(&part, "scope", c->scope);
        put_text(&part, "basis", c->basis);
        put_text(&part, "boundary", c->boundary);
        put_text(&part, "source", c->source);
        put_text(&part, "valid_at", c->valid_at);
    }
    put_real(&part, "pue", c->pue);
    put_real(&part, "wue_site_l_per_kwh", c->wue_site_l_per_kwh);
    put_real(&part, "wue_grid_l_per_kwh", c->wue_grid_l_per_kwh);
    put_real(&part, "server_kg", c->server_kg);
    put_real(&part, "life_years", c->life_years);
    put_real(&part, "reserved_share", c->reserved_share);
    put_object(o, "carbon", &part);
}

static void put_costs(object *o, const vd_run *run)
{
    if (run->n_costs == 0)
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_costs; i++) {
        object part = start();
        put_text(&part, "what", run->cost[i].what);
        put_real(&part, "joules", run->cost[i].joules);
        put_real(&part, "seconds", run->cost[i].seconds);
        o->bad = json_array_append_new(list, end(&part)) != 0 || o->bad;
    }
    put(o, "costs", list);
}

static void put_trace(object *o, const vd_run *run)
{
    const vd_run_trace *t = &run->trace;
    object part = start();
    put_text(&part, "mode", t->mode);
    put_text(&part, "name", t->name);
    put_count(&part, "requests", t->requests);
    put_count(&part, "clients", t->clients);
    put_count(&part, "seed", t->seed);
    put_real(&part, "speedup", t->speedup);
    if (run->n_answer_hashes > 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < run->n_answer_hashes; i++)
            part.bad |= json_array_append_new(list, json_string(run->answer_hash[i])) != 0;
        put(&part, "answer_hashes", list);
    }
    put_object(o, "trace", &part);
}

json_t *vd_run_json(const vd_run *run)
{
    object o = start();
    put_text(&o, "schema", VD_RUN_SCHEMA);
    put_text(&o, "kind", run->kind);
    put_text(&o, "label", run->label);
    put_text(&o, "series", run->series);
    put_text(&o, "created", run->created);
    put_text(&o, "program", run->program);
    put_model(&o, run);
    put_place(&o, run);
    put_trace(&o, run);
    put_quality(&o, &run->quality);
    put_carbon(&o, &run->carbon);
    put_costs(&o, run);
    put_samples(&o, run);
    return end(&o);
}
