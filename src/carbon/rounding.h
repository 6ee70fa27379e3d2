/* rounding.h - figures of carbon as JSON numbers. Inside src/carbon only. */
#ifndef VD_CARBON_ROUNDING_H
#define VD_CARBON_ROUNDING_H

#include <stdio.h>

#include "base/json.h"

/* Six digits: more than the figures can bear, fewer than a double would show. NULL when memory is
 * short. */
static inline json_t *vd_rounded(double value)
{
    char text[32];
    double rounded = value;
    snprintf(text, sizeof(text), "%.6g", value);
    if (sscanf(text, "%lf", &rounded) != 1)
        rounded = value;
    return json_real(rounded);
}

#endif
