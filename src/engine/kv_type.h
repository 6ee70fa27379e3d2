/* kv_type.h - the types of the KV cache, as users name them and as kernels do. Pure functions. */
#ifndef VD_ENGINE_KV_TYPE_H
#define VD_ENGINE_KV_TYPE_H

#include <verdant/engine.h>

#include "kernels/dtype.h"

vd_dtype vd_kv_type_dtype(vd_kv_type type);

#endif
