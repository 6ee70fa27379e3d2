/*
 * arena.h - memory with one lifetime: many allocations, one release.
 *
 *   chunk -> chunk -> chunk        each chunk: [used ......| free]
 *
 * A lifetime is a model, a session, a request or a step (PostgreSQL's memory contexts, named by
 * lifetime). Blocks are never freed one by one. Single-owner: one thread at a time.
 */
#ifndef VD_BASE_ARENA_H
#define VD_BASE_ARENA_H

#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_arena_chunk vd_arena_chunk;

typedef struct vd_arena {
    vd_arena_chunk *chunk; /* newest first */
    size_t total_bytes;    /* of all chunks */
    size_t limit_bytes;    /* ceiling on total_bytes */
} vd_arena;

/* Takes no memory yet. limit_bytes is the ceiling of all its chunks together. */
void vd_arena_init(vd_arena *arena, size_t limit_bytes);
/* Frees everything; the arena may be used again after vd_arena_init. A zeroed arena is fine. */
void vd_arena_done(vd_arena *arena);

/* Zeroed memory aligned to 16, owned by the arena; NULL when memory or the ceiling is reached. */
void *vd_arena_alloc(vd_arena *arena, size_t n, size_t size);
char *vd_arena_strndup(vd_arena *arena, const char *text, size_t n);

/* As vd_arena_alloc, but fills *err with VD_ERR_NOMEM naming `what`. ret_block is a T **. */
VD_NODISCARD vd_status vd_arena_array(vd_arena *arena, size_t n, size_t size, const char *what,
                                      void *ret_block, vd_err *err);

#endif
