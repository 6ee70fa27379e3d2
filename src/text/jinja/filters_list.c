/* filters_list.c - filters over sequences and mappings. What is lazy in Jinja is made at
 * once here, but still an iterator that gives its items once. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/filters.h"
#include "text/jinja/str.h"

#define FILTER(name) \
    static vd_status filter_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

static const vd_jval absent = {.kind = VD_JKIND_ABSENT};

FILTER(length)
{
    size_t n = 0;
    if (!vd_j_length(self, &n))
        return VD_J_FAIL(r, "object of type '%s' has no len()", vd_j_type_name(self));
    *ret = vd_j_int((int64_t)n);
    return VD_OK;
}

FILTER(list)
{
    vd_jlist *items = NULL, *list = NULL;
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_charge(r, items->n);
    if (st == VD_OK)
        st = vd_j_list_new(r, items->n, &list);
    if (st != VD_OK)
        return st;
    if (items->n > 0)
        memcpy(list->item, items->item, items->n * sizeof(vd_jval));
    list->n = items->n;
    *ret = vd_j_list(list);
    return VD_OK;
}

FILTER(first)
{
    vd_jlist *items = NULL;
    if (self.kind == VD_JKIND_ITER && self.u.iter->at < self.u.iter->list->n) {
        *ret = self.u.iter->list->item[self.u.iter->at++];
        return VD_OK;
    }
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK && items->n == 0)
        return vd_j_undefined(r, "No first item, sequence was empty.", NULL, NULL, ret);
    if (st == VD_OK)
        *ret = items->item[0];
    return st;
}

FILTER(last)
{
    vd_jlist *items = NULL;
    if (self.kind == VD_JKIND_ITER)
        return VD_J_FAIL(r, "'generator' object is not reversible");
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK && items->n == 0)
        return vd_j_undefined(r, "No last item, sequence was empty.", NULL, NULL, ret);
    if (st == VD_OK)
        *ret = items->item[items->n - 1];
    return st;
}

FILTER(reverse)
{
    vd_jlist *items = NULL, *list = NULL;
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, items->n, &list);
    for (size_t i = 0; st == VD_OK && i < items->n; i++)
        st = vd_j_list_push(r, list, items->item[items->n - 1 - i]);
    if (st == VD_OK && self.kind == VD_JKIND_STRING) {
        vd_jtext text;
        vd_j_text_init(&text, r);
        for (size_t i = 0; i < list->n; i++)
            vd_j_text_str(&text, list->item[i]);
        return vd_j_text_value(&text, ret);
    }
    if (st == VD_OK && self.kind == VD_JKIND_ITER)
        *ret = vd_j_list(list);
    else if (st == VD_OK)
        st = vd_j_iter_new(r, list, ret);
    return st;
}

FILTER(join)
{
    vd_jlist *items = NULL;
    const vd_jstr *separator = NULL;
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK && call->arg[0].kind != VD_JKIND_ABSENT)
        st = vd_j_to_str(r, call->arg[0], &separator);
    vd_jtext text;
    vd_j_text_init(&text, r);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval item;
        st = vd_j_by_attribute(r, items->item[i], call->arg[1], absent, &item);
        if (st == VD_OK)
            st = vd_j_charge(r, 1);
        if (i > 0 && separator != NULL)
            vd_j_text_add(&text, separator->data, separator->n);
        if (st == VD_OK)
            vd_j_text_str(&text, item);
        if (st == VD_OK)
            st = text.status;
    }
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

FILTER(items)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_list_new(r, 0, &list);
    if (st == VD_OK && self.kind != VD_JKIND_DICT && self.kind != VD_JKIND_UNDEFINED)
        st = VD_J_FAIL(r, "Can only get item pairs from a mapping.");
    for (size_t i = 0; st == VD_OK && self.kind == VD_JKIND_DICT && i < self.u.dict->n; i++) {
        vd_jval pair;
        st = vd_j_pair(r, self.u.dict->entry[i].key, self.u.dict->entry[i].value, &pair);
        if (st == VD_OK)
            st = vd_j_list_push(r, list, pair);
    }
    return st == VD_OK ? vd_j_iter_new(r, list, ret) : st;
}

/* Texts compare in lower case unless asked otherwise. */
static vd_status sort_key(vd_jrender *r, vd_jval *key, bool case_sensitive)
{
    return key->kind == VD_JKIND_STRING && !case_sensitive
               ? vd_j_str_case(r, key->u.s, VD_JCASING_LOWER, key)
               : VD_OK;
}

FILTER(dictsort)
{
    const vd_jstr *by = NULL;
    vd_jval *key = NULL;
    vd_jlist *list = NULL;
    if (self.kind != VD_JKIND_DICT)
        return VD_J_FAIL(r, "dictsort needs a mapping, not '%s'", vd_j_type_name(self));
    const vd_jdict *dict = self.u.dict;
    vd_status st = vd_j_arg_str(r, call, 1, &by);
    if (st == VD_OK && by != NULL && !vd_j_str_is(by, "key") && !vd_j_str_is(by, "value"))
        st = VD_J_FAIL(r, "You can only sort by either \"key\" or \"value\"");
    if (st == VD_OK)
        st = vd_j_alloc(r, dict->n, sizeof(*key), &key);
    if (st == VD_OK)
        st = vd_j_list_new(r, dict->n, &list);
    for (size_t i = 0; st == VD_OK && i < dict->n; i++) {
        bool by_value = by != NULL && vd_j_str_is(by, "value");
        vd_jval pair;
        key[i] = by_value ? dict->entry[i].value : dict->entry[i].key;
        st = sort_key(r, &key[i], vd_j_arg_bool(call, 0, false));
        if (st == VD_OK)
            st = vd_j_pair(r, dict->entry[i].key, dict->entry[i].value, &pair);
        if (st == VD_OK)
            st = vd_j_list_push(r, list, pair);
    }
    if (st == VD_OK)
        st = vd_j_sort(r, key, list->item, dict->n, vd_j_arg_bool(call, 2, false));
    if (st == VD_OK)
        *ret = vd_j_list(list);
    return st;
}

/* Keys of all items for sort: lists of one attribute each, or of several between commas. Lists,
 * because those compare their first unequal members only: two undefined or none are no error. */
static vd_status sort_keys(vd_jrender *r, const vd_jlist *items, vd_jval attribute,
                           bool case_sensitive, vd_jval **ret)
{
    vd_jval *key = NULL;
    vd_jlist *parts = NULL;
    static const vd_jstr comma = {.data = ",", .n = 1, .n_chars = 1};
    vd_status st = vd_j_alloc(r, items->n, sizeof(*key), &key);
    if (st == VD_OK && attribute.kind == VD_JKIND_STRING) {
        st = vd_j_str_split(r, attribute.u.s, &comma, -1, false, &parts);
    } else if (st == VD_OK) {
        st = vd_j_list_new(r, 1, &parts);
        if (st == VD_OK)
            st = vd_j_list_push(r, parts, attribute);
    }
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jlist *values = NULL;
        st = vd_j_list_new(r, parts->n, &values);
        for (size_t k = 0; st == VD_OK && k < parts->n; k++) {
            vd_jval value;
            st = vd_j_by_attribute(r, items->item[i], parts->item[k], absent, &value);
            if (st == VD_OK)
                st = sort_key(r, &value, case_sensitive);
            if (st == VD_OK)
                st = vd_j_list_push(r, values, value);
        }
        key[i] = vd_j_list(values);
    }
    *ret = key;
    return st;
}

FILTER(sort)
{
    vd_jval *key = NULL, all;
    vd_status st = filter_list(r, self, call, &all);
    if (st == VD_OK)
        st = sort_keys(r, all.u.list, call->arg[2], vd_j_arg_bool(call, 1, false), &key);
    if (st == VD_OK)
        st = vd_j_sort(r, key, all.u.list->item, all.u.list->n, vd_j_arg_bool(call, 0, false));
    if (st == VD_OK)
        *ret = all;
    return st;
}

FILTER(unique)
{
    vd_jlist *items = NULL, *list = NULL;
    vd_jdict *seen = NULL;
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &list);
    if (st == VD_OK)
        st = vd_j_dict_new(r, &seen);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval key;
        size_t before = seen->n;
        st = vd_j_by_attribute(r, items->item[i], call->arg[1], absent, &key);
        if (st == VD_OK)
            st = sort_key(r, &key, vd_j_arg_bool(call, 0, false));
        if (st == VD_OK)
            st = vd_j_dict_put(r, seen, key, vd_j_none());
        if (st == VD_OK && seen->n > before)
            st = vd_j_list_push(r, list, items->item[i]);
    }
    return st == VD_OK ? vd_j_iter_new(r, list, ret) : st;
}

FILTER(min)
{
    vd_jlist *items = NULL;
    vd_jval best_key = absent;
    bool is_max = call->builtin->name[1] == 'a';
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK && items->n == 0)
        return vd_j_undefined(r, "No aggregated item, sequence was empty.", NULL, NULL, ret);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval key;
        int c = i == 0 ? -1 : 0;
        st = vd_j_by_attribute(r, items->item[i], call->arg[1], absent, &key);
        if (st == VD_OK)
            st = sort_key(r, &key, vd_j_arg_bool(call, 0, false));
        if (st == VD_OK && i > 0)
            st = is_max ? vd_j_compare(r, best_key, key, ">", &c)
                        : vd_j_compare(r, key, best_key, "<", &c);
        if (st == VD_OK && c < 0) {
            best_key = key;
            *ret = items->item[i];
        }
    }
    return st;
}

FILTER(sum)
{
    vd_jlist *items = NULL;
    vd_jval total = call->arg[1].kind == VD_JKIND_ABSENT ? vd_j_int(0) : call->arg[1];
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK && total.kind == VD_JKIND_STRING)
        st = VD_J_FAIL(r, "sum() can't sum strings");
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval item;
        st = vd_j_by_attribute(r, items->item[i], call->arg[0], absent, &item);
        if (st == VD_OK)
            st = vd_j_charge(r, 1);
        if (st == VD_OK)
            st = vd_j_arith(r, VD_JOP_ADD, total, item, &total);
    }
    if (st == VD_OK)
        *ret = total;
    return st;
}

FILTER(groupby)
{
    vd_jval *key = NULL, all, otherwise = call->arg[1];
    vd_jlist *groups = NULL, *group = NULL;
    bool exact = vd_j_arg_bool(call, 2, false);
    vd_status st = filter_list(r, self, call, &all);
    if (st == VD_OK)
        st = vd_j_alloc(r, all.u.list->n, sizeof(*key), &key);
    for (size_t i = 0; st == VD_OK && i < all.u.list->n; i++) {
        st = vd_j_by_attribute(r, all.u.list->item[i], call->arg[0], otherwise, &key[i]);
        if (st == VD_OK)
            st = sort_key(r, &key[i], exact);
    }
    if (st == VD_OK)
        st = vd_j_sort(r, key, all.u.list->item, all.u.list->n, false);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &groups);
    for (size_t i = 0; st == VD_OK && i < all.u.list->n; i++) {
        bool same = false;
        if (i > 0)
            st = vd_j_equal(r, key[i - 1], key[i], &same);
        if (st == VD_OK && !same) {
            vd_jval real, pair;
            st = vd_j_list_new(r, 0, &group);
            if (st == VD_OK) /* the key as the first item has it, not in lower case */
                st = vd_j_by_attribute(r, all.u.list->item[i], call->arg[0], otherwise, &real);
            if (st == VD_OK)
                st = vd_j_pair(r, real, vd_j_list(group), &pair);
            if (st == VD_OK) {
                pair.u.list->is_group = true;
                st = vd_j_list_push(r, groups, pair);
            }
        }
        if (st == VD_OK)
            st = vd_j_list_push(r, group, all.u.list->item[i]);
    }
    if (st == VD_OK)
        *ret = vd_j_list(groups);
    return st;
}

FILTER(batch)
{
    int64_t size;
    vd_jlist *items = NULL, *rows = NULL, *row = NULL;
    vd_jval fill = call->arg[1];
    vd_status st = vd_j_arg_int(r, call, 0, 0, &size);
    if (st == VD_OK)
        st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &rows);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        if (row == NULL || (int64_t)row->n == size) {
            st = vd_j_list_new(r, 0, &row);
            if (st == VD_OK)
                st = vd_j_list_push(r, rows, vd_j_list(row));
        }
        if (st == VD_OK)
            st = vd_j_list_push(r, row, items->item[i]);
    }
    while (st == VD_OK && row != NULL && fill.kind > VD_JKIND_NONE && (int64_t)row->n < size)
        st = vd_j_list_push(r, row, fill);
    return st == VD_OK ? vd_j_iter_new(r, rows, ret) : st;
}

FILTER(slice)
{
    int64_t slices;
    vd_jlist *items = NULL, *rows = NULL;
    vd_status st = vd_j_arg_int(r, call, 0, 0, &slices);
    if (st == VD_OK && slices <= 0)
        st = VD_J_FAIL(r, "slice needs a number of slices above zero");
    if (st == VD_OK)
        st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &rows);
    size_t at = 0;
    for (int64_t k = 0; st == VD_OK && k < slices; k++) {
        vd_jlist *row = NULL;
        bool extra = (size_t)k < items->n % (size_t)slices;
        size_t n = items->n / (size_t)slices + extra;
        st = vd_j_list_new(r, 0, &row);
        for (size_t i = 0; st == VD_OK && i < n; i++)
            st = vd_j_list_push(r, row, items->item[at++]);
        if (st == VD_OK && !extra && call->arg[1].kind > VD_JKIND_NONE)
            st = vd_j_list_push(r, row, call->arg[1]);
        if (st == VD_OK)
            st = vd_j_list_push(r, rows, vd_j_list(row));
    }
    return st == VD_OK ? vd_j_iter_new(r, rows, ret) : st;
}

/* --- map, select and their like --- */

static vd_jval named(const vd_jargs *args, const char *name)
{
    for (size_t k = 0; k < args->n_kw; k++)
        if (vd_j_str_is(args->kw[k].name, name))
            return args->kw[k].value;
    return absent;
}

/* What map, select and the like make of anything false, `none` too: an iterator without items. */
static vd_status nothing(vd_jrender *r, vd_jval *ret)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_list_new(r, 0, &list);
    return st == VD_OK ? vd_j_iter_new(r, list, ret) : st;
}

FILTER(map)
{
    const vd_jargs *args = call->raw;
    vd_jval attribute = named(args, "attribute"), otherwise = named(args, "default");
    const vd_jbuiltin *filter = NULL;
    vd_jlist *items = NULL, *list = NULL;
    if (!vd_j_truth(self))
        return nothing(r, ret);
    if (args->n_pos > 0) {
        if (args->pos[0].kind == VD_JKIND_STRING)
            filter = vd_j_find_filter(args->pos[0].u.s->data, args->pos[0].u.s->n);
        if (filter == NULL)
            return VD_J_FAIL(r, "map() does not know that filter");
    } else if (attribute.kind == VD_JKIND_ABSENT) {
        return VD_J_FAIL(r, "map requires a filter argument");
    }
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &list);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval item = items->item[i];
        if (filter != NULL) {
            vd_jargs rest = {.pos = args->pos + 1, .n_pos = args->n_pos - 1, .kw = args->kw,
                             .n_kw = args->n_kw};
            st = vd_j_call_builtin(r, filter, items->item[i], &rest, &item);
        } else {
            st = vd_j_by_attribute(r, items->item[i], attribute, otherwise, &item);
        }
        if (st == VD_OK)
            st = vd_j_list_push(r, list, item);
    }
    return st == VD_OK ? vd_j_iter_new(r, list, ret) : st;
}

/* select and reject: by the item; selectattr and rejectattr: by an attribute of it. */
FILTER(select)
{
    bool by_attribute = strlen(call->builtin->name) > 6;
    bool wanted = call->builtin->name[0] == 's';
    vd_jargs rest = *call->raw;
    vd_jval attribute = absent;
    const vd_jbuiltin *test = NULL;
    vd_jlist *items = NULL, *list = NULL;
    if (!vd_j_truth(self))
        return nothing(r, ret);
    if (by_attribute && rest.n_pos == 0)
        return VD_J_FAIL(r, "Missing parameter for attribute name");
    if (by_attribute) {
        attribute = rest.pos[0];
        rest.pos++;
        rest.n_pos--;
    }
    if (rest.n_pos > 0) {
        if (rest.pos[0].kind == VD_JKIND_STRING)
            test = vd_j_find_test(rest.pos[0].u.s->data, rest.pos[0].u.s->n);
        if (test == NULL)
            return VD_J_FAIL(r, "%s() does not know that test", call->builtin->name);
        rest.pos++;
        rest.n_pos--;
    }
    vd_status st = vd_j_items(r, self, &items);
    if (st == VD_OK)
        st = vd_j_list_new(r, 0, &list);
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        vd_jval value;
        st = vd_j_by_attribute(r, items->item[i], attribute, absent, &value);
        if (st == VD_OK && test != NULL)
            st = vd_j_call_builtin(r, test, value, &rest, &value);
        if (st == VD_OK && vd_j_truth(value) == wanted)
            st = vd_j_list_push(r, list, items->item[i]);
        if (st == VD_OK)
            st = vd_j_charge(r, 1);
    }
    return st == VD_OK ? vd_j_iter_new(r, list, ret) : st;
}

/* An attribute only, never an item of a dict. */
FILTER(attr)
{
    vd_jval name = call->arg[0];
    if (name.kind != VD_JKIND_STRING)
        return VD_J_FAIL(r, "attr() needs a name");
    if (self.kind == VD_JKIND_DICT && vd_j_find_method(self, name.u.s->data, name.u.s->n) == NULL)
        return vd_j_undefined(r, NULL, "dict", name.u.s, ret);
    return vd_j_getattr(r, self, name.u.s, ret);
}

static const vd_jbuiltin filters[] = {
    {"length", filter_length, "", false},
    {"count", filter_length, "", false},
    {"list", filter_list, "", false},
    {"first", filter_first, "", false},
    {"last", filter_last, "", false},
    {"reverse", filter_reverse, "", false},
    {"join", filter_join, "?d ?attribute", false},
    {"items", filter_items, "", false},
    {"dictsort", filter_dictsort, "?case_sensitive ?by ?reverse", false},
    {"sort", filter_sort, "?reverse ?case_sensitive ?attribute", false},
    {"unique", filter_unique, "?case_sensitive ?attribute", false},
    {"min", filter_min, "?case_sensitive ?attribute", false},
    {"max", filter_min, "?case_sensitive ?attribute", false},
    {"sum", filter_sum, "?attribute ?start", false},
    {"groupby", filter_groupby, "attribute ?default ?case_sensitive", false},
    {"batch", filter_batch, "linecount ?fill_with", false},
    {"slice", filter_slice, "slices ?fill_with", false},
    {"map", filter_map, NULL, false},
    {"select", filter_select, NULL, false},
    {"reject", filter_select, NULL, false},
    {"selectattr", filter_select, NULL, false},
    {"rejectattr", filter_select, NULL, false},
    {"attr", filter_attr, "name", false},
};

const vd_jbuiltin *vd_j_find_list_filter(const char *name, size_t n)
{
    return vd_j_find_in(filters, VD_COUNT(filters), name, n);
}

const vd_jbuiltin *vd_j_find_filter(const char *name, size_t n)
{
    const vd_jbuiltin *filter = vd_j_find_text_filter(name, n);
    if (filter == NULL)
        filter = vd_j_find_layout_filter(name, n);
    return filter != NULL ? filter : vd_j_find_list_filter(name, n);
}
