/*
 * edit.h - what is done to the values of a matrix before they are encoded, in this order: clip,
 * threshold, threshold above, prune by magnitude (what is pruned by its inputs: calibrated.h).
 *
 * Each is told once for the model and made ready for each tensor, which may take some passes over
 * its rows (select.h); then rows are edited one by one, by any threads.
 */
#ifndef VD_COMPRESS_EDIT_H
#define VD_COMPRESS_EDIT_H

#include "compress/cut.h"
#include "compress/select.h"

typedef struct vd_edit_options {
    vd_cut clip;  /* magnitudes above become it, the sign stays */
    vd_cut below; /* magnitudes below become 0 */
    vd_cut above; /* magnitudes above become 0 */
    vd_prune prune;
} vd_edit_options;

/* Whether there is anything to do. */
bool vd_edit_wanted(const vd_edit_options *options);
/* Whether it sets weights to zero. */
bool vd_edit_zeroes(const vd_edit_options *options);

/* The same for a tensor with a keep-rate of its own, below 1: pruned by Wanda instead. */
vd_edit_options vd_edit_at(const vd_edit_options *options, double keep);

/* Ready for one tensor. */
typedef struct vd_edit {
    float clip, below, above; /* magnitudes; infinity, 0, infinity: none */
    unsigned n, m;            /* keep n of m; m 0: not by groups */
    float prune;              /* magnitudes below it become 0; 0: none do */
    uint32_t *tied;           /* [n_rows] how many of those equal to it do, the first of each row;
                                 or NULL */
} vd_edit;

/* `scan` needs no `change`. to: the type that the tensor will have, for the automatic clip.
 * VD_ERR_ARG where groups do not divide the rows, VD_ERR_NOMEM. `ret` is for vd_edit_done. */
VD_NODISCARD vd_status vd_edit_prepare(const vd_edit_options *options, const vd_scan *scan,
                                       const vd_rows *rows, vd_dtype to, vd_edit *ret,
                                       vd_err *err);
void vd_edit_done(vd_edit *edit);

/* x[n_cols] is row `row` of the tensor. */
void vd_edit_row(const vd_edit *edit, size_t row, float *x, size_t n_cols);

#endif
