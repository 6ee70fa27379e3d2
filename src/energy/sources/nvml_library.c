/* nvml_library.c - see nvml_library.h. */
#include "energy/sources/nvml_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

static const char *library_name(void)
{
    const char *name = getenv("VERDANT_NVML_LIBRARY");
    return name != NULL && name[0] != '\0' ? name : "libnvidia-ml.so.1";
}

/* NULL, or the name of a function that the library should have and has not. */
static const char *load_symbols(vd_nvml *n)
{
    const struct {
        const char *name;
        void *slot; /* of a pointer to a function; POSIX lets dlsym's result be stored there */
        bool optional;
    } wanted[] = {
        {"nvmlInit_v2", &n->init, false},
        {"nvmlShutdown", &n->shutdown, false},
        {"nvmlDeviceGetCount_v2", &n->count, false},
        {"nvmlDeviceGetHandleByIndex_v2", &n->by_index, false},
        {"nvmlDeviceGetHandleByUUID", &n->by_uuid, true},
        {"nvmlDeviceGetUUID", &n->uuid, true},
        {"nvmlDeviceGetName", &n->name, true},
        {"nvmlDeviceGetPowerUsage", &n->power, true},
        {"nvmlDeviceGetTotalEnergyConsumption", &n->energy, true},
        {"nvmlDeviceGetDeviceHandleFromMigDeviceHandle", &n->board_of_mig, true},
        {"nvmlSystemGetDriverVersion", &n->driver_version, true},
        {"nvmlDeviceGetPciInfo_v3", &n->pci, true},
        {"nvmlDeviceGetMemoryInfo", &n->memory, true},
        {"nvmlErrorString", &n->error_string, true},
    };
    for (size_t i = 0; i < VD_COUNT(wanted); i++) {
        void *symbol = dlsym(n->library, wanted[i].name);
        if (symbol != NULL)
            memcpy(wanted[i].slot, &symbol, sizeof(symbol));
        else if (!wanted[i].optional)
            return wanted[i].name;
    }
    return NULL;
}

static vd_status init_failed(const vd_nvml *n, int failed, vd_err *err)
{
    vd_status st = failed == VD_NVML_DRIVER_NOT_LOADED ? VD_ERR_NOT_FOUND
                   : failed == VD_NVML_NO_PERMISSION   ? VD_ERR_PERM
                                                       : VD_ERR_IO;
    return VD_FAIL(err, st, "%s cannot be used: %s", library_name(), vd_nvml_error(n, failed));
}

vd_status vd_nvml_open(vd_nvml *ret_nvml, vd_err *err)
{
    vd_nvml n = {.library = dlopen(library_name(), RTLD_NOW | RTLD_LOCAL)};
    if (n.library == NULL)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s is not here: no NVIDIA driver", library_name());
    vd_status st = VD_OK;
    int failed = 0;
    const char *missing = load_symbols(&n);
    if (missing != NULL)
        st = VD_FAIL(err, VD_ERR_IO, "%s cannot be used: it has no %s", library_name(),
                     missing);
    else if ((failed = n.init()) != VD_NVML_SUCCESS)
        st = init_failed(&n, failed, err);
    if (st != VD_OK)
        dlclose(n.library);
    else
        *ret_nvml = n;
    return st;
}

void vd_nvml_close(vd_nvml *nvml)
{
    if (nvml->library == NULL)
        return;
    (void)nvml->shutdown();
    dlclose(nvml->library);
    *nvml = (vd_nvml){0};
}

const char *vd_nvml_error(const vd_nvml *nvml, int failed)
{
    const char *text = nvml->error_string != NULL ? nvml->error_string(failed) : NULL;
    return text != NULL ? text : "an error without a name";
}
