/*
 * detect.c - which instruction sets may be used, by the words of AT_HWCAP and AT_HWCAP2: the Linux
 * kernel sets a bit where the processor has the instructions and programs may use them
 * (Documentation/arch/arm64/elf_hwcaps.rst).
 */
#include <stdio.h>
#include <sys/auxv.h>

#include "base/checked.h"
#include "kernels/arm/arm.h"

typedef struct need {
    const char *name;
    unsigned long word; /* AT_HWCAP or AT_HWCAP2 */
    unsigned bit;
    vd_arm_level from;  /* the first level that needs it; those above do too */
} need;

/* The names are those of /proc/cpuinfo. The bits by number: headers of an older system lack the
 * names of the newer ones. */
static const need needs[] = {
    {"ASIMD", AT_HWCAP, 1, VD_ARM_NEON},
    {"ASIMDDP", AT_HWCAP, 20, VD_ARM_DOTPROD},
    {"I8MM", AT_HWCAP2, 13, VD_ARM_I8MM},
};

static bool is_missing(const need *n, vd_arm_level level)
{
    return level >= n->from && (getauxval(n->word) >> n->bit & 1) == 0;
}

void vd_arm_lacks(vd_arm_level level, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < VD_COUNT(needs) && used < size; i++) {
        if (!is_missing(&needs[i], level))
            continue;
        int n = snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", needs[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

bool vd_arm_runs(vd_arm_level level)
{
    for (size_t i = 0; i < VD_COUNT(needs); i++)
        if (is_missing(&needs[i], level))
            return false;
    return true;
}
