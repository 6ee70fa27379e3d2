/*
 * pieces.c - token ids to the bytes they stand for.
 *
 * SPM, raw BPE and WordPiece write a space as U+2581. Byte-level BPE writes every byte as a
 * printable character (Radford et al. 2019, GPT-2): bytes that are printable in Latin-1 stand for
 * themselves, the 68 others for U+0100 and up, in order.
 */
#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/vocab.h"

uint32_t vd_byte_to_code(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121u + (byte - 0x7Fu);
    return byte == 0xAD ? 0x143u : byte;
}

int vd_code_to_byte(uint32_t code)
{
    if (code >= 0x100 && code <= 0x120)
        return (int)(code - 0x100);
    if (code >= 0x121 && code <= 0x142)
        return (int)(code - 0x121 + 0x7F);
    if (code == 0x143)
        return 0xAD;
    return code <= 0xFF && vd_byte_to_code((unsigned char)code) == code ? (int)code : -1;
}

/* U+2581 to a space, into out (never longer than the text). */
static size_t unescape_spaces(vd_str text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        if (text.n - i >= VD_SPACE_MARK_BYTES &&
            memcmp(text.data + i, VD_SPACE_MARK, VD_SPACE_MARK_BYTES) == 0) {
            out[n++] = ' ';
            i += VD_SPACE_MARK_BYTES;
        } else {
            out[n++] = text.data[i++];
        }
    }
    return n;
}

/* Mapped characters to bytes; a character that stands for none is kept as it is. */
static size_t unmap_bytes(vd_str text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t code = 0;
        int length = vd_utf8_decode(text.data + i, text.n - i, &code);
        int byte = length > 0 ? vd_code_to_byte(code) : -1;
        if (byte >= 0) {
            out[n++] = (char)byte;
            i += (size_t)length;
        } else {
            for (int k = VD_MAX(length, 1); k > 0; k--)
                out[n++] = text.data[i++];
        }
    }
    return n;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                        : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0x0A>" to 10; -1 for any other text. */
static int byte_token(vd_str text)
{
    if (text.n != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>')
        return -1;
    int high = hex_digit(text.data[3]), low = hex_digit(text.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

vd_status vd_vocab_make_pieces(vd_tokenizer *tokenizer, vd_err *err)
{
    size_t total = 0;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        total += tokenizer->text[i].n;
    char *out = NULL;
    vd_status st = vd_arena_array(&tokenizer->arena, total, 1, "token pieces", &out, err);
    if (st == VD_OK)
        st = vd_arena_array(&tokenizer->arena, tokenizer->n_vocab, sizeof(vd_str), "token pieces",
                            &tokenizer->piece, err);
    if (st != VD_OK)
        return st;
    bool mapped = tokenizer->model == VD_TOKENIZER_BPE && !tokenizer->raw_bytes;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++) {
        vd_str text = tokenizer->text[i];
        int byte = tokenizer->kind[i] == VD_TOKEN_BYTE ? byte_token(text) : -1;
        vd_str piece = text;
        if (byte >= 0) {
            *out = (char)byte;
            piece = (vd_str){out, 1};
            out++;
        } else if (tokenizer->kind[i] == VD_TOKEN_NORMAL) {
            piece = (vd_str){out, mapped ? unmap_bytes(text, out) : unescape_spaces(text, out)};
            out += piece.n;
        }
        tokenizer->piece[i] = piece;
        tokenizer->piece_max = VD_MAX(tokenizer->piece_max, piece.n);
    }
    return VD_OK;
}

static bool is_silent(const vd_tokenizer *tokenizer, int32_t id)
{
    uint8_t kind = tokenizer->kind[id];
    return kind == VD_TOKEN_CONTROL || kind == VD_TOKEN_UNKNOWN || kind == VD_TOKEN_UNUSED;
}

const char *vd_tokenizer_piece(const vd_tokenizer *tokenizer, int32_t id, bool special,
                               size_t *ret_n)
{
    if (id < 0 || (uint32_t)id >= tokenizer->n_vocab || (!special && is_silent(tokenizer, id))) {
        *ret_n = 0;
        return "";
    }
    *ret_n = tokenizer->piece[id].n;
    return tokenizer->piece[id].data;
}

/* Removes the space that joining words put before ? ! . , into which no writer puts one. Works in
 * place; the three passes are llama.cpp's, which follow Hugging Face's clean-up of BERT's text. */
static size_t clean_up(char *text, size_t n)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (m > 0 && text[m - 1] == ' ' && strchr("?!.,", text[i]) != NULL && text[i] != '\0')
            m--;
        text[m++] = text[i];
    }
    n = m;
    m = 0;
    for (size_t i = 0; i < n; i++) { /* " ' " becomes "'" */
        if (text[i] == '\'' && m > 0 && text[m - 1] == ' ' && i + 1 < n && text[i + 1] == ' ') {
            text[m - 1] = '\'';
            i++;
        } else {
            text[m++] = text[i];
        }
    }
    n = m;
    m = 0;
    for (size_t i = 0; i < n; i++) { /* " 's", " 'm", " 're", " 've" lose the space */
        if (text[i] == '\'' && m > 0 && text[m - 1] == ' ' && i + 1 < n) {
            char a = text[i + 1], b = i + 2 < n ? text[i + 2] : '\0';
            if (a == 's' || a == 'm' || ((a == 'r' || a == 'v') && b == 'e'))
                m--;
        }
        text[m++] = text[i];
    }
    return m;
}

vd_status vd_tokenizer_decode(const vd_tokenizer *tokenizer, const int32_t *ids, size_t n,
                              bool special, char **ret_text, size_t *ret_n, vd_err *err)
{
    vd_buf buf;
    vd_buf_init(&buf, SIZE_MAX / 2);
    bool wordpiece = tokenizer->model == VD_TOKENIZER_WORDPIECE;
    bool strip = tokenizer->add_space_prefix || wordpiece; /* only SPM and unigram add one */
    vd_status st = VD_OK;
    for (size_t i = 0; i < n; i++) {
        int32_t id = ids[i];
        if (id < 0 || (uint32_t)id >= tokenizer->n_vocab) {
            st = VD_FAIL(err, VD_ERR_ARG, "id %d at place %zu is outside the vocabulary of %u "
                         "tokens", id, i, tokenizer->n_vocab);
            goto out;
        }
        size_t size;
        const char *piece = vd_tokenizer_piece(tokenizer, id, special, &size);
        if (strip && tokenizer->kind[id] != VD_TOKEN_CONTROL) {
            if (size > 0 && *piece == ' ') {
                piece++;
                size--;
            }
            strip = false;
        }
        vd_buf_append(&buf, piece, size);
    }
    if (wordpiece && buf.n > 0) {
        buf.n = clean_up(buf.data, buf.n);
        buf.data[buf.n] = '\0';
    }
    st = vd_buf_status(&buf, "decoded text", err);
    if (st != VD_OK)
        goto out;
    size_t length = buf.n;
    char *text = vd_buf_take(&buf);
    if (text == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "out of memory for decoded text");
        goto out;
    }
    *ret_text = text;
    *ret_n = length;
out:
    vd_buf_done(&buf);
    return st;
}
