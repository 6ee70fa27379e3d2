/* structured.c - see structured.h. */
#include "compress/structured/structured.h"

#include "base/fail.h"
#include "compress/structured/inner.h"
#include "compress/structured/layers.h"
#include "compress/structured/width.h"

static void count_units(const vd_cut_session *s, vd_structured_result *result)
{
    const vd_cut_plan *p = &s->plan;
    *result = (vd_structured_result){.n_calib_tokens = s->n_calib_tokens,
                                     .uneven = vd_cut_plan_is_uneven(p)};
    if (s->cut->kind == VD_STRUCTURED_WIDTH) {
        result->n_before = p->width.n_all;
        result->n_after = p->width.n;
    } else if (s->cut->kind == VD_STRUCTURED_LAYERS) {
        result->n_before = p->n_layer;
        result->n_after = p->n_layer_new;
    }
    for (size_t i = 0; s->cut->kind <= VD_STRUCTURED_HEADS && i < p->n_layer; i++) {
        const vd_kept *kept = s->cut->kind == VD_STRUCTURED_NEURONS ? &p->neurons[i]
                                                                    : &p->groups[i];
        result->n_before += kept->n_all;
        result->n_after += kept->n;
    }
}

static vd_status run(vd_cut_session *s, vd_err *err)
{
    if (vd_gguf_is_file(s->plan.gguf, s->target))
        return VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file",
                       s->target);
    vd_status st = vd_pool_create(s->options->n_threads, &s->pool, err);
    if (st == VD_OK)
        st = vd_shrink_open(&s->plan, s->target, s->pool, &s->shrink, err);
    if (st == VD_OK)
        st = s->cut->kind == VD_STRUCTURED_LAYERS  ? vd_layers_run(s, err)
             : s->cut->kind == VD_STRUCTURED_WIDTH ? vd_width_run(s, err)
                                                   : vd_inner_run(s, err);
    if (st == VD_OK)
        st = vd_shrink_commit(s->shrink, s->options->ret_fd, err);
    return st;
}

vd_status vd_structured_run(const char *source, const char *target, const vd_structured *cut,
                            const vd_structured_options *options,
                            vd_structured_result *ret_result, vd_err *err)
{
    vd_cut_session s = {.cut = cut, .options = options, .source = source, .target = target,
                        .n_passes = 1};
    vd_status st = vd_cut_plan_open(source, &s.plan, err);
    if (st != VD_OK)
        return st;
    st = run(&s, err);
    if (st == VD_OK)
        count_units(&s, ret_result);
    vd_shrink_free(s.shrink);
    vd_linalg_close(s.linalg);
    vd_pool_free(s.pool);
    vd_cut_plan_done(&s.plan);
    return st;
}
