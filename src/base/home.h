/* home.h - the folder of the user's things: models, ledger, calibrations. */
#ifndef VD_BASE_HOME_H
#define VD_BASE_HOME_H

#include <verdant/status.h>

/* "FOLDER/name" (vd_free). FOLDER is $VERDANT_HOME, else $XDG_DATA_HOME/verdant, else
 * ~/.local/share/verdant; it need not exist. VD_ERR_NOT_FOUND where there is no home directory. */
VD_NODISCARD vd_status vd_home_path(const char *name, char **ret_path, vd_err *err);

#endif
