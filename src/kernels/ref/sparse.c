/* sparse.c - a row group of sparse weights to the dense layout, one value at a time. */
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
