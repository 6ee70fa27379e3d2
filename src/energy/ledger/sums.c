/* sums.c - see sums.h: four queries by one key each, put together under that key; the total is the
 * sum of the groups. */
#include "energy/ledger/sums.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/fail.h"

enum { SLOT_S = 300, QUERY_MAX = 2048, QUERIES = 4 };
static const int64_t last_s = INT64_C(9000000000);

/* The key of each kind of grouping, per query; "" makes one group of all. */
typedef struct key_of {
    const char *windows, *shares, *answers, *requests;
} key_of;

#define BY_TIME(s)                                                                                 \
    {"w.slot_s / " s " * " s, "h.slot_s / " s " * " s, "a.end_ns / 1000000000 / " s " * " s,       \
     "r.end_ns / 1000000000 / " s " * " s}

static const key_of keys[] = {
    [VD_SUMS_TOTAL] = {"''", "''", "''", "''"},
    [VD_SUMS_MODEL] = {NULL, "ifnull(r.model, '')", "ifnull(a.model, '')",
                       "ifnull(r.model, '')"},
    [VD_SUMS_HOUR] = BY_TIME("3600"),
    [VD_SUMS_DAY] = BY_TIME("86400"),
};

#define ENDED(t) t ".end_ns >= ?1 * 1000000000 AND " t ".end_ns < ?2 * 1000000000"

static const char windows_sql[] =
    "SELECT %s AS k, sum(w.meter_uj) AS meter_uj, sum(w.idle_uj) AS idle_uj, "
    "sum(w.unattributed_uj) AS unattributed_uj, sum(w.cpu_uj) AS cpu_uj, sum(w.dram_uj) AS "
    "dram_uj, sum(w.gpu_uj) AS gpu_uj FROM window AS w WHERE w.slot_s >= ?1 AND w.slot_s < ?2 "
    "AND ?3 IS NULL GROUP BY k";
#define SHARES(more, and)                                                                          \
    "SELECT %s AS k, sum(h.uj) AS requests_uj, sum(h.uj * i.g_per_kwh * s.pue) / 3.6e12 AS "       \
    "operational_g, sum(h.uj * f.g_per_kwh * s.pue) / 3.6e12 AS operational_final_g, "             \
    "count(h.final) AS n_final FROM share AS h JOIN session AS s ON s.id = h.session "             \
    "JOIN intensity AS i ON i.id = h.intensity "                                                   \
    "JOIN intensity AS f ON f.id = ifnull(h.final, h.intensity) " more                             \
    "WHERE h.slot_s >= ?1 AND h.slot_s < ?2 AND " and " GROUP BY k"
static const char shares_sql[] = SHARES("", "?3 IS NULL");
static const char shares_of_models_sql[] =
    SHARES("LEFT JOIN request AS r ON r.session = h.session AND r.request = h.request ",
           "(?3 IS NULL OR r.model = ?3)");
static const char answers_sql[] =
    "SELECT %s AS k, count(*) AS requests, sum(a.sequences) AS sequences, "
    "sum(a.prompt_tokens) AS prompt_tokens, sum(a.cached_tokens) AS cached_tokens, "
    "sum(a.completion_tokens) AS completion_tokens, ifnull(sum(a.total_uj), 0) AS ended_uj, "
    "sum(1 - a.settled) AS unsettled FROM answer AS a "
    "WHERE " ENDED("a") " AND (?3 IS NULL OR a.model = ?3) GROUP BY k";
static const char requests_sql[] =
    "SELECT %s AS k, ifnull(sum(r.prefill_uj), 0) AS ended_prefill_uj, "
    "ifnull(sum(r.decode_uj), 0) AS ended_decode_uj, ifnull(sum(r.idle_share_uj), 0) AS "
    "ended_idle_share_uj, ifnull(sum(r.embodied_ug), 0.0) / 1e6 AS embodied_g FROM request AS r "
    "WHERE " ENDED("r") " AND (?3 IS NULL OR r.model = ?3) GROUP BY k";

bool vd_sums_parse(const char *word, vd_sums_by *ret_by)
{
    static const char *const names[] = {[VD_SUMS_MODEL] = "model", [VD_SUMS_HOUR] = "hour",
                                        [VD_SUMS_DAY] = "day"};
    for (size_t i = VD_SUMS_MODEL; i < VD_COUNT(names); i++)
        if (strcmp(word, names[i]) == 0) {
            *ret_by = (vd_sums_by)i;
            return true;
        }
    return false;
}

static vd_status no_memory(vd_err *err)
{
    return VD_FAIL(err, VD_ERR_NOMEM, "no memory for sums");
}

/* Adds the columns of each row to the object that `groups` has under the row's key. */
static vd_status collect(sqlite3 *db, const char *form, const char *key, int64_t from_s,
                         int64_t to_s, const char *model, json_t *groups, vd_err *err)
{
    char sql[QUERY_MAX];
    sqlite3_stmt *s = NULL;
    bool row = true;
    snprintf(sql, sizeof(sql), form, key);
    vd_status st = vd_db_prepare(db, sql, &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "iit", from_s, to_s, model);
    while (st == VD_OK && (st = vd_db_step(s, &row, err)) == VD_OK && row) {
        json_t *group = json_object_get(groups, vd_db_text(s, 0));
        if (group == NULL) {
            group = json_object();
            if (json_object_set_new(groups, vd_db_text(s, 0), group) != 0)
                st = no_memory(err);
        }
        for (int i = 1; st == VD_OK && i < sqlite3_column_count(s); i++) {
            json_t *value = sqlite3_column_type(s, i) == SQLITE_FLOAT
                                ? json_real(sqlite3_column_double(s, i))
                                : json_integer(sqlite3_column_int64(s, i));
            if (json_object_set_new(group, sqlite3_column_name(s, i), value) != 0)
                st = no_memory(err);
        }
    }
    sqlite3_finalize(s);
    return st;
}

static json_int_t number(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Joules beside microjoules, a zero where a query had no row, joules per token. */
static int complete(json_t *g, bool has_meter)
{
    static const char *const counts[] = {"requests", "sequences", "prompt_tokens",
                                         "cached_tokens", "completion_tokens", "unsettled",
                                         "ended_uj", "ended_prefill_uj", "ended_decode_uj",
                                         "ended_idle_share_uj", "requests_uj", "idle_uj",
                                         "unattributed_uj", "meter_uj"};
    static const char *const sums[] = {"requests", "idle", "unattributed", "meter"};
    static const char *const reals[] = {"operational_g", "embodied_g"};
    size_t n_meter = has_meter ? 0 : 3;
    int failed = 0;
    for (size_t i = 0; i < VD_COUNT(counts) - n_meter; i++)
        if (json_object_get(g, counts[i]) == NULL)
            failed |= json_object_set_new(g, counts[i], json_integer(0));
    for (size_t i = 0; i < VD_COUNT(reals); i++)
        if (json_object_get(g, reals[i]) == NULL)
            failed |= json_object_set_new(g, reals[i], json_real(0));
    for (size_t i = 0; i < VD_COUNT(sums) - n_meter; i++) {
        char uj[32], j[32];
        snprintf(uj, sizeof(uj), "%s_uj", sums[i]);
        snprintf(j, sizeof(j), "%s_j", sums[i]);
        failed |= json_object_set_new(g, j, json_real((double)number(g, uj) / 1e6));
    }
    json_int_t n = number(g, "completion_tokens"), ended = number(g, "ended_uj");
    failed |= json_object_set_new(g, "j_per_token",
                                  n > 0 ? json_real((double)ended / 1e6 / (double)n)
                                        : json_null());
    if (number(g, "n_final") == 0)
        json_object_del(g, "operational_final_g");
    json_object_del(g, "n_final");
    return failed;
}

static int name_group(json_t *group, const char *key, vd_sums_by by)
{
    long long seconds = 0;
    char text[32];
    if (by == VD_SUMS_MODEL)
        return json_object_set_new(group, "model",
                                   key[0] != '\0' ? json_string(key) : json_null());
    if (sscanf(key, "%lld", &seconds) != 1)
        return json_object_set_new(group, "from", json_null());
    time_t at = (time_t)seconds;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_object_set_new(group, "from", json_string(text));
}

static vd_status run(sqlite3 *db, int64_t from_s, int64_t to_s, const char *model, vd_sums_by by,
                     json_t *groups, vd_err *err)
{
    bool of_models = by == VD_SUMS_MODEL || model != NULL;
    const struct {
        const char *form, *key;
    } queries[QUERIES] = {{windows_sql, keys[by].windows},
                          {of_models ? shares_of_models_sql : shares_sql, keys[by].shares},
                          {answers_sql, keys[by].answers},
                          {requests_sql, keys[by].requests}};
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < QUERIES; i++)
        if (queries[i].key != NULL)
            st = collect(db, queries[i].form, queries[i].key, from_s, to_s, model, groups, err);
    return st;
}

/* Adds all groups to the total: a second pass over the rows would take as long as the first. */
static vd_status add_up(json_t *groups, json_t *total, vd_err *err)
{
    const char *group_key, *key;
    json_t *group, *value, *sum = json_object_get(total, "");
    if (sum == NULL && json_object_set_new(total, "", json_object()) == 0)
        sum = json_object_get(total, "");
    int failed = sum == NULL;
    json_object_foreach(groups, group_key, group)
        json_object_foreach(group, key, value) {
            json_t *before = json_object_get(sum, key);
            bool is_whole = json_is_integer(value) && !json_is_real(before);
            json_t *after = is_whole ? json_integer(json_integer_value(before) +
                                                    json_integer_value(value))
                                     : json_real(json_number_value(before) +
                                                 json_number_value(value));
            failed |= json_object_set_new(sum, key, after);
        }
    return failed == 0 ? VD_OK : no_memory(err);
}

/* {key: group} to a list, keys named, in the order of keys. */
static vd_status to_list(json_t *groups, vd_sums_by by, bool has_meter, json_t *list, vd_err *err)
{
    const char *key;
    json_t *group;
    int failed = 0;
    json_object_foreach(groups, key, group) {
        failed |= name_group(group, key, by) | complete(group, has_meter);
        const char *word = by == VD_SUMS_MODEL ? "model" : "from";
        const char *mine = json_string_value(json_object_get(group, word));
        size_t at = json_array_size(list); /* most come in their order */
        for (; at > 0 && mine != NULL; at--) {
            const char *other =
                json_string_value(json_object_get(json_array_get(list, at - 1), word));
            if (other != NULL && strcmp(other, mine) <= 0)
                break;
        }
        failed |= json_array_insert(list, at, group);
    }
    return failed == 0 ? VD_OK : no_memory(err);
}

vd_status vd_sums_run(sqlite3 *db, int64_t since_s, int64_t until_s, const char *model,
                      vd_sums_by by, json_t **ret_sums, vd_err *err)
{
    int64_t from_s = since_s - since_s % SLOT_S;
    int64_t to_s = until_s != 0 ? (until_s + SLOT_S - 1) / SLOT_S * SLOT_S : last_s;
    json_t *total = json_object(), *groups = json_object(), *list = json_array(), *sums = NULL;
    vd_status st = total != NULL && groups != NULL && list != NULL ? VD_OK : no_memory(err);
    if (st == VD_OK)
        st = vd_db_run(db, "BEGIN", err); /* one snapshot for all of it */
    if (st != VD_OK)
        goto out;
    st = run(db, from_s, to_s, model, by, by == VD_SUMS_TOTAL ? total : groups, err);
    if (st == VD_OK && keys[by].windows == NULL)
        st = collect(db, windows_sql, keys[VD_SUMS_TOTAL].windows, from_s, to_s, model, total, err);
    if (st == VD_OK && by != VD_SUMS_TOTAL)
        st = add_up(groups, total, err);
    if (st == VD_OK)
        st = to_list(groups, by, model == NULL && by != VD_SUMS_MODEL, list, err);
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (st != VD_OK)
        goto out;
    sums = json_object_get(total, "");
    sums = sums != NULL ? json_incref(sums) : json_object();
    if (sums == NULL || complete(sums, model == NULL) != 0 ||
        json_object_set_new(sums, "slots_from_s", json_integer(from_s)) != 0 ||
        json_object_set_new(sums, "slots_to_s",
                            to_s == last_s ? json_null() : json_integer(to_s)) != 0 ||
        (by != VD_SUMS_TOTAL && json_object_set(sums, "groups", list) != 0))
        st = no_memory(err);
    if (st == VD_OK) {
        *ret_sums = sums;
        sums = NULL;
    }
out:
    json_decref(sums);
    json_decref(total);
    json_decref(groups);
    json_decref(list);
    return st;
}
