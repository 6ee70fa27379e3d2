/*
 * audit.h - the proof that the books add up: for any period, in integer microjoules,
 *
 *   meter = requests + idle + unattributed     in every window
 *   requests of the windows = shares           in every session and slot
 *   shares of a request = its total            when it is settled
 *   sequences of an answer = the answer        by phase and by component, too
 *
 * and that no row was changed or is missing. docs/ledger.md says what that proves and what not.
 */
#ifndef VD_ENERGY_LEDGER_AUDIT_H
#define VD_ENERGY_LEDGER_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

typedef struct vd_audit_options {
    const char *path;
    /* Unix seconds, [since, until); 0: from the beginning, to the end. Windows are whole: the
     * period grows to the 5-minute slots that it touches, and the report says to which. */
    int64_t since_s, until_s;
    size_t max_listed; /* violations told one by one; 0: 100 */
} vd_audit_options;

/* {"ok":bool,"meter_uj":…,"requests_uj":…,"idle_uj":…,"unattributed_uj":…,"violations":[{"check":…,
 * "row":…,"found":…}],"n_violations":…, and more} in docs/ledger.md. Reads one snapshot, beside a
 * service that goes on writing. A new reference. VD_ERR_NOT_FOUND where there is no file, and what
 * SQLite says of one that it cannot read. */
VD_NODISCARD vd_status vd_audit_run(const vd_audit_options *options, json_t **ret_report,
                                    vd_err *err);

#endif
