/*
 * fuzz_tokenizer.c - libFuzzer target for vocabularies and texts.
 *
 *   two bytes n (little-endian) | n bytes of text | a GGUF file
 *
 * Whatever the file says, the tokenizer is refused with a message or encodes any text into ids of
 * its vocabulary, decodes these, and streams them as valid UTF-8.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/stream.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void stream_ids(const vd_tokenizer *tokenizer, const int32_t *ids, size_t n_ids)
{
    const char *const stops[] = {"ab", "\n\n", "b c"};
    vd_text_stream stream;
    if (vd_text_stream_init(&stream, tokenizer, stops, 3, NULL) != VD_OK)
        return;
    for (size_t i = 0; i <= n_ids; i++) {
        const char *text;
        size_t n;
        bool stopped;
        if (i < n_ids)
            vd_text_stream_push(&stream, ids[i], &text, &n, &stopped);
        else
            vd_text_stream_flush(&stream, &text, &n, &stopped);
        require(vd_utf8_valid(text, n));
        for (size_t k = 0; k < 3; k++)
            require(n == 0 || memmem(text, n, stops[k], strlen(stops[k])) == NULL);
    }
    vd_text_stream_done(&stream);
}

static void use(const vd_tokenizer *tokenizer, const char *text, size_t n, bool special)
{
    const vd_encode_options options = {.no_bos_eos = !special, .parse_special = special};
    int32_t *ids = NULL;
    char *out = NULL;
    size_t n_ids = 0, n_out = 0;
    vd_err err = {0};
    if (vd_tokenizer_encode(tokenizer, text, n, &options, &ids, &n_ids, &err) != VD_OK) {
        require(err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < n_ids; i++)
        require(ids[i] >= 0 && (size_t)ids[i] < vd_tokenizer_n_vocab(tokenizer));
    if (vd_tokenizer_decode(tokenizer, ids, n_ids, special, &out, &n_out, NULL) == VD_OK)
        vd_text_free(out);
    stream_ids(tokenizer, ids, n_ids);
    vd_ids_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t n = data[0] | (size_t)data[1] << 8;
    data += 2;
    size -= 2;
    n = n < size ? n : size;
    const char *text = (const char *)data;
    vd_gguf *gguf = NULL;
    vd_tokenizer *tokenizer = NULL;
    vd_err err = {0};
    if (vd_gguf_open_memory(data + n, size - n, &(vd_gguf_options){.metadata_only = true}, &gguf,
                            &err) != VD_OK)
        return 0;
    if (vd_tokenizer_create(gguf, &tokenizer, &err) != VD_OK)
        require(tokenizer == NULL && err.message[0] != '\0');
    vd_gguf_free(gguf);
    if (tokenizer != NULL) {
        use(tokenizer, text, n, false);
        use(tokenizer, text, n, true);
        for (size_t id = 0; id < vd_tokenizer_n_vocab(tokenizer); id++)
            (void)vd_tokenizer_find(tokenizer, vd_tokenizer_text(tokenizer, (int32_t)id).data,
                                    vd_tokenizer_text(tokenizer, (int32_t)id).n);
    }
    vd_tokenizer_free(tokenizer);
    return 0;
}
