/* power.c - the curve, its priors and its intervals. See power.h; power_fit.c fits it. */
#include "energy/power/power.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "energy/power/power_curve.h"

/*
 * FULL: of a server's power at full load, its processors draw some 60 % (Barroso, Hoelzle and
 * Ranganathan 2018, fig. 1.8: 61 %). Spread: 0.16 is what clock and cores leave unexplained within
 * a family of processors in 762 SPECpower results (machine.c), 0.12 our own for the 60 %.
 * IDLE: waiting, the rest of a server weighs more: 40 %, within 20 and 80.
 * CROWD: 0.22 of the rise at 10 % load and 0.70 at 50 % (Davy 2021, bare-metal servers by RAPL)
 * are 2.4 and 1.7; 2u - u^1.4 (Fan, Weber and Barroso 2007) is 1.7 and 1.4.
 * CLOCK: between 1 (the voltage stays) and 2 (it goes with the square root of the clock).
 * DUTY: a little above 1: a core that works half of its time does not sleep in the other.
 * The noise is one workload against another at the same load.
 */
void vd_power_literature(vd_power_prior *ret_prior)
{
    *ret_prior = (vd_power_prior){
        .mean = {[VD_POWER_FULL] = -0.51, /* ln 0.6 */
                 [VD_POWER_IDLE] = -0.92, /* ln 0.4 */
                 [VD_POWER_CROWD] = 2,
                 [VD_POWER_CLOCK] = 1.5,
                 [VD_POWER_DUTY] = 1.3},
        .sd = {[VD_POWER_FULL] = 0.2,
               [VD_POWER_IDLE] = 0.4,
               [VD_POWER_CROWD] = 0.5,
               [VD_POWER_CLOCK] = 0.6,
               [VD_POWER_DUTY] = 0.3},
        .noise = 0.12,
        .dof = 8,
    };
}

/* What `bench/energy/power_model.py --shipped` prints: vd_power_learn of the three machines. */
void vd_power_shipped(vd_power_prior *ret_prior)
{
    *ret_prior = (vd_power_prior){
        .mean = {[VD_POWER_FULL] = -0.4652,
                 [VD_POWER_IDLE] = -0.9578,
                 [VD_POWER_CROWD] = 2.3751,
                 [VD_POWER_CLOCK] = 1.1798,
                 [VD_POWER_DUTY] = 1.4370},
        .sd = {[VD_POWER_FULL] = 0.1902,
               [VD_POWER_IDLE] = 0.4319,
               [VD_POWER_CROWD] = 0.5624,
               [VD_POWER_CLOCK] = 0.6253,
               [VD_POWER_DUTY] = 0.3818},
        .noise = 0.1130,
        .dof = 11,
    };
}

void vd_power_guess(const vd_power_base *base, const vd_power_prior *prior, vd_power *ret_power)
{
    *ret_power = (vd_power){.base = *base, .noise = prior->noise, .dof = prior->dof};
    memcpy(ret_power->parameter, prior->mean, sizeof(ret_power->parameter));
    for (int i = 0; i < VD_POWER_N; i++)
        ret_power->covariance[i][i] = prior->sd[i] * prior->sd[i];
    /* What the table does not know moves both ends together. */
    for (int i = VD_POWER_FULL; i <= VD_POWER_IDLE; i++)
        for (int k = VD_POWER_FULL; k <= VD_POWER_IDLE; k++)
            ret_power->covariance[i][k] += base->sd * base->sd;
}

double vd_power_curve(const vd_power_base *base, const double parameter[VD_POWER_N],
                      const vd_power_point *at)
{
    double load = VD_MIN(VD_MAX(at->load, 0), 1);
    double spread = VD_MIN(VD_MAX(at->spread, load), 1);
    double duty = spread > 0 ? load / spread : 0, clock = at->clock > 0 ? at->clock : 1;
    double full = base->full_w * exp(parameter[VD_POWER_FULL]);
    /* Below nine tenths of F, and smoothly so, for a fit must not lose its slope there. */
    double idle = base->idle_w * exp(parameter[VD_POWER_IDLE]);
    idle /= pow(1 + pow(idle / (0.9 * full), 4), 0.25);
    double crowd = VD_MIN(VD_MAX(parameter[VD_POWER_CROWD], 0.3), 6);
    double early = VD_MIN(VD_MAX(parameter[VD_POWER_DUTY], 0.3), 6);
    return idle + (full - idle) * (1 - pow(1 - spread, crowd)) * (1 - pow(1 - duty, early)) *
                      pow(clock, parameter[VD_POWER_CLOCK]);
}

void vd_power_slopes(const vd_power_base *base, const double parameter[VD_POWER_N],
                     const vd_power_point *at, double ret_slope[VD_POWER_N])
{
    const double step = 1e-4;
    for (int i = 0; i < VD_POWER_N; i++) {
        double p[VD_POWER_N];
        memcpy(p, parameter, sizeof(p));
        p[i] = parameter[i] + step;
        double above = log(vd_power_curve(base, p, at));
        p[i] = parameter[i] - step;
        ret_slope[i] = (above - log(vd_power_curve(base, p, at))) / (2 * step);
    }
}

double vd_power_watts(const vd_power *power, const vd_power_point *at)
{
    return vd_power_curve(&power->base, power->parameter, at);
}

/* The 95 % quantile of Student's t: the first terms of its expansion in 1 / dof (Abramowitz and
 * Stegun 26.7.5), within 0.2 % from 5 on. */
static double t_95(double dof)
{
    const double z = 1.6448536269514722, z2 = z * z, v = VD_MAX(dof, 2);
    return z + z * (z2 + 1) / (4 * v) + z * ((5 * z2 + 16) * z2 + 3) / (96 * v * v) +
           z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * v * v * v);
}

static double variance(const vd_power *power, const double slope[VD_POWER_N])
{
    double sum = 0;
    for (int i = 0; i < VD_POWER_N; i++)
        for (int k = 0; k < VD_POWER_N; k++)
            sum += slope[i] * power->covariance[i][k] * slope[k];
    return VD_MAX(sum, 0);
}

/*
 * Errors of the parameters move all figures of a machine, but not all alike. With g the slopes of
 * ln P at this load and m their mean over loads, m's share moves every figure by the same factor
 * and cancels in a ratio; (g - m) does not, nor does the noise:
 *
 *   independent^2 = (g - m)' C (g - m) + noise^2      common^2 = g' C g + noise^2 - independent^2
 */
void vd_power_predict(const vd_power *power, const vd_power_point *at,
                      vd_power_estimate *ret_estimate)
{
    enum { LOADS = 5 };
    double slope[VD_POWER_N], mean[VD_POWER_N] = {0}, apart[VD_POWER_N];
    vd_power_slopes(&power->base, power->parameter, at, slope);
    for (int i = 0; i < LOADS; i++) {
        double one[VD_POWER_N];
        vd_power_point other = {.load = (double)i / (LOADS - 1), .clock = at->clock};
        vd_power_slopes(&power->base, power->parameter, &other, one);
        for (int k = 0; k < VD_POWER_N; k++)
            mean[k] += one[k] / LOADS;
    }
    for (int k = 0; k < VD_POWER_N; k++)
        apart[k] = slope[k] - mean[k];
    double noise = power->noise * power->noise, total = variance(power, slope) + noise;
    double independent = VD_MIN(variance(power, apart) + noise, total);
    double t = 100 * t_95(power->dof), meter = power->meter_pct * power->meter_pct;
    *ret_estimate = (vd_power_estimate){
        .watts = vd_power_watts(power, at),
        .pct = sqrt(t * t * total + meter),
        .common_pct = sqrt(t * t * (total - independent) + meter),
        .independent_pct = t * sqrt(independent),
    };
}
