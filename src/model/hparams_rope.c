/* hparams_rope.c - the numbers of rotary positions and of how they are stretched; see hparams.h. */
#include "base/checked.h"
#include "base/fail.h"
#include "model/hparams.h"

static const struct {
    const char *name;
    vd_rope_scaling scaling;
} scalings[] = {
    {"none", VD_ROPE_SCALING_NONE},
    {"linear", VD_ROPE_SCALING_LINEAR},
    {"yarn", VD_ROPE_SCALING_YARN},
    {"longrope", VD_ROPE_SCALING_LONG},
};

static vd_status read_kind(const vd_gguf *gguf, const char *arch, vd_rope_params *rope,
                           vd_err *err)
{
    vd_str type;
    /* Without the key a factor means linear, as llama.cpp reads it. */
    if (!vd_hparams_str(gguf, arch, "rope.scaling.type", &type))
        type = (vd_str){"linear", 6};
    for (size_t i = 0; i < VD_COUNT(scalings); i++) {
        if (vd_str_is(type, scalings[i].name)) {
            rope->scaling = scalings[i].scaling;
            return VD_OK;
        }
    }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                   "%s.rope.scaling.type is '%.*s'; we know none, linear, yarn, longrope", arch,
                   (int)VD_MIN(type.n, (size_t)64), type.data);
}

static vd_status read_scaling(const vd_gguf *gguf, const char *arch, vd_rope_params *rope,
                              vd_err *err)
{
    vd_status st = vd_hparams_f32(gguf, arch, "rope.scale_linear", 1e-3f, 1e6f, &rope->factor, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch, "rope.scaling.factor", 0, 1e6f, &rope->factor, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch, "rope.scaling.attn_factor", 1e-3f, 1e3f,
                            &rope->attn_factor, err);
    /* yarn_beta_fast, yarn_beta_slow, yarn_ext_factor and yarn_log_multiplier may stand in the
     * file, but for the architectures here the field's reference engine reads none of them, and
     * neither do we: the same file has to give the same logits. */
    if (st == VD_OK)
        st = vd_hparams_u32(gguf, arch, "rope.scaling.original_context_length", 1, UINT32_MAX,
                            &rope->ctx_original, err);
    if (st == VD_OK)
        st = read_kind(gguf, arch, rope, err);
    if (st != VD_OK)
        return st;
    if (rope->factor == 0 || rope->scaling == VD_ROPE_SCALING_NONE)
        rope->factor = 1; /* 0 is what some converters write for "no scaling" */
    if (rope->scaling == VD_ROPE_SCALING_LINEAR && rope->factor == 1)
        rope->scaling = VD_ROPE_SCALING_NONE;
    return VD_OK;
}

vd_status vd_hparams_read_rope(const vd_gguf *gguf, const char *arch, vd_hparams *hp, vd_err *err)
{
    vd_rope_params rope = {.n_rot = hp->head_dim,
                           .base = 10000,
                           .factor = 1,
                           .attn_factor = 1,
                           .ctx_original = hp->ctx_train};
    vd_status st = vd_hparams_u32(gguf, arch, "rope.dimension_count", 2, hp->head_dim, &rope.n_rot,
                                  err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch, "rope.freq_base", 1, 1e12f, &rope.base, err);
    if (st == VD_OK)
        st = read_scaling(gguf, arch, &rope, err);
    if (st != VD_OK)
        return st;
    if (rope.n_rot % 2 != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s.rope.dimension_count is %zu, not an even number",
                       arch, rope.n_rot);
    hp->rope = hp->rope_local = rope;
    return VD_OK;
}
