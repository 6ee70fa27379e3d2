/* compare.c - the report as a JSON document. See compare.h. */
#include "report/compare.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "report/figures.h"

bool vd_run_same_model(const vd_run *a, const vd_run *b)
{
    const vd_run_model *m = &a->model, *n = &b->model;
    if (m->sha256 != NULL && n->sha256 != NULL)
        return strcmp(m->sha256, n->sha256) == 0;
    return m->file != NULL && n->file != NULL && strcmp(m->file, n->file) == 0 &&
           m->bytes == n->bytes;
}

void vd_run_take_quality(vd_run *run, const vd_run *from)
{
    vd_run_quality *q = &run->quality;
    const vd_run_quality *f = &from->quality;
    if (isfinite(f->ppl)) {
        q->text = f->text;
        q->ppl = f->ppl;
        q->ppl_stderr = f->ppl_stderr;
    }
    if (isfinite(f->kl_mean)) {
        q->against = f->against;
        q->kl_mean = f->kl_mean;
        q->kl_stderr = f->kl_stderr;
        q->top1 = f->top1;
        q->top1_stderr = f->top1_stderr;
    }
    if (isfinite(f->accuracy)) {
        q->task = f->task;
        q->accuracy = f->accuracy;
        q->accuracy_stderr = f->accuracy_stderr;
        q->n_tasks = f->n_tasks;
    }
}

/* JSON has no NAN: what is not known is null. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *pair_ratios(const double *a, const double *b, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_real(b[i] / a[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *comparison(const vd_pairs *p, const vd_metric *m, double *a, double *b)
{
    double of_a = vd_figure(p, m, 0), of_b = vd_figure(p, m, 1);
    bool known = isfinite(of_a) && isfinite(of_b) && of_a > 0 && of_b > 0;
    bool paired = known && (m->energy ? p->same_energy : p->same_time);
    vd_ratio r = {known ? of_b / of_a : NAN, NAN, NAN, known ? p->n : 0};
    const char *verdict = known ? "unpaired" : "unknown";
    for (size_t i = 0; known && i < p->n; i++) {
        a[i] = m->value(p, 0, p->sample[0][i], p->sample[1][i]);
        b[i] = m->value(p, 1, p->sample[1][i], p->sample[0][i]);
    }
    if (paired) {
        r = vd_paired_ratio(a, b, p->n, m->energy ? p->run[0]->meter.independent_pct : 0,
                            m->energy ? p->run[1]->meter.independent_pct : 0);
        bool same = r.low <= 1 && r.high >= 1;
        verdict = same ? "no difference" : (r.ratio < 1) != m->higher ? "better" : "worse";
    }
    return json_pack("{s:s,s:s,s:s,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:b,s:I,s:s,s:o}", "id", m->id,
                     "title", m->title, "unit", m->unit, "energy", m->energy, "higher_is_better",
                     m->higher, "a", number(of_a), "b", number(of_b), "ratio", number(r.ratio),
                     "low", number(r.low), "high", number(r.high), "paired", paired, "n_pairs",
                     (json_int_t)r.n, "verdict", verdict, "pair_ratios",
                     pair_ratios(a, b, known ? p->n : 0));
}

static vd_status put_comparisons(const vd_pairs *p, json_t *report, vd_err *err)
{
    size_t n = 0;
    const vd_metric *metric = vd_metrics_of(p->run[0]->kind, &n);
    double *a = NULL, *b = NULL;
    json_t *list = json_array();
    vd_status st = vd_alloc_array(p->n, sizeof(*a), "the pairs", &a, err);
    if (st == VD_OK)
        st = vd_alloc_array(p->n, sizeof(*b), "the pairs", &b, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        if (json_array_append_new(list, comparison(p, &metric[i], a, b)) != 0)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    if (st == VD_OK && json_object_set(report, "comparisons", list) != 0)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    json_decref(list);
    vd_free(a);
    vd_free(b);
    return st;
}

/* Joules of an answer by phase and part of the machine: the shares are means over the samples, and
 * are scaled to the answer's figure, so that they add up to it. */
static json_t *parts_of(const vd_pairs *p, int side)
{
    static const char *const part_name[] = {"processor", "memory", "accelerator", "rest"};
    const vd_run *run = p->run[side];
    size_t n_metrics = 0, n_phases = strcmp(run->kind, "bench") == 0 ? 2 : 1;
    double sum[2][4] = {{0}}, total = 0;
    double figure = vd_figure(p, vd_metrics_of(run->kind, &n_metrics), side);
    for (size_t i = 0; i < run->n_samples * n_phases; i++) {
        const vd_run_sample *s = &run->sample[i / n_phases];
        size_t k = i % n_phases;
        const vd_run_phase *phase = n_phases == 1 ? &s->whole : k == 0 ? &s->prefill : &s->decode;
        double scale = n_phases == 1 ? 1 / (double)s->answers
                                     : (k == 0 ? p->load.prompt_tokens : p->load.answer_tokens) /
                                           (double)phase->tokens;
        const double part[3] = {phase->cpu_j, phase->dram_j, phase->gpu_j};
        double rest = phase->joules;
        for (int j = 0; j < 3; j++) {
            double joules = isfinite(part[j]) ? part[j] : 0;
            sum[k][j] += joules * scale;
            rest -= joules;
        }
        sum[k][3] += rest > 1e-6 * phase->joules ? rest * scale : 0;
    }
    for (int i = 0; i < 8; i++)
        total += sum[i / 4][i % 4];
    json_t *phases = json_object();
    bool bad = phases == NULL;
    for (size_t k = 0; k < n_phases; k++) {
        json_t *parts = json_object();
        for (int j = 0; j < 4; j++)
            if (sum[k][j] > 0)
                bad |= json_object_set_new(parts, part_name[j],
                                           json_real(sum[k][j] * figure / total)) != 0;
        const char *name = n_phases == 1 ? "answer" : k == 0 ? "reading" : "writing";
        bad |= json_object_set_new(phases, name, parts) != 0;
    }
    if (!bad)
        return phases;
    json_decref(phases);
    return NULL;
}

static json_t *side_json(const vd_pairs *p, int side)
{
    const vd_run *run = p->run[side];
    vd_run facts = *run;
    facts.n_samples = facts.n_answer_hashes = 0;
    json_t *json = vd_run_json(&facts);
    json_t *parts = parts_of(p, side);
    bool bad = json == NULL || json_object_del(json, "samples") != 0;
    bad |= json_object_set_new(json, "letter", json_string(side == 0 ? "A" : "B")) != 0;
    bad |= json_object_set_new(json, "name",
                               json_string(run->label != NULL ? run->label : run->model.name)) != 0;
    bad |= json_object_set_new(json, "n_samples", json_integer((json_int_t)run->n_samples)) != 0;
    bad |= json_object_set_new(json, "parts_j_per_answer", parts) != 0;
    if (!isnan(run->meter.common_pct))
        bad |= json_object_set_new(json, "uncertainty_pct",
                                   json_real(hypot(run->meter.common_pct,
                                                   run->meter.independent_pct))) != 0;
    if (run->model.params > 0)
        bad |= json_object_set_new(json, "bits_per_weight",
                                   json_real(8.0 * (double)run->model.bytes /
                                             (double)run->model.params)) != 0;
    if (!bad)
        return json;
    json_decref(json);
    return NULL;
}

/* How many answers of a trace came out the same on both sides. */
static json_t *answers_json(const vd_run *a, const vd_run *b)
{
    size_t n = a->n_answer_hashes, same = 0;
    if (n == 0 || n != b->n_answer_hashes)
        return json_null();
    for (size_t i = 0; i < n; i++)
        same += strcmp(a->answer_hash[i], b->answer_hash[i]) == 0;
    return json_pack("{s:I,s:I}", "n", (json_int_t)n, "same", (json_int_t)same);
}

static vd_status check_kinds(const vd_run *a, const vd_run *b, vd_err *err)
{
    if (strcmp(a->kind, "eval") == 0 || strcmp(b->kind, "eval") == 0)
        return VD_FAIL(err, VD_ERR_ARG, "a record of verdant eval says nothing of energy; give it "
                       "after two records of verdant bench");
    if (strcmp(a->kind, b->kind) != 0)
        return VD_FAIL(err, VD_ERR_ARG, "A is a %s and B a %s: these measure different things and "
                       "cannot be compared", a->kind, b->kind);
    if (a->json != NULL && json_equal(json_object_get(a->json, "samples"),
                                      json_object_get(b->json, "samples")))
        return VD_FAIL(err, VD_ERR_ARG, "A and B hold the very same measurements: a record cannot "
                       "be compared with itself");
    return VD_OK;
}

static vd_load load_of(const vd_run *a, const vd_run *b, const vd_report_options *options)
{
    vd_load load = {options->requests_per_day > 0 ? options->requests_per_day : 1000,
                    (double)options->prompt_tokens, (double)options->answer_tokens};
    if (load.prompt_tokens == 0)
        load.prompt_tokens = (double)(a->settings.prompt_tokens > 0 ? a->settings.prompt_tokens
                                                                    : 512);
    if (load.answer_tokens == 0)
        load.answer_tokens = (double)(a->settings.answer_tokens > 0 ? a->settings.answer_tokens
                                                                    : 128);
    if (strcmp(a->kind, "bench") != 0 && a->n_samples > 0 && a->sample[0].answers > 0) {
        const vd_run_sample *s = &a->sample[0];
        load.prompt_tokens = (double)s->prompt_tokens / (double)s->answers;
        load.answer_tokens = (double)s->whole.tokens / (double)s->answers;
    }
    return load;
}

static vd_status start(const vd_pairs *p, json_t *reasons, json_t **ret_report, vd_err *err)
{
    char time[VD_RUN_TIME_MAX];
    vd_run_time(time);
    json_t *report = json_pack(
        "{s:s,s:s,s:s,s:s,s:{s:f,s:f,s:f},s:b,s:b,s:O,s:[o,o],s:o}", "schema", VD_REPORT_SCHEMA,
        "created", time, "program", "verdant " VD_VERSION, "kind", p->run[0]->kind, "load",
        "requests_per_day", p->load.requests_per_day, "prompt_tokens", p->load.prompt_tokens,
        "answer_tokens", p->load.answer_tokens, "paired", p->same_energy,
        "paired_times", p->same_time, "reasons", reasons,
        "sides", side_json(p, 0), side_json(p, 1), "answers",
        answers_json(p->run[0], p->run[1]));
    if (report == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    *ret_report = report;
    return VD_OK;
}

vd_status vd_report_make(const vd_run *a, const vd_run *b, const vd_report_options *options,
                         json_t **ret_report, vd_err *err)
{
    vd_pairs pairs = {0};
    json_t *reasons = json_array(), *report = NULL;
    vd_load load = load_of(a, b, options);
    vd_status st = check_kinds(a, b, err);
    if (st == VD_OK)
        st = vd_pairs_find(a, b, &load, &pairs, reasons, err);
    if (st == VD_OK)
        st = start(&pairs, reasons, &report, err);
    if (st == VD_OK)
        st = put_comparisons(&pairs, report, err);
    if (st == VD_OK) {
        json_t *energy = json_array_get(json_object_get(report, "comparisons"), 0);
        const json_t *low = json_object_get(energy, "low"), *high = json_object_get(energy, "high");
        bool sure = json_is_number(low) && json_is_number(high);
        st = vd_footprint_put(&pairs, options,
                              json_number_value(json_object_get(energy, "ratio")),
                              sure ? json_number_value(low) : NAN,
                              sure ? json_number_value(high) : NAN, report, err);
    }
    if (st == VD_OK)
        st = vd_words_put(&pairs, report, err);
    if (st == VD_OK) {
        *ret_report = report;
        report = NULL;
    }
    json_decref(report);
    json_decref(reasons);
    vd_pairs_done(&pairs);
    return st;
}
