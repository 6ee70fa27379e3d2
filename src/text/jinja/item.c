/* item.c - a.name, a[key], a[i:j:k], `in`, and what a loop runs over. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/eval.h"
#include "text/jinja/unicode.h"

bool vd_j_iterable(vd_jval value)
{
    return value.kind == VD_JKIND_UNDEFINED || value.kind == VD_JKIND_STRING ||
           value.kind == VD_JKIND_LIST || value.kind == VD_JKIND_DICT ||
           value.kind == VD_JKIND_ITER;
}

static vd_status string_items(vd_jrender *r, const vd_jstr *s, vd_jlist *list)
{
    vd_status st = VD_OK;
    for (size_t at = 0; st == VD_OK && at < s->n;) {
        size_t begin = at;
        vd_jval item;
        (void)vd_j_next(s->data, s->n, &at);
        st = vd_j_str_wrap(r, s->data + begin, at - begin, &item);
        if (st == VD_OK)
            st = vd_j_list_push(r, list, item);
    }
    return st;
}

vd_status vd_j_items(vd_jrender *r, vd_jval a, vd_jlist **ret)
{
    vd_jlist *list = NULL;
    if (!vd_j_iterable(a))
        return VD_J_FAIL(r, "'%s' object is not iterable", vd_j_type_name(a));
    if (a.kind == VD_JKIND_LIST) {
        *ret = a.u.list;
        return VD_OK;
    }
    vd_status st = vd_j_list_new(r, a.kind == VD_JKIND_DICT ? a.u.dict->n : 0, &list);
    if (st != VD_OK)
        return st;
    if (a.kind == VD_JKIND_STRING) {
        st = string_items(r, a.u.s, list);
    } else if (a.kind == VD_JKIND_DICT) {
        for (size_t i = 0; st == VD_OK && i < a.u.dict->n; i++)
            st = vd_j_list_push(r, list, a.u.dict->entry[i].key);
    } else if (a.kind == VD_JKIND_ITER) { /* the rest of it, once */
        vd_jiter *iter = a.u.iter;
        if (iter->at < iter->list->n)
            list->item = iter->list->item + iter->at;
        list->n = list->capacity = iter->list->n - iter->at;
        iter->at = iter->list->n;
    }
    if (st == VD_OK)
        *ret = list;
    return st;
}

vd_status vd_j_contains(vd_jrender *r, vd_jval all, vd_jval item, bool *ret)
{
    vd_jlist *list = NULL;
    vd_jentry *entry = NULL;
    bool found = false;
    vd_status st = VD_OK;
    if (all.kind == VD_JKIND_STRING) {
        if (item.kind != VD_JKIND_STRING)
            return VD_J_FAIL(r, "'in <string>' requires string as left operand, not %s",
                             vd_j_type_name(item));
        *ret = item.u.s->n == 0 ||
               (all.u.s->n > 0 &&
                memmem(all.u.s->data, all.u.s->n, item.u.s->data, item.u.s->n) != NULL);
        return vd_j_charge_bytes(r, all.u.s->n);
    }
    if (all.kind == VD_JKIND_DICT) {
        st = vd_j_dict_find(r, all.u.dict, item, &entry);
        *ret = entry != NULL;
        return st;
    }
    if (!vd_j_iterable(all))
        return VD_J_FAIL(r, "argument of type '%s' is not iterable", vd_j_type_name(all));
    st = vd_j_items(r, all, &list);
    for (size_t i = 0; st == VD_OK && !found && i < list->n; i++)
        st = vd_j_equal(r, list->item[i], item, &found);
    *ret = found;
    return st;
}

/* --- slices --- */

static vd_status slice_part(vd_jrender *r, vd_jval part, int64_t unset, int64_t *ret)
{
    *ret = unset;
    if (part.kind == VD_JKIND_INT || part.kind == VD_JKIND_BOOL)
        *ret = part.kind == VD_JKIND_INT ? part.u.i : part.u.b;
    else if (part.kind != VD_JKIND_NONE)
        return VD_J_FAIL(r, "slice indices must be integers or none");
    return VD_OK;
}

static int64_t clamp(int64_t i, int64_t n, int64_t low, int64_t high)
{
    if (i < 0)
        i += n; /* no overflow: n is not negative */
    return i < low ? low : i > high ? high : i;
}

vd_status vd_j_slice_range(vd_jrender *r, const vd_jlist *slice, size_t n, int64_t *ret_start,
                           int64_t *ret_step, size_t *ret_count)
{
    int64_t start, stop, step, len = (int64_t)n;
    vd_status st = slice_part(r, slice->item[2], 1, &step);
    if (st == VD_OK && step == 0)
        st = VD_J_FAIL(r, "slice step cannot be zero");
    bool up = st != VD_OK || step > 0;
    if (st == VD_OK)
        st = slice_part(r, slice->item[0], up ? 0 : INT64_MAX, &start);
    if (st == VD_OK)
        st = slice_part(r, slice->item[1], up ? INT64_MAX : INT64_MIN, &stop);
    if (st != VD_OK)
        return st;
    start = up ? clamp(start, len, 0, len) : clamp(start, len, -1, len - 1);
    /* an absent stop of a downward slice lies before the first item */
    stop = up ? clamp(stop, len, 0, len)
              : slice->item[1].kind == VD_JKIND_NONE ? -1 : clamp(stop, len, -1, len - 1);
    uint64_t span = up ? (stop > start ? (uint64_t)(stop - start) : 0)
                       : (start > stop ? (uint64_t)(start - stop) : 0);
    uint64_t stride = up ? (uint64_t)step : (uint64_t)0 - (uint64_t)step;
    *ret_start = start;
    *ret_step = step;
    *ret_count = (size_t)(span / stride + (span % stride != 0));
    return VD_OK;
}

static vd_status slice_list(vd_jrender *r, const vd_jlist *from, const vd_jlist *slice,
                            vd_jval *ret)
{
    int64_t start = 0, step = 1;
    size_t count = 0;
    vd_jlist *list = NULL;
    vd_status st = vd_j_slice_range(r, slice, from->n, &start, &step, &count);
    if (st == VD_OK)
        st = vd_j_charge(r, count);
    if (st == VD_OK)
        st = vd_j_list_new(r, count, &list);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < count; i++) /* the last index lies inside, so nothing overflows */
        list->item[i] = from->item[start + (int64_t)i * step];
    list->n = count;
    list->flavour = from->flavour;
    if (from->flavour == VD_JFLAVOUR_RANGE) {
        list->start = count > 0 ? list->item[0].u.i : from->start;
        list->step = count > 1 ? list->item[1].u.i - list->item[0].u.i : from->step;
        list->stop = list->start + (int64_t)count * list->step;
    }
    *ret = vd_j_list(list);
    return VD_OK;
}

static vd_status slice_string(vd_jrender *r, const vd_jstr *s, const vd_jlist *slice, vd_jval *ret)
{
    int64_t start = 0, step = 1;
    size_t count = 0;
    vd_status st = vd_j_slice_range(r, slice, vd_j_str_chars(s), &start, &step, &count);
    if (st == VD_OK)
        st = vd_j_charge_bytes(r, s->n);
    if (st != VD_OK)
        return st;
    if (count == 0 || step == 1) {
        size_t begin = count > 0 ? vd_j_str_offset(s, (size_t)start) : 0;
        size_t end = count > 0 ? vd_j_str_offset(s, (size_t)start + count) : 0;
        st = vd_j_str_wrap(r, s->data + begin, end - begin, ret);
    } else {
        vd_jlist *chars = NULL;
        vd_jtext text;
        vd_j_text_init(&text, r);
        st = vd_j_items(r, vd_j_string(s), &chars);
        for (size_t i = 0; st == VD_OK && i < count; i++) {
            const vd_jstr *c = chars->item[start + (int64_t)i * step].u.s;
            vd_j_text_add(&text, c->data, c->n);
        }
        if (st == VD_OK)
            st = vd_j_text_value(&text, ret);
    }
    return st == VD_OK && s->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

/* --- attributes and items --- */

/* Attributes that are no methods; *ret_found false where there is none. */
static vd_status own_attr(vd_jrender *r, vd_jval a, const vd_jstr *name, vd_jval *ret,
                          bool *ret_found)
{
    vd_jentry *entry = NULL;
    vd_status st = VD_OK;
    *ret_found = false;
    if (a.kind == VD_JKIND_LOOP)
        return vd_j_loop_attr(r, a.u.loop, name, ret, ret_found);
    if (a.kind == VD_JKIND_MACRO)
        return vd_j_macro_attr(r, a.u.macro, name, ret, ret_found);
    if (a.kind == VD_JKIND_NAMESPACE) {
        st = vd_j_dict_find(r, a.u.dict, vd_j_string(name), &entry);
        *ret_found = st == VD_OK && entry != NULL;
        if (*ret_found)
            *ret = entry->value;
    } else if (a.kind == VD_JKIND_CYCLER && vd_j_str_is(name, "current")) {
        *ret = a.u.cycler->items->item[a.u.cycler->at];
        *ret_found = true;
    } else if (a.kind == VD_JKIND_LIST && a.u.list->is_group &&
               (vd_j_str_is(name, "grouper") || vd_j_str_is(name, "list"))) {
        *ret = a.u.list->item[vd_j_str_is(name, "list")];
        *ret_found = true;
    } else if (a.kind == VD_JKIND_LIST && a.u.list->flavour == VD_JFLAVOUR_RANGE &&
               (vd_j_str_is(name, "start") || vd_j_str_is(name, "stop") ||
                vd_j_str_is(name, "step"))) {
        *ret = vd_j_int(vd_j_str_is(name, "start")  ? a.u.list->start
                        : vd_j_str_is(name, "stop") ? a.u.list->stop : a.u.list->step);
        *ret_found = true;
    }
    return st;
}

/* A method bound to `a`, or what stands for one that the sandbox forbids. */
static vd_status method_attr(vd_jrender *r, vd_jval a, const vd_jstr *name, vd_jval *ret,
                             bool *ret_found)
{
    const vd_jbuiltin *builtin = vd_j_find_method(a, name->data, name->n);
    bool internal = name->n >= 2 && name->data[0] == '_' && name->data[1] == '_' &&
                    a.kind != VD_JKIND_NAMESPACE;
    *ret_found = builtin != NULL || internal;
    if (!*ret_found)
        return VD_OK;
    if (internal || builtin->forbidden) {
        vd_jtext text;
        vd_jval hint;
        vd_j_text_init(&text, r);
        vd_j_text_printf(&text, "access to attribute '%.*s' of '%s' object is unsafe.",
                         (int)VD_MIN(name->n, (size_t)60), name->data, vd_j_type_name(a));
        vd_j_text_add(&text, "", 1);
        vd_status st = vd_j_text_value(&text, &hint);
        return st == VD_OK ? vd_j_undefined(r, hint.u.s->data, NULL, name, ret) : st;
    }
    vd_jmethod *method = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*method), &method);
    if (st != VD_OK)
        return st;
    *method = (vd_jmethod){.self = a, .builtin = builtin};
    *ret = (vd_jval){.kind = VD_JKIND_METHOD, .u.method = method};
    return VD_OK;
}

static vd_status dict_item(vd_jrender *r, vd_jval a, vd_jval key, vd_jval *ret, bool *ret_found)
{
    vd_jentry *entry = NULL;
    vd_status st = VD_OK;
    if (a.kind == VD_JKIND_DICT && vd_j_hashable(key))
        st = vd_j_dict_find(r, a.u.dict, key, &entry);
    *ret_found = st == VD_OK && entry != NULL;
    if (*ret_found)
        *ret = entry->value;
    return st;
}

/* Python's order: attributes and methods before items, so that d.items is the method. */
vd_status vd_j_getattr(vd_jrender *r, vd_jval a, const vd_jstr *name, vd_jval *ret)
{
    bool found = false;
    if (a.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, a);
    vd_status st = own_attr(r, a, name, ret, &found);
    if (st == VD_OK && !found && vd_j_find_method(a, name->data, name->n) != NULL)
        st = method_attr(r, a, name, ret, &found);
    if (st == VD_OK && !found)
        st = dict_item(r, a, vd_j_string(name), ret, &found);
    if (st == VD_OK && !found)
        st = method_attr(r, a, name, ret, &found);
    return st == VD_OK && !found ? vd_j_undefined(r, NULL, vd_j_type_name(a), name, ret) : st;
}

static vd_status sequence_item(vd_jrender *r, vd_jval a, vd_jval key, vd_jval *ret,
                               bool *ret_found)
{
    size_t n = 0;
    *ret_found = false;
    bool is_int = key.kind == VD_JKIND_INT || key.kind == VD_JKIND_BOOL;
    bool indexed = a.kind == VD_JKIND_STRING ||
                   (a.kind == VD_JKIND_LIST && a.u.list->flavour <= VD_JFLAVOUR_RANGE);
    if (!is_int || !indexed || !vd_j_length(a, &n))
        return VD_OK;
    int64_t i = key.kind == VD_JKIND_INT ? key.u.i : key.u.b;
    if (i < 0)
        i += (int64_t)n;
    if (i < 0 || i >= (int64_t)n)
        return VD_OK;
    *ret_found = true;
    if (a.kind == VD_JKIND_LIST) {
        *ret = a.u.list->item[i];
        return VD_OK;
    }
    size_t begin = vd_j_str_offset(a.u.s, (size_t)i), end = begin;
    vd_status st = vd_j_charge_bytes(r, a.u.s->n == n ? 0 : a.u.s->n);
    (void)vd_j_next(a.u.s->data, a.u.s->n, &end);
    return st == VD_OK ? vd_j_str_wrap(r, a.u.s->data + begin, end - begin, ret) : st;
}

vd_status vd_j_getitem(vd_jrender *r, vd_jval a, vd_jval key, vd_jval *ret)
{
    bool found = false;
    vd_status st = VD_OK;
    if (a.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, a);
    if (key.kind == VD_JKIND_SLICE) {
        if (a.kind == VD_JKIND_STRING)
            return slice_string(r, a.u.s, key.u.list, ret);
        if (a.kind == VD_JKIND_LIST && a.u.list->flavour <= VD_JFLAVOUR_RANGE)
            return slice_list(r, a.u.list, key.u.list, ret);
        return VD_J_FAIL(r, "'%s' object has no slices", vd_j_type_name(a));
    }
    st = dict_item(r, a, key, ret, &found);
    if (st == VD_OK && !found)
        st = sequence_item(r, a, key, ret, &found);
    if (st == VD_OK && !found && key.kind == VD_JKIND_STRING) {
        st = own_attr(r, a, key.u.s, ret, &found);
        if (st == VD_OK && !found)
            st = method_attr(r, a, key.u.s, ret, &found);
    }
    if (st != VD_OK || found)
        return st;
    const vd_jstr *name = NULL;
    st = key.kind == VD_JKIND_INT || key.kind == VD_JKIND_STRING ? vd_j_to_str(r, key, &name)
                                                                 : VD_OK;
    return st == VD_OK ? vd_j_undefined(r, NULL, vd_j_type_name(a), name, ret) : st;
}
