/* folder.h - where temporary files of a compression go. */
#ifndef VD_COMPRESS_FOLDER_H
#define VD_COMPRESS_FOLDER_H

#include <verdant/status.h>

/* Beside the file to be written, or, where that is a device or a pipe, where temporary files go.
 * Freed by the caller (vd_free). VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_compress_folder(const char *target, char **ret_folder, vd_err *err);

#endif
