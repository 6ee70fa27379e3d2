/*
 * sums.h - what was used in a period, in all or by model, hour or day. The figures add up to those
 * of the audit for the same period.
 */
#ifndef VD_ENERGY_LEDGER_SUMS_H
#define VD_ENERGY_LEDGER_SUMS_H

#include "base/json.h"
#include "energy/ledger/db.h"

typedef enum vd_sums_by {
    VD_SUMS_TOTAL,
    VD_SUMS_MODEL,
    VD_SUMS_HOUR, /* UTC */
    VD_SUMS_DAY,
} vd_sums_by;

/* "model", "hour", "day"; false for any other word. */
bool vd_sums_parse(const char *word, vd_sums_by *ret_by);

/* {"meter_uj":…, …,"groups":[{"model":…, …}]} as docs/ledger.md has it. The period grows to whole
 * 5-minute slots; 0: from the beginning, to the end. `model` (NULL: all) narrows what requests
 * used; the meter's own sums are then left out. A new reference. */
VD_NODISCARD vd_status vd_sums_run(sqlite3 *db, int64_t since_s, int64_t until_s,
                                   const char *model, vd_sums_by by, json_t **ret_sums,
                                   vd_err *err);

/* "2026-11-28", "2026-11-28T10:30", "...:15Z" (all UTC), "today", "yesterday", "90m", "24h" or
 * "7d" ago, or Unix seconds. Never 0, which stands for no bound. */
bool vd_when_parse(const char *text, int64_t now_s, int64_t *ret_s);

#endif
