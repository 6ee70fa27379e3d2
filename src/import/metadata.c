/* metadata.c - keys under "<arch>."; see family.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "import/family.h"

enum { KEY_MAX = 128, HEAD_DIM_MAX = 1 << 16 };

typedef struct key {
    char text[KEY_MAX];
} key;

static key make_key(const vd_meta *m, const char *suffix)
{
    key k;
    snprintf(k.text, sizeof(k.text), "%s.%s", m->arch, suffix);
    return k;
}

void vd_meta_u32(const vd_meta *m, const char *suffix, uint32_t value)
{
    vd_gguf_out_u32(m->out, make_key(m, suffix).text, value);
}

void vd_meta_f32(const vd_meta *m, const char *suffix, float value)
{
    vd_gguf_out_f32(m->out, make_key(m, suffix).text, value);
}

void vd_meta_bool(const vd_meta *m, const char *suffix, bool value)
{
    vd_gguf_out_bool(m->out, make_key(m, suffix).text, value);
}

void vd_meta_str(const vd_meta *m, const char *suffix, const char *value)
{
    vd_gguf_out_str(m->out, make_key(m, suffix).text, value);
}

vd_status vd_meta_copy_u32(const vd_meta *m, const char *names, const char *suffix, vd_err *err)
{
    uint32_t value = 0;
    if (vd_config_find(m->config, names) == NULL)
        return VD_OK;
    vd_status st = vd_config_u32(m->config, names, &value, err);
    if (st == VD_OK)
        vd_meta_u32(m, suffix, value);
    return st;
}

vd_status vd_meta_copy_f32(const vd_meta *m, const char *names, const char *suffix, vd_err *err)
{
    float value = 0;
    if (vd_config_find(m->config, names) == NULL)
        return VD_OK;
    vd_status st = vd_config_f32(m->config, names, &value, err);
    if (st == VD_OK)
        vd_meta_f32(m, suffix, value);
    return st;
}

vd_status vd_meta_expect(const vd_meta *m, const char *name, bool absent, bool value, vd_err *err)
{
    bool said = absent;
    vd_status st = vd_config_bool(m->config, name, &said, err);
    if (st == VD_OK && said != value)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: %s is %s; %s in GGUF means %s", name,
                     said ? "true" : "false", m->arch, value ? "true" : "false");
    return st;
}

vd_status vd_meta_head_dim(const vd_config *config, uint32_t *ret, vd_err *err)
{
    uint32_t n_embd = 0, n_head = 0, dim = 0;
    vd_status st = vd_config_need(config, "hidden_size n_embd", &n_embd, err);
    if (st == VD_OK)
        st = vd_config_need(config, "num_attention_heads n_head", &n_head, err);
    if (st == VD_OK)
        dim = n_embd / n_head;
    if (st == VD_OK)
        st = vd_config_u32(config, "head_dim", &dim, err);
    if (st == VD_OK && (dim == 0 || dim > HEAD_DIM_MAX))
        st = VD_FAIL(err, VD_ERR_FORMAT, "config.json: heads of %u values (head_dim, or "
                     "hidden_size by heads); 1 to %d are possible", dim, HEAD_DIM_MAX);
    if (st == VD_OK)
        *ret = dim;
    return st;
}

vd_status vd_meta_rotary_dim(const vd_config *config, uint32_t *ret, vd_err *err)
{
    uint32_t dim = 0;
    float part = 1;
    vd_status st = vd_meta_head_dim(config, &dim, err);
    if (st == VD_OK)
        st = vd_config_f32(config, "partial_rotary_factor", &part, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(config->rope, "partial_rotary_factor", &part, err);
    if (st == VD_OK && !(part > 0 && part <= 1))
        st = VD_FAIL(err, VD_ERR_FORMAT, "config.json: partial_rotary_factor is %g; above 0 and at "
                     "most 1 is possible", (double)part);
    if (st == VD_OK)
        *ret = (uint32_t)(part * (float)dim);
    return st;
}

static vd_status write_yarn(const vd_meta *m, float factor, vd_err *err)
{
    const json_t *rope = m->config->rope;
    float ctx = 0, attention = 0, fast = 32, slow = 1;
    uint32_t ctx_train = 0;
    vd_status st = vd_config_u32(m->config, "max_position_embeddings", &ctx_train, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "original_max_position_embeddings", &ctx, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "attention_factor attn_factor", &attention, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "beta_fast", &fast, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "beta_slow", &slow, err);
    if (st != VD_OK)
        return st;
    if (!(ctx >= 0 && ctx < VD_CONFIG_U32_END))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: original_max_position_embeddings is %g",
                       (double)ctx);
    vd_meta_str(m, "rope.scaling.type", "yarn");
    vd_meta_f32(m, "rope.scaling.factor", factor);
    vd_meta_u32(m, "rope.scaling.original_context_length", ctx > 0 ? (uint32_t)ctx : ctx_train);
    /* GGUF's factor comes on top of what the stretching alone gives. */
    float own = 0.1f * logf(factor) + 1;
    if (attention > 0 && fabsf(attention - own) > 1e-5f)
        vd_meta_f32(m, "rope.scaling.attn_factor", attention / own);
    if (fast != 32 || slow != 1)
        vd_note(m->notes, "rope: beta_fast %g and beta_slow %g cannot be said in GGUF; 32 and 1 "
                "hold", (double)fast, (double)slow);
    return VD_OK;
}

vd_status vd_meta_rope(const vd_meta *m, vd_err *err)
{
    const char *type = vd_config_rope_type(m->config->rope);
    float base = 0, factor = 0, local = 0;
    vd_status st = vd_config_rope_base(m->config, &base, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(m->config->rope, "factor", &factor, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "rope_local_base_freq", &local, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(m->config->rope_local, "rope_theta", &local, err);
    if (st != VD_OK)
        return st;
    vd_meta_f32(m, "rope.freq_base", base);
    if (local > 0)
        vd_meta_f32(m, "rope.freq_base_swa", local);
    if (type == NULL || strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0)
        return VD_OK; /* llama3: a tensor says it */
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: rope type longrope is known for "
                       "Phi-3 alone");
    if (strcmp(type, "dynamic") == 0) {
        vd_note(m->notes, "rope: dynamic scaling beyond the trained context cannot be said in "
                "GGUF and is left out");
        return VD_OK;
    }
    if (factor < 1)
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: the rope type '%.32s' needs a factor of "
                       "at least 1", type);
    if (strcmp(type, "linear") == 0) {
        vd_meta_str(m, "rope.scaling.type", "linear");
        vd_meta_f32(m, "rope.scaling.factor", factor);
        return VD_OK;
    }
    if (strcmp(type, "yarn") == 0)
        return write_yarn(m, factor, err);
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: rope type '%.32s' is not known", type);
}
