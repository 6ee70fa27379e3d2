/*
 * fuzz_gguf.c - libFuzzer target for the GGUF reader: any bytes are refused with a message or give
 * tables that can be walked to their ends, every byte of which lies inside the input.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_sparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* keeps the reads */

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void walk_value(const vd_gguf *gguf, const vd_gguf_kv *kv)
{
    uint64_t u64 = 0;
    int64_t i64 = 0;
    double f64 = 0;
    for (size_t i = 0; i < kv->key.n; i++)
        sink += (unsigned char)kv->key.data[i];
    if (kv->item_type == VD_GGUF_TYPE_STRING) {
        const unsigned char *cursor = kv->data;
        for (uint64_t i = 0; i < kv->n_items; i++) {
            vd_str item = vd_gguf_next_str(&cursor);
            for (size_t k = 0; k < item.n; k++)
                sink += (unsigned char)item.data[k];
        }
    }
    for (uint64_t i = 0; i < kv->n_items; i++) {
        bool is_int = vd_gguf_item_u64(kv, i, &u64);
        is_int |= vd_gguf_item_i64(kv, i, &i64);
        bool is_number = vd_gguf_item_f64(kv, i, &f64) || is_int;
        require(is_number == (kv->item_type != VD_GGUF_TYPE_STRING));
        sink += u64 + (uint64_t)i64;
    }
    require(!vd_gguf_item_u64(kv, kv->n_items, &u64));
    sink += (uint64_t)vd_gguf_type_name(kv->type)[0];
    if (memchr(kv->key.data, 0, kv->key.n) != NULL)
        return;
    char *key = strndup(kv->key.data, kv->key.n);
    uint32_t u32 = 0;
    int32_t i32 = 0;
    float f32 = 0;
    bool flag = false;
    vd_str str = {0};
    require(key != NULL && vd_gguf_find(gguf, key) == kv);
    sink += vd_gguf_get_u32(gguf, key, &u32) + vd_gguf_get_i32(gguf, key, &i32) +
            vd_gguf_get_f32(gguf, key, &f32) + vd_gguf_get_bool(gguf, key, &flag) +
            vd_gguf_get_str(gguf, key, &str);
    vd_err err;
    if (vd_gguf_require_u32(gguf, key, &u32, &err) != VD_OK)
        require(memchr(err.message, 0, sizeof(err.message)) != NULL);
    free(key);
}

static void walk_tensor(const vd_gguf_tensor *tensor, const uint8_t *data, size_t size)
{
    require(tensor->n_dims <= 4 && tensor->name.n < 64);
    for (size_t i = 0; i < tensor->name.n; i++)
        sink += (unsigned char)tensor->name.data[i];
    const unsigned char *bytes = tensor->is_sparse ? tensor->stored : tensor->data;
    if (bytes == NULL)
        return;
    require(bytes >= data && bytes <= data + size &&
            tensor->n_bytes <= (uint64_t)(data + size - bytes));
    for (uint64_t i = 0; i < tensor->n_bytes; i++)
        sink += bytes[i];
}

/* Sparse tensors are refused with a message, or all of their dense rows are there. */
static void expand(vd_gguf *gguf)
{
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *tensor = vd_gguf_tensor_at(gguf, i);
        vd_err err = {0};
        vd_status st = vd_gguf_expand_tensor(gguf, i, &err);
        require(st == VD_OK || err.message[0] != '\0');
        for (uint64_t k = 0; st == VD_OK && tensor->data != NULL && k < tensor->n_bytes; k++)
            sink += tensor->data[k];
    }
}

static bool open_and_walk(const uint8_t *data, size_t size, bool metadata_only)
{
    vd_gguf_options options = {.metadata_only = metadata_only};
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    vd_status st = vd_gguf_open_memory(data, size, &options, &gguf, &err);
    if (st != VD_OK) {
        require(gguf == NULL && err.status == st && err.message[0] != '\0');
        return false;
    }
    require(vd_gguf_version(gguf) == 2 || vd_gguf_version(gguf) == 3);
    require(vd_gguf_file_bytes(gguf) == size && vd_gguf_alignment(gguf) > 0);
    for (size_t i = 0; i < vd_gguf_n_kv(gguf); i++)
        walk_value(gguf, vd_gguf_kv_at(gguf, i));
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++)
        walk_tensor(vd_gguf_tensor_at(gguf, i), data, size);
    expand(gguf);
    vd_gguf_free(gguf);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole = open_and_walk(data, size, false);
    bool metadata = open_and_walk(data, size, true);
    require(metadata || !whole); /* leaving out the data section only ever accepts more */
    return 0;
}
