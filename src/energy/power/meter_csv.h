/*
 * meter_csv.h - what an external meter recorded, and the watts of each step of a load.
 *
 * Plug meters export a time and a power, under many names, in local time or another, now and then
 * with holes and rows out of order, and their clock is not ours. What is not as it should be is
 * said; what cannot be told is refused.
 */
#ifndef VD_ENERGY_METER_CSV_H
#define VD_ENERGY_METER_CSV_H

#include <stddef.h>
#include <verdant/status.h>

#include "energy/power/sheet.h"
#include "energy/power/power.h"

/* {0}: names and units are recognised. */
typedef struct vd_recording_options {
    const char *time_column, *watts_column;
    const char *unit; /* "W", "kW", "mW": what the column has, whatever its name says */
} vd_recording_options;

typedef struct vd_recording {
    double *time_s, *watts; /* owned; by rising time; seconds since 1970 */
    size_t n;
    char time_column[64], watts_column[64], unit[4];
    bool local_time;        /* times had no zone and were taken as this machine's */
    size_t n_skipped;       /* rows without a time or a number */
    size_t first_skipped;   /* the first one's line; 0: none */
    size_t n_unsorted;      /* rows earlier than the one before */
    size_t n_repeated;      /* rows with the time of another, which count once */
    size_t n_gaps;          /* holes: longer than five rows and ten seconds */
    double longest_gap_s;
    double period_s;        /* median from row to row */
} vd_recording;

void vd_recording_done(vd_recording *recording); /* {0} is fine */

/* VD_ERR_FORMAT where no column of time or power is found (the message lists what there is), where
 * power falls below zero, or where fewer than two rows, or half of them, can be used. */
VD_NODISCARD vd_status vd_recording_take(const vd_sheet *table,
                                         const vd_recording_options *options,
                                         vd_recording *ret_recording, vd_err *err);

/* The column of power and what its numbers are to be multiplied by to be watts. */
VD_NODISCARD vd_status vd_recording_power(const vd_sheet *table, const char *wanted,
                                          const char *unit, size_t *ret_column, double *ret_scale,
                                          vd_err *err);

/* Epoch seconds, milliseconds, microseconds or nanoseconds, or ISO 8601 with or without a zone
 * (`ret_local` true: without). False where it is neither. */
bool vd_recording_time(const char *text, double *ret_s, bool *ret_local);

/* A stretch of constant load. */
typedef struct vd_load_step {
    double begin_s, end_s;
    vd_power_point at; /* its watts are filled by vd_load_join */
    size_t n_rows;     /* rows of the recording in it; filled too */
} vd_load_step;

typedef struct vd_load_joined {
    double offset_s; /* the meter's clock less ours */
    double correlation; /* of its power with what the load lets expect */
    size_t n_steps;     /* steps with watts */
} vd_load_joined;

/* Finds the offset of the meter's clock at which its power follows `guess` best, first within two
 * minutes, then within a day and two hours (time zones), and gives each step the mean watts of its
 * rows. Steps without rows get 0 watts. VD_ERR_FORMAT where the rows do not cover the steps or
 * do not follow them, or where its watts can only be those of another unit; VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_load_join(const vd_recording *recording, const vd_power *guess,
                                    vd_load_step *steps, size_t n, vd_load_joined *ret_joined,
                                    vd_err *err);

#endif
