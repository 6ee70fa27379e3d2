/* arith.c - + - * / // % ** by Python's rules; what does not fit 64 bits is an error. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "text/jinja/value.h"

static const char *op_text(vd_jop op)
{
    static const char *const text[] = {"+", "-", "*", "/", "//", "%", "**",
                                       "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
    return text[op];
}

static bool is_int(vd_jval v)
{
    return v.kind == VD_JKIND_INT || v.kind == VD_JKIND_BOOL;
}

static int64_t as_int(vd_jval v)
{
    return v.kind == VD_JKIND_BOOL ? v.u.b : v.u.i;
}

static double as_float(vd_jval v)
{
    return v.kind == VD_JKIND_FLOAT ? v.u.f : (double)as_int(v);
}

static vd_status overflow(vd_jrender *r, vd_jop op)
{
    return VD_J_FAIL(r, "the result of '%s' does not fit 64 bits", op_text(op));
}

static vd_status int_power(vd_jrender *r, int64_t base, int64_t exponent, vd_jval *ret)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0)
            return VD_J_FAIL(r, "0 cannot be raised to a negative power");
        *ret = vd_j_float(pow((double)base, (double)exponent));
        return VD_OK;
    }
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result))
            return overflow(r, VD_JOP_POW);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
            return overflow(r, VD_JOP_POW);
    }
    *ret = vd_j_int(result);
    return VD_OK;
}

/* a // b and a % b: rounded down, and the rest has b's sign. */
static vd_status int_divide(vd_jrender *r, vd_jop op, int64_t a, int64_t b, vd_jval *ret)
{
    if (b == 0)
        return VD_J_FAIL(r, "division by zero");
    if (b == -1) { /* INT64_MIN / -1 and % -1 trap */
        if (op == VD_JOP_FLOORDIV && a == INT64_MIN)
            return overflow(r, op);
        *ret = vd_j_int(op == VD_JOP_FLOORDIV ? -a : 0);
        return VD_OK;
    }
    int64_t rest = a % b, floored = a / b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        floored--;
    }
    *ret = vd_j_int(op == VD_JOP_MOD ? rest : floored);
    return VD_OK;
}

static vd_status int_arith(vd_jrender *r, vd_jop op, int64_t a, int64_t b, vd_jval *ret)
{
    int64_t value = 0;
    switch (op) {
    case VD_JOP_ADD:
        if (__builtin_add_overflow(a, b, &value))
            return overflow(r, op);
        break;
    case VD_JOP_SUB:
        if (__builtin_sub_overflow(a, b, &value))
            return overflow(r, op);
        break;
    case VD_JOP_MUL:
        if (__builtin_mul_overflow(a, b, &value))
            return overflow(r, op);
        break;
    case VD_JOP_DIV:
        if (b == 0)
            return VD_J_FAIL(r, "division by zero");
        *ret = vd_j_float((double)a / (double)b);
        return VD_OK;
    case VD_JOP_POW:
        return int_power(r, a, b, ret);
    default:
        return int_divide(r, op, a, b, ret);
    }
    *ret = vd_j_int(value);
    return VD_OK;
}

static vd_status float_arith(vd_jrender *r, vd_jop op, double a, double b, vd_jval *ret)
{
    double value = 0;
    if (b == 0 && (op == VD_JOP_DIV || op == VD_JOP_FLOORDIV || op == VD_JOP_MOD))
        return VD_J_FAIL(r, "float division by zero");
    switch (op) {
    case VD_JOP_ADD:
        value = a + b;
        break;
    case VD_JOP_SUB:
        value = a - b;
        break;
    case VD_JOP_MUL:
        value = a * b;
        break;
    case VD_JOP_DIV:
        value = a / b;
        break;
    case VD_JOP_POW:
        if (a < 0 && b != floor(b))
            return VD_J_FAIL(r, "the power of a negative number is complex");
        if (a == 0 && b < 0)
            return VD_J_FAIL(r, "0.0 cannot be raised to a negative power");
        value = pow(a, b);
        if (isinf(value) && isfinite(a) && isfinite(b))
            return VD_J_FAIL(r, "the result of '**' is too large");
        break;
    default: {
        double rest = fmod(a, b);
        if (rest != 0 && (rest < 0) != (b < 0))
            rest += b;
        else if (rest == 0)
            rest = copysign(0.0, b);
        double quotient = (a - rest) / b;
        double floored = floor(quotient);
        if (quotient - floored > 0.5)
            floored += 1;
        value = op == VD_JOP_MOD ? rest : quotient == 0 ? copysign(0.0, a / b) : floored;
    }
    }
    *ret = vd_j_float(value);
    return VD_OK;
}

static vd_status repeat_string(vd_jrender *r, const vd_jstr *s, size_t count, vd_jval *ret)
{
    size_t n;
    char *data = NULL;
    if (!vd_mul_size(s->n, count, &n))
        return VD_J_LIMIT(r, "a text is too long");
    vd_status st = vd_j_alloc(r, n, 1, &data);
    for (size_t i = 0; st == VD_OK && i < n; i += s->n)
        memcpy(data + i, s->data, s->n);
    if (st == VD_OK)
        st = vd_j_str_wrap(r, data, n, ret);
    return st == VD_OK && s->safe ? vd_j_str_mark(r, ret->u.s, true, ret) : st;
}

static vd_status repeat_list(vd_jrender *r, const vd_jlist *from, size_t count, vd_jval *ret)
{
    size_t n;
    vd_jlist *list = NULL;
    if (!vd_mul_size(from->n, count, &n))
        return VD_J_LIMIT(r, "a list is too long");
    vd_status st = vd_j_charge(r, n);
    if (st == VD_OK)
        st = vd_j_list_new(r, n, &list);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n; i += from->n)
        memcpy(list->item + i, from->item, from->n * sizeof(vd_jval));
    list->n = n;
    list->flavour = from->flavour;
    *ret = vd_j_list(list);
    return VD_OK;
}

static bool is_sequence(vd_jval v)
{
    return v.kind == VD_JKIND_STRING ||
           (v.kind == VD_JKIND_LIST && v.u.list->flavour <= VD_JFLAVOUR_TUPLE);
}

static vd_status add_lists(vd_jrender *r, const vd_jlist *a, const vd_jlist *b, vd_jval *ret)
{
    size_t n = a->n + b->n; /* both lie in memory, so the sum fits */
    vd_jlist *list = NULL;
    vd_status st = vd_j_charge(r, n);
    if (st == VD_OK)
        st = vd_j_list_new(r, n, &list);
    if (st != VD_OK)
        return st;
    if (a->n > 0)
        memcpy(list->item, a->item, a->n * sizeof(vd_jval));
    if (b->n > 0)
        memcpy(list->item + a->n, b->item, b->n * sizeof(vd_jval));
    list->n = n;
    list->flavour = a->flavour;
    *ret = vd_j_list(list);
    return VD_OK;
}

static vd_status add_strings(vd_jrender *r, const vd_jstr *a, const vd_jstr *b, vd_jval *ret)
{
    vd_jval escaped;
    vd_status st = VD_OK;
    if (a->safe && !b->safe) {
        st = vd_j_escape(r, b, &escaped);
        b = st == VD_OK ? escaped.u.s : b;
    } else if (b->safe && !a->safe) {
        st = vd_j_escape(r, a, &escaped);
        a = st == VD_OK ? escaped.u.s : a;
    }
    return st == VD_OK ? vd_j_str_concat(r, a, b, ret) : st;
}

vd_status vd_j_arith(vd_jrender *r, vd_jop op, vd_jval a, vd_jval b, vd_jval *ret)
{
    bool numbers = (is_int(a) || a.kind == VD_JKIND_FLOAT) &&
                   (is_int(b) || b.kind == VD_JKIND_FLOAT);
    if (is_int(a) && is_int(b))
        return int_arith(r, op, as_int(a), as_int(b), ret);
    if (numbers)
        return float_arith(r, op, as_float(a), as_float(b), ret);
    if (op == VD_JOP_MOD && a.kind == VD_JKIND_STRING)
        return vd_j_percent(r, a.u.s, b, ret);
    if (a.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, a);
    if (b.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, b);
    if (op == VD_JOP_ADD && a.kind == VD_JKIND_STRING && b.kind == VD_JKIND_STRING)
        return add_strings(r, a.u.s, b.u.s, ret);
    if (op == VD_JOP_ADD && a.kind == VD_JKIND_LIST && b.kind == VD_JKIND_LIST &&
        a.u.list->flavour == b.u.list->flavour && is_sequence(a))
        return add_lists(r, a.u.list, b.u.list, ret);
    if (op == VD_JOP_MUL && ((is_sequence(a) && is_int(b)) || (is_int(a) && is_sequence(b)))) {
        vd_jval sequence = is_int(a) ? b : a;
        int64_t times = as_int(is_int(a) ? a : b);
        size_t count = times > 0 ? (size_t)times : 0;
        return sequence.kind == VD_JKIND_STRING ? repeat_string(r, sequence.u.s, count, ret)
                                                : repeat_list(r, sequence.u.list, count, ret);
    }
    return VD_J_FAIL(r, "'%s' is not supported between '%s' and '%s'", op_text(op),
                     vd_j_type_name(a), vd_j_type_name(b));
}

vd_status vd_j_relation(vd_jrender *r, vd_jop op, vd_jval a, vd_jval b, bool *ret)
{
    bool is = false;
    int c = 0;
    vd_status st;
    switch (op) {
    case VD_JOP_EQ:
    case VD_JOP_NE:
        st = vd_j_equal(r, a, b, &is);
        *ret = is == (op == VD_JOP_EQ);
        return st;
    case VD_JOP_IN:
    case VD_JOP_NOT_IN:
        st = vd_j_contains(r, b, a, &is);
        *ret = is == (op == VD_JOP_IN);
        return st;
    default:
        st = vd_j_compare(r, a, b, op_text(op), &c);
        /* 2 stands for an unordered pair: every order with a NaN is false */
        *ret = c != 2 && (op == VD_JOP_LT   ? c < 0
                          : op == VD_JOP_LE ? c <= 0
                          : op == VD_JOP_GT ? c > 0 : c >= 0);
        return st;
    }
}
