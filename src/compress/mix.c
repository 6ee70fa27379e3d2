/* mix.c - see mix.h. The rules are tables: what a row says is the whole of it. */
#include "compress/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"

/* The parts of a model that rules speak of. ATTN_V is also what holds it: attn_qkv, attn_kv_b. */
typedef enum tensor_part {
    EMBED,
    OUTPUT,
    ATTN_Q,
    ATTN_K,
    ATTN_V,
    ATTN_OUTPUT,
    FFN_DOWN,
    FFN_GATE,
    FFN_UP,
    OTHER
} tensor_part;

/* i is the tensor's place among its like, n how many there are. */
typedef enum rule_when {
    ALWAYS,
    FIRST_2,
    FIRST_4,
    SIXTEENTH, /* i < n / 16 */
    EIGHTH,    /* i < n / 8 */
    MIDDLE,    /* neither the first nor the last eighth */
    MORE,      /* the first and last eighth, and every third between */
    GQA_4,     /* four or more query heads share a key */
    SHARED_4,  /* or there are four or more experts */
    EXPERTS_8, /* exactly eight */
    EXPERTS_8_MORE
} rule_when;

typedef enum rule_who { ANY, FALCON, NOT_FALCON } rule_who;

typedef struct rule {
    vd_file_number file;
    tensor_part part;
    rule_who who;
    rule_when when;
    vd_dtype dtype;
} rule;

/* What files of IQ1 and IQ2 share; `better` is what they have in some places. */
#define LOW(file, better)                                                                          \
    {file, EMBED, ANY, ALWAYS, better}, {file, ATTN_V, ANY, SHARED_4, VD_DTYPE_Q4_K},              \
        {file, ATTN_V, ANY, ALWAYS, better}, {file, ATTN_K, ANY, EXPERTS_8, VD_DTYPE_Q4_K},        \
        {file, FFN_DOWN, ANY, EIGHTH, better},                                                     \
    {                                                                                              \
        file, ATTN_OUTPUT, ANY, EXPERTS_8, VD_DTYPE_Q5_K                                           \
    }

/* The first that applies counts; without one a tensor has the file's own type. */
static const rule rules[] = {
    {VD_FILE_Q2_K, ATTN_V, ANY, GQA_4, VD_DTYPE_Q4_K},
    {VD_FILE_Q2_K, ATTN_V, ANY, ALWAYS, VD_DTYPE_Q3_K},
    {VD_FILE_Q2_K, FFN_DOWN, ANY, ALWAYS, VD_DTYPE_Q3_K},
    {VD_FILE_Q2_K, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_Q2_K, ATTN_OUTPUT, NOT_FALCON, ALWAYS, VD_DTYPE_Q3_K},

    {VD_FILE_Q3_K_S, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},

    {VD_FILE_Q3_K_M, ATTN_V, ANY, FIRST_2, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_M, ATTN_V, ANY, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_Q3_K_M, FFN_DOWN, ANY, SIXTEENTH, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_M, FFN_DOWN, NOT_FALCON, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_Q3_K_M, FFN_DOWN, FALCON, MORE, VD_DTYPE_Q4_K},
    {VD_FILE_Q3_K_M, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_M, ATTN_OUTPUT, NOT_FALCON, ALWAYS, VD_DTYPE_Q4_K},

    {VD_FILE_Q3_K_L, ATTN_V, ANY, ALWAYS, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_L, FFN_DOWN, NOT_FALCON, ALWAYS, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_L, FFN_DOWN, FALCON, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_Q3_K_L, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q3_K},
    {VD_FILE_Q3_K_L, ATTN_OUTPUT, NOT_FALCON, ALWAYS, VD_DTYPE_Q5_K},
    {VD_FILE_Q3_K_L, ATTN_OUTPUT, FALCON, ALWAYS, VD_DTYPE_Q4_K},

    {VD_FILE_Q4_K_S, ATTN_V, ANY, FIRST_4, VD_DTYPE_Q5_K},
    {VD_FILE_Q4_K_S, FFN_DOWN, NOT_FALCON, EIGHTH, VD_DTYPE_Q5_K},
    {VD_FILE_Q4_K_S, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},

    {VD_FILE_Q4_K_M, ATTN_V, ANY, MORE, VD_DTYPE_Q6_K},
    {VD_FILE_Q4_K_M, FFN_DOWN, NOT_FALCON, MORE, VD_DTYPE_Q6_K},
    {VD_FILE_Q4_K_M, FFN_DOWN, FALCON, SIXTEENTH, VD_DTYPE_Q6_K},
    {VD_FILE_Q4_K_M, FFN_DOWN, FALCON, MORE, VD_DTYPE_Q5_K},
    {VD_FILE_Q4_K_M, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},

    {VD_FILE_Q5_K_M, ATTN_V, ANY, MORE, VD_DTYPE_Q6_K},
    {VD_FILE_Q5_K_M, FFN_DOWN, ANY, MORE, VD_DTYPE_Q6_K},

    {VD_FILE_IQ3_S, ATTN_V, ANY, GQA_4, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_S, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},

    {VD_FILE_IQ3_M, ATTN_V, ANY, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_M, FFN_DOWN, ANY, EIGHTH, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_M, FFN_DOWN, ANY, EXPERTS_8_MORE, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_M, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_IQ3_M, ATTN_OUTPUT, NOT_FALCON, ALWAYS, VD_DTYPE_Q4_K},

    {VD_FILE_Q2_K_S, ATTN_V, ANY, GQA_4, VD_DTYPE_Q4_K},
    {VD_FILE_Q2_K_S, FFN_DOWN, ANY, EIGHTH, VD_DTYPE_Q4_K},

    {VD_FILE_IQ3_XS, ATTN_V, ANY, GQA_4, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_XS, ATTN_K, ANY, ALWAYS, VD_DTYPE_IQ3_XXS},
    {VD_FILE_IQ3_XS, ATTN_Q, ANY, ALWAYS, VD_DTYPE_IQ3_XXS},
    {VD_FILE_IQ3_XS, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_IQ3_XS, FFN_GATE, ANY, MIDDLE, VD_DTYPE_IQ3_XXS},
    {VD_FILE_IQ3_XS, FFN_UP, ANY, MIDDLE, VD_DTYPE_IQ3_XXS},

    {VD_FILE_IQ3_XXS, EMBED, ANY, ALWAYS, VD_DTYPE_IQ3_S},
    {VD_FILE_IQ3_XXS, ATTN_V, ANY, GQA_4, VD_DTYPE_Q4_K},
    {VD_FILE_IQ3_XXS, ATTN_K, ANY, ALWAYS, VD_DTYPE_IQ2_S},
    {VD_FILE_IQ3_XXS, ATTN_Q, ANY, ALWAYS, VD_DTYPE_IQ2_S},
    {VD_FILE_IQ3_XXS, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_IQ3_XXS, ATTN_OUTPUT, NOT_FALCON, ALWAYS, VD_DTYPE_IQ3_S},

    LOW(VD_FILE_IQ2_M, VD_DTYPE_IQ3_S),
    {VD_FILE_IQ2_M, ATTN_OUTPUT, ANY, ALWAYS, VD_DTYPE_IQ3_S},
    LOW(VD_FILE_IQ2_S, VD_DTYPE_IQ3_S),
    {VD_FILE_IQ2_S, ATTN_OUTPUT, ANY, ALWAYS, VD_DTYPE_IQ3_S},
    LOW(VD_FILE_IQ2_XS, VD_DTYPE_Q2_K),
    LOW(VD_FILE_IQ2_XXS, VD_DTYPE_Q2_K),
    LOW(VD_FILE_IQ1_M, VD_DTYPE_Q2_K),
    {VD_FILE_IQ1_M, ATTN_OUTPUT, ANY, ALWAYS, VD_DTYPE_IQ2_XXS},
    LOW(VD_FILE_IQ1_S, VD_DTYPE_Q2_K),
    {VD_FILE_IQ1_S, ATTN_OUTPUT, ANY, ALWAYS, VD_DTYPE_IQ2_XXS},

    {VD_FILE_IQ4_NL, ATTN_V, ANY, GQA_4, VD_DTYPE_Q5_K},
    {VD_FILE_IQ4_NL, FFN_DOWN, ANY, EIGHTH, VD_DTYPE_Q5_K},
    {VD_FILE_IQ4_NL, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},
    {VD_FILE_IQ4_XS, ATTN_V, ANY, GQA_4, VD_DTYPE_Q5_K},
    {VD_FILE_IQ4_XS, FFN_DOWN, ANY, EIGHTH, VD_DTYPE_Q5_K},
    {VD_FILE_IQ4_XS, ATTN_OUTPUT, NOT_FALCON, EXPERTS_8, VD_DTYPE_Q5_K},

    {VD_FILE_TQ1_0, EMBED, ANY, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_TQ2_0, EMBED, ANY, ALWAYS, VD_DTYPE_Q4_K},
    {VD_FILE_Q2_0, EMBED, ANY, ALWAYS, VD_DTYPE_Q4_K},
};

/* A matrix whose name has one of these in it stays as it is: norms, routers, positions, and small
 * parts of state-space, recurrent and multimodal models. */
static const char *const kept[] = {
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel",
    "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
    "indexer.q_proj.weight", "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight",
    "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
    "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
    "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd", "sam.pos_embd",
    "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
    "mm.a.code_embd"};

static const struct {
    const char *name; /* anywhere in a tensor's */
    tensor_part part;
} parts[] = {{"attn_qkv.weight", ATTN_V},       {"attn_kv_b.weight", ATTN_V},
             {"attn_v.weight", ATTN_V},         {"attn_k.weight", ATTN_K},
             {"attn_q.weight", ATTN_Q},         {"attn_output.weight", ATTN_OUTPUT},
             {"ffn_up", FFN_UP},                {"ffn_gate", FFN_GATE},
             {"ffn_down", FFN_DOWN}};

/* Where rows of 256 do not divide, rows of 32 may; where those do not, F16. */
static const struct {
    vd_dtype from, to;
} fallbacks[] = {{VD_DTYPE_IQ3_S, VD_DTYPE_IQ4_NL}, {VD_DTYPE_IQ4_XS, VD_DTYPE_IQ4_NL},
                 {VD_DTYPE_Q2_0, VD_DTYPE_Q4_0},    {VD_DTYPE_Q2_K, VD_DTYPE_Q4_0},
                 {VD_DTYPE_Q3_K, VD_DTYPE_Q4_0},    {VD_DTYPE_TQ1_0, VD_DTYPE_Q4_0},
                 {VD_DTYPE_TQ2_0, VD_DTYPE_Q4_0},   {VD_DTYPE_Q4_K, VD_DTYPE_Q5_0},
                 {VD_DTYPE_Q5_K, VD_DTYPE_Q5_1},    {VD_DTYPE_Q6_K, VD_DTYPE_Q8_0},
                 {VD_DTYPE_IQ3_XXS, VD_DTYPE_IQ4_NL}, {VD_DTYPE_IQ2_S, VD_DTYPE_IQ4_NL},
                 {VD_DTYPE_IQ2_XS, VD_DTYPE_IQ4_NL},  {VD_DTYPE_IQ2_XXS, VD_DTYPE_IQ4_NL},
                 {VD_DTYPE_IQ1_M, VD_DTYPE_IQ4_NL},   {VD_DTYPE_IQ1_S, VD_DTYPE_IQ4_NL}};

typedef struct mix {
    const vd_filetype *type;
    bool falcon, tied, like_70b;
    uint32_t n_layer, n_experts, heads_per_key;
    size_t i_attn_v, n_attn_v, i_ffn[3]; /* down, gate, up */
} mix;

static bool holds(vd_str name, const char *text)
{
    return memmem(name.data, name.n, text, strlen(text)) != NULL;
}

static tensor_part part_of(vd_str name)
{
    if (vd_str_is(name, "output.weight"))
        return OUTPUT;
    if (vd_str_is(name, "token_embd.weight") || vd_str_is(name, "per_layer_token_embd.weight"))
        return EMBED;
    for (size_t i = 0; i < VD_COUNT(parts); i++)
        if (holds(name, parts[i].name))
            return parts[i].part;
    return OTHER;
}

/* The layer in "blk.12.attn_q.weight", or -1. */
static int layer_of(vd_str name)
{
    char text[32];
    int layer;
    snprintf(text, sizeof(text), "%.*s", (int)VD_MIN(name.n, sizeof(text) - 1), name.data);
    return sscanf(text, "blk.%d.", &layer) == 1 ? layer : -1; /* NOLINT(cert-err34-c) */
}

static int by_layer_and_name(const void *a, const void *b)
{
    vd_str x = ((const vd_mix_entry *)a)->tensor->name, y = ((const vd_mix_entry *)b)->tensor->name;
    int i = layer_of(x), j = layer_of(y);
    if (i != j)
        return i < j ? -1 : 1;
    int order = memcmp(x.data, y.data, VD_MIN(x.n, y.n));
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}

static bool may_change(const vd_gguf_tensor *tensor)
{
    static const char end[] = "weight";
    vd_str name = tensor->name;
    size_t n = strlen(end), n_dims = 1;
    for (size_t i = 1; i < 4; i++)
        n_dims = tensor->dim[i] > 1 ? i + 1 : n_dims;
    if (n_dims < 2 || name.n < n || memcmp(name.data + name.n - n, end, n) != 0 ||
        !vd_dtype_decodable(tensor->dtype))
        return false;
    for (size_t i = 0; i < VD_COUNT(kept); i++)
        if (holds(name, kept[i]))
            return false;
    return !vd_str_is(name, "position_embd.weight") && !vd_str_is(name, "token_types.weight");
}

static bool more_bits(size_t i, size_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static bool applies(const mix *m, rule_when when, size_t i, size_t n)
{
    switch (when) {
    case ALWAYS:
        return true;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case SIXTEENTH:
        return i < n / 16;
    case EIGHTH:
        return i < n / 8;
    case MIDDLE:
        return i >= n / 8 && i < 7 * n / 8;
    case MORE:
        return more_bits(i, n);
    case GQA_4:
        return m->heads_per_key >= 4;
    case SHARED_4:
        return m->heads_per_key >= 4 || m->n_experts >= 4;
    case EXPERTS_8:
        return m->n_experts == 8;
    case EXPERTS_8_MORE:
        return m->n_experts == 8 && more_bits(i, n);
    }
    return false;
}

static vd_dtype by_rule(const mix *m, tensor_part part, size_t i, size_t n)
{
    for (size_t r = 0; r < VD_COUNT(rules); r++)
        if (rules[r].file == m->type->number && rules[r].part == part &&
            (rules[r].who == ANY || (rules[r].who == FALCON) == m->falcon) &&
            applies(m, rules[r].when, i, n))
            return rules[r].dtype;
    return m->type->dtype;
}

/* Files of IQ1 and IQ2, which have rules of their own for models with experts. */
static bool is_low(const vd_filetype *type)
{
    return type->dtype == VD_DTYPE_IQ2_S || type->dtype == VD_DTYPE_IQ2_XS ||
           type->dtype == VD_DTYPE_IQ2_XXS || type->dtype == VD_DTYPE_IQ1_M ||
           type->dtype == VD_DTYPE_IQ1_S;
}

static vd_dtype output_type(const mix *m, const vd_gguf_tensor *tensor)
{
    if (m->type->number == VD_FILE_MXFP4_MOE || m->falcon ||
        tensor->dim[0] % vd_dtype_get(m->type->dtype)->block != 0)
        return VD_DTYPE_Q8_0;
    if (is_low(m->type) || m->type->number == VD_FILE_IQ3_XXS)
        return VD_DTYPE_Q5_K;
    return m->type->dtype == VD_DTYPE_Q8_0 ? VD_DTYPE_Q8_0 : VD_DTYPE_Q6_K;
}

static vd_dtype wanted_type(mix *m, const vd_gguf_tensor *tensor)
{
    tensor_part part = part_of(tensor->name);
    size_t i = 0, n = m->n_layer;
    if (part == OUTPUT || (part == EMBED && m->tied))
        return output_type(m, tensor);
    if (m->type->number == VD_FILE_MXFP4_MOE)
        return tensor->dim[2] > 1 ? VD_DTYPE_MXFP4 : VD_DTYPE_Q8_0;
    if (part == ATTN_V) {
        i = m->i_attn_v++;
        n = m->n_attn_v;
    } else if (part == FFN_DOWN || part == FFN_GATE || part == FFN_UP) {
        i = m->i_ffn[part - FFN_DOWN]++;
        if (m->n_experts > 1 && !is_low(m->type)) /* several such tensors in a layer */
            i = (size_t)VD_MAX(layer_of(tensor->name), 0);
    }
    vd_dtype dtype = by_rule(m, part, i, n);
    if (is_low(m->type))
        return dtype;
    if (part == ATTN_V && m->like_70b && (dtype == VD_DTYPE_Q3_K || dtype == VD_DTYPE_Q4_K))
        dtype = VD_DTYPE_Q5_K;
    if ((part == ATTN_V || part == ATTN_K) && m->n_experts == 8)
        dtype = VD_DTYPE_Q8_0;
    return dtype;
}

/* Embeddings and the output matrix are let through, as by llama.cpp: importance files do not know
 * them. */
static bool needs_weights(const vd_filetype *type, const vd_mix_entry *entry)
{
    tensor_part part = part_of(entry->tensor->name);
    bool q2_k_s = type != NULL && type->number == VD_FILE_Q2_K_S && entry->dtype == VD_DTYPE_Q2_K;
    return part != EMBED && part != OUTPUT && (q2_k_s || vd_encode_needs_weights(entry->dtype));
}

vd_status vd_mix_refuse_unweighted(const vd_mix_entry *entry, const char *imatrix,
                                   const char *calib, vd_err *err)
{
    vd_str name = entry->tensor->name;
    const char *type = vd_encode_needs_weights(entry->dtype) ? vd_dtype_name(entry->dtype)
                                                             : "a matrix of a Q2_K_S file";
    if (imatrix == NULL && calib == NULL)
        return VD_FAIL(err, VD_ERR_ARG, "tensor %.*s: %s is of no use where nobody knows what it "
                       "reads: add a text, --calib FILE, or an importance file, --imatrix FILE",
                       (int)name.n, name.data, type);
    return VD_FAIL(err, VD_ERR_ARG, "%s does not tell what tensor %.*s reads, which %s needs: give "
                   "it another type, with --tensor-type", imatrix != NULL ? imatrix : calib,
                   (int)name.n, name.data, type);
}

/* The type for rows that must be whole blocks. */
static vd_status suit_rows(const vd_gguf_tensor *tensor, vd_dtype *dtype, vd_err *err)
{
    if (tensor->dim[0] % vd_dtype_get(*dtype)->block == 0)
        return VD_OK;
    if (*dtype == VD_DTYPE_Q1_0)
        return VD_FAIL(err, VD_ERR_ARG,
                       "rows of %.*s have %llu values, no multiple of the 128 that Q1_0 needs; "
                       "choose another type", (int)tensor->name.n, tensor->name.data,
                       (unsigned long long)tensor->dim[0]);
    vd_dtype other = VD_DTYPE_F16;
    for (size_t i = 0; i < VD_COUNT(fallbacks); i++)
        if (fallbacks[i].from == *dtype &&
            tensor->dim[0] % vd_dtype_get(fallbacks[i].to)->block == 0)
            other = fallbacks[i].to;
    *dtype = other;
    return VD_OK;
}

static uint32_t key_u32(const vd_gguf *gguf, vd_str arch, const char *key)
{
    char name[128];
    uint32_t value = 0;
    uint64_t first = 0;
    snprintf(name, sizeof(name), "%.*s.%s", (int)VD_MIN(arch.n, 60), arch.data, key);
    const vd_gguf_kv *kv = vd_gguf_find(gguf, name);
    if (kv != NULL && kv->type == VD_GGUF_TYPE_ARRAY && vd_gguf_item_u64(kv, 0, &first))
        return (uint32_t)first; /* one per layer: the first stands for all */
    (void)vd_gguf_get_u32(gguf, name, &value);
    return value;
}

static void read_model(const vd_gguf *gguf, mix *m)
{
    vd_str arch = {"", 0};
    (void)vd_gguf_get_str(gguf, "general.architecture", &arch);
    uint32_t n_heads = key_u32(gguf, arch, "attention.head_count");
    uint32_t n_keys = key_u32(gguf, arch, "attention.head_count_kv");
    n_keys = n_keys != 0 ? n_keys : n_heads;
    m->falcon = vd_str_is(arch, "falcon");
    m->n_layer = key_u32(gguf, arch, "block_count");
    m->n_experts = key_u32(gguf, arch, "expert_count");
    m->heads_per_key = n_keys != 0 ? n_heads / n_keys : 0;
    m->tied = vd_gguf_find_tensor(gguf, "output.weight") == NULL;
    m->like_70b = m->n_layer == 80 && ((vd_str_is(arch, "llama") && n_heads != n_keys) ||
                                       vd_str_is(arch, "qwen2") || vd_str_is(arch, "deci"));
}

/* What the user wants goes before the mixture, and never falls back. */
static vd_status override(vd_types *types, vd_mix_entry *entry, bool may, bool *ret_done,
                          vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_wanted wanted;
    *ret_done = types != NULL && vd_types_find(types, tensor->name, may, &wanted);
    if (!*ret_done)
        return VD_OK;
    vd_dtype dtype = wanted.dtype;
    if (wanted.keep < 1 && !entry->in_layer)
        return VD_FAIL(err, VD_ERR_ARG, "tensor %.*s is no matrix of a layer, which alone may have "
                       "a keep-rate", (int)tensor->name.n, tensor->name.data);
    if (tensor->dim[0] % vd_dtype_get(dtype)->block != 0)
        return VD_FAIL(err, VD_ERR_ARG, "rows of %.*s have %llu values, no multiple of the %u that "
                       "%s needs", (int)tensor->name.n, tensor->name.data,
                       (unsigned long long)tensor->dim[0], (unsigned)vd_dtype_get(dtype)->block,
                       vd_dtype_name(dtype));
    entry->dtype = dtype;
    entry->keep = wanted.keep;
    return VD_OK;
}

vd_status vd_mix_choose(const vd_gguf *gguf, const vd_filetype *type,
                        const vd_mix_options *options, vd_mix_entry *entries, vd_err *err)
{
    mix m = {.type = type};
    size_t n = vd_gguf_n_tensors(gguf);
    vd_status st = VD_OK;
    read_model(gguf, &m);
    for (size_t i = 0; i < n; i++) {
        entries[i] = (vd_mix_entry){.tensor = vd_gguf_tensor_at(gguf, i)};
        m.n_attn_v += part_of(entries[i].tensor->name) == ATTN_V;
    }
    if (n > 0)
        qsort(entries, n, sizeof(*entries), by_layer_and_name);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        vd_mix_entry *entry = &entries[i];
        entry->dtype = entry->tensor->dtype;
        entry->keep = 1;
        entry->layer = layer_of(entry->tensor->name);
        bool may = may_change(entry->tensor), done;
        entry->may_change = may;
        entry->in_layer = may && entry->layer >= 0;
        vd_dtype wanted = type != NULL ? type->dtype : VD_DTYPE_F32;
        if (may && type != NULL && !options->pure &&
            vd_dtype_get(type->dtype)->block > 1) /* floats are never mixed */
            wanted = wanted_type(&m, entry->tensor); /* counts its like, also what is overridden */
        st = override(options->types, entry, may, &done, err);
        if (st == VD_OK && !done && may && type != NULL) {
            vd_dtype dtype = wanted;
            st = suit_rows(entry->tensor, &dtype, err);
            entry->dtype = dtype;
            entry->fell_back = dtype != wanted;
        }
        entry->needs_weights = needs_weights(type, entry);
    }
    return st == VD_OK && options->types != NULL ? vd_types_check_used(options->types, err) : st;
}
