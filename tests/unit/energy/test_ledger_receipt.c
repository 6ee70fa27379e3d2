/* test_ledger_receipt.c - a receipt holds, and any changed byte of it is found. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "energy/ledger/entry.h"
#include "energy/ledger/receipt.h"
#include "ledger_rig.h"

static vd_receipt_key *make_key(rig *r)
{
    vd_receipt_key *key = NULL;
    vd_err err = {0};
    vd_status st = vd_receipt_key_open(r->folder, true, &key, &err);
    if (st != VD_OK)
        print_error("%s\n", err.message);
    assert_int_equal(st, VD_OK);
    return key;
}

static vd_entry some_entry(void)
{
    vd_entry e = {.id = "req_1",
                  .body_id = "chatcmpl-1",
                  .model = "tiny \"é\"",
                  .kind = "chat",
                  .begin_ns = INT64_C(1795818878123456789),
                  .end_ns = INT64_C(1795818879123456789),
                  .n_sequences = 2,
                  .prompt_tokens = 5,
                  .completion_tokens = 9,
                  .energy = rig_energy(123456789, true),
                  .pue = 1.2,
                  .operational_ug = 11.25,
                  .embodied_ug = 3.5,
                  .intensity = {.g_per_kwh = 344.25, .zone = "DE", .kind = "average"}};
    return e;
}

static char *some_receipt(const vd_receipt_key *key)
{
    vd_entry e = some_entry();
    vd_err err = {0};
    char *text = NULL;
    json_t *payload = vd_entry_payload(&e);
    assert_non_null(payload);
    assert_int_equal(vd_receipt_sign(key, payload, &text, &err), VD_OK);
    json_decref(payload);
    return text;
}

static vd_status verify(const char *text, const char *key)
{
    json_t *payload = NULL;
    vd_status st = vd_receipt_verify(text, strlen(text), key, &payload, NULL);
    json_decref(payload);
    return st;
}

static void every_changed_byte_is_found(void **state)
{
    rig r;
    rig_make(&r);
    vd_receipt_key *key = make_key(&r);
    char *text = some_receipt(key);
    size_t n = strlen(text);
    assert_int_equal(verify(text, NULL), VD_OK);
    assert_int_equal(verify(text, vd_receipt_key_public(key)), VD_OK);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            text[i] ^= (char)(1 << bit);
            json_t *payload = NULL;
            if (vd_receipt_verify(text, n, NULL, &payload, NULL) == VD_OK)
                fail_msg("byte %zu, bit %d: %s", i, bit, text);
            text[i] ^= (char)(1 << bit);
        }
    for (size_t i = 0; i < n; i++) { /* cut short, and a byte less */
        char *shorter = vd_strndup(text, n);
        memmove(shorter + i, shorter + i + 1, n - i);
        assert_int_not_equal(verify(shorter, NULL), VD_OK);
        shorter[i] = '\0';
        assert_int_not_equal(verify(shorter, NULL), VD_OK);
        vd_free(shorter);
    }
    vd_free(text);
    vd_receipt_key_close(key);
    rig_done(&r);
}

static void another_key_is_another_signer(void **state)
{
    rig a, b;
    rig_make(&a);
    rig_make(&b);
    vd_receipt_key *mine = make_key(&a), *theirs = make_key(&b);
    char *text = some_receipt(mine);
    assert_string_not_equal(vd_receipt_key_public(mine), vd_receipt_key_public(theirs));
    assert_int_equal(verify(text, vd_receipt_key_public(theirs)), VD_ERR_FORMAT);
    assert_int_equal(verify(text, "short"), VD_ERR_FORMAT);
    /* Whitespace between is the sender's business. */
    json_t *loose = json_loads(text, 0, NULL);
    char *spaced = json_dumps(loose, JSON_INDENT(2));
    assert_int_equal(verify(spaced, vd_receipt_key_public(mine)), VD_OK);
    vd_free(spaced);
    json_decref(loose);
    vd_free(text);
    vd_receipt_key_close(mine);
    vd_receipt_key_close(theirs);
    rig_done(&a);
    rig_done(&b);
}

static void the_key_is_kept_and_is_nobody_elses(void **state)
{
    rig r;
    char path[128];
    struct stat about;
    vd_err err = {0};
    vd_receipt_key *again = NULL;
    rig_make(&r);
    assert_int_equal(vd_receipt_key_open(r.folder, false, &again, &err), VD_ERR_NOT_FOUND);
    vd_receipt_key *key = make_key(&r);
    snprintf(path, sizeof(path), "%s/receipt.key", r.folder);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(vd_receipt_key_open(r.folder, true, &again, &err), VD_OK);
    assert_string_equal(vd_receipt_key_public(key), vd_receipt_key_public(again));
    vd_receipt_key_close(again);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(vd_receipt_key_open(r.folder, true, &again, &err), VD_ERR_PERM);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *file = fopen(path, "w");
    fputs("no key\n", file);
    fclose(file);
    assert_int_equal(vd_receipt_key_open(r.folder, true, &again, &err), VD_ERR_FORMAT);
    assert_null(strstr(err.message, "no key\n"));
    /* Nobody writes to this pipe, and a service starts all the same. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(vd_receipt_key_open(r.folder, true, &again, &err), VD_ERR_FORMAT);
    vd_receipt_key_close(key);
    rig_done(&r);
}

/* Of several processes that make a key at once, all get the same. */
static void a_key_that_many_make_is_one(void **state)
{
    rig r;
    int from[2];
    char seen[8][48];
    rig_make(&r);
    assert_int_equal(pipe(from), 0);
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            vd_receipt_key *key = NULL;
            if (vd_receipt_key_open(r.folder, true, &key, NULL) != VD_OK)
                _exit(1);
            _exit(write(from[1], vd_receipt_key_public(key), 44) != 44);
        }
    for (int i = 0; i < 8; i++) {
        int status = 1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
        assert_int_equal(read(from[0], seen[i], 44), 44);
        seen[i][44] = '\0';
        assert_string_equal(seen[i], seen[0]);
    }
    close(from[0]);
    close(from[1]);
    rig_done(&r);
}

static void a_number_that_is_not_whole_is_not_signed(void **state)
{
    static const char *const bad[] = {"{\"a\":1.5}", "{\"a\":[{\"b\":1e3}]}",
                                      "{\"a\":9007199254740992}", "{\"a\":\"\\n\"}", "[1]"};
    rig r;
    rig_make(&r);
    vd_receipt_key *key = make_key(&r);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *text = NULL;
        json_t *payload = json_loads(bad[i], 0, NULL);
        assert_int_equal(vd_receipt_sign(key, payload, &text, NULL), VD_ERR_ARG);
        json_decref(payload);
    }
    vd_receipt_key_close(key);
    rig_done(&r);
}

static void an_entry_is_found_by_both_its_ids(void **state)
{
    rig r;
    sqlite3 *db = NULL;
    vd_err err = {0};
    vd_entry a, b;
    json_t *list = NULL;
    rig_make(&r);
    rig_open(&r);
    uint64_t number = 0;
    for (int i = 0; i < 5; i++)
        number = rig_request(&r, 3, true);
    rig_flush(&r);
    assert_int_equal(number, 5);
    assert_int_equal(vd_db_open(r.path, true, &db, &err), VD_OK);
    assert_int_equal(vd_entry_find(db, "req_5", &a, &err), VD_OK);
    assert_int_equal(vd_entry_find(db, "chatcmpl-5", &b, &err), VD_OK);
    assert_int_equal(a.number, 5);
    assert_int_equal(b.number, 5);
    assert_int_equal(a.energy.total_uj, a.energy.active_uj + a.energy.idle_share_uj);
    assert_int_equal(a.n_sequences, 3);
    assert_string_equal(a.energy.method, "rapl");
    assert_int_equal(vd_entry_sequences(db, &a, &list, &err), VD_OK);
    assert_int_equal(json_array_size(list), 3);
    uint64_t sum = 0;
    for (size_t i = 0; i < 3; i++)
        sum += (uint64_t)json_integer_value(
            json_object_get(json_array_get(list, i), "total_uj"));
    assert_int_equal(sum, a.energy.total_uj);
    json_decref(list);
    assert_int_equal(vd_entry_find(db, "req_6", &a, &err), VD_ERR_NOT_FOUND);
    assert_int_equal(vd_entry_find(db, "", &a, &err), VD_ERR_NOT_FOUND);
    vd_db_close(db);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(another_key_is_another_signer),
        cmocka_unit_test(the_key_is_kept_and_is_nobody_elses),
        cmocka_unit_test(a_key_that_many_make_is_one),
        cmocka_unit_test(a_number_that_is_not_whole_is_not_signed),
        cmocka_unit_test(an_entry_is_found_by_both_its_ids),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
