/*
 * bench_energy.c - the models of src/energy behind lines of text, for the scripts beside it.
 *
 *   bench_energy step    lines "batch_0 batch_1 j_1 batch_2 j_2 ...": fits joules per token j_i at
 *                        batch_i, prints those at batch_0
 *
 * One answer per line; a line that cannot be answered ends it with status 1 and a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "energy/step_fit.h"

enum { NUMBERS_MAX = 1024, LINE_MAX_BYTES = 65536 };

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

static vd_status answer_step(const double *number, size_t n, vd_err *err)
{
    vd_step_point points[NUMBERS_MAX / 2];
    size_t n_points = n > 0 ? (n - 1) / 2 : 0;
    for (size_t i = 0; i < n_points; i++)
        points[i] = (vd_step_point){.batch = number[1 + 2 * i], .j_per_token = number[2 + 2 * i]};
    vd_step_fit fit;
    vd_status st = vd_step_fit_solve(points, n_points, &fit, err);
    if (st == VD_OK)
        printf("%.17g\n", vd_step_fit_energy(&fit, number[0]) / number[0]);
    return st;
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    static double number[NUMBERS_MAX];
    if (argc != 2 || strcmp(argv[1], "step") != 0) {
        fprintf(stderr, "usage: bench_energy step < lines\n");
        return 2;
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
        vd_err err = {0};
        if (answer_step(number, numbers_of(line, number), &err) != VD_OK) {
            fprintf(stderr, "bench_energy: %s\n", err.message);
            return 1;
        }
    }
    return 0;
}
