/* test_template.c - the language of chat templates: statements, expressions, values as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

#include "base/alloc.h"
#include "base/json.h"

static const char variables[] =
    "{\"a\": 1, \"f\": 2.5, \"s\": \"Hello\", \"u\": \"h\\u00e9\\ud83d\\ude00\", \"n\": null,"
    " \"list\": [1, \"two\", 3.0, null, true], \"dict\": {\"k\": 1, \"items\": [2]},"
    " \"tree\": [{\"v\": 1, \"c\": [{\"v\": 2, \"c\": []}]}],"
    " \"people\": [{\"n\": \"bo\", \"age\": 3}, {\"n\": \"Al\", \"age\": 3}, {\"n\": \"cy\", "
    "\"age\": 1}]}";

static const vd_render_options options = {.now_unix = 1773051072}; /* 2026-03-09 10:11:12 UTC */

/* The text, or NULL with *err filled. */
static char *render(const char *source, vd_err *err)
{
    vd_template *tmpl = NULL;
    char *text = NULL;
    size_t n = 0;
    *err = (vd_err){0};
    if (vd_template_parse(source, strlen(source), &tmpl, err) != VD_OK)
        return NULL;
    vd_status st = vd_template_render(tmpl, variables, strlen(variables), &options, &text, &n,
                                      err);
    vd_template_free(tmpl);
    return st == VD_OK ? text : NULL;
}

static void check(const char *source, const char *wanted)
{
    vd_err err;
    char *text = render(source, &err);
    if (text == NULL) {
        fail_msg("%s\n  failed: %s", source, err.message);
        return;
    }
    if (strcmp(text, wanted) != 0)
        fail_msg("%s\n  gave   \"%s\"\n  wanted \"%s\"", source, text, wanted);
    vd_text_free(text);
}

static void check_fails(const char *source, const char *message)
{
    vd_err err;
    char *text = render(source, &err);
    if (text != NULL)
        fail_msg("%s\n  gave \"%s\" instead of an error", source, text);
    if (strstr(err.message, message) == NULL)
        fail_msg("%s\n  said \"%s\", wanted \"%s\"", source, err.message, message);
    assert_int_equal(err.status, VD_ERR_TEMPLATE);
}

static void values_print_as_python_prints_them(void **state)
{
    check("{{ a }} {{ f }} {{ s }} {{ u }} {{ n }} {{ true }} {{ nothing }}",
          "1 2.5 Hello h\xc3\xa9\xf0\x9f\x98\x80 None True ");
    check("{{ list }}{{ dict }}{{ (1,) }}{{ () }}{{ (1, 'x') }}",
          "[1, 'two', 3.0, None, True]{'k': 1, 'items': [2]}(1,)()(1, 'x')");
    check("{{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 0.1 + 0.2 }} {{ 1e300 * 1e10 }}",
          "1e+16 1000000000000000.0 0.0001 1e-05 0.30000000000000004 inf");
    check("{{ ['it\\'s', 'a\"b', \"both'\\\"\", 'n\\n', '\\x01'] }}",
          "[\"it's\", 'a\"b', 'both\\'\"', 'n\\n', '\\x01']");
}

static void white_space_follows_trim_and_lstrip_blocks(void **state)
{
    check("  {% if a %}\nx\n  {% endif %}\ny\n", "x\ny");
    check("x  {%- if a -%}  \n y \n {%- endif %}  z", "xy  z");
    check("  {%+ if a %}x{% endif %}", "  x");
    check("a {#- c -#} b", "ab");
    check("{# c #}\n{{ a }}\n\n", "1\n");
    check("{% raw %}{{ x }}{% endraw %}\n!", "{{ x }}!");
    check("{%- raw -%} {% x {%- endraw -%} !", "{% x!");
    check("a\r\nb\rc", "a\nb\nc");
    check("{% if a +%}\nx{% endif %}", "\nx");
}

static void loops_know_where_they_are(void **state)
{
    check("{% for x in list %}{{ loop.index }}/{{ loop.length }}{{ '' if loop.last else ',' }}"
          "{% endfor %}", "1/5,2/5,3/5,4/5,5/5");
    check("{% for x in [1,2,3] %}[{{ loop.previtem }}{{ x }}{{ loop.nextitem }}]{% endfor %}",
          "[12][123][23]");
    check("{% for k, v in dict.items() %}{{ k }}={{ v }};{% endfor %}", "k=1;items=[2];");
    check("{% for x in range(9) if x % 2 %}{{ loop.index0 }}:{{ x }} {% endfor %}",
          "0:1 1:3 2:5 3:7 ");
    check("{% for x in [] %}x{% else %}none{% endfor %}", "none");
    check("{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}"
          "{% break %}{% endif %}{{ x }}{% endfor %}", "0134");
    check("{% for x in tree recursive %}{{ x.v }}@{{ loop.depth }}{{ loop(x.c) }}{% endfor %}",
          "1@12@2");
    check("{% for x in 'abc' %}{{ loop.cycle('1', '2') }}{{ loop.revindex }}{% endfor %}",
          "132211");
}

static void what_a_loop_sets_stays_in_it(void **state)
{
    check("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "21");
    check("{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}"
          "{{ ns.x }}", "4");
    check("{% for i in [1, 2] %}{{ x }}{% set x = i %}{% endfor %}", "");
    check("{% set a, b = 1, [2] %}{{ a }}{{ b }}", "1[2]");
    check("{% set x %}<{{ a }}>{% endset %}{{ x }}{% set y | upper | trim %} q {% endset %}{{ y }}",
          "<1>Q");
    check("{% with a = 5, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "511");
}

static void macros_take_arguments_as_python_does(void **state)
{
    check("{% macro m(x, y=2, z=x) %}[{{ x }}{{ y }}{{ z }}]{% endmacro %}"
          "{{ m(1) }}{{ m(1, 5) }}{{ m(y=7, x=3) }}{{ m() }}", "[121][151][373][2]");
    check("{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
          "3210");
    check("{% macro v() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, 2, k=3) }}",
          "(1, 2){'k': 3}");
    check("{% macro box() %}<{{ caller('x') }}>{% endmacro %}"
          "{% call(y) box() %}{{ y }}{{ a }}{% endcall %}", "<x1>");
    check("{% filter upper %}a{{ s }}{% endfilter %}", "AHELLO");
    check("{% generation %}g{{ a }}{% endgeneration %}", "g1");
    check_fails("{% macro m(x) %}{% endmacro %}{{ m(1, 2) }}", "not more than 1");
    check_fails("{% macro m(x) %}{% endmacro %}{{ m(q=2) }}", "no keyword argument 'q'");
}

static void operators_follow_python(void **state)
{
    check("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }}",
          "3 -4 2 3.5 1024 0.5");
    check("{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }}",
          "True False True True True");
    check("{{ 1 in list }} {{ 'ell' in s }} {{ 'k' in dict }} {{ 2 not in list }}",
          "True True True True");
    check("{{ a and s }} {{ n or 'x' }} {{ not a }} {{ 0 and nothing.x }}", "Hello x False 0");
    check("{{ s ~ a ~ n }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'x' if false }}",
          "Hello1None abab [1, 2] ");
    check("{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 1 + 2 * 3 }} {{ '%s=%03d' % ('a', 7) }}",
          "4 64 7 a=007");
}

static void items_and_slices_count_characters(void **state)
{
    check("{{ u[1] }} {{ u[-1] }} {{ u[::-1] }} {{ u | length }} {{ s[1:3] }} {{ s[:-1] }}",
          "\xc3\xa9 \xf0\x9f\x98\x80 \xf0\x9f\x98\x80\xc3\xa9h 3 el Hell");
    check("{{ list[1:] }} {{ list[::-2] }} {{ list[99] }} {{ dict['k'] }} {{ dict.zzz }}",
          "['two', 3.0, None, True] [True, 3.0, 1]  1 ");
    check("{{ dict['items'] }} {{ dict.items() | list }} {{ list.0 }}",
          "[2] [('k', 1), ('items', [2])] 1");
}

static void undefined_is_empty_until_it_is_used(void **state)
{
    check("{{ x }}{{ x is defined }}{{ x | default('d') }}{{ x or 1 }}{% for i in x %}{% endfor %}",
          "Falsed1");
    check("{{ dict.x is undefined }}{{ n.x is undefined }}{{ x == y }}", "TrueTrueTrue");
    check_fails("{{ x.y }}", "'x' is undefined");
    check_fails("\n\n{{ dict.x.y }}", "template line 3: a value of type dict has no 'x'");
    check_fails("{{ x + 1 }}", "'x' is undefined");
    check_fails("{{ x() }}", "'x' is undefined");
}

static void nothing_but_data_can_be_reached(void **state)
{
    check("{{ dict.__class__ }}{{ s.__class__ }}{{ list['__len__'] }}", "");
    check_fails("{{ s.__class__.__mro__ }}", "unsafe");
    check_fails("{{ list.append(1) }}", "unsafe");
    check_fails("{{ dict.pop('k') }}", "unsafe");
    check_fails("{% include 'x' %}", "no tag 'include'");
    check_fails("{{ '{0.__class__.__mro__}'.format(s) }}", "unsafe");
}

static void the_templates_own_error_keeps_its_words(void **state)
{
    vd_err err;
    assert_null(render("{{ raise_exception('Roles must \xc3\xa9' ~ a) }}", &err));
    assert_int_equal(err.status, VD_ERR_TEMPLATE);
    assert_string_equal(err.message, "Roles must \xc3\xa9" "1");
    check_fails("{{ raise_exception('') }}", "without words");
    check_fails("{{ raise_exception('\\x00a') }}", "without words");
}

static void the_clock_is_the_callers(void **state)
{
    check("{{ strftime_now('%d %b %Y %H:%M:%S %%') }}", "09 Mar 2026 10:11:12 %");
    check_fails("{{ strftime_now('%Q') }}", "directive");
}

static void json_is_written_as_python_writes_it(void **state)
{
    check("{{ dict | tojson }} {{ u | tojson }} {{ u | tojson(ensure_ascii=true) }}",
          "{\"k\": 1, \"items\": [2]} \"h\xc3\xa9\xf0\x9f\x98\x80\" \"h\\u00e9\\ud83d\\ude00\"");
    check("{{ dict | tojson(indent=2) }}{{ [] | tojson(indent=2) }}",
          "{\n  \"k\": 1,\n  \"items\": [\n    2\n  ]\n}[]");
    check("{{ {1: 'a<b>&\"\\\\\\n', true: none} | tojson(separators=(',', ':')) }}",
          "{\"1\":null}");
    check_fails("{{ nothing | tojson }}", "not JSON serializable");
}

static void errors_name_the_line(void **state)
{
    check_fails("a\n{% if %}", "template line 2");
    check_fails("{{ 'x }}", "a string has no end");
    check_fails("\n{% for x in y %}", "line 2: the template ends before 'else'");
    check_fails("{% endif %}", "no tag 'endif'");
    check_fails("{{ (1 }}", "template line 1");
    check_fails("{{ 1 | nofilter }}", "no filter 'nofilter'");
    check_fails("{{ 9223372036854775807 + 1 }}", "64 bits");
    check_fails("{{ 99999999999999999999 }}", "64-bit");
    check_fails("{% break %}", "inside a loop");
    check_fails("{{ \"\\ud800\" }}", "escape");
    check_fails("{{ f(a=1, a=2) }}", "twice");
    check_fails("{% macro m(a=1, b) %}{% endmacro %}", "default");
}

static bool renders_within(const vd_template *tmpl, size_t max_steps)
{
    vd_render_options few = {.max_steps = max_steps, .now_unix = options.now_unix};
    char *text = NULL;
    size_t n = 0;
    vd_status st = vd_template_render(tmpl, "{}", 2, &few, &text, &n, NULL);
    assert_true(st == VD_OK || st == VD_ERR_LIMIT);
    if (st == VD_OK)
        vd_text_free(text);
    return st == VD_OK;
}

/* Hashes are seeded anew in every render; what a limit allows must not depend on them. */
static void a_render_costs_the_same_every_time(void **state)
{
    static const char source[] = "{{ range(300) | map('string') | unique | list | length }}";
    vd_template *tmpl = NULL;
    assert_int_equal(vd_template_parse(source, sizeof(source) - 1, &tmpl, NULL), VD_OK);
    size_t low = 0, high = 100000;
    assert_true(renders_within(tmpl, high));
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (renders_within(tmpl, middle))
            high = middle;
        else
            low = middle;
    }
    for (int i = 0; i < 20; i++) {
        assert_true(renders_within(tmpl, high));
        assert_false(low > 0 && renders_within(tmpl, low));
    }
    vd_template_free(tmpl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_python_prints_them),
        cmocka_unit_test(white_space_follows_trim_and_lstrip_blocks),
        cmocka_unit_test(loops_know_where_they_are),
        cmocka_unit_test(what_a_loop_sets_stays_in_it),
        cmocka_unit_test(macros_take_arguments_as_python_does),
        cmocka_unit_test(operators_follow_python),
        cmocka_unit_test(items_and_slices_count_characters),
        cmocka_unit_test(undefined_is_empty_until_it_is_used),
        cmocka_unit_test(nothing_but_data_can_be_reached),
        cmocka_unit_test(the_templates_own_error_keeps_its_words),
        cmocka_unit_test(the_clock_is_the_callers),
        cmocka_unit_test(json_is_written_as_python_writes_it),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(a_render_costs_the_same_every_time),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
