/* cost.c - see cost.h. */
#include "energy/account/cost.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

/* Features are scaled to like magnitude: 1, 64 prompt tokens, 8 answer tokens, 65,536 pairs. */
static const double unit[VD_COST_N] = {1, 64, 8, 65536};

/* Start values in ms per scaled feature, for a model of 135 M parameters in 4 bits on two cores:
 * F is one pass over 80 MB of weights at 20 GB/s; a prompt token is 0.27 GFLOP at 270 GFLOP/s; an
 * answer token costs a half more, for it misses the reuse of a block of rows; a pair is 70 kFLOP at
 * 100 GFLOP/s. Only their ratios matter: the first step seen sets the scale. */
static const double start[VD_COST_N] = {4, 64, 12, 46};

static const double keep = 0.998; /* forgetting: about 500 steps count */
static const double prior = 0.05; /* the start values weigh as much as this many steps */
static const double forget_miss = 0.01; /* about the last 100 steps */
static const double least = 1e-3; /* of its start value: no coefficient falls to nothing */
enum { SWEEPS = 8, FEW = 20, CROWD = 8 };

void vd_cost_init(vd_cost_fit *fit)
{
    memset(fit, 0, sizeof(*fit));
    memcpy(fit->x, start, sizeof(start));
}

/* Projected Gauss-Seidel from the last solution: a few sweeps per step follow a slow drift. */
static void solve(vd_cost_fit *fit)
{
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int i = 0; i < VD_COST_N; i++) {
            double from = fit->scale * start[i], weight = prior / (from * from);
            double rest = fit->right[i] + weight * from, diagonal = fit->normal[i][i] + weight;
            for (int k = 0; k < VD_COST_N; k++)
                if (k != i)
                    rest -= fit->normal[i][k] * fit->x[k];
            double x = rest / diagonal;
            fit->x[i] = x > least * from ? x : least * from;
        }
}

/* What is in a step, as its cost sees it. */
typedef struct contents {
    uint64_t n_prefill, n_decode, n_kv_read;
} contents;

static contents contents_of(const vd_step *step)
{
    contents sum = {0};
    for (size_t i = 0; i < step->n_share; i++) {
        sum.n_prefill += step->share[i].n_prefill;
        sum.n_decode += (uint64_t)step->share[i].n_decode + step->share[i].n_rejected;
        sum.n_kv_read += step->share[i].n_kv_read;
    }
    return sum;
}

double vd_cost_bias(const vd_cost_fit *fit)
{
    double square = 0, weight = 0;
    for (size_t i = 0; i < VD_COST_KINDS; i++) {
        square += fit->weight[i] * fit->bias[i] * fit->bias[i];
        weight += fit->weight[i];
    }
    return weight > 0 ? sqrt(square / weight) : 0;
}

uint64_t vd_cost_step_ns(const vd_step *step)
{
    return step->end_ns > step->begin_ns ? step->end_ns - step->begin_ns : 1;
}

static size_t kind_of(const vd_step *step, const contents *in)
{
    size_t crowd = step->n_share == 1 ? 0 : step->n_share < CROWD ? 1 : 2;
    return crowd + (in->n_prefill > 0 ? VD_COST_KINDS / 2 : 0);
}

static void note_miss(vd_cost_fit *fit, size_t kind, double miss)
{
    double rate = fit->n_seen == FEW ? 1 : forget_miss;
    fit->miss += (miss * miss - fit->miss) * rate;
    for (size_t i = 0; i < VD_COST_KINDS; i++)
        fit->weight[i] *= 1 - forget_miss;
    fit->weight[kind] += 1;
    /* A mean of all steps of the kind at first, then of about the last hundred. */
    fit->bias[kind] += (miss - fit->bias[kind]) * VD_MAX(forget_miss, 1 / fit->weight[kind]);
}

void vd_cost_learn(vd_cost_fit *fit, const vd_step *step)
{
    contents in = contents_of(step);
    if (in.n_prefill + in.n_decode == 0)
        return;
    const double f[VD_COST_N] = {1, (double)in.n_prefill / unit[1], (double)in.n_decode / unit[2],
                                 (double)in.n_kv_read / unit[3]};
    double t = (double)vd_cost_step_ns(step) * 1e-6, from_start = 0, predicted = 0;
    for (int i = 0; i < VD_COST_N; i++) {
        from_start += f[i] * start[i];
        predicted += f[i] * fit->x[i];
    }
    if (fit->scale == 0) {
        fit->scale = t / from_start;
        for (int i = 0; i < VD_COST_N; i++)
            fit->x[i] = start[i] * fit->scale;
        predicted = t;
    } else {
        fit->scale *=
            1 + 0.01 * (t / from_start / fit->scale > 2 ? 1 : t / from_start / fit->scale - 1);
    }
    /* A step that other work of the machine held up says little: it counts as twice the expected.
     */
    if (fit->n_seen > FEW && t > 2 * predicted)
        t = 2 * predicted;
    if (fit->n_seen >= FEW)
        note_miss(fit, kind_of(step, &in), t / predicted - 1);
    for (int i = 0; i < VD_COST_N; i++) {
        for (int k = 0; k < VD_COST_N; k++)
            fit->normal[i][k] = fit->normal[i][k] * keep + f[i] * f[k] / (t * t);
        fit->right[i] = fit->right[i] * keep + f[i] / t;
    }
    fit->n_seen++;
    solve(fit);
}

vd_step_cost vd_cost_get(const vd_cost_fit *fit)
{
    return (vd_step_cost){
        .fixed_ns = fit->x[0] / unit[0] * 1e6,
        .prefill_ns = fit->x[1] / unit[1] * 1e6,
        .decode_ns = fit->x[2] / unit[2] * 1e6,
        .kv_read_ns = fit->x[3] / unit[3] * 1e6,
    };
}

double vd_cost_miss(const vd_cost_fit *fit)
{
    return sqrt(fit->miss);
}

double vd_cost_expected_ns(const vd_step_cost *cost, const vd_step *step)
{
    contents in = contents_of(step);
    return cost->fixed_ns + cost->prefill_ns * (double)in.n_prefill +
           cost->decode_ns * (double)in.n_decode + cost->kv_read_ns * (double)in.n_kv_read;
}

void vd_cost_part(const vd_step_cost *cost, double expected_ns, const vd_step *step, size_t i,
                  double *ret_prefill, double *ret_decode)
{
    const vd_step_share *s = &step->share[i];
    double n_decode = (double)s->n_decode + (double)s->n_rejected;
    double prefill = cost->prefill_ns * s->n_prefill, decode = cost->decode_ns * n_decode;
    double part = (cost->fixed_ns / (double)step->n_share + prefill + decode +
                   cost->kv_read_ns * (double)s->n_kv_read) / expected_ns;
    /* A share with both kinds of tokens cuts the common terms by what each kind costs. */
    *ret_prefill = prefill > 0 ? part * (prefill / (prefill + decode)) : 0;
    *ret_decode = part - *ret_prefill;
}
