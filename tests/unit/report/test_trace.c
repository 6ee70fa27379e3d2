/* test_trace.c - traces of requests: by seed, and from files of another's shape. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "report/trace.h"

static void one_seed_gives_one_trace(void **state)
{
    vd_trace a, b, c;
    vd_trace_options options = {.n_requests = 50, .n_clients = 4, .seed = 7};
    assert_int_equal(vd_trace_make(&options, &a, NULL), VD_OK);
    assert_int_equal(vd_trace_make(&options, &b, NULL), VD_OK);
    options.seed = 8;
    assert_int_equal(vd_trace_make(&options, &c, NULL), VD_OK);
    assert_memory_equal(a.request, b.request, 50 * sizeof(*a.request));
    assert_memory_not_equal(a.request, c.request, 50 * sizeof(*a.request));
    vd_trace_done(&a);
    vd_trace_done(&b);
    vd_trace_done(&c);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void arrivals_are_poisson_and_lengths_lie_around_their_medians(void **state)
{
    enum { N = 20000 };
    static double gap[N - 1], prompt[N];
    vd_trace trace;
    vd_trace_options options = {.n_requests = N, .n_clients = 3, .per_second = 4,
                                .prompt_median = 300, .tokens_max = 1 << 20, .speedup = 2};
    size_t of_client[3] = {0};
    double mean = 0, square = 0;
    assert_int_equal(vd_trace_make(&options, &trace, NULL), VD_OK);
    assert_true(trace.request[0].at_s == 0);
    for (size_t i = 0; i < N; i++) {
        prompt[i] = trace.request[i].prompt_tokens;
        of_client[trace.request[i].client]++;
        if (i > 0)
            gap[i - 1] = trace.request[i].at_s - trace.request[i - 1].at_s;
    }
    for (size_t i = 0; i < N - 1; i++) {
        assert_true(gap[i] >= 0);
        mean += gap[i] / (N - 1);
        square += gap[i] * gap[i] / (N - 1);
    }
    /* Exponential gaps: mean 1/8 s at four a second and twice as fast, deviation the same. */
    assert_true(fabs(mean * 8 - 1) < 0.03);
    assert_true(fabs(sqrt(square - mean * mean) / mean - 1) < 0.05);
    qsort(prompt, N, sizeof(*prompt), by_value);
    assert_true(fabs(prompt[N / 2] / 300 - 1) < 0.04);
    for (size_t i = 0; i < 3; i++)
        assert_true(of_client[i] > N / 3 - 400 && of_client[i] < N / 3 + 400);
    vd_trace_done(&trace);
}

static void long_requests_are_cut_to_fit(void **state)
{
    vd_trace trace;
    vd_trace_options options = {.n_requests = 500, .prompt_median = 1000, .answer_median = 100,
                                .tokens_max = 64};
    assert_int_equal(vd_trace_make(&options, &trace, NULL), VD_OK);
    for (size_t i = 0; i < trace.n; i++)
        assert_true(trace.request[i].prompt_tokens >= 1 && trace.request[i].answer_tokens >= 1);
    assert_true(vd_trace_longest(&trace) <= 64);
    vd_trace_done(&trace);
    options.tokens_max = 1;
    assert_int_equal(vd_trace_make(&options, &trace, NULL), VD_ERR_ARG);
}

static vd_status read_text(const char *text, const vd_trace_options *options, vd_trace *trace,
                           vd_err *err)
{
    char path[] = "/tmp/test_trace_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    vd_status st = vd_trace_read(path, options, trace, err);
    unlink(path);
    return st;
}

static void the_published_shape_is_read(void **state)
{
    vd_trace trace;
    vd_trace_options options = {.speedup = 2, .tokens_max = 8192};
    assert_int_equal(read_text("TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                               "2023-11-16 18:15:46.6805900,374,44\r\n"
                               "2023-11-16 18:15:50.9951690,396,109\r\n"
                               "2023-11-17 00:00:00.6805900,10,1\r\n", &options, &trace, NULL),
                     VD_OK);
    assert_int_equal(trace.n, 3);
    assert_true(trace.request[0].at_s == 0);
    assert_true(fabs(trace.request[1].at_s - 4.314579 / 2) < 1e-5);
    assert_true(fabs(trace.request[2].at_s - 20654.0 / 2) < 1e-5);
    assert_int_equal(trace.request[1].prompt_tokens, 396);
    assert_int_equal(trace.request[1].answer_tokens, 109);
    vd_trace_done(&trace);
    options.n_requests = 1;
    assert_int_equal(read_text("0.5,3,4\n1.5,3,4", &options, &trace, NULL), VD_OK);
    assert_int_equal(trace.n, 1);
    vd_trace_done(&trace);
}

static void what_is_no_trace_is_said_with_its_line(void **state)
{
    static const char *const bad[] = {
        "TIMESTAMP,ContextTokens,GeneratedTokens\n1,2\n", "1,2,3\n2,0,3\n", "1,2,3\n2,3,-1\n",
        "1,2,3\nx,3,1\n", "1,2,3\n0.5,3,1\n", "1,2,3\n2,3,1,9\n", "1,2,3\nnan,3,1\n",
        "1,2,3\n2,3.5,1\n", "1,2,3\n2,99999999999999999999,1\n",
        "1,2,3\ninf,3,1\n", "1,2,3\n1e300,3,1\n", "1,2,3\n2023-02-32 00:00:00,3,1\n",
        "1,2,3\n2023-02-01 24:00:00,3,1\n", "1,2,3\n2023-02-01 00:00:inf,3,1\n"};
    vd_trace_options options = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vd_trace trace;
        vd_err err = {0};
        assert_int_equal(read_text(bad[i], &options, &trace, &err), VD_ERR_FORMAT);
        if (strstr(err.message, "line 2") == NULL)
            fail_msg("'%s': %s", bad[i], err.message);
    }
    vd_trace trace;
    vd_err err = {0};
    assert_int_equal(read_text("", &options, &trace, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_trace_read("/nowhere/t.csv", &options, &trace, &err), VD_ERR_NOT_FOUND);
}

static void a_trace_that_nobody_can_wait_for_is_refused(void **state)
{
    vd_trace trace;
    vd_err err = {0};
    vd_trace_options options = {.per_second = 1e-6, .speedup = 1e-6};
    assert_int_equal(vd_trace_make(&options, &trace, &err), VD_ERR_LIMIT);
    assert_non_null(strstr(err.message, "366"));
    options = (vd_trace_options){0};
    assert_int_equal(read_text("0,1,1\n40000000,1,1\n", &options, &trace, &err), VD_ERR_LIMIT);
    options.speedup = 2;
    assert_int_equal(read_text("0,1,1\n40000000,1,1\n", &options, &trace, &err), VD_OK);
    vd_trace_done(&trace);
}

static void a_zero_byte_is_no_end_and_a_byte_order_mark_no_text(void **state)
{
    vd_trace trace;
    vd_err err = {0};
    vd_trace_options options = {0};
    char cut[] = "0,1,1\n\0,1,1\n";
    assert_int_equal(vd_trace_parse(cut, sizeof(cut) - 1, &options, &trace, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "byte 6"));
    assert_int_equal(read_text("\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\n3,1,1\n",
                               &options, &trace, NULL), VD_OK);
    assert_int_equal(trace.n, 1);
    vd_trace_done(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_gives_one_trace),
        cmocka_unit_test(arrivals_are_poisson_and_lengths_lie_around_their_medians),
        cmocka_unit_test(long_requests_are_cut_to_fit),
        cmocka_unit_test(the_published_shape_is_read),
        cmocka_unit_test(what_is_no_trace_is_said_with_its_line),
        cmocka_unit_test(a_trace_that_nobody_can_wait_for_is_refused),
        cmocka_unit_test(a_zero_byte_is_no_end_and_a_byte_order_mark_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
