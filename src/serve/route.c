/* route.c - the table of paths. See route.h. */
#include "serve/route.h"

#include <string.h>

#include "base/checked.h"
#include "serve/endpoints.h"

#define JSON "application/json"
#define METRICS "text/plain; version=0.0.4; charset=utf-8"

static const vd_route routes[] = {
    {.path = NULL, .label = "unknown", .always = true},
    {.path = "/v1/chat/completions", .label = "/v1/chat/completions", .posts = true,
     .read = vd_chat_read},
    {.path = "/v1/completions", .label = "/v1/completions", .posts = true,
     .read = vd_completion_read},
    {.path = "/v1/embeddings", .label = "/v1/embeddings", .posts = true,
     .read = vd_embedding_read},
    {.path = "/v1/models", .label = "/v1/models", .get = vd_models_list, .type = JSON},
    {.path = "/v1/models/", .label = "/v1/models/{id}", .get = vd_models_show, .type = JSON},
    {.path = "/v1/carbon/intensity", .label = "/v1/carbon/intensity", .get = vd_carbon_show,
     .type = JSON},
    {.path = "/v1/energy", .label = "/v1/energy", .slow = true, .get = vd_energy_sums,
     .type = JSON},
    {.path = "/v1/energy/key", .label = "/v1/energy/key", .get = vd_energy_key, .type = JSON},
    {.path = "/v1/energy/requests/", .label = "/v1/energy/requests/{id}", .slow = true,
     .get = vd_energy_request, .type = JSON},
    {.path = "/v1/energy/receipts/", .label = "/v1/energy/receipts/{id}", .slow = true,
     .get = vd_energy_receipt, .type = JSON},
    {.path = "/healthz", .label = "/healthz", .always = true, .get = vd_health_live, .type = JSON},
    {.path = "/readyz", .label = "/readyz", .always = true, .get = vd_health_ready, .type = JSON},
    {.path = "/metrics", .label = "/metrics", .always = true, .get = vd_metrics_show,
     .type = METRICS},
};

const vd_route *vd_route_find(const char *url, const char **ret_argument)
{
    *ret_argument = "";
    for (size_t i = 1; i < VD_COUNT(routes); i++) {
        size_t n = strlen(routes[i].path);
        bool prefix = routes[i].path[n - 1] == '/';
        if (strncmp(url, routes[i].path, n) != 0 || (!prefix && url[n] != 0))
            continue;
        if (prefix && url[n] == 0)
            continue; /* "/v1/models/" is no model's name */
        *ret_argument = url + n;
        return &routes[i];
    }
    return &routes[0];
}

unsigned vd_route_slot(const vd_route *route)
{
    return (unsigned)(route - routes);
}

const vd_route *vd_route_at(unsigned slot)
{
    return slot < VD_COUNT(routes) ? &routes[slot] : NULL;
}

const char *vd_route_allow(const vd_route *route)
{
    return route->posts ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
}
