/* series.c - see series.h. */
#include "carbon/series.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

void vd_series_done(vd_series *s)
{
    vd_free(s->value);
    *s = (vd_series){0};
}

vd_status vd_series_add(vd_series *s, const vd_intensity *value, vd_err *err)
{
    if (s->n == VD_SERIES_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %d values of carbon intensity",
                       VD_SERIES_MAX);
    if (s->n == s->capacity) {
        size_t capacity = VD_MAX((size_t)64, s->capacity * 2);
        vd_intensity *longer = vd_realloc(s->value, capacity * sizeof(*longer));
        if (longer == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu values of carbon intensity",
                           capacity);
        s->value = longer;
        s->capacity = capacity;
    }
    s->value[s->n++] = *value;
    return VD_OK;
}

static bool before(const vd_intensity *a, const vd_intensity *b)
{
    return a->valid_from_s < b->valid_from_s;
}

/* Merges two sorted runs into `out`; of equals those of the first run stand first. */
static void merge(const vd_intensity *a, size_t n_a, const vd_intensity *b, size_t n_b,
                  vd_intensity *out)
{
    size_t i = 0, k = 0;
    while (i < n_a && k < n_b)
        *out++ = before(&b[k], &a[i]) ? b[k++] : a[i++];
    while (i < n_a)
        *out++ = a[i++];
    while (k < n_b)
        *out++ = b[k++];
}

static bool is_sorted(const vd_series *s)
{
    for (size_t i = 1; i < s->n; i++)
        if (before(&s->value[i], &s->value[i - 1]))
            return false;
    return true;
}

/* qsort with the place of arrival to decide among equals would need it in every value; so a stable
 * sort: runs of 1, 2, 4, ... values, and insertion in place where there is no memory. */
static void sort(vd_series *s)
{
    if (is_sorted(s))
        return;
    vd_intensity *other = vd_alloc(s->n * sizeof(*other));
    for (size_t i = 1; other == NULL && i < s->n; i++)
        for (size_t k = i; k > 0 && before(&s->value[k], &s->value[k - 1]); k--) {
            vd_intensity swap = s->value[k];
            s->value[k] = s->value[k - 1];
            s->value[k - 1] = swap;
        }
    for (size_t run = 1; other != NULL && run < s->n; run *= 2) {
        for (size_t i = 0; i < s->n; i += 2 * run) {
            size_t middle = VD_MIN(i + run, s->n), end = VD_MIN(i + 2 * run, s->n);
            merge(s->value + i, middle - i, s->value + middle, end - middle, other + i);
        }
        for (size_t i = 0; i < s->n; i++)
            s->value[i] = other[i];
    }
    vd_free(other);
}

void vd_series_tidy(vd_series *s)
{
    size_t n = 0;
    sort(s);
    for (size_t i = 0; i < s->n; i++) {
        vd_intensity *last = n > 0 ? &s->value[n - 1] : NULL;
        if (last == NULL || last->valid_from_s != s->value[i].valid_from_s)
            s->value[n++] = s->value[i];
        else if (last->estimated || !s->value[i].estimated)
            *last = s->value[i];
    }
    s->n = n;
    for (size_t i = 0; i + 1 < n; i++)
        s->value[i].valid_to_s = VD_MIN(s->value[i].valid_to_s, s->value[i + 1].valid_from_s);
}

size_t vd_series_find(const vd_series *s, int64_t at_s)
{
    size_t low = 0, high = s->n; /* the answer + 1 lies in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->value[middle].valid_from_s <= at_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : s->n;
}

void vd_series_cut(vd_series *s, int64_t from_s, int64_t to_s, bool only_final)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const vd_intensity *v = &s->value[i];
        if (v->valid_to_s > from_s && v->valid_from_s < to_s && !(only_final && v->estimated))
            s->value[n++] = *v;
    }
    s->n = n;
}

void vd_series_take(vd_series *s, vd_intensity **ret_values, size_t *ret_n)
{
    *ret_values = s->value;
    *ret_n = s->n;
    *s = (vd_series){0};
}
