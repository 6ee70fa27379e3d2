/* observe.h - lets the programs see each step of an engine (energy accounts, metrics). */
#ifndef VD_ENGINE_OBSERVE_H
#define VD_ENGINE_OBSERVE_H

#include <verdant/engine.h>

#include "base/step.h"

/* Called on the compute thread after the forward pass and before the events of that step, so that
 * an account knows of the step when the answer's last event asks for its joules. */
typedef void (*vd_step_fn)(void *ctx, const vd_step *step);

/* Before the first step only. NULL switches it off. */
void vd_engine_observe(vd_engine *engine, vd_step_fn on_step, void *ctx);

#endif
