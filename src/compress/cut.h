/*
 * cut.h - what the user may ask for: a magnitude to cut at, a share of the weights to keep.
 *
 * Plain data; {0} is "nothing". Threads: pure functions.
 */
#ifndef VD_COMPRESS_CUT_H
#define VD_COMPRESS_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum vd_cut_kind {
    VD_CUT_NONE,
    VD_CUT_VALUE,   /* a magnitude, the same for all tensors */
    VD_CUT_PERCENT, /* so many percent of a tensor's magnitudes lie at it or below */
    VD_CUT_RMS,     /* so many times a tensor's root mean square */
    VD_CUT_AUTO     /* where the squared error after quantization is least */
} vd_cut_kind;

typedef struct vd_cut {
    vd_cut_kind kind;
    double value;
} vd_cut;

/* "0.25", "p99.5", "3rms", and where `allow_auto` "auto". Not below 0, percent not above 100. */
bool vd_cut_parse(const char *text, bool allow_auto, vd_cut *ret);

typedef enum vd_prune_method {
    VD_PRUNE_NONE,
    VD_PRUNE_MAGNITUDE, /* |w|; the papers' baseline (Han et al. 2015, Learning both Weights and
                           Connections) */
    VD_PRUNE_WANDA,     /* |w| times the norm of its input, in each row (Sun et al. 2024) */
    VD_PRUNE_SPARSEGPT, /* with what is left making up for it, see obs.h */
    VD_PRUNE_OBS        /* Wanda's choice; all that is left makes up for it, see fit.h */
} vd_prune_method;

/* Either a share of each matrix, or N of every M neighbours in a row. */
typedef struct vd_prune {
    vd_prune_method method;
    double keep;      /* in (0, 1]; read where m is 0 */
    unsigned n, m;    /* keep n of m, 1 <= n <= m <= VD_PRUNE_GROUP_MAX */
} vd_prune;

enum { VD_PRUNE_GROUP_MAX = 64 };

/* "wanda:0.5", "wanda:2:4"; "2:4" means magnitude. NULL, or what is wrong with it. */
const char *vd_prune_name(vd_prune_method method);
const char *vd_prune_parse(const char *text, vd_prune *ret);

/* How many of n > 0 weights go where the share `keep` in (0, 1] stays: what stays is rounded up, so
 * that it is never nothing. */
uint64_t vd_prune_n_gone(double keep, uint64_t n);

#endif
