/*
 * layout.h - packed weights: what vd_weight.packed holds. One family of layouts for all tables.
 *
 * 16 output rows are interleaved, and 4 columns lie together: what one 64-byte register and an
 * int8 dot product over quads want. N is padded to 16 with rows of zeros. Each group of 16 rows is
 * stored as three planes, so that the loads of q never cross a cache line:
 *
 *   | q of all K/32 blocks | s of all K/32 blocks | t of all K/256 blocks | pad to 64 |
 *
 *   layout  q per block   s per 32 columns   t per 256     bytes/32  value of one       from
 *   Q4      nibbles 256   d f16[16]          -                  288  d * (q - 8)        Q4_0
 *   Q4M     nibbles 256   d, m f16[16]       -                  320  d * q + m          Q4_1
 *   Q4K     nibbles 256   S, M u8[16]        d, dmin f16[16]    296  d*S*q - dmin*M     Q4_K
 *   Q8      bytes 512     d f16[16]          -                  544  d * (q - 128)      Q8_0 Q5_0
 *   Q8M     bytes 512     d, m f16[16]       -                  576  d * q + m          Q5_1
 *   Q8K     bytes 512     S, M u8[16]        d, dmin f16[16]    552  d*S*q - dmin*M     Q5_K
 *   Q6K     bytes 512     S i8[2][16]        d f16[16]          548  d*S * (q - 32)     Q6_K
 *
 * q of a block, 32 columns of 16 rows:
 *   bytes    [8 quads][16 rows][4 columns], q unsigned
 *   nibbles  [4][16 rows][4 columns]: the lower half of byte (v, r, i) is column 4v + i, the upper
 *            half column 16 + 4v + i
 *
 * d, m and dmin are f16 as in the file, S and M whole numbers: packing rounds nothing. Q6_K has
 * one S per 16 columns.
 */
#ifndef VD_KERNELS_LAYOUT_H
#define VD_KERNELS_LAYOUT_H

#include "kernels/kernels.h"

typedef enum vd_layout {
    VD_LAYOUT_ROWS = 0,
    VD_LAYOUT_Q4,
    VD_LAYOUT_Q4M,
    VD_LAYOUT_Q4K,
    VD_LAYOUT_Q8,
    VD_LAYOUT_Q8M,
    VD_LAYOUT_Q8K,
    VD_LAYOUT_Q6K,
    VD_LAYOUT_LIMIT
} vd_layout;

enum { VD_GROUP = 16 /* rows */, VD_BLOCK = 32, VD_SUPER = 256 /* columns */ };

typedef struct vd_layout_info {
    uint16_t q_bytes; /* per 32 columns of 16 rows: 256 nibbles, 512 bytes */
    uint16_t s_bytes; /* per 32 columns */
    uint16_t t_bytes; /* per 256 columns, or 0 */
    int16_t offset;   /* subtracted from q */
} vd_layout_info;

extern const vd_layout_info vd_layout_infos[VD_LAYOUT_LIMIT];

/* Where the planes of a row group start, and how far it is to the next. */
typedef struct vd_planes {
    size_t s, t, stride;
} vd_planes;

static inline vd_planes vd_layout_planes(int layout, size_t n_cols)
{
    const vd_layout_info *info = &vd_layout_infos[layout];
    vd_planes p;
    p.s = n_cols / VD_BLOCK * info->q_bytes;
    p.t = p.s + n_cols / VD_BLOCK * info->s_bytes;
    p.stride = (p.t + n_cols / VD_SUPER * info->t_bytes + 63) & ~(size_t)63;
    return p;
}

/* 0 where the type has no packed form or n_cols is no multiple of 32. */
int vd_layout_for(vd_dtype dtype, size_t n_rows, size_t n_cols);
/* SIZE_MAX where it overflows. */
size_t vd_layout_bytes(int layout, size_t n_rows, size_t n_cols);
/* packed: aligned to 64. */
void vd_layout_pack(int layout, vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols,
                    void *packed);

#endif
