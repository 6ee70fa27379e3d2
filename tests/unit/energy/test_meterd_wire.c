/* test_meterd_wire.c - the lines between verdant-meterd and its clients. */
#include "fake_tree.h"

#include "energy/sources/meterd_wire.h"

static void requests_are_whole_lines_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        vd_meterd_request request;
    } cases[] = {
        {"", VD_METERD_MORE},        {"zon", VD_METERD_MORE},
        {"zones", VD_METERD_MORE},   {"zones\n", VD_METERD_ZONES},
        {"read\n", VD_METERD_READ},  {"read\nzones\n", VD_METERD_READ},
        {"\n", VD_METERD_BAD},       {"read \n", VD_METERD_BAD},
        {"READ\n", VD_METERD_BAD},   {" read\n", VD_METERD_BAD},
        {"read\r\n", VD_METERD_BAD}, {"zonesread\n", VD_METERD_BAD},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = 0;
        vd_meterd_request got =
            vd_meterd_request_parse(cases[i].text, strlen(cases[i].text), &length);
        assert_int_equal(got, cases[i].request);
        if (got == VD_METERD_ZONES || got == VD_METERD_READ)
            assert_int_equal(cases[i].text[length - 1], '\n');
    }
    char longest[VD_METERD_REQUEST_MAX];
    size_t length;
    memset(longest, 'r', sizeof(longest));
    assert_int_equal(vd_meterd_request_parse(longest, sizeof(longest) - 1, &length),
                     VD_METERD_MORE);
    assert_int_equal(vd_meterd_request_parse(longest, sizeof(longest), &length), VD_METERD_BAD);
}

static vd_meterd_zone most[VD_RAPL_ZONES_MAX], back[VD_RAPL_ZONES_MAX];
static char text[VD_METERD_REPLY_MAX];

/* As many zones, with names as long, as there can be. */
static void make_most(void)
{
    for (size_t i = 0; i < VD_RAPL_ZONES_MAX; i++) {
        most[i] = (vd_meterd_zone){.range_uj = UINT64_MAX - i, .uj = UINT64_MAX - 3 * i};
        snprintf(most[i].id, sizeof(most[i].id), "%047zu", i);
        snprintf(most[i].name, sizeof(most[i].name), "%031zu", i);
    }
    most[5].error = 2147483647;
    most[5].uj = 0;
}

static void the_longest_replies_fit_and_come_back_as_they_were(void **state)
{
    size_t length = 0, n_zones = 0;
    make_most();
    size_t n = vd_meterd_put_zones(most, VD_RAPL_ZONES_MAX, text);
    assert_true(n < VD_METERD_REPLY_MAX);
    assert_int_equal(vd_meterd_get_zones(text, n, back, &n_zones, &length), VD_METERD_WHOLE);
    assert_int_equal(length, n);
    assert_int_equal(n_zones, VD_RAPL_ZONES_MAX);
    n = vd_meterd_put_reading(most, VD_RAPL_ZONES_MAX, UINT64_MAX, text);
    assert_true(n < VD_METERD_REPLY_MAX);
    assert_int_equal(vd_meterd_get_reading(text, n, back, n_zones, &length), VD_METERD_WHOLE);
    for (size_t i = 0; i < VD_RAPL_ZONES_MAX; i++) {
        assert_string_equal(back[i].id, most[i].id);
        assert_string_equal(back[i].name, most[i].name);
        assert_int_equal(back[i].range_uj, most[i].range_uj);
        assert_int_equal(back[i].uj, most[i].uj);
        assert_int_equal(back[i].error, most[i].error);
    }
}

static void a_reply_in_pieces_is_partial_until_its_last_byte(void **state)
{
    size_t length = 0, n_zones = 0;
    make_most();
    size_t n = vd_meterd_put_zones(most, 3, text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(vd_meterd_get_zones(text, i, back, &n_zones, &length), VD_METERD_PARTIAL);
    assert_int_equal(vd_meterd_get_zones(text, n, back, &n_zones, &length), VD_METERD_WHOLE);
    n = vd_meterd_put_reading(most, 7, 12, text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(vd_meterd_get_reading(text, i, back, 7, &length), VD_METERD_PARTIAL);
    assert_int_equal(vd_meterd_get_reading(text, n, back, 7, &length), VD_METERD_WHOLE);
    assert_int_equal(vd_meterd_get_reading(text, n, back, 6, &length), VD_METERD_MALFORMED);
}

static void what_never_ends_is_malformed(void **state)
{
    size_t length = 0, n_zones = 0;
    memset(text, 'z', sizeof(text));
    assert_int_equal(vd_meterd_get_zones(text, sizeof(text) - 1, back, &n_zones, &length),
                     VD_METERD_PARTIAL);
    assert_int_equal(vd_meterd_get_zones(text, sizeof(text), back, &n_zones, &length),
                     VD_METERD_MALFORMED);
    assert_int_equal(vd_meterd_get_reading(text, sizeof(text), back, 1, &length),
                     VD_METERD_MALFORMED);
}

static void words_have_no_blanks(void **state)
{
    assert_true(vd_meterd_word("intel-rapl:0", 48));
    assert_false(vd_meterd_word("", 48));
    assert_false(vd_meterd_word("package 0", 48));
    assert_false(vd_meterd_word("package\t0", 48));
    assert_false(vd_meterd_word("pack\xc3\xa4ge", 48));
    assert_false(vd_meterd_word("package", 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_whole_lines_and_nothing_else),
        cmocka_unit_test(the_longest_replies_fit_and_come_back_as_they_were),
        cmocka_unit_test(a_reply_in_pieces_is_partial_until_its_last_byte),
        cmocka_unit_test(what_never_ends_is_malformed),
        cmocka_unit_test(words_have_no_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
