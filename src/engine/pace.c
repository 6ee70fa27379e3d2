/* pace.c - see pace.h. */
#include "engine/pace.h"

#include <math.h>

#include "base/checked.h"

static const double rate_of_learning = 1.0 / 8, forget = 0.97, least_weight = 0.05;
/* One more token where only one size of step was seen: a fifth of that step. */
static const double slope_unknown = 0.2;
static const double dear = 1.5;

/* The new mean after one more value; a first one is taken as it is. */
static double mean_of(double mean, double value)
{
    if (mean <= 0)
        return value;
    return mean + (VD_MIN(value, 2 * mean) - mean) * rate_of_learning;
}

/* The weighted line through the means. Neither part may be negative: such a line is noise. */
static void fit_line(vd_pace *p)
{
    double w = 0, wn = 0, wnn = 0, wt = 0, wnt = 0;
    for (size_t n = 1; n <= VD_PACE_ROWS; n++) {
        double v = p->weight[n], x = (double)n;
        w += v;
        wn += v * x;
        wnn += v * x * x;
        wt += v * p->ns[n];
        wnt += v * x * p->ns[n];
    }
    double spread = wnn - wn * wn / w, mean_n = wn / w, mean_t = wt / w;
    if (spread < least_weight)
        p->slope = slope_unknown * mean_t / (1 + slope_unknown * (mean_n - 1));
    else
        p->slope = (wnt - wn * mean_t) / spread;
    p->slope = VD_MAX(0, VD_MIN(p->slope, mean_t / mean_n));
    p->base = mean_t - p->slope * mean_n;
}

static size_t size_of(size_t n_prompt)
{
    size_t i = 0;
    while (n_prompt > 1 && i + 1 < VD_PACE_CHUNKS) {
        n_prompt /= 2;
        i++;
    }
    return i;
}

void vd_pace_learn(vd_pace *p, size_t n_answer, size_t n_prompt, uint64_t ns)
{
    if (n_prompt == 0 && n_answer > 0 && n_answer <= VD_PACE_ROWS) {
        for (size_t n = 1; n <= VD_PACE_ROWS; n++) {
            p->weight[n] *= forget;
            if (p->weight[n] < least_weight)
                p->weight[n] = p->ns[n] = 0;
        }
        p->weight[n_answer] = VD_MIN(p->weight[n_answer] + 1, 8);
        p->ns[n_answer] = mean_of(p->ns[n_answer], (double)ns);
        fit_line(p);
    } else if (n_prompt > 0) {
        double rest = (double)ns - vd_pace_answers_ns(p, n_answer);
        double *mean = &p->per_token[size_of(n_prompt)];
        *mean = mean_of(*mean, VD_MAX(rest, 1) / (double)n_prompt);
    }
}

double vd_pace_answers_ns(const vd_pace *p, size_t n_answer)
{
    return n_answer == 0 ? 0 : p->base + p->slope * (double)n_answer;
}

double vd_pace_slope_ns(const vd_pace *p)
{
    return p->slope;
}

/* Per token of chunks of this size, or of the nearest smaller size known, or larger. */
static double per_token(const vd_pace *p, size_t size)
{
    for (size_t i = size + 1; i-- > 0;)
        if (p->per_token[i] > 0)
            return p->per_token[i];
    for (size_t i = size + 1; i < VD_PACE_CHUNKS; i++)
        if (p->per_token[i] > 0)
            return p->per_token[i];
    return 0;
}

size_t vd_pace_efficient_chunk(const vd_pace *p, size_t least, size_t most)
{
    double cheapest = INFINITY;
    size_t n = least;
    for (size_t i = 0; i < VD_PACE_CHUNKS; i++)
        if (p->per_token[i] > 0)
            cheapest = VD_MIN(cheapest, p->per_token[i]);
    while (n < most && per_token(p, size_of(n)) > dear * cheapest)
        n *= 2;
    return VD_MIN(n, most);
}

size_t vd_pace_chunk(const vd_pace *p, size_t n_answer, double budget_ns, size_t least,
                     size_t most)
{
    double left = budget_ns - vd_pace_answers_ns(p, n_answer);
    size_t best = least;
    for (size_t i = 0; i < VD_PACE_CHUNKS; i++) { /* the part of each size that fits */
        double each = per_token(p, i), end = (double)((size_t)2 << i) - 1;
        if (each <= 0)
            break;
        double n = left > 0 ? VD_MIN(left / each, end) : 0;
        if (n >= (double)((size_t)1 << i) && n > (double)best)
            best = (size_t)n;
    }
    return VD_MAX(VD_MIN(best, most), VD_MIN(least, most));
}
