/* imatrix_internal.h - what imatrix.c and imatrix_write.c share. */
#ifndef VD_COMPRESS_IMATRIX_INTERNAL_H
#define VD_COMPRESS_IMATRIX_INTERNAL_H

#include "compress/imatrix.h"

struct vd_imatrix {
    vd_imatrix_entry *entry; /* [n_max] */
    size_t n, n_max;
};

#endif
