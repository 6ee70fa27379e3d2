/*
 * half.c - the two 16-bit floats, by integer arithmetic, so that every machine gives the same bits.
 *
 *   f16   s eeeee mmmmmmmmmm    bias 15, subnormals are multiples of 2^-24
 *   bf16  s eeeeeeee mmmmmmm    the upper half of an f32
 */
#include <string.h>

#include "kernels/dtype.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float vd_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 31;
    uint32_t mantissa = half & 0x3ff;

    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent != 0)
        return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    if (mantissa == 0)
        return from_bits(sign);
    /* Subnormal: shift the leading one to bit 10; every f16 subnormal is a normal f32. */
    uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21;
    return from_bits(sign | (113 - shift) << 23 | ((mantissa << shift) & 0x3ff) << 13);
}

uint16_t vd_f32_to_f16(float value)
{
    uint32_t bits = to_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;

    if (magnitude > 0x7f800000) /* NaN: quiet, upper payload kept */
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) { /* a normal f16: rebase the exponent, round off 13 bits */
        uint32_t odd = magnitude >> 13 & 1;
        return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + odd) >> 13);
    }
    if (magnitude <= 0x33000000) /* up to 2^-25, whose tie goes to the even zero */
        return sign;
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    uint32_t shift = 126 - (magnitude >> 23); /* 14..24 bits to round off */
    uint32_t kept = mantissa >> shift;
    uint32_t rest = mantissa & ((1u << shift) - 1);
    uint32_t tie = 1u << (shift - 1);
    if (rest > tie || (rest == tie && (kept & 1)))
        kept++;
    return (uint16_t)(sign | kept);
}

float vd_bf16_to_f32(uint16_t bits)
{
    return from_bits((uint32_t)bits << 16);
}

uint16_t vd_f32_to_bf16(float value)
{
    uint32_t bits = to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
