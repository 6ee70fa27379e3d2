/* logprobs.h - log probabilities in the two shapes of the API. */
#ifndef VD_SERVE_LOGPROBS_H
#define VD_SERVE_LOGPROBS_H

#include <stddef.h>

#include "base/buf.h"
#include "serve/backend.h"

/* Characters of tokens that follow each other, as text/stream.h shows them: bytes that cannot
 * become a character count as one U+FFFD. {0} is the start. */
typedef struct vd_char_count {
    size_t n; /* finished ones */
    char raw[4];
    size_t n_raw;
} vd_char_count;
/* Takes one token's bytes. Returns the number of the character in which it begins. */
size_t vd_char_count_add(vd_char_count *count, const char *piece, size_t n);

/* How many bytes of `records` are of tokens that begin before character n_shown; *ret_after: the
 * count behind them. */
size_t vd_logprobs_shown(const vd_backend *backend, const char *records, size_t n, size_t n_shown,
                         const vd_char_count *before, vd_char_count *ret_after);
/* {"content":[{token,logprob,bytes,top_logprobs}...],"refusal":null} from `n` bytes of records. A
 * control token, which shows nothing in the text, has its name as `token` and null as `bytes`. */
void vd_logprobs_chat(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                      vd_buf *out);
/* {"tokens":[],"token_logprobs":[],"top_logprobs":[{}],"text_offset":[]}. The token drawn is added
 * to the top ones, so up to n_top + 1 are shown; null where n_top is 0. Of tokens with the same
 * text a map holds one. */
void vd_logprobs_legacy(const vd_backend *backend, const char *records, size_t n, size_t n_top,
                        const vd_char_count *before, vd_buf *out);
/* Code points: bytes that do not continue a character. */
size_t vd_count_chars(const char *text, size_t n);

#endif
