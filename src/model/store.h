/*
 * store.h - the local model store: one folder of GGUF files, found by name.
 *
 *   $VERDANT_HOME/models/            default: $XDG_DATA_HOME/verdant, else ~/.local/share/verdant
 *     NAME.gguf                      the model
 *     NAME-0000K-of-0000N.gguf       or its N files, as other programs name them too
 *     NAME.json                      where it came from: {"source", "sha256"}
 *     .NAME.part, .NAME.part.json    an unfinished pull and what it needs to go on; of N files:
 *     .NAME.part-0000K-of-0000N.gguf, .NAME.part-0000K-of-0000N.json
 *     .NAME.lock                     held by flock while a pull of NAME runs
 *
 * A name is a letter or digit and then letters, digits, '.', '_', '-', 128 bytes at most, so it
 * never leaves the folder and never clashes with the hidden files; it does not end like a shard's.
 * Files appear by rename only, of several the first one last: a model is there when that one is.
 * Threads: all functions may be called from any thread; processes are kept apart by the lock.
 */
#ifndef VD_MODEL_STORE_H
#define VD_MODEL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

enum { VD_STORE_NAME_MAX = 128 };

/* The file of a model: `name_or_path` itself where it is a regular file, else the stored model of
 * that name. VD_ERR_NOT_FOUND says what to pull; VD_ERR_ARG: a folder or a device. The path is the
 * caller's (vd_free). */
VD_NODISCARD vd_status vd_store_resolve(const char *name_or_path, char **ret_path, vd_err *err);

bool vd_store_name_valid(const char *name);
/* VD_ERR_ARG that says what a name looks like. */
VD_NODISCARD vd_status vd_store_name_check(const char *name, vd_err *err);

/* The folder; it need not exist. vd_free. */
VD_NODISCARD vd_status vd_store_directory(char **ret_path, vd_err *err);
/* DIRECTORY/PREFIX NAME SUFFIX, e.g. "" and ".gguf", or "." and ".part". vd_free. */
VD_NODISCARD vd_status vd_store_path(const char *name, const char *prefix, const char *suffix,
                                     char **ret_path, vd_err *err);

/* The unfinished file number `no` (from 1) of `count`, and its note. vd_free. */
VD_NODISCARD vd_status vd_store_part_path(const char *name, unsigned no, unsigned count, bool note,
                                          char **ret_path, vd_err *err);

typedef struct vd_store_entry {
    char *name, *path;     /* path: of the first file */
    char *source, *sha256; /* NULL when not known; sha256: of models in one file */
    uint64_t bytes;        /* of all files */
    unsigned n_files;
    int64_t time_s; /* when it was stored, seconds since 1970 */
} vd_store_entry;

/* All models by name. A folder that is not there holds none. vd_store_entries_free. */
VD_NODISCARD vd_status vd_store_list(vd_store_entry **ret_entries, size_t *ret_n, vd_err *err);
void vd_store_entries_free(vd_store_entry *entries, size_t n);

/* Removes the model, its note and what an unfinished pull left. VD_ERR_NOT_FOUND. */
VD_NODISCARD vd_status vd_store_remove(const char *name, vd_err *err);

/* Moves the finished files of vd_store_part_path under their name and writes the note. They must
 * open as one GGUF model in n_files files, else VD_ERR_FORMAT and they stay where they are. sha256
 * NULL = not known. */
VD_NODISCARD vd_status vd_store_commit(const char *name, unsigned n_files, const char *source,
                                       const char *sha256, vd_err *err);
/* Removes the unfinished files and their notes. */
void vd_store_remove_parts(const char *name);

/* Keeps other processes from storing `name`; waits for one that does, after calling `waiting`
 * (NULL allowed). Makes the folder. Released by vd_store_unlock, which takes *fd = -1 as well. */
VD_NODISCARD vd_status vd_store_lock(const char *name, void (*waiting)(const char *name),
                                     int *ret_fd, vd_err *err);
void vd_store_unlock(const char *name, int *fd);

#endif
