/* calibrate.h - steps whose contents are known, so that who observes learns what they cost. */
#ifndef VD_ENGINE_CALIBRATE_H
#define VD_ENGINE_CALIBRATE_H

#include <verdant/engine.h>

/* For about `budget_ns`: prompts of a few lengths, answers in a few batch sizes, near and deep in
 * the context, told to the observer as steps of request 0, which no request has; their energy is
 * nobody's. The engine's own pace learns from them too. A step that would probably pass the budget
 * is left out, so a large model gets few. The engine's counters and its cache of prefixes see
 * nothing of it. Before the first request and vd_engine_start. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_engine_calibrate(vd_engine *engine, uint64_t budget_ns, vd_err *err);

#endif
