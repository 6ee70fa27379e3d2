/* finish.h - what follows a forward pass for one request: its next token, its events, its end. */
#ifndef VD_ENGINE_FINISH_H
#define VD_ENGINE_FINISH_H

#include "engine/engine.h"

/* Draws the next token from this row, appends it and tells the caller. False when the request ends
 * with it (an end token, a stop string, a limit, cancelled, no number): r->ending says how, and
 * vd_finish_ended sends the last event once the step has been told. */
bool vd_finish_token(vd_engine *engine, vd_request *request, float *logits);
/* Takes a request that is to end out of the running queue and finishes it; others stay. */
void vd_finish_ended(vd_engine *engine, vd_request *request);

/* Sends the last event and frees the request, which stands in no queue any more. */
void vd_finish_request(vd_engine *engine, vd_request *request, vd_finish finish, vd_status status);

#endif
