/* compress_print.h - what `verdant compress` did, as a table or as JSON. */
#ifndef VD_CLI_COMPRESS_PRINT_H
#define VD_CLI_COMPRESS_PRINT_H

#include "cli/compress_compare.h"
#include "compress/structured/stage.h"
#include "energy/meter.h"

/* One edited matrix, its name copied (vd_free). */
typedef struct vd_compress_line {
    char *name;
    vd_compress_edited edited; /* its name points to `name` */
} vd_compress_line;

typedef struct vd_compress_report {
    const char *input, *output;
    const vd_compress_options *options;
    const vd_compress_result *result;
    const vd_stage_options *stage;     /* what was cut out before */
    const vd_structured_result *cut;   /* [stage->n_cuts] */
    const vd_compress_line *line; /* [n_lines] */
    size_t n_lines;
    double seconds, joules;
    const vd_reading *reading; /* the last: method and uncertainty of `joules` */
    bool gap;                  /* some of the energy went unseen */
    const vd_compare *compare; /* NULL: before and after were not compared */
} vd_compress_report;

/* What was cut out before. */
json_t *vd_compress_cuts_json(const vd_stage_options *stage, const vd_structured_result *cut);
void vd_compress_print_cuts(const vd_stage_options *stage, const vd_structured_result *cut);

/* Return the exit status. */
int vd_compress_print_json(const vd_compress_report *report);
int vd_compress_print_table(const vd_compress_report *report);

#endif
