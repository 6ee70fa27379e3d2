/* stats.c - see stats.h. */
#include "report/stats.h"

#include <math.h>

static const double z95 = 1.959963984540054, z90 = 1.6448536269514722;

/* Student's density is scale x (1 + t^2/df)^(-(df+1)/2). */
static double scale_of(double df)
{
    return exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(acos(-1.0));
}

/* P(T > t) for df degrees of freedom, by Simpson's rule on the density after t = tan(u) sqrt(df):
 * the density becomes a power of a cosine on a finite interval, so that 200 steps give ten digits
 * up to a hundred degrees of freedom. */
static double upper_tail(double t, double df)
{
    enum { STEPS = 200 };
    double begin = atan(t / sqrt(df)), end = acos(-1.0) / 2, h = (end - begin) / STEPS, sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double weight = i == 0 || i == STEPS ? 1 : i % 2 != 0 ? 4 : 2;
        sum += weight * pow(fmax(cos(begin + i * h), 0), df - 1);
    }
    return scale_of(df) * sum * h / 3;
}

/* Newton's method from the normal quantile, which lies below: the tail is convex, so the steps
 * never overshoot. */
double vd_t_quantile(size_t degrees)
{
    double df = (double)degrees, t = z95;
    if (degrees == 0)
        return INFINITY;
    for (int i = 0; i < 60; i++) {
        double density = scale_of(df) / sqrt(df) * pow(1 + t * t / df, -(df + 1) / 2);
        double step = (upper_tail(t, df) - 0.025) / density;
        t += step;
        if (fabs(step) < 1e-11 * t)
            break;
    }
    return t;
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
