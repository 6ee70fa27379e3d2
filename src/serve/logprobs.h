/* logprobs.h - log probabilities in the two shapes of the API. */
#ifndef VD_SERVE_LOGPROBS_H
#define VD_SERVE_LOGPROBS_H

#include "serve/answer.h"

/* {"content":[{token,logprob,bytes,top_logprobs}...],"refusal":null} from `n` bytes of records. */
void vd_logprobs_chat(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                      vd_buf *out);
/* {"tokens":[],"token_logprobs":[],"top_logprobs":[{}],"text_offset":[]}; *n_chars moves on. The
 * token drawn is added to the top ones, so up to n_top + 1 are shown; null where n_top is 0. */
void vd_logprobs_legacy(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                        size_t *n_chars, vd_buf *out);
/* Code points: bytes that do not continue a character. */
size_t vd_count_chars(const char *text, size_t n);

#endif
