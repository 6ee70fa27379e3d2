/* chat.c - see chat.h. */
#include "text/chat.h"

#include <string.h>

#include "base/fail.h"
#include "text/jinja/eval.h"

static const char chatml[] =
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}";

static const char lines[] =
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
    "\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

const char *vd_chat_fallback(const vd_tokenizer *tokenizer)
{
    static const char mark[] = "<|im_start|>";
    bool knows = tokenizer != NULL && vd_tokenizer_find(tokenizer, mark, strlen(mark)) >= 0;
    return knows ? chatml : lines;
}

/* The text of a special token as a new reference; "" for none. */
static json_t *token_text(const vd_tokenizer *tokenizer, int32_t id)
{
    size_t n = 0;
    const char *piece = id >= 0 ? vd_tokenizer_piece(tokenizer, id, true, &n) : "";
    return json_stringn(piece, n);
}

vd_status vd_chat_render(const vd_template *tmpl, const vd_tokenizer *tokenizer, json_t *messages,
                         json_t *tools, bool add_generation_prompt, json_t *extra_vars,
                         const vd_render_options *options, char **ret_text, size_t *ret_n,
                         vd_err *err)
{
    if (!json_is_array(messages))
        return VD_FAIL(err, VD_ERR_ARG, "messages must be an array");
    json_t *variables = json_object();
    bool failed = variables == NULL;
    failed = failed || json_object_set(variables, "messages", messages) != 0 ||
             (tools != NULL && json_object_set(variables, "tools", tools) != 0) ||
             json_object_set_new(variables, "add_generation_prompt",
                                 json_boolean(add_generation_prompt)) != 0 ||
             json_object_set_new(variables, "bos_token",
                                 token_text(tokenizer, tokenizer != NULL
                                                           ? vd_tokenizer_bos(tokenizer) : -1)) ||
             json_object_set_new(variables, "eos_token",
                                 token_text(tokenizer, tokenizer != NULL
                                                           ? vd_tokenizer_eos(tokenizer) : -1)) ||
             (extra_vars != NULL && json_object_update(variables, extra_vars) != 0);
    vd_status st = failed ? VD_FAIL(err, VD_ERR_NOMEM, "no memory for a template's variables")
                          : vd_jinja_render(tmpl, variables, options, ret_text, ret_n, err);
    json_decref(variables);
    return st;
}
