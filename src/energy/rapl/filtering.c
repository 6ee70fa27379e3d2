/* filtering.c - see filtering.h. */
#include "energy/rapl/filtering.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "energy/rapl/rapl_file.h"

enum {
    MSR_ARCH_CAPABILITIES = 0x10a, /* bit 11: bit 0 of the next can be read */
    ENERGY_FILTERING_CTL = 11,
    MSR_MISC_PACKAGE_CTLS = 0xbc
};

static int open_path(vd_rapl_open_fn open_file, void *ctx, const char *path)
{
    return open_file != NULL ? open_file(ctx, path) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static bool read_msr(int fd, off_t number, uint64_t *ret)
{
    return pread(fd, ret, sizeof(*ret), number) == (ssize_t)sizeof(*ret);
}

/* "cpu:type:x86,ven0000fam0006mod006A:feature:,0000,0122,": Intel, and the numbers of features that
 * the kernel uses (drivers/base/cpu.c); 0x122 is X86_FEATURE_SGX, word 9 bit 2. */
vd_filtering vd_filtering_find(const char *sysfs, const char *msr, vd_rapl_open_fn open_file,
                               void *ctx)
{
    char dir[VD_RAPL_PATH_MAX], text[4096];
    snprintf(dir, sizeof(dir), "%.480s/devices/system/cpu", sysfs);
    if (!vd_rapl_file_start(dir, "modalias", text, sizeof(text)) ||
        strstr(text, ",ven0000fam") == NULL)
        return VD_FILTERING_NONE;
    uint64_t capabilities, controls;
    int fd = msr != NULL ? open_path(open_file, ctx, msr) : -1;
    bool told = fd >= 0 && read_msr(fd, MSR_ARCH_CAPABILITIES, &capabilities) &&
                (capabilities >> ENERGY_FILTERING_CTL & 1) != 0 &&
                read_msr(fd, MSR_MISC_PACKAGE_CTLS, &controls);
    if (fd >= 0)
        close(fd);
    if (told && (controls & 1) != 0)
        return VD_FILTERING_ON;
    if (strstr(text, ",0122") != NULL)
        return VD_FILTERING_LIKELY;
    return told ? VD_FILTERING_NONE : VD_FILTERING_UNKNOWN;
}

void vd_filtering_widen(vd_filtering filtering, double *common_pct, double *independent_pct)
{
    static const double half_pct = 35; /* twice this in squares is 50 */
    if (filtering != VD_FILTERING_ON && filtering != VD_FILTERING_LIKELY)
        return;
    *common_pct = hypot(*common_pct, half_pct);
    *independent_pct = hypot(*independent_pct, half_pct);
}

const char *vd_filtering_text(vd_filtering filtering)
{
    static const char *const words[] = {
        [VD_FILTERING_NONE] = "",
        [VD_FILTERING_UNKNOWN] = "",
        [VD_FILTERING_LIKELY] = "SGX is in use, so Intel's energy filtering is likely on: the "
                                "counters may be up to half wrong, and +- says so",
        [VD_FILTERING_ON] = "Intel's energy filtering is on: the counters may be up to half "
                            "wrong, and +- says so",
    };
    return (size_t)filtering < VD_COUNT(words) ? words[filtering] : "";
}
