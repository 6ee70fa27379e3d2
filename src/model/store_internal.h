/* store_internal.h - what store.c and store_write.c share. */
#ifndef VD_MODEL_STORE_INTERNAL_H
#define VD_MODEL_STORE_INTERNAL_H

#include "model/store.h"

enum { VD_STORE_FILE_MAX = VD_STORE_NAME_MAX + 64 }; /* a file name of the folder, with its NUL */

/* As vd_gguf_shard_name, of a text that lacks its ".gguf". */
bool vd_store_is_shard(const char *text, unsigned *ret_no, unsigned *ret_count, size_t *ret_stem);

/* The stored file number `no` (from 1) of `count`. vd_free. */
VD_NODISCARD vd_status vd_store_file_path(const char *name, unsigned no, unsigned count,
                                          char **ret_path, vd_err *err);

#endif
