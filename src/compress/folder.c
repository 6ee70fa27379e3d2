/* folder.c - see folder.h. */
#include "compress/folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fail.h"

vd_status vd_compress_folder(const char *target, char **ret_folder, vd_err *err)
{
    struct stat info;
    bool special = stat(target, &info) == 0 && !S_ISREG(info.st_mode);
    const char *temporary = getenv("TMPDIR");
    char *real = special ? NULL : realpath(target, NULL); /* behind a symbolic link */
    const char *path = real != NULL ? real : target, *slash = strrchr(path, '/');
    if (special)
        *ret_folder = vd_strdup(temporary != NULL && *temporary != '\0' ? temporary : "/tmp");
    else if (slash != NULL)
        *ret_folder = vd_strndup(path, slash > path ? (size_t)(slash - path) : 1);
    else
        *ret_folder = vd_strdup(".");
    free(real);
    return *ret_folder != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
}
