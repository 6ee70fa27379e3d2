/*
 * nvml_choice.c - see nvml_choice.h.
 *
 * CUDA reads CUDA_VISIBLE_DEVICES up to the first entry it does not know. Its indices are those of
 * NVML only under CUDA_DEVICE_ORDER=PCI_BUS_ID, or where all GPUs are of one model (then its
 * default, the fastest first, is the order of the bus too). Where the order is unknown all GPUs are
 * counted: a total that is too high for one process, never one that leaves out a GPU at work.
 */
#include "energy/sources/nvml_choice.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

typedef struct device {
    void *handle;
    char uuid[VD_NVML_UUID_MAX], name[96];
} device;

typedef struct choice {
    size_t n_all, n;
    device all[VD_NVML_GPUS_MAX];
    unsigned *index;
} choice;

static vd_status list_all(const vd_nvml *nvml, choice *c, vd_err *err)
{
    unsigned n = 0;
    int failed = nvml->count(&n);
    if (failed == VD_NVML_SUCCESS && n == 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "the NVIDIA driver shows no GPU");
    n = VD_MIN(n, (unsigned)VD_NVML_GPUS_MAX);
    for (unsigned i = 0; i < n && failed == VD_NVML_SUCCESS; i++) {
        device *d = &c->all[i];
        failed = nvml->by_index(i, &d->handle);
        if (failed == VD_NVML_SUCCESS)
            failed = nvml->uuid(d->handle, d->uuid, sizeof(d->uuid));
        if (failed == VD_NVML_SUCCESS && nvml->name(d->handle, d->name, sizeof(d->name)) != 0)
            d->name[0] = '\0';
    }
    c->n_all = n;
    if (failed == VD_NVML_NO_PERMISSION)
        return VD_FAIL(err, VD_ERR_PERM, "GPUs may not be listed: %s", vd_nvml_error(nvml, failed));
    if (failed != VD_NVML_SUCCESS)
        return VD_FAIL(err, VD_ERR_IO, "GPUs cannot be listed: %s", vd_nvml_error(nvml, failed));
    return VD_OK;
}

static bool same_model(const choice *c)
{
    for (size_t i = 1; i < c->n_all; i++)
        if (strcmp(c->all[i].name, c->all[0].name) != 0)
            return false;
    return true;
}

static void add(choice *c, size_t at)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->index[i] == at)
            return;
    c->index[c->n++] = (unsigned)at;
}

static void add_all(choice *c)
{
    for (size_t i = 0; i < c->n_all; i++)
        add(c, i);
}

/* The board that a MIG slice is part of. */
static bool add_mig(const vd_nvml *nvml, choice *c, const char *uuid)
{
    void *slice = NULL, *board = NULL;
    if (nvml->board_of_mig == NULL || nvml->by_uuid(uuid, &slice) != VD_NVML_SUCCESS ||
        nvml->board_of_mig(slice, &board) != VD_NVML_SUCCESS)
        return false;
    for (size_t i = 0; i < c->n_all; i++)
        if (c->all[i].handle == board) {
            add(c, i);
            return true;
        }
    return false;
}

static bool add_item(const vd_nvml *nvml, choice *c, const char *item)
{
    size_t len = strlen(item), found = 0, at = 0;
    char *end = NULL;
    if (strncmp(item, "MIG-", 4) == 0)
        return add_mig(nvml, c, item);
    if (strncmp(item, "GPU-", 4) == 0) {
        for (size_t i = 0; i < c->n_all; i++)
            if (strncmp(c->all[i].uuid, item, len) == 0) {
                at = i;
                found++;
            }
        if (found == 1)
            add(c, at);
        return found == 1;
    }
    unsigned long index = strtoul(item, &end, 10);
    if (item[0] < '0' || item[0] > '9' || *end != '\0' || index >= c->n_all)
        return false;
    add(c, index);
    return true;
}

/* Takes items until one is not known, which is then in `bad`; true when all were. */
static bool add_list(const vd_nvml *nvml, choice *c, const char *list, char bad[VD_NVML_UUID_MAX])
{
    while (*list != '\0') {
        size_t len = strcspn(list, ",+");
        snprintf(bad, VD_NVML_UUID_MAX, "%.*s", (int)VD_MIN(len, (size_t)VD_NVML_UUID_MAX), list);
        if (len >= VD_NVML_UUID_MAX || !add_item(nvml, c, bad))
            return false;
        list += len + (list[len] != '\0');
    }
    return true;
}

static bool has_index(const char *list)
{
    return strncmp(list, "GPU-", 4) != 0 && strncmp(list, "MIG-", 4) != 0;
}

vd_status vd_nvml_choose(const vd_nvml *nvml, const char *spec, unsigned index[VD_NVML_GPUS_MAX],
                         size_t *ret_n, vd_err *err)
{
    char bad[VD_NVML_UUID_MAX] = "";
    choice c = {.index = index};
    const char *visible = getenv("CUDA_VISIBLE_DEVICES"), *order = getenv("CUDA_DEVICE_ORDER");
    vd_status st = list_all(nvml, &c, err);
    if (st != VD_OK)
        return st;
    if (spec[0] != '\0') {
        if (!add_list(nvml, &c, spec, bad))
            return VD_FAIL(err, VD_ERR_ARG, "nvml: there is no GPU \"%s\"; there are 0 to %zu", bad,
                           c.n_all - 1);
    } else if (visible == NULL) {
        add_all(&c);
    } else if (has_index(visible) && !same_model(&c) &&
               (order == NULL || strcmp(order, "PCI_BUS_ID") != 0)) {
        add_all(&c);
    } else {
        (void)add_list(nvml, &c, visible, bad);
    }
    if (c.n == 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "CUDA_VISIBLE_DEVICES=%.100s hides every GPU",
                       visible != NULL ? visible : "");
    *ret_n = c.n;
    return VD_OK;
}
