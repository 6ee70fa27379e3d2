/* arena.c - see arena.h. Chunks double from 4 KiB to 1 MiB; a larger block gets its own chunk. */
#include "base/arena.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20, ALIGN = 16 };

struct vd_arena_chunk {
    vd_arena_chunk *next;
    size_t size, used; /* of data[] */
    _Alignas(ALIGN) unsigned char data[];
};

void vd_arena_init(vd_arena *arena, size_t limit_bytes)
{
    *arena = (vd_arena){.limit_bytes = limit_bytes};
}

void vd_arena_done(vd_arena *arena)
{
    vd_arena_chunk *chunk = arena->chunk;
    while (chunk != NULL) {
        vd_arena_chunk *next = chunk->next;
        vd_free(chunk);
        chunk = next;
    }
    arena->chunk = NULL;
    arena->total_bytes = 0;
}

static vd_arena_chunk *chunk_add(vd_arena *arena, size_t size)
{
    size_t grown = arena->chunk != NULL ? VD_MIN(arena->chunk->size * 2, (size_t)CHUNK_MAX)
                                        : (size_t)CHUNK_MIN;
    size_t want = VD_MAX(size, grown);
    size_t total, with_header;
    if (!vd_add_size(want, sizeof(vd_arena_chunk), &with_header) ||
        !vd_add_size(arena->total_bytes, with_header, &total) || total > arena->limit_bytes)
        return NULL;
    vd_arena_chunk *chunk = vd_alloc(with_header);
    if (chunk == NULL)
        return NULL;
    *chunk = (vd_arena_chunk){.next = arena->chunk, .size = want};
    arena->chunk = chunk;
    arena->total_bytes = total;
    return chunk;
}

void *vd_arena_alloc(vd_arena *arena, size_t n, size_t size)
{
    size_t bytes, padded;
    if (!vd_mul_size(n, size, &bytes) || !vd_align_size(VD_MAX(bytes, 1), ALIGN, &padded))
        return NULL;
    vd_arena_chunk *chunk = arena->chunk;
    if (chunk == NULL || chunk->size - chunk->used < padded)
        chunk = chunk_add(arena, padded);
    if (chunk == NULL)
        return NULL;
    void *block = chunk->data + chunk->used;
    chunk->used += padded;
    memset(block, 0, padded);
    return block;
}

char *vd_arena_strndup(vd_arena *arena, const char *text, size_t n)
{
    size_t size;
    if (!vd_add_size(n, 1, &size))
        return NULL;
    char *copy = vd_arena_alloc(arena, size, 1);
    if (copy != NULL)
        memcpy(copy, text, n);
    return copy;
}

vd_status vd_arena_array(vd_arena *arena, size_t n, size_t size, const char *what, void *ret_block,
                         vd_err *err)
{
    void *block = vd_arena_alloc(arena, n, size);
    if (block == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %s (%zu x %zu bytes)", what, n, size);
    memcpy(ret_block, &block, sizeof(block));
    return VD_OK;
}
