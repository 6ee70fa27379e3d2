/* tests.c - "x is name". Names and meanings are Jinja's. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/unicode.h"
#include "text/jinja/value.h"

#define TEST(name) \
    static vd_status test_##name(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret)

static vd_status answer(vd_jval *ret, bool b)
{
    *ret = vd_j_bool(b);
    return VD_OK;
}

TEST(defined)
{
    return answer(ret, self.kind != VD_JKIND_UNDEFINED);
}
TEST(undefined)
{
    return answer(ret, self.kind == VD_JKIND_UNDEFINED);
}
TEST(none)
{
    return answer(ret, self.kind == VD_JKIND_NONE);
}
TEST(boolean)
{
    return answer(ret, self.kind == VD_JKIND_BOOL);
}
TEST(true)
{
    return answer(ret, self.kind == VD_JKIND_BOOL && self.u.b);
}
TEST(false)
{
    return answer(ret, self.kind == VD_JKIND_BOOL && !self.u.b);
}
TEST(integer)
{
    return answer(ret, self.kind == VD_JKIND_INT);
}
TEST(float)
{
    return answer(ret, self.kind == VD_JKIND_FLOAT);
}
TEST(number) /* Python counts booleans among the numbers */
{
    return answer(ret, self.kind == VD_JKIND_INT || self.kind == VD_JKIND_FLOAT ||
                           self.kind == VD_JKIND_BOOL);
}
TEST(string)
{
    return answer(ret, self.kind == VD_JKIND_STRING);
}
TEST(mapping)
{
    return answer(ret, self.kind == VD_JKIND_DICT);
}
TEST(iterable)
{
    return answer(ret, vd_j_iterable(self) || self.kind == VD_JKIND_LOOP);
}
TEST(callable)
{
    return answer(ret, vd_j_callable(self));
}
TEST(escaped)
{
    return answer(ret, self.kind == VD_JKIND_STRING && self.u.s->safe);
}

/* What has a length and items: dict views have none of the latter. Undefined has neither. */
TEST(sequence)
{
    return answer(ret, self.kind == VD_JKIND_UNDEFINED || self.kind == VD_JKIND_STRING ||
                           self.kind == VD_JKIND_DICT ||
                           (self.kind == VD_JKIND_LIST &&
                            self.u.list->flavour <= VD_JFLAVOUR_RANGE));
}

TEST(sameas)
{
    vd_jval other = call->arg[0];
    if (self.kind != other.kind)
        return answer(ret, false);
    switch (self.kind) {
    case VD_JKIND_NONE:
        return answer(ret, true);
    case VD_JKIND_BOOL:
        return answer(ret, self.u.b == other.u.b);
    case VD_JKIND_INT:
        return answer(ret, self.u.i == other.u.i);
    case VD_JKIND_STRING: {
        bool same = false;
        vd_status st = vd_j_equal(r, self, other, &same);
        return st == VD_OK ? answer(ret, same) : st;
    }
    default:
        return answer(ret, self.u.macro == other.u.macro);
    }
}

static vd_status relation(vd_jrender *r, vd_jop op, vd_jval self, vd_jval other, vd_jval *ret)
{
    bool b = false;
    vd_status st = vd_j_relation(r, op, self, other, &b);
    return st == VD_OK ? answer(ret, b) : st;
}

TEST(eq)
{
    return relation(r, VD_JOP_EQ, self, call->arg[0], ret);
}
TEST(ne)
{
    return relation(r, VD_JOP_NE, self, call->arg[0], ret);
}
TEST(lt)
{
    return relation(r, VD_JOP_LT, self, call->arg[0], ret);
}
TEST(le)
{
    return relation(r, VD_JOP_LE, self, call->arg[0], ret);
}
TEST(gt)
{
    return relation(r, VD_JOP_GT, self, call->arg[0], ret);
}
TEST(ge)
{
    return relation(r, VD_JOP_GE, self, call->arg[0], ret);
}
TEST(in)
{
    return relation(r, VD_JOP_IN, self, call->arg[0], ret);
}

static vd_status remainder_is(vd_jrender *r, vd_jval self, vd_jval num, int64_t want, vd_jval *ret)
{
    vd_jval rest;
    vd_status st = vd_j_arith(r, VD_JOP_MOD, self, num, &rest);
    return st == VD_OK ? relation(r, VD_JOP_EQ, rest, vd_j_int(want), ret) : st;
}

TEST(divisibleby)
{
    return remainder_is(r, self, call->arg[0], 0, ret);
}
TEST(odd)
{
    return remainder_is(r, self, vd_j_int(2), 1, ret);
}
TEST(even)
{
    return remainder_is(r, self, vd_j_int(2), 0, ret);
}

/* str(x).islower() and isupper(): some cased character, and none of the other case. */
static vd_status all_of_case(vd_jrender *r, vd_jval self, bool upper, vd_jval *ret)
{
    const vd_jstr *s = NULL;
    vd_status st = vd_j_to_str(r, self, &s);
    if (st != VD_OK)
        return st;
    bool some = false;
    for (size_t at = 0; at < s->n;) {
        uint32_t code = vd_j_next(s->data, s->n, &at);
        if (vd_j_is_title(code) || (upper ? vd_j_is_lower(code) : vd_j_is_upper(code)))
            return answer(ret, false);
        some = some || vd_j_is_cased(code);
    }
    return answer(ret, some);
}

TEST(lower)
{
    return all_of_case(r, self, false, ret);
}
TEST(upper)
{
    return all_of_case(r, self, true, ret);
}

static vd_status is_known(vd_jrender *r, vd_jval self,
                          const vd_jbuiltin *(*look)(const char *name, size_t n), vd_jval *ret)
{
    if (self.kind != VD_JKIND_STRING)
        return answer(ret, false);
    return answer(ret, look(self.u.s->data, self.u.s->n) != NULL);
}

TEST(filter)
{
    return is_known(r, self, vd_j_find_filter, ret);
}
TEST(test)
{
    return is_known(r, self, vd_j_find_test, ret);
}

static const vd_jbuiltin tests[] = {
    {"defined", test_defined, "", false},
    {"undefined", test_undefined, "", false},
    {"none", test_none, "", false},
    {"boolean", test_boolean, "", false},
    {"true", test_true, "", false},
    {"false", test_false, "", false},
    {"integer", test_integer, "", false},
    {"float", test_float, "", false},
    {"number", test_number, "", false},
    {"string", test_string, "", false},
    {"mapping", test_mapping, "", false},
    {"iterable", test_iterable, "", false},
    {"sequence", test_sequence, "", false},
    {"callable", test_callable, "", false},
    {"escaped", test_escaped, "", false},
    {"sameas", test_sameas, "other", false},
    {"eq", test_eq, "other", false},
    {"equalto", test_eq, "other", false},
    {"==", test_eq, "other", false},
    {"ne", test_ne, "other", false},
    {"!=", test_ne, "other", false},
    {"lt", test_lt, "other", false},
    {"lessthan", test_lt, "other", false},
    {"<", test_lt, "other", false},
    {"le", test_le, "other", false},
    {"<=", test_le, "other", false},
    {"gt", test_gt, "other", false},
    {"greaterthan", test_gt, "other", false},
    {">", test_gt, "other", false},
    {"ge", test_ge, "other", false},
    {">=", test_ge, "other", false},
    {"in", test_in, "seq", false},
    {"divisibleby", test_divisibleby, "num", false},
    {"odd", test_odd, "", false},
    {"even", test_even, "", false},
    {"lower", test_lower, "", false},
    {"upper", test_upper, "", false},
    {"filter", test_filter, "", false},
    {"test", test_test, "", false},
};

const vd_jbuiltin *vd_j_find_test(const char *name, size_t n)
{
    return vd_j_find_in(tests, VD_COUNT(tests), name, n);
}
