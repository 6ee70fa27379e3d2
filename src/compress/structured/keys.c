/* keys.c - see keys.h. */
#include "compress/structured/keys.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

enum { KEY_MAX = 128 };
static const char per_layer_arch[] = "deci";

/* A key of the architecture whose value is new. */
typedef enum counted {
    BLOCK_COUNT, WIDTH, NEURONS, HEADS, KV_HEADS, KEY_LENGTH, VALUE_LENGTH, ROTATED, N_COUNTED
} counted;

static const char *const suffixes[N_COUNTED] = {
    [BLOCK_COUNT] = "block_count",
    [WIDTH] = "embedding_length",
    [NEURONS] = "feed_forward_length",
    [HEADS] = "attention.head_count",
    [KV_HEADS] = "attention.head_count_kv",
    [KEY_LENGTH] = "attention.key_length",
    [VALUE_LENGTH] = "attention.value_length",
    [ROTATED] = "rope.dimension_count",
};

/* A file says so by its sizes alone: deci reads no other key of Llama's than it has. */
bool vd_keys_can_be_uneven(const vd_cut_plan *p)
{
    return (strcmp(p->arch->name, "llama") == 0 || strcmp(p->arch->name, per_layer_arch) == 0) &&
           p->hp.moe.n_experts == 0;
}

static const char *new_arch(const vd_cut_plan *p)
{
    return vd_cut_plan_is_uneven(p) ? per_layer_arch : p->arch->name;
}

static bool heads_or_width_change(const vd_cut_plan *p)
{
    bool change = p->width.n < p->width.n_all;
    for (size_t i = 0; i < p->n_layer; i++)
        change = change || p->groups[i].n < p->groups[i].n_all;
    return change;
}

/* Whether the key is written even where the source has none. */
static bool is_needed(const vd_cut_plan *p, counted what)
{
    bool spelled_out = heads_or_width_change(p) || vd_cut_plan_is_uneven(p);
    if (what == KEY_LENGTH || what == VALUE_LENGTH)
        return spelled_out;
    if (what == ROTATED)
        return spelled_out && p->hp.block.rotation != VD_ROTATION_NONE;
    if (what == KV_HEADS)
        return vd_cut_plan_is_uneven(p);
    return false;
}

static size_t count_of(const vd_cut_plan *p, counted what, size_t layer)
{
    switch (what) {
    case BLOCK_COUNT:
        return p->n_layer_new;
    case WIDTH:
        return p->width.n;
    case NEURONS:
        return p->neurons[layer].n;
    case HEADS:
        return p->groups[layer].n * p->group[layer];
    case KV_HEADS:
        return p->groups[layer].n;
    case ROTATED:
        return p->hp.rope.n_rot;
    default:
        return p->hp.head_dim;
    }
}

/* The first layer of the source that stays. */
static size_t first_layer(const vd_cut_plan *p)
{
    size_t i = 0;
    while (i + 1 < p->n_layer && p->new_layer[i] == SIZE_MAX)
        i++;
    return i;
}

static void put_count(const vd_cut_plan *p, vd_gguf_out *out, counted what)
{
    char key[KEY_MAX];
    bool per_layer = what == NEURONS || what == HEADS || what == KV_HEADS;
    bool listed = vd_cut_plan_is_uneven(p) && per_layer;
    snprintf(key, sizeof(key), "%s.%s", new_arch(p), suffixes[what]);
    if (!listed) {
        vd_gguf_out_u32(out, key, (uint32_t)count_of(p, what, first_layer(p)));
        return;
    }
    vd_gguf_out_array(out, key, VD_GGUF_TYPE_I32, p->n_layer_new);
    for (size_t i = 0; i < p->n_layer; i++)
        if (p->new_layer[i] != SIZE_MAX)
            vd_gguf_out_item_i32(out, (int32_t)count_of(p, what, i));
}

/* The items of the layers that stay. */
static vd_status put_items(const vd_cut_plan *p, vd_gguf_out *out, const char *key,
                           const vd_gguf_kv *kv, vd_err *err)
{
    bool is_float = kv->item_type == VD_GGUF_TYPE_F32;
    bool is_bool = kv->item_type == VD_GGUF_TYPE_BOOL;
    vd_gguf_out_array(out, key, is_float || is_bool ? kv->item_type : VD_GGUF_TYPE_I32,
                      p->n_layer_new);
    for (size_t i = 0; i < p->n_layer; i++) {
        int64_t whole = 0;
        double value = 0;
        if (p->new_layer[i] == SIZE_MAX)
            continue;
        if (is_float ? !vd_gguf_item_f64(kv, i, &value)
                     : !vd_gguf_item_i64(kv, i, &whole) || whole != (int32_t)whole)
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "metadata key %s: a list of that kind cannot "
                           "be cut", key);
        if (is_float)
            vd_gguf_out_item_f32(out, (float)value);
        else if (is_bool)
            vd_gguf_out_item_bool(out, whole != 0);
        else
            vd_gguf_out_item_i32(out, (int32_t)whole);
    }
    return VD_OK;
}

static vd_status put_key(const vd_cut_plan *p, vd_gguf_out *out, const vd_gguf_kv *kv,
                         bool written[N_COUNTED], vd_err *err)
{
    char prefix[KEY_MAX], key[KEY_MAX];
    int n = snprintf(prefix, sizeof(prefix), "%s.", p->arch->name);
    if (vd_str_starts(kv->key, "split."))
        return VD_OK;
    if (vd_str_is(kv->key, "general.architecture")) {
        vd_gguf_out_str(out, "general.architecture", new_arch(p));
        return VD_OK;
    }
    if (!vd_str_starts(kv->key, prefix)) {
        vd_gguf_out_kv(out, kv);
        return VD_OK;
    }
    vd_str rest = {kv->key.data + n, kv->key.n - (size_t)n};
    if (rest.n >= KEY_MAX / 2)
        return VD_FAIL(err, VD_ERR_LIMIT, "metadata key %.*s is too long", (int)kv->key.n,
                       kv->key.data);
    snprintf(key, sizeof(key), "%s.%.*s", new_arch(p), (int)rest.n, rest.data);
    for (size_t i = 0; i < N_COUNTED; i++)
        if (vd_str_is(rest, suffixes[i])) {
            put_count(p, out, (counted)i);
            written[i] = true;
            return VD_OK;
        }
    if (kv->type == VD_GGUF_TYPE_ARRAY && kv->n_items == p->n_layer &&
        p->n_layer_new < p->n_layer)
        return put_items(p, out, key, kv, err);
    vd_gguf_kv renamed = *kv;
    renamed.key = (vd_str){key, strlen(key)};
    vd_gguf_out_kv(out, &renamed);
    return VD_OK;
}

vd_status vd_keys_write(const vd_cut_plan *p, vd_gguf_out *out, vd_err *err)
{
    bool written[N_COUNTED] = {false};
    vd_status st = VD_OK;
    if (vd_cut_plan_is_uneven(p) && !vd_keys_can_be_uneven(p))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s cannot have layers of different sizes",
                       p->arch->name);
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_kv(p->gguf); i++)
        st = put_key(p, out, vd_gguf_kv_at(p->gguf, i), written, err);
    for (size_t i = 0; st == VD_OK && i < N_COUNTED; i++)
        if (!written[i] && is_needed(p, (counted)i))
            put_count(p, out, (counted)i);
    return st;
}
