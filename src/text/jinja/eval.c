/* eval.c - the value of an expression. */
#include "text/jinja/eval.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"

vd_status vd_j_scope_new(vd_jrender *r, vd_jscope *parent, vd_jscope **ret)
{
    vd_status st = vd_j_alloc(r, 1, sizeof(vd_jscope), ret);
    if (st == VD_OK)
        (*ret)->parent = parent;
    return st;
}

vd_status vd_j_assign(vd_jrender *r, vd_jscope *scope, uint32_t symbol, vd_jval value)
{
    for (size_t i = 0; i < scope->n; i++)
        if (scope->var[i].symbol == symbol) {
            scope->var[i].value = value;
            return VD_OK;
        }
    if (scope->n == scope->capacity) {
        vd_jvar *grown = NULL;
        size_t capacity = scope->capacity == 0 ? 4 : scope->capacity * 2;
        vd_status st = vd_j_alloc(r, capacity, sizeof(*grown), &grown);
        if (st != VD_OK)
            return st;
        if (scope->n > 0)
            memcpy(grown, scope->var, scope->n * sizeof(*grown));
        scope->var = grown;
        scope->capacity = capacity;
    }
    scope->var[scope->n++] = (vd_jvar){.symbol = symbol, .value = value};
    return VD_OK;
}

static vd_status eval_name(vd_jrender *r, uint32_t symbol, vd_jval *ret)
{
    size_t n_seen = 0;
    for (const vd_jscope *scope = r->scope; scope != NULL; scope = scope->parent) {
        for (size_t i = 0; i < scope->n; i++)
            if (scope->var[i].symbol == symbol) {
                *ret = scope->var[i].value;
                return VD_OK;
            }
        n_seen += scope->n;
    }
    const vd_jsymbol *s = &r->tmpl->symbol[symbol];
    if (s->global != NULL) {
        *ret = (vd_jval){.kind = VD_JKIND_FUNCTION, .u.builtin = s->global};
        return VD_OK;
    }
    vd_status st = vd_j_charge(r, n_seen / 16);
    return st == VD_OK ? vd_j_undefined(r, NULL, NULL, s->name, ret) : st;
}

static vd_status eval_list(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jlist *list = NULL;
    vd_status st = vd_j_list_new(r, node->items.n, &list);
    if (st != VD_OK)
        return st;
    list->flavour = node->type == VD_JNODE_TUPLE ? VD_JFLAVOUR_TUPLE : VD_JFLAVOUR_LIST;
    for (size_t i = 0; st == VD_OK && i < node->items.n; i++) {
        vd_jval item;
        st = vd_j_eval(r, node->items.at[i], &item);
        if (st == VD_OK)
            list->item[list->n++] = item;
    }
    *ret = vd_j_list(list);
    return st;
}

static vd_status eval_dict(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jdict *dict = NULL;
    vd_status st = vd_j_dict_new(r, &dict);
    for (size_t i = 0; st == VD_OK && i + 1 < node->items.n; i += 2) {
        vd_jval key, value;
        st = vd_j_eval(r, node->items.at[i], &key);
        if (st == VD_OK)
            st = vd_j_eval(r, node->items.at[i + 1], &value);
        if (st == VD_OK)
            st = vd_j_dict_put(r, dict, key, value);
    }
    if (st == VD_OK)
        *ret = vd_j_dict(dict);
    return st;
}

static vd_status eval_slice(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    const vd_jnode *const part[3] = {node->a, node->b, node->c};
    vd_jlist *list = NULL;
    vd_status st = vd_j_list_new(r, 3, &list);
    for (size_t i = 0; st == VD_OK && i < 3; i++) {
        list->item[i] = vd_j_none();
        if (part[i] != NULL)
            st = vd_j_eval(r, part[i], &list->item[i]);
    }
    if (st == VD_OK)
        *ret = (vd_jval){.kind = VD_JKIND_SLICE, .u.list = list};
    return st;
}

static vd_status eval_math(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval sum, next;
    vd_status st = vd_j_eval(r, node->items.at[0], &sum);
    for (size_t i = 1; st == VD_OK && i < node->items.n; i++) {
        st = vd_j_eval(r, node->items.at[i], &next);
        r->line = node->line;
        if (st == VD_OK)
            st = vd_j_arith(r, (vd_jop)node->ops[i - 1], sum, next, &sum);
    }
    if (st == VD_OK)
        *ret = sum;
    return st;
}

/* a < b < c: each operand once, false as soon as one pair is. */
static vd_status eval_compare(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval left, right;
    bool holds = true;
    vd_status st = vd_j_eval(r, node->items.at[0], &left);
    for (size_t i = 1; st == VD_OK && holds && i < node->items.n; i++) {
        st = vd_j_eval(r, node->items.at[i], &right);
        r->line = node->line;
        if (st == VD_OK)
            st = vd_j_relation(r, (vd_jop)node->ops[i - 1], left, right, &holds);
        left = right;
    }
    if (st == VD_OK)
        *ret = vd_j_bool(holds);
    return st;
}

static vd_status eval_concat(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    const vd_jstr *sum = NULL;
    vd_jval value;
    assert(node->items.n > 0); /* the parser makes no chain without operands */
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < node->items.n; i++) {
        const vd_jstr *next = NULL;
        st = vd_j_eval(r, node->items.at[i], &value);
        if (st == VD_OK)
            st = vd_j_to_str(r, value, &next);
        if (st == VD_OK && sum != NULL) {
            st = vd_j_str_concat(r, sum, next, &value);
            next = st == VD_OK ? value.u.s : NULL;
        }
        sum = next;
    }
    if (st == VD_OK && sum->safe)
        return vd_j_str_mark(r, sum, false, ret); /* ~ joins plain text */
    if (st == VD_OK)
        *ret = vd_j_string(sum);
    return st;
}

/* The operand that decides, as Python has it. */
static vd_status eval_logic(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_status st = VD_OK;
    for (size_t i = 0; i < node->items.n; i++) {
        st = vd_j_eval(r, node->items.at[i], ret);
        if (st != VD_OK || vd_j_truth(*ret) == (node->type == VD_JNODE_OR))
            break;
    }
    return st;
}

static vd_status eval_sign(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval value;
    vd_status st = vd_j_eval(r, node->a, &value);
    if (st != VD_OK)
        return st;
    if (value.kind == VD_JKIND_FLOAT) {
        *ret = vd_j_float(node->type == VD_JNODE_NEG ? -value.u.f : value.u.f);
        return VD_OK;
    }
    if (value.kind == VD_JKIND_INT || value.kind == VD_JKIND_BOOL)
        return vd_j_arith(r, node->type == VD_JNODE_NEG ? VD_JOP_SUB : VD_JOP_ADD, vd_j_int(0),
                          value, ret);
    if (value.kind == VD_JKIND_UNDEFINED)
        return vd_j_undefined_fail(r, value);
    return VD_J_FAIL(r, "a sign does not apply to '%s'", vd_j_type_name(value));
}

static vd_status eval_condition(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval test;
    vd_status st = vd_j_eval(r, node->a, &test);
    if (st != VD_OK)
        return st;
    if (vd_j_truth(test))
        return vd_j_eval(r, node->b, ret);
    if (node->c != NULL)
        return vd_j_eval(r, node->c, ret);
    return vd_j_undefined(r, "the inline if-expression is false and has no else", NULL, NULL, ret);
}

vd_status vd_j_eval_args(vd_jrender *r, const vd_jnode_args *args, vd_jargs *ret)
{
    vd_jlist *more = NULL;
    vd_jdict *named = NULL;
    vd_jval star, *pos = NULL;
    vd_jkwarg *kw = NULL;
    vd_jval *given = NULL;
    *ret = (vd_jargs){0};
    if (args == NULL)
        return VD_OK;
    vd_status st = vd_j_alloc(r, args->pos.n, sizeof(*given), &given);
    for (size_t i = 0; st == VD_OK && i < args->pos.n; i++)
        st = vd_j_eval(r, args->pos.at[i], &given[i]);
    pos = given;
    ret->n_pos = args->pos.n;
    ret->n_kw = args->n_kw;
    if (st == VD_OK && args->star != NULL) {
        st = vd_j_eval(r, args->star, &star);
        if (st == VD_OK)
            st = vd_j_items(r, star, &more);
        if (st == VD_OK)
            st = vd_j_alloc(r, args->pos.n + more->n, sizeof(*pos), &pos);
        if (st != VD_OK)
            return st;
        memcpy(pos, given, args->pos.n * sizeof(*pos));
        if (more->n > 0)
            memcpy(pos + args->pos.n, more->item, more->n * sizeof(*pos));
        ret->n_pos += more->n;
    }
    if (st == VD_OK && args->star_star != NULL) {
        st = vd_j_eval(r, args->star_star, &star);
        if (st == VD_OK && star.kind != VD_JKIND_DICT)
            st = VD_J_FAIL(r, "** needs a dict, not '%s'", vd_j_type_name(star));
        named = st == VD_OK ? star.u.dict : NULL;
        ret->n_kw += named != NULL ? named->n : 0;
    }
    if (st == VD_OK)
        st = vd_j_alloc(r, ret->n_kw, sizeof(*kw), &kw);
    for (size_t i = 0; st == VD_OK && i < args->n_kw; i++) {
        kw[i].name = args->kw[i].name;
        st = vd_j_eval(r, args->kw[i].value, &kw[i].value);
    }
    for (size_t i = 0; st == VD_OK && named != NULL && i < named->n; i++) {
        if (named->entry[i].key.kind != VD_JKIND_STRING)
            return VD_J_FAIL(r, "names of arguments are texts");
        kw[args->n_kw + i] = (vd_jkwarg){.name = named->entry[i].key.u.s,
                                         .value = named->entry[i].value};
    }
    ret->pos = pos;
    ret->kw = kw;
    return st;
}

static vd_status eval_filter_or_test(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval self;
    vd_jargs args;
    bool is_test = node->type == VD_JNODE_TEST;
    vd_status st = vd_j_eval(r, node->a, &self);
    if (st == VD_OK)
        st = vd_j_eval_args(r, node->args, &args);
    r->line = node->line;
    if (st == VD_OK && node->builtin == NULL)
        st = VD_J_FAIL(r, "there is no %s '%.*s'", is_test ? "test" : "filter",
                       (int)VD_MIN(node->text->n, (size_t)60), node->text->data);
    if (st == VD_OK)
        st = vd_j_call_builtin(r, node->builtin, self, &args, ret);
    if (st == VD_OK && is_test)
        *ret = vd_j_bool(vd_j_truth(*ret) != node->flag);
    return st;
}

static vd_status eval_call(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval callee;
    vd_jargs args;
    vd_status st = vd_j_eval(r, node->a, &callee);
    if (st == VD_OK)
        st = vd_j_eval_args(r, node->args, &args);
    r->line = node->line;
    return st == VD_OK ? vd_j_call(r, callee, &args, ret) : st;
}

static vd_status eval_access(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval object, key;
    vd_status st = vd_j_eval(r, node->a, &object);
    if (st == VD_OK && node->type == VD_JNODE_GETITEM)
        st = vd_j_eval(r, node->b, &key);
    r->line = node->line;
    if (st != VD_OK)
        return st;
    return node->type == VD_JNODE_GETITEM ? vd_j_getitem(r, object, key, ret)
                                          : vd_j_getattr(r, object, node->text, ret);
}

static vd_status eval_inside(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jval value;
    vd_status st;
    switch (node->type) {
    case VD_JNODE_CONST:
        *ret = node->value;
        return VD_OK;
    case VD_JNODE_NAME:
        return eval_name(r, node->symbol, ret);
    case VD_JNODE_LIST:
    case VD_JNODE_TUPLE:
        return eval_list(r, node, ret);
    case VD_JNODE_DICT:
        return eval_dict(r, node, ret);
    case VD_JNODE_GETATTR:
    case VD_JNODE_GETITEM:
        return eval_access(r, node, ret);
    case VD_JNODE_SLICE:
        return eval_slice(r, node, ret);
    case VD_JNODE_CALL:
        return eval_call(r, node, ret);
    case VD_JNODE_FILTER:
    case VD_JNODE_TEST:
        return eval_filter_or_test(r, node, ret);
    case VD_JNODE_CAPTURED:
        *ret = r->captured;
        return VD_OK;
    case VD_JNODE_NOT:
        st = vd_j_eval(r, node->a, &value);
        if (st == VD_OK)
            *ret = vd_j_bool(!vd_j_truth(value));
        return st;
    case VD_JNODE_NEG:
    case VD_JNODE_POS:
        return eval_sign(r, node, ret);
    case VD_JNODE_MATH:
        return eval_math(r, node, ret);
    case VD_JNODE_COMPARE:
        return eval_compare(r, node, ret);
    case VD_JNODE_CONCAT:
        return eval_concat(r, node, ret);
    case VD_JNODE_AND:
    case VD_JNODE_OR:
        return eval_logic(r, node, ret);
    case VD_JNODE_COND:
        return eval_condition(r, node, ret);
    default:
        return VD_J_FAIL(r, "a statement stands where an expression should");
    }
}

vd_status vd_j_eval(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    r->line = node->line;
    vd_status st = vd_j_charge(r, 1);
    if (st == VD_OK)
        st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    st = eval_inside(r, node, ret);
    r->depth--;
    return st;
}
