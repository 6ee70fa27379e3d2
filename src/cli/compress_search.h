/* compress_search.h - `verdant compress --target`: the search, its table, its JSON. */
#ifndef VD_CLI_COMPRESS_SEARCH_H
#define VD_CLI_COMPRESS_SEARCH_H

#include "cli/compress_args.h"
#include "energy/meter.h"

/* What it took, known when it is over. */
typedef struct vd_search_cost {
    double seconds, joules;
    const vd_reading *reading; /* method and uncertainty of `joules` */
    bool gap;                  /* some of the energy went unseen */
    const vd_compare *compare; /* NULL: before and after were not compared */
    const vd_structured_result *cut; /* [args->stage.n_cuts], before the search */
} vd_search_cost;

/* Returns the exit status. */
int vd_compress_print_search(const vd_compress_args *args, const vd_search_result *result,
                             const vd_search_cost *cost);
/* To --picture, or to the target's name with .svg behind it. */
VD_NODISCARD vd_status vd_compress_draw_search(const vd_compress_args *args,
                                               const vd_search_result *result, vd_err *err);

#endif
