/* stats.c - see stats.h. */
#include "report/stats.h"

#include <math.h>

static const double z95 = 1.959963984540054, z90 = 1.6448536269514722;

/* P(T > t) for df degrees of freedom, by Simpson's rule on the density after t = tan(u) sqrt(df):
 * the density becomes a power of a cosine on a finite interval, so that 2,000 steps give ten
 * digits. */
static double upper_tail(double t, size_t df)
{
    enum { STEPS = 2000 };
    double n = (double)df;
    double begin = atan(t / sqrt(n)), end = acos(-1.0) / 2, h = (end - begin) / STEPS, sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double weight = i == 0 || i == STEPS ? 1 : i % 2 != 0 ? 4 : 2;
        sum += weight * pow(fmax(cos(begin + i * h), 0), n - 1);
    }
    double scale = exp(lgamma((n + 1) / 2) - lgamma(n / 2)) / sqrt(acos(-1.0));
    return scale * sum * h / 3;
}

double vd_t_quantile(size_t df)
{
    double low = 1, high = 20;
    if (df == 0)
        return INFINITY;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (upper_tail(middle, df) > 0.025)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

double vd_geometric_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += log(x[i]);
    return exp(sum / (double)n);
}

vd_ratio vd_paired_ratio(const double *a, const double *b, size_t n, double independent_a_pct,
                         double independent_b_pct)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        mean += log(b[i] / a[i]) / (double)n;
    for (size_t i = 0; i < n; i++)
        square += pow(log(b[i] / a[i]) - mean, 2);
    double scatter = n < 2 ? INFINITY
                           : vd_t_quantile(n - 1) * sqrt(square / (double)(n - 1) / (double)n);
    double meter = z95 / z90 *
                   hypot(log1p(independent_a_pct / 100), log1p(independent_b_pct / 100));
    double half = hypot(scatter, meter);
    return (vd_ratio){exp(mean), exp(mean - half), exp(mean + half), n};
}
