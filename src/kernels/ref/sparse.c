/* sparse.c - sparse weights made and a row group of them made dense, one value at a time. */
#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/sparse.h"

void vd_ref_sparse_expand(const uint8_t *stream, size_t n_cols, uint8_t *group)
{
    const vd_layout_info *info = &vd_layout_infos[VD_LAYOUT_Q8];
    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        const uint8_t *value = stream + VD_SPARSE_HEAD;
        uint8_t *q = group + vd_layout_q_at(info, b);
        for (size_t v = 0; v < VD_SPARSE_QUADS; v++) {
            uint64_t mask;
            memcpy(&mask, stream + 8 * v, sizeof mask);
            for (size_t i = 0; i < VD_SPARSE_QUAD; i++)
                q[VD_SPARSE_QUAD * v + i] = mask >> i & 1 ? *value++ : (uint8_t)info->offset;
        }
        memcpy(group + vd_layout_s_at(info, b), stream + 8 * VD_SPARSE_QUADS, 2 * VD_GROUP);
        stream = value;
    }
}

uint8_t *vd_ref_sparse_pack(const uint8_t *src, size_t row_bytes, size_t n_rows, uint8_t *block)
{
    int zero = vd_layout_infos[VD_LAYOUT_Q8].offset;
    uint8_t *value = block + VD_SPARSE_HEAD;
    memset(block, 0, VD_SPARSE_HEAD);
    for (size_t r = 0; r < n_rows; r++)
        memcpy(block + 8 * VD_SPARSE_QUADS + 2 * r, src + r * row_bytes, 2);
    for (size_t v = 0; v < VD_SPARSE_QUADS; v++) {
        uint64_t mask = 0;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *q = src + r * row_bytes + 2 + 4 * v;
            for (size_t i = 0; i < 4; i++) { /* no branches: half of the values may be zero */
                mask |= (uint64_t)(q[i] != 0) << (4 * r + i);
                *value = (uint8_t)(q[i] ^ zero);
                value += q[i] != 0;
            }
        }
        memcpy(block + 8 * v, &mask, sizeof mask);
    }
    return value;
}
