/*
 * fake.h - a machine in place of an engine, for tests of the server alone. It is no part of the
 * program.
 *
 * Tokens are bytes (ids 0-255; 256 ends a text). An answer repeats "Echo: " and the prompt's last
 * bytes, one byte per step, as fast as `step_ns` says, and ends after max_tokens or with the text.
 */
#ifndef VD_TEST_SERVE_FAKE_H
#define VD_TEST_SERVE_FAKE_H

#include <stdint.h>

#include "serve/backend.h"

typedef struct vd_fake vd_fake;

typedef struct vd_fake_options {
    uint64_t step_ns;    /* 0: as fast as can be */
    size_t max_waiting;  /* submissions above: VD_ERR_BUSY; 0: 4,096 */
    size_t ctx_tokens;   /* 0: 1,024 */
    bool endless;        /* goes on until max_tokens, whatever the text */
    bool embeds;       /* bodies of /v1/embeddings are read; no vector ever comes */
} vd_fake_options;

vd_fake *vd_fake_create(const vd_fake_options *options);
void vd_fake_free(vd_fake *fake); /* ends what runs as cancelled, joins the thread */
vd_backend vd_fake_backend(vd_fake *fake);

#endif
