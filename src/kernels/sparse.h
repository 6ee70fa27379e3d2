/*
 * sparse.h - packed weights of which many are zero: a bit for every weight, a byte for those that
 * are not zero. What VD_LAYOUT_Q8 (layout.h) holds, and products with the same bits as there.
 *
 * Decoding reads all weights once per token and waits for memory, so bytes that are not read are
 * time. After SparAMX (AbouElhamayed et al. 2025: bitmap and values, expanded to a buffer before
 * tiles multiply); here few tokens need no buffer, since VPEXPANDB leaves a block in registers, and
 * bitmap, scales and values lie together, so that a row group stays one stream:
 *
 *   index u32[groups + 1]: where a group's stream begins, in units of 64 bytes from the start
 *   stream of a group of 16 rows:  | block | block | ... |, padded to 64 bytes
 *   block of 32 columns:           | masks u64[8] | d f16[16] | values u8[] |
 *
 * Bit 4r + i of mask v says that row r has a value in column 4v + i, i < 4: the order of a Q8
 * block. Values follow each other in this order, unsigned as in Q8 (int8 + 128), and are as many as
 * there are bits. 64 bytes behind the last stream may be read.
 *
 * With a share k of the weights kept it takes 1 + 8k + 0.5 bits a weight, Q8 8.5: 5.5 for a half.
 */
#ifndef VD_KERNELS_SPARSE_H
#define VD_KERNELS_SPARSE_H

#include "kernels/layout.h"

/* vd_weight.layout of such a weight; not one of vd_layout_infos. */
enum { VD_LAYOUT_SPARSE = VD_LAYOUT_LIMIT };
/* A register of a block: 4 columns of 16 rows. */
enum { VD_SPARSE_QUADS = 8, VD_SPARSE_QUAD = 64 };
/* Bytes of a block before its values. */
enum { VD_SPARSE_HEAD = VD_SPARSE_QUADS * 8 + 2 * VD_GROUP };

/* Whether weights of this type and width can be packed so. */
bool vd_sparse_can(vd_dtype dtype, size_t n_cols);
/* Bytes of the packed form of these rows, whose zeros are counted: SIZE_MAX where it overflows. */
size_t vd_sparse_bytes(vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols);
/* What it may take where a share `keep` of the weights is not zero: SIZE_MAX where it overflows. */
size_t vd_sparse_bytes_at(float keep, size_t n_rows, size_t n_cols);
/* packed: as many bytes as vd_sparse_bytes said, aligned to 64. */
void vd_sparse_pack(const vd_kernels *k, vd_dtype dtype, const void *rows, size_t n_rows,
                    size_t n_cols, void *packed);

/* ---- the same bytes in a file (docs/sparse.md), at any alignment ------------------------------*/

/* VD_ERR_FORMAT unless n_bytes are the packed form of n_rows rows: head and index, and the row
 * groups of rows [first_row, first_row + n_checked), which begin and end with a group. */
VD_NODISCARD vd_status vd_sparse_check(const void *stored, size_t n_bytes, size_t n_rows,
                                       size_t n_cols, size_t first_row, size_t n_checked,
                                       vd_err *err);
/* A weight of rows [first_row, first_row + n_rows) of checked bytes, copied; it has no `rows`. The
 * rows begin with a group and end with one or with the last row. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_weight_prepare_sparse(const void *stored, size_t n_cols,
                                                size_t first_row, size_t n_rows,
                                                vd_weight *ret_weight, vd_err *err);
/* All rows of checked bytes as Q8_0. */
void vd_sparse_to_rows(const void *stored, size_t n_rows, size_t n_cols, void *rows);

/* The stream of row group g. */
static inline const uint8_t *vd_sparse_group(const void *packed, size_t g)
{
    return (const uint8_t *)packed + (size_t)((const uint32_t *)packed)[g] * 64;
}

/* Bytes of its blocks on the average, rounded up to lines of 64: what to fetch ahead for each. */
static inline size_t vd_sparse_block_bytes(const void *packed, size_t g, size_t n_cols)
{
    const uint32_t *index = packed;
    size_t n_blocks = n_cols / VD_BLOCK;
    return (index[g + 1] - index[g] + n_blocks - 1) / n_blocks * 64;
}

/* Bytes of a row group's dense form, VD_LAYOUT_Q8. */
static inline size_t vd_sparse_dense_bytes(size_t n_cols)
{
    return vd_layout_stride(VD_LAYOUT_Q8, n_cols);
}

/* What a thread needs to hold some row groups in their dense form. */
size_t vd_sparse_scratch_bytes(size_t max_cols);
/* vd_linear of a sparse weight; scratch: vd_sparse_scratch_bytes aligned to 64, dense_scratch what
 * the dense product needs. */
void vd_sparse_linear(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
                      size_t ld_y, size_t begin, size_t end, void *scratch, float *dense_scratch);

#endif
