/*
 * eval.h - what the evaluator's files share: scopes, macros and loops.
 *
 * A scope is a short list of variables with a parent. Loops, macros, call, filter, set and with
 * blocks have one of their own; if has none. Assignment goes to the innermost, reading looks
 * outwards, so what a loop sets is gone behind it (namespaces are the way round), as in Jinja.
 * A block sees the outermost variables alone, unless it is `scoped`.
 */
#ifndef VD_TEXT_JINJA_EVAL_H
#define VD_TEXT_JINJA_EVAL_H

#include <jansson.h>

#include "text/jinja/ast.h"

typedef struct vd_jvar {
    uint32_t symbol;
    vd_jval value;
} vd_jvar;

struct vd_jscope {
    vd_jscope *parent;
    vd_jvar *var;
    size_t n, capacity;
    bool is_context; /* what a block inside sees, as it sees the outermost scope otherwise */
};

/* A macro sees the scope it was defined in, with the values there when it is called. */
struct vd_jmacro {
    const vd_jnode *node;
    vd_jscope *scope;
};

struct vd_jloop {
    const vd_jnode *node;
    vd_jscope *outer; /* where the loop stands, for recursive calls */
    vd_jlist *items;
    size_t index0, depth0;
    vd_jval changed; /* what loop.changed saw last, or absent */
};

VD_NODISCARD vd_status vd_j_scope_new(vd_jrender *r, vd_jscope *parent, vd_jscope **ret);
VD_NODISCARD vd_status vd_j_assign(vd_jrender *r, vd_jscope *scope, uint32_t symbol,
                                   vd_jval value);

VD_NODISCARD vd_status vd_j_eval(vd_jrender *r, const vd_jnode *node, vd_jval *ret);
VD_NODISCARD vd_status vd_j_exec(vd_jrender *r, const vd_jnodes *body);
/* Runs the body in a new scope, with its text as the value. */
VD_NODISCARD vd_status vd_j_capture(vd_jrender *r, vd_jscope *scope, const vd_jnodes *body,
                                    vd_jval *ret);
VD_NODISCARD vd_status vd_j_eval_args(vd_jrender *r, const vd_jnode_args *args, vd_jargs *ret);
VD_NODISCARD vd_status vd_j_call_macro(vd_jrender *r, const vd_jmacro *macro, const vd_jargs *args,
                                       vd_jval *ret);
/* A loop's body for these items: the text of loop(items), or straight to the output. */
VD_NODISCARD vd_status vd_j_run_loop(vd_jrender *r, const vd_jnode *node, vd_jscope *outer,
                                     vd_jval items, size_t depth0);
/* *ret_found false where the object has no such attribute. */
VD_NODISCARD vd_status vd_j_loop_attr(vd_jrender *r, vd_jloop *loop, const vd_jstr *name,
                                      vd_jval *ret, bool *ret_found);
VD_NODISCARD vd_status vd_j_macro_attr(vd_jrender *r, const vd_jmacro *macro, const vd_jstr *name,
                                       vd_jval *ret, bool *ret_found);

/* The whole render. `variables` is a JSON object, borrowed. */
VD_NODISCARD vd_status vd_jinja_render(const vd_template *tmpl, json_t *variables,
                                       const vd_render_options *options, char **ret_text,
                                       size_t *ret_n, vd_err *err);

#endif
