/*
 * stats.h - the paired ratio, and how sure it is.
 *
 * Runs of A and B that stood side by side share what the machine did to both, so their ratio is
 * surer than either. With r_i = b_i / a_i and n pairs the estimate is the geometric mean of r_i and
 * its 95 % interval exp(mean(ln r) +- t(n-1) s / sqrt(n)) (Student 1908, on logarithms: ratios are
 * skewed, their logarithms are not). The part of the meter's uncertainty that is common to both
 * figures cancels; the independent part does not become smaller by repeating, so it is added in
 * quadrature:
 *
 *   half^2 = (t s / sqrt n)^2 + 1.96^2 (sigma_a^2 + sigma_b^2),  sigma = ln(1 + pct/100) / 1.645
 *
 * tests/unit/report shows by simulation that 95 % of such intervals hold the truth.
 */
#ifndef VD_REPORT_STATS_H
#define VD_REPORT_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* Fewer pairs make no paired statement. */
enum { VD_PAIRS_MIN = 10 };

typedef struct vd_ratio {
    double ratio, low, high; /* geometric mean of b/a and its 95 % interval */
    size_t n;
} vd_ratio;

/* The 97.5 % quantile of Student's t with `degrees` >= 1 of freedom. */
double vd_t_quantile(size_t degrees);

/* exp(mean(ln x)); all x > 0, n >= 1. */
double vd_geometric_mean(const double *x, size_t n);

/* a, b [n], n >= 2, all above 0. The two percentages are the independent parts (+- 90 %) of A's and
 * B's figures; 0 where no meter is involved. */
vd_ratio vd_paired_ratio(const double *a, const double *b, size_t n, double independent_a_pct,
                         double independent_b_pct);

#endif
