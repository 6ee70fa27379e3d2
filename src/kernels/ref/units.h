/*
 * units.h - types whose values are whole multiples of something: value = d * s[h] * q, h the half
 * of 16 columns within 32. What lets pack.c put them into layouts that other types have too.
 */
#ifndef VD_KERNELS_REF_UNITS_H
#define VD_KERNELS_REF_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/dtype.h"

typedef struct vd_unit {
    float d;
    int8_t s[2]; /* 1, 1 where a type has one scale per block */
} vd_unit;

/* Of columns [32 * sub, 32 * sub + 32) of a block. False where the type is not of that kind. */
bool vd_unit_read(vd_dtype dtype, const uint8_t *block, unsigned sub, vd_unit *ret_unit);

/* q of 32 decoded values, plus `offset`; where the unit is 0 or not finite q is 0, so that such a
 * block stays a block of zeros or of NaN. */
void vd_unit_count(const vd_unit *unit, const float values[32], int offset, uint8_t ret_q[32]);

#endif
