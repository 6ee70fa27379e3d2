/* prometheus_text.c - see prometheus_text.h. */
#include "energy/sources/prometheus_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

/* What is left of a line. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static bool is_name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
           (!first && c >= '0' && c <= '9');
}

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

static bool skip_char(cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* A name; empty when there is none. */
static cursor take_name(cursor *c)
{
    cursor name = {.at = c->at, .end = c->at};
    while (c->at < c->end && is_name_char(*c->at, c->at == name.at))
        c->at++;
    name.end = c->at;
    return name;
}

static bool equals(cursor a, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(a.end - a.at) == n && memcmp(a.at, text, n) == 0;
}

/* The next character of a label's value, its escapes undone; false at the closing quote, which is
 * taken, or where the line ends (then *ret_bad). */
static bool take_value_char(cursor *c, char *ret_char, bool *ret_bad)
{
    *ret_bad = c->at == c->end;
    if (*ret_bad)
        return false;
    char one = *c->at++;
    if (one == '"')
        return false;
    if (one == '\\') {
        *ret_bad = c->at == c->end;
        if (*ret_bad)
            return false;
        one = *c->at++;
        *ret_bad = one != '\\' && one != '"' && one != 'n';
        if (*ret_bad)
            return false;
        one = one == 'n' ? '\n' : one;
    }
    *ret_char = one;
    return true;
}

/* label="value" behind the name: whether it is well formed, and whether the value is `wanted`
 * (NULL: any). */
static bool take_label_value(cursor *c, const char *wanted, bool *ret_equal)
{
    size_t n = 0, n_wanted = wanted != NULL ? strlen(wanted) : 0;
    bool bad = false, equal = true;
    char one;
    skip_blanks(c);
    if (!skip_char(c, '='))
        return false;
    skip_blanks(c);
    if (!skip_char(c, '"'))
        return false;
    for (; take_value_char(c, &one, &bad); n++)
        equal &= n < n_wanted && wanted[n] == one;
    *ret_equal = wanted == NULL || (equal && n == n_wanted);
    return !bad;
}

/* {a="1",b="2"} or nothing; false when malformed. *ret_match: all labels of the query are there. */
static bool take_labels(cursor *c, const vd_metric_query *query, bool *ret_match)
{
    unsigned seen = 0;
    *ret_match = query->n_labels == 0;
    skip_blanks(c);
    if (!skip_char(c, '{'))
        return true;
    for (skip_blanks(c); !skip_char(c, '}'); skip_blanks(c)) {
        cursor name = take_name(c);
        size_t which = 0;
        bool equal = false;
        while (which < query->n_labels && !equals(name, query->label[which].name))
            which++;
        bool wanted = which < query->n_labels;
        if (name.at == name.end ||
            !take_label_value(c, wanted ? query->label[which].value : NULL, &equal))
            return false;
        if (wanted && equal)
            seen |= 1u << which;
        skip_blanks(c);
        if (!skip_char(c, ',') && (c->at == c->end || *c->at != '}'))
            return false;
    }
    *ret_match = seen == (1u << query->n_labels) - 1;
    return true;
}

/* A number as Go prints it, up to a blank or the end of the line. */
static bool take_number(cursor *c, double *ret_value)
{
    char text[64], *end = NULL;
    size_t n = 0;
    skip_blanks(c);
    while (c->at < c->end && *c->at != ' ' && *c->at != '\t' && n < sizeof(text) - 1)
        text[n++] = *c->at++;
    text[n] = '\0';
    if (n == 0 || n == sizeof(text) - 1 || memchr(text, '\0', n) != NULL)
        return false;
    *ret_value = strtod(text, &end);
    return *end == '\0';
}

/* The value; behind it a time may stand, and OpenMetrics' exemplar. */
static bool take_sample(cursor *c, double *ret_value)
{
    double time;
    if (!take_number(c, ret_value))
        return false;
    skip_blanks(c);
    if (c->at < c->end && *c->at != '#' && !take_number(c, &time))
        return false;
    skip_blanks(c);
    return c->at == c->end || *c->at == '#';
}

/* "# TYPE name counter"; OpenMetrics leaves the "_total" of the samples out of the name. */
static void take_comment(cursor c, const vd_metric_query *query, vd_metric_type *type)
{
    size_t n = strlen(query->name);
    skip_blanks(&c);
    cursor word = take_name(&c);
    skip_blanks(&c);
    cursor name = take_name(&c);
    size_t n_name = (size_t)(name.end - name.at);
    bool whole = n_name == n, base = n_name + 6 == n && strcmp(query->name + n - 6, "_total") == 0;
    if (!equals(word, "TYPE") || (!whole && !base) || memcmp(name.at, query->name, n_name) != 0)
        return;
    skip_blanks(&c);
    word = take_name(&c);
    *type = equals(word, "counter") ? VD_METRIC_COUNTER
            : equals(word, "gauge") ? VD_METRIC_GAUGE
                                    : VD_METRIC_UNKNOWN;
}

vd_status vd_metric_find(const char *page, size_t n, const vd_metric_query *query,
                         vd_metric *ret_metric, vd_err *err)
{
    vd_metric metric = {.value = 0};
    size_t n_found = 0, line = 0;
    const char *end = page + n;
    if (n > 0 && page[0] == '<')
        return VD_FAIL(err, VD_ERR_FORMAT, "a web page or XML came, not metrics");
    for (const char *at = page; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        cursor c = {.at = at, .end = newline != NULL ? newline : end};
        at = newline != NULL ? newline + 1 : end;
        if (c.end > c.at && c.end[-1] == '\r')
            c.end--;
        skip_blanks(&c);
        if (skip_char(&c, '#')) {
            take_comment(c, query, &metric.type);
            continue;
        }
        bool match = false;
        if (!equals(take_name(&c), query->name))
            continue;
        double value = 0;
        if (!take_labels(&c, query, &match) || !take_sample(&c, &value))
            return VD_FAIL(err, VD_ERR_FORMAT, "line %zu of the metrics is malformed", line + 1);
        if (match) {
            metric.value = value;
            n_found++;
        }
    }
    if (n_found == 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "no metric %s with these labels", query->name);
    if (n_found > 1)
        return VD_FAIL(err, VD_ERR_ARG, "%zu series of %s: name a label, %s{label=\"...\"}",
                       n_found, query->name, query->name);
    *ret_metric = metric;
    return VD_OK;
}

static bool copy_name(cursor name, char out[VD_METRIC_NAME_MAX])
{
    size_t n = (size_t)(name.end - name.at);
    if (n == 0 || n >= VD_METRIC_NAME_MAX)
        return false;
    memcpy(out, name.at, n);
    out[n] = '\0';
    return true;
}

/* label="value" of a query. */
static bool parse_label(cursor *c, vd_metric_query *q)
{
    char *value = q->label[q->n_labels].value;
    size_t n = 0;
    bool bad = false;
    skip_blanks(c);
    if (!copy_name(take_name(c), q->label[q->n_labels].name))
        return false;
    skip_blanks(c);
    if (!skip_char(c, '='))
        return false;
    skip_blanks(c);
    if (!skip_char(c, '"'))
        return false;
    for (char one; take_value_char(c, &one, &bad);) {
        if (n == VD_METRIC_VALUE_MAX - 1 || one == '\0')
            return false;
        value[n++] = one;
    }
    value[n] = '\0';
    q->n_labels++;
    skip_blanks(c);
    return !bad && (skip_char(c, ',') || (c->at < c->end && *c->at == '}'));
}

vd_status vd_metric_query_parse(const char *text, vd_metric_query *ret_query, size_t *ret_n,
                                vd_err *err)
{
    vd_metric_query q = {.n_labels = 0};
    cursor c = {.at = text, .end = text + strlen(text)};
    bool good = copy_name(take_name(&c), q.name);
    if (good && skip_char(&c, '{'))
        while (good && !skip_char(&c, '}'))
            good = q.n_labels < VD_METRIC_LABELS_MAX && parse_label(&c, &q);
    if (!good)
        return VD_FAIL(err, VD_ERR_ARG, "\"%.100s\" is no metric: name or name{label=\"value\"}",
                       text);
    *ret_query = q;
    *ret_n = (size_t)(c.at - text);
    return VD_OK;
}
