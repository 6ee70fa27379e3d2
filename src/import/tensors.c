/* tensors.c - see tensors.h. */
#include "import/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "import/match.h"

enum { LAYER_LAST = 1 << 24, EXPERTS_MAX = 4096 };

typedef struct maker {
    vd_plan *plan;
    const vd_family *family;
    const vd_config *config;
    const vd_checkpoint *checkpoint;
    vd_dtype type;
    bool tied;
    uint32_t n_layer, n_experts, n_head, n_kv_head;
} maker;

void vd_plan_done(vd_plan *plan)
{
    vd_arena_done(&plan->arena);
    vd_free(plan->tensor);
    *plan = (vd_plan){0};
}

vd_dtype vd_plan_natural_type(const vd_checkpoint *checkpoint)
{
    for (size_t i = 0; i < vd_checkpoint_n(checkpoint); i++) {
        const vd_st_tensor *t = vd_checkpoint_at(checkpoint, i);
        if (t->n_dims < 2)
            continue;
        if (t->dtype == VD_ST_F16)
            return VD_DTYPE_F16;
        if (t->dtype == VD_ST_BF16 || t->dtype == VD_ST_F8_E4M3 || t->dtype == VD_ST_F8_E5M2)
            return VD_DTYPE_BF16;
        break;
    }
    return VD_DTYPE_F32;
}

static vd_status add(vd_plan *plan, vd_out_tensor **ret, vd_err *err)
{
    if (plan->n == plan->capacity) {
        size_t capacity = 2 * plan->capacity + 64;
        vd_out_tensor *bigger = vd_realloc(plan->tensor, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a list of %zu tensors", capacity);
        plan->tensor = bigger;
        plan->capacity = capacity;
    }
    *ret = &plan->tensor[plan->n++];
    **ret = (vd_out_tensor){.layer = -1, .order = plan->n, .dim = {1, 1, 1, 1}};
    return VD_OK;
}

vd_status vd_plan_literal(vd_plan *plan, const char *name, const float *values, size_t n,
                          vd_err *err)
{
    vd_out_tensor *t = NULL;
    vd_status st = add(plan, &t, err);
    if (st != VD_OK || t == NULL)
        return st;
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->n_dims = 1;
    t->dim[0] = n;
    t->dtype = VD_DTYPE_F32;
    t->literal = values;
    return VD_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

static void set_name(vd_out_tensor *t, const vd_match *m, const char *to)
{
    if (m->layer >= 0)
        snprintf(t->name, sizeof(t->name), "blk.%d.%s.%s", m->layer, to, m->suffix);
    else
        snprintf(t->name, sizeof(t->name), "%s.%s", to, m->suffix);
    t->layer = m->layer;
    if (m->layer < 0 && strncmp(to, "output", 6) == 0)
        t->layer = LAYER_LAST;
}

/* Vectors, norms, biases, routers and positions stay F32. */
static vd_dtype type_of(const maker *k, const vd_out_tensor *t)
{
    static const char *const exact[] = {"_norm.weight", "ffn_gate_inp.weight",
                                        "ffn_gate_inp_shexp.weight", "position_embd.weight",
                                        "token_types.weight"};
    if (t->n_dims < 2 || !ends_with(t->name, ".weight"))
        return VD_DTYPE_F32;
    for (size_t i = 0; i < VD_COUNT(exact); i++)
        if (ends_with(t->name, exact[i]))
            return VD_DTYPE_F32;
    return k->type;
}

/* Of "x.weight": "x.weight_scale_inv" or "x.weight_scale". */
static vd_status find_scale(const maker *k, const vd_st_tensor *t, const vd_st_tensor **ret,
                            vd_err *err)
{
    static const char *const ends[] = {"_scale_inv", "_scale"};
    char name[512];
    *ret = NULL;
    if (t->dtype != VD_ST_F8_E4M3 && t->dtype != VD_ST_F8_E5M2)
        return VD_OK;
    for (size_t i = 0; *ret == NULL && i < VD_COUNT(ends); i++) {
        snprintf(name, sizeof(name), "%.480s%s", t->name.data, ends[i]);
        *ret = vd_checkpoint_find(k->checkpoint, name);
    }
    if (*ret != NULL && (*ret)->dtype > VD_ST_LAST_FLOAT)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s is of type %s; floats are expected",
                       name, vd_st_dtype_name((*ret)->dtype));
    return VD_OK;
}

static vd_status take_sources(const maker *k, vd_out_tensor *t, size_t n, vd_err *err)
{
    t->n_sources = n;
    return vd_arena_array(&k->plan->arena, n, sizeof(*t->source), "sources of a tensor",
                          &t->source, err);
}

/* Dimensions in the other order. */
static vd_status set_dims(vd_out_tensor *t, const vd_st_tensor *from, vd_err *err)
{
    if (from->n_dims == 0 || from->n_dims > 3)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s has %u dimensions; 1 to 3 are expected",
                       from->name.data, from->n_dims);
    t->n_dims = from->n_dims;
    for (uint32_t i = 0; i < from->n_dims; i++)
        t->dim[i] = from->dim[from->n_dims - 1 - i];
    if (t->n_dims == 2 && t->dim[1] == 1 && ends_with(t->name, "_shexp.weight")) {
        t->n_dims = 1; /* a router of one row */
    }
    return VD_OK;
}

static vd_status set_ops(const maker *k, const vd_match *m, const vd_st_tensor *from,
                         vd_out_tensor *t, vd_err *err)
{
    unsigned op = m->rule->op;
    bool vector = from->n_dims < 2;
    t->plus_one = (k->family->flags & VD_FAMILY_NORM_PLUS_ONE) != 0 &&
                  ends_with(t->name, "_norm.weight");
    if ((op & VD_RULE_TRANSPOSE) != 0 && !vector) {
        if (from->n_dims != 2)
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s must have two dimensions",
                           from->name.data);
        t->op = VD_RULE_TRANSPOSE;
        t->dim[0] = from->dim[0];
        t->dim[1] = from->dim[1];
    }
    if ((op & (VD_RULE_Q | VD_RULE_K)) != 0 && (k->family->flags & VD_FAMILY_PERMUTED) != 0) {
        t->op = op & (VD_RULE_Q | VD_RULE_K);
        t->n_heads = t->op == VD_RULE_Q ? k->n_head : k->n_kv_head;
        uint64_t rows = vector ? t->dim[0] : t->dim[1];
        if (from->n_dims > 2 || t->n_heads == 0 || rows % (2 * (uint64_t)t->n_heads) != 0)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "tensor %s has %llu rows, no even number for each of %u heads",
                           from->name.data, (unsigned long long)rows, t->n_heads);
    }
    return VD_OK;
}

/* The tensor that the experts of a layer go into, made by the first of them. */
static vd_status add_expert(const maker *k, const vd_match *m, const vd_st_tensor *from,
                            vd_err *err)
{
    vd_out_tensor name, *t = NULL;
    const vd_st_tensor *scale = NULL;
    vd_status st = find_scale(k, from, &scale, err);
    if (st != VD_OK)
        return st;
    if ((uint32_t)m->expert >= k->n_experts)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: config.json says %u experts",
                       from->name.data, k->n_experts);
    set_name(&name, m, m->rule->to);
    for (size_t i = k->plan->n; t == NULL && i-- > 0;)
        if (k->plan->tensor[i].layer == m->layer && strcmp(k->plan->tensor[i].name, name.name) == 0)
            t = &k->plan->tensor[i];
    if (t == NULL) {
        st = add(k->plan, &t, err);
        if (st == VD_OK)
            st = take_sources(k, t, k->n_experts, err);
        if (st != VD_OK)
            return st;
        set_name(t, m, m->rule->to);
        st = set_dims(t, from, err);
        if (st == VD_OK && from->n_dims != 2)
            st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %s must have two dimensions",
                         from->name.data);
        t->n_dims = 3;
        t->dim[2] = k->n_experts;
        t->dtype = type_of(k, t);
    }
    if (st == VD_OK && (from->n_dims != 2 || from->dim[0] != t->dim[1] ||
                        from->dim[1] != t->dim[0]))
        st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %s has another shape than the experts before it",
                     from->name.data);
    if (st == VD_OK)
        t->source[m->expert] = (vd_source){from, scale, 0};
    return st;
}

/* Half of the rows of each expert: `second` of the two. */
static vd_status add_half(const maker *k, const vd_match *m, const vd_st_tensor *from,
                          bool second, vd_err *err)
{
    vd_out_tensor *t = NULL;
    const vd_st_tensor *scale = NULL;
    if (from->n_dims != 3 || from->dim[1] % 2 != 0 || from->dim[0] == 0 ||
        from->dim[0] > EXPERTS_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s must have three dimensions: experts, two halves of rows, columns",
                       from->name.data);
    vd_status st = find_scale(k, from, &scale, err);
    if (st == VD_OK)
        st = add(k->plan, &t, err);
    if (st == VD_OK)
        st = take_sources(k, t, (size_t)from->dim[0], err);
    if (st != VD_OK)
        return st;
    set_name(t, m, second ? "ffn_up_exps" : m->rule->to);
    t->n_dims = 3;
    t->dim[0] = from->dim[2];
    t->dim[1] = from->dim[1] / 2;
    t->dim[2] = from->dim[0];
    t->dtype = type_of(k, t);
    for (size_t e = 0; e < t->n_sources; e++)
        t->source[e] = (vd_source){from, scale, (2 * e + second) * t->dim[1]};
    return VD_OK;
}

static vd_status add_plain(const maker *k, const vd_match *m, const vd_st_tensor *from,
                           vd_err *err)
{
    vd_out_tensor *t = NULL;
    const vd_st_tensor *scale = NULL;
    vd_status st = find_scale(k, from, &scale, err);
    if (st == VD_OK)
        st = add(k->plan, &t, err);
    if (st == VD_OK)
        st = take_sources(k, t, 1, err);
    if (st != VD_OK)
        return st;
    set_name(t, m, m->rule->to);
    t->source[0] = (vd_source){from, scale, 0};
    st = set_dims(t, from, err);
    if (st == VD_OK)
        st = set_ops(k, m, from, t, err);
    t->dtype = type_of(k, t);
    if (st != VD_OK || strcmp(t->name, "token_embd.weight") != 0)
        return st;
    if (t->n_dims != 2)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s must have two dimensions", from->name.data);
    k->plan->n_vocab = (uint32_t)VD_MIN(t->dim[1], UINT32_MAX);
    return VD_OK;
}

/* A scale of the tensor before it, or of activations: not a tensor of its own. */
static bool is_scale(const char *name)
{
    static const char *const ends[] = {".weight_scale", ".weight_scale_inv", ".input_scale",
                                       ".output_scale", ".activation_scale", ".k_scale",
                                       ".v_scale", "_proj_scale", "_proj_scale_inv"};
    for (size_t i = 0; i < VD_COUNT(ends); i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}

static vd_status place(const maker *k, const vd_st_tensor *from, vd_err *err)
{
    vd_match m;
    if (is_scale(from->name.data))
        return VD_OK;
    if (!vd_match_name(k->family, from->name.data, &m))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s has no place in architecture %s",
                       from->name.data, k->family->arch);
    if ((m.rule->op & VD_RULE_DROP) != 0)
        return VD_OK;
    if (k->tied && strcmp(m.rule->to, "output") == 0)
        return VD_OK;
    if (from->dtype > VD_ST_LAST_FLOAT)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s is of type %s: weights that another "
                       "program quantized are not imported", from->name.data,
                       vd_st_dtype_name(from->dtype));
    if (from->n_bytes == 0) /* its shape may still say anything */
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s has no values", from->name.data);
    if (m.layer >= 0 && (uint32_t)m.layer >= k->n_layer)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: config.json says %u layers",
                       from->name.data, k->n_layer);
    if (m.expert >= 0)
        return add_expert(k, &m, from, err);
    if ((m.rule->op & VD_RULE_GATE_UP) == 0)
        return add_plain(k, &m, from, err);
    vd_status st = add_half(k, &m, from, false, err);
    return st == VD_OK ? add_half(k, &m, from, true, err) : st;
}

static int by_layer(const void *a, const void *b)
{
    const vd_out_tensor *x = a, *y = b;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(vd_out_tensor *const *)a)->name, (*(vd_out_tensor *const *)b)->name);
}

/* Two tensors of the checkpoint that would be one here. */
static vd_status check_names(const vd_plan *plan, vd_err *err)
{
    vd_out_tensor **sorted = NULL;
    vd_status st = vd_alloc_array(plan->n, sizeof(*sorted), "a list of tensors", &sorted, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < plan->n; i++)
        sorted[i] = &plan->tensor[i];
    qsort(sorted, plan->n, sizeof(*sorted), by_name);
    for (size_t i = 1; st == VD_OK && i < plan->n; i++)
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            st = VD_FAIL(err, VD_ERR_FORMAT, "two tensors of the checkpoint would be %s",
                         sorted[i]->name);
    vd_free(sorted);
    return st;
}

/* Each layer has as many tensors as the first, and each stack all of its experts. */
static vd_status check_whole(const maker *k, vd_err *err)
{
    const vd_plan *plan = k->plan;
    size_t first = 0, at = 0;
    if (plan->n_vocab == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "the checkpoint has no embeddings of tokens");
    while (at < plan->n && plan->tensor[at].layer < 0)
        at++;
    for (uint32_t layer = 0; layer < k->n_layer; layer++) {
        size_t n = 0;
        for (; at < plan->n && plan->tensor[at].layer == (int)layer; at++)
            n++;
        first = layer == 0 ? n : first;
        if (n == 0 || n != first)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "the checkpoint has %zu tensors of layer %u and %zu of layer 0; "
                           "config.json says %u layers", n, layer, first, k->n_layer);
    }
    for (size_t i = 0; i < plan->n; i++)
        for (size_t e = 0; e < plan->tensor[i].n_sources; e++)
            if (plan->tensor[i].source[e].tensor == NULL)
                return VD_FAIL(err, VD_ERR_FORMAT, "expert %zu of %s is missing", e,
                               plan->tensor[i].name);
    return VD_OK;
}

static void count_values(vd_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const vd_out_tensor *t = &plan->tensor[i];
        uint64_t n = t->dim[0] * t->dim[1] * t->dim[2];
        plan->n_values += n;
        if (strstr(t->name, "_exps.") != NULL)
            plan->n_expert_values += n;
    }
}

static vd_status read_numbers(maker *k, vd_err *err)
{
    const json_t *quant = vd_config_find(k->config, "quantization_config");
    const json_t *block = json_object_get(quant, "weight_block_size");
    vd_status st = vd_config_need(k->config, "num_hidden_layers n_layer", &k->n_layer, err);
    if (st == VD_OK)
        st = vd_config_need(k->config, "num_attention_heads n_head", &k->n_head, err);
    k->n_kv_head = k->n_head;
    if (st == VD_OK)
        st = vd_config_u32(k->config, "num_key_value_heads", &k->n_kv_head, err);
    if (st == VD_OK)
        st = vd_config_u32(k->config, "num_local_experts num_experts", &k->n_experts, err);
    if (st == VD_OK && k->n_experts > EXPERTS_MAX)
        st = VD_FAIL(err, VD_ERR_LIMIT, "config.json: %u experts; at most %d are possible",
                     k->n_experts, EXPERTS_MAX);
    k->tied = (k->family->flags & VD_FAMILY_TIED) != 0;
    if (st == VD_OK)
        st = vd_config_bool(k->config, "tie_word_embeddings", &k->tied, err);
    for (size_t i = 0; i < 2; i++) {
        json_int_t size = json_integer_value(json_array_get(block, i));
        k->plan->block[i] = size > 0 && size <= 1 << 20 ? (uint32_t)size : 128;
    }
    return st;
}

vd_status vd_plan_make(const vd_family *family, const vd_config *config,
                       const vd_checkpoint *checkpoint, vd_dtype type, vd_plan *ret_plan,
                       vd_err *err)
{
    vd_plan plan = {0};
    maker k = {&plan, family, config, checkpoint, type};
    vd_arena_init(&plan.arena, SIZE_MAX / 2);
    vd_status st = read_numbers(&k, err);
    for (size_t i = 0; st == VD_OK && i < vd_checkpoint_n(checkpoint); i++)
        st = place(&k, vd_checkpoint_at(checkpoint, i), err);
    if (st == VD_OK)
        st = vd_plan_rope(&plan, family, config, err);
    if (st == VD_OK) {
        qsort(plan.tensor, plan.n, sizeof(*plan.tensor), by_layer);
        st = check_names(&plan, err);
    }
    if (st == VD_OK)
        st = check_whole(&k, err);
    if (st != VD_OK) {
        vd_plan_done(&plan);
        return st;
    }
    count_values(&plan);
    *ret_plan = plan;
    return VD_OK;
}
