/*
 * family.h - what the import knows about an architecture: which names its tensors have there and
 * here, what is done to them on the way, and which of its numbers go into the metadata.
 *
 * One row per architecture in family.c; the names are tables in names.c.
 */
#ifndef VD_IMPORT_FAMILY_H
#define VD_IMPORT_FAMILY_H

#include "import/checkpoint.h"
#include "import/config.h"
#include "import/notes.h"
#include "model/gguf_write.h"

/* What is done to a tensor. */
enum {
    VD_RULE_Q = 1,         /* rows of each query head from halves to neighbours, see below */
    VD_RULE_K = 2,         /* the same of the key heads */
    VD_RULE_TRANSPOSE = 4, /* stored [in, out] */
    VD_RULE_GATE_UP = 8,   /* experts in one tensor, the gate's rows and then the others, each */
    VD_RULE_DROP = 16      /* of no use here */
};

/*
 * A name without "model.", "transformer." or "bert." in front and without ".weight" or ".bias" at
 * the end; % stands for the layer's number, @ for the expert's. `to` is a name in GGUF, without
 * "blk.N.". The first rule that fits is taken.
 */
typedef struct vd_rule {
    const char *from, *to;
    unsigned op;
} vd_rule;

extern const vd_rule vd_names_llama[]; /* also of all that is built alike; ends with NULL */
extern const vd_rule vd_names_experts[];
extern const vd_rule vd_names_gemma[];
extern const vd_rule vd_names_olmo2[];
extern const vd_rule vd_names_gpt2[];
extern const vd_rule vd_names_bert[];
extern const vd_rule vd_names_nomic[];

enum {
    /* RoPE turns neighbours in GGUF where Hugging Face turns halves, so rows of q and k move. */
    VD_FAMILY_PERMUTED = 1,
    VD_FAMILY_NORM_PLUS_ONE = 2, /* the checkpoint's norms lack their 1 */
    VD_FAMILY_TIED = 4,          /* without a word in config.json the output is the embedding */
    VD_FAMILY_ENCODER = 8
};

/* Where metadata goes, and what it is made from. */
typedef struct vd_meta {
    vd_gguf_out *out;
    const char *arch;
    const vd_config *config;
    vd_notes *notes;
} vd_meta;

typedef struct vd_family {
    const char *names; /* in config.json, separated by spaces */
    const char *arch;  /* general.architecture */
    const char *act;   /* activations that the architecture means, separated by spaces */
    unsigned flags;
    const vd_rule *rules[3]; /* searched one after the other */
    /* Adds what vd_meta_common does not know, and refuses what GGUF cannot say; NULL allowed. */
    vd_status (*extra)(const vd_meta *m, vd_err *err);
} vd_family;

/* VD_ERR_UNSUPPORTED that names the architecture and lists ours. */
VD_NODISCARD vd_status vd_family_find(const char *name, const vd_family **ret_family, vd_err *err);

/* All keys under "<arch>." */
VD_NODISCARD vd_status vd_meta_write(const vd_family *family, const vd_meta *m, vd_err *err);

/* "<arch>.<suffix>" */
void vd_meta_u32(const vd_meta *m, const char *suffix, uint32_t value);
void vd_meta_f32(const vd_meta *m, const char *suffix, float value);
void vd_meta_bool(const vd_meta *m, const char *suffix, bool value);
void vd_meta_str(const vd_meta *m, const char *suffix, const char *value);
/* A number of config.json under its name in GGUF; absent there is absent here. */
VD_NODISCARD vd_status vd_meta_copy_u32(const vd_meta *m, const char *names, const char *suffix,
                                        vd_err *err);
VD_NODISCARD vd_status vd_meta_copy_f32(const vd_meta *m, const char *names, const char *suffix,
                                        vd_err *err);
/* VD_ERR_UNSUPPORTED unless config.json has this value (`absent` where it says nothing). */
VD_NODISCARD vd_status vd_meta_expect(const vd_meta *m, const char *name, bool absent, bool value,
                                      vd_err *err);
/* Width of a head. */
VD_NODISCARD vd_status vd_meta_head_dim(const vd_config *config, uint32_t *ret, vd_err *err);
/* How many values of a head are rotated (partial_rotary_factor). */
VD_NODISCARD vd_status vd_meta_rotary_dim(const vd_config *config, uint32_t *ret, vd_err *err);
/* Keys of RoPE and its scaling. */
VD_NODISCARD vd_status vd_meta_rope(const vd_meta *m, vd_err *err);

/* The extras, in extra.c and extra_encoder.c. */
vd_status vd_extra_llama(const vd_meta *m, vd_err *err);
vd_status vd_extra_gemma2(const vd_meta *m, vd_err *err);
vd_status vd_extra_gemma3(const vd_meta *m, vd_err *err);
vd_status vd_extra_granite(const vd_meta *m, vd_err *err);
vd_status vd_extra_smollm3(const vd_meta *m, vd_err *err);
vd_status vd_extra_phi3(const vd_meta *m, vd_err *err);
vd_status vd_extra_gpt2(const vd_meta *m, vd_err *err);
vd_status vd_extra_olmo2(const vd_meta *m, vd_err *err);
vd_status vd_extra_olmoe(const vd_meta *m, vd_err *err);
vd_status vd_extra_qwen(const vd_meta *m, vd_err *err);
vd_status vd_extra_qwen2moe(const vd_meta *m, vd_err *err);
vd_status vd_extra_qwen3moe(const vd_meta *m, vd_err *err);
vd_status vd_extra_command_r(const vd_meta *m, vd_err *err);
vd_status vd_extra_bert(const vd_meta *m, vd_err *err);
vd_status vd_extra_nomic(const vd_meta *m, vd_err *err);

#endif
