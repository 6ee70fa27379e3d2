/* row.c - see row.h. */
#include "eval/row.h"

#include <math.h>

double vd_row_log_sum_exp(const float *logits, size_t n)
{
    float max = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)(logits[i] - max));
    return (double)max + log(sum);
}

size_t vd_row_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}
