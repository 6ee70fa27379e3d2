/* grid.c - see grid.h. */
#include <math.h>

#include "compress/grid/families.h"

const vd_grid *vd_grid_of(uint32_t dtype)
{
    static const vd_grid *const grids[VD_DTYPE_LIMIT] = {
        [VD_DTYPE_Q4_0] = &vd_grid_q4_0,     [VD_DTYPE_Q4_1] = &vd_grid_q4_1,
        [VD_DTYPE_Q5_0] = &vd_grid_q5_0,     [VD_DTYPE_Q5_1] = &vd_grid_q5_1,
        [VD_DTYPE_Q8_0] = &vd_grid_q8_0,     [VD_DTYPE_Q2_K] = &vd_grid_q2_k,
        [VD_DTYPE_Q3_K] = &vd_grid_q3_k,     [VD_DTYPE_Q4_K] = &vd_grid_q4_k,
        [VD_DTYPE_Q5_K] = &vd_grid_q5_k,     [VD_DTYPE_Q6_K] = &vd_grid_q6_k,
        [VD_DTYPE_IQ4_NL] = &vd_grid_iq4_nl, [VD_DTYPE_IQ4_XS] = &vd_grid_iq4_xs,
        [VD_DTYPE_MXFP4] = &vd_grid_mxfp4,   [VD_DTYPE_TQ1_0] = &vd_grid_tq1_0,
        [VD_DTYPE_TQ2_0] = &vd_grid_tq2_0,   [VD_DTYPE_Q1_0] = &vd_grid_q1_0,
        [VD_DTYPE_Q2_0] = &vd_grid_q2_0,     [VD_DTYPE_IQ3_S] = &vd_grid_iq3_s,
        [VD_DTYPE_IQ3_XXS] = &vd_grid_iq3_xxs, [VD_DTYPE_IQ2_S] = &vd_grid_iq2_s,
        [VD_DTYPE_IQ2_XS] = &vd_grid_iq2_xs, [VD_DTYPE_IQ2_XXS] = &vd_grid_iq2_xxs,
        [VD_DTYPE_IQ1_M] = &vd_grid_iq1_m,   [VD_DTYPE_IQ1_S] = &vd_grid_iq1_s,
    };
    return dtype < VD_DTYPE_LIMIT ? grids[dtype] : NULL;
}

static double value_of(float scale, float level, float min)
{
    return (double)(scale * level - min);
}

static uint8_t nearest_of_table(const vd_grid *g, float scale, float min, double w)
{
    double best = INFINITY;
    int code = 0;
    for (int c = 0; c < g->n_codes; c++) {
        double off = fabs(w - value_of(scale, (float)g->level[c], min));
        if (off < best) {
            best = off;
            code = c;
        }
    }
    return (uint8_t)code;
}

uint8_t vd_grid_nearest(const vd_grid *g, float scale, float min, double w, double *ret_value)
{
    uint8_t code;
    if (g->level != NULL) {
        code = nearest_of_table(g, scale, min, w);
        *ret_value = value_of(scale, (float)g->level[code], min);
        return code;
    }
    /* Without a scale all codes mean the same; the one for 0 is what the encoders write. */
    double level = scale != 0 ? nearbyint((w + (double)min) / (double)scale) : 0;
    level = fmax(fmin(level, g->first + g->n_codes - 1), g->first);
    *ret_value = value_of(scale, (float)level, min);
    return (uint8_t)((int)level - g->first);
}
