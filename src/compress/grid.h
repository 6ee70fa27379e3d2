/*
 * grid.h - the values that a column can have in an encoded row, and its codes written anew: what a
 * method needs that keeps the scales of a row and chooses the codes itself (GPTQ).
 *
 *   value of code c in column j = scale[j / sub] * level(c) - min[j / sub]     in f32
 *
 * bit for bit what vd_dtype_decode gives. In IQ3, IQ2 and IQ1 eight columns share a code, which
 * means a point of a code book (encode/book.h). One file per family in grid/. Threads: pure
 * functions.
 */
#ifndef VD_COMPRESS_GRID_H
#define VD_COMPRESS_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

typedef struct vd_grid {
    size_t bytes, block, sub; /* of a block: bytes, values; values that share a scale */
    /* 0: each column has a code of its own, a byte, by what follows below. Else 8 columns share
     * one of 8 bytes, and `nearest` finds the best, where an error e in column i costs
     * weight[i] e^2; value[8] is what it means. */
    size_t group;
    void (*nearest)(float scale, float min, const double *w, const double *weight, uint8_t *code,
                    double *value);
    int n_codes;
    int first;                /* level of code 0; the others follow, one by one */
    const int8_t *level;      /* [n_codes] instead, in any order; NULL: none */
    /* scale and min [block / sub] of a block; min comes as zeros. */
    void (*read)(const uint8_t *block, float *scale, float *min);
    /* All codes [block] of a block; the scales stay. */
    void (*put)(uint8_t *block, const uint8_t *code);
} vd_grid;

/* NULL where the type has none. */
const vd_grid *vd_grid_of(uint32_t dtype);

/* Of a grid without groups: the code whose value is nearest to w; *ret_value is that value. */
uint8_t vd_grid_nearest(const vd_grid *grid, float scale, float min, double w, double *ret_value);

#endif
