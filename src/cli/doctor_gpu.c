/*
 * doctor_gpu.c - accelerators: found on the PCI bus, named by their drivers.
 *
 * The bus shows a device also where its driver is missing, which is worth saying. Without NVIDIA's
 * library (energy/sources/nvml_library.h) only the names are lost.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "cli/doctor.h"
#include "energy/sources/nvml_library.h"

static const struct {
    unsigned long id;
    const char *name;
} vendors[] = {{0x10de, "NVIDIA"}, {0x1002, "AMD"}, {0x8086, "Intel"}};

static unsigned long hex(const char *root, const char *path)
{
    char line[32];
    return vd_doctor_line(root, path, line, sizeof(line)) ? strtoul(line, NULL, 16) : 0;
}

/* Takes the device in as a GPU when its class is display or 3D and we know its vendor. */
static void add_device(vd_doctor_gpus *gpus, const char *devices, const char *address)
{
    char path[VD_DOCTOR_PATH_MAX], target[VD_DOCTOR_PATH_MAX], line[96];
    const char *vendor = NULL;
    snprintf(path, sizeof(path), "%s/class", address);
    unsigned long class = hex(devices, path) >> 8;
    bool display = class == 0x0300 || class == 0x0302 || class == 0x0380 || class == 0x1200;
    snprintf(path, sizeof(path), "%s/vendor", address);
    unsigned long id = hex(devices, path);
    for (size_t i = 0; display && i < VD_COUNT(vendors); i++)
        if (vendors[i].id == id)
            vendor = vendors[i].name;
    if (vendor == NULL || gpus->n == VD_DOCTOR_GPUS_MAX)
        return;
    vd_doctor_gpu *gpu = &gpus->gpu[gpus->n++];
    *gpu = (vd_doctor_gpu){.vendor = vendor};
    snprintf(gpu->address, sizeof(gpu->address), "%.23s", address);
    snprintf(path, sizeof(path), "%s/device", address);
    snprintf(gpu->name, sizeof(gpu->name), "device %04lx:%04lx", id, hex(devices, path));
    snprintf(path, sizeof(path), "%s/product_name", address); /* amdgpu writes these two */
    if (vd_doctor_line(devices, path, line, sizeof(line)))
        snprintf(gpu->name, sizeof(gpu->name), "%s", line);
    snprintf(path, sizeof(path), "%s/mem_info_vram_total", address);
    if (vd_doctor_line(devices, path, line, sizeof(line)))
        gpu->memory_bytes = strtoull(line, NULL, 10);
    snprintf(path, sizeof(path), "%.300s/%.100s/driver", devices, address);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(target, '/');
    if (slash != NULL)
        snprintf(gpu->driver, sizeof(gpu->driver), "%.47s", slash + 1);
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const vd_doctor_gpu *)a)->address, ((const vd_doctor_gpu *)b)->address);
}

static void scan_bus(vd_doctor_gpus *gpus)
{
    char devices[VD_DOCTOR_PATH_MAX];
    const struct dirent *entry;
    snprintf(devices, sizeof(devices), "%.400s/bus/pci/devices", vd_doctor_sysfs());
    DIR *listing = opendir(devices);
    if (listing == NULL)
        return;
    while ((entry = readdir(listing)) != NULL)
        if (entry->d_name[0] != '.')
            add_device(gpus, devices, entry->d_name);
    closedir(listing);
    qsort(gpus->gpu, gpus->n, sizeof(gpus->gpu[0]), by_address);
}

/* The GPU at this address of the bus, or a new one: containers may hide the bus. */
static vd_doctor_gpu *gpu_at(vd_doctor_gpus *gpus, const vd_nvml_pci *pci)
{
    char address[24];
    snprintf(address, sizeof(address), "%04x:%02x:%02x.0", pci->domain, pci->bus & 0xff,
             pci->device & 0xff);
    for (size_t i = 0; i < gpus->n; i++)
        if (strcmp(gpus->gpu[i].address, address) == 0)
            return &gpus->gpu[i];
    if (gpus->n == VD_DOCTOR_GPUS_MAX)
        return NULL;
    vd_doctor_gpu *gpu = &gpus->gpu[gpus->n++];
    *gpu = (vd_doctor_gpu){.vendor = "NVIDIA", .driver = "nvidia"};
    snprintf(gpu->address, sizeof(gpu->address), "%s", address);
    return gpu;
}

static void ask_nvml(const vd_nvml *n, vd_doctor_gpus *gpus)
{
    char version[96] = "";
    unsigned n_devices = 0;
    if (n->driver_version != NULL && n->driver_version(version, sizeof(version)) == 0)
        snprintf(gpus->nvml, sizeof(gpus->nvml), "driver %.90s", version);
    if (n->count(&n_devices) != 0)
        return;
    for (unsigned i = 0; i < n_devices; i++) {
        void *device = NULL;
        vd_nvml_pci pci = {{0}};
        vd_nvml_memory memory = {0};
        vd_doctor_gpu *gpu;
        if (n->by_index(i, &device) != 0 || n->pci == NULL || n->pci(device, &pci) != 0 ||
            (gpu = gpu_at(gpus, &pci)) == NULL)
            continue;
        char name[96] = "";
        if (n->name != NULL && n->name(device, name, sizeof(name)) == 0)
            snprintf(gpu->name, sizeof(gpu->name), "%.95s", name);
        if (n->memory != NULL && n->memory(device, &memory) == 0)
            gpu->memory_bytes = memory.total;
    }
}

void vd_doctor_gpus_find(vd_doctor_gpus *gpus)
{
    vd_nvml n = {0};
    vd_err err = {0};
    scan_bus(gpus);
    if (vd_nvml_open(&n, &err) != VD_OK) {
        snprintf(gpus->nvml, sizeof(gpus->nvml), "%.120s", err.message);
        return;
    }
    ask_nvml(&n, gpus);
    vd_nvml_close(&n);
}
