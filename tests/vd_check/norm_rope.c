/* norm_rope.c - rms_norm, layer_norm and rope. */
#include <math.h>
#include <string.h>

#include "check.h"

static void one_norm(const vd_kernels *k, const vd_kernels *c, size_t n, int kind, bool in_place)
{
    float *x = check_memory(n * sizeof *x), *weight = check_memory(n * sizeof *weight);
    float *got = in_place ? x : check_memory(n * sizeof *got);
    float *want = check_memory(n * sizeof *want);

    check_now("rms_norm %s n=%zu kind=%d in_place=%d", k->name, n, kind, in_place);
    check_fill_floats(x, n);
    check_fill_floats(weight, n);
    check_spoil(x, n, kind);
    c->rms_norm(x, weight, 1e-5f, want, n);
    k->rms_norm(x, weight, 1e-5f, got, n);
    if (kind == KIND_INF) /* inf * 0 or the other way round: not finite at that place is enough */
        check_expect(n == 0 || isnan(got[0]) || got[0] == want[0] || got[0] == 0, "infinite input");
    else
        check_close("rms_norm", got, want, n, 2e-6, 1e-36);
    check_done_all("rms_norm");
}

/* `shift`: how many deviations the mean lies away from 0. */
static void one_layer_norm(const vd_kernels *k, const vd_kernels *c, size_t n, int kind,
                           bool in_place, bool with_bias, float shift)
{
    float *x = check_memory(n * sizeof *x), *weight = check_memory(n * sizeof *weight);
    float *bias = with_bias ? check_memory(n * sizeof *bias) : NULL;
    float *got = in_place ? x : check_memory(n * sizeof *got);
    float *want = check_memory(n * sizeof *want);

    check_now("layer_norm %s n=%zu kind=%d in_place=%d bias=%d shift=%g", k->name, n, kind,
              in_place, with_bias, (double)shift);
    check_fill_floats(x, n);
    check_fill_floats(weight, n);
    if (bias != NULL)
        check_fill_floats(bias, n);
    for (size_t i = 0; i < n; i++)
        x[i] += shift;
    check_spoil(x, n, kind);
    c->layer_norm(x, weight, bias, 1e-5f, want, n);
    k->layer_norm(x, weight, bias, 1e-5f, got, n);
    /* The mean is rounded to f32, and a difference of two rounded values is what is scaled. */
    check_close("layer_norm", got, want, n, 4e-6, 4e-6 * (1 + (double)shift));
    check_done_all("layer_norm");
}

static void one_rope(const vd_kernels *k, const vd_kernels *c, size_t n_rot, int neox)
{
    float *got = check_memory(n_rot * sizeof *got), *want = check_memory(n_rot * sizeof *want);
    float *cos_sin = check_memory(n_rot * sizeof *cos_sin);

    check_now("rope %s n_rot=%zu neox=%d", k->name, n_rot, neox);
    check_fill_floats(want, n_rot);
    for (size_t i = 0; i < n_rot / 2; i++) {
        float angle = check_random_float() * 10;
        cos_sin[2 * i] = cosf(angle);
        cos_sin[2 * i + 1] = sinf(angle);
    }
    if (n_rot != 0)
        memcpy(got, want, n_rot * sizeof *got);
    k->rope(got, cos_sin, n_rot, neox);
    c->rope(want, cos_sin, n_rot, neox);
    check_close("rope", got, want, n_rot, 2e-7, 1e-6);
    check_done_all("rope");
}

void check_norm_rope(const vd_kernels *k)
{
    static const size_t large[] = {127, 128, 129, 576, 2048, 4099};
    const vd_kernels *c = vd_kernels_level("c");
    for (int kind = 0; kind < KIND_LIMIT; kind++) {
        for (size_t n = 0; n <= 67; n++)
            one_norm(k, c, n, kind, n % 2);
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
            one_norm(k, c, large[i], kind, i % 2);
    }
    for (int kind = 0; kind < KIND_LIMIT; kind++) {
        for (size_t n = 0; n <= 67; n++)
            one_layer_norm(k, c, n, kind, n % 2, n % 3, n % 5 == 0 ? 20 : 0);
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
            one_layer_norm(k, c, large[i], kind, i % 2, i % 3, i % 2 ? 20 : 0);
    }
    for (size_t n_rot = 0; n_rot <= 132; n_rot += 2)
        for (int neox = 0; neox < 2; neox++)
            one_rope(k, c, n_rot, neox);
    one_rope(k, c, 256, 0);
    one_rope(k, c, 256, 1);
}
