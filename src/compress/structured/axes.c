/* axes.c - see axes.h. */
#include "compress/structured/axes.h"

#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

/* What an axis runs over: C the width, F neurons, G gate and up where they are one tensor, Q the
 * values of all query heads, K those of the KV heads, X queries, keys and values in one, h and k
 * the heads themselves, - nothing that is cut. */
static const struct {
    const char *base;
    char in, out; /* of a matrix; a vector has `out` alone */
} known[] = {
    {"token_embd", 'C', '-'},
    {"position_embd", 'C', '-'},
    {"output", 'C', '-'},
    {"output_norm", '-', 'C'},
    {"rope_freqs", '-', '-'},
    {"rope_factors_short", '-', '-'},
    {"rope_factors_long", '-', '-'},
    {"attn_norm", '-', 'C'},
    {"ffn_norm", '-', 'C'},
    {"post_attention_norm", '-', 'C'},
    {"post_ffw_norm", '-', 'C'},
    {"attn_q", 'C', 'Q'},
    {"attn_k", 'C', 'K'},
    {"attn_v", 'C', 'K'},
    {"attn_qkv", 'C', 'X'},
    {"attn_output", 'Q', 'C'},
    {"attn_q_norm", '-', 'h'},
    {"attn_k_norm", '-', 'k'},
    {"ffn_gate", 'C', 'F'},
    {"ffn_up", 'C', 'G'},
    {"ffn_down", 'F', 'C'},
    {"ffn_gate_inp", 'C', '-'},
    {"ffn_gate_exps", 'C', '-'},
    {"ffn_up_exps", 'C', '-'},
    {"ffn_down_exps", '-', 'C'},
    {"ffn_gate_shexp", 'C', '-'},
    {"ffn_up_shexp", 'C', '-'},
    {"ffn_down_shexp", '-', 'C'},
    {"ffn_gate_inp_shexp", 'C', 'C'},
};

int vd_axes_layer(vd_str name, vd_str *ret_rest)
{
    static const char prefix[] = "blk.";
    size_t at = sizeof(prefix) - 1;
    int layer = 0;
    *ret_rest = name;
    if (name.n <= at || memcmp(name.data, prefix, at) != 0)
        return -1;
    size_t first = at;
    for (; at < name.n && name.data[at] >= '0' && name.data[at] <= '9'; at++) {
        layer = layer * 10 + (name.data[at] - '0');
        if (layer >= VD_HPARAMS_LAYERS_MAX)
            return -1;
    }
    if (at == first || at == name.n || name.data[at] != '.')
        return -1;
    *ret_rest = (vd_str){name.data + at + 1, name.n - at - 1};
    return layer;
}

static vd_axis make(char code, const vd_hparams *hp, size_t group)
{
    size_t d = hp->head_dim;
    switch (code) {
    case 'C':
        return (vd_axis){VD_CUT_LIST_WIDTH, 1, {1}};
    case 'F':
        return (vd_axis){VD_CUT_LIST_NEURONS, 1, {1}};
    case 'G':
        return (vd_axis){VD_CUT_LIST_NEURONS, hp->block.gate_in_up ? 2 : 1, {1, 1}};
    case 'Q':
        return (vd_axis){VD_CUT_LIST_GROUPS, 1, {group * d}};
    case 'K':
        return (vd_axis){VD_CUT_LIST_GROUPS, 1, {d}};
    case 'X':
        return (vd_axis){VD_CUT_LIST_GROUPS, 3, {group * d, d, d}};
    case 'h':
        return (vd_axis){VD_CUT_LIST_GROUPS, 1, {group}};
    case 'k':
        return (vd_axis){VD_CUT_LIST_GROUPS, 1, {1}};
    default:
        return (vd_axis){VD_CUT_LIST_NONE, 0, {0}};
    }
}

vd_status vd_axes_find(const vd_hparams *hp, size_t group, const vd_gguf_tensor *tensor,
                       vd_axes *ret_axes, vd_err *err)
{
    vd_str rest;
    int layer = vd_axes_layer(tensor->name, &rest);
    const char *dot = memchr(rest.data, '.', rest.n);
    size_t n = dot != NULL ? (size_t)(dot - rest.data) : rest.n;
    for (size_t i = 0; i < VD_COUNT(known); i++) {
        if (strlen(known[i].base) != n || memcmp(known[i].base, rest.data, n) != 0)
            continue;
        char in = known[i].in, out = known[i].out;
        bool per_head = out == 'h' || out == 'k';
        *ret_axes = (vd_axes){.layer = layer};
        if (per_head && hp->block.qk_norm == VD_QK_NORM_HEADS)
            ret_axes->axis[1] = make(out, hp, group);
        else if (per_head) /* one for all heads, or over all of them, which nobody cuts */
            return VD_OK;
        else if (tensor->n_dims < 2)
            ret_axes->axis[0] = make(out, hp, group);
        else {
            ret_axes->axis[0] = make(in, hp, group);
            ret_axes->axis[1] = make(out, hp, group);
        }
        return VD_OK;
    }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %.*s: nobody knows what its axes are; the "
                   "model cannot be cut", (int)tensor->name.n, tensor->name.data);
}
