/* series.h - values in the order of time. Inside src/carbon only; single-owner. */
#ifndef VD_CARBON_SERIES_H
#define VD_CARBON_SERIES_H

#include "carbon/intensity.h"

enum { VD_SERIES_MAX = 200000 }; /* 23 years of hours, or 1.9 of five minutes */

/* {0} is an empty one. */
typedef struct vd_series {
    vd_intensity *value;
    size_t n, capacity;
} vd_series;

void vd_series_done(vd_series *series); /* empty again */
/* Behind the last. VD_ERR_NOMEM, VD_ERR_LIMIT. */
VD_NODISCARD vd_status vd_series_add(vd_series *series, const vd_intensity *value, vd_err *err);
/* Sorts by time. Of values that begin together the final one stays, else the one added last; one
 * that reaches into the next ends where that begins. */
void vd_series_tidy(vd_series *series);
/* The last value that begins at or before at_s; series->n where there is none. Tidy. */
size_t vd_series_find(const vd_series *series, int64_t at_s);
/* Drops what ended before from_s or begins at to_s or later, and, `only_final`, what is estimated.
 */
void vd_series_cut(vd_series *series, int64_t from_s, int64_t to_s, bool only_final);
/* Moves the values to the caller (vd_free); the series is empty. */
void vd_series_take(vd_series *series, vd_intensity **ret_values, size_t *ret_n);

#endif
