/*
 * template.h - chat templates: an interpreter for the Jinja that models ship.
 *
 * A template comes from a stranger, so it has limits on steps, depth and output, sees only what it
 * is given, and fails with VD_ERR_TEMPLATE and its own words. Semantics are those of Hugging
 * Face's environment (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls),
 * in every locale.
 */
#ifndef VERDANT_TEMPLATE_H
#define VERDANT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vd_template vd_template;

/* Parses source[0..n). Immutable after; may render in many threads. VD_ERR_TEMPLATE with line. */
VD_API VD_NODISCARD vd_status vd_template_parse(const char *source, size_t n,
                                                vd_template **ret_template, vd_err *err);
VD_API void vd_template_free(vd_template *tmpl);

typedef struct vd_render_options {
    size_t max_steps;   /* evaluated nodes; 0: 2,000,000 */
    size_t max_output;  /* bytes; 0: 16 MiB */
    size_t max_memory;  /* bytes a render may take beside its output; 0: 128 MiB */
    size_t max_depth;   /* macros and recursive loops in each other, at most 400; 0: 200, for which
                           512 KiB of the thread's stack suffice */
    int64_t now_unix;   /* what strftime_now sees (UTC); 0: the clock */
} vd_render_options;

/* Renders with the variables of a JSON object (variables_json[0..n)): messages, tools,
 * add_generation_prompt, bos_token, eos_token and any others. *ret_text: vd_text_free. */
VD_API VD_NODISCARD vd_status vd_template_render(const vd_template *tmpl,
                                                 const char *variables_json, size_t n,
                                                 const vd_render_options *options, char **ret_text,
                                                 size_t *ret_n, vd_err *err);

#ifdef __cplusplus
}
#endif
#endif
