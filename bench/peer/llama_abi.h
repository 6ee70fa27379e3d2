/*
 * llama_abi.h - the part of llama.cpp v0.5.0's C interface that peer_bench.c uses, opened at run
 * time.
 *
 * Only interface facts are retyped: names, and the order and width of fields. A wrong layout would
 * give plausible nonsense, so peer_open compares the bytes that the library's own
 * llama_*_default_params write with the defaults known here, and refuses another version.
 * x86-64 only (how a struct is returned). Not thread-safe.
 */
#ifndef BENCH_PEER_LLAMA_ABI_H
#define BENCH_PEER_LLAMA_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_RELEASE "0.5.0"

typedef struct peer_model_params {
    void *devices, *buffer_overrides;
    int32_t n_gpu_layers, split_mode, load_mode, lazy_mode, main_gpu;
    void *tensor_split, *progress, *progress_ctx, *kv_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
} peer_model_params;

typedef struct peer_context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch, ctx_type;
    int32_t rope_scaling, pooling, attention, flash_attn;
    float rope_base, rope_scale, yarn_ext, yarn_attn, yarn_fast, yarn_slow;
    uint32_t yarn_orig_ctx;
    float defrag;
    void *eval, *eval_ctx;
    int32_t type_k, type_v;
    void *abort, *abort_ctx;
    bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
    void *samplers;
    size_t n_samplers;
    void *other;
} peer_context_params;

typedef struct peer_batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos, *n_seq_id, **seq_id;
    int8_t *logits;
} peer_batch;

_Static_assert(sizeof(peer_model_params) == 80, "llama_model_params");
_Static_assert(sizeof(peer_context_params) == 160, "llama_context_params");
_Static_assert(sizeof(peer_batch) == 56, "llama_batch");

typedef void (*peer_log_fn)(int level, const char *text, void *ctx);

/* The functions, by the names they have there. */
typedef struct peer_lib {
    const char *(*llama_version)(void);
    peer_model_params (*llama_model_default_params)(void);
    peer_context_params (*llama_context_default_params)(void);
    void (*llama_backend_init)(void);
    void (*llama_log_set)(peer_log_fn fn, void *ctx);
    void *(*llama_model_load_from_file)(const char *path, peer_model_params params);
    void (*llama_model_free)(void *model);
    void *(*llama_init_from_model)(void *model, peer_context_params params);
    void (*llama_free)(void *context);
    const void *(*llama_model_get_vocab)(const void *model);
    int32_t (*llama_vocab_n_tokens)(const void *vocab);
    void *(*llama_get_memory)(const void *context);
    void (*llama_memory_clear)(void *memory, bool data);
    bool (*llama_memory_seq_rm)(void *memory, int32_t seq, int32_t from, int32_t to);
    void (*llama_memory_seq_cp)(void *memory, int32_t src, int32_t dst, int32_t from, int32_t to);
    int32_t (*llama_decode)(void *context, peer_batch batch);
    void (*llama_synchronize)(void *context);
    float *(*llama_get_logits)(void *context);
    void (*ggml_log_set)(peer_log_fn fn, void *ctx);
    void (*ggml_backend_load_all_from_path)(const char *folder);
} peer_lib;

/* Opens the libraries of `folder` and lets them find their code for this processor. On failure
 * false, and why in `problem`. */
bool peer_open(const char *folder, peer_lib *ret_lib, char *problem, size_t size);

#endif
