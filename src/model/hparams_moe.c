/* hparams_moe.c - the numbers of a mixture of experts, and what of its routing we lack. */
#include "base/checked.h"
#include "base/fail.h"
#include "model/hparams.h"

/* The numbers that GGUF gives to the ways of turning the router's logits into weights. */
enum { GATING_UNSAID = 0, GATING_SOFTMAX = 1 };
static const char *const gatings[] = {"unsaid", "softmax", "sigmoid", "softmax of the chosen ones"};

static vd_status check_gating(const vd_gguf *gguf, const char *arch, const vd_block *block,
                              vd_err *err)
{
    size_t gating = GATING_UNSAID, n_groups = 1;
    float scale = 1;
    bool sum = block->expert_sum;
    vd_status st = vd_hparams_u32(gguf, arch, "expert_gating_func", 0, UINT32_MAX, &gating, err);
    if (st == VD_OK && gating != GATING_UNSAID && gating != GATING_SOFTMAX)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "%s.expert_gating_func is %zu (%s); we know softmax as %s has it",
                     arch, gating, gating < VD_COUNT(gatings) ? gatings[gating] : "unknown",
                     arch);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch, "expert_weights_scale", -1e6f, 1e6f, &scale, err);
    if (st == VD_OK && scale != 0 && scale != 1)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "%s.expert_weights_scale is %g; the router of %s has none", arch,
                     (double)scale, arch);
    if (st == VD_OK)
        st = vd_hparams_bool(gguf, arch, "expert_weights_norm", &sum, err);
    if (st == VD_OK && sum != block->expert_sum)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "%s.expert_weights_norm is %s; the router of %s works the other way", arch,
                     sum ? "true" : "false", arch);
    if (st == VD_OK)
        st = vd_hparams_u32(gguf, arch, "expert_group_count", 0, UINT32_MAX, &n_groups, err);
    if (st == VD_OK && n_groups > 1)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "%s.expert_group_count is %zu; the router of %s has no groups", arch,
                     n_groups, arch);
    return st;
}

vd_status vd_hparams_read_moe(const vd_gguf *gguf, const char *arch, vd_hparams *hp, vd_err *err)
{
    const vd_block *block = &hp->block;
    vd_moe_params moe = {.n_ff = hp->n_ff, .n_ff_shared = hp->n_ff};
    vd_status st = vd_hparams_u32(gguf, arch, "expert_count", 0, VD_HPARAMS_EXPERTS_MAX,
                                  &moe.n_experts, err);
    if (st != VD_OK)
        return st;
    if (moe.n_experts == 0 && block->experts == VD_ALWAYS)
        return VD_FAIL(err, VD_ERR_FORMAT, "metadata key %s.expert_count is missing or 0", arch);
    if (moe.n_experts == 0)
        return VD_OK;
    if (block->experts == VD_NEVER)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s.expert_count is %zu; %s has no experts", arch,
                       moe.n_experts, arch);
    st = vd_hparams_u32(gguf, arch, "expert_used_count", 1, moe.n_experts, &moe.n_used, err);
    if (st == VD_OK && moe.n_used == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "metadata key %s.expert_used_count is missing", arch);
    if (st == VD_OK)
        st = vd_hparams_u32(gguf, arch, "expert_feed_forward_length", 1, VD_HPARAMS_WIDTH_MAX,
                            &moe.n_ff, err);
    if (st == VD_OK)
        st = vd_hparams_u32(gguf, arch, "expert_shared_feed_forward_length", 1,
                            VD_HPARAMS_WIDTH_MAX, &moe.n_ff_shared, err);
    if (st == VD_OK)
        st = check_gating(gguf, arch, block, err);
    if (st == VD_OK)
        hp->moe = moe;
    return st;
}
