/* extra.c - what single architectures add to the metadata, and what of theirs GGUF cannot say. */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "import/family.h"

/* Where the width of a head is not the model's by its heads, both lengths say it. */
static vd_status write_head_dim(const vd_meta *m, vd_err *err)
{
    vd_status st = vd_meta_copy_u32(m, "head_dim", "attention.key_length", err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "head_dim", "attention.value_length", err);
    return st;
}

static vd_status write_usual(const vd_meta *m, vd_err *err)
{
    vd_status st = write_head_dim(m, err);
    if (st == VD_OK)
        st = vd_meta_rope(m, err);
    return st;
}

static vd_status note_window(const vd_meta *m, vd_err *err)
{
    uint32_t window = 0;
    vd_status st = vd_config_u32(m->config, "sliding_window", &window, err);
    if (st == VD_OK && window > 0)
        vd_note(m->notes, "sliding_window %u cannot be said in GGUF for %s: each token sees all "
                "before it", window, m->arch);
    return st;
}

vd_status vd_extra_llama(const vd_meta *m, vd_err *err)
{
    uint32_t dim = 0;
    vd_status st = write_usual(m, err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "vocab_size", "vocab_size", err);
    if (st == VD_OK)
        st = vd_meta_head_dim(m->config, &dim, err);
    if (st == VD_OK)
        vd_meta_u32(m, "rope.dimension_count", dim);
    if (st == VD_OK)
        st = note_window(m, err);
    return st;
}

/* True where the layer looks through a window; ends the list with an error. */
static vd_status layer_is_local(const json_t *types, size_t i, bool *ret, vd_err *err)
{
    const char *type = json_string_value(json_array_get(types, i));
    if (type == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: layer_types[%zu] is no text", i);
    *ret = strcmp(type, "sliding_attention") == 0;
    if (!*ret && strcmp(type, "full_attention") != 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: layer_types[%zu] is '%.32s'", i,
                       type);
    return VD_OK;
}

/* The p so that every p-th layer sees everything; 0 where there is none. */
static vd_status find_period(const vd_meta *m, uint32_t normal, uint32_t *ret, vd_err *err)
{
    const json_t *types = vd_config_find(m->config, "layer_types");
    uint32_t period = normal;
    vd_status st = vd_config_u32(m->config, "sliding_window_pattern _sliding_window_pattern",
                                 &period, err);
    if (types == NULL || st != VD_OK) {
        *ret = period;
        return st;
    }
    size_t n = json_array_size(types);
    bool local = true;
    for (period = 0; st == VD_OK && local && period < n; period++)
        st = layer_is_local(types, period, &local, err);
    if (local) /* none sees everything: any period beyond the last layer; the usual one if it is */
        period = n < normal ? normal : (uint32_t)n + 1;
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        st = layer_is_local(types, i, &local, err);
        if (st == VD_OK && local != (i % period != period - 1))
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: layer_types follow no period: "
                           "%s in GGUF has one", m->arch);
    }
    *ret = period;
    return st;
}

static vd_status check_query_scale(const vd_meta *m, uint32_t n_layers_by_width, vd_err *err)
{
    uint32_t dim = 256, n_layer = 0;
    vd_status st = vd_config_u32(m->config, "head_dim", &dim, err);
    float scalar = (float)dim;
    if (st == VD_OK)
        st = vd_config_u32(m->config, "num_hidden_layers", &n_layer, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "query_pre_attn_scalar", &scalar, err);
    if (st == VD_OK && n_layer != n_layers_by_width && scalar != (float)dim)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: query_pre_attn_scalar is %g; %s in "
                     "GGUF scales queries by their width, %u", (double)scalar, m->arch, dim);
    return st;
}

static vd_status write_gemma_heads(const vd_meta *m, vd_err *err)
{
    uint32_t dim = 256; /* transformers' default */
    vd_status st = vd_config_u32(m->config, "head_dim", &dim, err);
    if (st != VD_OK)
        return st;
    vd_meta_u32(m, "attention.key_length", dim);
    vd_meta_u32(m, "attention.value_length", dim);
    return vd_meta_rope(m, err);
}

vd_status vd_extra_gemma2(const vd_meta *m, vd_err *err)
{
    float attn = 50, final = 30;
    uint32_t window = 4096, period = 2;
    vd_status st = write_gemma_heads(m, err);
    if (st == VD_OK)
        st = check_query_scale(m, 46, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "attn_logit_softcapping", &attn, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "final_logit_softcapping", &final, err);
    if (st == VD_OK)
        st = vd_config_u32(m->config, "sliding_window", &window, err);
    if (st == VD_OK)
        st = find_period(m, 2, &period, err);
    if (st == VD_OK && period != 2)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: layer_types: every %u-th layer sees "
                     "everything, gemma2 in GGUF means every second", period);
    if (st != VD_OK)
        return st;
    vd_meta_f32(m, "attn_logit_softcapping", attn);
    vd_meta_f32(m, "final_logit_softcapping", final);
    vd_meta_u32(m, "attention.sliding_window", window);
    return VD_OK;
}

vd_status vd_extra_gemma3(const vd_meta *m, vd_err *err)
{
    uint32_t period = 6;
    vd_status st = write_gemma_heads(m, err);
    if (st == VD_OK)
        st = check_query_scale(m, 62, err);
    if (st == VD_OK && vd_config_find(m->config, "attn_logit_softcapping") != NULL)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: attn_logit_softcapping: gemma3 in "
                     "GGUF has none");
    if (st == VD_OK)
        st = vd_meta_copy_f32(m, "final_logit_softcapping", "final_logit_softcapping", err);
    if (st == VD_OK)
        st = find_period(m, 6, &period, err);
    if (st == VD_OK && period != 1)
        st = vd_meta_copy_u32(m, "sliding_window", "attention.sliding_window", err);
    if (st == VD_OK && period != 1 && period != 6)
        vd_meta_u32(m, "attention.sliding_window_pattern", period);
    return st;
}

vd_status vd_extra_granite(const vd_meta *m, vd_err *err)
{
    static const struct {
        const char *name, *suffix;
    } scales[] = {{"attention_multiplier", "attention.scale"},
                  {"embedding_multiplier", "embedding_scale"},
                  {"residual_multiplier", "residual_scale"},
                  {"logits_scaling", "logit_scale"}};
    uint32_t n_embd = 0, n_head = 0;
    vd_status st = vd_meta_rope(m, err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "vocab_size", "vocab_size", err);
    if (st == VD_OK)
        st = vd_config_need(m->config, "hidden_size", &n_embd, err);
    if (st == VD_OK)
        st = vd_config_need(m->config, "num_attention_heads", &n_head, err);
    if (st == VD_OK)
        vd_meta_u32(m, "rope.dimension_count", n_embd / n_head);
    for (size_t i = 0; st == VD_OK && i < sizeof(scales) / sizeof(scales[0]); i++)
        st = vd_meta_copy_f32(m, scales[i].name, scales[i].suffix, err);
    return st;
}

vd_status vd_extra_smollm3(const vd_meta *m, vd_err *err)
{
    const json_t *rotated = vd_config_find(m->config, "no_rope_layers");
    uint32_t interval = 4;
    vd_status st = vd_extra_llama(m, err);
    if (st == VD_OK)
        st = vd_config_u32(m->config, "no_rope_layer_interval", &interval, err);
    bool usual = interval == 4;
    for (size_t i = 0; rotated != NULL && i < json_array_size(rotated); i++)
        usual = usual && json_integer_value(json_array_get(rotated, i)) == ((i + 1) % 4 != 0);
    if (st == VD_OK && !usual)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: no_rope_layers: smollm3 in GGUF "
                     "leaves every fourth layer without positions");
    return st;
}

/* LongRoPE (Ding et al. 2024): the factors go into two tensors, see tensors.c. */
static vd_status write_longrope(const vd_meta *m, uint32_t ctx, uint32_t original, vd_err *err)
{
    float scale = (float)ctx / (float)original, factor = 0;
    vd_status st = vd_config_rope_f32(m->config->rope, "attention_factor", &factor, err);
    if (st != VD_OK)
        return st;
    if (factor == 0)
        factor = scale > 1 ? sqrtf(1 + logf(scale) / logf((float)original)) : 1;
    vd_meta_f32(m, "rope.scaling.attn_factor", factor);
    return VD_OK;
}

vd_status vd_extra_phi3(const vd_meta *m, vd_err *err)
{
    const char *type = vd_config_rope_type(m->config->rope);
    uint32_t dim = 0, ctx = 0, window = 0;
    float base = 0, original = 0;
    bool longrope = type != NULL && (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0);
    if (type != NULL && !longrope && strcmp(type, "default") != 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: rope type '%.32s': phi3 has longrope "
                       "or none", type);
    vd_status st = vd_meta_rotary_dim(m->config, &dim, err);
    if (st == VD_OK)
        st = vd_config_need(m->config, "max_position_embeddings", &ctx, err);
    original = (float)ctx;
    if (st == VD_OK)
        st = vd_config_f32(m->config, "original_max_position_embeddings", &original, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(m->config->rope, "original_max_position_embeddings", &original,
                                err);
    if (st == VD_OK)
        st = vd_config_rope_base(m->config, &base, err);
    if (st == VD_OK)
        st = vd_config_u32(m->config, "sliding_window", &window, err);
    if (st != VD_OK)
        return st;
    if (!(original >= 2 && original < VD_CONFIG_U32_END))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: original_max_position_embeddings is %g",
                       (double)original);
    vd_meta_u32(m, "rope.dimension_count", dim);
    vd_meta_f32(m, "rope.freq_base", base);
    vd_meta_u32(m, "rope.scaling.original_context_length", (uint32_t)original);
    vd_meta_u32(m, "attention.sliding_window", window); /* 0 tells Phi-4 from the others */
    return longrope ? write_longrope(m, ctx, (uint32_t)original, err) : VD_OK;
}

vd_status vd_extra_gpt2(const vd_meta *m, vd_err *err)
{
    uint32_t n_embd = 0;
    vd_status st = vd_meta_expect(m, "scale_attn_by_inverse_layer_idx", false, false, err);
    if (st == VD_OK)
        st = vd_meta_expect(m, "scale_attn_weights", true, true, err);
    if (st == VD_OK)
        st = vd_config_need(m->config, "n_embd", &n_embd, err);
    if (st == VD_OK && vd_config_find(m->config, "n_inner intermediate_size") == NULL)
        vd_meta_u32(m, "feed_forward_length", 4 * n_embd);
    return st;
}

vd_status vd_extra_olmo2(const vd_meta *m, vd_err *err)
{
    const json_t *types = vd_config_find(m->config, "layer_types");
    uint32_t n_layer = 0, window = 0;
    vd_status st = write_usual(m, err);
    if (st == VD_OK)
        st = vd_config_u32(m->config, "sliding_window", &window, err);
    if (st == VD_OK)
        st = vd_config_need(m->config, "num_hidden_layers", &n_layer, err);
    if (st != VD_OK || window == 0)
        return st;
    if (types != NULL && json_array_size(types) != n_layer)
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: layer_types has %zu items for %u layers",
                       json_array_size(types), n_layer);
    vd_meta_u32(m, "attention.sliding_window", window);
    vd_gguf_out_array(m->out, "olmo2.attention.sliding_window_pattern", VD_GGUF_TYPE_BOOL,
                      n_layer);
    for (uint32_t i = 0; st == VD_OK && i < n_layer; i++) {
        bool local = (i + 1) % 4 != 0;
        if (types != NULL)
            st = layer_is_local(types, i, &local, err);
        vd_gguf_out_item_bool(m->out, local);
    }
    return st;
}

static vd_status refuse_clip(const vd_meta *m, vd_err *err)
{
    if (vd_config_find(m->config, "clip_qkv") != NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: clip_qkv: %s in GGUF has none",
                       m->arch);
    return VD_OK;
}

vd_status vd_extra_olmoe(const vd_meta *m, vd_err *err)
{
    vd_status st = refuse_clip(m, err);
    if (st == VD_OK)
        st = vd_meta_expect(m, "norm_topk_prob", false, false, err);
    if (st == VD_OK)
        st = write_usual(m, err);
    return st;
}

vd_status vd_extra_qwen(const vd_meta *m, vd_err *err)
{
    vd_status st = write_usual(m, err);
    if (st == VD_OK)
        st = vd_meta_expect(m, "use_sliding_window", false, false, err);
    return st;
}

/* Every layer has experts, and only them. */
static vd_status check_all_experts(const vd_meta *m, vd_err *err)
{
    uint32_t step = 1;
    vd_status st = vd_config_u32(m->config, "decoder_sparse_step", &step, err);
    if (st == VD_OK && (step != 1 || json_array_size(vd_config_find(m->config,
                                                                   "mlp_only_layers")) > 0))
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: decoder_sparse_step or "
                     "mlp_only_layers: %s in GGUF has experts in every layer", m->arch);
    return st;
}

vd_status vd_extra_qwen2moe(const vd_meta *m, vd_err *err)
{
    vd_status st = vd_meta_expect(m, "norm_topk_prob", false, false, err);
    if (st == VD_OK)
        st = check_all_experts(m, err);
    if (st == VD_OK)
        st = vd_extra_qwen(m, err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "moe_intermediate_size", "expert_feed_forward_length", err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "shared_expert_intermediate_size",
                              "expert_shared_feed_forward_length", err);
    return st;
}

vd_status vd_extra_qwen3moe(const vd_meta *m, vd_err *err)
{
    vd_status st = vd_meta_expect(m, "norm_topk_prob", false, true, err);
    if (st == VD_OK)
        st = check_all_experts(m, err);
    if (st == VD_OK)
        st = vd_extra_qwen(m, err);
    if (st == VD_OK)
        st = vd_meta_copy_u32(m, "moe_intermediate_size", "expert_feed_forward_length", err);
    return st;
}

vd_status vd_extra_command_r(const vd_meta *m, vd_err *err)
{
    vd_status st = write_head_dim(m, err);
    float base = 0, scale = 0.0625f; /* transformers' default */
    if (st == VD_OK)
        st = vd_config_rope_base(m->config, &base, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "logit_scale", &scale, err);
    if (st != VD_OK)
        return st;
    vd_meta_f32(m, "rope.freq_base", base);
    vd_meta_f32(m, "logit_scale", scale);
    vd_meta_str(m, "rope.scaling.type", "none");
    return VD_OK;
}
