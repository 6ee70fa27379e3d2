/* hparams.c - see hparams.h. */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"

enum { KEY_MAX = 160 };

static void make_key(char key[KEY_MAX], const char *arch, const char *suffix)
{
    snprintf(key, KEY_MAX, "%s.%s", arch, suffix);
}

vd_status vd_hparams_u32(const vd_gguf *gguf, const char *arch, const char *suffix, size_t min,
                         size_t max, size_t *ret, vd_err *err)
{
    char key[KEY_MAX];
    make_key(key, arch, suffix);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    if (kv == NULL)
        return VD_OK;
    uint32_t value;
    if (!vd_gguf_get_u32(gguf, key, &value))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is of type %s%s, an unsigned integer is expected",
                       key, vd_gguf_type_name(kv->type),
                       kv->type == VD_GGUF_TYPE_ARRAY ? " (a value per layer)" : "");
    if (value < min || value > max)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is %u, expected %zu to %zu", key, value, min, max);
    *ret = value;
    return VD_OK;
}

vd_status vd_hparams_f32(const vd_gguf *gguf, const char *arch, const char *suffix, float min,
                         float max, float *ret, vd_err *err)
{
    char key[KEY_MAX];
    make_key(key, arch, suffix);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    if (kv == NULL)
        return VD_OK;
    float value;
    if (!vd_gguf_get_f32(gguf, key, &value))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is of type %s, a number is expected", key,
                       vd_gguf_type_name(kv->type));
    if (!(value >= min && value <= max)) /* NaN fails too */
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is %g, expected %g to %g", key, (double)value,
                       (double)min, (double)max);
    *ret = value;
    return VD_OK;
}

static vd_status require_u32(const vd_gguf *gguf, const char *arch, const char *suffix, size_t max,
                             size_t *ret, vd_err *err)
{
    size_t value = 0;
    vd_status st = vd_hparams_u32(gguf, arch, suffix, 1, max, &value, err);
    if (st == VD_OK && value == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "metadata key %s.%s is missing", arch, suffix);
    if (st == VD_OK)
        *ret = value;
    return st;
}

static vd_status read_scaling(const vd_gguf *gguf, const char *arch, vd_rope_params *rope,
                              vd_err *err)
{
    char key[KEY_MAX];
    vd_str type;
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
    if (st != VD_OK)
        return st;
    if (rope->factor == 0)
        rope->factor = 1; /* what some converters write for "no scaling" */
    make_key(key, arch, "rope.scaling.type");
    /* Without the key a factor means linear, as llama.cpp reads it. */
    if (!vd_gguf_get_str(gguf, key, &type))
        type = (vd_str){"linear", 6};
    if (type.n == 4 && memcmp(type.data, "none", 4) == 0)
        rope->factor = 1;
    else if (type.n == 4 && memcmp(type.data, "yarn", 4) == 0)
        rope->scaling = VD_ROPE_SCALING_YARN;
    else if (type.n == 6 && memcmp(type.data, "linear", 6) == 0)
        rope->scaling = rope->factor != 1 ? VD_ROPE_SCALING_LINEAR : VD_ROPE_SCALING_NONE;
    else
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is '%.*s'; none, linear and yarn are supported",
                       key, (int)(type.n < 64 ? type.n : 64), type.data);
    return VD_OK;
}

static vd_status read_heads(const vd_gguf *gguf, const char *arch, vd_hparams *hp, vd_err *err)
{
    vd_status st = require_u32(gguf, arch, "attention.head_count", VD_HPARAMS_HEADS_MAX,
                               &hp->n_head, err);
    if (st != VD_OK)
        return st;
    hp->n_kv_head = hp->n_head;
    st = vd_hparams_u32(gguf, arch, "attention.head_count_kv", 1, VD_HPARAMS_HEADS_MAX,
                        &hp->n_kv_head, err);
    if (st != VD_OK)
        return st;
    if (hp->n_head % hp->n_kv_head != 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s.attention.head_count is %zu, no multiple of head_count_kv (%zu)", arch,
                       hp->n_head, hp->n_kv_head);
    hp->head_dim = hp->n_embd / hp->n_head;
    st = vd_hparams_u32(gguf, arch, "attention.key_length", 2, VD_HPARAMS_HEAD_DIM_MAX,
                        &hp->head_dim, err);
    if (st != VD_OK)
        return st;
    size_t value_dim = hp->head_dim;
    st = vd_hparams_u32(gguf, arch, "attention.value_length", 2, VD_HPARAMS_HEAD_DIM_MAX,
                        &value_dim, err);
    if (st != VD_OK)
        return st;
    if (value_dim != hp->head_dim)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "%s.attention.value_length (%zu) differs from key_length (%zu)", arch,
                       value_dim, hp->head_dim);
    if (hp->head_dim < 2 || hp->head_dim > VD_HPARAMS_HEAD_DIM_MAX || hp->head_dim % 2 != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "the head dimension is %zu, expected an even 2 to %d",
                       hp->head_dim, VD_HPARAMS_HEAD_DIM_MAX);
    return VD_OK;
}

static size_t vocab_size(const vd_gguf *gguf)
{
    const vd_gguf_tensor *embed = vd_gguf_find_tensor(gguf, "token_embd.weight");
    return embed != NULL && embed->dim[1] <= VD_HPARAMS_VOCAB_MAX ? (size_t)embed->dim[1] : 0;
}

vd_status vd_hparams_read(const vd_gguf *gguf, const char *arch, const vd_block *block,
                          vd_hparams *ret_hp, vd_err *err)
{
    bool rms = block->norm == VD_NORM_RMS;
    vd_hparams hp = {
        .block = *block,
        .norm_eps = 1e-5f,
        .embed_scale = 1,
        .rope = {.base = 10000, .factor = 1, .attn_factor = 1},
    };
    vd_status st =
        require_u32(gguf, arch, "block_count", VD_HPARAMS_LAYERS_MAX, &hp.n_layer, err);
    if (st == VD_OK)
        st = require_u32(gguf, arch, "embedding_length", VD_HPARAMS_WIDTH_MAX, &hp.n_embd, err);
    if (st == VD_OK)
        st = require_u32(gguf, arch, "feed_forward_length", VD_HPARAMS_WIDTH_MAX, &hp.n_ff, err);
    if (st == VD_OK)
        st = require_u32(gguf, arch, "context_length", UINT32_MAX, &hp.ctx_train, err);
    if (st == VD_OK)
        st = read_heads(gguf, arch, &hp, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch,
                            rms ? "attention.layer_norm_rms_epsilon"
                                : "attention.layer_norm_epsilon",
                            0, 1, &hp.norm_eps, err);
    hp.n_vocab = vocab_size(gguf);
    hp.rope.n_rot = hp.head_dim;
    if (st == VD_OK)
        st = vd_hparams_u32(gguf, arch, "rope.dimension_count", 2, hp.head_dim,
                            &hp.rope.n_rot, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch, "rope.freq_base", 1, 1e12f, &hp.rope.base, err);
    hp.rope.ctx_original = hp.ctx_train;
    if (st == VD_OK)
        st = read_scaling(gguf, arch, &hp.rope, err);
    if (st != VD_OK)
        return st;
    if (hp.rope.n_rot % 2 != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s.rope.dimension_count is %zu, not an even number",
                       arch, hp.rope.n_rot);
    hp.attn_scale = 1.0f / sqrtf((float)hp.head_dim);
    hp.rope_local = hp.rope;
    *ret_hp = hp;
    return VD_OK;
}

bool vd_hparams_layer_is_local(const vd_hparams *hp, size_t layer)
{
    return hp->window != 0 && hp->window_pattern != 0 &&
           layer % hp->window_pattern != hp->window_pattern - 1;
}
