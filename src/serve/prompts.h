/* prompts.h - the texts of a body: `prompt` of a text completion, `input` of embeddings. */
#ifndef VD_SERVE_PROMPTS_H
#define VD_SERVE_PROMPTS_H

#include "base/json.h"
#include "serve/exchange.h"

/* How many texts the field holds: a string or a list of token ids is one. At least 1, else 400. */
vd_status vd_prompts_count(json_t *body, const char *field, size_t *ret_n, vd_api_error *error);
/* Makes request->ask.prompts of the field's n texts: strings, lists of token ids, or both mixed. */
vd_status vd_prompts_read(vd_exchange *request, json_t *body, const char *field, size_t n,
                          vd_api_error *error);

#endif
