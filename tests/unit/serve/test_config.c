/* The configuration: the example is the defaults, and whatever is wrong is said with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "carbon/carbon.h"
#include "serve/config.h"

static vd_status load(const char *text, size_t n, vd_config **ret_config, vd_err *err)
{
    char path[] = "/tmp/verdant-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
    vd_status st = vd_config_load(path, ret_config, err);
    unlink(path);
    return st;
}

/* ---- the example -----------------------------------------------------------------------------*/

static double grams(const vd_hardware *hardware)
{
    return vd_embodied_g(1000000000, hardware);
}

static void the_example_shows_the_defaults(void **state)
{
    vd_err err = {0};
    vd_config *c = NULL;
    assert_int_equal(vd_config_load(EXAMPLE, &c, &err), VD_OK);
    assert_int_equal(c->n_models, 1);

    vd_service_options shown = {.n_models = 1}, meant = {.n_models = 1};
    vd_config_limits_to(c, &shown);
    shown.models[0].engine = vd_config_engine(&c->models[0]);
    vd_service_options_fill(&shown);
    vd_service_options_fill(&meant);

    const vd_server_options *a = &shown.server, *b = &meant.server;
    assert_int_equal(a->max_streams, b->max_streams);
    assert_int_equal(a->max_connections, b->max_connections);
    assert_int_equal(a->body_bytes_max, b->body_bytes_max);
    assert_int_equal(a->bodies_bytes_max, b->bodies_bytes_max);
    assert_int_equal(a->stream_bytes_max, b->stream_bytes_max);
    assert_int_equal(a->max_choices, b->max_choices);
    assert_int_equal(a->head_ns, b->head_ns);
    assert_int_equal(a->body_ns, b->body_ns);
    assert_int_equal(a->idle_ns, b->idle_ns);
    assert_int_equal(a->n_hosts, 0);
    assert_int_equal(shown.drain_ns, meant.drain_ns);
    assert_memory_equal(&shown.models[0].engine, &meant.models[0].engine,
                        sizeof(vd_engine_options));
    assert_true(grams(&shown.hardware) == grams(&meant.hardware));
    /* The command's own defaults. */
    const vd_zone *zone, *world;
    assert_string_equal(c->listen, "127.0.0.1:8080");
    assert_string_equal(c->log_level, "info");
    assert_int_equal(vd_zone_find(c->zone, &zone, &err), VD_OK);
    assert_int_equal(vd_zone_find(NULL, &world, &err), VD_OK);
    assert_ptr_equal(zone, world);
    vd_config_free(c);
}

/* Every key of the example, by its name, is a key of ours: with another value it arrives. */
static void every_key_arrives(void **state)
{
    static const char text[] =
        "listen: '[::1]:9'\nzone: DE\nlog_level: debug\ndrain_seconds: 1\nhosts: [a.example, b]\n"
        "models:\n"
        "  - {name: m, ref: r, ctx_tokens: 2, kv_tokens: 3, max_running: 4, max_waiting: 5,\n"
        "     step_tokens: 6, threads: 7, kv: q8_0, exact: True, no_prefix_cache: TRUE,\n"
        "     speculate: lookup, draft_tokens: 9, step_ms: 10}\n"
        "  - {name: n, ref: s, draft: d}\n"
        "limits: {streams: 8, connections: 9, choices: 10, body_kib: 11, bodies_kib: 12,\n"
        "         stream_kib: 13, head_seconds: 14, body_seconds: 15, idle_seconds: 16}\n"
        "carbon: {provider: csv, zone: X, url: 'http://u', file: f, token_file: t, kind: marginal,\n"
        "         scope: direct, unit: lb/MWh, period_seconds: 18, timeout_seconds: 19, pue: 1.2,\n"
        "         wue_site_l_per_kwh: 0.5, wue_grid_l_per_kwh: 3.1}\n"
        "hardware: {server_kg: 17.5, life_years: 5, reserved_share: 0.25, sockets: 2, ssds: 3,\n"
        "           gpus: 4, gpu: h100}\n";
    vd_err err = {0};
    vd_config *c = NULL;
    assert_int_equal(load(text, strlen(text), &c, &err), VD_OK);
    vd_service_options o = {0};
    vd_config_limits_to(c, &o);
    assert_int_equal(o.server.max_streams, 8);
    assert_int_equal(o.server.max_connections, 9);
    assert_int_equal(o.server.max_choices, 10);
    assert_int_equal(o.server.body_bytes_max, 11 << 10);
    assert_int_equal(o.server.bodies_bytes_max, 12 << 10);
    assert_int_equal(o.server.stream_bytes_max, 13 << 10);
    assert_int_equal(o.server.head_ns, UINT64_C(14000000000));
    assert_int_equal(o.server.body_ns, UINT64_C(15000000000));
    assert_int_equal(o.server.idle_ns, UINT64_C(16000000000));
    assert_int_equal(o.drain_ns, UINT64_C(1000000000));
    assert_int_equal(o.server.n_hosts, 2);
    assert_string_equal(o.server.hosts[1], "b");
    assert_true(o.hardware.server_kg == 17.5 && o.hardware.life_years == 5 &&
                o.hardware.reserved_share == 0.25);
    assert_int_equal(o.parts.n_sockets, 2);
    assert_int_equal(o.parts.n_ssd, 3);
    assert_int_equal(o.parts.n_gpu, 4);
    assert_string_equal(o.parts.gpu, "h100");
    assert_string_equal(o.carbon.name, "csv");
    assert_string_equal(o.carbon.zone, "X");
    assert_string_equal(o.carbon.url, "http://u");
    assert_string_equal(o.carbon.file, "f");
    assert_string_equal(o.carbon.token_file, "t");
    assert_string_equal(o.carbon.kind, "marginal");
    assert_string_equal(o.carbon.scope, "direct");
    assert_string_equal(o.carbon.unit, "lb/MWh");
    assert_int_equal(o.carbon_period_s, 18);
    assert_int_equal(o.carbon.timeout_ms, 19000);
    assert_true(o.site.pue == 1.2 && o.site.wue_site_l_per_kwh == 0.5 &&
                o.site.wue_grid_l_per_kwh == 3.1);
    vd_engine_options e = vd_config_engine(&c->models[0]);
    assert_int_equal(e.ctx_tokens, 2);
    assert_int_equal(e.kv_tokens, 3);
    assert_int_equal(e.max_running, 4);
    assert_int_equal(e.max_waiting, 5);
    assert_int_equal(e.step_tokens, 6);
    assert_int_equal(e.n_threads, 7);
    assert_int_equal(e.speculate, VD_SPECULATE_LOOKUP);
    assert_int_equal(e.draft_tokens, 9);
    assert_int_equal(e.step_ms, 10);
    assert_int_equal(e.kv_type, VD_KV_Q8_0);
    assert_true(e.exact && e.no_prefix_cache);
    assert_string_equal(c->models[1].name, "n");
    e = vd_config_engine(&c->models[1]);
    assert_int_equal(e.speculate, VD_SPECULATE_MODEL);
    assert_string_equal(e.draft_path, "d");
    assert_int_equal(c->models[1].ref_line, 10);
    vd_config_free(c);
}

/* ---- what is wrong ---------------------------------------------------------------------------*/

#define MODEL "models:\n  - name: a\n    ref: b\n"

static const struct {
    const char *text, *place, *words;
} bad[] = {
    {"zone: DE\nlisen: x\n", ":2: lisen: ", "no such key"},
    {"limits:\n  streams: 1\n  strems: 2\n", ":3: limits.strems: ", "no such key"},
    {MODEL "    ctx: 4\n", ":4: models[0].ctx: ", "no such key"},
    {"? [a]\n: b\n", ":1: ", "a key must be a word"},
    {"zone: DE\nzone: FR\n", ":2: zone: ", "second time"},
    {"models:\n  - name: a\n", ":2: models[0]: ", "'ref' is missing"},
    {"models:\n  - ref: a\n", ":2: models[0]: ", "'name' is missing"},
    {"drain_seconds: soon\n", ":1: drain_seconds: ", "whole number from 0, not 'soon'"},
    {"drain_seconds: -1\n", ":1: drain_seconds: ", "not '-1'"},
    {"drain_seconds: 1.5\n", ":1: drain_seconds: ", "not '1.5'"},
    {"drain_seconds: 0x10\n", ":1: drain_seconds: ", "not '0x10'"},
    {"drain_seconds: 010\n", ":1: drain_seconds: ", "not '010'"},
    {"drain_seconds: 99999999999999999999\n", ":1: drain_seconds: ", "whole number"},
    {"drain_seconds: 4294967296\n", ":1: drain_seconds: ", "whole number"},
    {"drain_seconds: [1]\n", ":1: drain_seconds: ", "not a list"},
    {"\nlimits: 3\n", ":2: limits: ", "a group of keys, not a single value"},
    {"limits: [3]\n", ":1: limits: ", "a group of keys, not a list"},
    {"models: x\n", ":1: models: ", "a list, not a single value"},
    {"models: {a: b}\n", ":1: models: ", "a list, not a group of keys"},
    {"models:\n  - x\n", ":2: models[0]: ", "a group of keys"},
    {"models:\n  - name: [a]\n    ref: b\n", ":2: models[0].name: ", "a text, not a list"},
    {MODEL "    kv: maybe\n", ":4: models[0].kv: ", "is 'maybe'"},
    {MODEL "    exact: 1\n", ":4: models[0].exact: ", "true or false, not '1'"},
    {"hardware:\n  life_years: long\n", ":2: hardware.life_years: ", "a number, not 'long'"},
    {"hardware:\n  life_years: .inf\n", ":2: hardware.life_years: ", "not '.inf'"},
    {"hardware:\n  life_years: nan\n", ":2: hardware.life_years: ", "not 'nan'"},
    {"hardware:\n  life_years: 1e999\n", ":2: hardware.life_years: ", "not '1e999'"},
    {"hardware:\n  reserved_share: 1.5\n", ":2: hardware.reserved_share: ", "in 0 to 1"},
    {"carbon:\n  pue: 0.9\n", ":2: carbon.pue: ", "cannot use less"},
    {"carbon:\n  provider: [csv]\n", ":2: carbon.provider: ", "a text"},
    {"hardware:\n  gpu: voodoo\n", ":2: hardware.gpu: ", "h100"},
    {"hardware:\n  gpu: server\n", ":2: hardware.gpu: ", "h100"},
    {"hardware:\n  life_years: 5e-324\n", ":2: hardware.life_years: ", "0.1 or more"},
    {"hardware:\n  reserved_share: 1e-300\n", ":2: hardware.reserved_share: ", "or more"},
    {"carbon:\n  zone: XX\n", ":2: carbon.zone: ", "no grid zone 'XX'"},
    {"carbon:\n  provider: table\n  zone: XX\n", ":3: carbon.zone: ", "no grid zone 'XX'"},
    {"hardware:\n  server_kg: -1\n", ":2: hardware.server_kg: ", "in 0 to 1000000"},
    {"limits:\n  choices: 129\n", ":2: limits.choices: ", "is 129; it must lie in 0 to 128"},
    {"drain_seconds: 86401\n", ":1: drain_seconds: ", "in 0 to 86400"},
    {MODEL "    threads: 257\n", ":4: models[0].threads: ", "in 0 to 256"},
    {MODEL "    max_waiting: 65537\n", ":4: models[0].max_waiting: ", "in 0 to 65536"},
    {MODEL "  - name: a\n    ref: c\n", ":4: models[1].name: ", "models[0] is named 'a' too"},
    {"models:\n  - name: \"a\\nb\"\n    ref: c\n", ":2: models[0].name: ", "no control"},
    {"models:\n  - name: ''\n    ref: c\n", ":2: models[0].name: ", "is empty"},
    {"zone:\n", ":1: zone: ", "has no value"},
    {"zone: ~\n", ":1: zone: ", "has no value"},
    {"limits:\n", ":1: limits: ", "has no value"},
    {"zone: XX\n", ":1: zone: ", "no grid zone 'XX'"},
    {"log_level: loud\n", ":1: log_level: ", "'loud'"},
    {"listen: 8080\n", ":1: listen: ", "'8080' is no address"},
    {"listen: 127.0.0.1:99999\n", ":1: listen: ", "no address"},
    {"listen: '127.0.0.1:'\n", ":1: listen: ", "no address"},
    {"listen: 127.0.0.1:8o\n", ":1: listen: ", "no address"},
    {"listen: example.org:80\n", ":1: listen: ", "give a numeric one"},
    {"hosts: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]\n", ":1: hosts: ", "17 entries; at most 16"},
    {"listen: &x 127.0.0.1:0\nzone: *x\n", ":2: ", "aliases (*x) are not taken"},
    {"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n", ":2: ", "aliases"},
    {"<<: {zone: DE}\n", ":1: <<: ", "no such key"},
    {"zone: DE\n---\nzone: FR\n", ":2: ", "second document"},
    {"models:\n  - name: a\n   ref: b\n", ":3: ", "no valid YAML"},
    {"models:\n\t- name: a\n", ":2: ", "no valid YAML"},
    {"zone: \xff\n", ":1: ", "no valid YAML"},
    {"zone: \"a\\0b\"\n", ":1: zone: ", "must be a text"},
    {"hosts: [[[[[[[[[[]]]]]]]]]]\n", ":1: ", "deeper than 8"},
    {"- a\n", ":1: ", "a group of keys, not a list"},
    {"hello\n", ":1: ", "a group of keys"},
    {"", "", "the file is empty"},
    {"# only a comment\n", "", "the file is empty"},
    {"~\n", "", "the file is empty"},
};

static void what_is_wrong_is_said_with_its_line_and_key(void **state)
{
    for (size_t i = 0; i < VD_COUNT(bad); i++) {
        vd_err err = {0};
        vd_config *c = NULL;
        vd_status st = load(bad[i].text, strlen(bad[i].text), &c, &err);
        if (st != VD_ERR_FORMAT || strncmp(err.message, "/tmp/verdant-config-", 20) != 0 ||
            strncmp(err.message + 26, bad[i].place, strlen(bad[i].place)) != 0 ||
            strstr(err.message, bad[i].words) == NULL)
            fail_msg("%s--> %d \"%s\", not \"%s\" and \"%s\"", bad[i].text, st, err.message,
                     bad[i].place, bad[i].words);
        assert_null(c);
    }
}

static void the_zone_is_the_nearest_word_for_it(void **state)
{
    static const struct {
        const char *text, *option, *code;
    } cases[] = {
        {"drain_seconds: 1\n", NULL, "WORLD"},
        {"zone: DE\n", NULL, "DE"},
        {"zone: DE\n", "FR", "FR"},
        {"carbon: {zone: DE}\n", NULL, "DE"},
        {"zone: FR\ncarbon: {provider: table, zone: DE}\n", NULL, "DE"},
        {"carbon: {zone: DE}\n", "FR", "FR"},
        /* of a live source: what stands in before its first value */
        {"carbon: {provider: electricitymaps, zone: DE}\n", NULL, "DE"},
        {"zone: FR\ncarbon: {provider: electricitymaps, zone: DE}\n", NULL, "FR"},
        {"carbon: {provider: watttime, zone: CAISO_NORTH}\n", NULL, "WORLD"},
        {"carbon: {provider: uk}\n", NULL, "GB"},
        {"carbon: {provider: uk, zone: '13'}\n", NULL, "GB"},
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        vd_config *c = NULL;
        vd_err err = {0};
        const vd_zone *zone = NULL;
        if (load(cases[i].text, strlen(cases[i].text), &c, &err) != VD_OK ||
            vd_config_zone(c, cases[i].option, &zone, &err) != VD_OK)
            fail_msg("%s--> %s", cases[i].text, err.message);
        else if (strcmp(zone->code, cases[i].code) != 0)
            fail_msg("%s--> %s, not %s", cases[i].text, zone->code, cases[i].code);
        vd_config_free(c);
    }
}

static void a_hostile_file_costs_little(void **state)
{
    enum { N = 1 << 20 };
    static const char *const starts[] = {"hosts: [", "{", "hosts: &a [*a,", "zone: '", "# "};
    static const char fills[] = {'[', '{', '*', 'x', 'y'};
    char *text = malloc(N);
    for (size_t i = 0; i < VD_COUNT(starts); i++) {
        vd_err err = {0};
        vd_config *c = NULL;
        memset(text, fills[i], N);
        memcpy(text, starts[i], strlen(starts[i]));
        assert_int_equal(load(text, N, &c, &err), VD_ERR_FORMAT);
    }
    free(text);
}

static void short_memory_is_a_status(void **state)
{
    static const char text[] = "zone: DE\nhosts: [a, b]\n" MODEL "  - {name: c, ref: d}\n";
    vd_config *c = NULL;
    vd_err err = {0};
    for (uint64_t k = 1; c == NULL; k++) {
        vd_alloc_fail_at(k);
        vd_status st = load(text, strlen(text), &c, &err);
        vd_alloc_fail_at(0);
        assert_true(c != NULL ? st == VD_OK : st == VD_ERR_NOMEM);
        assert_true(k < 1000);
    }
    assert_string_equal(c->models[1].ref, "d");
    vd_config_free(c);
}

static void addresses_are_split(void **state)
{
    static const struct {
        const char *listen, *host;
        uint16_t port;
    } good[] = {{"127.0.0.1:8080", "127.0.0.1", 8080},
                {"[::1]:80", "::1", 80},
                {"0.0.0.0:0", "0.0.0.0", 0},
                {"localhost:65535", "localhost", 65535}};
    for (size_t i = 0; i < VD_COUNT(good); i++) {
        char *host = NULL;
        uint16_t port = 1;
        assert_int_equal(vd_config_address(good[i].listen, &host, &port, NULL), VD_OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
        vd_free(host);
    }
    static const char *const wrong[] = {"", ":", ":80", "[]:80", "127.0.0.1", "127.0.0.1:-1",
                                        "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:65536",
                                        "127.0.0.1:80 ", "300.0.0.1:80", "[::1:80", "a:80"};
    for (size_t i = 0; i < VD_COUNT(wrong); i++) {
        char *host = NULL;
        uint16_t port = 1;
        assert_int_equal(vd_config_address(wrong[i], &host, &port, NULL), VD_ERR_ARG);
        assert_null(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_shows_the_defaults),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line_and_key),
        cmocka_unit_test(the_zone_is_the_nearest_word_for_it),
        cmocka_unit_test(a_hostile_file_costs_little),
        cmocka_unit_test(short_memory_is_a_status),
        cmocka_unit_test(addresses_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
