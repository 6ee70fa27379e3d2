/*
 * detect.c - which instruction sets may be used: the processor must have them (CPUID) and the
 * operating system must save their registers (XCR0), or they trap. Intel SDM vol. 1, 13.3 and 15.2.
 */
#include <cpuid.h>

#include "kernels/x86/x86.h"

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

vd_x86_features vd_x86_detect(void)
{
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, F16C = 1 << 29 };             /* leaf 1, ecx */
    enum { AVX2 = 1 << 5, AVX512F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 }; /* leaf 7, ebx */
    enum { VNNI = 1 << 11 };                                               /* leaf 7, ecx */
    const unsigned vl = 1u << 31;                                          /* leaf 7, ebx */
    enum { YMM_STATE = 0x06, ZMM_STATE = 0xe6 };                           /* XCR0 */
    vd_x86_features has = {0};
    unsigned a, b, c, d, b7, c7;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE))
        return has;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
        return has;
    uint64_t xcr0 = read_xcr0();
    has.avx2 = (xcr0 & YMM_STATE) == YMM_STATE && (c & FMA) && (c & F16C) && (b7 & AVX2);
    has.avx512 = has.avx2 && (xcr0 & ZMM_STATE) == ZMM_STATE && (b7 & AVX512F) && (b7 & DQ) &&
                 (b7 & BW) && (b7 & vl) && (c7 & VNNI);
    return has;
}
