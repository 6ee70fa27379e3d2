/* base64.c - see base64.h. */
#include "base/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

bool vd_base64_decode(const char *text, size_t n, char *bytes, size_t *ret_n)
{
    size_t n_out = 0;
    if (n % 4 != 0)
        return false;
    for (size_t i = 0; i < n; i += 4) {
        unsigned bits = 0, n_pad = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = value_of(text[i + j]);
            bool pad = text[i + j] == '=' && i + 4 == n && j >= 2;
            if ((value < 0 && !pad) || (n_pad > 0 && !pad))
                return false;
            n_pad += pad;
            bits = bits << 6 | (pad ? 0 : (unsigned)value);
        }
        for (unsigned j = 0; j < 3 - n_pad; j++)
            bytes[n_out++] = (char)(bits >> (16 - 8 * j));
    }
    *ret_n = n_out;
    return true;
}

void vd_base64_append(vd_buf *out, const char *bytes, size_t n)
{
    vd_buf_reserve(out, (n + 2) / 3 * 4);
    for (size_t i = 0; i < n; i += 3) {
        unsigned bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (i + j < n ? (unsigned char)bytes[i + j] : 0);
        char four[4];
        for (size_t j = 0; j < 4; j++)
            four[j] = i + j > n ? '=' : digits[bits >> (18 - 6 * j) & 63];
        vd_buf_append(out, four, sizeof(four));
    }
}
