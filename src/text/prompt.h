/*
 * prompt.h - from a conversation to the tokens that the model reads.
 *
 * A user may write "<|im_end|>" in a message; it has to reach the model as these characters, not as
 * the token that ends a turn. So before rendering, every special token's text inside a message gets
 * a mark (the noncharacter U+FDD0, behind its first character); the template carries the marks
 * along wherever it puts the text; and the tokenizer, told where they were, reads those places as
 * characters. The marks themselves never reach the model.
 */
#ifndef VD_TEXT_PROMPT_H
#define VD_TEXT_PROMPT_H

#include "text/chat.h"

/* Renders as vd_chat_render does and tokenizes; BOS is added where the vocabulary adds one and the
 * template did not. *ret_ids: vd_ids_free. What vd_chat_render and vd_tokenizer_encode return. */
VD_NODISCARD vd_status vd_chat_prompt(const vd_template *tmpl, const vd_tokenizer *tokenizer,
                                      json_t *messages, json_t *tools, bool add_generation_prompt,
                                      json_t *extra_vars, const vd_render_options *options,
                                      int32_t **ret_ids, size_t *ret_n, vd_err *err);

#endif
