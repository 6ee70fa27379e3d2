/* parse.c - statements of a template. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/jinja/parser.h"
#include "text/jinja/unicode.h"

/* Up to NULL-closed names of tags that end the body; the parser stands on that name then. */
typedef const char *const *end_tags;

static vd_status parse_statements(vd_jparser *p, end_tags ends, vd_jnodes *ret);

/* Behind a tag's words: its end, the body, and the tag that ends it. */
static vd_status parse_body(vd_jparser *p, end_tags ends, vd_jnodes *ret)
{
    vd_jp_take(p, VD_JTOKEN_COLON); /* Python's colon is allowed */
    vd_status st = vd_jp_expect(p, VD_JTOKEN_BLOCK_END, "the end of the tag");
    if (st == VD_OK)
        st = vd_jp_enter(p);
    if (st != VD_OK)
        return st;
    st = parse_statements(p, ends, ret);
    p->depth--;
    return st;
}

/* A body with one end tag, which is taken. */
static vd_status parse_whole_body(vd_jparser *p, const char *end, vd_jnodes *ret)
{
    const char *const ends[] = {end, NULL};
    vd_status st = parse_body(p, ends, ret);
    if (st == VD_OK)
        p->token++;
    return st;
}

static vd_status parse_if(vd_jparser *p, vd_jnode *node)
{
    static const char *const after_if[] = {"elif", "else", "endif", NULL};
    vd_jnode_list branches = {0};
    bool more = true;
    while (more) {
        vd_jnode *branch = NULL;
        vd_status st = vd_jp_node(p, VD_JNODE_BRANCH, &branch);
        if (st == VD_OK)
            st = vd_jp_tuple(p, false, &branch->a);
        if (st == VD_OK)
            st = parse_body(p, after_if, &branch->body);
        if (st == VD_OK)
            st = vd_jp_push(p, &branches, branch);
        if (st != VD_OK)
            return st;
        more = vd_jp_take_name(p, "elif");
    }
    if (vd_jp_take_name(p, "else")) {
        vd_jnode *branch = NULL;
        vd_status st = vd_jp_node(p, VD_JNODE_BRANCH, &branch);
        if (st == VD_OK)
            st = parse_whole_body(p, "endif", &branch->body);
        if (st == VD_OK)
            st = vd_jp_push(p, &branches, branch);
        if (st != VD_OK)
            return st;
    } else {
        p->token++; /* endif */
    }
    node->items = branches.nodes;
    return VD_OK;
}

static vd_status parse_one_target(vd_jparser *p, bool allow_attribute, vd_jnode **ret)
{
    if (vd_jp_take(p, VD_JTOKEN_LPAREN)) {
        vd_status st = vd_jp_enter(p);
        if (st == VD_OK)
            st = vd_jp_target(p, allow_attribute, ret);
        if (st != VD_OK)
            return st;
        p->depth--;
        return vd_jp_expect(p, VD_JTOKEN_RPAREN, "')'");
    }
    if (p->token->type != VD_JTOKEN_NAME)
        return vd_jp_unexpected(p, "a name to assign to");
    vd_jnode *name = NULL;
    vd_status st = vd_jp_primary(p, &name);
    if (st != VD_OK)
        return st;
    if (name->type != VD_JNODE_NAME)
        return VD_J_SYNTAX(p, "a constant cannot be assigned to");
    *ret = name;
    if (!allow_attribute || !vd_jp_take(p, VD_JTOKEN_DOT))
        return VD_OK;
    vd_jnode *attr = NULL;
    st = vd_jp_node(p, VD_JNODE_GETATTR, &attr);
    if (st == VD_OK && p->token->type != VD_JTOKEN_NAME)
        st = vd_jp_unexpected(p, "a name behind '.'");
    if (st == VD_OK)
        st = vd_jp_str(p, p->token->text, p->token->n, &attr->text);
    if (st != VD_OK)
        return st;
    p->token++;
    attr->a = name;
    *ret = attr;
    return VD_OK;
}

vd_status vd_jp_target(vd_jparser *p, bool allow_attribute, vd_jnode **ret)
{
    vd_jnode *first = NULL;
    vd_status st = parse_one_target(p, allow_attribute, &first);
    if (st != VD_OK || p->token->type != VD_JTOKEN_COMMA) {
        *ret = first;
        return st;
    }
    vd_jnode *tuple = NULL;
    vd_jnode_list list = {0};
    st = vd_jp_node(p, VD_JNODE_TUPLE, &tuple);
    if (st == VD_OK)
        st = vd_jp_push(p, &list, first);
    while (st == VD_OK && vd_jp_take(p, VD_JTOKEN_COMMA)) {
        if (p->token->type != VD_JTOKEN_NAME && p->token->type != VD_JTOKEN_LPAREN)
            break; /* a trailing comma */
        if (vd_jp_is_name(p, "in"))
            break;
        vd_jnode *item = NULL;
        st = parse_one_target(p, allow_attribute, &item);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, item);
    }
    if (st != VD_OK)
        return st;
    tuple->items = list.nodes;
    *ret = tuple;
    return VD_OK;
}

static vd_status parse_for(vd_jparser *p, vd_jnode *node)
{
    static const char *const after_for[] = {"endfor", "else", NULL};
    vd_status st = vd_jp_target(p, false, &node->a);
    if (st == VD_OK && !vd_jp_take_name(p, "in"))
        st = vd_jp_unexpected(p, "'in'");
    if (st == VD_OK)
        st = vd_jp_tuple(p, false, &node->b);
    if (st == VD_OK && vd_jp_take_name(p, "if"))
        st = vd_jp_expression(p, true, &node->c);
    if (st != VD_OK)
        return st;
    node->flag = vd_jp_take_name(p, "recursive");
    p->n_loops++;
    st = parse_body(p, after_for, &node->body);
    p->n_loops--;
    if (st != VD_OK)
        return st;
    if (vd_jp_take_name(p, "else"))
        return parse_whole_body(p, "endfor", &node->orelse);
    p->token++; /* endfor */
    return VD_OK;
}

/* The filters of a block: over the text that the block has made. */
static vd_status parse_block_filters(vd_jparser *p, vd_jnode **ret)
{
    vd_status st = vd_jp_node(p, VD_JNODE_CAPTURED, ret);
    return st == VD_OK ? vd_jp_filters(p, ret) : st;
}

/* A body that break cannot leave, since its text is captured. */
static vd_status parse_captured_body(vd_jparser *p, const char *end, vd_jnodes *ret)
{
    size_t n_loops = p->n_loops;
    p->n_loops = 0;
    vd_status st = parse_whole_body(p, end, ret);
    p->n_loops = n_loops;
    return st;
}

static vd_status parse_set(vd_jparser *p, vd_jnode *node)
{
    vd_status st = vd_jp_target(p, true, &node->a);
    if (st != VD_OK)
        return st;
    if (vd_jp_take(p, VD_JTOKEN_ASSIGN))
        return vd_jp_tuple(p, true, &node->b);
    node->type = VD_JNODE_SET_BLOCK;
    if (vd_jp_take(p, VD_JTOKEN_PIPE))
        st = parse_block_filters(p, &node->b);
    return st == VD_OK ? parse_captured_body(p, "endset", &node->body) : st;
}

/* (a, b=1, ...): names into items, defaults of the last of them into orelse. */
static vd_status parse_signature(vd_jparser *p, vd_jnode *macro)
{
    vd_jnode_list names = {0}, defaults = {0};
    vd_status st = vd_jp_expect(p, VD_JTOKEN_LPAREN, "'('");
    while (st == VD_OK && p->token->type != VD_JTOKEN_RPAREN) {
        if (names.nodes.n > 0) {
            st = vd_jp_expect(p, VD_JTOKEN_COMMA, "',' or ')'");
            if (st != VD_OK)
                return st;
            if (p->token->type == VD_JTOKEN_RPAREN)
                break;
        }
        vd_jnode *name = NULL, *value = NULL;
        st = parse_one_target(p, false, &name);
        if (st == VD_OK && name->type != VD_JNODE_NAME)
            st = VD_J_SYNTAX(p, "a parameter is a name");
        if (st == VD_OK && vd_jp_take(p, VD_JTOKEN_ASSIGN)) {
            st = vd_jp_expression(p, true, &value);
            if (st == VD_OK)
                st = vd_jp_push(p, &defaults, value);
        } else if (st == VD_OK && defaults.nodes.n > 0) {
            st = VD_J_SYNTAX(p, "a parameter without default follows one with");
        }
        if (st == VD_OK)
            st = vd_jp_push(p, &names, name);
    }
    if (st == VD_OK)
        p->token++;
    macro->items = names.nodes;
    macro->orelse = defaults.nodes;
    return st;
}

static vd_status parse_macro_body(vd_jparser *p, const char *end, vd_jnode *macro)
{
    uint8_t outer = p->uses;
    p->uses = 0;
    vd_status st = parse_captured_body(p, end, &macro->body);
    macro->uses = p->uses;
    p->uses |= outer;
    return st;
}

static vd_status parse_macro(vd_jparser *p, vd_jnode *node)
{
    if (p->token->type != VD_JTOKEN_NAME)
        return vd_jp_unexpected(p, "the macro's name");
    vd_status st = vd_jp_str(p, p->token->text, p->token->n, &node->text);
    if (st == VD_OK)
        st = vd_jp_symbol(p, p->token->text, p->token->n, &node->symbol);
    p->token++;
    if (st == VD_OK)
        st = parse_signature(p, node);
    return st == VD_OK ? parse_macro_body(p, "endmacro", node) : st;
}

static vd_status parse_call_block(vd_jparser *p, vd_jnode *node)
{
    vd_jnode *caller = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_MACRO, &caller);
    if (st == VD_OK)
        st = vd_jp_str(p, "caller", 6, &caller->text);
    caller = st == VD_OK ? caller : NULL;
    if (st == VD_OK && p->token->type == VD_JTOKEN_LPAREN)
        st = parse_signature(p, caller);
    if (st == VD_OK)
        st = vd_jp_expression(p, true, &node->a);
    if (st == VD_OK && node->a->type != VD_JNODE_CALL)
        st = VD_J_SYNTAX(p, "a call block needs a call");
    if (st != VD_OK)
        return st;
    node->b = caller;
    return parse_macro_body(p, "endcall", caller);
}

static vd_status parse_with(vd_jparser *p, vd_jnode *node)
{
    vd_jnode_list list = {0};
    while (p->token->type != VD_JTOKEN_BLOCK_END) {
        vd_status st = list.nodes.n > 0 ? vd_jp_expect(p, VD_JTOKEN_COMMA, "','") : VD_OK;
        vd_jnode *target = NULL, *value = NULL;
        if (st == VD_OK)
            st = parse_one_target(p, false, &target);
        if (st == VD_OK)
            st = vd_jp_expect(p, VD_JTOKEN_ASSIGN, "'='");
        if (st == VD_OK)
            st = vd_jp_expression(p, true, &value);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, target);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, value);
        if (st != VD_OK)
            return st;
    }
    node->items = list.nodes;
    return parse_whole_body(p, "endwith", &node->body);
}

static vd_status parse_filter_block(vd_jparser *p, vd_jnode *node)
{
    vd_status st = parse_block_filters(p, &node->b);
    return st == VD_OK ? parse_captured_body(p, "endfilter", &node->body) : st;
}

static vd_status parse_generation(vd_jparser *p, vd_jnode *node)
{
    return parse_captured_body(p, "endgeneration", &node->body);
}

/* Only what changes nothing: text is never escaped by itself. */
static vd_status parse_autoescape(vd_jparser *p, vd_jnode *node)
{
    if (!vd_jp_take_name(p, "false") && !vd_jp_take_name(p, "False"))
        return VD_J_SYNTAX(p, "autoescape is 'false' in a chat template, nothing else");
    return parse_whole_body(p, "endautoescape", &node->body);
}

/* A required block is for others to fill, so it has nothing but blanks of its own. */
static vd_status empty_required(vd_jparser *p, vd_jnode *node)
{
    for (size_t i = 0; i < node->body.n; i++) {
        const vd_jnode *data = node->body.at[i];
        bool blank = data->type == VD_JNODE_DATA;
        for (size_t at = 0; blank && at < data->text->n;)
            blank = vd_j_is_space(vd_j_next(data->text->data, data->text->n, &at));
        if (!blank)
            return VD_J_SYNTAX(p, "a required block holds blanks and comments only");
    }
    return VD_OK;
}

static vd_status parse_block(vd_jparser *p, vd_jnode *node)
{
    const vd_jtoken *name = p->token;
    uint32_t symbol = 0;
    if (name->type != VD_JTOKEN_NAME)
        return vd_jp_unexpected(p, "the block's name");
    vd_status st = vd_jp_symbol(p, name->text, name->n, &symbol);
    if (st == VD_OK && p->tmpl->symbol[symbol].is_block)
        st = VD_J_SYNTAX(p, "the block '%.*s' is there twice", (int)VD_MIN(name->n, (size_t)60),
                         name->text);
    if (st != VD_OK)
        return st;
    p->tmpl->symbol[symbol].is_block = true;
    p->token++;
    node->flag = vd_jp_take_name(p, "scoped");
    if (vd_jp_take_name(p, "required"))
        node->text = p->tmpl->symbol[symbol].name;
    uint8_t uses = p->uses; /* what the block names is not the macro's around it */
    st = parse_captured_body(p, "endblock", &node->body);
    p->uses = uses;
    if (st == VD_OK && node->text != NULL)
        st = empty_required(p, node);
    if (st == VD_OK && p->token->type == VD_JTOKEN_NAME && p->token->n == name->n &&
        memcmp(p->token->text, name->text, name->n) == 0)
        p->token++;
    return st;
}

static vd_status parse_leave(vd_jparser *p, vd_jnode *node)
{
    return p->n_loops > 0 ? VD_OK : VD_J_SYNTAX(p, "break and continue stand inside a loop");
}

static vd_status parse_tag(vd_jparser *p, vd_jnode **ret)
{
    static const struct {
        const char *name;
        vd_jnode_type type;
        vd_status (*parse)(vd_jparser *p, vd_jnode *node);
    } tags[] = {
        {"if", VD_JNODE_IF, parse_if},
        {"for", VD_JNODE_FOR, parse_for},
        {"set", VD_JNODE_SET, parse_set},
        {"macro", VD_JNODE_MACRO, parse_macro},
        {"call", VD_JNODE_CALL_BLOCK, parse_call_block},
        {"filter", VD_JNODE_FILTER_BLOCK, parse_filter_block},
        {"with", VD_JNODE_WITH, parse_with},
        {"generation", VD_JNODE_SCOPE, parse_generation},
        {"autoescape", VD_JNODE_SCOPE, parse_autoescape},
        {"block", VD_JNODE_BLOCK, parse_block},
        {"break", VD_JNODE_BREAK, parse_leave},
        {"continue", VD_JNODE_CONTINUE, parse_leave},
    };
    if (p->token->type != VD_JTOKEN_NAME)
        return vd_jp_unexpected(p, "the name of a tag");
    for (size_t i = 0; i < VD_COUNT(tags); i++) {
        if (!vd_jp_is_name(p, tags[i].name))
            continue;
        vd_status st = vd_jp_node(p, tags[i].type, ret);
        if (st != VD_OK)
            return st;
        p->token++;
        return tags[i].parse(p, *ret);
    }
    return VD_J_SYNTAX(p, "there is no tag '%.*s' here", (int)VD_MIN(p->token->n, (size_t)60),
                       p->token->text);
}

static bool at_end_tag(const vd_jparser *p, end_tags ends)
{
    for (; ends != NULL && *ends != NULL; ends++)
        if (vd_jp_is_name(p, *ends))
            return true;
    return false;
}

static vd_status parse_statement(vd_jparser *p, vd_jnode **ret)
{
    vd_status st = VD_OK;
    if (p->token->type == VD_JTOKEN_DATA) {
        st = vd_jp_node(p, VD_JNODE_DATA, ret);
        if (st == VD_OK)
            st = vd_jp_str(p, p->token->text, p->token->n, &(*ret)->text);
        p->token++;
        return st;
    }
    if (p->token->type == VD_JTOKEN_OUTPUT) {
        p->token++;
        st = vd_jp_node(p, VD_JNODE_OUTPUT, ret);
        if (st == VD_OK)
            st = vd_jp_tuple(p, true, &(*ret)->a);
        return st == VD_OK ? vd_jp_expect(p, VD_JTOKEN_OUTPUT_END, "the end of the expression")
                           : st;
    }
    st = parse_tag(p, ret);
    return st == VD_OK ? vd_jp_expect(p, VD_JTOKEN_BLOCK_END, "the end of the tag") : st;
}

static vd_status parse_statements(vd_jparser *p, end_tags ends, vd_jnodes *ret)
{
    vd_jnode_list list = {0};
    vd_status st = VD_OK;
    while (st == VD_OK && p->token->type != VD_JTOKEN_END) {
        if (vd_jp_take(p, VD_JTOKEN_BLOCK) && at_end_tag(p, ends)) {
            *ret = list.nodes;
            return VD_OK;
        }
        vd_jnode *node = NULL;
        st = parse_statement(p, &node);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, node);
    }
    if (st == VD_OK && ends != NULL) {
        while (ends[1] != NULL)
            ends++;
        return VD_J_SYNTAX(p, "the template ends before '%s'", *ends);
    }
    *ret = list.nodes;
    return st;
}

/* CRLF and CR become LF, and one newline at the very end goes. *n shrinks. */
static void normalize_newlines(char *text, size_t *n)
{
    size_t to = 0;
    for (size_t i = 0; i < *n; i++) {
        if (text[i] == '\r' && i + 1 < *n && text[i + 1] == '\n')
            continue;
        text[to++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (to > 0 && text[to - 1] == '\n')
        to--;
    *n = to;
}

vd_status vd_jinja_parse(vd_template *tmpl, const char *source, size_t n, vd_err *err)
{
    static const char *const known[] = {"loop", "caller", "varargs", "kwargs", "self"};
    if (n > VD_J_SOURCE_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "a template of %zu bytes; at most %d are read", n,
                       VD_J_SOURCE_MAX);
    if (!vd_utf8_valid(source, n))
        return VD_FAIL(err, VD_ERR_TEMPLATE, "the template is not valid UTF-8");
    char *text = vd_arena_strndup(&tmpl->arena, source, n);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a template of %zu bytes", n);
    normalize_newlines(text, &n);
    vd_jtoken *tokens = NULL;
    size_t n_tokens = 0;
    vd_jparser p = {.tmpl = tmpl, .err = err};
    vd_status st = vd_jinja_lex(text, n, &tokens, &n_tokens, err);
    if (st != VD_OK)
        goto out;
    p.token = tokens;
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(known); i++) {
        uint32_t symbol;
        st = vd_jp_symbol(&p, known[i], strlen(known[i]), &symbol);
    }
    if (st == VD_OK)
        st = parse_statements(&p, NULL, &tmpl->body);
out:
    vd_free(tokens);
    return st;
}
