/*
 * step.h - who was in one engine step. The engine writes it, energy reads it; neither knows the
 * other. See ARCHITECTURE.md, "the life of a joule".
 */
#ifndef VD_BASE_STEP_H
#define VD_BASE_STEP_H

#include <stddef.h>
#include <stdint.h>

/* One request's part in one step. */
typedef struct vd_step_share {
    uint64_t request_id;
    uint32_t n_prefill; /* prompt tokens computed */
    uint32_t n_decode;  /* answer tokens computed */
    uint64_t n_kv_read; /* (token, earlier position) pairs that attention read */
    uint32_t n_rejected; /* drafted answer tokens computed and not taken; not in n_decode */
} vd_step_share;

/* One forward pass over all its requests. Borrowed for the call it is handed to. */
typedef struct vd_step {
    uint64_t begin_ns, end_ns; /* vd_now_ns */
    const vd_step_share *share;
    size_t n_share;
    uint32_t model; /* whose step: the observer's number of the engine, 0, 1, ... */
} vd_step;

#endif
