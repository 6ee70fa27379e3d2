/*
 * iq_grids.h - the points that the types IQ1, IQ2 and IQ3 choose their values from.
 *
 * Four or eight neighbours of such a type are one point of a fixed set, and the file holds its
 * number (vector quantization; the sets are ggml's, after the E8 lattice of QuIP#, Tseng et al.
 * 2024). The sets stand in iq_grids_data.c, one character per point.
 */
#ifndef VD_KERNELS_REF_IQ_GRIDS_H
#define VD_KERNELS_REF_IQ_GRIDS_H

#include <stdint.h>

typedef struct vd_iq_grids {
    int8_t iq2_xxs[256][8], iq2_xs[512][8], iq2_s[1024][8]; /* 8, 25, 43 */
    int8_t iq3_xxs[256][4];                                 /* 4, 12, 20 ... 52, 62 */
    int8_t iq3_s[512][4];                                   /* 1, 3, 5 ... 15 */
    int8_t iq1[2048][8];                                    /* -1, 0, 1 */
} vd_iq_grids;

/* Static storage, filled at the first call. Any thread. */
const vd_iq_grids *vd_iq_grids_get(void);

/* The sets as skips between the numbers of their points, see iq_grids_data.c. */
extern const char vd_iq2_xxs_skips[], vd_iq2_xs_skips[], vd_iq2_s_skips[], vd_iq3_xxs_skips[],
    vd_iq3_s_skips[], vd_iq1_skips[];

#define VD_IQ1_SHIFT 0.125f

/* Eight signs in 7 bits: the eighth makes their number even. */
static inline unsigned vd_signs_of_7(unsigned signs)
{
    return signs | (unsigned)__builtin_parity(signs) << 7;
}

/* dst[j] = scale * value[j], negative where bit j of `signs` is set. */
static inline void vd_put_signed(const int8_t *value, int n, unsigned signs, float scale,
                                 float *dst)
{
    for (int j = 0; j < n; j++)
        dst[j] = scale * (float)(signs >> j & 1 ? -value[j] : value[j]);
}

#endif
