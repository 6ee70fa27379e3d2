/*
 * http.c - what libmicrohttpd calls: one request from its head to the worker's queue.
 *
 * Nothing here blocks. A POST is read whole, handed to a worker and suspended; when something is
 * to be sent the connection is resumed and the handler is called again.
 */
#include "serve/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/head.h"
#include "serve/route.h"

int vd_http_fd(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

/* Its address stands for a request whose raw URL held %00. */
static char nul_in_url;


/* Right after the request line: the clock of this request starts. */
void *vd_http_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    vd_server *server = cls;
    vd_gate_set(server->gate, vd_http_fd(connection), VD_CONN_BODY, NULL);
    return vd_target_has_nul(uri, strlen(uri)) ? &nul_in_url : NULL;
}

void vd_http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode toe)
{
    vd_server *server = cls;
    if (toe == MHD_CONNECTION_NOTIFY_CLOSED)
        vd_gate_forget(server->gate, vd_http_fd(connection));
}

static const char *method_name(const char *method)
{
    static const char *const known[] = {"GET",   "HEAD",    "POST",  "PUT",
                                        "PATCH", "OPTIONS", "TRACE", "DELETE"};
    for (size_t i = 0; i < VD_COUNT(known); i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "other";
}

static void name_client(vd_exchange *r, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL)
        return;
    const struct sockaddr *addr = info->client_addr;
    const void *raw = addr->sa_family == AF_INET6
                          ? (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr
                          : (const void *)&((const struct sockaddr_in *)addr)->sin_addr;
    inet_ntop(addr->sa_family, raw, r->client, sizeof(r->client));
}

static enum MHD_Result add_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t n_name, const char *value, size_t n_value)
{
    vd_framing_add(cls, name, n_name, value != NULL ? value : "", value != NULL ? n_value : 0);
    return MHD_YES;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* May this request be read at all? gate.c has asked the same of the first on each connection. */
static vd_status check_head(vd_server *server, struct MHD_Connection *connection, bool nul,
                            vd_framing *framing, vd_api_error *error)
{
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, add_field, framing);
    if (nul)
        return vd_api_fail(error, 400, "bad_url", NULL, "The URL contains %%00.");
    vd_status st = vd_framing_check(framing, error);
    if (st != VD_OK)
        return st;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info != NULL && info->header_size > VD_HEAD_BYTES_MAX)
        return vd_api_fail(error, 431, "headers_too_large", NULL,
                           "The head of the request is larger than %d bytes.", VD_HEAD_BYTES_MAX);
    return VD_OK;
}

/* May this client use the server, and the server take this work? */
static vd_status check_request(vd_exchange *r, struct MHD_Connection *connection,
                               const vd_framing *framing, vd_api_error *error)
{
    vd_server *server = r->server;
    const char *host = header(connection, "Host"), *origin = header(connection, "Origin");
    if (!vd_host_allowed(server, host))
        return vd_api_fail(error, 403, "host_not_allowed", NULL,
                           "This server does not answer for the host in this request; allow it "
                           "with `hosts` in the configuration.");
    if (origin != NULL && !vd_origin_allowed(server, origin))
        return vd_api_fail(error, 403, "origin_not_allowed", NULL,
                           "Pages of this origin may not use this server; allow it with `hosts` in "
                           "the configuration.");
    if (r->route->path == NULL)
        return vd_api_fail(error, 404, NULL, NULL, "Unknown URL; see docs/api.md for those there "
                           "are.");
    bool reads = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    bool asks = strcmp(r->method, "OPTIONS") == 0; /* what may be done: always answered */
    if (!asks && (r->route->posts ? strcmp(r->method, "POST") != 0 : !reads))
        return vd_api_fail(error, 405, NULL, NULL, "This URL takes %s.",
                           vd_route_allow(r->route));
    bool always = asks || r->route->always;
    int state = atomic_load(&server->state);
    if (state == VD_SERVER_LOADING && !always)
        return vd_api_fail(error, 503, "loading", NULL, "The model is still being loaded.");
    if (state == VD_SERVER_DRAINING && !always)
        return vd_api_fail(error, 503, "shutting_down", NULL, "The server is shutting down.");
    if (framing->length_bytes > server->options.body_bytes_max)
        return vd_api_fail(error, 413, "body_too_large", NULL,
                           "The body has %llu bytes; at most %zu are taken.",
                           (unsigned long long)framing->length_bytes,
                           server->options.body_bytes_max);
    return VD_OK;
}

/* Counts the request among the running ones, or 503. */
static vd_status admit(vd_exchange *r, vd_api_error *error)
{
    vd_server *server = r->server;
    if (atomic_fetch_add(&server->n_running, 1) >= server->options.max_streams) {
        atomic_fetch_sub(&server->n_running, 1);
        return vd_api_fail(error, 503, "overloaded", NULL,
                           "The server has all the work it takes. Try again shortly.");
    }
    r->admitted = true;
    return VD_OK;
}

/* An answer before the body was read: libmicrohttpd closes then, so the rest is drained beside. */
static enum MHD_Result answer_early(vd_exchange *r, const vd_framing *framing,
                                    const vd_api_error *error)
{
    bool has_body = framing->length_bytes > 0 || framing->n_encoding > 0;
    if (has_body)
        vd_gate_linger(r->server->gate, r->fd);
    return vd_respond_error(r, error, has_body || error->http == 400 || error->http == 431 ||
                                          strcmp(r->method, "POST") == 0);
}

static enum MHD_Result begin(vd_server *server, struct MHD_Connection *connection, const char *url,
                             const char *method, void **con_cls)
{
    bool nul = *con_cls == &nul_in_url;
    *con_cls = NULL;
    vd_exchange *r = vd_exchange_create(server, connection);
    if (r == NULL)
        return MHD_NO;
    *con_cls = r; /* from here on vd_http_completed drops it */
    const char *argument;
    r->fd = vd_http_fd(connection);
    r->method = method_name(method);
    r->url = vd_strdup(url);
    r->route = vd_route_find(url, &argument);
    name_client(r, connection);
    vd_gate_set(server->gate, r->fd, VD_CONN_BODY, r);
    vd_framing framing = {0};
    vd_api_error error;
    vd_status st = check_head(server, connection, nul, &framing, &error);
    if (st != VD_OK) {
        vd_gate_linger(server->gate, r->fd); /* what follows is not to be trusted */
        return vd_respond_error(r, &error, true);
    }
    if (r->url == NULL)
        return MHD_NO;
    st = check_request(r, connection, &framing, &error);
    const char *wanted = header(connection, "X-Verdant-Receipt");
    r->wants_receipt = wanted != NULL && (strcmp(wanted, "1") == 0 || strcmp(wanted, "true") == 0);
    r->keeps_body = r->route->posts && strcmp(r->method, "POST") == 0;
    if (st == VD_OK && r->keeps_body)
        st = admit(r, &error);
    if (st != VD_OK && (r->keeps_body || framing.length_bytes > 0 || framing.n_encoding > 0))
        return answer_early(r, &framing, &error);
    if (st != VD_OK) { /* no body: answered when the request is complete, the connection lives */
        r->error = error;
        r->phase = VD_PHASE_READY;
    }
    return MHD_YES;
}

/* One piece of the body. Its memory counts against all bodies together. */
static enum MHD_Result take_piece(vd_exchange *r, const char *piece, size_t *n)
{
    vd_server *server = r->server;
    pthread_mutex_lock(&r->lock);
    bool late = r->late;
    pthread_mutex_unlock(&r->lock);
    if (late)
        return MHD_NO;
    if (r->keeps_body && !r->body_too_large) {
        size_t before = r->body.capacity;
        vd_buf_append(&r->body, piece, *n);
        size_t grown = r->body.capacity - before;
        size_t total = atomic_fetch_add(&server->bodies_bytes, grown) + grown;
        r->body_too_large = r->body.failed != VD_OK || total > server->options.bodies_bytes_max;
    }
    *n = 0;
    return MHD_YES;
}

static vd_status judge_body(vd_exchange *r, vd_api_error *error)
{
    vd_server *server = r->server;
    if (!r->body_too_large)
        return VD_OK;
    if (r->body.failed == VD_ERR_LIMIT)
        return vd_api_fail(error, 413, "body_too_large", NULL, "The body is larger than %zu bytes.",
                           server->options.body_bytes_max);
    return vd_api_fail(error, 503, "overloaded", NULL,
                       "The server holds all the request bodies it takes. Try again shortly.");
}

/* The whole request is here: on to a worker, or an answer at once. Under no lock. */
static enum MHD_Result hand_to_worker(vd_exchange *r)
{
    vd_api_error error;
    if (judge_body(r, &error) != VD_OK) {
        r->phase = VD_PHASE_READY;
        return vd_respond_error(r, &error, false);
    }
    vd_gate_set(r->server->gate, r->fd, VD_CONN_BUSY, r);
    vd_exchange_ref(r);
    pthread_mutex_lock(&r->lock);
    if (r->late || r->gone) { /* the gate was quicker: nobody would wake it any more */
        pthread_mutex_unlock(&r->lock);
        vd_exchange_unref(r);
        return MHD_NO;
    }
    r->phase = VD_PHASE_WORK;
    r->suspended = true;
    MHD_suspend_connection(r->connection); /* before the push: the worker may be quick */
    pthread_mutex_unlock(&r->lock);
    vd_workers *workers = r->route->slow ? r->server->readers : r->server->workers;
    if (!vd_workers_push(workers, r)) {
        vd_api_fail(&error, 503, "overloaded", NULL,
                    "The server has all the work it takes. Try again shortly.");
        vd_exchange_fail(r, &error);
        vd_exchange_unref(r);
    }
    return MHD_YES;
}

static enum MHD_Result add_parameter(void *cls, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    vd_exchange *r = cls;
    if (json_object_set_new(r->query, name, json_string(value != NULL ? value : "")) != 0)
        return MHD_NO;
    return MHD_YES;
}

/* A GET that reads files: to a worker, which is told what the URL asks for. */
static enum MHD_Result hand_get_over(vd_exchange *r)
{
    r->query = json_object();
    int n = MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
    if (r->query == NULL ||
        MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, add_parameter, r) != n) {
        vd_api_error error;
        vd_api_fail(&error, 400, "bad_url", NULL, "The URL's parameters are no UTF-8.");
        return vd_respond_error(r, &error, false);
    }
    return hand_to_worker(r);
}

static enum MHD_Result answer_get(vd_exchange *r)
{
    const char *argument;
    vd_api_error error;
    vd_buf text;
    if (strcmp(r->method, "OPTIONS") == 0)
        return vd_respond_options(r, r->route);
    if (r->route->slow)
        return hand_get_over(r);
    vd_buf_init(&text, 16 << 20);
    vd_route_find(r->url, &argument);
    if (r->route->get(r, argument, &text, &error) != VD_OK) {
        vd_buf_done(&text);
        return vd_respond_error(r, &error, false);
    }
    return vd_respond_text(r, 200, &text, r->route->type);
}

enum MHD_Result vd_http_handle(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload_data,
                               size_t *upload_data_size, void **con_cls)
{
    if (*con_cls == NULL || *con_cls == &nul_in_url)
        return begin(cls, connection, url, method, con_cls);
    vd_exchange *r = *con_cls;
    if (*upload_data_size != 0)
        return take_piece(r, upload_data, upload_data_size);
    pthread_mutex_lock(&r->lock);
    vd_phase phase = r->phase;
    bool gone = r->gone || r->late;
    pthread_mutex_unlock(&r->lock);
    if (gone)
        return MHD_NO;
    switch (phase) {
    case VD_PHASE_BODY:
        return r->keeps_body ? hand_to_worker(r) : answer_get(r);
    case VD_PHASE_STREAM:
        return vd_respond_stream(r);
    case VD_PHASE_READY:
        return vd_respond_ready(r);
    default: /* woken for nothing: back to sleep */
        pthread_mutex_lock(&r->lock);
        if (r->phase == phase && !r->gone) {
            r->suspended = true;
            MHD_suspend_connection(connection);
        }
        pthread_mutex_unlock(&r->lock);
        return MHD_YES;
    }
}

/* One line per request; never a word of prompt or answer. */
static void log_request(vd_exchange *r, enum MHD_RequestTerminationCode toe)
{
    uint64_t took_ns = vd_now_ns() - r->begin_ns;
    size_t prompt = 0, completion = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_choices; i++) {
        prompt += r->choices[i].usage.prompt_tokens;
        completion += r->choices[i].usage.completion_tokens;
    }
    unsigned http = r->late ? 408 : r->http;
    uint64_t total_uj = r->spent.energy.total_uj;
    bool left = r->gone;
    /* While a worker still reads the body, what was asked is the worker's. */
    const char *model = r->phase != VD_PHASE_WORK && r->ask.model != NULL ? r->ask.model : "-";
    pthread_mutex_unlock(&r->lock);
    vd_metrics_request(&r->server->metrics, vd_route_slot(r->route), http, took_ns);
    bool quiet = r->route->always && (http == 200 || http == 503); /* probes and scrapes */
    vd_log(quiet ? VD_LOG_DEBUG : VD_LOG_INFO, "serve",
           "request id=%s client=%s method=%s route=%s status=%u ms=%.1f model=%s "
           "prompt_tokens=%zu completion_tokens=%zu joules=%.3f end=%s",
           r->id, r->client, r->method, r->route->label, http, (double)took_ns / 1e6,
           model, prompt, completion, (double)total_uj / 1e6,
           toe == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "sent"
           : left                                     ? "client_left"
                                                      : "broken");
}

void vd_http_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode toe)
{
    vd_server *server = cls;
    vd_exchange *r = *con_cls;
    *con_cls = NULL;
    if (r == NULL || (void *)r == &nul_in_url)
        return;
    /* First: from here on the gate calls nothing for this request. */
    vd_gate_set(server->gate, r->fd, VD_CONN_IDLE, NULL);
    if (toe != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        vd_exchange_gone(r);
    pthread_mutex_lock(&r->lock);
    r->connection = NULL;
    r->suspended = false;
    pthread_mutex_unlock(&r->lock);
    log_request(r, toe);
    if (r->admitted) {
        /* The answer is out: its place is free, though the engine may still let go of it. */
        r->admitted = false;
        atomic_fetch_sub(&server->n_running, 1);
    }
    vd_exchange_unref(r);
}
