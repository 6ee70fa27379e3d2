/*
 * ledger_rig.h - a ledger in a temporary folder, and a small world that obeys the account's laws:
 * windows with shares, requests that settle, answers of one or more of them.
 */
#ifndef TESTS_ENERGY_LEDGER_RIG_H
#define TESTS_ENERGY_LEDGER_RIG_H

#include <ftw.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "energy/ledger/audit.h"
#include "energy/ledger/db.h"
#include "energy/ledger/ledger.h"

#define SECOND UINT64_C(1000000000)

enum { RIG_ANSWERS = 64 };

typedef struct rig {
    char folder[64], path[96];
    vd_ledger *ledger;
    vd_ledger_options options;
    uint64_t now_ns, seed;
    uint64_t meter_uj, requests_uj, idle_uj, unattributed_uj; /* told so far */
    uint64_t next_id;
} rig;

static inline uint64_t rig_draw(rig *r, uint64_t below)
{
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 7;
    r->seed ^= r->seed << 17;
    return r->seed % below;
}

static inline void rig_open(rig *r)
{
    vd_err err = {0};
    r->options.path = r->path;
    r->options.program = "test";
    r->options.method = "rapl";
    vd_status st = vd_ledger_open(&r->options, &r->ledger, &err);
    if (st != VD_OK)
        print_error("%s\n", err.message);
    assert_int_equal(st, VD_OK);
    r->now_ns = vd_now_ns();
    r->next_id = 1;
}

static inline void rig_make(rig *r)
{
    *r = (rig){.seed = 88172645463325252u};
    /* In memory where there is such a place: thousands of syncs to a disk take their time. */
    snprintf(r->folder, sizeof(r->folder), "%s/verdant-ledger-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->path, sizeof(r->path), "%s/ledger.db", r->folder);
}

static inline int rig_unlink(const char *path, const struct stat *info, int type, struct FTW *where)
{
    return remove(path);
}

static inline void rig_done(rig *r)
{
    vd_ledger_close(r->ledger);
    nftw(r->folder, rig_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* A window of `ms` in which these requests computed. */
static inline void rig_window(rig *r, uint64_t ms, const vd_window_share *share, size_t n)
{
    uint64_t idle = n == 0 ? 10000 + rig_draw(r, 1000) : 0, other = rig_draw(r, 50), sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += share[i].uj;
    vd_window w = {.begin_ns = r->now_ns,
                   .end_ns = r->now_ns + ms * 1000000,
                   .meter_uj = sum + idle + other,
                   .idle_uj = idle,
                   .unattributed_uj = other,
                   .share = share,
                   .n_share = n,
                   .method = "rapl",
                   .common_pct = 4,
                   .independent_pct = 3};
    w.part_uj[VD_PART_DRAM] = w.meter_uj / 5;
    w.part_uj[VD_PART_CPU] = w.meter_uj - w.part_uj[VD_PART_DRAM];
    r->now_ns = w.end_ns;
    vd_ledger_on_window(r->ledger, &w);
    r->meter_uj += w.meter_uj;
    r->requests_uj += sum;
    r->idle_uj += idle;
    r->unattributed_uj += other;
}

static inline vd_energy rig_energy(uint64_t total, bool settled)
{
    vd_energy e = {.total_uj = total,
                   .prefill_uj = total / 3,
                   .idle_share_uj = total / 7,
                   .dram_uj = total / 5,
                   .machine_ns = total * 3,
                   .method = "rapl",
                   .uncertainty_pct = 5,
                   .common_pct = 4,
                   .independent_pct = 3,
                   .settled = settled};
    e.active_uj = total - e.idle_share_uj;
    e.decode_uj = e.active_uj - e.prefill_uj;
    e.cpu_uj = total - e.dram_uj;
    return e;
}

static inline void rig_sequence(rig *r, uint64_t id, uint64_t answer, vd_energy energy)
{
    vd_ledger_sequence_ended(
        r->ledger, &(vd_ledger_sequence){.request_id = id,
                                         .answer = answer,
                                         .model = "tiny",
                                         .finish = "stop",
                                         .begin_ns = r->now_ns - 1000,
                                         .end_ns = r->now_ns,
                                         .prompt_tokens = 5,
                                         .completion_tokens = 7,
                                         .embodied_ug = 1.5,
                                         .energy = energy});
}

static inline void rig_answer_told(rig *r, uint64_t number, uint32_t n, vd_energy energy)
{
    vd_ledger_answer a = {.number = number,
                          .model = "tiny",
                          .kind = "chat",
                          .begin_ns = r->now_ns - 1000,
                          .end_ns = r->now_ns,
                          .n_sequences = n,
                          .prompt_tokens = 5,
                          .completion_tokens = 7 * n,
                          .energy = energy};
    snprintf(a.id, sizeof(a.id), "req_%llu", (unsigned long long)number);
    snprintf(a.body_id, sizeof(a.body_id), "chatcmpl-%llu", (unsigned long long)number);
    vd_ledger_answer_ended(r->ledger, &a);
}

/* An API request of n sequences, which compute together over a few windows. */
static inline uint64_t rig_request(rig *r, size_t n, bool fast)
{
    vd_window_share share[8];
    uint64_t total[8] = {0}, first = r->next_id, number = vd_ledger_next_answer(r->ledger);
    vd_energy sum = {0};
    for (uint64_t k = 0; k < 2 + rig_draw(r, 3); k++) {
        for (size_t i = 0; i < n; i++) {
            share[i] = (vd_window_share){first + i, 1 + rig_draw(r, 500000)};
            total[i] += share[i].uj;
        }
        rig_window(r, 100 + rig_draw(r, 400), share, n);
    }
    for (size_t i = 0; i < n; i++) {
        vd_energy e = rig_energy(total[i], true), told = fast ? e : rig_energy(total[i] / 2, false);
        if (fast)
            vd_ledger_on_settled(r->ledger, first + i, &e);
        rig_sequence(r, first + i, number, told);
        vd_energy_add(&sum, &told);
    }
    rig_answer_told(r, number, (uint32_t)n, sum);
    for (size_t i = 0; i < n && !fast; i++) {
        vd_energy e = rig_energy(total[i], true);
        vd_ledger_on_settled(r->ledger, first + i, &e);
    }
    r->next_id += n;
    return number;
}

static inline void rig_flush(rig *r)
{
    vd_err err = {0};
    vd_status st = vd_ledger_flush(r->ledger, 20 * SECOND, &err);
    if (st != VD_OK)
        print_error("%s\n", err.message);
    assert_int_equal(st, VD_OK);
}

static inline json_t *rig_audit(rig *r)
{
    vd_err err = {0};
    json_t *report = NULL;
    vd_status st = vd_audit_run(&(vd_audit_options){.path = r->path}, &report, &err);
    if (st != VD_OK)
        print_error("%s\n", err.message);
    assert_int_equal(st, VD_OK);
    return report;
}

static inline uint64_t rig_number(json_t *report, const char *key)
{
    json_t *value = json_object_get(report, key);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

static inline void rig_print(json_t *report)
{
    char *text = json_dumps(report, JSON_INDENT(1));
    print_error("%s\n", text);
    free(text);
}

/* The audit finds nothing, and the sums are those that were told. */
static inline void rig_sound(rig *r)
{
    json_t *report = rig_audit(r);
    if (!json_is_true(json_object_get(report, "ok")))
        rig_print(report);
    assert_true(json_is_true(json_object_get(report, "ok")));
    assert_int_equal(rig_number(report, "meter_uj"), r->meter_uj);
    assert_int_equal(rig_number(report, "requests_uj"), r->requests_uj);
    assert_int_equal(rig_number(report, "idle_uj"), r->idle_uj);
    assert_int_equal(rig_number(report, "unattributed_uj"), r->unattributed_uj);
    json_decref(report);
}

static inline void rig_sql(rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    vd_err err = {0};
    assert_int_equal(vd_db_open(r->path, false, &db, &err), VD_OK);
    vd_status st = vd_db_run(db, sql, &err);
    if (st != VD_OK)
        print_error("%s: %s\n", sql, err.message);
    assert_int_equal(st, VD_OK);
    vd_db_close(db);
}

static inline int64_t rig_count(rig *r, const char *sql)
{
    sqlite3 *db = NULL;
    vd_err err = {0};
    int64_t n = 0;
    assert_int_equal(vd_db_open(r->path, true, &db, &err), VD_OK);
    assert_int_equal(vd_db_number(db, sql, &n, &err), VD_OK);
    vd_db_close(db);
    return n;
}

#endif
