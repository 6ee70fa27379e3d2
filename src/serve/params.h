/* params.h - the fields that chat and text completions share. */
#ifndef VD_SERVE_PARAMS_H
#define VD_SERVE_PARAMS_H

#include "base/json.h"
#include "serve/exchange.h"

/* What a field of the body is to us. */
typedef enum vd_field_use {
    VD_FIELD_READ,   /* it has its effect */
    VD_FIELD_REFUSED /* we lack it, and leaving it out would change the answer: 400 */
} vd_field_use;

typedef struct vd_field {
    const char *name;
    vd_field_use use;
} vd_field;

/* Finds the model: 404, or 400 where `model` is missing. vd_params_read begins with it. */
vd_status vd_params_read_model(vd_exchange *request, json_t *body, vd_api_error *error);
/* Notes fields that are neither read nor refused in request->ignored, and refuses those that are.
 * vd_params_read does that too. */
vd_status vd_params_sort(vd_exchange *request, json_t *body, const vd_field *fields, size_t n,
                         vd_api_error *error);
/* Finds the model (404), notes what will be ignored in request->ignored, refuses what must not be
 * ignored, and reads sampling, n, stop, stream, seed and the rest that both endpoints know.
 * `own` are the fields that the endpoint reads or refuses itself. */
vd_status vd_params_read(vd_exchange *request, json_t *body, const vd_field *own, size_t n_own,
                         vd_api_error *error);
/* Names a field in request->ignored, once: `inside` is "" or "messages.". */
void vd_params_ignore(vd_exchange *request, const char *inside, const char *name);
/* The same for all fields of an object that are neither known nor null. */
void vd_params_ignore_rest(vd_exchange *request, const char *inside, json_t *object,
                           const char *const *known, size_t n_known);
/* Tokens of one prompt, taken by the ask: checks that they fit the context and, but for embeddings,
 * leave room. */
vd_status vd_params_add_prompt(vd_exchange *request, vd_buf *ids, const char *text, size_t n_text,
                               const char *param, vd_api_error *error);

#endif
