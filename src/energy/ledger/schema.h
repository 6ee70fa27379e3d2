/*
 * schema.h - the tables of the ledger, version by version. docs/ledger.md explains them.
 */
#ifndef VD_ENERGY_LEDGER_SCHEMA_H
#define VD_ENERGY_LEDGER_SCHEMA_H

#include "energy/ledger/db.h"

enum { VD_LEDGER_SCHEMA = 1 };

/* All columns that the mark of a row stands for, in its order. */
#define VD_COLUMNS_SESSION                                                                         \
    "id, begin_ns, mono_ns, end_ns, boot_id, pid, pid_start, program, method, pue, clean"
#define VD_COLUMNS_INTENSITY                                                                       \
    "id, zone, from_s, to_s, g_per_kwh, kind, scope, basis, boundary, source, version, "           \
    "estimated, stale, seen_ns"
#define VD_COLUMNS_WINDOW                                                                          \
    "session, slot_s, begin_ns, mono_ns, length_ns, meter_uj, cpu_uj, dram_uj, gpu_uj, "           \
    "requests_uj, idle_uj, unattributed_uj, method, common_pct, independent_pct, merged, gap"
#define VD_COLUMNS_SHARE "session, request, slot_s, intensity, uj, final"
#define VD_COLUMNS_ENERGY                                                                          \
    "total_uj, active_uj, prefill_uj, decode_uj, idle_share_uj, cpu_uj, dram_uj, gpu_uj, "         \
    "machine_ns, method, uncertainty_pct, common_pct, independent_pct, settled, incomplete, "      \
    "folded_uj"
#define VD_COLUMNS_REQUEST                                                                         \
    "session, request, answer, model, finish, begin_ns, end_ns, prompt_tokens, cached_tokens, "    \
    "completion_tokens, embodied_ug, first_ug, final_ug, " VD_COLUMNS_ENERGY
#define VD_COLUMNS_ANSWER                                                                          \
    "session, number, id, body_id, key, model, kind, begin_ns, end_ns, sequences, prompt_tokens, " \
    "cached_tokens, completion_tokens, receipt, " VD_COLUMNS_ENERGY

/* "WHERE " VD_MARK_BROKEN("share", VD_COLUMNS_SHARE) */
#define VD_MARK_BROKEN(table, columns) "mark IS NOT vd_mark('" table "', " columns ")"
#define VD_MARK_SET(table, columns) "mark = vd_mark('" table "', " columns ")"

/* Brings the file to VD_LEDGER_SCHEMA, from nothing or an older version, in one transaction.
 * VD_ERR_UNSUPPORTED for a newer one, VD_ERR_FORMAT for a database that is no ledger. */
VD_NODISCARD vd_status vd_schema_make(sqlite3 *db, vd_err *err);
/* The same with other steps: steps[v] is SQL that leads from version v to v + 1. For tests. */
VD_NODISCARD vd_status vd_schema_bring(sqlite3 *db, const char *const *steps, int n_steps,
                                       vd_err *err);
extern const char *const vd_schema_steps[VD_LEDGER_SCHEMA];
/* The same checks, and writes nothing: an older version is VD_ERR_UNSUPPORTED too. */
VD_NODISCARD vd_status vd_schema_check(sqlite3 *db, vd_err *err);

#endif
