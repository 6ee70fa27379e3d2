/*
 * fuzz_head.c - libFuzzer target for the strict look at the head of a request (src/serve/head.h).
 * The input is what came on a connection.
 *
 * A verdict about its beginning is the verdict about the whole; what is refused is refused with a
 * status and words; what is good ends in an empty line and has at most one length.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "serve/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static vd_head_state check(const char *bytes, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1); /* so that a look past the end is seen */
    require(copy != NULL);
    memcpy(copy, bytes, n);
    vd_api_error error = {0};
    vd_head_state state = vd_head_check(copy, n, &error);
    free(copy);
    require((state == VD_HEAD_REFUSED) == (error.http != 0));
    if (state == VD_HEAD_REFUSED)
        require(error.http >= 400 && error.http < 600 && error.message[0] != '\0' &&
                strcmp(vd_http_reason(error.http), "Error") != 0 &&
                vd_utf8_valid(error.message, strlen(error.message)));
    if (state == VD_HEAD_GOOD)
        require(memmem(bytes, n, "\r\n\r\n", 4) != NULL);
    if (state == VD_HEAD_MORE)
        require(n < VD_HEAD_BYTES_MAX);
    return state;
}

/* Lines that do not count for the framing of a good head: counted again, in the simplest way. */
static void check_good(const char *bytes, size_t n)
{
    size_t n_length = 0, n_encoding = 0;
    const char *end = memmem(bytes, n, "\r\n\r\n", 4);
    for (const char *at = bytes; at < end; at++) {
        at = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (at == NULL)
            break;
        n_length += strncasecmp(at + 2, "content-length:", 15) == 0;
        n_encoding += strncasecmp(at + 2, "transfer-encoding:", 18) == 0;
    }
    require(n_length + n_encoding <= 1 && memmem(bytes, (size_t)(end - bytes), "\n\n", 2) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    vd_head_state whole = check(bytes, size);
    for (size_t quarter = 0; quarter < 4; quarter++) {
        vd_head_state part = check(bytes, size * quarter / 4);
        require(part == VD_HEAD_MORE || part == whole);
    }
    if (whole == VD_HEAD_GOOD)
        check_good(bytes, size);
    return 0;
}
