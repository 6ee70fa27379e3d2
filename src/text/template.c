/* template.c - see verdant/template.h: parsing, and a render from its variables to its text. */
#include <locale.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/json.h"
#include "text/jinja/eval.h"

enum { STEPS = 2000000, OUTPUT = 16 << 20, DEPTH = 200, DEPTH_MAX = 400 };
/* A node, a value or a call takes a C frame each; a macro's level takes about this many. */
enum { FRAMES_PER_LEVEL = 10 };
static const size_t parse_bytes = 256u << 20, memory_bytes = 128u << 20;

/* A prompt's numbers and months are Python's, whatever locale the program around us has chosen. */
typedef struct c_locale {
    locale_t ours, before;
} c_locale;

static c_locale enter_c_locale(void)
{
    c_locale c = {.ours = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (c.ours != (locale_t)0)
        c.before = uselocale(c.ours);
    return c;
}

static void leave_c_locale(c_locale c)
{
    if (c.ours == (locale_t)0)
        return;
    uselocale(c.before);
    freelocale(c.ours);
}

vd_status vd_template_parse(const char *source, size_t n, vd_template **ret_template, vd_err *err)
{
    vd_template *tmpl = vd_calloc(1, sizeof(*tmpl));
    if (tmpl == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a template");
    vd_arena_init(&tmpl->arena, parse_bytes);
    c_locale c = enter_c_locale();
    vd_status st = vd_jinja_parse(tmpl, source, n, err);
    leave_c_locale(c);
    if (st != VD_OK)
        goto out;
    *ret_template = tmpl;
    tmpl = NULL; /* moved to the caller */
out:
    vd_template_free(tmpl);
    return st;
}

void vd_template_free(vd_template *tmpl)
{
    if (tmpl == NULL)
        return;
    vd_strmap_done(&tmpl->symbol_of);
    vd_arena_done(&tmpl->arena);
    vd_free(tmpl);
}

/* Only variables that the template names: nothing else can be asked for. */
static vd_status take_variables(vd_jrender *r, json_t *variables, vd_jscope *scope)
{
    const char *name;
    json_t *json;
    json_object_foreach(variables, name, json)
    {
        uint32_t symbol;
        vd_jval value;
        if (!vd_strmap_get(&r->tmpl->symbol_of, name, strlen(name), &symbol))
            continue;
        vd_status st = vd_j_from_json(r, json, &value);
        if (st == VD_OK)
            st = vd_j_assign(r, scope, symbol, value);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

vd_status vd_jinja_render(const vd_template *tmpl, json_t *variables,
                          const vd_render_options *options, char **ret_text, size_t *ret_n,
                          vd_err *err)
{
    static const vd_render_options defaults = {0};
    const vd_render_options *o = options != NULL ? options : &defaults;
    size_t levels = VD_MIN(o->max_depth != 0 ? o->max_depth : (size_t)DEPTH, (size_t)DEPTH_MAX);
    vd_jrender r = {
        .tmpl = tmpl,
        .err = err,
        .max_steps = o->max_steps != 0 ? o->max_steps : STEPS,
        .max_output = o->max_output != 0 ? o->max_output : OUTPUT,
        .max_call_depth = levels,
        .max_depth = levels * FRAMES_PER_LEVEL,
        .now_unix = o->now_unix != 0 ? o->now_unix : (int64_t)(vd_wall_ns() / 1000000000u),
        .captured = {.kind = VD_JKIND_UNDEFINED},
    };
    r.hash_seed = vd_wall_ns() * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&r;
    vd_arena_init(&r.arena, o->max_memory != 0 ? o->max_memory : memory_bytes);
    vd_jtext out;
    vd_j_text_init(&out, &r);
    out.limit = r.max_output;
    r.out = &out;
    c_locale c = enter_c_locale();
    vd_status st = vd_j_scope_new(&r, NULL, &r.scope);
    if (st == VD_OK)
        st = take_variables(&r, variables, r.scope);
    if (st == VD_OK)
        st = vd_j_exec(&r, &tmpl->body);
    leave_c_locale(c);
    if (st != VD_OK)
        goto done;
    char *text = vd_strndup(out.n > 0 ? out.data : "", out.n);
    if (text == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a prompt of %zu bytes", out.n);
        goto done;
    }
    *ret_text = text;
    *ret_n = out.n;
done:
    vd_arena_done(&r.arena);
    return st;
}

vd_status vd_template_render(const vd_template *tmpl, const char *variables_json, size_t n,
                             const vd_render_options *options, char **ret_text, size_t *ret_n,
                             vd_err *err)
{
    json_t *variables = NULL;
    vd_status st = vd_json_parse(variables_json, n, &variables, err);
    if (st == VD_OK && !json_is_object(variables))
        st = VD_FAIL(err, VD_ERR_ARG, "the variables of a template are a JSON object");
    if (st == VD_OK)
        st = vd_jinja_render(tmpl, variables, options, ret_text, ret_n, err);
    json_decref(variables);
    return st;
}
