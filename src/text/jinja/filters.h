/* filters.h - the parts of the filters, joined by vd_j_find_filter. */
#ifndef VD_TEXT_JINJA_FILTERS_H
#define VD_TEXT_JINJA_FILTERS_H

#include "text/jinja/value.h"

const vd_jbuiltin *vd_j_find_text_filter(const char *name, size_t n);
const vd_jbuiltin *vd_j_find_layout_filter(const char *name, size_t n);
const vd_jbuiltin *vd_j_find_list_filter(const char *name, size_t n);

/* What `attribute` means for one item: "a.b.0" goes step by step; a number is a subscript; absent
 * is the item itself. */
VD_NODISCARD vd_status vd_j_by_attribute(vd_jrender *r, vd_jval item, vd_jval attribute,
                                         vd_jval otherwise, vd_jval *ret);

/* A stable merge sort of items by keys[i]; both arrays are sorted in place. */
VD_NODISCARD vd_status vd_j_sort(vd_jrender *r, vd_jval *key, vd_jval *item, size_t n,
                                 bool reverse);

#endif
