/*
 * special.c - tokens with a meaning beyond their text: which end a turn, which are read where.
 *
 * GGUF does not say all of it, so some is known by the token's text, as llama.cpp v0.5.0 does.
 */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "text/vocab.h"

/* Texts that end a turn or a document wherever they occur. */
static const char *const end_texts[] = {
    "<|eot_id|>",   "<|im_end|>",        "<|end|>",        "<|return|>",      "<|call|>",
    "<|calls|>",    "<|flush|>",         "<end_of_turn>",  "<|endoftext|>",   "</s>",
    "<|eom_id|>",   "<EOT>",             "_<EOT>",         "[EOT]",           "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>",      "<turn|>",         "<|tool_response>",
    "<\357\275\234end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>", "[e~[",
    /* fill-in-the-middle: padding, next file, next repository */
    "<|fim_pad|>",  "<fim-pad>",         "<fim_pad>",      "<PAD>",           "<|fim_repo|>",
    "<|repo_name|>", "<fim-repo>",       "<REPO>",         "<reponame>",      "<|file_sep|>",
};

/* Parts of a message frame that must stay visible in the text. */
static const char *const shown_texts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                          "<|constrain|>"};

static const char *const end_keys[] = {
    "tokenizer.ggml.eos_token_id",     "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",     "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id",
};

static bool has(const vd_tokenizer *tokenizer, const char *text)
{
    return vd_vocab_find(tokenizer, text, strlen(text)) >= 0;
}

/* The token is there after all, but as ordinary text. */
static void unmark(vd_tokenizer *tokenizer, const char *text, vd_token_kind kind)
{
    int32_t id = vd_vocab_find(tokenizer, text, strlen(text));
    if (id < 0)
        return;
    tokenizer->flags[id] &= (uint8_t)~VD_TOKEN_FLAG_END;
    tokenizer->kind[id] = (uint8_t)kind;
}

static void mark_ends(vd_tokenizer *tokenizer, const vd_gguf *gguf)
{
    for (size_t i = 0; i < VD_COUNT(end_texts); i++) {
        int32_t id = vd_vocab_find(tokenizer, end_texts[i], strlen(end_texts[i]));
        if (id < 0)
            continue;
        tokenizer->flags[id] |= VD_TOKEN_FLAG_END;
        tokenizer->kind[id] = VD_TOKEN_CONTROL;
    }
    for (size_t i = 0; i < VD_COUNT(shown_texts); i++)
        unmark(tokenizer, shown_texts[i], VD_TOKEN_USER);
    /* In these families the text ends a part of a message, or is a tag of HTML. */
    if ((has(tokenizer, "<|return|>") && has(tokenizer, "<|call|>")) ||
        (has(tokenizer, "<|calls|>") && has(tokenizer, "<|flush|>")))
        unmark(tokenizer, "<|end|>", VD_TOKEN_USER);
    if (has(tokenizer, "<|tool_response>"))
        unmark(tokenizer, "</s>", VD_TOKEN_NORMAL);

    for (size_t i = 0; i < VD_COUNT(end_keys); i++) {
        uint32_t id;
        if (vd_gguf_get_u32(gguf, end_keys[i], &id) && id < tokenizer->n_vocab)
            tokenizer->flags[id] |= VD_TOKEN_FLAG_END;
    }
    if (tokenizer->eos >= 0)
        tokenizer->flags[tokenizer->eos] |= VD_TOKEN_FLAG_END;
}

/* Whether general.name holds one of two spellings, in any case. */
static bool name_holds(const vd_gguf *gguf, const char *one, const char *two)
{
    vd_str name;
    if (!vd_gguf_get_str(gguf, "general.name", &name))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        size_t left = name.n - i;
        if ((left >= strlen(one) && strncasecmp(name.data + i, one, strlen(one)) == 0) ||
            (left >= strlen(two) && strncasecmp(name.data + i, two, strlen(two)) == 0))
            return true;
    }
    return false;
}

static bool is_special(vd_token_kind kind)
{
    return kind == VD_TOKEN_CONTROL || kind == VD_TOKEN_USER || kind == VD_TOKEN_UNKNOWN;
}

/* Phi-3's special tokens swallow the white space behind them, but for three. The file format has
 * no place to say so; the model's name does. */
static void mark_phi3(vd_tokenizer *tokenizer)
{
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        if (is_special(tokenizer->kind[i]))
            tokenizer->flags[i] |= VD_TOKEN_FLAG_RSTRIP;
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < VD_COUNT(keep); i++) {
        int32_t id = vd_vocab_find(tokenizer, keep[i], strlen(keep[i]));
        if (id >= 0)
            tokenizer->flags[id] &= (uint8_t)~VD_TOKEN_FLAG_RSTRIP;
    }
}

static void mark_mask(vd_tokenizer *tokenizer, const char *text)
{
    int32_t id = vd_vocab_find(tokenizer, text, strlen(text));
    if (id >= 0)
        tokenizer->flags[id] |= VD_TOKEN_FLAG_LSTRIP;
}

vd_status vd_vocab_mark_special(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err)
{
    mark_ends(tokenizer, gguf);
    vd_str pre = {"", 0};
    (void)vd_gguf_get_str(gguf, "tokenizer.ggml.pre", &pre);
    if (pre.n >= 7 && memcmp(pre.data, "jina-v2", 7) == 0)
        mark_mask(tokenizer, "<mask>");
    else if (name_holds(gguf, "phi-3", "phi3"))
        mark_phi3(tokenizer);
    else if (name_holds(gguf, "modern-bert", "modernbert"))
        mark_mask(tokenizer, "[MASK]");

    uint32_t *ids = NULL, n_added = 0, n_special = 0;
    vd_status st = vd_alloc_array(tokenizer->n_vocab, sizeof(*ids), "special tokens", &ids, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        if (tokenizer->kind[i] == VD_TOKEN_USER)
            ids[n_added++] = i;
    st = vd_prefix_init(&tokenizer->added, &tokenizer->arena, tokenizer->text, ids, n_added, err);
    if (st != VD_OK)
        goto out;
    for (uint32_t i = 0; i < tokenizer->n_vocab; i++)
        if (is_special(tokenizer->kind[i]))
            ids[n_special++] = i;
    st = vd_prefix_init(&tokenizer->special, &tokenizer->arena, tokenizer->text, ids, n_special,
                        err);
out:
    vd_free(ids);
    return st;
}
