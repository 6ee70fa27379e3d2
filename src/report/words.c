/* words.c - what a report says in sentences: the summary, and what to be careful about. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "report/figures.h"
#include "report/text.h"

typedef struct sentences {
    json_t *list;
    bool bad;
} sentences;

static void say(sentences *s, const char *fmt, ...) VD_PRINTF(2, 3);
static void say(sentences *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_t *text = json_vsprintf(fmt, args);
    va_end(args);
    s->bad = json_array_append_new(s->list, text) != 0 || s->bad;
}

static double real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void say_comparison(sentences *s, const vd_metric *m, const json_t *c)
{
    const char *verdict = json_string_value(json_object_get(c, "verdict"));
    double ratio = real(c, "ratio"), low = real(c, "low"), high = real(c, "high");
    if (strcmp(verdict, "unknown") == 0)
        return;
    if (strcmp(verdict, "unpaired") == 0)
        say(s, "B %s about %sx the %s of A; that is no paired statement and has no interval.",
            m->needs, vd_ratio_text(ratio).text, m->thing);
    else if (strcmp(verdict, "no difference") == 0)
        say(s, "No difference in %s was found: B to A is as %s to 1 (95 %% interval %s to %s).",
            m->thing, vd_ratio_text(ratio).text, vd_ratio_text(low).text,
            vd_ratio_text(high).text);
    else
        say(s, "B %s %sx the %s of A (95 %% interval %s to %s).", m->needs,
            vd_ratio_text(ratio).text, m->thing, vd_ratio_text(low).text,
            vd_ratio_text(high).text);
}

static void say_answers(sentences *s, const json_t *answers)
{
    json_int_t n = json_integer_value(json_object_get(answers, "n"));
    json_int_t same = json_integer_value(json_object_get(answers, "same"));
    if (n > 0 && n == same)
        say(s, "All %lld answers came out the same, token for token.", (long long)n);
    else if (n > 0)
        say(s, "%lld of %lld answers came out the same, token for token; where two tokens are "
            "nearly equally likely, the rounding of another batch can decide.", (long long)same,
            (long long)n);
}

static void say_quality(sentences *s, const vd_run *a, const vd_run *b)
{
    const vd_run_quality *p = &a->quality, *q = &b->quality;
    bool one_text = p->text == NULL || q->text == NULL || strcmp(p->text, q->text) == 0;
    if (isfinite(p->ppl) && isfinite(q->ppl) && one_text)
        say(s, "Quality: B's perplexity is %s, A's %s (lower is better).",
            vd_number_text(q->ppl).text, vd_number_text(p->ppl).text);
    else if (isfinite(q->top1))
        say(s, "Quality: B finds the same likeliest token as %s %s %% of the time.",
            q->against != NULL ? q->against : "its base", vd_number_text(100 * q->top1).text);
    if (isfinite(p->accuracy) && isfinite(q->accuracy))
        say(s, "B answers %s %% of the tasks right, A %s %%.",
            vd_number_text(100 * q->accuracy).text, vd_number_text(100 * p->accuracy).text);
}

/* ", 12 days of the stated load"; nothing for less than a day. */
static vd_report_text days_text(double days)
{
    vd_report_text out = {""};
    if (days >= 1)
        snprintf(out.text, sizeof(out.text), ", %.16s days of the stated load",
                 vd_number_text(ceil(days)).text);
    return out;
}

static void say_break_even(sentences *s, const json_t *report)
{
    const json_t *even = json_object_get(report, "break_even");
    double cost = real(even, "cost_j"), requests = real(even, "requests");
    if (even == NULL)
        return;
    if (!isfinite(requests))
        say(s, "Making B took %s, which its answers do not save again.",
            vd_unit_text(cost, "J").text);
    else if (isfinite(real(even, "requests_low")) && !isfinite(real(even, "requests_high")))
        say(s, "Making B took %s; whether its answers ever save that is not certain.",
            vd_unit_text(cost, "J").text);
    else
        say(s, "Making B took %s, saved again after %s answers%s.", vd_unit_text(cost, "J").text,
            vd_number_text(ceil(requests)).text, days_text(real(even, "days")).text);
}

static bool other(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) != 0;
}

static const char *known(const char *text)
{
    return text != NULL ? text : "unknown";
}

/* A load that the machine cannot carry: its year is that of several machines. */
static void say_capacity(sentences *s, const json_t *report)
{
    double per_day = real(json_object_get(report, "load"), "requests_per_day");
    for (size_t side = 0; side < 2; side++) {
        const json_t *f = json_array_get(json_object_get(report, "footprint"), side);
        double busy = real(json_object_get(f, "per_year"), "busy_share");
        double seconds = real(json_object_get(f, "per_answer"), "machine_s");
        if (busy > 1)
            say(s, "One machine cannot serve the stated load with %s: it gives at most %s of the "
                "%s answers a day at the measured speed, so the year is that of %s machines.",
                side == 0 ? "A" : "B", vd_number_text(floor(86400 / seconds)).text,
                vd_number_text(per_day).text, vd_number_text(ceil(busy)).text);
    }
}

/* What makes an answer of A and one of B different things, though each is "an answer". */
static void say_answer_sizes(sentences *s, const vd_pairs *p)
{
    const vd_run_settings *a = &p->run[0]->settings, *b = &p->run[1]->settings;
    if (strcmp(p->run[0]->kind, "bench") == 0) {
        if (a->prompt_tokens != b->prompt_tokens || a->answer_tokens != b->answer_tokens)
            say(s, "A was benched with %llu + %llu tokens and B with %llu + %llu: another length "
                "of the context changes the joules per token.",
                (unsigned long long)a->prompt_tokens, (unsigned long long)a->answer_tokens,
                (unsigned long long)b->prompt_tokens, (unsigned long long)b->answer_tokens);
        return;
    }
    double of_a = vd_tokens_per_answer(p, 0), of_b = vd_tokens_per_answer(p, 1);
    if (fabs(of_b - of_a) > 0.01 * of_a)
        say(s, "An answer of A has %s written tokens on average and one of B %s: the joules per "
            "written token say more than those per answer.", vd_number_text(of_a).text,
            vd_number_text(of_b).text);
}

/* Copies were metered on one machine; who has one of each usually has as many machines, and all but
 * what computes of them waits. */
static void say_own_machines(sentences *s, const vd_pairs *p)
{
    for (size_t side = 0; side < 2; side++) {
        const vd_run *run = p->run[side];
        double joules = 0, idle = 0, answers = 0, others = (double)run->settings.processes - 1;
        if (run->trace.mode == NULL || strcmp(run->trace.mode, "copies") != 0 || others < 1)
            continue;
        for (size_t i = 0; i < run->n_samples; i++) {
            const vd_run_sample *one = &run->sample[i];
            double watts = isfinite(one->idle_w) ? one->idle_w : run->meter.idle_w;
            joules += one->whole.joules;
            idle += others * watts * one->whole.seconds;
            answers += (double)one->answers;
        }
        if (answers > 0 && isfinite(idle))
            say(s, "Had each copy of %s a machine of its own, the other %s would add their idle "
                "power: %s per answer instead of %s (computed from the idle power measured before "
                "each run, not metered).", side == 0 ? "A" : "B", vd_number_text(others).text,
                vd_unit_text((joules + idle) / answers, "J").text,
                vd_unit_text(joules / answers, "J").text);
    }
}

static void say_notes(sentences *s, const vd_pairs *p)
{
    const vd_run *a = p->run[0], *b = p->run[1];
    const vd_run_carbon *c = &a->carbon, *d = &b->carbon;
    double common = fmax(a->meter.common_pct, b->meter.common_pct);
    if (!isfinite(c->g_per_kwh) || !isfinite(d->g_per_kwh))
        say(s, "A record carries no carbon intensity, so its grams are unknown (--zone gives "
               "one).");
    else if (other(c->kind, d->kind) || other(c->scope, d->scope) || other(c->basis, d->basis))
        say(s, "The grams of A and B are of different kinds (%s %s; %s %s) and must not be "
            "compared.", known(c->kind), known(c->scope), known(d->kind), known(d->scope));
    else if (other(c->zone, d->zone) || c->g_per_kwh != d->g_per_kwh)
        say(s, "A and B stand for different grids (%s g/kWh and %s g/kWh): part of the difference "
            "in grams is the grid's.", vd_number_text(c->g_per_kwh).text,
            vd_number_text(d->g_per_kwh).text);
    if (!isfinite(c->server_kg) || !isfinite(d->server_kg))
        say(s, "A record says nothing of making the machine, so its SCI holds the electricity "
               "alone.");
    double load = fmax(a->machine.load_average, b->machine.load_average);
    if (load > 0.3 * fmax(a->machine.logical_cpus, 1))
        say(s, "Other programs were running: the load average before the measurement was %s on %s "
            "hardware threads. Pairs share that, but figures of one side hold for a busy machine, "
            "and more processes get more of one.", vd_number_text(load).text,
            vd_number_text(a->machine.logical_cpus).text);
    if (common > 0)
        say(s, "Joules and grams by themselves are sure to \xc2\xb1%s %% only; that part is the "
               "same on "
            "both sides and cancels in their ratio where both were metered by one meter.",
            vd_number_text(common).text);
    if (strcmp(a->kind, "bench") == 0 && a->settings.batch != b->settings.batch)
        say(s, "A ran %llu sequences at once and B %llu: that alone changes the joules per token.",
            (unsigned long long)a->settings.batch, (unsigned long long)b->settings.batch);
    if (strcmp(a->kind, "bench") == 0 && a->settings.threads != b->settings.threads)
        say(s, "A ran on %llu threads and B on %llu.", (unsigned long long)a->settings.threads,
            (unsigned long long)b->settings.threads);
    if (other(a->settings.precision, b->settings.precision) ||
        other(a->settings.kernels, b->settings.kernels))
        say(s, "A and B computed differently: kernels or precision are not the same.");
    say_answer_sizes(s, p);
    say_own_machines(s, p);
    if (strcmp(a->kind, "bench") == 0)
        say(s, "The energy of an answer is that of %s read and %s written tokens, at the joules "
            "per token measured here; a longer context costs more per token.",
            vd_number_text(p->load.prompt_tokens).text, vd_number_text(p->load.answer_tokens).text);
    if (strcmp(a->kind, "trace") == 0)
        say(s, "Same window: the side that finishes a trace first waits until the other has "
            "finished, at the idle power measured just before, since its machine is there all the "
            "same.");
}

static vd_status put(json_t *report, const char *key, sentences *s, vd_err *err)
{
    if (json_object_set_new(report, key, s->list) != 0 || s->bad)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    return VD_OK;
}

vd_status vd_words_put(const vd_pairs *p, json_t *report, vd_err *err)
{
    /* What stands in the summary: energy, then speed as a user feels it. */
    static const char *const first[] = {"j_per_answer", "s_per_answer", "decode_tok_s",
                                        "latency_p95_s", "memory_bytes"};
    size_t n = 0;
    const vd_metric *metric = vd_metrics_of(p->run[0]->kind, &n);
    const json_t *comparisons = json_object_get(report, "comparisons");
    bool whole = strcmp(p->run[0]->kind, "trace") == 0; /* machine time is then the same */
    sentences summary = {json_array(), false}, notes = {json_array(), false};
    for (size_t k = 0; k < sizeof(first) / sizeof(first[0]); k++)
        for (size_t i = 0; i < n; i++)
            if (strcmp(metric[i].id, first[k]) == 0 && !(whole && i == 1))
                say_comparison(&summary, &metric[i], json_array_get(comparisons, i));
    say_answers(&summary, json_object_get(report, "answers"));
    say_quality(&summary, p->run[0], p->run[1]);
    say_break_even(&summary, report);
    say_capacity(&summary, report);
    say_notes(&notes, p);
    vd_status st = put(report, "summary", &summary, err);
    vd_status and = put(report, "notes", &notes, st == VD_OK ? err : NULL);
    return st != VD_OK ? st : and;
}
