/* row.h - what is asked of one row of logits [V]. In double precision over f32 logits. */
#ifndef VD_EVAL_ROW_H
#define VD_EVAL_ROW_H

#include <stddef.h>

/* log of the sum of e^logits[i], the maximum taken out first: log p(i) = logits[i] - this. */
double vd_row_log_sum_exp(const float *logits, size_t n);
/* The first of the largest. */
size_t vd_row_argmax(const float *x, size_t n);

#endif
