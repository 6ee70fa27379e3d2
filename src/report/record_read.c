/* record_read.c - a run from JSON, every field checked. See record.h. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "report/record.h"

/* Reads fields of one object; the first thing wrong sticks. */
typedef struct reader {
    const json_t *object; /* NULL: it is absent, and every field with it */
    const char *where;    /* "model.", "samples[3].prefill." */
    vd_status st;
    vd_err *err;
} reader;

typedef enum need { MAY, MUST } need;

static const json_t *field(reader *r, const char *key, need n)
{
    const json_t *value = r->st == VD_OK ? json_object_get(r->object, key) : NULL;
    if (json_is_null(value))
        value = NULL;
    if (value == NULL && n == MUST && r->st == VD_OK)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "the field %s%s is missing", r->where, key);
    return value;
}

static void text(reader *r, const char *key, need n, const char **ret)
{
    const json_t *value = field(r, key, n);
    if (value == NULL)
        return;
    if (!json_is_string(value) || json_string_length(value) > 4096)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a string of at most 4,096 bytes",
                        r->where, key);
    else
        *ret = json_string_value(value);
}

/* A finite number in [min, max]. */
static void real(reader *r, const char *key, need n, double min, double max, double *ret)
{
    const json_t *value = field(r, key, n);
    if (value == NULL)
        return;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= min && number <= max)) {
        if (max >= 1e18)
            r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number of at least %g",
                            r->where, key, min);
        else
            r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number from %g to %g",
                            r->where, key, min, max);
    } else {
        *ret = number;
    }
}

/* What must be above 0 for a ratio to mean anything, and not so near to it that a quotient leaves
 * the range of a double. */
static void above_zero(reader *r, const char *key, need n, double *ret)
{
    double number = NAN;
    real(r, key, n, 0, 1e18, &number);
    if (r->st != VD_OK || isnan(number))
        return;
    if (number == 0)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s is 0: nothing was measured, so nothing can "
                        "be compared", r->where, key);
    else if (number < 1e-9)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number of at least 1e-9", r->where,
                        key);
    else
        *ret = number;
}

static void count(reader *r, const char *key, need n, uint64_t min, uint64_t *ret)
{
    const json_t *value = field(r, key, n);
    if (value == NULL)
        return;
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || (uint64_t)number < min)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a whole number of at least %llu",
                        r->where, key, (unsigned long long)min);
    else
        *ret = (uint64_t)number;
}

static void flag(reader *r, const char *key, bool *ret)
{
    const json_t *value = field(r, key, MAY);
    if (value == NULL)
        return;
    if (!json_is_boolean(value))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be true or false", r->where, key);
    else
        *ret = json_is_true(value);
}

/* The reader of a part; the status is handed back with `back`. */
static reader part(reader *r, const char *key, need n, const char *where)
{
    const json_t *value = field(r, key, n);
    if (value != NULL && !json_is_object(value))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be an object", r->where, key);
    return (reader){value, where, r->st, r->err};
}

static void back(reader *r, const reader *done)
{
    r->st = done->st;
}

static void read_model(reader *r, vd_run_model *m)
{
    reader p = part(r, "model", MUST, "model.");
    text(&p, "name", MUST, &m->name);
    text(&p, "file", MAY, &m->file);
    text(&p, "sha256", MAY, &m->sha256);
    text(&p, "quant", MAY, &m->quant);
    text(&p, "architecture", MAY, &m->architecture);
    text(&p, "compression", MAY, &m->compression);
    count(&p, "bytes", MAY, 0, &m->bytes);
    count(&p, "params", MAY, 0, &m->params);
    back(r, &p);
}

static void read_place(reader *r, vd_run *run)
{
    bool measured = strcmp(run->kind, "eval") != 0;
    vd_run_machine *m = &run->machine;
    reader p = part(r, "machine", measured ? MUST : MAY, "machine.");
    text(&p, "id", MAY, &m->id);
    text(&p, "cpu", measured ? MUST : MAY, &m->cpu);
    flag(&p, "virtual", &m->virtual_machine);
    real(&p, "logical_cpus", MAY, 0, 1e6, &m->logical_cpus);
    count(&p, "memory_bytes", MAY, 0, &m->memory_bytes);
    real(&p, "load_average", MAY, 0, 1e9, &m->load_average);
    back(r, &p);

    vd_run_settings *s = &run->settings;
    p = part(r, "settings", MAY, "settings.");
    count(&p, "threads", MAY, 0, &s->threads);
    count(&p, "batch", MAY, 0, &s->batch);
    count(&p, "processes", MAY, 0, &s->processes);
    text(&p, "kernels", MAY, &s->kernels);
    text(&p, "kv", MAY, &s->kv);
    text(&p, "precision", MAY, &s->precision);
    count(&p, "prompt_tokens", MAY, 0, &s->prompt_tokens);
    count(&p, "answer_tokens", MAY, 0, &s->answer_tokens);
    back(r, &p);

    p = part(r, "meter", measured ? MUST : MAY, "meter.");
    text(&p, "method", measured ? MUST : MAY, &run->meter.method);
    real(&p, "common_pct", measured ? MUST : MAY, 0, 1000, &run->meter.common_pct);
    real(&p, "independent_pct", measured ? MUST : MAY, 0, 1000, &run->meter.independent_pct);
    real(&p, "idle_w", MAY, 0, 1e9, &run->meter.idle_w);
    flag(&p, "incomplete", &run->meter.incomplete);
    back(r, &p);

    p = part(r, "memory", MAY, "memory.");
    count(&p, "weights_bytes", MAY, 0, &run->weights_bytes);
    count(&p, "kv_bytes", MAY, 0, &run->kv_bytes);
    count(&p, "peak_bytes", MAY, 0, &run->peak_bytes);
    back(r, &p);
}

static void read_quality(reader *r, vd_run_quality *q)
{
    reader p = part(r, "quality", MAY, "quality.");
    text(&p, "text", MAY, &q->text);
    text(&p, "task", MAY, &q->task);
    text(&p, "against", MAY, &q->against);
    real(&p, "ppl", MAY, 1, 1e18, &q->ppl);
    real(&p, "ppl_stderr", MAY, 0, 1e18, &q->ppl_stderr);
    real(&p, "kl_mean", MAY, 0, 1e18, &q->kl_mean);
    real(&p, "kl_stderr", MAY, 0, 1e18, &q->kl_stderr);
    real(&p, "top1_agreement", MAY, 0, 1, &q->top1);
    real(&p, "top1_stderr", MAY, 0, 1, &q->top1_stderr);
    real(&p, "accuracy", MAY, 0, 1, &q->accuracy);
    real(&p, "accuracy_stderr", MAY, 0, 1, &q->accuracy_stderr);
    count(&p, "n_tasks", MAY, 0, &q->n_tasks);
    back(r, &p);
}

static void read_carbon(reader *r, vd_run_carbon *c)
{
    reader p = part(r, "carbon", MAY, "carbon.");
    real(&p, "intensity_g_per_kwh", MAY, 0, 1e5, &c->g_per_kwh);
    text(&p, "zone", MAY, &c->zone);
    text(&p, "kind", MAY, &c->kind);
    text(&p, "scope", MAY, &c->scope);
    text(&p, "basis", MAY, &c->basis);
    text(&p, "boundary", MAY, &c->boundary);
    text(&p, "source", MAY, &c->source);
    text(&p, "valid_at", MAY, &c->valid_at);
    real(&p, "pue", MAY, 1, 10, &c->pue);
    real(&p, "wue_site_l_per_kwh", MAY, 0, 1000, &c->wue_site_l_per_kwh);
    real(&p, "wue_grid_l_per_kwh", MAY, 0, 1000, &c->wue_grid_l_per_kwh);
    real(&p, "server_kg", MAY, 0, 1e9, &c->server_kg);
    real(&p, "life_years", MAY, 0.01, 1000, &c->life_years);
    real(&p, "reserved_share", MAY, 0, 1, &c->reserved_share);
    back(r, &p);
}

static void read_trace(reader *r, vd_run *run)
{
    vd_run_trace *t = &run->trace;
    reader p = part(r, "trace", MAY, "trace.");
    text(&p, "mode", MAY, &t->mode);
    text(&p, "name", MAY, &t->name);
    count(&p, "requests", MAY, 0, &t->requests);
    count(&p, "clients", MAY, 0, &t->clients);
    count(&p, "seed", MAY, 0, &t->seed);
    real(&p, "speedup", MAY, 0, 1e9, &t->speedup);
    const json_t *list = field(&p, "answer_hashes", MAY);
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
    back(r, &p);
}

static const json_t *array(reader *r, const char *key, need n, size_t max, size_t *ret_n)
{
    const json_t *list = field(r, key, n);
    *ret_n = json_array_size(list);
    if (list != NULL && !json_is_array(list))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s must be an array", key);
    else if (*ret_n > max)
        r->st = VD_FAIL(r->err, VD_ERR_LIMIT, "%s has %zu entries; at most %zu are read", key,
                        *ret_n, max);
    return list;
}

static reader item(const reader *r, const json_t *list, size_t i, const char *key, char where[64])
{
    reader p = {json_array_get(list, i), where, r->st, r->err};
    snprintf(where, 64, "%s[%zu].", key, i);
    if (p.st == VD_OK && !json_is_object(p.object))
        p.st = VD_FAIL(p.err, VD_ERR_FORMAT, "%s[%zu] must be an object", key, i);
    return p;
}

static void read_costs(reader *r, vd_run *run)
{
    size_t n = 0;
    const json_t *list = array(r, "costs", MAY, VD_RUN_COSTS_MAX, &n);
    for (size_t i = 0; r->st == VD_OK && i < n; i++) {
        char where[64];
        reader p = item(r, list, i, "costs", where);
        run->cost[i].seconds = NAN;
        text(&p, "what", MUST, &run->cost[i].what);
        real(&p, "joules", MUST, 0, 1e18, &run->cost[i].joules);
        real(&p, "seconds", MAY, 0, 1e18, &run->cost[i].seconds);
        run->n_costs = i + 1;
        back(r, &p);
    }
}

static void read_parts(reader *p, vd_run_phase *phase)
{
    above_zero(p, "seconds", MUST, &phase->seconds);
    above_zero(p, "joules", MUST, &phase->joules);
    phase->cpu_j = phase->dram_j = phase->gpu_j = NAN;
    real(p, "cpu_j", MAY, 0, 1e18, &phase->cpu_j);
    real(p, "dram_j", MAY, 0, 1e18, &phase->dram_j);
    real(p, "gpu_j", MAY, 0, 1e18, &phase->gpu_j);
}

static void read_phase(reader *r, const char *key, vd_run_phase *phase)
{
    char where[96];
    snprintf(where, sizeof(where), "%s%s.", r->where, key);
    reader p = part(r, key, MAY, where);
    if (p.object != NULL) {
        read_parts(&p, phase);
        count(&p, "tokens", MUST, 1, &phase->tokens);
    }
    p.where = NULL;
    back(r, &p);
}

static void read_times(reader *r, const char *key, vd_run_times *times)
{
    char where[96];
    snprintf(where, sizeof(where), "%s%s.", r->where, key);
    *times = (vd_run_times){NAN, NAN, NAN};
    reader p = part(r, key, MAY, where);
    real(&p, "p50", MAY, 0, 1e9, &times->p50);
    real(&p, "p95", MAY, 0, 1e9, &times->p95);
    real(&p, "p99", MAY, 0, 1e9, &times->p99);
    p.where = NULL;
    back(r, &p);
}

static void read_sample(reader *p, const char *kind, vd_run_sample *s)
{
    s->has_pair = json_object_get(p->object, "pair") != NULL;
    count(p, "pair", MAY, 0, &s->pair);
    count(p, "order", MAY, 0, &s->order);
    if (strcmp(kind, "bench") == 0) {
        read_phase(p, "prefill", &s->prefill);
        read_phase(p, "decode", &s->decode);
        if (p->st == VD_OK && (s->prefill.tokens == 0 || s->decode.tokens == 0))
            p->st = VD_FAIL(p->err, VD_ERR_FORMAT, "%sprefill and %sdecode are both needed in a "
                            "record of the kind bench", p->where, p->where);
        return;
    }
    read_parts(p, &s->whole);
    count(p, "answers", MUST, 1, &s->answers);
    count(p, "answer_tokens", MUST, 1, &s->whole.tokens);
    count(p, "prompt_tokens", MAY, 0, &s->prompt_tokens);
    s->idle_w = NAN;
    real(p, "idle_w", MAY, 0, 1e9, &s->idle_w);
    read_times(p, "ttft_s", &s->ttft_s);
    read_times(p, "latency_s", &s->latency_s);
    count(p, "memory_bytes", MAY, 0, &s->memory_bytes);
}

static void read_samples(reader *r, vd_run *run)
{
    bool measured = strcmp(run->kind, "eval") != 0;
    size_t n = 0;
    const json_t *list = array(r, "samples", measured ? MUST : MAY, VD_RUN_SAMPLES_MAX, &n);
    if (r->st == VD_OK && measured && n == 0)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "samples is empty: nothing was measured");
    if (r->st == VD_OK && n > 0 && measured)
        r->st = vd_alloc_array(n, sizeof(*run->sample), "samples", &run->sample, r->err);
    for (size_t i = 0; r->st == VD_OK && measured && i < n; i++) {
        char where[64];
        reader p = item(r, list, i, "samples", where);
        read_sample(&p, run->kind, &run->sample[i]);
        run->n_samples = i + 1;
        p.where = NULL;
        back(r, &p);
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
    reader r = {json, "", VD_OK, err};
    text(&r, "kind", MUST, &run.kind);
    if (r.st == VD_OK && strcmp(run.kind, "bench") != 0 && strcmp(run.kind, "trace") != 0 &&
        strcmp(run.kind, "service") != 0 && strcmp(run.kind, "eval") != 0)
        r.st = VD_FAIL(err, VD_ERR_FORMAT, "kind must be bench, trace, service or eval");
    text(&r, "label", MAY, &run.label);
    text(&r, "series", MAY, &run.series);
    text(&r, "created", MAY, &run.created);
    text(&r, "program", MAY, &run.program);
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
    reader r = {json, "", VD_OK, err}, energy;
    if (!json_is_object(json))
        r.st = VD_FAIL(err, VD_ERR_FORMAT, "the costs of a model are a JSON object, as verdant "
                       "compress --json prints it");
    text(&r, "what", MAY, &cost.what);
    real(&r, "seconds", MAY, 0, 1e18, &cost.seconds);
    energy = part(&r, "energy", MUST, "energy.");
    real(&energy, "total_j", MUST, 0, 1e18, &cost.joules);
    bool incomplete = false;
    flag(&energy, "incomplete", &incomplete);
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
