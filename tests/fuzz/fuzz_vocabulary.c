/*
 * fuzz_vocabulary.c - libFuzzer target for tokenizers on import: tokenizer.json where the input
 * begins with '{', else tokenizer.model. Either a message, or a vocabulary whose texts are
 * different from each other.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "import/vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_TOKENS = 300 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static vd_status read_json(vd_vocabulary *v, const char *text, size_t n, vd_err *err)
{
    const vd_vocabulary_options options = {.arch = "llama", .n = N_TOKENS};
    json_t *tokenizer = NULL;
    vd_status st = vd_json_parse(text, n, &tokenizer, err);
    if (st == VD_OK)
        st = vd_vocabulary_json(v, tokenizer, &options, err);
    json_decref(tokenizer);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    vd_notes notes;
    vd_err err = {0};
    vd_json_init();
    vd_notes_init(&notes);
    vd_vocabulary v = {.n = N_TOKENS, .notes = &notes, .pre = "default"};
    vd_arena_init(&v.arena, (size_t)1 << 28);
    vd_status st = vd_arena_array(&v.arena, v.n, sizeof(*v.piece), "pieces", &v.piece, &err);
    if (st == VD_OK)
        st = vd_strmap_init(&v.ids, v.n, &err);
    if (st == VD_OK)
        st = size > 0 && data[0] == '{' ? read_json(&v, text, size, &err)
                                        : vd_vocabulary_sentencepiece(&v, text, size, &err);
    if (st != VD_OK)
        require(err.status == st && err.message[0] != '\0');
    for (uint32_t i = 0; st == VD_OK && i < v.n; i++) {
        const vd_piece *p = &v.piece[i];
        require(p->text.n == 0 || p->text.data[p->text.n] == '\0');
        require(p->text.n == 0 ||
                vd_vocabulary_find(&v, p->text.data, p->text.n) == (int32_t)i);
    }
    if (st == VD_OK)
        require(v.model != NULL && v.pre != NULL);
    vd_vocabulary_done(&v);
    vd_notes_done(&notes);
    return 0;
}
