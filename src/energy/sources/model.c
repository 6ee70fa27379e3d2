/* model.c - see model.h. */
#include "energy/sources/model.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/power/calibration.h"
#include "energy/power/cpufreq.h"

__extension__ typedef unsigned __int128 wide;

/* Ten periods of the scheduler's quota. */
static const uint64_t late_most_ns = UINT64_C(1000000000);
/* Uncertainties are tabled by load, since a reading has no time for them. */
enum { LOADS = 33 };

struct vd_model {
    vd_machine machine;
    vd_power power;
    bool calibrated;
    char note[VD_ERR_MESSAGE_MAX]; /* which calibration, or why none */
    vd_cpufreq freq;
    double common_pct[LOADS], independent_pct[LOADS]; /* of the processor */
    uint64_t idle_uw[VD_PART_N];                      /* the whole machine, waiting */
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

/* The load of this process on its threads. Time that a hypervisor gave to others (steal) is no CPU
 * time of ours. */
static double take_load(vd_model *model, uint64_t elapsed_ns)
{
    uint64_t cpu = model->cpu_time(model->ctx);
    uint64_t busy_ns = (cpu > model->cpu_ns ? cpu - model->cpu_ns : 0) + model->late_ns;
    /* No more CPU time than the machine has: clocks of threads run a little ahead, and a quota lets
     * a burst pass and takes the time back later. What is too much counts in the next interval. */
    uint64_t most_ns = (uint64_t)((double)elapsed_ns * model->machine.n_cpu);
    uint64_t late_ns = busy_ns > most_ns ? busy_ns - most_ns : 0;
    model->late_ns = VD_MIN(late_ns, late_most_ns);
    model->cpu_ns = cpu;
    return most_ns > 0 ? (double)(busy_ns - late_ns) / (double)most_ns : 0;
}

static vd_power_point at_load(vd_model *model, double load, uint64_t now_ns)
{
    double nominal = model->machine.base_mhz, mhz = vd_cpufreq_mhz(&model->freq, now_ns);
    return (vd_power_point){.load = load, .clock = nominal > 0 ? VD_MIN(mhz / nominal, 10) : 0};
}

/* Two things not known of one machine: the errors of its parts neither add up nor cancel. */
static void say_uncertainty(const vd_model *model, double load, double cpu_uw, vd_source *source)
{
    size_t i = (size_t)lround(load * (LOADS - 1));
    double dram_uw = (double)model->idle_uw[VD_PART_DRAM], all_uw = cpu_uw + dram_uw;
    source->part_common_pct[VD_PART_CPU] = model->common_pct[i];
    source->part_independent_pct[VD_PART_CPU] = model->independent_pct[i];
    source->part_common_pct[VD_PART_DRAM] = VD_DRAM_UNCERTAINTY_PCT;
    source->common_pct =
        hypot(model->common_pct[i] * cpu_uw, VD_DRAM_UNCERTAINTY_PCT * dram_uw) / all_uw;
    source->independent_pct = model->independent_pct[i] * cpu_uw / all_uw;
}

static bool model_read(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    vd_model *model = source->self;
    uint64_t elapsed_ns = now_ns > model->at_ns ? now_ns - model->at_ns : 0;
    double load = take_load(model, elapsed_ns);
    vd_power_point at = at_load(model, load, now_ns);
    uint64_t cpu_uw = (uint64_t)llround(vd_power_watts(&model->power, &at) * 1e6);
    uj[VD_PART_CPU] += whole_uj(model, VD_PART_CPU, (wide)cpu_uw * elapsed_ns);
    uj[VD_PART_DRAM] +=
        whole_uj(model, VD_PART_DRAM, (wide)model->idle_uw[VD_PART_DRAM] * elapsed_ns);
    model->at_ns = VD_MAX(now_ns, model->at_ns);
    say_uncertainty(model, load, (double)cpu_uw, source);
    return true;
}

static void model_close(vd_source *source)
{
    vd_model *model = source->self;
    vd_cpufreq_close(&model->freq);
    vd_free(model);
}

static void table_uncertainties(vd_model *model)
{
    for (size_t i = 0; i < LOADS; i++) {
        vd_power_estimate e;
        vd_power_predict(&model->power, &(vd_power_point){.load = (double)i / (LOADS - 1)}, &e);
        model->common_pct[i] = e.common_pct;
        model->independent_pct[i] = e.independent_pct;
    }
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
    vd_cpufreq_open(&model->freq, env->sysfs);
    model->calibrated = vd_calibration_find(m, &model->power, model->note);
    model->idle_uw[VD_PART_CPU] =
        (uint64_t)llround(vd_power_watts(&model->power, &(vd_power_point){0}) * 1e6);
    model->idle_uw[VD_PART_DRAM] =
        (uint64_t)((double)m->memory_bytes / 1e9 * VD_DRAM_W_PER_GB * 1e6);
    table_uncertainties(model);
    model->cpu_time = cpu_ns != NULL ? cpu_ns : process_cpu_ns;
    model->ctx = env->ctx;
    model->at_ns = env->now_ns;
    model->cpu_ns = model->cpu_time(model->ctx);
    *ret_source = (vd_source){
        .ops = &ops,
        .self = model,
        .method = "model",
        .parts = 1u << VD_PART_CPU | 1u << VD_PART_DRAM,
        .by_part = true,
    };
    say_uncertainty(model, 1, vd_power_watts(&model->power, &(vd_power_point){.load = 1}) * 1e6,
                    ret_source);
    snprintf(ret_source->name, sizeof(ret_source->name), "model: %s",
             model->calibrated ? "calibrated" : m->family);
    snprintf(ret_source->note, sizeof(ret_source->note), "%s", model->note);
    return VD_OK;
}

const vd_machine *vd_model_machine(const vd_model *model)
{
    return &model->machine;
}

const vd_power *vd_model_power(const vd_model *model)
{
    return &model->power;
}

bool vd_model_calibrated(const vd_model *model)
{
    return model->calibrated;
}

const char *vd_model_note(const vd_model *model)
{
    return model->note;
}

const uint64_t *vd_model_idle_uw(const vd_model *model)
{
    return model->idle_uw;
}
