/* entry.c - see entry.h. */
#include "energy/ledger/entry.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"

static const char find_sql[] =
    "SELECT a.session, a.number, a.id, a.body_id, a.model, a.kind, a.begin_ns, a.end_ns, "
    "a.sequences, a.prompt_tokens, a.cached_tokens, a.completion_tokens, a.method, a.total_uj, "
    "a.active_uj, a.prefill_uj, a.decode_uj, a.idle_share_uj, a.cpu_uj, a.dram_uj, a.gpu_uj, "
    "a.machine_ns, a.uncertainty_pct, a.common_pct, a.independent_pct, a.settled, a.incomplete, "
    "s.pue, ifnull(sum(r.first_ug), 0.0), ifnull(sum(r.embodied_ug), 0.0), "
    "count(r.final_ug) > 0, ifnull(sum(ifnull(r.final_ug, r.first_ug)), 0.0) "
    "FROM answer AS a JOIN session AS s ON s.id = a.session "
    "LEFT JOIN request AS r ON r.session = a.session AND r.answer = a.number "
    "WHERE a.row = (SELECT row FROM answer WHERE id = ?1 UNION ALL SELECT row FROM answer WHERE "
    "body_id = ?1 ORDER BY row DESC LIMIT 1) GROUP BY a.row";

/* The intensity with most of the energy, and whether any was estimated or stale. */
#define TAGS(of)                                                                                   \
    "SELECT i.zone, i.kind, i.scope, i.basis, i.boundary, i.source, i.version, i.from_s, i.to_s, " \
    "max(i.estimated) OVER (), max(i.stale) OVER (), i.g_per_kwh, sum(h.uj) OVER (PARTITION BY "   \
    "i.id) AS uj FROM request AS r JOIN share AS h ON h.session = r.session AND "                  \
    "h.request = r.request JOIN intensity AS i ON i.id = " of                                      \
    " WHERE r.session = ?1 AND r.answer = ?2 ORDER BY uj DESC LIMIT 1"

static const char first_sql[] = TAGS("h.intensity");
static const char final_sql[] = TAGS("ifnull(h.final, h.intensity)");

#define COPY(to, s, column) snprintf(to, sizeof(to), "%s", vd_db_text(s, column))

static vd_status read_tags(sqlite3 *db, const char *sql, const vd_entry *e, double ug,
                           vd_ledger_intensity *ret, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = vd_db_prepare(db, sql, &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "ii", e->session, e->number);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row) {
        vd_ledger_intensity i = {.from_s = sqlite3_column_int64(s, 7),
                                 .to_s = sqlite3_column_int64(s, 8),
                                 .estimated = sqlite3_column_int(s, 9) != 0,
                                 .stale = sqlite3_column_int(s, 10) != 0,
                                 .g_per_kwh = sqlite3_column_double(s, 11)};
        COPY(i.zone, s, 0);
        COPY(i.kind, s, 1);
        COPY(i.scope, s, 2);
        COPY(i.basis, s, 3);
        COPY(i.boundary, s, 4);
        COPY(i.source, s, 5);
        COPY(i.version, s, 6);
        if (e->energy.total_uj != 0 && ug > 0)
            i.g_per_kwh = ug / e->pue / (double)e->energy.total_uj * 3.6e6;
        *ret = i;
    }
    sqlite3_finalize(s);
    return st;
}

static void read_entry(sqlite3_stmt *s, vd_entry *e)
{
    uint64_t *const uj[] = {&e->energy.total_uj,  &e->energy.active_uj,
                            &e->energy.prefill_uj, &e->energy.decode_uj,
                            &e->energy.idle_share_uj, &e->energy.cpu_uj,
                            &e->energy.dram_uj,   &e->energy.gpu_uj,
                            &e->energy.machine_ns};
    e->session = sqlite3_column_int64(s, 0);
    e->number = sqlite3_column_int64(s, 1);
    COPY(e->id, s, 2);
    COPY(e->body_id, s, 3);
    COPY(e->model, s, 4);
    COPY(e->kind, s, 5);
    e->begin_ns = sqlite3_column_int64(s, 6);
    e->end_ns = sqlite3_column_int64(s, 7);
    e->n_sequences = (uint32_t)sqlite3_column_int(s, 8);
    e->prompt_tokens = (uint64_t)sqlite3_column_int64(s, 9);
    e->cached_tokens = (uint64_t)sqlite3_column_int64(s, 10);
    e->completion_tokens = (uint64_t)sqlite3_column_int64(s, 11);
    COPY(e->method, s, 12);
    for (int i = 0; i < (int)(sizeof(uj) / sizeof(uj[0])); i++)
        *uj[i] = (uint64_t)sqlite3_column_int64(s, 13 + i);
    e->energy.uncertainty_pct = sqlite3_column_double(s, 22);
    e->energy.common_pct = sqlite3_column_double(s, 23);
    e->energy.independent_pct = sqlite3_column_double(s, 24);
    e->energy.settled = sqlite3_column_int(s, 25) != 0;
    e->energy.incomplete = sqlite3_column_int(s, 26) != 0;
    e->pue = sqlite3_column_double(s, 27);
    e->operational_ug = sqlite3_column_double(s, 28) * e->pue;
    e->embodied_ug = sqlite3_column_double(s, 29);
    e->has_final = sqlite3_column_int(s, 30) != 0;
    e->final_ug = sqlite3_column_double(s, 31) * e->pue;
    e->energy.operational_ug = sqlite3_column_double(s, 28);
}

vd_status vd_entry_find(sqlite3 *db, const char *id, vd_entry *ret, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    vd_entry e = {0};
    bool row = false;
    vd_status st = vd_db_prepare(db, find_sql, &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "t", id);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row)
        read_entry(s, &e);
    else if (st == VD_OK)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "there is no request '%.60s' in the ledger", id);
    sqlite3_finalize(s);
    if (st == VD_OK)
        st = read_tags(db, first_sql, &e, e.operational_ug, &e.intensity, err);
    if (st == VD_OK && e.has_final)
        st = read_tags(db, final_sql, &e, e.final_ug, &e.final, err);
    if (st != VD_OK)
        return st;
    *ret = e;
    ret->energy.method = ret->method;
    return VD_OK;
}

vd_status vd_entry_sequences(sqlite3 *db, const vd_entry *entry, json_t **ret_list, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    json_t *list = json_array();
    vd_status st = vd_db_prepare(
        db,
        "SELECT finish, prompt_tokens, cached_tokens, completion_tokens, total_uj, settled "
        "FROM request WHERE session = ?1 AND answer = ?2 ORDER BY request", &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "ii", entry->session, entry->number);
    while (st == VD_OK && (st = vd_db_step(s, &row, err)) == VD_OK && row) {
        json_t *one = json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "finish", vd_db_text(s, 0),
                                "prompt_tokens", (json_int_t)sqlite3_column_int64(s, 1),
                                "cached_tokens", (json_int_t)sqlite3_column_int64(s, 2),
                                "completion_tokens", (json_int_t)sqlite3_column_int64(s, 3),
                                "total_uj", (json_int_t)sqlite3_column_int64(s, 4), "settled",
                                sqlite3_column_int(s, 5));
        if (json_array_append_new(list, one) != 0)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a request");
    }
    sqlite3_finalize(s);
    if (st == VD_OK)
        *ret_list = list;
    else
        json_decref(list);
    return st;
}

/* ---- the payload of a receipt ----------------------------------------------------------------*/

/* Decimals as text: a JSON number that is not whole has many forms. */
static json_t *decimal(double value, int digits)
{
    char text[48];
    snprintf(text, sizeof(text), "%.*f", digits, value);
    if (strchr(text, '.') != NULL) {
        size_t n = strlen(text);
        while (text[n - 1] == '0')
            text[--n] = '\0';
        if (text[n - 1] == '.')
            text[n - 1] = '\0';
    }
    return json_string(text);
}

static json_t *whole(double value)
{
    return json_integer((json_int_t)llround(value));
}

static json_t *grams(double ug, const vd_ledger_intensity *i)
{
    return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "operational_ng",
                     whole(ug * 1000), "g_per_kwh", decimal(i->g_per_kwh, 3), "zone", i->zone,
                     "kind", i->kind, "scope", i->scope, "basis", i->basis, "boundary",
                     i->boundary, "source", i->source, "version", i->version, "estimated",
                     (int)i->estimated, "stale", (int)i->stale);
}

json_t *vd_entry_payload(const vd_entry *e)
{
    const vd_energy *n = &e->energy;
    json_t *energy = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:b, s:b}", "total_uj",
        (json_int_t)n->total_uj, "active_uj", (json_int_t)n->active_uj, "idle_share_uj",
        (json_int_t)n->idle_share_uj, "prefill_uj", (json_int_t)n->prefill_uj, "decode_uj",
        (json_int_t)n->decode_uj, "cpu_uj", (json_int_t)n->cpu_uj, "dram_uj",
        (json_int_t)n->dram_uj, "gpu_uj", (json_int_t)n->gpu_uj, "method", n->method,
        "uncertainty_pct", decimal(n->uncertainty_pct, 2), "settled", (int)n->settled,
        "incomplete", (int)n->incomplete);
    json_t *carbon = grams(e->operational_ug, &e->intensity);
    json_t *payload = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "type",
        "verdant.energy.receipt", "version", 1, "id", e->id, "answer_id", e->body_id, "model",
        e->model, "kind", e->kind, "begin_ms", (json_int_t)(e->begin_ns / 1000000), "end_ms",
        (json_int_t)(e->end_ns / 1000000), "sequences", (json_int_t)e->n_sequences,
        "prompt_tokens", (json_int_t)e->prompt_tokens, "cached_tokens",
        (json_int_t)e->cached_tokens, "completion_tokens", (json_int_t)e->completion_tokens,
        "energy", energy, "carbon", carbon);
    if (payload == NULL)
        return NULL;
    carbon = json_object_get(payload, "carbon");
    int failed = json_object_set_new(carbon, "embodied_ng", whole(e->embodied_ug * 1000));
    failed |= json_object_set_new(carbon, "pue", decimal(e->pue, 4));
    if (e->has_final)
        failed |= json_object_set_new(carbon, "final", grams(e->final_ug, &e->final));
    if (failed != 0) {
        json_decref(payload);
        return NULL;
    }
    return payload;
}
