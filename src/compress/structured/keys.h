/* keys.h - the metadata of a model that was cut. */
#ifndef VD_COMPRESS_STRUCTURED_KEYS_H
#define VD_COMPRESS_STRUCTURED_KEYS_H

#include "compress/structured/plan.h"
#include "model/gguf_write.h"

/* All keys of the source, with the new counts; what followed from a count that has changed (the
 * head dimension, the rotated part of a head) is written out. Layers of different sizes need the
 * architecture "deci", which is Llama with sizes per layer: VD_ERR_UNSUPPORTED for others. */
VD_NODISCARD vd_status vd_keys_write(const vd_cut_plan *plan, vd_gguf_out *out, vd_err *err);
/* Whether models of this architecture may have layers of different sizes. */
bool vd_keys_can_be_uneven(const vd_cut_plan *plan);

#endif
