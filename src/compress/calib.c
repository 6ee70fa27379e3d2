/* calib.c - see calib.h. */
#include "compress/calib.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "text/tokenizer.h"

enum { TEXT_MAX = 1 << 30 };

/* How many chunks of `ctx` tokens n tokens are, at most as many as are wanted. */
static vd_status count_chunks(const vd_calib_options *o, size_t n, size_t ctx, size_t *ret,
                              vd_err *err)
{
    size_t n_chunks = VD_MIN(n / ctx, o->n_chunks != 0 ? o->n_chunks : (size_t)VD_CALIB_CHUNKS);
    if (n_chunks == 0 || n_chunks < o->n_chunks)
        return VD_FAIL(err, VD_ERR_ARG, "%s has %zu tokens, too few for %zu x %zu (--calib-chunks "
                       "x --calib-ctx): give a longer text, or shorter or fewer chunks", o->path,
                       n, VD_MAX(o->n_chunks, (size_t)1), ctx);
    *ret = n_chunks;
    return VD_OK;
}

vd_status vd_calib_read(const vd_gguf *gguf, const vd_calib_options *o, vd_calib *ret_calib,
                        vd_err *err)
{
    vd_calib calib = {.ctx = o->ctx != 0 ? o->ctx : (size_t)VD_CALIB_CTX};
    vd_tokenizer *tokenizer = NULL;
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n_text = 0, n_ids = 0;
    vd_status st = vd_file_read(o->path, TEXT_MAX, &text, &n_text, err);
    if (st == VD_OK)
        st = vd_tokenizer_create(gguf, &tokenizer, err);
    if (st == VD_OK)
        st = vd_tokenizer_encode(tokenizer, text, n_text,
                                 &(vd_encode_options){.parse_special = true}, &ids, &n_ids, err);
    if (st == VD_OK)
        st = count_chunks(o, n_ids, calib.ctx, &calib.n_chunks, err);
    if (st == VD_OK)
        st = vd_alloc_array(calib.n_chunks * calib.ctx, sizeof(*calib.token), "the tokens",
                            &calib.token, err);
    if (st == VD_OK) {
        int32_t bos = vd_tokenizer_adds_bos(tokenizer) ? vd_tokenizer_bos(tokenizer) : -1;
        for (size_t i = 0; i < calib.n_chunks * calib.ctx; i++)
            calib.token[i] = i % calib.ctx == 0 && bos >= 0 ? bos : ids[i];
        *ret_calib = calib;
    }
    vd_ids_free(ids);
    vd_tokenizer_free(tokenizer);
    vd_free(text);
    return st;
}

void vd_calib_done(vd_calib *calib)
{
    vd_free(calib->token);
    *calib = (vd_calib){0};
}
