/*
 * arch.h - what an architecture is: a name, what its blocks are made of, and what else its metadata
 * says. One small file per architecture, one line in arch.c.
 */
#ifndef VD_MODEL_ARCH_H
#define VD_MODEL_ARCH_H

#include "model/hparams.h"

typedef struct vd_arch {
    const char *name; /* general.architecture, and the beginning of its metadata keys */
    vd_block block;
    /* Adds to the numbers that all architectures have; NULL where there is nothing to add. */
    vd_status (*read)(const vd_gguf *gguf, vd_hparams *hp, vd_err *err);
} vd_arch;

extern const vd_arch vd_arch_bert;
extern const vd_arch vd_arch_command_r;
extern const vd_arch vd_arch_deci;
extern const vd_arch vd_arch_gemma2;
extern const vd_arch vd_arch_gemma3;
extern const vd_arch vd_arch_gpt2;
extern const vd_arch vd_arch_granite;
extern const vd_arch vd_arch_llama;
extern const vd_arch vd_arch_nomic_bert;
extern const vd_arch vd_arch_olmo2;
extern const vd_arch vd_arch_olmoe;
extern const vd_arch vd_arch_phi3;
extern const vd_arch vd_arch_qwen2;
extern const vd_arch vd_arch_qwen2moe;
extern const vd_arch vd_arch_qwen3;
extern const vd_arch vd_arch_qwen3moe;
extern const vd_arch vd_arch_smollm3;
extern const vd_arch vd_arch_starcoder2;

/* The architecture of a file, or VD_ERR_UNSUPPORTED that names it and lists ours. */
VD_NODISCARD vd_status vd_arch_find(const vd_gguf *gguf, const vd_arch **ret_arch, vd_err *err);
/* All numbers of a file of this architecture. */
VD_NODISCARD vd_status vd_arch_read(const vd_arch *arch, const vd_gguf *gguf, vd_hparams *ret_hp,
                                    vd_err *err);

#endif
