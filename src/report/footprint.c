/*
 * footprint.c - joules and machine seconds of an answer as grams, litres and a year. See figures.h.
 *
 *   operational = E x PUE x I     embodied = TE x t / EL x RR     SCI = (operational + embodied)
 *   water = E x (WUE_site + PUE x WUE_grid)                       per answer (ISO/IEC 21031:2024)
 */
#include <math.h>

#include "base/fail.h"
#include "report/figures.h"

static const double j_per_kwh = 3.6e6, year_s = 365.0 * 86400;

typedef struct footprint {
    double joules, seconds, kwh, operational_g, embodied_g, water_l, sci_g;
} footprint;

static footprint of_answer(const vd_run *run, double joules, double seconds)
{
    const vd_run_carbon *c = &run->carbon;
    double pue = isfinite(c->pue) ? c->pue : 1, it_kwh = joules / j_per_kwh;
    double grid = isfinite(c->wue_grid_l_per_kwh) ? pue * c->wue_grid_l_per_kwh : 0;
    double site = isfinite(c->wue_site_l_per_kwh) ? c->wue_site_l_per_kwh : 0;
    footprint f = {.joules = joules, .seconds = seconds, .kwh = it_kwh * pue};
    f.operational_g = f.kwh * c->g_per_kwh;
    f.embodied_g = c->server_kg * 1000 * seconds / (c->life_years * 365.25 * 86400) *
                   c->reserved_share;
    f.water_l = isfinite(c->wue_grid_l_per_kwh) || isfinite(c->wue_site_l_per_kwh)
                    ? it_kwh * (site + grid)
                    : NAN;
    f.sci_g = f.operational_g + (isfinite(f.embodied_g) ? f.embodied_g : 0);
    return f;
}

static bool put(json_t *object, const char *key, double value)
{
    return !isfinite(value) || json_object_set_new(object, key, json_real(value)) == 0;
}

static json_t *footprint_json(const vd_pairs *p, int side, const footprint *f)
{
    const vd_run *run = p->run[side];
    double requests = p->load.requests_per_day * 365, pue = isfinite(run->carbon.pue)
                                                                ? run->carbon.pue : 1;
    double busy = requests * f->seconds / year_s;
    double machines = fmax(ceil(busy), 1); /* what they do not work, they wait */
    double idle_kwh = run->meter.idle_w * (machines - busy) * year_s / j_per_kwh * pue;
    json_t *answer = json_object(), *year = json_object();
    bool good = put(answer, "joules", f->joules) && put(answer, "machine_s", f->seconds) &&
                put(answer, "operational_g", f->operational_g) &&
                put(answer, "embodied_g", f->embodied_g) && put(answer, "sci_g", f->sci_g) &&
                put(answer, "water_l", f->water_l) &&
                put(answer, "sci_g_per_token", f->sci_g / vd_tokens_per_answer(p, side));
    good = good && put(year, "requests", requests) && put(year, "kwh", f->kwh * requests) &&
           put(year, "operational_kg", f->operational_g * requests / 1000) &&
           put(year, "embodied_kg", f->embodied_g * requests / 1000) &&
           put(year, "total_kg", f->sci_g * requests / 1000) &&
           put(year, "water_l", f->water_l * requests) && put(year, "busy_share", busy) &&
           put(year, "machines", machines) &&
           put(year, "always_on_kwh", f->kwh * requests + idle_kwh) &&
           put(year, "always_on_kg",
               (f->kwh * requests + idle_kwh) * run->carbon.g_per_kwh / 1000);
    json_t *both = good ? json_pack("{s:O,s:O}", "per_answer", answer, "per_year", year) : NULL;
    json_decref(answer);
    json_decref(year);
    return both;
}

/* Requests after which the joules that making B took are saved; null: never. */
static double break_even(double cost_j, double of_a, double ratio)
{
    return ratio < 1 && of_a > 0 ? cost_j / (of_a * (1 - ratio)) : NAN;
}

static json_t *break_even_json(const vd_pairs *p, const vd_report_options *options, double of_a,
                               double ratio, double low, double high)
{
    json_t *costs = json_array();
    double joules = 0;
    bool bad = costs == NULL;
    for (size_t i = 0; i < p->run[1]->n_costs + options->n_costs; i++) {
        const vd_run_cost *c = i < options->n_costs ? &options->cost[i]
                                                    : &p->run[1]->cost[i - options->n_costs];
        json_t *one = json_pack("{s:s,s:f}", "what", c->what, "joules", c->joules);
        bad |= one == NULL || !put(one, "seconds", c->seconds);
        bad |= json_array_append_new(costs, one) != 0;
        joules += c->joules;
    }
    json_t *out = json_pack("{s:O,s:f}", "costs", costs, "cost_j", joules);
    bad |= out == NULL || json_array_size(costs) == 0;
    json_decref(costs);
    if (!bad) {
        double requests = break_even(joules, of_a, ratio);
        bad = !put(out, "requests", requests) ||
              !put(out, "days", requests / p->load.requests_per_day) ||
              !put(out, "requests_low", break_even(joules, of_a, low)) ||
              !put(out, "requests_high", break_even(joules, of_a, high));
    }
    if (!bad)
        return out;
    json_decref(out);
    return NULL;
}

vd_status vd_footprint_put(const vd_pairs *p, const vd_report_options *options, double ratio,
                           double low, double high, json_t *report, vd_err *err)
{
    size_t n = 0;
    const vd_metric *metric = vd_metrics_of(p->run[0]->kind, &n);
    json_t *list = json_array();
    bool bad = list == NULL;
    double of_a = vd_figure(p, &metric[0], 0);
    for (int side = 0; side < 2; side++) {
        footprint f = of_answer(p->run[side], vd_figure(p, &metric[0], side),
                                vd_figure(p, &metric[1], side));
        bad |= json_array_append_new(list, footprint_json(p, side, &f)) != 0;
    }
    bad |= json_object_set_new(report, "footprint", list) != 0;
    if (!bad && p->run[1]->n_costs + options->n_costs > 0)
        bad = json_object_set_new(report, "break_even",
                                  break_even_json(p, options, of_a, ratio, low, high)) != 0;
    return bad ? VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report") : VD_OK;
}
