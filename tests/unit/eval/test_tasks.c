/* test_tasks.c - questions with choices: every shape, what is refused and where, the draw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bzlib.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/json.h"
#include "eval/bunzip.h"
#include "eval/tasks.h"

static const char questions[] =
    "{\"question\":\"a\",\"choices\":[\"b\",\"c\",\"d\"],\"answer\":2,\"other\":[]}\n"
    "  \r\n"
    "{\"question\":\"e\",\"choices\":[\"f\",\"g\"],\"answer\":0}";
static const char options[] =
    "{\"centerpiece\":\"a\",\"options\":[\"b\",\"c\"],\"correct_options\":[\"A\"],"
    "\"correct_options_idx\":[1]}\n"
    "{\"centerpiece\":\"d\",\"options\":[\"e\",\"f\",\"g\"],\"correct_options\":[\"A\",\"C\"]}\n";
static const char hellaswag[] = "ctx\r\n3\na\nb\nc\nd\nctx 2\n0\ne\nf\n\nh\n\n";

static vd_task_set parse(const char *text)
{
    vd_task_set set = {0};
    vd_err err = {0};
    if (vd_task_set_parse("f", text, strlen(text), &set, &err) != VD_OK)
        fail_msg("%s", err.message);
    return set;
}

static void every_shape_is_recognized_by_itself(void **state)
{
    vd_task_set set = parse(questions);
    assert_int_equal(set.shape, VD_TASK_SHAPE_QUESTION);
    assert_int_equal(set.n, 2);
    assert_string_equal(set.task[0].question.data, "a");
    assert_int_equal(set.task[0].n_choices, 3);
    assert_string_equal(set.task[0].choice[2].data, "d");
    assert_int_equal(set.task[0].correct, 1 << 2);
    assert_int_equal(set.task[1].line, 3);
    assert_int_equal(set.task[1].correct, 1);
    vd_task_set_done(&set);

    set = parse("\xEF\xBB\xBF{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":1}");
    assert_int_equal(set.shape, VD_TASK_SHAPE_QUESTION);
    assert_string_equal(set.task[0].question.data, "a");
    vd_task_set_done(&set);

    set = parse(options);
    assert_int_equal(set.shape, VD_TASK_SHAPE_OPTIONS);
    assert_int_equal(set.task[0].correct, 1 << 1); /* the number, not the letter */
    assert_int_equal(set.task[1].correct, 1 | 1 << 2);
    vd_task_set_done(&set);

    set = parse(hellaswag);
    assert_int_equal(set.shape, VD_TASK_SHAPE_HELLASWAG);
    assert_int_equal(set.n, 2);
    assert_string_equal(set.task[0].question.data, "ctx");
    assert_int_equal(set.task[0].correct, 1 << 3);
    assert_string_equal(set.task[0].choice[3].data, "d");
    assert_int_equal(set.task[1].line, 7);
    assert_int_equal(set.task[1].choice[2].n, 0);
    assert_string_equal(set.task[1].choice[3].data, "h");
    vd_task_set_done(&set);
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f:1: there is no task"},
        {"\n\n", "f:2: there is no task"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":0}\n\n{\"question\":\n",
         "f:3: bad JSON"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":2}",
         "names choice 2, there are 2"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":-1}", "names choice -1"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":\"0\"}", "\"answer\" must be"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"]}", "\"answer\" must be"},
        {"{\"question\":\"a\",\"choices\":[\"b\",1],\"answer\":0}", "\"choices\"[1] must be"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"\"],\"answer\":0}", "\"choices\"[1] must be"},
        {"{\"question\":\"a\",\"choices\":[\"b\"],\"answer\":0}", "a list of 2 to 64"},
        {"{\"question\":\"a\",\"choices\":{\"b\":1},\"answer\":0}", "a list of 2 to 64"},
        {"{\"question\":\"\",\"choices\":[\"b\",\"c\"],\"answer\":0}", "\"question\" is missing"},
        {"{\"text\":\"a\"}", "\"question\" is missing"},
        {"{\"centerpiece\":1,\"options\":[\"a\",\"b\"]}", "\"centerpiece\" is missing"},
        {"{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"]}", "\"correct_options\" must be"},
        {"{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"],\"correct_options_idx\":[]}",
         "\"correct_options_idx\" must be"},
        {"{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"],\"correct_options\":[\"C\"]}",
         "names choice 2"},
        {"{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"],\"correct_options\":[1]}",
         "\"correct_options\"[0] must be a letter"},
        {"{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"],\"correct_options_idx\":[0,1.5]}",
         "\"correct_options_idx\"[1] must be a number"},
        {"{\"question\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":0}\n"
         "{\"centerpiece\":\"q\",\"options\":[\"a\",\"b\"],\"correct_options\":[\"A\"]}",
         "f:2: this task is of another shape"},
        {"[1]", "f:1: the line under a context"},
        {"ctx\n4\na\nb\nc\nd\n", "f:2: the line under a context"},
        {"ctx\n3\na\nb\nc\n", "f:5: the file ends inside a task"},
        {"ctx\n3\na\nb\nc\nd\nctx\n", "f:7: the line under"},
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        vd_task_set set = {0};
        vd_err err = {0};
        vd_status st = vd_task_set_parse("f", cases[i].text, strlen(cases[i].text), &set, &err);
        if (st != VD_ERR_FORMAT || strstr(err.message, cases[i].message) == NULL)
            fail_msg("case %zu: %s, not %s", i, err.message, cases[i].message);
        assert_null(set.task);
    }
}

static void more_choices_than_bits_are_refused(void **state)
{
    char text[512] = "{\"question\":\"a\",\"answer\":0,\"choices\":[\"x\"";
    size_t n = strlen(text);
    for (int i = 0; i < VD_TASK_CHOICES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ",\"y\"");
    (void)snprintf(text + n, sizeof(text) - n, "]}");
    vd_task_set set = {0};
    assert_int_equal(vd_task_set_parse("f", text, strlen(text), &set, NULL), VD_ERR_FORMAT);
}

/* The first 12 of 60252 / 6 = 10042 numbers that a C++ program (g++ 12, libstdc++) draws with
 * std::mt19937 rng(1) and uniform_int_distribution<size_t>(0, left - 1), each taken out. */
static void the_draw_is_llama_perplexitys(void **state)
{
    static const size_t drawn[] = {
        4187, 10013, 7233, 9363, 1, 1286,
        3036, 10032, 1474, 2371, 927, 3984,
    };
    enum { ALL = 10042 };
    vd_task_set set = {.n = ALL};
    vd_task *task = vd_alloc(ALL * sizeof(*task));
    assert_non_null(task);
    for (size_t i = 0; i < ALL; i++)
        task[i] = (vd_task){.line = i};
    set.task = task;
    vd_task_set_draw(&set, VD_COUNT(drawn));
    assert_int_equal(set.n, VD_COUNT(drawn));
    for (size_t i = 0; i < VD_COUNT(drawn); i++)
        assert_int_equal(set.task[i].line, drawn[i]);
    set.n = ALL;
    vd_task_set_draw(&set, 0); /* all of them: a permutation */
    static bool seen[ALL];
    for (size_t i = 0; i < ALL; i++) {
        assert_false(seen[set.task[i].line]);
        seen[set.task[i].line] = true;
    }
    vd_free(task);
}

static void the_first_are_left(void **state)
{
    vd_task_set set = parse(questions);
    vd_task_set_first(&set, 5);
    assert_int_equal(set.n, 2);
    vd_task_set_first(&set, 0);
    assert_int_equal(set.n, 2);
    vd_task_set_first(&set, 1);
    assert_int_equal(set.n, 1);
    assert_string_equal(set.task[0].question.data, "a");
    vd_task_set_done(&set);
}

static unsigned pack(const char *text, size_t n, char *out, unsigned room)
{
    assert_int_equal(BZ2_bzBuffToBuffCompress(out, &room, (char *)text, (unsigned)n, 1, 0, 0),
                     BZ_OK);
    return room;
}

static void bzip2_is_unpacked_whole_or_refused(void **state)
{
    static char text[200000], packed[400000];
    char *out = NULL;
    size_t n_out = 0;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 23);
    unsigned n = pack(text, sizeof(text), packed, sizeof(packed));
    assert_true(vd_bunzip_is(packed, n));
    assert_false(vd_bunzip_is("BZh", 3));
    n += pack("end", 3, packed + n, (unsigned)sizeof(packed) - n); /* a second stream */
    assert_int_equal(vd_bunzip(packed, n, 1 << 20, &out, &n_out, NULL), VD_OK);
    assert_int_equal(n_out, sizeof(text) + 3);
    assert_memory_equal(out, text, sizeof(text));
    assert_string_equal(out + sizeof(text), "end");
    vd_free(out);

    vd_err err = {0};
    assert_int_equal(vd_bunzip(packed, n, 1000, &out, &n_out, &err), VD_ERR_LIMIT);
    assert_int_equal(vd_bunzip(packed, n / 2, 1 << 20, &out, &n_out, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "cut short"));
    packed[n / 3] ^= 1;
    assert_int_equal(vd_bunzip(packed, n, 1 << 20, &out, &n_out, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "damaged"));
    n = pack("", 0, packed, sizeof(packed));
    assert_int_equal(vd_bunzip(packed, n, 10, &out, &n_out, NULL), VD_OK);
    assert_string_equal(out, "");
    vd_free(out);
}

static void every_failed_allocation_is_survived(void **state)
{
    static const char *const texts[] = {questions, options, hellaswag};
    uint64_t live = vd_alloc_stats_get().n_live;
    for (size_t i = 0; i < VD_COUNT(texts); i++) {
        vd_status st = VD_ERR_NOMEM;
        for (uint64_t k = 1; st != VD_OK; k++) {
            vd_task_set set = {0};
            vd_err err = {0};
            assert_true(k < 200);
            vd_alloc_fail_at(k);
            st = vd_task_set_parse("f", texts[i], strlen(texts[i]), &set, &err);
            vd_alloc_fail_at(0);
            if (st != VD_OK && st != VD_ERR_NOMEM)
                fail_msg("allocation %u: %s", (unsigned)k, err.message);
            vd_task_set_done(&set);
            assert_int_equal(vd_alloc_stats_get().n_live, live);
        }
    }
    char packed[1000];
    unsigned n = pack(questions, sizeof(questions), packed, sizeof(packed));
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        char *out = NULL;
        size_t n_out = 0;
        assert_true(k < 50);
        vd_alloc_fail_at(k);
        st = vd_bunzip(packed, n, 1 << 20, &out, &n_out, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_free(out);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
}

static int begin(void **state)
{
    vd_json_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_recognized_by_itself),
        cmocka_unit_test(what_is_wrong_is_told_with_its_line),
        cmocka_unit_test(more_choices_than_bits_are_refused),
        cmocka_unit_test(the_draw_is_llama_perplexitys),
        cmocka_unit_test(the_first_are_left),
        cmocka_unit_test(bzip2_is_unpacked_whole_or_refused),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
