/* bunzip.c - see bunzip.h. By libbz2, with our allocator. */
#include "eval/bunzip.h"

#include <bzlib.h>
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"

static void *bz_alloc(void *unused, int n, int size)
{
    size_t bytes = 0;
    if (n < 0 || size < 0 || !vd_mul_size((size_t)n, (size_t)size, &bytes))
        return NULL;
    return vd_alloc(bytes);
}

static void bz_free(void *unused, void *block)
{
    vd_free(block);
}

bool vd_bunzip_is(const char *data, size_t n)
{
    return n >= 4 && memcmp(data, "BZh", 3) == 0 && data[3] >= '1' && data[3] <= '9';
}

static vd_status judge(int code, vd_err *err)
{
    if (code == BZ_MEM_ERROR)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to unpack bzip2 data");
    return VD_FAIL(err, VD_ERR_FORMAT, "the bzip2 data is damaged");
}

/* One stream; *at moves behind it. */
static vd_status one_stream(const char *data, size_t n, size_t *at, vd_buf *out, vd_err *err)
{
    char piece[1 << 15];
    vd_status st = VD_OK;
    bz_stream bz = {.bzalloc = bz_alloc, .bzfree = bz_free};
    int code = BZ2_bzDecompressInit(&bz, 0, 0);
    if (code != BZ_OK)
        return judge(code, err);
    while (code != BZ_STREAM_END) {
        unsigned given = (unsigned)VD_MIN(n - *at, (size_t)INT_MAX);
        bz.next_in = (char *)data + *at; /* read only */
        bz.avail_in = given;
        bz.next_out = piece;
        bz.avail_out = sizeof(piece);
        code = BZ2_bzDecompress(&bz);
        if (code != BZ_OK && code != BZ_STREAM_END) {
            st = judge(code, err);
            goto out;
        }
        size_t taken = given - bz.avail_in, made = sizeof(piece) - bz.avail_out;
        *at += taken;
        if (taken == 0 && made == 0) {
            st = VD_FAIL(err, VD_ERR_FORMAT, "the bzip2 data is cut short");
            goto out;
        }
        vd_buf_append(out, piece, made);
        if (out->failed != VD_OK)
            goto out; /* the caller asks */
    }
out:
    BZ2_bzDecompressEnd(&bz);
    return st;
}

vd_status vd_bunzip(const char *data, size_t n, size_t limit, char **ret_text, size_t *ret_n,
                    vd_err *err)
{
    vd_buf out;
    vd_status st = VD_OK;
    vd_buf_init(&out, limit);
    for (size_t at = 0; st == VD_OK && at < n && out.failed == VD_OK;)
        st = one_stream(data, n, &at, &out, err);
    if (st == VD_OK)
        st = vd_buf_status(&out, "unpacked bzip2 data", err);
    if (st == VD_OK) {
        size_t size = out.n;
        char *text = vd_buf_take(&out);
        if (text == NULL) {
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for unpacked data");
        } else {
            *ret_text = text;
            *ret_n = size;
        }
    }
    vd_buf_done(&out);
    return st;
}
