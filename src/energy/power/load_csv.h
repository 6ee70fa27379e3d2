/* load_csv.h - steps of load as a table: what `verdant doctor --calibrate` ran, or what others
 * recorded. Inside src/energy and doctor. */
#ifndef VD_ENERGY_LOAD_CSV_H
#define VD_ENERGY_LOAD_CSV_H

#include <stdbool.h>
#include <stdio.h>
#include <verdant/status.h>

#include "energy/power/sheet.h"
#include "energy/power/meter_csv.h"

typedef struct vd_load_csv_options {
    const char *watts_column, *unit; /* as vd_recording_options */
    bool times;                      /* columns begin and end must be there */
    bool watts;                      /* a column of power must be there */
    double base_mhz;                 /* of the clocks; 0: they are not used */
} vd_load_csv_options;

/* Columns: load (0..1, or percent where its name or its values say so), and where they are there
 * spread and clock_mhz. At most `max` rows. VD_ERR_FORMAT with the line that is wrong. */
VD_NODISCARD vd_status vd_load_csv_take(const vd_sheet *table, const vd_load_csv_options *options,
                                        vd_load_step *steps, size_t max, size_t *ret_n,
                                        vd_err *err);
/* The table that vd_load_csv_take reads back. */
void vd_load_csv_put(FILE *out, const vd_load_step *steps, size_t n, double base_mhz);

#endif
