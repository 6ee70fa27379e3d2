/*
 * ast.h - a parsed template: nodes in one arena, never changed after parsing.
 *
 * Chains of equal rank (a + b - c, a and b and c, if/elif/elif) are one node with many operands,
 * not a ladder of nodes, so that a long template is not a deep one.
 */
#ifndef VD_TEXT_JINJA_AST_H
#define VD_TEXT_JINJA_AST_H

#include "base/strmap.h"
#include "text/jinja/value.h"

enum { VD_J_NESTING_MAX = 150, VD_J_SOURCE_MAX = 4 << 20 };

typedef enum vd_jnode_type {
    /* expressions */
    VD_JNODE_CONST,    /* value */
    VD_JNODE_NAME,     /* symbol */
    VD_JNODE_LIST,     /* items */
    VD_JNODE_TUPLE,    /* items */
    VD_JNODE_DICT,     /* items: key, value, key, value */
    VD_JNODE_GETATTR,  /* a, text */
    VD_JNODE_GETITEM,  /* a, b */
    VD_JNODE_SLICE,    /* a, b, c; each may be NULL */
    VD_JNODE_CALL,     /* a, args */
    VD_JNODE_FILTER,   /* a, text, builtin, args */
    VD_JNODE_TEST,     /* a, text, builtin, args, flag: negated */
    VD_JNODE_CAPTURED, /* the text of the surrounding block */
    VD_JNODE_NOT,      /* a */
    VD_JNODE_NEG,      /* a */
    VD_JNODE_POS,      /* a */
    VD_JNODE_MATH,     /* items, ops[i] stands before items[i + 1] */
    VD_JNODE_COMPARE,  /* the same */
    VD_JNODE_CONCAT,   /* items */
    VD_JNODE_AND,      /* items */
    VD_JNODE_OR,       /* items */
    VD_JNODE_COND,     /* b if a else c; c may be NULL */
    /* statements */
    VD_JNODE_DATA,         /* text */
    VD_JNODE_OUTPUT,       /* a */
    VD_JNODE_IF,           /* items: BRANCH */
    VD_JNODE_BRANCH,       /* a (NULL: else), body */
    VD_JNODE_FOR,          /* a target, b items, c test or NULL, body, orelse, flag: recursive */
    VD_JNODE_SET,          /* a target, b value */
    VD_JNODE_SET_BLOCK,    /* a target, b filters over CAPTURED, body */
    VD_JNODE_MACRO,        /* symbol, text, items parameters, orelse their last defaults, body */
    VD_JNODE_CALL_BLOCK,   /* a call, b the MACRO it hands over */
    VD_JNODE_FILTER_BLOCK, /* b filters over CAPTURED, body */
    VD_JNODE_WITH,         /* items: target, value, target, value; body */
    VD_JNODE_SCOPE,        /* body */
    VD_JNODE_BLOCK,        /* body, flag: scoped; text: its name where it is `required` */
    VD_JNODE_BREAK,
    VD_JNODE_CONTINUE
} vd_jnode_type;

typedef struct vd_jnodes {
    vd_jnode **at;
    size_t n;
} vd_jnodes;

typedef struct vd_jnode_kwarg {
    const vd_jstr *name;
    vd_jnode *value;
} vd_jnode_kwarg;

typedef struct vd_jnode_args {
    vd_jnodes pos;
    vd_jnode_kwarg *kw;
    size_t n_kw;
    vd_jnode *star, *star_star; /* *args, **kwargs; or NULL */
} vd_jnode_args;

/* A macro that names these in its body takes them. */
enum { VD_J_USES_CALLER = 1, VD_J_USES_VARARGS = 2, VD_J_USES_KWARGS = 4 };

struct vd_jnode {
    vd_jnode_type type;
    uint32_t line, symbol;
    bool flag;
    uint8_t uses;
    const vd_jstr *text;
    const vd_jbuiltin *builtin; /* NULL: no such filter or test, an error when it is reached */
    vd_jval value;
    vd_jnode *a, *b, *c;
    vd_jnodes items, body, orelse;
    const uint8_t *ops;
    const vd_jnode_args *args;
};

/* Symbols that have a number of their own. */
enum { VD_J_SYM_LOOP, VD_J_SYM_CALLER, VD_J_SYM_VARARGS, VD_J_SYM_KWARGS, VD_J_SYM_SELF };

typedef struct vd_jsymbol {
    const vd_jstr *name;
    const vd_jbuiltin *global; /* the function of that name, or NULL */
    bool is_block;             /* a block has the name already */
} vd_jsymbol;

struct vd_template {
    vd_arena arena;
    vd_jnodes body;
    vd_jsymbol *symbol;
    size_t n_symbols, symbol_capacity;
    vd_strmap symbol_of; /* name to number */
};

/* The parser (parse.c) fills a zeroed template. Its own recursion is bounded. */
VD_NODISCARD vd_status vd_jinja_parse(vd_template *tmpl, const char *source, size_t n, vd_err *err);

#endif
