/* parser.c - what both halves of the parser stand on: failing, nodes, names, tokens taken. */
#include "text/jinja/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"

vd_status vd_jp_fail_at(vd_jparser *p, const char *file, int line, const char *fmt, ...)
{
    char message[VD_ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    message[vd_utf8_complete(message, strlen(message))] = '\0';
    return vd_fail_at(p->err, VD_ERR_TEMPLATE, file, line, "template line %u: %s", p->token->line,
                      message);
}

vd_status vd_jp_unexpected(vd_jparser *p, const char *wanted)
{
    const vd_jtoken *t = p->token;
    if (t->type == VD_JTOKEN_END)
        return VD_J_SYNTAX(p, "the template ends where %s should stand", wanted);
    if (t->type == VD_JTOKEN_OUTPUT_END || t->type == VD_JTOKEN_BLOCK_END)
        return VD_J_SYNTAX(p, "the tag ends where %s should stand", wanted);
    return VD_J_SYNTAX(p, "'%.*s' stands where %s should stand", (int)VD_MIN(t->n, (size_t)60),
                       t->text, wanted);
}

vd_status vd_jp_enter(vd_jparser *p)
{
    if (p->depth >= VD_J_NESTING_MAX)
        return vd_fail_at(p->err, VD_ERR_LIMIT, __FILE__, __LINE__,
                          "template line %u: nested deeper than %d levels", p->token->line,
                          VD_J_NESTING_MAX);
    p->depth++;
    return VD_OK;
}

vd_status vd_jp_node(vd_jparser *p, vd_jnode_type type, vd_jnode **ret)
{
    vd_jnode *node = NULL;
    vd_status st = vd_arena_array(&p->tmpl->arena, 1, sizeof(*node), "a template's node", &node,
                                  p->err);
    if (st != VD_OK)
        return st;
    node->type = type;
    node->line = p->token->line;
    *ret = node;
    return VD_OK;
}

vd_status vd_jp_str(vd_jparser *p, const char *data, size_t n, const vd_jstr **ret)
{
    vd_jstr *str = NULL;
    vd_status st = vd_arena_array(&p->tmpl->arena, 1, sizeof(*str), "a template's text", &str,
                                  p->err);
    if (st != VD_OK)
        return st;
    *str = (vd_jstr){.data = data, .n = n};
    for (size_t i = 0; i < n; i++) /* counted here: at render time many threads read it */
        str->n_chars += ((unsigned char)data[i] & 0xc0) != 0x80;
    *ret = str;
    return VD_OK;
}

vd_status vd_jp_symbol(vd_jparser *p, const char *name, size_t n, uint32_t *ret)
{
    vd_template *tmpl = p->tmpl;
    if (vd_strmap_get(&tmpl->symbol_of, name, n, ret))
        return VD_OK;
    if (tmpl->n_symbols == tmpl->symbol_capacity) {
        size_t capacity = tmpl->symbol_capacity == 0 ? 32 : tmpl->symbol_capacity * 2;
        vd_jsymbol *grown = NULL;
        vd_status st = vd_arena_array(&tmpl->arena, capacity, sizeof(*grown),
                                      "a template's names", &grown, p->err);
        if (st != VD_OK)
            return st;
        if (tmpl->n_symbols > 0)
            memcpy(grown, tmpl->symbol, tmpl->n_symbols * sizeof(*grown));
        tmpl->symbol = grown;
        tmpl->symbol_capacity = capacity;
    }
    vd_jsymbol *symbol = &tmpl->symbol[tmpl->n_symbols];
    vd_status st = vd_jp_str(p, name, n, &symbol->name);
    if (st == VD_OK)
        st = vd_strmap_put(&tmpl->symbol_of, name, n, (uint32_t)tmpl->n_symbols, NULL, p->err);
    if (st != VD_OK)
        return st;
    symbol->global = vd_j_find_global(name, n);
    *ret = (uint32_t)tmpl->n_symbols++;
    return VD_OK;
}

vd_status vd_jp_push(vd_jparser *p, vd_jnode_list *list, vd_jnode *node)
{
    if (list->nodes.n == list->capacity) {
        size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        vd_jnode **grown = NULL;
        vd_status st = vd_arena_array(&p->tmpl->arena, capacity, sizeof(vd_jnode *),
                                      "a template's nodes", &grown, p->err);
        if (st != VD_OK)
            return st;
        if (list->nodes.n > 0)
            memcpy(grown, list->nodes.at, list->nodes.n * sizeof(vd_jnode *));
        list->nodes.at = grown;
        list->capacity = capacity;
    }
    list->nodes.at[list->nodes.n++] = node;
    return VD_OK;
}

bool vd_jp_is_name(const vd_jparser *p, const char *name)
{
    return p->token->type == VD_JTOKEN_NAME && p->token->n == strlen(name) &&
           memcmp(p->token->text, name, p->token->n) == 0;
}

bool vd_jp_take(vd_jparser *p, vd_jtoken_type type)
{
    if (p->token->type != type)
        return false;
    p->token++;
    return true;
}

bool vd_jp_take_name(vd_jparser *p, const char *name)
{
    if (!vd_jp_is_name(p, name))
        return false;
    p->token++;
    return true;
}

vd_status vd_jp_expect(vd_jparser *p, vd_jtoken_type type, const char *wanted)
{
    return vd_jp_take(p, type) ? VD_OK : vd_jp_unexpected(p, wanted);
}
