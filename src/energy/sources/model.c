/* model.c - see model.h. */
#include "energy/sources/model.h"

#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

__extension__ typedef unsigned __int128 wide;

/* Ten periods of the scheduler's quota. */
static const uint64_t late_most_ns = UINT64_C(1000000000);

struct vd_model {
    vd_machine machine;
    uint64_t idle_uw[VD_PART_N]; /* the whole machine, waiting */
    uint64_t busy_uw;            /* one hardware thread at work, above its idle power */
    vd_cpu_time_fn cpu_time;
    void *ctx;
    uint64_t at_ns, cpu_ns;      /* of the last reading */
    uint64_t rest_fj[VD_PART_N]; /* femtojoules (uW * ns) below one microjoule */
    uint64_t late_ns;            /* CPU time put off to the next reading */
};

static uint64_t process_cpu_ns(void *ctx)
{
    (void)ctx;
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t whole_uj(vd_model *model, vd_part part, wide fj)
{
    fj += model->rest_fj[part];
    model->rest_fj[part] = (uint64_t)(fj % 1000000000u);
    return (uint64_t)(fj / 1000000000u);
}

static bool model_read(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    vd_model *model = source->self;
    uint64_t cpu = model->cpu_time(model->ctx);
    uint64_t elapsed_ns = now_ns > model->at_ns ? now_ns - model->at_ns : 0;
    uint64_t busy_ns = (cpu > model->cpu_ns ? cpu - model->cpu_ns : 0) + model->late_ns;
    /* No more CPU time than the machine has: clocks of threads run a little ahead, and a quota lets
     * a burst pass and takes the time back later. What is too much counts in the next interval. */
    uint64_t most_ns = (uint64_t)((double)elapsed_ns * model->machine.n_cpu);
    uint64_t late_ns = busy_ns > most_ns ? busy_ns - most_ns : 0;
    busy_ns -= late_ns;
    model->late_ns = VD_MIN(late_ns, late_most_ns);
    uj[VD_PART_CPU] +=
        whole_uj(model, VD_PART_CPU,
                 (wide)model->idle_uw[VD_PART_CPU] * elapsed_ns + (wide)model->busy_uw * busy_ns);
    uj[VD_PART_DRAM] +=
        whole_uj(model, VD_PART_DRAM, (wide)model->idle_uw[VD_PART_DRAM] * elapsed_ns);
    model->at_ns = VD_MAX(now_ns, model->at_ns);
    model->cpu_ns = cpu;
    return true;
}

static void model_close(vd_source *source)
{
    vd_free(source->self);
}

vd_status vd_source_model_open(const vd_source_env *env, vd_cpu_time_fn cpu_ns,
                               vd_source *ret_source, vd_err *err)
{
    static const vd_source_ops ops = {.read = model_read, .close = model_close};
    vd_model *model = vd_calloc(1, sizeof(*model));
    if (model == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the model of the machine");
    vd_machine *m = &model->machine;
    vd_machine_find(env->sysfs, m);
    model->idle_uw[VD_PART_CPU] = (uint64_t)(m->n_cpu * m->idle_w * 1e6);
    model->idle_uw[VD_PART_DRAM] =
        (uint64_t)((double)m->memory_bytes / 1e9 * VD_DRAM_W_PER_GB * 1e6);
    model->busy_uw = (uint64_t)((m->full_w - m->idle_w) * 1e6);
    model->cpu_time = cpu_ns != NULL ? cpu_ns : process_cpu_ns;
    model->ctx = env->ctx;
    model->at_ns = env->now_ns;
    model->cpu_ns = model->cpu_time(model->ctx);
    *ret_source = (vd_source){
        .ops = &ops,
        .self = model,
        .method = "model",
        .parts = 1u << VD_PART_CPU | 1u << VD_PART_DRAM,
        .common_pct = VD_MODEL_UNCERTAINTY_PCT,
    };
    snprintf(ret_source->name, sizeof(ret_source->name), "model: %s", m->family);
    return VD_OK;
}

const vd_machine *vd_model_machine(const vd_model *model)
{
    return &model->machine;
}

const uint64_t *vd_model_idle_uw(const vd_model *model)
{
    return model->idle_uw;
}
