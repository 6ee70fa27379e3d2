/* tile_shape.h - what LDTILECFG reads: the shapes of the eight tiles. */
#ifndef VD_KERNELS_X86_AMX_TILE_SHAPE_H
#define VD_KERNELS_X86_AMX_TILE_SHAPE_H

#include <stdint.h>

enum { VD_TILES = 8, VD_TILE_ROWS = 16, VD_TILE_BYTES = 64 /* of a row */ };

typedef struct vd_tile_shape {
    uint8_t palette; /* 1 */
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16]; /* by tile; 0 together with its rows */
    uint8_t rows[16];
} vd_tile_shape;

_Static_assert(sizeof(vd_tile_shape) == 64, "the size of the operand of LDTILECFG");

#endif
