/*
 * tiny_model.h - a Llama with random weights, written to a file by the test that uses it.
 *
 * 2 layers, C 64, 4 query heads on 2 KV heads of 16, F 128; the vocabulary is the 256 bytes in
 * byte-level BPE (no merges), <|end|> (id 256) and <|user|> (257). Deterministic by seed.
 */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "model/gguf_writer.h"

enum {
    TINY_LAYERS = 2, TINY_C = 64, TINY_HEADS = 4, TINY_KV = 2, TINY_D = 16, TINY_F = 128,
    TINY_V = 258, TINY_END = 256, TINY_TENSORS = 2 + 9 * TINY_LAYERS
};

typedef struct tiny_tensor {
    char name[64];
    uint64_t dim[2];
    int is_norm;
} tiny_tensor;

static void tiny_vocabulary(gguf_writer *w)
{
    gguf_key_array(w, "tokenizer.ggml.tokens", 8, TINY_V);
    /* GPT-2's alphabet: printable Latin-1 stands for itself, the rest for U+0100 and up. */
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; byte++) {
        int printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        char text[5] = {0};
        vd_utf8_encode(printable ? byte : next++, text);
        gguf_str(w, text);
    }
    gguf_str(w, "<|end|>");
    gguf_str(w, "<|user|>");
    gguf_key_array(w, "tokenizer.ggml.token_type", 5, TINY_V);
    for (int i = 0; i < TINY_V; i++)
        gguf_u32(w, i < 256 ? 1 : 3);
    gguf_key_array(w, "tokenizer.ggml.merges", 8, 0);
}

static int tiny_list(tiny_tensor *t, uint64_t n_rows)
{
    int n = 0;
    t[n++] = (tiny_tensor){"token_embd.weight", {TINY_C, n_rows}, 0};
    t[n++] = (tiny_tensor){"output_norm.weight", {TINY_C, 1}, 1};
    static const struct {
        const char *suffix;
        uint64_t dim[2];
        int is_norm;
    } parts[] = {
        {"attn_norm", {TINY_C, 1}, 1},
        {"ffn_norm", {TINY_C, 1}, 1},
        {"attn_q", {TINY_C, TINY_HEADS * TINY_D}, 0},
        {"attn_k", {TINY_C, TINY_KV * TINY_D}, 0},
        {"attn_v", {TINY_C, TINY_KV * TINY_D}, 0},
        {"attn_output", {TINY_HEADS * TINY_D, TINY_C}, 0},
        {"ffn_gate", {TINY_C, TINY_F}, 0},
        {"ffn_up", {TINY_C, TINY_F}, 0},
        {"ffn_down", {TINY_F, TINY_C}, 0},
    };
    for (int layer = 0; layer < TINY_LAYERS; layer++)
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++, n++) {
            t[n] = (tiny_tensor){.dim = {parts[i].dim[0], parts[i].dim[1]},
                                 .is_norm = parts[i].is_norm};
            snprintf(t[n].name, sizeof(t[n].name), "blk.%d.%s.weight", layer, parts[i].suffix);
        }
    return n;
}

/* Writes the file; `arch` is its general.architecture ("llama" runs). n_rows: of the embedding,
 * whose last ones may be padding that the vocabulary does not name. */
static void tiny_write_rows(const char *path, uint64_t seed, const char *arch, uint64_t n_rows)
{
    gguf_writer w = {0};
    tiny_tensor t[TINY_TENSORS];
    int n = tiny_list(t, n_rows);
    gguf_header(&w, 3, (uint64_t)n, 15);
    gguf_kv_str(&w, "general.architecture", arch);
    gguf_kv_u32(&w, "llama.block_count", TINY_LAYERS);
    gguf_kv_u32(&w, "llama.embedding_length", TINY_C);
    gguf_kv_u32(&w, "llama.feed_forward_length", TINY_F);
    gguf_kv_u32(&w, "llama.context_length", 512);
    gguf_kv_u32(&w, "llama.attention.head_count", TINY_HEADS);
    gguf_kv_u32(&w, "llama.attention.head_count_kv", TINY_KV);
    gguf_kv_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_kv_str(&w, "tokenizer.ggml.model", "gpt2");
    gguf_kv_str(&w, "tokenizer.ggml.pre", "smollm");
    gguf_kv_u32(&w, "tokenizer.ggml.eos_token_id", TINY_END);
    gguf_kv_str(&w, "tokenizer.chat_template",
                "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}");
    tiny_vocabulary(&w);
    uint64_t offset = 0;
    for (int i = 0; i < n; i++) {
        gguf_tensor(&w, t[i].name, t[i].dim[1] == 1 ? 1 : 2, t[i].dim, 0, offset);
        offset += (t[i].dim[0] * t[i].dim[1] * 4 + 31) / 32 * 32;
    }
    gguf_pad(&w, 32);
    uint64_t x = seed * 2 + 1;
    for (int i = 0; i < n; i++) {
        for (uint64_t j = 0; j < t[i].dim[0] * t[i].dim[1]; j++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            float u = (float)((double)(x >> 11) * 0x1p-53 - 0.5);
            gguf_f32(&w, t[i].is_norm ? 1 + u * 0.2f : u * 0.8f);
        }
        gguf_pad(&w, 32);
    }
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(w.data, 1, w.n, f) != w.n || fclose(f) != 0)
        exit(99);
    free(w.data);
}

static void tiny_write(const char *path, uint64_t seed, const char *arch)
{
    tiny_write_rows(path, seed, arch, TINY_V);
}

#endif
