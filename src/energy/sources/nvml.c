/*
 * nvml.c - the energy of NVIDIA GPUs (vd_source_nvml_open in sources.h; docs/meters.md).
 *
 * Which GPUs are meant is decided in nvml_choice.c, the library is opened in nvml_library.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "energy/sources/nvml_choice.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sensor.h"
#include "energy/sources/sources.h"

/* The counter refreshes every 20 to 100 ms; asking as often sees every value but a few. Power is
 * asked for more often than it changes, so that trapezoids are narrow. */
static const uint64_t counter_period_ns = UINT64_C(100000000), power_period_ns = UINT64_C(50000000);
/* How old a reading can be: the device's refresh and our period; power is an average over up to a
 * second besides. */
static const uint64_t counter_refresh_ns = UINT64_C(200000000),
                      power_refresh_ns = UINT64_C(1050000000);
/* The largest board of 2026 draws 1.4 kW. */
static const double most_w = 3000;
static const uint64_t slack_uj = UINT64_C(300000000); /* 3 kW for a refresh of 100 ms */
static const uint64_t stuck_ns = UINT64_C(10000000000), power_most_ns = UINT64_C(2000000000);
static const uint64_t retry_ns = UINT64_C(5000000000);
/* docs/meters.md says where these come from. */
static const double common_pct = 5, counter_independent_pct = 5, power_independent_pct = 15;

typedef struct gpu {
    vd_channel channel;
    char uuid[VD_NVML_UUID_MAX];
    void *device; /* NULL: not found again yet */
    bool by_power;
    char runtime_status[VD_SENSOR_PATH_MAX]; /* "", or see vd_sensor_sleeps */
} gpu;

typedef struct nvml_meter {
    vd_nvml nvml;
    size_t n;
    gpu gpu[VD_NVML_GPUS_MAX];
    uint64_t retried_ns;
} nvml_meter;

static void sample_gpu(const vd_nvml *nvml, gpu *g, uint64_t now_ns, vd_sample *sample)
{
    unsigned long long mj = 0;
    unsigned mw = 0;
    if (vd_sensor_sleeps(&(vd_source_env){0}, g->runtime_status)) {
        vd_channel_asleep(&g->channel, now_ns, sample);
        return;
    }
    if (g->device == NULL) {
        vd_channel_fail(&g->channel, sample, "is not there");
        return;
    }
    int failed = g->by_power ? nvml->power(g->device, &mw) : nvml->energy(g->device, &mj);
    if (failed != VD_NVML_SUCCESS)
        vd_channel_fail(&g->channel, sample, "cannot be read: %s", vd_nvml_error(nvml, failed));
    else if (!g->by_power)
        vd_channel_counter(&g->channel, now_ns, (uint64_t)mj * 1000, sample);
    else
        vd_channel_gauge(&g->channel, now_ns, (uint64_t)mw * 1000, sample);
}

/* After a reset of a GPU or a reload of the driver old handles are dead: initialise anew and look
 * the GPUs up by their names. */
static void find_again(nvml_meter *m)
{
    (void)m->nvml.shutdown();
    bool good = m->nvml.init() == VD_NVML_SUCCESS;
    for (size_t i = 0; i < m->n; i++) {
        m->gpu[i].device = NULL;
        if (good && m->nvml.by_uuid(m->gpu[i].uuid, &m->gpu[i].device) != VD_NVML_SUCCESS)
            m->gpu[i].device = NULL;
    }
}

static void sample_all(void *self, uint64_t now_ns, vd_sample *sample)
{
    nvml_meter *m = self;
    bool lost = false;
    for (size_t i = 0; i < m->n; i++)
        lost |= m->gpu[i].channel.missing;
    if (!lost) {
        m->retried_ns = now_ns;
    } else if (now_ns - m->retried_ns >= retry_ns) {
        m->retried_ns = now_ns;
        find_again(m);
    }
    for (size_t i = 0; i < m->n; i++)
        sample_gpu(&m->nvml, &m->gpu[i], now_ns, sample);
}

static void free_meter(void *self)
{
    nvml_meter *m = self;
    vd_nvml_close(&m->nvml);
    vd_free(m);
}

static vd_status cannot_measure(const vd_nvml *nvml, unsigned index, int failed, vd_err *err)
{
    if (failed == VD_NVML_NO_PERMISSION)
        return VD_FAIL(err, VD_ERR_PERM,
                       "the power of GPU %u may not be read: ask the host's administrator", index);
    if (failed == VD_NVML_NOT_SUPPORTED || failed == VD_NVML_FUNCTION_NOT_FOUND)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "GPU %u shows neither energy nor power; name the others: nvml:0+2", index);
    return VD_FAIL(err, VD_ERR_IO, "GPU %u cannot be read: %s", index, vd_nvml_error(nvml, failed));
}

/* Where the kernel says whether the GPU is switched off. */
static void find_runtime_status(const vd_nvml *nvml, gpu *g, const char *sysfs)
{
    vd_nvml_pci pci = {{0}};
    if (nvml->pci != NULL && nvml->pci(g->device, &pci) == VD_NVML_SUCCESS)
        snprintf(g->runtime_status, sizeof(g->runtime_status),
                 "%.400s/bus/pci/devices/%04x:%02x:%02x.0/power/runtime_status", sysfs, pci.domain,
                 pci.bus & 0xff, pci.device & 0xff);
}

/* By its counter where it has one, else by its power. */
static vd_status add_gpu(nvml_meter *m, unsigned index, const char *sysfs, vd_err *err)
{
    gpu *g = &m->gpu[m->n];
    unsigned long long mj;
    unsigned mw;
    int failed = m->nvml.by_index(index, &g->device);
    if (failed == VD_NVML_SUCCESS)
        failed = m->nvml.uuid(g->device, g->uuid, sizeof(g->uuid));
    if (failed == VD_NVML_SUCCESS) {
        failed = m->nvml.energy != NULL ? m->nvml.energy(g->device, &mj) : VD_NVML_NOT_SUPPORTED;
        g->by_power = failed == VD_NVML_NOT_SUPPORTED || failed == VD_NVML_FUNCTION_NOT_FOUND;
        if (g->by_power)
            failed = m->nvml.power(g->device, &mw);
    }
    if (failed != VD_NVML_SUCCESS)
        return cannot_measure(&m->nvml, index, failed, err);
    g->channel = (vd_channel){.part = VD_PART_GPU,
                              .most_w = most_w,
                              .slack_uj = slack_uj,
                              .stuck_ns = stuck_ns,
                              .never_zero = true,
                              .most_ns = g->by_power ? power_most_ns : 0};
    snprintf(g->channel.name, sizeof(g->channel.name), "GPU %u", index);
    find_runtime_status(&m->nvml, g, sysfs);
    m->n++;
    return VD_OK;
}

static vd_status start(nvml_meter *m, const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    size_t n_by_power = 0;
    for (size_t i = 0; i < m->n; i++)
        n_by_power += m->gpu[i].by_power;
    bool by_power = n_by_power > 0;
    vd_source source = {
        .method = by_power ? "nvml-power" : "nvml",
        .parts = 1u << VD_PART_GPU,
        .refresh_ns = by_power ? power_refresh_ns : counter_refresh_ns,
        .common_pct = common_pct,
        .independent_pct = by_power ? power_independent_pct : counter_independent_pct,
    };
    int len = snprintf(source.name, sizeof(source.name), "nvml: %zu GPU%s", m->n,
                       m->n == 1 ? "" : "s");
    if (by_power)
        snprintf(source.name + len, sizeof(source.name) - (size_t)len, ", %zu by power",
                 n_by_power);
    vd_sampler_plan plan = {.sample = sample_all,
                            .free = free_meter,
                            .self = m,
                            .period_ns = by_power ? power_period_ns : counter_period_ns};
    return vd_sampler_start(&plan, env, &source, ret_source, err);
}

/* Another /sys than this machine's describes another machine, whose GPUs its library cannot see. */
static bool is_this_machine(const vd_source_env *env)
{
    return strcmp(env->sysfs, "/sys") == 0 || getenv("VERDANT_NVML_LIBRARY") != NULL;
}

vd_status vd_source_nvml_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    unsigned index[VD_NVML_GPUS_MAX];
    size_t n = 0;
    if (!is_this_machine(env))
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "no library of NVIDIA's goes with %.200s",
                       env->sysfs);
    nvml_meter *m = vd_calloc(1, sizeof(*m));
    if (m == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter nvml");
    vd_status st = vd_nvml_open(&m->nvml, err);
    if (st == VD_OK && (m->nvml.by_uuid == NULL || m->nvml.uuid == NULL || m->nvml.name == NULL ||
                        m->nvml.power == NULL))
        st = VD_FAIL(err, VD_ERR_IO, "NVIDIA's library has not the functions of driver 418");
    if (st == VD_OK)
        st = vd_nvml_choose(&m->nvml, env->spec, index, &n, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        st = add_gpu(m, index[i], env->sysfs, err);
    if (st == VD_OK)
        st = start(m, env, ret_source, err);
    if (st != VD_OK)
        free_meter(m);
    return st;
}
