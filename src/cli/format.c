/* format.c - see format.h. */
#include "cli/format.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cli/cli.h"

static vd_cli_text scaled(uint64_t n, const char *unit)
{
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
    vd_cli_text out;
    double value = (double)n;
    int k = 0;
    for (; value >= 999.5 && k < 6; k++)
        value /= 1000;
    snprintf(out.text, sizeof(out.text), "%.*f%s%s%s", k > 0 && value < 999.95 ? 1 : 0, value,
             k > 0 || unit[0] != '\0' ? " " : "", prefix[k], unit);
    return out;
}

vd_cli_text vd_cli_size(uint64_t bytes)
{
    return scaled(bytes, "B");
}

vd_cli_text vd_cli_count(uint64_t n)
{
    return scaled(n, "");
}

vd_cli_text vd_cli_real(double value, int is_f32)
{
    vd_cli_text out;
    for (int digits = is_f32 ? 6 : 15; digits <= 17; digits++) {
        snprintf(out.text, sizeof(out.text), "%.*g", digits, value);
        double back = strtod(out.text, NULL);
        if (isnan(value) || (is_f32 ? (float)back == (float)value : back == value))
            break;
    }
    return out;
}

/* One character of data[0..n) as it may be shown; returns how many bytes it took. */
static size_t show_character(const char *data, size_t n, char out[8], size_t *ret_columns)
{
    uint32_t code = 0;
    int length = vd_utf8_decode(data, n, &code);
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0) ||
                   (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                   (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
    if (length > 0 && !control) {
        for (int i = 0; i < length; i++)
            out[i] = data[i];
        out[length] = '\0';
        *ret_columns = 1;
        return (size_t)length;
    }
    if (data[0] == '\n' || data[0] == '\t')
        snprintf(out, 8, "\\%c", data[0] == '\n' ? 'n' : 't');
    else
        snprintf(out, 8, "\\x%02x", (unsigned char)data[0]);
    *ret_columns = data[0] == '\n' || data[0] == '\t' ? 2 : 4;
    return 1;
}

size_t vd_cli_put_clean(FILE *out, const char *data, size_t n, size_t columns)
{
    size_t at = 0, used = 0, width;
    char shown[8];
    while (at < n) {
        size_t length = show_character(data + at, n - at, shown, &width);
        size_t room = at + length < n ? 1 : 0; /* for the sign that more follows */
        if (used + width + room > columns) {
            fputs("\xe2\x80\xa6", out);
            return used + 1;
        }
        fputs(shown, out);
        used += width;
        at += length;
    }
    return used;
}

json_t *vd_cli_json_string(const char *data, size_t n)
{
    if (vd_utf8_valid(data, n))
        return json_stringn(data, n);
    vd_buf clean;
    vd_buf_init(&clean, (size_t)1 << 31);
    for (size_t at = 0; at < n;) {
        uint32_t code;
        int length = vd_utf8_decode(data + at, n - at, &code);
        if (length > 0)
            vd_buf_append(&clean, data + at, (size_t)length);
        else
            vd_buf_puts(&clean, "\xef\xbf\xbd");
        at += length > 0 ? (size_t)length : 1;
    }
    json_t *text = clean.failed == VD_OK ? json_stringn(vd_buf_text(&clean), clean.n) : NULL;
    vd_buf_done(&clean);
    return text;
}

int vd_cli_put_json(const char *command, json_t *value)
{
    char *text = vd_json_text(value);
    json_decref(value);
    if (text == NULL) {
        vd_err err = {0};
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory for the answer");
        return vd_cli_failed(command, &err);
    }
    puts(text);
    vd_free(text);
    return VD_EXIT_OK;
}
