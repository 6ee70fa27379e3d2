/*
 * chat.h - messages to the prompt that a model was trained on, by the model's own template.
 */
#ifndef VD_TEXT_CHAT_H
#define VD_TEXT_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

/* Renders with the variables messages, tools (where `tools` is not NULL; the template sees none
 * otherwise), add_generation_prompt, bos_token and eos_token (the tokenizer's; "" where it has
 * none or `tokenizer` is NULL), and all members of `extra_vars` (an object or NULL), which go
 * before those. All JSON is borrowed. *ret_text is the caller's (vd_text_free), *ret_n its bytes.
 * VD_ERR_ARG for messages that are no array; what vd_template_render returns. */
VD_NODISCARD vd_status vd_chat_render(const vd_template *tmpl, const vd_tokenizer *tokenizer,
                                      json_t *messages, json_t *tools, bool add_generation_prompt,
                                      json_t *extra_vars, const vd_render_options *options,
                                      char **ret_text, size_t *ret_n, vd_err *err);

/* The template for a model that brings none. ChatML where the vocabulary knows <|im_start|>, else
 * "role: content" lines. Static storage. */
const char *vd_chat_fallback(const vd_tokenizer *tokenizer);

#endif
