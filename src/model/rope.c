/*
 * rope.c - see rope.h. YaRN as in Peng et al. 2023, section 3: high frequencies keep their pace,
 * low ones are slowed by the factor, a linear ramp lies between; the magnitude is the paper's
 * sqrt(1/t) = 0.1 ln(s) + 1.
 */
#include "model/rope.h"

#include <math.h>

/* The paper's section 3.2: turns within the original context above which a pair keeps its pace and
 * below which it is slowed wholly. */
#define YARN_BETA_FAST 32.0
#define YARN_BETA_SLOW 1.0

/* The pair index at which a full context turns `n_turns` times. */
static double pair_of_turns(const vd_rope_params *p, double n_turns)
{
    return (double)p->n_rot * log((double)p->ctx_original / (n_turns * 2 * M_PI)) /
           (2 * log((double)p->base));
}

/* 1 where the pair keeps its pace, 0 where it is slowed by the whole factor. */
static double keep_share(const vd_rope_params *p, size_t pair)
{
    double low = fmax(0, floor(pair_of_turns(p, YARN_BETA_FAST)));
    double high = fmin((double)p->n_rot - 1, ceil(pair_of_turns(p, YARN_BETA_SLOW)));
    double ramp = ((double)pair - low) / fmax(0.001, high - low);
    return 1 - fmin(1, fmax(0, ramp));
}

vd_status vd_rope_init(const vd_rope_params *params, const float *factors, vd_arena *arena,
                       vd_rope *ret_rope, vd_err *err)
{
    const vd_rope_params *p = params;
    size_t n_pairs = p->n_rot / 2;
    double *freq = NULL;
    vd_status st = vd_arena_array(arena, n_pairs, sizeof(*freq), "RoPE frequencies", &freq, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n_pairs; i++) {
        double pace = pow((double)p->base, -2.0 * (double)i / (double)p->n_rot);
        if (factors != NULL)
            pace /= (double)factors[i];
        double slowed = pace / (double)p->factor;
        double keep = p->scaling == VD_ROPE_SCALING_YARN ? keep_share(p, i) : 0;
        freq[i] = slowed * (1 - keep) + pace * keep;
    }
    double magnitude = (double)p->attn_factor;
    if (p->scaling == VD_ROPE_SCALING_YARN && p->factor > 1)
        magnitude *= 0.1 * log((double)p->factor) + 1;
    *ret_rope = (vd_rope){.n_pairs = n_pairs, .freq = freq, .magnitude = magnitude};
    return VD_OK;
}

void vd_rope_angles(const vd_rope *rope, size_t pos, float *cos_sin)
{
    for (size_t i = 0; i < rope->n_pairs; i++) {
        double angle = (double)pos * rope->freq[i];
        cos_sin[2 * i] = (float)(cos(angle) * rope->magnitude);
        cos_sin[2 * i + 1] = (float)(sin(angle) * rope->magnitude);
    }
}
