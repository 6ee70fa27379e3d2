/*
 * plan.h - the shape of a model, and what of it stays.
 *
 * Counts are known before the new file's head is written; which units of a layer stay may be known
 * only when that layer is reached. Single-owner.
 */
#ifndef VD_COMPRESS_STRUCTURED_PLAN_H
#define VD_COMPRESS_STRUCTURED_PLAN_H

#include "compress/structured/axes.h"

/* What stays of a list of units. */
typedef struct vd_kept {
    size_t n_all, n;
    size_t *index; /* [n] ascending, owned; NULL: all, or (n < n_all) not yet chosen */
} vd_kept;

typedef struct vd_cut_plan {
    vd_gguf *gguf;      /* the source, owned */
    const vd_arch *arch;
    vd_hparams hp;
    size_t n_layer;     /* of the source */
    vd_kept width;
    vd_kept *neurons, *groups; /* [n_layer] */
    size_t *group;      /* [n_layer] query heads of a KV head */
    size_t *new_layer;  /* [n_layer] its new number; SIZE_MAX: it goes */
    size_t n_layer_new;
} vd_cut_plan;

/* Everything stays. The head dimension is that of the model's keys. VD_ERR_UNSUPPORTED for an
 * encoder; else as vd_gguf_open and vd_arch_read. */
VD_NODISCARD vd_status vd_cut_plan_open(const char *path, vd_cut_plan *ret_plan, vd_err *err);
void vd_cut_plan_done(vd_cut_plan *plan); /* {0} is fine */

/* Of n units a share to keep, as a multiple of `multiple`; 0 is the largest of 256, 128, 64 and 32
 * that divides n and moves the share by no more than 1/32, else 32 or, where not even that
 * divides n, 1. Never 0 units, never more than n. */
size_t vd_cut_plan_n_kept(size_t n, double keep, size_t multiple);
/* What vd_cut_plan_n_kept rounds to. */
size_t vd_cut_plan_multiple(size_t n, double keep, size_t multiple);

/* All units but those in gone[n_gone] stay. */
VD_NODISCARD vd_status vd_kept_all_but(vd_kept *kept, const size_t *gone, size_t n_gone,
                                       vd_err *err);

/* Whether layers have different sizes now, which only the architecture "deci" can say. */
bool vd_cut_plan_is_uneven(const vd_cut_plan *plan);

/* "blk.<layer>.<base>.weight" of the source; NULL where there is none. */
const vd_gguf_tensor *vd_cut_plan_tensor(const vd_cut_plan *plan, size_t layer, const char *base);

#endif
