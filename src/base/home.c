/* home.c - see home.h. */
#include "base/home.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fail.h"

enum { PATH_LIMIT = 4096 };

static bool is_set(const char *value)
{
    return value != NULL && value[0] != '\0';
}

vd_status vd_home_path(const char *name, char **ret_path, vd_err *err)
{
    vd_buf path;
    vd_buf_init(&path, PATH_LIMIT);
    if (is_set(getenv("VERDANT_HOME"))) {
        vd_buf_printf(&path, "%s/%s", getenv("VERDANT_HOME"), name);
    } else if (is_set(getenv("XDG_DATA_HOME"))) {
        vd_buf_printf(&path, "%s/verdant/%s", getenv("XDG_DATA_HOME"), name);
    } else {
        const struct passwd *user = is_set(getenv("HOME")) ? NULL : getpwuid(getuid());
        const char *home = user != NULL ? user->pw_dir : getenv("HOME");
        if (!is_set(home))
            return VD_FAIL(err, VD_ERR_NOT_FOUND,
                           "no home directory: set VERDANT_HOME to where Verdant's files may lie");
        vd_buf_printf(&path, "%s/.local/share/verdant/%s", home, name);
    }
    vd_status st = vd_buf_status(&path, "a path in VERDANT_HOME", err);
    if (st == VD_OK)
        *ret_path = vd_buf_take(&path);
    vd_buf_done(&path);
    return st;
}
