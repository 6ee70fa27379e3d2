/*
 * fault_vfs.h - SQLite's files with faults: the k-th write, sync, truncation, opening, mapping or
 * removal from now fails, once or for good. A layer over SQLite's own VFS (sqlite.org/vfs.html).
 */
#ifndef TESTS_ENERGY_FAULT_VFS_H
#define TESTS_ENERGY_FAULT_VFS_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
} fault_file;

static sqlite3_vfs *fault_real;
static atomic_long fault_left; /* operations until the fault; 0: off */
static atomic_bool fault_stays;
static atomic_int fault_code;
static atomic_long fault_hits;

/* The code to return instead of doing it, or SQLITE_OK. */
static inline int fault_now(void)
{
    long left = atomic_load(&fault_left);
    if (left == 0)
        return SQLITE_OK;
    if (left > 1) {
        atomic_store(&fault_left, left - 1);
        return SQLITE_OK;
    }
    if (!atomic_load(&fault_stays))
        atomic_store(&fault_left, 0);
    atomic_fetch_add(&fault_hits, 1);
    return atomic_load(&fault_code);
}

static inline sqlite3_file *fault_of(sqlite3_file *file)
{
    return ((fault_file *)file)->real;
}

#define FAULT_OR(call)                                                                             \
    do {                                                                                           \
        int code = fault_now();                                                                    \
        return code != SQLITE_OK ? code : (call);                                                  \
    } while (0)

static inline int fault_close(sqlite3_file *f)
{
    return fault_of(f)->pMethods != NULL ? fault_of(f)->pMethods->xClose(fault_of(f)) : SQLITE_OK;
}

static inline int fault_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return fault_of(f)->pMethods->xRead(fault_of(f), to, n, at);
}

static inline int fault_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    int code = fault_now();
    if (code == SQLITE_OK)
        return fault_of(f)->pMethods->xWrite(fault_of(f), from, n, at);
    if (n > 1) /* half of it is there: a disk that fills up */
        (void)fault_of(f)->pMethods->xWrite(fault_of(f), from, n / 2, at);
    return code;
}

static inline int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    FAULT_OR(fault_of(f)->pMethods->xTruncate(fault_of(f), size));
}

static inline int fault_sync(sqlite3_file *f, int flags)
{
    FAULT_OR(fault_of(f)->pMethods->xSync(fault_of(f), flags));
}

static inline int fault_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return fault_of(f)->pMethods->xFileSize(fault_of(f), size);
}

static inline int fault_lock(sqlite3_file *f, int how)
{
    return fault_of(f)->pMethods->xLock(fault_of(f), how);
}

static inline int fault_unlock(sqlite3_file *f, int how)
{
    return fault_of(f)->pMethods->xUnlock(fault_of(f), how);
}

static inline int fault_reserved(sqlite3_file *f, int *out)
{
    return fault_of(f)->pMethods->xCheckReservedLock(fault_of(f), out);
}

static inline int fault_control(sqlite3_file *f, int op, void *arg)
{
    return fault_of(f)->pMethods->xFileControl(fault_of(f), op, arg);
}

static inline int fault_sector(sqlite3_file *f)
{
    return fault_of(f)->pMethods->xSectorSize(fault_of(f));
}

static inline int fault_kind(sqlite3_file *f)
{
    return fault_of(f)->pMethods->xDeviceCharacteristics(fault_of(f));
}

static inline int fault_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **to)
{
    FAULT_OR(fault_of(f)->pMethods->xShmMap(fault_of(f), page, size, extend, to));
}

static inline int fault_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return fault_of(f)->pMethods->xShmLock(fault_of(f), at, n, flags);
}

static inline void fault_shm_barrier(sqlite3_file *f)
{
    fault_of(f)->pMethods->xShmBarrier(fault_of(f));
}

static inline int fault_shm_unmap(sqlite3_file *f, int delete_it)
{
    return fault_of(f)->pMethods->xShmUnmap(fault_of(f), delete_it);
}

static inline int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                             int *ret_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 2,
        .xClose = fault_close,
        .xRead = fault_read,
        .xWrite = fault_write,
        .xTruncate = fault_truncate,
        .xSync = fault_sync,
        .xFileSize = fault_size,
        .xLock = fault_lock,
        .xUnlock = fault_unlock,
        .xCheckReservedLock = fault_reserved,
        .xFileControl = fault_control,
        .xSectorSize = fault_sector,
        .xDeviceCharacteristics = fault_kind,
        .xShmMap = fault_shm_map,
        .xShmLock = fault_shm_lock,
        .xShmBarrier = fault_shm_barrier,
        .xShmUnmap = fault_shm_unmap,
    };
    fault_file *file = (fault_file *)f;
    file->base.pMethods = NULL;
    file->real = (sqlite3_file *)(file + 1);
    file->real->pMethods = NULL;
    if (fault_now() != SQLITE_OK)
        return SQLITE_CANTOPEN;
    int code = fault_real->xOpen(fault_real, name, file->real, flags, ret_flags);
    if (file->real->pMethods != NULL)
        file->base.pMethods = &methods;
    return code;
}

static inline int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    FAULT_OR(fault_real->xDelete(fault_real, name, sync));
}

/* Before the first connection. */
static inline void fault_install(void)
{
    static sqlite3_vfs layer;
    fault_real = sqlite3_vfs_find(NULL);
    layer = *fault_real;
    layer.zName = "faults";
    layer.szOsFile = (int)sizeof(fault_file) + fault_real->szOsFile;
    layer.xOpen = fault_open;
    layer.xDelete = fault_delete;
    sqlite3_vfs_register(&layer, 1);
}

static inline void fault_set(long k, int code, bool stays)
{
    atomic_store(&fault_code, code);
    atomic_store(&fault_stays, stays);
    atomic_store(&fault_hits, 0);
    atomic_store(&fault_left, k);
}

#endif
