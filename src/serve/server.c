/* server.c - see server.h: start, models, drain, stop. */
#include "serve/server.h"

#include <string.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/utf8.h"
#include "serve/http.h"
#include "serve/listen.h"
#include "serve/route.h"

enum {
    SLOW_ANSWER_MAX = 16 << 20,
    CONNECTION_MEMORY = 24 * 1024, WORK_QUEUE_MAX = 4096, SLOW_QUEUE_MAX = 64,
    MODEL_NAME_MAX = 128 };

#define S 1000000000ull
#define HEARTBEAT_NS (15 * S)
#define SETTLE_NS (5 * S) /* for cancelled requests to end */

_Static_assert((int)VD_MODELS_MAX <= (int)VD_N_MODELS_MAX, "each has its counters");

/* A GET that may take a while. */
static void answer_slow(vd_exchange *r)
{
    const char *argument;
    vd_api_error error = {0};
    vd_buf text;
    vd_buf_init(&text, SLOW_ANSWER_MAX);
    vd_route_find(r->url, &argument);
    vd_status st = r->route->get(r, argument, &text, &error);
    if (st == VD_OK && text.failed != VD_OK)
        st = vd_api_fail(&error, 503, "out_of_memory", NULL,
                         "The answer is larger than the server can hold.");
    pthread_mutex_lock(&r->lock);
    vd_buf_done(&r->reply);
    r->reply = text;
    r->reply_type = r->route->type;
    r->error = error;
    if (st == VD_OK)
        r->error.http = 0;
    r->phase = VD_PHASE_READY;
    vd_exchange_wake(r);
    pthread_mutex_unlock(&r->lock);
}

/* A worker's job: a request whose body is whole. */
static void work(void *job)
{
    vd_exchange *r = job;
    vd_api_error error;
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone;
    pthread_mutex_unlock(&r->lock);
    if (!gone && r->route->slow) {
        answer_slow(r);
    } else if (!gone) {
        vd_status st = r->route->read(r, &error);
        atomic_fetch_sub(&r->server->bodies_bytes, r->body.capacity);
        vd_buf_done(&r->body);
        if (st == VD_OK)
            vd_exchange_submit(r);
        else
            vd_exchange_fail(r, &error);
    }
    vd_exchange_unref(r);
}

static bool hand_over(void *ctx, int fd, const struct sockaddr *addr, socklen_t n_addr)
{
    vd_server *server = ctx;
    unsigned i = atomic_fetch_add_explicit(&server->next_daemon, 1, memory_order_relaxed);
    return MHD_add_connection(server->daemons[i % VD_N_DAEMONS], fd, addr, n_addr) == MHD_YES;
}

static void on_gone(void *ctx, void *request)
{
    vd_exchange_gone(request);
}

static bool on_late(void *ctx, void *request)
{
    vd_exchange *r = request;
    pthread_mutex_lock(&r->lock);
    bool late = r->phase == VD_PHASE_BODY && !r->answered;
    r->late |= late;
    pthread_mutex_unlock(&r->lock);
    return late;
}

/* A comment now and then keeps proxies from closing a stream that waits for its turn. */
static void on_tick(void *ctx, void *request, uint64_t now_ns)
{
    vd_exchange *r = request;
    pthread_mutex_lock(&r->lock);
    if (r->phase == VD_PHASE_STREAM && r->answered && r->suspended && now_ns > r->last_write_ns &&
        now_ns - r->last_write_ns > HEARTBEAT_NS) {
        r->heartbeat = true;
        vd_exchange_wake(r);
    }
    pthread_mutex_unlock(&r->lock);
}

void vd_server_options_fill(vd_server_options *o)
{
    if (o->host == NULL)
        o->host = "127.0.0.1";
    size_t *sizes[] = {&o->max_streams,      &o->body_bytes_max, &o->bodies_bytes_max,
                       &o->stream_bytes_max, &o->max_choices,    &o->max_connections};
    const size_t defaults[] = {1024, 4 << 20, 256 << 20, 64 << 10, 128, 0};
    for (size_t i = 0; i < VD_COUNT(sizes); i++)
        if (*sizes[i] == 0)
            *sizes[i] = defaults[i];
    if (o->max_connections == 0)
        o->max_connections = o->max_streams + 256;
    o->head_ns = o->head_ns != 0 ? o->head_ns : 10 * S;
    o->body_ns = o->body_ns != 0 ? o->body_ns : 60 * S;
    o->idle_ns = o->idle_ns != 0 ? o->idle_ns : 75 * S;
}

static void log_mhd(void *cls, const char *fmt, va_list args)
{
    char line[256];
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\r\n")] = 0;
    vd_log(VD_LOG_DEBUG, "mhd", "%s", line);
}

static vd_status start_daemons(vd_server *server, vd_err *err)
{
    const vd_server_options *o = &server->options;
    unsigned idle_s = (unsigned)(o->idle_ns / S + 1);
    for (size_t i = 0; i < VD_N_DAEMONS; i++) {
        server->daemons[i] = MHD_start_daemon(
            MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                MHD_USE_ERROR_LOG,
            0, NULL, NULL, vd_http_handle, server, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            /* Above ours, so that its own limit, which lets clients hang, is never met. */
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections + 64,
            MHD_OPTION_CONNECTION_TIMEOUT, idle_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
            MHD_OPTION_NOTIFY_COMPLETED, vd_http_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
            vd_http_connection, server, MHD_OPTION_URI_LOG_CALLBACK, vd_http_uri, server,
            MHD_OPTION_END);
        if (server->daemons[i] == NULL)
            return VD_FAIL(err, VD_ERR_IO, "libmicrohttpd did not start");
    }
    return VD_OK;
}

vd_status vd_server_create(const vd_server_options *options, vd_server **ret_server, vd_err *err)
{
    vd_server *server = vd_calloc(1, sizeof(*server));
    if (server == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the server");
    server->options = *options;
    vd_server_options_fill(&server->options);
    server->loopback = vd_listen_is_loopback(server->options.host);
    atomic_store(&server->metrics.begin_s, vd_wall_ns() / S);
    vd_gate_options gate = {
        .host = server->options.host,
        .port = server->options.port,
        .max_connections = server->options.max_connections,
        .head_ns = server->options.head_ns,
        .body_ns = server->options.body_ns,
        .idle_ns = server->options.idle_ns,
        .ctx = server,
        .hand_over = hand_over,
        .on_gone = on_gone,
        .on_late = on_late,
        .on_tick = on_tick,
    };
    vd_status st = vd_gate_create(&gate, &server->gate, err);
    if (st != VD_OK)
        goto out;
    st = vd_workers_create(VD_N_WORKERS, WORK_QUEUE_MAX, work, &server->workers, err);
    if (st != VD_OK)
        goto out;
    st = vd_workers_create(1, SLOW_QUEUE_MAX, work, &server->readers, err);
    if (st != VD_OK)
        goto out;
    st = start_daemons(server, err);
    if (st != VD_OK)
        goto out;
    st = vd_gate_start(server->gate, err);
    if (st != VD_OK)
        goto out;
    *ret_server = server;
    server = NULL;
out:
    vd_server_free(server);
    return st;
}

vd_status vd_model_name_check(const char *name, vd_err *err)
{
    size_t n = strlen(name);
    bool plain = n >= 1 && n <= MODEL_NAME_MAX && vd_utf8_valid(name, n);
    for (size_t i = 0; i < n && plain; i++)
        plain = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    if (plain)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_ARG, "a model's name must have 1 to %d bytes of UTF-8 and no "
                   "control characters", MODEL_NAME_MAX);
}

vd_status vd_server_add_model(vd_server *server, const char *name, const vd_backend *backend,
                              vd_err *err)
{
    if (server->n_models == VD_MODELS_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %d models", VD_MODELS_MAX);
    if (vd_server_model(server, name) != NULL)
        return VD_FAIL(err, VD_ERR_EXISTS, "two models are named '%s'", name);
    server->models[server->n_models] = (vd_model_entry){.name = name, .backend = *backend};
    atomic_fetch_add(&server->n_models, 1);
    return VD_OK;
}

void vd_server_ready(vd_server *server)
{
    atomic_store(&server->state, VD_SERVER_READY);
}

const vd_model_entry *vd_server_model(const vd_server *server, const char *name)
{
    for (size_t i = 0; i < server->n_models; i++)
        if (strcmp(server->models[i].name, name) == 0)
            return &server->models[i];
    return NULL;
}

uint16_t vd_server_port(const vd_server *server)
{
    return vd_gate_port(server->gate);
}

/* Waits until *count is 0, the deadline, or hurry; returns what is left. Shutting down is rare:
 * looking every 10 ms costs less than a condition on the path of every request. */
static size_t wait_zero(atomic_size_t *count, uint64_t wait_ns, const atomic_bool *hurry)
{
    uint64_t deadline_ns = vd_now_ns() + wait_ns;
    const struct timespec pause = {.tv_nsec = 10000000};
    while (atomic_load(count) != 0 && vd_now_ns() < deadline_ns &&
           (hurry == NULL || !atomic_load(hurry)))
        nanosleep(&pause, NULL);
    return atomic_load(count);
}

static void cancel_one(void *ctx, void *request)
{
    vd_exchange_cancel(request);
}

static void cut_one(void *ctx, void *request)
{
    vd_exchange_gone(request);
}

void vd_server_stop(vd_server *server, uint64_t drain_ns, const atomic_bool *hurry)
{
    atomic_store(&server->state, VD_SERVER_DRAINING);
    size_t n_late = wait_zero(&server->n_running, drain_ns, hurry);
    if (n_late != 0) {
        vd_log(VD_LOG_WARN, "serve", "cancelling requests that did not end in time n=%zu", n_late);
        vd_gate_each(server->gate, cancel_one, NULL); /* clients are told */
        wait_zero(&server->n_running, SETTLE_NS, NULL);
    }
    vd_gate_stop(server->gate);
    /* libmicrohttpd aborts the process when it is stopped with a suspended connection: all are
     * resumed here, and their handlers end them. */
    vd_gate_each(server->gate, cut_one, NULL);
    /* All are cancelled, so each ends with its engine's step, however long that takes; what follows
     * frees what they use. */
    while (wait_zero(&server->n_requests, SETTLE_NS, NULL) != 0)
        vd_log(VD_LOG_WARN, "serve", "waiting for the step that runs n=%zu",
               atomic_load(&server->n_requests));
}

void vd_server_free(vd_server *server)
{
    if (server == NULL)
        return;
    if (server->gate != NULL)
        vd_server_stop(server, 0, NULL);
    for (size_t i = 0; i < VD_N_DAEMONS; i++)
        if (server->daemons[i] != NULL)
            MHD_stop_daemon(server->daemons[i]);
    vd_workers_free(server->workers);
    vd_workers_free(server->readers);
    vd_gate_free(server->gate);
    vd_free(server);
}
