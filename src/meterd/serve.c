/*
 * serve.c - one loop, never blocked by a client.
 *
 * A client has room for one request and one reply. While its reply is not taken no further request
 * of it is read, so a slow one waits for itself alone. What is no request gets an error line and
 * the connection is closed.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "meterd/meterd.h"

enum {
    CLIENTS_MAX = 64,
    CLIENTS_OF_ONE_USER = 32,
    LOGGED_PER_SECOND = 10,
    PAUSE_NS = 100000000 /* when there are no descriptors or no memory for one more client */
};

typedef struct client {
    int fd; /* -1: free */
    uid_t uid;
    bool ends; /* is closed when its reply is sent */
    size_t n_in;
    char in[VD_METERD_REQUEST_MAX];
    size_t n_out, sent;
    char out[VD_METERD_REPLY_MAX];
} client;

static client clients[CLIENTS_MAX];
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Unread bytes would turn the error line it was sent into a broken connection. */
static void end(client *c)
{
    char rest[1024];
    for (int i = 0; i < 8 && recv(c->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++) {
    }
    close(c->fd);
    *c = (client){.fd = -1};
}

/* False when the client is gone or ends with this. */
static bool flush(client *c)
{
    while (c->sent < c->n_out) {
        ssize_t n = send(c->fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0)
            return false;
        c->sent += (size_t)n;
    }
    c->sent = c->n_out = 0;
    return !c->ends;
}

static void answer(client *c, vd_meterd_request request, vd_meterd_counters *counters)
{
    switch (request) {
    case VD_METERD_ZONES:
        c->n_out = vd_meterd_put_zones(counters->zone, counters->n, c->out);
        break;
    case VD_METERD_READ:
        vd_meterd_counters_read(counters);
        c->n_out = vd_meterd_put_reading(counters->zone, counters->n, vd_now_ns(), c->out);
        break;
    default:
        c->n_out = (size_t)snprintf(c->out, sizeof(c->out),
                                    "error a request is \"zones\" or \"read\" and a newline\n");
        c->ends = true;
    }
}

/* Answers what has arrived, one request after the other. False when the client is to be closed. */
static bool work(client *c, vd_meterd_counters *counters)
{
    while (c->n_out == 0) {
        size_t length = 0;
        vd_meterd_request request = vd_meterd_request_parse(c->in, c->n_in, &length);
        if (request == VD_METERD_MORE)
            return true;
        memmove(c->in, c->in + length, c->n_in - length);
        c->n_in -= length;
        answer(c, request, counters);
        if (!flush(c))
            return false;
    }
    return true;
}

static bool receive(client *c, vd_meterd_counters *counters)
{
    ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    c->n_in += (size_t)n;
    return work(c, counters);
}

static void log_client(const struct ucred *who, const char *what)
{
    static uint64_t second, n_logged;
    uint64_t now = vd_now_ns() / 1000000000u;
    n_logged = now == second ? n_logged + 1 : 0;
    second = now;
    if (n_logged < LOGGED_PER_SECOND)
        vd_log(VD_LOG_INFO, "meterd", "client %s pid=%d uid=%u gid=%u", what, (int)who->pid,
               (unsigned)who->uid, (unsigned)who->gid);
}

/* A free place, or NULL: all are taken, or this user has enough of them. */
static client *find_place(uid_t uid)
{
    client *place = NULL;
    size_t n_of_user = 0;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (clients[i].fd < 0)
            place = &clients[i];
        else
            n_of_user += clients[i].uid == uid;
    }
    return n_of_user < CLIENTS_OF_ONE_USER ? place : NULL;
}

/* False when the one that waits cannot be taken now: it goes on waiting, which must not keep us
 * awake. */
static bool welcome(int listening)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) {
        close(fd);
        return true;
    }
    client *place = find_place(who.uid);
    if (place == NULL) {
        static const char full[] = "error too many clients\n";
        log_client(&who, "refused");
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
        return true;
    }
    *place = (client){.fd = fd, .uid = who.uid};
    log_client(&who, "connected");
    return true;
}

static void serve_events(const struct pollfd *polled, const size_t *which, size_t n,
                         vd_meterd_counters *counters)
{
    for (size_t i = 0; i < n; i++) {
        client *c = &clients[which[i]];
        short events = polled[i].revents;
        bool stays = true;
        if (events & POLLOUT)
            stays = flush(c) && work(c, counters);
        else if (events & POLLIN)
            stays = receive(c, counters);
        else if (events & (POLLHUP | POLLERR | POLLNVAL))
            stays = false;
        if (!stays)
            end(c);
    }
}

vd_status vd_meterd_serve(int listening, vd_meterd_counters *counters, vd_err *err)
{
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &waiting); /* they come while we wait, and only then */
    sigdelset(&waiting, SIGTERM);
    sigdelset(&waiting, SIGINT);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        clients[i].fd = -1;
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    uint64_t welcoming_ns = 0; /* from when on */
    vd_status st = VD_OK;
    while (!stopped && st == VD_OK) {
        struct pollfd polled[CLIENTS_MAX + 1];
        size_t which[CLIENTS_MAX], n = 0;
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (clients[i].fd >= 0) {
                polled[n] = (struct pollfd){.fd = clients[i].fd,
                                            .events = clients[i].n_out > 0 ? POLLOUT : POLLIN};
                which[n++] = i;
            }
        bool welcoming = vd_now_ns() >= welcoming_ns;
        polled[n] = (struct pollfd){.fd = welcoming ? listening : -1, .events = POLLIN};
        int ready = ppoll(polled, n + 1, welcoming ? NULL : &pause, &waiting);
        if (ready < 0 && errno != EINTR)
            st = VD_FAIL(err, VD_ERR_IO, "waiting for clients: %s", strerror(errno));
        if (ready <= 0)
            continue;
        serve_events(polled, which, n, counters);
        if ((polled[n].revents & POLLIN) && !welcome(listening))
            welcoming_ns = vd_now_ns() + PAUSE_NS;
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].fd >= 0)
            end(&clients[i]);
    return st;
}

void vd_meterd_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN; /* a log that nobody reads any more */
    sigaction(SIGPIPE, &action, NULL);
}
