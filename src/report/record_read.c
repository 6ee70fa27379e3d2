/* record_read.c - a run from JSON, every field checked. See record.h. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "report/fields.h"
#include "report/record.h"

static void read_model(vd_fields *r, vd_run_model *m)
{
    vd_fields p = vd_fields_part(r, "model", VD_MUST, "model.");
    vd_field_text(&p, "name", VD_MUST, &m->name);
    vd_field_text(&p, "file", VD_MAY, &m->file);
    vd_field_text(&p, "sha256", VD_MAY, &m->sha256);
    vd_field_text(&p, "quant", VD_MAY, &m->quant);
    vd_field_text(&p, "architecture", VD_MAY, &m->architecture);
    vd_field_text(&p, "compression", VD_MAY, &m->compression);
    vd_field_count(&p, "bytes", VD_MAY, 0, &m->bytes);
    vd_field_count(&p, "params", VD_MAY, 0, &m->params);
    vd_fields_back(r, &p);
}

static void read_place(vd_fields *r, vd_run *run)
{
    bool measured = strcmp(run->kind, "eval") != 0;
    vd_run_machine *m = &run->machine;
    vd_fields p = vd_fields_part(r, "machine", measured ? VD_MUST : VD_MAY, "machine.");
    vd_field_text(&p, "id", VD_MAY, &m->id);
    vd_field_text(&p, "cpu", measured ? VD_MUST : VD_MAY, &m->cpu);
    vd_field_flag(&p, "virtual", &m->virtual_machine);
    vd_field_real(&p, "logical_cpus", VD_MAY, 0, 1e6, &m->logical_cpus);
    vd_field_count(&p, "memory_bytes", VD_MAY, 0, &m->memory_bytes);
    vd_field_real(&p, "load_average", VD_MAY, 0, 1e9, &m->load_average);
    vd_fields_back(r, &p);

    vd_run_settings *s = &run->settings;
    p = vd_fields_part(r, "settings", VD_MAY, "settings.");
    vd_field_count(&p, "threads", VD_MAY, 0, &s->threads);
    vd_field_count(&p, "batch", VD_MAY, 0, &s->batch);
    vd_field_count(&p, "processes", VD_MAY, 0, &s->processes);
    vd_field_text(&p, "kernels", VD_MAY, &s->kernels);
    vd_field_text(&p, "kv", VD_MAY, &s->kv);
    vd_field_text(&p, "precision", VD_MAY, &s->precision);
    vd_field_count(&p, "prompt_tokens", VD_MAY, 0, &s->prompt_tokens);
    vd_field_count(&p, "answer_tokens", VD_MAY, 0, &s->answer_tokens);
    vd_fields_back(r, &p);

    p = vd_fields_part(r, "meter", measured ? VD_MUST : VD_MAY, "meter.");
    vd_field_text(&p, "method", measured ? VD_MUST : VD_MAY, &run->meter.method);
    vd_field_real(&p, "common_pct", measured ? VD_MUST : VD_MAY, 0, 1000, &run->meter.common_pct);
    vd_field_real(&p, "independent_pct", measured ? VD_MUST : VD_MAY, 0, 1000,
                  &run->meter.independent_pct);
    vd_field_real(&p, "idle_w", VD_MAY, 0, 1e9, &run->meter.idle_w);
    vd_field_flag(&p, "incomplete", &run->meter.incomplete);
    vd_fields_back(r, &p);

    p = vd_fields_part(r, "memory", VD_MAY, "memory.");
    vd_field_count(&p, "weights_bytes", VD_MAY, 0, &run->weights_bytes);
    vd_field_count(&p, "kv_bytes", VD_MAY, 0, &run->kv_bytes);
    vd_field_count(&p, "peak_bytes", VD_MAY, 0, &run->peak_bytes);
    vd_fields_back(r, &p);
}

static void read_quality(vd_fields *r, vd_run_quality *q)
{
    vd_fields p = vd_fields_part(r, "quality", VD_MAY, "quality.");
    vd_field_text(&p, "text", VD_MAY, &q->text);
    vd_field_text(&p, "task", VD_MAY, &q->task);
    vd_field_text(&p, "against", VD_MAY, &q->against);
    vd_field_real(&p, "ppl", VD_MAY, 1, 1e18, &q->ppl);
    vd_field_real(&p, "ppl_stderr", VD_MAY, 0, 1e18, &q->ppl_stderr);
    vd_field_real(&p, "kl_mean", VD_MAY, 0, 1e18, &q->kl_mean);
    vd_field_real(&p, "kl_stderr", VD_MAY, 0, 1e18, &q->kl_stderr);
    vd_field_real(&p, "top1_agreement", VD_MAY, 0, 1, &q->top1);
    vd_field_real(&p, "top1_stderr", VD_MAY, 0, 1, &q->top1_stderr);
    vd_field_real(&p, "accuracy", VD_MAY, 0, 1, &q->accuracy);
    vd_field_real(&p, "accuracy_stderr", VD_MAY, 0, 1, &q->accuracy_stderr);
    vd_field_count(&p, "n_tasks", VD_MAY, 0, &q->n_tasks);
    vd_fields_back(r, &p);
}

static void read_carbon(vd_fields *r, vd_run_carbon *c)
{
    vd_fields p = vd_fields_part(r, "carbon", VD_MAY, "carbon.");
    vd_field_real(&p, "intensity_g_per_kwh", VD_MAY, 0, 1e5, &c->g_per_kwh);
    vd_field_text(&p, "zone", VD_MAY, &c->zone);
    vd_field_text(&p, "kind", VD_MAY, &c->kind);
    vd_field_text(&p, "scope", VD_MAY, &c->scope);
    vd_field_text(&p, "basis", VD_MAY, &c->basis);
    vd_field_text(&p, "boundary", VD_MAY, &c->boundary);
    vd_field_text(&p, "source", VD_MAY, &c->source);
    vd_field_text(&p, "valid_at", VD_MAY, &c->valid_at);
    vd_field_real(&p, "pue", VD_MAY, 1, 10, &c->pue);
    vd_field_real(&p, "wue_site_l_per_kwh", VD_MAY, 0, 1000, &c->wue_site_l_per_kwh);
    vd_field_real(&p, "wue_grid_l_per_kwh", VD_MAY, 0, 1000, &c->wue_grid_l_per_kwh);
    vd_field_real(&p, "server_kg", VD_MAY, 0, 1e9, &c->server_kg);
    vd_field_real(&p, "life_years", VD_MAY, 0.01, 1000, &c->life_years);
    vd_field_real(&p, "reserved_share", VD_MAY, 0, 1, &c->reserved_share);
    vd_fields_back(r, &p);
}

static void read_trace(vd_fields *r, vd_run *run)
{
    vd_run_trace *t = &run->trace;
    vd_fields p = vd_fields_part(r, "trace", VD_MAY, "trace.");
    vd_field_text(&p, "mode", VD_MAY, &t->mode);
    vd_field_text(&p, "name", VD_MAY, &t->name);
    vd_field_count(&p, "requests", VD_MAY, 0, &t->requests);
    vd_field_count(&p, "clients", VD_MAY, 0, &t->clients);
    vd_field_count(&p, "seed", VD_MAY, 0, &t->seed);
    vd_field_real(&p, "speedup", VD_MAY, 0, 1e9, &t->speedup);
    const json_t *list = vd_field(&p, "answer_hashes", VD_MAY);
    size_t n = json_array_size(list);
    if (list != NULL && !json_is_array(list))
        p.st = VD_FAIL(p.err, VD_ERR_FORMAT, "trace.answer_hashes must be an array");
    if (p.st == VD_OK && n > 0)
        p.st = vd_alloc_array(n, sizeof(*run->answer_hash), "hashes of answers",
                              &run->answer_hash, p.err);
    for (size_t i = 0; p.st == VD_OK && i < n; i++) {
        run->answer_hash[i] = json_string_value(json_array_get(list, i));
        if (run->answer_hash[i] == NULL)
            p.st = VD_FAIL(p.err, VD_ERR_FORMAT, "trace.answer_hashes[%zu] must be a string", i);
    }
    run->n_answer_hashes = p.st == VD_OK ? n : 0;
    vd_fields_back(r, &p);
}

static void read_costs(vd_fields *r, vd_run *run)
{
    size_t n = 0;
    const json_t *list = vd_field_array(r, "costs", VD_MAY, VD_RUN_COSTS_MAX, &n);
    for (size_t i = 0; r->st == VD_OK && i < n; i++) {
        char where[VD_FIELDS_WHERE_MAX];
        vd_fields p = vd_fields_item(r, list, i, "costs", where);
        run->cost[i].seconds = NAN;
        vd_field_text(&p, "what", VD_MUST, &run->cost[i].what);
        vd_field_real(&p, "joules", VD_MUST, 0, 1e18, &run->cost[i].joules);
        vd_field_real(&p, "seconds", VD_MAY, 0, 1e18, &run->cost[i].seconds);
        run->n_costs = i + 1;
        vd_fields_back(r, &p);
    }
}

static void read_parts(vd_fields *p, vd_run_phase *phase)
{
    vd_field_above_zero(p, "seconds", VD_MUST, &phase->seconds);
    vd_field_above_zero(p, "joules", VD_MUST, &phase->joules);
    phase->cpu_j = phase->dram_j = phase->gpu_j = NAN;
    vd_field_real(p, "cpu_j", VD_MAY, 0, 1e18, &phase->cpu_j);
    vd_field_real(p, "dram_j", VD_MAY, 0, 1e18, &phase->dram_j);
    vd_field_real(p, "gpu_j", VD_MAY, 0, 1e18, &phase->gpu_j);
}

static void read_phase(vd_fields *r, const char *key, vd_run_phase *phase)
{
    char where[96];
    snprintf(where, sizeof(where), "%s%s.", r->where, key);
    vd_fields p = vd_fields_part(r, key, VD_MAY, where);
    if (p.object != NULL) {
        read_parts(&p, phase);
        vd_field_count(&p, "tokens", VD_MUST, 1, &phase->tokens);
    }
    p.where = NULL;
    vd_fields_back(r, &p);
}

static void read_times(vd_fields *r, const char *key, vd_run_times *times)
{
    char where[96];
    snprintf(where, sizeof(where), "%s%s.", r->where, key);
    *times = (vd_run_times){NAN, NAN, NAN};
    vd_fields p = vd_fields_part(r, key, VD_MAY, where);
    vd_field_real(&p, "p50", VD_MAY, 0, 1e9, &times->p50);
    vd_field_real(&p, "p95", VD_MAY, 0, 1e9, &times->p95);
    vd_field_real(&p, "p99", VD_MAY, 0, 1e9, &times->p99);
    p.where = NULL;
    vd_fields_back(r, &p);
}

static void read_sample(vd_fields *p, const char *kind, vd_run_sample *s)
{
    s->has_pair = json_object_get(p->object, "pair") != NULL;
    vd_field_count(p, "pair", VD_MAY, 0, &s->pair);
    vd_field_count(p, "order", VD_MAY, 0, &s->order);
    if (strcmp(kind, "bench") == 0) {
        read_phase(p, "prefill", &s->prefill);
        read_phase(p, "decode", &s->decode);
        if (p->st == VD_OK && (s->prefill.tokens == 0 || s->decode.tokens == 0))
            p->st = VD_FAIL(p->err, VD_ERR_FORMAT, "%sprefill and %sdecode are both needed in a "
                            "record of the kind bench", p->where, p->where);
        return;
    }
    read_parts(p, &s->whole);
    vd_field_count(p, "answers", VD_MUST, 1, &s->answers);
    vd_field_count(p, "answer_tokens", VD_MUST, 1, &s->whole.tokens);
    vd_field_count(p, "prompt_tokens", VD_MAY, 0, &s->prompt_tokens);
    s->idle_w = NAN;
    vd_field_real(p, "idle_w", VD_MAY, 0, 1e9, &s->idle_w);
    read_times(p, "ttft_s", &s->ttft_s);
    read_times(p, "latency_s", &s->latency_s);
    vd_field_count(p, "memory_bytes", VD_MAY, 0, &s->memory_bytes);
}

static void read_samples(vd_fields *r, vd_run *run)
{
    bool measured = strcmp(run->kind, "eval") != 0;
    size_t n = 0;
    const json_t *list = vd_field_array(r, "samples", measured ? VD_MUST : VD_MAY,
                                        VD_RUN_SAMPLES_MAX, &n);
    if (r->st == VD_OK && measured && n == 0)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "samples is empty: nothing was measured");
    if (r->st == VD_OK && n > 0 && measured)
        r->st = vd_alloc_array(n, sizeof(*run->sample), "samples", &run->sample, r->err);
    for (size_t i = 0; r->st == VD_OK && measured && i < n; i++) {
        char where[VD_FIELDS_WHERE_MAX];
        vd_fields p = vd_fields_item(r, list, i, "samples", where);
        read_sample(&p, run->kind, &run->sample[i]);
        run->n_samples = i + 1;
        p.where = NULL;
        vd_fields_back(r, &p);
    }
}

static vd_status check_schema(const json_t *json, vd_err *err)
{
    const char *schema = json_string_value(json_object_get(json, "schema"));
    if (!json_is_object(json))
        return VD_FAIL(err, VD_ERR_FORMAT, "a run record is a JSON object%s",
                       json_is_array(json) ? "; this is an array of them: write each to a file of "
                                             "its own (verdant bench -o FOLDER does)"
                                           : "");
    if (schema == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "this is no run record: \"schema\" is missing; it must "
                       "be \"" VD_RUN_SCHEMA "\"");
    if (strcmp(schema, VD_RUN_SCHEMA) != 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the schema is \"%.64s\"; this version reads "
                       "\"" VD_RUN_SCHEMA "\"", schema);
    return VD_OK;
}

vd_status vd_run_parse(json_t *json, vd_run *ret_run, vd_err *err)
{
    vd_run run;
    vd_run_init(&run);
    vd_status st = check_schema(json, err);
    if (st != VD_OK)
        return st;
    vd_fields r = {json, "", VD_OK, err};
    vd_field_text(&r, "kind", VD_MUST, &run.kind);
    if (r.st == VD_OK && strcmp(run.kind, "bench") != 0 && strcmp(run.kind, "trace") != 0 &&
        strcmp(run.kind, "service") != 0 && strcmp(run.kind, "eval") != 0)
        r.st = VD_FAIL(err, VD_ERR_FORMAT, "kind must be bench, trace, service or eval");
    vd_field_text(&r, "label", VD_MAY, &run.label);
    vd_field_text(&r, "series", VD_MAY, &run.series);
    vd_field_text(&r, "created", VD_MAY, &run.created);
    vd_field_text(&r, "program", VD_MAY, &run.program);
    read_model(&r, &run.model);
    read_place(&r, &run);
    read_quality(&r, &run.quality);
    read_carbon(&r, &run.carbon);
    read_trace(&r, &run);
    read_costs(&r, &run);
    read_samples(&r, &run);
    if (r.st != VD_OK) {
        vd_run_done(&run);
        return r.st;
    }
    run.json = json_incref(json);
    *ret_run = run;
    return VD_OK;
}

static vd_status read_json(const char *path, json_t **ret_json, vd_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, VD_RUN_FILE_MAX, &bytes, &n, err);
    if (st != VD_OK)
        return st;
    st = vd_json_parse(bytes, n, ret_json, err);
    vd_free(bytes);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    return st;
}

vd_status vd_run_read(const char *path, vd_run *ret_run, vd_err *err)
{
    json_t *json = NULL;
    vd_status st = read_json(path, &json, err);
    if (st != VD_OK)
        return st;
    st = vd_run_parse(json, ret_run, err);
    json_decref(json);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    return st;
}

vd_status vd_run_cost_read(const char *path, vd_run_cost *ret_cost, json_t **ret_json, vd_err *err)
{
    json_t *json = NULL;
    vd_status st = read_json(path, &json, err);
    if (st != VD_OK)
        return st;
    vd_run_cost cost = {.what = "compression", .joules = NAN, .seconds = NAN};
    vd_fields r = {json, "", VD_OK, err}, energy;
    if (!json_is_object(json))
        r.st = VD_FAIL(err, VD_ERR_FORMAT, "the costs of a model are a JSON object, as verdant "
                       "compress --json prints it");
    vd_field_text(&r, "what", VD_MAY, &cost.what);
    vd_field_real(&r, "seconds", VD_MAY, 0, 1e18, &cost.seconds);
    energy = vd_fields_part(&r, "energy", VD_MUST, "energy.");
    vd_field_real(&energy, "total_j", VD_MUST, 0, 1e18, &cost.joules);
    bool incomplete = false;
    vd_field_flag(&energy, "incomplete", &incomplete);
    if (energy.st == VD_OK && incomplete)
        energy.st = VD_FAIL(err, VD_ERR_FORMAT, "energy.incomplete: the meter failed meanwhile, "
                            "so the cost is not known");
    if (energy.st != VD_OK) {
        vd_err_prefix(err, "%s", path);
        json_decref(json);
        return energy.st;
    }
    *ret_cost = cost;
    *ret_json = json;
    return VD_OK;
}
