/*
 * sentencepiece.c - tokenizer.model: a protocol buffer of SentencePiece (Kudo and Richardson 2018).
 *
 *   ModelProto      1: pieces (each 1: text, 2: score f32, 3: type), 2: trainer, 3: normalizer
 *   TrainerSpec     3: model_type (1 unigram, 2 BPE, 3 words, 4 characters), 35: byte_fallback
 *   NormalizerSpec  2: precompiled_charsmap, 3: add_dummy_prefix, 4: remove_extra_whitespaces,
 *                   5: escape_whitespaces
 *
 * A field is a varint (number << 3 | wire type) and a value: a varint (0), 8 bytes (1), a length
 * and bytes (2), 4 bytes (5). Fields that we do not know are stepped over; nothing is allocated by
 * a length that the file says.
 */
#include <string.h>

#include "base/fail.h"
#include "base/utf8.h"
#include "import/vocabulary.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

typedef struct cursor {
    const unsigned char *at, *end, *begin;
} cursor;

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* varints; 4 bytes as their bits */
    vd_str bytes;
} field;

static bool read_varint(cursor *c, uint64_t *ret)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end)
            return false;
        unsigned char byte = *c->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static vd_status next_field(cursor *c, field *f, vd_err *err)
{
    size_t offset = (size_t)(c->at - c->begin), left;
    uint64_t tag = 0, n = 0;
    if (!read_varint(c, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "no field of a protocol buffer at byte %zu", offset);
    *f = (field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    left = (size_t)(c->end - c->at);
    switch (f->wire) {
    case WIRE_VARINT:
        if (!read_varint(c, &f->value))
            break;
        return VD_OK;
    case WIRE_64:
    case WIRE_32:
        n = f->wire == WIRE_64 ? 8 : 4;
        if (n > left)
            break;
        for (size_t i = 0; i < n; i++)
            f->value |= (uint64_t)c->at[i] << 8 * i;
        c->at += n;
        return VD_OK;
    case WIRE_BYTES:
        if (!read_varint(c, &n) || n > (size_t)(c->end - c->at))
            break;
        f->bytes = (vd_str){(const char *)c->at, (size_t)n};
        c->at += n;
        return VD_OK;
    default:
        break;
    }
    return VD_FAIL(err, VD_ERR_FORMAT, "field %u (wire type %u) at byte %zu does not fit the file",
                   f->number, f->wire, offset);
}

static cursor inside(const cursor *c, const field *f)
{
    const unsigned char *at = (const unsigned char *)f->bytes.data;
    return (cursor){at, at + f->bytes.n, c->begin};
}

static vd_status read_piece(vd_vocabulary *v, cursor c, uint64_t id, vd_err *err)
{
    vd_str text = {"", 0};
    float score = 0;
    uint64_t type = VD_PIECE_NORMAL;
    while (c.at < c.end) {
        field f;
        vd_status st = next_field(&c, &f, err);
        if (st != VD_OK)
            return st;
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.wire == WIRE_BYTES)
            text = f.bytes;
        else if (f.number == 2 && f.wire == WIRE_32)
            memcpy(&score, &bits, 4);
        else if (f.number == 3 && f.wire == WIRE_VARINT)
            type = f.value;
    }
    if (text.n == 0 || !vd_utf8_valid(text.data, text.n) || !(score <= 0 || score > 0) ||
        type < VD_PIECE_NORMAL || type > VD_PIECE_BYTE)
        return VD_FAIL(err, VD_ERR_FORMAT, "piece %llu: a text in UTF-8, a number and a type from "
                       "1 to 6 are expected", (unsigned long long)id);
    if (type != VD_PIECE_USER)
        return vd_vocabulary_set(v, id, text, score, (vd_piece_kind)type, err);
    const char *copy = vd_arena_strndup(&v->arena, text.data, text.n);
    if (copy == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the vocabulary");
    return vd_vocabulary_add(v, id, copy, false, err);
}

static vd_status read_trainer(cursor c, uint64_t *ret_type, vd_err *err)
{
    while (c.at < c.end) {
        field f;
        vd_status st = next_field(&c, &f, err);
        if (st != VD_OK)
            return st;
        if (f.number == 3 && f.wire == WIRE_VARINT)
            *ret_type = f.value;
    }
    return VD_OK;
}

static vd_status read_normalizer(vd_vocabulary *v, cursor c, vd_err *err)
{
    bool escape = true;
    v->space_prefix = v->squeeze_spaces = VD_YES; /* the defaults of the format */
    while (c.at < c.end) {
        field f;
        vd_status st = next_field(&c, &f, err);
        if (st != VD_OK)
            return st;
        if (f.number == 2 && f.wire == WIRE_BYTES) {
            char *copy = vd_arena_strndup(&v->arena, f.bytes.data, f.bytes.n);
            if (copy == NULL)
                return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the vocabulary");
            v->charsmap = (vd_str){copy, f.bytes.n};
        } else if (f.wire == WIRE_VARINT && f.number == 3) {
            v->space_prefix = f.value != 0 ? VD_YES : VD_NO;
        } else if (f.wire == WIRE_VARINT && f.number == 4) {
            v->squeeze_spaces = f.value != 0 ? VD_YES : VD_NO;
        } else if (f.wire == WIRE_VARINT && f.number == 5) {
            escape = f.value != 0;
        }
    }
    if (!escape)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "escape_whitespaces is false, which GGUF cannot "
                       "say");
    return VD_OK;
}

/* What the BPE model of GGUF leaves out. */
static void note_losses(const vd_vocabulary *v)
{
    if (v->charsmap.n > 0)
        vd_note(v->notes, "tokenizer.model normalizes text; SentencePiece BPE in GGUF does not, "
                "so ids differ where it would");
    if (v->squeeze_spaces == VD_YES)
        vd_note(v->notes, "tokenizer.model takes repeated spaces as one; SentencePiece BPE in "
                "GGUF does not");
}

vd_status vd_vocabulary_sentencepiece(vd_vocabulary *v, const char *data, size_t n, vd_err *err)
{
    const unsigned char *bytes = (const unsigned char *)data;
    cursor c = {bytes, bytes + n, bytes};
    uint64_t id = 0, type = MODEL_UNIGRAM;
    v->space_prefix = v->squeeze_spaces = VD_YES;
    while (c.at < c.end) {
        field f;
        vd_status st = next_field(&c, &f, err);
        if (st == VD_OK && f.wire == WIRE_BYTES && f.number == 1)
            st = read_piece(v, inside(&c, &f), id++, err);
        else if (st == VD_OK && f.wire == WIRE_BYTES && f.number == 2)
            st = read_trainer(inside(&c, &f), &type, err);
        else if (st == VD_OK && f.wire == WIRE_BYTES && f.number == 3)
            st = read_normalizer(v, inside(&c, &f), err);
        if (st != VD_OK)
            return st;
    }
    if (id == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "no pieces: no model of SentencePiece");
    if (type != MODEL_UNIGRAM && type != MODEL_BPE)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "model type %llu of SentencePiece; unigram (1) "
                       "and BPE (2) are read", (unsigned long long)type);
    v->model = type == MODEL_BPE ? "llama" : "t5";
    v->has_scores = true;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->piece[i].kind == VD_PIECE_UNKNOWN)
            v->special[VD_SPECIAL_UNK] = (int32_t)i;
    if (type == MODEL_BPE)
        note_losses(v);
    return VD_OK;
}
