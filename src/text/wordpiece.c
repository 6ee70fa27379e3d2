/*
 * wordpiece.c - BERT's tokenizer: clean up, split into words, cover each by the longest tokens.
 *
 * Devlin et al. 2019; the clean-up is that of BertNormalizer and BertPreTokenizer in Hugging
 * Face's tokenizers. In GGUF a token that begins a word has U+2581 in front and one that
 * continues it stands bare, where BERT's own files write "word" and "##piece". Unlike theirs a
 * word has no length limit; the longest match narrows a sorted table, so a word of n bytes takes
 * O(n log vocabulary).
 */
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/encode.h"

vd_status vd_wordpiece_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    tokenizer->lowercase = true;
    (void)vd_gguf_get_bool(gguf, "tokenizer.ggml.normalizer.lowercase", &tokenizer->lowercase);
    tokenizer->strip_accents = tokenizer->lowercase;
    (void)vd_gguf_get_bool(gguf, "tokenizer.ggml.normalizer.strip_accents",
                           &tokenizer->strip_accents);
    for (int b = 0; b < 256; b++)
        tokenizer->byte_symbol[b] = VD_NO_SYMBOL;
    uint32_t *ids = NULL;
    vd_status st = vd_alloc_array(tokenizer->n_vocab, sizeof(*ids), "token table", &ids, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        ids[i] = i;
    st = vd_prefix_init(&tokenizer->words, &tokenizer->arena, tokenizer->text, ids,
                        tokenizer->n_vocab, err);
    vd_free(ids);
    return st;
}

/* Covers the word and forgets it. A word with a place that no token covers is one unknown. */
static vd_status finish_word(vd_encoder *encoder, vd_err *err)
{
    vd_buf *word = &encoder->word;
    vd_status st = vd_buf_status(word, "a word", err);
    if (st != VD_OK || word->n <= VD_SPACE_MARK_BYTES)
        return st;
    size_t before = encoder->n;
    for (size_t i = 0; st == VD_OK && i < word->n;) {
        uint32_t id = 0;
        size_t n = vd_prefix_longest(&encoder->tokenizer->words, word->data + i, word->n - i, &id);
        if (n == 0) {
            encoder->n = before;
            if (encoder->tokenizer->unk >= 0)
                st = vd_encoder_emit(encoder, encoder->tokenizer->unk, err);
            break;
        }
        st = vd_encoder_emit(encoder, (int32_t)id, err);
        i += n;
    }
    vd_buf_clear(word);
    vd_buf_puts(word, VD_SPACE_MARK);
    return st;
}

static bool is_space(uint32_t code)
{
    return code == ' ' || code == '\t' || code == '\n' || code == '\r' || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

/* Dropped from the text: controls, formats, surrogates, private use. What is not assigned yet is
 * kept, as Hugging Face's tokenizers do: it may be a newer character than our tables know. */
static bool is_noise(uint32_t code, utf8proc_category_t category)
{
    return code == 0xFFFD || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CO || category == UTF8PROC_CATEGORY_CS;
}

static bool is_punctuation(uint32_t code, utf8proc_category_t category)
{
    if (code < 0x80)
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/* The blocks BERT calls Chinese; 0x2B920 is a slip of theirs that vocabularies learned from. */
static bool is_ideograph(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
           (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

/* One character after decomposition: into the word, or a word of its own. */
static vd_status take_character(vd_encoder *encoder, uint32_t code, bool alone, vd_err *err)
{
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    if (tokenizer->strip_accents && category == UTF8PROC_CATEGORY_MN)
        return VD_OK;
    if (tokenizer->lowercase)
        code = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    alone = alone || is_punctuation(code, category);
    vd_status st = alone ? finish_word(encoder, err) : VD_OK;
    char bytes[4];
    vd_buf_append(&encoder->word, bytes, vd_utf8_encode(code, bytes));
    if (st == VD_OK && alone)
        st = finish_word(encoder, err);
    return st;
}

vd_status vd_wordpiece_encode(vd_encoder *encoder, const char *text, size_t n, vd_err *err)
{
    enum { PARTS_MAX = 32 }; /* the longest canonical decomposition has 4 */
    const vd_tokenizer *tokenizer = encoder->tokenizer;
    vd_status st = VD_OK;
    vd_buf_clear(&encoder->word);
    vd_buf_puts(&encoder->word, VD_SPACE_MARK);
    for (size_t i = 0; st == VD_OK && i < n;) {
        uint32_t code;
        int length = vd_utf8_decode(text + i, n - i, &code);
        i += length > 0 ? (size_t)length : 1;
        if (length <= 0)
            continue; /* BERT drops U+FFFD, which is what these bytes would be */
        if (is_space(code)) {
            st = finish_word(encoder, err);
            continue;
        }
        if (is_noise(code, utf8proc_category((utf8proc_int32_t)code)))
            continue;
        bool alone = is_ideograph(code);
        utf8proc_int32_t part[PARTS_MAX] = {(utf8proc_int32_t)code};
        utf8proc_ssize_t n_parts = 1;
        if (tokenizer->strip_accents)
            n_parts = utf8proc_decompose_char((utf8proc_int32_t)code, part, PARTS_MAX,
                                              UTF8PROC_DECOMPOSE, NULL);
        for (utf8proc_ssize_t k = 0; st == VD_OK && k < VD_MIN(n_parts, PARTS_MAX); k++)
            st = take_character(encoder, (uint32_t)part[k], alone, err);
    }
    return st == VD_OK ? finish_word(encoder, err) : st;
}
