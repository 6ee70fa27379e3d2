/* batch.h - what the next forward pass computes. The stepping thread's. */
#ifndef VD_ENGINE_BATCH_H
#define VD_ENGINE_BATCH_H

#include "engine/engine.h"

/* Fills e->token and its neighbours, e->share and e->sampled, and returns the number of shares. May
 * send requests back to the waiting queue, where no page is left for an older one. */
size_t vd_batch_build(vd_engine *engine, vd_batch *ret_batch);
/* The guesses that a drafter made since go into it. */
void vd_batch_take_drafts(vd_engine *engine);

#endif
