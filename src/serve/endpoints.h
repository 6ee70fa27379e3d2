/* endpoints.h - the functions behind the routes (route.c). */
#ifndef VD_SERVE_ENDPOINTS_H
#define VD_SERVE_ENDPOINTS_H

#include "carbon/feed.h"
#include "serve/exchange.h"

vd_status vd_chat_read(vd_exchange *request, vd_api_error *error);       /* chat.c */
vd_status vd_completion_read(vd_exchange *request, vd_api_error *error); /* completions.c */

vd_status vd_embedding_read(vd_exchange *request, vd_api_error *error);  /* embeddings.c */

vd_status vd_models_list(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error); /* models.c */
vd_status vd_models_show(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error);
vd_status vd_health_live(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error); /* health.c */
vd_status vd_health_ready(vd_exchange *request, const char *argument, vd_buf *out,
                          vd_api_error *error);
vd_status vd_metrics_show(vd_exchange *request, const char *argument, vd_buf *out,
                          vd_api_error *error); /* metrics.c */
vd_status vd_carbon_show(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error); /* carbon.c */
void vd_carbon_metrics(vd_feed *feed, vd_buf *out); /* its rows of /metrics */

/* energy.c; all but the key on a worker */
vd_status vd_energy_sums(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error);
vd_status vd_energy_request(vd_exchange *request, const char *argument, vd_buf *out,
                            vd_api_error *error);
vd_status vd_energy_receipt(vd_exchange *request, const char *argument, vd_buf *out,
                            vd_api_error *error);
vd_status vd_energy_key(vd_exchange *request, const char *argument, vd_buf *out,
                        vd_api_error *error);

#endif
