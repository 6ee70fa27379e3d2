/* scheduler.h - one step of the engine. See scheduler.c for the policy. */
#ifndef VD_ENGINE_SCHEDULER_H
#define VD_ENGINE_SCHEDULER_H

#include "engine/engine.h"

/* Runs one step; false when there was nothing to do. Called by the stepping thread only. */
bool vd_scheduler_step(vd_engine *engine);
/* To the front of the waiting queue: it gave its pages back and has to be computed again. */
void vd_scheduler_put_back(vd_engine *engine, vd_request *request);

#endif
