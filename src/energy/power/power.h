/*
 * power.h - watts of a processor from its load, and how sure that is.
 *
 *   P = I + (F - I) * (1 - (1 - a)^crowd) * (1 - (1 - d)^duty) * clock^exponent
 *
 * F and I are the watts of the full and of the waiting processor; a is the share of hardware
 * threads that work and d how much of their time, so a * d is the load; clock is the mean clock
 * over the nominal one. The first threads cost most: they wake the package, and the second thread
 * of a core shares its units (crowd > 1). Servers measured under rising load show this concave form
 * (Fan, Weber and Barroso 2007); dynamic power goes with the clock times the voltage squared.
 *
 * Five parameters, known in three ways:
 *
 *   literature   published results of other machines: means, spreads, a noise
 *   learned      the same, moved by machines whose counters were read (vd_power_learn)
 *   fitted       this machine's own points, drawn to either (vd_power_fit)
 *
 * Each gives a prediction with a 90 % interval in two parts: what is common to all figures of this
 * machine and method, which cancels in a ratio, and what is independent. docs/power-model.md has
 * the sources and what held-out machines say. Threads: pure functions, nothing is allocated.
 */
#ifndef VD_ENERGY_POWER_H
#define VD_ENERGY_POWER_H

#include <stddef.h>
#include <verdant/status.h>

typedef enum vd_power_parameter {
    VD_POWER_FULL,  /* ln of F over the table's watts */
    VD_POWER_IDLE,  /* ln of I over the table's watts */
    VD_POWER_CROWD, /* how early the power rises with the threads that work */
    VD_POWER_CLOCK, /* exponent of the clock */
    VD_POWER_DUTY,  /* how early it rises with the time they work */
    VD_POWER_N
} vd_power_parameter;

/* What the table of processors says of this one: watts of a whole server at full load and waiting
 * (machine.h), and the standard deviation, of their logarithm, of what it does not know of either.
 */
typedef struct vd_power_base {
    double full_w, idle_w;
    double sd;
} vd_power_base;

/* One measurement, or a question: without `watts`. */
typedef struct vd_power_point {
    double load;   /* 0..1, CPU time used over CPU time there is */
    double spread; /* 0..1, share of hardware threads that it lies on; 0: as few as hold it */
    double clock;  /* mean clock over the nominal one; 0: not known, and then taken as 1 */
    double watts;
} vd_power_point;

/* What is known of a processor before it is measured: independent normal parameters with spreads
 * known to `dof` degrees of freedom, and the scatter of single figures about the curve. */
typedef struct vd_power_prior {
    double mean[VD_POWER_N], sd[VD_POWER_N];
    double noise; /* of the logarithm */
    double dof;
} vd_power_prior;

typedef struct vd_power {
    vd_power_base base;
    double parameter[VD_POWER_N];
    double covariance[VD_POWER_N][VD_POWER_N];
    double noise, dof;
    double meter_pct; /* 90 %, of the meter that the points came from: common; 0 for a prior */
} vd_power;

typedef struct vd_power_estimate {
    double watts;
    double pct;                         /* +-, 90 % */
    double common_pct, independent_pct; /* their root mean square sum is pct */
} vd_power_estimate;

/* Published results of other machines alone. */
void vd_power_literature(vd_power_prior *ret_prior);
/* The literature and the three machines whose counters were published: what Verdant ships. */
void vd_power_shipped(vd_power_prior *ret_prior);

/* A processor that was never measured. */
void vd_power_guess(const vd_power_base *base, const vd_power_prior *prior, vd_power *ret_power);

/* A processor with `n` measured points: the most probable parameters, and a normal approximation
 * about them. `widen` >= 1 multiplies the prior's spreads: 1 where few points lean on it.
 * VD_ERR_ARG when a point is not a load of 0..1 with watts above zero. */
VD_NODISCARD vd_status vd_power_fit(const vd_power_base *base, const vd_power_prior *prior,
                                    double widen, const vd_power_point *points, size_t n,
                                    vd_power *ret_power, vd_err *err);

/* What `n` fitted machines and `prior` say of a machine that is none of them: normal parameters of
 * unknown mean and spread (conjugate, Gelman et al., Bayesian Data Analysis, ch. 3.3), where the
 * prior counts as VD_POWER_PRIOR_MACHINES machines. n may be 0. */
enum { VD_POWER_PRIOR_MACHINES = 3 };
/* What to widen the prior by where machines are fitted to be compared: their points shall speak. */
#define VD_POWER_LEARN_WIDEN 1.5
void vd_power_learn(const vd_power_prior *prior, const vd_power *machines, size_t n,
                    vd_power_prior *ret_prior);

double vd_power_watts(const vd_power *power, const vd_power_point *at);
void vd_power_predict(const vd_power *power, const vd_power_point *at,
                      vd_power_estimate *ret_estimate);

#endif
