/* call.c - calling: macros, recursive loops, functions, methods, filters and tests. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/eval.h"

bool vd_j_callable(vd_jval value)
{
    return value.kind == VD_JKIND_MACRO || value.kind == VD_JKIND_LOOP ||
           value.kind == VD_JKIND_FUNCTION || value.kind == VD_JKIND_METHOD ||
           value.kind == VD_JKIND_JOINER || value.kind == VD_JKIND_UNDEFINED;
}

static bool same_name(const vd_jstr *a, const vd_jstr *b)
{
    return a->n == b->n && memcmp(a->data, b->data, a->n) == 0;
}

/* --- functions with a parameter list --- */

/* The i-th word of "old new ?count"; NULL behind the last. */
static const char *param_at(const char *params, size_t i, size_t *ret_n, bool *ret_optional)
{
    while (*params != '\0') {
        size_t n = strcspn(params, " ");
        if (i == 0) {
            *ret_optional = *params == '?';
            *ret_n = n - *ret_optional;
            return params + *ret_optional;
        }
        i--;
        params += n;
        params += *params == ' ';
    }
    return NULL;
}

static vd_status bind(vd_jrender *r, const vd_jbuiltin *builtin, const vd_jargs *args,
                      vd_jcall *call)
{
    size_t n_used = 0, n_params = 0;
    for (; n_params < VD_J_PARAMS_MAX; n_params++) {
        size_t n;
        bool optional;
        const char *name = param_at(builtin->params, n_params, &n, &optional);
        if (name == NULL)
            break;
        vd_jval *value = &call->arg[n_params];
        value->kind = VD_JKIND_ABSENT;
        if (n_params < args->n_pos)
            *value = args->pos[n_params];
        for (size_t k = 0; k < args->n_kw; k++) {
            if (args->kw[k].name->n != n || memcmp(args->kw[k].name->data, name, n) != 0)
                continue;
            if (value->kind != VD_JKIND_ABSENT)
                return VD_J_FAIL(r, "%s() got the argument '%.*s' twice", builtin->name, (int)n,
                                 name);
            *value = args->kw[k].value;
            n_used++;
        }
        if (value->kind == VD_JKIND_ABSENT && !optional)
            return VD_J_FAIL(r, "%s() misses its argument '%.*s'", builtin->name, (int)n, name);
    }
    if (args->n_pos > n_params)
        return VD_J_FAIL(r, "%s() takes at most %zu arguments, %zu were given", builtin->name,
                         n_params, args->n_pos);
    if (n_used < args->n_kw)
        return VD_J_FAIL(r, "%s() was given an argument it does not have", builtin->name);
    return VD_OK;
}

vd_status vd_j_arg_int(vd_jrender *r, const vd_jcall *call, size_t i, int64_t otherwise,
                       int64_t *ret)
{
    vd_jval v = call->arg[i];
    if (v.kind != VD_JKIND_ABSENT && v.kind != VD_JKIND_INT && v.kind != VD_JKIND_BOOL)
        return VD_J_FAIL(r, "%s() needs an integer, not '%s'", call->builtin->name,
                         vd_j_type_name(v));
    *ret = v.kind == VD_JKIND_ABSENT ? otherwise : v.kind == VD_JKIND_INT ? v.u.i : v.u.b;
    return VD_OK;
}

bool vd_j_arg_bool(const vd_jcall *call, size_t i, bool otherwise)
{
    return call->arg[i].kind == VD_JKIND_ABSENT ? otherwise : vd_j_truth(call->arg[i]);
}

vd_status vd_j_arg_str(vd_jrender *r, const vd_jcall *call, size_t i, const vd_jstr **ret)
{
    vd_jval v = call->arg[i];
    *ret = NULL;
    if (v.kind == VD_JKIND_STRING)
        *ret = v.u.s;
    else if (v.kind != VD_JKIND_ABSENT && v.kind != VD_JKIND_NONE)
        return VD_J_FAIL(r, "%s() needs a text, not '%s'", call->builtin->name,
                         vd_j_type_name(v));
    return VD_OK;
}

const vd_jbuiltin *vd_j_find_in(const vd_jbuiltin *table, size_t n_table, const char *name,
                                size_t n)
{
    for (size_t i = 0; i < n_table; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
            return &table[i];
    return NULL;
}

vd_status vd_j_call_builtin(vd_jrender *r, const vd_jbuiltin *builtin, vd_jval self,
                            const vd_jargs *args, vd_jval *ret)
{
    vd_jcall call = {.builtin = builtin, .raw = args};
    vd_status st = vd_j_charge(r, 1);
    if (st == VD_OK && builtin->params != NULL)
        st = bind(r, builtin, args, &call);
    if (st == VD_OK)
        st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    st = builtin->fn(r, self, &call, ret);
    r->depth--;
    return st;
}

/* --- macros --- */

vd_status vd_j_macro_attr(vd_jrender *r, const vd_jmacro *macro, const vd_jstr *name, vd_jval *ret,
                          bool *ret_found)
{
    const vd_jnode *node = macro->node;
    *ret_found = true;
    if (vd_j_str_is(name, "name")) {
        *ret = vd_j_string(node->text);
    } else if (vd_j_str_is(name, "catch_kwargs")) {
        *ret = vd_j_bool((node->uses & VD_J_USES_KWARGS) != 0);
    } else if (vd_j_str_is(name, "catch_varargs")) {
        *ret = vd_j_bool((node->uses & VD_J_USES_VARARGS) != 0);
    } else if (vd_j_str_is(name, "caller")) {
        *ret = vd_j_bool((node->uses & VD_J_USES_CALLER) != 0);
    } else if (vd_j_str_is(name, "arguments")) {
        vd_jlist *list = NULL;
        vd_status st = vd_j_list_new(r, node->items.n, &list);
        for (size_t i = 0; st == VD_OK && i < node->items.n; i++)
            st = vd_j_list_push(r, list,
                                vd_j_string(r->tmpl->symbol[node->items.at[i]->symbol].name));
        if (st != VD_OK)
            return st;
        list->flavour = VD_JFLAVOUR_TUPLE;
        *ret = vd_j_list(list);
    } else {
        *ret_found = false;
    }
    return VD_OK;
}

/* Gives the parameters their values: by position, by name, by default, or undefined. */
static vd_status bind_parameters(vd_jrender *r, const vd_jnode *node, const vd_jargs *args,
                                 bool *kw_used)
{
    size_t n_params = node->items.n, first_default = n_params - node->orelse.n;
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < n_params; i++) {
        uint32_t symbol = node->items.at[i]->symbol;
        const vd_jstr *name = r->tmpl->symbol[symbol].name;
        vd_jval value = {.kind = VD_JKIND_ABSENT};
        if (i < args->n_pos)
            value = args->pos[i];
        for (size_t k = 0; k < args->n_kw && i >= args->n_pos; k++)
            if (!kw_used[k] && same_name(args->kw[k].name, name)) {
                value = args->kw[k].value;
                kw_used[k] = true;
            }
        if (value.kind == VD_JKIND_ABSENT && i >= first_default)
            st = vd_j_eval(r, node->orelse.at[i - first_default], &value);
        else if (value.kind == VD_JKIND_ABSENT)
            st = vd_j_undefined(r, "a parameter was not provided", NULL, name, &value);
        if (st == VD_OK)
            st = vd_j_assign(r, r->scope, symbol, value);
    }
    return st;
}

static bool has_parameter(const vd_jnode *node, uint32_t symbol)
{
    for (size_t i = 0; i < node->items.n; i++)
        if (node->items.at[i]->symbol == symbol)
            return true;
    return false;
}

/* caller, kwargs and varargs, for a body that names them. */
static vd_status bind_extras(vd_jrender *r, const vd_jnode *node, const vd_jargs *args,
                             bool *kw_used)
{
    vd_status st = VD_OK;
    if ((node->uses & VD_J_USES_CALLER) != 0 && !has_parameter(node, VD_J_SYM_CALLER)) {
        vd_jval caller;
        st = vd_j_undefined(r, "No caller defined", NULL, NULL, &caller);
        for (size_t k = 0; st == VD_OK && k < args->n_kw; k++)
            if (!kw_used[k] && vd_j_str_is(args->kw[k].name, "caller")) {
                caller = args->kw[k].value;
                kw_used[k] = true;
            }
        if (st == VD_OK)
            st = vd_j_assign(r, r->scope, VD_J_SYM_CALLER, caller);
    }
    vd_jdict *named = NULL;
    bool takes_named = (node->uses & VD_J_USES_KWARGS) != 0;
    if (st == VD_OK && takes_named)
        st = vd_j_dict_new(r, &named);
    for (size_t k = 0; st == VD_OK && k < args->n_kw; k++) {
        if (kw_used[k])
            continue;
        st = takes_named ? vd_j_dict_put(r, named, vd_j_string(args->kw[k].name),
                                         args->kw[k].value)
             : VD_J_FAIL(r, "macro '%.*s' takes no keyword argument '%.*s'",
                         (int)VD_MIN(node->text->n, (size_t)60), node->text->data,
                         (int)VD_MIN(args->kw[k].name->n, (size_t)60), args->kw[k].name->data);
    }
    if (st == VD_OK && takes_named)
        st = vd_j_assign(r, r->scope, VD_J_SYM_KWARGS, vd_j_dict(named));
    vd_jlist *rest = NULL;
    if (st == VD_OK && (node->uses & VD_J_USES_VARARGS) != 0) {
        st = vd_j_list_new(r, 0, &rest);
        for (size_t i = node->items.n; st == VD_OK && i < args->n_pos; i++)
            st = vd_j_list_push(r, rest, args->pos[i]);
        if (st == VD_OK) {
            rest->flavour = VD_JFLAVOUR_TUPLE;
            st = vd_j_assign(r, r->scope, VD_J_SYM_VARARGS, vd_j_list(rest));
        }
    } else if (st == VD_OK && args->n_pos > node->items.n) {
        st = VD_J_FAIL(r, "macro '%.*s' takes not more than %zu argument(s)",
                       (int)VD_MIN(node->text->n, (size_t)60), node->text->data, node->items.n);
    }
    return st;
}

static vd_status enter_call(vd_jrender *r)
{
    if (r->call_depth >= r->max_call_depth)
        return VD_J_LIMIT(r, "calls nested deeper than %zu levels", r->max_call_depth);
    r->call_depth++;
    return VD_OK;
}

vd_status vd_j_call_macro(vd_jrender *r, const vd_jmacro *macro, const vd_jargs *args,
                          vd_jval *ret)
{
    vd_jscope *scope = NULL, *outer = r->scope;
    bool *kw_used = NULL;
    uint32_t line = r->line;
    vd_status st = enter_call(r);
    if (st != VD_OK)
        return st;
    st = vd_j_scope_new(r, macro->scope, &scope);
    if (st == VD_OK)
        st = vd_j_alloc(r, args->n_kw, sizeof(bool), &kw_used);
    if (st == VD_OK) {
        r->scope = scope;
        st = bind_parameters(r, macro->node, args, kw_used);
        r->line = line;
        if (st == VD_OK)
            st = bind_extras(r, macro->node, args, kw_used);
        r->scope = outer;
    }
    if (st == VD_OK)
        st = vd_j_capture(r, scope, &macro->node->body, ret);
    r->call_depth--;
    return st;
}

/* loop(items) inside a recursive loop. */
static vd_status call_loop(vd_jrender *r, const vd_jloop *loop, const vd_jargs *args,
                           vd_jval *ret)
{
    if (!loop->node->flag)
        return VD_J_FAIL(r, "the loop must have the 'recursive' marker to be called recursively");
    if (args->n_pos != 1 || args->n_kw != 0)
        return VD_J_FAIL(r, "loop() takes one argument");
    vd_jtext text;
    vd_jtext *out = r->out;
    vd_status st = enter_call(r);
    if (st != VD_OK)
        return st;
    vd_j_text_init(&text, r);
    text.limit = r->max_output;
    r->out = &text;
    st = vd_j_run_loop(r, loop->node, loop->outer, args->pos[0], loop->depth0 + 1);
    r->out = out;
    r->call_depth--;
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

static vd_status call_joiner(vd_jrender *r, vd_jcycler *joiner, vd_jval *ret)
{
    if (joiner->at != 0) {
        *ret = joiner->items->item[0];
        return VD_OK;
    }
    joiner->at = 1;
    return vd_j_str_wrap(r, "", 0, ret);
}

static vd_status call_inside(vd_jrender *r, vd_jval callee, const vd_jargs *args, vd_jval *ret)
{
    switch (callee.kind) {
    case VD_JKIND_MACRO:
        return vd_j_call_macro(r, callee.u.macro, args, ret);
    case VD_JKIND_LOOP:
        return call_loop(r, callee.u.loop, args, ret);
    case VD_JKIND_FUNCTION:
        return vd_j_call_builtin(r, callee.u.builtin, vd_j_none(), args, ret);
    case VD_JKIND_METHOD:
        return vd_j_call_builtin(r, callee.u.method->builtin, callee.u.method->self, args, ret);
    case VD_JKIND_JOINER:
        return call_joiner(r, callee.u.cycler, ret);
    case VD_JKIND_UNDEFINED:
        return vd_j_undefined_fail(r, callee);
    default:
        return VD_J_FAIL(r, "'%s' object is not callable", vd_j_type_name(callee));
    }
}

vd_status vd_j_call(vd_jrender *r, vd_jval callee, const vd_jargs *args, vd_jval *ret)
{
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    st = call_inside(r, callee, args, ret);
    r->depth--;
    return st;
}
