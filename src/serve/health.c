/* health.c - /healthz: the process answers. /readyz: it also takes work. */
#include "serve/endpoints.h"
#include "serve/server.h"

vd_status vd_health_live(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error)
{
    vd_buf_puts(out, "{\"status\":\"ok\"}");
    return VD_OK;
}

vd_status vd_health_ready(vd_exchange *request, const char *argument, vd_buf *out,
                          vd_api_error *error)
{
    switch (atomic_load(&request->server->state)) {
    case VD_SERVER_LOADING:
        return vd_api_fail(error, 503, "loading", NULL, "The model is still being loaded.");
    case VD_SERVER_DRAINING:
        return vd_api_fail(error, 503, "shutting_down", NULL, "The server is shutting down.");
    default:
        vd_buf_puts(out, "{\"status\":\"ready\"}");
        return VD_OK;
    }
}
