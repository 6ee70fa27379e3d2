/*
 * methods_more.c - methods of dicts, lists, loops and cyclers. Those that would change a
 * value are known, so that asking for one says that it is forbidden, and no item is taken for it.
 */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/eval.h"
#include "text/jinja/methods.h"

#define METHOD(name) \
    static vd_status name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

METHOD(dict_get)
{
    vd_jentry *entry = NULL;
    vd_status st = vd_j_dict_find(r, self.u.dict, call->arg[0], &entry);
    if (st != VD_OK)
        return st;
    *ret = entry != NULL ? entry->value
           : call->arg[1].kind == VD_JKIND_ABSENT ? vd_j_none() : call->arg[1];
    return VD_OK;
}

/* keys, values, items */
METHOD(dict_view)
{
    vd_jlist *list = NULL;
    char what = call->builtin->name[0];
    const vd_jdict *dict = self.u.dict;
    vd_status st = vd_j_list_new(r, dict->n, &list);
    for (size_t i = 0; st == VD_OK && i < dict->n; i++) {
        vd_jval value = what == 'k' ? dict->entry[i].key : dict->entry[i].value;
        if (what == 'i')
            st = vd_j_pair(r, dict->entry[i].key, dict->entry[i].value, &value);
        if (st == VD_OK)
            st = vd_j_list_push(r, list, value);
    }
    if (st != VD_OK)
        return st;
    list->flavour = what == 'k'   ? VD_JFLAVOUR_KEYS
                    : what == 'v' ? VD_JFLAVOUR_VALUES : VD_JFLAVOUR_ITEMS;
    *ret = vd_j_list(list);
    return VD_OK;
}

METHOD(copy)
{
    *ret = self; /* values never change, so the copy may be the thing itself */
    return VD_OK;
}

METHOD(list_count)
{
    int64_t n = 0;
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < self.u.list->n; i++) {
        bool equal = false;
        st = vd_j_equal(r, self.u.list->item[i], call->arg[0], &equal);
        n += equal;
    }
    *ret = vd_j_int(n);
    return st;
}

METHOD(list_index)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < self.u.list->n; i++) {
        bool equal = false;
        st = vd_j_equal(r, self.u.list->item[i], call->arg[0], &equal);
        if (st == VD_OK && equal) {
            *ret = vd_j_int((int64_t)i);
            return VD_OK;
        }
    }
    return st == VD_OK ? VD_J_FAIL(r, "the item is not in the list") : st;
}

METHOD(loop_cycle)
{
    if (call->raw->n_pos == 0 || call->raw->n_kw > 0)
        return VD_J_FAIL(r, "no items for cycling given");
    *ret = call->raw->pos[self.u.loop->index0 % call->raw->n_pos];
    return VD_OK;
}

METHOD(loop_changed)
{
    vd_jlist *now = NULL;
    bool same = false;
    vd_jloop *loop = self.u.loop;
    vd_status st = vd_j_list_new(r, call->raw->n_pos, &now);
    for (size_t i = 0; st == VD_OK && i < call->raw->n_pos; i++)
        st = vd_j_list_push(r, now, call->raw->pos[i]);
    if (st == VD_OK && loop->changed.kind == VD_JKIND_LIST)
        st = vd_j_equal(r, loop->changed, vd_j_list(now), &same);
    if (st != VD_OK)
        return st;
    loop->changed = vd_j_list(now);
    *ret = vd_j_bool(!same);
    return VD_OK;
}

METHOD(cycler_next)
{
    vd_jcycler *cycler = self.u.cycler;
    *ret = cycler->items->item[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->items->n;
    return VD_OK;
}

METHOD(cycler_reset)
{
    self.u.cycler->at = 0;
    *ret = vd_j_none();
    return VD_OK;
}

METHOD(forbidden)
{
    return VD_J_FAIL(r, "%s() is not allowed in a template", call->builtin->name);
}

static const vd_jbuiltin dict_methods[] = {
    {"get", dict_get, "key ?default", false},
    {"keys", dict_view, "", false},
    {"values", dict_view, "", false},
    {"items", dict_view, "", false},
    {"copy", copy, "", false},
    {"clear", forbidden, NULL, true},
    {"pop", forbidden, NULL, true},
    {"popitem", forbidden, NULL, true},
    {"setdefault", forbidden, NULL, true},
    {"update", forbidden, NULL, true},
};

static const vd_jbuiltin list_methods[] = {
    {"count", list_count, "value", false},
    {"index", list_index, "value", false},
    {"copy", copy, "", false},
    {"append", forbidden, NULL, true},
    {"clear", forbidden, NULL, true},
    {"extend", forbidden, NULL, true},
    {"insert", forbidden, NULL, true},
    {"pop", forbidden, NULL, true},
    {"remove", forbidden, NULL, true},
    {"reverse", forbidden, NULL, true},
    {"sort", forbidden, NULL, true},
};

static const vd_jbuiltin loop_methods[] = {
    {"cycle", loop_cycle, NULL, false},
    {"changed", loop_changed, NULL, false},
};

static const vd_jbuiltin cycler_methods[] = {
    {"next", cycler_next, "", false},
    {"reset", cycler_reset, "", false},
};

const vd_jbuiltin *vd_j_find_method(vd_jval self, const char *name, size_t n)
{
    switch (self.kind) {
    case VD_JKIND_STRING:
        return vd_j_find_str_method(name, n);
    case VD_JKIND_DICT:
        return vd_j_find_in(dict_methods, VD_COUNT(dict_methods), name, n);
    case VD_JKIND_LIST: /* tuples and ranges have the first two, views none */
        return self.u.list->flavour > VD_JFLAVOUR_RANGE ? NULL
               : vd_j_find_in(list_methods,
                              self.u.list->flavour == VD_JFLAVOUR_LIST ? VD_COUNT(list_methods)
                                                                       : 2, name, n);
    case VD_JKIND_LOOP:
        return vd_j_find_in(loop_methods, VD_COUNT(loop_methods), name, n);
    case VD_JKIND_CYCLER:
        return vd_j_find_in(cycler_methods, VD_COUNT(cycler_methods), name, n);
    default:
        return NULL;
    }
}
