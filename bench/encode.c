/*
 * encode.c - what it costs to write a weight: nanoseconds of one thread by type, without and with
 * weights of importance.
 *
 *     encode [TYPE ...]
 *
 * Values are as in a trained model: normal, with a deviation of their own in each row and a few
 * large ones. Medians of five passes; VERDANT_CPU takes another level of kernels.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compress/encode.h"

enum { COLUMNS = 2048, ROWS = 32, PASSES = 5 };

static float values[ROWS * COLUMNS], weights[ROWS * COLUMNS];
static unsigned char blocks[ROWS * COLUMNS * 4];

/* A normal value to three digits: twelve uniform ones added up. */
static float draw(uint64_t *state)
{
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sum += (float)(*state >> 40) / 16777216.0f;
    }
    return sum;
}

static void fill(void)
{
    uint64_t state = 7;
    for (int r = 0; r < ROWS; r++) {
        float deviation = 0.02f * expf(0.3f * draw(&state));
        for (int i = 0; i < COLUMNS; i++) {
            float x = deviation * draw(&state);
            values[r * COLUMNS + i] = i % 97 == 5 ? 4 * x : x;
            weights[r * COLUMNS + i] = r == 0 ? expf(draw(&state)) : weights[i];
        }
    }
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of this thread alone: what else runs takes little from it. */
static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double ns_per_weight(vd_dtype dtype, const float *w)
{
    double ns[PASSES];
    for (int p = 0; p < PASSES; p++) {
        double start = cpu_ns();
        vd_encode_row(dtype, values, w, blocks, ROWS * COLUMNS);
        ns[p] = (cpu_ns() - start) / (ROWS * COLUMNS);
    }
    qsort(ns, PASSES, sizeof(ns[0]), by_time);
    return ns[PASSES / 2];
}

static bool asked_for(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    fill();
    printf("ns per weight   without      with weights of importance\n");
    for (uint32_t t = 0; t < VD_DTYPE_LIMIT; t++)
        if (vd_encodable(t) && asked_for(argc, argv, vd_dtype_name(t)))
            printf("%-12s %10.1f %10.1f\n", vd_dtype_name(t), ns_per_weight((vd_dtype)t, NULL),
                   ns_per_weight((vd_dtype)t, weights));
    return 0;
}
