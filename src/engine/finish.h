/* finish.h - what follows a forward pass for one request: its next token, its events, its end. */
#ifndef VD_ENGINE_FINISH_H
#define VD_ENGINE_FINISH_H

#include "engine/engine.h"

/* Draws the next token from this row, appends it, tells the caller, and ends the request where an
 * end token, a stop string or a limit is reached. `request` stands in the running queue. */
void vd_finish_token(vd_engine *engine, vd_request *request, float *logits);

/* Sends the last event and frees the request, which stands in no queue any more. */
void vd_finish_request(vd_engine *engine, vd_request *request, vd_finish finish, vd_status status);

#endif
