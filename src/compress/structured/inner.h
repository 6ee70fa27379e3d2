/* inner.h - cuts inside of layers: neurons and KV groups. */
#ifndef VD_COMPRESS_STRUCTURED_INNER_H
#define VD_COMPRESS_STRUCTURED_INNER_H

#include "compress/structured/session.h"

/* Chooses, repairs and writes. */
VD_NODISCARD vd_status vd_inner_run(vd_cut_session *session, vd_err *err);

#endif
