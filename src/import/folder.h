/*
 * folder.h - the small files of a checkpoint's folder: JSON and text, with limits.
 * What is not there is no failure: outputs stay NULL.
 */
#ifndef VD_IMPORT_FOLDER_H
#define VD_IMPORT_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

enum { VD_FOLDER_FILE_MAX = 512 << 20 /* a tokenizer.json of 256,000 tokens has 33 MB */ };

/* FOLDER/NAME; vd_free. */
VD_NODISCARD vd_status vd_folder_path(const char *folder, const char *name, char **ret_path,
                                      vd_err *err);
bool vd_folder_has(const char *folder, const char *name);
/* True where `path` leads to one of the small files: it must not be written to. */
bool vd_folder_is_file(const char *folder, const char *path);
/* The file as JSON (json_decref), an object; NULL when it is not there. */
VD_NODISCARD vd_status vd_folder_json(const char *folder, const char *name, json_t **ret_value,
                                      vd_err *err);
/* The file's bytes with a NUL behind them (vd_free); NULL when it is not there. */
VD_NODISCARD vd_status vd_folder_read(const char *folder, const char *name, char **ret_text,
                                      size_t *ret_n, vd_err *err);

#endif
