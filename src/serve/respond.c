/* respond.c - answers, on libmicrohttpd's thread: whole ones, errors, and streams. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/http.h"
#include "serve/jout.h"
#include "serve/route.h"

enum {
    STREAM_BLOCK = 1024,      /* for HTTP/1.0 alone: chunks are built in the connection's memory */
    OUT_KEPT = 4096,          /* a larger output buffer is freed once it is empty */
    ANSWER_MAX = 128 << 20,
};


static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        vd_log(VD_LOG_DEBUG, "serve", "no room for header name=%s", name);
}

/* Headers that every answer has, then off it goes. Takes the response. */
static enum MHD_Result queue(vd_exchange *r, unsigned http, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    add_header(response, "x-request-id", r->id);
    add_header(response, "X-Content-Type-Options", "nosniff");
    if (r->ignored[0] != 0)
        add_header(response, "X-Verdant-Ignored", r->ignored);
    const char *origin = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin");
    if (origin != NULL && vd_origin_allowed(r->server, origin)) {
        add_header(response, "Access-Control-Allow-Origin", origin);
        add_header(response, "Access-Control-Expose-Headers", "x-request-id, X-Verdant-Ignored");
        add_header(response, "Vary", "Origin");
    }
    if (atomic_load(&r->server->state) == VD_SERVER_DRAINING)
        add_header(response, "Connection", "close");
    pthread_mutex_lock(&r->lock);
    r->http = http;
    r->answered = true;
    pthread_mutex_unlock(&r->lock);
    vd_gate_set(r->server->gate, r->fd, VD_CONN_BUSY, r);
    enum MHD_Result result = MHD_queue_response(r->connection, http, response);
    MHD_destroy_response(response);
    return result;
}

static void free_text(void *text)
{
    vd_free(text);
}

/* Takes the text out of the buffer. */
static struct MHD_Response *response_of(vd_buf *text, const char *type)
{
    size_t n = text->n;
    char *data = text->failed == VD_OK ? vd_buf_take(text) : NULL;
    vd_buf_done(text);
    if (data == NULL)
        return NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(n, data, free_text);
    if (response == NULL)
        vd_free(data);
    else
        add_header(response, "Content-Type", type);
    return response;
}

enum MHD_Result vd_respond_text(vd_exchange *r, unsigned http, vd_buf *text, const char *type)
{
    return queue(r, http, response_of(text, type));
}

enum MHD_Result vd_respond_error(vd_exchange *r, const vd_api_error *error, bool close)
{
    vd_buf text;
    char seconds[16];
    vd_buf_init(&text, 8192);
    vd_api_error_write(error, &text);
    struct MHD_Response *response = response_of(&text, "application/json");
    if (response == NULL)
        return MHD_NO;
    if (error->retry_after_s != 0) {
        snprintf(seconds, sizeof(seconds), "%u", error->retry_after_s);
        add_header(response, "Retry-After", seconds);
    }
    if (error->http >= 408)
        add_header(response, "x-should-retry", vd_api_error_may_retry(error) ? "true" : "false");
    if (error->http == 405)
        add_header(response, "Allow", vd_route_allow(r->route));
    if (close && atomic_load(&r->server->state) != VD_SERVER_DRAINING)
        add_header(response, "Connection", "close");
    return queue(r, error->http, response);
}

enum MHD_Result vd_respond_options(vd_exchange *r, const vd_route *route)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    add_header(response, "Allow", vd_route_allow(route));
    if (MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin") != NULL) {
        add_header(response, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
        add_header(response, "Access-Control-Allow-Headers", "authorization, content-type, "
                   "openai-organization, openai-project, x-request-id, x-verdant-receipt");
        add_header(response, "Access-Control-Max-Age", "600");
    }
    return queue(r, 200, response);
}

static vd_buf take_events(vd_exchange *r)
{
    vd_buf events = r->events;
    vd_buf_init(&r->events, events.limit);
    return events;
}

enum MHD_Result vd_respond_ready(vd_exchange *r)
{
    vd_api_error error = r->error; /* READY: nobody writes it any more */
    if (error.http == 0 && r->reply_type != NULL)
        return vd_respond_text(r, 200, &r->reply, r->reply_type);
    if (error.http == 0) {
        vd_buf text;
        pthread_mutex_lock(&r->lock);
        vd_buf events = take_events(r);
        pthread_mutex_unlock(&r->lock);
        vd_buf_init(&text, ANSWER_MAX);
        vd_answer_whole(r, &events, &text);
        vd_buf_done(&events);
        if (text.failed == VD_OK)
            return vd_respond_text(r, 200, &text, "application/json");
        vd_buf_done(&text);
        vd_api_fail(&error, 503, "out_of_memory", NULL,
                    "The answer is larger than the server can hold.");
    }
    return vd_respond_error(r, &error, false);
}

enum fill { FILL_SOME, FILL_NOTHING, FILL_END, FILL_GONE };

/* Fills r->out from what the engine has said. FILL_NOTHING: the connection is suspended now. */
static enum fill fill_out(vd_exchange *r)
{
    pthread_mutex_lock(&r->lock);
    vd_buf events = take_events(r);
    bool ended = r->n_open == 0, beat = r->heartbeat;
    enum fill fill = ended && r->tail_written ? FILL_END
                     : r->gone                ? FILL_GONE
                     : ended || beat || events.n != 0 ? FILL_SOME
                                                      : FILL_NOTHING;
    r->heartbeat = false;
    r->last_write_ns = vd_now_ns();
    if (fill == FILL_NOTHING) {
        r->suspended = true;
        MHD_suspend_connection(r->connection);
    }
    pthread_mutex_unlock(&r->lock);
    if (fill == FILL_SOME) {
        vd_answer_stream(r, &events, &r->out);
        if (ended) {
            vd_answer_stream_end(r, &r->out);
            r->tail_written = true;
        } else if (r->out.n == 0 && beat) {
            vd_buf_puts(&r->out, ": waiting\n\n");
        }
    }
    vd_buf_done(&events);
    return fill;
}

/* libmicrohttpd asks for up to `max` bytes of the stream. */
static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max)
{
    vd_exchange *r = cls;
    while (r->out_sent == r->out.n) {
        if (r->out.capacity > OUT_KEPT)
            vd_buf_done(&r->out);
        vd_buf_clear(&r->out);
        r->out_sent = 0;
        switch (fill_out(r)) {
        case FILL_NOTHING:
            return 0;
        case FILL_END:
            return MHD_CONTENT_READER_END_OF_STREAM;
        case FILL_GONE:
            return MHD_CONTENT_READER_END_WITH_ERROR;
        case FILL_SOME:
            break;
        }
        if (r->out.failed != VD_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = r->out.n - r->out_sent < max ? r->out.n - r->out_sent : max;
    memcpy(out, r->out.data + r->out_sent, n);
    r->out_sent += n;
    return (ssize_t)n;
}

static void drop_stream(void *cls)
{
    vd_exchange_unref(cls);
}

enum MHD_Result vd_respond_stream(vd_exchange *r)
{
    vd_answer_stream_begin(r, &r->out);
    if (r->out.failed != VD_OK)
        return MHD_NO;
    vd_exchange_ref(r); /* the response's, dropped by drop_stream */
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, r, drop_stream);
    if (response == NULL) {
        vd_exchange_unref(r);
        return MHD_NO;
    }
    add_header(response, "Content-Type", "text/event-stream; charset=utf-8");
    add_header(response, "Cache-Control", "no-cache");
    add_header(response, "X-Accel-Buffering", "no"); /* nginx: pass each event on at once */
    return queue(r, 200, response);
}
