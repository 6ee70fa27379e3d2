/*
 * energy.c - /v1/energy: sums of the ledger, one request of it, receipts and their key.
 *
 * The queries run on a worker: they read a file. Each opens a connection of its own, to one
 * snapshot, after what waits in memory has been written, and is cut when it takes too long.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "carbon/carbon.h"
#include "energy/energy_json.h"
#include "energy/ledger/entry.h"
#include "energy/ledger/receipt.h"
#include "energy/ledger/schema.h"
#include "energy/ledger/sums.h"
#include "serve/books.h"
#include "serve/endpoints.h"
#include "serve/server.h"

enum { PROGRESS_STEPS = 100000 };
static const uint64_t flush_ns = UINT64_C(3000000000), query_ns = UINT64_C(10000000000);

static int is_late(void *deadline_ns)
{
    return vd_now_ns() > *(uint64_t *)deadline_ns;
}

static vd_status fail_query(vd_exchange *r, const vd_err *err, vd_api_error *error)
{
    if (err->status == VD_ERR_NOT_FOUND)
        return vd_api_fail(error, 404, "energy_not_found", NULL,
                           "There is no such request in the ledger; what is asked for is the "
                           "x-request-id of an answer, or its id.");
    if (err->status == VD_ERR_LIMIT)
        return vd_api_fail(error, 503, "overloaded", NULL, "This takes too long; ask for a "
                           "shorter period.");
    if (err->status == VD_ERR_IO || err->status == VD_ERR_PERM || err->status == VD_ERR_BUSY)
        return vd_api_fail(error, 503, "ledger_unavailable", NULL, "The ledger cannot be read now; "
                           "the server's log says why.");
    return vd_api_fail_from(error, err, NULL);
}

static vd_status no_ledger(vd_api_error *error)
{
    return vd_api_fail(error, 404, "no_ledger", NULL, "This server keeps no ledger (`ledger.off` "
                       "in its configuration).");
}

/* A connection to books that are up to date; where they cannot be written, *ret_lag_ns (NULL: not
 * wanted) is the age of the oldest thing that is missing in them. */
static vd_status open_books(vd_exchange *r, uint64_t *deadline_ns, uint64_t *ret_lag_ns,
                            sqlite3 **ret_db, vd_err *err)
{
    vd_ledger *ledger = vd_books_ledger(r->server->options.books);
    vd_ledger_stats stats = {0};
    sqlite3 *db = NULL;
    if (vd_ledger_flush(ledger, flush_ns, NULL) != VD_OK)
        vd_ledger_stats_get(ledger, &stats);
    if (ret_lag_ns != NULL)
        *ret_lag_ns = stats.lag_ns;
    vd_status st = vd_db_open(vd_ledger_path(ledger), true, &db, err);
    if (st == VD_OK)
        st = vd_schema_check(db, err);
    if (st != VD_OK) {
        vd_db_close(db);
        return st;
    }
    *deadline_ns = vd_now_ns() + query_ns;
    sqlite3_progress_handler(db, PROGRESS_STEPS, is_late, deadline_ns);
    *ret_db = db;
    return VD_OK;
}

/* Takes the reference. */
static vd_status put_json(json_t *value, vd_buf *out, vd_api_error *error)
{
    char *text = vd_json_text(value);
    json_decref(value);
    if (text == NULL)
        return vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    vd_buf_puts(out, text);
    vd_free(text);
    return VD_OK;
}

/* ---- sums ------------------------------------------------------------------------------------*/

static vd_status read_time(vd_exchange *r, const char *name, int64_t *ret_s, vd_api_error *error)
{
    const char *text = json_string_value(json_object_get(r->query, name));
    int64_t now_s = (int64_t)(vd_wall_ns() / 1000000000u);
    if (text == NULL || vd_when_parse(text, now_s, ret_s))
        return VD_OK;
    return vd_api_fail(error, 400, "invalid_value", name, "A time looks like 2026-11-28, "
                       "2026-11-28T10:30, 24h (ago) or 1795818878; UTC.");
}

static vd_status read_query(vd_exchange *r, int64_t *since_s, int64_t *until_s, vd_sums_by *by,
                            vd_api_error *error)
{
    static const char *const known[] = {"since", "until", "model", "group_by"};
    const char *key;
    json_t *value;
    json_object_foreach(r->query, key, value) {
        bool found = false;
        for (size_t i = 0; i < VD_COUNT(known); i++)
            found |= strcmp(key, known[i]) == 0;
        if (!found)
            return vd_api_fail(error, 400, "unsupported_parameter", NULL,
                               "since, until, model and group_by there are.");
    }
    const char *group = json_string_value(json_object_get(r->query, "group_by"));
    if (group != NULL && !vd_sums_parse(group, by))
        return vd_api_fail(error, 400, "invalid_value", "group_by",
                           "'group_by' is model, hour or day.");
    vd_status st = read_time(r, "since", since_s, error);
    if (st == VD_OK)
        st = read_time(r, "until", until_s, error);
    if (st == VD_OK && *until_s != 0 && *until_s <= *since_s)
        st = vd_api_fail(error, 400, "invalid_value", "until", "'until' is not after 'since'.");
    return st;
}

vd_status vd_energy_sums(vd_exchange *r, const char *argument, vd_buf *out, vd_api_error *error)
{
    int64_t since_s = 0, until_s = 0;
    vd_sums_by by = VD_SUMS_TOTAL;
    uint64_t deadline_ns = 0, lag_ns = 0;
    vd_err err = {0};
    sqlite3 *db = NULL;
    json_t *sums = NULL;
    if (vd_books_ledger(r->server->options.books) == NULL)
        return no_ledger(error);
    vd_status st = read_query(r, &since_s, &until_s, &by, error);
    if (st != VD_OK)
        return st;
    st = open_books(r, &deadline_ns, &lag_ns, &db, &err);
    if (st == VD_OK)
        st = vd_sums_run(db, since_s, until_s,
                         json_string_value(json_object_get(r->query, "model")), by, &sums, &err);
    vd_db_close(db);
    if (st != VD_OK)
        return fail_query(r, &err, error);
    json_t *answer = json_pack("{s:s}", "object", "energy");
    if (answer != NULL &&
        (json_object_update(answer, sums) != 0 ||
         (lag_ns != 0 &&
          json_object_set_new(answer, "lag_s", json_real((double)lag_ns / 1e9)) != 0))) {
        json_decref(answer);
        answer = NULL; /* which put_json says */
    }
    json_decref(sums);
    return put_json(answer, out, error);
}

/* ---- one request -----------------------------------------------------------------------------*/

static json_t *when(int64_t ns)
{
    char text[40];
    time_t at = (time_t)(ns / 1000000000);
    struct tm tm;
    gmtime_r(&at, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(ns / 1000000 % 1000));
    return json_string(text);
}

static vd_intensity tags_of(const vd_ledger_intensity *from)
{
    vd_intensity i = {.g_per_kwh = from->g_per_kwh,
                      .kind = from->kind,
                      .scope = from->scope,
                      .basis = from->basis,
                      .boundary = from->boundary,
                      .source = from->source,
                      .valid_from_s = from->from_s,
                      .valid_to_s = from->to_s,
                      .estimated = from->estimated,
                      .stale = from->stale};
    snprintf(i.zone, sizeof(i.zone), "%s", from->zone);
    snprintf(i.version, sizeof(i.version), "%s", from->version);
    return i;
}

static json_t *carbon_json(const vd_entry *e, double ug, const vd_ledger_intensity *tags)
{
    vd_carbon carbon = {.operational_g = ug / 1e6,
                        .embodied_g = e->embodied_ug / 1e6,
                        .water_l = -1,
                        .energy_kwh = (double)e->energy.total_uj * e->pue / 3.6e12,
                        .pue = e->pue,
                        .intensity = tags_of(tags)};
    return vd_carbon_json(&carbon, e->prompt_tokens + e->completion_tokens);
}

static json_t *entry_json(const vd_entry *e, json_t *sequences)
{
    json_t *carbon = carbon_json(e, e->operational_ug, &e->intensity);
    if (carbon != NULL && e->has_final &&
        json_object_set_new(carbon, "final", carbon_json(e, e->final_ug, &e->final)) != 0) {
        json_decref(carbon);
        carbon = NULL;
    }
    json_t *energy = vd_energy_json(&e->energy, carbon);
    if (energy != NULL &&
        json_object_set_new(energy, "settled", json_boolean(e->energy.settled)) != 0) {
        json_decref(energy);
        energy = NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:o}, s:o}",
                     "object", "energy.request", "id", e->id, "answer_id", e->body_id, "model",
                     e->model, "kind", e->kind, "begin", when(e->begin_ns), "end",
                     when(e->end_ns), "usage", "prompt_tokens", (json_int_t)e->prompt_tokens,
                     "cached_tokens", (json_int_t)e->cached_tokens, "completion_tokens",
                     (json_int_t)e->completion_tokens, "total_tokens",
                     (json_int_t)e->prompt_tokens + (json_int_t)e->completion_tokens,
                     "energy", energy,
                     "sequences", sequences);
}

static vd_status find(vd_exchange *r, const char *id, vd_entry *ret_entry, json_t **ret_sequences,
                      vd_api_error *error)
{
    uint64_t deadline_ns = 0;
    vd_err err = {0};
    sqlite3 *db = NULL;
    if (vd_books_ledger(r->server->options.books) == NULL)
        return no_ledger(error);
    vd_status st = open_books(r, &deadline_ns, NULL, &db, &err);
    if (st == VD_OK)
        st = vd_entry_find(db, id, ret_entry, &err);
    if (st == VD_OK && ret_sequences != NULL)
        st = vd_entry_sequences(db, ret_entry, ret_sequences, &err);
    vd_db_close(db);
    return st == VD_OK ? VD_OK : fail_query(r, &err, error);
}

vd_status vd_energy_request(vd_exchange *r, const char *argument, vd_buf *out, vd_api_error *error)
{
    vd_entry entry = {0};
    json_t *sequences = NULL;
    vd_status st = find(r, argument, &entry, &sequences, error);
    return st == VD_OK ? put_json(entry_json(&entry, sequences), out, error) : st;
}

/* ---- receipts --------------------------------------------------------------------------------*/

static vd_status no_key(vd_api_error *error)
{
    return vd_api_fail(error, 404, "no_receipts", NULL, "This server signs no receipts; its log "
                       "says why.");
}

vd_status vd_energy_receipt(vd_exchange *r, const char *argument, vd_buf *out, vd_api_error *error)
{
    vd_entry entry = {0};
    const vd_receipt_key *key = vd_books_key(r->server->options.books);
    vd_err err = {0};
    char *text = NULL;
    if (key == NULL)
        return no_key(error);
    vd_status st = find(r, argument, &entry, NULL, error);
    if (st != VD_OK)
        return st;
    json_t *payload = vd_entry_payload(&entry);
    st = vd_receipt_sign(key, payload, &text, &err);
    json_decref(payload);
    if (st != VD_OK)
        return vd_api_fail_from(error, &err, NULL);
    vd_buf_puts(out, text);
    vd_free(text);
    return VD_OK;
}

vd_status vd_energy_key(vd_exchange *r, const char *argument, vd_buf *out, vd_api_error *error)
{
    const vd_receipt_key *key = vd_books_key(r->server->options.books);
    if (key == NULL)
        return no_key(error);
    vd_buf_printf(out, "{\"object\":\"energy.key\",\"algorithm\":\"Ed25519\",\"key\":\"%s\"}",
                  vd_receipt_key_public(key));
    return VD_OK;
}
