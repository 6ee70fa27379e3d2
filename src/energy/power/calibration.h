/*
 * calibration.h - measurements of a processor type, kept as a file, and the curve that fits them.
 *
 *   {"verdant_calibration": 1,
 *    "cpu_type": "Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz",
 *    "covers": "package",                    package: processors alone; wall: the whole machine
 *    "threads": 24,                          hardware threads that the load is a share of
 *    "base_mhz": 2400, "memory_gb": 64,      not needed; memory counts where a wall was measured
 *    "meter": "rapl", "meter_pct": 5,        90 % of the meter's own error
 *    "made_at": "2026-11-28T04:00:00Z",
 *    "points": [{"load": 0.5, "spread": 1, "clock_mhz": 1800, "watts": 61.5}, ...]}
 *
 * It holds measurements and no parameters: the curve of power.h is fitted whenever the file is
 * read, so anybody can write one by hand, and a better model needs no new measurement. See
 * docs/power-model.md.
 */
#ifndef VD_ENERGY_CALIBRATION_H
#define VD_ENERGY_CALIBRATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

#include "energy/power/machine.h"
#include "energy/power/power.h"

enum {
    VD_CALIBRATION_VERSION = 1,
    VD_CALIBRATION_POINTS_MAX = 1024,
    VD_CALIBRATION_POINTS_MIN = 3,
    VD_CALIBRATION_TEXT_MAX = 96,
};

typedef struct vd_calibration {
    char cpu_type[VD_CALIBRATION_TEXT_MAX];
    char meter[VD_CALIBRATION_TEXT_MAX];
    char made_at[VD_CALIBRATION_TEXT_MAX];
    bool wall; /* of the whole machine, memory included */
    double threads, base_mhz, memory_gb, meter_pct;
    vd_power_point *points; /* owned; clock is a ratio, 0 where one of the two is not known */
    size_t n;
} vd_calibration;

void vd_calibration_done(vd_calibration *calibration); /* {0} is fine */

/* $VERDANT_HOME/calibration/TYPE.json, where TYPE is cpu_type with all but letters, digits, '.' and
 * '-' replaced by '_' (vd_free). */
VD_NODISCARD vd_status vd_calibration_path(const char *cpu_type, char **ret_path, vd_err *err);

/* VD_ERR_FORMAT where it is no such file, with what is wrong: unknown keys, values that cannot be,
 * fewer than VD_CALIBRATION_POINTS_MIN points or none of them far from another, watts that fall
 * with the load. */
VD_NODISCARD vd_status vd_calibration_read(const char *path, vd_calibration *ret_calibration,
                                           vd_err *err);
/* The same of n bytes. */
VD_NODISCARD vd_status vd_calibration_parse(const char *text, size_t n,
                                            vd_calibration *ret_calibration, vd_err *err);
VD_NODISCARD vd_status vd_calibration_check(const vd_calibration *calibration, vd_err *err);
/* The file's value; NULL when memory is short. */
json_t *vd_calibration_json(const vd_calibration *calibration);
/* Whole or not at all; makes the folder. VD_ERR_FORMAT for what could not be read back. */
VD_NODISCARD vd_status vd_calibration_write(const vd_calibration *calibration, const char *path,
                                            vd_err *err);

/* The curve through its points. `machine` gives the table's watts to begin with; its n_cpu threads
 * are then what the curve is of (a part of the calibrated machine: that part of its watts). */
VD_NODISCARD vd_status vd_calibration_fit(const vd_calibration *calibration,
                                          const vd_machine *machine, vd_power *ret_power,
                                          vd_err *err);

/* What the machine draws, as well as it is known: by the file that $VERDANT_CALIBRATION names
 * ("none": by no file), by the calibration of its processor type, or by the prior. Cannot fail:
 * where a file is unusable the prior serves. `ret_note` says what was used or what is wrong with
 * it; "" for the prior where there is no file. Returns whether a calibration serves. */
bool vd_calibration_find(const vd_machine *machine, vd_power *ret_power,
                         char ret_note[VD_ERR_MESSAGE_MAX]);

#endif
