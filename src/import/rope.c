/*
 * rope.c - factors of rotary frequencies as tensors; see tensors.h.
 *
 * Llama 3 divides the slow frequencies by a factor, leaves the fast ones, and goes from one to the
 * other in between (Llama Team 2024). LongRoPE (Ding et al. 2024) lists two sets.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "import/tensors.h"

static const double two_pi = 6.283185307179586;

/* What a frequency is divided by. */
static float llama3_factor(double frequency, double factor, double low, double high, double ctx)
{
    double length = two_pi / frequency;
    if (length < ctx / high)
        return 1;
    if (length > ctx / low)
        return (float)factor;
    double smooth = (ctx / length - low) / (high - low);
    return (float)(1 / ((1 - smooth) / factor + smooth));
}

static vd_status add_llama3(vd_plan *plan, const vd_config *config, vd_err *err)
{
    const json_t *rope = config->rope;
    float base = 0, factor = 8, low = 1, high = 4, ctx = 8192, *values = NULL;
    uint32_t dim = 0;
    vd_status st = vd_config_rope_base(config, &base, err);
    if (st == VD_OK)
        st = vd_meta_head_dim(config, &dim, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "factor", &factor, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "low_freq_factor", &low, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "high_freq_factor", &high, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(rope, "original_max_position_embeddings", &ctx, err);
    if (st != VD_OK)
        return st;
    if (!(base >= 1) || !(factor >= 1) || !(low > 0) || !(high > low) || !(ctx >= 1))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: rope type llama3: factor %g, "
                       "low_freq_factor %g, high_freq_factor %g cannot be", (double)factor,
                       (double)low, (double)high);
    size_t n = dim / 2;
    st = vd_arena_array(&plan->arena, n, sizeof(*values), "rope factors", &values, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        values[i] = llama3_factor(pow(base, -2.0 * (double)i / dim), factor, low, high, ctx);
    if (st == VD_OK)
        st = vd_plan_literal(plan, "rope_freqs.weight", values, n, err);
    return st;
}

static vd_status add_list(vd_plan *plan, const json_t *list, const char *field, const char *name,
                          size_t n_want, vd_err *err)
{
    float *values = NULL;
    size_t n = json_array_size(list);
    if (n == 0 || n != n_want)
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: rope: %s must have %zu numbers, one per "
                       "frequency; it has %zu", field, n_want, n);
    vd_status st = vd_arena_array(&plan->arena, n, sizeof(*values), "rope factors", &values, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        const json_t *item = json_array_get(list, i);
        values[i] = (float)json_number_value(item);
        if (!json_is_number(item) || !(values[i] > 0))
            st = VD_FAIL(err, VD_ERR_FORMAT, "config.json: rope: %s[%zu] is no number above 0",
                         field, i);
    }
    if (st == VD_OK)
        st = vd_plan_literal(plan, name, values, n, err);
    return st;
}

static vd_status add_longrope(vd_plan *plan, const vd_config *config, vd_err *err)
{
    const json_t *rope = config->rope;
    uint32_t dim = 0;
    vd_status st = vd_meta_rotary_dim(config, &dim, err);
    size_t n = dim / 2;
    if (st == VD_OK)
        st = add_list(plan, json_object_get(rope, "long_factor"), "long_factor",
                      "rope_factors_long.weight", n, err);
    if (st == VD_OK)
        st = add_list(plan, json_object_get(rope, "short_factor"), "short_factor",
                      "rope_factors_short.weight", n, err);
    return st;
}

vd_status vd_plan_rope(vd_plan *plan, const vd_family *family, const vd_config *config, vd_err *err)
{
    const char *type = vd_config_rope_type(config->rope);
    if (type != NULL && strcmp(type, "llama3") == 0) {
        if (strcmp(family->arch, "llama") != 0 && strcmp(family->arch, "granite") != 0)
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: rope type llama3: %s in GGUF "
                           "has none", family->arch);
        return add_llama3(plan, config, err);
    }
    if (type != NULL && (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) &&
        strcmp(family->arch, "phi3") == 0)
        return add_longrope(plan, config, err);
    return VD_OK;
}
