/*
 * nvml_stub.c - a libnvidia-ml.so.1 for the tests of sources/nvml.c, which open it through
 * $VERDANT_NVML_LIBRARY. Functions and return values as in NVML's public reference manual.
 *
 * $VERDANT_NVML_STUB names a file that says how it behaves, read at every call:
 *
 *   INIT GENERATION                             nvmlInit's return value; which load of the driver
 *   UUID MODEL ENERGY_MJ POWER_MW SLOW_MS       one line for each GPU; a negative energy or power
 *   ...                                         is the error it answers with; calls take SLOW_MS
 *
 * A handle belongs to the generation it was given out in; a later one answers UNINITIALIZED until
 * nvmlInit is called again, as after a reload of the driver. "MIG-x" is a slice of GPU 0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "energy/sources/nvml_library.h"

#define EXPORT __attribute__((visibility("default")))
#define GPUS_MAX 8

typedef struct stub_gpu {
    char uuid[64], model[64];
    long long energy_mj, power_mw;
    long slow_ms;
} stub_gpu;

typedef struct stub {
    int init, generation;
    unsigned n;
    stub_gpu gpu[GPUS_MAX];
} stub;

static int generation; /* since the last nvmlInit */

static void load(stub *s)
{
    *s = (stub){.init = 9};
    const char *path = getenv("VERDANT_NVML_STUB");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    if (file == NULL)
        return;
    if (fscanf(file, "%d %d", &s->init, &s->generation) == 2)
        while (s->n < GPUS_MAX) {
            stub_gpu *g = &s->gpu[s->n];
            if (fscanf(file, "%63s %63s %lld %lld %ld", g->uuid, g->model, &g->energy_mj,
                       &g->power_mw, &g->slow_ms) != 5)
                break;
            s->n++;
        }
    fclose(file);
}

static void *handle_of(unsigned index)
{
    return (void *)(uintptr_t)((unsigned)generation << 8 | (index + 1)); /* NOLINT */
}

/* The GPU of a handle, or NULL and the error. */
static const stub_gpu *gpu_of(stub *s, void *device, int *ret_failed)
{
    load(s);
    unsigned index = (unsigned)((uintptr_t)device & 0xff) - 1;
    *ret_failed = (int)((uintptr_t)device >> 8) != s->generation || s->init != 0 ? 1 : 0;
    if (*ret_failed == 0 && index >= s->n)
        *ret_failed = 15;
    return *ret_failed == 0 ? &s->gpu[index] : NULL;
}

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT const char *nvmlErrorString(int failed);
EXPORT int nvmlDeviceGetCount_v2(unsigned *ret_n);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret_device);
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **ret_device);
EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *mig, void **ret_device);
EXPORT int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size);
EXPORT int nvmlDeviceGetName(void *device, char *name, unsigned size);
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *ret_mj);
EXPORT int nvmlDeviceGetPowerUsage(void *device, unsigned *ret_mw);
EXPORT int nvmlDeviceGetPciInfo_v3(void *device, vd_nvml_pci *ret_pci);

/* GPU 0 at 0000:3b:00.0, GPU 1 at 0000:3c:00.0, ... */
int nvmlDeviceGetPciInfo_v3(void *device, vd_nvml_pci *ret_pci)
{
    *ret_pci = (vd_nvml_pci){.bus = 0x3b + (unsigned)((uintptr_t)device & 0xff) - 1};
    return 0;
}

int nvmlInit_v2(void)
{
    stub s;
    load(&s);
    generation = s.generation;
    return s.init;
}

int nvmlShutdown(void)
{
    return 0;
}

const char *nvmlErrorString(int failed)
{
    return failed == 3 ? "Not Supported" : failed == 15 ? "GPU is lost" : "Error of the stub";
}

int nvmlDeviceGetCount_v2(unsigned *ret_n)
{
    stub s;
    load(&s);
    *ret_n = s.n;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret_device)
{
    *ret_device = handle_of(index);
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **ret_device)
{
    stub s;
    load(&s);
    for (unsigned i = 0; i < s.n; i++)
        if (strcmp(s.gpu[i].uuid, uuid) == 0) {
            *ret_device = handle_of(i);
            return 0;
        }
    *ret_device = handle_of(200);
    return strcmp(uuid, "MIG-x") == 0 ? 0 : 6;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *mig, void **ret_device)
{
    *ret_device = handle_of(0);
    return mig == handle_of(200) ? 0 : 2;
}

static int copy_text(const char *text, char *out, unsigned size)
{
    return (unsigned)snprintf(out, size, "%s", text) < size ? 0 : 7;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size)
{
    stub s;
    int failed;
    const stub_gpu *g = gpu_of(&s, device, &failed);
    return g != NULL ? copy_text(g->uuid, uuid, size) : failed;
}

int nvmlDeviceGetName(void *device, char *name, unsigned size)
{
    stub s;
    int failed;
    const stub_gpu *g = gpu_of(&s, device, &failed);
    return g != NULL ? copy_text(g->model, name, size) : failed;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *ret_mj)
{
    stub s;
    int failed;
    const stub_gpu *g = gpu_of(&s, device, &failed);
    if (g == NULL)
        return failed;
    wait_ms(g->slow_ms);
    if (g->energy_mj < 0)
        return (int)-g->energy_mj;
    *ret_mj = (unsigned long long)g->energy_mj;
    return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *ret_mw)
{
    stub s;
    int failed;
    const stub_gpu *g = gpu_of(&s, device, &failed);
    if (g == NULL)
        return failed;
    wait_ms(g->slow_ms);
    if (g->power_mw < 0)
        return (int)-g->power_mw;
    *ret_mw = (unsigned)g->power_mw;
    return 0;
}
