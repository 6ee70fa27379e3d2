/*
 * checkpoint.h - all tensors of a folder: model.safetensors, or its shards with their index.
 *
 * Immutable after open. Names and data live until vd_checkpoint_free.
 */
#ifndef VD_IMPORT_CHECKPOINT_H
#define VD_IMPORT_CHECKPOINT_H

#include "import/safetensors.h"

typedef struct vd_checkpoint vd_checkpoint;

/* VD_ERR_NOT_FOUND where the folder has no safetensors, VD_ERR_FORMAT for an index that names a
 * tensor that is not there, a file with a tensor that the index does not name, and whatever
 * safetensors.h refuses. */
VD_NODISCARD vd_status vd_checkpoint_open(const char *folder, vd_checkpoint **ret_checkpoint,
                                          vd_err *err);
void vd_checkpoint_free(vd_checkpoint *checkpoint); /* NULL is a no-op */

size_t vd_checkpoint_n(const vd_checkpoint *checkpoint);
const vd_st_tensor *vd_checkpoint_at(const vd_checkpoint *checkpoint, size_t i);
/* NULL when absent. */
const vd_st_tensor *vd_checkpoint_find(const vd_checkpoint *checkpoint, const char *name);
uint64_t vd_checkpoint_bytes(const vd_checkpoint *checkpoint); /* of all tensors */
size_t vd_checkpoint_n_files(const vd_checkpoint *checkpoint);
/* True where `path` leads to one of its files: it must not be written to. */
bool vd_checkpoint_is_file(const vd_checkpoint *checkpoint, const char *path);

#endif
