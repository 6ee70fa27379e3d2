/* weighted.h - scales and codes of blocks of 32 whose values count as w says. */
#ifndef VD_COMPRESS_ENCODE_WEIGHTED_H
#define VD_COMPRESS_ENCODE_WEIGHTED_H

enum { VD_WEIGHTED_BLOCK = 32 };

/* value = d * (code - zero), code in 0 .. 2 * zero - 1; zero: 8 or 16. No |x| is above the largest
 * f16. Returns d, an f16. */
float vd_weighted_symmetric(const float *x, const float *w, int zero,
                            int code[VD_WEIGHTED_BLOCK]);
/* value = d * code + min, code in 0..top; top: 15 or 31. d and min are f16. */
void vd_weighted_affine(const float *x, const float *w, int top, float *ret_d, float *ret_min,
                        int code[VD_WEIGHTED_BLOCK]);

#endif
