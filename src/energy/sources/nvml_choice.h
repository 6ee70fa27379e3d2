/* nvml_choice.h - which GPUs are meant. Inside src/energy/sources only. */
#ifndef VD_ENERGY_SOURCES_NVML_CHOICE_H
#define VD_ENERGY_SOURCES_NVML_CHOICE_H

#include <stddef.h>

#include "energy/sources/nvml_library.h"

enum { VD_NVML_GPUS_MAX = 64, VD_NVML_UUID_MAX = 96 };

/* Indices of NVML (the order of the PCI bus), each once, at least one. `spec` as in sources.h: ""
 * lets the environment decide. VD_ERR_NOT_FOUND where none is left, VD_ERR_ARG for a spec that
 * names what is not there, VD_ERR_IO. */
VD_NODISCARD vd_status vd_nvml_choose(const vd_nvml *nvml, const char *spec,
                                      unsigned index[VD_NVML_GPUS_MAX], size_t *ret_n, vd_err *err);

#endif
