/*
 * embed.h - from the rows that a forward pass makes of a text to one vector.
 *
 * Pooling as in Sentence-BERT (Reimers and Gurevych 2019, section 3): the mean over all tokens, the
 * first token ("CLS"), or, for models that read forward only, the last. Sums are double, so that
 * thousands of tokens lose nothing. All of it belongs to the thread that steps.
 */
#ifndef VD_ENGINE_EMBED_H
#define VD_ENGINE_EMBED_H

#include "engine/engine.h"

/* What VD_POOLING_MODEL means here, and the reason why a request may not have this pooling. */
VD_NODISCARD vd_status vd_embed_check(const vd_engine *engine, vd_request_options *options,
                                      vd_err *err);
/* Is the row of position `pos` needed? */
bool vd_embed_wants(const vd_request *request, size_t pos);
/* Takes in the next row that was wanted, in order of position. row[C] */
void vd_embed_add(vd_request *request, const float *row);
/* All rows are in: the request's last event, with the vector or with an error, and its end.
 * `request` stands in the running queue. */
void vd_embed_finish(vd_engine *engine, vd_request *request);

#endif
