/*
 * mix.h - which type each tensor of a model gets when the whole is to have one file type.
 *
 * The same types as llama.cpp v0.5.0 chooses (tests/py/test_compress.py compares): norms, biases,
 * routers and what else is small stay as they are, the output matrix gets more bits, and in a
 * mixture so do some layers of attn_v and ffn_down. Rows that are no multiple of a type's block
 * fall back to another type.
 */
#ifndef VD_COMPRESS_MIX_H
#define VD_COMPRESS_MIX_H

#include <verdant/status.h>

#include "compress/filetype.h"
#include "compress/types.h"
#include "model/gguf.h"

typedef struct vd_mix_entry {
    const vd_gguf_tensor *tensor; /* borrowed from the file */
    uint32_t dtype;               /* what it shall be; tensor->dtype where it stays */
    double keep;                  /* what its rule says of pruning; 1: nothing */
    bool fell_back;               /* its rows do not suit the type it should have had */
    bool needs_weights;           /* its type is of no use where nobody knows what it reads */
    bool may_change;              /* a matrix that is no norm, router or the like */
    int layer;                    /* -1: in none */
    bool in_layer;                /* a matrix of weights of a layer: what pruning is for, no norm,
                                     router or embedding */
} vd_mix_entry;

typedef struct vd_mix_options {
    bool pure; /* every matrix of the file type's own type, but for what must fall back */
    vd_types *types; /* go before all that; borrowed. NULL: none */
} vd_mix_options;

/* Fills entries[vd_gguf_n_tensors], in the order in which the new file shall hold the tensors: by
 * layer, then by name, what is in no layer first. `type` NULL: each tensor keeps its own.
 * VD_ERR_ARG where a type has no fall-back (Q1_0), or one of options->types does not suit:
 * its rows, or a keep-rate for what is no matrix of a layer. */
VD_NODISCARD vd_status vd_mix_choose(const vd_gguf *gguf, const vd_filetype *type,
                                     const vd_mix_options *options, vd_mix_entry *entries,
                                     vd_err *err);

/* Says why an entry that needs weights has none: the importance file or the text does not tell, or
 * there is neither (NULL). VD_ERR_ARG. */
VD_NODISCARD vd_status vd_mix_refuse_unweighted(const vd_mix_entry *entry, const char *imatrix,
                                                const char *calib, vd_err *err);

#endif
