/*
 * hub.h - Hugging Face's hub, or what speaks like it: hf:ORG/REPO[@REVISION][:FILE].
 *
 *   GET /api/models/ORG/REPO/tree/REVISION?recursive=true     what files there are, page by page
 *   GET /ORG/REPO/resolve/REVISION/FILE                       redirects to the host of the file and
 *                                                             says its size and SHA-256 (http.h)
 *
 * The environment counts as it does for the hub's own client: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH,
 * HF_HOME, HF_HUB_DOWNLOAD_TIMEOUT. Single-threaded.
 */
#ifndef VD_CLI_PULL_HUB_H
#define VD_CLI_PULL_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/buf.h"
#include "cli/pull/download.h"

enum { VD_HUB_PATH_MAX = 1024 };

typedef struct vd_hub {
    char *endpoint; /* without a slash at the end */
    char *token;    /* NULL: none; never shown */
    long stalled_s;
} vd_hub;

/* VD_ERR_ARG: the environment is wrong, also where a token would go over http: to another
 * machine. */
VD_NODISCARD vd_status vd_hub_open(vd_hub *ret_hub, vd_err *err);
void vd_hub_close(vd_hub *hub);

typedef struct vd_hub_ref {
    char repo[200];               /* ORG/REPO */
    char revision[256];           /* branch, tag or commit; "" = main */
    char file[VD_HUB_PATH_MAX];   /* a path in the repository or a part of a name; "" = not said */
} vd_hub_ref;

/* `text` behind "hf:". VD_ERR_ARG says what a reference looks like. */
VD_NODISCARD vd_status vd_hub_ref_parse(const char *text, vd_hub_ref *ret_ref, vd_err *err);
/* "main" where none is named. */
const char *vd_hub_revision(const vd_hub_ref *ref);

/* A path of a repository that leads nowhere else: no "..", not absolute, no control characters. */
bool vd_hub_path_valid(const char *path);

typedef struct vd_hub_file {
    char *path;
    int64_t bytes;                  /* -1: not known */
    char sha256[VD_SHA256_HEX + 1]; /* "" = not known */
} vd_hub_file;

typedef struct vd_hub_files {
    vd_hub_file *file;
    size_t n;
} vd_hub_files;

/* All files of the repository, by path. */
VD_NODISCARD vd_status vd_hub_list(const vd_hub *hub, const vd_hub_ref *ref,
                                   vd_hub_files *ret_files, vd_err *err);
/* {0} is fine. */
void vd_hub_files_free(vd_hub_files *files);
/* Adds a copy. */
VD_NODISCARD vd_status vd_hub_files_add(vd_hub_files *files, const char *path, int64_t bytes,
                                        const char *sha256, vd_err *err);

/* The files of the one GGUF model that `ref` names, in order. Where it names several, or none, they
 * are shown on stderr and the message says how to choose. */
VD_NODISCARD vd_status vd_hub_find_model(const vd_hub *hub, const vd_hub_ref *ref,
                                         vd_hub_files *ret_files, vd_err *err);

/* The files that `verdant import` reads of the model in safetensors. */
VD_NODISCARD vd_status vd_hub_find_weights(const vd_hub *hub, const vd_hub_ref *ref,
                                           vd_hub_files *ret_files, vd_err *err);

/* files->file[i]; the disk must have room for those behind it too. commit: the revision that one of
 * them was taken from already, or "". */
VD_NODISCARD vd_status vd_hub_download(const vd_hub *hub, const vd_hub_ref *ref,
                                       const vd_hub_files *files, size_t i, const char *commit,
                                       const char *label, const char *part_path,
                                       const char *note_path, vd_downloaded *ret, vd_err *err);

/* For the hub's own files: the whole text of an address. */
VD_NODISCARD vd_status vd_hub_get_text(const vd_hub *hub, const vd_hub_ref *ref, const char *url,
                                       vd_buf *text, vd_http_reply *reply, vd_err *err);
/* Appends `text`, percent-encoded but for letters, digits, "-._~" and those in `others`. */
void vd_hub_put_encoded(vd_buf *buf, const char *text, const char *others);

#endif
