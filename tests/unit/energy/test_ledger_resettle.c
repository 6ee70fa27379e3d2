/* test_ledger_resettle.c - final intensities beside the first ones, and grams anew. */
#include <math.h>

#include "energy/ledger/entry.h"
#include "energy/ledger/resettle.h"
#include "ledger_rig.h"

static vd_ledger_intensity value(double g, bool estimated, const char *version)
{
    int64_t now_s = (int64_t)(vd_wall_ns() / SECOND);
    vd_ledger_intensity v = {.g_per_kwh = g,
                             .from_s = now_s - now_s % 3600 - 3600,
                             .to_s = now_s - now_s % 3600 + 7200,
                             .zone = "DE",
                             .kind = "average",
                             .scope = "lifecycle",
                             .basis = "location",
                             .boundary = "consumption",
                             .source = "a source",
                             .estimated = estimated};
    snprintf(v.version, sizeof(v.version), "%s", version);
    return v;
}

static vd_resettle_done apply(rig *r, const vd_ledger_intensity *values, size_t n)
{
    sqlite3 *db = NULL;
    vd_err err = {0};
    vd_resettle_done done = {0};
    assert_int_equal(vd_db_open(r->path, false, &db, &err), VD_OK);
    vd_status st = vd_resettle_apply(db, 0, 0, values, n, &done, &err);
    if (st != VD_OK)
        print_error("%s\n", err.message);
    assert_int_equal(st, VD_OK);
    vd_db_close(db);
    return done;
}

static vd_entry find(rig *r, const char *id)
{
    sqlite3 *db = NULL;
    vd_err err = {0};
    vd_entry e;
    assert_int_equal(vd_db_open(r->path, true, &db, &err), VD_OK);
    assert_int_equal(vd_entry_find(db, id, &e, &err), VD_OK);
    vd_db_close(db);
    return e;
}

static void fill(rig *r, double g, bool estimated)
{
    vd_ledger_intensity first = value(g, estimated, "v1");
    rig_make(r);
    r->options.pue = 1.5;
    rig_open(r);
    vd_ledger_set_intensity(r->ledger, &first);
    for (int i = 0; i < 12; i++)
        rig_request(r, 1 + (size_t)i % 3, true);
    rig_flush(r);
    rig_sound(r);
}

static void a_final_value_stands_beside_the_first(void **state)
{
    rig r;
    fill(&r, 400, true);
    vd_entry before = find(&r, "req_7");
    assert_false(before.has_final);
    double ug = (double)before.energy.total_uj * 400 / 3.6e6 * 1.5;
    assert_true(fabs(before.operational_ug - ug) < 1e-6 * ug);
    vd_ledger_intensity final = value(300, false, "v2");
    vd_resettle_done done = apply(&r, &final, 1);
    assert_int_equal(done.n_requests, 24);
    assert_true(done.n_shares >= 24);
    assert_true(fabs(done.final_ug / done.first_ug - 0.75) < 1e-9);
    rig_sound(&r);
    vd_entry after = find(&r, "req_7");
    assert_true(after.has_final && after.operational_ug == before.operational_ug);
    assert_true(fabs(after.final_ug / after.operational_ug - 0.75) < 1e-9);
    assert_string_equal(after.final.version, "v2");
    assert_string_equal(after.intensity.version, "v1");
    assert_true(after.intensity.estimated && !after.final.estimated);

    done = apply(&r, &final, 1); /* a second time: nothing */
    assert_int_equal(done.n_shares + done.n_requests, 0);
    assert_int_equal(rig_count(&r, "SELECT count(*) FROM intensity"), 2);
    rig_sound(&r);

    final = value(200, false, "v3"); /* the source has changed its mind */
    done = apply(&r, &final, 1);
    assert_int_equal(done.n_requests, 24);
    after = find(&r, "req_7");
    assert_true(after.operational_ug == before.operational_ug);
    assert_true(fabs(after.final_ug / after.operational_ug - 0.5) < 1e-9);
    rig_sound(&r);

    rig_request(&r, 2, true); /* and the service goes on writing */
    rig_flush(&r);
    rig_sound(&r);
    done = apply(&r, &final, 1);
    assert_int_equal(done.n_requests, 2);
    rig_sound(&r);
    rig_done(&r);
}

static void what_was_no_estimate_or_is_of_another_kind_stays(void **state)
{
    rig r;
    vd_ledger_intensity other[4];
    for (int i = 0; i < 4; i++)
        other[i] = value(300, false, "v2");
    snprintf(other[0].zone, sizeof(other[0].zone), "FR");
    snprintf(other[1].kind, sizeof(other[1].kind), "marginal");
    snprintf(other[2].source, sizeof(other[2].source), "another");
    other[3].estimated = true;
    fill(&r, 400, true);
    assert_int_equal(apply(&r, other, 4).n_shares, 0);
    assert_int_equal(rig_count(&r, "SELECT count(*) FROM intensity"), 1);
    rig_sound(&r);
    rig_done(&r);

    fill(&r, 400, false);
    other[0] = value(300, false, "v2");
    assert_int_equal(apply(&r, other, 1).n_shares, 0);
    rig_sound(&r);
    rig_done(&r);
}

static void what_is_needed_is_told(void **state)
{
    rig r;
    sqlite3 *db = NULL;
    vd_err err = {0};
    vd_resettle_need need;
    fill(&r, 400, true);
    assert_int_equal(vd_db_open(r.path, true, &db, &err), VD_OK);
    assert_int_equal(vd_resettle_look(db, 0, 0, &need, &err), VD_OK);
    assert_true(need.n_shares >= 24 && need.n_open == need.n_shares);
    assert_true(need.from_s > 0 && need.to_s >= need.from_s + 300);
    vd_ledger_intensity final = value(300, false, "v2");
    apply(&r, &final, 1);
    assert_int_equal(vd_resettle_look(db, 0, 0, &need, &err), VD_OK);
    assert_int_equal(need.n_open, 0);
    assert_int_equal(vd_resettle_look(db, 1000, 2000, &need, &err), VD_OK);
    assert_int_equal(need.n_shares, 0);
    vd_db_close(db);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_final_value_stands_beside_the_first),
        cmocka_unit_test(what_was_no_estimate_or_is_of_another_kind_stays),
        cmocka_unit_test(what_is_needed_is_told),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
