/* layers.h - the cut of whole layers. */
#ifndef VD_COMPRESS_STRUCTURED_LAYERS_H
#define VD_COMPRESS_STRUCTURED_LAYERS_H

#include "compress/structured/session.h"

/* Chooses and writes. VD_ERR_UNSUPPORTED where the architecture has a fixed pattern of layers that
 * would shift. */
VD_NODISCARD vd_status vd_layers_run(vd_cut_session *session, vd_err *err);

#endif
