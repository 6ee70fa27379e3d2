/*
 * rope.h - the angles of rotary position embedding, with linear, YaRN and per-frequency scaling
 * (the factors that files of Llama 3 and of LongRoPE models carry).
 *
 * Frequencies are computed once in double precision; a step asks for the cosines and sines of its
 * positions. Immutable after init; threads: any.
 */
#ifndef VD_MODEL_ROPE_H
#define VD_MODEL_ROPE_H

#include "base/arena.h"
#include "model/hparams.h"

typedef struct vd_rope {
    size_t n_pairs;      /* n_rot / 2 */
    const double *freq;  /* [n_pairs] radians per position, arena-owned */
    double magnitude;    /* multiplies cosine and sine */
} vd_rope;

/* `factors` [n_rot/2] divide the frequencies; NULL for none. */
VD_NODISCARD vd_status vd_rope_init(const vd_rope_params *params, const float *factors,
                                    vd_arena *arena, vd_rope *ret_rope, vd_err *err);

/* cos_sin[n_pairs][2] of one position. */
void vd_rope_angles(const vd_rope *rope, size_t pos, float *cos_sin);

#endif
