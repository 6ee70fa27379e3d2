/* version.c - the version, set by the build. */
#include <verdant/verdant.h>

const char *vd_version(void)
{
    return VD_VERSION;
}
