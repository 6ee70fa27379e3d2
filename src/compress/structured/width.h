/* width.h - the cut of the model's width. */
#ifndef VD_COMPRESS_STRUCTURED_WIDTH_H
#define VD_COMPRESS_STRUCTURED_WIDTH_H

#include "compress/structured/session.h"

/* Chooses, repairs and writes. VD_ERR_UNSUPPORTED where norms are of another kind than RMS norms of
 * what a block reads, and where other engines read no such shapes. */
VD_NODISCARD vd_status vd_width_run(vd_cut_session *session, vd_err *err);

#endif
