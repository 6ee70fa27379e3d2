/* effect.h - which layers the model's own predictions miss least. */
#ifndef VD_COMPRESS_STRUCTURED_EFFECT_H
#define VD_COMPRESS_STRUCTURED_EFFECT_H

#include "compress/structured/session.h"

/* At most so many chunks of the text are predicted: each layer is tried on all of them, each time
 * one goes. */
enum { VD_EFFECT_CHUNKS = 16 };

/* n_gone layers, gone[n_layer] set: one after the other the one without which the second half of
 * each chunk is predicted best. VD_ERR_CANCELLED, VD_ERR_FORMAT, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_effect_choose(vd_cut_session *session, size_t n_gone, bool *gone,
                                        vd_err *err);

#endif
