/* sort.c - attributes by path, and the stable sort that sort, dictsort and groupby use. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/filters.h"
#include "text/jinja/str.h"

/* "12" is the subscript 12; everything else is a name. */
static vd_status path_key(vd_jrender *r, const vd_jstr *path, size_t begin, size_t end,
                          vd_jval *ret)
{
    int64_t index = 0;
    bool digits = end > begin;
    for (size_t i = begin; i < end; i++)
        digits = digits && path->data[i] >= '0' && path->data[i] <= '9';
    vd_jstr part = {.data = path->data + begin, .n = end - begin, .n_chars = SIZE_MAX};
    if (digits && vd_j_str_to_int(&part, 10, &index)) {
        *ret = vd_j_int(index);
        return VD_OK;
    }
    return vd_j_str_wrap(r, part.data, part.n, ret);
}

vd_status vd_j_by_attribute(vd_jrender *r, vd_jval item, vd_jval attribute, vd_jval otherwise,
                            vd_jval *ret)
{
    vd_status st = VD_OK;
    if (attribute.kind != VD_JKIND_STRING) {
        if (attribute.kind != VD_JKIND_ABSENT && attribute.kind != VD_JKIND_NONE)
            st = vd_j_getitem(r, item, attribute, &item);
        if (item.kind == VD_JKIND_UNDEFINED && otherwise.kind > VD_JKIND_NONE)
            item = otherwise;
        *ret = item;
        return st;
    }
    const vd_jstr *path = attribute.u.s;
    for (size_t begin = 0; st == VD_OK && begin <= path->n;) {
        const char *dot = path->n > begin ? memchr(path->data + begin, '.', path->n - begin) : NULL;
        size_t end = dot != NULL ? (size_t)(dot - path->data) : path->n;
        vd_jval key;
        st = path_key(r, path, begin, end, &key);
        if (st == VD_OK)
            st = vd_j_getitem(r, item, key, &item);
        if (st == VD_OK && item.kind == VD_JKIND_UNDEFINED && otherwise.kind > VD_JKIND_NONE)
            item = otherwise;
        begin = end + 1;
    }
    *ret = item;
    return st;
}

/* Merges the sorted runs [low..middle) and [middle..high) of from into to. */
static vd_status merge(vd_jrender *r, vd_jval *const from[2], vd_jval *const to[2], size_t low,
                       size_t middle, size_t high, bool reverse)
{
    size_t a = low, b = middle;
    for (size_t at = low; at < high; at++) {
        int c = 0;
        if (a < middle && b < high) {
            vd_status st = vd_j_compare(r, from[0][b], from[0][a], "<", &c);
            if (st != VD_OK)
                return st;
            c = c == 2 ? 0 : reverse ? -c : c;
        }
        size_t take = b >= high || (a < middle && c >= 0) ? a++ : b++;
        to[0][at] = from[0][take];
        to[1][at] = from[1][take];
    }
    return VD_OK;
}

vd_status vd_j_sort(vd_jrender *r, vd_jval *key, vd_jval *item, size_t n, bool reverse)
{
    vd_jval *const own[2] = {key, item};
    vd_jval *spare_key = NULL, *spare_item = NULL;
    vd_status st = vd_j_alloc(r, n, sizeof(*key), &spare_key);
    if (st == VD_OK)
        st = vd_j_alloc(r, n, sizeof(*item), &spare_item);
    vd_jval *const spare[2] = {spare_key, spare_item};
    for (size_t width = 1; st == VD_OK && width < n; width *= 2) {
        for (size_t low = 0; st == VD_OK && low < n; low += 2 * width)
            st = merge(r, own, spare, low, VD_MIN(low + width, n), VD_MIN(low + 2 * width, n),
                       reverse);
        if (st == VD_OK) {
            memcpy(key, spare_key, n * sizeof(*key));
            memcpy(item, spare_item, n * sizeof(*item));
        }
    }
    return st;
}
