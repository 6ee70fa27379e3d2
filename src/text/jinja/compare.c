/* compare.c - truth, types, equality and order, as Python has them. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/value.h"

bool vd_j_length(vd_jval value, size_t *ret)
{
    switch (value.kind) {
    case VD_JKIND_UNDEFINED:
        *ret = 0;
        return true;
    case VD_JKIND_STRING:
        *ret = vd_j_str_chars(value.u.s);
        return true;
    case VD_JKIND_LIST:
        *ret = value.u.list->n;
        return true;
    case VD_JKIND_DICT:
        *ret = value.u.dict->n;
        return true;
    default:
        return false;
    }
}

bool vd_j_truth(vd_jval value)
{
    size_t n = 0;
    switch (value.kind) {
    case VD_JKIND_UNDEFINED:
    case VD_JKIND_ABSENT:
    case VD_JKIND_NONE:
        return false;
    case VD_JKIND_BOOL:
        return value.u.b;
    case VD_JKIND_INT:
        return value.u.i != 0;
    case VD_JKIND_FLOAT:
        return value.u.f != 0;
    case VD_JKIND_STRING:
        return value.u.s->n > 0;
    default:
        return !vd_j_length(value, &n) || n > 0;
    }
}

const char *vd_j_type_name(vd_jval value)
{
    static const char *const lists[] = {"list", "tuple", "range", "dict_keys", "dict_values",
                                        "dict_items"};
    switch (value.kind) {
    case VD_JKIND_UNDEFINED:
    case VD_JKIND_ABSENT:
        return "Undefined";
    case VD_JKIND_NONE:
        return "NoneType";
    case VD_JKIND_BOOL:
        return "bool";
    case VD_JKIND_INT:
        return "int";
    case VD_JKIND_FLOAT:
        return "float";
    case VD_JKIND_STRING:
        return value.u.s->safe ? "Markup" : "str";
    case VD_JKIND_LIST:
        return lists[value.u.list->flavour];
    case VD_JKIND_DICT:
        return "dict";
    case VD_JKIND_ITER:
        return "generator";
    case VD_JKIND_SLICE:
        return "slice";
    case VD_JKIND_NAMESPACE:
        return "Namespace";
    case VD_JKIND_MACRO:
        return "Macro";
    case VD_JKIND_LOOP:
        return "LoopContext";
    case VD_JKIND_CYCLER:
        return "Cycler";
    case VD_JKIND_JOINER:
        return "Joiner";
    default:
        return "function";
    }
}

static bool is_number(vd_jval v)
{
    return v.kind == VD_JKIND_BOOL || v.kind == VD_JKIND_INT || v.kind == VD_JKIND_FLOAT;
}

static int64_t as_int(vd_jval v)
{
    return v.kind == VD_JKIND_BOOL ? v.u.b : v.u.i;
}

/* -1, 0, 1, exact also between int and float; 2 where a NaN is in it. */
static int compare_numbers(vd_jval a, vd_jval b)
{
    if (a.kind != VD_JKIND_FLOAT && b.kind != VD_JKIND_FLOAT)
        return (as_int(a) > as_int(b)) - (as_int(a) < as_int(b));
    if (a.kind == VD_JKIND_FLOAT && b.kind == VD_JKIND_FLOAT)
        return isnan(a.u.f) || isnan(b.u.f) ? 2 : (a.u.f > b.u.f) - (a.u.f < b.u.f);
    if (a.kind == VD_JKIND_FLOAT) {
        int c = compare_numbers(b, a);
        return c == 2 ? 2 : -c;
    }
    double f = b.u.f;
    if (isnan(f))
        return 2;
    if (f >= 9223372036854775808.0)
        return -1;
    if (f < -9223372036854775808.0)
        return 1;
    int64_t whole = (int64_t)f; /* towards zero */
    if (as_int(a) != whole)
        return as_int(a) > whole ? 1 : -1;
    double rest = f - (double)whole;
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

/* -1, 0 or 1: a 2 would say that the two have no order. */
static int compare_strings(const vd_jstr *a, const vd_jstr *b)
{
    size_t n = VD_MIN(a->n, b->n);
    int c = n > 0 ? memcmp(a->data, b->data, n) : 0; /* UTF-8 sorts as its code points */
    return c != 0 ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
}

static vd_status equal_lists(vd_jrender *r, const vd_jlist *a, const vd_jlist *b, bool *ret)
{
    bool equal = a == b || (a->flavour == b->flavour && a->n == b->n);
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; st == VD_OK && equal && a != b && i < a->n; i++)
        st = vd_j_equal(r, a->item[i], b->item[i], &equal);
    r->depth--;
    *ret = equal;
    return st;
}

static vd_status equal_dicts(vd_jrender *r, const vd_jdict *a, const vd_jdict *b, bool *ret)
{
    bool equal = a == b || a->n == b->n;
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; st == VD_OK && equal && a != b && i < a->n; i++) {
        vd_jentry *other = NULL;
        st = vd_j_dict_find(r, b, a->entry[i].key, &other);
        if (st == VD_OK && other == NULL)
            equal = false;
        else if (st == VD_OK)
            st = vd_j_equal(r, a->entry[i].value, other->value, &equal);
    }
    r->depth--;
    *ret = equal;
    return st;
}

vd_status vd_j_equal(vd_jrender *r, vd_jval a, vd_jval b, bool *ret)
{
    vd_status st = vd_j_charge(r, 1);
    if (st != VD_OK)
        return st;
    if (is_number(a) && is_number(b)) {
        *ret = compare_numbers(a, b) == 0;
        return VD_OK;
    }
    if (a.kind != b.kind) {
        *ret = false;
        return VD_OK;
    }
    switch (a.kind) {
    case VD_JKIND_STRING:
        *ret = a.u.s->n == b.u.s->n && compare_strings(a.u.s, b.u.s) == 0;
        return vd_j_charge_bytes(r, a.u.s->n);
    case VD_JKIND_LIST:
        return equal_lists(r, a.u.list, b.u.list, ret);
    case VD_JKIND_DICT:
        return equal_dicts(r, a.u.dict, b.u.dict, ret);
    case VD_JKIND_NONE:
    case VD_JKIND_UNDEFINED:
        *ret = true;
        return VD_OK;
    case VD_JKIND_METHOD:
        *ret = a.u.method->builtin == b.u.method->builtin;
        return *ret ? vd_j_equal(r, a.u.method->self, b.u.method->self, ret) : VD_OK;
    default:
        *ret = a.u.macro == b.u.macro; /* identity */
        return VD_OK;
    }
}

vd_status vd_j_compare(vd_jrender *r, vd_jval a, vd_jval b, const char *op, int *ret)
{
    vd_status st = vd_j_charge(r, 1);
    if (st != VD_OK)
        return st;
    if (a.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, a);
    if (b.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, b);
    if (is_number(a) && is_number(b)) {
        *ret = compare_numbers(a, b);
        return VD_OK;
    }
    if (a.kind == VD_JKIND_STRING && b.kind == VD_JKIND_STRING) {
        *ret = compare_strings(a.u.s, b.u.s);
        return vd_j_charge_bytes(r, VD_MIN(a.u.s->n, b.u.s->n));
    }
    if (a.kind != VD_JKIND_LIST || b.kind != VD_JKIND_LIST ||
        a.u.list->flavour != b.u.list->flavour || a.u.list->flavour > VD_JFLAVOUR_TUPLE)
        return VD_J_FAIL(r, "'%s' is not supported between '%s' and '%s'", op, vd_j_type_name(a),
                         vd_j_type_name(b));
    const vd_jlist *x = a.u.list, *y = b.u.list;
    st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    int c = 0;
    size_t i = 0;
    for (; st == VD_OK && i < VD_MIN(x->n, y->n); i++) {
        bool equal = false;
        st = vd_j_equal(r, x->item[i], y->item[i], &equal);
        if (st == VD_OK && !equal) {
            st = vd_j_compare(r, x->item[i], y->item[i], op, &c);
            break;
        }
    }
    r->depth--;
    *ret = i < VD_MIN(x->n, y->n) ? c : (x->n > y->n) - (x->n < y->n);
    return st;
}
