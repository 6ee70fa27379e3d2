/*
 * gguf_writer.h - writes GGUF files field by field into memory, right or wrong, for tests.
 *
 *   gguf_writer w = {0};
 *   gguf_header(&w, 3, 1, 1);                      version, tensors, metadata pairs
 *   gguf_kv_u32(&w, "general.alignment", 64);
 *   gguf_tensor(&w, "a", 2, (uint64_t[]){32, 2}, 0, 0);
 *   gguf_pad(&w, 64); gguf_fill(&w, 256, 0);
 *   ... w.data, w.n ...  free(w.data)
 *
 * Numbers are written little-endian whatever the host. Memory is the C library's, so that fault
 * injection hits the code under test only; a shortage here ends the test program.
 */
#ifndef VD_TESTS_GGUF_WRITER_H
#define VD_TESTS_GGUF_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gguf_writer {
    unsigned char *data;
    size_t n, capacity;
} gguf_writer;

__attribute__((unused)) static void gguf_bytes(gguf_writer *w, const void *bytes, size_t n)
{
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n) + 256;
        w->data = realloc(w->data, w->capacity);
        if (w->data == NULL)
            exit(99);
    }
    if (n > 0)
        memcpy(w->data + w->n, bytes, n);
    w->n += n;
}

/* The `bytes` low bytes of value. */
__attribute__((unused)) static void gguf_int(gguf_writer *w, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        gguf_bytes(w, &(unsigned char){(unsigned char)value}, 1);
}

__attribute__((unused)) static void gguf_u32(gguf_writer *w, uint32_t value)
{
    gguf_int(w, value, 4);
}

__attribute__((unused)) static void gguf_u64(gguf_writer *w, uint64_t value)
{
    gguf_int(w, value, 8);
}

__attribute__((unused)) static void gguf_f32(gguf_writer *w, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    gguf_u32(w, bits);
}

__attribute__((unused)) static void gguf_str(gguf_writer *w, const char *text)
{
    gguf_u64(w, strlen(text));
    gguf_bytes(w, text, strlen(text));
}

__attribute__((unused)) static void gguf_header(gguf_writer *w, uint32_t version,
                                                uint64_t n_tensors, uint64_t n_kv)
{
    gguf_bytes(w, "GGUF", 4);
    gguf_u32(w, version);
    gguf_u64(w, n_tensors);
    gguf_u64(w, n_kv);
}

/* Key and type number; the value is written behind it. */
__attribute__((unused)) static void gguf_key(gguf_writer *w, const char *key, uint32_t type)
{
    gguf_str(w, key);
    gguf_u32(w, type);
}

/* Key, array type, item type and length; the items are written behind it. */
__attribute__((unused)) static void gguf_key_array(gguf_writer *w, const char *key, uint32_t item,
                                                   uint64_t n)
{
    gguf_key(w, key, 9);
    gguf_u32(w, item);
    gguf_u64(w, n);
}

__attribute__((unused)) static void gguf_kv_u32(gguf_writer *w, const char *key, uint32_t value)
{
    gguf_key(w, key, 4);
    gguf_u32(w, value);
}

__attribute__((unused)) static void gguf_kv_f32(gguf_writer *w, const char *key, float value)
{
    gguf_key(w, key, 6);
    gguf_f32(w, value);
}

__attribute__((unused)) static void gguf_kv_bool(gguf_writer *w, const char *key, int value)
{
    gguf_key(w, key, 7);
    gguf_int(w, value != 0, 1);
}

__attribute__((unused)) static void gguf_kv_str(gguf_writer *w, const char *key, const char *value)
{
    gguf_key(w, key, 8);
    gguf_str(w, value);
}

__attribute__((unused)) static void gguf_tensor(gguf_writer *w, const char *name, uint32_t n_dims,
                                                const uint64_t *dim, uint32_t dtype,
                                                uint64_t offset)
{
    gguf_str(w, name);
    gguf_u32(w, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        gguf_u64(w, dim[i]);
    gguf_u32(w, dtype);
    gguf_u64(w, offset);
}

__attribute__((unused)) static void gguf_fill(gguf_writer *w, size_t n, unsigned char byte)
{
    for (size_t i = 0; i < n; i++)
        gguf_bytes(w, &byte, 1);
}

__attribute__((unused)) static void gguf_pad(gguf_writer *w, size_t alignment)
{
    gguf_fill(w, (alignment - w->n % alignment) % alignment, 0);
}

#endif
