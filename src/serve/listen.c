/* listen.c - see listen.h. */
#include "serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/log.h"

enum {
    BACKLOG = 1024,
    KEEP_IDLE_S = 30,
    KEEP_INTERVAL_S = 10,
    KEEP_COUNT = 3,
    USER_TIMEOUT_MS = 60000, /* unacknowledged data, or a window that stays shut */
};

static bool parse_address(const char *host, uint16_t port, struct sockaddr_storage *ret_addr,
                          socklen_t *ret_n)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    memset(ret_addr, 0, sizeof(*ret_addr));
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret_addr, &v4, *ret_n = sizeof(v4));
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(ret_addr, &v6, *ret_n = sizeof(v6));
        return true;
    }
    return false;
}

bool vd_listen_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

vd_status vd_listen_check(const char *host, vd_err *err)
{
    struct sockaddr_storage addr;
    socklen_t n_addr;
    if (parse_address(host, 0, &addr, &n_addr))
        return VD_OK;
    return VD_FAIL(err, VD_ERR_ARG, "'%s' is no address to listen on: give a numeric one, such as "
                   "127.0.0.1, 0.0.0.0 or ::1", host);
}

vd_status vd_listen_open(const char *host, uint16_t port, int *ret_fd, uint16_t *ret_port,
                         vd_err *err)
{
    struct sockaddr_storage addr;
    socklen_t n_addr = sizeof(addr);
    vd_status st = vd_listen_check(host, err);
    if (st != VD_OK)
        return st;
    (void)parse_address(host, port, &addr, &n_addr);
    int one = 1;
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot make a socket for %s: %s", host, strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&addr, n_addr) != 0 || listen(fd, BACKLOG) != 0) {
        const char *why = errno == EADDRINUSE ? "another program does; choose a port with --listen"
                                              : strerror(errno);
        st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO,
                     "cannot listen on %s port %u: %s", host, port, why);
        goto out;
    }
    n_addr = sizeof(addr);
    if (getsockname(fd, (struct sockaddr *)&addr, &n_addr) != 0) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot read the port of a socket");
        goto out;
    }
    *ret_port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                                 : ((struct sockaddr_in *)&addr)->sin_port);
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    return st;
}

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

int vd_listen_accept(int listen_fd)
{
    int fd;
    do
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            vd_log(VD_LOG_WARN, "serve", "cannot accept a connection: %s", strerror(errno));
        return -1;
    }
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    return fd;
}

void vd_listen_answer(int fd, const vd_api_error *error)
{
    vd_buf body, whole;
    vd_buf_init(&body, 4096);
    vd_buf_init(&whole, 8192);
    vd_api_error_write(error, &body);
    vd_buf_printf(&whole, "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\n", error->http,
                  vd_http_reason(error->http));
    if (error->retry_after_s != 0)
        vd_buf_printf(&whole, "Retry-After: %u\r\n", error->retry_after_s);
    vd_buf_printf(&whole, "x-should-retry: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                  vd_api_error_may_retry(error) ? "true" : "false", body.n);
    vd_buf_append(&whole, vd_buf_text(&body), body.n);
    if (whole.failed == VD_OK)
        (void)!send(fd, whole.data, whole.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    vd_buf_done(&body);
    vd_buf_done(&whole);
}

int vd_listen_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}
