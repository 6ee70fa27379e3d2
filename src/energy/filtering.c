/* filtering.c - see filtering.h. */
#include "energy/filtering.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

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

/* The word among those of the first line that begins with `key`. */
static bool line_has(const char *text, const char *key, const char *word)
{
    const char *line = text;
    size_t n_key = strlen(key), n_word = strlen(word);
    while (strncmp(line, key, n_key) != 0) {
        line = strchr(line, '\n');
        if (line == NULL)
            return false;
        line++;
    }
    for (const char *at = line + n_key; *at != '\0' && *at != '\n';) {
        at += strspn(at, " \t:");
        size_t n = strcspn(at, " \t\n");
        if (n == n_word && memcmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

vd_filtering vd_filtering_find(const char *cpuinfo, const char *msr, vd_rapl_open_fn open_file,
                               void *ctx)
{
    char text[8192] = "";
    int fd = open_path(open_file, ctx, cpuinfo);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[VD_MAX(n, 0)] = '\0';
    if (!line_has(text, "vendor_id", "GenuineIntel"))
        return VD_FILTERING_NONE;
    uint64_t capabilities, controls;
    fd = open_path(open_file, ctx, msr);
    bool told = fd >= 0 && read_msr(fd, MSR_ARCH_CAPABILITIES, &capabilities) &&
                (capabilities >> ENERGY_FILTERING_CTL & 1) != 0 &&
                read_msr(fd, MSR_MISC_PACKAGE_CTLS, &controls);
    if (fd >= 0)
        close(fd);
    if (told && (controls & 1) != 0)
        return VD_FILTERING_ON;
    if (line_has(text, "flags", "sgx"))
        return VD_FILTERING_LIKELY;
    return told ? VD_FILTERING_NONE : VD_FILTERING_UNKNOWN;
}

const char *vd_filtering_text(vd_filtering filtering)
{
    static const char *const words[] = {
        [VD_FILTERING_NONE] = "",
        [VD_FILTERING_UNKNOWN] = "",
        [VD_FILTERING_LIKELY] = "SGX is in use, so Intel's energy filtering is likely on: the "
                                "counters may be skewed, on short intervals most",
        [VD_FILTERING_ON] = "Intel's energy filtering is on: the counters are skewed, on short "
                            "intervals most",
    };
    return (size_t)filtering < VD_COUNT(words) ? words[filtering] : "";
}
