/*
 * units.h - groups of neighbouring inputs of a product ranked by what the product loses without
 * them, and the weights of those that stay made to make up for those that go.
 *
 * A unit is one column of W (a neuron of a feed-forward, what ffn_down reads) or as many as the
 * heads of a KV group are wide (what attn_output reads). For Y = X W^T and the Gram matrix
 * H = X^T X, two ways to rank:
 *
 *   activation   trace(W_u H_uu W_u^T), the square of what the unit adds to Y; of a neuron
 *                (|X_j| |W_j|)^2, the structured form of Wanda (Sun et al. 2024)
 *   obs          trace(W_u (H^-1)_uu^-1 W_u^T), what Y loses when all other columns make up for the
 *                unit: optimal brain surgery, one unit after the other, W and H^-1 updated after
 *                each (ZipLM, Kurtic et al. 2023)
 *
 * and one repair, least squares: W'_S = W_S + W_G H_GS (H_SS + damping)^-1 for those that stay (S)
 * and go (G). With H_SS alone that is W H_:S H_SS^-1; the damping pulls towards the weights as they
 * were, not towards zero. Our difference from ZipLM is that the repair is computed anew at the end
 * and does not carry the rounding of a thousand updates. All in double precision.
 */
#ifndef VD_COMPRESS_STRUCTURED_UNITS_H
#define VD_COMPRESS_STRUCTURED_UNITS_H

#include "base/pool.h"
#include "compress/linalg.h"

typedef enum vd_unit_score {
    VD_UNIT_SCORE_OBS,
    VD_UNIT_SCORE_ACTIVATION,
    VD_UNIT_SCORE_OUTPUT /* of layers alone: effect.h */
} vd_unit_score;

typedef struct vd_units {
    const vd_linalg *linalg;
    vd_pool *pool;
    const double *gram; /* [n, n] both triangles */
    const double *w;    /* [n_rows, n] */
    size_t n, n_rows;
    size_t size;        /* columns of a unit; n is a multiple */
} vd_units;

/* The n_gone units that go first, in that order, and what each costs: the square of what Y loses,
 * on all tokens of the Gram matrix. Buffers [n_gone] are the caller's. VD_ERR_FORMAT where H cannot
 * be inverted or a value is not finite, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_units_rank(const vd_units *units, vd_unit_score score, size_t n_gone,
                                     size_t *order, double *cost, vd_err *err);

/* kept[n_kept]: units that stay, ascending. out[n_rows, n_kept * size]. */
VD_NODISCARD vd_status vd_units_repair(const vd_units *units, const size_t *kept, size_t n_kept,
                                       double *out, vd_err *err);

#endif
