/* share.h - how many units each layer keeps when the model as a whole keeps a share. */
#ifndef VD_COMPRESS_STRUCTURED_SHARE_H
#define VD_COMPRESS_STRUCTURED_SHARE_H

#include <stddef.h>
#include <verdant/status.h>

/* What a layer would lose, unit by unit in the order in which they would go. */
typedef struct vd_share_layer {
    size_t n_units;
    size_t n_most;   /* so many may go */
    double *cost;    /* [n_most] squared error of each, owned */
    double energy;   /* what an error is measured by: the square of the residual stream behind */
    size_t n_gone;   /* the result */
} vd_share_layer;

/* Lets n_gone units go altogether, `step` at a time, each time those of the layer where they cost
 * least of its energy. Fewer where layers are at their n_most. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_share_out(vd_share_layer *layer, size_t n_layer, size_t n_gone,
                                    size_t step, vd_err *err);

#endif
