/* gate.c - the connection table, its epoll and its clock. See gate.h; sockets are in listen.c. */
#include "serve/gate.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "serve/head.h"
#include "serve/listen.h"

enum {
    FD_TABLE_MAX = 1 << 16,
    PEEKS_MAX = 4096,             /* pieces that one head may come in */
    LINGER_BYTES_MAX = 256 << 20, /* what one client may send after its answer */
    LINGER_EXTRA = 256,           /* lingering sockets beyond max_connections */
    TICK_MS = 250,
};

#define LINGER_NS 10000000000u
/* For libmicrohttpd to read what a client sent before it left. */
#define LAST_WORDS_NS 250000000u
#define NS_PER_S 1000000000u

typedef struct conn {
    vd_conn_phase phase;
    uint32_t generation; /* of this fd number: a late event of the one before is dropped */
    uint32_t n_peeks;
    uint64_t deadline_ns; /* 0: none */
    uint64_t n_dropped;
    bool ended; /* the client sends no more */
    void *request;
} conn;

struct vd_gate {
    vd_gate_options options;
    int listen_fd, epoll_fd, wake_fd;
    uint16_t port;
    pthread_t thread;
    bool running;
    atomic_bool ending;
    char *peek; /* VD_HEAD_BYTES_MAX; the gate's thread only */
    pthread_mutex_t lock;
    /* guarded by lock: */
    conn *table; /* by fd */
    size_t n_table, n_top; /* all in use are below n_top */
    size_t n_open, n_linger;
    vd_gate_stats stats;
};

enum { ID_LISTEN = -1, ID_WAKE = -2 };

static uint64_t event_id(int fd, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

static bool watch(vd_gate *gate, int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    event.data.u64 = event_id(fd, fd >= 0 ? gate->table[fd].generation : 0);
    return epoll_ctl(gate->epoll_fd, op, fd, &event) == 0;
}

/* A free row for this fd, or NULL. */
static conn *conn_open(vd_gate *gate, int fd, vd_conn_phase phase, uint64_t deadline_ns)
{
    if ((size_t)fd >= gate->n_table)
        return NULL;
    conn *c = &gate->table[fd];
    *c = (conn){.phase = phase, .generation = c->generation + 1, .deadline_ns = deadline_ns};
    gate->n_top = VD_MAX(gate->n_top, (size_t)fd + 1);
    if (phase == VD_CONN_LINGER)
        gate->n_linger++;
    else
        gate->n_open++;
    return c;
}

static void conn_release(vd_gate *gate, conn *c)
{
    if (c->phase == VD_CONN_FREE)
        return;
    if (c->phase == VD_CONN_LINGER)
        gate->n_linger--;
    else
        gate->n_open--;
    c->phase = VD_CONN_FREE;
    c->request = NULL;
    c->generation++;
}

static void conn_close(vd_gate *gate, int fd)
{
    conn_release(gate, &gate->table[fd]);
    /* Said aloud: a socket with a twin would stay in the epoll. */
    (void)epoll_ctl(gate->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}

/* Reads and drops; closes at the end of the stream or when it is too much. */
static void linger_on(vd_gate *gate, int fd)
{
    conn *c = &gate->table[fd];
    for (;;) {
        ssize_t n = recv(fd, gate->peek, VD_HEAD_BYTES_MAX, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0 || (c->n_dropped += (uint64_t)n) > LINGER_BYTES_MAX) {
            conn_close(gate, fd);
            return;
        }
    }
}

/* Answers on a socket that is ours and lets the client read it. */
static void refuse(vd_gate *gate, int fd, const vd_api_error *error)
{
    conn *c = &gate->table[fd];
    vd_listen_answer(fd, error);
    shutdown(fd, SHUT_WR);
    conn_release(gate, c);
    if (gate->n_linger >= gate->options.max_connections + LINGER_EXTRA ||
        conn_open(gate, fd, VD_CONN_LINGER, vd_now_ns() + LINGER_NS) == NULL) {
        close(fd);
        return;
    }
    if (!watch(gate, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET))
        conn_close(gate, fd);
    else
        linger_on(gate, fd);
}

/* The head is whole: the connection becomes libmicrohttpd's. The lock is let go, because
 * libmicrohttpd may call back. */
static void pass_on(vd_gate *gate, int fd)
{
    conn *c = &gate->table[fd];
    struct sockaddr_storage addr;
    socklen_t n_addr = sizeof(addr);
    uint32_t generation = c->generation;
    if (getpeername(fd, (struct sockaddr *)&addr, &n_addr) != 0 ||
        !watch(gate, EPOLL_CTL_MOD, fd, EPOLLRDHUP | EPOLLET)) {
        conn_close(gate, fd);
        return;
    }
    c->phase = VD_CONN_IDLE;
    c->deadline_ns = vd_now_ns() + gate->options.head_ns;
    pthread_mutex_unlock(&gate->lock);
    bool taken = gate->options.hand_over(gate->options.ctx, fd, (struct sockaddr *)&addr, n_addr);
    pthread_mutex_lock(&gate->lock);
    if (!taken && c->generation == generation) /* libmicrohttpd closed it */
        conn_release(gate, c);
}

/* `ended`: the client will send no more. */
static void look_at_head(vd_gate *gate, int fd, bool ended)
{
    conn *c = &gate->table[fd];
    ssize_t n = recv(fd, gate->peek, VD_HEAD_BYTES_MAX, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(gate, fd);
        return;
    }
    vd_api_error error;
    switch (vd_head_check(gate->peek, (size_t)n, &error)) {
    case VD_HEAD_GOOD:
        pass_on(gate, fd);
        return;
    case VD_HEAD_REFUSED:
        gate->stats.n_bad_heads++;
        refuse(gate, fd, &error);
        return;
    case VD_HEAD_MORE:
        if (ended) {
            conn_close(gate, fd);
        } else if (++c->n_peeks > PEEKS_MAX) {
            vd_api_fail(&error, 408, "request_timeout", NULL, "The head came in too many pieces.");
            refuse(gate, fd, &error);
        }
        return;
    }
}

static void accept_all(vd_gate *gate)
{
    for (;;) {
        int fd = vd_listen_accept(gate->listen_fd);
        if (fd < 0)
            return;
        gate->stats.n_accepted++;
        bool full = gate->n_open >= gate->options.max_connections;
        conn *c = conn_open(gate, fd, VD_CONN_HEAD, vd_now_ns() + gate->options.head_ns);
        if (c == NULL || !watch(gate, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET)) {
            if (c != NULL)
                conn_release(gate, c);
            close(fd);
        } else if (full) {
            vd_api_error error;
            gate->stats.n_refused++;
            vd_api_fail(&error, 503, "too_many_connections", NULL,
                        "The server has all the connections it takes. Try again shortly.");
            refuse(gate, fd, &error);
        } else {
            look_at_head(gate, fd, false);
        }
    }
}

static void on_event(vd_gate *gate, const struct epoll_event *event)
{
    int fd = (int)(uint32_t)event->data.u64;
    conn *c = &gate->table[fd];
    if (c->generation != (uint32_t)(event->data.u64 >> 32))
        return;
    bool ended = (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    switch (c->phase) {
    case VD_CONN_HEAD:
        look_at_head(gate, fd, ended);
        break;
    case VD_CONN_LINGER:
        linger_on(gate, fd);
        break;
    case VD_CONN_BUSY:
        c->ended |= ended;
        if (ended && c->request != NULL)
            gate->options.on_gone(gate->options.ctx, c->request);
        break;
    case VD_CONN_IDLE:
    case VD_CONN_BODY:
        if (ended && !c->ended) {
            c->ended = true;
            c->deadline_ns = vd_now_ns() + LAST_WORDS_NS;
        }
        break;
    case VD_CONN_FREE:
        break;
    }
}

/* libmicrohttpd 0.9.75 misses the end of a stream that came together with data: it takes a short
 * read for all there is, and its epoll, edge-triggered, says nothing more. A shutdown is a new
 * edge; it may come too early too, so it is repeated until the connection is closed. */
static void end_again(conn *c, int fd)
{
    shutdown(fd, SHUT_RDWR);
    c->deadline_ns = vd_now_ns() + LAST_WORDS_NS;
}

static void on_deadline(vd_gate *gate, int fd)
{
    conn *c = &gate->table[fd];
    vd_api_error error;
    vd_api_fail(&error, 408, "request_timeout", NULL, "The request did not arrive in time.");
    switch (c->phase) {
    case VD_CONN_HEAD:
        gate->stats.n_late++;
        refuse(gate, fd, &error);
        break;
    case VD_CONN_LINGER:
        conn_close(gate, fd);
        break;
    case VD_CONN_BODY:
        if (c->ended) {
            end_again(c, fd);
            break;
        }
        c->deadline_ns = 0;
        if (c->request != NULL && !gate->options.on_late(gate->options.ctx, c->request))
            break;
        gate->stats.n_late++;
        vd_listen_answer(fd, &error);
        shutdown(fd, SHUT_RDWR);
        break;
    case VD_CONN_IDLE:
        end_again(c, fd); /* libmicrohttpd sees the end and closes */
        break;
    case VD_CONN_BUSY:
    case VD_CONN_FREE:
        break;
    }
}

static void tick(vd_gate *gate, bool whole_second)
{
    uint64_t now = vd_now_ns();
    for (size_t fd = 0; fd < gate->n_top; fd++) {
        conn *c = &gate->table[fd];
        if (c->phase == VD_CONN_FREE)
            continue;
        if (c->deadline_ns != 0 && now > c->deadline_ns)
            on_deadline(gate, (int)fd);
        else if (whole_second && c->phase == VD_CONN_BUSY && c->request != NULL)
            gate->options.on_tick(gate->options.ctx, c->request, now);
    }
    while (gate->n_top > 0 && gate->table[gate->n_top - 1].phase == VD_CONN_FREE)
        gate->n_top--;
}

static void *gate_main(void *arg)
{
    vd_gate *gate = arg;
    struct epoll_event events[64];
    uint64_t last_tick = vd_now_ns();
    unsigned n_ticks = 0;
    while (!atomic_load_explicit(&gate->ending, memory_order_acquire)) {
        int n = epoll_wait(gate->epoll_fd, events, VD_COUNT(events), TICK_MS);
        pthread_mutex_lock(&gate->lock);
        for (int i = 0; i < n; i++) {
            int id = (int)(uint32_t)events[i].data.u64;
            if (id == ID_LISTEN)
                accept_all(gate);
            else if (id >= 0)
                on_event(gate, &events[i]);
        }
        if (vd_now_ns() - last_tick >= TICK_MS * 1000000ull) {
            last_tick = vd_now_ns();
            tick(gate, ++n_ticks % 4 == 0);
        }
        pthread_mutex_unlock(&gate->lock);
    }
    return NULL;
}

static vd_status open_epoll(vd_gate *gate, vd_err *err)
{
    gate->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    gate->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (gate->epoll_fd < 0 || gate->wake_fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot make an epoll");
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u64 = (uint32_t)ID_LISTEN;
    if (epoll_ctl(gate->epoll_fd, EPOLL_CTL_ADD, gate->listen_fd, &event) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot watch the listening socket");
    event.data.u64 = (uint32_t)ID_WAKE;
    if (epoll_ctl(gate->epoll_fd, EPOLL_CTL_ADD, gate->wake_fd, &event) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot watch an eventfd");
    return VD_OK;
}

/* As many descriptors as the connections need, as far as the system lets us. */
static size_t raise_fd_limit(size_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return VD_MIN(wanted, (size_t)1024);
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = VD_MIN((rlim_t)wanted, limit.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur > FD_TABLE_MAX ? FD_TABLE_MAX : (size_t)limit.rlim_cur;
}

vd_status vd_gate_create(const vd_gate_options *options, vd_gate **ret_gate, vd_err *err)
{
    vd_gate *gate = vd_calloc(1, sizeof(*gate));
    if (gate == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the gate");
    gate->options = *options;
    gate->listen_fd = gate->epoll_fd = gate->wake_fd = -1;
    pthread_mutex_init(&gate->lock, NULL);
    vd_status st = VD_OK;
    /* Each connection may linger once more; 128 for files, models and epolls. */
    size_t room = raise_fd_limit(2 * options->max_connections + LINGER_EXTRA + 128);
    if (room < 256) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "only %zu file descriptors are allowed (ulimit -n); a "
                     "server needs 256", room);
        goto out;
    }
    if (options->max_connections > room - 128) {
        gate->options.max_connections = room - 128;
        vd_log(VD_LOG_WARN, "serve", "connections limited to %zu by ulimit -n",
               gate->options.max_connections);
    }
    gate->n_table = FD_TABLE_MAX;
    gate->n_table = VD_MIN(room, gate->n_table);
    st = vd_alloc_array(gate->n_table, sizeof(conn), "connections", &gate->table, err);
    if (st != VD_OK)
        goto out;
    gate->peek = vd_alloc(VD_HEAD_BYTES_MAX);
    if (gate->peek == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the gate");
        goto out;
    }
    st = vd_listen_open(options->host, options->port, &gate->listen_fd, &gate->port, err);
    if (st != VD_OK)
        goto out;
    st = open_epoll(gate, err);
    if (st != VD_OK)
        goto out;
    *ret_gate = gate;
    gate = NULL;
out:
    vd_gate_free(gate);
    return st;
}

vd_status vd_gate_start(vd_gate *gate, vd_err *err)
{
    int failed = pthread_create(&gate->thread, NULL, gate_main, gate);
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "cannot start a thread: %s", strerror(failed));
    gate->running = true;
    return VD_OK;
}

void vd_gate_stop(vd_gate *gate)
{
    if (!gate->running)
        return;
    atomic_store_explicit(&gate->ending, true, memory_order_release);
    uint64_t one = 1;
    (void)!write(gate->wake_fd, &one, sizeof(one));
    pthread_join(gate->thread, NULL);
    gate->running = false;
    close(gate->listen_fd);
    gate->listen_fd = -1;
    pthread_mutex_lock(&gate->lock); /* libmicrohttpd's threads still close their connections */
    for (size_t fd = 0; fd < gate->n_top; fd++) {
        vd_conn_phase phase = gate->table[fd].phase;
        if (phase == VD_CONN_HEAD || phase == VD_CONN_LINGER)
            conn_close(gate, (int)fd);
    }
    pthread_mutex_unlock(&gate->lock);
}

void vd_gate_free(vd_gate *gate)
{
    if (gate == NULL)
        return;
    vd_gate_stop(gate);
    int fds[] = {gate->listen_fd, gate->epoll_fd, gate->wake_fd};
    for (size_t i = 0; i < VD_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&gate->lock);
    vd_free(gate->table);
    vd_free(gate->peek);
    vd_free(gate);
}

uint16_t vd_gate_port(const vd_gate *gate)
{
    return gate->port;
}

vd_gate_stats vd_gate_stats_get(vd_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    vd_gate_stats stats = gate->stats;
    stats.n_open = gate->n_open;
    pthread_mutex_unlock(&gate->lock);
    return stats;
}

void vd_gate_set(vd_gate *gate, int fd, vd_conn_phase phase, void *request)
{
    pthread_mutex_lock(&gate->lock);
    conn *c = fd >= 0 && (size_t)fd < gate->n_table ? &gate->table[fd] : NULL;
    if (c != NULL && c->phase != VD_CONN_FREE && c->phase != VD_CONN_LINGER) {
        c->phase = phase;
        c->request = request;
        uint64_t limit_ns = phase == VD_CONN_BODY   ? gate->options.body_ns
                            : phase == VD_CONN_IDLE ? gate->options.idle_ns
                                                    : 0;
        if (c->ended && limit_ns != 0)
            limit_ns = LAST_WORDS_NS;
        c->deadline_ns = limit_ns != 0 ? vd_now_ns() + limit_ns : 0;
        /* The edge of a client that left before we looked has passed: ask for it again. */
        if (phase == VD_CONN_BUSY)
            (void)watch(gate, EPOLL_CTL_MOD, fd, EPOLLRDHUP | EPOLLET);
    }
    pthread_mutex_unlock(&gate->lock);
}

void vd_gate_forget(vd_gate *gate, int fd)
{
    pthread_mutex_lock(&gate->lock);
    if (fd >= 0 && (size_t)fd < gate->n_table && gate->table[fd].phase != VD_CONN_FREE) {
        (void)epoll_ctl(gate->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        conn_release(gate, &gate->table[fd]);
    }
    pthread_mutex_unlock(&gate->lock);
}

void vd_gate_linger(vd_gate *gate, int fd)
{
    pthread_mutex_lock(&gate->lock);
    /* Once the gate ends nobody would read and close the twin. */
    bool room = gate->n_linger < gate->options.max_connections + LINGER_EXTRA &&
                !atomic_load_explicit(&gate->ending, memory_order_acquire);
    int twin = room ? vd_listen_dup(fd) : -1;
    if (twin >= 0) {
        if (conn_open(gate, twin, VD_CONN_LINGER, vd_now_ns() + LINGER_NS) == NULL)
            close(twin);
        else if (!watch(gate, EPOLL_CTL_ADD, twin, EPOLLIN | EPOLLRDHUP | EPOLLET))
            conn_close(gate, twin);
    }
    pthread_mutex_unlock(&gate->lock);
}

void vd_gate_each(vd_gate *gate, void (*fn)(void *ctx, void *request), void *ctx)
{
    pthread_mutex_lock(&gate->lock);
    for (size_t fd = 0; fd < gate->n_top; fd++)
        if (gate->table[fd].request != NULL)
            fn(ctx, gate->table[fd].request);
    pthread_mutex_unlock(&gate->lock);
}
