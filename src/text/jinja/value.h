/*
 * value.h - the values a template computes with, and the render they live in.
 *
 *   vd_jval (16 bytes, passed by value) --+-- bool, int, float in place
 *                                         +-- vd_jstr    bytes of valid UTF-8 with a length
 *                                         +-- vd_jlist   list, tuple, range, dict views
 *                                         +-- vd_jdict   insertion-ordered, hashed
 *                                         +-- vd_jiter   Python's one-pass iterators
 *                                         +-- namespace, macro, loop, functions, bound methods
 *
 * Everything that a render makes lies in its arena and is released with it, so nothing here is
 * freed one by one. Values other than iterators, namespaces, cyclers and joiners never change
 * (the sandbox of Hugging Face forbids append, pop and their like), so they are shared freely.
 *
 * Limits: `charge` counts work in steps, `enter` counts nesting, the arena counts bytes. Each gives
 * VD_ERR_LIMIT. Single-owner: a render belongs to one thread.
 */
#ifndef VD_TEXT_JINJA_VALUE_H
#define VD_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>
#include <verdant/template.h>

#include "base/arena.h"

typedef struct vd_jrender vd_jrender;
typedef struct vd_jnode vd_jnode;
typedef struct vd_jscope vd_jscope;

typedef enum vd_jkind {
    VD_JKIND_UNDEFINED,
    VD_JKIND_ABSENT, /* an optional argument that was not given; never seen by a template */
    VD_JKIND_NONE,
    VD_JKIND_BOOL,
    VD_JKIND_INT,
    VD_JKIND_FLOAT,
    VD_JKIND_STRING,
    VD_JKIND_LIST, /* all flavours of vd_jlist */
    VD_JKIND_DICT,
    VD_JKIND_ITER,
    VD_JKIND_SLICE, /* only as a subscript; u.list holds start, stop, step */
    VD_JKIND_NAMESPACE,
    VD_JKIND_MACRO,
    VD_JKIND_LOOP,
    VD_JKIND_FUNCTION, /* a global function */
    VD_JKIND_METHOD,   /* a method bound to its object */
    VD_JKIND_CYCLER,
    VD_JKIND_JOINER
} vd_jkind;

typedef struct vd_jtail vd_jtail;

/* Immutable, not NUL-terminated. */
typedef struct vd_jstr {
    const char *data;
    size_t n;
    size_t n_chars; /* code points; SIZE_MAX until somebody asked (never in a template's own) */
    vd_jtail *tail; /* spare room behind the text, so that a + b in a loop is linear; or NULL */
    bool safe;      /* Markup: + with other text escapes that text */
} vd_jstr;

typedef struct vd_jlist vd_jlist;
typedef struct vd_jdict vd_jdict;
typedef struct vd_jiter vd_jiter;
typedef struct vd_jundefined vd_jundefined;
typedef struct vd_jmacro vd_jmacro;
typedef struct vd_jloop vd_jloop;
typedef struct vd_jmethod vd_jmethod;
typedef struct vd_jbuiltin vd_jbuiltin;
typedef struct vd_jcycler vd_jcycler;

typedef struct vd_jval {
    vd_jkind kind;
    union {
        bool b;
        int64_t i;
        double f;
        const vd_jstr *s;
        vd_jlist *list;
        vd_jdict *dict; /* of a namespace too */
        vd_jiter *iter;
        vd_jundefined *undefined; /* NULL: nothing is known about it */
        vd_jmacro *macro;
        vd_jloop *loop;
        vd_jmethod *method;
        const vd_jbuiltin *builtin;
        vd_jcycler *cycler; /* of a joiner too */
    } u;
} vd_jval;

typedef enum vd_jflavour {
    VD_JFLAVOUR_LIST,
    VD_JFLAVOUR_TUPLE,
    VD_JFLAVOUR_RANGE,
    VD_JFLAVOUR_KEYS,
    VD_JFLAVOUR_VALUES,
    VD_JFLAVOUR_ITEMS
} vd_jflavour;

struct vd_jlist {
    vd_jval *item;
    size_t n, capacity;
    vd_jflavour flavour;
    int64_t start, stop, step; /* of a range, for printing */
    bool is_group; /* groupby's tuple, which also has .grouper and .list */
};

typedef struct vd_jentry {
    vd_jval key, value;
    uint64_t hash;
} vd_jentry;

struct vd_jdict {
    vd_jentry *entry; /* in order of insertion */
    size_t n, capacity;
    uint32_t *slot; /* entry number + 1, or 0; NULL while the dict is small */
    size_t n_slots; /* a power of two */
};

/* What Python calls a generator: its items can be taken once. */
struct vd_jiter {
    vd_jlist *list;
    size_t at;
};

struct vd_jundefined {
    const char *hint;     /* the whole message, or NULL */
    const char *owner;    /* Python's name of the type asked, or NULL for a plain variable */
    const vd_jstr *name;  /* the name asked for, or NULL */
};

struct vd_jmethod {
    vd_jval self;
    const vd_jbuiltin *builtin;
};

struct vd_jcycler {
    vd_jlist *items; /* of a joiner: one, the separator */
    size_t at;       /* of a joiner: 1 after the first call */
};

typedef struct vd_jkwarg {
    const vd_jstr *name;
    vd_jval value;
} vd_jkwarg;

typedef struct vd_jargs {
    const vd_jval *pos;
    size_t n_pos;
    const vd_jkwarg *kw;
    size_t n_kw;
} vd_jargs;

enum { VD_J_PARAMS_MAX = 6 };

typedef struct vd_jcall {
    const vd_jbuiltin *builtin;
    const vd_jargs *raw;
    vd_jval arg[VD_J_PARAMS_MAX]; /* by the order of builtin->params; ABSENT where not given */
} vd_jcall;

/* A filter, a test, a method or a global function. `self` is the value on the left. */
typedef vd_status (*vd_jfn)(vd_jrender *r, vd_jval self, const vd_jcall *call, vd_jval *ret);

struct vd_jbuiltin {
    const char *name;
    vd_jfn fn;
    const char *params; /* "old new ?count": names, ? optional; NULL: fn reads call->raw itself */
    bool forbidden;     /* changes its object: the sandbox has it, but not callable */
};

/* Text being built in the arena. The first failure sticks in `status`. */
typedef struct vd_jtext {
    vd_jrender *r;
    char *data;
    size_t n, capacity;
    size_t limit; /* ceiling on n */
    vd_status status;
} vd_jtext;

typedef enum vd_jflow { VD_JFLOW_NEXT, VD_JFLOW_BREAK, VD_JFLOW_CONTINUE } vd_jflow;

struct vd_jrender {
    vd_arena arena;
    const vd_template *tmpl;
    vd_err *err;
    vd_jtext *out;     /* where output goes now */
    vd_jscope *scope;  /* innermost */
    vd_jval captured;  /* text of the block whose filters are being applied */
    vd_jflow flow;
    uint32_t line;     /* of the node being evaluated, for messages */
    size_t n_steps, max_steps;
    size_t depth, max_depth;           /* C recursion of any kind */
    size_t call_depth, max_call_depth; /* macros and recursive loops */
    size_t max_output;
    uint64_t hash_seed;
    int64_t now_unix;
};

/* --- failing and limits (value.c) --- */

/* The status is the value of the macro, and no function's: so a reader of one file, as the static
 * analyzer is, knows that a failure is never VD_OK. */
#define VD_J_FAIL_AS(r, status, ...)                                                               \
    (vd_j_fail_at((r), (status), __FILE__, __LINE__, __VA_ARGS__), (status))
#define VD_J_FAIL(r, ...) VD_J_FAIL_AS(r, VD_ERR_TEMPLATE, __VA_ARGS__)
#define VD_J_LIMIT(r, ...) VD_J_FAIL_AS(r, VD_ERR_LIMIT, __VA_ARGS__)
void vd_j_fail_at(vd_jrender *r, vd_status status, const char *file, int line, const char *fmt,
                  ...) VD_PRINTF(5, 6);
VD_NODISCARD vd_status vd_j_charge(vd_jrender *r, size_t n_steps);
/* For work that is a pass over n bytes. */
VD_NODISCARD vd_status vd_j_charge_bytes(vd_jrender *r, size_t n);
/* Every function that can call itself through values or nodes; pair with r->depth--. */
VD_NODISCARD vd_status vd_j_enter(vd_jrender *r);
/* Zeroed arena memory; *ret_block is a T *. */
VD_NODISCARD vd_status vd_j_alloc(vd_jrender *r, size_t n, size_t size, void *ret_block);

/* --- making values --- */

static inline vd_jval vd_j_none(void)
{
    return (vd_jval){.kind = VD_JKIND_NONE};
}
static inline vd_jval vd_j_bool(bool b)
{
    return (vd_jval){.kind = VD_JKIND_BOOL, .u.b = b};
}
static inline vd_jval vd_j_int(int64_t i)
{
    return (vd_jval){.kind = VD_JKIND_INT, .u.i = i};
}
static inline vd_jval vd_j_float(double f)
{
    return (vd_jval){.kind = VD_JKIND_FLOAT, .u.f = f};
}
static inline vd_jval vd_j_string(const vd_jstr *s)
{
    return (vd_jval){.kind = VD_JKIND_STRING, .u.s = s};
}
static inline vd_jval vd_j_list(vd_jlist *list)
{
    return (vd_jval){.kind = VD_JKIND_LIST, .u.list = list};
}
static inline vd_jval vd_j_dict(vd_jdict *dict)
{
    return (vd_jval){.kind = VD_JKIND_DICT, .u.dict = dict};
}

/* data[0..n) is kept, not copied: it lies in the arena, the template or static storage. */
VD_NODISCARD vd_status vd_j_str_wrap(vd_jrender *r, const char *data, size_t n, vd_jval *ret);
VD_NODISCARD vd_status vd_j_str_copy(vd_jrender *r, const char *data, size_t n, vd_jval *ret);
VD_NODISCARD vd_status vd_j_str_concat(vd_jrender *r, const vd_jstr *a, const vd_jstr *b,
                                       vd_jval *ret);
/* The same text marked safe or plain. */
VD_NODISCARD vd_status vd_j_str_mark(vd_jrender *r, const vd_jstr *s, bool safe, vd_jval *ret);
size_t vd_j_str_chars(const vd_jstr *s);
bool vd_j_str_is(const vd_jstr *s, const char *text);
/* Byte offset of code point `index`, which is at most the number of them. */
size_t vd_j_str_offset(const vd_jstr *s, size_t index);

VD_NODISCARD vd_status vd_j_list_new(vd_jrender *r, size_t capacity, vd_jlist **ret);
VD_NODISCARD vd_status vd_j_list_push(vd_jrender *r, vd_jlist *list, vd_jval value);
/* A tuple of two. */
VD_NODISCARD vd_status vd_j_pair(vd_jrender *r, vd_jval a, vd_jval b, vd_jval *ret);
VD_NODISCARD vd_status vd_j_iter_new(vd_jrender *r, vd_jlist *list, vd_jval *ret);
/* hint: the whole message, kept; or owner and name. */
VD_NODISCARD vd_status vd_j_undefined(vd_jrender *r, const char *hint, const char *owner,
                                      const vd_jstr *name, vd_jval *ret);
/* VD_ERR_TEMPLATE that says what was undefined. */
VD_NODISCARD vd_status vd_j_undefined_fail(vd_jrender *r, vd_jval value);

VD_NODISCARD vd_status vd_j_dict_new(vd_jrender *r, vd_jdict **ret);
VD_NODISCARD vd_status vd_j_dict_put(vd_jrender *r, vd_jdict *dict, vd_jval key, vd_jval value);
/* *ret_entry is NULL when the key is not there; VD_ERR_TEMPLATE for an unhashable key. */
VD_NODISCARD vd_status vd_j_dict_find(vd_jrender *r, const vd_jdict *dict, vd_jval key,
                                      vd_jentry **ret_entry);
bool vd_j_hashable(vd_jval value);

/* --- text being built --- */

void vd_j_text_init(vd_jtext *text, vd_jrender *r);
void vd_j_text_add(vd_jtext *text, const char *data, size_t n);
void vd_j_text_puts(vd_jtext *text, const char *data);
void vd_j_text_code(vd_jtext *text, uint32_t code); /* one code point as UTF-8 */
void vd_j_text_printf(vd_jtext *text, const char *fmt, ...) VD_PRINTF(2, 3);
/* The whole as a string, or the failure that stuck. */
VD_NODISCARD vd_status vd_j_text_value(vd_jtext *text, vd_jval *ret);

/* --- what values mean (compare.c, repr.c, json.c) --- */

bool vd_j_truth(vd_jval value);
const char *vd_j_type_name(vd_jval value); /* Python's: "str", "NoneType", ... */
VD_NODISCARD vd_status vd_j_equal(vd_jrender *r, vd_jval a, vd_jval b, bool *ret);
/* <0, 0, >0; VD_ERR_TEMPLATE for types that have no order. */
VD_NODISCARD vd_status vd_j_compare(vd_jrender *r, vd_jval a, vd_jval b, const char *op, int *ret);
VD_NODISCARD vd_status vd_j_hash(vd_jrender *r, vd_jval value, uint64_t *ret);
/* Python's str(), repr() and ascii(). */
void vd_j_text_str(vd_jtext *text, vd_jval value);
void vd_j_text_repr(vd_jtext *text, vd_jval value);
void vd_j_text_ascii(vd_jtext *text, vd_jval value);
void vd_j_text_float(vd_jtext *text, double value);
VD_NODISCARD vd_status vd_j_to_str(vd_jrender *r, vd_jval value, const vd_jstr **ret);

typedef struct vd_jdump_options {
    bool ascii, sort_keys;
    const char *indent; /* NULL: one line */
    size_t n_indent;
    const vd_jstr *item_separator, *key_separator; /* NULL: json.dumps's own */
} vd_jdump_options;

VD_NODISCARD vd_status vd_j_json_dump(vd_jrender *r, vd_jval value, const vd_jdump_options *options,
                                      vd_jval *ret);
/* `json` is a jansson value. */
struct json_t;
VD_NODISCARD vd_status vd_j_from_json(vd_jrender *r, const struct json_t *json, vd_jval *ret);

/* --- operators and items (ops.c) --- */

typedef enum vd_jop {
    VD_JOP_ADD, VD_JOP_SUB, VD_JOP_MUL, VD_JOP_DIV, VD_JOP_FLOORDIV, VD_JOP_MOD, VD_JOP_POW,
    VD_JOP_EQ, VD_JOP_NE, VD_JOP_LT, VD_JOP_LE, VD_JOP_GT, VD_JOP_GE, VD_JOP_IN, VD_JOP_NOT_IN
} vd_jop;

VD_NODISCARD vd_status vd_j_arith(vd_jrender *r, vd_jop op, vd_jval a, vd_jval b, vd_jval *ret);
VD_NODISCARD vd_status vd_j_relation(vd_jrender *r, vd_jop op, vd_jval a, vd_jval b, bool *ret);
/* left % right for a text on the left. */
VD_NODISCARD vd_status vd_j_percent(vd_jrender *r, const vd_jstr *left, vd_jval right,
                                    vd_jval *ret);
VD_NODISCARD vd_status vd_j_contains(vd_jrender *r, vd_jval all, vd_jval item, bool *ret);
/* a.name and a[key]; undefined where there is none. */
VD_NODISCARD vd_status vd_j_getattr(vd_jrender *r, vd_jval a, const vd_jstr *name, vd_jval *ret);
VD_NODISCARD vd_status vd_j_getitem(vd_jrender *r, vd_jval a, vd_jval key, vd_jval *ret);
/* By Python's slice rules: clamps start and stop to n items and counts those between. */
VD_NODISCARD vd_status vd_j_slice_range(vd_jrender *r, const vd_jlist *slice, size_t n,
                                        int64_t *ret_start, int64_t *ret_step, size_t *ret_count);
/* "<" becomes "&lt;" and so on; the result is marked safe. */
VD_NODISCARD vd_status vd_j_escape(vd_jrender *r, const vd_jstr *s, vd_jval *ret);
/* The items to loop over. An iterator is emptied. VD_ERR_TEMPLATE for what cannot be iterated. */
VD_NODISCARD vd_status vd_j_items(vd_jrender *r, vd_jval a, vd_jlist **ret);
bool vd_j_iterable(vd_jval value);
/* len(): false where Python has none. */
bool vd_j_length(vd_jval value, size_t *ret);

/* --- calling (call.c) --- */

VD_NODISCARD vd_status vd_j_call(vd_jrender *r, vd_jval callee, const vd_jargs *args, vd_jval *ret);
/* An argument as a number or truth; `otherwise` where it was not given. */
VD_NODISCARD vd_status vd_j_arg_int(vd_jrender *r, const vd_jcall *call, size_t i,
                                    int64_t otherwise, int64_t *ret);
bool vd_j_arg_bool(const vd_jcall *call, size_t i, bool otherwise);
/* NULL where it was not given or is none. */
VD_NODISCARD vd_status vd_j_arg_str(vd_jrender *r, const vd_jcall *call, size_t i,
                                    const vd_jstr **ret);
VD_NODISCARD vd_status vd_j_call_builtin(vd_jrender *r, const vd_jbuiltin *builtin, vd_jval self,
                                         const vd_jargs *args, vd_jval *ret);
bool vd_j_callable(vd_jval value);
/* VD_ERR_TEMPLATE for a name that a namespace may not have: one that begins with '_'. */
VD_NODISCARD vd_status vd_j_namespace_name(vd_jrender *r, const vd_jstr *name);

/* NULL when there is none of that name. */
const vd_jbuiltin *vd_j_find_in(const vd_jbuiltin *table, size_t n_table, const char *name,
                                size_t n);
const vd_jbuiltin *vd_j_find_filter(const char *name, size_t n);
const vd_jbuiltin *vd_j_find_test(const char *name, size_t n);
const vd_jbuiltin *vd_j_find_global(const char *name, size_t n);
const vd_jbuiltin *vd_j_find_method(vd_jval self, const char *name, size_t n);

#endif
