/*
 * tensors.h - the list of tensors that an import writes, each with where its values come from.
 *
 * The list is made before anything is written: a name that has no place here, a shape that cannot
 * be, an expert or a layer that is missing end the import at once.
 */
#ifndef VD_IMPORT_TENSORS_H
#define VD_IMPORT_TENSORS_H

#include "base/arena.h"
#include "import/family.h"
#include "kernels/dtype.h"

/* Rows [first_row, first_row + rows) of a tensor; rows are its last dimension, but transposed. */
typedef struct vd_source {
    const vd_st_tensor *tensor; /* NULL: an expert that has not been seen */
    const vd_st_tensor *scale;  /* of 8-bit floats; NULL: 1 */
    uint64_t first_row;
} vd_source;

enum { VD_TENSOR_MAX = 96 };

typedef struct vd_out_tensor {
    char name[VD_TENSOR_MAX];
    int layer; /* -1: before the layers */
    size_t order; /* its place in the checkpoint */
    uint32_t n_dims;
    uint64_t dim[4]; /* dim[0] is contiguous */
    vd_dtype dtype;
    unsigned op;         /* VD_RULE_Q, _K and _TRANSPOSE count */
    uint32_t n_heads;    /* whose rows are moved */
    bool plus_one;       /* added to each value */
    vd_source *source;   /* [n_sources], experts one after the other */
    size_t n_sources;
    const float *literal; /* the values themselves, of dim[0]; then there are no sources */
} vd_out_tensor;

typedef struct vd_plan {
    vd_arena arena;
    vd_out_tensor *tensor;
    size_t n, capacity;
    uint32_t n_vocab;       /* rows of the embedding */
    uint32_t block[2];      /* of weight_scale_inv: rows, columns */
    uint64_t n_values, n_expert_values; /* of all tensors; of those in experts */
} vd_plan;

/* `type`: of the matrices. The rest is F32, as llama.cpp's converter has it. VD_ERR_FORMAT,
 * VD_ERR_UNSUPPORTED, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_plan_make(const vd_family *family, const vd_config *config,
                                    const vd_checkpoint *checkpoint, vd_dtype type,
                                    vd_plan *ret_plan, vd_err *err);
void vd_plan_done(vd_plan *plan);

/* The type that loses nothing: that of the first matrix; BF16 for 8-bit floats. */
vd_dtype vd_plan_natural_type(const vd_checkpoint *checkpoint);

/* Adds a tensor of F32 values; borrowed until vd_plan_done. */
VD_NODISCARD vd_status vd_plan_literal(vd_plan *plan, const char *name, const float *values,
                                       size_t n, vd_err *err);
/* rope_freqs or LongRoPE's two sets, where config.json has them; part of vd_plan_make. */
VD_NODISCARD vd_status vd_plan_rope(vd_plan *plan, const vd_family *family,
                                    const vd_config *config, vd_err *err);

/* Rows and columns as they are written; a vector whose rows move has columns of one value. */
void vd_out_shape(const vd_out_tensor *t, size_t *ret_rows, size_t *ret_cols);

#endif
