/*
 * str.h - Python's string operations, for methods and filters. Results keep the mark `safe`
 * of the text they come from.
 */
#ifndef VD_TEXT_JINJA_STR_H
#define VD_TEXT_JINJA_STR_H

#include "text/jinja/value.h"

typedef enum vd_jcasing {
    VD_JCASING_UPPER,
    VD_JCASING_LOWER,
    VD_JCASING_CAPITALIZE, /* first character in title case, the rest lower */
    VD_JCASING_TITLE,      /* str.title(): letters that follow no letter */
    VD_JCASING_WORDS,      /* the filter title: behind blanks and - ( { [ < only */
    VD_JCASING_SWAP,
    VD_JCASING_FOLD
} vd_jcasing;

VD_NODISCARD vd_status vd_j_str_case(vd_jrender *r, const vd_jstr *s, vd_jcasing to, vd_jval *ret);
/* chars NULL: white space. */
VD_NODISCARD vd_status vd_j_str_strip(vd_jrender *r, const vd_jstr *s, const vd_jstr *chars,
                                      bool left, bool right, vd_jval *ret);
/* count < 0: all. */
VD_NODISCARD vd_status vd_j_str_replace(vd_jrender *r, const vd_jstr *s, const vd_jstr *old,
                                        const vd_jstr *with, int64_t count, vd_jval *ret);
VD_NODISCARD vd_status vd_j_str_lines(vd_jrender *r, const vd_jstr *s, bool keep_ends,
                                      vd_jlist **ret);
/* separator NULL: runs of white space. limit < 0: none. from_right: rsplit. */
VD_NODISCARD vd_status vd_j_str_split(vd_jrender *r, const vd_jstr *s, const vd_jstr *separator,
                                      int64_t limit, bool from_right, vd_jlist **ret);
/* The part data[begin..end) of s. */
VD_NODISCARD vd_status vd_j_str_part(vd_jrender *r, const vd_jstr *s, size_t begin, size_t end,
                                     vd_jval *ret);
/* Python's int(text, base) and float(text); false where it raises ValueError. */
bool vd_j_str_to_int(const vd_jstr *s, int64_t base, int64_t *ret);
bool vd_j_str_to_float(const vd_jstr *s, double *ret);
/* `fill` (one character) repeated. */
VD_NODISCARD vd_status vd_j_str_pad(vd_jrender *r, const vd_jstr *s, const vd_jstr *fill,
                                    size_t left, size_t right, vd_jval *ret);

#endif
