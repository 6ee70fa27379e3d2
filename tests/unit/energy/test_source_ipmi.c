/*
 * test_source_ipmi.c - a server's power by its management controller, replies played. Their layout:
 * DCMI 1.5 specification, section 6.6.1, "Get Power Reading"; the completion codes: IPMI 2.0, table
 * 5-2. The reply of a controller that does not measure is one that was published (ipmitool raw 0x2c
 * 0x02 0xdc 0x01 0x00 0x00 on an Intel board).
 */
#include "source_test.h"

#include "energy/sources/ipmi.h"
#include "energy/sources/sources.h"

typedef struct player {
    uint8_t reply[64];
    size_t n;
    int failed;
    unsigned n_asked, n_closed;
} player;

static int play(void *ctx, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n,
                uint8_t *reply, size_t size, size_t *ret_n)
{
    static const uint8_t asked[] = {0xdc, 0x01, 0x00, 0x00};
    player *p = ctx;
    p->n_asked++;
    assert_int_equal(netfn, 0x2c);
    assert_int_equal(command, 0x02);
    assert_int_equal(n, sizeof(asked));
    assert_memory_equal(data, asked, n);
    assert_true(p->n <= size);
    memcpy(reply, p->reply, p->n);
    *ret_n = p->n;
    return p->failed;
}

static void close_player(void *ctx)
{
    ((player *)ctx)->n_closed++;
}

static void says_watts(player *p, unsigned watts)
{
    const uint8_t low = (uint8_t)watts, high = (uint8_t)(watts >> 8);
    const uint8_t reply[] = {0x00, 0xdc, low,  high, 0x64, 0x00, 0x90, 0x01, 0xb4, 0x00,
                             0x81, 0x7e, 0x20, 0x53, 0xe8, 0x03, 0x00, 0x00, 0x40};
    memcpy(p->reply, reply, sizeof(reply));
    p->n = sizeof(reply);
    p->failed = 0;
}

static void setup(source_test *t, player *p)
{
    *t = (source_test){0};
    *p = (player){0};
    tree_make(&t->tree);
    says_watts(p, 200);
}

static vd_status open_player(source_test *t, player *p, vd_err *err)
{
    const vd_ipmi_transport transport = {.exchange = play, .close = close_player, .ctx = p};
    vd_source_env env = env_of(t, "");
    return vd_source_ipmi_open_over(&env, &transport, &t->source, err);
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

static void watts_of_the_controller_are_integrated(void **state)
{
    source_test t;
    player p;
    vd_err err = {0};
    setup(&t, &p);
    assert_int_equal(open_player(&t, &p, &err), VD_OK);
    assert_string_equal(t.source.method, "ipmi");
    assert_int_equal(t.source.parts, VD_SOURCE_WHOLE);
    assert_int_equal(t.source.refresh_ns, 2 * SECOND);
    says_watts(&p, 1000); /* both bytes */
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 600000000);
    assert_int_equal(p.n_closed, 0);
    teardown(&t);
    assert_int_equal(p.n_closed, 1);
}

static void what_is_no_reading_is_a_gap(void **state)
{
    static const struct {
        int failed;
        size_t n;
        uint8_t bytes[20];
        const char *why;
    } cases[] = {
        {ETIMEDOUT, 0, {0}, "timed out"},
        {0, 0, {0}, "empty"},
        {0, 1, {0xc0}, "busy"},
        {0, 1, {0xc1}, "no DCMI power reading"},
        {0, 1, {0xd4}, "denies"},
        {0, 1, {0x7f}, "an error"},
        {0, 4, {0x00, 0xdc, 0xc8, 0x00}, "too short"},
        {0, 18, {0x00, 0xdc, 0xc8, 0x00}, "too short"},
        {0, 19, {0x00, 0x52, 0xc8, [18] = 0x40}, "another group"},
        {0, 19, {0x00, 0xdc, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x81, 0x7e, 0x20,
                 0x53, 0xa0, 0x13, 0x29, 0x00, 0x00}, "not active"},
        {0, 19, {0x00, 0xdc, [18] = 0x40}, "says 0 W"},
        {0, 19, {0x00, 0xdc, 0xff, 0xff, [18] = 0x40}, "says 65535 W"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        source_test t;
        player p;
        vd_err err = {0};
        setup(&t, &p);
        assert_int_equal(open_player(&t, &p, &err), VD_OK);
        memcpy(p.reply, cases[i].bytes, sizeof(cases[i].bytes));
        p.n = cases[i].n;
        p.failed = cases[i].failed;
        assert_false(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 0);
        assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
        if (strstr(t.source.last_gap, cases[i].why) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", t.source.last_gap, cases[i].why);
        says_watts(&p, 200);
        assert_false(read_source(&t, SECOND));
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 200000000);
        close_source(&t);

        memcpy(p.reply, cases[i].bytes, sizeof(cases[i].bytes)); /* and at the beginning */
        p.n = cases[i].n;
        p.failed = cases[i].failed;
        assert_int_equal(open_player(&t, &p, &err), VD_ERR_IO);
        assert_non_null(strstr(err.message, cases[i].why));
        assert_int_equal(p.n_closed, 2);
        teardown(&t);
    }
}

static void acpis_power_meter_needs_no_rights_and_goes_first(void **state)
{
    source_test t;
    player p;
    setup(&t, &p);
    put(&t, "class/hwmon/hwmon0/name", "power_meter\n");
    put(&t, "class/hwmon/hwmon0/power1_average", "300000000\n");
    static const char *const specs[] = {"", "acpi"};
    for (size_t i = 0; i < 2; i++) {
        must_open(&t, vd_source_ipmi_open, specs[i]);
        assert_string_equal(t.source.method, "ipmi");
        assert_string_equal(t.source.name, "ipmi: ACPI power meter");
        assert_int_equal(t.source.parts, VD_SOURCE_WHOLE);
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 300000000);
        close_source(&t);
    }
    teardown(&t);
}

static void a_machine_without_a_controller_says_so(void **state)
{
    source_test t;
    player p;
    setup(&t, &p);
    must_fail(&t, vd_source_ipmi_open, "/nonexistent/ipmi0", VD_ERR_NOT_FOUND, "modprobe");
    must_fail(&t, vd_source_ipmi_open, "/dev/null", VD_ERR_IO, "cannot be read");
    must_fail(&t, vd_source_ipmi_open, "bmc", VD_ERR_ARG, "neither acpi nor");
    must_fail(&t, vd_source_ipmi_open, "acpi", VD_ERR_NOT_FOUND, "power_meter");
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    player p;
    setup(&t, &p);
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_status st = VD_ERR_NOMEM;
    for (unsigned k = 1; st != VD_OK; k++) {
        vd_err err = {0};
        vd_alloc_fail_at(k);
        st = open_player(&t, &p, &err);
        vd_alloc_fail_at(0);
        close_source(&t);
        assert_int_equal(p.n_closed, k);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        assert_true(st != VD_OK || k > 2);
    }
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watts_of_the_controller_are_integrated),
        cmocka_unit_test(what_is_no_reading_is_a_gap),
        cmocka_unit_test(acpis_power_meter_needs_no_rights_and_goes_first),
        cmocka_unit_test(a_machine_without_a_controller_says_so),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
