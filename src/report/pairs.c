/* pairs.c - which sample stood beside which, and why there may be no pairs. See figures.h. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "report/figures.h"

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *or_unknown(const char *text)
{
    return text != NULL ? text : "unknown";
}

static void add_reason(json_t *reasons, bool *bad, const char *fmt, ...) VD_PRINTF(3, 4);
static void add_reason(json_t *reasons, bool *bad, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_t *text = json_vsprintf(fmt, args);
    va_end(args);
    *bad = json_array_append_new(reasons, text) != 0 || *bad;
}

static bool same_machine(const vd_run_machine *a, const vd_run_machine *b)
{
    bool ids = a->id == NULL || b->id == NULL || strcmp(a->id, b->id) == 0;
    bool cpus = isnan(a->logical_cpus) || isnan(b->logical_cpus) ||
                a->logical_cpus == b->logical_cpus;
    return ids && cpus && same_text(a->cpu, b->cpu);
}

static const vd_run_sample *twin_of(const vd_run *run, uint64_t pair)
{
    for (size_t i = 0; i < run->n_samples; i++)
        if (run->sample[i].has_pair && run->sample[i].pair == pair)
            return &run->sample[i];
    return NULL;
}

static vd_status collect(vd_pairs *p, vd_err *err)
{
    const vd_run *a = p->run[0], *b = p->run[1];
    vd_status st = VD_OK;
    for (int side = 0; side < 2 && st == VD_OK; side++)
        st = vd_alloc_array(a->n_samples, sizeof(vd_run_sample *), "the pairs of samples",
                            &p->sample[side], err);
    for (size_t i = 0; st == VD_OK && i < a->n_samples; i++) {
        const vd_run_sample *one = &a->sample[i];
        const vd_run_sample *twin = one->has_pair ? twin_of(b, one->pair) : NULL;
        if (twin == NULL || twin_of(a, one->pair) != one)
            continue; /* a number that stands twice counts once */
        p->sample[0][p->n] = one;
        p->sample[1][p->n++] = twin;
    }
    return st;
}

/* What keeps times, and what keeps joules, from being compared as pairs. */
static void judge(vd_pairs *p, json_t *reasons, bool *bad)
{
    const vd_run *a = p->run[0], *b = p->run[1];
    bool interleaved = a->series != NULL && same_text(a->series, b->series);
    p->same_time = interleaved;
    if (!interleaved)
        add_reason(reasons, bad, "the two were not measured in turn, in one series: what the "
                   "machine did meanwhile fell on one and not on the other (verdant bench A B "
                   "measures in turn)");
    if (!same_machine(&a->machine, &b->machine)) {
        p->same_time = false;
        add_reason(reasons, bad, "they ran on different machines: \"%s\" (%.3g threads) and "
                   "\"%s\" (%.3g threads), so nothing of the meters' error cancels",
                   or_unknown(a->machine.cpu), a->machine.logical_cpus,
                   or_unknown(b->machine.cpu), b->machine.logical_cpus);
    }
    bool one_trace = a->trace.requests == b->trace.requests && a->trace.seed == b->trace.seed &&
                     (a->trace.speedup == b->trace.speedup ||
                      (isnan(a->trace.speedup) && isnan(b->trace.speedup))) &&
                     same_text(a->trace.name, b->trace.name);
    if (!one_trace) {
        p->same_time = false;
        add_reason(reasons, bad, "their traces of requests differ");
    }
    if (interleaved && p->n < VD_PAIRS_MIN) {
        p->same_time = false;
        add_reason(reasons, bad, "there %s only %zu pair%s of runs; %d are needed (-r %d)",
                   p->n == 1 ? "is" : "are", p->n, p->n == 1 ? "" : "s", VD_PAIRS_MIN,
                   VD_PAIRS_MIN);
    }
    p->same_energy = p->same_time;
    if (!same_text(a->meter.method, b->meter.method)) {
        p->same_energy = false;
        add_reason(reasons, bad, "their joules were metered differently, by \"%s\" and by \"%s\"",
                   or_unknown(a->meter.method), or_unknown(b->meter.method));
    }
    for (int side = 0; side < 2; side++)
        if (p->run[side]->meter.incomplete) {
            p->same_energy = false;
            add_reason(reasons, bad, "the meter failed during the runs of %s (a gap), so its "
                       "joules are too low", side == 0 ? "A" : "B");
        }
}

vd_status vd_pairs_find(const vd_run *a, const vd_run *b, const vd_load *load, vd_pairs *ret_pairs,
                        json_t *reasons, vd_err *err)
{
    vd_pairs p = {.run = {a, b}, .load = *load};
    bool bad = false;
    vd_status st = VD_OK;
    if (a->series != NULL && same_text(a->series, b->series))
        st = collect(&p, err);
    if (st == VD_OK)
        judge(&p, reasons, &bad);
    if (st == VD_OK && bad)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    if (st != VD_OK) {
        vd_pairs_done(&p);
        return st;
    }
    *ret_pairs = p;
    return VD_OK;
}

void vd_pairs_done(vd_pairs *p)
{
    vd_free(p->sample[0]);
    vd_free(p->sample[1]);
    *p = (vd_pairs){0};
}
