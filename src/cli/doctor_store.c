/* doctor_store.c - the model store: where, how full, and whether it can be written. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/doctor.h"

void vd_doctor_store_find(vd_doctor_store *store)
{
    vd_err err = {0};
    struct statvfs disk;
    if (vd_store_directory(&store->directory, &err) != VD_OK ||
        vd_store_list(&store->models, &store->n_models, &err) != VD_OK)
        snprintf(store->error, sizeof(store->error), "%s", err.message);
    if (store->directory == NULL)
        return;
    store->exists = access(store->directory, F_OK) == 0;
    /* The folder is made when it is needed: until then the nearest one above it says. */
    char *path = vd_strdup(store->directory);
    if (path == NULL)
        return;
    while (access(path, F_OK) != 0) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            snprintf(path, 2, ".");
            break;
        }
        slash[slash == path] = '\0';
    }
    store->writable = access(path, W_OK | X_OK) == 0;
    if (statvfs(path, &disk) == 0)
        store->free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    vd_free(path);
}

void vd_doctor_store_done(vd_doctor_store *store)
{
    vd_store_entries_free(store->models, store->n_models);
    vd_free(store->directory);
    store->models = NULL;
    store->n_models = 0;
    store->directory = NULL;
}
