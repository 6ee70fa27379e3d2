/* twin_none.c - machines without levels of vd_check's own. */
#include "check.h"

const vd_kernels *check_twin(const char *name)
{
    (void)name;
    return NULL;
}
