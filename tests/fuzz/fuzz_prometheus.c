/*
 * fuzz_prometheus.c - libFuzzer target for pages of metrics (energy/sources/prometheus_text.h). The
 * first line is the query, the rest the page.
 *
 * Whatever the bytes: a value, or a refusal with a message that leaves the result alone. A page in
 * which the query means one series means two when it stands there twice.
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "energy/sources/prometheus_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* In a block of its own, so that a look past the end is seen. */
static vd_status find(const uint8_t *page, size_t n, size_t times, const vd_metric_query *q,
                      vd_metric *metric, vd_err *err)
{
    char *copy = malloc(times * (n + 1));
    require(copy != NULL);
    for (size_t i = 0; i < times; i++) {
        memcpy(copy + i * (n + 1), page, n);
        copy[i * (n + 1) + n] = '\n';
    }
    vd_status st = vd_metric_find(copy, times * (n + 1) - 1, q, metric, err);
    free(copy);
    return st;
}

static void check_page(const uint8_t *page, size_t n, const vd_metric_query *q)
{
    vd_metric once = {.value = -77}, twice = {.value = -77};
    vd_err err = {0};
    vd_status st = find(page, n, 1, q, &once, &err);
    if (st != VD_OK) {
        require(once.value == -77 && err.message[0] != '\0');
        require(st == VD_ERR_NOT_FOUND || st == VD_ERR_FORMAT || st == VD_ERR_ARG);
        return;
    }
    require(memmem(page, n, q->name, strlen(q->name)) != NULL);
    require(find(page, n, 2, q, &twice, &err) == VD_ERR_ARG && twice.value == -77);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char query[512];
    vd_metric_query q;
    size_t taken = 0;
    vd_err err = {0};
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t n = newline != NULL ? (size_t)(newline - data) : size;
    if (n >= sizeof(query))
        return 0;
    if (n > 0)
        memcpy(query, data, n);
    query[n] = '\0';
    if (vd_metric_query_parse(query, &q, &taken, &err) != VD_OK) {
        require(err.message[0] != '\0');
        return 0;
    }
    require(taken > 0 && taken <= strlen(query) && strlen(q.name) > 0);
    if (newline != NULL)
        check_page(newline + 1, size - n - 1, &q);
    return 0;
}
