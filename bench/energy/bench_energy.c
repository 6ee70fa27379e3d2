/*
 * bench_energy.c - the models of src/energy behind lines of text, for the scripts beside it.
 *
 *   bench_energy step    lines "batch_0 batch_1 j_1 batch_2 j_2 ...": fits joules per token j_i at
 *                        batch_i, prints those at batch_0
 *   bench_energy power   lines of a word and what it takes:
 *     machine VENDOR FAMILY MODEL MHZ CORES_PER_CHIP THREADS | NAME
 *                        begins a machine (as /proc/cpuinfo has it; 0: not known)
 *     point LOAD SPREAD CLOCK WATTS
 *                        one measurement of it (see vd_power_point)
 *     learn              fits all machines so far; what they and the literature say is the prior.
 *                        Prints it: "parameter mean sd", "noise X", "dof X"
 *     shipped            the prior is the one in the product; prints it
 *     ask LOAD SPREAD CLOCK
 *                        prints "watts pct common_pct independent_pct" of the last machine by the
 *                        prior alone, whatever points it has
 *     calibrated LOAD SPREAD CLOCK
 *                        the same, as a calibration of its points gives it
 *
 * One answer per line; a line that cannot be answered ends it with status 1 and a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "energy/power/calibration.h"
#include "energy/power/machine.h"
#include "energy/power/power.h"
#include "step_fit.h"

enum { NUMBERS_MAX = 1024, LINE_MAX_BYTES = 65536, MACHINES_MAX = 1024, POINTS_MAX = 512 };

typedef struct measured {
    vd_machine machine;
    vd_power_point points[POINTS_MAX];
    size_t n;
} measured;

static measured machines[MACHINES_MAX];
static size_t n_machines;
static vd_power_prior prior;

/* The numbers of a line; their count, 0 for none. */
static size_t numbers_of(char *line, double number[NUMBERS_MAX])
{
    size_t n = 0;
    for (char *end, *at = line; n < NUMBERS_MAX; at = end) {
        number[n] = strtod(at, &end);
        if (end == at)
            break;
        n++;
    }
    return n;
}

static vd_status answer_step(char *line, vd_err *err)
{
    static double number[NUMBERS_MAX];
    vd_step_point points[NUMBERS_MAX / 2];
    size_t n = numbers_of(line, number), n_points = n > 0 ? (n - 1) / 2 : 0;
    for (size_t i = 0; i < n_points; i++)
        points[i] = (vd_step_point){.batch = number[1 + 2 * i], .j_per_token = number[2 + 2 * i]};
    vd_step_fit fit;
    vd_status st = vd_step_fit_solve(points, n_points, &fit, err);
    if (st == VD_OK)
        printf("%.17g\n", vd_step_fit_energy(&fit, number[0]) / number[0]);
    return st;
}

static void print_prior(void)
{
    static const char *const names[VD_POWER_N] = {"full", "idle", "crowd", "clock", "duty"};
    for (int k = 0; k < VD_POWER_N; k++)
        printf("%s %.6f %.6f\n", names[k], prior.mean[k], prior.sd[k]);
    printf("noise %.6f\ndof %g\n", prior.noise, prior.dof);
}

static vd_status fit(const measured *m, double widen, vd_power *ret_power, vd_err *err)
{
    vd_power_prior literature;
    vd_power_base base;
    vd_power_literature(&literature);
    vd_machine_power_base(&m->machine, &base);
    return vd_power_fit(&base, &literature, widen, m->points, m->n, ret_power, err);
}

static vd_status learn(vd_err *err)
{
    static vd_power fitted[MACHINES_MAX];
    for (size_t i = 0; i < n_machines; i++) {
        vd_status st = fit(&machines[i], VD_POWER_LEARN_WIDEN, &fitted[i], err);
        if (st != VD_OK)
            return st;
    }
    vd_power_prior literature;
    vd_power_literature(&literature);
    vd_power_learn(&literature, fitted, n_machines, &prior);
    return VD_OK;
}

static vd_status add_machine(char *rest, vd_err *err)
{
    char vendor[32], *name = strchr(rest, '|');
    int family, model;
    measured *m = &machines[n_machines];
    *m = (measured){0};
    if (n_machines == MACHINES_MAX || name == NULL ||
        sscanf(rest, "%31s %i %i %lf %lf %lf", vendor, &family, &model, &m->machine.base_mhz,
               &m->machine.cores_per_chip, &m->machine.n_cpu) != 6)
        return VD_FAIL(err, VD_ERR_FORMAT, "no machine: %s", rest);
    vd_machine_family(vendor, family, model, name + 1, &m->machine);
    n_machines++;
    return VD_OK;
}

static vd_status answer_power(char *line, vd_err *err)
{
    char word[32] = "";
    int length = 0;
    double x[NUMBERS_MAX];
    sscanf(line, "%31s%n", word, &length);
    char *rest = line + length;
    if (strcmp(word, "machine") == 0)
        return add_machine(rest, err);
    if (strcmp(word, "learn") == 0 || strcmp(word, "shipped") == 0) {
        vd_status st = VD_OK;
        if (word[0] == 'l')
            st = learn(err);
        else
            vd_power_shipped(&prior);
        if (st == VD_OK)
            print_prior();
        return st;
    }
    size_t n = numbers_of(rest, x);
    measured *m = n_machines > 0 ? &machines[n_machines - 1] : NULL;
    if (strcmp(word, "point") == 0 && n == 4 && m != NULL && m->n < POINTS_MAX) {
        m->points[m->n++] = (vd_power_point){x[0], x[1], x[2], x[3]};
        return VD_OK;
    }
    if ((strcmp(word, "ask") != 0 && strcmp(word, "calibrated") != 0) || n != 3 || m == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "not understood: %s", line);
    vd_power power;
    if (word[0] == 'a') {
        vd_power_base base;
        vd_machine_power_base(&m->machine, &base);
        vd_power_guess(&base, &prior, &power);
    } else {
        vd_calibration c = {.threads = m->machine.n_cpu, .points = m->points, .n = m->n};
        vd_status st = vd_calibration_fit(&c, &m->machine, &power, err);
        if (st != VD_OK)
            return st;
    }
    vd_power_estimate e;
    vd_power_predict(&power, &(vd_power_point){x[0], x[1], x[2], 0}, &e);
    printf("%.9g %.9g %.9g %.9g\n", e.watts, e.pct, e.common_pct, e.independent_pct);
    return VD_OK;
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    bool step = argc == 2 && strcmp(argv[1], "step") == 0;
    if (!step && !(argc == 2 && strcmp(argv[1], "power") == 0)) {
        fprintf(stderr, "usage: bench_energy step|power < lines\n");
        return 2;
    }
    vd_power_shipped(&prior);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        vd_err err = {0};
        if ((step ? answer_step(line, &err) : answer_power(line, &err)) != VD_OK) {
            fprintf(stderr, "bench_energy: %s\n", err.message);
            return 1;
        }
    }
    return 0;
}
