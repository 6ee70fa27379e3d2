/*
 * parser.h - what the two halves of the parser share (parser.c): parse.c reads statements,
 * expr.c expressions. Recursive descent, after the grammar of Jinja 3.1.
 */
#ifndef VD_TEXT_JINJA_PARSER_H
#define VD_TEXT_JINJA_PARSER_H

#include "text/jinja/ast.h"
#include "text/jinja/lex.h"

typedef struct vd_jparser {
    vd_template *tmpl;
    const vd_jtoken *token; /* the current one; the last is VD_JTOKEN_END */
    size_t depth;
    size_t n_loops;  /* that a break here could leave */
    uint8_t uses;    /* VD_J_USES_ of the macro being read, gathered */
    vd_err *err;
} vd_jparser;

#define VD_J_SYNTAX(p, ...) vd_jp_fail_at((p), __FILE__, __LINE__, __VA_ARGS__)
vd_status vd_jp_fail_at(vd_jparser *p, const char *file, int line, const char *fmt, ...)
    VD_PRINTF(4, 5);
/* "'x'" or what kind of token stands there, for messages. */
vd_status vd_jp_unexpected(vd_jparser *p, const char *wanted);

VD_NODISCARD vd_status vd_jp_enter(vd_jparser *p);
VD_NODISCARD vd_status vd_jp_node(vd_jparser *p, vd_jnode_type type, vd_jnode **ret);
VD_NODISCARD vd_status vd_jp_str(vd_jparser *p, const char *data, size_t n, const vd_jstr **ret);
VD_NODISCARD vd_status vd_jp_symbol(vd_jparser *p, const char *name, size_t n, uint32_t *ret);
VD_NODISCARD vd_status vd_jp_expect(vd_jparser *p, vd_jtoken_type type, const char *wanted);
bool vd_jp_is_name(const vd_jparser *p, const char *name);
/* Takes the current token when it is of this type. */
bool vd_jp_take(vd_jparser *p, vd_jtoken_type type);
bool vd_jp_take_name(vd_jparser *p, const char *name);

/* A list of nodes while it grows; the array is arena memory, doubled when full. */
typedef struct vd_jnode_list {
    vd_jnodes nodes;
    size_t capacity;
} vd_jnode_list;

VD_NODISCARD vd_status vd_jp_push(vd_jparser *p, vd_jnode_list *list, vd_jnode *node);

/* Expressions. A tuple is a, b, ...; `allow_cond` false leaves "if" alone (in for). */
VD_NODISCARD vd_status vd_jp_expression(vd_jparser *p, bool allow_cond, vd_jnode **ret);
VD_NODISCARD vd_status vd_jp_tuple(vd_jparser *p, bool allow_cond, vd_jnode **ret);
VD_NODISCARD vd_status vd_jp_postfix(vd_jparser *p, vd_jnode **node);
/* "is [not] name arguments" over *node. */
VD_NODISCARD vd_status vd_jp_test(vd_jparser *p, vd_jnode **node);
VD_NODISCARD vd_status vd_jp_primary(vd_jparser *p, vd_jnode **ret);
/* name(args)|name... over *node; the first name stands where the parser is. */
VD_NODISCARD vd_status vd_jp_filters(vd_jparser *p, vd_jnode **node);
/* A name, tuple of names or namespace attribute that can be assigned to. */
VD_NODISCARD vd_status vd_jp_target(vd_jparser *p, bool allow_attribute, vd_jnode **ret);

#endif
