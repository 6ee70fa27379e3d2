/*
 * fuzz_record.c - libFuzzer target for what `verdant report` and `bench --trace` read: a run record
 * (JSON), or, where the first byte is no brace, a trace of requests (CSV).
 *
 * Whatever the bytes: a refusal with a message, or a record whose report against another is JSON
 * with a page of sound size and no false "no difference", or a trace in order and within a year.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "report/compare.h"
#include "report/page.h"
#include "report/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What stands for the other side: the record with every joule a tenth higher. */
static json_t *other_of(const json_t *json)
{
    json_t *copy = json_deep_copy(json), *sample;
    size_t i;
    json_array_foreach(json_object_get(copy, "samples"), i, sample)
    {
        json_t *object[3] = {sample, json_object_get(sample, "prefill"),
                             json_object_get(sample, "decode")};
        for (int k = 0; k < 3; k++) {
            double joules = json_number_value(json_object_get(object[k], "joules"));
            if (joules > 0)
                json_object_set_new(object[k], "joules", json_real(joules * 1.1));
        }
    }
    return copy;
}

static void check_comparisons(const json_t *report)
{
    const json_t *c;
    size_t i;
    json_array_foreach(json_object_get(report, "comparisons"), i, c)
    {
        double low = json_number_value(json_object_get(c, "low"));
        double high = json_number_value(json_object_get(c, "high"));
        const char *verdict = json_string_value(json_object_get(c, "verdict"));
        bool same = strcmp(verdict, "no difference") == 0;
        bool apart = strcmp(verdict, "better") == 0 || strcmp(verdict, "worse") == 0;
        require(!same || (low <= 1 && high >= 1));
        require(!apart || (isfinite(low) && isfinite(high) && low <= high));
        require(!apart || low > 1 || high < 1);
    }
}

static void check_report(const vd_run *a, const vd_run *b)
{
    json_t *report = NULL;
    vd_err err = {0};
    vd_report_options options = {0};
    if (vd_report_make(a, b, &options, &report, &err) != VD_OK) {
        require(err.message[0] != '\0' && err.status != VD_ERR_NOMEM);
        return;
    }
    vd_buf page;
    vd_buf_init(&page, VD_REPORT_PAGE_MAX);
    check_comparisons(report);
    vd_report_page(report, &page);
    require(vd_buf_status(&page, "the page", NULL) == VD_OK || a->n_samples > 1000);
    vd_buf_done(&page);
    json_decref(report);
}

static void check_record(const char *text, size_t n)
{
    vd_err err = {0};
    vd_run a, b;
    json_t *json = NULL;
    if (vd_json_parse(text, n, &json, &err) != VD_OK)
        return;
    if (vd_run_parse(json, &a, &err) != VD_OK) {
        require(err.message[0] != '\0');
        json_decref(json);
        return;
    }
    json_t *again = vd_run_json(&a), *copy = other_of(json);
    require(again != NULL && copy != NULL);
    if (vd_run_parse(copy, &b, NULL) == VD_OK) {
        check_report(&a, &b);
        vd_run_done(&b);
    }
    json_decref(copy);
    json_decref(again);
    json_decref(json);
    vd_run_done(&a);
}

static void check_trace(const char *text, size_t n)
{
    char *copy = NULL;
    vd_err err = {0};
    vd_trace trace;
    vd_trace_options options = {.n_clients = 3};
    if (vd_alloc_array(n + 1, 1, "a copy", &copy, &err) != VD_OK)
        return;
    memcpy(copy, text, n);
    if (vd_trace_parse(copy, n, &options, &trace, &err) == VD_OK) {
        require(trace.n > 0 && trace.request[0].at_s == 0 && vd_trace_longest(&trace) <= 4096);
        for (size_t i = 0; i < trace.n; i++) {
            const vd_trace_request *r = &trace.request[i];
            require(r->prompt_tokens >= 1 && r->answer_tokens >= 1 && r->client < 3);
            require(r->at_s <= 366 * 86400.0 && (i == 0 || r->at_s >= r[-1].at_s));
        }
        vd_trace_done(&trace);
    } else {
        require(err.message[0] != '\0');
    }
    vd_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (size > 0 && text[0] == '{')
        check_record(text, size);
    else
        check_trace(text, size);
    return 0;
}
