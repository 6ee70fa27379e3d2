/*
 * detect.c - which instruction sets may be used: the processor must have them (CPUID), the
 * operating system must save their registers (XCR0), and for the tiles of AMX it must have been
 * asked, or they trap. Intel SDM vol. 1, 13.3, 15.2 and 18; Linux, arch/x86/xstate.rst.
 */
#include <cpuid.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "kernels/x86/x86.h"

/* Where the bits stand. */
enum word { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX, LEAF7_1_EAX, XCR0, PERMISSION, N_WORDS };

typedef struct need {
    const char *name;
    enum word word;
    uint32_t bits;      /* all of them */
    vd_x86_level from;  /* the first level that needs it; those above do too, but for those of
                       * is_alone */
} need;

static const need needs[] = {
    {"AVX2", LEAF7_EBX, 1u << 5, VD_X86_AVX2},
    {"FMA", LEAF1_ECX, 1u << 12, VD_X86_AVX2},
    {"F16C", LEAF1_ECX, 1u << 29, VD_X86_AVX2},
    {"256-bit registers enabled by the system", XCR0, 0x06, VD_X86_AVX2},
    {"AVX_VNNI", LEAF7_1_EAX, 1u << 4, VD_X86_AVXVNNI},
    {"AVX512F", LEAF7_EBX, 1u << 16, VD_X86_AVX512},
    {"AVX512DQ", LEAF7_EBX, 1u << 17, VD_X86_AVX512},
    {"AVX512BW", LEAF7_EBX, 1u << 30, VD_X86_AVX512},
    {"AVX512VL", LEAF7_EBX, 1u << 31, VD_X86_AVX512},
    {"AVX512_VNNI", LEAF7_ECX, 1u << 11, VD_X86_AVX512},
    {"512-bit registers enabled by the system", XCR0, 0xe6, VD_X86_AVX512},
    {"AVX512_VBMI2", LEAF7_ECX, 1u << 6, VD_X86_AVX512_VBMI2},
    {"AVX512_BF16", LEAF7_1_EAX, 1u << 5, VD_X86_AVX512_BF16},
    {"AMX_TILE", LEAF7_EDX, 1u << 24, VD_X86_AMX},
    {"AMX_BF16", LEAF7_EDX, 1u << 22, VD_X86_AMX},
    {"AMX_INT8", LEAF7_EDX, 1u << 25, VD_X86_AMX},
    {"tiles enabled by the system", XCR0, 0x60000, VD_X86_AMX},
    {"tiles permitted by the system", PERMISSION, 1, VD_X86_AMX},
};

static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* The data of tiles takes 8 KB wherever a thread's registers are saved, so Linux gives it to those
 * who ask; asking again changes nothing. */
static uint32_t ask_for_tiles(void)
{
#ifdef SYS_arch_prctl
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return 0;
#endif
}

static void read_words(uint32_t word[N_WORDS])
{
    const uint32_t osxsave = 1u << 27; /* leaf 1, ecx: XGETBV may be used */
    const uint32_t amx_tile = 1u << 24, tile_state = 0x60000;
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        word[LEAF1_ECX] = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        unsigned n_subleaves = a;
        word[LEAF7_EBX] = b;
        word[LEAF7_ECX] = c;
        word[LEAF7_EDX] = d;
        if (n_subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            word[LEAF7_1_EAX] = a;
    }
    if (word[LEAF1_ECX] & osxsave)
        word[XCR0] = read_xcr0();
    if ((word[LEAF7_EDX] & amx_tile) && (word[XCR0] & tile_state) == tile_state)
        word[PERMISSION] = ask_for_tiles();
}

/* What a level needs that levels above it do without: the first processors with AVX512_BF16 had no
 * VBMI2. */
static bool is_alone(vd_x86_level level)
{
    return level == VD_X86_AVXVNNI || level == VD_X86_AVX512_VBMI2;
}

static bool is_missing(const uint32_t word[N_WORDS], const need *n, vd_x86_level level)
{
    bool needed = is_alone(n->from) ? level == n->from : level >= n->from;
    return needed && (word[n->word] & n->bits) != n->bits;
}

void vd_x86_lacks(vd_x86_level level, char *text, size_t size)
{
    uint32_t word[N_WORDS] = {0};
    size_t used = 0;
    read_words(word);
    text[0] = '\0';
    for (size_t i = 0; i < VD_COUNT(needs) && used < size; i++) {
        if (!is_missing(word, &needs[i], level))
            continue;
        int n = snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", needs[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

bool vd_x86_runs(vd_x86_level level)
{
    uint32_t word[N_WORDS] = {0};
    read_words(word);
    for (size_t i = 0; i < VD_COUNT(needs); i++)
        if (is_missing(word, &needs[i], level))
            return false;
    return true;
}
