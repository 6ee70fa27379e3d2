/* hparams.c - see hparams.h. */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
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

vd_status vd_hparams_bool(const vd_gguf *gguf, const char *arch, const char *suffix, bool *ret,
                          vd_err *err)
{
    char key[KEY_MAX];
    make_key(key, arch, suffix);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    if (kv != NULL && !vd_gguf_get_bool(gguf, key, ret))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is of type %s, true or false is expected", key,
                       vd_gguf_type_name(kv->type));
    return VD_OK;
}

bool vd_hparams_str(const vd_gguf *gguf, const char *arch, const char *suffix, vd_str *ret)
{
    char key[KEY_MAX];
    make_key(key, arch, suffix);
    return vd_gguf_get_str(gguf, key, ret);
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

/* One number for all layers or a list with one each, which may differ only where the architecture
 * says so. Absent: ret[] stays as it is. *ret_most: the largest of ret[]. */
static vd_status read_sizes(const vd_gguf *gguf, const char *arch, const char *suffix, size_t max,
                            const vd_hparams *hp, uint32_t ret[], size_t *ret_most, vd_err *err)
{
    char key[KEY_MAX];
    make_key(key, arch, suffix);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    size_t value = 0;
    vd_status st = VD_OK;
    if (kv != NULL && kv->type != VD_GGUF_TYPE_ARRAY)
        st = vd_hparams_u32(gguf, arch, suffix, 1, max, &value, err);
    else if (kv != NULL && kv->n_items != hp->n_layer)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s has %llu items for %zu layers", key,
                     (unsigned long long)kv->n_items, hp->n_layer);
    for (size_t i = 0; st == VD_OK && kv != NULL && i < hp->n_layer; i++) {
        uint64_t item = value;
        if (kv->type == VD_GGUF_TYPE_ARRAY && (!vd_gguf_item_u64(kv, i, &item) || item < 1 ||
                                               item > max))
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: item %zu is no number from 1 to %zu", key,
                           i, max);
        ret[i] = (uint32_t)item;
        if (ret[i] != ret[0] && !hp->block.uneven)
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: layers of %s are all of one size", key,
                           arch);
    }
    for (size_t i = 0; st == VD_OK && i < hp->n_layer; i++)
        *ret_most = VD_MAX(*ret_most, ret[i]);
    if (st == VD_OK && *ret_most == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "metadata key %s is missing", key);
    return st;
}

/* Heads and neurons of each layer. */
static vd_status read_layers(const vd_gguf *gguf, const char *arch, vd_hparams *hp, vd_err *err)
{
    uint32_t heads[VD_HPARAMS_LAYERS_MAX] = {0}, kv_heads[VD_HPARAMS_LAYERS_MAX],
             n_ff[VD_HPARAMS_LAYERS_MAX] = {0};
    vd_status st = read_sizes(gguf, arch, "feed_forward_length", VD_HPARAMS_WIDTH_MAX, hp, n_ff,
                              &hp->n_ff, err);
    if (st == VD_OK)
        st = read_sizes(gguf, arch, "attention.head_count", VD_HPARAMS_HEADS_MAX, hp, heads,
                        &hp->n_head, err);
    memcpy(kv_heads, heads, sizeof(heads));
    if (st == VD_OK)
        st = read_sizes(gguf, arch, "attention.head_count_kv", VD_HPARAMS_HEADS_MAX, hp, kv_heads,
                        &hp->n_kv_head, err);
    for (size_t i = 0; st == VD_OK && i < hp->n_layer; i++) {
        if (heads[i] % kv_heads[i] != 0)
            return VD_FAIL(err, VD_ERR_FORMAT, "%s.attention.head_count is %u, no multiple of "
                           "head_count_kv (%u)", arch, heads[i], kv_heads[i]);
        hp->sizes[i] = (struct vd_layer_sizes){heads[i], kv_heads[i], n_ff[i]};
    }
    return st;
}

static vd_status read_heads(const vd_gguf *gguf, const char *arch, vd_hparams *hp, vd_err *err)
{
    vd_status st = read_layers(gguf, arch, hp, err);
    if (st != VD_OK)
        return st;
    hp->head_dim = hp->n_embd / hp->sizes[0].n_head;
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
        .resid_scale = 1,
        .logit_scale = 1,
    };
    vd_status st =
        require_u32(gguf, arch, "block_count", VD_HPARAMS_LAYERS_MAX, &hp.n_layer, err);
    if (st == VD_OK)
        st = require_u32(gguf, arch, "embedding_length", VD_HPARAMS_WIDTH_MAX, &hp.n_embd, err);
    if (st == VD_OK)
        st = require_u32(gguf, arch, "context_length", UINT32_MAX, &hp.ctx_train, err);
    if (st == VD_OK)
        st = read_heads(gguf, arch, &hp, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, arch,
                            rms ? "attention.layer_norm_rms_epsilon"
                                : "attention.layer_norm_epsilon",
                            0, 1, &hp.norm_eps, err);
    if (st == VD_OK)
        st = vd_hparams_read_rope(gguf, arch, &hp, err);
    if (st == VD_OK)
        st = vd_hparams_read_moe(gguf, arch, &hp, err);
    if (st != VD_OK)
        return st;
    bool causal = !block->encoder;
    st = vd_hparams_bool(gguf, arch, "attention.causal", &causal, err);
    if (st == VD_OK && causal == block->encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s.attention.causal is %s; %s works the other way",
                     arch, causal ? "true" : "false", arch);
    if (st != VD_OK)
        return st;
    hp.n_vocab = vocab_size(gguf);
    hp.attn_scale = 1.0f / sqrtf((float)hp.head_dim);
    *ret_hp = hp;
    return VD_OK;
}

/* Every `period`-th layer sees everything, the others a window. */
static void set_period(vd_hparams *hp, size_t period)
{
    for (size_t i = 0; i < hp->n_layer; i++)
        hp->local[i] = i % period != period - 1;
}

vd_status vd_hparams_read_windows(const vd_gguf *gguf, const char *arch, size_t period,
                                  vd_hparams *hp, vd_err *err)
{
    vd_status st =
        vd_hparams_u32(gguf, arch, "attention.sliding_window", 0, UINT32_MAX, &hp->window, err);
    if (st != VD_OK || hp->window == 0)
        return st;
    char key[KEY_MAX];
    make_key(key, arch, "attention.sliding_window_pattern");
    const vd_gguf_kv *kv = vd_gguf_find(gguf, key);
    if (kv == NULL || kv->type != VD_GGUF_TYPE_ARRAY) {
        st = vd_hparams_u32(gguf, arch, "attention.sliding_window_pattern", 1,
                            VD_HPARAMS_LAYERS_MAX, &period, err);
        if (st == VD_OK)
            set_period(hp, period);
        return st;
    }
    if (kv->n_items != hp->n_layer)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s has %llu items for %zu layers", key,
                       (unsigned long long)kv->n_items, hp->n_layer);
    for (size_t i = 0; i < hp->n_layer; i++) {
        uint64_t local;
        if (!vd_gguf_item_u64(kv, i, &local) || local > 1)
            return VD_FAIL(err, VD_ERR_FORMAT, "%s: item %zu is neither true nor false", key, i);
        hp->local[i] = local == 1;
    }
    return VD_OK;
}
