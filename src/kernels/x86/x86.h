/* x86.h - the levels of x86-64: who has them, and what they put into the table. */
#ifndef VD_KERNELS_X86_X86_H
#define VD_KERNELS_X86_X86_H

#include "kernels/kernels.h"

/* What the processor has and the operating system saves (XCR0). */
typedef struct vd_x86_features {
    bool avx2;   /* AVX2, FMA, F16C */
    bool avx512; /* the above, AVX-512 F, BW, DQ, VL and VNNI */
} vd_x86_features;

vd_x86_features vd_x86_detect(void);
/* The names of what is missing for AVX2 (for AVX-512 where `avx512`), "" when nothing is. */
void vd_x86_lacks(bool avx512, char *text, size_t size);

/* Overwrite the entries of *k that the level does better, and its name. */
void vd_avx2_fill(vd_kernels *k);
void vd_avx512_fill(vd_kernels *k);

void vd_avx2_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
void vd_avx512_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                             const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);

#endif
