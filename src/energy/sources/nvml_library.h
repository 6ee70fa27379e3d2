/*
 * nvml_library.h - NVIDIA's management library (libnvidia-ml.so.1), opened at run time.
 *
 * The program must start where there is no NVIDIA driver, so nothing is linked. The declarations
 * below are retyped from NVML's public reference manual; only functions that have kept their
 * meaning since driver 418 are used. $VERDANT_NVML_LIBRARY names another file: for tests, and for
 * drivers in unusual places.
 *
 * Threads: NVML's functions may be called from any thread; a vd_nvml has one owner.
 */
#ifndef VD_ENERGY_SOURCES_NVML_LIBRARY_H
#define VD_ENERGY_SOURCES_NVML_LIBRARY_H

#include <verdant/status.h>

/* nvmlReturn_t, those that we tell apart. */
enum {
    VD_NVML_SUCCESS = 0,
    VD_NVML_UNINITIALIZED = 1,
    VD_NVML_NOT_SUPPORTED = 3,
    VD_NVML_NO_PERMISSION = 4,
    VD_NVML_DRIVER_NOT_LOADED = 9,
    VD_NVML_FUNCTION_NOT_FOUND = 13,
    VD_NVML_GPU_IS_LOST = 15
};

/* nvmlPciInfo_t and nvmlMemory_t. */
typedef struct vd_nvml_pci {
    char legacy_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} vd_nvml_pci;

typedef struct vd_nvml_memory {
    unsigned long long total, free, used; /* bytes */
} vd_nvml_memory;

/* All return a nvmlReturn_t. Those behind the empty line are NULL in libraries without them. */
typedef struct vd_nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *ret_n);
    int (*by_index)(unsigned index, void **ret_device);

    int (*by_uuid)(const char *uuid, void **ret_device);
    int (*uuid)(void *device, char *uuid, unsigned size);
    int (*name)(void *device, char *name, unsigned size);
    int (*power)(void *device, unsigned *ret_mw);
    int (*energy)(void *device, unsigned long long *ret_mj); /* since the driver was loaded */
    int (*board_of_mig)(void *mig, void **ret_device);
    int (*driver_version)(char *version, unsigned size);
    int (*pci)(void *device, vd_nvml_pci *ret_pci);
    int (*memory)(void *device, vd_nvml_memory *ret_memory);
    const char *(*error_string)(int failed);
} vd_nvml;

/* Loads and initialises the library. VD_ERR_NOT_FOUND where there is no library or no driver,
 * VD_ERR_PERM, VD_ERR_IO for other failures of the library. May take seconds. */
VD_NODISCARD vd_status vd_nvml_open(vd_nvml *ret_nvml, vd_err *err);
void vd_nvml_close(vd_nvml *nvml); /* {0} is a no-op */

/* The library's words for a return value; static storage of the library. */
const char *vd_nvml_error(const vd_nvml *nvml, int failed);

#endif
