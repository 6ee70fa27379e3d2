/* picture.h - a search's front as an SVG file: divergence against bytes, the chosen point marked.
 * */
#ifndef VD_COMPRESS_SEARCH_PICTURE_H
#define VD_COMPRESS_SEARCH_PICTURE_H

#include "compress/search/search.h"

/* Readable in light and dark, the file whole or not at all. */
VD_NODISCARD vd_status vd_search_draw(const vd_search_result *result, const char *path,
                                      vd_err *err);

#endif
