/* options.h - what the user may ask for of a cut. */
#ifndef VD_COMPRESS_STRUCTURED_OPTIONS_H
#define VD_COMPRESS_STRUCTURED_OPTIONS_H

#include "compress/calib.h"
#include "compress/structured/units.h"

typedef enum vd_structured_kind {
    VD_STRUCTURED_NEURONS,
    VD_STRUCTURED_HEADS, /* KV groups */
    VD_STRUCTURED_LAYERS,
    VD_STRUCTURED_WIDTH
} vd_structured_kind;

/* One cut; several are made one after the other. */
typedef struct vd_structured {
    vd_structured_kind kind;
    double keep; /* in (0, 1] */
} vd_structured;

typedef struct vd_structured_options {
    vd_calib_options calib;
    vd_unit_score score;
    size_t multiple; /* of what stays; 0: by itself, see vd_cut_plan_n_kept */
    bool uniform;    /* as many in every layer; architectures that cannot otherwise do so always */
    double drift;    /* of what neurons and heads are cut from, see drift.h; 0..1 */
    const char *folder; /* for the calibration's unlinked file */
    int *ret_fd;        /* as vd_compress_options.ret_fd */
    size_t n_threads;   /* 0: one per core */
    /* As vd_compress_options.progress. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, vd_str what);
    void *ctx;
} vd_structured_options;

/* "neurons:0.75", "heads:0.5", "layers:0.9", "width:0.8". False where it is none of these names:
 * *ret_wrong is then NULL; else what is wrong with it, or NULL. */
bool vd_structured_parse(const char *text, vd_structured *ret, const char **ret_wrong);
const char *vd_structured_name(vd_structured_kind kind);

#endif
