/*
 * layout.h - packed weights: what vd_weight.packed holds. One family of layouts for all tables.
 *
 * 16 output rows are interleaved, and 4 columns lie together: what one 64-byte register and an
 * int8 dot product over quads want. N is padded to 16 with rows of zeros. Each group of 16 rows is
 * one stream, read from front to back; it is made of pairs of blocks of 32 columns, so that every q
 * starts on a cache line. What stands once per 256 columns (t) follows the fourth pair:
 *
 *   | q q s s | q q s s | q q s s | q q s s | t | q q s s | ...
 *
 *   layout  q per block   s per block        t per 256     bytes/32  value of one       from
 *   Q4      nibbles 256   d f16[16]          -                  288  d * (q - 8)        Q4_0
 *   Q4M     nibbles 256   d, m f16[16]       -                  320  d * q + m          Q4_1
 *   Q4K     nibbles 256   S, M u8[16]        d, dmin f16[16]    296  d*S*q - dmin*M     Q4_K
 *   Q5      5 bits 320    d f16[16]          -                  352  d * (q - 16)       Q5_0
 *   Q5M     5 bits 320    d, m f16[16]       -                  384  d * q + m          Q5_1
 *   Q5K     5 bits 320    S, M u8[16]        d, dmin f16[16]    360  d*S*q - dmin*M     Q5_K
 *   Q6K     6 bits 384    S i8[2][16]        d f16[16], pad     424  d*S * (q - 32)     Q6_K
 *   Q8      bytes 512     d f16[16]          -                  544  d * (q - 128)      Q8_0
 *   Q8H     bytes 512     S i8[2][16]        d f32[16]          552  d*S * (q - 128)    IQ1-IQ3
 *   Q3H     nibbles 256   S i8[2][16]        d f32[16]          296  d*S * (q - 8)      Q3_K
 *   T4      nibbles 256   d f16[16]          -                  288  d * T[q]           IQ4_NL
 *   T4H     nibbles 256   S i8[2][16]        d f32[16]          296  d*S * T[q]         IQ4_XS
 *   F4      nibbles 256   d f16[16]          -                  288  d * F[q]           MXFP4
 *   Q4H     nibbles 256   S, M u8[2][16]     d, dmin f16[16]    328  d*S*q - dmin*M     Q2_K
 *
 *   F16     [16 pairs][16 rows][2 columns], 1024     -                 1024  the value          F16
 *   BF16    the same                                 -                 1024  the value         BF16
 *
 * An odd number of blocks leaves the second half of the last pair unused. F16 and BF16 hold the
 * file's own 16-bit values, two columns of a row together: the order in which bf16 dot products
 * and tiles take them.
 *
 * q of a block, 32 columns of 16 rows:
 *   bytes    [8 quads][16 rows][4 columns], q unsigned
 *   nibbles  [4][16 rows][4 columns]: the lower half of byte (v, r, i) is column 4v + i, the upper
 *            half column 16 + 4v + i
 *   5 bits   nibbles, then the upper bits [16 rows][4 columns]: bit v of byte (r, i) is of quad v
 *   6 bits   nibbles, then [2][16 rows][4 columns]: bits 2v and 2v + 1 of byte (p, r, i) are the
 *            upper bits of quad 4p + v
 *
 * d, m and dmin are f16 as in the file, S and M whole numbers: packing rounds nothing. Q6K and the
 * layouts with an H have one S (and M) per 16 columns, those of columns 0..15 first. d is f32 in
 * Q8H because the file's d is of values that are eighths. T and F are vd_iq4_values and
 * vd_fp4_values.
 * Q4 takes TQ1_0, TQ2_0, Q1_0 and Q2_0 too. NVFP4 has scales that none of these hold.
 */
#ifndef VD_KERNELS_LAYOUT_H
#define VD_KERNELS_LAYOUT_H

#include "kernels/kernels.h"
#include "kernels/ref/decode.h"

typedef enum vd_layout {
    VD_LAYOUT_ROWS = 0,
    VD_LAYOUT_Q4,
    VD_LAYOUT_Q4M,
    VD_LAYOUT_Q4K,
    VD_LAYOUT_Q5,
    VD_LAYOUT_Q5M,
    VD_LAYOUT_Q5K,
    VD_LAYOUT_Q6K,
    VD_LAYOUT_Q8,
    VD_LAYOUT_Q8H,
    VD_LAYOUT_Q3H,
    VD_LAYOUT_T4,
    VD_LAYOUT_T4H,
    VD_LAYOUT_F4,
    VD_LAYOUT_Q4H,
    VD_LAYOUT_F16,
    VD_LAYOUT_BF16,
    VD_LAYOUT_LIMIT
} vd_layout;

enum { VD_GROUP = 16 /* rows */, VD_BLOCK = 32, VD_SUPER = 256 /* columns */ };

typedef struct vd_layout_info {
    uint16_t q_bytes; /* per 32 columns of 16 rows: 64 times the bits of one */
    uint16_t s_bytes; /* per 32 columns */
    uint16_t t_bytes; /* per 256 columns, or 0 */
    int16_t offset;   /* subtracted from q; with a table, what its values have added */
} vd_layout_info;

extern const vd_layout_info vd_layout_infos[VD_LAYOUT_LIMIT];

/* Where things of block b are, in bytes from the start of their row group. */
static inline size_t vd_layout_pair_at(const vd_layout_info *info, size_t b)
{
    return b / 2 * 2 * (size_t)(info->q_bytes + info->s_bytes) + b / 8 * info->t_bytes;
}

static inline size_t vd_layout_q_at(const vd_layout_info *info, size_t b)
{
    return vd_layout_pair_at(info, b) + b % 2 * info->q_bytes;
}

static inline size_t vd_layout_s_at(const vd_layout_info *info, size_t b)
{
    return vd_layout_pair_at(info, b) + 2u * info->q_bytes + b % 2 * info->s_bytes;
}

static inline size_t vd_layout_t_at(const vd_layout_info *info, size_t b)
{
    return vd_layout_pair_at(info, b / 8 * 8) + 8u * (info->q_bytes + info->s_bytes);
}

/* Bytes of a row group. */
static inline size_t vd_layout_stride(int layout, size_t n_cols)
{
    return vd_layout_pair_at(&vd_layout_infos[layout], n_cols / VD_BLOCK + n_cols / VD_BLOCK % 2);
}

/* Bits of a q that are stored. */
static inline int vd_layout_bits(int layout)
{
    return vd_layout_infos[layout].q_bytes / 64;
}

/* What the nibbles of a layout are places in, or NULL. */
static inline const int8_t *vd_layout_table(int layout)
{
    if (layout == VD_LAYOUT_F4)
        return vd_fp4_values;
    return layout == VD_LAYOUT_T4 || layout == VD_LAYOUT_T4H ? vd_iq4_values : NULL;
}

/* Weights that are floats: the product takes act->x as it is, not its whole numbers. */
static inline bool vd_layout_is_float(int layout)
{
    return layout == VD_LAYOUT_F16 || layout == VD_LAYOUT_BF16;
}

/* 0 where the type has no packed form or n_cols is no multiple of 32. */
int vd_layout_for(vd_dtype dtype, size_t n_rows, size_t n_cols);
/* SIZE_MAX where it overflows. */
size_t vd_layout_bytes(int layout, size_t n_rows, size_t n_cols);
/* packed: aligned to 64. False where the layout cannot hold a scale of these rows: an MXFP4 block
 * whose power of two is no f16. */
bool vd_layout_pack(int layout, vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols,
                    void *packed);

#endif
