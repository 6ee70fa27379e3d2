/* postfix.c - what stands behind an expression: .name [key] (arguments) |filter is test. */
#include <string.h>

#include "base/fail.h"
#include "text/jinja/parser.h"

static vd_status push_kwarg(vd_jparser *p, vd_jnode_args *args, size_t *capacity,
                            const vd_jstr *name, vd_jnode *value)
{
    if (args->n_kw == *capacity) {
        vd_jnode_kwarg *grown = NULL;
        *capacity = *capacity == 0 ? 4 : *capacity * 2;
        vd_status st = vd_arena_array(&p->tmpl->arena, *capacity, sizeof(*grown),
                                      "a template's arguments", &grown, p->err);
        if (st != VD_OK)
            return st;
        if (args->n_kw > 0)
            memcpy(grown, args->kw, args->n_kw * sizeof(*grown));
        args->kw = grown;
    }
    args->kw[args->n_kw++] = (vd_jnode_kwarg){.name = name, .value = value};
    return VD_OK;
}

static vd_status parse_arg(vd_jparser *p, vd_jnode_args *args, vd_jnode_list *pos,
                           size_t *capacity)
{
    if (p->token->type == VD_JTOKEN_MUL) {
        p->token++;
        if (args->star != NULL || args->star_star != NULL)
            return VD_J_SYNTAX(p, "*arguments stand once, before **arguments");
        return vd_jp_expression(p, true, &args->star);
    }
    if (p->token->type == VD_JTOKEN_POW) {
        p->token++;
        if (args->star_star != NULL)
            return VD_J_SYNTAX(p, "**arguments stand once");
        return vd_jp_expression(p, true, &args->star_star);
    }
    vd_jnode *value = NULL;
    if (p->token->type == VD_JTOKEN_NAME && p->token[1].type == VD_JTOKEN_ASSIGN) {
        if (args->star_star != NULL)
            return VD_J_SYNTAX(p, "no argument may follow **arguments");
        const vd_jstr *name = NULL;
        vd_status st = vd_jp_str(p, p->token->text, p->token->n, &name);
        p->token += 2;
        for (size_t i = 0; st == VD_OK && i < args->n_kw; i++)
            if (args->kw[i].name->n == name->n &&
                memcmp(args->kw[i].name->data, name->data, name->n) == 0)
                return VD_J_SYNTAX(p, "the argument '%.*s' is given twice", (int)name->n,
                                   name->data);
        if (st == VD_OK)
            st = vd_jp_expression(p, true, &value);
        return st == VD_OK ? push_kwarg(p, args, capacity, name, value) : st;
    }
    if (args->n_kw > 0 || args->star != NULL || args->star_star != NULL)
        return VD_J_SYNTAX(p, "a positional argument follows a named one");
    vd_status st = vd_jp_expression(p, true, &value);
    return st == VD_OK ? vd_jp_push(p, pos, value) : st;
}

/* From "(" to behind ")". */
static vd_status parse_args(vd_jparser *p, const vd_jnode_args **ret)
{
    vd_jnode_args *args = NULL;
    vd_status st = vd_arena_array(&p->tmpl->arena, 1, sizeof(*args), "a template's arguments",
                                  &args, p->err);
    if (st != VD_OK)
        return st;
    vd_jnode_list pos = {0};
    size_t capacity = 0;
    bool comma = false;
    p->token++;
    while (p->token->type != VD_JTOKEN_RPAREN) {
        if (comma) {
            st = vd_jp_expect(p, VD_JTOKEN_COMMA, "',' or ')'");
            if (st != VD_OK)
                return st;
            if (p->token->type == VD_JTOKEN_RPAREN)
                break;
        }
        st = parse_arg(p, args, &pos, &capacity);
        if (st != VD_OK)
            return st;
        comma = true;
    }
    p->token++;
    args->pos = pos.nodes;
    *ret = args;
    return VD_OK;
}

/* One place between commas of [ ]: a key, or start:stop:step. */
static vd_status parse_subscript(vd_jparser *p, vd_jnode **ret)
{
    vd_jnode *part[3] = {NULL, NULL, NULL};
    vd_jnode *slice = NULL;
    vd_status st = VD_OK;
    for (size_t i = 0; i < 3; i++) {
        vd_jtoken_type t = p->token->type;
        if (t != VD_JTOKEN_COLON && t != VD_JTOKEN_RBRACKET && t != VD_JTOKEN_COMMA)
            st = vd_jp_expression(p, true, &part[i]);
        if (st != VD_OK)
            return st;
        if (i < 2 && p->token->type == VD_JTOKEN_COLON) {
            if (slice == NULL)
                st = vd_jp_node(p, VD_JNODE_SLICE, &slice);
            if (st != VD_OK)
                return st;
            p->token++;
        } else {
            break;
        }
    }
    if (slice == NULL) {
        *ret = part[0];
        return part[0] != NULL ? VD_OK : vd_jp_unexpected(p, "a subscript");
    }
    slice->a = part[0];
    slice->b = part[1];
    slice->c = part[2];
    *ret = slice;
    return VD_OK;
}

static vd_status parse_item(vd_jparser *p, vd_jnode **node)
{
    vd_jnode *item = NULL, *key = NULL, *tuple = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_GETITEM, &item);
    vd_jnode_list keys = {0};
    p->token++;
    while (st == VD_OK && p->token->type != VD_JTOKEN_RBRACKET) {
        if (keys.nodes.n > 0)
            st = vd_jp_expect(p, VD_JTOKEN_COMMA, "',' or ']'");
        if (st == VD_OK)
            st = parse_subscript(p, &key);
        if (st == VD_OK)
            st = vd_jp_push(p, &keys, key);
    }
    if (st == VD_OK)
        st = vd_jp_expect(p, VD_JTOKEN_RBRACKET, "']'");
    if (st == VD_OK && keys.nodes.n != 1) {
        st = vd_jp_node(p, VD_JNODE_TUPLE, &tuple);
        if (st == VD_OK)
            tuple->items = keys.nodes;
        key = tuple;
    }
    if (st != VD_OK)
        return st;
    item->a = *node;
    item->b = key;
    *node = item;
    return VD_OK;
}

static vd_status parse_attribute(vd_jparser *p, vd_jnode **node)
{
    vd_jnode *attr = NULL;
    p->token++;
    vd_status st = vd_jp_node(p, VD_JNODE_GETATTR, &attr);
    if (st != VD_OK)
        return st;
    attr->a = *node;
    if (p->token->type == VD_JTOKEN_INT) {
        attr->type = VD_JNODE_GETITEM;
        st = vd_jp_primary(p, &attr->b);
    } else if (p->token->type == VD_JTOKEN_NAME) {
        st = vd_jp_str(p, p->token->text, p->token->n, &attr->text);
        p->token++;
    } else {
        return vd_jp_unexpected(p, "a name or number behind '.'");
    }
    *node = attr;
    return st;
}

/* a.b.c: filters and tests may have dots in their names. */
static vd_status parse_dotted(vd_jparser *p, const vd_jstr **ret)
{
    if (p->token->type != VD_JTOKEN_NAME)
        return vd_jp_unexpected(p, "a name");
    const char *begin = p->token->text;
    const char *end = begin + p->token->n;
    p->token++;
    while (p->token->type == VD_JTOKEN_DOT) {
        p->token++;
        if (p->token->type != VD_JTOKEN_NAME)
            return vd_jp_unexpected(p, "a name");
        end = p->token->text + p->token->n;
        p->token++;
    }
    return vd_jp_str(p, begin, (size_t)(end - begin), ret);
}

vd_status vd_jp_filters(vd_jparser *p, vd_jnode **node)
{
    do {
        vd_jnode *filter = NULL;
        vd_status st = vd_jp_node(p, VD_JNODE_FILTER, &filter);
        if (st == VD_OK)
            st = parse_dotted(p, &filter->text);
        if (st != VD_OK)
            return st;
        filter->builtin = vd_j_find_filter(filter->text->data, filter->text->n);
        if (p->token->type == VD_JTOKEN_LPAREN)
            st = parse_args(p, &filter->args);
        if (st != VD_OK)
            return st;
        filter->a = *node;
        *node = filter;
    } while (vd_jp_take(p, VD_JTOKEN_PIPE));
    return VD_OK;
}

vd_status vd_jp_test(vd_jparser *p, vd_jnode **node)
{
    vd_jnode *test = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_TEST, &test);
    if (st != VD_OK)
        return st;
    p->token++;
    test->flag = vd_jp_take_name(p, "not");
    st = parse_dotted(p, &test->text);
    if (st != VD_OK)
        return st;
    test->builtin = vd_j_find_test(test->text->data, test->text->n);
    vd_jtoken_type t = p->token->type;
    if (t == VD_JTOKEN_LPAREN) {
        st = parse_args(p, &test->args);
    } else if ((t == VD_JTOKEN_NAME || t == VD_JTOKEN_STRING || t == VD_JTOKEN_INT ||
                t == VD_JTOKEN_FLOAT || t == VD_JTOKEN_LBRACKET || t == VD_JTOKEN_LBRACE) &&
               !vd_jp_is_name(p, "else") && !vd_jp_is_name(p, "or") && !vd_jp_is_name(p, "and")) {
        /* "x is divisibleby 3"; an "if" here would be read as the argument, as Jinja does */
        if (vd_jp_is_name(p, "is"))
            return VD_J_SYNTAX(p, "tests cannot be chained with 'is'");
        vd_jnode_args *args = NULL;
        vd_jnode_list pos = {0};
        vd_jnode *arg = NULL;
        st = vd_arena_array(&p->tmpl->arena, 1, sizeof(*args), "a template's arguments", &args,
                            p->err);
        if (st == VD_OK)
            st = vd_jp_enter(p);
        if (st != VD_OK)
            return st;
        st = vd_jp_primary(p, &arg);
        if (st == VD_OK)
            st = vd_jp_postfix(p, &arg);
        p->depth--;
        if (st == VD_OK)
            st = vd_jp_push(p, &pos, arg);
        if (st != VD_OK)
            return st;
        args->pos = pos.nodes;
        test->args = args;
    }
    test->a = *node;
    *node = test;
    return st;
}

vd_status vd_jp_postfix(vd_jparser *p, vd_jnode **node)
{
    for (;;) {
        vd_status st = VD_OK;
        if (p->token->type == VD_JTOKEN_DOT) {
            st = parse_attribute(p, node);
        } else if (p->token->type == VD_JTOKEN_LBRACKET) {
            st = parse_item(p, node);
        } else if (p->token->type == VD_JTOKEN_LPAREN) {
            vd_jnode *call = NULL;
            st = vd_jp_node(p, VD_JNODE_CALL, &call);
            if (st == VD_OK)
                st = parse_args(p, &call->args);
            if (st == VD_OK) {
                call->a = *node;
                *node = call;
            }
        } else {
            return VD_OK;
        }
        if (st != VD_OK)
            return st;
    }
}
