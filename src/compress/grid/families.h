/* families.h - the grids that grid.c lists. */
#ifndef VD_COMPRESS_GRID_FAMILIES_H
#define VD_COMPRESS_GRID_FAMILIES_H

#include "compress/grid.h"

/* legacy.c: blocks of 32 with f16 scales. */
extern const vd_grid vd_grid_q4_0, vd_grid_q4_1, vd_grid_q5_0, vd_grid_q5_1, vd_grid_q8_0;
/* k.c: super-blocks of 256. */
extern const vd_grid vd_grid_q2_k, vd_grid_q3_k, vd_grid_q4_k, vd_grid_q5_k, vd_grid_q6_k;
/* table.c: levels that are not evenly spaced. */
extern const vd_grid vd_grid_iq4_nl, vd_grid_iq4_xs, vd_grid_mxfp4;
/* few.c: two, three or four levels. */
extern const vd_grid vd_grid_tq1_0, vd_grid_tq2_0, vd_grid_q1_0, vd_grid_q2_0;

/* points.c: code books. */
extern const vd_grid vd_grid_iq3_s, vd_grid_iq3_xxs, vd_grid_iq2_s, vd_grid_iq2_xs,
    vd_grid_iq2_xxs, vd_grid_iq1_m, vd_grid_iq1_s;

#endif
