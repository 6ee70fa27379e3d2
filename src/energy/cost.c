/* cost.c - see cost.h. */
#include "energy/cost.h"

#include <math.h>
#include <string.h>

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
enum { SWEEPS = 8, FEW = 20 };

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

void vd_cost_learn(vd_cost_fit *fit, uint64_t step_ns, uint64_t n_prefill, uint64_t n_decode,
                   uint64_t n_kv_read)
{
    if (step_ns == 0 || n_prefill + n_decode == 0)
        return;
    const double f[VD_COST_N] = {1, (double)n_prefill / unit[1], (double)n_decode / unit[2],
                                 (double)n_kv_read / unit[3]};
    double t = (double)step_ns * 1e-6, from_start = 0, predicted = 0;
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
    double miss = t / predicted - 1;
    if (fit->n_seen == FEW)
        fit->miss = miss * miss;
    else if (fit->n_seen > FEW)
        fit->miss = fit->miss * (1 - forget_miss) + miss * miss * forget_miss;
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
