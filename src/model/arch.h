/*
 * arch.h - what an architecture is: a name and how its hyper-parameters are read. The blocks are
 * those of forward.c, switched by vd_hparams. One small file per architecture, one line in arch.c.
 */
#ifndef VD_MODEL_ARCH_H
#define VD_MODEL_ARCH_H

#include "model/hparams.h"

typedef struct vd_arch {
    const char *name; /* general.architecture */
    vd_status (*read)(const vd_gguf *gguf, vd_hparams *ret_hp, vd_err *err);
} vd_arch;

extern const vd_arch vd_arch_llama;
extern const vd_arch vd_arch_gemma3;

/* The architecture of a file, or VD_ERR_UNSUPPORTED that names it and lists ours. */
VD_NODISCARD vd_status vd_arch_find(const vd_gguf *gguf, const vd_arch **ret_arch, vd_err *err);

#endif
