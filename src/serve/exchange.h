/*
 * exchange.h - one HTTP request from its head to its last byte, and what it asks of a model.
 *
 *   BODY ─► WORK ─► RUN ────► READY ─► answered
 *    │       │       (not streamed)
 *    │       ├─────► STREAM ─────────► answered        BODY   libmicrohttpd's thread collects
 *    └───────┴─────► READY (an error)                  WORK   a worker parses, renders, submits
 *
 * Owners: counted references. One is libmicrohttpd's (dropped in its completed callback), one each
 * is held by a queued job and by every choice whose last event is still to come. So a client may
 * leave at any moment; the request lives until the engine has let go of it.
 *
 * Threads: `lock` guards what stands below it. Lock order: gate, request, then locks inside
 * libmicrohttpd; no call into a backend is made under a request's lock (the engine may call
 * on_event, which takes it, under a lock of its own).
 */
#ifndef VD_SERVE_EXCHANGE_H
#define VD_SERVE_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "serve/answer.h"
#include "serve/backend.h"
#include "serve/errors.h"

struct vd_server;
struct vd_route;

typedef enum vd_phase {
    VD_PHASE_BODY,
    VD_PHASE_WORK,
    VD_PHASE_RUN,
    VD_PHASE_STREAM,
    VD_PHASE_READY,
} vd_phase;

typedef struct vd_exchange vd_exchange;

/* One sequence of the engine: prompt p, choice k of it. Owned by the request. */
typedef struct vd_choice {
    vd_exchange *request;
    uint32_t slot;   /* its place in request->choices */
    uint32_t prompt; /* which prompt it answers */
    uint64_t seed;
    uint64_t begin_ns; /* when it was submitted */
    /* guarded by the request's lock: */
    uint64_t id;     /* the engine's; 0 before submission */
    bool submitted, done;
    vd_finish finish;
    vd_status status;
    vd_usage usage;
    /* of the thread that writes the answer: */
    vd_choice_text text;
} vd_choice;

struct vd_exchange {
    struct vd_server *server;
    const struct vd_route *route;
    const vd_backend *backend; /* NULL until the body named a model */
    size_t model;              /* its place in the server */
    char id[40];               /* x-request-id */
    char client[64];           /* its address, for the log */
    char ignored[512];         /* X-Verdant-Ignored; "" for none */
    char *url;                 /* unescaped path, owned */
    const char *method;        /* a static name */
    int fd;
    uint64_t begin_ns;
    bool admitted;    /* counted among the running requests */
    bool keeps_body;  /* the body is read; else it is dropped */
    bool body_too_large;
    vd_buf body;      /* libmicrohttpd's thread, then the worker */
    vd_ask ask;       /* what was asked; written by the worker, then constant */
    json_t *query;    /* of a slow GET: the URL's parameters as texts; owned */
    bool wants_receipt;
    uint64_t book;    /* its number in the ledger's session; 0: none is kept */
    vd_buf out;       /* answer text that the reader has not sent yet; libmicrohttpd's thread */
    size_t out_sent;
    bool tail_written;

    atomic_int n_refs;
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct MHD_Connection *connection; /* NULL once completed */
    vd_phase phase;
    bool suspended;
    bool gone;        /* the client left, or the server ends: write nothing more */
    bool late;        /* 408 was written past libmicrohttpd */
    bool overflow;    /* the client reads too slowly */
    bool heartbeat;   /* the reader shall write a comment */
    uint64_t last_write_ns; /* when the reader looked last */
    bool cancelled;   /* the engine was told, or will be once all is submitted */
    bool answered;    /* a response is queued */
    unsigned http;    /* status sent; 0: none */
    vd_api_error error;   /* of READY; error.http == 0: the answer is in `choices` or `reply` */
    vd_buf reply;         /* of READY, when it is not made from choices */
    const char *reply_type;
    vd_choice *choices;
    size_t n_choices, n_open; /* open: last event still to come; +1 while the worker submits */
    /* Embeddings, of which a window is in the engine at a time: */
    size_t window, n_taken, n_inside; /* choices that may be inside, were submitted, are inside */
    bool submitting; /* some thread submits; it looks again before it leaves */
    vd_buf events;            /* records (record.h) not yet written out */
    vd_spent spent;           /* sum over ended choices */
    size_t n_spent;           /* of how many */
    uint64_t end_ns;          /* when the last one ended */
};

/* One reference, the caller's. NULL when memory is short. */
vd_exchange *vd_exchange_create(struct vd_server *server, struct MHD_Connection *connection);
void vd_exchange_ref(vd_exchange *request);
void vd_exchange_unref(vd_exchange *request);

/* What a client is told of a choice that ended as failed or cancelled. */
void vd_choice_judge(const vd_choice *choice, vd_api_error *error);
/* Lets libmicrohttpd look at the request again. Under the lock. */
void vd_exchange_wake(vd_exchange *request);
/* The request ends with this error: READY. Takes the lock. */
void vd_exchange_fail(vd_exchange *request, const vd_api_error *error);
/* Submits the choices of request->ask, of embeddings the first; errors end the request. On a
 * worker. */
void vd_exchange_submit(vd_exchange *request);
/* Nobody reads the answer any more: cancels and wakes. Takes the lock. */
void vd_exchange_gone(vd_exchange *request);
/* Cancels what runs; the client still gets an answer. Takes the lock. */
void vd_exchange_cancel(vd_exchange *request);

#endif
