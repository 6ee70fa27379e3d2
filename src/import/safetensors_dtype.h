/* safetensors_dtype.h - from the name of a type to its number; part of safetensors.h. */
#ifndef VD_IMPORT_SAFETENSORS_DTYPE_H
#define VD_IMPORT_SAFETENSORS_DTYPE_H

#include "import/safetensors.h"

/* False for a name that is not in the list. */
bool vd_st_dtype_find(const char *name, vd_st_dtype *ret);

#endif
