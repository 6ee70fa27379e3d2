/* test_ledger_faults.c - memory and disk that fail at any moment: no sum is lost, nothing
 * breaks. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "energy/ledger/entry.h"
#include "energy/ledger/receipt.h"
#include "energy/ledger/schema.h"
#include "energy/ledger/sums.h"
#include "fault_vfs.h"
#include "ledger_rig.h"
#include "sanitizer.h"

enum { ROUNDS_MAX = 20000 };
/* Between the places of failures. TSan looks at what two threads touch: a fifth of the places, and
 * of its minute. */
enum { APART = SANITIZED_THREADS ? 5 : 1 };

static void rig_open_options(rig *r)
{
    r->options.path = r->path;
    r->options.max_windows = 64;
    r->options.flush_ns = r->options.idle_ns = 3600 * SECOND; /* only when it is asked to */
}

/* The k-th operation on a file fails, for every k, once (an error) or from then on (a full disk);
 * then the disk is well again, and all of it is in the books. */
static void any_failed_write_is_made_good(void **state)
{
    static const struct {
        int code;
        bool stays;
    } kinds[] = {{SQLITE_IOERR_WRITE, false}, {SQLITE_FULL, true}, {SQLITE_IOERR_FSYNC, true}};
    size_t n_failed = 0;
    for (size_t kind = 0; kind < 3; kind++) {
        long k = 1;
        for (bool hit = true; hit && k < ROUNDS_MAX; k += APART) {
            rig r;
            vd_err err = {0};
            rig_make(&r);
            r.options.lazy = true;
            rig_open_options(&r);
            fault_set(k, kinds[kind].code, kinds[kind].stays);
            vd_status st = vd_ledger_open(&r.options, &r.ledger, &err);
            if (st != VD_OK) { /* refused, said, and nothing is held */
                fault_set(0, 0, false);
                r.ledger = NULL;
                rig_open(&r);
                hit = true;
            } else {
                r.now_ns = vd_now_ns();
                r.next_id = 1;
            }
            for (int i = 0; i < 3; i++) {
                rig_request(&r, 2, i != 1);
                n_failed += vd_ledger_flush(r.ledger, 20 * SECOND, &err) != VD_OK;
            }
            hit = hit && (st != VD_OK || atomic_load(&fault_hits) > 0);
            fault_set(0, 0, false);
            rig_request(&r, 1, true);
            rig_flush(&r);
            rig_sound(&r);
            vd_ledger_close(r.ledger);
            r.ledger = NULL;
            rig_sound(&r);
            rig_done(&r);
        }
        assert_true(k > 10 && k < ROUNDS_MAX);
    }
    assert_true(n_failed > 100 / APART);
}

/* The k-th allocation fails, while opening and while writing (SQLite takes its memory from us). */
static void any_failed_allocation_is_made_good(void **state)
{
    for (int phase = 0; phase < 2; phase++) {
        bool reached = true; /* some failures SQLite lives with */
        size_t n_failed = 0;
        uint64_t k = 1;
        for (; reached && k < ROUNDS_MAX; k += APART + k / 100) {
            rig r;
            vd_err err = {0};
            rig_make(&r);
            rig_open_options(&r);
            uint64_t live = vd_alloc_stats_get().n_live;
            if (phase == 0) {
                uint64_t before = vd_alloc_stats_get().n_calls;
                vd_alloc_fail_at(k);
                vd_status st = vd_ledger_open(&r.options, &r.ledger, &err);
                vd_alloc_fail_at(0);
                reached = vd_alloc_stats_get().n_calls - before >= k;
                n_failed += st != VD_OK;
                if (st != VD_OK) {
                    assert_int_equal(st, VD_ERR_NOMEM);
                    assert_int_equal(vd_alloc_stats_get().n_live, live);
                    r.ledger = NULL;
                    rig_open(&r);
                }
                r.now_ns = vd_now_ns();
                r.next_id = 1;
                rig_request(&r, 2, true);
            } else {
                rig_open(&r);
                rig_request(&r, 2, true);
                uint64_t before = vd_alloc_stats_get().n_calls;
                vd_alloc_fail_at(k);
                vd_status st = vd_ledger_flush(r.ledger, 20 * SECOND, &err);
                vd_alloc_fail_at(0);
                reached = vd_alloc_stats_get().n_calls - before >= k;
                n_failed += st != VD_OK;
                if (st != VD_OK)
                    assert_int_equal(st, VD_ERR_NOMEM);
            }
            rig_flush(&r);
            rig_sound(&r);
            rig_done(&r);
        }
        assert_true(n_failed >= (phase == 0 ? 10 / APART : 1) && k < ROUNDS_MAX);
    }
}

static vd_status audit_once(rig *r, vd_err *err)
{
    json_t *report = NULL;
    vd_status st = vd_audit_run(&(vd_audit_options){.path = r->path}, &report, err);
    assert_true(st != VD_OK || json_is_true(json_object_get(report, "ok")));
    json_decref(report);
    return st;
}

static vd_status sum_once(rig *r, vd_err *err)
{
    sqlite3 *db = NULL;
    json_t *sums = NULL;
    vd_status st = vd_db_open(r->path, true, &db, err);
    if (st == VD_OK)
        st = vd_sums_run(db, 0, 0, NULL, VD_SUMS_HOUR, &sums, err);
    assert_true(st != VD_OK || rig_number(sums, "meter_uj") == r->meter_uj);
    json_decref(sums);
    vd_db_close(db);
    return st;
}

static vd_status sign_once(rig *r, vd_err *err)
{
    sqlite3 *db = NULL;
    vd_receipt_key *key = NULL;
    vd_entry entry = {0};
    json_t *payload = NULL, *verified = NULL;
    char *text = NULL;
    vd_status st = vd_receipt_key_open(r->folder, true, &key, err);
    if (st == VD_OK)
        st = vd_db_open(r->path, true, &db, err);
    if (st == VD_OK)
        st = vd_entry_find(db, "req_3", &entry, err);
    if (st == VD_OK && (payload = vd_entry_payload(&entry)) == NULL)
        st = VD_ERR_NOMEM;
    if (st == VD_OK)
        st = vd_receipt_sign(key, payload, &text, err);
    if (st == VD_OK)
        st = vd_receipt_verify(text, strlen(text), NULL, &verified, err);
    json_decref(payload);
    json_decref(verified);
    vd_free(text);
    vd_receipt_key_close(key);
    vd_db_close(db);
    return st;
}

/* Reading: where memory is short it says so, holds nothing, and never says something else. */
static void readers_with_too_little_memory_say_so(void **state)
{
    vd_status (*const readers[])(rig *, vd_err *) = {audit_once, sum_once, sign_once};
    rig r;
    rig_make(&r);
    rig_open(&r);
    for (int i = 0; i < 5; i++)
        rig_request(&r, 2, true);
    rig_flush(&r);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        vd_err err = {0};
        assert_int_equal(readers[i](&r, &err), VD_OK);
        uint64_t live = vd_alloc_stats_get().n_live, n_failed = 0;
        bool reached = true;
        for (uint64_t k = 1; reached; k += APART + k / 100) { /* some failures SQLite lives with */
            uint64_t before = vd_alloc_stats_get().n_calls;
            vd_alloc_fail_at(k);
            vd_status st = readers[i](&r, &err);
            reached = vd_alloc_stats_get().n_calls - before >= k;
            vd_alloc_fail_at(0);
            if (st != VD_OK && st != VD_ERR_NOMEM)
                fail_msg("reader %zu, allocation %llu: %s", i, (unsigned long long)k, err.message);
            assert_int_equal(vd_alloc_stats_get().n_live, live);
            n_failed += st != VD_OK;
        }
        assert_true(n_failed > 10 / APART);
    }
    rig_done(&r);
}

/* A file system that is really full (a small tmpfs), where we may mount one. */
static void a_full_file_system_is_waited_for(void **state)
{
    rig r;
    char big[128];
    rig_make(&r);
    if (mount("none", r.folder, "tmpfs", 0, "size=1m") != 0) {
        rig_done(&r);
        skip();
    }
    r.options.flush_ns = r.options.idle_ns = 3600 * SECOND;
    rig_open(&r);
    rig_request(&r, 2, true);
    rig_flush(&r);
    snprintf(big, sizeof(big), "%s/big", r.folder);
    int fd = open(big, O_WRONLY | O_CREAT, 0600);
    char page[4096] = {1};
    while (write(fd, page, sizeof(page)) == (ssize_t)sizeof(page))
        ;
    vd_err err = {0};
    for (int i = 0; i < 40; i++)
        rig_request(&r, 4, i % 2 == 0);
    assert_int_equal(vd_ledger_flush(r.ledger, 20 * SECOND, &err), VD_ERR_IO);
    vd_ledger_stats stats;
    vd_ledger_stats_get(r.ledger, &stats);
    assert_true(stats.n_failures > 0 && stats.failure[0] != '\0');
    close(fd);
    assert_int_equal(unlink(big), 0);
    rig_flush(&r);
    rig_sound(&r);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    rig_sound(&r);
    assert_int_equal(umount(r.folder), 0);
    rig_done(&r);
}

/* An auditor's copy lies where nothing can be written. */
static void a_file_on_a_read_only_place_is_audited(void **state)
{
    rig r;
    char folder[64];
    rig_make(&r);
    if (mount("none", r.folder, "tmpfs", 0, "size=4m") != 0) {
        rig_done(&r);
        skip();
    }
    snprintf(folder, sizeof(folder), "%s", r.folder);
    snprintf(r.path, sizeof(r.path), "%s/a %%41?#.db", folder); /* a name that an URI would read */
    rig_open(&r);
    for (int i = 0; i < 5; i++)
        rig_request(&r, 2, true);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    assert_int_equal(mount("none", folder, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=4m"), 0);
    rig_sound(&r);
    assert_int_equal(umount(folder), 0);
    rig_done(&r);
}

/* ---- many threads ----------------------------------------------------------------------------*/

typedef struct teller {
    rig *r;
    pthread_mutex_t *account; /* as the account's lock would */
    int n;
} teller;

static void *tell(void *arg)
{
    teller *t = arg;
    for (int i = 0; i < t->n; i++) {
        pthread_mutex_lock(t->account);
        rig_request(t->r, 1 + (size_t)i % 4, i % 3 != 0);
        pthread_mutex_unlock(t->account);
    }
    return NULL;
}

static void *look(void *arg)
{
    teller *t = arg;
    for (int i = 0; i < t->n; i++) {
        vd_ledger_stats stats;
        vd_ledger_stats_get(t->r->ledger, &stats);
        assert_int_equal(vd_ledger_flush(t->r->ledger, 20 * SECOND, NULL), VD_OK);
        json_t *report = rig_audit(t->r);
        assert_true(json_is_true(json_object_get(report, "ok")));
        json_decref(report);
    }
    return NULL;
}

static void many_threads_tell_and_look_at_once(void **state)
{
    rig r;
    pthread_t thread[5];
    pthread_mutex_t account = PTHREAD_MUTEX_INITIALIZER;
    rig_make(&r);
    r.options.flush_ns = SECOND / 100;
    rig_open(&r);
    teller tellers[5];
    for (int i = 0; i < 5; i++) {
        tellers[i] = (teller){&r, &account, i < 3 ? 150 : 20};
        assert_int_equal(pthread_create(&thread[i], NULL, i < 3 ? tell : look, &tellers[i]), 0);
    }
    for (int i = 0; i < 5; i++)
        pthread_join(thread[i], NULL);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    rig_sound(&r);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_failed_write_is_made_good),
        cmocka_unit_test(any_failed_allocation_is_made_good),
        cmocka_unit_test(readers_with_too_little_memory_say_so),
        cmocka_unit_test(a_full_file_system_is_waited_for),
        cmocka_unit_test(a_file_on_a_read_only_place_is_audited),
        cmocka_unit_test(many_threads_tell_and_look_at_once),
    };
    sqlite3 *db = NULL;
    vd_json_init();
    /* SQLite is set up by the first connection, and only then a layer may be put on it. */
    if (vd_db_open(":memory:", false, &db, NULL) != VD_OK)
        return 1;
    vd_db_close(db);
    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
