/*
 * import.h - a folder of Hugging Face to one GGUF file that we and llama.cpp run.
 *
 * Reads config.json, model.safetensors or its shards, the tokenizer's files, the chat template and
 * what sentence-transformers says of pooling; writes the metadata that llama.cpp's own converter
 * writes. Memory does not grow with the model: values go through buffers of some megabytes. The
 * file appears whole or not at all.
 */
#ifndef VD_IMPORT_IMPORT_H
#define VD_IMPORT_IMPORT_H

#include "import/notes.h"
#include "kernels/dtype.h"
#include "model/gguf.h"

typedef struct vd_import_options {
    bool natural;   /* the type that loses nothing; else `type` */
    vd_dtype type;  /* of matrices: F32, F16 or BF16 */
    const char *name; /* general.name; NULL: the folder's */
    const char *pre;  /* the pre-tokenizer; NULL: found from the patterns */
    /* Called between pieces of work (NULL: never); bytes of the file. False ends it with
     * VD_ERR_CANCELLED. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, const char *tensor);
    void *ctx;
} vd_import_options;

typedef struct vd_import_result {
    const char *arch;      /* general.architecture, static */
    const char *tokenizer; /* tokenizer.ggml.model, static */
    const char *pre;       /* static, or the option */
    vd_dtype type;
    size_t n_tensors, n_files;
    uint64_t n_values, n_tokens;
    uint64_t bytes_before, bytes_after;
    bool has_template;
} vd_import_result;

/* `notes` (initialised by the caller) gets what a user should know. VD_ERR_UNSUPPORTED where GGUF
 * or we cannot say what the folder says; VD_ERR_FORMAT for malformed files; VD_ERR_NOT_FOUND,
 * VD_ERR_ARG (the target is one of the folder's files), VD_ERR_IO (a full disk), VD_ERR_NOMEM,
 * VD_ERR_CANCELLED. */
VD_NODISCARD vd_status vd_import_run(const char *folder, const char *target,
                                     const vd_import_options *options, vd_notes *notes,
                                     vd_import_result *ret_result, vd_err *err);

#endif
