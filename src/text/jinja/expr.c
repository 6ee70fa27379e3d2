/* expr.c - expressions of a template, from the weakest binding to the strongest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/jinja/parser.h"

typedef vd_status (*parse_fn)(vd_jparser *p, vd_jnode **ret);

static vd_status parse_or(vd_jparser *p, vd_jnode **ret);
static vd_status parse_unary(vd_jparser *p, bool with_filters, vd_jnode **ret);

/* x, or x TOKEN y TOKEN z ... as one node with all operands. */
static vd_status parse_chain(vd_jparser *p, vd_jnode_type type, parse_fn operand,
                             bool (*take)(vd_jparser *p, uint8_t *op), vd_jnode **ret)
{
    vd_jnode *first = NULL;
    vd_status st = operand(p, &first);
    uint8_t op = 0;
    if (st != VD_OK || !take(p, &op)) {
        *ret = first;
        return st;
    }
    vd_jnode *node = NULL;
    st = vd_jp_node(p, type, &node);
    vd_jnode_list list = {0};
    if (st == VD_OK)
        st = vd_jp_push(p, &list, first);
    uint8_t *ops = NULL;
    size_t capacity = 0;
    do {
        if (st != VD_OK)
            return st;
        if (ops == NULL || list.nodes.n > capacity) {
            uint8_t *grown = NULL;
            capacity = capacity == 0 ? 8 : capacity * 2;
            st = vd_arena_array(&p->tmpl->arena, capacity, 1, "a template's operators", &grown,
                                p->err);
            if (st != VD_OK)
                return st;
            if (ops != NULL)
                memcpy(grown, ops, list.nodes.n - 1);
            ops = grown;
        }
        ops[list.nodes.n - 1] = op;
        vd_jnode *next = NULL;
        st = operand(p, &next);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, next);
    } while (st != VD_OK || take(p, &op));
    node->items = list.nodes;
    node->ops = ops;
    *ret = node;
    return VD_OK;
}

static bool take_pow(vd_jparser *p, uint8_t *op)
{
    *op = VD_JOP_POW;
    return vd_jp_take(p, VD_JTOKEN_POW);
}

static bool take_product(vd_jparser *p, uint8_t *op)
{
    static const struct {
        vd_jtoken_type token;
        vd_jop op;
    } table[] = {{VD_JTOKEN_MUL, VD_JOP_MUL}, {VD_JTOKEN_DIV, VD_JOP_DIV},
                 {VD_JTOKEN_FLOORDIV, VD_JOP_FLOORDIV}, {VD_JTOKEN_MOD, VD_JOP_MOD}};
    for (size_t i = 0; i < VD_COUNT(table); i++) {
        *op = (uint8_t)table[i].op;
        if (vd_jp_take(p, table[i].token))
            return true;
    }
    return false;
}

static bool take_tilde(vd_jparser *p, uint8_t *op)
{
    *op = 0;
    return vd_jp_take(p, VD_JTOKEN_TILDE);
}

static bool take_sum(vd_jparser *p, uint8_t *op)
{
    *op = VD_JOP_ADD;
    if (vd_jp_take(p, VD_JTOKEN_ADD))
        return true;
    *op = VD_JOP_SUB;
    return vd_jp_take(p, VD_JTOKEN_SUB);
}

static bool take_relation(vd_jparser *p, uint8_t *op)
{
    static const struct {
        vd_jtoken_type token;
        vd_jop op;
    } table[] = {{VD_JTOKEN_EQ, VD_JOP_EQ}, {VD_JTOKEN_NE, VD_JOP_NE}, {VD_JTOKEN_LT, VD_JOP_LT},
                 {VD_JTOKEN_LE, VD_JOP_LE}, {VD_JTOKEN_GT, VD_JOP_GT}, {VD_JTOKEN_GE, VD_JOP_GE}};
    for (size_t i = 0; i < VD_COUNT(table); i++) {
        *op = (uint8_t)table[i].op;
        if (vd_jp_take(p, table[i].token))
            return true;
    }
    *op = VD_JOP_IN;
    if (vd_jp_take_name(p, "in"))
        return true;
    *op = VD_JOP_NOT_IN;
    const vd_jtoken *next = p->token->type == VD_JTOKEN_END ? p->token : p->token + 1;
    if (!vd_jp_is_name(p, "not") || next->type != VD_JTOKEN_NAME || next->n != 2 ||
        memcmp(next->text, "in", 2) != 0)
        return false;
    p->token += 2;
    return true;
}

static bool take_and(vd_jparser *p, uint8_t *op)
{
    *op = 0;
    return vd_jp_take_name(p, "and");
}

static bool take_or(vd_jparser *p, uint8_t *op)
{
    *op = 0;
    return vd_jp_take_name(p, "or");
}

static vd_status parse_operand(vd_jparser *p, vd_jnode **ret)
{
    return parse_unary(p, true, ret);
}
static vd_status parse_power(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_MATH, parse_operand, take_pow, ret);
}
static vd_status parse_product(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_MATH, parse_power, take_product, ret);
}
static vd_status parse_concat(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_CONCAT, parse_product, take_tilde, ret);
}
static vd_status parse_sum(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_MATH, parse_concat, take_sum, ret);
}
static vd_status parse_compare(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_COMPARE, parse_sum, take_relation, ret);
}

static vd_status parse_not(vd_jparser *p, vd_jnode **ret)
{
    if (!vd_jp_is_name(p, "not"))
        return parse_compare(p, ret);
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_NOT, &node);
    p->token++;
    if (st == VD_OK)
        st = vd_jp_enter(p);
    if (st != VD_OK)
        return st;
    st = parse_not(p, &node->a);
    p->depth--;
    *ret = node;
    return st;
}

static vd_status parse_and(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_AND, parse_not, take_and, ret);
}
static vd_status parse_or(vd_jparser *p, vd_jnode **ret)
{
    return parse_chain(p, VD_JNODE_OR, parse_and, take_or, ret);
}

/* x if c else y if d else z: every further condition hangs on the else of the one before. */
static vd_status parse_conditional(vd_jparser *p, vd_jnode **ret)
{
    vd_jnode *value = NULL;
    vd_status st = parse_or(p, &value);
    vd_jnode **at = ret;
    *ret = value;
    while (st == VD_OK && vd_jp_is_name(p, "if")) {
        vd_jnode *cond = NULL;
        st = vd_jp_node(p, VD_JNODE_COND, &cond);
        if (st != VD_OK)
            return st;
        p->token++;
        cond->b = *at;
        *at = cond;
        st = parse_or(p, &cond->a);
        if (st != VD_OK || !vd_jp_take_name(p, "else"))
            continue; /* without else another "if" applies to this whole */
        st = parse_or(p, &cond->c);
        at = &cond->c;
    }
    return st;
}

vd_status vd_jp_expression(vd_jparser *p, bool allow_cond, vd_jnode **ret)
{
    vd_status st = vd_jp_enter(p);
    if (st != VD_OK)
        return st;
    st = allow_cond ? parse_conditional(p, ret) : parse_or(p, ret);
    p->depth--;
    return st;
}

static bool ends_tuple(const vd_jparser *p)
{
    vd_jtoken_type t = p->token->type;
    return t == VD_JTOKEN_OUTPUT_END || t == VD_JTOKEN_BLOCK_END || t == VD_JTOKEN_RPAREN ||
           vd_jp_is_name(p, "recursive");
}

/* *ret is a plain expression when there is no comma. Empty only for "()", seen by the caller. */
vd_status vd_jp_tuple(vd_jparser *p, bool allow_cond, vd_jnode **ret)
{
    vd_jnode *first = NULL;
    vd_status st = vd_jp_expression(p, allow_cond, &first);
    if (st != VD_OK || p->token->type != VD_JTOKEN_COMMA) {
        *ret = first;
        return st;
    }
    vd_jnode *tuple = NULL;
    vd_jnode_list list = {0};
    st = vd_jp_node(p, VD_JNODE_TUPLE, &tuple);
    if (st == VD_OK)
        st = vd_jp_push(p, &list, first);
    while (st == VD_OK && vd_jp_take(p, VD_JTOKEN_COMMA) && !ends_tuple(p)) {
        vd_jnode *item = NULL;
        st = vd_jp_expression(p, allow_cond, &item);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, item);
    }
    if (st == VD_OK) {
        tuple->items = list.nodes;
        *ret = tuple;
    }
    return st;
}

static vd_status parse_unary(vd_jparser *p, bool with_filters, vd_jnode **ret)
{
    vd_status st = vd_jp_enter(p);
    if (st != VD_OK)
        return st;
    vd_jnode *node = NULL;
    if (p->token->type == VD_JTOKEN_SUB || p->token->type == VD_JTOKEN_ADD) {
        st = vd_jp_node(p, p->token->type == VD_JTOKEN_SUB ? VD_JNODE_NEG : VD_JNODE_POS, &node);
        p->token++;
        if (st == VD_OK)
            st = parse_unary(p, false, &node->a);
    } else {
        st = vd_jp_primary(p, &node);
    }
    if (st == VD_OK)
        st = vd_jp_postfix(p, &node);
    p->depth--;
    while (st == VD_OK && with_filters) {
        if (vd_jp_take(p, VD_JTOKEN_PIPE))
            st = vd_jp_filters(p, &node);
        else if (vd_jp_is_name(p, "is"))
            st = vd_jp_test(p, &node);
        else if (p->token->type == VD_JTOKEN_LPAREN)
            st = vd_jp_postfix(p, &node);
        else
            break;
    }
    *ret = node;
    return st;
}

/* --- literals --- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                                               : -1;
}

/* Python's escapes, \N{...} excepted. Reads behind the backslash at s[*at]. */
static bool unescape(const char *s, size_t n, size_t *at, char *out, size_t *n_out)
{
    char c = s[(*at)++];
    const char *simple = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    for (const char *pair = simple; *pair != '\0'; pair += 2)
        if (c == pair[0]) {
            out[(*n_out)++] = pair[1];
            return true;
        }
    uint32_t code = 0;
    if (c == '\n')
        return true; /* a backslash at the end of a line joins the lines */
    if (c == 'x' || c == 'u' || c == 'U') {
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        for (size_t i = 0; i < digits; i++) {
            if (*at >= n || hex_value(s[*at]) < 0 || code > 0xffffff)
                return false;
            code = code * 16 + (uint32_t)hex_value(s[(*at)++]);
        }
    } else if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && *at < n && s[*at] >= '0' && s[*at] <= '7'; i++)
            code = code * 8 + (uint32_t)(s[(*at)++] - '0');
    } else {
        out[(*n_out)++] = '\\'; /* an unknown escape stays as it is */
        out[(*n_out)++] = c;
        return c != 'N';
    }
    size_t len = vd_utf8_encode(code, out + *n_out);
    *n_out += len;
    return len > 0;
}

static vd_status parse_string(vd_jparser *p, vd_jnode **ret)
{
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_CONST, &node);
    size_t total = 0;
    for (const vd_jtoken *t = p->token; t->type == VD_JTOKEN_STRING; t++)
        total += t->n; /* all of them lie in the source, so their sum is no larger */
    char *text = NULL;
    if (st == VD_OK)
        st = vd_arena_array(&p->tmpl->arena, total + 4, 1, "a template's string", &text, p->err);
    if (st != VD_OK)
        return st;
    size_t n = 0;
    for (; p->token->type == VD_JTOKEN_STRING; p->token++) { /* "a" "b" is "ab" */
        const char *s = p->token->text;
        size_t end = p->token->n - 1;
        for (size_t at = 1; at < end;) {
            if (s[at] != '\\') {
                text[n++] = s[at++];
            } else {
                at++;
                if (!unescape(s, end, &at, text, &n))
                    return VD_J_SYNTAX(p, "a bad escape in a string");
            }
        }
    }
    const vd_jstr *str = NULL;
    st = vd_jp_str(p, text, n, &str);
    if (st == VD_OK) {
        node->value = vd_j_string(str);
        *ret = node;
    }
    return st;
}

static vd_status parse_number(vd_jparser *p, vd_jnode **ret)
{
    char digits[400];
    size_t n = 0;
    for (size_t i = 0; i < p->token->n; i++) {
        if (p->token->text[i] == '_')
            continue;
        if (n + 1 == sizeof(digits))
            return VD_J_SYNTAX(p, "a number of more than %zu digits", sizeof(digits));
        digits[n++] = p->token->text[i];
    }
    digits[n] = '\0';
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_CONST, &node);
    if (st != VD_OK)
        return st;
    if (p->token->type == VD_JTOKEN_FLOAT) {
        node->value = vd_j_float(strtod(digits, NULL));
    } else {
        bool prefixed = digits[0] == '0' && n > 2;
        int base = !prefixed ? 10 : (digits[1] | 32) == 'x' ? 16 : (digits[1] | 32) == 'o' ? 8
                   : (digits[1] | 32) == 'b' ? 2 : 10;
        char *end = NULL;
        errno = 0;
        long long value = strtoll(base == 10 ? digits : digits + 2, &end, base);
        if (errno != 0 || *end != '\0')
            return VD_J_SYNTAX(p, "the number %s is not a 64-bit integer", digits);
        node->value = vd_j_int(value);
    }
    p->token++;
    *ret = node;
    return VD_OK;
}

/* --- primaries --- */

static vd_status parse_name(vd_jparser *p, vd_jnode **ret)
{
    static const struct {
        const char *name;
        vd_jkind kind;
        bool b;
    } constants[] = {{"true", VD_JKIND_BOOL, true}, {"True", VD_JKIND_BOOL, true},
                     {"false", VD_JKIND_BOOL, false}, {"False", VD_JKIND_BOOL, false},
                     {"none", VD_JKIND_NONE, false}, {"None", VD_JKIND_NONE, false}};
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_CONST, &node);
    if (st != VD_OK)
        return st;
    *ret = node;
    for (size_t i = 0; i < VD_COUNT(constants); i++)
        if (vd_jp_take_name(p, constants[i].name)) {
            node->value = constants[i].kind == VD_JKIND_NONE ? vd_j_none()
                                                             : vd_j_bool(constants[i].b);
            return VD_OK;
        }
    node->type = VD_JNODE_NAME;
    st = vd_jp_symbol(p, p->token->text, p->token->n, &node->symbol);
    if (st != VD_OK)
        return st;
    p->uses |= (uint8_t)(node->symbol == VD_J_SYM_CALLER    ? VD_J_USES_CALLER
                         : node->symbol == VD_J_SYM_VARARGS ? VD_J_USES_VARARGS
                         : node->symbol == VD_J_SYM_KWARGS  ? VD_J_USES_KWARGS : 0);
    p->token++;
    return VD_OK;
}

static vd_status parse_list(vd_jparser *p, vd_jnode **ret)
{
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_LIST, &node);
    vd_jnode_list list = {0};
    p->token++;
    while (st == VD_OK && p->token->type != VD_JTOKEN_RBRACKET) {
        if (list.nodes.n > 0) {
            st = vd_jp_expect(p, VD_JTOKEN_COMMA, "',' or ']'");
            if (st != VD_OK || p->token->type == VD_JTOKEN_RBRACKET)
                break;
        }
        vd_jnode *item = NULL;
        st = vd_jp_expression(p, true, &item);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, item);
    }
    if (st == VD_OK)
        st = vd_jp_expect(p, VD_JTOKEN_RBRACKET, "']'");
    if (st != VD_OK)
        return st;
    node->items = list.nodes;
    *ret = node;
    return VD_OK;
}

static vd_status parse_dict(vd_jparser *p, vd_jnode **ret)
{
    vd_jnode *node = NULL;
    vd_status st = vd_jp_node(p, VD_JNODE_DICT, &node);
    vd_jnode_list list = {0};
    p->token++;
    while (st == VD_OK && p->token->type != VD_JTOKEN_RBRACE) {
        if (list.nodes.n > 0) {
            st = vd_jp_expect(p, VD_JTOKEN_COMMA, "',' or '}'");
            if (st != VD_OK || p->token->type == VD_JTOKEN_RBRACE)
                break;
        }
        vd_jnode *key = NULL, *value = NULL;
        st = vd_jp_expression(p, true, &key);
        if (st == VD_OK)
            st = vd_jp_expect(p, VD_JTOKEN_COLON, "':'");
        if (st == VD_OK)
            st = vd_jp_expression(p, true, &value);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, key);
        if (st == VD_OK)
            st = vd_jp_push(p, &list, value);
    }
    if (st == VD_OK)
        st = vd_jp_expect(p, VD_JTOKEN_RBRACE, "'}'");
    if (st != VD_OK)
        return st;
    node->items = list.nodes;
    *ret = node;
    return VD_OK;
}

vd_status vd_jp_primary(vd_jparser *p, vd_jnode **ret)
{
    switch (p->token->type) {
    case VD_JTOKEN_NAME:
        return parse_name(p, ret);
    case VD_JTOKEN_STRING:
        return parse_string(p, ret);
    case VD_JTOKEN_INT:
    case VD_JTOKEN_FLOAT:
        return parse_number(p, ret);
    case VD_JTOKEN_LBRACKET:
        return parse_list(p, ret);
    case VD_JTOKEN_LBRACE:
        return parse_dict(p, ret);
    case VD_JTOKEN_LPAREN: {
        p->token++;
        if (vd_jp_take(p, VD_JTOKEN_RPAREN))
            return vd_jp_node(p, VD_JNODE_TUPLE, ret);
        vd_status st = vd_jp_tuple(p, true, ret);
        return st == VD_OK ? vd_jp_expect(p, VD_JTOKEN_RPAREN, "')'") : st;
    }
    default:
        return vd_jp_unexpected(p, "an expression");
    }
}
