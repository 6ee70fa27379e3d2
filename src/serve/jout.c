/* jout.c - see jout.h. */
#include "serve/jout.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

static void put_escaped(vd_buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        vd_buf_append(out, "\\\"", 2);
        break;
    case '\\':
        vd_buf_append(out, "\\\\", 2);
        break;
    case '\n':
        vd_buf_append(out, "\\n", 2);
        break;
    case '\r':
        vd_buf_append(out, "\\r", 2);
        break;
    case '\t':
        vd_buf_append(out, "\\t", 2);
        break;
    default:
        vd_buf_printf(out, "\\u%04x", c);
    }
}

void vd_jout_string(vd_buf *out, const char *text, size_t n)
{
    vd_buf_putc(out, '"');
    size_t begin = 0, i = 0;
    while (i < n) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x7f) {
            i++;
            continue;
        }
        uint32_t code;
        int length = c < 0x80 ? 0 : vd_utf8_decode(text + i, n - i, &code);
        if (length > 0) {
            i += (size_t)length;
            continue;
        }
        vd_buf_append(out, text + begin, i - begin);
        if (c < 0x80)
            put_escaped(out, c);
        else
            vd_buf_append(out, "\xef\xbf\xbd", 3);
        begin = ++i;
    }
    vd_buf_append(out, text + begin, n - begin);
    vd_buf_putc(out, '"');
}

void vd_jout_token(vd_buf *out, const char *piece, size_t n)
{
    if (vd_utf8_valid(piece, n)) {
        vd_jout_string(out, piece, n);
        return;
    }
    vd_buf_puts(out, "\"bytes:");
    for (size_t i = 0; i < n; i++)
        vd_buf_printf(out, "\\\\x%02x", (unsigned char)piece[i]);
    vd_buf_putc(out, '"');
}

void vd_jout_bytes(vd_buf *out, const char *bytes, size_t n)
{
    vd_buf_putc(out, '[');
    for (size_t i = 0; i < n; i++)
        vd_buf_printf(out, i != 0 ? ",%u" : "%u", (unsigned char)bytes[i]);
    vd_buf_putc(out, ']');
}

void vd_jout_number(vd_buf *out, double value, int digits)
{
    vd_buf_printf(out, "%.*g", digits, isfinite(value) ? value : -9999.0);
}
