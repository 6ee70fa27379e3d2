/* arm.h - the levels of AArch64: who has them, and what they put into the table. */
#ifndef VD_KERNELS_ARM_ARM_H
#define VD_KERNELS_ARM_ARM_H

#include "kernels/kernels.h"

/* The lowest first; each has all of those before it. */
typedef enum vd_arm_level {
    VD_ARM_NEON,    /* Advanced SIMD of ARMv8.0 */
    VD_ARM_DOTPROD, /* FEAT_DotProd */
    VD_ARM_I8MM,    /* FEAT_I8MM */
    VD_ARM_LEVELS
} vd_arm_level;

/* Whether the processor has what the level needs, and the system lets programs use it. */
bool vd_arm_runs(vd_arm_level level);
/* The names of what is missing for the level, "" when nothing is. */
void vd_arm_lacks(vd_arm_level level, char *text, size_t size);

/* Overwrite the entries of *k that the level does better, and its name. */
void vd_neon_fill(vd_kernels *k);
void vd_dotprod_fill(vd_kernels *k);
void vd_i8mm_fill(vd_kernels *k);

void vd_neon_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
/* The layouts of floats, at every level. */
void vd_neon_linear_half(int layout, const void *packed, size_t n_cols, const vd_act *act, float *y,
                         size_t ld_y, size_t begin, size_t end);

#endif
