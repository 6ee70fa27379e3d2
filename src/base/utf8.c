/* utf8.c - see utf8.h. The table of well-formed byte sequences is Unicode's table 3-7. */
#include "base/utf8.h"

#include <string.h>

int vd_utf8_decode(const char *text, size_t n, uint32_t *ret_code)
{
    if (n == 0)
        return -1;
    const unsigned char *s = (const unsigned char *)text;
    unsigned char first = s[0];
    if (first < 0x80) {
        *ret_code = first;
        return 1;
    }
    int length = first >= 0xC2 && first <= 0xDF   ? 2
                 : first >= 0xE0 && first <= 0xEF ? 3
                 : first >= 0xF0 && first <= 0xF4 ? 4
                                                  : 0;
    if (length == 0)
        return 0;
    /* The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF. */
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    uint32_t code = first & (0x7Fu >> length);
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= n)
            return -1;
        if (s[i] < low || s[i] > high)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *ret_code = code;
    return length;
}

size_t vd_utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code >= 0xD800 && code <= 0xDFFF)
        return 0;
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    if (code > 0x10FFFF)
        return 0;
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

bool vd_utf8_valid(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int length = vd_utf8_decode(text + i, n - i, &code);
        if (length <= 0)
            return false;
        i += (size_t)length;
    }
    return true;
}

size_t vd_utf8_complete(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if (c < 0x80)
            return n;
        if (c >= 0xC0) {
            uint32_t code;
            return vd_utf8_decode(text + n - back, back, &code) == -1 ? n - back : n;
        }
    }
    return n;
}

void vd_utf8_mend(char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int length = vd_utf8_decode(text + i, n - i, &code);
        if (length <= 0) {
            text[i] = '?';
            length = 1;
        }
        i += (size_t)length;
    }
}
