/*
 * entry.h - one answer of the API as the books have it: found in the file by its id, and as the
 * payload of a receipt.
 */
#ifndef VD_ENERGY_LEDGER_ENTRY_H
#define VD_ENERGY_LEDGER_ENTRY_H

#include "base/json.h"
#include "energy/ledger/db.h"
#include "energy/ledger/ledger.h"

enum { VD_ENTRY_MODEL_MAX = 136 };

typedef struct vd_entry {
    char id[VD_LEDGER_ID_MAX];      /* x-request-id */
    char body_id[VD_LEDGER_ID_MAX]; /* "chatcmpl-..."; "" for none */
    char model[VD_ENTRY_MODEL_MAX], kind[16];
    char method[32];           /* energy.method points here after vd_entry_find */
    int64_t begin_ns, end_ns;  /* wall clock */
    uint32_t n_sequences;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    vd_energy energy;
    double pue;                          /* is in the grams below */
    double operational_ug, embodied_ug;  /* as first booked */
    vd_ledger_intensity intensity;       /* its tags; g_per_kwh is the mean by energy */
    bool has_final;                      /* settled again with final intensities: */
    double final_ug;
    vd_ledger_intensity final;
    int64_t session, number; /* of the row */
} vd_entry;

/* By x-request-id or by the id in the answer's body. VD_ERR_NOT_FOUND. */
VD_NODISCARD vd_status vd_entry_find(sqlite3 *db, const char *id, vd_entry *ret_entry,
                                     vd_err *err);
/* The answer's sequences: [{"finish":…,"total_uj":…}]. A new reference. */
VD_NODISCARD vd_status vd_entry_sequences(sqlite3 *db, const vd_entry *entry, json_t **ret_list,
                                          vd_err *err);
/* What a receipt signs: whole numbers and texts; docs/ledger.md. NULL when memory is short. */
json_t *vd_entry_payload(const vd_entry *entry);

#endif
