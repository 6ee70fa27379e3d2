/* methods.h - what the method tables of the types share. */
#ifndef VD_TEXT_JINJA_METHODS_H
#define VD_TEXT_JINJA_METHODS_H

#include "text/jinja/value.h"

const vd_jbuiltin *vd_j_find_str_method(const char *name, size_t n);

/* "{} {name!r:>10}".format(...), without access to attributes of a value (format.c). */
VD_NODISCARD vd_status vd_j_str_format(vd_jrender *r, const vd_jstr *s, const vd_jargs *args,
                                       vd_jval *ret);

#endif
