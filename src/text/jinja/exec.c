/* exec.c - statements: output, conditions, assignment, blocks, loops. */
#include <string.h>

#include "base/checked.h"
#include "text/jinja/eval.h"

static vd_status output(vd_jrender *r, const vd_jnode *node)
{
    vd_jval value;
    vd_status st = vd_j_eval(r, node->a, &value);
    if (st != VD_OK)
        return st;
    r->line = node->line;
    vd_j_text_str(r->out, value);
    return r->out->status;
}

static vd_status exec_if(vd_jrender *r, const vd_jnode *node)
{
    for (size_t i = 0; i < node->items.n; i++) {
        const vd_jnode *branch = node->items.at[i];
        vd_jval test = vd_j_bool(true);
        vd_status st = branch->a != NULL ? vd_j_eval(r, branch->a, &test) : VD_OK;
        if (st != VD_OK)
            return st;
        if (vd_j_truth(test))
            return vd_j_exec(r, &branch->body);
    }
    return VD_OK;
}

/* Gives a value to a name, to a namespace's attribute, or item by item to a tuple of them. */
static vd_status assign_target(vd_jrender *r, vd_jscope *scope, const vd_jnode *target,
                               vd_jval value)
{
    r->line = target->line;
    if (target->type == VD_JNODE_NAME)
        return vd_j_assign(r, scope, target->symbol, value);
    if (target->type == VD_JNODE_GETATTR) {
        vd_jval object;
        vd_status st = vd_j_eval(r, target->a, &object);
        if (st == VD_OK && object.kind != VD_JKIND_NAMESPACE)
            st = VD_J_FAIL(r, "cannot assign attribute on non-namespace object");
        if (st == VD_OK)
            st = vd_j_namespace_name(r, target->text);
        return st == VD_OK ? vd_j_dict_put(r, object.u.dict, vd_j_string(target->text), value)
                           : st;
    }
    vd_jlist *items = NULL;
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    st = vd_j_items(r, value, &items);
    if (st == VD_OK && items->n != target->items.n)
        st = VD_J_FAIL(r, "%zu values for %zu names", items->n, target->items.n);
    for (size_t i = 0; st == VD_OK && i < target->items.n; i++)
        st = assign_target(r, scope, target->items.at[i], items->item[i]);
    r->depth--;
    return st;
}

static vd_status exec_set(vd_jrender *r, const vd_jnode *node)
{
    vd_jval value;
    vd_status st = vd_j_eval(r, node->b, &value);
    return st == VD_OK ? assign_target(r, r->scope, node->a, value) : st;
}

vd_status vd_j_capture(vd_jrender *r, vd_jscope *scope, const vd_jnodes *body, vd_jval *ret)
{
    vd_jtext text;
    vd_jtext *out = r->out;
    vd_jscope *outer = r->scope;
    vd_j_text_init(&text, r);
    text.limit = r->max_output;
    r->out = &text;
    r->scope = scope;
    vd_status st = vd_j_exec(r, body);
    r->out = out;
    r->scope = outer;
    return st == VD_OK ? vd_j_text_value(&text, ret) : st;
}

/* The block's text, through the block's filters where it has some. */
static vd_status captured_block(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jscope *scope = NULL;
    vd_jval outer = r->captured;
    vd_status st = vd_j_scope_new(r, r->scope, &scope);
    if (st == VD_OK)
        st = vd_j_capture(r, scope, &node->body, ret);
    if (st == VD_OK && node->b != NULL) {
        r->captured = *ret;
        st = vd_j_eval(r, node->b, ret);
    }
    r->captured = outer;
    return st;
}

static vd_status exec_set_block(vd_jrender *r, const vd_jnode *node)
{
    vd_jval text;
    vd_status st = captured_block(r, node, &text);
    return st == VD_OK ? assign_target(r, r->scope, node->a, text) : st;
}

static vd_status exec_filter_block(vd_jrender *r, const vd_jnode *node)
{
    vd_jval text;
    vd_status st = captured_block(r, node, &text);
    if (st != VD_OK)
        return st;
    vd_j_text_str(r->out, text);
    return r->out->status;
}

static vd_status macro_value(vd_jrender *r, const vd_jnode *node, vd_jval *ret)
{
    vd_jmacro *macro = NULL;
    vd_status st = vd_j_alloc(r, 1, sizeof(*macro), &macro);
    if (st != VD_OK)
        return st;
    *macro = (vd_jmacro){.node = node, .scope = r->scope};
    *ret = (vd_jval){.kind = VD_JKIND_MACRO, .u.macro = macro};
    return VD_OK;
}

static vd_status exec_macro(vd_jrender *r, const vd_jnode *node)
{
    vd_jval macro;
    vd_status st = macro_value(r, node, &macro);
    return st == VD_OK ? vd_j_assign(r, r->scope, node->symbol, macro) : st;
}

/* The call, with the block handed over as the argument `caller`. */
static vd_status exec_call_block(vd_jrender *r, const vd_jnode *node)
{
    const vd_jnode *call = node->a;
    vd_jval callee, caller, text;
    vd_jargs args;
    vd_jkwarg *kw = NULL;
    vd_status st = vd_j_eval(r, call->a, &callee);
    if (st == VD_OK)
        st = vd_j_eval_args(r, call->args, &args);
    if (st == VD_OK)
        st = macro_value(r, node->b, &caller);
    if (st == VD_OK)
        st = vd_j_alloc(r, args.n_kw + 1, sizeof(*kw), &kw);
    if (st != VD_OK)
        return st;
    if (args.n_kw > 0)
        memcpy(kw, args.kw, args.n_kw * sizeof(*kw));
    kw[args.n_kw++] = (vd_jkwarg){.name = r->tmpl->symbol[VD_J_SYM_CALLER].name, .value = caller};
    args.kw = kw;
    st = vd_j_call(r, callee, &args, &text);
    if (st != VD_OK)
        return st;
    vd_j_text_str(r->out, text);
    return r->out->status;
}

static vd_status exec_scoped(vd_jrender *r, vd_jscope *scope, const vd_jnodes *body)
{
    vd_jscope *outer = r->scope;
    r->scope = scope;
    vd_status st = vd_j_exec(r, body);
    r->scope = outer;
    return st;
}

static vd_status exec_with(vd_jrender *r, const vd_jnode *node)
{
    vd_jscope *scope = NULL;
    vd_status st = vd_j_scope_new(r, r->scope, &scope);
    for (size_t i = 0; st == VD_OK && i + 1 < node->items.n; i += 2) {
        vd_jval value; /* of the scope outside: with a=1, b=a does not see this a */
        st = vd_j_eval(r, node->items.at[i + 1], &value);
        if (st == VD_OK)
            st = assign_target(r, scope, node->items.at[i], value);
    }
    return st == VD_OK ? exec_scoped(r, scope, &node->body) : st;
}

/* generation, which marks what the assistant said for training, and autoescape false. */
static vd_status exec_scope(vd_jrender *r, const vd_jnode *node)
{
    vd_jscope *scope = NULL;
    vd_status st = vd_j_scope_new(r, r->scope, &scope);
    return st == VD_OK ? exec_scoped(r, scope, &node->body) : st;
}

/* In place, for nothing can extend this template. Sees the variables of the whole template, or of
 * the scoped block around it, and none of the loop or macro it stands in. A scoped one sees all. */
static vd_status exec_block(vd_jrender *r, const vd_jnode *node)
{
    vd_jscope *context = r->scope, *scope = NULL;
    if (node->text != NULL)
        return VD_J_FAIL(r, "the required block '%.*s' is not filled",
                         (int)VD_MIN(node->text->n, (size_t)60), node->text->data);
    vd_status st = VD_OK;
    if (node->flag) {
        st = vd_j_scope_new(r, r->scope, &context);
        if (st == VD_OK)
            context->is_context = true;
    }
    while (st == VD_OK && context->parent != NULL && !context->is_context)
        context = context->parent;
    if (st == VD_OK)
        st = vd_j_scope_new(r, context, &scope);
    return st == VD_OK ? exec_scoped(r, scope, &node->body) : st;
}

/* --- loops --- */

vd_status vd_j_loop_attr(vd_jrender *r, vd_jloop *loop, const vd_jstr *name, vd_jval *ret,
                         bool *ret_found)
{
    size_t i = loop->index0, n = loop->items->n;
    const struct {
        const char *name;
        vd_jval value;
    } table[] = {
        {"index", vd_j_int((int64_t)i + 1)},    {"index0", vd_j_int((int64_t)i)},
        {"first", vd_j_bool(i == 0)},           {"last", vd_j_bool(i + 1 == n)},
        {"length", vd_j_int((int64_t)n)},       {"revindex", vd_j_int((int64_t)(n - i))},
        {"revindex0", vd_j_int((int64_t)(n - i) - 1)},
        {"depth", vd_j_int((int64_t)loop->depth0 + 1)},
        {"depth0", vd_j_int((int64_t)loop->depth0)},
    };
    *ret_found = true;
    for (size_t k = 0; k < VD_COUNT(table); k++)
        if (vd_j_str_is(name, table[k].name)) {
            *ret = table[k].value;
            return VD_OK;
        }
    if (vd_j_str_is(name, "previtem")) {
        if (i == 0)
            return vd_j_undefined(r, "there is no previous item", NULL, NULL, ret);
        *ret = loop->items->item[i - 1];
    } else if (vd_j_str_is(name, "nextitem")) {
        if (i + 1 == n)
            return vd_j_undefined(r, "there is no next item", NULL, NULL, ret);
        *ret = loop->items->item[i + 1];
    } else {
        *ret_found = false;
    }
    return VD_OK;
}

/* The items that pass the loop's own `if`, each tried in a scope with the target alone. */
static vd_status filtered_items(vd_jrender *r, const vd_jnode *node, vd_jlist *all,
                                vd_jlist **ret)
{
    vd_jlist *kept = NULL;
    vd_jscope *scope = NULL, *outer = r->scope;
    vd_status st = vd_j_list_new(r, 0, &kept);
    if (st == VD_OK)
        st = vd_j_scope_new(r, outer, &scope);
    for (size_t i = 0; st == VD_OK && i < all->n; i++) {
        vd_jval test = vd_j_none();
        scope->n = 0;
        st = assign_target(r, scope, node->a, all->item[i]);
        r->scope = scope;
        if (st == VD_OK)
            st = vd_j_eval(r, node->c, &test);
        r->scope = outer;
        if (st == VD_OK && vd_j_truth(test))
            st = vd_j_list_push(r, kept, all->item[i]);
    }
    *ret = kept;
    return st;
}

/* *ret_ended: some round came to its end, by no break or continue. Without one jinja2 goes on to
 * the loop's `else`, as if there had been no items. */
static vd_status run_items(vd_jrender *r, const vd_jnode *node, vd_jlist *items, size_t depth0,
                           bool *ret_ended)
{
    vd_jscope *scope = NULL, *outer = r->scope;
    vd_jloop *loop = NULL;
    vd_status st = vd_j_scope_new(r, outer, &scope);
    if (st == VD_OK)
        st = vd_j_alloc(r, 1, sizeof(*loop), &loop);
    if (st != VD_OK)
        return st;
    *loop = (vd_jloop){.node = node, .outer = outer, .items = items, .depth0 = depth0};
    loop->changed.kind = VD_JKIND_ABSENT;
    for (size_t i = 0; st == VD_OK && i < items->n; i++) {
        loop->index0 = i;
        scope->n = 0; /* every round starts anew */
        st = vd_j_charge(r, 1);
        if (st == VD_OK)
            st = vd_j_assign(r, scope, VD_J_SYM_LOOP,
                             (vd_jval){.kind = VD_JKIND_LOOP, .u.loop = loop});
        if (st == VD_OK)
            st = assign_target(r, scope, node->a, items->item[i]);
        r->scope = scope;
        if (st == VD_OK)
            st = vd_j_exec(r, &node->body);
        r->scope = outer;
        vd_jflow flow = r->flow;
        *ret_ended = *ret_ended || flow == VD_JFLOW_NEXT;
        r->flow = VD_JFLOW_NEXT;
        if (flow == VD_JFLOW_BREAK)
            break;
    }
    return st;
}

vd_status vd_j_run_loop(vd_jrender *r, const vd_jnode *node, vd_jscope *outer, vd_jval items,
                        size_t depth0)
{
    vd_jlist *list = NULL;
    vd_jscope *before = r->scope;
    r->scope = outer;
    vd_status st = vd_j_items(r, items, &list);
    if (st == VD_OK && node->c != NULL)
        st = filtered_items(r, node, list, &list);
    bool ended = false;
    if (st == VD_OK)
        st = run_items(r, node, list, depth0, &ended);
    if (st == VD_OK && !ended && node->orelse.n > 0) {
        vd_jscope *scope = NULL;
        st = vd_j_scope_new(r, outer, &scope);
        if (st == VD_OK)
            st = exec_scoped(r, scope, &node->orelse);
    }
    r->scope = before;
    return st;
}

static vd_status exec_for(vd_jrender *r, const vd_jnode *node)
{
    vd_jval items;
    vd_status st = vd_j_eval(r, node->b, &items);
    r->line = node->line;
    return st == VD_OK ? vd_j_run_loop(r, node, r->scope, items, 0) : st;
}

static vd_status exec_node(vd_jrender *r, const vd_jnode *node)
{
    switch (node->type) {
    case VD_JNODE_DATA:
        vd_j_text_add(r->out, node->text->data, node->text->n);
        return r->out->status;
    case VD_JNODE_OUTPUT:
        return output(r, node);
    case VD_JNODE_IF:
        return exec_if(r, node);
    case VD_JNODE_FOR:
        return exec_for(r, node);
    case VD_JNODE_SET:
        return exec_set(r, node);
    case VD_JNODE_SET_BLOCK:
        return exec_set_block(r, node);
    case VD_JNODE_MACRO:
        return exec_macro(r, node);
    case VD_JNODE_CALL_BLOCK:
        return exec_call_block(r, node);
    case VD_JNODE_FILTER_BLOCK:
        return exec_filter_block(r, node);
    case VD_JNODE_WITH:
        return exec_with(r, node);
    case VD_JNODE_SCOPE:
        return exec_scope(r, node);
    case VD_JNODE_BLOCK:
        return exec_block(r, node);
    case VD_JNODE_BREAK:
        r->flow = VD_JFLOW_BREAK;
        return VD_OK;
    case VD_JNODE_CONTINUE:
        r->flow = VD_JFLOW_CONTINUE;
        return VD_OK;
    default:
        return VD_J_FAIL(r, "an expression stands where a statement should");
    }
}

vd_status vd_j_exec(vd_jrender *r, const vd_jnodes *body)
{
    vd_status st = vd_j_enter(r);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; st == VD_OK && i < body->n && r->flow == VD_JFLOW_NEXT; i++) {
        r->line = body->at[i]->line;
        st = vd_j_charge(r, 1);
        if (st == VD_OK)
            st = exec_node(r, body->at[i]);
    }
    r->depth--;
    return st;
}
