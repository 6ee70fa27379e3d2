/* fingerprint.h - by what kept work knows the model again that it is of. */
#ifndef VD_COMPRESS_FINGERPRINT_H
#define VD_COMPRESS_FINGERPRINT_H

#include "base/sha256.h"
#include "model/gguf.h"

/* Adds this program's version, all metadata and the table of tensors. Of the data not all, so that
 * a large model is not read twice: the beginning and the end of every tensor, and two places
 * between. */
void vd_fingerprint_model(const vd_gguf *gguf, vd_sha256 *sha);

#endif
