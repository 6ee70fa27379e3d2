/* shim.c - doors for the Python tests into what libverdant does not export. Loaded by ctypes. */
#include <verdant/status.h>

#include "kernels/dtype.h"

VD_API void test_decode(int dtype, const void *src, float *dst, size_t n);
VD_API int test_dtype_row_bytes(unsigned number, size_t n, size_t *ret_bytes);
VD_API const char *test_dtype_name(unsigned number);

void test_decode(int dtype, const void *src, float *dst, size_t n)
{
    vd_dtype_decode((vd_dtype)dtype, src, dst, n);
}

int test_dtype_row_bytes(unsigned number, size_t n, size_t *ret_bytes)
{
    return vd_dtype_row_bytes(number, n, ret_bytes);
}

const char *test_dtype_name(unsigned number)
{
    return vd_dtype_name(number);
}
