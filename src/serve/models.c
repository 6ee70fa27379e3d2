/* models.c - GET /v1/models and /v1/models/{id}. */
#include <string.h>

#include "serve/endpoints.h"
#include "serve/jout.h"
#include "serve/server.h"

static void write_model(const vd_model_entry *entry, vd_buf *out)
{
    vd_backend_info info = entry->backend.ops->info(entry->backend.self);
    vd_buf_puts(out, "{\"id\":");
    vd_jout_string(out, entry->name, strlen(entry->name));
    vd_buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"verdant\","
                  "\"context_length\":%zu}", (long long)info.created_s, info.ctx_tokens);
}

vd_status vd_models_list(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error)
{
    const vd_server *server = request->server;
    vd_buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < server->n_models; i++) {
        if (i != 0)
            vd_buf_putc(out, ',');
        write_model(&server->models[i], out);
    }
    vd_buf_puts(out, "]}");
    return VD_OK;
}

vd_status vd_models_show(vd_exchange *request, const char *argument, vd_buf *out,
                         vd_api_error *error)
{
    const vd_model_entry *entry = vd_server_model(request->server, argument);
    if (entry == NULL)
        return vd_api_fail(error, 404, "model_not_found", "model",
                           "There is no model '%s' here; GET /v1/models lists those there are.",
                           argument);
    write_model(entry, out);
    return VD_OK;
}
