/* text.c - see text.h. */
#include "report/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "12400" to "12,400"; a fraction behind stays. */
static void put_commas(const char *digits, char *out, size_t size)
{
    const char *begin = digits[0] == '-' ? digits + 1 : digits;
    size_t whole = strcspn(begin, "."), n = 0;
    if (begin != digits)
        out[n++] = '-';
    for (size_t i = 0; begin[i] != '\0' && n + 2 < size; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = begin[i];
    }
    out[n] = '\0';
}

vd_report_text vd_number_text(double value)
{
    vd_report_text out = {"unknown"};
    char digits[40];
    double size = fabs(value);
    if (!isfinite(value))
        return out;
    if (size != 0 && (size < 1e-4 || size >= 1e15)) {
        snprintf(out.text, sizeof(out.text), "%.2e", value);
        return out;
    }
    bool whole = size == floor(size) && size < 1e15;
    snprintf(digits, sizeof(digits), "%.2e", size);
    double rounded = strtod(digits, NULL); /* 0.9997 has one digit before the point, not none */
    size = whole ? size : rounded;
    int before = size >= 1 ? (int)floor(log10(size) + 1e-12) + 1 : 0;
    int behind = size == 0 ? 0 : size >= 1 ? 3 - before : 2 - (int)floor(log10(size) + 1e-12);
    snprintf(digits, sizeof(digits), "%.*f", whole || behind < 0 ? 0 : behind, value);
    put_commas(digits, out.text, sizeof(out.text));
    return out;
}

/* What is not 1 does not read as 1: near it there are more digits, up to six. */
static int ratio_digits(double value)
{
    int n = value < 0.9995 ? 3 : 2;
    while (n < 6 && value != 1 && fabs(value - 1) < 0.5 * pow(10, -n))
        n++;
    return n;
}

vd_report_text vd_ratio_text(double value)
{
    vd_report_text out = {"unknown"};
    if (isfinite(value) && value >= 0.0995 && value < 10)
        snprintf(out.text, sizeof(out.text), "%.*f", ratio_digits(value), value);
    else if (isfinite(value))
        out = vd_number_text(value);
    return out;
}

vd_report_text vd_unit_text(double value, const char *unit)
{
    static const struct {
        const char *prefix;
        double size;
    } scale[] = {{"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"", 1}, {"m", 1e-3}, {"\xc2\xb5", 1e-6},
                 {"n", 1e-9}};
    vd_report_text out, number;
    double size = fabs(value);
    bool small = strcmp(unit, "B") != 0 && strcmp(unit, "kWh") != 0;
    bool large = strcmp(unit, "s") != 0 && strcmp(unit, "kWh") != 0 && strcmp(unit, "L") != 0;
    bool prefixed = unit[0] != '\0' && strstr("J g L B s W ", unit) != NULL;
    size_t i = 3;
    if (!isfinite(value))
        return vd_number_text(value);
    while (prefixed && large && i > 0 && size >= 0.9995 * scale[i - 1].size)
        i--;
    while (prefixed && small && i + 1 < sizeof(scale) / sizeof(scale[0]) && size > 0 &&
           size < 0.9995 * scale[i].size)
        i++;
    number = vd_number_text(value / scale[i].size);
    snprintf(out.text, sizeof(out.text), "%.30s%s%s%.8s", number.text, unit[0] != '\0' ? " " : "",
             scale[i].prefix, unit);
    return out;
}

/* How many bytes at `text` are a character that turns the direction of those behind it (U+202A to
 * U+202E, U+2066 to U+2069): a foreign name must not turn our words. */
static size_t turning(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    bool general = c[0] == 0xe2 && (c[1] == 0x80 || c[1] == 0x81);
    bool embeds = general && c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae;
    bool isolates = general && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
    return embeds || isolates ? 3 : 0;
}

void vd_put_escaped(vd_buf *out, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (turning(text) > 0)
            text += turning(text) - 1;
        else if (c == '<')
            vd_buf_puts(out, "&lt;");
        else if (c == '>')
            vd_buf_puts(out, "&gt;");
        else if (c == '&')
            vd_buf_puts(out, "&amp;");
        else if (c == '"')
            vd_buf_puts(out, "&quot;");
        else if (c == '\'')
            vd_buf_puts(out, "&#39;");
        else if (c >= 0x20 && c != 0x7f)
            vd_buf_putc(out, *text);
        else
            vd_buf_putc(out, ' ');
    }
}
