/*
 * meterd.c - the counters that verdant-meterd (src/meterd) reads as root and hands out by a socket.
 *
 * Each round of readings is one question and one answer, for which we wait `patience_ns` at most.
 * An answer that comes later is taken at the next round: counters only grow, so nothing is lost, it
 * counts in a later interval. Without any answer for `late_ns` the zones are missing, a gap. So are
 * they when the connection breaks; each round then tries to connect again. The counters are the
 * kernel's: a daemon that was started anew goes on where the old one stopped.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "energy/sources/meterd_wire.h"
#include "energy/rapl/rapl_file.h"
#include "energy/sources/counters.h"
#include "energy/sources/sources.h"

static const uint64_t patience_ns = 300000;
static const uint64_t late_ns = UINT64_C(100000000);
/* A question that was not answered for so long never will be: a new connection. */
static const uint64_t hung_ns = UINT64_C(1000000000);
/* While opening: the machine may be busy. */
static const uint64_t opening_ns = UINT64_C(2000000000);

/* vd_rapl.self */
typedef struct client {
    struct sockaddr_un address;
    int fd;            /* -1: not connected */
    bool owes_zones;   /* the connection is new: its list of zones comes first */
    bool owes_reading; /* asked, and not answered yet */
    uint64_t asked_ns, answered_ns;
    size_t n_in;
    char in[VD_METERD_REPLY_MAX];
    size_t n_zones; /* as the daemon lists them; a zone's `index` is its place here */
    vd_meterd_zone zone[VD_RAPL_ZONES_MAX];
    vd_meterd_zone answer[VD_RAPL_ZONES_MAX]; /* while it is being read */
} client;

static void disconnect(client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->n_in = 0;
    c->owes_zones = c->owes_reading = false;
}

/* False when the daemon cannot take it: for a stream of such small questions that is the end. */
static bool ask(client *c, const char *request)
{
    size_t n = strlen(request);
    return send(c->fd, request, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

static int connect_daemon(client *c)
{
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return errno;
    if (connect(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) != 0 ||
        !ask(c, "zones\n")) {
        int saved = errno;
        disconnect(c);
        return saved != 0 ? saved : ECONNREFUSED;
    }
    c->owes_zones = true;
    c->asked_ns = vd_now_ns();
    return 0;
}

static bool same_zones(const client *c, size_t n_listed)
{
    bool same = n_listed == c->n_zones;
    for (size_t i = 0; i < n_listed && same; i++)
        same = strcmp(c->answer[i].id, c->zone[i].id) == 0 &&
               strcmp(c->answer[i].name, c->zone[i].name) == 0 &&
               c->answer[i].range_uj == c->zone[i].range_uj;
    return same;
}

/* Takes one whole answer out of what has arrived; false when there is none. */
static bool take_answer(client *c)
{
    size_t length = 0, n_listed = 0;
    vd_meterd_state state =
        c->owes_zones ? vd_meterd_get_zones(c->in, c->n_in, c->answer, &n_listed, &length)
                      : vd_meterd_get_reading(c->in, c->n_in, c->answer, c->n_zones, &length);
    if (state == VD_METERD_MALFORMED ||
        (state == VD_METERD_WHOLE && c->owes_zones && c->n_zones != 0 && !same_zones(c, n_listed)))
        disconnect(c);
    if (state != VD_METERD_WHOLE || c->fd < 0)
        return false;
    if (c->owes_zones && c->n_zones == 0) {
        memcpy(c->zone, c->answer, sizeof(c->zone));
        c->n_zones = n_listed;
    }
    for (size_t i = 0; i < c->n_zones && !c->owes_zones; i++) {
        c->zone[i].uj = c->answer[i].uj;
        c->zone[i].error = c->answer[i].error;
    }
    if (c->owes_zones)
        c->owes_zones = false;
    else
        c->owes_reading = false;
    memmove(c->in, c->in + length, c->n_in - length);
    c->n_in -= length;
    return true;
}

/* Receives until `deadline_ns` or until nothing is owed. */
static void receive(client *c, uint64_t deadline_ns)
{
    while (c->fd >= 0 && (c->owes_zones || c->owes_reading)) {
        ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, MSG_DONTWAIT);
        if (n > 0) {
            c->n_in += (size_t)n;
            while ((c->owes_zones || c->owes_reading) && take_answer(c)) {
            }
            continue;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            disconnect(c);
            return;
        }
        uint64_t now = vd_now_ns();
        if (now >= deadline_ns)
            return;
        struct pollfd wait = {.fd = c->fd, .events = POLLIN};
        uint64_t left_ns = deadline_ns - now;
        struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000u),
                                .tv_nsec = (long)(left_ns % 1000000000u)};
        (void)ppoll(&wait, 1, &left, NULL);
    }
}

static void ask_reading(client *c)
{
    if (c->fd < 0 || c->owes_reading)
        return;
    if (!ask(c, "read\n")) {
        disconnect(c);
        return;
    }
    c->owes_reading = true;
    c->asked_ns = vd_now_ns();
}

/* vd_rapl.refresh */
static void client_refresh(vd_rapl *rapl)
{
    client *c = rapl->self;
    uint64_t deadline_ns = vd_now_ns() + patience_ns;
    if (c->fd < 0)
        (void)connect_daemon(c);
    receive(c, vd_now_ns()); /* what came late */
    if ((c->owes_zones || c->owes_reading) && vd_now_ns() - c->asked_ns > hung_ns)
        disconnect(c);
    ask_reading(c);
    receive(c, deadline_ns);
    if (c->fd >= 0 && !c->owes_zones && !c->owes_reading)
        c->answered_ns = vd_now_ns();
}

/* vd_rapl.value */
static int client_value(vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj)
{
    const client *c = rapl->self;
    const vd_meterd_zone *from = &c->zone[zone->index];
    if (c->fd < 0)
        return ENOTCONN;
    if (vd_now_ns() - c->answered_ns > late_ns)
        return ETIMEDOUT;
    if (from->error != 0)
        return from->error;
    *ret_uj = from->uj;
    return 0;
}

static void client_free(void *self)
{
    client *c = self;
    disconnect(c);
    vd_free(c);
}

static vd_status set_address(client *c, const char *spec, vd_err *err)
{
    const char *path = spec[0] != '\0' ? spec : getenv("VERDANT_METERD");
    if (path == NULL || path[0] == '\0')
        path = VD_METERD_SOCKET;
    c->address.sun_family = AF_UNIX;
    size_t n = strlen(path);
    if (n >= sizeof(c->address.sun_path))
        return VD_FAIL(err, VD_ERR_ARG, "the path of the socket is longer than %zu bytes",
                       sizeof(c->address.sun_path) - 1);
    memcpy(c->address.sun_path, path, n + 1);
    return VD_OK;
}

/* Connects, learns the zones and reads them once. */
static vd_status begin(client *c, vd_err *err)
{
    const char *path = c->address.sun_path;
    int saved = connect_daemon(c);
    if (saved == EACCES || saved == EPERM)
        return VD_FAIL(err, VD_ERR_PERM,
                       "%s may be used by its group only: add the user to it, then log in again",
                       path);
    if (saved != 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "verdant-meterd does not answer at %s: %s", path,
                       strerror(saved));
    receive(c, vd_now_ns() + opening_ns);
    if (c->n_zones != 0) {
        ask_reading(c);
        receive(c, vd_now_ns() + opening_ns);
    }
    if (c->fd < 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "what answers at %s does not speak as verdant-meterd",
                       path);
    if (c->owes_zones || c->owes_reading)
        return VD_FAIL(err, VD_ERR_IO, "verdant-meterd at %s does not answer in time", path);
    c->answered_ns = vd_now_ns();
    return VD_OK;
}

static void take_zones(vd_rapl *rapl, const client *c, uint64_t now_ns)
{
    for (size_t i = 0; i < c->n_zones; i++) {
        const vd_meterd_zone *from = &c->zone[i];
        vd_rapl_zone *zone = vd_rapl_zone_add(rapl, from->id, from->name, from->range_uj);
        if (zone == NULL)
            continue;
        zone->index = i;
        zone->last_uj = from->uj;
        if (zone->info.use == VD_RAPL_READ)
            vd_rapl_zone_opened(zone, from->error, now_ns);
    }
    vd_rapl_settle(rapl);
}

vd_status vd_source_meterd_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    client *c = vd_calloc(1, sizeof(*c));
    vd_status st = VD_OK;
    if (rapl == NULL || c == NULL) {
        vd_free(c);
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy counters");
        goto out;
    }
    c->fd = -1;
    rapl->refresh = client_refresh;
    rapl->value = client_value;
    rapl->self = c;
    rapl->free_self = client_free;
    st = set_address(c, env->spec, err);
    if (st == VD_OK)
        st = begin(c, err);
    if (st != VD_OK)
        goto out;
    snprintf(rapl->root, sizeof(rapl->root), "%s", c->address.sun_path);
    take_zones(rapl, c, env->now_ns);
    if (rapl->why != VD_OK) {
        st = VD_FAIL(err, rapl->why, "verdant-meterd at %s reads no package", rapl->root);
        goto out;
    }
    vd_counters_source(rapl, "rapl by verdant-meterd", ret_source);
    rapl = NULL;
out:
    vd_counters_free(rapl);
    return st;
}
