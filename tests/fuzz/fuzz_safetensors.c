/*
 * fuzz_safetensors.c - libFuzzer target for the safetensors reader: any bytes are refused with a
 * message, or give tensors that cover the data without holes, each as large as its shape takes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "import/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECE = 64 };

static volatile float sink; /* keeps the reads */

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void walk(const vd_st_tensor *t)
{
    float values[PIECE];
    uint64_t n = 1, n_values = vd_st_n_values(t);
    size_t width = vd_st_dtype_bytes(t->dtype);
    require(t->n_dims <= VD_ST_DIMS_MAX && t->name.data[t->name.n] == '\0');
    for (uint32_t i = 0; i < t->n_dims; i++)
        require(!__builtin_mul_overflow(n, t->dim[i], &n) || t->n_bytes == 0);
    require(t->n_bytes == 0 || (n == n_values && n * width == t->n_bytes));
    require(vd_st_dtype_name(t->dtype)[0] != '\0');
    for (uint64_t i = 0; t->dtype <= VD_ST_LAST_FLOAT && i < n_values; i += PIECE) {
        size_t left = (size_t)(n_values - i < PIECE ? n_values - i : PIECE);
        vd_st_decode(t->dtype, t->data + i * width, values, left);
        sink += values[left - 1];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vd_safetensors *file = NULL;
    vd_err err = {0};
    vd_json_init();
    vd_status st = vd_safetensors_open_memory(data, size, &file, &err);
    if (st != VD_OK) {
        require(file == NULL && err.status == st && err.message[0] != '\0');
        return 0;
    }
    const uint8_t *at = NULL;
    for (size_t i = 0; i < vd_safetensors_n(file); i++) {
        const vd_st_tensor *t = vd_safetensors_at(file, i);
        require(t->data >= data && t->data <= data + size && (at == NULL || t->data == at));
        at = t->data + t->n_bytes;
        walk(t);
    }
    require(at == NULL || at == data + size);
    vd_safetensors_free(file);
    return 0;
}
