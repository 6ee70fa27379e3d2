/* head.c - see head.h. Pure functions of bytes; nothing here touches a socket. */
#include "serve/head.h"

#include <string.h>
#include <strings.h>

#define REFUSE(...) (vd_api_fail(error, __VA_ARGS__), VD_HEAD_REFUSED)

static bool is_token_char(unsigned char c)
{
    return c > 0x20 && c < 0x7f && strchr("()<>@,;:\\\"/[]?={}", c) == NULL;
}

static bool name_is(const char *name, size_t n, const char *what)
{
    return n == strlen(what) && strncasecmp(name, what, n) == 0;
}

void vd_framing_add(vd_framing *framing, const char *name, size_t n_name, const char *value,
                    size_t n_value)
{
    if (name_is(name, n_name, "host")) {
        framing->n_host++;
    } else if (name_is(name, n_name, "transfer-encoding")) {
        framing->n_encoding++;
        framing->bad_encoding |= !name_is(value, n_value, "chunked");
    } else if (name_is(name, n_name, "content-length")) {
        framing->n_length++;
        uint64_t length = 0;
        framing->bad_length |= n_value == 0;
        for (size_t i = 0; i < n_value; i++) {
            unsigned digit = (unsigned char)value[i] - '0';
            if (digit > 9) {
                framing->bad_length = true;
                break;
            }
            if (length > ((uint64_t)INT64_MAX - digit) / 10)
                framing->length_too_large = true;
            else
                length = length * 10 + digit;
        }
        framing->length_bytes = length;
    }
}

vd_status vd_framing_check(const vd_framing *framing, vd_api_error *error)
{
    if (framing->n_length > 1)
        return vd_api_fail(error, 400, "bad_framing", NULL, "Content-Length is given %u times.",
                           framing->n_length);
    if (framing->n_length > 0 && framing->n_encoding > 0)
        return vd_api_fail(error, 400, "bad_framing", NULL,
                           "Content-Length and Transfer-Encoding exclude each other.");
    if (framing->n_encoding > 1 || framing->bad_encoding)
        return vd_api_fail(error, 400, "bad_framing", NULL,
                           "The only Transfer-Encoding understood is \"chunked\", once.");
    if (framing->bad_length)
        return vd_api_fail(error, 400, "bad_framing", NULL,
                           "Content-Length must be decimal digits and nothing else.");
    if (framing->length_too_large)
        return vd_api_fail(error, 413, "body_too_large", NULL, "Content-Length is absurdly large.");
    if (framing->n_host > 1)
        return vd_api_fail(error, 400, "bad_host", NULL, "Host is given %u times.",
                           framing->n_host);
    return VD_OK;
}

bool vd_target_has_nul(const char *target, size_t n)
{
    return memmem(target, n, "%00", 3) != NULL;
}

/* METHOD SP target SP HTTP/1.x, without its line end. */
static vd_head_state check_request_line(const char *line, size_t n, bool *ret_host_needed,
                                        vd_api_error *error)
{
    size_t method = 0;
    while (method < n && is_token_char((unsigned char)line[method]))
        method++;
    if (method == 0 || method > 16 || method == n || line[method] != ' ')
        return REFUSE(400, "bad_request_line", NULL, "The request line is not HTTP/1.1.");
    const char *target = line + method + 1;
    size_t n_target = 0, rest = n - method - 1;
    while (n_target < rest && (unsigned char)target[n_target] > 0x20 && target[n_target] != 0x7f)
        n_target++;
    if (n_target == 0 || n_target == rest || target[n_target] != ' ')
        return REFUSE(400, "bad_request_line", NULL, "The request line is not HTTP/1.1.");
    const char *version = target + n_target + 1;
    size_t n_version = rest - n_target - 1;
    if (n_version != 8 || memcmp(version, "HTTP/", 5) != 0)
        return REFUSE(400, "bad_request_line", NULL, "The request line is not HTTP/1.1.");
    if (memcmp(version + 5, "1.1", 3) != 0 && memcmp(version + 5, "1.0", 3) != 0)
        return REFUSE(505, "http_version", NULL, "This server speaks HTTP/1.1 and HTTP/1.0.");
    if (n_target > VD_HEAD_TARGET_MAX)
        return REFUSE(414, "uri_too_long", NULL, "The URL is longer than %d bytes.",
                      VD_HEAD_TARGET_MAX);
    if (target[0] != '/' && !(n_target == 1 && target[0] == '*'))
        return REFUSE(400, "bad_url", NULL, "The URL must begin with '/'.");
    if (vd_target_has_nul(target, n_target))
        return REFUSE(400, "bad_url", NULL, "The URL contains %%00.");
    *ret_host_needed = version[7] == '1';
    return VD_HEAD_GOOD;
}

static vd_head_state check_field(const char *line, size_t n, vd_framing *framing,
                                 vd_api_error *error)
{
    if (line[0] == ' ' || line[0] == '\t')
        return REFUSE(400, "bad_header", NULL, "Folded header lines are not accepted.");
    size_t name = 0;
    while (name < n && is_token_char((unsigned char)line[name]))
        name++;
    if (name == 0 || name == n || line[name] != ':')
        return REFUSE(400, "bad_header", NULL, "A header line is not \"Name: value\".");
    const char *value = line + name + 1;
    size_t n_value = n - name - 1;
    while (n_value > 0 && (value[0] == ' ' || value[0] == '\t'))
        value++, n_value--;
    while (n_value > 0 && (value[n_value - 1] == ' ' || value[n_value - 1] == '\t'))
        n_value--;
    for (size_t i = 0; i < n_value; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            return REFUSE(400, "bad_header", NULL, "A header holds a control character.");
    vd_framing_add(framing, line, name, value, n_value);
    return VD_HEAD_GOOD;
}

vd_head_state vd_head_check(const char *bytes, size_t n, vd_api_error *error)
{
    vd_framing framing = {0};
    bool host_needed = false;
    size_t begin = 0, n_lines = 0;
    if (n >= 2 && bytes[0] == '\r' && bytes[1] == '\n')
        begin = 2; /* RFC 9112 2.2: one empty line in front is forgiven */
    if (n > 0 && bytes[0] == 0x16)
        return REFUSE(400, "tls_on_plain_port", NULL, "This port speaks plain HTTP, not TLS.");
    for (;;) {
        const char *end = memchr(bytes + begin, '\n', n - begin);
        if (end == NULL)
            break;
        size_t length = (size_t)(end - bytes) - begin;
        if (length == 0 || bytes[begin + length - 1] != '\r')
            return REFUSE(400, "bad_header", NULL, "Lines of a head must end in CR LF.");
        length--;
        const char *line = bytes + begin;
        begin += length + 2;
        if (begin > VD_HEAD_BYTES_MAX)
            break;
        vd_head_state state;
        if (length == 0 && n_lines > 0) {
            if (host_needed && framing.n_host == 0)
                return REFUSE(400, "bad_host", NULL, "HTTP/1.1 needs a Host header.");
            return vd_framing_check(&framing, error) == VD_OK ? VD_HEAD_GOOD : VD_HEAD_REFUSED;
        }
        if (n_lines++ == 0)
            state = check_request_line(line, length, &host_needed, error);
        else
            state = check_field(line, length, &framing, error);
        if (state != VD_HEAD_GOOD)
            return state;
        if (n_lines > VD_HEAD_FIELDS_MAX + 1)
            return REFUSE(431, "too_many_headers", NULL, "More than %d header lines.",
                          VD_HEAD_FIELDS_MAX);
    }
    if (n >= VD_HEAD_BYTES_MAX || begin > VD_HEAD_BYTES_MAX)
        return n_lines == 0 ? REFUSE(414, "uri_too_long", NULL, "The URL is longer than %d bytes.",
                                     VD_HEAD_TARGET_MAX)
                            : REFUSE(431, "headers_too_large", NULL,
                                     "The head of the request is larger than %d bytes.",
                                     VD_HEAD_BYTES_MAX);
    return VD_HEAD_MORE;
}
